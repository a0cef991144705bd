// SPDX-License-Identifier: ISC
//
// router/session/session_link.c: a session gets a server connection, keeps it, gives it back, or loses it.
//
// A unit that is ready is routed once; when the chosen server cannot be reached it is routed again without that one. A
// write while there is no primary, or one that cannot be reached, is parked and tried again until query_wait_timeout.
#include <stdio.h>

#include "base/mem.h"
#include "router/session/pins.h"
#include "router/session/session_parts.h"

static uint64_t now_us(const struct session *s) { return s->env->server.now_us(s->env->server.arg); }

// Getting one.

static void linked(struct session *s, struct server *sv) {
    s->server = sv;
    sv->shared |= sv->worked_for && sv->worked_for != s->client.id;
    sv->worked_for = s->client.id;
    s->ticket.defaults_us = MAX_OF(s->ticket.defaults_us, sv->defaults_us); // never back to older ones
    if (s->held) session_lease(s);                                          // or not any more
    s->claimed = !session_is_login(s);
    s->balanced = s->node < ROUTE_NODES_MAX;
    session_set_state(s, SESSION_LINKED);
    if (s->balanced) s->env->balance.in_flight[s->node]++;
}

void session_park(struct session *s) {
    if (!s->parked_us) s->parked_us = now_us(s);
    session_set_state(s, SESSION_PARKED);
}

static struct pool *pool_of(const struct session *s, int node) { return account_pool(s->account, (size_t)node); }

static void acquire(struct session *s, struct pool *p, int node, bool replica) {
    s->node = (uint8_t)node;
    s->on_replica = replica;
    bool none = !pool_has_idle(p) && !pool_can_open(p);
    if (none && !replica && !ilist_empty(&s->env->leases)) sessions_yield_lease(s->env, p);
    struct server *sv = pool_get(p, &s->ticket, &session_server_ops, s);
    if (sv)
        linked(s, sv);
    else
        session_set_state(s, SESSION_WAITING);
}

static bool is_avoided(const struct session *s, int node) { return s->env->avoid >> node & 1; }

// Where a connection could not be opened a moment ago, those that are open and idle are as good as they were.
static void acquire_or_park(struct session *s, const struct route *to) {
    if (to->node >= 0 && (!is_avoided(s, to->node) || pool_has_idle(pool_of(s, to->node))))
        acquire(s, pool_of(s, to->node), to->node, to->replica);
    else
        session_park(s);
}

// Why the unit must go to the primary whatever its statements say; ROUTE_REASON_BALANCED = it need not.
static enum route_reason form_reason(const struct request *r) {
    if (r->kind == REQUEST_FUNCTION) return ROUTE_REASON_FUNCTION_CALL;
    if (r->stream) return ROUTE_REASON_TOO_LARGE;
    if (r->old_portal || (r->flushed && r->executes)) return ROUTE_REASON_FLUSH;
    return ROUTE_REASON_BALANCED;
}

// The replica that answered the session's last read, as long as it cannot have gone back behind that.
static int last_reader(const struct session *s) {
    if (s->last_reader >= s->env->topology->n_nodes) return -1;
    const struct node *n = &s->env->topology->nodes[s->last_reader];
    bool same =
        n->up_since_us == s->last_reader_up_us && atomic_load_explicit(&n->live->fresh_until_us, memory_order_relaxed);
    return same ? s->last_reader : -1;
}

// Whoever asks for the primary's counters and then reads wants to find the reads in them. Not for good: it may be a
// page of statistics in an application that reads from replicas otherwise.
static bool is_counted(const struct session *s) {
    const uint64_t lasts_us = 10000000;
    return s->counts || (s->counted_us && now_us(s) - s->counted_us < lasts_us);
}

// What the client's own DDL has made, a view or a sequence, the catalog does not know before it is read again.
static struct verdict known_verdict(const struct session *s, struct verdict v) {
    if (!s->ddl_us || v.kind != VERDICT_READ || v.reason != VERDICT_REASON_READ) return v;
    if (s->database->catalog && s->ddl_us > catalog_read_us(s->database->catalog))
        v = (struct verdict){.kind = VERDICT_UNKNOWN, .reason = VERDICT_REASON_NO_CATALOG};
    return v;
}

static struct route route_unit(struct session *s, uint64_t full) {
    struct session_env *env = s->env;
    struct topology *t = env->topology;
    const struct request *r = &s->request;
    enum route_reason form = form_reason(r);
    if (pins_bind(s->pins)) return (struct route){.node = t->primary, .reason = ROUTE_REASON_PINNED};
    bool begins = session_tx_begins(s);
    if (begins && s->tx_reason) return (struct route){.node = t->primary, .reason = s->tx_reason};
    if (s->serializable && !begins) return (struct route){.node = t->primary, .reason = ROUTE_REASON_SERIALIZABLE};
    if (form != ROUTE_REASON_BALANCED) return (struct route){.node = t->primary, .reason = form};
    struct route_request q = {
        .verdict = known_verdict(s, begins ? (struct verdict){.kind = VERDICT_READ, .reason = VERDICT_REASON_READ}
                                           : r->verdict),
        .consistency = s->consistency,
        .balance = env->config->balance,
        .preference = s->preference,
        .last_write_us = MAX_OF(s->last_write_us, env->epoch_seen_us), // a schema's change concerns everybody
        .last_read_us = s->last_read_us,
        .last_reader = last_reader(s),
        .last_any_write_us = atomic_load_explicit(env->last_write_us, memory_order_relaxed),
        .now_us = now_us(s),
        .slow_start_us = (uint64_t)env->config->slow_start * 1000,
        .avoid = env->avoid | s->avoid,
        .full = full,
        .near = env->near,
        .rerun = s->again > 0 && !s->again_anywhere,
        .counted = is_counted(s),
    };
    struct route to = route(&q, t, &env->balance);
    if (to.replica && begins) to.reason = ROUTE_REASON_READ_ONLY_TRANSACTION;
    return to;
}

// True when the read should wait for a replica that is fresh enough rather than go to the primary now.
static bool wait_for_freshness(struct session *s) {
    uint64_t now = now_us(s), limit_us = (uint64_t)s->env->config->consistency_wait * 1000;
    if (!s->stale_us) s->stale_us = now;
    if (now - s->stale_us >= limit_us) return false;
    session_set_state(s, SESSION_PARKED);
    s->env->retry_soon(s->env->arg);
    return true;
}

// The connection it keeps is one to this node.
static bool is_at(const struct session *s, int node) {
    return node >= 0 && strcmp(pool_node_name(s->held->pool), s->env->topology->nodes[node].name) == 0;
}

void session_find_server(struct session *s) {
    struct route to = route_unit(s, 0);
    if (to.stale && wait_for_freshness(s)) return;
    // A replica without a connection to spare is for those who find no other.
    for (uint64_t full = 0; to.replica; to = route_unit(s, full)) {
        uint64_t bit = UINT64_C(1) << to.node;
        if ((full & bit) || !pool_is_full(pool_of(s, to.node))) break;
        full |= bit;
    }
    s->reason = (uint8_t)to.reason;
    bool leaves = s->held && s->pins == PINS_SOFT && !to.replica;
    if (leaves && (!is_at(s, to.node) || s->held->close_when_idle)) session_end_lease(s);
    if (s->held && !to.replica) {
        s->node = ROUTE_NODES_MAX;
        s->on_replica = false;
        linked(s, s->held);
        return;
    }
    acquire_or_park(s, &to);
}

// Leaving a queue pays where a connection is idle, or can be opened when none is being opened here.
static bool is_better(const struct pool *there, const struct pool *here) {
    return pool_has_idle(there) || (pool_can_open(there) && !pool_is_opening(here));
}

void session_try_elsewhere(struct session *s) {
    if (!s->on_replica || session_is_login(s) || s->node >= ROUTE_NODES_MAX) return;
    struct route to = route_unit(s, UINT64_C(1) << s->node);
    if (!to.replica || to.node == s->node || !is_better(pool_of(s, to.node), pool_of(s, s->node))) return;
    pool_cancel(&s->ticket);
    session_set_state(s, SESSION_IDLE);
    acquire(s, pool_of(s, to.node), to.node, true);
    if (s->state == SESSION_LINKED) session_resume(s);
}

bool session_has_anchorage(const struct session *s) {
    int primary = s->env->topology->primary;
    return primary >= 0 && !is_avoided(s, primary) && pool_has_anchorage(pool_of(s, primary));
}

// The primary, else a replica that has not refused this login.
static struct route route_login(struct session *s) {
    struct session_env *env = s->env;
    struct route_request q = {.consistency = CONSISTENCY_EVENTUAL, .avoid = env->avoid | s->avoid, .now_us = now_us(s)};
    struct route to = {.node = env->topology->primary, .reason = ROUTE_REASON_LOGIN};
    return to.node < 0 || is_avoided(s, to.node) ? route(&q, env->topology, &env->balance) : to;
}

bool session_has_login_server(struct session *s) {
    struct route to = route_login(s);
    return to.node >= 0 && !is_avoided(s, to.node);
}

void session_find_login_server(struct session *s) {
    struct route to = route_login(s);
    acquire_or_park(s, &to);
    if (s->state == SESSION_LINKED) session_login_linked(s);
}

// A ticket's end.

static void on_granted(struct ticket *t, struct server *sv) {
    struct session *s = container_of(t, struct session, ticket);
    linked(s, sv);
    if (session_is_login(s))
        session_login_linked(s);
    else
        session_resume(s);
}

// PostgreSQL ends a process within that time of being asked to.
enum { TERMINATE_US = 2 * 1000 * 1000 };

bool session_is_ended_by(const struct session *s, const struct fault *f) {
    // Time limits of PostgreSQL; idle_in_transaction_session_timeout, 25P03, ends a client on a replica too, and is
    // dealt with by session_server_lost.
    static const char *const own[] = {"25P04", "57P05"};
    uint64_t asked = atomic_load_explicit(s->env->terminate_us, memory_order_acquire);
    if (strcmp(f->sqlstate, "57P01") == 0) return asked && uv_hrtime() / 1000 - asked < TERMINATE_US;
    for (size_t i = 0; i < countof(own); i++)
        if (strcmp(f->sqlstate, own[i]) == 0) return true;
    return false;
}

static bool is_class(const struct fault *f, const char *class) { return strncmp(f->sqlstate, class, 2) == 0; }

// The server cannot be reached from here just now, or does not take another connection: go elsewhere, or wait.
void session_avoid_server(struct session *s) {
    struct session_env *env = s->env;
    if (s->node >= ROUTE_NODES_MAX) return;
    env->avoid |= UINT64_C(1) << s->node;
    env->avoid_until_us[s->node] = now_us(s) + (uint64_t)env->config->server_login_retry * 1000;
}

static void on_ticket_failed(struct ticket *t, const struct fault *f) {
    struct session *s = container_of(t, struct session, ticket);
    bool login = session_is_login(s);
    // Of a server that cannot be reached we say 08006 or 57P03 ourselves; the rest are its own words on this login,
    // such as 55000 where a database takes no connections.
    bool refused = !is_class(f, "08") && !is_class(f, "57");
    session_set_state(s, login ? SESSION_LOGIN : SESSION_IDLE);
    if (is_class(f, "53")) { // waited for its turn long enough
        if (login && t->optional)
            session_login_retry(s);
        else if (login)
            client_fail(&s->client, STAT_ERROR_WAIT_TIMEOUT, f);
        else
            session_refuse(s, f);
        return;
    }
    if (refused && !s->on_replica) { // what the server says of the login holds for the client
        client_fail(&s->client, STAT_ERROR_SERVER_LOGIN, f);
        return;
    }
    // What a server says to this user's login is no reason for others to avoid it.
    if (refused && s->node < ROUTE_NODES_MAX)
        s->avoid |= UINT64_C(1) << s->node;
    else
        session_avoid_server(s);
    if (login && refused)
        session_login_refused(s, f);
    else if (login)
        session_login_retry(s);
    else
        session_resume(s);
}

// It was idle: nothing of the session's is lost with it.
static void on_anchor_lost(struct anchor *a, const struct fault *f) {
    struct session *s = container_of(a, struct session, ticket.anchor);
    if (session_is_ended_by(s, f)) client_fail(&s->client, STAT_ERROR_SERVER_LOST, f);
}

void session_link_init(struct session *s) {
    s->ticket.granted = on_granted;
    s->ticket.failed = on_ticket_failed;
    s->ticket.anchor.lost = on_anchor_lost;
    ilink_init(&s->ticket.link);
    deadline_init(&s->ticket.deadline);
}

bool session_park_expired(const struct session *s, uint64_t now) {
    int64_t limit_ms = s->env->config->query_wait_timeout;
    return limit_ms > 0 && s->parked_us && now - s->parked_us > (uint64_t)limit_ms * 1000;
}

void session_unpark(struct session *s) {
    bool login = session_is_login(s), expired = session_park_expired(s, now_us(s));
    session_set_state(s, login ? SESSION_LOGIN : SESSION_IDLE);
    if (expired) {
        struct fault f;
        fault_set(&f, "57P03",
                  "no server that can take this statement was reachable within %lld ms (query_wait_timeout)",
                  (long long)s->env->config->query_wait_timeout);
        fault_hint(&f, "The health endpoint of pgsteer shows the state of every server.");
        s->parked_us = 0;
        if (login)
            client_fail(&s->client, STAT_ERROR_NO_PRIMARY, &f);
        else
            session_refuse(s, &f);
    } else if (login) {
        session_login_retry(s);
    } else {
        session_resume(s);
    }
}

void session_refuse(struct session *s, const struct fault *f) {
    bool no_primary = strcmp(f->sqlstate, "57P03") == 0;
    if (strcmp(f->sqlstate, "57014") != 0)
        stats_error(s->env->stats, no_primary ? STAT_ERROR_NO_PRIMARY : STAT_ERROR_WAIT_TIMEOUT);
    if (session_is_login(s)) {
        client_fail(&s->client, STAT_ERROR_WAIT_TIMEOUT, f);
        return;
    }
    if (!s->refusal) s->refusal = mem_new(struct fault);
    *s->refusal = *f;
    if (s->state != SESSION_IDLE) session_set_state(s, SESSION_IDLE);
    session_resume(s);
}

// Giving it back.

static void leave_balance(struct session *s) {
    if (s->balanced && s->node < ROUTE_NODES_MAX) s->env->balance.in_flight[s->node]--;
    s->balanced = false;
    s->node = ROUTE_NODES_MAX;
}

static void leave_journal(struct session *s) {
    struct session_env *env = s->env;
    if (!s->journal.cap || buf_len(&s->journal)) return; // none, or it is to be sent again
    if (env->n_journals < SESSION_JOURNALS && s->journal.cap <= SESSION_JOURNAL_KEPT_MAX) {
        buf_clear(&s->journal);
        env->journals[env->n_journals++] = s->journal;
        s->journal = buf_make(SESSION_JOURNAL_LIMIT);
    } else {
        buf_release(&s->journal);
    }
}

void session_unlink(struct session *s) {
    struct server *sv = s->server;
    leave_balance(s);
    s->server = NULL;
    session_set_state(s, session_is_login(s) ? SESSION_LOGIN : SESSION_IDLE);
    bool keep = !s->on_replica && !session_is_login(s) && (s->pins || s->session_mode);
    if (keep) {
        s->held = sv;
    } else {
        if (s->held == sv) s->held = NULL;
        if (!s->on_replica && sv->anchor != &s->ticket.anchor) session_leave_sequences(s);
        if (response_is_clean(&s->response))
            pool_put(sv);
        else
            pool_discard(sv, "bytes were left over");
    }
    response_fini(&s->response);
    leave_journal(s);
    s->on_replica = false;
    if (s->pins) session_lease(s);
}

void session_let_held_go(struct session *s) {
    s->held = NULL;
    session_leave_sequences(s);
    session_set_pins(s, s->pins & ~PINS_SOFT);
    session_lease(s);
}

// A replica may lack the role, or whatever else a setting names, that the primary has; and a connection may have been
// left in a state that takes none: a statement_timeout that is too short for it.
bool session_leave_refusing(struct session *s) {
    bool known = s->on_replica && s->node < ROUTE_NODES_MAX;
    if (!s->claimed || s->held == s->server || (!known && s->reruns++ >= SESSION_RERUNS_MAX)) return false;
    if (known) s->avoid |= UINT64_C(1) << s->node;
    s->claimed = s->prelude_due = s->proving = false;
    session_unlink(s);
    response_start(&s->response, false);
    return true;
}

void session_drop_servers(struct session *s) {
    struct server *sv = s->server, *held = s->held;
    if (s->state == SESSION_WAITING) pool_cancel(&s->ticket);
    leave_balance(s);
    s->server = s->held = NULL;
    session_lease(s);
    if (sv) {
        bool busy = s->due || s->open || s->tail || !pipeline_is_empty(&sv->replies);
        // Nobody waits for the answer any more, unless the client said Terminate: then what it sent before is finished.
        bool terminated = s->ready && s->request.kind == REQUEST_TERMINATE;
        if (busy && !terminated) pool_cancel_backend(sv);
        bool clean = !busy && !pins_bind(s->pins) && !s->touched && sv->tx_status == PROTO_TX_IDLE &&
                     response_is_clean(&s->response);
        if (clean)
            pool_put(sv);
        else
            pool_discard(sv, NULL);
    }
    if (held && held != sv) {
        if (pins_bind(s->pins))
            pool_discard(held, NULL);
        else
            pool_put(held);
    }
}

// Losing it.

static void undo_names(struct session *s, struct server *sv) {
    while (!pipeline_is_empty(&sv->replies)) {
        enum reply_kind kind = (enum reply_kind)pipeline_head(&sv->replies)->kind;
        if (kind == REPLY_QUERY || kind == REPLY_SYNC)
            pipeline_pop(&sv->replies);
        else
            prep_fail(&s->names, &sv->prepared, &sv->replies);
    }
}

void session_run_again(struct session *s, bool anywhere) {
    stats_add(s->env->stats, STAT_RERUNS, 1);
    response_start(&s->response, false);
    if (s->tail) { // a message that nobody wants is still coming, and what is sent again would be taken for it
        session_fail(s, STAT_ERROR_SERVER_LOST, "08006", "the connection to the server was lost");
        return;
    }
    s->reruns++;
    s->due = 0;
    s->claimed = s->prelude_due = s->proving = false;
    s->open = s->flush_due = s->ready = s->copy_due = s->copying = false;
    s->opened = (struct exchange){0};
    s->names_are_free = false;
    s->settling = 0;
    session_forget_vacating(s);
    request_reset(&s->request);
    s->again = buf_len(&s->journal);
    s->again_anywhere = anywhere;
    client_unread(&s->client, buf_span(&s->journal));
    buf_release(&s->journal);
    session_resume(s);
}

// True when the client's view of its session survives: it has no state on the connection (but for a transaction, which
// can be given up), and has not been sent half a message.
static bool survives(const struct session *s) {
    return !pins_bind(s->pins) && !s->open && !s->tail && !(s->response.pass && !s->response.pass_swallow) &&
           !session_is_login(s);
}

// What was under way when the connection was lost.
struct loss {
    uint32_t due;
    bool in_transaction; // after all that was under way
    bool ending;         // of a transaction, among it
    bool flush;          // the one exchange was a Flush, and the client has sent no Sync
};

static struct loss loss_of(const struct session *s, struct server *sv) {
    bool deferred = s->tx.phase == TRANSACTION_DEFERRED; // if it has failed anew here, it can do so elsewhere
    bool in_transaction = sv->tx_status != PROTO_TX_IDLE && !deferred;
    struct loss l = {.due = s->due, .in_transaction = in_transaction, .flush = s->flush_due};
    for (uint32_t i = 0; i < sv->replies.count; i++) {
        const struct reply *due = pipeline_at(&sv->replies, i);
        if (due->does.begins) l.in_transaction = true;
        if (!due->does.ends || !l.in_transaction) continue;
        l.ending = true;
        l.in_transaction = false;
    }
    return l;
}

// One error for each exchange that was under way: nobody knows whether it ran, so it is not run again. A transaction is
// lost, unless its end was under way: then it is over, one way or the other.
static void answer_lost(struct session *s, const struct loss *l, struct fault *f) {
    struct buf *out = &s->env->wbuf;
    buf_clear(out);
    if (l->ending) fault_set(f, "08007", "the connection was lost while the transaction was being ended");
    s->lost_tx = l->in_transaction;
    s->lost_told = l->due > 0;
    for (uint32_t i = 0; i < l->due; i++) {
        reply_error(out, false, f);
        if (!l->flush) reply_ready(out, s->lost_tx ? PROTO_TX_FAILED : PROTO_TX_IDLE);
    }
    if (l->flush) s->skipping = true;
    if (l->due && !session_send_client(s, buf_span(out))) return;
    session_settle(s);
}

static void raise_to(atomic_ullong *at, unsigned long long to) {
    unsigned long long last = atomic_load_explicit(at, memory_order_relaxed);
    while (last < to && !atomic_compare_exchange_weak(at, &last, to)) {
    }
}

// Connections from before give way to others, which begin with the new ones (pool.c). As with writes, the moment must
// not lie before the commit.
static void note_defaults(struct session_env *env) { raise_to(env->defaults_changed_us, uv_hrtime() / 1000 + 1); }

void session_note_ddl(struct session *s, bool over) {
    atomic_fetch_add_explicit(s->env->schema_epoch, 1, memory_order_release);
    if (!over) return;
    s->ddl = false;
    if (s->defaults) note_defaults(s->env);
    s->defaults = false;
    s->ddl_us = uv_hrtime() / 1000 + 1;
    s->env->refresh_database(s->env->arg, s->database->name);
}

void session_note_write(struct session *s) {
    // The moment must not lie before the commit, so it is now and not the start of this turn of the loop.
    s->last_write_us = uv_hrtime() / 1000 + 1;
    raise_to(s->env->last_write_us, s->last_write_us);
}

void session_note_read(struct session *s) {
    if (s->consistency < CONSISTENCY_MONOTONIC) return;
    s->last_read_us = uv_hrtime() / 1000 + 1;
    s->last_reader = s->on_replica ? s->node : ROUTE_NODES_MAX;
    if (s->last_reader < ROUTE_NODES_MAX) s->last_reader_up_us = s->env->topology->nodes[s->node].up_since_us;
}

static void forget_due(struct session *s) {
    if ((s->due || s->open) && (s->tx_wrote || !s->on_replica)) session_note_write(s); // it may have been done
    s->due = 0;
    s->claimed = s->prelude_due = s->proving = s->leaving = false;
    // One that is deferred is nothing that a server had: its BEGIN goes to the next one.
    if (s->tx.phase != TRANSACTION_DEFERRED) s->tx = (struct transaction){0};
    s->open = s->flush_due = s->copy_due = s->copying = false;
    s->opened = (struct exchange){0};
    s->names_are_free = false;
    s->copies_ended = 0;
    s->settling = 0;
    session_forget_vacating(s);
    s->tx_wrote = false;
    session_forget_touched(s);
    s->context = 0;
    if (s->ddl) session_note_ddl(s, true);
    s->lexing = false;
    response_start(&s->response, false);
    buf_release(&s->journal);
}

// The session lets go of the broken connection. `sv` is closed.
static void let_go(struct session *s, struct server *sv, const struct fault *why) {
    undo_names(s, sv);
    if (s->server == sv) {
        s->server = NULL;
        leave_balance(s);
        session_set_state(s, session_is_login(s) ? SESSION_LOGIN : SESSION_IDLE);
    }
    if (s->held == sv)
        session_let_held_go(s);
    else if (!s->on_replica)
        session_leave_sequences(s);
    s->on_replica = false;
    pool_discard(sv, why->text);
    response_fini(&s->response);
}

void session_left(struct session *s) {
    bool again = s->leaving_again;
    s->leaving = s->leaving_again = false;
    session_tx_unplace(s, ROUTE_REASON_RERUN);
    session_unlink(s);
    if (again)
        session_run_again(s, false);
    else
        session_resume(s);
}

void session_abandon(struct session *s, const struct fault *why) {
    let_go(s, s->server, why);
    forget_due(s);
    session_tx_lose(s);
}

// The replica of a transaction that is idle, or leaves it, and has nothing there that it needs.
static bool needs_no_server(const struct session *s) {
    if (s->tx.phase != TRANSACTION_ON_REPLICA || s->open || s->tail) return false;
    return s->leaving || (!s->tx.bound && !s->due && !s->claimed);
}

static void go_on_without(struct session *s, struct server *sv, const struct fault *f) {
    bool again = s->leaving_again;
    if (s->node < ROUTE_NODES_MAX) s->avoid |= UINT64_C(1) << s->node;
    session_tx_unplace(s, s->leaving ? ROUTE_REASON_RERUN : 0);
    s->leaving = s->leaving_again = false;
    let_go(s, sv, f);
    if (again)
        session_run_again(s, false);
    else
        session_settle(s);
}

void session_server_lost(struct session *s, struct server *sv, const struct fault *f) {
    struct session_env *env = s->env;
    if (sv != s->server && !pins_bind(s->pins)) { // kept for later, and nothing on it was the session's
        session_let_held_go(s);
        pool_discard(sv, f->text);
        return;
    }
    bool rerun = s->on_replica && response_can_rerun(&s->response) && s->reruns < SESSION_RERUNS_MAX;
    bool alive = survives(s);
    struct loss loss = loss_of(s, sv);
    // What was SET and not read back is gone, unless its transaction never came to an end.
    if (session_touched_matters(s) && (!loss.in_transaction || loss.ending || session_touched_counts(s))) alive = false;
    if (s->lexing) alive = false; // how the texts of its client are to be read is known from the connection
    struct fault lost;
    fault_set(&lost, "08006", "the connection to server \"%s\" was lost: %s", pool_node_name(sv->pool), f->text);
    stats_error(env->stats, STAT_ERROR_SERVER_LOST);
    env->server.report(env->server.arg, pool_node_name(sv->pool),
                       strncmp(f->sqlstate, "57P", 3) == 0 ? EVIDENCE_SHUTDOWN : EVIDENCE_CLOSED);
    if (strcmp(f->sqlstate, "25P03") == 0) { // the client was idle in its transaction for too long: it is told
        let_go(s, sv, &lost);
        forget_due(s);
        client_fail(&s->client, STAT_ERROR_IDLE_TIMEOUT, f);
        return;
    }
    if (sv == s->server && needs_no_server(s)) {
        go_on_without(s, sv, &lost);
        return;
    }
    if (rerun) session_tx_unplace(s, 0);
    if (rerun && s->node < ROUTE_NODES_MAX) s->avoid |= UINT64_C(1) << s->node;
    bool ended = !s->on_replica && !session_is_login(s) && session_is_ended_by(s, f);
    let_go(s, sv, &lost);
    if (ended) {
        forget_due(s);
        client_fail(&s->client, STAT_ERROR_SERVER_LOST, f);
    } else if (session_is_login(s)) {
        session_park(s);
    } else if (rerun) {
        session_run_again(s, true);
    } else {
        forget_due(s);
        if (alive)
            answer_lost(s, &loss, &lost);
        else
            client_fail(&s->client, STAT_ERROR_SERVER_LOST, &lost);
    }
}
