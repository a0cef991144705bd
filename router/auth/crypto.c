// SPDX-License-Identifier: ISC
// router/auth/crypto.c: see router/auth/crypto.h.
#include "router/auth/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>

void crypto_random(void *to, size_t n) {
    bug_unless(n <= INT_MAX);
    if (RAND_bytes(to, (int)n) != 1) bug("no random bytes");
}

// Found once: to look an algorithm up takes OpenSSL longer than a login's digests do. NULL when it has none.
static const EVP_MD *sha256;
static void find_sha256(void) { sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); }
static const EVP_MD *get_sha256(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_sha256);
    return sha256;
}

// Of the parts, one after the other. `ctx` may be used again.
static bool digest(EVP_MD_CTX *ctx, const EVP_MD *md, const struct span *parts, size_t n, uint8_t *out) {
    bool ok = ctx && md && EVP_DigestInit_ex(ctx, md, NULL) == 1;
    for (size_t i = 0; ok && i < n; i++) ok = EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
    return ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

bool crypto_sha256(struct span in, uint8_t out[CRYPTO_SHA256_LEN]) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = digest(ctx, get_sha256(), &in, 1, out);
    EVP_MD_CTX_free(ctx);
    return ok;
}

// RFC 2104. OpenSSL's own looks up MAC and digest each time.
bool crypto_hmac_sha256(struct span key, struct span in, uint8_t out[CRYPTO_SHA256_LEN]) {
    uint8_t inner_pad[SHA256_CBLOCK] = {0}, outer_pad[SHA256_CBLOCK], inner[CRYPTO_SHA256_LEN];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = true;
    if (key.len > sizeof inner_pad)
        ok = digest(ctx, get_sha256(), &key, 1, inner_pad);
    else if (key.len)
        memcpy(inner_pad, key.ptr, key.len);
    for (size_t i = 0; i < sizeof inner_pad; i++) {
        outer_pad[i] = inner_pad[i] ^ 0x5c;
        inner_pad[i] ^= 0x36;
    }
    const struct span inner_parts[] = {span_of(inner_pad, sizeof inner_pad), in};
    const struct span outer_parts[] = {span_of(outer_pad, sizeof outer_pad), span_of(inner, sizeof inner)};
    ok = ok && digest(ctx, get_sha256(), inner_parts, 2, inner) && digest(ctx, get_sha256(), outer_parts, 2, out);
    EVP_MD_CTX_free(ctx);
    explicit_bzero(inner_pad, sizeof inner_pad);
    explicit_bzero(outer_pad, sizeof outer_pad);
    return ok;
}

bool crypto_pbkdf2_sha256(struct span password, struct span salt, uint32_t iterations, uint8_t out[CRYPTO_SHA256_LEN]) {
    bug_unless(password.len <= INT_MAX && salt.len <= INT_MAX && iterations >= 1 && iterations <= INT_MAX);
    return PKCS5_PBKDF2_HMAC((const char *)password.ptr, (int)password.len, salt.ptr, (int)salt.len, (int)iterations,
                             EVP_sha256(), CRYPTO_SHA256_LEN, out) == 1;
}

bool crypto_md5(const struct span *parts, size_t n, uint8_t out[CRYPTO_MD5_LEN]) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = digest(ctx, EVP_md5(), parts, n, out);
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool crypto_equal(const void *a, const void *b, size_t n) { return CRYPTO_memcmp(a, b, n) == 0; }
