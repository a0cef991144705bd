// SPDX-License-Identifier: ISC
// router/session/server.c: see router/session/server.h.
//
// The shell around server_login.c: sockets, TLS, addresses, deadlines. An attempt is one address, with or without TLS;
// when it fails in a way that the next one may not, the stream is closed and opened again from its closed callback.
#include "router/session/server.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/net/tls.h"
#include "router/session/parameters.h"
#include "router/session/settings.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

enum {
    SERVER_MESSAGE_MAX = 64 * 1024, // of what a server says while no session has it
    SERVER_STARTUP_MAX = 4096,
    SERVER_PARAMETERS_MAX = 2 * PROTO_STARTUP_MAX // what a client's start-up packet can hold
};

// What is needed until the connection is logged in.
struct server_attempt {
    struct topology *topology; // referenced
    struct tls_context *tls;   // referenced; NULL: never with TLS
    const struct node *node;
    char *database;
    const struct credentials *who;
    struct span parameters; // borrowed
    struct server_login login;
    enum sslmode sslmode;
    bool with_tls;    // this attempt asks for TLS
    bool other_tried; // the other way has been tried on this address, or is not allowed
    bool rejected;    // ... since the server refused the first: its words count
    bool again;       // start the next attempt when the stream has closed
    enum server_end end;
    struct fault fault; // of the attempt that failed last
};

static const char *const state_names[] = {[SERVER_CONNECTING] = "connecting",
                                          [SERVER_TLS_ASK] = "tls_ask",
                                          [SERVER_TLS] = "tls",
                                          [SERVER_STARTUP] = "startup",
                                          [SERVER_AUTH] = "auth",
                                          [SERVER_SYNC] = "sync",
                                          [SERVER_IDLE] = "idle",
                                          [SERVER_BUSY] = "busy",
                                          [SERVER_PARKED] = "parked",
                                          [SERVER_CLOSED] = "closed"};
static_assert(countof(state_names) == SERVER_STATES, "one name per state");

const char *server_state_str(enum server_state s) { return state_names[s]; }

#define TO(state) (1u << SERVER_##state)
static const unsigned moves[] = {
    [SERVER_CONNECTING] = TO(CONNECTING) | TO(TLS_ASK) | TO(STARTUP) | TO(CLOSED),
    [SERVER_TLS_ASK] = TO(CONNECTING) | TO(TLS) | TO(STARTUP) | TO(CLOSED),
    [SERVER_TLS] = TO(CONNECTING) | TO(STARTUP) | TO(CLOSED),
    [SERVER_STARTUP] = TO(CONNECTING) | TO(AUTH) | TO(SYNC) | TO(CLOSED),
    [SERVER_AUTH] = TO(CONNECTING) | TO(SYNC) | TO(CLOSED),
    [SERVER_SYNC] = TO(IDLE) | TO(CLOSED),
    [SERVER_IDLE] = TO(BUSY) | TO(CLOSED),
    [SERVER_BUSY] = TO(IDLE) | TO(PARKED) | TO(CLOSED),
    [SERVER_PARKED] = TO(IDLE) | TO(CLOSED),
    [SERVER_CLOSED] = 0,
};
static_assert(countof(moves) == SERVER_STATES, "one row per state");

static void server_set_state(struct server *s, enum server_state to) {
    bug_unless(moves[s->state] >> to & 1);
    s->state = to;
}

// ---- the end

static void attempt_free(struct server *s) {
    struct server_attempt *a = s->attempt;
    if (!a) return;
    s->attempt = NULL;
    server_login_fini(&a->login);
    topology_unref(a->topology);
    if (a->tls) tls_context_unref(a->tls);
    mem_free(a->database);
    mem_free(a);
}

static void server_free(struct server *s) {
    s->pool_ops->freed(s);
    log_prefix_clear(&s->log);
    mem_free(s);
}

// What does not need the socket any more goes at once.
static void server_end(struct server *s) {
    server_set_state(s, SERVER_CLOSED);
    deadline_clear(&s->deadline);
    attempt_free(s);
    pipeline_fini(&s->replies);
    prep_server_fini(&s->prepared);
    settings_unref(s->settings);
    settings_unref(s->customs);
    s->settings = s->customs = NULL;
    s->owner = NULL;
    buf_release(&s->in);
}

void server_close(struct server *s) {
    if (s->state == SERVER_CLOSED) return;
    bool polite = s->state == SERVER_IDLE || s->state == SERVER_PARKED;
    server_end(s);
    if (polite) {
        struct buf b = buf_make(SERVER_STARTUP_MAX);
        request_terminate(&b);
        (void)!stream_write(&s->stream, b.data, buf_len(&b));
        buf_release(&b);
    }
    stream_close(&s->stream, polite);
}

static void server_lost(struct server *s, enum server_end end, const struct fault *f) {
    struct fault copy = *f;
    server_close(s);
    if (s->told)
        s->pool_ops->lost(s, end, &copy);
    else
        s->pool_ops->failed(s, end, &copy);
}

static void server_failed(struct server *s) {
    enum server_end end = s->attempt->end;
    struct fault f = s->attempt->fault;
    server_close(s);
    s->pool_ops->failed(s, end, &f);
}

static bool is_shutdown(const struct fault *f) {
    return strcmp(f->sqlstate, "57P01") == 0 || strcmp(f->sqlstate, "57P02") == 0 || strcmp(f->sqlstate, "57P03") == 0;
}

// ---- attempts

static bool address_is_unix(const struct server_attempt *a, size_t i) {
    return a->node->addresses[i].ss_family == AF_UNIX;
}

// How an address is tried first: as libpq does, plain for allow, with TLS for prefer, and the others in one way only.
static void attempt_choose_tls(struct server *s) {
    struct server_attempt *a = s->attempt;
    enum sslmode mode = a->tls && !address_is_unix(a, s->address) ? a->sslmode : SSLMODE_DISABLE;
    a->with_tls = mode != SSLMODE_DISABLE && mode != SSLMODE_ALLOW;
    a->other_tried = mode != SSLMODE_ALLOW && mode != SSLMODE_PREFER;
    a->rejected = false;
}

static void attempt_note(struct server *s, enum server_end end, const struct fault *f) {
    struct server_attempt *a = s->attempt;
    // When the other way was only tried because the server refused the first one, the first answer is the one to show.
    if (a->rejected && end != SERVER_END_REFUSED) return;
    char name[128];
    stream_address_str((const struct sockaddr *)&a->node->addresses[s->address], a->node->address_lens[s->address],
                       name, sizeof name);
    a->end = end;
    a->fault = *f;
    if (end == SERVER_END_UNREACHABLE) fault_set(&a->fault, f->sqlstate, "%s: %s", name, f->text);
}

static const struct stream_ops stream_ops;

// Connects to the address whose turn it is, or to one after it. False: there is none left; how the last one failed is
// noted.
static bool attempt_connect(struct server *s) {
    const struct node *node = s->attempt->node;
    for (;;) {
        const struct sockaddr *to = (const struct sockaddr *)&node->addresses[s->address];
        struct fault f;
        if (stream_connect(&s->stream, s->env->loop, &stream_ops, to, node->address_lens[s->address], &f)) {
            server_set_state(s, SERVER_CONNECTING);
            return true;
        }
        enum server_end end = server_open_end(&f);
        attempt_note(s, end, &f);
        if (end == SERVER_END_SHORT || s->address + 1u >= node->n_addresses) return false;
        s->address++;
        attempt_choose_tls(s);
    }
}

// Closes and starts again as `s->address` and `with_tls` say.
static void attempt_again(struct server *s) {
    s->attempt->again = true;
    server_login_fini(&s->attempt->login);
    buf_release(&s->in);
    buf_clear(&s->parameters);
    stream_close(&s->stream, false);
}

static void attempt_other_way(struct server *s) {
    s->attempt->other_tried = true;
    s->attempt->with_tls = !s->attempt->with_tls;
    attempt_again(s);
}

// A failure before anything was said: the next address may answer.
static void attempt_unreachable(struct server *s, const struct fault *f) {
    attempt_note(s, SERVER_END_UNREACHABLE, f);
    if (s->address + 1u >= s->attempt->node->n_addresses) {
        server_failed(s);
        return;
    }
    s->address++;
    attempt_choose_tls(s);
    attempt_again(s);
}

static void attempt_failed(struct server *s, enum server_end end, const struct fault *f) {
    attempt_note(s, end, f);
    server_failed(s);
}

// pg_hba.conf may have another line for connections with, or without, TLS.
static bool may_differ_by_tls(const struct fault *f) { return strcmp(f->sqlstate, "28000") == 0; }

static void attempt_refused(struct server *s, const struct fault *f) {
    struct server_attempt *a = s->attempt;
    if (!a->other_tried && may_differ_by_tls(f)) {
        attempt_note(s, SERVER_END_REFUSED, f);
        a->rejected = true;
        attempt_other_way(s);
        return;
    }
    enum server_end end = SERVER_END_REFUSED;
    if (strcmp(f->sqlstate, "53300") == 0) end = SERVER_END_FULL;
    if (is_shutdown(f)) end = SERVER_END_SHUTDOWN;
    attempt_failed(s, end, f);
}

static void on_connect_timeout(struct deadline *d) {
    struct server *s = container_of(d, struct server, deadline);
    struct fault f;
    fault_set(&f, "08006", "no login within %lld ms (server_connect_timeout), state %s",
              (long long)s->env->config->server_connect_timeout, server_state_str(s->state));
    attempt_failed(s, SERVER_END_TIMEOUT, &f);
}

struct server *server_open(struct server_env *env, const struct server_pool_ops *ops, const struct server_target *to,
                           struct pool *pool, struct fault *f) {
    if (to->node->n_addresses == 0) {
        fault_set(f, "08006", "host \"%s\" has no known address", to->node->host);
        return NULL;
    }
    struct server *s = mem_new(struct server);
    struct server_attempt *a = mem_new(struct server_attempt);
    topology_ref(to->topology);
    *a = (struct server_attempt){.topology = to->topology,
                                 .tls = env->tls,
                                 .node = to->node,
                                 .database = mem_strdup(to->database),
                                 .who = to->who,
                                 .parameters = to->parameters,
                                 .sslmode = env->config->server_tls_sslmode};
    if (a->tls) tls_context_ref(a->tls);
    *s = (struct server){.env = env,
                         .pool = pool,
                         .relay = to->relay,
                         .pool_ops = ops,
                         .attempt = a,
                         .node_name = to->node_name,
                         .in = buf_make(SERVER_MESSAGE_MAX + RBUF_SIZE),
                         .parameters = buf_make(PARAMETERS_MAX)};
    ilink_init(&s->link);
    deadline_init(&s->deadline);
    pipeline_init(&s->replies);
    prep_server_init(&s->prepared);
    log_prefix_add(&s->log, "server", "%s", to->node_name);
    log_prefix_add(&s->log, "database", "%s", to->database);
    log_prefix_add(&s->log, "user", "%s", to->who->user);
    attempt_choose_tls(s);
    if (attempt_connect(s)) {
        deadline_set(env->deadlines, &s->deadline, env->config->server_connect_timeout, on_connect_timeout);
        return s;
    }
    *f = a->fault;
    server_end(s);
    buf_release(&s->parameters);
    log_prefix_clear(&s->log);
    mem_free(s);
    return NULL;
}

// ---- the way in

static void send_or_fail(struct server *s, struct buf *b) {
    bool ok = !b->failed && stream_write(&s->stream, b->data, buf_len(b));
    explicit_bzero(b->data, b->cap); // may hold a password
    buf_release(b);
    if (ok) return;
    struct fault f;
    fault_set(&f, "08006", "the server closed the connection during login");
    attempt_failed(s, SERVER_END_CLOSED, &f);
}

static void send_ssl_request(struct server *s) {
    server_set_state(s, SERVER_TLS_ASK);
    struct buf b = buf_make(SERVER_STARTUP_MAX);
    request_ssl(&b);
    send_or_fail(s, &b);
}

static size_t count_parameters(struct span pairs) {
    size_t n = 0;
    for (struct cursor c = cursor_of(pairs); cursor_left(&c); n++) {
        cursor_cstr(&c);
        cursor_cstr(&c);
    }
    return n;
}

static void put_startup(const struct server_attempt *a, struct buf *b) {
    size_t n = 2;
    struct request_parameter *all = mem_array(n + count_parameters(a->parameters), struct request_parameter);
    all[0] = (struct request_parameter){"user", a->who->user};
    all[1] = (struct request_parameter){"database", a->database};
    for (struct cursor c = cursor_of(a->parameters); cursor_left(&c); n++) {
        const char *name = (const char *)cursor_cstr(&c).ptr;
        all[n] = (struct request_parameter){name, (const char *)cursor_cstr(&c).ptr};
    }
    request_startup(b, all, n);
    mem_free(all);
}

// For a pool user and database and nothing else: settings are the server's defaults, on which each session puts its
// own.
static void send_startup(struct server *s) {
    struct server_attempt *a = s->attempt;
    server_set_state(s, SERVER_STARTUP);
    bool private_channel = stream_is_tls(&s->stream) || address_is_unix(a, s->address);
    server_login_init(&a->login, a->who, private_channel, &s->parameters);
    struct buf b = buf_make(SERVER_STARTUP_MAX + SERVER_PARAMETERS_MAX);
    put_startup(a, &b);
    send_or_fail(s, &b);
}

static void on_stream_ready(struct stream *stream) {
    struct server *s = container_of(stream, struct server, stream);
    if (s->state == SERVER_CONNECTING && s->attempt->with_tls)
        send_ssl_request(s);
    else
        send_startup(s);
}

// No byte but 'S' or 'N' is looked at, and none of what else came is shown: nobody knows yet who says it.
static void tls_answer_bad(struct server *s, const char *what) {
    struct fault f;
    fault_set(&f, "08P01", "protocol violation by the server: %s the request for TLS", what);
    attempt_failed(s, SERVER_END_PROTOCOL, &f);
}

static void on_tls_declined(struct server *s) {
    struct server_attempt *a = s->attempt;
    if (!a->other_tried) { // prefer
        a->other_tried = true;
        a->with_tls = false;
        send_startup(s);
        return;
    }
    struct fault f;
    fault_set(&f, "08006", "the server does not offer TLS, which server_tls_sslmode asks for");
    attempt_failed(s, SERVER_END_UNREACHABLE, &f);
}

static void on_tls_answer(struct server *s) {
    uint8_t answer[2];
    struct fault f;
    ssize_t n = stream_read(&s->stream, answer, sizeof answer, &f);
    if (n == 0) return;
    if (n < 0) {
        fault_set(&f, "08006", "the server closed the connection instead of answering the request for TLS");
        attempt_failed(s, SERVER_END_CLOSED, &f);
    } else if (n > 1) {
        tls_answer_bad(s, "more than one byte answers");
    } else if (answer[0] == 'N') {
        on_tls_declined(s);
    } else if (answer[0] != 'S') {
        tls_answer_bad(s, "neither yes nor no answers");
    } else {
        server_set_state(s, SERVER_TLS);
        if (!stream_start_tls(&s->stream, s->attempt->tls, false, s->attempt->node->host, &f))
            attempt_failed(s, SERVER_END_UNREACHABLE, &f);
    }
}

static void log_in_done(struct server *s) {
    s->backend_pid = s->attempt->login.backend_pid;
    s->backend_key = s->attempt->login.backend_key;
    s->connected_at_us = s->idle_since_us = s->env->now_us(s->env->arg);
    s->tx_status = PROTO_TX_IDLE;
    deadline_clear(&s->deadline);
    attempt_free(s);
    log_prefix_add(&s->log, "pid", "%u", s->backend_pid);
    server_set_state(s, SERVER_IDLE);
}

// One message of the login. False: nothing more is to be read for it.
static bool login_step(struct server *s, const struct frame *m) {
    struct server_attempt *a = s->attempt;
    struct buf out = buf_make(PROTO_AUTH_MAX + SERVER_STARTUP_MAX);
    struct fault f;
    enum server_login_result r = server_login_message(&a->login, m, &out, &f);
    bool refused = r == SERVER_LOGIN_REFUSED || r == SERVER_LOGIN_UNABLE;
    if (refused || r == SERVER_LOGIN_BAD) {
        buf_release(&out);
        if (refused)
            attempt_refused(s, &f);
        else
            attempt_failed(s, SERVER_END_PROTOCOL, &f);
        return false;
    }
    if (s->state == SERVER_STARTUP && a->login.phase != SERVER_LOGIN_START && a->login.phase != SERVER_LOGIN_ACCEPTED)
        server_set_state(s, SERVER_AUTH);
    if (s->state != SERVER_SYNC && a->login.phase == SERVER_LOGIN_ACCEPTED) server_set_state(s, SERVER_SYNC);
    if (buf_len(&out)) send_or_fail(s, &out);
    if (r == SERVER_LOGIN_READY) log_in_done(s);
    return s->state != SERVER_CLOSED;
}

// ---- nobody's

static bool role_changed(const struct server *s, struct span name, struct span value) {
    const char *before = span_is(name, "in_hot_standby") ? server_parameter(s, "in_hot_standby") : NULL;
    return before && !span_is(value, before);
}

static void idle_violation(struct server *s, char type) {
    struct fault f;
    fault_set(&f, "08P01", "protocol violation by the server: message type \"%c\" while idle", type);
    server_lost(s, SERVER_END_PROTOCOL, &f);
}

static void idle_error(struct server *s, struct span payload) {
    struct fault f;
    enum server_end end = SERVER_END_PROTOCOL;
    if (server_error_read(payload, &f)) end = is_shutdown(&f) ? SERVER_END_SHUTDOWN : SERVER_END_REFUSED;
    server_lost(s, end, &f);
}

static bool idle_parameter(struct server *s, struct span name, struct span value) {
    if (!role_changed(s, name, value)) {
        server_note_parameter(s, name, value);
        return true;
    }
    struct fault f;
    fault_set(&f, "57P04", "the server has changed its role");
    server_lost(s, SERVER_END_ROLE, &f);
    return false;
}

static bool idle_step(struct server *s, const struct frame *m) {
    struct span name, value;
    if (m->type == BE_NOTICE) return true;
    if (m->type == BE_PARAMETER_STATUS && msg_parameter_status(m->payload, &name, &value))
        return idle_parameter(s, name, value);
    if (m->type == BE_ERROR)
        idle_error(s, m->payload);
    else
        idle_violation(s, m->type);
    return false;
}

// ---- bytes

static void server_broke(struct server *s, enum server_end end, const struct fault *f) {
    if (s->attempt)
        attempt_failed(s, end, f);
    else
        server_lost(s, end, f);
}

// False: there is no more to be had from these bytes.
static bool take_message(struct server *s, struct span *bytes) {
    struct frame m;
    struct fault f;
    enum wire_result r = frame_next(FRAME_FROM_SERVER, *bytes, &m, &f);
    bool huge = r != WIRE_BAD && m.type && m.total > SERVER_MESSAGE_MAX;
    if (r == WIRE_BAD || huge) {
        struct fault bad;
        if (huge)
            fault_set(&bad, "08P01", "protocol violation by the server: message of %u bytes", m.total);
        else
            fault_set(&bad, "08P01", "protocol violation by the server: %s", f.text);
        server_broke(s, SERVER_END_PROTOCOL, &bad);
        return false;
    }
    if (r == WIRE_MORE) return false;
    *bytes = span_from(*bytes, m.total);
    return s->attempt ? login_step(s, &m) : idle_step(s, &m);
}

// Keeps what is left of `bytes`, which are all that `in` holds, or came on top of an empty one.
static void keep_rest(struct server *s, struct span bytes) {
    size_t held = buf_len(&s->in);
    if (s->in.failed) return;
    if (held)
        buf_consume(&s->in, held - bytes.len);
    else if (bytes.len)
        buf_put_span(&s->in, bytes);
    if (!s->in.failed && buf_len(&s->in) == 0) buf_release(&s->in);
}

static void take_bytes(struct server *s, struct span bytes) {
    if (buf_len(&s->in)) {
        buf_put_span(&s->in, bytes);
        bytes = buf_span(&s->in);
    }
    while (bytes.len && take_message(s, &bytes)) continue;
    if (s->state == SERVER_CLOSED || (s->attempt && s->attempt->again)) return;
    keep_rest(s, bytes);
    if (s->in.failed) {
        struct fault f;
        fault_set(&f, "53200", "out of memory");
        server_broke(s, SERVER_END_PROTOCOL, &f);
        return;
    }
    if (s->attempt || s->told) return;
    s->told = true;
    s->pool_ops->connected(s);
}

static void read_own(struct server *s) {
    struct fault f;
    ssize_t n = server_read(s, s->env->rbuf, RBUF_SIZE, &f);
    if (n > 0) take_bytes(s, span_of(s->env->rbuf, (size_t)n));
    if (n >= 0) return;
    if (n == -1) fault_set(&f, "08006", "the server closed the connection");
    server_broke(s, n == -1 ? SERVER_END_CLOSED : SERVER_END_UNREACHABLE, &f);
}

static void on_stream_readable(struct stream *stream) {
    struct server *s = container_of(stream, struct server, stream);
    switch (s->state) {
    case SERVER_BUSY: s->owner_ops->readable(s->owner, s); break;
    case SERVER_TLS_ASK: on_tls_answer(s); break;
    case SERVER_STARTUP:
    case SERVER_AUTH:
    case SERVER_SYNC:
    case SERVER_IDLE:
    case SERVER_PARKED: read_own(s); break;
    case SERVER_CONNECTING:
    case SERVER_TLS:
    case SERVER_CLOSED:
    case SERVER_STATES: break; // the stream does not call then
    }
}

static void on_stream_drained(struct stream *stream) {
    struct server *s = container_of(stream, struct server, stream);
    if (s->state == SERVER_BUSY) s->owner_ops->drained(s->owner, s);
}

static void on_stream_failed(struct stream *stream, const struct fault *f) {
    struct server *s = container_of(stream, struct server, stream);
    if (s->state == SERVER_BUSY) {
        s->owner_ops->broken(s->owner, s, f);
    } else if (s->state == SERVER_CONNECTING) {
        attempt_unreachable(s, f);
    } else if (s->state == SERVER_TLS && !s->attempt->other_tried) {
        attempt_other_way(s); // prefer
    } else {
        server_broke(s, SERVER_END_UNREACHABLE, f);
    }
}

static void on_stream_closed(struct stream *stream) {
    struct server *s = container_of(stream, struct server, stream);
    if (s->state == SERVER_CLOSED) {
        buf_release(&s->parameters);
        server_free(s);
        return;
    }
    s->attempt->again = false;
    if (attempt_connect(s)) return;
    enum server_end end = s->attempt->end;
    struct fault f = s->attempt->fault;
    server_end(s);
    buf_release(&s->parameters);
    s->pool_ops->failed(s, end, &f);
    server_free(s);
}

static const struct stream_ops stream_ops = {.ready = on_stream_ready,
                                             .readable = on_stream_readable,
                                             .drained = on_stream_drained,
                                             .failed = on_stream_failed,
                                             .closed = on_stream_closed};

// ---- for sessions and the pool

ssize_t server_read(struct server *s, void *to, size_t cap, struct fault *f) {
    ssize_t n = stream_read(&s->stream, to, cap, f);
    if (n > 0) s->heard_us = s->env->now_us(s->env->arg);
    return n;
}

bool server_note_parameter(struct server *s, struct span name, struct span value) {
    if (role_changed(s, name, value)) {
        s->close_when_idle = true;
        s->env->report(s->env->arg, s->node_name, EVIDENCE_ROLE_CHANGE);
    }
    if (!parameters_set(&s->parameters, name, value)) s->dirty = true; // a server that floods us is not kept
    return !span_is(name, "in_hot_standby");
}

const char *server_parameter(const struct server *s, const char *name) { return parameters_get(&s->parameters, name); }

void server_hand_out(struct server *s, const struct server_owner_ops *ops, void *owner) {
    server_set_state(s, SERVER_BUSY);
    s->owner_ops = ops;
    s->owner = owner;
}

void server_take_back(struct server *s, bool park) {
    server_set_state(s, park ? SERVER_PARKED : SERVER_IDLE);
    s->owner = NULL;
    pipeline_trim(&s->replies);
    if (stream_is_paused(&s->stream)) stream_resume(&s->stream);
}

const char *server_unfit(const struct server *s) {
    if (!pipeline_is_empty(&s->replies)) return "replies are due";
    if (s->tx_status != PROTO_TX_IDLE) return "a transaction is open";
    if (s->dirty) return "it carries session state";
    if (stream_unsent(&s->stream)) return "bytes are unsent";
    if (stream_has_pending(&s->stream)) return "bytes are unread";
    return NULL;
}
