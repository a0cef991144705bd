// SPDX-License-Identifier: ISC
// The primitives against the vectors of FIPS 180-2, RFC 4231, RFC 7914 (PBKDF2) and RFC 1321.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "router/auth/crypto.h"

static void assert_hex(const uint8_t *bytes, size_t n, const char *hex) {
    char text[129];
    for (size_t i = 0; i < n; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(text, hex);
}

static void sha256(void **state) {
    (void)state;
    uint8_t out[CRYPTO_SHA256_LEN];
    assert_true(crypto_sha256(span_str("abc"), out));
    assert_hex(out, sizeof out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(crypto_sha256(span_str(""), out));
    assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void hmac(void **state) {
    (void)state;
    uint8_t out[CRYPTO_SHA256_LEN];
    assert_true(crypto_hmac_sha256(span_str("Jefe"), span_str("what do ya want for nothing?"), out));
    assert_hex(out, sizeof out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_true(crypto_hmac_sha256(span_str(""), span_str(""), out));
    assert_hex(out, sizeof out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    uint8_t key[131]; // longer than a block: RFC 4231, case 6
    memset(key, 0xaa, sizeof key);
    struct span text = span_str("Test Using Larger Than Block-Size Key - Hash Key First");
    assert_true(crypto_hmac_sha256(span_of(key, sizeof key), text, out));
    assert_hex(out, sizeof out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void pbkdf2(void **state) {
    (void)state;
    uint8_t out[CRYPTO_SHA256_LEN];
    assert_true(crypto_pbkdf2_sha256(span_str("passwd"), span_str("salt"), 1, out));
    assert_hex(out, sizeof out, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    assert_true(crypto_pbkdf2_sha256(span_str("Password"), span_str("NaCl"), 80000, out));
    assert_hex(out, sizeof out, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
}

static void md5(void **state) {
    (void)state;
    uint8_t out[CRYPTO_MD5_LEN];
    const struct span parts[] = {span_str("message "), span_str(""), span_str("digest")};
    assert_true(crypto_md5(parts, countof(parts), out));
    assert_hex(out, sizeof out, "f96b697d7cb7938d525a2f31aaf161d0");
}

static void equal(void **state) {
    (void)state;
    assert_true(crypto_equal("abc", "abc", 3));
    assert_true(crypto_equal("abc", "abd", 2));
    assert_false(crypto_equal("abc", "abd", 3));
    assert_false(crypto_equal("bbc", "abc", 3));
}

static void random_bytes(void **state) {
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256), cmocka_unit_test(hmac),  cmocka_unit_test(pbkdf2),
        cmocka_unit_test(md5),    cmocka_unit_test(equal), cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
