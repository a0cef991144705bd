// SPDX-License-Identifier: ISC
//
// router/session/prep_rewrite.c: a client's batch, in the words of one server connection.
//
// One pass over the messages. Whatever names a prepared statement is written anew with the name that the server
// connection knows it by; everything else is copied. See router/session/prep.h.
#include "router/session/pipeline.h"
#include "router/session/prep.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

// By which no server holds a statement: their numbers begin at 1.
#define NAME_OF_NOTHING "pgsteer_0_0"

// Messages in a batch and what the batch itself has defined so far.
struct batch {
    struct prep_rewrite *r;
    bool deallocating; // the unnamed statement is a DEALLOCATE that is answered here: `gone` is the name
    bool gone_bound;   // ... and `gone_portal` is bound to it
    struct span gone_portal;
    char gone[256];
    size_t gone_len;
    bool names_are_free;      // a DEALLOCATE ALL has been run; if it failed, what follows is not even looked at
    bool unnamed_parsed;      // the unnamed statement is one of this batch, so the server's own will do
    struct span portal;       // the one bound last
    struct statement *bound;  // ... to this statement; NULL: not known
    const uint8_t *from, *to; // messages that stay as they are, and are not in `out` yet
};

// Messages in a row are copied together, and not at all when it is the whole batch.
static void put_run(struct batch *b) {
    if (b->from != b->to) buf_put(b->r->out, b->from, (size_t)(b->to - b->from));
    b->from = b->to = NULL;
}

static void keep_message(struct batch *b, const struct frame *f) {
    const uint8_t *start = f->payload.ptr - PROTO_HEADER_LEN;
    if (b->to != start) {
        put_run(b);
        b->from = start;
    }
    b->to = f->payload.ptr + f->payload.len;
}

// Where words of ours go.
static struct buf *words(struct batch *b) {
    put_run(b);
    return b->r->out;
}

static void close_statement(struct batch *b, struct statement *st) {
    struct prep_rewrite *r = b->r;
    request_close_statement(words(b), prep_server_name(r->server, st));
    struct reply *due = pipeline_push(r->due, REPLY_CLOSE, REPLY_SWALLOW);
    due->server_names = true;
    due->after = st;
    statement_ref(st);
    struct span name = prep_server_name(r->server, st);
    if (prep_server_exposed_as(r->server, name) == st) (void)prep_client_find_name(r->client, name, &due->name);
    prep_server_remove(r->server, st);
}

// A name that the server has beside another one for the same statement.
static void close_second(struct batch *b, struct span name) {
    struct prep_rewrite *r = b->r;
    request_close_statement(words(b), name);
    struct reply *due = pipeline_push(r->due, REPLY_CLOSE, REPLY_SWALLOW);
    due->server_names = true;
    (void)prep_client_find_name(r->client, name, &due->name);
    prep_server_remove_second(r->server, name);
}

// It went with all others, or has been parsed anew behind that.
static void close_freed(struct batch *b, struct statement *st, struct span name) {
    request_close_statement(words(b), name);
    pipeline_push(b->r->due, REPLY_CLOSE, REPLY_SWALLOW);
    prep_server_remove(b->r->server, st);
}

// On a connection that is the client's alone by now, what goes by the client's own name goes with that.
static void close_exposed(struct batch *b, struct span name) {
    struct statement *st = prep_server_exposed_as(b->r->server, name);
    if (st)
        close_statement(b, st);
    else if (prep_server_has_second(b->r->server, name))
        close_second(b, name);
}

// ... and the next Parse of `st` is by the client's own name.
static void expose_next(struct batch *b, struct statement *st, struct span name) {
    close_exposed(b, name); // what an error has left of it
    prep_server_add_as(b->r->server, st, name);
}

// What is due says that the server gets to hold `st`.
static void note_gets(struct reply *due, struct statement *st) {
    due->server_names = true;
    due->after = st;
    statement_ref(st);
    st->awaited++;
}

static struct reply *parse_on_server(struct batch *b, struct statement *st, enum reply_action action) {
    struct prep_rewrite *r = b->r;
    if (r->max_server && prep_server_count(r->server) >= r->max_server)
        close_statement(b, prep_server_oldest(r->server)); // room for it
    request_parse(words(b), prep_server_add(r->server, st), st->query, st->types);
    struct reply *due = pipeline_push(r->due, REPLY_PARSE, action);
    note_gets(due, st);
    return due;
}

// The statement with another meaning.
static struct statement *with_meaning(struct prep_rewrite *r, struct statement *st, struct meaning m) {
    st = statements_intern(r->statements, st->query, st->types, m);
    statement_unref(st); // it is the newest of the table's idle ones, and about to be used
    return st;
}

// ... as it is parsed under the client's present settings.
static struct statement *in_context(struct prep_rewrite *r, struct statement *st) {
    if (LIKELY(st->meaning.context == r->meaning.context) || r->nothing_runs) return st;
    return with_meaning(r, st, (struct meaning){.context = r->meaning.context, .epoch = st->meaning.epoch});
}

// What the statement gives need not be what its client was told: it was parsed under another schema or other settings.
static bool needs_proof(struct prep_rewrite *r, struct statement *st) {
    bool same = st->meaning.context == r->meaning.context;
    if (LIKELY(!st->shape || (same && st->shape_epoch == r->meaning.epoch)) || r->nothing_runs) return false;
    if (prep_gives_what_is_named(st->query)) return false;
    struct statement *held = in_context(r, st);
    // PostgreSQL sees to it that what it holds keeps its shape.
    return held->shape != st->shape || (!prep_server_has(r->server, held) && held->shape_epoch != r->meaning.epoch);
}

// Sees to it that the server connection holds `st`, in the client's context. Answers its name there. Where it need not
// give what `st` gave, that is another statement: other clients rely on what they were told of this one.
static struct span need_statement(struct batch *b, struct statement *st) {
    struct prep_rewrite *r = b->r;
    st = needs_proof(r, st) ? with_meaning(r, st, r->meaning) : in_context(r, st);
    struct span name = prep_server_use(r->server, st);
    if (LIKELY(name.len && !b->names_are_free)) return name;
    if (name.len) close_freed(b, st, name);
    parse_on_server(b, st, REPLY_SWALLOW);
    r->server_parses++;
    return prep_server_name(r->server, st);
}

static void rewrite_parse_unnamed(struct batch *b, const struct frame *f, struct statement *st) {
    struct prep_rewrite *r = b->r;
    keep_message(b, f);
    struct reply *due = pipeline_push(r->due, REPLY_PARSE, REPLY_FORWARD);
    due->client_names = true;
    due->after = st;
    due->before = prep_client_set(r->client, span_of("", 0), st);
    b->unnamed_parsed = true;
}

// `DEALLOCATE name` of a statement prepared by Parse: the server does not know the name, so the batch's answers for it
// are invented, up to the next Parse or Bind of something else.
static bool begins_deallocate(struct batch *b, const struct msg_parse *m) {
    if (!b->r->deallocates || m->name.len) return false;
    b->gone_bound = false;
    if (!prep_deallocate_name(m->query, b->gone, sizeof b->gone, &b->gone_len)) return false;
    return prep_client_find(b->r->client, span_of(b->gone, b->gone_len)) != NULL;
}

static void rewrite_deallocate(struct batch *b, struct statement *st) {
    struct reply *due = pipeline_push(b->r->due, REPLY_PARSE, REPLY_INVENT);
    due->client_names = true;
    due->after = st;
    due->before = prep_client_set(b->r->client, span_of("", 0), st);
    b->unnamed_parsed = false;
}

static bool is_of_deallocate(const struct batch *b, const struct msg_target *m) {
    return m->kind == PROTO_KIND_PORTAL ? b->gone_bound && span_eq(m->name, b->gone_portal) : m->name.len == 0;
}

// True when the message belongs to a DEALLOCATE that is answered here.
static bool is_invented(struct batch *b, const struct frame *f) {
    struct msg_bind bind;
    struct msg_target target;
    struct msg_execute execute;
    if (!b->deallocating) return false;
    switch (f->type) {
    case FE_BIND:
        if (msg_bind(f->payload, &bind) && bind.statement.len) {
            b->deallocating = false;
            return false;
        }
        b->gone_bound = true;
        b->gone_portal = bind.portal;
        pipeline_push(b->r->due, REPLY_BIND, REPLY_INVENT);
        return true;
    case FE_DESCRIBE:
        if (!msg_target(f->payload, &target) || !is_of_deallocate(b, &target)) return false;
        pipeline_push(b->r->due, REPLY_DESCRIBE, REPLY_INVENT)->portal_describe = target.kind == PROTO_KIND_PORTAL;
        return true;
    case FE_EXECUTE: {
        if (!msg_execute(f->payload, &execute) || !b->gone_bound || !span_eq(execute.portal, b->gone_portal))
            return false;
        struct reply *due = pipeline_push(b->r->due, REPLY_EXECUTE, REPLY_INVENT);
        struct span name = span_of(b->gone, b->gone_len);
        due->client_names = true;
        (void)prep_client_find_name(b->r->client, name, &due->name);
        due->before = prep_client_set(b->r->client, name, NULL);
        return true;
    }
    default: return false;
    }
}

// A name of ours that the server connection holds: errors tell the client its own instead. Where there is none, that of
// a text which nothing is wrong with, and which no client has a name for. The client's own name will not do although
// the connection may have been given it: whether that has succeeded is not known yet. Where all names were free, there
// is what the name was given to since.
static struct span taken_name(struct batch *b, struct statement *taken) {
    struct prep_rewrite *r = b->r;
    struct statement *st = b->names_are_free ? taken : prep_server_oldest(r->server);
    if (st && prep_is_our_name(prep_server_name(r->server, st))) return prep_server_name(r->server, st);
    st = statements_intern(r->statements, span_str("/* pgsteer */"), span_of("\0\0", 2), r->meaning);
    statement_unref(st); // the newest of the idle ones
    return need_statement(b, st);
}

static bool is_same_text(const struct statement *a, const struct statement *b) {
    return span_eq(a->query, b->query) && span_eq(a->types, b->types);
}

// The server's transaction has failed, and nothing that is due may end it.
static bool has_failed(const struct prep_rewrite *r) {
    if (LIKELY(!r->nothing_runs)) return false;
    for (uint32_t i = 0; i < r->due->count; i++) {
        const struct reply *due = pipeline_at(r->due, i);
        if (due->kind == REPLY_QUERY || due->kind == REPLY_EXECUTE || due->kind == REPLY_SYNC) return false;
    }
    return true;
}

// The name of what a Parse need not be sent for, empty when it has to be.
static struct span held_as_new(struct batch *b, struct statement *st) {
    struct span name = prep_server_use(b->r->server, st);
    if (!name.len || !prep_gives_what_is_named(st->query) || has_failed(b->r)) return name;
    close_statement(b, st); // it is described as what had the name when it was parsed
    return span_of("", 0);
}

// A Parse of what the server holds.
static struct reply *parse_held(struct batch *b, const struct msg_parse *m, struct span name) {
    struct prep_rewrite *r = b->r;
    if (LIKELY(!has_failed(r)) || prep_parses_when_failed(m->query))
        return pipeline_push(r->due, REPLY_PARSE, REPLY_INVENT);
    request_parse(words(b), name, m->query, m->types); // to be refused, so that the client does not have it
    return pipeline_push(r->due, REPLY_PARSE, REPLY_FORWARD);
}

static void rewrite_parse(struct batch *b, const struct frame *f) {
    struct prep_rewrite *r = b->r;
    struct msg_parse m;
    if (!msg_parse(f->payload, &m)) bug("a batch holds a Parse that was not checked");
    struct statement *st = statements_intern(r->statements, m.query, m.types, r->meaning);
    if (m.name.len == 0) b->deallocating = begins_deallocate(b, &m);
    if (m.name.len == 0 && b->deallocating) {
        rewrite_deallocate(b, st);
        return;
    }
    if (m.name.len == 0) {
        rewrite_parse_unnamed(b, f, st);
        return;
    }
    struct statement *taken = prep_client_find(r->client, m.name);
    if (b->names_are_free && !prep_client_is_new(r->client, m.name)) taken = NULL;
    struct reply *due;
    if (taken && !(r->again && is_same_text(taken, st))) {
        // The client has the name already. The server is to say so, or what else is wrong with the text, so it gets it
        // under a name that is taken there.
        request_parse(words(b), taken_name(b, taken), m.query, m.types);
        due = pipeline_push(r->due, REPLY_PARSE, REPLY_FORWARD);
        due->after = st;
    } else {
        struct span held = b->names_are_free ? span_of("", 0) : held_as_new(b, st);
        if (held.len) {
            due = parse_held(b, &m, held);
            due->after = st;
        } else {
            if (UNLIKELY(r->server->exposed)) expose_next(b, st, m.name);
            due = parse_on_server(b, st, REPLY_FORWARD); // counts `st` once for itself
            statement_unref(st);
        }
        due->client_names = true;
        struct statement *before = prep_client_set(r->client, m.name, st);
        if (b->names_are_free)
            due->before = before;
        else if (before)
            statement_unref(before); // its own, from the time before; an error undoes that too
    }
    (void)prep_client_find_name(r->client, m.name, &due->name);
}

// A client's name for a statement, and what it goes by on the server.
struct names {
    struct span on_server;
    struct statement *statement; // NULL: not known
    struct prep_name *called;    // counted
};

// Where others are not to see it, the unnamed statement of an earlier batch has no name on the server either.
static void parse_unnamed(struct batch *b) {
    struct prep_rewrite *r = b->r;
    struct statement *st = r->client->unnamed;
    if (!st || b->unnamed_parsed || r->nothing_runs) return;
    request_parse(words(b), span_of("", 0), st->query, st->types);
    pipeline_push(r->due, REPLY_PARSE, REPLY_SWALLOW);
    b->unnamed_parsed = true;
}

// The client has closed it elsewhere, or where no server was asked.
static bool is_left_over(const struct prep_server *server, struct span name) {
    return UNLIKELY(server->exposed) && (prep_server_exposed_as(server, name) || prep_server_has_second(server, name));
}

// Sees to it that the statement is there. A name the client does not have becomes one that no server has, so that
// nobody reaches a statement that is not his.
static struct names find_names(struct batch *b, struct span client_name) {
    struct names n = {.on_server = client_name};
    if (UNLIKELY(b->r->server->exposed) && client_name.len == 0) parse_unnamed(b);
    if (client_name.len == 0 && b->unnamed_parsed) {
        n.statement = b->r->client->unnamed;
        return n;
    }
    struct statement *st = prep_client_find_name(b->r->client, client_name, &n.called);
    if (b->names_are_free && client_name.len && !prep_client_is_new(b->r->client, client_name)) st = NULL;
    n.statement = st;
    if (st)
        n.on_server = need_statement(b, st);
    else if (client_name.len == 0 || prep_is_our_name(client_name) || is_left_over(b->r->server, client_name))
        n.on_server = span_str(NAME_OF_NOTHING);
    return n;
}

// Its shape is to be noted when it comes.
static void note_described(struct prep_rewrite *r, struct reply *due, struct statement *st) {
    due->epoch = r->schema_young ? 0 : r->meaning.epoch;
    due->after = st;
    statement_ref(st);
}

static void note_deallocate_all(struct batch *b, const struct statement *st, struct span portal) {
    uint16_t *all = &b->r->client->all_portal;
    bool is_one = b->r->deallocates_all && st && prep_deallocates_all(st->query);
    if (LIKELY(!is_one && !*all)) return;
    uint16_t hash = prep_portal_hash(portal);
    if (is_one)
        *all = hash;
    else if (*all == hash)
        *all = 0;
}

static void rewrite_execute(struct batch *b, const struct frame *f) {
    struct prep_client *c = b->r->client;
    struct msg_execute m;
    pipeline_push(b->r->due, REPLY_EXECUTE, REPLY_FORWARD);
    keep_message(b, f);
    if (LIKELY(!c->all_portal) || !msg_execute(f->payload, &m) || prep_portal_hash(m.portal) != c->all_portal) return;
    c->all_portal = 0; // it is run once
    b->names_are_free = true;
    prep_client_free_names(c);
}

static void rewrite_bind(struct batch *b, const struct frame *f) {
    struct prep_rewrite *r = b->r;
    struct msg_bind m;
    if (!msg_bind(f->payload, &m)) bug("a batch holds a Bind that was not checked");
    struct names n = find_names(b, m.statement);
    note_deallocate_all(b, n.statement, m.portal);
    if (n.on_server.ptr == m.statement.ptr) {
        keep_message(b, f);
    } else {
        struct buf *out = words(b);
        size_t at = buf_msg_begin(out, FE_BIND);
        buf_put(out, m.portal.ptr, m.portal.len + 1); // with its NUL
        buf_put_span(out, n.on_server);
        buf_put_u8(out, 0);
        buf_put_span(out, m.rest);
        buf_msg_end(out, at);
        size_t here = PROTO_HEADER_LEN + f->payload.len;
        if (here < f->total) buf_msg_lengthen(out, at, f->total - here); // the rest follows as a stream
    }
    pipeline_push(r->due, REPLY_BIND, REPLY_FORWARD)->name = n.called;
    b->portal = m.portal;
    b->bound = n.statement;
}

static void rewrite_describe(struct batch *b, const struct frame *f) {
    struct prep_rewrite *r = b->r;
    struct msg_target m;
    if (!msg_target(f->payload, &m)) bug("a batch holds a Describe that was not checked");
    if (m.kind == 'P') {
        keep_message(b, f);
        struct reply *due = pipeline_push(r->due, REPLY_DESCRIBE, REPLY_FORWARD);
        due->portal_describe = true;
        if (b->bound && !b->bound->shape && span_eq(m.name, b->portal)) note_described(r, due, b->bound);
        return;
    }
    struct names n = find_names(b, m.name);
    if (n.on_server.ptr == m.name.ptr) {
        keep_message(b, f);
    } else {
        struct buf *out = words(b);
        size_t at = buf_msg_begin(out, FE_DESCRIBE);
        buf_put_u8(out, 'S');
        buf_put_span(out, n.on_server);
        buf_put_u8(out, 0);
        buf_msg_end(out, at);
    }
    struct reply *due = pipeline_push(r->due, REPLY_DESCRIBE, REPLY_FORWARD);
    due->name = n.called;
    if (n.statement && !n.statement->shape) note_described(r, due, n.statement);
}

static void rewrite_close(struct batch *b, const struct frame *f) {
    struct prep_rewrite *r = b->r;
    struct msg_target m;
    if (!msg_target(f->payload, &m)) bug("a batch holds a Close that was not checked");
    // A name that the client does not have may be one of SQL's PREPARE, but not where the server still has what the
    // client has closed elsewhere.
    bool sql = m.name.len && !prep_client_find(r->client, m.name) && !prep_is_our_name(m.name) &&
               !is_left_over(r->server, m.name);
    if (m.kind == 'P' || sql) {
        keep_message(b, f);
        pipeline_push(r->due, REPLY_CLOSE, REPLY_FORWARD);
        return;
    }
    // Others may use the statement under the same name of ours: the server keeps it.
    if (UNLIKELY(r->server->exposed)) close_exposed(b, m.name);
    if (m.name.len == 0) b->unnamed_parsed = false;
    struct reply *due = pipeline_push(r->due, REPLY_CLOSE, REPLY_INVENT);
    due->client_names = true;
    (void)prep_client_find_name(r->client, m.name, &due->name);
    due->before = prep_client_set(r->client, m.name, NULL);
}

static void rewrite_message(struct batch *b, const struct frame *f) {
    if (is_invented(b, f)) return;
    switch (f->type) {
    case FE_PARSE: rewrite_parse(b, f); return;
    case FE_BIND: rewrite_bind(b, f); return;
    case FE_DESCRIBE: rewrite_describe(b, f); return;
    case FE_CLOSE: rewrite_close(b, f); return;
    case FE_EXECUTE: rewrite_execute(b, f); return;
    case FE_SYNC: pipeline_push(b->r->due, REPLY_SYNC, REPLY_FORWARD); break;
    case FE_FLUSH:
        if (!b->r->flush_is_sync) break;
        pipeline_push(b->r->due, REPLY_SYNC, REPLY_SWALLOW);
        request_sync(words(b));
        return;
    default: bug("not a message of a batch");
    }
    keep_message(b, f);
}

// What no server takes for a message needs no name of ours.
static void keep_malformed(struct batch *b, const struct frame *f) {
    keep_message(b, f);
    pipeline_push(b->r->due, REPLY_REFUSAL, REPLY_FORWARD);
}

bool prep_rewrite(struct prep_rewrite *r, struct span batch) {
    struct batch b = {.r = r, .names_are_free = r->names_are_free};
    const uint8_t *start = batch.ptr, *end = batch.ptr + batch.len;
    struct frame f;
    while (batch.len) {
        if (frame_next(FRAME_FROM_CLIENT, batch, &f, NULL) == WIRE_BAD || !f.type) bug("a batch was not checked");
        batch = span_from(batch, PROTO_HEADER_LEN + f.payload.len);
        if (r->malformed && !batch.len)
            keep_malformed(&b, &f);
        else
            rewrite_message(&b, &f);
    }
    r->names_are_free = b.names_are_free;
    if (b.from == start && b.to == end && buf_len(r->out) == 0) return false;
    put_run(&b);
    return true;
}

// Proofs.

void prep_prove(struct prep_rewrite *r, struct statement *st) {
    struct batch b = {.r = r};
    struct statement *held = in_context(r, st);
    if (!prep_server_has(r->server, held)) parse_on_server(&b, held, REPLY_SWALLOW)->proof = true;
    request_describe_statement(r->out, prep_server_name(r->server, held));
    struct reply *due = pipeline_push(r->due, REPLY_DESCRIBE, REPLY_SWALLOW);
    due->proof = true;
    note_described(r, due, held);
    due->before = st;
    statement_ref(st);
    pipeline_push(r->due, REPLY_SYNC, REPLY_SWALLOW);
    request_sync(r->out);
    r->server_parses++;
}

static struct span next_message(struct span batch, struct frame *f) {
    if (frame_next(FRAME_FROM_CLIENT, batch, f, NULL) == WIRE_BAD || !f->type) bug("a batch was not checked");
    return span_from(batch, PROTO_HEADER_LEN + f->payload.len);
}

// Who asks what a portal gives, as libpq does each time, is told it anew.
static bool describes_portal(struct span batch, struct span portal) {
    struct frame f;
    struct msg_target m;
    while (batch.len) {
        batch = next_message(batch, &f);
        if (f.type == FE_EXECUTE || f.type == FE_BIND) return false;
        if (f.type == FE_DESCRIBE && msg_target(f.payload, &m) && m.kind == PROTO_KIND_PORTAL)
            return span_eq(m.name, portal);
    }
    return false;
}

struct statement *prep_unproven(struct prep_rewrite *r, struct span batch) {
    struct frame f;
    struct msg_bind m;
    struct msg_parse parse;
    bool unnamed_is_new = false;
    while (batch.len) {
        batch = next_message(batch, &f);
        struct statement *st = NULL;
        if (f.type == FE_PARSE && msg_parse(f.payload, &parse)) {
            // The name is taken, and what follows is passed over; or all names were free, and none is old.
            if (parse.name.len && prep_client_find(r->client, parse.name)) return NULL;
            unnamed_is_new |= !parse.name.len;
        } else if (f.type == FE_BIND && msg_bind(f.payload, &m) && (m.statement.len || !unnamed_is_new)) {
            st = prep_client_find(r->client, m.statement);
        }
        if (st && needs_proof(r, st) && !describes_portal(batch, m.portal)) return st;
    }
    return NULL;
}

void prep_refuse(struct prep_rewrite *r, struct statement *held, bool synced) {
    struct batch b = {.r = r};
    if (held && prep_server_has(r->server, held)) close_statement(&b, held);
    size_t at = buf_msg_begin(r->out, FE_BIND);
    buf_put_u8(r->out, 0);
    buf_put_cstr(r->out, NAME_OF_NOTHING);
    for (int i = 0; i < 6; i++) buf_put_u8(r->out, 0); // none of all the rest
    buf_msg_end(r->out, at);
    pipeline_push(r->due, REPLY_BIND, REPLY_FORWARD)->outdated = true;
    if (synced) request_sync(r->out);
    if (synced) pipeline_push(r->due, REPLY_SYNC, REPLY_FORWARD);
}

// Exposing.

// Another client's go, and those by a name of ours. True when there were any.
static bool close_unwanted(struct prep_rewrite *r) {
    struct batch b = {.r = r};
    struct prep_name *at = NULL;
    struct span name;
    bool any = false;
    prep_server_unwant(r->server);
    for (struct statement *st; (st = prep_client_next(r->client, &at, &name));)
        prep_server_want(r->server, in_context(r, st), name);
    for (struct statement *st; (st = prep_server_unwanted(r->server)); any = true) close_statement(&b, st);
    for (struct cursor c = cursor_of(buf_span(&r->server->second)); cursor_left(&c); any = true) {
        request_close_statement(r->out, cursor_cstr(&c));
        pipeline_push(r->due, REPLY_CLOSE, REPLY_SWALLOW);
    }
    buf_clear(&r->server->second);
    return any;
}

static void put_query(struct prep_rewrite *r, const char *sql) {
    request_query(r->out, span_str(sql));
    pipeline_push(r->due, REPLY_QUERY, REPLY_SWALLOW);
}

static void parse_exposed(struct prep_rewrite *r, struct statement *st, struct span name, bool in_transaction) {
    request_parse(r->out, name, st->query, st->types);
    struct reply *due = pipeline_push(r->due, REPLY_PARSE, REPLY_SWALLOW);
    due->attempt = true;
    if (prep_server_has(r->server, st)) { // by another name that the client has for it
        prep_server_add_second(r->server, name);
    } else {
        note_gets(due, st);
        prep_server_add_as(r->server, st, name);
    }
    request_sync(r->out);
    pipeline_push(r->due, REPLY_SYNC, REPLY_SWALLOW);
    if (in_transaction) put_query(r, "ROLLBACK TO SAVEPOINT pgsteer_prepared");
}

void prep_expose(struct prep_rewrite *r, bool in_transaction) {
    r->server->exposed = true;
    struct span name;
    bool saved = false;
    if (close_unwanted(r)) {
        request_sync(r->out);
        pipeline_push(r->due, REPLY_SYNC, REPLY_SWALLOW);
    }
    struct prep_name *at = NULL;
    for (struct statement *st; (st = prep_client_next(r->client, &at, &name));) {
        st = in_context(r, st);
        if (span_eq(prep_server_name(r->server, st), name)) continue;
        if (in_transaction && !saved) put_query(r, "SAVEPOINT pgsteer_prepared");
        saved = true;
        parse_exposed(r, st, name, in_transaction);
    }
    if (in_transaction && saved) put_query(r, "RELEASE SAVEPOINT pgsteer_prepared");
}

// Where a name of ours stands between double quotes in `text`; 0 when nowhere. `*len` is its length, quotes included.
static size_t find_our_name(struct span text, size_t *len) {
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] != '"' || !prep_is_our_name(span_from(text, i + 1))) continue;
        const uint8_t *end = memchr(text.ptr + i + 1, '"', text.len - i - 1);
        if (!end) return 0;
        *len = (size_t)(end - (text.ptr + i)) + 1;
        return i;
    }
    return 0;
}

bool prep_rename_error(struct span message, struct span name, struct buf *out) {
    struct cursor c = cursor_of(span_from(message, PROTO_HEADER_LEN));
    size_t at = 0, len = 0;
    bool found = false;
    size_t start = buf_len(out), begin = buf_msg_begin(out, (char)message.ptr[0]);
    for (uint8_t field; (field = cursor_u8(&c)) != 0;) {
        struct span text = cursor_cstr(&c);
        if (c.bad) break;
        buf_put_u8(out, field);
        at = field == 'M' ? find_our_name(text, &len) : 0;
        found |= at > 0;
        if (!at) {
            buf_put_span(out, text);
        } else if (!name.len && span_is(span_from(text, at + len), " does not exist")) {
            buf_printf(out, "unnamed prepared statement does not exist");
        } else {
            buf_put_span(out, span_first(text, at));
            buf_put_u8(out, '"');
            buf_put_span(out, name);
            buf_put_u8(out, '"');
            buf_put_span(out, span_from(text, at + len));
        }
        buf_put_u8(out, 0);
    }
    buf_put_u8(out, 0);
    buf_msg_end(out, begin);
    if (!found) buf_truncate(out, start);
    return found;
}
