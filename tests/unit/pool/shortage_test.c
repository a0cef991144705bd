// SPDX-License-Identifier: ISC
//
// tests/unit/pool/shortage_test.c: router/session/pool.c when the process has no file descriptor for a connection.
//
// That is nobody's fault but ours: who waits goes on waiting, and nothing is said of the server.
#include "tests/unit/pool/pool_util.h"

#include <sys/resource.h>

static struct world w;

static int set_up(void **state) {
    (void)state;
    world_start(&w, 2);
    world_set_password(&w, "secret");
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    world_stop(&w);
    return 0;
}

static unsigned long long errors(enum stat_error e) { return atomic_load(&w.stats.errors[e]); }

// No new descriptor until it is called with true.
static void let_have_descriptors(bool yes) {
    static struct rlimit before;
    if (!yes) assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {3, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, yes ? &before : &none), 0);
}

static void without_descriptors_nothing_is_said_of_the_server(void **state) {
    (void)state;
    struct visitor v[3];
    unsigned long long counted = errors(STAT_ERROR_NO_DESCRIPTORS);
    visitor_wait(&v[0], &w);
    w.config.server_login_retry = 3600000; // that is for what servers do
    let_have_descriptors(false);
    (void)visitor_come(&v[1], &w);
    assert_true(errors(STAT_ERROR_NO_DESCRIPTORS) == counted + 1);
    (void)visitor_come(&v[2], &w);
    RUN_UNTIL(&w, errors(STAT_ERROR_NO_DESCRIPTORS) > counted + 2); // tried again
    assert_int_equal(v[1].failed + v[1].granted + v[2].failed, 0);  // and waited for
    assert_true(pool_is_full(world_pool(&w)));
    // Another worker has no better news of descriptors than we have.
    counted = errors(STAT_ERROR_NO_DESCRIPTORS);
    pools_nudged(w.pools);
    assert_true(errors(STAT_ERROR_NO_DESCRIPTORS) == counted);
    visitor_go(&v[0]); // what there is goes on being used
    assert_int_equal(v[1].granted, 1);
    let_have_descriptors(true);
    RUN_UNTIL(&w, v[2].granted);
    for (size_t i = 0; i < countof(w.reports); i++) assert_int_equal(w.reports[i], 0);
    assert_int_equal(errors(STAT_ERROR_SERVER_CONNECT), 0);
    visitor_go(&v[1]);
    visitor_go(&v[2]);
}

static void who_waits_for_a_descriptor_is_told(void **state) {
    (void)state;
    struct visitor v;
    w.config.query_wait_timeout = 300;
    let_have_descriptors(false);
    (void)visitor_come(&v, &w);
    RUN_UNTIL(&w, v.failed);
    let_have_descriptors(true);
    assert_string_equal(v.fault.sqlstate, "53300");
    assert_non_null(strstr(v.fault.hint, "file descriptor"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(without_descriptors_nothing_is_said_of_the_server),
        TEST(who_waits_for_a_descriptor_is_told),
    };
    return cmocka_run_group_tests(tests, worlds_begin, NULL);
}
