// SPDX-License-Identifier: ISC
// base/buf.c: see base/buf.h.
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum { BUF_FIRST_CAP = 256 };

void buf_release(struct buf *b) {
    mem_free(b->data);
    *b = buf_make(b->limit);
}

// Makes room for `n` bytes behind the tail: slides the queue to the front where that is enough, else grows.
static bool make_room(struct buf *b, size_t n) {
    size_t len = buf_len(b), want;
    if (b->failed || __builtin_add_overflow(len, n, &want) || want > b->limit) return false;
    if (b->cap - b->tail >= n) return true;
    if (b->head && want <= b->cap / 2) {
        memmove(b->data, b->data + b->head, len);
    } else {
        size_t cap = b->cap ? b->cap : BUF_FIRST_CAP;
        while (cap < want) cap *= 2;
        uint8_t *data = mem_try(NULL, cap);
        if (!data) return false;
        if (len) memcpy(data, b->data + b->head, len);
        mem_free(b->data);
        b->data = data;
        b->cap = (uint32_t)cap;
    }
    b->head = 0;
    b->tail = (uint32_t)len;
    return true;
}

uint8_t *buf_make_room(struct buf *b, size_t n) {
    if (!make_room(b, n)) {
        b->failed = true;
        return NULL;
    }
    return b->data ? b->data + b->tail : NULL; // no memory was needed for no bytes
}

void buf_consume(struct buf *b, size_t n) {
    b->head += (uint32_t)MIN_OF(n, buf_len(b));
    if (b->head == b->tail) b->head = b->tail = 0;
}

void buf_unread(struct buf *b, struct span s) {
    if (!s.len) return;
    if (b->head >= s.len) {
        b->head -= (uint32_t)s.len;
        memcpy(b->data + b->head, s.ptr, s.len);
        return;
    }
    size_t len = buf_len(b);
    if (!buf_reserve(b, s.len)) return;
    memmove(b->data + b->head + s.len, b->data + b->head, len);
    memcpy(b->data + b->head, s.ptr, s.len);
    b->tail += (uint32_t)s.len;
}

void buf_put_cstr(struct buf *b, const char *s) { buf_put(b, s, strlen(s) + 1); }

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    uint8_t *to = n < 0 ? NULL : buf_reserve(b, (size_t)n + 1);
    if (to) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
        b->tail += (uint32_t)n;
    }
    va_end(again);
}

size_t buf_msg_begin(struct buf *b, char type) {
    if (type) buf_put_u8(b, (uint8_t)type);
    size_t at = buf_len(b);
    buf_put_u32(b, 0);
    return at;
}

static void put_u32_at(struct buf *b, size_t at, uint32_t v) {
    uint8_t *p = b->data + b->head + at;
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

void buf_msg_end(struct buf *b, size_t at) {
    if (!b->failed) put_u32_at(b, at, (uint32_t)(buf_len(b) - at));
}

void buf_msg_lengthen(struct buf *b, size_t at, size_t more) {
    if (!b->failed) put_u32_at(b, at, span_u32(b->data + b->head + at) + (uint32_t)more);
}
