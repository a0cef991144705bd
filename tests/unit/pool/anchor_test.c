// SPDX-License-Identifier: ISC
//
// tests/unit/pool/anchor_test.c: connections that one client has for itself (struct anchor), with a fake server.
#include "tests/unit/pool/pool_util.h"

static struct world w;

static int set_up(void **state) {
    (void)state;
    world_start(&w, 2);
    world_set_password(&w, "secret");
    w.config.default_pool_size = 4;
    pools_config_changed(w.pools);
    visitor_order = 0;
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    world_stop(&w);
    return 0;
}

static int lost;
static struct fault lost_to;
static void on_lost(struct anchor *a, const struct fault *f) {
    assert_null(a->server);
    lost++;
    lost_to = *f;
}

// Comes, and keeps what it gets for itself when it has gone.
static uint32_t settle(struct visitor *v) {
    visitor_wait(v, &w);
    v->ticket.anchor.lost = on_lost;
    assert_true(pool_may_anchor(world_pool(&w)));
    pool_anchor(v->server, &v->ticket.anchor);
    uint32_t pid = v->server->backend_pid;
    visitor_go(v);
    return pid;
}

// As visitor_come, for one that has been here before.
static uint32_t come_back(struct visitor *v) {
    v->server = pool_get(world_pool(&w), &v->ticket, &visitor_ops, v);
    assert_non_null(v->server);
    uint32_t pid = v->server->backend_pid;
    visitor_go(v);
    return pid;
}

static void each_has_its_own(void **state) {
    (void)state;
    struct visitor a, b, other;
    uint32_t of_a = settle(&a), of_b = settle(&b);
    assert_int_not_equal(of_a, of_b);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(come_back(&a), of_a);
        assert_int_equal(come_back(&b), of_b);
    }
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 2);
    // Others have another one opened, and no more than half are given away.
    visitor_wait(&other, &w);
    assert_true(other.server->backend_pid != of_a && other.server->backend_pid != of_b);
    assert_false(pool_may_anchor(world_pool(&w)));
    assert_false(pool_has_anchorage(world_pool(&w)));
    visitor_go(&other);
    anchor_drop(&a.ticket.anchor);
    anchor_drop(&a.ticket.anchor);
    assert_true(pool_has_anchorage(world_pool(&w)));
    // What is nobody's any more is there for everybody.
    visitor_come(&other, &w);
    assert_int_equal(other.server->backend_pid, of_a);
    visitor_go(&other);
    anchor_drop(&b.ticket.anchor);
    assert_int_equal(lost, 0);
}

static void who_wants_the_database_for_himself(void **state) {
    (void)state;
    struct visitor own, busy, idle, late;
    uint32_t of_own = settle(&own);
    visitor_wait(&busy, &w);
    visitor_wait(&idle, &w);
    visitor_wait(&late, &w);
    visitor_go(&idle);
    pools_vacate(w.pools, "another");
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 2);
    pools_vacate(w.pools, world_pool(&w)->server_database);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 1);
    visitor_go(&late); // what comes free is closed as well
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 1);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_ACTIVE), 1);
    assert_int_equal(come_back(&own), of_own); // those who are there are in the way as without us
    anchor_drop(&own.ticket.anchor);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 0);
    world_pool(&w)->vacant_until_us = 1; // nobody waits for it so long
    visitor_go(&busy);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 1);
    assert_int_equal(lost, 0);
}

static void who_needs_the_place_gets_it_but_not_the_connection(void **state) {
    (void)state;
    struct visitor a, busy[3], last;
    uint32_t of_a = settle(&a);
    for (int i = 0; i < 3; i++) visitor_wait(&busy[i], &w);
    assert_false(visitor_come(&last, &w)); // four there are, one of which is idle
    assert_null(a.ticket.anchor.server);   // ... and has been closed
    RUN_UNTIL(&w, last.granted);
    assert_int_not_equal(last.server->backend_pid, of_a);
    assert_int_equal(lost, 0);
    assert_false(pool_may_anchor(world_pool(&w))); // not for a while
    for (int i = 0; i < 3; i++) visitor_go(&busy[i]);
    visitor_go(&last);
    assert_int_not_equal(come_back(&a), of_a);
}

static void its_end_is_told(void **state) {
    (void)state;
    struct visitor a;
    lost = 0;
    settle(&a);
    struct buf b = buf_make(1024);
    struct fault f;
    fault_set(&f, "57P01", "terminating connection due to administrator command");
    reply_error(&b, true, &f);
    fake_send(w.fake.conns, &b);
    RUN_UNTIL(&w, lost);
    assert_string_equal(lost_to.sqlstate, "57P01");
    assert_null(a.ticket.anchor.server);
}

static void who_can_do_without_does_not_wait_for_a_full_server(void **state) {
    (void)state;
    struct visitor a;
    struct buf b = buf_make(1024);
    struct fault f;
    fault_set(&f, "53300", "sorry, too many clients already");
    reply_error(&b, true, &f);
    w.fake.error = buf_span(&b);
    a = (struct visitor){.ticket = {.granted = visitor_granted, .failed = visitor_failed, .optional = true}};
    ilink_init(&a.ticket.link);
    deadline_init(&a.ticket.deadline);
    assert_null(pool_get(world_pool(&w), &a.ticket, &visitor_ops, &a));
    RUN_UNTIL(&w, a.failed);
    assert_string_equal(a.fault.sqlstate, "53300");
    assert_false(pool_has_anchorage(world_pool(&w)));
    w.fake.error = span_of(NULL, 0);
    buf_release(&b);
}

static void names_that_were_its_own_go_with_it(void **state) {
    (void)state;
    struct visitor a;
    settle(&a);
    a.ticket.anchor.server->prepared.exposed = true;
    come_back(&a);
    assert_non_null(a.ticket.anchor.server);
    anchor_drop(&a.ticket.anchor);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 0);
}

static int prepare(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_has_its_own),
        TEST(who_wants_the_database_for_himself),
        TEST(who_needs_the_place_gets_it_but_not_the_connection),
        TEST(its_end_is_told),
        TEST(who_can_do_without_does_not_wait_for_a_full_server),
        TEST(names_that_were_its_own_go_with_it),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
