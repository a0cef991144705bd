// SPDX-License-Identifier: ISC
//
// router/session/session_lost.c: a transaction whose server connection is gone.
//
// The client believes that it is in a transaction, so nothing it sends may run outside one: it is treated as PostgreSQL
// treats a client in a failed transaction. Everything is refused until it ends the transaction, and that end is
// answered with ROLLBACK; what names it closes is done, too. What a batch has behind the end is no part of the
// transaction, and goes its way as a batch of its own. The client keeps its connection, and its next transaction goes
// to whatever server is the primary then.
#include "router/session/session_parts.h"
#include "router/wire/frame.h"

// Several statements in one text run together or not at all: what stands behind the end has no server here.
static bool is_end(const struct verdict *v) { return (v->facts & FACT_END) && !(v->facts & FACT_MULTI); }

// The facts of a statement that ends the transaction; 0 for any other.
static uint32_t end_facts(struct session *s, struct statement *st) {
    bool conforming = !s->nonstandard_strings && !s->unsafe_encoding;
    if (!st || st->types.len > 2) return 0; // it wants parameters, which it has no use for
    struct verdict v = database_statement_verdict(s->database, st, conforming);
    return is_end(&v) ? v.facts : 0;
}

static void put_refusal(struct session *s, struct buf *out) {
    struct fault f;
    if (s->lost_told) {
        fault_set(&f, "25P02", "current transaction is aborted, commands ignored until end of transaction block");
    } else {
        fault_set(&f, "08006", "the connection to the server was lost, and the transaction with it");
    }
    s->lost_told = true;
    reply_error(out, false, &f);
}

static void refuse(struct session *s, struct buf *out) {
    const struct request *r = &s->request;
    put_refusal(s, out);
    if (r->kind != REQUEST_BATCH || r->synced)
        reply_ready(out, PROTO_TX_FAILED);
    else
        s->skipping = true;
}

// ... AND CHAIN begins another one, which has the session's own modes, as in PostgreSQL after one that has failed.
// Answers the status that the client is in.
static char end(struct session *s, uint32_t facts) {
    bool chained = (facts & FACT_BEGIN) != 0;
    s->lost_tx = false;
    if (chained) s->tx = (struct transaction){.phase = TRANSACTION_DEFERRED};
    return chained ? PROTO_TX_ACTIVE : PROTO_TX_IDLE;
}

// Batches.

struct batch {
    uint32_t bound; // the facts of what is bound to `portal` and ends the transaction; 0 = nothing
    struct span portal;
};

static bool parses(struct session *s, struct span payload) {
    struct msg_parse m;
    if (!msg_parse(payload, &m) || (m.name.len && prep_client_find(&s->names, m.name))) return false;
    struct statement *st = statements_intern(s->database->statements, m.query, m.types, session_meaning(s));
    bool ends = end_facts(s, st) != 0;
    statement_unref(st);
    return ends;
}

// No values are given; there may be formats for them all.
static bool binds(struct session *s, struct span payload, struct batch *b) {
    struct msg_bind m;
    if (!msg_bind(payload, &m)) return false;
    struct cursor c = cursor_of(m.rest);
    uint16_t formats = cursor_u16(&c);
    (void)cursor_bytes(&c, (size_t)formats * 2);
    uint16_t values = cursor_u16(&c);
    b->bound = end_facts(s, prep_client_find(&s->names, m.statement));
    b->portal = m.portal;
    return b->bound && formats <= 1 && !values && !c.bad;
}

static bool describes(struct session *s, struct span payload, const struct batch *b) {
    struct msg_target m;
    if (!msg_target(payload, &m)) return false;
    if (m.kind == PROTO_KIND_PORTAL) return b->bound && span_eq(m.name, b->portal);
    return end_facts(s, prep_client_find(&s->names, m.name)) != 0;
}

static void closes(struct span payload, struct batch *b) {
    struct msg_target m;
    if (msg_target(payload, &m) && m.kind == PROTO_KIND_PORTAL && span_eq(m.name, b->portal)) b->bound = 0;
}

static bool executes(struct span payload, const struct batch *b) {
    struct msg_execute m;
    return msg_execute(payload, &m) && b->bound && span_eq(m.portal, b->portal);
}

// Whether PostgreSQL does this in a transaction that has failed.
static bool is_done(struct session *s, const struct frame *frame, struct batch *b) {
    switch (frame->type) {
    case FE_PARSE: return parses(s, frame->payload);
    case FE_BIND: return binds(s, frame->payload, b);
    case FE_DESCRIBE: return describes(s, frame->payload, b);
    case FE_EXECUTE: return executes(frame->payload, b);
    case FE_CLOSE: closes(frame->payload, b); return true;
    case FE_SYNC: return frame->payload.len == 0; // with a body it is an error
    default: return true;                         // Flush
    }
}

// Up to its end, or to that of the transaction.
static size_t answer_batch(struct session *s, struct span unit, struct buf *out) {
    struct batch b = {0};
    struct frame frame;
    for (struct span rest = unit; rest.len;) {
        if (frame_next(FRAME_FROM_CLIENT, rest, &frame, NULL) != WIRE_OK) bug("a batch was not checked");
        rest = span_from(rest, frame.total);
        if (!is_done(s, &frame, &b)) {
            refuse(s, out);
            break;
        }
        session_put_message(s, &frame, "ROLLBACK", PROTO_TX_FAILED, out);
        if (frame.type != FE_EXECUTE) continue;
        char status = end(s, b.bound);
        bool synced = rest.len == PROTO_HEADER_LEN && rest.ptr[0] == FE_SYNC;
        if (synced) reply_ready(out, status);
        return synced ? unit.len : unit.len - rest.len;
    }
    return unit.len;
}

size_t session_answer_lost(struct session *s, struct span unit) {
    struct buf *out = &s->env->wbuf;
    const struct request *r = &s->request;
    size_t len = unit.len;
    buf_clear(out);
    if (r->kind == REQUEST_BATCH && !r->stream && !r->too_many_names)
        len = answer_batch(s, unit, out);
    else if (r->kind == REQUEST_QUERY && !r->stream && is_end(&r->verdict))
        session_put_lone(s, unit, "ROLLBACK", end(s, r->verdict.facts), out);
    else
        refuse(s, out);
    if (buf_len(out)) (void)session_send_client(s, buf_span(out));
    return len;
}
