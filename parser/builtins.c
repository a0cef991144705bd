// SPDX-License-Identifier: ISC
// parser/builtins.c: see parser/builtins.h.
#include "parser/builtins.h"

#include "parser/verdict.h"

// Two ? in a row may begin a trigraph; builtins.def splits such names.
static const char *const harmless_functions[] = {
#define BUILTIN(name) name,
#include "parser/builtins.def"
};

static const char *const schema_functions[] = {
#define BUILTIN_OF_SCHEMA(name) name,
#include "parser/builtins.def"
};

static const char *const operators[] = {
#define BUILTIN_OP(name) name,
#include "parser/builtins.def"
};

static const char *const judged_names[] = {
#define FUNC(name, class, facts) #name,
#include "parser/funcs.def"
#undef FUNC
};

static const struct builtin judged[] = {
#define FUNC(name, class, facts) {BUILTIN_##class, facts},
#include "parser/funcs.def"
#undef FUNC
};

// Functions of extensions that come with PostgreSQL and leave in their session what nobody can ask for: a connection to
// another server, which whoever comes next could use.
static const char *const extension_functions[] = {"dblink_connect", "dblink_connect_u"};

// Sorted. Views and tables of pg_catalog and of the extensions that come with PostgreSQL; pg_stat_... is in no list.
static const char *const primary_relations[] = {
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_backend_memory_contexts",
    "pg_buffercache",
    "pg_config",
    "pg_cursors",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_locks",
    "pg_prepared_statements",
    "pg_prepared_xacts",
    "pg_replication_origin_status",
    "pg_replication_slots",
    "pg_sequences", // last_value: a replica is up to 32 values ahead
    "pg_settings",
    "pg_shmem_allocations",
};

// The index of `name`, or -1.
static long find(const char *const *names, size_t count, struct span name) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct span candidate = span_str(names[middle]);
        int order = memcmp(name.ptr, candidate.ptr, MIN_OF(name.len, candidate.len));
        if (order == 0) order = (name.len > candidate.len) - (name.len < candidate.len);
        if (order == 0) return (long)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static bool starts_with(struct span s, const char *prefix) {
    struct span p = span_str(prefix);
    return s.len >= p.len && memcmp(s.ptr, p.ptr, p.len) == 0;
}

static bool in_pg_catalog(struct span schema) { return schema.len == 0 || span_is(schema, "pg_catalog"); }

struct builtin builtin_function(struct span schema, struct span name) {
    const struct builtin harmless = {BUILTIN_HARMLESS, 0}, unknown = {BUILTIN_UNKNOWN, 0};
    if (name.len == 0) return unknown;
    if (find(extension_functions, countof(extension_functions), name) >= 0)
        return (struct builtin){BUILTIN_WRITE, FACT_LEAVES_STATE};
    if (span_is(schema, "information_schema"))
        return find(schema_functions, countof(schema_functions), name) >= 0 ? harmless : unknown;
    if (!in_pg_catalog(schema)) return unknown;
    long at = find(judged_names, countof(judged_names), name);
    if (at >= 0) return judged[at];
    if (starts_with(name, "pg_stat_get_")) return (struct builtin){BUILTIN_PRIMARY, 0};
    return find(harmless_functions, countof(harmless_functions), name) >= 0 ? harmless : unknown;
}

bool builtin_operator(struct span name) { return name.len > 0 && find(operators, countof(operators), name) >= 0; }

bool builtin_relation_is_primary(struct span schema, struct span name) {
    if (name.len == 0) return false;
    if (starts_with(name, "pg_stat_") || starts_with(name, "pg_statio_")) return true;
    if (span_is(name, "pg_buffercache")) return true;
    return in_pg_catalog(schema) && find(primary_relations, countof(primary_relations), name) >= 0;
}

static bool ends_with(struct span s, const char *suffix) {
    struct span x = span_str(suffix);
    return s.len >= x.len && memcmp(s.ptr + s.len - x.len, x.ptr, x.len) == 0;
}

bool builtin_relation_is_counters(struct span name) {
    static const char *const kinds[] = {"_tables", "_indexes", "_sequences", "_functions"};
    bool is = false;
    for (size_t i = 0; i < countof(kinds); i++) is |= ends_with(name, kinds[i]);
    return is && (starts_with(name, "pg_stat_") || starts_with(name, "pg_statio_"));
}

bool builtin_function_is_counters(struct span name) {
    return starts_with(name, "pg_stat_get_") || span_is(name, "pg_stat_have_stats") ||
           span_is(name, "pg_stat_force_next_flush");
}

bool builtin_relation_is_settings(struct span schema, struct span name) {
    return in_pg_catalog(schema) && span_is(name, "pg_settings");
}

bool builtin_relation_is_prepared(struct span schema, struct span name) {
    return in_pg_catalog(schema) && span_is(name, "pg_prepared_statements");
}

bool builtin_schema_is_temp(struct span schema) {
    return span_is(schema, "pg_temp") || starts_with(schema, "pg_temp_") || starts_with(schema, "pg_toast_temp_");
}
