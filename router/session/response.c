// SPDX-License-Identifier: ISC
// router/session/response.c: see router/session/response.h.
#include "router/session/response.h"

#include "base/mem.h"
#include "router/session/pipeline.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

enum {
    RESPONSE_WHOLE_MAX = RBUF_SIZE / 2, // a message wanted whole that is longer is passed on in pieces all the same
    RESPONSE_HELD_MAX = 64 * 1024
};

void response_init(struct response *x, const struct response_ops *ops, void *arg, struct prep_client *names,
                   struct response_out *out) {
    *x = (struct response){.ops = ops,
                           .arg = arg,
                           .names = names,
                           .out = out,
                           .partial = buf_make(RESPONSE_WHOLE_MAX),
                           .held = buf_make(SIZE_MAX / 2)};
}

static void forget_refusal(struct response *x) {
    mem_free(x->refusal);
    x->refusal = NULL;
}

void response_fini(struct response *x) {
    buf_release(&x->partial);
    buf_release(&x->held);
    forget_refusal(x);
    x->pass = 0;
    response_forget_outdated(x);
}

void response_start(struct response *x, bool rerunnable) {
    x->rerunnable = x->holding = rerunnable;
    x->capture = NULL;
    forget_refusal(x);
    x->drop = x->learn = x->failed = x->show_parameters = x->begin_failed = x->unproven = false;
}

// What goes out.

static void end_run(struct response_out *o) {
    if (o->from != o->to) o->iov[o->n_iov++] = (struct iovec){(void *)(uintptr_t)o->from, (size_t)(o->to - o->from)};
    o->from = o->to = NULL;
}

static void forget_all(struct response_out *o) {
    o->from = o->to = NULL;
    o->n_iov = 0;
    buf_clear(&o->scratch);
}

static bool send_all(struct response *x) {
    struct response_out *o = x->out;
    struct iovec iov[RESPONSE_IOV];
    bool ok = true;
    end_run(o);
    // What is shared is empty before anything is sent: a client that is found to be gone sets another session going.
    int n = o->n_iov;
    memcpy(iov, o->iov, (size_t)n * sizeof *iov);
    o->n_iov = 0;
    if (x->holding)
        for (int i = 0; i < n; i++) buf_put(&x->held, iov[i].iov_base, iov[i].iov_len);
    else if (n)
        ok = x->ops->send(x->arg, iov, n);
    buf_clear(&o->scratch);
    return ok;
}

// From here on the client has seen something of the exchange: it cannot be run again.
static bool deliver(struct response *x) {
    if (!x->holding) return true;
    x->holding = false;
    if (!buf_len(&x->held)) return true;
    struct iovec iov = {x->held.data + x->held.head, buf_len(&x->held)};
    bool ok = x->ops->send(x->arg, &iov, 1);
    buf_release(&x->held);
    return ok;
}

static bool forward(struct response *x, const uint8_t *p, size_t n) {
    struct response_out *o = x->out;
    if (x->drop) return true;
    if (o->to == p) {
        o->to += n;
        return true;
    }
    end_run(o);
    if (o->n_iov == RESPONSE_IOV - 1) {
        if (!send_all(x)) return false;
        if (buf_len(&x->held) > RESPONSE_HELD_MAX && !deliver(x)) return false;
    }
    o->from = p;
    o->to = p + n;
    return true;
}

// What an invented answer says. A Parse or Close of a name needs no server; nor does a DEALLOCATE of such a name, step
// by step.
static struct span invented(const struct reply *due) {
    static const uint8_t parse[] = {BE_PARSE_COMPLETE, 0, 0, 0, 4}, bind[] = {BE_BIND_COMPLETE, 0, 0, 0, 4},
                         close[] = {BE_CLOSE_COMPLETE, 0, 0, 0, 4},
                         describe[] = {BE_PARAMETER_DESCRIPTION, 0, 0, 0, 6, 0, 0, BE_NO_DATA, 0, 0, 0, 4},
                         execute[] = "C\0\0\0\017DEALLOCATE";
    switch ((enum reply_kind)due->kind) {
    case REPLY_PARSE: return span_of(parse, sizeof parse);
    case REPLY_BIND: return span_of(bind, sizeof bind);
    case REPLY_CLOSE: return span_of(close, sizeof close);
    case REPLY_DESCRIBE: return due->portal_describe ? span_of(describe + 7, 5) : span_of(describe, sizeof describe);
    case REPLY_EXECUTE: return span_of(execute, sizeof execute);
    case REPLY_QUERY:
    case REPLY_SYNC:
    case REPLY_REFUSAL: break;
    }
    bug("an answer that cannot be invented");
}

// Answers that are ours, as far as nothing of the server's is due before them.
static bool invent(struct response *x, struct server *s) {
    for (struct reply *due; (due = pipeline_head(&s->replies)) && due->action == REPLY_INVENT;) {
        struct span bytes = invented(due);
        pipeline_pop(&s->replies);
        if (!forward(x, bytes.ptr, bytes.len)) return false;
    }
    return true;
}

enum response_result response_invent(struct response *x, struct server *s) {
    return invent(x, s) && send_all(x) ? RESPONSE_OK : RESPONSE_STOP;
}

// Errors.

void response_forget_outdated(struct response *x) {
    if (!x->outdated) return;
    if (x->outdated->held) statement_unref(x->outdated->held);
    buf_release(&x->outdated->error);
    mem_free(x->outdated);
    x->outdated = NULL;
}

static struct outdated *new_outdated(struct response *x) {
    response_forget_outdated(x);
    x->outdated = mem_new(struct outdated);
    x->outdated->error = buf_make(SIZE_MAX / 2);
    return x->outdated;
}

static enum response_result broke(struct fault *f, const char *what, char type) {
    fault_set(f, "08P01", "the server sent an unexpected message '%c' (%s)", type >= ' ' && type < 127 ? type : '?',
              what);
    return RESPONSE_BROKEN;
}

static bool has_text(struct span s, const char *what) { return s.len && memmem(s.ptr, s.len, what, strlen(what)); }

// The statement cannot be had from a replica: it writes, or wants what does not exist during recovery. 0A000 and 55000
// may also mean something else; then the primary says the same again, and nothing is lost.
static bool wants_primary(const struct msg_error *e) {
    return span_is(e->sqlstate, "25006") || span_is(e->sqlstate, "0A000") || span_is(e->sqlstate, "55000") ||
           span_is(e->sqlstate, "40001"); // conflict with recovery
}

static bool never_on_replica(const struct msg_error *e) {
    return span_is(e->sqlstate, "25006") || (!span_is(e->sqlstate, "40001") && has_text(e->message, "recovery"));
}

static bool is_fatal(const struct msg_error *e) {
    return span_is(e->severity, "FATAL") || span_is(e->severity, "PANIC");
}

static void note_error(struct fault *f, const struct msg_error *e) {
    fault_set(f, "", "%.*s", (int)MIN_OF(e->message.len, (size_t)300), (const char *)e->message.ptr);
    if (e->sqlstate.len == 5) memcpy(f->sqlstate, e->sqlstate.ptr, 5);
    f->sqlstate[5] = '\0';
}

// A COPY FROM in a READ ONLY transaction, in the words of the primary: a replica has other ones for this alone.
static bool put_copy_refusal(const struct msg_error *e, struct buf *out) {
    struct fault f;
    if (!span_is(e->sqlstate, "25006") || !span_is(e->message, "cannot execute COPY during recovery")) return false;
    fault_set(&f, "25006", "cannot execute COPY FROM in a read-only transaction");
    reply_error(out, false, &f);
    return true;
}

// Forwards the error; where it speaks of a statement by our name, the client reads its own.
static bool forward_error(struct response *x, const struct frame *frame, const struct reply *due) {
    struct buf *scratch = &x->out->scratch;
    struct msg_error e;
    struct span message = span_of(frame->payload.ptr - PROTO_HEADER_LEN, PROTO_HEADER_LEN + frame->payload.len);
    bool names = due->kind == REPLY_PARSE || due->kind == REPLY_BIND || due->kind == REPLY_DESCRIBE;
    if (!deliver(x)) return false;
    if (frame->payload.len + PROTO_HEADER_LEN == frame->total) {
        if (buf_len(scratch) && !send_all(x)) return false;
        msg_error(frame->payload, &e);
        if ((names && prep_rename_error(message, prep_name_text(due->name), scratch)) || put_copy_refusal(&e, scratch))
            message = buf_span(scratch);
    }
    return forward(x, message.ptr, message.len);
}

// A BEGIN of ours failed, and what was sent with it has not been run. The client hears why.
static enum response_result on_begin_error(struct response *x, struct server *s, const struct frame *frame) {
    struct reply *due = pipeline_head(&s->replies);
    x->begin_failed = true;
    if (!forward_error(x, frame, due)) return RESPONSE_STOP;
    for (; due && due->prefix; due = pipeline_head(&s->replies)) pipeline_pop(&s->replies);
    if (due && due->kind == REPLY_QUERY)
        x->ops->sync_wanted(x->arg);
    else if (!prep_fail(x->names, &s->prepared, &s->replies))
        x->ops->skipping(x->arg);
    return RESPONSE_OK;
}

static enum response_result refuse_outdated(struct response *x, struct server *s) {
    struct buf *scratch = &x->out->scratch;
    if (!deliver(x) || (buf_len(scratch) && !send_all(x))) return RESPONSE_STOP;
    buf_put_span(scratch, buf_span(&x->outdated->error));
    if (!forward(x, scratch->data + scratch->head, buf_len(scratch))) return RESPONSE_STOP;
    response_forget_outdated(x);
    if (!prep_fail(x->names, &s->prepared, &s->replies)) x->ops->skipping(x->arg);
    return RESPONSE_OK;
}

static enum response_result on_error(struct response *x, struct server *s, const struct frame *frame, struct fault *f) {
    struct msg_error e;
    msg_error(frame->payload, &e);
    if (is_fatal(&e)) {
        note_error(f, &e);
        return RESPONSE_BROKEN;
    }
    struct reply *due = pipeline_head(&s->replies);
    if (!due) return broke(f, "nothing was due", frame->type);
    x->failed = true;
    if (due->proof && s->tx_status == PROTO_TX_IDLE) { // the batch will meet that error in its own place
        x->unproven = true;
        (void)prep_fail(x->names, &s->prepared, &s->replies);
        return RESPONSE_OK;
    }
    if (due->proof) {
        buf_put(&new_outdated(x)->error, frame->payload.ptr - PROTO_HEADER_LEN, frame->payload.len + PROTO_HEADER_LEN);
        (void)prep_fail(x->names, &s->prepared, &s->replies);
        return RESPONSE_OK;
    }
    if (due->outdated) return refuse_outdated(x, s);
    if (due->attempt) {
        (void)prep_fail(x->names, &s->prepared, &s->replies);
        return RESPONSE_OK;
    }
    x->stale_plan |= span_is(e.sqlstate, "0A000") && has_text(e.message, "cached plan must not change result type");
    if (due->kind == REPLY_QUERY && due->action == REPLY_SWALLOW) {
        if (!x->refusal) x->refusal = mem_new(struct fault);
        note_error(x->refusal, &e);
        return RESPONSE_OK;
    }
    if (due->prefix) return on_begin_error(x, s, frame);
    bool rerun = x->holding && !x->drop && wants_primary(&e);
    x->learn = rerun && never_on_replica(&e);
    if (!rerun && !forward_error(x, frame, due)) return RESPONSE_STOP;
    if (due->kind != REPLY_QUERY && due->kind != REPLY_SYNC && !prep_fail(x->names, &s->prepared, &s->replies))
        x->ops->skipping(x->arg);
    return rerun ? RESPONSE_RERUN : RESPONSE_OK;
}

// The shape of a statement's rows.

static void note_shape(struct response *x, const struct reply *due, uint64_t shape) {
    if (!due->after) return;
    if (!due->proof) {
        if (!due->after->shape) due->after->shape_epoch = due->epoch;
        if (!due->after->shape) due->after->shape = shape;
        return;
    }
    struct statement *known = due->before, *held = due->after;
    if (shape != known->shape) {
        struct outdated *o = new_outdated(x);
        reply_outdated(&o->error);
        o->held = held;
        statement_ref(held);
        if (held == known) return; // others may know it as it was
    }
    held->shape = shape;
    held->shape_epoch = due->epoch;
}

// The rest of the messages.

// SET pgsteer.show_route = on.
static bool tell(struct response *x, const struct reply *due) {
    struct buf *scratch = &x->out->scratch;
    if (buf_len(scratch) && !send_all(x)) return false;
    x->ops->tell(x->arg, due, scratch);
    return forward(x, scratch->data + scratch->head, buf_len(scratch));
}

static enum response_result on_ready(struct response *x, struct server *s, const struct frame *frame, struct fault *f) {
    struct reply *due = pipeline_head(&s->replies);
    if (!due || (due->kind != REPLY_QUERY && due->kind != REPLY_SYNC)) return broke(f, "not due", frame->type);
    s->tx_status = (char)frame->payload.ptr[0];
    bool of_client = !(due->kind == REPLY_QUERY && due->action == REPLY_SWALLOW);
    if (of_client && !x->drop && !deliver(x)) return RESPONSE_STOP;
    struct span ready = span_of(frame->payload.ptr - PROTO_HEADER_LEN, frame->total);
    if (x->begin_failed) ready = span_of("Z\0\0\0\5E", 6);
    if (UNLIKELY(due->does.told) && due->action == REPLY_FORWARD && !x->drop && !tell(x, due)) return RESPONSE_STOP;
    if (due->action == REPLY_FORWARD && !forward(x, ready.ptr, ready.len)) return RESPONSE_STOP;
    x->ops->ready(x->arg, due, s->tx_status);
    x->failed = x->begin_failed = false;
    pipeline_pop(&s->replies);
    if (of_client && x->rerunnable && !x->drop && !pipeline_is_empty(&s->replies)) {
        if (!send_all(x)) return RESPONSE_STOP; // of the exchange that is over; the next one is kept back again
        x->holding = true;
    }
    return RESPONSE_OK;
}

// PostgreSQL ignores a Sync that it reads while in copy mode, so no ReadyForQuery will come for the one that was sent
// with the batch.
static const struct reply *forget_sync(struct pipeline *p) {
    uint32_t last = p->count - 1;
    if (last == 0 || pipeline_at(p, last)->kind != REPLY_SYNC) return NULL;
    p->count--;
    return pipeline_at(p, last);
}

static enum response_result on_copy_in(struct response *x, struct server *s) {
    struct reply *due = pipeline_head(&s->replies);
    bool extended = due->kind == REPLY_EXECUTE;
    x->ops->copy_in(x->arg, extended, extended ? forget_sync(&s->replies) : NULL);
    return RESPONSE_OK;
}

static enum response_result on_parameter(struct response *x, struct server *s, const struct frame *frame, bool swallow,
                                         struct fault *f) {
    struct span name, value;
    if (!msg_parameter_status(frame->payload, &name, &value)) return broke(f, "malformed", frame->type);
    if (!server_note_parameter(s, name, value)) return RESPONSE_OK;
    x->ops->parameter(x->arg, name, value);
    if (swallow && !x->show_parameters) return RESPONSE_OK;
    return forward(x, frame->payload.ptr - PROTO_HEADER_LEN, frame->total) ? RESPONSE_OK : RESPONSE_STOP;
}

// What a message may answer, and whether it is the last answer to that. One row per type of a running session.
enum {
    K_QUERY = 1 << REPLY_QUERY,
    K_PARSE = 1 << REPLY_PARSE,
    K_BIND = 1 << REPLY_BIND,
    K_DESCRIBE = 1 << REPLY_DESCRIBE,
    K_EXECUTE = 1 << REPLY_EXECUTE,
    K_CLOSE = 1 << REPLY_CLOSE,
    K_RUN = K_QUERY | K_EXECUTE
};
struct message_rule {
    uint8_t answers;  // K_*: kinds it may be an answer to
    uint8_t finishes; // K_*: kinds whose answer it completes
    bool delivers;    // the client must see it: what was kept back goes out first
};
static const struct message_rule rules[128] = {
    [BE_PARSE_COMPLETE] = {K_PARSE, K_PARSE, false},
    [BE_BIND_COMPLETE] = {K_BIND, K_BIND, false},
    [BE_CLOSE_COMPLETE] = {K_CLOSE, K_CLOSE, false},
    [BE_PARAMETER_DESCRIPTION] = {K_DESCRIBE, 0, false},
    [BE_ROW_DESCRIPTION] = {K_QUERY | K_DESCRIBE, K_DESCRIBE, false},
    [BE_NO_DATA] = {K_DESCRIBE, K_DESCRIBE, false},
    [BE_DATA_ROW] = {K_RUN, 0, true},
    [BE_COMMAND_COMPLETE] = {K_RUN, K_EXECUTE, true},
    [BE_EMPTY_QUERY] = {K_RUN, K_EXECUTE, true},
    [BE_PORTAL_SUSPENDED] = {K_EXECUTE, K_EXECUTE, true},
    [BE_COPY_IN_RESPONSE] = {K_RUN, 0, true},
    [BE_COPY_OUT_RESPONSE] = {K_RUN, 0, true},
    [BE_COPY_DATA] = {K_RUN, 0, true},
    [BE_COPY_DONE] = {K_RUN, 0, true},
    [BE_FUNCTION_CALL_RESPONSE] = {K_QUERY, 0, true},
};

// It has happened then, whatever becomes of the rest of its batch or transaction.
static bool drops_statements(struct span tag) {
    return span_eq(tag, span_of("DEALLOCATE ALL", sizeof "DEALLOCATE ALL")) ||
           span_eq(tag, span_of("DISCARD ALL", sizeof "DISCARD ALL"));
}

// A message that answers something. `here` is how many of its bytes have come.
static enum response_result on_answer(struct response *x, struct server *s, const struct frame *frame, size_t here,
                                      struct fault *f) {
    const struct message_rule *rule = &rules[(uint8_t)frame->type & 127];
    struct reply *due = pipeline_head(&s->replies);
    if (!due || !(rule->answers & (1u << due->kind))) return broke(f, "not due", frame->type);
    bool swallow = due->action == REPLY_SWALLOW || x->drop;
    if (!swallow) {
        if (rule->delivers && !deliver(x)) return RESPONSE_STOP;
        if (!forward(x, frame->payload.ptr - PROTO_HEADER_LEN, here)) return RESPONSE_STOP;
    }
    if (swallow && x->capture && frame->type == BE_DATA_ROW) {
        buf_put(x->capture, frame->payload.ptr - PROTO_HEADER_LEN, here);
        x->capture->failed |= here < frame->total;
    }
    x->pass = frame->total - (uint32_t)here;
    x->pass_swallow = swallow;
    if (frame->type == BE_COPY_IN_RESPONSE) return on_copy_in(x, s);
    if (frame->type == BE_COMMAND_COMPLETE && drops_statements(frame->payload) && due->action == REPLY_FORWARD)
        prep_deallocated_all(x->names, &s->prepared, &s->replies);
    if (!(rule->finishes & (1u << due->kind))) return RESPONSE_OK;
    if (due->kind == REPLY_PARSE && due->after) due->after->proven = true;
    if (due->kind == REPLY_DESCRIBE && due->after) {
        struct span columns = frame->type == BE_ROW_DESCRIPTION ? frame->payload : span_of(NULL, 0);
        bool whole = here == frame->total; // one that is too long to be kept is not looked at
        if (whole || due->proof) note_shape(x, due, whole ? statement_shape(columns) : due->before->shape);
    }
    pipeline_pop(&s->replies);
    return invent(x, s) ? RESPONSE_OK : RESPONSE_STOP;
}

// Notices and notifications answer nothing and may come at any time.
static enum response_result on_aside(struct response *x, struct server *s, const struct frame *frame, size_t here) {
    struct reply *due = pipeline_head(&s->replies);
    bool ours = x->drop || (due && due->action == REPLY_SWALLOW);
    bool swallow = frame->type == BE_NOTIFICATION ? !x->notifications : ours; // whatever question it comes with
    x->pass = frame->total - (uint32_t)here;
    x->pass_swallow = swallow;
    if (swallow || forward(x, frame->payload.ptr - PROTO_HEADER_LEN, here)) return RESPONSE_OK;
    return RESPONSE_STOP;
}

static enum response_result on_message(struct response *x, struct server *s, const struct frame *frame, size_t here,
                                       struct fault *f) {
    struct reply *due;
    switch (frame->type) {
    case BE_ERROR: {
        enum response_result got = on_error(x, s, frame, f);
        x->pass = frame->total - (uint32_t)here;
        x->pass_swallow = x->drop || got != RESPONSE_OK;
        return got;
    }
    case BE_READY_FOR_QUERY: {
        enum response_result got = on_ready(x, s, frame, f);
        return got == RESPONSE_OK && !invent(x, s) ? RESPONSE_STOP : got;
    }
    case BE_PARAMETER_STATUS:
        due = pipeline_head(&s->replies);
        return on_parameter(x, s, frame, x->drop || (due && due->action == REPLY_SWALLOW), f);
    case BE_NOTICE:
    case BE_NOTIFICATION: return on_aside(x, s, frame, here);
    case BE_AUTHENTICATION:
    case BE_BACKEND_KEY_DATA:
    case BE_NEGOTIATE_PROTOCOL_VERSION:
    case BE_COPY_BOTH_RESPONSE: return broke(f, "not now", frame->type);
    default: return on_answer(x, s, frame, here, f);
    }
}

// Bytes of a message that is passed on in pieces.
static bool pass_on(struct response *x, struct span *bytes) {
    size_t n = MIN_OF((size_t)x->pass, bytes->len);
    x->pass -= (uint32_t)n;
    const uint8_t *p = bytes->ptr;
    *bytes = span_from(*bytes, n);
    return x->pass_swallow || forward(x, p, n);
}

// Messages are passed on whole, so that an error can follow when the server is lost, unless they are too long to wait
// for.
static bool may_be_partial(const struct frame *frame) { return frame->total > RESPONSE_WHOLE_MAX; }

static enum response_result feed(struct response *x, struct server *s, struct span bytes, struct fault *f) {
    while (bytes.len) {
        if (x->pass) {
            if (!pass_on(x, &bytes)) return RESPONSE_STOP;
            continue;
        }
        struct frame frame;
        enum wire_result w = frame_next(FRAME_FROM_SERVER, bytes, &frame, f);
        if (w == WIRE_BAD) return RESPONSE_BROKEN;
        if (w == WIRE_MORE && (!frame.type || !may_be_partial(&frame))) {
            buf_put_span(&x->partial, bytes);
            return RESPONSE_OK;
        }
        size_t here = PROTO_HEADER_LEN + frame.payload.len;
        bytes = span_from(bytes, here);
        enum response_result got = on_message(x, s, &frame, here, f);
        if (got == RESPONSE_RERUN) {
            // Nothing of it may be seen; what else the server says of it and what follows is not wanted.
            x->drop = true;
            x->holding = false;
            forget_all(x->out);
            buf_release(&x->held);
            enum response_result rest = feed(x, s, bytes, f);
            return rest == RESPONSE_OK ? RESPONSE_RERUN : rest;
        }
        if (got != RESPONSE_OK) return got;
    }
    return RESPONSE_OK;
}

enum response_result response_read(struct response *x, struct server *s, uint8_t *rbuf, size_t cap, size_t *n_read,
                                   struct fault *f) {
    size_t kept = buf_len(&x->partial);
    ssize_t n = server_read(s, rbuf + kept, cap - kept, f);
    *n_read = n > 0 ? (size_t)n : 0;
    if (n == 0) return RESPONSE_OK;
    if (n == -1) fault_set(f, "08006", "the server closed the connection unexpectedly");
    if (n < 0) return RESPONSE_BROKEN;
    if (kept) {
        memcpy(rbuf, x->partial.data + x->partial.head, kept);
        buf_release(&x->partial);
    }
    enum response_result got = feed(x, s, span_of(rbuf, kept + (size_t)n), f);
    if (got == RESPONSE_STOP) {
        forget_all(x->out);
        return got;
    }
    if (!send_all(x)) return RESPONSE_STOP;
    if (buf_len(&x->held) > RESPONSE_HELD_MAX && !deliver(x)) return RESPONSE_STOP;
    return got;
}
