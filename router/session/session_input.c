// SPDX-License-Identifier: ISC
//
// router/session/session_input.c: what the client says, unit by unit, to a server.
//
// Each unit is scanned, given a place (the connection in use, another one, an answer without any), and written in the
// server's words. What cannot be placed yet stays in the client's input and is offered again by session_resume.
#include <sys/socket.h>

#include "base/mem.h"
#include "router/session/pins.h"
#include "router/session/session_parts.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

// Facts whose effect on the session is known only when the server has answered.
enum { FACTS_SETTLING = FACT_DISCARD_ALL | FACT_DEALLOCATE_ALL };

// Bytes to the server.

// A connection that cannot be written to is shut, so that its end of file comes as the next event and is dealt with
// there, with nothing of the client's input in hand.
static void send_server(struct session *s, const struct iovec *iov, int n) {
    if (!stream_writev(&s->server->stream, iov, n)) shutdown(s->server->stream.fd, SHUT_RDWR);
}

// More answers than any client waits for are due. Without a Sync the server may be keeping some of them back.
static bool server_owes_too_much(struct session *s) {
    const uint32_t most = 65536;
    if (LIKELY(!s->server || s->server->replies.count <= most) || s->copying) return false;
    struct buf *out = &s->env->wbuf;
    buf_clear(out);
    request_flush(out);
    struct iovec iov = {out->data, buf_len(out)};
    if (s->open) send_server(s, &iov, 1);
    return true;
}

static bool server_is_full(const struct session *s) {
    return s->server && stream_unsent(&s->server->stream) > SESSION_HIGH_WATER;
}

// The rest of a message too large to be held.
static size_t take_tail(struct session *s, struct span in) {
    size_t n = MIN_OF((size_t)s->tail, in.len);
    if (!s->tail_discard) {
        if (server_is_full(s)) return 0;
        struct iovec iov = {(void *)(uintptr_t)in.ptr, n};
        send_server(s, &iov, 1);
    }
    s->tail -= (uint32_t)n;
    if (!s->tail && !s->tail_discard && !s->due) session_settle(s); // its answer came before its end
    return n;
}

static void discard_tail(struct session *s, size_t n) {
    s->tail = (uint32_t)n;
    s->tail_discard = true;
}

// After an error within a batch: everything up to the Sync is passed over, as PostgreSQL does.

// Where no client's has come.
void session_send_sync(struct session *s) {
    struct buf *out = &s->env->wbuf;
    buf_clear(out);
    request_sync(out);
    struct iovec iov = {out->data, buf_len(out)};
    send_server(s, &iov, 1);
}

// What has been sent since the last one is answered by `due`.
static void end_exchange(struct session *s, struct reply *due) {
    due->counted = true;
    due->does = s->opened;
    due->started_us = s->env->server.now_us(s->env->server.arg);
    s->opened = (struct exchange){0};
    s->open = s->names_are_free = false;
    s->due++;
}

// `sync` is the client's, which may be malformed: an error, but a Sync all the same.
static void send_sync(struct session *s, struct span sync) {
    struct reply *due = pipeline_push(&s->server->replies, REPLY_SYNC, REPLY_FORWARD);
    end_exchange(s, due);
    struct iovec iov = {(void *)(uintptr_t)sync.ptr, sync.len};
    send_server(s, &iov, 1);
}

static void answer_sync(struct session *s, struct span sync) {
    struct buf *out = &s->env->wbuf;
    buf_clear(out);
    if (sync.len > PROTO_HEADER_LEN) {
        struct fault f;
        fault_set(&f, "08P01", "invalid message format");
        reply_error(out, false, &f);
    }
    reply_ready(out, session_tx_status(s));
    (void)session_send_client(s, buf_span(out));
}

// What was scanned while the error was on its way is passed over like the rest, and what follows is another unit.
static void unit_forget(struct session *s) {
    s->ready = s->cancel_asked = false;
    request_reset(&s->request);
}

static size_t take_skipped(struct session *s, struct span in) {
    struct frame frame;
    struct fault f;
    unit_forget(s);
    enum wire_result w = frame_next(FRAME_FROM_CLIENT, in, &frame, &f);
    if (w != WIRE_BAD && frame.type == FE_PASSWORD) {
        fault_set(&f, "08P01", "invalid frontend message type %d", FE_PASSWORD);
        w = WIRE_BAD;
    }
    if (w == WIRE_BAD) client_fail(&s->client, STAT_ERROR_PROTOCOL, &f);
    if (w == WIRE_BAD || !frame.type) return 0;
    if (frame.type == FE_TERMINATE) {
        client_leave(&s->client);
        return 0;
    }
    size_t here = PROTO_HEADER_LEN + frame.payload.len;
    if (frame.type == FE_SYNC) {
        if (w == WIRE_MORE) return 0;
        s->skipping = false;
        if (s->open)
            send_sync(s, span_first(in, here));
        else
            answer_sync(s, span_first(in, here));
    } else if (w == WIRE_MORE) {
        discard_tail(s, frame.total - here);
    }
    return here;
}

// Answers that need no server.

// The name of a statement prepared by Parse that the unit deallocates with SQL; NULL when it does not.
static struct statement *deallocated(const struct session *s, struct span unit, char *name, size_t cap, size_t *len) {
    const struct request *r = &s->request;
    struct span sql;
    if (r->kind != REQUEST_QUERY || r->stream || !(r->verdict.facts & FACT_DEALLOCATE)) return NULL;
    if (!msg_query(span_from(unit, PROTO_HEADER_LEN), &sql)) return NULL;
    if (!prep_deallocate_name(sql, name, cap, len)) return NULL;
    return prep_client_find(&s->names, span_of(name, *len));
}

// Nothing is due. Within a transaction a DEALLOCATE is answered here too, unless it has failed: then the server says
// so.
static bool is_local(const struct session *s, struct span unit) {
    const struct request *r = &s->request;
    char name[256];
    size_t len;
    if (s->server && s->server->tx_status == PROTO_TX_FAILED) return false;
    if (r->kind == REQUEST_BATCH) return !s->server && !pins_bind(s->pins) && !r->server_needed && !r->stream;
    return deallocated(s, unit, name, sizeof name, &len) != NULL;
}

void session_forget_name(struct session *s, struct span name) {
    struct statement *before = prep_client_set(&s->names, name, NULL);
    if (before) statement_unref(before);
}

void session_forget_unnamed(struct session *s) { session_forget_name(s, span_of("", 0)); }

void session_take_name(struct session *s, const struct msg_parse *m) {
    struct statement *st = statements_intern(s->database->statements, m->query, m->types, session_meaning(s));
    struct statement *before = prep_client_set(&s->names, m->name, st);
    statement_unref(st);
    if (before) statement_unref(before);
}

static void answer_names(struct session *s, struct span batch, struct buf *out) {
    struct frame frame;
    for (; batch.len; batch = span_from(batch, frame.total)) {
        struct msg_target close;
        struct msg_parse parse;
        if (frame_next(FRAME_FROM_CLIENT, batch, &frame, NULL) != WIRE_OK) bug("a batch was not checked");
        if (frame.type == FE_CLOSE && msg_target(frame.payload, &close)) {
            session_forget_name(s, close.name);
            reply_empty_body(out, BE_CLOSE_COMPLETE);
        } else if (frame.type == FE_PARSE && msg_parse(frame.payload, &parse)) {
            session_take_name(s, &parse);
            reply_empty_body(out, BE_PARSE_COMPLETE);
        }
    }
}

static void answer_local(struct session *s, struct span unit) {
    struct buf *out = &s->env->wbuf;
    char name[256];
    size_t len;
    buf_clear(out);
    if (deallocated(s, unit, name, sizeof name, &len)) {
        session_forget_name(s, span_of(name, len));
        reply_command_complete(out, "DEALLOCATE");
        reply_ready(out, session_tx_status(s));
    } else {
        answer_names(s, unit, out);
        if (s->request.synced) reply_ready(out, session_tx_status(s));
    }
    if (buf_len(out)) (void)session_send_client(s, buf_span(out));
}

static void answer_refusal(struct session *s) {
    struct buf *out = &s->env->wbuf;
    const struct request *r = &s->request;
    buf_clear(out);
    reply_error(out, false, s->refusal);
    mem_free(s->refusal);
    s->refusal = NULL;
    bool whole = r->kind != REQUEST_BATCH || r->synced;
    // What follows a BEGIN that was refused must not run outside a transaction: it is as if the transaction had failed.
    if ((r->verdict.facts & FACT_BEGIN) || s->tx.phase == TRANSACTION_DEFERRED) session_tx_lose(s);
    if (whole)
        reply_ready(out, session_tx_status(s));
    else
        s->skipping = true;
    discard_tail(s, r->tail);
    (void)session_send_client(s, buf_span(out));
}

// Writing a unit in the server's words.

void session_ask_server(struct session *s, struct span sql) {
    struct buf *out = &s->env->wbuf;
    buf_clear(out);
    request_query(out, sql);
    response_start(&s->response, false);
    pipeline_push(&s->server->replies, REPLY_QUERY, REPLY_SWALLOW);
    struct iovec iov = {out->data, buf_len(out)};
    send_server(s, &iov, 1);
}

void session_put_settings(struct session *s, bool shown, bool forgets) {
    struct buf sql = buf_make(SIZE_MAX / 2);
    // By the defaults of its role or database; a replica has no such transactions.
    if (s->on_replica && s->login_modes.isolation == TX_ISOLATION_SERIALIZABLE) settings_unserializable_sql(&sql);
    settings_change_sql(s->server->settings, s->settings, s->identities_first, &sql);
    if (!session_customs_are_known(s)) settings_customs_sql(s->customs, s->server->customs, s->settings, &sql);
    if (forgets) buf_printf(&sql, ";DISCARD SEQUENCES");
    s->forgets = forgets;
    session_ask_server(s, buf_span(&sql));
    buf_release(&sql);
    s->response.show_parameters = shown;
    s->prelude_due = true;
    stats_add(s->env->stats, STAT_SETTINGS_REPLAYS, 1);
}

static bool may_write(const struct session *s) {
    const struct request *r = &s->request;
    if (s->on_replica) return false;
    bool runs_hidden =
        (r->verdict.facts & (FACT_EXECUTE | FACT_CURSOR)) != 0; // of statements that were classified elsewhere
    return r->verdict.kind == VERDICT_WRITE || r->verdict.kind == VERDICT_UNKNOWN || runs_hidden ||
           r->kind == REQUEST_FUNCTION ||
           (s->again > 0 && !s->again_anywhere); // a replica may have refused it for writing
}

// A user's function that a hint calls a read is not known not to.
static bool moves_sequences(const struct session *s) {
    return may_write(s) || s->request.verdict.reason == VERDICT_REASON_HINT_REPLICA;
}

// What has to be true of the connection before the unit may run on it: the client's settings are in force, and, where
// currval is in use, no other client's sequences are known. Waited for, since a unit must never run with the wrong
// ones. True when something was sent.
static bool send_prelude(struct session *s) {
    struct server *sv = s->server;
    bool sequences = session_forgets_sequences(s, moves_sequences(s));
    if (sv->tx_status != PROTO_TX_IDLE || (sv->settings == s->settings && session_customs_are_known(s) && !sequences))
        return false;
    session_put_settings(s, false, sequences);
    return true;
}

// A replica that lags more gets no reads.
static struct prep_rewrite rewriting(struct session *s, struct buf *out) {
    const struct request *r = &s->request;
    const struct session_env *env = s->env;
    bool young = env->server.now_us(env->server.arg) < env->epoch_seen_us + (uint64_t)env->config->max_lag * 1000;
    return (struct prep_rewrite){
        .client = &s->names,
        .server = &s->server->prepared,
        .statements = s->database->statements,
        .due = &s->server->replies,
        .out = out,
        .meaning = session_meaning(s),
        .schema_young = young,
        .again = (s->again > 0),
        .nothing_runs = s->server->tx_status == PROTO_TX_FAILED,
        .deallocates = (r->verdict.facts & FACT_DEALLOCATE) && s->server->tx_status != PROTO_TX_FAILED,
        .flush_is_sync = s->flush_due,
        .malformed = r->malformed,
        .deallocates_all = (r->verdict.facts & FACTS_SETTLING) != 0,
        .names_are_free = s->names_are_free,
        .max_server = (size_t)s->env->config->max_prepared_statements,
    };
}

// A statement that its client was told of long ago must not give it other columns: that would be a wrong answer. True
// when that has to be waited for.
static bool await_proof(struct session *s, struct span unit) {
    const struct request *r = &s->request;
    if (LIKELY(!r->aged) || s->open || s->server->tx_status == PROTO_TX_FAILED) return false;
    if (s->response.outdated || s->response.unproven) return false; // the answer is there
    struct buf *out = &s->env->wbuf;
    buf_clear(out);
    struct prep_rewrite w = rewriting(s, out);
    struct statement *st = prep_unproven(&w, unit);
    if (!st) return false;
    if (s->due) return true; // what is due may be what changes it
    prep_prove(&w, st);
    stats_add(s->env->stats, STAT_SERVER_PARSES, w.server_parses);
    response_start(&s->response, false);
    s->claimed = s->proving = true;
    struct iovec iov = {out->data + out->head, buf_len(out)};
    send_server(s, &iov, 1);
    return true;
}

// False: the unit can go as it is.
static bool put_batch(struct session *s, struct span unit, struct buf *out) {
    struct prep_rewrite w = rewriting(s, out);
    if (UNLIKELY(s->response.outdated != NULL)) {
        prep_refuse(&w, s->response.outdated->held, s->request.synced);
        return true;
    }
    bool changed = prep_rewrite(&w, unit);
    s->names_are_free = w.names_are_free;
    if (w.server_parses) stats_add(s->env->stats, STAT_SERVER_PARSES, w.server_parses);
    return changed;
}

// It speaks SQL of what is prepared, which must be as the client knows it.
static bool shows_prepared(const struct session *s) {
    uint32_t facts = s->request.verdict.facts;
    const struct prep_server *p = &s->server->prepared;
    bool any = s->names.count || s->names.unnamed || prep_server_count(p) || s->request.parses;
    return ((facts & FACT_EXECUTE) && any) || ((facts & FACT_PREPARE) && p->exposed);
}

static void expose_prepared(struct session *s, struct buf *out) {
    struct prep_rewrite w = rewriting(s, out);
    if (s->on_replica || w.nothing_runs) return;
    prep_expose(&w, s->server->tx_status == PROTO_TX_ACTIVE);
    if (s->server->anchor != &s->ticket.anchor) s->server->dirty = true; // somebody else may get it
}

// FunctionCall of what libpq has it for, large objects: they end with their transaction. By their numbers in
// pg_proc.dat.
static bool calls_large_object(struct span unit) {
    static const uint32_t functions[] = {715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172};
    struct cursor c = cursor_of(span_from(unit, PROTO_HEADER_LEN));
    uint32_t oid = cursor_u32(&c);
    for (size_t i = 0; i < countof(functions); i++)
        if (functions[i] == oid) return true;
    return false;
}

// Whether the unit may leave something on the connection that nobody sees, and nobody else may meet. In session mode
// that is a function with side effects in any write: the mode is there for those.
static bool may_leave_unseen(const struct session *s, struct span unit) {
    const struct request *r = &s->request;
    if (r->kind == REQUEST_FUNCTION) return !calls_large_object(unit);
    if (r->verdict.leaves && (s->on_replica || !s->database->catalog)) return true; // nobody knows what it calls
    bool unread = r->verdict.reason == VERDICT_REASON_TOO_LONG || r->verdict.reason == VERDICT_REASON_TOO_DEEP;
    if (unread && r->verdict.leaves && catalog_most_leaves(s->database->catalog) == CATALOG_LEAVES_UNSEEN) return true;
    return (r->verdict.facts & FACT_CALL) || (s->session_mode && !s->on_replica && may_write(s));
}

// What is made without a schema is temporary.
static bool makes_temporary(const struct session *s) {
    struct span path;
    return settings_get(s->settings, span_str("search_path"), &path) && memmem(path.ptr, path.len, "pg_temp", 7);
}

// Whether the unit runs code that may have set anything, or left what pins: DO, CALL, functions and triggers.
static bool may_set_anything(struct session *s, struct span unit) {
    const struct request *r = &s->request;
    if (r->verdict.facts & FACT_CALL) return true;
    if (s->on_replica) return false;
    if (r->kind == REQUEST_FUNCTION) return !calls_large_object(unit);
    return r->verdict.leaves || (may_write(s) && session_has_new_code(s));
}

// Whether that code may change what texts mean: more than parameters of applications.
static bool may_change_meaning(const struct session *s) {
    const struct request *r = &s->request;
    const struct catalog *c = s->database->catalog;
    return (r->verdict.facts & FACT_CALL) || r->kind == REQUEST_FUNCTION || r->verdict.kind == VERDICT_UNKNOWN ||
           s->code || !c || catalog_changes_meaning(c);
}

// What the session must know of the unit from now on. True when what comes behind it may mean something else.
static bool note_facts(struct session *s, struct span unit) {
    const struct request *r = &s->request;
    if (r->kind == REQUEST_BATCH && !r->executes && !r->stream) { // what is only parsed does nothing yet
        if (r->closes_name) session_pin(s, 0);
        return false;
    }
    uint32_t facts = r->verdict.facts, caused = pins_caused(facts);
    if (r->unreadable) caused |= PIN_BIT(UNREADABLE);
    if ((facts & FACT_DDL) && makes_temporary(s)) caused |= PIN_BIT(TEMP);
    bool anything = may_set_anything(s, unit);
    bool means = anything && !session_touched_anything(s) && may_change_meaning(s);
    means |= (facts & FACT_EXECUTE) && (s->pins & PIN_BIT(SET)); // of a PREPARE that sets something
    if (means && r->texts > 1) s->context = settings_new_context(s->env->settings);
    if ((anything || (facts & FACTS_TOUCHING)) && !session_touch(s, unit, anything)) caused |= PIN_BIT(SET);
    if (s->on_replica && caused) { // nothing but an error comes of it there, most likely
        s->server->dirty = true;
        caused = 0;
    }
    if (r->verdict.reason == VERDICT_REASON_SYNTAX && !pins_bind(s->pins) && s->server->tx_status == PROTO_TX_IDLE)
        s->settling |= SESSION_SETTLING_SYNTAX; // an error, most likely, and then there is no cause
    if (may_leave_unseen(s, unit)) s->server->dirty = true;
    session_pin(s, caused);
    session_note_sequences(s, moves_sequences(s));
    if (facts & FACTS_SETTLING) s->pins_kept = caused | (moves_sequences(s) ? PIN_BIT(SEQUENCE) : 0);
    if (r->copies) s->copy_due = true;
    if (r->verdict.terminates) atomic_store_explicit(s->env->terminate_us, uv_hrtime() / 1000, memory_order_release);
    if (r->verdict.vacates) session_vacate(s, unit);
    if (r->verdict.counted) s->counted_us = s->env->server.now_us(s->env->server.arg);
    s->settling |= facts & FACTS_SETTLING;
    if (caused & PIN_BIT(TEMP)) s->server->temp_used = true;
    // What is temporary, or was not understood, may change the meaning of texts for this client alone.
    if ((caused & PIN_BIT(TEMP)) || r->unreadable) s->context = settings_new_context(s->env->settings);
    if ((facts & FACT_DDL) && (!(facts & FACT_TEMP) || (facts & FACT_MULTI))) s->ddl = true;
    if (facts & FACT_DDL) session_note_code(s, unit);
    if (facts & FACT_DEFAULTS) s->defaults = true;
    return means;
}

// A client that does nothing has no journal, so the memory goes from one to the next.
static struct buf take_journal(struct session_env *env) {
    return env->n_journals ? env->journals[--env->n_journals] : buf_make(SESSION_JOURNAL_LIMIT);
}

// A batch may come in several units, of which the last may be no more than a Sync.
static struct exchange exchange_of(const struct session *s, bool begun) {
    uint32_t facts = s->request.verdict.facts;
    bool tracked = s->tx.phase == TRANSACTION_ON_REPLICA;
    return (struct exchange){.wrote = may_write(s),
                             .begins = begun || (facts & FACT_BEGIN),
                             .ends = (facts & FACT_END) != 0,
                             .queries = tracked && transaction_queries(&s->request),
                             .binds = tracked && transaction_binds(&s->request, session_tx_modes(s)),
                             .told = s->shows_route ? (uint8_t)(s->reason + 1) : 0};
}

static void note_exchange(struct session *s, struct span unit) {
    struct pipeline *p = &s->server->replies;
    struct reply *due = pipeline_at(p, p->count - 1);
    end_exchange(s, due);
    if (s->response.rerunnable) {
        due->journal = (uint32_t)unit.len;
        if (!s->journal.cap) s->journal = take_journal(s->env);
        buf_put_span(&s->journal, unit);
    }
}

// The unit's messages into `out`, or the unit itself in `*raw` where they need no change; what is due is noted.
// `begun`: a BEGIN stands before it.
static void put_unit(struct session *s, struct span unit, bool begun, struct buf *out, struct span *raw) {
    const struct request *r = &s->request;
    if (!s->open && !s->due && shows_prepared(s)) expose_prepared(s, out);
    if (r->kind == REQUEST_BATCH) {
        if (!put_batch(s, unit, out)) *raw = unit;
        s->open = !r->synced && !s->flush_due;
    } else {
        *raw = unit;
        struct reply *due = pipeline_push(&s->server->replies, REPLY_QUERY, REPLY_FORWARD);
        // A Query ends the unnamed statement, unless an error before it has it passed over.
        if (r->kind == REQUEST_QUERY && r->runs) due->before = prep_client_set(&s->names, span_of("", 0), NULL);
        due->client_names = due->before != NULL;
    }
    s->opened = exchange_join(s->opened, exchange_of(s, begun));
    if (!s->open) note_exchange(s, unit);
}

static void send_unit(struct session *s, struct span unit) {
    const struct request *r = &s->request;
    struct buf *out = &s->env->wbuf;
    struct span raw = {0};
    buf_clear(out);
    bool first = s->due == 0 && !s->open, begun = session_tx_start(s, out);
    bool may_sync = s->server->tx_status == PROTO_TX_IDLE || s->tx.phase == TRANSACTION_ON_REPLICA;
    s->closing = (s->closing && !first) || r->closes_name || (r->verdict.facts & FACT_DEALLOCATE);
    if (first) s->flush_due = r->flushed && !r->executes && may_sync;
    session_tx_sending(s);
    if (first) response_start(&s->response, s->on_replica && session_tx_may_move(s));
    bool means = note_facts(s, unit);
    put_unit(s, unit, begun, out, &raw);
    if (means) s->context = settings_new_context(s->env->settings);
    s->tail = (uint32_t)r->tail;
    s->tail_discard = false;
    stats_routed(s->env->stats, s->on_replica, s->reason);
    struct iovec iov[2];
    int n = 0;
    if (buf_len(out)) iov[n++] = (struct iovec){out->data + out->head, buf_len(out)};
    if (raw.len) iov[n++] = (struct iovec){(void *)(uintptr_t)raw.ptr, raw.len};
    if (n) send_server(s, iov, n);
    struct reply *head = pipeline_head(&s->server->replies);
    if (head && head->action == REPLY_INVENT) (void)!response_invent(&s->response, s->server);
}

static size_t answer_lost(struct session *s, struct span unit) {
    size_t tail = s->request.tail, n = session_answer_lost(s, unit);
    discard_tail(s, tail);
    return n;
}

// Where a unit goes.

enum place {
    PLACE_HERE,
    PLACE_LATER,
    PLACE_ANEW, // later, and what it says is looked at again by then
    PLACE_LOCAL,
    PLACE_CONTROL,
    PLACE_REFUSED,
    PLACE_FIND,
    PLACE_LOST,
    PLACE_NOWHERE
};

// It uses names that answers still due may take back, parses a text of which they tell whether the server holds it, or
// is a DEALLOCATE whose transaction's state is not known yet.
static bool depends_on_answers(struct session *s) {
    const uint32_t facts = FACT_DEALLOCATE | FACTS_SETTLING | FACT_SEQUENCE_STATE;
    struct request *r = &s->request;
    // A Query forgets the unnamed statement, even one that comes back.
    bool takes_closed = s->closing && (r->parses || r->kind == REQUEST_QUERY);
    if (takes_closed) r->server_needed = true; // which says so if the name is taken after all
    return takes_closed || r->old_name || r->names_ours || (r->verdict.facts & facts);
}

// Behind answers that are still due on the connection in use.
static enum place place_behind(struct session *s) {
    const struct request *r = &s->request;
    if (depends_on_answers(s) || shows_prepared(s)) return PLACE_ANEW;
    if (s->settling || s->flush_due || s->response.drop) return PLACE_LATER;
    if (s->tx.ending || session_tx_begin_is_due(s) || session_awaits_startup(s)) return PLACE_LATER;
    if (r->verdict.reason == VERDICT_REASON_SYNTAX) return PLACE_LATER;
    if (s->on_replica) {
        bool fits = buf_len(&s->journal) + r->len <= (size_t)s->env->config->max_exchange_size;
        bool same = r->verdict.kind == VERDICT_READ && !r->stream && !r->old_portal && !r->changes_names &&
                    r->kind != REQUEST_FUNCTION && (r->kind != REQUEST_BATCH || r->synced);
        if (!fits || !same || s->again) return PLACE_LATER;
    }
    s->reason = ROUTE_REASON_PIPELINED;
    return PLACE_HERE;
}

// An error of our own: for a client without a transaction an error of this unit. Within one the server would have to
// know of it, so there it ends the connection.
static enum place refuse(struct session *s, enum stat_error reason, const struct fault *f) {
    if (s->server) {
        client_fail(&s->client, reason, f);
        return PLACE_LATER;
    }
    stats_error(s->env->stats, reason);
    s->refusal = mem_new(struct fault);
    *s->refusal = *f;
    return PLACE_REFUSED;
}

static enum place refuse_names(struct session *s) {
    struct fault f;
    fault_set(&f, "54000", "too many prepared statements in one session (max_client_prepared_statements = %lld)",
              (long long)s->env->config->max_client_prepared_statements);
    fault_hint(&f, "Close those that are not needed any more.");
    return refuse(s, STAT_ERROR_LIMIT, &f);
}

static enum place refuse_our_names(struct session *s) {
    struct fault f;
    fault_set(&f, "42939", "names of prepared statements that begin with \"pgsteer_\" are reserved");
    return refuse(s, STAT_ERROR_UNSUPPORTED, &f);
}

// An error, never a wrong value.
static enum place refuse_sequence_state(struct session *s) {
    struct fault f;
    fault_set(&f, "0A000",
              s->server ? "currval and lastval were not expected on this connection"
                        : "what currval and lastval would tell is not known any more in transaction pooling");
    fault_hint(&f, s->server
                       ? "Try again: they work from now on."
                       : "From now on they work after a write, until its connection is needed by others. INSERT ... "
                         "RETURNING needs neither, and pool_mode = session keeps the connection.");
    return refuse(s, STAT_ERROR_UNSUPPORTED, &f);
}

// The transaction's replica would not do as the primary does.
static enum place place_elsewhere(struct session *s) {
    bool failed = s->server->tx_status == PROTO_TX_FAILED; // then there is nothing to lose
    if ((!s->tx.bound || failed) && !s->open) {
        session_tx_leave(s, false);
        return PLACE_LATER;
    }
    struct fault f;
    session_tx_refusal(s, &f);
    session_abandon(s, &f);
    return refuse(s, STAT_ERROR_UNSUPPORTED, &f);
}

static enum place place(struct session *s, struct span unit) {
    if (s->refusal) return PLACE_REFUSED;
    if (s->lost_tx) return PLACE_LOST;
    if (s->copy_due || s->prelude_due || s->proving || s->leaving || session_is_reading(s)) return PLACE_LATER;
    // While a COPY takes data PostgreSQL ignores Flush and Sync, for the convenience of client libraries.
    if (s->copying && (unit.ptr[0] == FE_SYNC || unit.ptr[0] == FE_FLUSH)) return PLACE_NOWHERE;
    if (s->server && s->due && !s->open && s->request.too_many_names) return PLACE_LATER;
    if (s->request.too_many_names) return refuse_names(s);
    if (s->request.names_ours && !(s->server && s->due)) return refuse_our_names(s);
    bool behind = s->server && s->due; // it will wait, and may find itself on another connection then
    if (!behind && session_sequences_are_lost(s, moves_sequences(s))) return refuse_sequence_state(s);
    bool only_flush = s->request.flushed && unit.len == PROTO_HEADER_LEN;
    if (only_flush && !s->open) return PLACE_NOWHERE; // answers are passed on as they come
    if (s->open && s->due && depends_on_answers(s)) return PLACE_ANEW;
    if (s->open) return session_tx_must_leave(s, unit) ? place_elsewhere(s) : PLACE_HERE;
    if (s->server && s->due) return place_behind(s);
    if (session_tx_is_local(s, unit)) return PLACE_CONTROL;
    if (is_local(s, unit)) return PLACE_LOCAL;
    if (s->server && s->server->tx_status != PROTO_TX_IDLE) {
        if (session_tx_must_leave(s, unit)) return place_elsewhere(s);
        s->reason = ROUTE_REASON_IN_TRANSACTION;
        return PLACE_HERE;
    }
    return s->server ? PLACE_HERE : PLACE_FIND;
}

static void unit_taken(struct session *s, size_t len) {
    s->again -= MIN_OF(s->again, len);
    unit_forget(s);
}

// COPY data belongs to what the server is doing for this client; without that PostgreSQL ignores it, and so do we.
static size_t take_copy(struct session *s, struct span unit) {
    size_t tail = s->request.tail;
    bool ends = s->request.ends_copy;
    bool wanted = s->server && !s->on_replica && (s->due || s->open);
    unit_taken(s, unit.len);
    if (!wanted) {
        discard_tail(s, tail);
        return unit.len;
    }
    s->tail = (uint32_t)tail;
    s->tail_discard = false;
    if (ends && s->copy_due && s->copies_ended < UINT8_MAX) s->copies_ended++;
    if (ends) s->copying = false;
    struct iovec iov = {(void *)(uintptr_t)unit.ptr, unit.len};
    send_server(s, &iov, 1);
    return unit.len;
}

// 0 when the unit has to wait.
static size_t take_unit(struct session *s, struct span unit) {
    if (s->request.kind == REQUEST_TERMINATE) {
        // What was sent before it is finished first.
        bool busy = session_is_reading(s) || s->prelude_due || s->proving || s->leaving;
        if (!s->due && !busy) client_leave(&s->client);
        return 0;
    }
    if (deadline_is_set(&s->deadline)) deadline_clear(&s->deadline);
    if (s->request.kind == REQUEST_COPY) return take_copy(s, unit);
    enum place where = place(s, unit);
    if (where == PLACE_ANEW) unit_forget(s);
    if (where == PLACE_LATER || where == PLACE_ANEW || s->state == SESSION_CLOSED) return 0;
    if (where == PLACE_FIND) {
        s->tx_reason = session_tx_begins(s) ? (uint8_t)session_tx_reason(s, unit) : 0;
        session_find_server(s);
        where = PLACE_HERE;
    }
    while (where == PLACE_HERE && s->state == SESSION_LINKED && session_leave_used(s, unit)) session_find_server(s);
    if (where == PLACE_HERE && s->state != SESSION_LINKED) return 0;
    if (where == PLACE_HERE && session_awaits_cancel(s)) return 0;
    if (where == PLACE_HERE && s->claimed && (send_prelude(s) || session_tx_fail_anew(s))) return 0;
    if (where == PLACE_HERE && s->request.kind == REQUEST_BATCH && await_proof(s, unit)) return 0;
    s->claimed = false;
    s->parked_us = s->stale_us = 0;
    if (where == PLACE_LOCAL)
        answer_local(s, unit);
    else if (where == PLACE_CONTROL)
        session_tx_answer(s, unit);
    else if (where == PLACE_REFUSED)
        answer_refusal(s);
    else if (where == PLACE_LOST)
        unit.len = answer_lost(s, unit);
    else if (where == PLACE_HERE)
        send_unit(s, unit);
    if (where == PLACE_HERE && s->cancel_asked) pool_cancel_backend(s->server);
    if (s->state != SESSION_CLOSED) unit_taken(s, unit.len);
    if (s->state == SESSION_IDLE) session_rest(s);
    return unit.len;
}

// The answers that are due say how the next text is to be read, if they are waited for.
static bool awaits_lexing(const struct session *s) {
    return s->lexing && s->due && !s->open && !s->copy_due && !s->copying;
}

static bool scan(struct session *s, struct span in) {
    struct fault f;
    struct request_context ctx = {
        .database = s->database,
        .names = &s->names,
        .meaning = session_meaning(s),
        .conforming = !s->nonstandard_strings && !s->unsafe_encoding && !(s->lexing && (s->due || s->open)),
        .max_held = (size_t)s->env->config->max_exchange_size,
        .max_names = (size_t)s->env->config->max_client_prepared_statements,
    };
    enum request_result got = request_scan(&s->request, &ctx, in, &f);
    // What was sent before is answered first, but for a batch whose Sync has not come, and a COPY that waits for data.
    if (got == REQUEST_BAD && s->server && !s->copying && pipeline_has_end(&s->server->replies)) return false;
    if (got == REQUEST_BAD) {
        bool limit = strncmp(f.sqlstate, "54", 2) == 0;
        client_fail(&s->client, limit ? STAT_ERROR_LIMIT : STAT_ERROR_PROTOCOL, &f);
    }
    s->ready = got == REQUEST_READY;
    s->client.wants_more = got == REQUEST_MORE;
    return s->ready;
}

// While a COPY takes data, PostgreSQL ends a connection that sends anything else, be it ahead.
static bool is_wrong_in_copy(struct session *s, struct span in) {
    if (!s->copying || !in.len || memchr("dcfSHX", in.ptr[0], 6)) return false;
    struct buf *out = &s->env->wbuf;
    struct fault f;
    fault_set(&f, "08P01", "unexpected message type 0x%02X during COPY from stdin", in.ptr[0]);
    buf_clear(out);
    reply_error(out, false, &f);
    if (!session_send_client(s, buf_span(out))) return true;
    fault_set(&f, "08P01", "terminating connection because protocol synchronization was lost");
    client_fail(&s->client, STAT_ERROR_PROTOCOL, &f);
    return true;
}

static size_t take(struct session *s, struct span in) {
    if (s->tail) return take_tail(s, in);
    if (s->skipping) return take_skipped(s, in);
    if (s->state == SESSION_WAITING || s->state == SESSION_PARKED || server_is_full(s)) return 0;
    if (server_owes_too_much(s)) return 0;
    if (client_unsent(&s->client) > SESSION_HIGH_WATER) return 0; // it does not read what it asked for
    if (is_wrong_in_copy(s, in)) return 0;
    if (!s->ready && (awaits_lexing(s) || !scan(s, in))) return 0;
    return take_unit(s, span_first(in, s->request.len));
}

size_t session_input(void *owner, struct client *c, struct span in) {
    struct session *s = owner;
    size_t taken = 0;
    (void)c;
    while (taken < in.len && s->state != SESSION_CLOSED) {
        size_t n = take(s, span_from(in, taken));
        if (!n) break;
        taken += n;
    }
    return taken;
}
