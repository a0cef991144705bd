// SPDX-License-Identifier: ISC
//
// router/session/session_lost.c: a transaction whose server connection is gone.
//
// The client believes that it is in a transaction, so nothing it sends may run outside one: it is treated as PostgreSQL
// treats a client in a failed transaction. Everything is refused until it ends the transaction, and that end is
// answered with ROLLBACK. The client keeps its connection, and its next transaction goes to whatever server is the
// primary then.
#include "router/session/session_parts.h"

static bool is_end(const struct request *r) {
    return r->verdict.kind == VERDICT_TRANSACTION && (r->verdict.facts & FACT_END) &&
           !(r->verdict.facts & FACT_MULTI) && !r->stream;
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

void session_answer_lost(struct session *s, struct span unit) {
    struct buf *out = &s->env->wbuf;
    const struct request *r = &s->request;
    bool sync_only = r->kind == REQUEST_BATCH && r->synced && unit.len == PROTO_HEADER_LEN;
    buf_clear(out);
    if (is_end(r)) {
        session_put_lone(s, unit, "ROLLBACK", PROTO_TX_IDLE, out);
        if (r->kind == REQUEST_QUERY || r->synced) s->lost_tx = false;
    } else {
        if (!sync_only) put_refusal(s, out);
        if (r->kind != REQUEST_BATCH || r->synced)
            reply_ready(out, PROTO_TX_FAILED);
        else
            s->skipping = true;
    }
    if (buf_len(out)) (void)session_send_client(s, buf_span(out));
}
