// SPDX-License-Identifier: ISC
// Every view on a good message, on that message cut at every byte, and with a byte too many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "router/wire/msg.h"

#define BYTES(text) span_of(text, sizeof text - 1)

static bool view_parse(struct span s) {
    struct msg_parse m;
    return msg_parse(s, &m);
}
static bool view_bind(struct span s) {
    struct msg_bind m;
    return msg_bind(s, &m);
}
static bool view_target(struct span s) {
    struct msg_target m;
    return msg_target(s, &m);
}
static bool view_execute(struct span s) {
    struct msg_execute m;
    return msg_execute(s, &m);
}
static bool view_query(struct span s) {
    struct span sql;
    return msg_query(s, &sql);
}
static bool view_complete(struct span s) {
    struct span tag;
    return msg_command_complete(s, &tag);
}
static bool view_status(struct span s) {
    struct span name, value;
    return msg_parameter_status(s, &name, &value);
}

// In memory of just that size, so that a sanitizer sees a read past the end.
static bool view_copy(bool (*view)(struct span), struct span s) {
    uint8_t *copy = malloc(s.len ? s.len : 1);
    assert_non_null(copy);
    memcpy(copy, s.ptr, s.len);
    bool ok = view(span_of(copy, s.len));
    free(copy);
    return ok;
}

static void whole_cut_and_overlong(void **state) {
    (void)state;
    const struct {
        bool (*view)(struct span);
        struct span good; // and one byte more in memory, which makes it bad
        size_t least;     // bytes from which on it is good
    } cases[] = {
        {view_parse, BYTES("s1\0select $1\0\0\2\0\0\0\27\0\0\0\31"), 23},
        {view_parse, BYTES("\0\0\0\0"), 4},
        {view_bind, BYTES("p\0s\0"), 4},
        {view_target, BYTES("Sname\0"), 6},
        {view_target, BYTES("P\0"), 2},
        {view_execute, BYTES("p\0\0\0\0\1"), 6},
        {view_query, BYTES("select 1\0"), 9},
        {view_complete, BYTES("SELECT 1\0"), 9},
        {view_status, BYTES("TimeZone\0UTC\0"), 13},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        assert_int_equal(cases[i].good.len, cases[i].least);
        for (size_t n = 0; n < cases[i].good.len; n++)
            assert_false(view_copy(cases[i].view, span_first(cases[i].good, n)));
        assert_true(view_copy(cases[i].view, cases[i].good));
        // A byte too many: the NUL behind the literal.
        struct span more = span_of(cases[i].good.ptr, cases[i].good.len + 1);
        assert_int_equal(view_copy(cases[i].view, more), cases[i].view == view_bind);
    }
}

static void parse_fields(void **state) {
    (void)state;
    struct msg_parse m;
    assert_true(msg_parse(BYTES("s1\0select $1\0\0\2\0\0\0\27\0\0\0\31"), &m));
    assert_true(span_is(m.name, "s1") && span_is(m.query, "select $1"));
    assert_true(span_eq(m.types, BYTES("\0\2\0\0\0\27\0\0\0\31")));
    assert_false(msg_parse(BYTES("\0\0\xff\xff\0\0\0\0"), &m)); // 65,535 types claimed, one there
}

static void bind_fields(void **state) {
    (void)state;
    struct msg_bind m;
    assert_true(msg_bind(BYTES("p\0stmt\0\0\0\0\0\0\0"), &m));
    assert_true(span_is(m.portal, "p") && span_is(m.statement, "stmt"));
    assert_true(span_eq(m.rest, BYTES("\0\0\0\0\0\0")));
    assert_true(msg_bind(BYTES("\0\0"), &m));
    assert_int_equal(m.rest.len, 0);
}

static void target_kinds(void **state) {
    (void)state;
    struct msg_target m;
    assert_true(msg_target(BYTES("Sx\0"), &m));
    assert_int_equal(m.kind, 'S');
    assert_true(span_is(m.name, "x"));
    assert_true(msg_target(BYTES("Px\0"), &m));
    assert_int_equal(m.kind, 'P');
    assert_false(msg_target(BYTES("Xx\0"), &m));
    assert_false(msg_target(BYTES("\0x\0"), &m));
}

static void execute_fields(void **state) {
    (void)state;
    struct msg_execute m;
    assert_true(msg_execute(BYTES("c\0\xff\xff\xff\xff"), &m));
    assert_true(span_is(m.portal, "c"));
    assert_int_equal(m.max_rows, UINT32_MAX);
}

static void strings_hold_no_nul(void **state) {
    (void)state;
    struct span text, value;
    assert_true(msg_query(BYTES("\0"), &text));
    assert_int_equal(text.len, 0);
    assert_false(msg_query(BYTES("select 1\0; drop table t\0"), &text));
    assert_false(msg_command_complete(BYTES("SELECT\0 1\0"), &text));
    assert_true(msg_command_complete(BYTES("INSERT 0 1\0"), &text));
    assert_true(span_is(text, "INSERT 0 1"));
    assert_true(msg_parameter_status(BYTES("a\0\0"), &text, &value));
    assert_true(span_is(text, "a") && span_is(value, ""));
}

static void error_fields(void **state) {
    (void)state;
    struct msg_error e;
    struct span whole = BYTES("SERROR\0VERROR\0C42601\0Mno\0Ddetail\0Hhint\0P5\0\0");
    msg_error(whole, &e);
    assert_true(span_is(e.severity, "ERROR") && span_is(e.sqlstate, "42601") && span_is(e.message, "no"));
    assert_true(span_is(e.detail, "detail") && span_is(e.hint, "hint"));
    msg_error(BYTES("Mno\0\0C42601\0"), &e); // what follows the end is not read
    assert_true(span_is(e.message, "no"));
    assert_null(e.sqlstate.ptr);
    assert_null(e.severity.ptr);
}

static void error_cut_at_every_byte(void **state) {
    (void)state;
    struct span whole = BYTES("SERROR\0C42601\0Mno\0\0");
    for (size_t n = 0; n <= whole.len; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, whole.ptr, n);
        struct msg_error e;
        msg_error(span_of(copy, n), &e);
        assert_int_equal(e.severity.ptr != NULL, n >= 7);
        assert_int_equal(e.sqlstate.ptr != NULL, n >= 14);
        assert_int_equal(e.message.ptr != NULL, n >= 18);
        assert_null(e.hint.ptr);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_cut_and_overlong),
        cmocka_unit_test(parse_fields),
        cmocka_unit_test(bind_fields),
        cmocka_unit_test(target_kinds),
        cmocka_unit_test(execute_fields),
        cmocka_unit_test(strings_hold_no_nul),
        cmocka_unit_test(error_fields),
        cmocka_unit_test(error_cut_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
