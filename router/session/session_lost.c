// SPDX-License-Identifier: ISC
//
// router/session/session_lost.c: a transaction whose server connection is gone.
//
// The client believes that it is in a transaction, so nothing it sends may run outside one: it is treated as PostgreSQL
// treats a client in a failed transaction. Everything is refused until it ends the transaction, and that end is
// answered with ROLLBACK. The client keeps its connection, and its next transaction goes to whatever server is the
// primary then.
#include "router/session/session_parts.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

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

// The answer to one message of a batch that ends the transaction.
static void put_end_message(struct session *s, const struct frame *frame, struct buf *out) {
    struct msg_target m;
    switch (frame->type) {
    case FE_PARSE: reply_empty_body(out, BE_PARSE_COMPLETE); break;
    case FE_BIND: reply_empty_body(out, BE_BIND_COMPLETE); break;
    case FE_CLOSE: reply_empty_body(out, BE_CLOSE_COMPLETE); break;
    case FE_EXECUTE: reply_command_complete(out, "ROLLBACK"); break;
    case FE_DESCRIBE:
        if (msg_target(frame->payload, &m) && m.kind == 'S') {
            size_t at = buf_msg_begin(out, BE_PARAMETER_DESCRIPTION);
            buf_put_u16(out, 0);
            buf_msg_end(out, at);
        }
        reply_empty_body(out, BE_NO_DATA);
        break;
    case FE_SYNC:
        s->lost_tx = false;
        reply_ready(out, PROTO_TX_IDLE);
        break;
    default: break; // Flush
    }
}

static void put_end(struct session *s, struct span unit, struct buf *out) {
    struct frame frame;
    if (s->request.kind == REQUEST_QUERY) {
        s->lost_tx = false;
        reply_command_complete(out, "ROLLBACK");
        reply_ready(out, PROTO_TX_IDLE);
        return;
    }
    for (; unit.len; unit = span_from(unit, frame.total)) {
        if (frame_next(FRAME_FROM_CLIENT, unit, &frame, NULL) != WIRE_OK) bug("a batch was not checked");
        put_end_message(s, &frame, out);
    }
}

void session_answer_lost(struct session *s, struct span unit) {
    struct buf *out = &s->env->wbuf;
    const struct request *r = &s->request;
    bool sync_only = r->kind == REQUEST_BATCH && r->synced && unit.len == PROTO_HEADER_LEN;
    buf_clear(out);
    if (is_end(r)) {
        put_end(s, unit, out);
    } else {
        if (!sync_only) put_refusal(s, out);
        if (r->kind != REQUEST_BATCH || r->synced)
            reply_ready(out, PROTO_TX_FAILED);
        else
            s->skipping = true;
    }
    if (buf_len(out)) (void)session_send_client(s, buf_span(out));
}
