// SPDX-License-Identifier: ISC
//
// base/secret.h: bytes that must not be printed and do not outlive their use.
//
// A type of its own, so that no format string takes it and a reader sees what it is. secret_wipe after use; the owner of
// an embedded secret wipes it when it is freed.
#ifndef PGSTEER_BASE_SECRET_H
#define PGSTEER_BASE_SECRET_H

#include <string.h>

#include "base/span.h"

enum { SECRET_MAX = 1024 };

struct secret {
    uint16_t len;
    uint8_t bytes[SECRET_MAX]; // one NUL always follows the last byte, within the array
};

static inline void secret_wipe(struct secret *s) { explicit_bzero(s, sizeof *s); }
static inline bool secret_is_set(const struct secret *s) { return s->len > 0; }
// False when the bytes do not fit.
NODISCARD static inline bool secret_set(struct secret *s, struct span from) {
    if (from.len >= SECRET_MAX) return false;
    secret_wipe(s);
    memcpy(s->bytes, from.ptr, from.len);
    s->len = (uint16_t)from.len;
    return true;
}

#endif
