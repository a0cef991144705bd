// SPDX-License-Identifier: ISC
//
// base/span.h: borrowed bytes.
//
// A span points into somebody else's buffer and is good for the current call only; nobody stores one. To keep the
// bytes, copy them.
#ifndef PGSTEER_BASE_SPAN_H
#define PGSTEER_BASE_SPAN_H

#include <string.h>
#include <strings.h>

#include "base/base.h"

struct span {
    const uint8_t *ptr;
    size_t len;
};

static inline struct span span_of(const void *ptr, size_t len) { return (struct span){(const uint8_t *)ptr, len}; }
static inline struct span span_str(const char *s) { return span_of(s, strlen(s)); }
static inline bool span_eq(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool span_is(struct span a, const char *s) { return span_eq(a, span_str(s)); }
// ptr + at. An empty span may have no address at all, and C lets nobody add even zero to that.
static inline const uint8_t *span_at(const uint8_t *ptr, size_t at) { return at ? ptr + at : ptr; }
// The bytes from `at` on; empty when `at` is past the end.
static inline struct span span_from(struct span s, size_t at) {
    return at >= s.len ? span_of(span_at(s.ptr, s.len), 0) : span_of(span_at(s.ptr, at), s.len - at);
}
// The first `n` bytes; all of them when there are fewer.
static inline struct span span_first(struct span s, size_t n) { return span_of(s.ptr, n < s.len ? n : s.len); }
// Whether `word`, which begins with a small letter or with _, stands somewhere in it, in letters of either case.
static inline bool span_has_word(struct span s, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.len; i++)
        if ((s.ptr[i] | 0x20) == (word[0] | 0x20) && strncasecmp((const char *)s.ptr + i, word, n) == 0) return true;
    return false;
}

// Big-endian numbers, as the protocol has them. The caller has checked that the bytes are there.
static inline uint16_t span_u16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t span_u32(const uint8_t *p) {
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}

// Reads a message from front to back. A read past the end sets `bad`, answers zero or an empty span, and so does every
// later one: check `bad` once at the end.
struct cursor {
    const uint8_t *ptr, *end;
    bool bad;
};

static inline struct cursor cursor_of(struct span s) { return (struct cursor){s.ptr, span_at(s.ptr, s.len), false}; }
static inline size_t cursor_left(const struct cursor *c) { return (size_t)(c->end - c->ptr); }
static inline struct span cursor_bytes(struct cursor *c, size_t n) {
    if (c->bad || n > cursor_left(c)) {
        c->bad = true;
        return span_of(c->end, 0);
    }
    struct span s = span_of(c->ptr, n);
    c->ptr = span_at(c->ptr, n);
    return s;
}
static inline uint8_t cursor_u8(struct cursor *c) {
    struct span s = cursor_bytes(c, 1);
    return c->bad ? 0 : s.ptr[0];
}
static inline uint16_t cursor_u16(struct cursor *c) {
    struct span s = cursor_bytes(c, 2);
    return c->bad ? 0 : span_u16(s.ptr);
}
static inline uint32_t cursor_u32(struct cursor *c) {
    struct span s = cursor_bytes(c, 4);
    return c->bad ? 0 : span_u32(s.ptr);
}
// The bytes before the next NUL, which is passed over; bad when there is none.
static inline struct span cursor_cstr(struct cursor *c) {
    size_t left = c->bad ? 0 : cursor_left(c);
    const uint8_t *nul = left ? (const uint8_t *)memchr(c->ptr, 0, left) : NULL;
    if (!nul) {
        c->bad = true;
        return span_of(c->end, 0);
    }
    struct span s = span_of(c->ptr, (size_t)(nul - c->ptr));
    c->ptr = nul + 1;
    return s;
}

#endif
