// SPDX-License-Identifier: ISC
//
// parser/catalog.c: one database's user-defined functions, operators and relations.
//
// Tables with one key, the name without its schema, since that is what a statement always has. The rows of a name
// are few (overloads, the same name in several schemas) and stand in a list.
#include "parser/catalog.h"

#include <stdatomic.h>

#include "base/buf.h"
#include "base/mem.h"

#define uthash_fatal(text) bug(text)
#include <uthash.h>

struct row {
    struct row *next;
    char *schema;
    int min_args, max_args;
    enum catalog_volatility volatility;
    enum catalog_leaves leaves;
};

struct entry {
    UT_hash_handle hh;
    char *name;
    struct row *rows;
};

struct catalog {
    struct snap snap; // first
    char *database;
    struct entry *functions, *operators, *relations;
    struct entry *leaving_functions, *leaving_types, *leaving_relations;
    enum catalog_leaves ddl_leaves, anything_leaves, most_leaves;
    bool changes_meaning, asks_sequence_state;
    struct buf parameters;
    atomic_ullong read_us;
};

static void table_free(struct entry **table) {
    struct entry *e, *next_entry;
    HASH_ITER(hh, *table, e, next_entry) {
        HASH_DEL(*table, e);
        for (struct row *r = e->rows, *next; r; r = next) {
            next = r->next;
            mem_free(r->schema);
            mem_free(r);
        }
        mem_free(e->name);
        mem_free(e);
    }
}

static const struct row *table_find(struct entry *table, struct span name) {
    struct entry *e = NULL;
    if (name.len > 0) HASH_FIND(hh, table, name.ptr, name.len, e);
    return e ? e->rows : NULL;
}

static void table_add(struct entry **table, const char *schema, const char *name, struct row from) {
    struct entry *e = NULL;
    size_t len = strlen(name);
    if (len == 0) return;
    HASH_FIND(hh, *table, name, len, e);
    if (!e) {
        e = mem_new(struct entry);
        e->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, *table, e->name, len, e);
    }
    struct row *r = mem_new(struct row);
    *r = from;
    r->schema = mem_strdup(schema);
    r->next = e->rows;
    e->rows = r;
}

static bool row_is_of(const struct row *r, struct span schema) { return schema.len == 0 || span_is(schema, r->schema); }

static bool table_has(struct entry *table, struct span schema, struct span name) {
    for (const struct row *r = table_find(table, name); r; r = r->next)
        if (row_is_of(r, schema)) return true;
    return false;
}

static void catalog_free(struct snap *s) {
    struct catalog *c = container_of(s, struct catalog, snap);
    table_free(&c->functions);
    table_free(&c->operators);
    table_free(&c->relations);
    table_free(&c->leaving_functions);
    table_free(&c->leaving_types);
    table_free(&c->leaving_relations);
    buf_release(&c->parameters);
    mem_free(c->database);
    mem_free(c);
}

struct catalog *catalog_new(const char *database) {
    struct catalog *c = mem_new(struct catalog);
    snap_init(&c->snap, catalog_free);
    c->database = mem_strdup(database);
    c->parameters = buf_make(SIZE_MAX / 2);
    return c;
}

void catalog_ref(struct catalog *c) { snap_ref(&c->snap); }
void catalog_unref(struct catalog *c) { snap_unref(&c->snap); }
const char *catalog_database(const struct catalog *c) { return c->database; }

void catalog_note_read(struct catalog *c, uint64_t began_us) {
    atomic_store_explicit(&c->read_us, began_us, memory_order_relaxed);
}

uint64_t catalog_read_us(const struct catalog *c) { return atomic_load_explicit(&c->read_us, memory_order_relaxed); }

void catalog_add_function(struct catalog *c, const char *schema, const char *name, int min_args, int max_args,
                          enum catalog_volatility volatility) {
    table_add(&c->functions, schema, name,
              (struct row){.min_args = min_args, .max_args = max_args, .volatility = volatility});
}

void catalog_add_volatile_operator(struct catalog *c, const char *schema, const char *name) {
    table_add(&c->operators, schema, name, (struct row){0});
}

void catalog_add_primary_relation(struct catalog *c, const char *schema, const char *name) {
    table_add(&c->relations, schema, name, (struct row){0});
}

static void note_leaves(struct catalog *c, enum catalog_leaves leaves) {
    c->most_leaves = MAX_OF(c->most_leaves, leaves);
}

void catalog_add_leaving_function(struct catalog *c, const char *schema, const char *name, enum catalog_leaves leaves) {
    table_add(&c->leaving_functions, schema, name, (struct row){.leaves = leaves});
    note_leaves(c, leaves);
}

void catalog_add_leaving_type(struct catalog *c, const char *schema, const char *name, enum catalog_leaves leaves) {
    table_add(&c->leaving_types, schema, name, (struct row){.leaves = leaves});
    note_leaves(c, leaves);
}

void catalog_add_leaving_relation(struct catalog *c, const char *schema, const char *name, enum catalog_leaves leaves) {
    table_add(&c->leaving_relations, schema, name, (struct row){.leaves = leaves});
    note_leaves(c, leaves);
}

void catalog_add_leaving_ddl(struct catalog *c, enum catalog_leaves leaves) {
    c->ddl_leaves = MAX_OF(c->ddl_leaves, leaves);
    note_leaves(c, leaves);
}

void catalog_add_leaving_anything(struct catalog *c, enum catalog_leaves leaves) {
    c->anything_leaves = MAX_OF(c->anything_leaves, leaves);
    note_leaves(c, leaves);
}

void catalog_add_meaning(struct catalog *c) { c->changes_meaning = true; }
void catalog_add_sequence_state(struct catalog *c) { c->asks_sequence_state = true; }

void catalog_add_parameter(struct catalog *c, const char *name) { buf_put(&c->parameters, name, strlen(name) + 1); }

static enum catalog_leaves table_leaves(struct entry *table, struct span schema, struct span name) {
    enum catalog_leaves leaves = CATALOG_LEAVES_NOTHING;
    for (const struct row *r = table_find(table, name); r; r = r->next)
        if (row_is_of(r, schema)) leaves = MAX_OF(leaves, r->leaves);
    return leaves;
}

enum catalog_leaves catalog_function_leaves(const struct catalog *c, struct span schema, struct span name) {
    return table_leaves(c->leaving_functions, schema, name);
}

enum catalog_leaves catalog_type_leaves(const struct catalog *c, struct span schema, struct span name) {
    return table_leaves(c->leaving_types, schema, name);
}

enum catalog_leaves catalog_relation_leaves(const struct catalog *c, struct span schema, struct span name) {
    return table_leaves(c->leaving_relations, schema, name);
}

enum catalog_leaves catalog_ddl_leaves(const struct catalog *c) { return c->ddl_leaves; }
enum catalog_leaves catalog_anything_leaves(const struct catalog *c) { return c->anything_leaves; }
enum catalog_leaves catalog_most_leaves(const struct catalog *c) { return c->most_leaves; }
bool catalog_changes_meaning(const struct catalog *c) { return c->changes_meaning; }
bool catalog_asks_sequence_state(const struct catalog *c) { return c->asks_sequence_state; }
struct span catalog_parameters(const struct catalog *c) {
    return buf_span(&c->parameters);
}

enum catalog_volatility catalog_function(const struct catalog *c, struct span schema, struct span name, int n_args) {
    enum catalog_volatility found = CATALOG_UNKNOWN;
    for (const struct row *r = table_find(c->functions, name); r; r = r->next) {
        bool takes = n_args >= r->min_args && (r->max_args < 0 || n_args <= r->max_args);
        if (!takes || !row_is_of(r, schema)) continue;
        // A function whose volatility could not be read is no better than a volatile one.
        if (r->volatility != CATALOG_HARMLESS) return CATALOG_VOLATILE;
        found = CATALOG_HARMLESS;
    }
    return found;
}

bool catalog_operator_is_volatile(const struct catalog *c, struct span schema, struct span name) {
    return table_has(c->operators, schema, name);
}

bool catalog_relation_is_primary(const struct catalog *c, struct span schema, struct span name) {
    return table_has(c->relations, schema, name);
}
