// SPDX-License-Identifier: ISC
//
// router/session/pipeline.h: the replies that a server still owes.
//
// For every message sent that PostgreSQL answers there is one entry, in order, which says what becomes of the answer:
// forwarded to the client, swallowed (the router asked, not the client), or invented (the client asked, the server was
// not bothered). An error makes the server skip everything up to the next Sync, and so the entries up to there. A
// connection may be given to somebody else only when its pipeline is empty. Pure bookkeeping; single thread.
#ifndef PGSTEER_ROUTER_SESSION_PIPELINE_H
#define PGSTEER_ROUTER_SESSION_PIPELINE_H

#include "base/base.h"

struct prep_name; // router/session/prep.h
struct statement; // router/session/statements.h

enum reply_kind {
    REPLY_QUERY,    // Query or FunctionCall: anything up to its ReadyForQuery
    REPLY_PARSE,    // ParseComplete
    REPLY_BIND,     // BindComplete
    REPLY_DESCRIBE, // RowDescription or NoData, for a statement ParameterDescription before it
    REPLY_EXECUTE,  // rows and CommandComplete, EmptyQueryResponse, PortalSuspended, or COPY
    REPLY_CLOSE,    // CloseComplete
    REPLY_SYNC,     // ReadyForQuery
    REPLY_REFUSAL,  // of a malformed message: nothing but an error
};

enum reply_action { REPLY_FORWARD, REPLY_SWALLOW, REPLY_INVENT };

// What the client's messages between one ReadyForQuery and the next do.
struct exchange {
    bool wrote;        // it is not just a read
    bool begins, ends; // a transaction
    bool queries;      // a query may have been run by it
    bool binds;        // a transaction on a replica cannot go on elsewhere after it (router/session/transaction.h)
    uint8_t told;      // why it goes where it goes, enum route_reason + 1, for the client; 0 = it has not asked
};

static inline struct exchange exchange_join(struct exchange a, struct exchange b) {
    return (struct exchange){.wrote = a.wrote || b.wrote,
                             .begins = a.begins || b.begins,
                             .ends = a.ends || b.ends,
                             .queries = a.queries || b.queries,
                             .binds = a.binds || b.binds,
                             .told = a.told ? a.told : b.told};
}

// What a Parse or Close, or the Execute of a DEALLOCATE, did to the client's names when it was sent, so that it can be
// undone if the server never did it.
struct reply {
    uint8_t kind;             // enum reply_kind
    uint8_t action;           // enum reply_action
    bool client_names;        // it changed the client's names: `name`, `after`, `before` say how
    bool portal_describe;     // REPLY_DESCRIBE of a portal
    bool proof;               // PARSE, DESCRIBE: asked for by prep_prove
    bool outdated;            // BIND: put there by prep_refuse
    bool attempt;             // PARSE: if it fails nobody is to know
    struct prep_name *name;   // counted; NULL = the unnamed statement. CLOSE with `server_names`: the client's own name
                              // that the server knows it by
    struct statement *after;  // PARSE: what the name stands for now (counted); also what the server gets to hold.
                              // DESCRIBE: the statement that is described, or bound to the portal, if that is known
    struct statement *before; // what the name stood for until then (counted), or NULL; DESCRIBE for a proof: the
                              // statement that the client knows
    bool server_names;        // PARSE, CLOSE: the server's set of statements changes with it. `after` is what it gets
                              // to hold, or held; NULL: a second name goes
    bool prefix;              // of a BEGIN that the router has put before what the client sent
    // What ends an exchange (QUERY, SYNC) carries what is to be known of it then.
    bool counted; // it is one of the session's `due`
    struct exchange does;
    uint32_t journal; // bytes of the session's journal that it stands for
    union {
        uint64_t started_us; // when it was sent
        uint64_t epoch;      // DESCRIBE: the schema's; 0 = of some server's, which others may not have yet
    };
};

struct pipeline {
    struct reply *ring;
    uint32_t head, count, cap; // cap is a power of two
};

static inline void pipeline_init(struct pipeline *p) { *p = (struct pipeline){0}; }
// Frees everything, counts on statements too.
void pipeline_fini(struct pipeline *p);
// It is empty, and gives memory back that few need.
void pipeline_trim(struct pipeline *p);
static inline bool pipeline_is_empty(const struct pipeline *p) { return p->count == 0; }
// The entry whose answer comes next; NULL when nothing is due. Good until the next push or pop.
static inline struct reply *pipeline_head(struct pipeline *p) {
    return p->count ? &p->ring[p->head & (p->cap - 1)] : NULL;
}
static inline struct reply *pipeline_at(struct pipeline *p, uint32_t i) {
    return &p->ring[(p->head + i) & (p->cap - 1)];
}
// For pipeline_push and pipeline_pop.
void pipeline_grow(struct pipeline *p);
void reply_fini(struct reply *r);
// Whether a ReadyForQuery is among them.
bool pipeline_has_end(struct pipeline *p);
// A new last entry, all zero but kind and action; good until the next push.
static inline struct reply *pipeline_push(struct pipeline *p, enum reply_kind kind, enum reply_action action) {
    if (UNLIKELY(p->count == p->cap)) pipeline_grow(p);
    struct reply *r = pipeline_at(p, p->count++);
    *r = (struct reply){.kind = (uint8_t)kind, .action = (uint8_t)action};
    return r;
}
// Drops the head and what it owns.
static inline void pipeline_pop(struct pipeline *p) {
    bug_unless(p->count > 0);
    struct reply *r = pipeline_head(p);
    if (r->name || r->after || r->before) reply_fini(r);
    p->head++;
    p->count--;
}

#endif
