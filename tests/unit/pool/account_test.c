// SPDX-License-Identifier: ISC
// Tests of router/session/pools.c: accounts, and which pool they find for a server.
#include "tests/unit/pool/pool_util.h"

static struct world w;

static int set_up(void **state) {
    (void)state;
    world_start(&w, 1);
    world_set_password(&w, "secret");
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    world_stop(&w);
    return 0;
}

static void names_of_any_length(void **state) {
    (void)state;
    char name[1000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    struct pool *p = pool_as(w.pools, name, name, NULL);
    assert_ptr_equal(pool_as(w.pools, name, name, NULL), p);
    name[0] = 'm';
    assert_ptr_not_equal(pool_as(w.pools, name, name, NULL), p);
    // The parts do not run into each other.
    assert_ptr_not_equal(pool_as(w.pools, "ab", "c", NULL), pool_as(w.pools, "a", "bc", NULL));
}

// `first` and `second`, of which one is the world's own.
static struct topology *two_servers(const char *first, const char *second) {
    struct topology *t = topology_new(2);
    const char *names[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        bool own = strcmp(names[i], "pg1") == 0;
        struct node_live *live = own ? w.topology->nodes[0].live : node_live_new();
        topology_set_node(t, i, names[i], "localhost", ntohs(w.fake.address.sin_port), "", live);
        if (!own) node_live_unref(live);
        t->nodes[i].state = NODE_STATE_UP;
    }
    t->primary = -1;
    return t;
}

static void servers_change_places(void **state) {
    (void)state;
    struct account *a = account_get(w.pools, "app", "web");
    struct topology *one = two_servers("pg1", "pg2"), *other = two_servers("pg2", "pg1");
    pools_set_topology(w.pools, one);
    struct pool *p1 = account_pool(a, 0), *p2 = account_pool(a, 1);
    assert_string_equal(pool_node_name(p1), "pg1");
    assert_string_equal(pool_node_name(p2), "pg2");
    pools_set_topology(w.pools, other);
    topology_unref(one);
    assert_ptr_equal(account_pool(a, 0), p2);
    assert_ptr_equal(account_pool(a, 1), p1);
    pools_set_topology(w.pools, w.topology); // pg2 is gone
    topology_unref(other);
    assert_ptr_equal(account_pool(a, 0), p1);
    account_unref(a);
}

// A pool that has gone is not found where it was.
static void a_pool_comes_again(void **state) {
    (void)state;
    struct account *a = account_get(w.pools, "app", "other");
    struct pool *p = account_pool(a, 0);
    p->unused_rounds = 59;
    p->used = false;
    size_t others = w.pools->all.count - 1;
    RUN_UNTIL(&w, w.pools->all.count == others);
    assert_non_null(account_pool(a, 0));
    assert_int_equal(w.pools->all.count, others + 1);
    account_unref(a);
}

// Of a user or database that is not there, which anybody can make up, nothing stays for long.
static void a_refused_pool_goes_soon(void **state) {
    (void)state;
    struct pool *p = pool_as(w.pools, "made_up", "web", NULL);
    p->refused = p->failing = true;
    p->used = false;
    size_t others = w.pools->all.count - 1;
    RUN_UNTIL(&w, w.pools->all.count == others);
}

// A login that was refused at one server is tried again with what another one was told.
static void new_credentials_are_for_all_pools(void **state) {
    (void)state;
    struct topology *t = two_servers("pg1", "pg2");
    pools_set_topology(w.pools, t);
    struct pool *p = account_pool(world_pool(&w)->account, 1);
    p->refused = p->failing = true;
    p->retry_at_us = UINT64_MAX;
    world_set_password(&w, "secret"); // the same again
    assert_false(pool_may_try(p));
    world_set_password(&w, "another");
    assert_true(pool_may_try(p));
    pools_set_topology(w.pools, w.topology);
    topology_unref(t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names_of_any_length),
        TEST(servers_change_places),
        TEST(a_pool_comes_again),
        TEST(a_refused_pool_goes_soon),
        TEST(new_credentials_are_for_all_pools),
    };
    return cmocka_run_group_tests(tests, worlds_begin, NULL);
}
