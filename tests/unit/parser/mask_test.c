// SPDX-License-Identifier: ISC
// What shares a key, what must not, what has none.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"
#include "parser/mask.h"

enum { CAP = 20000 };

// The masked form with its marks as digits behind a bar, so that it can be read; "" when there is none.
static const char *shown(const char *sql, size_t len) {
    static char text[2 * CAP];
    static uint8_t out[CAP];
    size_t n = mask(span_of(sql, len), out, sizeof out), at = 0;
    for (size_t i = 0; i < n; i++) {
        if (out[i] < 32) {
            text[at++] = '|';
            text[at++] = (char)('0' + out[i]);
        } else {
            text[at++] = (char)out[i];
        }
    }
    text[at] = 0;
    return text;
}

static void forms(void **state) {
    (void)state;
    static const struct {
        const char *sql, *masked;
    } cases[] = {
        // classes of literals
        {"select 1", "select |1"},
        {"SELECT 12345", "SELECT |1"},
        {"select 2147483647, 2147483648, 0002147483647", "select |1, |2, |1"},
        {"select 1.5, 1., 1e5, 1.5E-10, 99999999999", "select |2, |2, |2, |2, |2"},
        {"select 'a', '', 'it''s', 'a\\'", "select |3, |3, |3, |3"},
        {"select e'a\\n\\\\', E'''', E'x''y'", "select |3, |3, |3"},
        {"select $$a$$, $t$a'$$b$t$, $$$$, $_1$x$_1$", "select |3, |3, |3, |3"},
        {"select b'01', B'', x'1F', X''", "select |4, |4, |5, |5"},
        {"select n'a', N'it''s'", "select |6, |6"},
        {"select true, null", "select true, null"},
        {"select -1, +1, - 1", "select -|1, +|1, - |1"},
        {"select date '2024-01-01', interval '1' day, int4 '1'", "select date |3, interval |3 day, int4 |3"},
        // not literals
        {"select $1, $22::int from t1 where a1 = b_2", "select $1, $22::int from t1 where a1 = b_2"},
        {"select a$1, a$$, _1, \xc3\xa9"
         "1, t1.c1",
         "select a$1, a$$, _1, \xc3\xa9"
         "1, t1.c1"},
        {"select \"a 1\", \"it's 2\", \"a\"\"3\", \"--\", \"/*\" from \"T\"",
         "select \"a 1\", \"it's 2\", \"a\"\"3\", \"--\", \"/*\" from \"T\""},
        {"select \"a\"1, 'b'c, 1\"d\"", "select \"a\"|1, |3c, |1\"d\""},
        {"select be'x', ne 'y' from t", "select be|3, ne |3 from t"},
        {"select \"e\"'x', a.e'x', (e)'x'", "select \"e\"|3, a.|3, (e)|3"},
        // white space and comments
        {"  select 1  ", "select |1"},
        {"\n\tselect\n\t  1\r\n", "select |1"},
        {"select\n1 ,\n 2", "select |1 , |1"},
        {"select/**/1--x", "select |1"},
        {"select /* a /* nested ' */ \" */ 1 -- 'x\n from t", "select |1 from t"},
        {"select 1 --x\r from t", "select |1 from t"},
        {"/* lead */ -- more\n select 1", "select |1"},
        {"select 1 - -1, 1*/**/2, 1/2", "select |1 - -|1, |1* |1, |1/|1"},
        {"select 1;", "select |1"},
        {"select 1 ; ; -- done\n;", "select |1"},
        {"( (select 1) )", "( (select |1) )"},
        // lists
        {"select 1 where a in (1)", "select |1 where a in (|7)"},
        {"select 1 where a in (1,2,3)", "select |1 where a in (|7)"},
        {"select 1 where a IN ( 'a' , 2 ,\n 3.5, E'x' )", "select |1 where a IN (|7)"},
        {"select 1 where a not in (1, 2) and b in (3)", "select |1 where a not in (|7) and b in (|7)"},
        {"select 1 where a in (1, f(2), 3)", "select |1 where a in (|7, f(|1), |1)"},
        {"select 1 where a in (1 + 2, 3)", "select |1 where a in (|1 + |1, |1)"},
        {"select 1 where a in (1, 2 + 3, 4)", "select |1 where a in (|7, |1 + |1, |1)"},
        {"select 1 where a in (-1, 2)", "select |1 where a in (-|1, |1)"},
        {"select 1 where a in ($1, $2)", "select |1 where a in ($1, $2)"},
        {"select 1 where a in ((1, 2), (3, 4))", "select |1 where a in ((|1, |1), (|1, |1))"},
        {"select 1 where a in (1::int, 2)", "select |1 where a in (|1::int, |1)"},
        {"select 1 where a in (1 /* x */, 2)", "select |1 where a in (|1 , |1)"},
        {"select 1 where a in (date '1')", "select |1 where a in (date |3)"},
        {"insert into t values (1)", "insert into t values (|7)"},
        {"insert into t values (1, 'a', 2.5)", "insert into t values (|7)"},
        {"insert into t values (1,2),(3,4), (5,6)\n,(7)", "insert into t values (|7)"},
        {"insert into t (a) VALUES(1), (2) returning a", "insert into t (a) VALUES(|7) returning a"},
        {"insert into t values (1, default), (2, 3)", "insert into t values (|7, default), (|1, |1)"},
        {"insert into t values (1), (f(2)), (3)", "insert into t values (|7), (f(|1)), (|1)"},
        {"values (1), (2) union values (3)", "values (|7) union values (|7)"},
        // where a list is not one
        {"select f(1, 2), (1, 2), array[1, 2]", "select f(|1, |1), (|1, |1), array[|1, |1]"},
        {"select a.in(1, 2), a.values(1, 2)", "select a.in(|1, |1), a.values(|1, |1)"},
        {"select a . in (1, 2)", "select a . in (|1, |1)"},
        {"insert into t as values (1, 2)", "insert into t as values (|1, |1)"},
        {"select main(1, 2), \"in\"(1, 2), xvalues(1, 2)", "select main(|1, |1), \"in\"(|1, |1), xvalues(|1, |1)"},
        {"select 1 limit 1, 2", "select |1 limit |1, |1"},
        {"select 1::numeric(10, 2)", "select |1::numeric(|1, |1)"},
        // hints
        {"/* pgsteer: primary */ select 1", "select |1|8|1"},
        {"select 1 -- pgsteer: replica", "select |1|8|2"},
        {"select 1; /*pgsteer:replica*/", "select |1|8|2"},
        {"select/* pgsteer: replica */1 /* pgsteer: primary */", "select |1|8|3"},
        {"select 1 /* pgsteer: nothing */", "select |1"},
        {"select '/* pgsteer: primary */'", "select |3"},
        {"select \"/* pgsteer: primary */\"", "select \"/* pgsteer: primary */\""},
        // first words
        {"WITH a AS (SELECT 1) SELECT 2", "WITH a AS (SELECT |1) SELECT |1"},
        {"update t set a = 1", "update t set a = |1"},
        {"DELETE from t where a = 'x'", "DELETE from t where a = |3"},
        {"merge into t using u on t.a = 1 when matched then delete",
         "merge into t using u on t.a = |1 when matched then delete"},
        {"table t", "table t"},
        // near set_config and float
        {"select my_set_config(1), float8(1), afloat(1), a::float, b::float, (1)",
         "select my_set_config(|1), float8(|1), afloat(|1), a::float, b::float, (|1)"},
        {"select u & \"b\", a&b, 1&2, u&$1", "select u & \"b\", a&b, |1&|1, u&$1"},
    };
    for (size_t i = 0; i < countof(cases); i++)
        if (strcmp(shown(cases[i].sql, strlen(cases[i].sql)), cases[i].masked) != 0)
            fail_msg("%s\n    gives %s\n    not   %s", cases[i].sql, shown(cases[i].sql, strlen(cases[i].sql)),
                     cases[i].masked);
}

static void refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        ";",
        "-- x",
        "/* x */",
        "1",
        "'select'",
        "\"select\" 1",
        // other statements
        "explain (analyze 0) select 1",
        "set a = 1",
        "begin",
        "copy t from stdin",
        "create table t (a int default 1)",
        "selects 1",
        "select1",
        "show a",
        "prepare p as select 1",
        "declare c cursor for select 1",
        "execute p(1)",
        "do 'x'",
        "call p(1)",
        "; select 1",
        "end",
        "fetch 1 from c",
        // several statements
        "select 1; select 2",
        "select 1;; set a = 'b'",
        "select 1; x",
        "select 1;1",
        "select 1;'a'",
        "select 1;(",
        // what depends on the literals
        "select set_config('a', 'b', true)",
        "select SET_CONFIG ('a', 'b', true)",
        "select \"set_config\"('a', 'b', 'c')",
        "select pg_catalog.set_config\n('a', 'b', 'c')",
        "select set_config/* pgsteer: primary */('a', 'b', 'c')",
        "select 1::float(5)",
        "select 1::FLOAT (5)",
        "select float/**/(5) '1'",
        // strings that are not what they seem
        "select 'a' 'b'",
        "select 'a'\n'b'",
        "select 'a' -- x\n 'b'",
        "select e'a'\n'b'",
        "select $$a$$ 'b'",
        "select x'1'\n'2'",
        "select n'1'\n'2'",
        "select b'0''1'",
        "select 1 where a in ('a'\n'b')",
        "insert into t values (1),('a'\n'b')",
        "select e'\\x41'",
        "select e'\\u0041'",
        "select e'\\''",
        "select e'\\101'",
        "select e'\\q'",
        "select u&'a'",
        "select U&'\\0041'",
        "select u&\"a\"",
        "select U&\"d\\0061\" uescape '!'",
        // numbers that are not what they seem
        "select .5",
        "select t.5",
        "select 1..2",
        "select 1.5.2",
        "select 1a",
        "select 1_000",
        "select 0x1f",
        "select 1e",
        "select 1e+",
        "select 1.e",
        "select 1$1",
        "select $1a",
        "select $1$",
        "select 1.5a",
        // what does not end, or cannot be
        "select 'a",
        "select \"a",
        "select \"a\"\"",
        "select e'a",
        "select e'a\\",
        "select $$a",
        "select $a$ b $$",
        "select $a",
        "select $",
        "select /* a",
        "select /* /* */",
        "select 1 \\",
        "select {1}",
        "select 1 \x01",
        "select 1\v+ 2",
        "select \x7f",
        "select 1 } ",
    };
    for (size_t i = 0; i < countof(cases); i++)
        if (*shown(cases[i], strlen(cases[i])))
            fail_msg("%s\n    gives %s", cases[i], shown(cases[i], strlen(cases[i])));
    assert_string_equal(shown("select 1\0", 9), "");
    assert_string_equal(shown("select '\0'", 10), "");
    assert_string_equal(shown("select \"\0\"", 10), "");
    assert_string_equal(shown(NULL, 0), "");
}

// Every state of the scanner at every place in its block of eight, and at the end of the text.
static void alignment(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } parts[] = {
        {"'x'", "|3"},           {"\"a'1\"", "\"a'1\""},   {"123", "|1"},
        {"/* ' */", " "},        {"-- \"\n", " "},         {"$$'$$", "|3"},
        {"\n \n", " "},          {"a1b2", "a1b2"},         {"$12", "$12"},
        {"in (1,2)", "in (|7)"}, {"\"\"\"\"", "\"\"\"\""}, {"E'\\n'", "|3"},
        {"1.5e3", "|2"},
    };
    for (size_t i = 0; i < countof(parts); i++)
        for (int before = 0; before < 20; before++)
            for (int after = 0; after < 20; after++) {
                char sql[200], expected[200];
                bool space = parts[i].out[0] == ' ';
                snprintf(sql, sizeof sql, "select %.*s,%s%.*s", before, "aaaaaaaaaaaaaaaaaaaa", parts[i].in, after,
                         ",bbbbbbbbbbbbbbbbbbb");
                snprintf(expected, sizeof expected, "select %.*s,%s%.*s", before, "aaaaaaaaaaaaaaaaaaaa",
                         space && after == 0 ? "" : parts[i].out, after, ",bbbbbbbbbbbbbbbbbbb");
                assert_string_equal(shown(sql, strlen(sql)), expected);
            }
}

// The text is in memory of exactly its size, and so is the room: a sanitizer sees any step beyond.
static void bounds(void **state) {
    (void)state;
    static const char sql[] = "select 'a', \"b\", $$c$$, e'\\n', 1.5e10, $1, x'1' from t where a in (1, 2) -- x";
    for (size_t len = 0; len < sizeof sql; len++) {
        char *text = mem_alloc(len);
        memcpy(text, sql, len);
        uint8_t *room = mem_alloc(len + MASK_SLACK);
        size_t n = mask(span_of(text, len), room, len + MASK_SLACK);
        assert_true(n <= len + MASK_SLACK);
        assert_int_equal(mask(span_of(text, len), room, len + MASK_SLACK - 1), 0);
        mem_free(room);
        mem_free(text);
    }
    assert_int_equal(mask(span_str("select 1"), NULL, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(refused),
        cmocka_unit_test(alignment),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
