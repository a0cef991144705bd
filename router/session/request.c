// SPDX-License-Identifier: ISC
// router/session/request.c: see router/session/request.h.
#include "router/session/request.h"

#include "router/wire/frame.h"
#include "router/wire/msg.h"

// A message of a batch that PostgreSQL answers with an error as soon as it reads it, whatever else it is in the middle
// of.
static enum request_result bad_message(struct request *r) {
    r->malformed = r->stream = r->server_needed = true;
    return REQUEST_READY;
}

// One more text.
static void join(struct request *r, struct verdict v) {
    bool begins = v.control == CONTROL_BEGIN || v.control == CONTROL_START, first = r->texts++ == 0;
    if (first) v.facts |= r->verdict.facts; // of a Close ahead of it, and what note_text has found
    r->verdict = first ? v : verdict_join(r->verdict, v);
    if (first && begins) {
        r->leads = true;
        r->modes = v.modes;
    } else if (r->leads) {
        r->body = verdict_join(r->body, v);
    }
}

// A text that was not parsed for its length or depth, but by the look of it is one plain statement on data: bulk
// inserts are. A semicolon or a suspicious word anywhere, be it in a literal, and it is not plain.
static bool looks_plain(struct span sql) {
    static const char *const firsts[] = {"insert", "update", "delete", "select", "with", "values", "merge"};
    static const char *const suspects[] = {"set_config", "advisory", "temp", "dblink", "pgsteer_"};
    size_t start = 0;
    bool plain = false;
    while (start < sql.len && strchr(" \t\r\n(", sql.ptr[start])) start++;
    while (sql.len && strchr(" \t\r\n;", sql.ptr[sql.len - 1])) sql.len--;
    for (size_t i = 0; i < countof(firsts); i++) {
        size_t n = strlen(firsts[i]);
        plain |= sql.len - start > n && strncasecmp((const char *)sql.ptr + start, firsts[i], n) == 0;
    }
    for (size_t i = 0; plain && i < countof(suspects); i++) plain = !span_has_word(sql, suspects[i]);
    return plain && !memchr(sql.ptr, ';', sql.len);
}

// What the verdict of one text does not say of it. It is called before the text is joined.
static void note_text(struct request *r, struct verdict v, struct span sql) {
    bool long_ = v.reason == VERDICT_REASON_TOO_LONG || v.reason == VERDICT_REASON_TOO_DEEP;
    bool unread = v.reason == VERDICT_REASON_SYNTAX || v.reason == VERDICT_REASON_NONSTANDARD_STRINGS;
    if (unread || (long_ && !looks_plain(sql))) r->unreadable = true;
    // Of others' numbers nobody must be told, so the word alone will do, be it in a literal. The body of a DO is one.
    bool hides = unread || long_ || (v.facts & FACT_CALL);
    if (hides && (span_has_word(sql, "currval") || span_has_word(sql, "lastval")))
        r->verdict.facts |= FACT_SEQUENCE_STATE;
    if ((v.facts & (FACT_EXECUTE | FACT_DEALLOCATE | FACT_PREPARE)) && span_has_word(sql, "pgsteer_"))
        r->names_ours = true;
}

// EXECUTE may be of any statement that the client has prepared by message, and does what that does.
static void note_executed(struct request *r, const struct request_context *ctx, struct verdict v) {
    const uint32_t of_session = FACT_SET | FACT_SET_LOCAL | FACT_RESET | FACT_ADVISORY_LOCK | FACT_ADVISORY_UNLOCK |
                                FACT_LISTEN | FACT_UNLISTEN | FACT_TEMP | FACT_LEAVES_STATE | FACT_SEQUENCE_STATE;
    struct prep_name *at = NULL;
    struct statement *st;
    struct span name;
    if (LIKELY(!(v.facts & FACT_EXECUTE))) return;
    while ((st = prep_client_next(ctx->names, &at, &name))) {
        struct verdict one = database_statement_verdict(ctx->database, st, ctx->conforming);
        r->verdict.facts |= one.facts & of_session;
        r->verdict.leaves |= one.leaves;
    }
}

static enum request_result scan_query(struct request *r, const struct request_context *ctx, struct span payload) {
    struct span sql;
    if (!msg_query(payload, &sql)) {
        r->verdict = (struct verdict){.kind = VERDICT_UNKNOWN, .reason = VERDICT_REASON_SYNTAX, .certain = true};
        return bad_message(r);
    }
    struct verdict v = database_verdict(ctx->database, sql, ctx->conforming);
    note_text(r, v, sql);
    join(r, v);
    note_executed(r, ctx, v);
    r->runs = true;
    r->copies = (r->verdict.facts & FACT_COPY_IN) != 0;
    return REQUEST_READY;
}

// What a statement that is used does. One the client does not have is an error, which is the same on any server. True
// for a COPY FROM STDIN.
static bool scan_use(struct request *r, const struct request_context *ctx, struct span name) {
    if (name.len == 0 && r->parses_unnamed) return r->unnamed_copies; // its Parse was scanned
    r->old_name = true;
    struct statement *s = prep_client_find(ctx->names, name);
    if (!s) return false;
    if (s->shape && (s->meaning.context != ctx->meaning.context || s->shape_epoch != ctx->meaning.epoch))
        r->aged = true;
    if (s->types.len > 2) r->typed = true;
    struct verdict v = database_statement_verdict(ctx->database, s, ctx->conforming);
    note_text(r, v, s->query);
    join(r, v);
    note_executed(r, ctx, v);
    return (v.facts & FACT_COPY_IN) != 0;
}

// Two portals of one hash only mean that a batch which does no COPY may be taken for one that does.
static void note_bind(struct request *r, const struct request_context *ctx, const struct msg_bind *m) {
    bool copies = scan_use(r, ctx, m->statement);
    if (copies)
        r->copy_portal = prep_portal_hash(m->portal);
    else if (r->copy_portal && r->copy_portal == prep_portal_hash(m->portal))
        r->copy_portal = 0;
    r->binds_portal = r->executes = true;
}

static enum request_result scan_parse(struct request *r, const struct request_context *ctx, struct span payload) {
    struct msg_parse m;
    if (!msg_parse(payload, &m)) return bad_message(r);
    if (m.name.len == 0)
        r->parses_unnamed = true;
    else
        r->changes_names = true;
    struct statement *s = statements_intern(ctx->database->statements, m.query, m.types, ctx->meaning);
    struct verdict v = database_statement_verdict(ctx->database, s, ctx->conforming);
    note_text(r, v, s->query);
    join(r, v);
    note_executed(r, ctx, v);
    if (m.name.len == 0) r->unnamed_copies = (v.facts & FACT_COPY_IN) != 0;
    // A second name in the batch might be the first one again, which is the server's to refuse.
    bool taken = m.name.len && prep_client_find(ctx->names, m.name);
    if (taken) r->old_name = r->taken_name = true; // it may be free again when what is due has been answered
    // A server that holds it is not sent it again, so it has to be known whether it does. Another client's is waited
    // for as well, but no longer than answers are due to this one.
    if (m.name.len && s->awaited) r->old_name = true;
    bool free_name = m.name.len == 0 || (r->parses++ == 0 && !taken);
    if (m.name.len && !taken && ctx->names->count + r->parses > ctx->max_names) r->too_many_names = true;
    if (!s->proven || !free_name) r->server_needed = true;
    statement_unref(s);
    return REQUEST_MORE;
}

static enum request_result scan_bind(struct request *r, const struct request_context *ctx, struct span payload) {
    struct msg_bind m;
    if (!msg_bind(payload, &m)) return bad_message(r);
    note_bind(r, ctx, &m);
    if (m.portal.len) r->keeps_portal = true;
    return REQUEST_MORE;
}

static enum request_result scan_execute(struct request *r, struct span payload) {
    struct msg_execute m;
    if (!msg_execute(payload, &m)) return bad_message(r);
    r->executes = r->runs = true;
    if (r->copy_portal && r->copy_portal == prep_portal_hash(m.portal)) r->copies = true;
    if (!r->binds_portal) r->old_portal = true;
    return REQUEST_MORE;
}

// Describe and Close.
static enum request_result scan_target(struct request *r, const struct request_context *ctx,
                                       const struct frame *frame) {
    struct msg_target m;
    bool describe = frame->type == FE_DESCRIBE;
    if (!msg_target(frame->payload, &m)) return bad_message(r);
    if (m.kind == 'P') {
        r->executes = true;
        if (!describe) r->verdict.facts |= FACT_CLOSE; // a cursor is a portal
        if (!r->binds_portal) r->old_portal = true;
    } else if (describe) {
        (void)scan_use(r, ctx, m.name);
    } else {
        r->old_name = r->changes_names = r->closes_name = true;
        if (m.name.len == 0) r->parses_unnamed = false;
    }
    if (describe || m.kind == 'P') r->server_needed = true;
    return REQUEST_MORE;
}

static enum request_result scan_message(struct request *r, const struct request_context *ctx,
                                        const struct frame *frame) {
    switch (frame->type) {
    case FE_PARSE: return scan_parse(r, ctx, frame->payload);
    case FE_BIND: r->server_needed = true; return scan_bind(r, ctx, frame->payload);
    case FE_EXECUTE: r->server_needed = true; return scan_execute(r, frame->payload);
    case FE_DESCRIBE:
    case FE_CLOSE: return scan_target(r, ctx, frame);
    case FE_SYNC:
        r->synced = true;
        if (frame->payload.len) r->server_needed = true; // an error, but a Sync all the same
        return REQUEST_READY;
    case FE_FLUSH:
        if (frame->payload.len) return bad_message(r);
        r->flushed = true;
        return REQUEST_READY;
    default: bug("not a message of a batch");
    }
}

static enum request_kind kind_of(char type) {
    switch (type) {
    case FE_QUERY: return REQUEST_QUERY;
    case FE_FUNCTION_CALL: return REQUEST_FUNCTION;
    case FE_COPY_DATA:
    case FE_COPY_DONE:
    case FE_COPY_FAIL: return REQUEST_COPY;
    case FE_TERMINATE: return REQUEST_TERMINATE;
    default: return REQUEST_BATCH;
    }
}

static enum request_result too_long(struct fault *f, const struct frame *frame) {
    fault_set(f, "54000", "a Parse message of %u bytes is longer than pgsteer can hold (%d)", frame->total,
              REQUEST_PARSE_MAX);
    return REQUEST_BAD;
}

// A message of which only the beginning is here and that is too large to wait for: it goes on as a stream. False when
// it has to be waited for all the same.
static bool scan_partial(struct request *r, const struct request_context *ctx, const struct frame *frame) {
    struct msg_bind m;
    switch (frame->type) {
    case FE_QUERY:
        r->verdict = (struct verdict){.kind = VERDICT_UNKNOWN, .reason = VERDICT_REASON_TOO_LONG, .certain = true};
        r->unreadable = r->runs = true;
        break;
    case FE_BIND: // its names come first; one that does not show them in so many bytes is waited for, and then refused
        if (!msg_bind(frame->payload, &m)) return false;
        note_bind(r, ctx, &m);
        r->server_needed = true;
        break;
    case FE_COPY_DATA:
    case FE_FUNCTION_CALL: break;
    default: return false;
    }
    r->stream = true;
    size_t here = PROTO_HEADER_LEN + frame->payload.len;
    r->len += here;
    r->tail = frame->total - here;
    return true;
}

static enum request_result too_long_names(struct fault *f) {
    fault_set(f, "08P01", "invalid Bind message: its names have no end");
    return REQUEST_BAD;
}

// Two names of any sense fit in so many bytes.
enum { REQUEST_NAMES_MAX = 64 * 1024 };
static bool names_are_here(const struct frame *frame) {
    struct msg_bind m;
    return msg_bind(frame->payload, &m);
}

// COPY data is passed on as it comes; a message that is not here in full is waited for only within the bound.
static enum request_result scan_incomplete(struct request *r, const struct request_context *ctx,
                                           const struct frame *frame, struct fault *f) {
    bool copying = r->kind == REQUEST_COPY && r->len > 0;
    if (frame->type == 0) return copying ? REQUEST_READY : REQUEST_MORE;
    if (frame->type == FE_PARSE && frame->total > REQUEST_PARSE_MAX) return too_long(f, frame);
    if (r->kind == REQUEST_NONE) r->kind = kind_of(frame->type);
    if (frame->type == FE_BIND && frame->payload.len > REQUEST_NAMES_MAX && !names_are_here(frame))
        return too_long_names(f);
    bool large = frame->type == FE_COPY_DATA || frame->total > ctx->max_held;
    if (large && scan_partial(r, ctx, frame)) return REQUEST_READY;
    return copying ? REQUEST_READY : REQUEST_MORE;
}

// What has been scanned when the next message is not of its unit, or is not here: COPY data goes on as it is; a batch
// that something else interrupts (COPY data, before its Sync) goes to the primary as a stream.
static enum request_result cut_before(struct request *r) {
    if (r->kind == REQUEST_BATCH) r->stream = true;
    return REQUEST_READY;
}

static bool is_other_kind(const struct request *r, char type) {
    return type && r->len > 0 && (r->kind == REQUEST_BATCH || r->kind == REQUEST_COPY) && kind_of(type) != r->kind;
}

static enum request_result scan_complete(struct request *r, const struct request_context *ctx,
                                         const struct frame *frame) {
    if (r->kind == REQUEST_NONE) r->kind = kind_of(frame->type);
    r->len += frame->total;
    switch (r->kind) {
    case REQUEST_QUERY: return scan_query(r, ctx, frame->payload);
    case REQUEST_BATCH: return scan_message(r, ctx, frame);
    case REQUEST_COPY:
        if (frame->type != FE_COPY_DATA) {
            r->ends_copy = true;
            return REQUEST_READY;
        }
        return REQUEST_MORE;
    case REQUEST_NONE:
    case REQUEST_FUNCTION:
    case REQUEST_TERMINATE: break;
    }
    return REQUEST_READY;
}

enum request_result request_scan(struct request *r, const struct request_context *ctx, struct span in,
                                 struct fault *f) {
    for (;;) {
        struct frame frame;
        enum wire_result w = frame_next(FRAME_FROM_CLIENT, span_from(in, r->len), &frame, f);
        if (w != WIRE_BAD && frame.type == FE_PASSWORD) { // good only during the login
            fault_set(f, "08P01", "invalid frontend message type %d", FE_PASSWORD);
            w = WIRE_BAD;
        }
        if (w == WIRE_BAD) return r->len > 0 ? cut_before(r) : REQUEST_BAD;
        if (is_other_kind(r, frame.type)) return cut_before(r);
        if (w == WIRE_MORE) return scan_incomplete(r, ctx, &frame, f);
        enum request_result got = scan_complete(r, ctx, &frame);
        if (got != REQUEST_MORE) return got;
        if (r->kind == REQUEST_BATCH && r->len >= ctx->max_held) return cut_before(r);
    }
}

// How far a batch that runs one statement is.
struct lone {
    enum { LONE_BEGUN, LONE_PARSED, LONE_BOUND, LONE_EXECUTED } step;
    struct span name; // of the statement, from PARSED on
};

// No types of parameters are given.
static bool lone_parse(struct lone *l, struct span payload) {
    struct msg_parse m;
    if (l->step != LONE_BEGUN || !msg_parse(payload, &m) || m.types.len != 2) return false;
    l->name = m.name;
    l->step = LONE_PARSED;
    return true;
}

// No values are given; there may be formats for a result.
static bool lone_bind(struct lone *l, struct span payload) {
    struct msg_bind m;
    if (l->step > LONE_PARSED || !msg_bind(payload, &m) || m.portal.len) return false;
    if (l->step == LONE_PARSED && !span_eq(m.statement, l->name)) return false;
    struct cursor c = cursor_of(m.rest);
    bool parameters = cursor_u16(&c) | cursor_u16(&c);
    (void)cursor_bytes(&c, (size_t)cursor_u16(&c) * 2);
    l->name = m.statement;
    l->step = LONE_BOUND;
    return !parameters && !c.bad && cursor_left(&c) == 0;
}

static bool lone_describe(const struct lone *l, struct span payload) {
    struct msg_target m;
    if (l->step == LONE_BEGUN || !msg_target(payload, &m)) return false;
    return m.kind == PROTO_KIND_PORTAL ? m.name.len == 0 : span_eq(m.name, l->name);
}

static bool lone_execute(struct lone *l, struct span payload) {
    struct msg_execute m;
    if (l->step != LONE_BOUND || !msg_execute(payload, &m) || m.portal.len) return false;
    l->step = LONE_EXECUTED;
    return true;
}

bool request_is_lone(const struct request *r, struct span unit) {
    struct lone l = {.step = LONE_BEGUN};
    struct frame frame;
    if (r->malformed || r->taken_name || r->typed) return false;
    if (r->kind == REQUEST_QUERY) return !r->stream;
    if (r->kind != REQUEST_BATCH || !r->synced || r->stream || r->old_portal) return false;
    for (; unit.len; unit = span_from(unit, frame.total)) {
        if (frame_next(FRAME_FROM_CLIENT, unit, &frame, NULL) != WIRE_OK) return false;
        bool fits = frame.type == FE_SYNC && !frame.payload.len; // with a body it is an error
        if (frame.type == FE_PARSE) fits = lone_parse(&l, frame.payload);
        if (frame.type == FE_BIND) fits = lone_bind(&l, frame.payload);
        if (frame.type == FE_DESCRIBE) fits = lone_describe(&l, frame.payload);
        if (frame.type == FE_EXECUTE) fits = lone_execute(&l, frame.payload);
        if (!fits) return false;
    }
    return l.step == LONE_EXECUTED;
}
