// SPDX-License-Identifier: ISC
//
// tests/fuzz/wire_msg.c: the views of messages; the first byte says which.
//
// A view is refused or lies within the payload; what a good Parse was read from, we write again byte for byte.
#include <stdlib.h>

#include "base/mem.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_within(struct span part, struct span whole) {
    if (!part.ptr) {
        check(part.len == 0);
        return;
    }
    check(part.ptr >= whole.ptr && part.len <= whole.len && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_string(struct span part, struct span whole) {
    check_within(part, whole);
    check(!part.len || !memchr(part.ptr, 0, part.len));
}

static void view_parse(struct span in) {
    struct msg_parse m;
    if (!msg_parse(in, &m)) return;
    check_string(m.name, in);
    check_string(m.query, in);
    check_within(m.types, in);
    struct buf b = buf_make(in.len + 64);
    request_parse(&b, m.name, m.query, m.types);
    check(!b.failed && span_eq(span_from(buf_span(&b), PROTO_HEADER_LEN), in));
    buf_release(&b);
}

static void view_bind(struct span in) {
    struct msg_bind m;
    if (!msg_bind(in, &m)) return;
    check_string(m.portal, in);
    check_string(m.statement, in);
    check_within(m.rest, in);
    check(m.portal.len + m.statement.len + m.rest.len + 2 == in.len);
}

static void view_target(struct span in) {
    struct msg_target m;
    if (!msg_target(in, &m)) return;
    check_string(m.name, in);
    check(m.name.len + 2 == in.len);
}

static void view_execute(struct span in) {
    struct msg_execute m;
    if (!msg_execute(in, &m)) return;
    check_string(m.portal, in);
    check(m.portal.len + 5 == in.len);
}

static void view_strings(struct span in) {
    struct span a, b;
    if (msg_query(in, &a)) {
        check_string(a, in);
        check(msg_command_complete(in, &b) && a.len + 1 == in.len);
    }
    if (msg_parameter_status(in, &a, &b)) {
        check_string(a, in);
        check_string(b, in);
        check(a.len + b.len + 2 == in.len);
    }
}

static void view_error(struct span in) {
    struct msg_error e;
    msg_error(in, &e);
    const struct span fields[] = {e.severity, e.sqlstate, e.message, e.detail, e.hint};
    for (size_t i = 0; i < countof(fields); i++) check_string(fields[i], in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const views[])(struct span) = {view_parse,   view_bind,    view_target,
                                                 view_execute, view_strings, view_error};
    if (size == 0) return 0;
    uint8_t *copy = mem_alloc(size - 1);
    memcpy(copy, data + 1, size - 1);
    views[data[0] % countof(views)](span_of(copy, size - 1));
    mem_free(copy);
    return 0;
}
