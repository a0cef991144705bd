// SPDX-License-Identifier: ISC
//
// tests/fuzz/wire_frame.c: a stream of messages, from a client (first byte even) or a server (odd).
//
// The messages follow each other without gaps; what has arrived of one never changes what it is taken for.
#include <stdlib.h>

#include "base/mem.h"
#include "router/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

// A prefix is read in memory of its own size, where a read past its end is seen.
static void check_prefix(enum frame_direction d, struct span in, size_t n, const struct frame *whole) {
    uint8_t *copy = mem_alloc(n);
    if (n) memcpy(copy, in.ptr, n);
    struct frame f;
    enum wire_result r = frame_next(d, span_of(copy, n), &f, NULL);
    check(r == (n < whole->total ? WIRE_MORE : WIRE_OK));
    check(n < PROTO_HEADER_LEN ? f.type == 0 && f.total == 0 : f.type == whole->type && f.total == whole->total);
    check(f.payload.len <= n && f.payload.len <= f.total);
    mem_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    enum frame_direction d = data[0] & 1 ? FRAME_FROM_SERVER : FRAME_FROM_CLIENT;
    struct span rest = span_of(data + 1, size - 1);
    struct frame f;
    struct fault fault = {.text = ""};
    enum wire_result r;
    while ((r = frame_next(d, rest, &f, &fault)) == WIRE_OK) {
        check(f.total >= PROTO_HEADER_LEN && f.total <= rest.len);
        check(f.payload.ptr == rest.ptr + PROTO_HEADER_LEN && f.payload.len == f.total - PROTO_HEADER_LEN);
        for (size_t n = 0; n <= f.total && n < 64; n++) check_prefix(d, rest, n, &f);
        check_prefix(d, rest, f.total - 1, &f);
        rest = span_from(rest, f.total);
    }
    if (r == WIRE_MORE) check(f.total == 0 ? rest.len < PROTO_HEADER_LEN : rest.len < f.total);
    check((r == WIRE_BAD) == (fault.text[0] != '\0'));
    return 0;
}
