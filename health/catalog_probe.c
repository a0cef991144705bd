// SPDX-License-Identifier: ISC
// health/catalog_probe.c: see health/catalog_probe.h.
#include "health/catalog_probe.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"

#define STR_(x) #x
#define STR(x) STR_(x)
#define ROWS_MAX 100000

static const int64_t READ_TIMEOUT_MS = 30000;
static const int64_t RETRY_US = 5000000;
// When a catalog is read again after DDL has passed by: who saw it pass does not know when, or if, it is committed.
static const int64_t REFRESH_US[] = {200000, 2000000, 10000000};
// ... but where DDL never ends, reading takes no more than a twentieth of the time.
static const int64_t REFRESH_GAP_US = 2000000;
enum { REFRESH_SHARE = 20 };

// Rows of (kind, schema, name, min_args, max_args, volatile): f(unction), o(perator), r(elation).
// The numbers behind :funcid and the like in a stored tree are OIDs of pg_proc. Rule type 1 is ON SELECT.
static const char SQL[] =
    "WITH RECURSIVE functions AS ("
    " SELECT p.oid, n.nspname AS schema, p.proname AS name, p.prokind AS kind,"
    "  LEAST(p.pronargs - p.pronargdefaults, CASE WHEN a.aggkind IN ('o', 'h') THEN a.aggnumdirectargs END) AS "
    "min_args,"
    "  CASE WHEN p.provariadic <> 0 THEN -1 ELSE p.pronargs END AS max_args,"
    "  p.provolatile = 'v' OR EXISTS (SELECT FROM pg_catalog.pg_proc AS s WHERE s.provolatile = 'v' AND s.oid IN"
    "   (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,"
    "    a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)) AS volatile"
    " FROM pg_catalog.pg_proc AS p"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
    " LEFT JOIN pg_catalog.pg_aggregate AS a ON a.aggfnoid = p.oid"
    "), acting AS ("
    " SELECT f.oid FROM functions AS f WHERE f.volatile AND NOT (f.schema = 'pg_catalog' AND f.name IN"
    "   ('random', 'clock_timestamp', 'timeofday', 'gen_random_uuid', 'pg_sleep', 'pg_sleep_for', 'pg_sleep_until'))"
    "  OR f.schema = 'pg_catalog' AND (pg_catalog.left(f.name, 12) = 'pg_stat_get_' OR f.name IN ('txid_current',"
    "   'pg_current_xact_id', 'txid_current_if_assigned', 'pg_current_xact_id_if_assigned', 'txid_current_snapshot',"
    "   'pg_current_snapshot', 'pg_cursor', 'pg_prepared_statement', 'pg_listening_channels', 'pg_show_all_settings',"
    "   'pg_get_replication_slots'))"
    "), trees AS ("
    " SELECT r.ev_class AS relation, r.ev_action::pg_catalog.text AS tree"
    " FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class"
    " WHERE c.relkind = 'v' AND r.ev_type = '1'"
    " UNION ALL SELECT p.polrelid, p.polqual::pg_catalog.text FROM pg_catalog.pg_policy AS p WHERE p.polqual IS NOT "
    "NULL"
    "), calls AS ("
    " SELECT t.relation, (pg_catalog.regexp_matches(t.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g'))[1]"
    "  ::pg_catalog.oid AS function FROM trees AS t"
    "), reads AS ("
    " SELECT r.ev_class AS reader, d.refobjid AS relation"
    " FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class"
    " JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid"
    "  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class"
    " WHERE c.relkind = 'v'"
    " UNION ALL SELECT i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits AS i"
    "), primary_only AS ("
    " SELECT c.oid FROM pg_catalog.pg_class AS c"
    " WHERE c.relkind IN ('f', 'S') OR c.relkind IN ('r', 'm') AND c.relpersistence = 'u'"
    " UNION SELECT c.relation FROM calls AS c JOIN acting AS a ON a.oid = c.function"
    " UNION SELECT r.reader FROM primary_only AS p JOIN reads AS r ON r.relation = p.oid"
    ") SELECT 'f' AS kind, f.schema, f.name, f.min_args, f.max_args, f.volatile FROM functions AS f"
    " WHERE (f.schema <> 'pg_catalog' OR f.oid >= 16384) AND f.kind <> 'p'"
    " UNION ALL SELECT 'o', n.nspname, o.oprname, 0, 0, true"
    " FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace"
    " JOIN functions AS f ON f.oid = o.oprcode WHERE f.volatile"
    " UNION ALL SELECT 'r', n.nspname, c.relname, 0, 0, true"
    " FROM primary_only AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.oid"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " ORDER BY 1, 2, 3, 4, 5, 6 LIMIT " STR(ROWS_MAX) " + 1";

enum { COLUMN_KIND, COLUMN_SCHEMA, COLUMN_NAME, COLUMN_MIN_ARGS, COLUMN_MAX_ARGS, COLUMN_VOLATILE, COLUMNS };

struct watched {
    UT_hash_handle hh;
    int64_t due_us;
    int64_t started_us, took_us; // of the last read
    int64_t refresh_us;          // when DDL last passed by
    size_t refreshes;            // entries of REFRESH_US that have come up since
    struct catalog *catalog;     // the one that was handed on; NULL = none yet
    XXH128_hash_t hash;          // of its rows
    bool failing;                // said so already
    char name[];
};

struct catalog_probe {
    const struct catalog_probe_ops *ops;
    void *owner;
    struct dbconn *conn;
    struct watched *databases; // by name
    struct watched *current;   // being read; NULL = none
};

static int64_t now_us(void) { return (int64_t)(uv_hrtime() / 1000); }

static void read_ended(struct catalog_probe *p) {
    p->current->took_us = now_us() - p->current->started_us;
    p->current = NULL;
    dbconn_close(p->conn);
}

static void read_failed(struct catalog_probe *p, const char *sqlstate, const char *text) {
    struct watched *w = p->current;
    int64_t retry_us = now_us() + RETRY_US;
    // One that does not exist, or not yet, is asked for no more often than others.
    if (strcmp(sqlstate, "3D000") != 0) w->due_us = MIN_OF(w->due_us, retry_us);
    if (!w->failing)
        log_warning(NULL, "the catalog of database \"%s\" cannot be read: %s%s%s", w->name, text,
                    sqlstate[0] ? " " : "", sqlstate);
    w->failing = true;
    read_ended(p);
}

static void on_connected(void *owner) {
    struct catalog_probe *p = owner;
    dbconn_query(p->conn, SQL, READ_TIMEOUT_MS);
}

static void on_failed(void *owner, const struct dbconn_failure *f) { read_failed(owner, f->sqlstate, f->text); }

static XXH128_hash_t hash_rows(const struct dbconn *c) {
    XXH3_state_t *state = XXH3_createState();
    bug_unless(state);
    XXH3_128bits_reset(state);
    for (size_t row = 0; row < dbconn_rows(c); row++)
        for (size_t column = 0; column < COLUMNS; column++) {
            const char *value = dbconn_value(c, row, column);
            XXH3_128bits_update(state, value ? value : "", value ? strlen(value) + 1 : 1);
        }
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

static int to_int(const char *text) {
    long n = text ? strtol(text, NULL, 10) : 0;
    return n < -1 || n > INT_MAX ? 0 : (int)n;
}

static void add_row(struct catalog *out, const struct dbconn *c, size_t row) {
    const char *kind = dbconn_value(c, row, COLUMN_KIND), *schema = dbconn_value(c, row, COLUMN_SCHEMA);
    const char *name = dbconn_value(c, row, COLUMN_NAME), *is_volatile = dbconn_value(c, row, COLUMN_VOLATILE);
    if (!kind || !schema || !name || !is_volatile) return;
    if (kind[0] == 'o')
        catalog_add_volatile_operator(out, schema, name);
    else if (kind[0] == 'r')
        catalog_add_primary_relation(out, schema, name);
    else
        catalog_add_function(out, schema, name, to_int(dbconn_value(c, row, COLUMN_MIN_ARGS)),
                             to_int(dbconn_value(c, row, COLUMN_MAX_ARGS)),
                             is_volatile[0] == 'f' ? CATALOG_HARMLESS : CATALOG_VOLATILE);
}

static void on_result(void *owner) {
    struct catalog_probe *p = owner;
    struct watched *w = p->current;
    if (dbconn_rows(p->conn) > ROWS_MAX) {
        read_failed(p, "", "it has more than " STR(ROWS_MAX) " functions and relations to know of");
        return;
    }
    XXH128_hash_t hash = hash_rows(p->conn);
    bool same = w->catalog && XXH128_isEqual(hash, w->hash);
    struct catalog *c = same ? NULL : catalog_new(w->name);
    for (size_t row = 0; c && row < dbconn_rows(p->conn); row++) add_row(c, p->conn, row);
    catalog_note_read(c ? c : w->catalog, (uint64_t)w->started_us);
    if (w->failing) log_info(NULL, "the catalog of database \"%s\" can be read again", w->name);
    w->failing = false;
    read_ended(p);
    if (!c) return;
    if (w->catalog) catalog_unref(w->catalog);
    w->catalog = c;
    w->hash = hash;
    p->ops->changed(p->owner, c);
}

static void watched_free(struct catalog_probe *p, struct watched *w) {
    HASH_DEL(p->databases, w);
    if (w->catalog) catalog_unref(w->catalog);
    mem_free(w);
}

static void on_freed(void *owner) {
    struct catalog_probe *p = owner;
    p->ops->freed(p->owner);
    mem_free(p);
}

struct catalog_probe *catalog_probe_new(uv_loop_t *loop, const struct catalog_probe_ops *ops, void *owner) {
    static const struct dbconn_ops conn_ops = {on_connected, on_result, on_failed, on_freed};
    struct catalog_probe *p = mem_new(struct catalog_probe);
    p->ops = ops;
    p->owner = owner;
    p->conn = dbconn_new(loop, &conn_ops, p);
    return p;
}

void catalog_probe_free(struct catalog_probe *p) {
    struct watched *w, *next;
    HASH_ITER(hh, p->databases, w, next) { watched_free(p, w); }
    dbconn_free(p->conn);
}

static struct watched *find(struct catalog_probe *p, const char *database) {
    struct watched *w;
    HASH_FIND_STR(p->databases, database, w);
    return w;
}

void catalog_probe_watch(struct catalog_probe *p, const char *database) {
    struct watched *w = find(p, database);
    if (w && w->catalog) p->ops->changed(p->owner, w->catalog); // somebody new wants it
    if (w) return;
    size_t len = strlen(database);
    w = mem_alloc(sizeof *w + len + 1);
    memcpy(w->name, database, len + 1);
    w->due_us = now_us();
    w->refreshes = countof(REFRESH_US);
    HASH_ADD_STR(p->databases, name, w);
}

// The reads that DDL brings: the next one that has not come up yet.
static void plan_refresh(struct watched *w, int64_t now) {
    while (w->refreshes < countof(REFRESH_US) && w->refresh_us + REFRESH_US[w->refreshes] <= now) w->refreshes++;
    if (w->refreshes == countof(REFRESH_US)) return;
    int64_t wanted = w->refresh_us + REFRESH_US[w->refreshes];
    int64_t allowed = w->started_us + MAX_OF(REFRESH_GAP_US, REFRESH_SHARE * w->took_us);
    w->due_us = MIN_OF(w->due_us, MAX_OF(wanted, allowed));
}

void catalog_probe_refresh(struct catalog_probe *p, const char *database) {
    struct watched *w = find(p, database);
    if (!w) return;
    w->refresh_us = now_us();
    w->refreshes = 0;
    plan_refresh(w, w->refresh_us);
}

void catalog_probe_tick(struct catalog_probe *p, int64_t now, int64_t interval_us) {
    if (p->current) return;
    struct watched *w, *next, *first = NULL;
    HASH_ITER(hh, p->databases, w, next) {
        if (!first || w->due_us < first->due_us) first = w;
    }
    struct dbconn_target target = {.host = ""};
    if (!first || first->due_us > now || !p->ops->target(p->owner, &target)) return;
    target.database = first->name;
    first->due_us = now + interval_us;
    first->started_us = now;
    plan_refresh(first, now);
    p->current = first;
    dbconn_connect(p->conn, &target, READ_TIMEOUT_MS);
}
