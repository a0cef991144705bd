// SPDX-License-Identifier: ISC
//
// parser/tree.c: the only user of libpg_query.
//
// The parser hands its tree over as protobuf; unpacked, each message carries the description of its fields, so one walk
// covers every type of node there is and a type added by a later grammar is walked without a line here. Only the few
// nodes that say something about routing have a function, found by the message's descriptor.
//
// Stack: the parser takes about 400 bytes per level of nesting, unpacking 1 KiB, the walk 200. Two things keep that
// below the 64 MiB that callers have: lex_chains() refuses what nests without parentheses (`1+1+1...`, whose cost is
// also quadratic), and the grammar's own stack of 10,000 entries refuses the rest.
#include "parser/tree.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include "base/mem.h"
#include "parser/builtins.h"
#include "parser/lex.h"
#include "parser/tree_type.h"

enum {
    MAX_CHAIN = 3000,  // 20 ms of parsing
    MAX_DEPTH = 40000, // messages within each other; the deepest text that the two limits let through has less
};

struct tree {
    PgQuery__ParseResult *result;
    unsigned hints;
};

struct walker {
    void (*visit)(void *arg, const struct tree_event *e);
    void *arg;
};

// Comments

static bool is_comment(const PgQuery__ScanToken *t) {
    return t->token == PG_QUERY__TOKEN__SQL_COMMENT || t->token == PG_QUERY__TOKEN__C_COMMENT;
}

// Puts spaces in place of the comments of `text`, and answers their hints.
static unsigned blank_comments(char *text, size_t len, const PgQuery__ScanResult *tokens) {
    unsigned hints = 0;
    for (size_t i = 0; i < tokens->n_tokens; i++) {
        const PgQuery__ScanToken *t = tokens->tokens[i];
        if (!is_comment(t) || t->start < 0 || t->end < t->start || (size_t)t->end > len) continue;
        size_t comment_len = (size_t)(t->end - t->start);
        hints |= lex_hint(span_of(text + t->start, comment_len));
        memset(text + t->start, ' ', comment_len);
    }
    return hints;
}

// libpg_query's grammar sees comments as tokens of their own, and fails on those that stand where it looks ahead, as in
// NOT /* x */ IN. Its scanner is asked where they are: ours might be mistaken, and what it took for a comment would go
// by unseen. False when the text is lexically wrong.
static bool remove_comments(char *text, size_t len, unsigned *hints) {
    if (!strstr(text, "--") && !strstr(text, "/*")) return true;
    PgQueryScanResult scanned = pg_query_scan(text);
    PgQuery__ScanResult *tokens = NULL;
    if (!scanned.error)
        tokens = pg_query__scan_result__unpack(NULL, scanned.pbuf.len, (const uint8_t *)scanned.pbuf.data);
    pg_query_free_scan_result(scanned);
    if (!tokens) return false;
    *hints = blank_comments(text, len, tokens);
    pg_query__scan_result__free_unpacked(tokens, NULL);
    return true;
}

// Parsing

static PgQuery__ParseResult *parse(const char *text) {
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(text);
    PgQuery__ParseResult *result = NULL;
    if (!parsed.error)
        result = pg_query__parse_result__unpack(NULL, parsed.parse_tree.len, (const uint8_t *)parsed.parse_tree.data);
    pg_query_free_protobuf_parse_result(parsed);
    return result;
}

enum tree_status tree_parse(struct span sql, struct tree **out) {
    if (sql.len == 0) sql = span_of("", 0);
    if (memchr(sql.ptr, 0, sql.len)) return TREE_SYNTAX;
    if (lex_chains(sql, MAX_CHAIN)) return TREE_TOO_DEEP;
    char *text = mem_strndup((const char *)sql.ptr, sql.len);
    unsigned hints = 0;
    PgQuery__ParseResult *result = NULL;
    if (remove_comments(text, sql.len, &hints)) result = parse(text);
    mem_free(text);
    if (!result) return TREE_SYNTAX;
    *out = mem_new(struct tree);
    **out = (struct tree){.result = result, .hints = hints};
    return TREE_OK;
}

void tree_free(struct tree *t) {
    if (!t) return;
    pg_query__parse_result__free_unpacked(t->result, NULL);
    mem_free(t);
}

size_t tree_count(const struct tree *t) { return t->result->n_stmts; }

unsigned tree_hints(const struct tree *t) { return t->hints; }

struct tree_statement tree_statement(const struct tree *t, size_t at) {
    return tree_type(t->result->stmts[at]->stmt);
}

bool tree_set_names(const struct tree *t, size_t at, void (*visit)(void *arg, struct span name, bool local),
                    void *arg) {
    const PgQuery__Node *n = t->result->stmts[at]->stmt;
    return n && n->node_case == PG_QUERY__NODE__NODE_VARIABLE_SET_STMT &&
           tree_type_set_names(n->variable_set_stmt, visit, arg);
}

// Names

static struct span text_of(const char *s) { return s ? span_str(s) : span_of("", 0); }

static struct span string_of(const PgQuery__Node *n) {
    return n && n->node_case == PG_QUERY__NODE__NODE_STRING ? text_of(n->string->sval) : text_of(NULL);
}

// The last two parts of a qualified name.
static void name_of(PgQuery__Node *const *parts, size_t count, struct tree_event *e) {
    e->name = count > 0 ? string_of(parts[count - 1]) : text_of(NULL);
    e->schema = count > 1 ? string_of(parts[count - 2]) : text_of(NULL);
}

static void report(const struct walker *w, struct tree_event e) {
    if (!e.schema.ptr) e.schema = text_of(NULL);
    if (!e.name.ptr) e.name = text_of(NULL);
    w->visit(w->arg, &e);
}

static void report_named(const struct walker *w, enum tree_event_type type, PgQuery__Node *const *parts, size_t count) {
    struct tree_event e = {.type = type};
    name_of(parts, count, &e);
    if (e.name.len > 0) report(w, e);
}

static void report_relation(const struct walker *w, enum tree_event_type type, const PgQuery__RangeVar *r) {
    if (r) report(w, (struct tree_event){.type = type, .schema = text_of(r->schemaname), .name = text_of(r->relname)});
}

// Nodes

static void on_call(const struct walker *w, const void *node) {
    const PgQuery__FuncCall *c = node;
    struct tree_event e = {.type = TREE_SAW_CALL, .node = c};
    name_of(c->funcname, c->n_funcname, &e);
    // The sorted arguments of WITHIN GROUP are arguments; the ORDER BY of an ordinary aggregate is none.
    e.n_args = (int)(c->n_args + (c->agg_within_group ? c->n_agg_order : 0));
    report(w, e);
}

// The last part of a.b may be a function of a: `nextval` in SELECT (s).nextval.
static void on_column(const struct walker *w, const void *node) {
    const PgQuery__ColumnRef *c = node;
    if (c->n_fields < 2) return;
    struct span field = string_of(c->fields[c->n_fields - 1]);
    if (field.len > 0) report(w, (struct tree_event){.type = TREE_SAW_FIELD, .name = field, .n_args = 1});
}

static void on_indirection(const struct walker *w, const void *node) {
    const PgQuery__AIndirection *a = node;
    for (size_t i = 0; i < a->n_indirection; i++) {
        struct span field = string_of(a->indirection[i]);
        if (field.len > 0) report(w, (struct tree_event){.type = TREE_SAW_FIELD, .name = field, .n_args = 1});
    }
}

static void on_expression(const struct walker *w, const void *node) {
    const PgQuery__AExpr *a = node;
    // The name of a BETWEEN is no operator; it stands for >= and <=.
    if (a->kind >= PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN) return;
    report_named(w, TREE_SAW_OPERATOR, a->name, a->n_name);
}

static void on_sublink(const struct walker *w, const void *node) {
    const PgQuery__SubLink *s = node;
    report_named(w, TREE_SAW_OPERATOR, s->oper_name, s->n_oper_name);
}

static void on_sort(const struct walker *w, const void *node) {
    const PgQuery__SortBy *s = node;
    report_named(w, TREE_SAW_OPERATOR, s->use_op, s->n_use_op);
}

static void on_sample(const struct walker *w, const void *node) {
    const PgQuery__RangeTableSample *s = node;
    report_named(w, TREE_SAW_SAMPLE, s->method, s->n_method);
}

static void on_relation(const struct walker *w, const void *node) {
    const PgQuery__RangeVar *r = node;
    report_relation(w, TREE_SAW_RELATION, r);
    if (r->relpersistence && r->relpersistence[0] == 't') report(w, (struct tree_event){.type = TREE_SAW_TEMP});
}

static void on_insert(const struct walker *w, const void *node) {
    report_relation(w, TREE_SAW_CHANGE, ((const PgQuery__InsertStmt *)node)->relation);
}
static void on_update(const struct walker *w, const void *node) {
    report_relation(w, TREE_SAW_CHANGE, ((const PgQuery__UpdateStmt *)node)->relation);
}
static void on_delete(const struct walker *w, const void *node) {
    report_relation(w, TREE_SAW_CHANGE, ((const PgQuery__DeleteStmt *)node)->relation);
}
static void on_merge(const struct walker *w, const void *node) {
    report_relation(w, TREE_SAW_CHANGE, ((const PgQuery__MergeStmt *)node)->relation);
}
static void on_lock(const struct walker *w, const void *node) {
    (void)node;
    report(w, (struct tree_event){.type = TREE_SAW_ROW_LOCK});
}
static void on_into(const struct walker *w, const void *node) {
    (void)node;
    report(w, (struct tree_event){.type = TREE_SAW_INTO});
}
static void on_execute(const struct walker *w, const void *node) {
    (void)node;
    report(w, (struct tree_event){.type = TREE_SAW_EXECUTE});
}

static void on_value_function(const struct walker *w, const void *node) {
    const PgQuery__SQLValueFunction *f = node;
    if (f->op < PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_ROLE)
        report(w, (struct tree_event){.type = TREE_SAW_TIME});
}

static const struct {
    const ProtobufCMessageDescriptor *of;
    void (*handle)(const struct walker *w, const void *node);
} handlers[] = {
    {&pg_query__column_ref__descriptor, on_column},
    {&pg_query__func_call__descriptor, on_call},
    {&pg_query__a__expr__descriptor, on_expression},
    {&pg_query__range_var__descriptor, on_relation},
    {&pg_query__a__indirection__descriptor, on_indirection},
    {&pg_query__sub_link__descriptor, on_sublink},
    {&pg_query__sort_by__descriptor, on_sort},
    {&pg_query__range_table_sample__descriptor, on_sample},
    {&pg_query__insert_stmt__descriptor, on_insert},
    {&pg_query__update_stmt__descriptor, on_update},
    {&pg_query__delete_stmt__descriptor, on_delete},
    {&pg_query__merge_stmt__descriptor, on_merge},
    {&pg_query__locking_clause__descriptor, on_lock},
    {&pg_query__into_clause__descriptor, on_into},
    {&pg_query__execute_stmt__descriptor, on_execute},
    {&pg_query__sqlvalue_function__descriptor, on_value_function},
};

// The walk

static bool walk(const struct walker *w, const ProtobufCMessage *m, unsigned depth);

static bool walk_field(const struct walker *w, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                       unsigned depth) {
    const char *at = (const char *)m + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) return true;
        size_t count = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
        ProtobufCMessage *const *messages = *(ProtobufCMessage *const *const *)(const void *)at;
        for (size_t i = 0; i < count; i++)
            if (!walk(w, messages[i], depth)) return false;
        return true;
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *one = *(ProtobufCMessage *const *)(const void *)at;
        return !one || walk(w, one, depth);
    }
    // Schemas are named in a dozen fields and lists; wherever the name of a temporary one stands, it is meant.
    if (f->type == PROTOBUF_C_TYPE_STRING && builtin_schema_is_temp(text_of(*(char *const *)(const void *)at)))
        report(w, (struct tree_event){.type = TREE_SAW_TEMP});
    return true;
}

// False when it is nested too deeply.
static bool walk(const struct walker *w, const ProtobufCMessage *m, unsigned depth) {
    if (depth >= MAX_DEPTH) return false;
    if (m->descriptor == &pg_query__node__descriptor) {
        const PgQuery__Node *n = (const PgQuery__Node *)m;
        if (n->node_case == PG_QUERY__NODE__NODE__NOT_SET) return true;
        m = (const ProtobufCMessage *)n->select_stmt; // any member: they are pointers in one union
    }
    // Literals stay unseen.
    if (m->descriptor == &pg_query__a__const__descriptor) return true;
    for (size_t i = 0; i < countof(handlers); i++)
        if (handlers[i].of == m->descriptor) handlers[i].handle(w, m);
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        if (!walk_field(w, m, &m->descriptor->fields[i], depth + 1)) return false;
    return true;
}

enum tree_status tree_walk(const struct tree *t, size_t at, void (*visit)(void *arg, const struct tree_event *e),
                           void *arg) {
    const struct walker w = {visit, arg};
    return walk(&w, &t->result->stmts[at]->base, 0) ? TREE_OK : TREE_TOO_DEEP;
}

// Arguments

// NULL when it is not given.
static const PgQuery__Node *arg_of(const struct tree_event *e, int at, const char *name) {
    const PgQuery__FuncCall *c = e->node;
    for (size_t i = 0; i < c->n_args; i++) {
        const PgQuery__Node *arg = c->args[i];
        if (arg->node_case == PG_QUERY__NODE__NODE_NAMED_ARG_EXPR) {
            if (span_is(text_of(arg->named_arg_expr->name), name)) return arg->named_arg_expr->arg;
        } else if (i == (size_t)at) {
            return arg;
        }
    }
    return NULL;
}

bool tree_arg_is_true(const struct tree_event *e, int at, const char *name) {
    const PgQuery__Node *arg = arg_of(e, at, name);
    return arg && arg->node_case == PG_QUERY__NODE__NODE_A_CONST &&
           arg->a_const->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL && arg->a_const->boolval->boolval;
}

bool tree_arg_text(const struct tree_event *e, int at, const char *name, struct span *out) {
    const PgQuery__Node *arg = arg_of(e, at, name);
    if (!arg || arg->node_case != PG_QUERY__NODE__NODE_A_CONST ||
        arg->a_const->val_case != PG_QUERY__A__CONST__VAL_SVAL)
        return false;
    *out = text_of(arg->a_const->sval->sval);
    return true;
}

bool tree_args_name_temp(const struct tree_event *e) {
    const PgQuery__FuncCall *c = e->node;
    for (size_t i = 0; i < c->n_args; i++) {
        const PgQuery__Node *arg = c->args[i];
        if (arg->node_case == PG_QUERY__NODE__NODE_NAMED_ARG_EXPR) arg = arg->named_arg_expr->arg;
        if (tree_const_names_temp(arg)) return true;
    }
    return false;
}
