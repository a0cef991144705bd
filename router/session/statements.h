// SPDX-License-Identifier: ISC
//
// router/session/statements.h: prepared statements by what they say.
//
// Clients name statements as they like; two names for the same text and parameter types, parsed under settings that
// give the text the same meaning, are one statement here, with a number that names it on servers. One table per worker
// and database, so the verdict is kept with it. Counted by whoever refers to it: clients' names, servers that hold it,
// replies due. Unreferenced ones stay a while (bounded), since drivers parse the same text again and again. Single
// thread.
#ifndef PGSTEER_ROUTER_SESSION_STATEMENTS_H
#define PGSTEER_ROUTER_SESSION_STATEMENTS_H

#include "base/ilist.h"
#include "base/span.h"
#include "parser/verdict.h"

struct statements;

// What a text means depends on more than the text.
struct meaning {
    uint64_t context; // the settings under which it is parsed (settings_context)
    uint64_t epoch;   // of the schema, when a client parsed it: grows with DDL
};
static inline bool meaning_equal(struct meaning a, struct meaning b) {
    return a.context == b.context && a.epoch == b.epoch;
}

struct statement {
    // read-only
    uint64_t id;              // never used twice in a worker
    struct span query, types; // types: count and oids as they stand in Parse
    struct meaning meaning;
    // the owner's: when the verdict was made (routing context's generation), 0 = never
    struct verdict verdict;
    uint64_t verdict_generation;
    bool proven;      // a server has parsed it: no need to ask again
    uint32_t awaited; // Parses of it that servers have not answered, by which they come to hold it
    // What its rows were last described as (statement_shape), 0 = never; and the schema's epoch in which that is so on
    // all servers, 0 = not known.
    uint64_t shape, shape_epoch;
    // private
    struct statements *table;
    uint64_t hash;
    uint32_t refs;
    struct statement *chain;
    struct ilink idle; // in the table's list of unreferenced ones
};

// `first_id`: the counter ids are taken from, shared by all tables of a worker (servers hold statements of one
// database, but ids that never repeat are easier to read in logs).
struct statements *statements_new(uint64_t *next_id, size_t max_idle);
// No reference may be left.
void statements_free(struct statements *t);
// Finds or makes it; the caller owns one reference.
struct statement *statements_intern(struct statements *t, struct span query, struct span types, struct meaning m);
void statement_ref(struct statement *s);
void statement_unref(struct statement *s);
size_t statements_count(const struct statements *t);
bool statements_are_referenced(const struct statements *t); // any of them

// Stands for the names and types of the columns in a RowDescription's payload; an empty one (NoData) has a shape, too.
// Two shapes are equal where PostgreSQL would say that the result type has not changed.
uint64_t statement_shape(struct span row_description);

#endif
