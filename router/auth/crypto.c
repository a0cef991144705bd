// SPDX-License-Identifier: ISC
// router/auth/crypto.c: see router/auth/crypto.h.
#include "router/auth/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

void crypto_random(void *to, size_t n) {
    bug_unless(n <= INT_MAX);
    if (RAND_bytes(to, (int)n) != 1) bug("no random bytes");
}

bool crypto_sha256(struct span in, uint8_t out[CRYPTO_SHA256_LEN]) { return SHA256(in.ptr, in.len, out) != NULL; }

bool crypto_hmac_sha256(struct span key, struct span in, uint8_t out[CRYPTO_SHA256_LEN]) {
    unsigned len = CRYPTO_SHA256_LEN;
    bug_unless(key.len <= INT_MAX);
    return HMAC(EVP_sha256(), key.ptr, (int)key.len, in.ptr, in.len, out, &len) != NULL;
}

bool crypto_pbkdf2_sha256(struct span password, struct span salt, uint32_t iterations, uint8_t out[CRYPTO_SHA256_LEN]) {
    bug_unless(password.len <= INT_MAX && salt.len <= INT_MAX && iterations >= 1 && iterations <= INT_MAX);
    return PKCS5_PBKDF2_HMAC((const char *)password.ptr, (int)password.len, salt.ptr, (int)salt.len, (int)iterations,
                             EVP_sha256(), CRYPTO_SHA256_LEN, out) == 1;
}

bool crypto_md5(const struct span *parts, size_t n, uint8_t out[CRYPTO_MD5_LEN]) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1;
    for (size_t i = 0; ok && i < n; i++) ok = EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool crypto_equal(const void *a, const void *b, size_t n) { return CRYPTO_memcmp(a, b, n) == 0; }
