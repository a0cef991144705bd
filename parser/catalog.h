// SPDX-License-Identifier: ISC
//
// parser/catalog.h: what the parser must know of one database that its text does not say.
//
// The user-defined functions with their volatility, and the relations a replica cannot serve rightly (views over
// volatile functions, unlogged tables, foreign tables, sequences: a replica's last_value runs up to 32 ahead). Read
// from the primary by health/catalog_probe, immutable, shared by count. Without one (NULL) every function that is not
// built in is unknown, and goes to the primary.
#ifndef PGSTEER_PARSER_CATALOG_H
#define PGSTEER_PARSER_CATALOG_H

#include "base/snap.h"
#include "base/span.h"

enum catalog_volatility { CATALOG_UNKNOWN, CATALOG_HARMLESS, CATALOG_VOLATILE };

// What a call, or a change of a relation, may leave in the session where it runs.
enum catalog_leaves {
    CATALOG_LEAVES_NOTHING,
    CATALOG_LEAVES_STATE,  // settings, temporary objects, locks: what the server can be asked for
    CATALOG_LEAVES_UNSEEN, // what it cannot be asked for
};

struct catalog;

// A builder: one thread adds rows, then the catalog is published and never altered.
struct catalog *catalog_new(const char *database); // one reference, the caller's
// A function outside pg_catalog that accepts min_args..max_args arguments (max_args -1 = any number). For an aggregate
// they are its direct and its aggregated ones. Functions of pg_catalog are not added: the parser has judged them.
void catalog_add_function(struct catalog *c, const char *schema, const char *name, int min_args, int max_args,
                          enum catalog_volatility volatility);
// An operator (by its symbol) whose function is VOLATILE.
void catalog_add_volatile_operator(struct catalog *c, const char *schema, const char *name);
void catalog_add_primary_relation(struct catalog *c, const char *schema, const char *name);

// By name alone, whatever the arguments: a function or procedure that may change its session, or calls one that may,
// and an operator or a type that calls one (casts, domains); a relation whose change, or reading, runs one (triggers,
// defaults, policies, rules); event triggers; and what runs one where no text shows it (implicit casts, comparisons).
void catalog_add_leaving_function(struct catalog *c, const char *schema, const char *name, enum catalog_leaves leaves);
void catalog_add_leaving_type(struct catalog *c, const char *schema, const char *name, enum catalog_leaves leaves);
void catalog_add_leaving_relation(struct catalog *c, const char *schema, const char *name, enum catalog_leaves leaves);
void catalog_add_leaving_ddl(struct catalog *c, enum catalog_leaves leaves);
void catalog_add_leaving_anything(struct catalog *c, enum catalog_leaves leaves);
// One of all these may change what a text means: more than the applications' parameters.
void catalog_add_meaning(struct catalog *c);
// Some code of the database asks for currval or lastval.
void catalog_add_sequence_state(struct catalog *c);
// An application's parameter (its name has a dot, in lower case) that one of those functions may set.
void catalog_add_parameter(struct catalog *c, const char *name);

// The catalog was read, and found to be this one: by a query that began then, by uv_hrtime(). The one thing of a
// published catalog that changes.
void catalog_note_read(struct catalog *c, uint64_t began_us);
uint64_t catalog_read_us(const struct catalog *c);

void catalog_ref(struct catalog *c);
void catalog_unref(struct catalog *c);
const char *catalog_database(const struct catalog *c);

// `schema` is empty when the call does not name one: then every function of that name that takes n_args counts, and one
// volatile condemns all, since the search_path is not known here. No such function: CATALOG_UNKNOWN.
enum catalog_volatility catalog_function(const struct catalog *c, struct span schema, struct span name, int n_args);
bool catalog_operator_is_volatile(const struct catalog *c, struct span schema, struct span name);
bool catalog_relation_is_primary(const struct catalog *c, struct span schema, struct span name);

// `schema` empty: the worst of all schemas.
enum catalog_leaves catalog_function_leaves(const struct catalog *c, struct span schema, struct span name);
enum catalog_leaves catalog_type_leaves(const struct catalog *c, struct span schema, struct span name);
enum catalog_leaves catalog_relation_leaves(const struct catalog *c, struct span schema, struct span name);
enum catalog_leaves catalog_ddl_leaves(const struct catalog *c);
enum catalog_leaves catalog_anything_leaves(const struct catalog *c);
enum catalog_leaves catalog_most_leaves(const struct catalog *c); // of all that is in it
bool catalog_changes_meaning(const struct catalog *c);
bool catalog_asks_sequence_state(const struct catalog *c);
struct span catalog_parameters(const struct catalog *c); // a NUL behind each

#endif
