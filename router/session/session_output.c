// SPDX-License-Identifier: ISC
//
// router/session/session_output.c: what the server says, to the client, and what follows from it.
#include "router/session/pins.h"
#include "router/session/session_parts.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

// To the client.

bool session_send_client(struct session *s, struct span bytes) {
    stats_add(s->env->stats, STAT_BYTES_TO_CLIENTS, bytes.len);
    return client_write(&s->client, bytes);
}

static bool on_send(void *arg, const struct iovec *iov, int n) {
    struct session *s = arg;
    size_t total = 0;
    for (int i = 0; i < n; i++) total += iov[i].iov_len;
    stats_add(s->env->stats, STAT_BYTES_TO_CLIENTS, total);
    return client_writev(&s->client, iov, n);
}

// A client that reads slowly stops the server, not the router.
static void hold_server_back(struct session *s) {
    struct server *sv = s->server ? s->server : s->held;
    if (sv && client_unsent(&s->client) > SESSION_HIGH_WATER) stream_pause(&sv->stream);
}

void session_client_drained(void *owner, struct client *c) {
    struct session *s = owner;
    (void)c;
    // Both: the one that is kept may have been stopped before the other one was got.
    if (s->server) stream_resume(&s->server->stream);
    if (s->held && s->held != s->server) stream_resume(&s->held->stream);
    session_resume(s);
}

// Answered.

// DISCARD ALL and its like have been answered: what they did is known now.
static void settle_facts(struct session *s, char tx_status) {
    struct server *sv = s->server ? s->server : s->held;
    uint32_t facts = s->settling;
    s->settling = 0;
    if (s->response.failed) {
        // Which part of it was done is not known. What was not even SQL has done nothing.
        if (facts & ~SESSION_SETTLING_SYNTAX)
            sv->dirty = true;
        else if (tx_status == PROTO_TX_IDLE)
            session_touch_states(s, PINS_ASKED | PIN_BIT(UNREADABLE)); // the last one has no state: it is over
        return;
    }
    if ((facts & FACT_DISCARD_ALL) && tx_status == PROTO_TX_IDLE) session_release_pins(s, s->pins_kept);
}

static void on_ready(void *arg, const struct reply *due, char tx_status) {
    struct session *s = arg;
    struct stats *stats = s->env->stats;
    if (!due->counted) return;
    s->due--;
    if (!s->due && !s->open) { // else a COPY may be among what was sent behind this one
        s->copy_due = s->copying = false;
        s->copies_ended = 0;
    }
    if (s->flush_due) {
        s->flush_due = false;
        s->skipping = s->response.failed; // until the client's own Sync
    }
    if (!s->response.drop) {
        s->reruns = 0;
        s->avoid = 0;
        buf_consume(&s->journal, due->journal);
        stats_add(stats, STAT_EXCHANGES, 1);
        if (tx_status == PROTO_TX_IDLE) stats_add(stats, STAT_TRANSACTIONS, 1);
        stats_observe(stats, due->does.wrote ? STAT_HISTOGRAM_WRITE : STAT_HISTOGRAM_READ,
                      s->env->server.now_us(s->env->server.arg) - due->started_us);
    }
    if (due->does.wrote) s->tx_wrote = true;
    if (s->tx_wrote) session_note_write(s);
    if (!s->response.drop) session_note_read(s);
    if (tx_status == PROTO_TX_IDLE) s->tx_wrote = false;
    if (s->response.begin_failed) session_tx_lose(s);
    session_tx_answered(s, due, tx_status);
    if (s->settling) settle_facts(s, tx_status);
    if (UNLIKELY(s->vacating != NULL)) session_forget_vacating(s);
    session_touched_ready(s, due, tx_status);
    if (s->ddl) session_note_ddl(s, tx_status == PROTO_TX_IDLE);
}

// The words that docs/routing.md and pgsteer_routed_total have for it.
static void on_tell(void *arg, const struct reply *due, struct buf *out) {
    const struct session *s = arg;
    struct fault f;
    fault_set(&f, "00000", "pgsteer: %s \"%s\", %s", s->on_replica ? "replica" : "primary",
              pool_node_name(s->server->pool), route_reason_str(due->does.told - 1u));
    reply_notice(out, &f);
}

static void on_skipping(void *arg) {
    struct session *s = arg;
    s->skipping = true;
    s->copy_due = s->copying = false;
}

static void on_sync_wanted(void *arg) { session_send_sync(arg); }

static void on_copy_in(void *arg, bool extended, const struct reply *ignored) {
    struct session *s = arg;
    s->copy_due = false;
    s->copying = s->copies_ended == 0;
    if (s->copies_ended) s->copies_ended--;
    if (ignored) {
        s->due--;
        s->opened = exchange_join(ignored->does, s->opened);
    }
    if (extended) s->open = true;
}

static void on_parameter(void *arg, struct span name, struct span value) { session_note_parameter(arg, name, value); }

const struct response_ops session_response_ops = {
    .send = on_send,
    .ready = on_ready,
    .tell = on_tell,
    .skipping = on_skipping,
    .copy_in = on_copy_in,
    .sync_wanted = on_sync_wanted,
    .parameter = on_parameter,
};

// A replica refused what the journal begins with: its texts go to the primary from now on.

static void learn_message(struct session *s, const struct frame *frame) {
    struct msg_parse p;
    struct msg_bind b;
    struct span sql;
    struct statement *st;
    switch (frame->type) {
    case FE_QUERY:
        if (msg_query(frame->payload, &sql)) database_learn_primary(s->database, sql);
        break;
    case FE_PARSE:
        if (msg_parse(frame->payload, &p)) database_learn_primary(s->database, p.query);
        break;
    case FE_BIND:
        st = msg_bind(frame->payload, &b) ? prep_client_find(&s->names, b.statement) : NULL;
        if (st) database_learn_primary(s->database, st->query);
        break;
    default: break;
    }
}

static void learn(struct session *s) {
    struct span rest = buf_span(&s->journal);
    struct frame frame;
    while (rest.len && frame_next(FRAME_FROM_CLIENT, rest, &frame, NULL) == WIRE_OK) {
        learn_message(s, &frame);
        if (frame.type == FE_QUERY || frame.type == FE_SYNC || frame.type == FE_FLUSH) return;
        rest = span_from(rest, frame.total);
    }
}

// What follows.

static bool is_over(const struct session *s) {
    const struct server *sv = s->server;
    bool sending = s->claimed || (s->tail && !s->tail_discard); // a unit is about to be sent, or half of one has been
    return sv && !sending && !s->due && !s->open && pipeline_is_empty(&sv->replies) && sv->tx_status == PROTO_TX_IDLE;
}

// Names of the pins, for whoever is disconnected because of them.
static void put_pins(uint32_t pins, struct buf *out) {
    const char *name;
    for (unsigned i = 0; (name = pin_str(i)); i++)
        if (pins >> i & 1) buf_printf(out, "%s%s", buf_len(out) ? ", " : "", name);
    buf_put_u8(out, 0);
}

// The shorter of two options of which 0 is never.
static int64_t sooner(int64_t a, int64_t b) { return !a || (b && b < a) ? b : a; }

// Outside a transaction.
static int64_t idle_limit(const struct session *s) {
    const struct config *c = s->env->config;
    return pins_bind(s->pins) ? sooner(c->client_idle_timeout, c->pin_idle_timeout) : c->client_idle_timeout;
}

static void on_idle_timeout(struct deadline *d) {
    struct session *s = container_of(d, struct session, deadline);
    struct buf pins = buf_make(256);
    put_pins(s->pins & ~PINS_SOFT, &pins);
    if (s->server || s->tx.phase == TRANSACTION_DEFERRED)
        session_fail(s, STAT_ERROR_IDLE_TIMEOUT, "25P03", "terminating connection due to idle_transaction_timeout");
    else if (idle_limit(s) == s->env->config->client_idle_timeout)
        session_fail(s, STAT_ERROR_IDLE_TIMEOUT, "57P05", "terminating connection due to client_idle_timeout");
    else
        session_fail(
            s, STAT_ERROR_IDLE_TIMEOUT, "57P05",
            "terminating connection due to pin_idle_timeout: it kept a server connection for its session state "
            "(%s)",
            (const char *)pins.data);
    buf_release(&pins);
}

static void watch_idleness(struct session *s) {
    const struct config *c = s->env->config;
    if (!c->client_idle_timeout && !c->idle_transaction_timeout && !c->pin_idle_timeout) return;
    // A notification is nothing that the client has said.
    if (s->state == SESSION_IDLE && deadline_is_set(&s->deadline)) return;
    bool in_transaction =
        s->tx.phase == TRANSACTION_DEFERRED || (s->server && !s->due && s->server->tx_status != PROTO_TX_IDLE);
    int64_t limit = in_transaction ? c->idle_transaction_timeout : s->state == SESSION_IDLE ? idle_limit(s) : 0;
    deadline_set(s->env->server.deadlines, &s->deadline, limit, on_idle_timeout);
}

void session_rest(struct session *s) {
    if (s->env->draining && s->state == SESSION_IDLE && !s->tx.phase)
        session_fail(s, STAT_ERROR_SHUTDOWN, "57P01", "terminating connection: pgsteer is shutting down");
    else
        watch_idleness(s);
}

// A replica has refused what it cannot do, in a transaction that it cannot go on with.
static bool has_failed_on_replica(const struct session *s) {
    const struct server *sv = s->server;
    return sv && s->on_replica && s->response.drop && !s->due && !s->open && pipeline_is_empty(&sv->replies) &&
           sv->tx_status != PROTO_TX_IDLE;
}

void session_settle(struct session *s) {
    if (s->state == SESSION_CLOSED) return;
    if (has_failed_on_replica(s)) {
        session_tx_leave(s, true);
        return;
    }
    if (s->server && session_restore_startup(s)) return;
    bool over = is_over(s);
    if (over && s->touched && session_awaits_cancel(s)) return; // on_drained comes
    if (over && s->touched) {
        session_read_settings(s);
        return;
    }
    if (over) {
        bool again = s->response.drop;
        session_unlink(s);
        if (again) {
            session_run_again(s, false);
            return;
        }
    }
    session_rest(s);
    if (s->state == SESSION_CLOSED) return;
    hold_server_back(s);
    session_resume(s);
}

// The client's settings are in force, and the unit that waits for them can go.
static void prelude_done(struct session *s) {
    session_settings_are_in_force(s);
    if (s->forgets) s->server->sequence_user = 0;
    s->prelude_due = false; // `claimed` stays until the unit is sent
    if (s->claimed)
        session_resume(s);
    else
        session_settle(s);
}

static void settings_were_refused(struct session *s) {
    struct fault f;
    // It was one transaction, and is tried again without what was refused, or in another order.
    if (s->claimed && (session_forget_refused(s) || session_puts_identity_first(s))) {
        s->prelude_due = false;
        session_resume(s);
        return;
    }
    s->server->dirty = true;
    s->identities_first = false; // it was not the order
    if (session_leave_refusing(s)) {
        session_resume(s);
        return;
    }
    fault_set(&f, "08006", "the session's settings could not be restored: %s", s->response.refusal->text);
    client_fail(&s->client, STAT_ERROR_SERVER_LOGIN, &f);
}

static void after_read(struct session *s) {
    if (s->proving && s->server && pipeline_is_empty(&s->server->replies)) s->proving = false;
    if (session_is_login(s))
        session_login_replied(s);
    else if (s->leaving && s->server && pipeline_is_empty(&s->server->replies))
        session_left(s);
    else if (session_is_reading(s) && s->server && pipeline_is_empty(&s->server->replies))
        session_settings_read(s);
    else if (s->prelude_due && s->server && pipeline_is_empty(&s->server->replies) && s->response.refusal)
        settings_were_refused(s);
    else if (s->prelude_due && s->server && pipeline_is_empty(&s->server->replies))
        prelude_done(s);
    else
        session_settle(s);
}

// From the server.

// A connection that is kept but not in use says something: nothing was asked, so either it has ended, or it is not
// known any more to be clean. Nothing of the session's is lost with it, since it is not pinned.
static void drop_held(struct session *s, struct server *sv) {
    session_let_held_go(s);
    pool_discard(sv, "it spoke or ended while it was kept idle");
}

void session_server_readable(void *owner, struct server *sv) {
    struct session *s = owner;
    if (sv != s->server && !pins_bind(s->pins)) {
        drop_held(s, sv);
        return;
    }
    struct fault f;
    do {
        size_t n;
        enum response_result got = response_read(&s->response, sv, s->env->server.rbuf, RBUF_SIZE, &n, &f);
        if (got == RESPONSE_STOP) return;
        if (s->response.stale_plan) session_note_ddl(s, false); // who parses anew gets a new one
        s->response.stale_plan = false;
        if (got == RESPONSE_BROKEN) {
            session_server_lost(s, sv, &f);
            return;
        }
        if (got == RESPONSE_RERUN && s->response.learn) learn(s);
    } while (stream_has_pending(&sv->stream));
    after_read(s);
}

static void on_drained(void *owner, struct server *sv) {
    (void)sv;
    if (session_is_login(owner))
        session_resume(owner);
    else
        session_settle(owner); // it may have waited for the end of a cancel
}

static void on_broken(void *owner, struct server *sv, const struct fault *f) { session_server_lost(owner, sv, f); }

const struct server_owner_ops session_server_ops = {
    .readable = session_server_readable,
    .drained = on_drained,
    .broken = on_broken,
};
