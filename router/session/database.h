// SPDX-License-Identifier: ISC
//
// router/session/database.h: what a worker knows of one database.
//
// The verdicts of texts seen before, made with the database's catalog, and the prepared statements of its clients. One
// object per worker and database, made when the first client logs in, kept for good: the number of databases is bounded
// by those that exist on the servers, since only a login that a server accepted makes one. Single thread.
#ifndef PGSTEER_ROUTER_SESSION_DATABASE_H
#define PGSTEER_ROUTER_SESSION_DATABASE_H

#include "parser/verdicts.h"
#include "router/session/statements.h"

struct database {
    char *name; // on the servers
    struct verdicts *verdicts;
    struct statements *statements;
    const struct catalog *catalog; // NULL until it has been read: any relation might be a view over anything
    uint64_t made_us;              // when its first client came
    uint64_t generation;           // grows when verdicts made before no longer count
    struct database *next;
};

struct databases {
    struct database *first;
    uint64_t next_statement_id;
    size_t verdict_cache_size, max_parse_length; // for those made from now on
};

void databases_fini(struct databases *all); // no session may be left
// Finds or makes it.
struct database *databases_get(struct databases *all, const char *name, bool *made);
// A new catalog for the database it names; ignored when no client has used that database. Until the first one a read is
// VERDICT_UNKNOWN.
void databases_set_catalog(struct databases *all, struct catalog *c);

// The verdict of a text; `conforming` is the session's standard_conforming_strings.
struct verdict database_verdict(struct database *d, struct span sql, bool conforming);
// The same for an interned statement, kept with it.
struct verdict database_statement_verdict(struct database *d, struct statement *s, bool conforming);
// Of all of them together, since the start.
struct verdicts_stats databases_stats(const struct databases *all);
// A replica refused the text: to the primary from now on.
void database_learn_primary(struct database *d, struct span sql);

#endif
