// SPDX-License-Identifier: ISC
// tests/unit/session/route_test.c: which server a unit goes to.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// cmocka wants the above first
#include <cmocka.h>

#include "router/session/route.h"

enum { N = 4 }; // a primary and three replicas

struct fixture {
    struct node_live live[N];
    struct node nodes[N];
    struct topology topology;
    struct route_balance balance;
    struct route_request request;
};

static struct fixture setup(void) {
    struct fixture f;
    memset(&f, 0, sizeof f);
    for (int i = 0; i < N; i++) {
        f.nodes[i].role = i == 0 ? NODE_ROLE_PRIMARY : NODE_ROLE_REPLICA;
        f.nodes[i].reads = true;
        f.nodes[i].weight = 1;
    }
    f.topology.n_nodes = N;
    f.request.consistency = CONSISTENCY_SESSION;
    f.request.last_reader = -1;
    return f;
}

// The pointers of a fixture that has been returned by value.
static struct route go(struct fixture *f) {
    for (int i = 0; i < N; i++) f->nodes[i].live = &f->live[i];
    f->topology.nodes = f->nodes;
    return route(&f->request, &f->topology, &f->balance);
}

static void reads_are_spread_by_weight(void **state) {
    (void)state;
    struct fixture f = setup();
    f.nodes[2].weight = 3;
    f.nodes[3].weight = 0;
    int hits[N] = {0};
    for (int i = 0; i < 400; i++) {
        struct route to = go(&f);
        assert_true(to.replica);
        assert_int_equal(to.reason, ROUTE_REASON_BALANCED);
        hits[to.node]++;
    }
    assert_int_equal(hits[0], 0);
    assert_int_equal(hits[1], 100);
    assert_int_equal(hits[2], 300);
    assert_int_equal(hits[3], 0);
}

static void turns_are_smooth(void **state) {
    (void)state;
    struct fixture f = setup();
    f.nodes[2].weight = 2;
    f.nodes[3].reads = false;
    int last = 0, runs = 0;
    for (int i = 0; i < 30; i++) { // 2 1 2, 2 1 2: never three of the same
        int node = go(&f).node;
        runs = node == last ? runs + 1 : 1;
        assert_true(runs <= 2);
        last = node;
    }
}

static void weight_zero_is_for_need(void **state) {
    (void)state;
    struct fixture f = setup();
    for (int i = 1; i < N; i++) f.nodes[i].weight = 0;
    int hits[N] = {0};
    for (int i = 0; i < 30; i++) hits[go(&f).node]++;
    assert_int_equal(hits[1] + hits[2] + hits[3], 30);
}

static void writes_go_to_the_primary(void **state) {
    (void)state;
    struct fixture f = setup();
    for (int kind = VERDICT_TRANSACTION; kind < VERDICT_KINDS; kind++) {
        f.request.verdict = (struct verdict){.kind = (uint8_t)kind, .reason = VERDICT_REASON_DML};
        struct route to = go(&f);
        assert_int_equal(to.node, 0);
        assert_false(to.replica);
        assert_int_equal(to.reason, ROUTE_REASON_VERDICT + VERDICT_REASON_DML);
    }
    f.topology.primary = -1;
    assert_int_equal(go(&f).node, -1);
}

static void own_writes_are_read(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.last_write_us = 1000;
    f.request.now_us = 5000;
    for (int i = 1; i < N; i++) atomic_store(&f.live[i].fresh_until_us, 999);
    struct route to = go(&f);
    assert_int_equal(to.node, 0);
    assert_int_equal(to.reason, ROUTE_REASON_READ_YOUR_WRITES);
    assert_true(to.stale);                                                                    // waiting would help
    for (int i = 1; i < N; i++) assert_int_equal(atomic_load(&f.live[i].wanted_at_us), 5000); // probe faster
    atomic_store(&f.live[2].fresh_until_us, 1000);
    for (int i = 0; i < 10; i++) assert_int_equal(go(&f).node, 2);
    f.request.consistency = CONSISTENCY_EVENTUAL;
    int others = 0;
    for (int i = 0; i < 10; i++) others += go(&f).node != 2;
    assert_true(others > 0);
}

static void without_replicas_reads_go_to_the_primary(void **state) {
    (void)state;
    struct fixture f = setup();
    for (int i = 1; i < N; i++) f.nodes[i].reads = false;
    struct route to = go(&f);
    assert_int_equal(to.node, 0);
    assert_int_equal(to.reason, ROUTE_REASON_NO_REPLICA);
}

static void unreachable_ones_are_avoided(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.avoid = 1u << 1 | 1u << 3;
    for (int i = 0; i < 10; i++) assert_int_equal(go(&f).node, 2);
}

static void reruns_go_to_the_primary(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.rerun = true;
    struct route to = go(&f);
    assert_int_equal(to.node, 0);
    assert_int_equal(to.reason, ROUTE_REASON_RERUN);
}

static void least_connections_weighs(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.balance = BALANCE_LEAST_CONNECTIONS;
    f.nodes[2].weight = 2;
    f.balance.in_flight[1] = 2;
    f.balance.in_flight[2] = 3; // 1.5 for its weight
    f.balance.in_flight[3] = 2;
    assert_int_equal(go(&f).node, 2);
    f.balance.in_flight[3] = 0;
    assert_int_equal(go(&f).node, 3);
    f.balance.in_flight[1] = f.balance.in_flight[3] = 2;
    f.balance.in_flight[2] = 4; // equal: the turn decides, so all get some
    int hits[N] = {0};
    for (int i = 0; i < 40; i++) hits[go(&f).node]++;
    for (int i = 1; i < N; i++) assert_true(hits[i] > 0);
}

static void what_was_seen_is_not_lost(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.consistency = CONSISTENCY_MONOTONIC;
    f.request.last_read_us = 1000;
    for (int i = 1; i < N; i++) atomic_store(&f.live[i].fresh_until_us, 999);
    struct route to = go(&f); // the last answer was the primary's
    assert_int_equal(to.node, 0);
    assert_int_equal(to.reason, ROUTE_REASON_MONOTONIC);
    assert_true(to.stale);
    f.request.last_reader = 3; // that one cannot have gone back
    for (int i = 0; i < 10; i++) assert_int_equal(go(&f).node, 3);
    f.request.last_write_us = 1000; // but it may lack a write
    assert_int_equal(go(&f).reason, ROUTE_REASON_READ_YOUR_WRITES);
    f.request.last_write_us = 0;
    atomic_store(&f.live[1].fresh_until_us, 1000);
    int hits[N] = {0};
    for (int i = 0; i < 10; i++) hits[go(&f).node]++;
    assert_int_equal(hits[1], 5);
    assert_int_equal(hits[3], 5);
    f.request.consistency = CONSISTENCY_SESSION;
    f.request.last_reader = -1;
    assert_true(go(&f).replica);
}

static void everybodys_writes_are_read(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.consistency = CONSISTENCY_GLOBAL;
    f.request.last_any_write_us = 1000;
    for (int i = 1; i < N; i++) atomic_store(&f.live[i].fresh_until_us, 999);
    struct route to = go(&f);
    assert_int_equal(to.node, 0);
    assert_int_equal(to.reason, ROUTE_REASON_GLOBAL);
    atomic_store(&f.live[2].fresh_until_us, 1000);
    assert_int_equal(go(&f).node, 2);
    f.request.consistency = CONSISTENCY_MONOTONIC;
    atomic_store(&f.live[2].fresh_until_us, 999);
    assert_true(go(&f).replica);
}

static void full_ones_are_the_last_resort(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.full = 1u << 1 | 1u << 2;
    for (int i = 0; i < 10; i++) assert_int_equal(go(&f).node, 3);
    f.request.full |= 1u << 3; // all: their turns decide where to wait
    int hits[N] = {0};
    for (int i = 0; i < 30; i++) hits[go(&f).node]++;
    for (int i = 1; i < N; i++) assert_int_equal(hits[i], 10);
    f.request.full = 1u << 1; // one of weight 0 does not help those that have some
    f.nodes[2].weight = f.nodes[3].weight = 0;
    for (int i = 0; i < 10; i++) assert_int_equal(go(&f).node, 1);
}

static void near_ones_come_first(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.near = 1u << 2;
    for (int i = 0; i < 10; i++) assert_int_equal(go(&f).node, 2);
    f.request.full = 1u << 2; // spills
    for (int i = 0; i < 10; i++) assert_int_not_equal(go(&f).node, 2);
    f.request.full = 0;
    f.nodes[2].weight = 0;
    for (int i = 0; i < 10; i++) assert_int_not_equal(go(&f).node, 2);
    f.nodes[2].weight = 1;
    f.nodes[2].reads = false;
    for (int i = 0; i < 10; i++) assert_int_not_equal(go(&f).node, 2);
}

static void newcomers_start_slowly(void **state) {
    (void)state;
    struct fixture f = setup();
    f.nodes[3].reads = false;
    f.nodes[2].newcomer = true;
    f.nodes[2].up_since_us = 1000000;
    f.request.slow_start_us = 10000000;
    static const struct {
        uint64_t age_us;
        int hits; // of 640 for two of the same weight
    } table[] = {{0, 10}, {1000000, 55}, {5000000, 213}, {10000000, 320}, {99000000, 320}};
    for (size_t n = 0; n < countof(table); n++) {
        int hits = 0;
        f.request.now_us = 1000000 + table[n].age_us;
        memset(&f.balance, 0, sizeof f.balance);
        for (int i = 0; i < 640; i++) hits += go(&f).node == 2;
        assert_in_range(hits, table[n].hits - 5, table[n].hits + 5);
    }
    f.request.now_us = 1000000;
    f.nodes[1].reads = false; // alone it gets all
    assert_int_equal(go(&f).node, 2);
    f.nodes[1].reads = true;
    f.request.slow_start_us = 0;
    int hits = 0;
    for (int i = 0; i < 20; i++) hits += go(&f).node == 2;
    assert_int_equal(hits, 10);
}

static void preferences_decide_what_may_go_anywhere(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.preference = PREFERENCE_PRIMARY;
    assert_int_equal(go(&f).node, 0);
    assert_int_equal(go(&f).reason, ROUTE_REASON_PREFERENCE);
    f.request.verdict.reason = VERDICT_REASON_HINT_REPLICA;
    assert_true(go(&f).replica);
    f.request.preference = PREFERENCE_REPLICA;
    f.request.verdict = (struct verdict){.kind = VERDICT_WRITE, .reason = VERDICT_REASON_VOLATILE_FUNCTION};
    assert_true(go(&f).replica);
    assert_int_equal(go(&f).reason, ROUTE_REASON_PREFERENCE);
    f.request.verdict.certain = true;
    assert_int_equal(go(&f).node, 0);
    f.request.verdict =
        verdict_join((struct verdict){.kind = VERDICT_UNKNOWN, .reason = VERDICT_REASON_UNKNOWN_FUNCTION},
                     (struct verdict){.kind = VERDICT_UNKNOWN, .certain = true});
    assert_int_equal(go(&f).node, 0);
    f.request.preference = PREFERENCE_AUTO;
    f.request.verdict = (struct verdict){.kind = VERDICT_WRITE, .reason = VERDICT_REASON_VOLATILE_FUNCTION};
    assert_int_equal(go(&f).node, 0);
}

static void who_looks_at_counters_reads_where_they_are(void **state) {
    (void)state;
    struct fixture f = setup();
    f.request.counted = true;
    assert_int_equal(go(&f).reason, ROUTE_REASON_STATISTICS);
    assert_false(go(&f).replica);
    f.request.preference = PREFERENCE_REPLICA;
    assert_true(go(&f).replica);
    f.request.preference = PREFERENCE_AUTO;
    f.request.verdict.reason = VERDICT_REASON_HINT_REPLICA;
    assert_true(go(&f).replica);
}

static void reasons_have_names(void **state) {
    (void)state;
    for (unsigned r = 0; r < ROUTE_REASONS_COUNT; r++) assert_non_null(route_reason_str(r));
    assert_null(route_reason_str(ROUTE_REASONS_COUNT));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_are_spread_by_weight),
        cmocka_unit_test(turns_are_smooth),
        cmocka_unit_test(weight_zero_is_for_need),
        cmocka_unit_test(writes_go_to_the_primary),
        cmocka_unit_test(own_writes_are_read),
        cmocka_unit_test(without_replicas_reads_go_to_the_primary),
        cmocka_unit_test(unreachable_ones_are_avoided),
        cmocka_unit_test(reruns_go_to_the_primary),
        cmocka_unit_test(least_connections_weighs),
        cmocka_unit_test(what_was_seen_is_not_lost),
        cmocka_unit_test(everybodys_writes_are_read),
        cmocka_unit_test(full_ones_are_the_last_resort),
        cmocka_unit_test(near_ones_come_first),
        cmocka_unit_test(newcomers_start_slowly),
        cmocka_unit_test(preferences_decide_what_may_go_anywhere),
        cmocka_unit_test(who_looks_at_counters_reads_where_they_are),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
