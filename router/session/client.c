// SPDX-License-Identifier: ISC
// router/session/client.c: see router/session/client.h. A client's life and its bytes.
#include "router/session/client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/config.h"
#include "router/session/client_parts.h"

enum {
    LOGIN_READ_MAX = 16 * 1024, // what a peer without a login can make us hold
    ERROR_MAX = 4 * 1024,       // an ErrorResponse made of a fault
    LINGER_MS = 60000,          // what is unsent at the end may take so long to reach the client
    LINGER_ACK_MS = 2000,       // ... but its kernel, if it is there, acknowledges within this
    LINGER_TICK_MS = 50,        // so often it is looked at
    WELCOME_MAX = 1024 * 1024,  // a dozen parameters, none longer than a server may report
    INPUT_LIMIT = 128 << 20     // no session needs more at once: max_exchange_size is at most half of it
};

// ---- states

const char *client_state_str(enum client_state s) {
    static const char *const names[] = {"startup", "tls", "auth", "welcome", "ready", "leaving", "closed"};
    _Static_assert(countof(names) == CLIENT_STATES, "a name for each state");
    return names[s];
}

// Which state may follow which, a bit each.
static const uint8_t legal_moves[CLIENT_STATES] = {
    [CLIENT_STARTUP] = 1 << CLIENT_TLS | 1 << CLIENT_AUTH | 1 << CLIENT_WELCOME | 1 << CLIENT_CLOSED,
    [CLIENT_TLS] = 1 << CLIENT_STARTUP | 1 << CLIENT_CLOSED,
    [CLIENT_AUTH] = 1 << CLIENT_WELCOME | 1 << CLIENT_CLOSED,
    [CLIENT_WELCOME] = 1 << CLIENT_READY | 1 << CLIENT_CLOSED,
    [CLIENT_READY] = 1 << CLIENT_LEAVING | 1 << CLIENT_CLOSED,
    [CLIENT_LEAVING] = 1 << CLIENT_CLOSED,
    [CLIENT_CLOSED] = 0,
};

void client_set_state(struct client *c, enum client_state to) {
    bug_unless(legal_moves[c->state] & (1 << to));
    c->state = to;
}

// ---- the end

static bool is_over(const struct client *c) { return c->state == CLIENT_LEAVING || c->state == CLIENT_CLOSED; }

static void disown(struct client *c) {
    if (!c->owned) return;
    c->owned = false;
    c->ops->gone(c->owner, c);
}

// From here on only the stream's closed callback comes.
static void client_end(struct client *c) {
    bool was_in = c->state == CLIENT_READY || c->state == CLIENT_LEAVING;
    if (c->config->log_disconnections && was_in) log_info(&c->log, "disconnected");
    client_set_state(c, CLIENT_CLOSED);
    deadline_clear(&c->deadline);
    scram_server_free(c->scram);
    c->scram = NULL;
    buf_release(&c->in);
    stream_close(&c->stream, true);
    disown(c);
}

// In the hands of the client's kernel. Of a Unix socket that is where everything is that has been sent.
static bool is_delivered(const struct client *c) {
    return client_unsent(c) == 0 && (c->is_unix || stream_is_acknowledged(&c->stream));
}

// It is looked at, or says something, once more.
static bool lingers_no_longer(struct client *c) {
    int limit_ms = client_unsent(c) ? LINGER_MS : LINGER_ACK_MS;
    return ++c->lingered >= limit_ms / LINGER_TICK_MS;
}

static void on_linger_tick(struct deadline *d) {
    struct client *c = container_of(d, struct client, deadline);
    if (is_delivered(c) || lingers_no_longer(c))
        client_end(c);
    else
        deadline_set(c->env->deadlines, d, LINGER_TICK_MS, on_linger_tick);
}

// Before the login nothing is so long that it would be on its way for long.
static void leave(struct client *c, bool at_once) {
    if (at_once || c->state != CLIENT_READY) {
        client_end(c);
        return;
    }
    client_set_state(c, CLIENT_LEAVING);
    deadline_set(c->env->deadlines, &c->deadline, LINGER_TICK_MS, on_linger_tick);
    buf_release(&c->in);
    // Were what it still says left unread, the kernel would answer the close with a reset, which overtakes our words.
    stream_resume(&c->stream);
    disown(c);
}

// Who leaves of its own accord says nothing more that would be answered with a reset.
void client_leave(struct client *c) {
    if (!is_over(c)) leave(c, client_unsent(c) == 0);
}

void client_dismiss(struct client *c) {
    if (!is_over(c)) leave(c, is_delivered(c));
}

// What clients do wrong every day; the other reasons may need an operator's eye.
static const bool is_everyday[STAT_ERRORS_COUNT] = {
    [STAT_ERROR_AUTH] = true,        [STAT_ERROR_LOGIN_TIMEOUT] = true, [STAT_ERROR_NO_DATABASE] = true,
    [STAT_ERROR_UNSUPPORTED] = true, [STAT_ERROR_IDLE_TIMEOUT] = true,  [STAT_ERROR_SHUTDOWN] = true,
};

void client_fail(struct client *c, enum stat_error reason, const struct fault *f) {
    if (is_over(c)) return;
    stats_error(c->env->stats, reason);
    log_write(is_everyday[reason] ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, &c->log, "closing: %s (SQLSTATE %s, state %s)",
              f->text, f->sqlstate, client_state_str(c->state));
    struct buf b = buf_make(ERROR_MAX);
    reply_error(&b, true, f);
    // The connection ends either way.
    if (!b.failed) (void)!stream_write(&c->stream, b.data, buf_len(&b));
    buf_release(&b);
    client_dismiss(c);
}

void client_refuse(struct client *c, enum stat_error reason, const char *sqlstate, const char *fmt, ...) {
    struct fault f;
    char text[sizeof f.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fault_set(&f, sqlstate, "%s", text);
    client_fail(c, reason, &f);
}

void client_close(struct client *c) {
    if (c->state != CLIENT_CLOSED) client_end(c);
}

// The peer ended it. Before the login that is what port scanners and health checks do; nobody counts those.
static void client_lost(struct client *c, const char *how) {
    if (c->state == CLIENT_CLOSED) return;
    if (c->owned) stats_error(c->env->stats, STAT_ERROR_CLIENT_LOST);
    log_debug(&c->log, "connection lost: %s (state %s)", how, client_state_str(c->state));
    client_end(c);
}

static void on_login_timeout(struct deadline *d) {
    struct client *c = container_of(d, struct client, deadline);
    if (c->state == CLIENT_WELCOME)
        client_refuse(c, STAT_ERROR_LOGIN_TIMEOUT, "57P03", "no server was ready for the login within %" PRId64 " ms",
                      c->config->client_login_timeout);
    else
        client_refuse(c, STAT_ERROR_LOGIN_TIMEOUT, "57014", "canceling authentication due to timeout (%" PRId64 " ms)",
                      c->config->client_login_timeout);
}

// ---- bytes from the client

static void keep(struct client *c, struct span bytes) {
    if (!bytes.len) return;
    buf_put_span(&c->in, bytes);
    if (c->in.failed) client_refuse(c, STAT_ERROR_LIMIT, "53200", "out of memory");
}

// Reading stops while too much is kept, unless only more bytes can help.
static void hold_or_resume(struct client *c) {
    if (is_over(c)) return;
    size_t kept = buf_len(&c->in);
    if (kept >= CLIENT_INPUT_MAX && !c->wants_more) {
        if (!stream_is_paused(&c->stream)) stream_pause(&c->stream);
    } else if (stream_is_paused(&c->stream) && (kept < CLIENT_INPUT_MAX / 2 || c->wants_more)) {
        stream_resume(&c->stream);
    }
}

static size_t call_input(struct client *c, struct span bytes) {
    c->in_input = true;
    c->resume_asked = c->unread = c->wants_more = false;
    size_t taken = c->ops->input(c->owner, c, bytes);
    c->in_input = false;
    return taken;
}

// Offers what is kept, once. It is set aside meanwhile, so that what is unread finds its place in front.
static bool offer_kept(struct client *c) {
    struct buf held = c->in;
    c->in = buf_make(INPUT_LIMIT);
    size_t taken = call_input(c, buf_span(&held));
    bool unread = c->unread;
    if (is_over(c)) {
        buf_release(&held);
        return false;
    }
    buf_consume(&held, taken);
    if (unread) {
        keep(c, buf_span(&held));
        buf_release(&held);
    } else if (buf_len(&held)) {
        c->in = held;
    } else {
        buf_release(&held);
    }
    return taken > 0 || unread;
}

static void offer_all(struct client *c) {
    bool progress = true;
    while (progress && c->state == CLIENT_READY && buf_len(&c->in)) {
        progress = offer_kept(c);
        // Without being asked, an offer of the same bytes would be met with the same answer.
        if (!c->resume_asked) break;
    }
    hold_or_resume(c);
}

// The usual case: nothing is kept, and the session takes all.
static void offer_fresh(struct client *c, struct span bytes) {
    size_t taken = call_input(c, bytes);
    if (LIKELY(taken == bytes.len && !c->unread) || is_over(c)) return;
    keep(c, span_from(bytes, taken));
    if (c->resume_asked && (taken || c->unread))
        offer_all(c);
    else
        hold_or_resume(c);
}

void client_resume_input(struct client *c) {
    if (c->state != CLIENT_READY) return;
    if (c->in_input)
        c->resume_asked = true;
    else
        offer_all(c);
}

void client_unread(struct client *c, struct span bytes) {
    if (is_over(c) || !bytes.len) return;
    c->unread = true;
    buf_unread(&c->in, bytes);
    if (c->in.failed) client_refuse(c, STAT_ERROR_LIMIT, "53200", "out of memory");
}

static void take(struct client *c, struct span bytes) {
    if (c->state == CLIENT_READY && buf_len(&c->in) == 0) {
        offer_fresh(c, bytes);
        return;
    }
    keep(c, bytes);
    if (c->state == CLIENT_READY) {
        offer_all(c);
    } else {
        client_login_advance(c);
        hold_or_resume(c);
    }
}

// ---- bytes to the client

bool client_writev(struct client *c, const struct iovec *iov, int n) {
    if (is_over(c)) return false;
    if (stream_writev(&c->stream, iov, n)) return true;
    client_lost(c, "cannot send");
    return false;
}

static void put_welcome(struct buf *b, struct span parameters, uint32_t pid, uint32_t key) {
    reply_auth(b, PROTO_AUTH_OK, span_of(NULL, 0));
    buf_put_span(b, parameters);
    reply_backend_key_data(b, pid, key);
    reply_ready(b, PROTO_TX_IDLE);
}

void client_welcome(struct client *c, struct span parameters, uint32_t pid, uint32_t key) {
    bug_unless(c->state == CLIENT_WELCOME);
    struct buf b = buf_make(WELCOME_MAX);
    put_welcome(&b, parameters, pid, key);
    if (b.failed) {
        buf_release(&b);
        client_refuse(c, STAT_ERROR_LIMIT, "53200", "out of memory");
        return;
    }
    deadline_clear(&c->deadline);
    buf_release(&c->startup);
    client_set_state(c, CLIENT_READY);
    stats_add(c->env->stats, STAT_CLIENT_LOGINS, 1);
    if (c->config->log_connections) log_info(&c->log, "logged in%s", stream_is_tls(&c->stream) ? " (TLS)" : "");
    bool ok = client_write(c, buf_span(&b));
    buf_release(&b);
    if (ok) offer_all(c);
}

// ---- the stream

static struct client *client_of(struct stream *s) { return container_of(s, struct client, stream); }

static void on_ready(struct stream *s) { client_login_secured(client_of(s)); }

static void on_readable(struct stream *s) {
    struct client *c = client_of(s);
    struct client_env *env = c->env;
    struct fault f;
    size_t cap = c->state == CLIENT_READY ? env->rbuf_size : MIN_OF(env->rbuf_size, LOGIN_READ_MAX);
    ssize_t n = stream_read(s, env->rbuf, cap, &f);
    if (c->state == CLIENT_LEAVING) {
        // Nobody wants it. Nor is an end of file an end: who has said goodbye may still read.
        if (n < -1)
            client_lost(c, f.text);
        else if (n > 0 && !client_unsent(c) && lingers_no_longer(c)) // who pours out more and more is not waited for
            client_end(c);
    } else if (n > 0) {
        stats_add(env->stats, STAT_BYTES_FROM_CLIENTS, (uint64_t)n);
        take(c, span_of(env->rbuf, (size_t)n));
    } else if (n < 0) {
        client_lost(c, n == -1 ? "end of file" : f.text);
    }
}

static void on_drained(struct stream *s) {
    struct client *c = client_of(s);
    if (c->state == CLIENT_LEAVING) c->lingered = 0;
    if (c->state == CLIENT_LEAVING && is_delivered(c)) client_end(c);
    if (c->state == CLIENT_READY) c->ops->drained(c->owner, c);
}

static void on_failed(struct stream *s, const struct fault *f) { client_lost(client_of(s), f->text); }
static void on_hung_up(struct stream *s) { client_lost(client_of(s), "hung up"); }

static void on_closed(struct stream *s) {
    struct client *c = client_of(s);
    buf_release(&c->startup);
    log_prefix_clear(&c->log);
    mem_free(c->user);
    mem_free(c->database);
    c->user = c->database = NULL;
    config_unref(c->config);
    c->config = NULL;
    c->freed(c);
}

static const struct stream_ops stream_ops = {
    .ready = on_ready,
    .readable = on_readable,
    .drained = on_drained,
    .failed = on_failed,
    .closed = on_closed,
    .hung_up = on_hung_up,
};

bool client_open(struct client *c, struct client_env *env, int fd, uint64_t id, void *owner,
                 const struct client_ops *ops, void (*freed)(struct client *c)) {
    struct fault f;
    *c = (struct client){.state = CLIENT_STARTUP,
                         .id = id,
                         .owner = owner,
                         .ops = ops,
                         .env = env,
                         .in = buf_make(INPUT_LIMIT),
                         .freed = freed};
    deadline_init(&c->deadline);
    log_prefix_add(&c->log, "client", "%" PRIu64, id);
    if (!stream_open(&c->stream, env->loop, &stream_ops, fd, &f)) {
        log_warning(&c->log, "cannot serve: %s", f.text);
        log_prefix_clear(&c->log);
        return false;
    }
    struct sockaddr_storage peer;
    char text[128];
    stream_address_str((struct sockaddr *)&peer, stream_peer(&c->stream, &peer), text, sizeof text);
    log_prefix_add(&c->log, "peer", "%s", text);
    c->is_local = stream_address_is_local((struct sockaddr *)&peer);
    c->is_unix = peer.ss_family == AF_UNIX;
    c->config = env->config;
    config_ref(c->config);
    deadline_set(env->deadlines, &c->deadline, c->config->client_login_timeout, on_login_timeout);
    return true;
}
