// SPDX-License-Identifier: ISC
//
// parser/tree_type.c: from a statement's node to its type.
//
// Most statements are their node: a table. The others depend on an option and have a function.
#include "parser/tree_type.h"

#include <strings.h>

#define NODE(name) PG_QUERY__NODE__NODE_##name

// What is in neither this table nor tree_type() is TREE_OTHER.
static const uint8_t plain_types[] = {
    [NODE(SELECT_STMT)] = TREE_SELECT,
    [NODE(INSERT_STMT)] = TREE_CHANGE,
    [NODE(UPDATE_STMT)] = TREE_CHANGE,
    [NODE(DELETE_STMT)] = TREE_CHANGE,
    [NODE(MERGE_STMT)] = TREE_CHANGE,
    [NODE(TRUNCATE_STMT)] = TREE_CONTENTS,
    [NODE(REFRESH_MAT_VIEW_STMT)] = TREE_CONTENTS,
    [NODE(CALL_STMT)] = TREE_CALL,
    [NODE(DO_STMT)] = TREE_CALL,
    [NODE(CONSTRAINTS_SET_STMT)] = TREE_SET_LOCAL,
    [NODE(EXECUTE_STMT)] = TREE_EXECUTE,
    [NODE(FETCH_STMT)] = TREE_CURSOR,
    [NODE(CLOSE_PORTAL_STMT)] = TREE_CLOSE,
    [NODE(LISTEN_STMT)] = TREE_LISTEN,
    [NODE(UNLISTEN_STMT)] = TREE_UNLISTEN,
    [NODE(NOTIFY_STMT)] = TREE_NOTIFY,
    [NODE(LOAD_STMT)] = TREE_LOAD,
    [NODE(VACUUM_STMT)] = TREE_UTILITY,
    [NODE(CLUSTER_STMT)] = TREE_UTILITY,
    [NODE(REINDEX_STMT)] = TREE_UTILITY,
    [NODE(CHECK_POINT_STMT)] = TREE_UTILITY,
    [NODE(ALTER_SYSTEM_STMT)] = TREE_UTILITY,
    [NODE(ALTER_TABLE_STMT)] = TREE_DDL,
    [NODE(ALTER_DOMAIN_STMT)] = TREE_DDL,
    [NODE(GRANT_STMT)] = TREE_DDL,
    [NODE(GRANT_ROLE_STMT)] = TREE_DDL,
    [NODE(ALTER_DEFAULT_PRIVILEGES_STMT)] = TREE_DDL,
    [NODE(CREATE_STMT)] = TREE_DDL,
    [NODE(DEFINE_STMT)] = TREE_DDL,
    [NODE(DROP_STMT)] = TREE_DDL,
    [NODE(COMMENT_STMT)] = TREE_DDL,
    [NODE(INDEX_STMT)] = TREE_DDL,
    [NODE(CREATE_FUNCTION_STMT)] = TREE_DDL,
    [NODE(ALTER_FUNCTION_STMT)] = TREE_DDL,
    [NODE(RENAME_STMT)] = TREE_DDL,
    [NODE(RULE_STMT)] = TREE_DDL,
    [NODE(VIEW_STMT)] = TREE_DDL,
    [NODE(CREATE_DOMAIN_STMT)] = TREE_DDL,
    [NODE(CREATEDB_STMT)] = TREE_DDL,
    [NODE(DROPDB_STMT)] = TREE_DDL,
    [NODE(CREATE_SEQ_STMT)] = TREE_DDL,
    [NODE(ALTER_SEQ_STMT)] = TREE_DDL,
    [NODE(CREATE_TRIG_STMT)] = TREE_DDL,
    [NODE(CREATE_PLANG_STMT)] = TREE_DDL,
    [NODE(CREATE_ROLE_STMT)] = TREE_DDL,
    [NODE(ALTER_ROLE_STMT)] = TREE_DDL,
    [NODE(DROP_ROLE_STMT)] = TREE_DDL,
    [NODE(CREATE_SCHEMA_STMT)] = TREE_DDL,
    [NODE(ALTER_DATABASE_STMT)] = TREE_DDL,
    [NODE(ALTER_DATABASE_REFRESH_COLL_STMT)] = TREE_DDL,
    [NODE(ALTER_DATABASE_SET_STMT)] = TREE_DEFAULTS,
    [NODE(ALTER_ROLE_SET_STMT)] = TREE_DEFAULTS,
    [NODE(CREATE_CONVERSION_STMT)] = TREE_DDL,
    [NODE(CREATE_CAST_STMT)] = TREE_DDL,
    [NODE(CREATE_OP_CLASS_STMT)] = TREE_DDL,
    [NODE(CREATE_OP_FAMILY_STMT)] = TREE_DDL,
    [NODE(ALTER_OP_FAMILY_STMT)] = TREE_DDL,
    [NODE(CREATE_TABLE_SPACE_STMT)] = TREE_DDL,
    [NODE(DROP_TABLE_SPACE_STMT)] = TREE_DDL,
    [NODE(ALTER_OBJECT_DEPENDS_STMT)] = TREE_DDL,
    [NODE(ALTER_OBJECT_SCHEMA_STMT)] = TREE_DDL,
    [NODE(ALTER_OWNER_STMT)] = TREE_DDL,
    [NODE(ALTER_OPERATOR_STMT)] = TREE_DDL,
    [NODE(ALTER_TYPE_STMT)] = TREE_DDL,
    [NODE(DROP_OWNED_STMT)] = TREE_DDL,
    [NODE(REASSIGN_OWNED_STMT)] = TREE_DDL,
    [NODE(COMPOSITE_TYPE_STMT)] = TREE_DDL,
    [NODE(CREATE_ENUM_STMT)] = TREE_DDL,
    [NODE(CREATE_RANGE_STMT)] = TREE_DDL,
    [NODE(ALTER_ENUM_STMT)] = TREE_DDL,
    [NODE(ALTER_TSDICTIONARY_STMT)] = TREE_DDL,
    [NODE(ALTER_TSCONFIGURATION_STMT)] = TREE_DDL,
    [NODE(CREATE_FDW_STMT)] = TREE_DDL,
    [NODE(ALTER_FDW_STMT)] = TREE_DDL,
    [NODE(CREATE_FOREIGN_SERVER_STMT)] = TREE_DDL,
    [NODE(ALTER_FOREIGN_SERVER_STMT)] = TREE_DDL,
    [NODE(CREATE_USER_MAPPING_STMT)] = TREE_DDL,
    [NODE(ALTER_USER_MAPPING_STMT)] = TREE_DDL,
    [NODE(DROP_USER_MAPPING_STMT)] = TREE_DDL,
    [NODE(ALTER_TABLE_SPACE_OPTIONS_STMT)] = TREE_DDL,
    [NODE(ALTER_TABLE_MOVE_ALL_STMT)] = TREE_DDL,
    [NODE(SEC_LABEL_STMT)] = TREE_DDL,
    [NODE(CREATE_FOREIGN_TABLE_STMT)] = TREE_DDL,
    [NODE(IMPORT_FOREIGN_SCHEMA_STMT)] = TREE_DDL,
    [NODE(CREATE_EXTENSION_STMT)] = TREE_DDL,
    [NODE(ALTER_EXTENSION_STMT)] = TREE_DDL,
    [NODE(ALTER_EXTENSION_CONTENTS_STMT)] = TREE_DDL,
    [NODE(CREATE_EVENT_TRIG_STMT)] = TREE_DDL,
    [NODE(ALTER_EVENT_TRIG_STMT)] = TREE_DDL,
    [NODE(REPLICA_IDENTITY_STMT)] = TREE_DDL,
    [NODE(CREATE_POLICY_STMT)] = TREE_DDL,
    [NODE(ALTER_POLICY_STMT)] = TREE_DDL,
    [NODE(CREATE_TRANSFORM_STMT)] = TREE_DDL,
    [NODE(CREATE_AM_STMT)] = TREE_DDL,
    [NODE(CREATE_PUBLICATION_STMT)] = TREE_DDL,
    [NODE(ALTER_PUBLICATION_STMT)] = TREE_DDL,
    [NODE(CREATE_SUBSCRIPTION_STMT)] = TREE_DDL,
    [NODE(ALTER_SUBSCRIPTION_STMT)] = TREE_DDL,
    [NODE(DROP_SUBSCRIPTION_STMT)] = TREE_DDL,
    [NODE(CREATE_STATS_STMT)] = TREE_DDL,
    [NODE(ALTER_COLLATION_STMT)] = TREE_DDL,
    [NODE(ALTER_STATS_STMT)] = TREE_DDL,
};

// Steps over one option (DefElem) of those in `field`, and on over what is none.
static bool next_option(struct packed *m, size_t field, struct span *name, struct packed *value) {
    struct packed_field f;
    struct packed option;
    while (packed_find(m, field, &f)) {
        if (!packed_node_is(packed_message(&f), NODE(DEF_ELEM), &option)) continue;
        *name = packed_text(option, PACKED_FIELD(DefElem, defname));
        *value = packed_sub(option, PACKED_FIELD(DefElem, arg));
        return true;
    }
    return false;
}

static bool is_number(struct packed node) {
    struct packed_field f;
    return packed_const(node, &f) && f.of->id == PG_QUERY__A__CONST__VAL_IVAL &&
           packed_number(packed_message(&f), PACKED_FIELD(Integer, ival)) != 0;
}

static bool is_string(struct packed node, const char *text) {
    struct span s;
    return packed_const_text(node, &s) && span_is(s, text);
}

static enum tx_isolation isolation_of(struct packed value) {
    static const char *const names[] = {"read uncommitted", "read committed", "repeatable read", "serializable"};
    for (size_t i = 0; i < countof(names); i++)
        if (is_string(value, names[i])) return (enum tx_isolation)(TX_ISOLATION_READ_UNCOMMITTED + i);
    return TX_ISOLATION_NONE;
}

// Of a mode that is given twice the last word counts.
static struct tx_modes modes_of(struct packed s, size_t field) {
    struct tx_modes m = {0};
    struct span name;
    struct packed value;
    while (next_option(&s, field, &name, &value)) {
        if (span_is(name, "transaction_isolation"))
            m.isolation = isolation_of(value);
        else if (span_is(name, "transaction_read_only"))
            m.access = is_number(value) ? TX_ACCESS_READ_ONLY : TX_ACCESS_READ_WRITE;
        else if (span_is(name, "transaction_deferrable"))
            m.deferrable = is_number(value) ? TX_DEFERRABLE_ON : TX_DEFERRABLE_OFF;
    }
    return m;
}

static enum tree_type end_type(struct packed s, enum tree_type plain, enum tree_type chain) {
    return packed_number(s, PACKED_FIELD(TransactionStmt, chain)) ? chain : plain;
}

static enum tree_type transaction_type(struct packed s) {
    switch ((PgQuery__TransactionStmtKind)packed_number(s, PACKED_FIELD(TransactionStmt, kind))) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN: return TREE_BEGIN;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START: return TREE_START;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT: return end_type(s, TREE_COMMIT, TREE_COMMIT_CHAIN);
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK: return end_type(s, TREE_ROLLBACK, TREE_ROLLBACK_CHAIN);
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO: return TREE_SAVEPOINT;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE: return TREE_PREPARE_TRANSACTION;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_PREPARED: return TREE_FINISH_PREPARED;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANSACTION_STMT_KIND_UNDEFINED:
    case _PG_QUERY__TRANSACTION_STMT_KIND_IS_INT_SIZE: break;
    }
    return TREE_OTHER;
}

bool tree_const_names_temp(struct packed node) {
    struct span s;
    return packed_const_text(node, &s) && memmem(s.ptr, s.len, "pg_temp", strlen("pg_temp"));
}

bool tree_setting_is_of_transaction(struct span name) {
    static const char prefix[] = "transaction_";
    return name.len >= strlen(prefix) && strncasecmp((const char *)name.ptr, prefix, strlen(prefix)) == 0;
}

static struct tree_statement set_type(struct packed s) {
    struct span name = packed_text(s, PACKED_FIELD(VariableSetStmt, name));
    struct tree_statement t = {.type = TREE_SET, .executes = true};
    int64_t kind = packed_number(s, PACKED_FIELD(VariableSetStmt, kind));
    struct packed values = s;
    struct packed_field f;
    while (packed_find(&values, PACKED_FIELD(VariableSetStmt, args), &f))
        t.names_temp |= tree_const_names_temp(packed_message(&f));
    if (kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET)
        t.type = TREE_RESET;
    else if (kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL)
        t.type = TREE_RESET_ALL;
    else if (packed_number(s, PACKED_FIELD(VariableSetStmt, is_local)))
        t.type = TREE_SET_LOCAL;
    else if (kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI && span_is(name, "TRANSACTION"))
        t.type = TREE_SET_TRANSACTION;
    else if (kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI && !span_is(name, "SESSION CHARACTERISTICS"))
        t.type = TREE_SET_SNAPSHOT;
    if (t.type == TREE_SET_TRANSACTION) t.modes = modes_of(s, PACKED_FIELD(VariableSetStmt, args));
    t.of_server = tree_setting_is_of_transaction(name);
    return t;
}

// SET SESSION CHARACTERISTICS AS TRANSACTION sets a default for each of its modes.
static void visit_characteristics(struct packed s, void (*visit)(void *arg, struct span name, bool local), void *arg) {
    static const char *const names[] = {"default_transaction_isolation", "default_transaction_read_only",
                                        "default_transaction_deferrable"};
    struct span name;
    struct packed value;
    while (next_option(&s, PACKED_FIELD(VariableSetStmt, args), &name, &value))
        for (size_t k = 0; k < countof(names); k++)
            if (span_is(name, names[k] + strlen("default_"))) visit(arg, span_str(names[k]), false);
}

bool tree_type_set_names(struct packed set, void (*visit)(void *arg, struct span name, bool local), void *arg) {
    int64_t kind = packed_number(set, PACKED_FIELD(VariableSetStmt, kind));
    if (kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL) return false;
    if (kind != PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI)
        visit(arg, packed_text(set, PACKED_FIELD(VariableSetStmt, name)),
              packed_number(set, PACKED_FIELD(VariableSetStmt, is_local)) != 0);
    else if (set_type(set).type == TREE_SET)
        visit_characteristics(set, visit, arg);
    return kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET || kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT;
}

static enum tree_type copy_type(struct packed s) {
    if (packed_number(s, PACKED_FIELD(CopyStmt, is_program)) ||
        packed_text(s, PACKED_FIELD(CopyStmt, filename)).len > 0)
        return TREE_COPY_SERVER;
    return packed_number(s, PACKED_FIELD(CopyStmt, is_from)) ? TREE_COPY_IN : TREE_COPY_OUT;
}

static enum tree_type declare_type(struct packed s) {
    const int64_t cursor_opt_hold = 0x0020; // parsenodes.h
    return packed_number(s, PACKED_FIELD(DeclareCursorStmt, options)) & cursor_opt_hold ? TREE_DECLARE_HOLD
                                                                                        : TREE_DECLARE;
}

static bool explain_executes(struct packed s) {
    struct span name;
    struct packed value;
    // Whatever value ANALYZE is given: (ANALYZE off) costs a fact too many, and no more.
    while (next_option(&s, PACKED_FIELD(ExplainStmt, options), &name, &value))
        if (span_is(name, "analyze")) return true;
    return false;
}

static bool shows_server(struct span name) {
    static const char *const names[] = {"in_hot_standby", "all"};
    for (size_t i = 0; i < countof(names); i++)
        if (name.len == strlen(names[i]) && strncasecmp((const char *)name.ptr, names[i], name.len) == 0) return true;
    return false;
}

static struct tree_statement holding(enum tree_type type, struct packed s, size_t field) {
    return (struct tree_statement){.type = type, .inner = tree_type(packed_sub(s, field)).type, .executes = true};
}

struct tree_statement tree_type(struct packed node) {
    struct tree_statement t = {.type = TREE_OTHER, .executes = true};
    struct packed s;
    unsigned type = packed_node(node, &s);
    switch (type) {
    case NODE(EXPLAIN_STMT):
        t = holding(TREE_EXPLAIN, s, PACKED_FIELD(ExplainStmt, query));
        t.executes = explain_executes(s);
        break;
    case NODE(COPY_STMT): t = holding(copy_type(s), s, PACKED_FIELD(CopyStmt, query)); break;
    case NODE(CREATE_TABLE_AS_STMT): t = holding(TREE_CREATE_AS, s, PACKED_FIELD(CreateTableAsStmt, query)); break;
    case NODE(PREPARE_STMT): t = holding(TREE_PREPARE, s, PACKED_FIELD(PrepareStmt, query)); break;
    case NODE(DECLARE_CURSOR_STMT): t = holding(declare_type(s), s, PACKED_FIELD(DeclareCursorStmt, query)); break;
    case NODE(VARIABLE_SET_STMT): t = set_type(s); break;
    case NODE(TRANSACTION_STMT):
        t.type = transaction_type(s);
        t.modes = modes_of(s, PACKED_FIELD(TransactionStmt, options));
        break;
    case NODE(VARIABLE_SHOW_STMT):
        t.type = TREE_SHOW;
        t.of_server = shows_server(packed_text(s, PACKED_FIELD(VariableShowStmt, name)));
        break;
    case NODE(LOCK_STMT):
        t.type = TREE_LOCK;
        t.of_server = packed_number(s, PACKED_FIELD(LockStmt, mode)) != 1; // AccessShareLock, as any SELECT takes it
        break;
    case NODE(DISCARD_STMT):
        t.type = packed_number(s, PACKED_FIELD(DiscardStmt, target)) == PG_QUERY__DISCARD_MODE__DISCARD_ALL
                     ? TREE_DISCARD_ALL
                     : TREE_DISCARD;
        break;
    case NODE(DEALLOCATE_STMT):
        t.type = packed_text(s, PACKED_FIELD(DeallocateStmt, name)).len > 0 ? TREE_DEALLOCATE : TREE_DEALLOCATE_ALL;
        break;
    default:
        if (type < countof(plain_types)) t.type = plain_types[type];
        break;
    }
    return t;
}
