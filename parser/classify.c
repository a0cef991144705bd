// SPDX-License-Identifier: ISC
//
// parser/classify.c: a text to its verdict.
//
// A statement's type gives a first verdict, by a table. What occurs in it may make that stricter, as far as the table
// lets it: a SELECT is as strict as the strictest thing in it; an INSERT is a write whatever it calls, but the session
// must know that it takes an advisory lock; a view's definition calls nothing now.
//
// A hint of `replica` is believed only where we do not know better: when all that speaks against a replica is functions
// and operators that are the user's own.
#include "parser/classify.h"

#include "parser/builtins.h"
#include "parser/lex.h"
#include "parser/tree.h"

// What of the things in a statement counts.
enum scope {
    SCOPE_ALL,   // all
    SCOPE_FACTS, // the facts: it runs them, and is strict enough already
    SCOPE_TEMP,  // only whether it is about temporary objects: it does not run them
};

struct rule {
    uint8_t kind, reason, scope;
    uint32_t facts;
};

#define RULE(kind, reason, scope, facts)                                                                               \
    { VERDICT_##kind, VERDICT_REASON_##reason, SCOPE_##scope, facts }
static const struct rule rules[TREE_TYPES] = {
    [TREE_OTHER] = RULE(UNKNOWN, UTILITY, FACTS, 0),
    [TREE_SELECT] = RULE(READ, READ, ALL, 0),
    [TREE_CHANGE] = RULE(WRITE, DML, FACTS, 0),
    [TREE_CONTENTS] = RULE(WRITE, DML, TEMP, 0),
    [TREE_DDL] = RULE(WRITE, DDL, TEMP, FACT_DDL),
    [TREE_DEFAULTS] = RULE(WRITE, DDL, TEMP, FACT_DDL | FACT_DEFAULTS),
    [TREE_CREATE_AS] = RULE(WRITE, DDL, FACTS, FACT_DDL),
    [TREE_EXPLAIN] = RULE(READ, READ, ALL, 0), // of a SELECT; others: see statement_rule()
    [TREE_COPY_IN] = RULE(WRITE, COPY_FROM, FACTS, FACT_COPY_IN),
    [TREE_COPY_OUT] = RULE(READ, READ, ALL, FACT_COPY_OUT), // likewise
    [TREE_COPY_SERVER] = RULE(WRITE, COPY_SERVER, FACTS, 0),
    [TREE_CALL] = RULE(WRITE, CALL, FACTS, FACT_CALL),
    [TREE_BEGIN] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_BEGIN),
    [TREE_START] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_BEGIN),
    [TREE_COMMIT] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_END),
    [TREE_ROLLBACK] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_END),
    [TREE_COMMIT_CHAIN] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_END | FACT_BEGIN),
    [TREE_ROLLBACK_CHAIN] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_END | FACT_BEGIN),
    [TREE_SAVEPOINT] = RULE(TRANSACTION, TRANSACTION, TEMP, FACT_SAVEPOINT),
    [TREE_PREPARE_TRANSACTION] = RULE(WRITE, TRANSACTION, TEMP, FACT_END),
    [TREE_FINISH_PREPARED] = RULE(WRITE, TRANSACTION, TEMP, 0),
    [TREE_SET] = RULE(SESSION, SET, TEMP, FACT_SET),
    [TREE_SET_LOCAL] = RULE(SESSION, SET, TEMP, FACT_SET_LOCAL),
    [TREE_SET_TRANSACTION] = RULE(SESSION, SET, TEMP, FACT_SET_LOCAL),
    [TREE_SET_SNAPSHOT] = RULE(SESSION, SET, TEMP, FACT_SET_LOCAL),
    [TREE_RESET] = RULE(SESSION, SET, TEMP, FACT_RESET),
    [TREE_RESET_ALL] = RULE(SESSION, SET, TEMP, FACT_RESET_ALL),
    [TREE_SHOW] = RULE(SESSION, SHOW, TEMP, FACT_SHOW),
    [TREE_DISCARD] = RULE(SESSION, DISCARD, TEMP, FACT_DISCARD),
    [TREE_DISCARD_ALL] = RULE(SESSION, DISCARD, TEMP, FACT_DISCARD_ALL),
    // EXECUTE runs what PREPARE was given: the facts are told at PREPARE, the write is assumed at EXECUTE.
    [TREE_PREPARE] = RULE(SESSION, PREPARED, FACTS, FACT_PREPARE),
    [TREE_EXECUTE] = RULE(WRITE, PREPARED, FACTS, FACT_EXECUTE),
    [TREE_DEALLOCATE] = RULE(SESSION, PREPARED, TEMP, FACT_DEALLOCATE),
    [TREE_DEALLOCATE_ALL] = RULE(SESSION, PREPARED, TEMP, FACT_DEALLOCATE_ALL),
    [TREE_DECLARE] = RULE(SESSION, CURSOR, ALL, FACT_CURSOR),
    [TREE_DECLARE_HOLD] = RULE(SESSION, CURSOR, ALL, FACT_CURSOR | FACT_HOLD_CURSOR),
    [TREE_CURSOR] = RULE(SESSION, CURSOR, TEMP, FACT_CURSOR),
    [TREE_CLOSE] = RULE(SESSION, CURSOR, TEMP, FACT_CLOSE),
    [TREE_LISTEN] = RULE(SESSION, LISTEN, TEMP, FACT_LISTEN),
    [TREE_UNLISTEN] = RULE(SESSION, LISTEN, TEMP, FACT_UNLISTEN),
    [TREE_NOTIFY] = RULE(WRITE, LISTEN, TEMP, 0),
    [TREE_LOAD] = RULE(SESSION, LOAD, TEMP, FACT_LOAD),
    [TREE_LOCK] = RULE(WRITE, LOCK, TEMP, 0),
    [TREE_UTILITY] = RULE(WRITE, UTILITY, TEMP, 0),
};

// What is not the same in a READ ONLY transaction on a replica: PostgreSQL's ClassifyUtilityCommandAsReadOnly allows it
// in such a transaction but not during recovery, or it may do anything, or it leaves something in the session. What
// no READ ONLY transaction may do is refused on a replica in the same words.
static const bool apart[TREE_TYPES] = {
    [TREE_OTHER] = true,
    [TREE_COPY_SERVER] = true,
    [TREE_CALL] = true,
    [TREE_PREPARE_TRANSACTION] = true,
    [TREE_FINISH_PREPARED] = true,
    [TREE_SET_SNAPSHOT] = true,
    [TREE_DISCARD] = true,
    [TREE_DISCARD_ALL] = true,
    [TREE_PREPARE] = true,
    [TREE_EXECUTE] = true,
    [TREE_DECLARE_HOLD] = true,
    [TREE_LISTEN] = true,
    [TREE_NOTIFY] = true,
    [TREE_LOAD] = true,
    [TREE_UTILITY] = true,
};

static const uint8_t controls[TREE_TYPES] = {
    [TREE_BEGIN] = CONTROL_BEGIN,
    [TREE_START] = CONTROL_START,
    [TREE_SET_TRANSACTION] = CONTROL_MODES,
    [TREE_COMMIT] = CONTROL_COMMIT,
    [TREE_COMMIT_CHAIN] = CONTROL_COMMIT,
    [TREE_ROLLBACK] = CONTROL_ROLLBACK,
    [TREE_ROLLBACK_CHAIN] = CONTROL_ROLLBACK,
};

struct judge {
    const struct catalog *catalog;
    struct verdict verdict;
    enum scope scope;
    bool unknown;              // it calls what nobody knows
    enum catalog_leaves calls; // what the functions that it calls may leave in the session
    enum catalog_leaves fires; // what its relations may, when it changes them
};

static struct verdict verdict_of(enum verdict_kind kind, enum verdict_reason reason, uint32_t facts) {
    return (struct verdict){.kind = (uint8_t)kind, .reason = (uint8_t)reason, .facts = facts};
}

// Of a text that was not looked into.
static struct verdict unread(enum verdict_reason reason, const struct catalog *catalog) {
    // What the grammar does not know is an error on any server, most likely.
    bool runs = reason != VERDICT_REASON_SYNTAX;
    return (struct verdict){.kind = VERDICT_UNKNOWN,
                            .reason = (uint8_t)reason,
                            .certain = true,
                            .apart = runs,
                            .timed = true,
                            .leaves = runs && catalog && catalog_most_leaves(catalog) != CATALOG_LEAVES_NOTHING};
}

// What is found inside a statement and only the primary has. What changes data or locks rows is refused by either.
static bool is_apart_inside(enum verdict_reason reason, uint32_t facts) {
    const uint32_t carried = FACT_SET | FACT_SET_LOCAL | FACT_SHOW | FACT_CURSOR;
    if (reason == VERDICT_REASON_SESSION_FUNCTION) return !(facts & carried);
    return reason != VERDICT_REASON_ROW_LOCK && reason != VERDICT_REASON_SELECT_INTO &&
           reason != VERDICT_REASON_MODIFYING_CTE;
}

// `certain` is false for what a hint may overrule.
static void found(struct judge *j, enum verdict_kind kind, enum verdict_reason reason, uint32_t facts, bool certain) {
    switch (j->scope) {
    case SCOPE_TEMP: j->verdict.facts |= facts & FACT_TEMP; break;
    case SCOPE_FACTS: j->verdict.facts |= facts; break;
    case SCOPE_ALL:
        j->verdict = verdict_join(j->verdict, verdict_of(kind, reason, facts));
        j->verdict.certain |= certain;
        j->verdict.apart |= is_apart_inside(reason, facts);
        break;
    }
}

// What `e` calls, or may.
static void found_users_own(struct judge *j, const struct tree_event *e, enum catalog_volatility volatility) {
    if (volatility == CATALOG_HARMLESS) return;
    if (volatility == CATALOG_VOLATILE) {
        found(j, VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION, 0, false);
    } else {
        found(j, VERDICT_UNKNOWN, VERDICT_REASON_UNKNOWN_FUNCTION, 0, false);
        j->unknown = true;
    }
    if (j->catalog) j->calls = MAX_OF(j->calls, catalog_function_leaves(j->catalog, e->schema, e->name));
}

static void found_builtin(struct judge *j, struct builtin b) {
    switch (b.class) {
    case BUILTIN_UNKNOWN:
    case BUILTIN_HARMLESS: break;
    case BUILTIN_WRITE: found(j, VERDICT_WRITE, VERDICT_REASON_WRITE_FUNCTION, b.facts, true); break;
    case BUILTIN_PRIMARY: found(j, VERDICT_WRITE, VERDICT_REASON_PRIMARY_FUNCTION, b.facts, true); break;
    case BUILTIN_SESSION: found(j, VERDICT_SESSION, VERDICT_REASON_SESSION_FUNCTION, b.facts, true); break;
    case BUILTIN_LOCK: found(j, VERDICT_WRITE, VERDICT_REASON_ADVISORY_LOCK, b.facts, true); break;
    }
}

static enum catalog_volatility users_function(const struct judge *j, const struct tree_event *e) {
    return j->catalog ? catalog_function(j->catalog, e->schema, e->name, e->n_args) : CATALOG_UNKNOWN;
}

// Of a function that a READ ONLY transaction is refused in the same words everywhere.
static bool is_sequence_write(const struct tree_event *e) {
    return span_is(e->name, "nextval") || span_is(e->name, "setval");
}

static bool tells_time(const struct tree_event *e) {
    return span_is(e->name, "now") || span_is(e->name, "transaction_timestamp") ||
           (span_is(e->name, "age") && e->n_args == 1);
}

// Of a function that the text does not name.
static void found_hidden_call(struct judge *j, enum catalog_leaves leaves) {
    if (leaves == CATALOG_LEAVES_NOTHING) return;
    found(j, VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION, 0, false);
    j->calls = MAX_OF(j->calls, leaves);
}

// Its values may have to pass a domain's check, or a cast.
static void saw_type(struct judge *j, const struct tree_event *e) {
    if (j->catalog) found_hidden_call(j, catalog_type_leaves(j->catalog, e->schema, e->name));
}

static void saw_call(struct judge *j, const struct tree_event *e) {
    struct builtin b = builtin_function(e->schema, e->name);
    struct span setting;
    bool before = j->verdict.apart;
    if (b.facts & FACT_SET) {
        if (tree_arg_is_true(e, 2, "is_local")) b.facts = FACT_SET_LOCAL;
        if (tree_args_name_temp(e)) b.facts |= FACT_TEMP; // a search_path that makes new tables temporary
        before |= tree_arg_text(e, 0, "setting_name", &setting) && tree_setting_is_of_transaction(setting);
    }
    if (span_is(e->name, "pg_terminate_backend")) j->verdict.terminates = true;
    if (builtin_function_is_counters(e->name)) j->verdict.counted = true;
    found_builtin(j, b);
    if (b.facts & (FACT_SET | FACT_SET_LOCAL) || is_sequence_write(e)) j->verdict.apart = before;
    j->verdict.timed |= b.class == BUILTIN_UNKNOWN || tells_time(e);
    // One of pg_temp has been seen as such, and PostgreSQL finds it only by that schema.
    if (builtin_schema_is_temp(e->schema)) return;
    if (e->n_args == 1) saw_type(j, e); // text(x) is a cast
    enum catalog_volatility users = users_function(j, e);
    // A built-in name may be a user's too: which of them is meant depends on types that are not known here.
    if (b.class != BUILTIN_UNKNOWN && users == CATALOG_UNKNOWN) return;
    found_users_own(j, e, users);
}

// Most often it is a column, so that no function of the name means nothing.
static void saw_field(struct judge *j, const struct tree_event *e) {
    found_builtin(j, builtin_function(e->schema, e->name));
    saw_type(j, e);
    if (users_function(j, e) == CATALOG_VOLATILE) found_users_own(j, e, CATALOG_VOLATILE);
}

static void saw_operator(struct judge *j, const struct tree_event *e) {
    if (span_is(e->schema, "pg_catalog") || builtin_schema_is_temp(e->schema)) return;
    if (j->catalog) {
        if (catalog_operator_is_volatile(j->catalog, e->schema, e->name) ||
            catalog_function_leaves(j->catalog, e->schema, e->name) != CATALOG_LEAVES_NOTHING)
            found_users_own(j, e, CATALOG_VOLATILE);
    } else if (e->schema.len > 0 || !builtin_operator(e->name)) {
        found_users_own(j, e, CATALOG_UNKNOWN);
    }
}

static void saw_sample(struct judge *j, const struct tree_event *e) {
    if (e->schema.len == 0 && (span_is(e->name, "system") || span_is(e->name, "bernoulli"))) return;
    // The method is a function with one argument, of type internal.
    struct tree_event method = *e;
    method.n_args = 1;
    found_users_own(j, e, users_function(j, &method));
}

static void saw_relation(struct judge *j, const struct tree_event *e) {
    uint32_t facts = builtin_relation_is_settings(e->schema, e->name)   ? FACT_SHOW
                     : builtin_relation_is_prepared(e->schema, e->name) ? FACT_EXECUTE
                                                                        : 0;
    if (facts || builtin_relation_is_primary(e->schema, e->name) ||
        (j->catalog && catalog_relation_is_primary(j->catalog, e->schema, e->name)))
        found(j, VERDICT_WRITE, VERDICT_REASON_PRIMARY_RELATION, facts, true);
    if (builtin_relation_is_counters(e->name)) j->verdict.counted = true;
    if (j->catalog) j->fires = MAX_OF(j->fires, catalog_relation_leaves(j->catalog, e->schema, e->name));
}

static void saw_change(struct judge *j, const struct tree_event *e) {
    // A rule turns an UPDATE of pg_settings into set_config().
    uint32_t facts = builtin_relation_is_settings(e->schema, e->name) ? FACT_SET : 0;
    found(j, VERDICT_WRITE, VERDICT_REASON_MODIFYING_CTE, facts, true);
}

static void on_event(void *arg, const struct tree_event *e) {
    struct judge *j = arg;
    switch (e->type) {
    case TREE_SAW_CALL: saw_call(j, e); break;
    case TREE_SAW_FIELD: saw_field(j, e); break;
    case TREE_SAW_OPERATOR: saw_operator(j, e); break;
    case TREE_SAW_TYPE: saw_type(j, e); break;
    case TREE_SAW_SAMPLE: saw_sample(j, e); break;
    case TREE_SAW_RELATION: saw_relation(j, e); break;
    case TREE_SAW_CHANGE: saw_change(j, e); break;
    case TREE_SAW_ROW_LOCK: found(j, VERDICT_WRITE, VERDICT_REASON_ROW_LOCK, 0, true); break;
    case TREE_SAW_INTO: found(j, VERDICT_WRITE, VERDICT_REASON_SELECT_INTO, FACT_DDL, true); break;
    case TREE_SAW_EXECUTE: found(j, VERDICT_WRITE, VERDICT_REASON_PREPARED, FACT_EXECUTE, true); break;
    case TREE_SAW_TIME: j->verdict.timed = true; break;
    case TREE_SAW_DATABASE: j->verdict.vacates = true; break;
    case TREE_SAW_TEMP: found(j, VERDICT_WRITE, VERDICT_REASON_TEMP, FACT_TEMP, true); break;
    }
}

static bool is_apart(const struct tree_statement *s) {
    bool explains = s->type == TREE_EXPLAIN && s->inner != TREE_SELECT && s->inner != TREE_CHANGE;
    bool on_primary = s->modes.access == TX_ACCESS_READ_WRITE || s->modes.isolation == TX_ISOLATION_SERIALIZABLE;
    return apart[s->type] || s->of_server || on_primary || explains;
}

static struct rule statement_rule(const struct tree_statement *s) {
    struct rule rule = rules[s->type];
    if (s->type == TREE_EXPLAIN && s->inner != TREE_SELECT)
        rule = (struct rule)RULE(WRITE, EXPLAIN_WRITE, FACTS, s->inner == TREE_CREATE_AS ? FACT_DDL : 0);
    else if (s->type == TREE_COPY_OUT && s->inner == TREE_CHANGE)
        rule = (struct rule)RULE(WRITE, DML, FACTS, FACT_COPY_OUT);
    return rule;
}

// What may be called wherever values meet.
static void assume_hidden_calls(struct judge *j) {
    bool runs = j->scope != SCOPE_TEMP || j->verdict.kind == VERDICT_WRITE;
    if (j->catalog && runs) found_hidden_call(j, catalog_anything_leaves(j->catalog));
}

// What it may leave in the session that its text does not say.
static void leave(struct judge *j, bool executes) {
    struct verdict *v = &j->verdict;
    enum catalog_leaves leaves = j->calls;
    if (v->kind >= VERDICT_WRITE) leaves = MAX_OF(leaves, j->fires);
    if (j->catalog && (v->facts & FACT_DDL)) leaves = MAX_OF(leaves, catalog_ddl_leaves(j->catalog));
    // What it executes was looked at when it was prepared, and what could not be asked for said so then.
    bool executes_any = j->catalog && (v->facts & FACT_EXECUTE) && catalog_most_leaves(j->catalog);
    if (executes_any) leaves = MAX_OF(leaves, CATALOG_LEAVES_STATE);
    v->leaves = leaves != CATALOG_LEAVES_NOTHING || j->unknown;
    v->certain |= leaves != CATALOG_LEAVES_NOTHING;
    if (leaves == CATALOG_LEAVES_UNSEEN && executes && j->scope != SCOPE_TEMP) v->facts |= FACT_LEAVES_STATE;
}

static struct verdict statement_verdict(const struct tree *t, size_t at, const struct catalog *catalog) {
    struct tree_statement s = tree_statement(t, at);
    struct rule rule = statement_rule(&s);
    struct judge j = {
        .catalog = catalog,
        .verdict = verdict_of(rule.kind, rule.reason, rule.facts),
        .scope = rule.scope,
    };
    j.verdict.certain = rule.kind != VERDICT_READ;
    j.verdict.apart = is_apart(&s);
    j.verdict.control = controls[s.type];
    j.verdict.modes = s.modes;
    if (s.names_temp) j.verdict.facts |= FACT_TEMP;
    assume_hidden_calls(&j);
    if (tree_walk(t, at, on_event, &j) != TREE_OK) return unread(VERDICT_REASON_TOO_DEEP, catalog);
    if (!s.executes) j.verdict.facts &= FACT_TEMP;
    leave(&j, s.executes);
    if (j.verdict.reason == VERDICT_REASON_DDL && (j.verdict.facts & FACT_TEMP)) j.verdict.reason = VERDICT_REASON_TEMP;
    return j.verdict;
}

static struct verdict with_hint(struct verdict v, unsigned hints) {
    if (hints & LEX_HINT_PRIMARY) {
        if (v.kind == VERDICT_READ) {
            v.kind = VERDICT_WRITE;
            v.reason = VERDICT_REASON_HINT_PRIMARY;
        }
        v.certain = true;
        if (v.facts & FACT_BEGIN) v.apart = true; // the transaction is meant
    } else if ((hints & LEX_HINT_REPLICA) && !v.certain) {
        v.kind = VERDICT_READ;
        v.reason = VERDICT_REASON_HINT_REPLICA;
        v.apart = false;
    }
    return v;
}

struct verdict classify(struct span sql, const struct classify_options *options) {
    if (sql.len > options->max_length) return unread(VERDICT_REASON_TOO_LONG, options->catalog);
    struct tree *t = NULL;
    enum tree_status status = tree_parse(sql, &t);
    if (status == TREE_TOO_DEEP) return unread(VERDICT_REASON_TOO_DEEP, options->catalog);
    if (status != TREE_OK) return unread(VERDICT_REASON_SYNTAX, options->catalog);
    size_t count = tree_count(t);
    struct verdict v = verdict_of(VERDICT_READ, VERDICT_REASON_EMPTY, 0);
    for (size_t i = 0; i < count; i++) {
        struct verdict one = statement_verdict(t, i, options->catalog);
        v = i == 0 ? one : verdict_join(v, one);
    }
    if (count > 1) v.facts |= FACT_MULTI;
    if (count > 0) v = with_hint(v, tree_hints(t));
    tree_free(t);
    return v;
}
