// SPDX-License-Identifier: ISC
//
// router/auth/crypto.h: the few primitives that logging in needs, and random bytes.
//
// The only user of libcrypto besides router/net/tls.c. A digest answers false when OpenSSL cannot do it: no memory, or
// a provider (FIPS) that lacks it. Any thread.
#ifndef PGSTEER_ROUTER_AUTH_CRYPTO_H
#define PGSTEER_ROUTER_AUTH_CRYPTO_H

#include "base/span.h"

enum { CRYPTO_SHA256_LEN = 32, CRYPTO_MD5_LEN = 16 };

// Fills `to` from OpenSSL's generator. Ends the process when there is none: no nonce or key would be safe.
void crypto_random(void *to, size_t n);

NODISCARD bool crypto_sha256(struct span in, uint8_t out[CRYPTO_SHA256_LEN]);
NODISCARD bool crypto_hmac_sha256(struct span key, struct span in, uint8_t out[CRYPTO_SHA256_LEN]);
// PBKDF2 with HMAC-SHA-256 and one block of output: Hi() of RFC 5802. `iterations` >= 1; about 0.2 us each.
NODISCARD bool crypto_pbkdf2_sha256(struct span password, struct span salt, uint32_t iterations,
                                    uint8_t out[CRYPTO_SHA256_LEN]);
// MD5 of the parts, one after the other.
NODISCARD bool crypto_md5(const struct span *parts, size_t n, uint8_t out[CRYPTO_MD5_LEN]);

// Takes as long for equal bytes as for others.
NODISCARD bool crypto_equal(const void *a, const void *b, size_t n);

#endif
