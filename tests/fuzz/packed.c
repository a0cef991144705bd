// SPDX-License-Identifier: ISC
// Any bytes as the parser's packed tree: nothing outside of them is read, and every message has an end.
#include "base/base.h"
#include "parser/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct packed m, unsigned depth) {
    const uint8_t *start = m.p;
    struct packed_field f;
    while (depth < 200 && packed_next(&m, &f)) {
        bug_unless(m.p > start && m.p <= m.end);
        bug_unless(f.bytes.ptr >= start && f.bytes.ptr + f.bytes.len <= m.end);
        if (f.of->type == PROTOBUF_C_TYPE_MESSAGE) read_all(packed_message(&f), depth + 1);
    }
    bug_unless(depth == 200 || m.p == m.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_all(packed_of(&pg_query__parse_result__descriptor, span_of(data, size)), 0);
    read_all(packed_of(&pg_query__scan_result__descriptor, span_of(data, size)), 0);
    return 0;
}
