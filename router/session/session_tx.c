// SPDX-License-Identifier: ISC
//
// router/session/session_tx.c: transactions that are deferred, and READ ONLY ones on replicas.
//
// A plain BEGIN is answered here: no server is held while the application thinks, and what comes before the first
// statement (SET TRANSACTION READ ONLY) may still decide where that runs. The BEGIN goes out with the first statement,
// in the same write.
//
// A READ ONLY transaction may run on a replica, as a whole. What a replica would do otherwise than the primary
// is not run there: the transaction moves to the primary as long as the client has been shown nothing that binds it to
// the replica, and is given up with an error after that.
#include "base/mem.h"
#include "router/session/pins.h"
#include "router/session/session_parts.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

struct tx_modes session_tx_modes(const struct session *s) {
    struct tx_modes modes = tx_modes_over(s->tx_defaults, s->tx.modes);
    return s->tx.phase == TRANSACTION_NONE ? tx_modes_over(modes, s->request.modes) : modes;
}

char session_tx_status(const struct session *s) {
    if (s->lost_tx) return PROTO_TX_FAILED;
    if (s->server) return s->server->tx_status;
    return s->tx.phase == TRANSACTION_DEFERRED ? PROTO_TX_ACTIVE : PROTO_TX_IDLE;
}

void session_tx_lose(struct session *s) {
    s->tx = (struct transaction){0};
    s->lost_tx = s->lost_told = true;
}

// Answers without a server.

// PostgreSQL ends a session that is idle in a transaction for too long, and must know of the transaction for that.
static bool has_idle_limit(const struct session *s) {
    struct span limit;
    return settings_get(s->settings, span_str("idle_in_transaction_session_timeout"), &limit) && !span_is(limit, "0");
}

bool session_tx_is_local(const struct session *s, struct span unit) {
    bool deferred = s->tx.phase == TRANSACTION_DEFERRED;
    if (s->server || pins_bind(s->pins) || s->copying) return false;
    switch ((enum verdict_control)s->request.verdict.control) {
    case CONTROL_NONE: return false;
    case CONTROL_BEGIN:
    case CONTROL_START:
        if (deferred || has_idle_limit(s)) return false;
        break;
    case CONTROL_MODES:
        if (!deferred || s->tx.queried) return false;
        break;
    case CONTROL_COMMIT:
    case CONTROL_ROLLBACK:
        if (!deferred) return false;
        break;
    }
    return request_is_lone(&s->request, unit);
}

// Of a batch that runs a lone statement without a result.
void session_put_message(struct session *s, const struct frame *frame, const char *tag, char status, struct buf *out) {
    struct msg_parse parse;
    struct msg_target target;
    switch (frame->type) {
    case FE_PARSE:
        if (msg_parse(frame->payload, &parse)) session_take_name(s, &parse);
        reply_empty_body(out, BE_PARSE_COMPLETE);
        break;
    case FE_BIND: reply_empty_body(out, BE_BIND_COMPLETE); break;
    case FE_CLOSE:
        if (msg_target(frame->payload, &target) && target.kind == PROTO_KIND_STATEMENT)
            session_forget_name(s, target.name);
        reply_empty_body(out, BE_CLOSE_COMPLETE);
        break;
    case FE_EXECUTE: reply_command_complete(out, tag); break;
    case FE_DESCRIBE:
        if (msg_target(frame->payload, &target) && target.kind == PROTO_KIND_STATEMENT) {
            size_t at = buf_msg_begin(out, BE_PARAMETER_DESCRIPTION);
            buf_put_u16(out, 0);
            buf_msg_end(out, at);
        }
        reply_empty_body(out, BE_NO_DATA);
        break;
    case FE_SYNC: reply_ready(out, status); break;
    default: break; // Flush
    }
}

void session_put_lone(struct session *s, struct span unit, const char *tag, char status, struct buf *out) {
    struct frame frame;
    if (s->request.kind == REQUEST_QUERY) {
        session_forget_unnamed(s);
        reply_command_complete(out, tag);
        reply_ready(out, status);
        return;
    }
    for (; unit.len; unit = span_from(unit, frame.total)) {
        if (frame_next(FRAME_FROM_CLIENT, unit, &frame, NULL) != WIRE_OK) bug("a batch was not checked");
        session_put_message(s, &frame, tag, status, out);
    }
}

// Of a BEGIN: its modes are no reason, for they may be set anew.
static bool has_primary_hint(const struct verdict *v) {
    return v->apart && v->modes.access != TX_ACCESS_READ_WRITE && v->modes.isolation != TX_ISOLATION_SERIALIZABLE;
}

// ... AND CHAIN: another one, just like it. PostgreSQL gives one that has failed its defaults back, but for modes that
// came by a chain themselves.
static void chain(struct transaction *tx) {
    bool anew = tx->failed && !tx->chained;
    *tx = (struct transaction){.phase = tx->phase, .reason = tx->reason, .modes = tx->modes, .chained = true};
    if (anew) *tx = (struct transaction){.phase = tx->phase};
}

void session_tx_answer(struct session *s, struct span unit) {
    const struct verdict *v = &s->request.verdict;
    struct buf *out = &s->env->wbuf;
    const char *tag = transaction_tag(s->tx.failed ? CONTROL_ROLLBACK : (enum verdict_control)v->control);
    switch ((enum verdict_control)v->control) {
    case CONTROL_NONE: break;
    case CONTROL_BEGIN:
    case CONTROL_START:
        s->tx = (struct transaction){.phase = TRANSACTION_DEFERRED, .modes = v->modes};
        if (has_primary_hint(v)) s->tx.reason = ROUTE_REASON_VERDICT + VERDICT_REASON_TRANSACTION;
        break;
    case CONTROL_MODES: s->tx.modes = tx_modes_over(s->tx.modes, v->modes); break;
    case CONTROL_COMMIT:
    case CONTROL_ROLLBACK:
        if (v->facts & FACT_BEGIN)
            chain(&s->tx);
        else
            s->tx = (struct transaction){0};
        break;
    }
    buf_clear(out);
    session_put_lone(s, unit, tag, session_tx_status(s), out);
    (void)session_send_client(s, buf_span(out));
}

// Which server.

bool session_tx_begins(const struct session *s) {
    return s->tx.phase == TRANSACTION_DEFERRED || (s->tx.phase == TRANSACTION_NONE && s->request.leads);
}

// What is SET on a replica must be carried to other connections.
static bool can_carry(struct session *s, struct span unit) {
    const uint32_t sets = FACT_SET | FACT_SET_LOCAL | FACT_RESET | FACT_RESET_ALL;
    return !(s->request.verdict.facts & sets) || session_touch_facts(s, unit).known;
}

static bool fits_replica(struct session *s, struct span unit) {
    const struct request *r = &s->request;
    const struct verdict *v = session_tx_begins(s) && r->leads ? &r->body : &r->verdict;
    // One with savepoints has more to lose; as long as it can still go to the primary, it does.
    if ((v->facts & FACT_SAVEPOINT) && !s->tx.bound) return false;
    return r->kind != REQUEST_FUNCTION && transaction_fits_replica(v) && can_carry(s, unit);
}

unsigned session_tx_reason(struct session *s, struct span unit) {
    const struct request *r = &s->request;
    const struct verdict *v = r->leads && s->tx.phase == TRANSACTION_NONE ? &r->body : &r->verdict;
    struct tx_modes modes = session_tx_modes(s);
    bool begun = s->tx.phase == TRANSACTION_DEFERRED;
    unsigned primary = ROUTE_REASON_VERDICT + (begun ? VERDICT_REASON_TRANSACTION : r->verdict.reason);
    if (s->tx.reason) return s->tx.reason;
    if (modes.isolation == TX_ISOLATION_SERIALIZABLE) return ROUTE_REASON_SERIALIZABLE;
    if (modes.access != TX_ACCESS_READ_ONLY) return primary;
    if (!begun && r->verdict.apart && !r->body.apart) return primary; // a hint with the BEGIN
    if (s->dumps) return ROUTE_REASON_DUMP;
    bool strict = v->kind == VERDICT_WRITE || v->kind == VERDICT_UNKNOWN;
    if (strict || !fits_replica(s, unit)) return ROUTE_REASON_VERDICT + v->reason;
    return ROUTE_REASON_BALANCED;
}

// On the wire.

static void expect(struct session *s, enum reply_kind kind) {
    pipeline_push(&s->server->replies, kind, REPLY_SWALLOW)->prefix = true;
}

static void put_lone(struct session *s, struct span sql, struct buf *out) {
    request_parse(out, span_of("", 0), sql, span_of("\0\0", 2));
    request_bind(out);
    request_execute(out);
    expect(s, REPLY_PARSE);
    expect(s, REPLY_BIND);
    expect(s, REPLY_EXECUTE);
}

// By the extended protocol and without a Sync: should it fail, what follows it is not run outside of a transaction.
static void put_begin(struct session *s, struct tx_modes modes, struct buf *out) {
    struct buf sql = buf_make(SIZE_MAX / 2);
    transaction_begin_sql(modes, &sql);
    put_lone(s, buf_span(&sql), out);
    buf_release(&sql);
    if (!s->tx.queried) return;
    put_lone(s, span_str("SELECT 1"), out); // so that its modes cannot be changed here either
    // What the client has left unfinished in the unnamed portal, elsewhere, must not be taken for what is left of this.
    request_close_portal(out);
    expect(s, REPLY_CLOSE);
}

bool session_tx_start(struct session *s, struct buf *out) {
    bool deferred = s->tx.phase == TRANSACTION_DEFERRED;
    if (!session_tx_begins(s) || s->server->tx_status != PROTO_TX_IDLE || s->due) return false;
    struct tx_modes modes = session_tx_modes(s);
    // A replica's own defaults are nothing to the client.
    if (deferred) put_begin(s, s->on_replica ? modes : s->tx.modes, out);
    struct transaction before = s->tx;
    s->tx = (struct transaction){0};
    if (s->on_replica)
        s->tx = (struct transaction){.phase = TRANSACTION_ON_REPLICA,
                                     .modes = modes,
                                     .chained = before.chained,
                                     .queried = before.queried,
                                     .unanswered = !deferred};
    return deferred;
}

bool session_tx_fail_anew(struct session *s) {
    if (s->tx.phase != TRANSACTION_DEFERRED || !s->tx.failed) return false;
    if (s->server->tx_status == PROTO_TX_FAILED) {
        s->tx = (struct transaction){0}; // the server knows it now
        return false;
    }
    struct buf sql = buf_make(SIZE_MAX / 2);
    transaction_begin_sql(s->tx.modes, &sql);
    buf_printf(&sql, ";ROLLBACK TO SAVEPOINT pgsteer_failed"); // there is none
    session_ask_server(s, buf_span(&sql));
    buf_release(&sql);
    s->claimed = s->proving = true;
    return true;
}

bool session_tx_begin_is_due(const struct session *s) {
    struct reply *head = s->server ? pipeline_head(&s->server->replies) : NULL;
    return head && head->prefix;
}

// On a replica.

void session_tx_sending(struct session *s) {
    const struct request *r = &s->request;
    if (s->tx.phase != TRANSACTION_ON_REPLICA) return;
    bool whole = r->kind != REQUEST_BATCH || r->synced || s->flush_due;
    if (r->stream || !whole) s->tx.bound = true; // it cannot be sent again
    if (r->verdict.facts & FACT_END) s->tx.ending = true;
}

bool session_tx_may_move(const struct session *s) {
    // What is refused to any READ ONLY transaction is refused for good.
    if (s->tx.phase != TRANSACTION_ON_REPLICA) return true;
    // And only the replica has a portal from before.
    return !s->tx.bound && s->request.verdict.kind != VERDICT_WRITE && !s->request.old_portal;
}

void session_tx_answered(struct session *s, const struct reply *due, char tx_status) {
    struct transaction *tx = &s->tx;
    if (tx->phase != TRANSACTION_ON_REPLICA || s->response.drop) return;
    tx->unanswered = false;
    if (tx_status == PROTO_TX_IDLE) {
        *tx = (struct transaction){0};
        return;
    }
    if (due->does.ends) tx->ending = false; // in vain
    tx->queried |= due->does.queries;
    if (due->does.begins && due->does.ends)
        chain(tx);
    else if (tx_status == PROTO_TX_FAILED || due->does.binds)
        tx->bound = true;
    if (tx->bound) s->response.rerunnable = false;
}

// The transaction is one again that no server knows of; its BEGIN, if the client's own is to be sent again, with it.
void session_tx_unplace(struct session *s, unsigned reason) {
    struct transaction *tx = &s->tx;
    if (tx->phase != TRANSACTION_ON_REPLICA) return;
    if (tx->unanswered)
        *tx = (struct transaction){0};
    else
        *tx = (struct transaction){.phase = TRANSACTION_DEFERRED,
                                   .modes = tx->modes,
                                   .reason = (uint8_t)reason,
                                   .chained = tx->chained,
                                   .failed = tx->failed,
                                   .queried = tx->queried};
}

void session_tx_leave(struct session *s, bool again) {
    s->tx.failed = !again && s->server->tx_status == PROTO_TX_FAILED; // which the client has been told
    s->leaving = true;
    s->leaving_again = again;
    session_ask_server(s, span_str("ROLLBACK"));
}

// What follows a transaction that has failed may be anything but READ ONLY. Where it may be gone on from a savepoint
// first, only its replica has that.
static bool ends_and_goes_on(const struct verdict *v) {
    if (!(v->facts & FACT_END)) return false;
    return (v->facts & FACT_BEGIN) || (v->control == CONTROL_NONE && !(v->facts & FACT_SAVEPOINT));
}

bool session_tx_must_leave(struct session *s, struct span unit) {
    const struct verdict *v = &s->request.verdict;
    if (s->tx.phase != TRANSACTION_ON_REPLICA) return false;
    if (s->server->tx_status == PROTO_TX_FAILED && !s->tx.ending) return ends_and_goes_on(v);
    return !fits_replica(s, unit);
}

void session_tx_refusal(const struct session *s, struct fault *f) {
    const struct verdict *v = &s->request.verdict;
    fault_set(f, "0A000",
              "the READ ONLY transaction runs on a replica, which does not do this as the primary would: %s",
              verdict_reason_text((enum verdict_reason)v->reason));
    fault_hint(f, "Begin the transaction with /* pgsteer: primary */ BEGIN READ ONLY, SET pgsteer.route = primary, or "
                  "make this its first statement.");
}
