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
#include "health/catalog_sql.h"

static const int64_t CONNECT_TIMEOUT_MS = 5000; // the other databases wait for as long
static const int64_t READ_TIMEOUT_MS = 30000;
static const int64_t RETRY_US = 5000000;
// When a catalog is read again after DDL has passed by: who saw it pass does not know when, or if, it is committed.
static const int64_t REFRESH_US[] = {200000, 2000000, 10000000};
// ... but where DDL never ends, reading takes no more than a twentieth of the time.
static const int64_t REFRESH_GAP_US = 2000000;
enum { REFRESH_SHARE = 20 };

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
    size_t wanted;               // by so many
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
    if (strcmp(sqlstate, "3D000") == 0) p->ops->missing(p->owner, w->name);
}

static void on_connected(void *owner) {
    struct catalog_probe *p = owner;
    dbconn_query(p->conn, catalog_sql, READ_TIMEOUT_MS);
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
    int min_args = to_int(dbconn_value(c, row, COLUMN_MIN_ARGS)),
        max_args = to_int(dbconn_value(c, row, COLUMN_MAX_ARGS));
    enum catalog_leaves leaves = min_args ? CATALOG_LEAVES_UNSEEN : CATALOG_LEAVES_STATE;
    switch (kind[0]) {
    case 'f':
        catalog_add_function(out, schema, name, min_args, max_args,
                             is_volatile[0] == 'f' ? CATALOG_HARMLESS : CATALOG_VOLATILE);
        break;
    case 'o': catalog_add_volatile_operator(out, schema, name); break;
    case 'r': catalog_add_primary_relation(out, schema, name); break;
    case 'F': catalog_add_leaving_function(out, schema, name, leaves); break;
    case 'T': catalog_add_leaving_type(out, schema, name, leaves); break;
    case 'R': catalog_add_leaving_relation(out, schema, name, leaves); break;
    case 'D': catalog_add_leaving_ddl(out, leaves); break;
    case 'A': catalog_add_leaving_anything(out, leaves); break;
    case 'M': catalog_add_meaning(out); break;
    case 'S': catalog_add_sequence_state(out); break;
    case 'P': catalog_add_parameter(out, name); break;
    default: break;
    }
}

static void on_result(void *owner) {
    struct catalog_probe *p = owner;
    struct watched *w = p->current;
    if (dbconn_rows(p->conn) > (size_t)CATALOG_ROWS_MAX) {
        read_failed(p, "", "it has more than " STRINGIFY(CATALOG_ROWS_MAX) " functions and relations to know of");
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
    if (w) w->wanted++;
    if (w) return;
    size_t len = strlen(database);
    w = mem_alloc(sizeof *w + len + 1);
    memcpy(w->name, database, len + 1);
    w->wanted = 1;
    w->due_us = now_us();
    w->refreshes = countof(REFRESH_US);
    HASH_ADD_STR(p->databases, name, w);
}

void catalog_probe_unwatch(struct catalog_probe *p, const char *database) {
    struct watched *w = find(p, database);
    if (!w || --w->wanted) return;
    if (p->current == w) read_ended(p);
    watched_free(p, w);
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

void catalog_probe_leave(struct catalog_probe *p) {
    if (!p->current) return;
    p->current->due_us = now_us();
    p->current = NULL;
    dbconn_close(p->conn);
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
    dbconn_connect(p->conn, &target, CONNECT_TIMEOUT_MS);
}
