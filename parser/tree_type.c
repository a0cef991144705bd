// SPDX-License-Identifier: ISC
//
// parser/tree_type.c: from a statement's node to its type.
//
// Most statements are their node: a table. The others depend on an option and have a function.
#include "parser/tree_type.h"

#include <strings.h>

#include "base/base.h"

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
    [NODE(CLOSE_PORTAL_STMT)] = TREE_CURSOR,
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
    [NODE(ALTER_DATABASE_SET_STMT)] = TREE_DDL,
    [NODE(ALTER_ROLE_SET_STMT)] = TREE_DDL,
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

// A protobuf string is never NULL; one that was not given is empty.
static bool is_named(const char *s, const char *name) { return span_is(span_str(s), name); }

static enum tx_isolation isolation_of(const PgQuery__AConst *value) {
    static const char *const names[] = {"read uncommitted", "read committed", "repeatable read", "serializable"};
    if (value->val_case != PG_QUERY__A__CONST__VAL_SVAL) return TX_ISOLATION_NONE;
    for (size_t i = 0; i < countof(names); i++)
        if (is_named(value->sval->sval, names[i])) return (enum tx_isolation)(TX_ISOLATION_READ_UNCOMMITTED + i);
    return TX_ISOLATION_NONE;
}

static bool is_on(const PgQuery__AConst *value) {
    return value->val_case == PG_QUERY__A__CONST__VAL_IVAL && value->ival->ival != 0;
}

// Of a mode that is given twice the last word counts.
static struct tx_modes modes_of(PgQuery__Node *const *options, size_t count) {
    struct tx_modes m = {0};
    for (size_t i = 0; i < count; i++) {
        if (options[i]->node_case != NODE(DEF_ELEM)) continue;
        const PgQuery__DefElem *option = options[i]->def_elem;
        if (!option->arg || option->arg->node_case != NODE(A_CONST)) continue;
        const PgQuery__AConst *value = option->arg->a_const;
        if (is_named(option->defname, "transaction_isolation"))
            m.isolation = isolation_of(value);
        else if (is_named(option->defname, "transaction_read_only"))
            m.access = is_on(value) ? TX_ACCESS_READ_ONLY : TX_ACCESS_READ_WRITE;
        else if (is_named(option->defname, "transaction_deferrable"))
            m.deferrable = is_on(value) ? TX_DEFERRABLE_ON : TX_DEFERRABLE_OFF;
    }
    return m;
}

static enum tree_type transaction_type(const PgQuery__TransactionStmt *s) {
    switch (s->kind) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN: return TREE_BEGIN;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START: return TREE_START;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT: return s->chain ? TREE_COMMIT_CHAIN : TREE_COMMIT;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK: return s->chain ? TREE_ROLLBACK_CHAIN : TREE_ROLLBACK;
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

bool tree_const_names_temp(const PgQuery__Node *n) {
    return n && n->node_case == NODE(A_CONST) && n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL &&
           strstr(n->a_const->sval->sval, "pg_temp");
}

bool tree_setting_is_of_transaction(struct span name) {
    static const char prefix[] = "transaction_";
    return name.len >= strlen(prefix) && strncasecmp((const char *)name.ptr, prefix, strlen(prefix)) == 0;
}

static struct tree_statement set_type(const PgQuery__VariableSetStmt *s) {
    struct tree_statement t = {.type = TREE_SET, .executes = true};
    for (size_t i = 0; i < s->n_args; i++) t.names_temp |= tree_const_names_temp(s->args[i]);
    if (s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET)
        t.type = TREE_RESET;
    else if (s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL)
        t.type = TREE_RESET_ALL;
    else if (s->is_local)
        t.type = TREE_SET_LOCAL;
    else if (s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI && is_named(s->name, "TRANSACTION"))
        t.type = TREE_SET_TRANSACTION;
    else if (s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI && !is_named(s->name, "SESSION CHARACTERISTICS"))
        t.type = TREE_SET_SNAPSHOT;
    if (t.type == TREE_SET_TRANSACTION) t.modes = modes_of(s->args, s->n_args);
    t.of_server = tree_setting_is_of_transaction(span_str(s->name));
    return t;
}

// SET SESSION CHARACTERISTICS AS TRANSACTION sets a default for each of its modes.
static void visit_characteristics(const PgQuery__VariableSetStmt *s,
                                  void (*visit)(void *arg, struct span name, bool local), void *arg) {
    static const char *const names[] = {"default_transaction_isolation", "default_transaction_read_only",
                                        "default_transaction_deferrable"};
    for (size_t i = 0; i < s->n_args; i++) {
        if (s->args[i]->node_case != NODE(DEF_ELEM)) continue;
        for (size_t k = 0; k < countof(names); k++)
            if (is_named(s->args[i]->def_elem->defname, names[k] + strlen("default_")))
                visit(arg, span_str(names[k]), false);
    }
}

bool tree_type_set_names(const PgQuery__VariableSetStmt *s, void (*visit)(void *arg, struct span name, bool local),
                         void *arg) {
    if (s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL) return false;
    if (s->kind != PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI)
        visit(arg, span_str(s->name), s->is_local);
    else if (set_type(s).type == TREE_SET)
        visit_characteristics(s, visit, arg);
    return s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_RESET || s->kind == PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT;
}

static enum tree_type copy_type(const PgQuery__CopyStmt *s) {
    if (s->is_program || s->filename[0]) return TREE_COPY_SERVER;
    return s->is_from ? TREE_COPY_IN : TREE_COPY_OUT;
}

static enum tree_type declare_type(const PgQuery__DeclareCursorStmt *s) {
    const int cursor_opt_hold = 0x0020; // parsenodes.h
    return s->options & cursor_opt_hold ? TREE_DECLARE_HOLD : TREE_DECLARE;
}

static bool has_option(PgQuery__Node *const *options, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (options[i]->node_case == NODE(DEF_ELEM) && is_named(options[i]->def_elem->defname, name)) return true;
    return false;
}

static struct tree_statement holding(enum tree_type type, const PgQuery__Node *held) {
    return (struct tree_statement){.type = type, .inner = tree_type(held).type, .executes = true};
}

struct tree_statement tree_type(const PgQuery__Node *n) {
    struct tree_statement t = {.type = TREE_OTHER, .executes = true};
    if (!n) return t;
#define IS(node) (n->node_case == NODE(node))
    if (IS(EXPLAIN_STMT)) {
        t = holding(TREE_EXPLAIN, n->explain_stmt->query);
        // Whatever value ANALYZE is given: (ANALYZE off) costs a fact too many, and no more.
        t.executes = has_option(n->explain_stmt->options, n->explain_stmt->n_options, "analyze");
    } else if (IS(COPY_STMT)) {
        t = holding(copy_type(n->copy_stmt), n->copy_stmt->query);
    } else if (IS(CREATE_TABLE_AS_STMT)) {
        t = holding(TREE_CREATE_AS, n->create_table_as_stmt->query);
    } else if (IS(PREPARE_STMT)) {
        t = holding(TREE_PREPARE, n->prepare_stmt->query);
    } else if (IS(DECLARE_CURSOR_STMT)) {
        t = holding(declare_type(n->declare_cursor_stmt), n->declare_cursor_stmt->query);
    } else if (IS(VARIABLE_SET_STMT)) {
        t = set_type(n->variable_set_stmt);
    } else if (IS(TRANSACTION_STMT)) {
        t.type = transaction_type(n->transaction_stmt);
        t.modes = modes_of(n->transaction_stmt->options, n->transaction_stmt->n_options);
    } else if (IS(VARIABLE_SHOW_STMT)) {
        t.type = TREE_SHOW;
        t.of_server = strcasecmp(n->variable_show_stmt->name, "in_hot_standby") == 0 ||
                      strcasecmp(n->variable_show_stmt->name, "all") == 0;
    } else if (IS(LOCK_STMT)) {
        const int access_share = 1; // lockdefs.h: what any SELECT takes
        t.type = TREE_LOCK;
        t.of_server = n->lock_stmt->mode != access_share;
    } else if (IS(DISCARD_STMT)) {
        bool all = n->discard_stmt->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL;
        t.type = all ? TREE_DISCARD_ALL : TREE_DISCARD;
    } else if (IS(DEALLOCATE_STMT)) {
        t.type = n->deallocate_stmt->name[0] ? TREE_DEALLOCATE : TREE_DEALLOCATE_ALL;
    } else if ((size_t)n->node_case < countof(plain_types)) {
        t.type = plain_types[n->node_case];
    }
#undef IS
    return t;
}
