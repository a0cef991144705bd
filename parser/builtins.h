// SPDX-License-Identifier: ISC
//
// parser/builtins.h: what is known of PostgreSQL's own functions, operators and relations.
//
// Two tables of functions: parser/funcs.def, judged by hand, and parser/builtins.def, generated, for the many that are
// harmless. A name in neither is a user's function, or one that this project does not know. Names are as the grammar
// gives them: folded to lower case unless they were quoted. Pure; any thread.
#ifndef PGSTEER_PARSER_BUILTINS_H
#define PGSTEER_PARSER_BUILTINS_H

#include "base/span.h"

enum builtin_class {
    BUILTIN_UNKNOWN,  // not one of PostgreSQL's
    BUILTIN_HARMLESS, // as good on a replica
    BUILTIN_WRITE,    // the others are described in parser/funcs.def
    BUILTIN_PRIMARY,
    BUILTIN_SESSION,
    BUILTIN_LOCK,
};

struct builtin {
    enum builtin_class class;
    uint32_t facts; // enum verdict_fact
};

// The function `name` of `schema`; an empty schema stands for pg_catalog, which every search_path has.
struct builtin builtin_function(struct span schema, struct span name);
// Whether pg_catalog has an operator with this symbol.
bool builtin_operator(struct span name);
// Relations whose rows are about one server or one session. An empty schema stands for pg_catalog; pg_stat_... is known
// in any schema, since extensions put theirs elsewhere.
bool builtin_relation_is_primary(struct span schema, struct span name);
// Of those, the counters of what was done to tables, indexes and functions; and the functions that have to do with
// them.
bool builtin_relation_is_counters(struct span name);
bool builtin_function_is_counters(struct span name);
// pg_settings: reading it shows the session's settings, and an UPDATE of it sets them.
bool builtin_relation_is_settings(struct span schema, struct span name);
// pg_prepared_statements: what of PREPARE and of Parse the session has.
bool builtin_relation_is_prepared(struct span schema, struct span name);
// pg_temp, pg_temp_N and pg_toast_temp_N.
bool builtin_schema_is_temp(struct span schema);

#endif
