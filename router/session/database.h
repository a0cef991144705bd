// SPDX-License-Identifier: ISC
//
// router/session/database.h: what a worker knows of one database.
//
// The verdicts of texts seen before, made with the database's catalog, and the prepared statements of its clients. One
// object per worker and database. Anybody who may log in can name any database, so only one that a server has let its
// user into is more than a name, has its catalog read, and is kept when its clients have left; and it goes, too, when
// it is found that it does not exist any more. Counted by its sessions. Single thread.
#ifndef PGSTEER_ROUTER_SESSION_DATABASE_H
#define PGSTEER_ROUTER_SESSION_DATABASE_H

#include <uthash.h>

#include "parser/verdicts.h"
#include "router/session/statements.h"

struct database {
    char *name;                    // on the servers
    struct verdicts *verdicts;     // NULL until it is accepted
    struct statements *statements; // ... as well
    const struct catalog *catalog; // NULL until it has been read: any relation might be a view over anything
    uint64_t accepted_us;          // when a server first let somebody in
    bool accepted;                 // ... one has
    bool missing;                  // the catalog's reader has not found it since
    uint64_t generation;           // grows when verdicts made before no longer count
    // private
    uint32_t refs;
    UT_hash_handle hh;
};

struct databases {
    struct database *all; // uthash, by name
    uint64_t next_statement_id;
    size_t verdict_cache_size, max_parse_length; // for those made from now on
    struct verdicts_stats gone;                  // of those that have gone
    // One that was accepted goes: its catalog is not wanted any more. May be NULL.
    void (*dropped)(void *arg, const char *name);
    void *arg;
};

void databases_fini(struct databases *all); // no session may be left
// Finds or makes it. The caller owns a reference.
struct database *databases_get(struct databases *all, const char *name);
// Gives the reference back; one that nobody needs, and that may not exist, goes.
void databases_leave(struct databases *all, struct database *d);
// A server has let its user in, at `now_us`. True: that is the first time, and its catalog is wanted from now on.
bool databases_accept(struct databases *all, struct database *d, uint64_t now_us);
// A new catalog for the database it names; ignored when that is not known or accepted. Until the first one a read is
// VERDICT_UNKNOWN.
void databases_set_catalog(struct databases *all, struct catalog *c);
// It does not exist: there is no catalog to wait for, and when its clients have left it goes.
void databases_miss(struct databases *all, const char *name);

// The verdict of a text; `conforming` is the session's standard_conforming_strings.
struct verdict database_verdict(struct database *d, struct span sql, bool conforming);
// The same for an interned statement, kept with it.
struct verdict database_statement_verdict(struct database *d, struct statement *s, bool conforming);
// Of all of them together, since the start.
struct verdicts_stats databases_stats(const struct databases *all);
// A replica refused the text: to the primary from now on.
void database_learn_primary(struct database *d, struct span sql);

#endif
