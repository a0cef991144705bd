// SPDX-License-Identifier: ISC
//
// tests/unit/pool/pool_util.h: a worker without sessions, and a server that says what a test wants.
//
// The world has a loop, a config, a topology and pools; the fake server listens on the loopback interface on the same
// loop. It speaks just enough of the protocol to let somebody in, and otherwise says exactly the bytes it was given:
// whole, one by one, or cut off. Nothing sleeps: a test runs the loop until what it waits for has happened.
#ifndef PGSTEER_TESTS_UNIT_POOL_UTIL_H
#define PGSTEER_TESTS_UNIT_POOL_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "router/net/tls.h"
#include "router/session/pool.h"
#include "router/session/pool_parts.h"
#include "router/wire/reply.h"

// ---- the fake server

enum fake_auth { FAKE_TRUST, FAKE_CLEARTEXT, FAKE_MD5, FAKE_SCRAM, FAKE_SCRAM_WITHOUT_PROOF };

struct fake;

struct fake_conn {
    struct stream stream;
    struct fake *fake;
    struct fake_conn *next;
    struct buf in;
    struct scram_server *scram;
    uint32_t pid;
    bool started, authenticated, closed, said_goodbye;
};

struct fake {
    uv_loop_t *loop;
    int listener;
    uv_poll_t poll;
    struct sockaddr_in address;
    struct fake_conn *conns; // the newest first
    // what it does
    enum fake_auth auth;
    const char *password;
    struct tls_context *tls;  // NULL: answers 'N' to SSLRequest
    struct span tls_answer;   // instead of 'S' or 'N'
    struct span error;        // ErrorResponse instead of a login, a whole message
    struct span error_in_tls; // the same, on connections with TLS
    struct span script;       // instead of everything after the StartupMessage
    bool script_then_close, mute, keep_cancels_open;
    const char *in_hot_standby;
    // what it saw
    int accepted, ssl_requests, startups, cancels, terminates, tls_logins;
    uint32_t cancel_pid, cancel_key;
    struct buf last_startup;
};

static struct fake_conn *fake_of(struct stream *s) { return container_of(s, struct fake_conn, stream); }

static void fake_send(struct fake_conn *c, struct buf *b) {
    if (!c->stream.closing) (void)!stream_write(&c->stream, b->data + b->head, buf_len(b));
    buf_release(b);
}
static void fake_send_span(struct fake_conn *c, struct span s) {
    if (!c->stream.closing && s.len) (void)!stream_write(&c->stream, s.ptr, s.len);
}

static void fake_welcome(struct fake_conn *c) {
    struct buf b = buf_make(4096);
    c->authenticated = true;
    c->pid = (uint32_t)(1000 + c->fake->startups);
    reply_auth(&b, PROTO_AUTH_OK, span_str(""));
    reply_parameter_status(&b, span_str("server_version"), span_str("15.1"));
    reply_parameter_status(&b, span_str("in_hot_standby"),
                           span_str(c->fake->in_hot_standby ? c->fake->in_hot_standby : "off"));
    reply_backend_key_data(&b, c->pid, c->pid * 7);
    reply_ready(&b, PROTO_TX_IDLE);
    fake_send(c, &b);
}

static void fake_ask(struct fake_conn *c) {
    struct buf b = buf_make(4096);
    static const char *const mechanisms[] = {"SCRAM-SHA-256-PLUS", SCRAM_MECHANISM, NULL};
    switch (c->fake->auth) {
    case FAKE_TRUST: fake_welcome(c); return;
    case FAKE_CLEARTEXT: reply_auth(&b, PROTO_AUTH_CLEARTEXT, span_str("")); break;
    case FAKE_MD5: reply_auth(&b, PROTO_AUTH_MD5, span_str("salt")); break;
    case FAKE_SCRAM:
    case FAKE_SCRAM_WITHOUT_PROOF: reply_auth_sasl(&b, mechanisms); break;
    }
    fake_send(c, &b);
}

static void fake_run_script(struct fake_conn *c) {
    const struct fake *f = c->fake;
    fake_send_span(c, f->script);
    if (f->script_then_close) stream_close(&c->stream, false);
}

static void fake_started(struct fake_conn *c, struct span packet) {
    struct fake *f = c->fake;
    c->started = true;
    f->startups++;
    if (stream_is_tls(&c->stream)) f->tls_logins++;
    buf_clear(&f->last_startup);
    buf_put_span(&f->last_startup, packet);
    struct span error = stream_is_tls(&c->stream) && f->error_in_tls.ptr ? f->error_in_tls : f->error;
    if (f->mute) return;
    if (f->script.ptr) {
        fake_run_script(c);
    } else if (error.len) {
        fake_send_span(c, error);
        stream_close(&c->stream, true);
    } else {
        fake_ask(c);
    }
}

static void fake_password(struct fake_conn *c, struct span payload) {
    struct buf b = buf_make(4096);
    struct fault fault;
    struct user u = {.name = (char[]){"web"}, .kind = USER_SECRET_PLAIN};
    bool ok = true;
    (void)!secret_set(&u.password, span_str(c->fake->password ? c->fake->password : "secret"));
    if (c->fake->auth == FAKE_CLEARTEXT || c->fake->auth == FAKE_MD5) {
        fake_welcome(c);
        return;
    }
    if (!c->scram) { // SASLInitialResponse: mechanism, length, data
        struct cursor at = cursor_of(payload);
        cursor_cstr(&at);
        cursor_u32(&at);
        c->scram = scram_server_new(&u, span_str("web"), scram_shape_default(), NULL);
        struct buf first = buf_make(4096);
        ok = scram_server_first(c->scram, span_of(at.ptr, cursor_left(&at)), &first, &fault);
        reply_auth(&b, PROTO_AUTH_SASL_CONTINUE, buf_span(&first));
        buf_release(&first);
    } else {
        struct buf final = buf_make(4096);
        ok = scram_server_final(c->scram, payload, &final, NULL, &fault);
        if (c->fake->auth == FAKE_SCRAM) reply_auth(&b, PROTO_AUTH_SASL_FINAL, buf_span(&final));
        buf_release(&final);
    }
    if (!ok) {
        buf_clear(&b);
        reply_error(&b, true, &fault);
    }
    bool over = buf_len(&b) == 0 || b.data[b.head + 8] == PROTO_AUTH_SASL_FINAL;
    fake_send(c, &b);
    if (!ok)
        stream_close(&c->stream, true);
    else if (over)
        fake_welcome(c);
}

// The packets before the login. False: more bytes are needed, or it is over.
static bool fake_packet(struct fake_conn *c) {
    struct fake *f = c->fake;
    struct startup p;
    struct fault fault;
    struct span in = buf_span(&c->in);
    if (frame_startup(in, &p, &fault) != WIRE_OK) return false;
    if (p.kind == STARTUP_SSL_REQUEST) {
        f->ssl_requests++;
        buf_consume(&c->in, p.total);
        if (f->tls_answer.ptr) {
            fake_send_span(c, f->tls_answer);
        } else {
            fake_send_span(c, span_str(f->tls ? "S" : "N"));
            if (f->tls) assert_true(stream_start_tls(&c->stream, f->tls, true, NULL, &fault));
        }
        return false;
    }
    if (p.kind == STARTUP_CANCEL) {
        f->cancels++;
        f->cancel_pid = p.cancel_pid;
        f->cancel_key = span_u32(p.cancel_key.ptr);
        if (!f->keep_cancels_open) stream_close(&c->stream, false);
        return false;
    }
    fake_started(c, span_first(in, p.total));
    if (!c->stream.closing) buf_consume(&c->in, p.total);
    return !c->stream.closing;
}

static bool fake_message(struct fake_conn *c) {
    struct frame m;
    struct fault fault;
    if (frame_next(FRAME_FROM_CLIENT, buf_span(&c->in), &m, &fault) != WIRE_OK) return false;
    if (m.type == FE_PASSWORD) fake_password(c, m.payload);
    if (m.type == FE_TERMINATE) {
        c->said_goodbye = true;
        c->fake->terminates++;
    }
    buf_consume(&c->in, m.total);
    return !c->stream.closing;
}

static void fake_ready(struct stream *s) { (void)s; }
static void fake_drained(struct stream *s) { (void)s; }
static void fake_readable(struct stream *s) {
    struct fake_conn *c = fake_of(s);
    uint8_t bytes[4096];
    ssize_t n = stream_read(s, bytes, sizeof bytes, NULL);
    if (n > 0) {
        buf_put(&c->in, bytes, (size_t)n);
        while (c->started ? fake_message(c) : fake_packet(c)) continue;
    } else if (n < 0) {
        stream_close(s, false);
    }
}
static void fake_failed(struct stream *s, const struct fault *f) {
    (void)f;
    stream_close(s, false);
}
static void fake_closed(struct stream *s) {
    struct fake_conn *c = fake_of(s);
    struct fake_conn **at = &c->fake->conns;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    scram_server_free(c->scram);
    buf_release(&c->in);
    mem_free(c);
}
static const struct stream_ops fake_ops = {.ready = fake_ready,
                                           .readable = fake_readable,
                                           .drained = fake_drained,
                                           .failed = fake_failed,
                                           .closed = fake_closed};

static void fake_accept(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    struct fake *f = container_of(poll, struct fake, poll);
    int fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct fake_conn *c = mem_new(struct fake_conn);
    c->fake = f;
    c->in = buf_make(1 << 20);
    assert_true(stream_open(&c->stream, f->loop, &fake_ops, fd, NULL));
    c->next = f->conns;
    f->conns = c;
    f->accepted++;
}

static void fake_start(struct fake *f, uv_loop_t *loop) {
    *f = (struct fake){.loop = loop, .last_startup = buf_make(16384)};
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    f->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof f->address;
    assert_int_equal(bind(f->listener, (struct sockaddr *)&f->address, len), 0);
    assert_int_equal(listen(f->listener, 64), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&f->address, &len), 0);
    assert_int_equal(uv_poll_init(loop, &f->poll, f->listener), 0);
    assert_int_equal(uv_poll_start(&f->poll, UV_READABLE, fake_accept), 0);
}

static inline void fake_close_connections(struct fake *f) {
    for (struct fake_conn *c = f->conns; c; c = c->next) stream_close(&c->stream, false);
}
static inline void fake_deafen(struct fake *f) { // nobody listens any more
    if (f->listener < 0) return;
    uv_close((uv_handle_t *)&f->poll, NULL);
    close(f->listener);
    f->listener = -1;
}
static void fake_stop(struct fake *f) {
    fake_close_connections(f);
    fake_deafen(f);
    buf_release(&f->last_startup);
}
static inline int fake_open_count(const struct fake *f) {
    int n = 0;
    for (const struct fake_conn *c = f->conns; c; c = c->next) n += !c->stream.closing;
    return n;
}

// ---- the world

struct world {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct deadlines *deadlines;
    struct config config;
    struct stats stats;
    struct topology *topology;
    struct quota *quota;
    struct server_env env;
    struct pools *pools;
    struct fake fake;
    uint8_t *rbuf;
    int reports[EVIDENCE_CLOSED + 1];
    int nudges[QUOTA_WORKERS_MAX];
    atomic_ullong defaults_changed_us;
    bool pools_gone;
};

static uint64_t world_now_us(void *arg) {
    (void)arg;
    return uv_hrtime() / 1000;
}
static void world_report(void *arg, const char *node, enum evidence e) {
    struct world *w = arg;
    assert_string_equal(node, "pg1");
    w->reports[e]++;
}
static void world_nudge(void *arg, size_t worker) { ((struct world *)arg)->nudges[worker]++; }
static void world_pools_closed(void *arg) { ((struct world *)arg)->pools_gone = true; }
static void world_watchdog(uv_timer_t *t) {
    (void)t;
    fail_msg("nothing happened for ten seconds");
}

#define RUN_UNTIL(w, cond)                                                                                             \
    do {                                                                                                               \
        uv_timer_start(&(w)->watchdog, world_watchdog, 10000, 0);                                                      \
        while (!(cond)) uv_run(&(w)->loop, UV_RUN_ONCE);                                                               \
    } while (0)
static inline void run_turns(struct world *w, int n) {
    while (n-- > 0) uv_run(&w->loop, UV_RUN_NOWAIT);
}

// One server "pg1" at the fake's address.
static struct topology *world_topology(const struct world *w, enum node_state state) {
    struct topology *t = topology_new(1);
    struct node_live *live = w->topology ? w->topology->nodes[0].live : node_live_new();
    topology_set_node(t, 0, "pg1", "localhost", ntohs(w->fake.address.sin_port), "", live);
    if (!w->topology) node_live_unref(live);
    struct node *n = &t->nodes[0];
    n->n_addresses = 1;
    memcpy(&n->addresses[0], &w->fake.address, sizeof w->fake.address);
    n->address_lens[0] = sizeof w->fake.address;
    n->state = state;
    t->primary = 0;
    return t;
}
static inline void world_set_topology(struct world *w, struct topology *t) {
    struct topology *before = w->topology;
    w->topology = t;
    pools_set_topology(w->pools, t);
    topology_unref(before);
}

static struct config world_config(void) {
    struct config c = {.server_tls_sslmode = SSLMODE_DISABLE,
                       .server_tls_ca_file = "",
                       .server_tls_key_file = "",
                       .server_tls_cert_file = "",
                       .client_tls_ciphers = "",
                       .client_tls_ca_file = "",
                       .server_connect_timeout = 5000,
                       .server_lifetime = 3600000,
                       .server_idle_timeout = 600000,
                       .server_login_retry = 1000,
                       .cancel_wait_timeout = 5000,
                       .default_pool_size = 2,
                       .reserve_pool_timeout = 5000,
                       .query_wait_timeout = 30000};
    return c;
}

// One worker of those that share `quota`.
static void world_start_shared(struct world *w, struct quota *quota, size_t worker) {
    memset(w, 0, sizeof *w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->watchdog);
    w->deadlines = deadlines_new(&w->loop);
    w->config = world_config();
    fake_start(&w->fake, &w->loop);
    w->topology = world_topology(w, NODE_STATE_UP);
    w->quota = quota;
    w->rbuf = mem_alloc(RBUF_SIZE);
    w->env = (struct server_env){.loop = &w->loop,
                                 .deadlines = w->deadlines,
                                 .config = &w->config,
                                 .stats = &w->stats,
                                 .worker = worker,
                                 .rbuf = w->rbuf,
                                 .now_us = world_now_us,
                                 .defaults_changed_us = &w->defaults_changed_us,
                                 .report = world_report,
                                 .nudge = world_nudge,
                                 .arg = w};
    w->pools = pools_new(&w->env, w->quota);
    pools_set_topology(w->pools, w->topology);
}
// For a group of tests: what is refused is not worth a line, and a peer that is gone no signal.
static inline int worlds_begin(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

static inline void world_start(struct world *w, size_t workers) { world_start_shared(w, quota_new(workers), 0); }

static void world_stop_shared(struct world *w) {
    if (!w->pools_gone) pools_close(w->pools, world_pools_closed, w);
    RUN_UNTIL(w, w->pools_gone);
    assert_int_equal(atomic_load(&w->topology->nodes[0].live->connections), 0);
    for (int g = STAT_GAUGE_POOL_ACTIVE; g <= STAT_GAUGE_POOL_WAITING; g++)
        assert_int_equal(atomic_load(&w->stats.gauges[g]), 0);
    fake_stop(&w->fake);
    deadlines_close(w->deadlines);
    uv_close((uv_handle_t *)&w->watchdog, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    topology_unref(w->topology);
    mem_free(w->rbuf);
}
static inline void world_stop(struct world *w) {
    world_stop_shared(w);
    quota_free(w->quota);
}

// The pool of the first server. It keeps its account.
static inline struct pool *pool_as(struct pools *all, const char *database, const char *user,
                                   const struct credentials *c) {
    struct account *a = account_get(all, database, user);
    if (c) account_set_credentials(a, c);
    struct pool *p = account_pool(a, 0);
    account_unref(a);
    return p;
}
static inline struct pool *world_pool(struct world *w) { return pool_as(w->pools, "app", "web", NULL); }
static inline void world_set_password(struct world *w, const char *password) {
    struct credentials c = {.user = (char[]){"web"}};
    (void)!secret_set(&c.password, span_str(password));
    (void)pool_as(w->pools, "app", "web", &c);
}
static inline long long gauge_of(const struct world *w, enum stat_gauge g) { return atomic_load(&w->stats.gauges[g]); }

// ---- somebody who wants a connection

struct visitor {
    struct ticket ticket;
    struct server *server;
    int granted, failed, readable, broken, order;
    struct fault fault;
    void (*then)(struct visitor *v); // when granted
};
static int visitor_order;

static void visitor_readable(void *owner, struct server *s) {
    struct visitor *v = owner;
    char bytes[256];
    assert_ptr_equal(v->server, s);
    v->readable++;
    ssize_t n = server_read(s, bytes, sizeof bytes, &v->fault);
    if (n >= 0) return;
    v->broken++;
    v->server = NULL;
    pool_discard(s, "broken");
}
static void visitor_drained(void *owner, struct server *s) { (void)owner, (void)s; }
static void visitor_broken(void *owner, struct server *s, const struct fault *f) {
    struct visitor *v = owner;
    v->broken++;
    v->fault = *f;
    v->server = NULL;
    pool_discard(s, "broken");
}
static const struct server_owner_ops visitor_ops = {visitor_readable, visitor_drained, visitor_broken};

static void visitor_granted(struct ticket *t, struct server *s) {
    struct visitor *v = container_of(t, struct visitor, ticket);
    assert_int_equal(s->state, SERVER_BUSY);
    v->granted++;
    v->order = ++visitor_order;
    v->server = s;
    if (v->then) v->then(v);
}
static void visitor_failed(struct ticket *t, const struct fault *f) {
    struct visitor *v = container_of(t, struct visitor, ticket);
    v->failed++;
    v->fault = *f;
}
// True when there was a connection at once.
static bool visitor_come(struct visitor *v, struct world *w) {
    *v = (struct visitor){.ticket = {.granted = visitor_granted, .failed = visitor_failed}};
    ilink_init(&v->ticket.link);
    deadline_init(&v->ticket.deadline);
    v->server = pool_get(world_pool(w), &v->ticket, &visitor_ops, v);
    assert_int_equal(v->granted + v->failed, 0); // never from inside
    return v->server != NULL;
}
static inline void visitor_wait(struct visitor *v, struct world *w) {
    if (!visitor_come(v, w)) RUN_UNTIL(w, v->granted || v->failed);
}
static inline void visitor_go(struct visitor *v) {
    struct server *s = v->server;
    v->server = NULL;
    pool_put(s);
}

#endif
