// SPDX-License-Identifier: ISC
//
// health/catalog_probe.h: reads each used database's catalog from the primary.
//
// What it finds, as rows of a struct catalog (parser/catalog.h): the user's functions with the number of arguments they
// take and whether they are VOLATILE (an aggregate is, when one of its support functions is); operators with a VOLATILE
// function; and the relations that only the primary serves rightly:
// - unlogged tables, foreign tables and sequences (a replica's sequence runs ahead of the primary's), and tables that
// have
//   such children or partitions;
// - views over these or over each other, at any depth (pg_depend knows);
// - views and row security policies that call a function which acts or tells one server from another. Which functions a
//   view calls is read from its stored tree, by OID, so the search path, overloading and built-in functions (of which
//   pg_depend knows nothing) are all right. VOLATILE counts as acting but for a few built-ins such as random().
//   PostgreSQL's own views over such functions, pg_locks for one, are among the relations, and so are those over STABLE
//   ones that tell of a server's or a session's state (pg_stat_..., pg_cursors): a view over pg_stat_user_tables is as
//   much about one server as that one. inet_server_port() and the like are not: a view over them is read like any
//   other.
// - what may change the session it runs in: functions, whose sources are looked at, relations with triggers, defaults,
//   policies and rules that call such functions, and the names of the applications' parameters that they set.
// Not seen: casts, operators and domain checks with such functions, and functions that are declared STABLE and are not,
// unless they change the session.
//
// One database at a time, on a connection that lasts for one read; the monitor needs CONNECT there and nothing else.
// A catalog is handed on only when its rows differ from the last one's; else the last one is told when it was found to
// be right again (catalog_note_read).
#ifndef PGSTEER_HEALTH_CATALOG_PROBE_H
#define PGSTEER_HEALTH_CATALOG_PROBE_H

#include "health/dbconn.h"
#include "parser/catalog.h"

struct catalog_probe;

struct catalog_probe_ops {
    // Fills in where the primary is, all but the database. False when there is none.
    bool (*target)(void *owner, struct dbconn_target *target);
    // A catalog that differs from the last one of its database, or that was asked for again. The owner takes its own
    // reference.
    void (*changed)(void *owner, struct catalog *c);
    // The primary has no such database. It goes on being asked for as often as others are read.
    void (*missing)(void *owner, const char *database);
    void (*freed)(void *owner);
};

NODISCARD struct catalog_probe *catalog_probe_new(uv_loop_t *loop, const struct catalog_probe_ops *ops, void *owner);
// Only `freed` is called any more.
void catalog_probe_free(struct catalog_probe *p);

// A database's catalog is wanted, by one more, from now on. Called for one that is read already, it is handed on once
// more.
void catalog_probe_watch(struct catalog_probe *p, const char *database);
// By one fewer. When nobody is left it is forgotten, also in the middle of a read.
void catalog_probe_unwatch(struct catalog_probe *p, const char *database);
// DDL has passed by: it is read again soon, and then twice more within seconds, since who says so may not know when the
// DDL is committed. For a database that is not watched nothing happens.
void catalog_probe_refresh(struct catalog_probe *p, const char *database);
// The primary is another one, or there is none: what is being read from the old one is given up, and read from the
// next.
void catalog_probe_leave(struct catalog_probe *p);
// Begins what is due. To be called often.
void catalog_probe_tick(struct catalog_probe *p, int64_t now_us, int64_t interval_us);

#endif
