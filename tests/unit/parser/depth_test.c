// SPDX-License-Identifier: ISC
// Texts as deep as they can be, on the stack that the router has: a verdict each, soon, and no crash.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "base/mem.h"
#include "parser/classify.h"
#include "parser/lex.h"
#include "tests/unit/parser/big_stack.h"

enum { MAX_LENGTH = 65536 };

// Unlimited, 1+1+1... would take 0.8 s on a fast machine. A sanitizer makes the library's moving of bytes slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MAX_SECONDS 5.0
#else
#define MAX_SECONDS 0.5
#endif

// `first`, then as many `more` and, behind `middle`, as many `last` as fit.
static const struct shape {
    const char *first, *more, *middle, *last;
} shapes[] = {
    {"select 1", "+1", "", ""},
    {"select 1", "::int", "", ""},
    {"select 1", "::a", "", ""},
    {"select 1", " || 1", "", ""},
    {"select 1", " collate a", "", ""},
    {"select 1", " at time zone 1", "", ""},
    {"select 1", " and 1", "", ""},
    {"select 1", " or not 1", "", ""},
    {"select ", "not ", "1", ""},
    {"select ", "- ", "1", ""},
    {"select ", "+ ", "1", ""},
    {"select ", "-(", "1", ")"},
    {"select ", "(", "1", ")"},
    {"select ", "(1+", "1", ")"},
    {"select ", "f(", "1", ")"},
    {"select ", "(select ", "1", ")"},
    {"select * from ", "(select * from ", "t", ") x"},
    {"select ", "exists (select ", "1", ")"},
    {"select array", "[", "1", "]"},
    {"select ", "row(", "1", ")"},
    {"select ", "case when ", "1", " then 1 end"},
    {"select ", "cast(", "1", " as int)"},
    {"select a", "[1]", "", ""},
    {"select a", ".b", "", ""},
    {"select 1", " union select 1", "", ""},
    {"select * from a", " cross join a", "", ""},
    {"select * from a", " natural join a", "", ""},
    {"select * from ", "(", "a cross join a", ")"},
    {"select 1 where a", " in (1) or a", "", ""},
    {"", "with a as (", "select 1", ") select 1"},
    {"select 1", ",1", "", ""},
    {"select 1", ";select 1", "", ""},
    {"explain ", "(", "select 1", ")"},
    {"values (1)", ",(1)", "", ""},
};

static char *build(const struct shape *s, size_t limit) {
    size_t fixed = strlen(s->first) + strlen(s->middle), each = strlen(s->more) + strlen(s->last);
    size_t n = (limit - fixed) / each, at = 0;
    char *text = mem_alloc(limit + 1);
#define PUT(part) (memcpy(text + at, (part), strlen(part)), at += strlen(part))
    PUT(s->first);
    for (size_t i = 0; i < n; i++) PUT(s->more);
    PUT(s->middle);
    for (size_t i = 0; i < n; i++) PUT(s->last);
#undef PUT
    return text;
}

struct job {
    const char *sql;
    struct verdict verdict;
    double seconds;
};

static void *judge(void *arg) {
    struct job *j = arg;
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    j->verdict = classify(span_str(j->sql), &(struct classify_options){.max_length = MAX_LENGTH});
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    j->seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    return NULL;
}

static void deep(void **state) {
    (void)state;
    // From shallow to the longest text that is parsed: the grammar's own limit lies between.
    static const size_t lengths[] = {1000, 5000, 10000, 20000, 40000, MAX_LENGTH};
    for (size_t i = 0; i < countof(shapes); i++)
        for (size_t k = 0; k < countof(lengths); k++) {
            char *sql = build(&shapes[i], lengths[k]);
            struct job job = {.sql = sql};
            on_big_stack(judge, &job);
            if (job.seconds > MAX_SECONDS) fail_msg("%.60s...: %.3f s", sql, job.seconds);
            mem_free(sql);
        }
}

static enum verdict_reason reason_of(const char *sql) {
    struct job job = {.sql = sql};
    on_big_stack(judge, &job);
    return job.verdict.reason;
}

static void chains(void **state) {
    (void)state;
    char *sql = build(&shapes[0], 2000);
    assert_int_equal(reason_of(sql), VERDICT_REASON_READ);
    mem_free(sql);
    sql = build(&shapes[0], MAX_LENGTH);
    assert_int_equal(reason_of(sql), VERDICT_REASON_TOO_DEEP);
    mem_free(sql);
    // Long, but not deep.
    sql = build(&(struct shape){"select 1 where a = 1", " or a = 1", "", ""}, MAX_LENGTH);
    assert_int_equal(reason_of(sql), VERDICT_REASON_READ);
    mem_free(sql);
    sql = build(&(struct shape){"select 1", ",-1", "", ""}, MAX_LENGTH);
    assert_int_equal(reason_of(sql), VERDICT_REASON_READ);
    mem_free(sql);
    sql = build(&(struct shape){"select '", "+-*/", "'", ""}, MAX_LENGTH);
    assert_int_equal(reason_of(sql), VERDICT_REASON_READ);
    mem_free(sql);
}

static void chain_counts(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        size_t count;
    } cases[] = {
        {"select 1 + 2 - 3", 2},
        {"select 1 + 2, 3 - 4", 1},
        {"select a + b and c - d or e * f", 1},
        {"select a::b::c", 2},
        {"select a + (b - (c * d)) + e", 3},
        {"select a + (b - c, d) + (e * f)", 3},
        {"select a + f(b, c + d + e)", 3},
        {"select a[1+2]+3", 1},
        {"select '+++' || \"+++\" /* +++ */ || $$+++$$ || $a$+++$a$ -- +++", 6},
        {"select e'\\'+++' + E'++' + b'++' + x'++'", 3},
        {"select 1e+5 + 1.5e-5 + 1e5", 2},
        {"select $1 + $2", 1},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        if (!lex_chains(span_str(cases[i].sql), cases[i].count - 1)) fail_msg("%s: fewer", cases[i].sql);
        if (lex_chains(span_str(cases[i].sql), cases[i].count)) fail_msg("%s: more", cases[i].sql);
    }
    assert_false(lex_chains(span_str("::::::"), 1));
    assert_false(lex_chains(span_str("select 'a + + + +"), 1));
    assert_false(lex_chains(span_of(NULL, 0), 0));
}

// More parentheses than are told apart only make the count larger.
static void many_levels(void **state) {
    (void)state;
    char *sql = build(&(struct shape){"select ", "(1,", "1", ")"}, 4000);
    assert_false(lex_chains(span_str(sql), 1));
    mem_free(sql);
    sql = build(&(struct shape){"select ", "(1+", "1", ")"}, 4000);
    assert_true(lex_chains(span_str(sql), 900));
    mem_free(sql);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep),
        cmocka_unit_test(chains),
        cmocka_unit_test(chain_counts),
        cmocka_unit_test(many_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
