// SPDX-License-Identifier: ISC
// router/auth/md5.c: see router/auth/md5.h.
#include "router/auth/md5.h"

#include "router/auth/crypto.h"

enum { MD5_DIGITS = 2 * CRYPTO_MD5_LEN };

// The digest of both parts in lower-case digits, without a NUL.
static bool md5_digits(struct span a, struct span b, char out[MD5_DIGITS]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t sum[CRYPTO_MD5_LEN];
    if (!crypto_md5((const struct span[]){a, b}, 2, sum)) return false;
    for (size_t i = 0; i < sizeof sum; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    explicit_bzero(sum, sizeof sum);
    return true;
}

bool md5_answer(const struct secret *password, struct span user, const uint8_t salt[4], char out[MD5_ANSWER_LEN]) {
    char inner[MD5_DIGITS]; // as good as the password for this kind of login
    bool ok = md5_digits(span_of(password->bytes, password->len), user, inner) &&
              md5_digits(span_of(inner, sizeof inner), span_of(salt, 4), out + 3);
    explicit_bzero(inner, sizeof inner);
    if (!ok) return false;
    memcpy(out, "md5", 3);
    out[MD5_ANSWER_LEN - 1] = '\0';
    return true;
}
