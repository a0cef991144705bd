// SPDX-License-Identifier: ISC
//
// tests/unit/pool/postgres_test.c: server connections and pools on a real PostgreSQL.
//
// with_postgres.py starts the server and says in the environment where it is. Users are those of tools/pgcluster.py.
#include "tests/unit/pool/pool_util.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/mailbox.h"
#include "router/wire/msg.h"

static struct world w;

static const char *setting(const char *name) {
    const char *value = getenv(name);
    if (!value) fail_msg("%s is not set: run this through tests/unit/pool/with_postgres.py", name);
    return value;
}

// The pools' one server is PostgreSQL.
static void point_at_postgres(struct world *to) {
    to->fake.address.sin_port = htons((uint16_t)atoi(setting("PGSTEER_TEST_PORT")));
    world_set_topology(to, world_topology(to, NODE_STATE_UP));
}

static int set_up(void **state) {
    (void)state;
    world_start(&w, 1);
    w.config.server_login_retry = 0;
    point_at_postgres(&w);
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    world_stop(&w);
    return 0;
}

// ---- a visitor with a question

struct asker {
    struct ticket ticket;
    struct pool *pool;
    struct server *server;
    struct fault fault; // why there is no server, or what the server answered
    struct buf in;
    char answer[200];
    bool failed, granted, answered;
    void (*then)(struct asker *a); // when answered
};

static void asker_take(struct asker *a, const struct frame *m) {
    struct cursor c = cursor_of(m->payload);
    if (m->type == BE_DATA_ROW && cursor_u16(&c) > 0) {
        struct span value = cursor_bytes(&c, cursor_u32(&c));
        snprintf(a->answer, sizeof a->answer, "%.*s", (int)value.len, value.ptr);
    }
    if (m->type == BE_ERROR) bug_unless(server_error_read(m->payload, &a->fault));
    if (m->type != BE_READY_FOR_QUERY) return;
    a->server->tx_status = (char)m->payload.ptr[0];
    pipeline_pop(&a->server->replies);
    a->answered = true;
}

static void asker_readable(void *owner, struct server *s) {
    struct asker *a = owner;
    uint8_t bytes[8192];
    ssize_t n = server_read(s, bytes, sizeof bytes, &a->fault);
    if (n == 0) return;
    if (n < 0) {
        pool_discard(s, NULL);
        a->server = NULL;
        a->failed = true;
        return;
    }
    buf_put(&a->in, bytes, (size_t)n);
    struct frame m;
    while (!a->answered && frame_next(FRAME_FROM_SERVER, buf_span(&a->in), &m, NULL) == WIRE_OK) {
        asker_take(a, &m);
        buf_consume(&a->in, m.total);
    }
    if (a->answered && a->then) a->then(a);
}
static void asker_drained(void *owner, struct server *s) { (void)owner, (void)s; }
static void asker_broken(void *owner, struct server *s, const struct fault *f) {
    struct asker *a = owner;
    a->fault = *f;
    a->failed = true;
    a->server = NULL;
    pool_discard(s, NULL);
}
static const struct server_owner_ops asker_ops = {asker_readable, asker_drained, asker_broken};

static void asker_granted(struct ticket *t, struct server *s) {
    struct asker *a = container_of(t, struct asker, ticket);
    a->server = s;
    a->granted = true;
}
static void asker_failed(struct ticket *t, const struct fault *f) {
    struct asker *a = container_of(t, struct asker, ticket);
    a->fault = *f;
    a->failed = true;
}
static void asker_come(struct asker *a, struct pool *p) {
    *a = (struct asker){
        .pool = p, .in = buf_make(1 << 20), .ticket = {.granted = asker_granted, .failed = asker_failed}};
    ilink_init(&a->ticket.link);
    deadline_init(&a->ticket.deadline);
    a->server = pool_get(p, &a->ticket, &asker_ops, a);
    a->granted = a->server != NULL;
}
static void asker_ask(struct asker *a, const char *sql) {
    struct buf b = buf_make(4096);
    a->answered = false;
    a->answer[0] = a->fault.sqlstate[0] = '\0';
    request_query(&b, span_str(sql));
    pipeline_push(&a->server->replies, REPLY_QUERY, REPLY_FORWARD);
    bug_unless(stream_write(&a->server->stream, b.data, buf_len(&b)));
    buf_release(&b);
}
static void asker_go(struct asker *a) {
    if (a->server) pool_put(a->server);
    a->server = NULL;
    buf_release(&a->in);
}

static struct pool *pool_with(const char *database, const char *user, const char *password) {
    struct credentials c = {.user = (char *)(uintptr_t)user};
    if (password) assert_true(secret_set(&c.password, span_str(password)));
    return pool_as(w.pools, database, user, &c);
}
static void ask(struct asker *a, const char *sql) {
    asker_ask(a, sql);
    RUN_UNTIL(&w, a->answered || a->failed);
    if (a->failed) fail_msg("%s: %s", a->fault.sqlstate, a->fault.text);
}
static void enter(struct asker *a, struct pool *p) {
    asker_come(a, p);
    RUN_UNTIL(&w, a->granted || a->failed);
}
static void expect_answer(struct pool *p, const char *sql, const char *answer) {
    struct asker a;
    enter(&a, p);
    if (a.failed) fail_msg("%s: %s", a.fault.sqlstate, a.fault.text);
    ask(&a, sql);
    assert_string_equal(a.answer, answer);
    asker_go(&a);
}
static void expect_refusal(struct pool *p, const char *sqlstate, const char *text) {
    struct asker a;
    enter(&a, p);
    if (!a.failed) fail_msg("let in");
    if (strcmp(a.fault.sqlstate, sqlstate) != 0 || !strstr(a.fault.text, text))
        fail_msg("%s: \"%s\"", a.fault.sqlstate, a.fault.text);
    asker_go(&a);
}

// ---- logging in

static void each_way_in(void **state) {
    (void)state;
    expect_answer(pool_with("app", "app", "app-password"), "select current_user", "app"); // SCRAM
    expect_answer(pool_with("app", "md5user", "md5-password"), "select current_user", "md5user");
    expect_answer(pool_with("app", "trusted", NULL), "select current_user", "trusted");
    expect_refusal(pool_with("app", "cleartext", "cleartext-password"), "28000", "not encrypted");
    struct asker a;
    enter(&a, pool_with("app", "app", "app-password"));
    assert_string_equal(server_parameter(a.server, "in_hot_standby"), "off");
    assert_non_null(server_parameter(a.server, "server_version"));
    assert_true(a.server->backend_pid && a.server->backend_key);
    ask(&a, "select pg_backend_pid()");
    assert_int_equal(atoi(a.answer), a.server->backend_pid);
    // The server's own defaults, and no name of ours.
    ask(&a, "select current_setting('application_name') || '|' || current_setting('client_encoding')");
    assert_string_equal(a.answer, "|UTF8");
    asker_go(&a);
}

// What a client's login with the same verifier teaches.
static struct scram_keys keys_of(const char *user, const char *password, const char *verifier) {
    struct user u = {.name = (char *)(uintptr_t)user, .kind = USER_SECRET_SCRAM};
    struct secret secret;
    struct scram_keys keys = {.set = false};
    struct fault f;
    struct buf a = buf_make(4096), b = buf_make(4096);
    assert_true(secret_set(&secret, span_str(password)));
    assert_true(scram_verifier_parse(verifier, &u.verifier));
    struct scram_client *client = scram_client_new(&secret, NULL);
    struct scram_server *server = scram_server_new(&u, span_str(user), scram_shape_default(), NULL);
    assert_true(scram_client_first(client, &a, &f));
    assert_true(scram_server_first(server, buf_span(&a), &b, &f));
    buf_clear(&a);
    assert_true(scram_client_final(client, buf_span(&b), &a, &f));
    buf_clear(&b);
    assert_true(scram_server_final(server, buf_span(&a), &b, &keys, &f));
    scram_client_free(client);
    scram_server_free(server);
    buf_release(&a);
    buf_release(&b);
    assert_true(keys.set);
    return keys;
}

static void keys_learnt_from_a_client_are_enough(void **state) {
    (void)state;
    struct credentials c = {.user = (char[]){"app"}};
    c.keys = keys_of("app", "app-password", setting("PGSTEER_TEST_VERIFIER"));
    expect_answer(pool_as(w.pools, "app", "app", &c), "select current_user", "app");
    // They open what holds the same verifier, and nothing else.
    c.user = (char[]){"other"};
    expect_refusal(pool_as(w.pools, "app", "other", &c), "28P01", "password authentication failed for user \"other\"");
    c.user = (char[]){"md5user"};
    expect_refusal(pool_as(w.pools, "app", "md5user", &c), "28000", "password of user \"md5user\"");
}

static void refusals_are_the_servers(void **state) {
    (void)state;
    expect_refusal(pool_with("app", "app", "wrong"), "28P01", "password authentication failed for user \"app\"");
    expect_refusal(pool_with("app", "md5user", "wrong"), "28P01",
                   "password authentication failed for user \"md5user\"");
    expect_refusal(pool_with("app", "app", NULL), "28000", "password of user \"app\"");
    expect_refusal(pool_with("nowhere", "app", "app-password"), "3D000", "database \"nowhere\" does not exist");
    expect_refusal(pool_with("app", "nobody", "x"), "28P01", "password authentication failed for user \"nobody\"");
    for (int i = 0; i < EVIDENCE_CLOSED + 1; i++) assert_int_equal(w.reports[i], 0); // the server is in good order
}

static struct tls_context *use_tls(enum sslmode mode, const char *ca) {
    struct fault f;
    w.config.server_tls_sslmode = mode;
    w.config.server_tls_ca_file = ca;
    w.env.tls = tls_context_for_servers(&w.config, &f);
    if (!w.env.tls) fail_msg("%s", f.text);
    return w.env.tls;
}
static const char in_tls[] = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

static void tls(void **state) {
    (void)state;
    struct tls_context *t = use_tls(SSLMODE_VERIFY_FULL, setting("PGSTEER_TEST_CA")); // node host: localhost
    expect_answer(pool_with("app", "app", "app-password"), in_tls, "t");
    expect_answer(pool_with("app", "cleartext", "cleartext-password"), in_tls, "t");
    tls_context_unref(t);
    t = use_tls(SSLMODE_ALLOW, "");
    expect_answer(pool_with("app", "md5user", "md5-password"), in_tls, "f");
    tls_context_unref(t);
    t = use_tls(SSLMODE_PREFER, "");
    expect_answer(pool_with("app", "trusted", NULL), in_tls, "t");
    tls_context_unref(t);
}

static void a_unix_socket(void **state) {
    (void)state;
    struct topology *t = world_topology(&w, NODE_STATE_UP);
    struct sockaddr_un *un = (struct sockaddr_un *)&t->nodes[0].addresses[0];
    memset(&t->nodes[0].addresses[0], 0, sizeof t->nodes[0].addresses[0]);
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof un->sun_path, "%s/.s.PGSQL.%s", setting("PGSTEER_TEST_SOCKETS"),
             setting("PGSTEER_TEST_PORT"));
    t->nodes[0].address_lens[0] = sizeof *un;
    world_set_topology(&w, t);
    struct tls_context *tls_context = use_tls(SSLMODE_REQUIRE, ""); // which a Unix socket does not have, nor need
    expect_answer(pool_with("app", "app", NULL), in_tls, "f");
    world_set_topology(&w, world_topology(&w, NODE_STATE_UP));
    tls_context_unref(tls_context);
}

// ---- life

static void terminate(uint32_t pid) {
    char sql[80];
    snprintf(sql, sizeof sql, "select pg_terminate_backend(%u)", pid);
    expect_answer(pool_with("app", "boss", "boss-password"), sql, "t");
}

static void wait_until_active(uint32_t pid) {
    char sql[120], answer[8] = "";
    snprintf(sql, sizeof sql, "select count(*) from pg_stat_activity where pid = %u and state = 'active'", pid);
    for (uint64_t end = uv_hrtime() + 10000000000u; strcmp(answer, "1") != 0 && uv_hrtime() < end;) {
        struct asker a;
        enter(&a, pool_with("app", "boss", "boss-password"));
        ask(&a, sql);
        memcpy(answer, a.answer, sizeof answer);
        asker_go(&a);
    }
}

static void a_backend_that_is_terminated_while_idle(void **state) {
    (void)state;
    struct asker a;
    struct pool *p = pool_with("app", "app", "app-password");
    enter(&a, p);
    uint32_t pid = a.server->backend_pid;
    asker_go(&a);
    terminate(pid);
    RUN_UNTIL(&w, w.reports[EVIDENCE_SHUTDOWN] == 1); // 57P01: health will look, and find nothing wrong
    enter(&a, p);
    assert_int_not_equal(a.server->backend_pid, pid);
    ask(&a, "select 1");
    // While busy it is the owner's.
    pid = a.server->backend_pid;
    asker_ask(&a, "select pg_sleep(60)");
    terminate(pid);
    RUN_UNTIL(&w, a.failed);
    asker_go(&a);
    assert_int_equal(w.reports[EVIDENCE_SHUTDOWN], 1);
}

static void a_cancel_ends_the_statement(void **state) {
    (void)state;
    w.config.default_pool_size = 1; // the next one must wait for this very connection
    for (int with_tls = 0; with_tls < 2; with_tls++) {
        struct tls_context *t = with_tls ? use_tls(SSLMODE_REQUIRE, "") : NULL;
        struct asker a, b;
        struct pool *p = pool_with("app", with_tls ? "md5user" : "app", with_tls ? "md5-password" : "app-password");
        enter(&a, p);
        assert_int_equal(stream_is_tls(&a.server->stream), with_tls);
        uint32_t pid = a.server->backend_pid;
        asker_ask(&a, "select pg_sleep(60)");
        wait_until_active(pid); // an idle backend does not heed a cancel
        pool_cancel_backend(a.server);
        RUN_UNTIL(&w, a.answered || a.failed);
        assert_string_equal(a.fault.sqlstate, "57014");
        asker_go(&a);
        // Whoever is next does not feel it.
        for (int i = 0; i < 20; i++) {
            enter(&b, p);
            assert_int_equal(b.server->backend_pid, pid);
            ask(&b, "select pg_sleep(0.001)");
            assert_string_equal(b.fault.sqlstate, "");
            pool_cancel_backend(b.server); // too late for it
            asker_go(&b);
        }
        if (t) tls_context_unref(t);
    }
}

static void connections_beyond_the_servers_limit_wait(void **state) {
    (void)state;
    // limited: alter role ... connection limit 1
    struct asker a, b;
    struct pool *p = pool_with("app", "limited", "limited-password");
    w.config.server_login_retry = 100;
    enter(&a, p);
    ask(&a, "select 1");
    asker_come(&b, p);
    RUN_UNTIL(&w, atomic_load(&w.stats.errors[STAT_ERROR_SERVER_CONNECT]) >= 2);
    assert_false(b.granted || b.failed);
    asker_go(&a);
    assert_true(b.granted);
    asker_go(&b);
}

static void a_new_connection_takes_the_place_of_an_old_one(void **state) {
    (void)state;
    struct asker a;
    struct pool *p = pool_with("app", "app", "app-password");
    enter(&a, p);
    uint32_t pid = a.server->backend_pid;
    w.config.server_lifetime = 1;
    ask(&a, "select pg_sleep(0.01)");
    asker_go(&a);
    w.config.server_lifetime = 3600000;
    enter(&a, p);
    assert_int_not_equal(a.server->backend_pid, pid);
    asker_go(&a);
}

// ---- two workers, each in its own thread

enum { SIZE = 3, ASKERS = 5, QUESTIONS = 150 };

struct worker_thread {
    uv_thread_t thread;
    struct world world;
    struct mailbox mailbox;
    struct worker_thread *other;
    struct asker askers[ASKERS];
    int asked, most;
};
static struct worker_thread workers[2];
static atomic_int workers_ready, workers_done;

static void on_nudge_mail(struct mail *m, void *owner) {
    struct worker_thread *t = owner;
    mem_free(m);
    pools_nudged(t->world.pools);
}
static void on_nudge(void *arg, size_t worker) {
    struct worker_thread *t = container_of(arg, struct worker_thread, world);
    bug_unless(worker != t->world.env.worker);
    struct mail *m = mem_new(struct mail);
    m->deliver = on_nudge_mail;
    if (!mailbox_post(&t->other->mailbox, m)) mem_free(m);
}

static void on_answer(struct asker *a) {
    struct worker_thread *t = container_of(a->pool->pools->env->arg, struct worker_thread, world);
    t->most = MAX_OF(t->most, atoi(a->answer));
    t->asked++;
    asker_go(a);
}

static void keep_asking(struct worker_thread *t, struct pool *p) {
    for (size_t i = 0; i < ASKERS; i++) {
        struct asker *a = &t->askers[i];
        bug_unless(!a->failed);
        if (!a->server && !ticket_is_waiting(&a->ticket)) asker_come(a, p);
        if (!a->server || !pipeline_is_empty(&a->server->replies)) continue;
        a->then = on_answer;
        asker_ask(a, "select count(*) from pg_stat_activity where usename = 'trusted'");
    }
}

static void worker_run(void *arg) {
    struct worker_thread *t = arg;
    struct world *x = &t->world;
    struct credentials c = {.user = (char[]){"trusted"}};
    struct pool *p = pool_as(x->pools, "app", "trusted", &c);
    for (size_t i = 0; i < ASKERS; i++) ilink_init(&t->askers[i].ticket.link);
    atomic_fetch_add(&workers_ready, 1);
    while (t->asked < QUESTIONS || atomic_load(&workers_done) < 2) {
        keep_asking(t, p);
        int before = t->asked;
        uv_run(&x->loop, UV_RUN_ONCE);
        if (before < QUESTIONS && t->asked >= QUESTIONS) atomic_fetch_add(&workers_done, 1);
    }
    for (size_t i = 0; i < ASKERS; i++) {
        pool_cancel(&t->askers[i].ticket);
        if (t->askers[i].server) pool_discard(t->askers[i].server, NULL);
        buf_release(&t->askers[i].in);
    }
    mailbox_close(&t->mailbox);
    world_stop_shared(x);
}

static void two_workers_share_a_budget(void **state) {
    (void)state;
    struct quota *quota = quota_new(2);
    for (size_t i = 0; i < 2; i++) {
        struct worker_thread *t = &workers[i];
        world_start_shared(&t->world, quota, i);
        t->world.config.default_pool_size = SIZE;
        t->world.env.nudge = on_nudge;
        t->other = &workers[!i];
        assert_int_equal(mailbox_init(&t->mailbox, &t->world.loop, t), 0);
        point_at_postgres(&t->world);
    }
    for (size_t i = 0; i < 2; i++) assert_int_equal(uv_thread_create(&workers[i].thread, worker_run, &workers[i]), 0);
    for (size_t i = 0; i < 2; i++) uv_thread_join(&workers[i].thread);
    for (size_t i = 0; i < 2; i++) {
        mailbox_fini(&workers[i].mailbox);
        assert_true(workers[i].asked >= QUESTIONS);
        // A backend that was told to end may still be seen for a moment beside the one that takes its place.
        assert_in_range(workers[i].most, 1, SIZE + 1);
    }
    quota_free(quota);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_way_in),
        TEST(keys_learnt_from_a_client_are_enough),
        TEST(refusals_are_the_servers),
        TEST(tls),
        TEST(a_unix_socket),
        TEST(a_backend_that_is_terminated_while_idle),
        TEST(a_cancel_ends_the_statement),
        TEST(connections_beyond_the_servers_limit_wait),
        TEST(a_new_connection_takes_the_place_of_an_old_one),
        TEST(two_workers_share_a_budget),
    };
    return cmocka_run_group_tests(tests, worlds_begin, NULL);
}
