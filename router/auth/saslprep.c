// SPDX-License-Identifier: ISC
// router/auth/saslprep.c: see router/auth/saslprep.h.
#include "router/auth/saslprep.h"

#include <stringprep.h>

static bool is_ascii(const struct secret *s) {
    for (size_t i = 0; i < s->len; i++)
        if (s->bytes[i] >= 0x80) return false;
    return true;
}

bool saslprep(const struct secret *password, struct secret *out) {
    *out = *password;
    if (is_ascii(password) || memchr(password->bytes, 0, password->len)) return true;
    int result = stringprep((char *)out->bytes, sizeof out->bytes, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep);
    if (result == STRINGPREP_TOO_SMALL_BUFFER) {
        secret_wipe(out);
        return false;
    }
    size_t len = result == STRINGPREP_OK ? strlen((const char *)out->bytes) : 0;
    // A password of invisible characters only would be empty, which PostgreSQL counts as prohibited.
    if (len == 0)
        *out = *password;
    else
        out->len = (uint16_t)len;
    return true;
}
