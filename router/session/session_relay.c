// SPDX-License-Identifier: ISC
//
// router/session/session_relay.c: replication connections.
//
// A client that asks for `replication` in its start-up packet gets a connection to the primary of its own, opened with
// its own start-up parameters, in no pool and never used by anybody else. From the welcome on everything goes through
// as it comes, both ways: a walsender has a grammar of its own, and its copy-both mode has no beginning and end that a
// router could use. All that is looked at is where the server's messages begin, so that an error of our own (a drain,
// another primary) never stands in the middle of one. When one side ends, the other one does.
//
//   IDLE <-> WORKING -> STREAMING -> IDLE
#include <stdio.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "router/session/cancel.h"
#include "router/session/session_parts.h"

enum {
    RELAY_SILENT_MAX_MS = 15000, // the server has acknowledged nothing for so long: nobody is there
    RELAY_TICKS_SLOW = 10        // every so many ticks: is the server there?
};

// What the server does for the client, as far as it shows.
enum relay_work {
    RELAY_IDLE,     // it has said ReadyForQuery, and the client nothing since
    RELAY_WORKING,  // a command that comes to an end
    RELAY_STREAMING // copy-both mode: until somebody ends it
};

struct relay {
    struct session *session;
    struct ilink link;     // in env->relays, until it is freed
    struct server *server; // NULL: not yet, or no more
    char *node_name, *host;
    struct credentials who; // until logged in
    struct buf parameters;  // of the start-up packet
    enum relay_work work;
    uint64_t worked_us;  // when that began the last time, by uv_hrtime()
    bool client_is_gone; // nothing but our own handles is left
    unsigned handles;    // the server's memory, a cancel under way
    unsigned ticks;
    struct cancel cancel;
    bool cancelling, cancel_again;
    // where the server's bytes are within its messages
    uint8_t header[PROTO_HEADER_LEN], n_header;
    uint32_t body; // bytes to come of the message whose header has come
    bool unframed; // the server's bytes are no messages
};

static struct relay *relay_at(struct ilink *n) { return container_of(n, struct relay, link); }

static void set_work(struct relay *r, enum relay_work to) {
    atomic_int *at_work = &r->session->env->replication->at_work;
    if (r->work != RELAY_WORKING && to == RELAY_WORKING) atomic_fetch_add_explicit(at_work, 1, memory_order_relaxed);
    if (r->work == RELAY_WORKING && to != RELAY_WORKING) atomic_fetch_sub_explicit(at_work, 1, memory_order_relaxed);
    r->work = to;
}

// ---- the end

static void relay_free(struct relay *r) {
    struct session *s = r->session;
    ilist_remove(&s->env->relays, &r->link);
    mem_free(r->node_name);
    mem_free(r->host);
    buf_release(&r->parameters);
    mem_free(r);
    s->relay = NULL;
    session_free(s);
}

static void handle_gone(struct relay *r) {
    if (--r->handles == 0 && r->client_is_gone) relay_free(r);
}

static void wipe_credentials(struct relay *r) {
    secret_wipe(&r->who.password);
    explicit_bzero(&r->who.keys, sizeof r->who.keys);
}

static void close_server(struct relay *r) {
    struct server *sv = r->server;
    r->server = NULL;
    if (sv) server_close(sv);
}

void session_relay_gone(struct session *s) {
    struct relay *r = s->relay;
    set_work(r, RELAY_IDLE);
    close_server(r);
    wipe_credentials(r);
    r->cancel_again = false;
    if (r->cancelling && s->env->draining) cancel_abort(&r->cancel);
    atomic_fetch_sub_explicit(&s->env->replication->open, 1, memory_order_relaxed);
    stats_gauge_add(s->env->stats, STAT_GAUGE_REPLICATION, -1);
}

void session_relay_freed(struct session *s) {
    s->relay->client_is_gone = true;
    if (s->relay->handles == 0) relay_free(s->relay);
}

static bool is_between_messages(const struct relay *r) { return !r->n_header && !r->body && !r->unframed; }

// Ends the connection; the client hears why, where it can.
static void relay_fail(struct relay *r, enum stat_error reason, const struct fault *f) {
    struct session *s = r->session;
    if (is_between_messages(r)) {
        client_fail(&s->client, reason, f);
        return;
    }
    stats_error(s->env->stats, reason);
    log_warning(&s->client.log, "closing: %s (SQLSTATE %s), in the middle of a message", f->text, f->sqlstate);
    client_dismiss(&s->client);
}

static void server_broke(struct relay *r, const struct fault *f) {
    struct session_env *env = r->session->env;
    struct fault lost;
    fault_set(&lost, "08006", "the connection to server \"%s\" was lost: %.300s", r->node_name, f->text);
    env->server.report(env->server.arg, r->node_name, EVIDENCE_CLOSED);
    relay_fail(r, STAT_ERROR_SERVER_LOST, &lost);
}

// ---- a drain, and another primary

static bool drain_may_end(const struct relay *r) {
    const struct session_env *env = r->session->env;
    if (!env->draining || r->session->state != SESSION_RELAY) return false;
    if (r->work == RELAY_STREAMING) return atomic_load_explicit(&env->replication->at_work, memory_order_relaxed) == 0;
    return r->work == RELAY_IDLE;
}

void session_relay_shut(struct session *s) {
    struct fault f;
    if (s->state != SESSION_RELAY) return; // it has been told to go
    fault_set(&f, "57P01", "terminating connection: pgsteer is shutting down");
    relay_fail(s->relay, STAT_ERROR_SHUTDOWN, &f);
}

static void relay_drain(struct relay *r) {
    if (drain_may_end(r) && is_between_messages(r)) session_relay_shut(r->session);
}

// Replication is of the primary: a connection to a server that is not it any more ends, so that its client comes again.
static void check_primary(struct relay *r) {
    const struct topology *t = r->session->env->topology;
    struct fault f;
    if (!r->server || r->session->state != SESSION_RELAY) return;
    const struct node *node = topology_find(t, r->node_name);
    if (!node)
        fault_set(&f, "57P01", "terminating connection: server \"%s\" was removed from the configuration",
                  r->node_name);
    else if (t->primary >= 0 && &t->nodes[t->primary] != node)
        fault_set(&f, "57P01", "terminating connection: server \"%s\" is not the primary any more", r->node_name);
    else
        return;
    relay_fail(r, STAT_ERROR_SERVER_LOST, &f);
}

void relays_topology_changed(struct session_env *env) { ILIST_EACH(&env->relays, n) check_primary(relay_at(n)); }

static void check_silence(struct relay *r) {
    struct session_env *env = r->session->env;
    struct fault f;
    if (!r->server || r->session->state != SESSION_RELAY || stream_silent_ms(&r->server->stream) < RELAY_SILENT_MAX_MS)
        return;
    fault_set(&f, "08006", "the server has acknowledged nothing for %d s", RELAY_SILENT_MAX_MS / 1000);
    env->server.report(env->server.arg, r->node_name, EVIDENCE_TIMEOUT);
    relay_fail(r, STAT_ERROR_SERVER_LOST, &f);
}

void relays_tick(struct session_env *env) {
    ILIST_EACH(&env->relays, n) {
        struct relay *r = relay_at(n);
        if (++r->ticks % RELAY_TICKS_SLOW == 0) check_silence(r);
        relay_drain(r);
    }
}

// ---- from the server to the client

// Follows the server's messages. Answers how many of the bytes go to the end of the last message that ends in them.
static size_t follow(struct relay *r, struct span bytes) {
    size_t end = 0;
    for (size_t at = 0; at < bytes.len && !r->unframed;) {
        if (r->n_header < PROTO_HEADER_LEN) r->header[r->n_header++] = bytes.ptr[at++];
        if (r->n_header < PROTO_HEADER_LEN) continue;
        if (!r->body) { // the header has just come
            uint32_t len = span_u32(r->header + 1);
            r->unframed = len < PROTO_HEADER_LEN - 1;
            r->body = len - (PROTO_HEADER_LEN - 1);
            if (r->header[0] == BE_READY_FOR_QUERY) set_work(r, RELAY_IDLE);
            if (r->header[0] == BE_COPY_BOTH_RESPONSE) set_work(r, RELAY_STREAMING);
        }
        size_t n = MIN_OF((size_t)r->body, bytes.len - at);
        at += n;
        r->body -= (uint32_t)n;
        if (r->body) continue;
        r->n_header = 0;
        end = at;
    }
    return end;
}

// False when the client is gone, perhaps by our own doing.
static bool pass_on(struct relay *r, struct span bytes) {
    struct session *s = r->session;
    size_t end = follow(r, bytes);
    bool stop = end && drain_may_end(r);
    if (!session_send_client(s, stop ? span_first(bytes, end) : bytes)) return false;
    if (stop) {
        r->n_header = 0;
        r->body = 0;
        session_relay_shut(s);
        return false;
    }
    if (client_unsent(&s->client) > SESSION_HIGH_WATER) stream_pause(&r->server->stream);
    return true;
}

static void on_server_readable(void *owner, struct server *sv) {
    struct session *s = owner;
    struct relay *r = s->relay;
    struct fault f;
    do {
        ssize_t n = server_read(sv, s->env->server.rbuf, RBUF_SIZE, &f);
        if (n == 0) return;
        if (n == -1) {
            client_dismiss(&s->client); // it has said its last word
            return;
        }
        if (n < 0) {
            server_broke(r, &f);
            return;
        }
        if (!pass_on(r, span_of(s->env->server.rbuf, (size_t)n))) return;
    } while (stream_has_pending(&sv->stream) && !stream_is_paused(&sv->stream));
}

static void on_client_drained(void *owner, struct client *c) {
    (void)c;
    stream_resume(&((struct session *)owner)->relay->server->stream);
}

// ---- from the client to the server

static size_t on_client_input(void *owner, struct client *c, struct span bytes) {
    struct relay *r = ((struct session *)owner)->relay;
    (void)c;
    if (stream_unsent(&r->server->stream) > SESSION_HIGH_WATER) return 0;
    // PostgreSQL signals a backend twice, and the second one would hit what is sent as soon as the first has.
    if (r->cancelling) return 0;
    if (r->work == RELAY_IDLE) {
        r->worked_us = uv_hrtime() / 1000;
        set_work(r, RELAY_WORKING);
    }
    struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    // What it said last can still be read: its end is the next event.
    if (!stream_writev(&r->server->stream, &iov, 1)) shutdown(r->server->stream.fd, SHUT_RDWR);
    return bytes.len;
}

static void on_server_drained(void *owner, struct server *sv) {
    (void)sv;
    client_resume_input(&((struct session *)owner)->client);
}

static void on_server_broken(void *owner, struct server *sv, const struct fault *f) {
    (void)sv;
    server_broke(((struct session *)owner)->relay, f);
}

static const struct server_owner_ops relay_owner_ops = {
    .readable = on_server_readable,
    .drained = on_server_drained,
    .broken = on_server_broken,
};

// ---- cancelling

static void on_cancel_ended(struct cancel *c, bool certain) {
    struct relay *r = container_of(c, struct relay, cancel);
    (void)certain; // the connection is nobody else's anyway
    bool again = r->cancel_again;
    r->cancelling = r->cancel_again = false;
    if (again) session_relay_cancel(r->session, UINT64_MAX); // nothing was sent since it was asked for
    if (!r->cancelling && r->session->state == SESSION_RELAY) client_resume_input(&r->session->client);
    handle_gone(r);
}

// One at a time; one that is asked for meanwhile follows. Until it has ended, nothing more is sent to the server.
void session_relay_cancel(struct session *s, uint64_t asked_us) {
    struct relay *r = s->relay;
    struct sockaddr_storage address;
    if (s->state != SESSION_RELAY || !r->server || !r->server->backend_pid) return;
    if (r->work == RELAY_IDLE || r->worked_us > asked_us) return; // what it was meant for has ended
    if (r->cancelling) {
        r->cancel_again = true;
        return;
    }
    socklen_t len = stream_peer(&r->server->stream, &address);
    const char *tls_host = stream_is_tls(&r->server->stream) ? r->host : NULL;
    if (!len || !cancel_start(&r->cancel, &s->env->server, (const struct sockaddr *)&address, len, tls_host,
                              r->server->backend_pid, r->server->backend_key, on_cancel_ended))
        return;
    r->cancelling = true;
    r->handles++;
    stats_add(s->env->stats, STAT_CANCELS, 1);
}

// ---- the way in

// There is no descriptor for it, whatever the server could do: the next try is at the next tick.
static void park_short(struct relay *r, const struct fault *f) {
    struct session *s = r->session;
    if (!s->parked_us) log_warning(&s->client.log, "no replication connection: %s", f->text);
    stats_error(s->env->stats, STAT_ERROR_NO_DESCRIPTORS);
    session_park(s);
}

// The server cannot be reached: wait, as everybody does who needs the primary.
static void avoid_and_park(struct relay *r, enum evidence e, const struct fault *f) {
    struct session *s = r->session;
    struct session_env *env = s->env;
    log_warning(&s->client.log, "no replication connection to server \"%s\": %s", r->node_name, f->text);
    stats_error(env->stats, STAT_ERROR_SERVER_CONNECT);
    env->server.report(env->server.arg, r->node_name, e);
    session_avoid_server(s);
    session_park(s);
}

static void on_connected(struct server *sv) {
    struct relay *r = sv->relay;
    struct session *s = r->session;
    wipe_credentials(r);
    deadline_clear(&s->deadline);
    s->parked_us = 0;
    stats_add(s->env->stats, STAT_SERVER_LOGINS, 1);
    log_debug(&s->client.log, "replicates from server \"%s\"", r->node_name);
    server_hand_out(sv, &relay_owner_ops, s);
    session_set_state(s, SESSION_RELAY);
    session_make_cancel_key(s);
    struct buf parameters = buf_make(SIZE_MAX / 2);
    reply_parameters(&parameters, buf_span(&sv->parameters));
    client_welcome(&s->client, buf_span(&parameters), s->cancel_pid, s->cancel_key);
    buf_release(&parameters);
    if (s->state != SESSION_CLOSED) check_primary(r);
}

static void on_failed(struct server *sv, enum server_end end, const struct fault *f) {
    struct relay *r = sv->relay;
    r->server = NULL;
    switch (end) {
    case SERVER_END_FULL:
    case SERVER_END_REFUSED:
    case SERVER_END_PROTOCOL:
    case SERVER_END_ROLE: client_fail(&r->session->client, STAT_ERROR_SERVER_LOGIN, f); break;
    case SERVER_END_UNREACHABLE: avoid_and_park(r, EVIDENCE_REFUSED, f); break;
    case SERVER_END_TIMEOUT: avoid_and_park(r, EVIDENCE_TIMEOUT, f); break;
    case SERVER_END_SHUTDOWN: avoid_and_park(r, EVIDENCE_SHUTDOWN, f); break;
    case SERVER_END_CLOSED: avoid_and_park(r, EVIDENCE_CLOSED, f); break;
    case SERVER_END_SHORT: park_short(r, f); break;
    case SERVER_ENDS: break;
    }
}

// It is ours from the moment it is connected, and no pool's that could lose it.
static void on_lost(struct server *sv, enum server_end end, const struct fault *f) {
    (void)sv, (void)end, (void)f;
    bug("a replication connection was lost while nobody had it");
}

static void on_freed(struct server *sv) { handle_gone(sv->relay); }

static const struct server_pool_ops relay_server_ops = {
    .connected = on_connected, .failed = on_failed, .lost = on_lost, .freed = on_freed};

static void set_node(struct relay *r, const struct node *node) {
    mem_free(r->node_name);
    mem_free(r->host);
    r->node_name = mem_strdup(node->name);
    r->host = mem_strdup(node->host);
}

// The client's parameters, with the one that makes it a replication connection.
static void put_parameters(const struct session *s, struct buf *b) {
    buf_put_cstr(b, "replication");
    buf_put_cstr(b, s->client.replication == REPLICATION_DATABASE ? "database" : "true");
    buf_put_span(b, buf_span(&s->client.startup));
}

void session_relay_try(struct session *s) {
    struct relay *r = s->relay;
    struct session_env *env = s->env;
    int primary = env->topology->primary;
    bool reachable = primary >= 0 && !(env->avoid >> primary & 1);
    if (!reachable || r->handles) { // or the last try is not quite over
        session_park(s);
        return;
    }
    set_node(r, &env->topology->nodes[primary]);
    s->node = (uint8_t)primary;
    const struct server_target to = {
        .topology = env->topology,
        .node = &env->topology->nodes[primary],
        .node_name = r->node_name,
        .database = config_server_database(env->config, s->client.database),
        .who = &r->who,
        .parameters = buf_span(&r->parameters),
        .relay = r,
    };
    struct fault f;
    r->server = server_open(&env->server, &relay_server_ops, &to, NULL, &f);
    if (r->server)
        r->handles++;
    else if (server_open_end(&f) == SERVER_END_SHORT)
        park_short(r, &f);
    else
        avoid_and_park(r, EVIDENCE_REFUSED, &f);
}

static const struct client_ops relay_client_ops = {
    .authenticated = session_authenticated,
    .input = on_client_input,
    .drained = on_client_drained,
    .gone = session_gone,
};

// False, and the client is told, when there may be no more of them.
static bool count_in(struct session *s) {
    atomic_int *open = &s->env->replication->open;
    long long limit = s->env->config->max_replication_connections;
    if (!limit) {
        session_fail(s, STAT_ERROR_UNSUPPORTED, "0A000",
                     "replication connections are disabled (max_replication_connections = 0)");
        return false;
    }
    if (atomic_fetch_add_explicit(open, 1, memory_order_relaxed) < limit) return true;
    atomic_fetch_sub_explicit(open, 1, memory_order_relaxed);
    session_fail(s, STAT_ERROR_TOO_MANY_CLIENTS, "53300",
                 "too many replication connections (max_replication_connections = %lld)", limit);
    return false;
}

void session_relay_open(struct session *s, const struct scram_keys *keys) {
    if (!count_in(s)) return;
    struct relay *r = mem_new(struct relay);
    r->session = s;
    r->who = session_credentials(s, keys);
    ilink_init(&r->link);
    ilist_push_back(&s->env->relays, &r->link);
    r->parameters = buf_make(SIZE_MAX / 2);
    put_parameters(s, &r->parameters);
    s->relay = r;
    s->client.ops = &relay_client_ops;
    stats_gauge_add(s->env->stats, STAT_GAUGE_REPLICATION, 1);
    session_relay_try(s);
}
