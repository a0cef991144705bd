// SPDX-License-Identifier: ISC
//
// tests/unit/pool/pool_test.c: router/session/pool.c and pools.c, with a fake server.
//
// Who gets a connection and when, what becomes of it, and what does not outlive its time.
#include "tests/unit/pool/pool_util.h"

static struct world w;

static int set_up(void **state) {
    (void)state;
    world_start(&w, 2);
    world_set_password(&w, "secret");
    visitor_order = 0;
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    world_stop(&w);
    return 0;
}
static void reconfigure(void) { pools_config_changed(w.pools); }

static unsigned long long waits(void) {
    unsigned long long n = 0;
    for (size_t i = 0; i < STAT_BUCKETS; i++)
        n += atomic_load(&w.stats.histograms[STAT_HISTOGRAM_POOL_WAIT].buckets[i]);
    return n;
}

static void expect_gauges(int active, int idle, int waiting) {
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_ACTIVE), active);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), idle);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_WAITING), waiting);
}

// ---- coming and going

static void one_connection_serves_one_after_the_other(void **state) {
    (void)state;
    struct visitor v;
    assert_false(visitor_come(&v, &w));
    assert_true(ticket_is_waiting(&v.ticket));
    assert_int_equal(pool_waiting(world_pool(&w)), 1);
    expect_gauges(0, 0, 1);
    RUN_UNTIL(&w, v.granted);
    assert_int_equal(pool_busy(world_pool(&w)), 1);
    expect_gauges(1, 0, 0);
    uint32_t pid = v.server->backend_pid;
    visitor_go(&v);
    expect_gauges(0, 1, 0);
    for (int i = 0; i < 10; i++) {
        assert_true(visitor_come(&v, &w));
        assert_int_equal(v.server->backend_pid, pid);
        visitor_go(&v);
    }
    assert_int_equal(w.fake.accepted, 1);
    assert_int_equal(waits(), 11);
    assert_int_equal(atomic_load(&w.stats.counters[STAT_SERVER_LOGINS]), 1);
    assert_int_equal(atomic_load(&w.topology->nodes[0].live->connections), 1);
    assert_string_equal(pool_node_name(world_pool(&w)), "pg1");
    // The packet says who and where, and nothing else.
    struct startup p;
    struct fault f;
    assert_int_equal(frame_startup(buf_span(&w.fake.last_startup), &p, &f), WIRE_OK);
    assert_int_equal(p.parameters.len, sizeof "user\0web\0database\0app\0");
    assert_memory_equal(p.parameters.ptr, "user\0web\0database\0app\0", p.parameters.len);
}

static void the_last_used_goes_first(void **state) {
    (void)state;
    struct visitor a, b;
    visitor_wait(&a, &w);
    visitor_wait(&b, &w);
    uint32_t first = a.server->backend_pid, second = b.server->backend_pid;
    visitor_go(&a);
    visitor_go(&b);
    assert_true(visitor_come(&a, &w));
    assert_int_equal(a.server->backend_pid, second);
    assert_true(visitor_come(&b, &w));
    assert_int_equal(b.server->backend_pid, first);
    visitor_go(&a);
    visitor_go(&b);
}

static void the_size_holds_and_the_queue_is_in_order(void **state) {
    (void)state;
    struct visitor v[8];
    for (size_t i = 0; i < countof(v); i++) assert_false(visitor_come(&v[i], &w));
    pool_cancel(&v[3].ticket);
    pool_cancel(&v[3].ticket);
    RUN_UNTIL(&w, v[0].granted && v[1].granted);
    run_turns(&w, 5);
    assert_int_equal(w.fake.accepted, 2); // default_pool_size
    expect_gauges(2, 0, 5);
    for (size_t i = 0; i < countof(v); i++) {
        if (i == 3) continue;
        assert_int_equal(v[i].granted, 1);
        visitor_go(&v[i]); // grants the next but one
    }
    assert_int_equal(v[3].granted + v[3].failed, 0);
    for (size_t i = 1; i < countof(v); i++)
        if (i != 3 && i != 4) assert_true(v[i].order > v[i - 1].order);
    assert_true(v[4].order > v[2].order);
    expect_gauges(0, 2, 0);
}

// Whoever is granted a connection gives it back at once: ten thousand of them do not fill the stack.
static uintptr_t stack_low, stack_high;
static void go_at_once(struct visitor *v) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    stack_low = stack_low ? MIN_OF(stack_low, here) : here;
    stack_high = MAX_OF(stack_high, here);
    visitor_go(v);
}
static void a_long_queue_is_no_recursion(void **state) {
    (void)state;
    enum { N = 10000 };
    struct visitor first, *v = mem_array(N, struct visitor);
    w.config.default_pool_size = 1;
    reconfigure();
    visitor_wait(&first, &w);
    for (size_t i = 0; i < N; i++) {
        assert_false(visitor_come(&v[i], &w));
        v[i].then = go_at_once;
    }
    visitor_go(&first);
    for (size_t i = 0; i < N; i++) assert_int_equal(v[i].granted, 1);
    assert_int_equal(v[N - 1].order, N + 1);
    assert_true(stack_high - stack_low < 4096);
    assert_int_equal(w.fake.accepted, 1);
    mem_free(v);
}

static void what_is_not_clean_is_closed(void **state) {
    (void)state;
    struct visitor v;
    for (int i = 0; i < 7; i++) {
        visitor_wait(&v, &w);
        assert_true(v.granted || v.server);
        struct server *s = v.server;
        switch (i) {
        case 0: pipeline_push(&s->replies, REPLY_SYNC, REPLY_FORWARD); break;
        case 1: s->tx_status = PROTO_TX_ACTIVE; break;
        case 2: s->tx_status = PROTO_TX_FAILED; break;
        case 3: s->dirty = true; break;
        case 4: s->close_when_idle = true; break;
        case 5: // bytes that the server has not taken
            for (int n = 0; n < 200 && !stream_unsent(&s->stream); n++) {
                static const uint8_t zeros[100000];
                assert_true(stream_write(&s->stream, zeros, sizeof zeros));
            }
            break;
        default: pool_discard(s, "for the test"); v.server = NULL;
        }
        if (v.server) visitor_go(&v);
        expect_gauges(0, 0, 0);
        assert_int_equal(atomic_load(&w.topology->nodes[0].live->connections), 0);
    }
    RUN_UNTIL(&w, fake_open_count(&w.fake) == 0);
    assert_int_equal(w.fake.accepted, 7);
}

static void a_paused_connection_reads_again(void **state) {
    (void)state;
    struct visitor v;
    visitor_wait(&v, &w);
    stream_pause(&v.server->stream);
    visitor_go(&v);
    fake_close_connections(&w.fake);
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 0);
}

static void a_busy_connection_belongs_to_its_owner(void **state) {
    (void)state;
    struct visitor v;
    visitor_wait(&v, &w);
    fake_send_span(w.fake.conns, span_str("anything"));
    RUN_UNTIL(&w, v.readable == 1);
    fake_close_connections(&w.fake);
    RUN_UNTIL(&w, v.broken == 1);
    expect_gauges(0, 0, 0);
}

// ---- time

static void waiting_too_long(void **state) {
    (void)state;
    struct visitor v[3];
    w.config.query_wait_timeout = 100;
    w.config.default_pool_size = 1;
    reconfigure();
    visitor_wait(&v[0], &w);
    (void)visitor_come(&v[1], &w);
    RUN_UNTIL(&w, v[1].failed);
    assert_string_equal(v[1].fault.sqlstate, "53300");
    assert_string_equal(v[1].fault.text, "no server connection became free within 100 ms (query_wait_timeout)");
    assert_non_null(strstr(v[1].fault.hint, "default_pool_size"));
    visitor_go(&v[0]);
    assert_true(visitor_come(&v[2], &w));
    visitor_go(&v[2]);
}

static void the_reserve_is_for_those_who_waited(void **state) {
    (void)state;
    struct visitor v[4];
    w.config.default_pool_size = 1;
    w.config.reserve_pool_size = 1;
    w.config.reserve_pool_timeout = 300;
    reconfigure();
    visitor_wait(&v[0], &w);
    uint64_t start = uv_hrtime();
    (void)visitor_come(&v[1], &w);
    (void)visitor_come(&v[2], &w);
    run_turns(&w, 5);
    assert_int_equal(w.fake.accepted, 1);
    RUN_UNTIL(&w, v[1].granted);
    assert_true(uv_hrtime() - start >= 300000000u);
    assert_int_equal(w.fake.accepted, 2);
    // The third waits for one of the two. With nobody left to wait, the pool goes back to its size.
    visitor_go(&v[1]);
    assert_int_equal(v[2].granted, 1);
    visitor_go(&v[2]);
    expect_gauges(1, 0, 0);
    visitor_go(&v[0]);
    expect_gauges(0, 1, 0);
}

static void lifetime_ends_at_different_moments(void **state) {
    (void)state;
    enum { N = 40 };
    struct visitor v[N];
    w.config.default_pool_size = N;
    reconfigure();
    for (size_t i = 0; i < N; i++) (void)visitor_come(&v[i], &w);
    for (size_t i = 0; i < N; i++) RUN_UNTIL(&w, v[i].granted);
    unsigned low = 256, high = 0;
    for (size_t i = 0; i < N; i++) {
        low = MIN_OF(low, (unsigned)v[i].server->jitter);
        high = MAX_OF(high, (unsigned)v[i].server->jitter);
    }
    assert_true(high > low + 100);
    struct server one = {.jitter = 255, .connected_at_us = world_now_us(NULL) - 950000};
    w.config.server_lifetime = 1000;
    assert_true(pool_is_too_old(world_pool(&w), &one));
    one.jitter = 0;
    assert_false(pool_is_too_old(world_pool(&w), &one));
    uint64_t old = uv_hrtime() + 3000000;
    RUN_UNTIL(&w, uv_hrtime() > old);
    w.config.server_lifetime = 1;
    for (size_t i = 0; i < N / 2; i++) visitor_go(&v[i]); // closed when given back
    expect_gauges(N / 2, 0, 0);
    w.config.server_lifetime = 0; // for ever
    for (size_t i = N / 2; i < N; i++) visitor_go(&v[i]);
    expect_gauges(0, N / 2, 0);
    w.config.server_lifetime = 1; // closed while idle
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 0);
    RUN_UNTIL(&w, w.fake.terminates == N);
}

static void idle_ones_go_down_to_the_minimum(void **state) {
    (void)state;
    struct visitor v[4];
    w.config.default_pool_size = 4;
    w.config.min_pool_size = 2;
    w.config.server_idle_timeout = 1;
    reconfigure();
    RUN_UNTIL(&w, w.fake.accepted == 2); // a pool that exists is kept at its minimum
    for (size_t i = 0; i < 4; i++) visitor_wait(&v[i], &w);
    for (size_t i = 0; i < 4; i++) visitor_go(&v[i]);
    expect_gauges(0, 4, 0);
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 2);
    int slow_rounds = (int)w.pools->round + 12;
    RUN_UNTIL(&w, (int)w.pools->round > slow_rounds);
    expect_gauges(0, 2, 0);
    fake_close_connections(&w.fake);
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 0);
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 2);
}

static void a_pool_that_nobody_uses_goes(void **state) {
    (void)state;
    struct visitor v;
    visitor_wait(&v, &w);
    visitor_go(&v);
    assert_int_equal(w.pools->all.count, 1);
    w.config.server_idle_timeout = 1;
    world_pool(&w)->unused_rounds = 59;
    world_pool(&w)->used = false;
    RUN_UNTIL(&w, ilist_empty(&w.pools->all));
    assert_int_equal(w.fake.terminates, 1);
    visitor_wait(&v, &w); // and comes back
    assert_true(v.granted);
    visitor_go(&v);
}

// What routing asks before it sends anybody here.
static void a_full_pool_says_so(void **state) {
    (void)state;
    struct visitor v[3];
    w.config.default_pool_size = 1;
    w.config.reserve_pool_size = 0;
    reconfigure();
    assert_false(pool_is_full(world_pool(&w))); // one can be opened
    assert_true(pool_can_open(world_pool(&w)));
    visitor_wait(&v[0], &w);
    assert_false(pool_is_full(world_pool(&w))); // it may come back soon
    assert_false(pool_can_open(world_pool(&w)));
    RUN_UNTIL(&w, pool_is_full(world_pool(&w)));
    (void)visitor_come(&v[1], &w);
    assert_true(pool_is_full(world_pool(&w)));
    visitor_go(&v[0]);
    assert_false(pool_is_full(world_pool(&w))); // there is coming and going
    visitor_go(&v[1]);
    assert_true(pool_can_open(world_pool(&w)));
    assert_false(pool_is_full(world_pool(&w))); // one is idle
    (void)visitor_come(&v[2], &w);
    visitor_go(&v[2]);
}

// ---- failures

static void a_failure_is_told_at_once_for_a_while(void **state) {
    (void)state;
    struct visitor v[3];
    fake_deafen(&w.fake);
    w.config.server_login_retry = 400;
    for (size_t i = 0; i < 2; i++) (void)visitor_come(&v[i], &w);
    RUN_UNTIL(&w, v[0].failed && v[1].failed);
    assert_string_equal(v[0].fault.sqlstate, "08006");
    assert_true(pool_is_full(world_pool(&w)));
    int reports = w.reports[EVIDENCE_REFUSED];
    assert_in_range(reports, 1, 2);
    uint64_t start = uv_hrtime();
    visitor_wait(&v[2], &w); // told again, without another try
    assert_true(v[2].failed);
    assert_true(uv_hrtime() - start < 300000000u);
    assert_int_equal(w.reports[EVIDENCE_REFUSED], reports);
    RUN_UNTIL(&w, !pool_is_full(world_pool(&w)));
    visitor_wait(&v[2], &w);
    assert_int_equal(w.reports[EVIDENCE_REFUSED], reports + 1);
}

static struct buf error_message(const char *sqlstate, const char *text) {
    struct buf b = buf_make(1024);
    struct fault f;
    fault_set(&f, sqlstate, "%s", text);
    reply_error(&b, true, &f);
    return b;
}

static void a_full_server_is_waited_for(void **state) {
    (void)state;
    struct visitor v[3];
    visitor_wait(&v[0], &w);
    struct buf full = error_message("53300", "sorry, too many clients already");
    w.fake.error = buf_span(&full);
    w.config.server_login_retry = 100;
    (void)visitor_come(&v[1], &w);
    RUN_UNTIL(&w, w.fake.startups >= 3); // tried again after a while
    assert_int_equal(v[1].failed + v[1].granted, 0);
    visitor_go(&v[0]);
    assert_int_equal(v[1].granted, 1);
    // With none to wait for it still tries.
    pool_discard(v[1].server, NULL);
    w.config.query_wait_timeout = 500;
    (void)visitor_come(&v[2], &w);
    int startups = w.fake.startups;
    RUN_UNTIL(&w, w.fake.startups > startups + 1);
    RUN_UNTIL(&w, pool_is_full(world_pool(&w)));
    RUN_UNTIL(&w, v[2].failed);
    assert_string_equal(v[2].fault.sqlstate, "53300");
    assert_non_null(strstr(v[2].fault.hint, "too many clients already"));
    w.fake.error = span_of(NULL, 0);
    buf_release(&full);
    w.config.query_wait_timeout = 30000;
    visitor_wait(&v[2], &w);
    assert_true(v[2].granted);
    visitor_go(&v[2]);
}

static void new_credentials_are_tried_at_once(void **state) {
    (void)state;
    struct visitor v;
    w.fake.auth = FAKE_SCRAM;
    w.fake.password = "right";
    w.config.server_login_retry = 60000;
    visitor_wait(&v, &w);
    assert_true(v.failed);
    assert_string_equal(v.fault.sqlstate, "28P01");
    int startups = w.fake.startups;
    world_set_password(&w, "secret"); // the same again
    visitor_wait(&v, &w);
    assert_true(v.failed);
    assert_int_equal(w.fake.startups, startups);
    world_set_password(&w, "right");
    visitor_wait(&v, &w);
    assert_true(v.granted);
    visitor_go(&v);
    assert_true(secret_is_set(&account_credentials(world_pool(&w)->account)->password));
}

static void a_timeout_is_evidence(void **state) {
    (void)state;
    struct visitor v;
    w.fake.mute = true;
    w.config.server_connect_timeout = 100;
    visitor_wait(&v, &w);
    assert_true(v.failed);
    assert_non_null(strstr(v.fault.text, "server_connect_timeout"));
    assert_int_equal(w.reports[EVIDENCE_TIMEOUT], 1);
}

// ---- topology and config

static void a_removed_server(void **state) {
    (void)state;
    struct visitor v[4];
    for (size_t i = 0; i < 2; i++) visitor_wait(&v[i], &w);
    visitor_go(&v[1]);
    visitor_wait(&v[1], &w);
    (void)visitor_come(&v[2], &w);
    struct pool *p = world_pool(&w);
    struct topology *empty = topology_new(0);
    pools_set_topology(w.pools, empty);
    RUN_UNTIL(&w, v[2].failed);
    assert_string_equal(v[2].fault.sqlstate, "57P03");
    assert_non_null(strstr(v[2].fault.text, "removed"));
    visitor_go(&v[0]);
    expect_gauges(1, 0, 0); // closed
    // A latecomer is told too.
    v[3] = (struct visitor){.ticket = {.granted = visitor_granted, .failed = visitor_failed}};
    ilink_init(&v[3].ticket.link);
    deadline_init(&v[3].ticket.deadline);
    assert_null(pool_get(p, &v[3].ticket, &visitor_ops, &v[3]));
    RUN_UNTIL(&w, v[3].failed);
    visitor_go(&v[1]);
    expect_gauges(0, 0, 0);
    topology_unref(empty);
    // It comes back.
    pools_set_topology(w.pools, w.topology);
    visitor_wait(&v[0], &w);
    assert_true(v[0].granted);
    visitor_go(&v[0]);
}

static void another_address(void **state) {
    (void)state;
    struct visitor v[2];
    struct fake other;
    for (size_t i = 0; i < 2; i++) visitor_wait(&v[i], &w);
    visitor_go(&v[1]);
    world_set_topology(&w, world_topology(&w, NODE_STATE_UP)); // the same: nothing happens
    expect_gauges(1, 1, 0);
    fake_start(&other, &w.loop);
    struct topology *t = world_topology(&w, NODE_STATE_UP);
    memcpy(&t->nodes[0].addresses[0], &other.address, sizeof other.address);
    world_set_topology(&w, t);
    expect_gauges(1, 0, 0); // the idle one has gone
    visitor_go(&v[0]);
    expect_gauges(0, 0, 0);
    visitor_wait(&v[0], &w);
    assert_true(v[0].granted);
    assert_int_equal(other.accepted, 1);
    // No address for a moment is no reason to close what works.
    t = world_topology(&w, NODE_STATE_UP);
    t->nodes[0].n_addresses = 0;
    world_set_topology(&w, t);
    visitor_go(&v[0]);
    expect_gauges(0, 1, 0);
    fake_stop(&other);
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 0);
}

static void a_server_that_is_down(void **state) {
    (void)state;
    struct visitor v[4];
    for (size_t i = 0; i < 2; i++) visitor_wait(&v[i], &w);
    (void)visitor_come(&v[2], &w);
    pool_discard(v[1].server, NULL);
    w.fake.mute = true; // the one that is opened in its place does not get through
    RUN_UNTIL(&w, w.fake.accepted == 3);
    world_set_topology(&w, world_topology(&w, NODE_STATE_DOWN));
    RUN_UNTIL(&w, v[2].failed);
    assert_string_equal(v[2].fault.sqlstate, "57P03");
    assert_non_null(strstr(v[2].fault.text, "is down"));
    RUN_UNTIL(&w, fake_open_count(&w.fake) == 1); // the busy one is its session's
    assert_int_equal(w.fake.accepted, 3);         // and nothing is tried for those who are told to go
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_ACTIVE), 1);
    w.fake.mute = false;
    world_set_topology(&w, world_topology(&w, NODE_STATE_UP));
    visitor_wait(&v[3], &w);
    assert_true(v[3].granted);
    visitor_go(&v[3]);
    visitor_go(&v[0]);
}

static void up_again_means_try_again(void **state) {
    (void)state;
    struct visitor v;
    struct buf starting = error_message("57P03", "the database system is starting up");
    w.config.server_login_retry = 60000;
    w.fake.error = buf_span(&starting);
    visitor_wait(&v, &w);
    assert_true(v.failed && pool_is_full(world_pool(&w)));
    world_set_topology(&w, world_topology(&w, NODE_STATE_DOWN));
    w.fake.error = span_of(NULL, 0);
    world_set_topology(&w, world_topology(&w, NODE_STATE_UP));
    assert_false(pool_is_full(world_pool(&w)));
    visitor_wait(&v, &w);
    assert_true(v.granted);
    visitor_go(&v);
    buf_release(&starting);
}

static void sizes_follow_the_config(void **state) {
    (void)state;
    struct visitor v[3];
    for (size_t i = 0; i < 3; i++) (void)visitor_come(&v[i], &w);
    RUN_UNTIL(&w, v[0].granted && v[1].granted);
    w.config.default_pool_size = 3;
    reconfigure();
    RUN_UNTIL(&w, v[2].granted);
    w.config.default_pool_size = 1;
    reconfigure();
    for (size_t i = 0; i < 3; i++) visitor_go(&v[i]);
    expect_gauges(0, 1, 0);
    // Those that are idle when it becomes smaller go as well.
    w.config.default_pool_size = 3;
    reconfigure();
    for (size_t i = 0; i < 3; i++) visitor_wait(&v[i], &w);
    for (size_t i = 0; i < 3; i++) visitor_go(&v[i]);
    expect_gauges(0, 3, 0);
    w.config.default_pool_size = 2;
    reconfigure();
    RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) != 3);
    expect_gauges(0, 2, 0);
}

static void another_name_on_the_server(void **state) {
    (void)state;
    struct visitor v[2];
    for (size_t i = 0; i < 2; i++) visitor_wait(&v[i], &w);
    visitor_go(&v[1]);
    struct database_config d = {
        .name = "app", .dbname = "app_v2", .pool_size = -1, .min_pool_size = -1, .reserve_pool_size = -1};
    w.config.databases = &d;
    w.config.n_databases = 1;
    reconfigure();
    expect_gauges(1, 0, 0);
    visitor_go(&v[0]);
    expect_gauges(0, 0, 0);
    visitor_wait(&v[0], &w);
    assert_non_null(memmem(w.fake.last_startup.data, buf_len(&w.fake.last_startup), "database\0app_v2", 16));
    visitor_go(&v[0]);
    w.config.databases = NULL;
    w.config.n_databases = 0;
}

// ---- cancels

static void a_cancel_reaches_the_backend_and_parks_its_connection(void **state) {
    (void)state;
    struct visitor v, other;
    w.config.default_pool_size = 1;
    reconfigure();
    visitor_wait(&v, &w);
    uint32_t pid = v.server->backend_pid;
    w.fake.keep_cancels_open = true;
    pool_cancel_backend(v.server);
    RUN_UNTIL(&w, w.fake.cancels == 1);
    assert_int_equal(w.fake.cancel_pid, pid);
    assert_int_equal(w.fake.cancel_key, pid * 7);
    assert_int_equal(atomic_load(&w.stats.counters[STAT_CANCELS]), 1);
    visitor_go(&v); // given back while the cancel may still hit
    expect_gauges(0, 0, 0);
    assert_false(visitor_come(&other, &w));
    run_turns(&w, 10);
    assert_int_equal(other.granted, 0);
    fake_close_connections(&w.fake); // ends the cancel, and the connection with it
    RUN_UNTIL(&w, other.granted);
    assert_int_not_equal(other.server->backend_pid, pid);
    // The usual case: the server hangs up on the cancel, and the connection is there again.
    w.fake.keep_cancels_open = false;
    pid = other.server->backend_pid;
    pool_cancel_backend(other.server);
    visitor_go(&other);
    assert_false(visitor_come(&v, &w));
    RUN_UNTIL(&w, v.granted);
    assert_int_equal(v.server->backend_pid, pid);
    visitor_go(&v);
}

static void a_cancel_that_does_not_end_costs_the_connection(void **state) {
    (void)state;
    struct visitor v;
    w.config.cancel_wait_timeout = 100;
    w.fake.keep_cancels_open = true;
    visitor_wait(&v, &w);
    pool_cancel_backend(v.server);
    RUN_UNTIL(&w, w.fake.cancels == 1);
    visitor_go(&v);
    RUN_UNTIL(&w, fake_open_count(&w.fake) == 0);
    expect_gauges(0, 0, 0);
    // The same while it is busy: closed when it is given back.
    visitor_wait(&v, &w);
    pool_cancel_backend(v.server);
    RUN_UNTIL(&w, v.server->cancels == 0);
    assert_true(v.server->dirty);
    visitor_go(&v);
    expect_gauges(0, 0, 0);
}

static void a_cancel_that_cannot_start_does_no_harm(void **state) {
    (void)state;
    struct visitor v;
    visitor_wait(&v, &w);
    fake_deafen(&w.fake);
    pool_cancel_backend(v.server);
    RUN_UNTIL(&w, v.server->cancels == 0);
    visitor_go(&v);
    expect_gauges(0, 1, 0);
}

static void cancels_are_bounded_and_outlive_their_connection(void **state) {
    (void)state;
    struct visitor v;
    w.fake.keep_cancels_open = true;
    visitor_wait(&v, &w);
    for (int i = 0; i < 20; i++) pool_cancel_backend(v.server);
    assert_int_equal(v.server->cancels, 4); // twice the size
    pool_discard(v.server, NULL);
    RUN_UNTIL(&w, w.fake.cancels == 4);
    RUN_UNTIL(&w, fake_open_count(&w.fake) == 4);
    // world_stop ends them.
}

// ---- two workers

// A second worker on the same loop, which shares the quota.
static struct {
    struct server_env env;
    struct stats stats;
    struct pools *pools;
    bool gone;
} second;

static void second_nudge(void *arg, size_t worker) {
    (void)arg;
    assert_int_equal(worker, 0);
    w.nudges[0]++;
}
static void second_closed(void *arg) {
    (void)arg;
    second.gone = true;
}
static struct pool *second_pool(void) { return pool_as(second.pools, "app", "web", NULL); }

static void second_start(void) {
    memset(&second, 0, sizeof second);
    second.env = w.env;
    second.env.worker = 1;
    second.env.stats = &second.stats;
    second.env.nudge = second_nudge;
    second.pools = pools_new(&second.env, w.quota);
    pools_set_topology(second.pools, w.topology);
    (void)pool_as(second.pools, "app", "web", account_credentials(world_pool(&w)->account));
}
static void second_stop(void) {
    pools_close(second.pools, second_closed, NULL);
    RUN_UNTIL(&w, second.gone);
}
static bool second_come(struct visitor *v) {
    *v = (struct visitor){.ticket = {.granted = visitor_granted, .failed = visitor_failed}};
    ilink_init(&v->ticket.link);
    deadline_init(&v->ticket.deadline);
    v->server = pool_get(second_pool(), &v->ticket, &visitor_ops, v);
    return v->server != NULL;
}
// What the mailboxes of a real router do.
static void deliver_nudges(void) {
    for (int n = 0; w.nudges[0] + w.nudges[1] > 0 && n < 100; n++) {
        bool first = w.nudges[0] > 0;
        w.nudges[first ? 0 : 1]--;
        pools_nudged(first ? w.pools : second.pools);
    }
}
#define RUN_BOTH(cond) RUN_UNTIL(&w, (deliver_nudges(), (cond)))

static void an_idle_connection_is_given_up_for_another_worker(void **state) {
    (void)state;
    second_start();
    struct visitor a[2], b[2];
    for (size_t i = 0; i < 2; i++) visitor_wait(&a[i], &w);
    for (size_t i = 0; i < 2; i++) visitor_go(&a[i]);
    uint64_t start = uv_hrtime();
    assert_false(second_come(&b[0]));
    assert_int_equal(w.nudges[0], 1); // asked for one
    RUN_BOTH(b[0].granted);
    assert_true(uv_hrtime() - start < 150000000u); // without waiting for the housekeeping
    expect_gauges(0, 1, 0);
    // One each: the second one does not get both.
    assert_false(second_come(&b[1]));
    RUN_BOTH(true);
    run_turns(&w, 10);
    RUN_BOTH(true);
    assert_int_equal(b[1].granted, 0);
    expect_gauges(0, 1, 0);
    visitor_go(&b[0]);
    assert_int_equal(b[1].granted, 1);
    visitor_go(&b[1]);
    second_stop();
}

static void a_busy_worker_gives_one_up_when_it_comes_back(void **state) {
    (void)state;
    second_start();
    struct visitor a[2], b;
    for (size_t i = 0; i < 2; i++) visitor_wait(&a[i], &w);
    assert_false(second_come(&b));
    RUN_BOTH(true);
    run_turns(&w, 3);
    assert_int_equal(b.granted, 0);
    visitor_go(&a[0]);
    expect_gauges(1, 0, 0);
    RUN_BOTH(b.granted);
    visitor_go(&a[1]);
    visitor_go(&b);
    second_stop();
}

// One connection for two workers who both always want it: each gets it in turn, and not at every turn.
static void the_only_connection_is_shared_in_time(void **state) {
    (void)state;
    w.config.default_pool_size = 1;
    reconfigure();
    second_start();
    struct visitor a[2], b[2];
    int served[2] = {0, 0}, swaps = 0, last = -1;
    (void)visitor_come(&a[0], &w);
    (void)visitor_come(&a[1], &w);
    (void)second_come(&b[0]);
    (void)second_come(&b[1]);
    uint64_t end = uv_hrtime() + 1500 * 1000000ull;
    while (uv_hrtime() < end) {
        struct visitor *all[] = {&a[0], &a[1], &b[0], &b[1]};
        for (int i = 0; i < 4; i++) {
            if (!all[i]->server) continue;
            served[i / 2]++;
            swaps += last != i / 2;
            last = i / 2;
            visitor_go(all[i]);
            if (i < 2)
                (void)visitor_come(all[i], &w);
            else
                (void)second_come(all[i]);
        }
        deliver_nudges();
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    assert_true(served[0] > 10 && served[1] > 10);
    assert_in_range(swaps, 3, 12);
    assert_in_range(w.fake.accepted, 3, 12);
    struct visitor *all[] = {&a[0], &a[1], &b[0], &b[1]};
    for (int i = 0; i < 4; i++) {
        pool_cancel(&all[i]->ticket);
        if (all[i]->server) visitor_go(all[i]);
    }
    second_stop();
}

static void what_was_given_up_in_vain_goes_back(void **state) {
    (void)state;
    w.config.default_pool_size = 1;
    reconfigure();
    second_start();
    struct visitor a, b;
    visitor_wait(&a, &w);
    assert_false(second_come(&b));
    RUN_BOTH(true);
    visitor_go(&a);         // handed over ...
    pool_cancel(&b.ticket); // ... and nobody is there any more
    deliver_nudges();
    visitor_wait(&a, &w);
    assert_true(a.granted);
    visitor_go(&a);
    second_stop();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_connection_serves_one_after_the_other),
        TEST(the_last_used_goes_first),
        TEST(the_size_holds_and_the_queue_is_in_order),
        TEST(a_long_queue_is_no_recursion),
        TEST(what_is_not_clean_is_closed),
        TEST(a_paused_connection_reads_again),
        TEST(a_busy_connection_belongs_to_its_owner),
        TEST(waiting_too_long),
        TEST(the_reserve_is_for_those_who_waited),
        TEST(lifetime_ends_at_different_moments),
        TEST(idle_ones_go_down_to_the_minimum),
        TEST(a_pool_that_nobody_uses_goes),
        TEST(a_full_pool_says_so),
        TEST(a_failure_is_told_at_once_for_a_while),
        TEST(a_full_server_is_waited_for),
        TEST(new_credentials_are_tried_at_once),
        TEST(a_timeout_is_evidence),
        TEST(a_removed_server),
        TEST(another_address),
        TEST(a_server_that_is_down),
        TEST(up_again_means_try_again),
        TEST(sizes_follow_the_config),
        TEST(another_name_on_the_server),
        TEST(a_cancel_reaches_the_backend_and_parks_its_connection),
        TEST(a_cancel_that_does_not_end_costs_the_connection),
        TEST(a_cancel_that_cannot_start_does_no_harm),
        TEST(cancels_are_bounded_and_outlive_their_connection),
        TEST(an_idle_connection_is_given_up_for_another_worker),
        TEST(a_busy_worker_gives_one_up_when_it_comes_back),
        TEST(the_only_connection_is_shared_in_time),
        TEST(what_was_given_up_in_vain_goes_back),
    };
    return cmocka_run_group_tests(tests, worlds_begin, NULL);
}
