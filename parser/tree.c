// SPDX-License-Identifier: ISC
//
// parser/tree.c: the only caller of libpg_query.
//
// The parser hands its tree over as packed protobuf, which is walked as it lies: a third of what making objects of it
// would cost. Each message has a description of its fields, so one walk covers every type of node there is and a type
// added by a later grammar is walked without a line here. Only the few nodes that say something about routing have a
// function, found by the message's description.
//
// Stack: the parser and the packing take about 400 bytes per level of nesting, the walk 300. Two things keep that below
// the 64 MiB that callers have: lex_chains() refuses what nests without parentheses (`1+1+1...`, whose cost is also
// quadratic), and the grammar's own stack of 10,000 entries refuses the rest.
#include "parser/tree.h"

#include <pg_query.h>

#include "base/mem.h"
#include "parser/builtins.h"
#include "parser/lex.h"
#include "parser/packed.h"
#include "parser/tree_type.h"

enum {
    MAX_CHAIN = 3000,  // 20 ms of parsing
    MAX_DEPTH = 40000, // messages within each other; the deepest text that the two limits let through has less
};

struct tree {
    PgQueryProtobufParseResult parsed;
    unsigned hints;
    size_t count;
    struct packed statements[]; // Nodes in what has been parsed
};

struct walker {
    void (*visit)(void *arg, const struct tree_event *e);
    void *arg;
};

// Comments

// Puts spaces in place of the token of `text` if it is a comment, and answers its hint.
static unsigned blank_comment(char *text, size_t len, struct packed token) {
    struct packed t = token;
    int64_t type = packed_number(t, PACKED_FIELD(ScanToken, token));
    if (type != PG_QUERY__TOKEN__SQL_COMMENT && type != PG_QUERY__TOKEN__C_COMMENT) return 0;
    int64_t start = packed_number(t, PACKED_FIELD(ScanToken, start)),
            end = packed_number(t, PACKED_FIELD(ScanToken, end));
    if (start < 0 || end < start || (uint64_t)end > len) return 0;
    size_t comment_len = (size_t)(end - start);
    unsigned hint = lex_hint(span_of(text + start, comment_len));
    memset(text + start, ' ', comment_len);
    return hint;
}

// libpg_query's grammar sees comments as tokens of their own, and fails on those that stand where it looks ahead, as in
// NOT /* x */ IN. Its scanner is asked where they are: ours might be mistaken, and what it took for a comment would go
// by unseen. False when the text is lexically wrong.
static bool remove_comments(char *text, size_t len, unsigned *hints) {
    if (!strstr(text, "--") && !strstr(text, "/*")) return true;
    PgQueryScanResult scanned = pg_query_scan(text);
    bool ok = !scanned.error;
    if (ok) {
        struct packed tokens =
            packed_of(&pg_query__scan_result__descriptor, span_of(scanned.pbuf.data, scanned.pbuf.len));
        struct packed_field f;
        while (packed_find(&tokens, PACKED_FIELD(ScanResult, tokens), &f))
            *hints |= blank_comment(text, len, packed_message(&f));
        ok = !tokens.wrong;
    }
    pg_query_free_scan_result(scanned);
    return ok;
}

// Parsing

static struct packed result_of(const PgQueryProtobufParseResult *parsed) {
    return packed_of(&pg_query__parse_result__descriptor, span_of(parsed->parse_tree.data, parsed->parse_tree.len));
}

// NULL when the grammar does not know it.
static struct tree *parse(const char *text) {
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(text);
    struct packed_field f;
    size_t count = 0;
    struct packed result = result_of(&parsed);
    while (!parsed.error && packed_find(&result, PACKED_FIELD(ParseResult, stmts), &f)) count++;
    if (parsed.error || result.wrong) {
        pg_query_free_protobuf_parse_result(parsed);
        return NULL;
    }
    struct tree *t = mem_alloc(sizeof *t + count * sizeof t->statements[0]);
    t->parsed = parsed;
    t->count = count;
    result = result_of(&parsed);
    for (size_t i = 0; packed_find(&result, PACKED_FIELD(ParseResult, stmts), &f); i++)
        t->statements[i] = packed_sub(packed_message(&f), PACKED_FIELD(RawStmt, stmt));
    return t;
}

enum tree_status tree_parse(struct span sql, struct tree **out) {
    if (sql.len == 0) sql = span_of("", 0);
    if (memchr(sql.ptr, 0, sql.len)) return TREE_SYNTAX;
    if (lex_chains(sql, MAX_CHAIN)) return TREE_TOO_DEEP;
    char *text = mem_strndup((const char *)sql.ptr, sql.len);
    unsigned hints = 0;
    struct tree *t = remove_comments(text, sql.len, &hints) ? parse(text) : NULL;
    mem_free(text);
    if (!t) return TREE_SYNTAX;
    t->hints = hints;
    *out = t;
    return TREE_OK;
}

void tree_free(struct tree *t) {
    if (!t) return;
    pg_query_free_protobuf_parse_result(t->parsed);
    mem_free(t);
}

size_t tree_count(const struct tree *t) { return t->count; }

unsigned tree_hints(const struct tree *t) { return t->hints; }

struct tree_statement tree_statement(const struct tree *t, size_t at) {
    return tree_type(t->statements[at]);
}

bool tree_set_names(const struct tree *t, size_t at, void (*visit)(void *arg, struct span name, bool local),
                    void *arg) {
    struct packed set;
    return packed_node_is(t->statements[at], PG_QUERY__NODE__NODE_VARIABLE_SET_STMT, &set) &&
           tree_type_set_names(set, visit, arg);
}

// Names

static void report(const struct walker *w, struct tree_event e) {
    if (!e.schema.ptr) e.schema = span_of("", 0);
    if (!e.name.ptr) e.name = span_of("", 0);
    w->visit(w->arg, &e);
}

static struct span string_of(const struct packed_field *node) {
    struct packed string;
    return packed_node_is(packed_message(node), PG_QUERY__NODE__NODE_STRING, &string)
               ? packed_text(string, PACKED_FIELD(String, sval))
               : span_of("", 0);
}

// The next part of a qualified name, of which the last two stay.
static void add_part(struct tree_event *e, const struct packed_field *part) {
    e->schema = e->name;
    e->name = string_of(part);
}

static void report_named(const struct walker *w, enum tree_event_type type, struct packed m, size_t field) {
    struct tree_event e = {.type = type};
    struct packed_field f;
    while (packed_find(&m, field, &f)) add_part(&e, &f);
    if (e.name.len > 0) report(w, e);
}

static void report_relation(const struct walker *w, enum tree_event_type type, struct packed range) {
    report(w, (struct tree_event){.type = type,
                                  .schema = packed_text(range, PACKED_FIELD(RangeVar, schemaname)),
                                  .name = packed_text(range, PACKED_FIELD(RangeVar, relname))});
}

static void report_field(const struct walker *w, struct span name) {
    if (name.len > 0) report(w, (struct tree_event){.type = TREE_SAW_FIELD, .name = name, .n_args = 1});
}

// Nodes

static void on_call(const struct walker *w, struct packed call) {
    struct tree_event e = {.type = TREE_SAW_CALL, .call = span_of(call.p, (size_t)(call.end - call.p))};
    int sorted = 0;
    bool within_group = false;
    for (struct packed_field f; packed_next(&call, &f);) {
        switch (f.of->offset) {
        case PACKED_FIELD(FuncCall, funcname): add_part(&e, &f); break;
        case PACKED_FIELD(FuncCall, args): e.n_args++; break;
        case PACKED_FIELD(FuncCall, agg_order): sorted++; break;
        case PACKED_FIELD(FuncCall, agg_within_group): within_group = f.number != 0; break;
        default: break;
        }
    }
    // The sorted arguments of WITHIN GROUP are arguments; the ORDER BY of an ordinary aggregate is none.
    if (within_group) e.n_args += sorted;
    report(w, e);
}

// The last part of a.b may be a function of a: `nextval` in SELECT (s).nextval.
static void on_column(const struct walker *w, struct packed column) {
    struct packed_field f, last;
    size_t count = 0;
    while (packed_find(&column, PACKED_FIELD(ColumnRef, fields), &f)) {
        last = f;
        count++;
    }
    if (count >= 2) report_field(w, string_of(&last));
}

static void on_indirection(const struct walker *w, struct packed indirection) {
    struct packed_field f;
    while (packed_find(&indirection, PACKED_FIELD(AIndirection, indirection), &f)) report_field(w, string_of(&f));
}

static void on_expression(const struct walker *w, struct packed expr) {
    // The name of a BETWEEN is no operator; it stands for >= and <=.
    if (packed_number(expr, PACKED_FIELD(AExpr, kind)) >= PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN) return;
    report_named(w, TREE_SAW_OPERATOR, expr, PACKED_FIELD(AExpr, name));
}

static void on_type(const struct walker *w, struct packed type) {
    report_named(w, TREE_SAW_TYPE, type, PACKED_FIELD(TypeName, names));
}

static void on_sublink(const struct walker *w, struct packed link) {
    report_named(w, TREE_SAW_OPERATOR, link, PACKED_FIELD(SubLink, oper_name));
}

static void on_sort(const struct walker *w, struct packed sort) {
    report_named(w, TREE_SAW_OPERATOR, sort, PACKED_FIELD(SortBy, use_op));
}

static void on_sample(const struct walker *w, struct packed sample) {
    report_named(w, TREE_SAW_SAMPLE, sample, PACKED_FIELD(RangeTableSample, method));
}

static void on_relation(const struct walker *w, struct packed range) {
    report_relation(w, TREE_SAW_RELATION, range);
    struct span persistence = packed_text(range, PACKED_FIELD(RangeVar, relpersistence));
    if (persistence.len > 0 && persistence.ptr[0] == 't') report(w, (struct tree_event){.type = TREE_SAW_TEMP});
}

static void report_change(const struct walker *w, struct packed stmt, size_t field) {
    struct packed_field f;
    if (packed_find(&stmt, field, &f)) report_relation(w, TREE_SAW_CHANGE, packed_message(&f));
}

static void on_insert(const struct walker *w, struct packed stmt) {
    report_change(w, stmt, PACKED_FIELD(InsertStmt, relation));
}
static void on_update(const struct walker *w, struct packed stmt) {
    report_change(w, stmt, PACKED_FIELD(UpdateStmt, relation));
}
static void on_delete(const struct walker *w, struct packed stmt) {
    report_change(w, stmt, PACKED_FIELD(DeleteStmt, relation));
}
static void on_merge(const struct walker *w, struct packed stmt) {
    report_change(w, stmt, PACKED_FIELD(MergeStmt, relation));
}
static void on_lock(const struct walker *w, struct packed node) {
    (void)node;
    report(w, (struct tree_event){.type = TREE_SAW_ROW_LOCK});
}
static void on_into(const struct walker *w, struct packed node) {
    (void)node;
    report(w, (struct tree_event){.type = TREE_SAW_INTO});
}
static void on_execute(const struct walker *w, struct packed node) {
    (void)node;
    report(w, (struct tree_event){.type = TREE_SAW_EXECUTE});
}

static void on_value_function(const struct walker *w, struct packed m) {
    if (packed_number(m, PACKED_FIELD(SQLValueFunction, op)) < PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_ROLE)
        report(w, (struct tree_event){.type = TREE_SAW_TIME});
}

// CREATE DATABASE copies another one.
static void on_create_database(const struct walker *w, struct packed stmt) {
    struct span copied = span_str("template1");
    struct packed option, value;
    for (struct packed_field f; packed_find(&stmt, PACKED_FIELD(CreatedbStmt, options), &f);)
        if (packed_node_is(packed_message(&f), PG_QUERY__NODE__NODE_DEF_ELEM, &option) &&
            span_is(packed_text(option, PACKED_FIELD(DefElem, defname)), "template") &&
            packed_node_is(packed_sub(option, PACKED_FIELD(DefElem, arg)), PG_QUERY__NODE__NODE_STRING, &value))
            copied = packed_text(value, PACKED_FIELD(String, sval));
    report(w, (struct tree_event){.type = TREE_SAW_DATABASE, .name = copied});
}

static void on_drop_database(const struct walker *w, struct packed stmt) {
    report(w,
           (struct tree_event){.type = TREE_SAW_DATABASE, .name = packed_text(stmt, PACKED_FIELD(DropdbStmt, dbname))});
}

static void on_rename(const struct walker *w, struct packed stmt) {
    if (packed_number(stmt, PACKED_FIELD(RenameStmt, rename_type)) == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE)
        report(w, (struct tree_event){.type = TREE_SAW_DATABASE,
                                      .name = packed_text(stmt, PACKED_FIELD(RenameStmt, subname))});
}

// Only SET TABLESPACE wants it for itself.
static void on_alter_database(const struct walker *w, struct packed stmt) {
    struct packed options = stmt, option;
    for (struct packed_field f; packed_find(&options, PACKED_FIELD(AlterDatabaseStmt, options), &f);)
        if (packed_node_is(packed_message(&f), PG_QUERY__NODE__NODE_DEF_ELEM, &option) &&
            span_is(packed_text(option, PACKED_FIELD(DefElem, defname)), "tablespace"))
            report(w, (struct tree_event){.type = TREE_SAW_DATABASE,
                                          .name = packed_text(stmt, PACKED_FIELD(AlterDatabaseStmt, dbname))});
}

static const struct {
    const ProtobufCMessageDescriptor *of;
    void (*handle)(const struct walker *w, struct packed m);
} handlers[] = {
    {&pg_query__column_ref__descriptor, on_column},
    {&pg_query__func_call__descriptor, on_call},
    {&pg_query__a__expr__descriptor, on_expression},
    {&pg_query__range_var__descriptor, on_relation},
    {&pg_query__type_name__descriptor, on_type},
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
    {&pg_query__createdb_stmt__descriptor, on_create_database},
    {&pg_query__dropdb_stmt__descriptor, on_drop_database},
    {&pg_query__rename_stmt__descriptor, on_rename},
    {&pg_query__alter_database_stmt__descriptor, on_alter_database},
};

// The walk

static enum tree_status walk(const struct walker *w, struct packed m, unsigned depth);

static enum tree_status walk_field(const struct walker *w, const struct packed_field *f, unsigned depth) {
    if (f->of->type == PROTOBUF_C_TYPE_MESSAGE) return walk(w, packed_message(f), depth);
    // Schemas are named in a dozen fields and lists; wherever the name of a temporary one stands, it is meant.
    if (f->of->type == PROTOBUF_C_TYPE_STRING && builtin_schema_is_temp(f->bytes))
        report(w, (struct tree_event){.type = TREE_SAW_TEMP});
    return TREE_OK;
}

static enum tree_status walk(const struct walker *w, struct packed m, unsigned depth) {
    if (depth == MAX_DEPTH) return TREE_TOO_DEEP;
    // Literals stay unseen.
    if (m.of == &pg_query__a__const__descriptor) return TREE_OK;
    for (size_t i = 0; i < countof(handlers); i++)
        if (handlers[i].of == m.of) handlers[i].handle(w, m);
    struct packed_field f;
    while (packed_next(&m, &f)) {
        enum tree_status status = walk_field(w, &f, depth + 1);
        if (status != TREE_OK) return status;
    }
    return m.wrong ? TREE_SYNTAX : TREE_OK;
}

enum tree_status tree_walk(const struct tree *t, size_t at, void (*visit)(void *arg, const struct tree_event *e),
                           void *arg) {
    const struct walker w = {visit, arg};
    return walk(&w, t->statements[at], 0);
}

// Arguments

// Steps over one argument: its value, and the name it is given by, empty when there is none.
static bool next_arg(struct packed *call, struct packed *value, struct span *name) {
    struct packed_field f;
    struct packed named;
    if (!packed_find(call, PACKED_FIELD(FuncCall, args), &f)) return false;
    *value = packed_message(&f);
    *name = span_of("", 0);
    if (packed_node_is(*value, PG_QUERY__NODE__NODE_NAMED_ARG_EXPR, &named)) {
        *value = packed_sub(named, PACKED_FIELD(NamedArgExpr, arg));
        *name = packed_text(named, PACKED_FIELD(NamedArgExpr, name));
    }
    return true;
}

static struct packed call_of(const struct tree_event *e) {
    return packed_of(&pg_query__func_call__descriptor, e->call);
}

// False when it is not given.
static bool arg_of(const struct tree_event *e, int at, const char *name, struct packed *out) {
    struct packed call = call_of(e);
    struct span given;
    for (int i = 0; next_arg(&call, out, &given); i++)
        if (given.len > 0 ? span_is(given, name) : i == at) return true;
    return false;
}

bool tree_arg_is_true(const struct tree_event *e, int at, const char *name) {
    struct packed arg;
    struct packed_field value;
    return arg_of(e, at, name, &arg) && packed_const(arg, &value) && value.of->id == PG_QUERY__A__CONST__VAL_BOOLVAL &&
           packed_number(packed_message(&value), PACKED_FIELD(Boolean, boolval)) != 0;
}

bool tree_arg_text(const struct tree_event *e, int at, const char *name, struct span *out) {
    struct packed arg;
    return arg_of(e, at, name, &arg) && packed_const_text(arg, out);
}

bool tree_args_name_temp(const struct tree_event *e) {
    struct packed call = call_of(e), arg;
    struct span name;
    while (next_arg(&call, &arg, &name))
        if (tree_const_names_temp(arg)) return true;
    return false;
}
