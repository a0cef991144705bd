// SPDX-License-Identifier: ISC
//
// tests/fuzz/wire_startup.c: the first packet of a connection, and what is asked for in it.
//
// Cut at any byte it is more to come or what it is in full; a good one gives a user, a database and settings that are
// whole pairs, or a sentence about why not.
#include <stdlib.h>

#include "base/mem.h"
#include "router/session/login_request.h"
#include "router/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_request(struct span parameters) {
    struct login_request r;
    struct fault fault = {.text = ""};
    if (login_request_read(&r, parameters, &fault)) {
        check(r.user[0] && r.database[0] && strlen(r.user) < LOGIN_NAME_SIZE && strlen(r.database) < LOGIN_NAME_SIZE);
        struct cursor c = cursor_of(buf_span(&r.settings));
        while (cursor_left(&c)) {
            check(cursor_cstr(&c).len > 0);
            (void)cursor_cstr(&c);
            check(!c.bad);
        }
        for (size_t i = 0; i < r.n_unknown; i++) check(r.unknown[i].len >= 5);
    } else {
        check(fault.text[0] && strlen(fault.sqlstate) == 5);
    }
    login_request_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct startup whole, part;
    struct fault fault = {.text = ""};
    enum wire_result r = frame_startup(span_of(data, size), &whole, &fault);
    check((r == WIRE_BAD) == (fault.text[0] != '\0'));
    for (size_t n = 0; n < size && n < whole.total && n <= PROTO_STARTUP_MAX; n = n < 32 ? n + 1 : n * 2) {
        uint8_t *copy = mem_alloc(n);
        memcpy(copy, data, n);
        enum wire_result cut = frame_startup(span_of(copy, n), &part, NULL);
        check(cut == WIRE_MORE || (cut == WIRE_BAD && r == WIRE_BAD));
        mem_free(copy);
    }
    if (r != WIRE_OK) return 0;
    check(whole.total <= size && whole.total <= PROTO_STARTUP_MAX);
    if (whole.kind == STARTUP_CANCEL) check(whole.cancel_key.len == 4);
    if (whole.kind == STARTUP_VERSION_3) check_request(whole.parameters);
    return 0;
}
