// SPDX-License-Identifier: ISC
// The examples of RFC 4013, PostgreSQL's way with what cannot be prepared, and the bounds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/auth/saslprep.h"

// The cases were compared with what libpq's PQencryptPasswordConn hashes.
static const struct {
    const char *in, *out; // NULL: as it is
} cases[] = {
    {"pencil", NULL},
    {"", NULL},
    {"with space\t\x07", NULL},         // ASCII is never touched, prohibited or not
    {"I\xc2\xadX", "IX"},               // soft hyphen dropped
    {"\xc2\xaa", "a"},                  // feminine ordinal
    {"\xe2\x85\xa8", "IX"},             // Roman numeral nine
    {"p\xc3\xa4ss", NULL},              // composed already
    {"pa\xcc\x88ss", "p\xc3\xa4ss"},    // composed by NFKC
    {"\xef\xbc\xa1\xef\xbd\x82", "Ab"}, // full-width forms
    {"a\xc2\xa0"
     "b\xe3\x80\x80"
     "c",
     "a b c"}, // no-break and ideographic space
    {"a\xe2\x80\x8b"
     "b",
     "a b"},                        // zero-width space is in both tables; space comes first
    {"\xd8\xa7\x31", NULL},         // Arabic letter, then a digit: directions do not fit
    {"\xd8\xa7\x31\xd8\xa8", NULL}, // and with a letter at the end they do
    {"\xc2\xad", NULL},             // nothing would be left
    {"\xe2\x80\x8e", NULL},         // a prohibited mark (left-to-right)
    {"\xf0\x9f\x94\x91 key", NULL}, // unassigned in Unicode 3.2
    {"\xff\xfe", NULL},             // not UTF-8
    {"\xc3", NULL},                 // cut short
    {"\xed\xa0\x80", NULL},         // a surrogate
};

static void like_postgresql(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        struct secret in, out;
        assert_true(secret_set(&in, span_str(cases[i].in)));
        assert_true(saslprep(&in, &out));
        assert_string_equal((const char *)out.bytes, cases[i].out ? cases[i].out : cases[i].in);
        assert_int_equal(out.len, strlen((const char *)out.bytes));
    }
}

static void longest(void **state) {
    (void)state;
    char text[SECRET_MAX];
    struct secret in, out;
    memset(text, 'x', sizeof text);
    assert_true(secret_set(&in, span_of(text, SECRET_MAX - 1)));
    assert_true(saslprep(&in, &out));
    assert_int_equal(out.len, SECRET_MAX - 1);
    // U+FDFA, three bytes, becomes 33: 100 of it do not fit, 30 do.
    for (size_t i = 0; i < 100; i++) memcpy(text + 3 * i, "\xef\xb7\xba", 3);
    assert_true(secret_set(&in, span_of(text, 300)));
    assert_false(saslprep(&in, &out));
    assert_false(secret_is_set(&out));
    assert_true(secret_set(&in, span_of(text, 90)));
    assert_true(saslprep(&in, &out));
    assert_int_equal(out.len, 30 * 33);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_postgresql), cmocka_unit_test(longest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
