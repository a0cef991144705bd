// SPDX-License-Identifier: ISC
//
// base/buf.h: a queue of bytes, and a writer.
//
// Bytes go in at the back and are taken from the front. The memory is there only while bytes are: buf_release gives it
// back. A buf has a limit; a put that would pass it (or finds no memory) sets `failed`, writes nothing, and so does
// every later one: write a whole message, then check `failed` once. Single thread; the owner calls buf_release.
#ifndef PGSTEER_BASE_BUF_H
#define PGSTEER_BASE_BUF_H

#include "base/span.h"

// Every client has some, so numbers are small.
struct buf {
    uint8_t *data;
    uint32_t head, tail; // the queued bytes are data[head..tail)
    uint32_t cap, limit; // neither above BUF_LIMIT_MAX
    bool failed;
};

// Twice the longest message that PostgreSQL has.
#define BUF_LIMIT_MAX (UINT32_C(1) << 31)

// An empty buf that will not hold more than `limit` bytes, nor more than BUF_LIMIT_MAX.
static inline struct buf buf_make(size_t limit) {
    return (struct buf){.limit = limit < BUF_LIMIT_MAX ? (uint32_t)limit : BUF_LIMIT_MAX};
}
static inline size_t buf_len(const struct buf *b) { return b->tail - b->head; }
static inline struct span buf_span(const struct buf *b) {
    return span_of(span_at(b->data, b->head), b->tail - b->head);
}

// For buf_reserve, when there is no room yet.
NODISCARD uint8_t *buf_make_room(struct buf *b, size_t n);

// Frees the memory; the buf is empty and usable again, `failed` cleared.
void buf_release(struct buf *b);
// Empties it and keeps the memory, `failed` cleared.
static inline void buf_clear(struct buf *b) {
    b->head = b->tail = 0;
    b->failed = false;
}

// Room for at least `n` more bytes at the back, or NULL (and `failed`) past the limit. Follow with buf_commit.
NODISCARD static inline uint8_t *buf_reserve(struct buf *b, size_t n) {
    bool fits = n && n <= b->cap - b->tail && buf_len(b) + n <= b->limit && !b->failed;
    return LIKELY(fits) ? b->data + b->tail : buf_make_room(b, n);
}
static inline void buf_commit(struct buf *b, size_t n) { b->tail += (uint32_t)n; }
// Keeps the first `len` bytes, of at least so many.
static inline void buf_truncate(struct buf *b, size_t len) { b->tail = b->head + (uint32_t)len; }
// Drops `n` bytes from the front, at most all.
void buf_consume(struct buf *b, size_t n);
// Puts bytes before the first one.
void buf_unread(struct buf *b, struct span s);

static inline void buf_put(struct buf *b, const void *p, size_t n) {
    uint8_t *to = buf_reserve(b, n);
    if (!to) return;
    if (n) memcpy(to, p, n);
    b->tail += (uint32_t)n;
}
static inline void buf_put_span(struct buf *b, struct span s) { buf_put(b, s.ptr, s.len); }
static inline void buf_put_u8(struct buf *b, uint8_t v) { buf_put(b, &v, 1); }
// Big-endian, as all numbers of the protocol.
static inline void buf_put_u16(struct buf *b, uint16_t v) {
    uint8_t p[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    buf_put(b, p, sizeof p);
}
static inline void buf_put_u32(struct buf *b, uint32_t v) {
    uint8_t p[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    buf_put(b, p, sizeof p);
}
void buf_put_cstr(struct buf *b, const char *s);                        // with its NUL
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3); // without a NUL

// Protocol messages: buf_msg_begin writes the type (0 for none) and a length to be filled in, and answers where;
// buf_msg_end fills it in. Nothing is kept of a message that did not fit.
size_t buf_msg_begin(struct buf *b, char type);
void buf_msg_end(struct buf *b, size_t at);
// Adds to the length of an ended message: `more` bytes of it will be sent by other means.
void buf_msg_lengthen(struct buf *b, size_t at, size_t more);

#endif
