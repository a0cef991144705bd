// SPDX-License-Identifier: ISC
// tests/unit/session/database_test.c: which databases a worker goes on to know.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>
#include <stdio.h>

#include "router/session/database.h"

struct fixture {
    struct databases all;
    int dropped;
    char last[64];
};

static void on_dropped(void *arg, const char *name) {
    struct fixture *f = arg;
    f->dropped++;
    snprintf(f->last, sizeof f->last, "%s", name);
}

static int setup(void **state) {
    static struct fixture f;
    f = (struct fixture){
        .all = {.verdict_cache_size = 100, .max_parse_length = 65536, .dropped = on_dropped, .arg = &f}};
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    databases_fini(&f->all);
    return 0;
}

static size_t count(const struct fixture *f) { return HASH_COUNT(f->all.all); }

static struct database *get(struct fixture *f, const char *name) { return databases_get(&f->all, name); }
static void leave(struct fixture *f, struct database *d) { databases_leave(&f->all, d); }

static void set_catalog(struct fixture *f, const char *name) {
    struct catalog *c = catalog_new(name);
    databases_set_catalog(&f->all, c);
    catalog_unref(c);
}

static void names_that_no_server_knows_leave_nothing(void **state) {
    struct fixture *f = *state;
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "made_up_%d", i);
        struct database *d = get(f, name), *again = get(f, name);
        assert_ptr_equal(d, again);
        assert_null(d->verdicts); // it is a name and no more
        leave(f, d);
        assert_int_equal(count(f), 1);
        leave(f, again);
        assert_int_equal(count(f), 0);
    }
    assert_int_equal(f->dropped, 0); // nobody was asked for their catalogs
}

static void one_that_exists_stays(void **state) {
    struct fixture *f = *state;
    struct database *d = get(f, "app");
    set_catalog(f, "app"); // another worker's
    assert_null(d->catalog);
    assert_true(databases_accept(&f->all, d, 4711));
    assert_false(databases_accept(&f->all, d, 4712));
    assert_int_equal(d->accepted_us, 4711);
    set_catalog(f, "app");
    leave(f, d);
    assert_ptr_equal(get(f, "app"), d);
    assert_non_null(d->catalog);
    leave(f, d);
    assert_int_equal(f->dropped, 0);
}

static void one_that_is_dropped_goes_with_its_clients(void **state) {
    struct fixture *f = *state;
    struct database *d = get(f, "app");
    assert_true(databases_accept(&f->all, d, 1));
    (void)database_verdict(d, span_str("select 1"), true);
    struct verdicts_stats before = databases_stats(&f->all);
    assert_int_equal(before.misses, 1);
    databases_miss(&f->all, "app");
    databases_miss(&f->all, "another");
    assert_int_equal(count(f), 1);
    leave(f, d);
    assert_int_equal(count(f), 0);
    assert_int_equal(f->dropped, 1);
    assert_string_equal(f->last, "app");
    assert_int_equal(databases_stats(&f->all).misses, 1); // a counter never goes back
    // ... and is made anew.
    d = get(f, "app");
    assert_false(d->accepted || d->missing);
    assert_true(databases_accept(&f->all, d, 2));
    leave(f, d);
    databases_miss(&f->all, "app"); // without clients it goes at once
    assert_int_equal(count(f), 0);
    assert_int_equal(f->dropped, 2);
}

static void one_that_is_there_again_stays(void **state) {
    struct fixture *f = *state;
    struct database *d = get(f, "app");
    assert_true(databases_accept(&f->all, d, 1));
    databases_miss(&f->all, "app");
    set_catalog(f, "app");
    leave(f, d);
    assert_int_equal(count(f), 1);
}

// A connection of the pool that has not seen its end yet.
static void statements_in_use_keep_it(void **state) {
    struct fixture *f = *state;
    struct database *d = get(f, "app");
    assert_true(databases_accept(&f->all, d, 1));
    struct statement *s =
        statements_intern(d->statements, span_str("select 1"), span_of("\0\0", 2), (struct meaning){0});
    databases_miss(&f->all, "app");
    leave(f, d);
    assert_int_equal(count(f), 1);
    statement_unref(s);
    databases_miss(&f->all, "app"); // it is said as often as the catalog is looked for
    assert_int_equal(count(f), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names_that_no_server_knows_leave_nothing),
        TEST(one_that_exists_stays),
        TEST(one_that_is_dropped_goes_with_its_clients),
        TEST(one_that_is_there_again_stays),
        TEST(statements_in_use_keep_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
