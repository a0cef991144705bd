// SPDX-License-Identifier: ISC
//
// tests/unit/session/client_util.h: a client on a real loop, a frontend at the other end, and a session that notes.
//
// The frontend is a stream of router/net, so it speaks TLS too. Nothing sleeps: a test says what it waits for.
#ifndef PGSTEER_TESTS_UNIT_SESSION_CLIENT_UTIL_H
#define PGSTEER_TESTS_UNIT_SESSION_CLIENT_UTIL_H

#include "tests/unit/net/net_util.h"

#include <signal.h>
#include <stdio.h>

#include "config/config.h"
#include "config/users.h"
#include "router/session/client.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

enum { ROOM = 8 << 20, CLIENT_RBUF = 64 * 1024 };

struct fixture {
    struct test_loop loop;
    struct config config;
    struct stats stats;
    struct client_env env;
    struct client client;
    struct end front; // the frontend
    size_t heard;     // bytes of the message that was heard last
    uint8_t rbuf[CLIENT_RBUF];
    // what the client is told
    bool full, draining;
    bool welcome_at_once;
    // what the client has told
    bool keys_learnt; // at the last login
    int authenticated, gone, freed, drained, cancels;
    uint32_t cancel_pid, cancel_key;
    struct buf input; // taken
    int offers;
    // how `input` behaves; NULL: takes all
    size_t (*on_input)(struct fixture *x, struct span bytes);
};

static struct fixture *fixture_of(void *owner) { return owner; }

static inline void welcome(struct fixture *x) {
    struct buf parameters = buf_make(1000);
    reply_parameters(&parameters, span_of("server_version\0"
                                          "15.9\0TimeZone\0UTC\0",
                                          33));
    client_welcome(&x->client, buf_span(&parameters), 4711, 0x12345678);
    buf_release(&parameters);
}
static inline void x_authenticated(void *owner, struct client *c, const struct scram_keys *keys) {
    (void)c;
    fixture_of(owner)->keys_learnt = keys->set;
    fixture_of(owner)->authenticated++;
    if (fixture_of(owner)->welcome_at_once) welcome(owner);
}
static inline size_t x_input(void *owner, struct client *c, struct span bytes) {
    struct fixture *x = owner;
    (void)c;
    x->offers++;
    size_t n = x->on_input ? x->on_input(x, bytes) : bytes.len;
    if (n) buf_put_span(&x->input, span_first(bytes, n));
    return n;
}
static inline void x_drained(void *owner, struct client *c) {
    (void)c;
    fixture_of(owner)->drained++;
}
static inline void x_gone(void *owner, struct client *c) {
    assert_true(c->state == CLIENT_LEAVING || c->state == CLIENT_CLOSED);
    fixture_of(owner)->gone++;
}
static const struct client_ops x_ops = {
    .authenticated = x_authenticated, .input = x_input, .drained = x_drained, .gone = x_gone};

static inline void x_cancel(void *arg, uint32_t pid, uint32_t key) {
    struct fixture *x = arg;
    x->cancels++;
    x->cancel_pid = pid;
    x->cancel_key = key;
}
static inline bool x_full(void *arg) { return fixture_of(arg)->full; }
static inline bool x_draining(void *arg) { return fixture_of(arg)->draining; }
static inline void x_freed(struct client *c) { container_of(c, struct fixture, client)->freed++; }
static inline void x_config_free(struct snap *s) { (void)s; }

// "web" has the password "pencil" in plain text, "app" a verifier of the same.
static const char x_users[] =
    "\"web\" \"pencil\"\n"
    "\"app\" \"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\"\n";

static inline struct fixture *fixture_new(enum auth_type auth_type) {
    struct fixture *x = mem_new(struct fixture);
    struct fault f;
    signal(SIGPIPE, SIG_IGN);
    test_loop_init(&x->loop);
    snap_init(&x->config.snap, x_config_free);
    x->config.auth_type = auth_type;
    x->config.users = users_parse(span_str(x_users), "users.txt", &f);
    assert_non_null(x->config.users);
    x->input = buf_make(ROOM);
    x->env = (struct client_env){.loop = &x->loop.loop,
                                 .deadlines = deadlines_new(&x->loop.loop),
                                 .config = &x->config,
                                 .stats = &x->stats,
                                 .rbuf = x->rbuf,
                                 .rbuf_size = sizeof x->rbuf,
                                 .cancel = x_cancel,
                                 .full = x_full,
                                 .draining = x_draining,
                                 .arg = x};
    return x;
}

static inline void fixture_connect(struct fixture *x, bool tcp) {
    int fds[2];
    if (tcp)
        make_tcp_pair(fds);
    else
        make_pair(fds);
    x->authenticated = x->gone = x->freed = x->drained = x->cancels = x->offers = 0;
    x->heard = 0;
    buf_clear(&x->input);
    end_open(&x->front, &x->loop, fds[0]);
    assert_true(client_open(&x->client, &x->env, fds[1], 7, x, &x_ops, x_freed));
}

// Ends both sides, whatever has happened, and checks that the client has let go of everything.
static inline void fixture_disconnect(struct fixture *x) {
    client_close(&x->client);
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(x->freed, 1);
    assert_int_equal(x->gone, x->authenticated);
    assert_int_equal(atomic_load(&x->config.snap.refs), 1);
    end_close(&x->front, &x->loop);
}

static inline void fixture_free(struct fixture *x) {
    deadlines_close(x->env.deadlines);
    test_loop_fini(&x->loop);
    users_free(x->config.users);
    buf_release(&x->input);
    mem_free(x);
}

// ---- the frontend

static inline void say(struct fixture *x, struct span s) { (void)!stream_write(&x->front.stream, s.ptr, s.len); }
static inline void say_buf(struct fixture *x, struct buf *b) {
    assert_false(b->failed);
    say(x, buf_span(b));
    buf_release(b);
}

#define SAY_STARTUP(x, ...)                                                                                            \
    do {                                                                                                               \
        const struct request_parameter parameters_[] = {__VA_ARGS__};                                                  \
        struct buf b_ = buf_make(ROOM);                                                                                \
        request_startup(&b_, parameters_, countof(parameters_));                                                       \
        say_buf(x, &b_);                                                                                               \
    } while (0)

// The next message from the client's side, good until the next call; false at the end.
static inline bool hear(struct fixture *x, struct frame *out) {
    enum wire_result r;
    buf_consume(&x->front.got, x->heard);
    x->heard = 0;
    RUN_UNTIL(&x->loop, (r = frame_next(FRAME_FROM_SERVER, buf_span(&x->front.got), out, NULL)) != WIRE_MORE ||
                            x->front.last_read < 0);
    if (r != WIRE_OK) return false;
    x->heard = out->total;
    return true;
}

static inline struct frame hear_type(struct fixture *x, char type) {
    struct frame f = {.type = 0};
    assert_true(hear(x, &f));
    if (f.type != type) {
        struct msg_error e;
        if (f.type == BE_ERROR) {
            msg_error(f.payload, &e);
            fail_msg("error %.*s", (int)e.message.len, (const char *)e.message.ptr);
        }
        assert_int_equal(f.type, type);
    }
    return f;
}

static inline void hear_auth(struct fixture *x, uint32_t code, struct frame *out) {
    *out = hear_type(x, BE_AUTHENTICATION);
    assert_int_equal(span_u32(out->payload.ptr), code);
    out->payload = span_from(out->payload, 4);
}

static inline uint8_t hear_byte(struct fixture *x) {
    buf_consume(&x->front.got, x->heard);
    x->heard = 0;
    RUN_UNTIL(&x->loop, buf_len(&x->front.got) || x->front.last_read < 0);
    assert_int_equal(buf_len(&x->front.got), 1);
    uint8_t byte = buf_span(&x->front.got).ptr[0];
    buf_consume(&x->front.got, 1);
    return byte;
}

// FATAL with this SQLSTATE and, when given, this in its sentence; then the end.
static inline void hear_fatal(struct fixture *x, const char *sqlstate, const char *sentence) {
    struct frame f;
    struct msg_error e;
    assert_true(hear(x, &f));
    assert_int_equal(f.type, BE_ERROR);
    msg_error(f.payload, &e);
    assert_true(span_is(e.severity, "FATAL"));
    if (!span_is(e.sqlstate, sqlstate))
        fail_msg("%.5s %.*s", (const char *)e.sqlstate.ptr, (int)e.message.len, (const char *)e.message.ptr);
    if (sentence) assert_non_null(strstr((const char *)e.message.ptr, sentence));
    assert_false(hear(x, &f));
    RUN_UNTIL(&x->loop, x->freed);
}

static inline void hear_end(struct fixture *x) {
    struct frame f;
    assert_false(hear(x, &f));
    assert_int_equal(buf_len(&x->front.got), 0);
    RUN_UNTIL(&x->loop, x->freed);
}

// A frontend that is welcome and ready, by trust.
static inline void log_in_by_trust(struct fixture *x) {
    x->welcome_at_once = true;
    SAY_STARTUP(x, {"user", "web"}, {"database", "shop"});
    struct frame f;
    hear_auth(x, PROTO_AUTH_OK, &f);
    while (f.type != BE_READY_FOR_QUERY) assert_true(hear(x, &f));
    assert_int_equal(x->client.state, CLIENT_READY);
}

static inline unsigned long long errors(const struct fixture *x, enum stat_error e) { return x->stats.errors[e]; }

#endif
