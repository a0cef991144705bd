// SPDX-License-Identifier: ISC
// parser/setting_names.c: see parser/setting_names.h.
#include "parser/setting_names.h"

#include "parser/builtins.h"
#include "parser/tree.h"
#include "parser/verdict.h"

static bool is_nobodys(const char *name) {
    static const char prefix[] = "plpgsql.";
    static const char *const own[] = {"variable_conflict", "print_strict_params", "check_asserts", "extra_warnings",
                                      "extra_errors"};
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    for (size_t i = 0; i < countof(own); i++)
        if (strcmp(name + sizeof prefix - 1, own[i]) == 0) return false;
    return true;
}

static void add_name(struct setting_names *n, struct span name, bool local) {
    // They are those of the transaction, however they are set.
    static const char *const transaction[] = {"transaction_isolation", "transaction_read_only",
                                              "transaction_deferrable"};
    char lower[256];
    if (name.len == 0 || name.len >= sizeof lower) {
        n->unknown = true;
        return;
    }
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        n->unknown |= c >= 0x80; // in the client's encoding, which we do not know
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    lower[name.len] = '\0';
    for (size_t i = 0; i < countof(transaction); i++)
        if (strcmp(lower, transaction[i]) == 0) return;
    if (strcmp(lower, "seed") == 0) { // its value cannot be read
        n->unknown = true;
        return;
    }
    if (is_nobodys(lower)) n->nobodys = n->unknown = true; // it could not be carried to where the library is loaded
    struct buf *to = local ? &n->local : &n->names;
    // SET SESSION AUTHORIZATION ends a SET ROLE.
    if (strcmp(lower, "session_authorization") == 0) buf_put_cstr(to, "role");
    buf_put_cstr(to, lower);
    n->unknown |= to->failed;
}

static void on_name(void *arg, struct span name, bool local) { add_name(arg, name, local); }

static void on_set_config(struct setting_names *n, const struct tree_event *e) {
    struct span name;
    bool local = tree_arg_is_true(e, 2, "is_local");
    if (span_is(e->name, "setseed") || !tree_arg_text(e, 0, "setting_name", &name))
        n->unknown = true;
    else
        add_name(n, name, local);
    n->restores |= !local; // its value may be NULL
}

static void on_event(void *arg, const struct tree_event *e) {
    struct setting_names *n = arg;
    bool sets = (builtin_function(e->schema, e->name).facts & FACT_SET) != 0;
    switch (e->type) {
    case TREE_SAW_CALL:
        if (sets) on_set_config(n, e);
        break;
    case TREE_SAW_FIELD: n->unknown |= sets; break;
    case TREE_SAW_CHANGE: n->unknown |= builtin_relation_is_settings(e->schema, e->name); break;
    case TREE_SAW_OPERATOR:
    case TREE_SAW_TYPE:
    case TREE_SAW_SAMPLE:
    case TREE_SAW_RELATION:
    case TREE_SAW_ROW_LOCK:
    case TREE_SAW_INTO:
    case TREE_SAW_EXECUTE:
    case TREE_SAW_TEMP:
    case TREE_SAW_TIME:
    case TREE_SAW_DATABASE: break;
    }
}

void setting_names_add(struct setting_names *n, struct span sql) {
    struct tree *t;
    if (tree_parse(sql, &t) != TREE_OK) {
        n->unknown = true;
        return;
    }
    for (size_t i = 0; i < tree_count(t); i++) {
        size_t before = buf_len(&n->names);
        n->restores |= tree_set_names(t, i, on_name, n);
        if (tree_walk(t, i, on_event, n) != TREE_OK) n->unknown = true;
        // Each EXECUTE sets it, and says nothing of it.
        if (tree_statement(t, i).type == TREE_PREPARE && buf_len(&n->names) > before) n->unknown = true;
    }
    tree_free(t);
}

static bool is_of_name(uint8_t c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && (c == '.' || (c >= '0' && c <= '9')));
}

static bool ends_with_set(struct span before) {
    while (before.len && before.ptr[before.len - 1] == ' ') before.len--;
    return before.len >= 3 && strncasecmp((const char *)before.ptr + before.len - 3, "set", 3) == 0;
}

void setting_names_add_body(struct setting_names *n, struct span sql) {
    for (size_t i = 0, end; i < sql.len; i = MAX_OF(end, i + 1)) {
        for (end = i; end < sql.len && is_of_name(sql.ptr[end], end == i); end++) {
        }
        struct span name = span_of(sql.ptr + i, end - i);
        if (end == i || !memchr(name.ptr, '.', name.len)) continue;
        bool quoted = i > 0 && sql.ptr[i - 1] == '\'' && end < sql.len && sql.ptr[end] == '\'';
        if (quoted || ends_with_set(span_of(sql.ptr, i))) add_name(n, name, false);
    }
}
