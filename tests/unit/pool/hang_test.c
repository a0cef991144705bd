// SPDX-License-Identifier: ISC
// Tests of router/session/pools.c: who is told when a server is down and its connections are still there.
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

enum { HANGS = 3 };

// Those who wait for an answer: the first has heard nothing since the server failed, the second has; the third waits
// for nothing.
static void wait_for_answers(struct visitor v[HANGS]) {
    w.config.default_pool_size = HANGS;
    pools_config_changed(w.pools);
    for (size_t i = 0; i < HANGS; i++) visitor_wait(&v[i], &w);
    for (size_t i = 0; i < 2; i++) pipeline_push(&v[i].server->replies, REPLY_QUERY, REPLY_FORWARD);
    RUN_UNTIL(&w, world_now_us(&w) > v[2].server->heard_us);
    atomic_store(&w.topology->nodes[0].live->failing_since_us, (long long)world_now_us(&w));
    for (struct fake_conn *c = w.fake.conns; c; c = c->next)
        if (c->pid == v[1].server->backend_pid) fake_send_span(c, span_str("anything"));
    RUN_UNTIL(&w, v[1].readable == 1);
}

// The server is down, as a `role`, with another one as the primary or without.
static struct topology *down_as(enum node_role role, enum node_reason reason, bool other_primary) {
    struct topology *t = topology_new(2);
    struct node_live *other = node_live_new();
    topology_set_node(t, 0, "pg1", "localhost", ntohs(w.fake.address.sin_port), "", w.topology->nodes[0].live);
    topology_set_node(t, 1, "pg2", "localhost", 1, "", other);
    node_live_unref(other);
    t->nodes[0].state = NODE_STATE_DOWN;
    t->nodes[0].role = role;
    t->nodes[0].reason = reason;
    t->primary = other_primary ? 1 : -1;
    return t;
}

static void rounds_pass(void) {
    unsigned from = w.pools->round;
    RUN_UNTIL(&w, w.pools->round > from + 2);
}

static void leave(struct visitor v[HANGS]) {
    for (size_t i = 0; i < HANGS; i++)
        if (v[i].server) pool_discard(v[i].server, NULL);
}

static void who_waits_for_a_replica_that_hangs_is_told(void **state) {
    (void)state;
    struct visitor v[HANGS];
    wait_for_answers(v);
    world_set_topology(&w, down_as(NODE_ROLE_REPLICA, NODE_REASON_TIMEOUT, true));
    RUN_UNTIL(&w, v[0].broken);
    assert_string_equal(v[0].fault.sqlstate, "08006");
    rounds_pass();
    assert_int_equal(v[0].broken, 1);
    assert_int_equal(v[1].broken + v[2].broken, 0); // alive, whatever the checks say; and nothing to wait for
    v[1].server->heard_us -= UINT64_C(16000000);    // no longer
    RUN_UNTIL(&w, v[1].broken);
    assert_int_equal(v[2].broken, 0);
    leave(v);
}

static void who_waits_for_a_primary_with_a_successor_is_told(void **state) {
    (void)state;
    struct visitor v[HANGS];
    wait_for_answers(v);
    world_set_topology(&w, down_as(NODE_ROLE_PRIMARY, NODE_REASON_UNREACHABLE, false));
    rounds_pass();
    assert_int_equal(v[0].broken, 0); // nobody else could do it
    world_set_topology(&w, down_as(NODE_ROLE_PRIMARY, NODE_REASON_UNREACHABLE, true));
    RUN_UNTIL(&w, v[0].broken);
    leave(v);
}

static void who_waits_for_a_server_that_may_answer_waits_on(void **state) {
    (void)state;
    struct visitor v[HANGS];
    wait_for_answers(v);
    world_set_topology(&w, down_as(NODE_ROLE_REPLICA, NODE_REASON_STARTING, true)); // a smart shutdown
    rounds_pass();
    world_set_topology(&w, down_as(NODE_ROLE_REPLICA, NODE_REASON_LOGIN_FAILED, true));
    rounds_pass();
    atomic_store(&w.topology->nodes[0].live->failing_since_us, 0); // it answers again: the topology is on its way
    world_set_topology(&w, down_as(NODE_ROLE_REPLICA, NODE_REASON_TIMEOUT, true));
    rounds_pass();
    // The answer has come, and nobody has read it yet.
    stream_pause(&v[0].server->stream);
    for (struct fake_conn *c = w.fake.conns; c; c = c->next)
        if (c->pid == v[0].server->backend_pid) fake_send_span(c, span_str("anything"));
    RUN_UNTIL(&w, stream_has_unread(&v[0].server->stream));
    atomic_store(&w.topology->nodes[0].live->failing_since_us, (long long)v[0].server->heard_us + 1);
    rounds_pass();
    assert_int_equal(v[0].broken, 0);
    stream_resume(&v[0].server->stream);
    RUN_UNTIL(&w, v[0].readable);
    leave(v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_waits_for_a_replica_that_hangs_is_told),
        TEST(who_waits_for_a_primary_with_a_successor_is_told),
        TEST(who_waits_for_a_server_that_may_answer_waits_on),
    };
    return cmocka_run_group_tests(tests, worlds_begin, NULL);
}
