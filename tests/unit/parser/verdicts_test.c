// SPDX-License-Identifier: ISC
// What is found again, what leaves first, what is learned, what a new catalog forgets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "parser/verdicts.h"

enum { MAX_PARSE = 65536 };

static struct verdict get(struct verdicts *v, const char *sql) { return verdicts_get(v, span_str(sql), true); }

#define assert_stats(v, h, m, e, n)                                                                                    \
    do {                                                                                                               \
        struct verdicts_stats stats = verdicts_get_stats(v);                                                           \
        assert_int_equal(stats.hits, (h));                                                                             \
        assert_int_equal(stats.misses, (m));                                                                           \
        assert_int_equal(stats.evictions, (e));                                                                        \
        assert_int_equal(stats.entries, (n));                                                                          \
    } while (0)

static void hits(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, MAX_PARSE);
    assert_int_equal(get(v, "select 1").kind, VERDICT_READ);
    assert_stats(v, 0, 1, 0, 1);
    assert_int_equal(get(v, "select 2").kind, VERDICT_READ);
    assert_int_equal(get(v, "select 3 -- x").kind, VERDICT_READ);
    assert_stats(v, 2, 1, 0, 1);
    assert_int_equal(get(v, "select 'a'").kind, VERDICT_READ);
    assert_stats(v, 2, 2, 0, 2);
    // Not masked, and kept by their text.
    assert_int_equal(get(v, "set a = '1'").facts, FACT_SET);
    assert_int_equal(get(v, "set a = '1'").facts, FACT_SET);
    assert_int_equal(get(v, "set a = '2'").facts, FACT_SET);
    assert_stats(v, 3, 4, 0, 4);
    assert_int_equal(get(v, "/* pgsteer: primary */ select 1").reason, VERDICT_REASON_HINT_PRIMARY);
    assert_int_equal(get(v, "select 1").reason, VERDICT_REASON_READ);
    assert_int_equal(verdicts_get(v, span_of(NULL, 0), true).reason, VERDICT_REASON_EMPTY);
    verdicts_free(v);
    verdicts_free(NULL);
}

// The bytes of a text that cannot be masked may be those of another's masked form.
static void exact_is_not_masked(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, MAX_PARSE);
    assert_int_equal(get(v, "select 1").kind, VERDICT_READ);
    assert_int_equal(get(v, "select \x01").kind, VERDICT_UNKNOWN);
    assert_int_equal(get(v, "select 1").kind, VERDICT_READ);
    assert_int_equal(get(v, "select \x01").kind, VERDICT_UNKNOWN);
    assert_stats(v, 2, 2, 0, 2);
    verdicts_free(v);
}

static void last_used_stays(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(3, MAX_PARSE);
    get(v, "select a");
    get(v, "select b");
    get(v, "select c");
    get(v, "select a"); // b is the oldest now
    assert_stats(v, 1, 3, 0, 3);
    get(v, "select d");
    assert_stats(v, 1, 4, 1, 3);
    get(v, "select a");
    get(v, "select c");
    get(v, "select d");
    assert_stats(v, 4, 4, 1, 3);
    get(v, "select b");
    assert_stats(v, 4, 5, 2, 3);
    get(v, "select a"); // left for b
    assert_stats(v, 4, 6, 3, 3);
    verdicts_free(v);
}

// Against a list that is kept by hand, with more texts than room and a small table.
static void as_a_model_says(void **state) {
    (void)state;
    enum { ROOM = 20, TEXTS = 50, STEPS = 20000 };
    struct verdicts *v = verdicts_new(ROOM, MAX_PARSE);
    int model[ROOM] = {0}, used = 0;
    uint64_t expected_hits = 0, seed = 42;
    for (int i = 0; i < STEPS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int which = (int)((seed >> 33) % TEXTS), at = 0;
        if ((seed >> 60) & 1) which /= 4;
        char *sql = mem_printf("select column_%d from t where a = %d", which, i);
        assert_int_equal(get(v, sql).kind, VERDICT_READ);
        mem_free(sql);
        while (at < used && model[at] != which) at++;
        expected_hits += at < used;
        if (at == used && used < ROOM) used++;
        if (at == ROOM) at--;
        memmove(model + 1, model, (size_t)at * sizeof model[0]);
        model[0] = which;
    }
    assert_int_equal(verdicts_get_stats(v).hits, expected_hits);
    assert_int_equal(verdicts_get_stats(v).entries, ROOM);
    verdicts_free(v);
}

static char *long_select(size_t len, char filler) {
    char *sql = mem_alloc(len + 1);
    memset(sql, filler, len);
    memcpy(sql, "select ", 7);
    return sql;
}

static void long_keys(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, 20000);
    // A literal may be long.
    char *filler = long_select(15000, 'x'), *sql = mem_printf("select '%s'", filler);
    get(v, sql);
    assert_int_equal(get(v, "select 'x'").kind, VERDICT_READ);
    assert_stats(v, 1, 1, 0, 1);
    mem_free(sql);
    mem_free(filler);
    // A masked form may not: it is looked at each time.
    sql = long_select(10000, 'x');
    get(v, sql);
    assert_int_equal(get(v, sql).kind, VERDICT_READ);
    assert_stats(v, 1, 3, 0, 1);
    verdicts_learn_primary(v, span_str(sql));
    assert_int_equal(get(v, sql).kind, VERDICT_READ);
    mem_free(sql);
    sql = mem_printf("set a = '%2000d'", 1);
    get(v, sql);
    assert_int_equal(get(v, sql).kind, VERDICT_SESSION);
    assert_stats(v, 1, 6, 0, 1);
    mem_free(sql);
    // Too long to be parsed costs nothing and is not counted.
    sql = long_select(20001, 'x');
    assert_int_equal(get(v, sql).reason, VERDICT_REASON_TOO_LONG);
    verdicts_learn_primary(v, span_str(sql));
    assert_stats(v, 1, 6, 0, 1);
    mem_free(sql);
    verdicts_free(v);
}

// Keys are bounded together, not only in number.
static void bytes_are_bounded(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, MAX_PARSE);
    for (int i = 0; i < 100; i++) {
        char *rest = long_select(5000, 'x'), *sql = mem_printf("select c%d, %s", i, rest + 7);
        get(v, sql);
        mem_free(sql);
        mem_free(rest);
    }
    assert_true(verdicts_get_stats(v).entries <= 10);
    assert_true(verdicts_get_stats(v).evictions >= 90);
    verdicts_free(v);
}

static void learned(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, MAX_PARSE);
    struct catalog *c = catalog_new("db");
    get(v, "select 1 from v");
    verdicts_learn_primary(v, span_str("select 2 from v"));
    struct verdict got = get(v, "select 3 from v");
    assert_int_equal(got.kind, VERDICT_WRITE);
    assert_int_equal(got.reason, VERDICT_REASON_LEARNED);
    assert_int_equal(get(v, "select 'x' from v").kind, VERDICT_READ);
    // One that was not seen before, whose facts remain.
    verdicts_learn_primary(v, span_str("copy t to stdout"));
    got = get(v, "copy t to stdout");
    assert_int_equal(got.kind, VERDICT_WRITE);
    assert_int_equal(got.facts, FACT_COPY_OUT);
    verdicts_set_catalog(v, c);
    assert_int_equal(get(v, "select 3 from v").reason, VERDICT_REASON_READ);
    catalog_unref(c);
    verdicts_free(v);
}

static void catalogs(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, MAX_PARSE);
    struct catalog *one = catalog_new("db"), *two = catalog_new("db");
    catalog_add_function(one, "public", "f", 1, 1, CATALOG_HARMLESS);
    catalog_add_function(two, "public", "f", 1, 1, CATALOG_VOLATILE);
    assert_int_equal(get(v, "select f(1)").kind, VERDICT_UNKNOWN);
    verdicts_set_catalog(v, one);
    assert_int_equal(verdicts_get_stats(v).entries, 0);
    assert_int_equal(get(v, "select f(1)").kind, VERDICT_READ);
    verdicts_set_catalog(v, one); // the same: nothing is forgotten
    assert_int_equal(verdicts_get_stats(v).entries, 1);
    verdicts_set_catalog(v, two);
    catalog_unref(one);
    assert_int_equal(get(v, "select f(1)").reason, VERDICT_REASON_VOLATILE_FUNCTION);
    verdicts_set_catalog(v, NULL);
    assert_int_equal(get(v, "select f(1)").kind, VERDICT_UNKNOWN);
    verdicts_set_catalog(v, two);
    catalog_unref(two);
    assert_int_equal(get(v, "select f(1)").kind, VERDICT_WRITE);
    verdicts_free(v);
}

static void nonstandard_strings(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(100, MAX_PARSE);
    struct verdict got = verdicts_get(v, span_str("select '\\'; delete from t --'"), false);
    assert_int_equal(got.kind, VERDICT_UNKNOWN);
    assert_int_equal(got.reason, VERDICT_REASON_NONSTANDARD_STRINGS);
    assert_stats(v, 0, 0, 0, 0);
    verdicts_free(v);
}

static void no_room(void **state) {
    (void)state;
    struct verdicts *v = verdicts_new(0, 0);
    assert_int_equal(get(v, "select 1").reason, VERDICT_REASON_TOO_LONG);
    assert_int_equal(get(v, "").reason, VERDICT_REASON_EMPTY);
    verdicts_free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits),
        cmocka_unit_test(exact_is_not_masked),
        cmocka_unit_test(last_used_stays),
        cmocka_unit_test(as_a_model_says),
        cmocka_unit_test(long_keys),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(learned),
        cmocka_unit_test(catalogs),
        cmocka_unit_test(nonstandard_strings),
        cmocka_unit_test(no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
