// SPDX-License-Identifier: ISC
// router/session/parameters.c: see router/session/parameters.h.
#include "router/session/parameters.h"

// The bytes of the entry of that name; empty when there is none.
static struct span entry_of(const struct buf *b, struct span name, struct span *value) {
    struct cursor c = cursor_of(buf_span(b));
    while (cursor_left(&c)) {
        const uint8_t *start = c.ptr;
        struct span n = cursor_cstr(&c);
        *value = cursor_cstr(&c);
        if (span_eq(n, name)) return span_of(start, (size_t)(c.ptr - start));
    }
    return span_of(NULL, 0);
}

static void remove_entry(struct buf *b, struct span entry) {
    uint8_t *at = b->data + (entry.ptr - b->data);
    size_t behind = (size_t)(b->data + b->tail - (at + entry.len));
    memmove(at, at + entry.len, behind);
    buf_truncate(b, buf_len(b) - entry.len);
}

bool parameters_set(struct buf *b, struct span name, struct span value) {
    struct span old, entry = entry_of(b, name, &old);
    if (entry.len && old.len == value.len) { // most changes are on/off or of the same length
        memcpy(b->data + (old.ptr - b->data), value.ptr, value.len);
        return true;
    }
    if (entry.len) remove_entry(b, entry);
    if (name.len + value.len + 2 > b->limit - buf_len(b)) return false;
    buf_put_span(b, name);
    buf_put_u8(b, 0);
    buf_put_span(b, value);
    buf_put_u8(b, 0);
    return !b->failed;
}

const char *parameters_get(const struct buf *b, const char *name) {
    struct span value;
    return entry_of(b, span_str(name), &value).len ? (const char *)value.ptr : NULL;
}
