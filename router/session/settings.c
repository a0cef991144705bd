// SPDX-License-Identifier: ISC
// router/session/settings.c: see router/session/settings.h.
#include "router/session/settings.h"

#include <ctype.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/mem.h"

struct settings {
    UT_hash_handle hh;
    struct settings_table *table;
    uint32_t refs;
    uint64_t id;
    struct settings *meaning; // those of them that matter to what a text means (counted); NULL = none, or all
    bool all_mean;
    struct settings *customs; // settings_customs (counted); NULL = none, or itself
    bool is_customs;          // it is such a set itself
    size_t len;
    uint8_t pairs[]; // name NUL value NUL ..., sorted by name
};

struct settings_table {
    struct settings *all;
    uint64_t last_id;
};

struct settings_table *settings_table_new(void) {
    return mem_new(struct settings_table);
}

void settings_table_free(struct settings_table *t) {
    bug_unless(!t->all);
    mem_free(t);
}

struct pair {
    struct span name, value;
    size_t order;
};

static bool next_pair(struct cursor *c, struct pair *p) {
    if (cursor_left(c) == 0) return false;
    p->name = cursor_cstr(c);
    p->value = cursor_cstr(c);
    return !c->bad;
}

static struct cursor pairs_of(const struct settings *s) {
    return cursor_of(s ? span_of(s->pairs, s->len) : span_of("", 0));
}

static int by_name(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    int cmp = strcasecmp((const char *)x->name.ptr, (const char *)y->name.ptr);
    return cmp ? cmp : (x->order > y->order) - (x->order < y->order);
}

static void put_pair(struct buf *out, const struct pair *p) {
    for (size_t i = 0; i < p->name.len; i++)
        buf_put_u8(out,
                   (uint8_t)(p->name.ptr[i] >= 'A' && p->name.ptr[i] <= 'Z' ? p->name.ptr[i] + 32 : p->name.ptr[i]));
    buf_put_u8(out, 0);
    buf_put(out, p->value.ptr, p->value.len + 1);
}

// The pairs sorted by name, of a name given twice only the last one.
static struct buf canonical(struct span pairs) {
    struct buf out = buf_make(SIZE_MAX / 2);
    struct cursor c = cursor_of(pairs);
    struct pair p, *all = NULL;
    size_t n = 0;
    while (next_pair(&c, &p)) {
        all = mem_grow(all, (n + 1) * sizeof *all);
        p.order = n;
        all[n++] = p;
    }
    if (n) qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++) {
        bool again = i + 1 < n && strcasecmp((const char *)all[i].name.ptr, (const char *)all[i + 1].name.ptr) == 0;
        if (again) continue;
        put_pair(&out, &all[i]);
    }
    mem_free(all);
    return out;
}

// An application's, or one of an extension.
static bool is_custom(struct span name) { return memchr(name.ptr, '.', name.len) != NULL; }

// Parameters that have no part in what a text means, only in how it is run or shown. Those of extensions and the
// application's own, which have a dot in their names, have none either. Others may have: in doubt they do.
// extra_float_digits has: that of a float is an immutable function, so 0.1::float8::text is settled with the plan.
bool settings_name_has_meaning(struct span name) {
    static const char *const harmless[] = {"application_name",
                                           "bytea_output",
                                           "client_min_messages",
                                           "default_transaction_deferrable",
                                           "default_transaction_isolation",
                                           "default_transaction_read_only",
                                           "effective_cache_size",
                                           "idle_in_transaction_session_timeout",
                                           "idle_session_timeout",
                                           "jit",
                                           "lock_timeout",
                                           "log_statement",
                                           "maintenance_work_mem",
                                           "statement_timeout",
                                           "synchronous_commit",
                                           "temp_buffers",
                                           "work_mem"};
    if (is_custom(name)) return false;
    for (size_t i = 0; i < countof(harmless); i++)
        if (span_is(name, harmless[i])) return false;
    return true;
}

static void put_custom(struct buf *out, struct span name) {
    buf_put(out, name.ptr, name.len + 1);
    buf_put_u8(out, 0);
}

static void note_customs(struct settings *s) {
    struct buf names = buf_make(SIZE_MAX / 2);
    struct cursor c = pairs_of(s);
    struct pair p;
    while (next_pair(&c, &p))
        if (is_custom(p.name)) put_custom(&names, p.name);
    s->is_customs = span_eq(buf_span(&names), span_of(s->pairs, s->len));
    if (!s->is_customs) s->customs = settings_intern(s->table, buf_span(&names));
    buf_release(&names);
}

static struct settings *settings_new(struct settings_table *t, const struct buf *key) {
    struct settings *s = mem_alloc(sizeof *s + buf_len(key));
    struct buf meaning = buf_make(SIZE_MAX / 2);
    struct pair p;
    *s = (struct settings){.table = t, .id = ++t->last_id, .len = buf_len(key)};
    memcpy(s->pairs, key->data, s->len);
    struct cursor c = pairs_of(s);
    while (next_pair(&c, &p))
        if (settings_name_has_meaning(p.name)) put_pair(&meaning, &p);
    s->all_mean = buf_len(&meaning) == s->len;
    if (!s->all_mean) s->meaning = settings_intern(t, buf_span(&meaning));
    buf_release(&meaning);
    note_customs(s);
    HASH_ADD_KEYPTR(hh, t->all, s->pairs, s->len, s);
    return s;
}

struct settings *settings_intern(struct settings_table *t, struct span pairs) {
    struct buf key = canonical(pairs);
    struct settings *s = NULL;
    if (buf_len(&key)) {
        HASH_FIND(hh, t->all, key.data, buf_len(&key), s);
        if (!s) s = settings_new(t, &key);
        s->refs++;
    }
    buf_release(&key);
    return s;
}

static bool has_name(struct span names, struct span name) {
    struct cursor c = cursor_of(names);
    while (cursor_left(&c))
        if (span_eq(cursor_cstr(&c), name)) return true;
    return false;
}

struct settings *settings_edit(struct settings_table *t, const struct settings *base, struct span names,
                               struct span pairs) {
    struct buf edited = buf_make(SIZE_MAX / 2);
    struct cursor c = pairs_of(base);
    struct pair p;
    while (next_pair(&c, &p))
        if (!has_name(names, p.name)) put_pair(&edited, &p);
    buf_put_span(&edited, pairs); // the last one of a name counts
    struct settings *s = settings_intern(t, buf_span(&edited));
    buf_release(&edited);
    return s;
}

void settings_ref(struct settings *s) {
    if (s) s->refs++;
}

void settings_unref(struct settings *s) {
    if (!s || --s->refs > 0) return;
    HASH_DELETE(hh, s->table->all, s);
    settings_unref(s->meaning);
    settings_unref(s->customs);
    mem_free(s);
}

bool settings_get(const struct settings *s, struct span name, struct span *value) {
    struct cursor c = pairs_of(s);
    struct pair p;
    while (next_pair(&c, &p)) {
        if (!span_eq(p.name, name)) continue;
        *value = p.value;
        return true;
    }
    return false;
}

static bool is_of_name(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '$'; }

// Whether the word is in the text.
static bool has_word(const char *text, struct span word) {
    const char *at = text;
    while ((at = strcasestr(at, (const char *)word.ptr))) {
        bool begins = at == text || !is_of_name(at[-1]), ends = !is_of_name(at[word.len]);
        if (begins && ends) return true;
        at++;
    }
    return false;
}

bool settings_find_named(const struct settings *s, const char *text, struct span *name) {
    struct cursor c = pairs_of(s);
    struct pair p;
    while (next_pair(&c, &p)) {
        *name = p.name;
        if (p.name.len && has_word(text, p.name)) return true;
    }
    return false;
}

void settings_put_names(const struct settings *s, struct buf *out) {
    struct cursor c = pairs_of(s);
    struct pair p;
    while (next_pair(&c, &p)) buf_put(out, p.name.ptr, p.name.len + 1);
}

size_t settings_bytes(const struct settings *s) { return s ? s->len : 0; }

uint64_t settings_context(const struct settings *s) {
    if (!s) return 0;
    return s->all_mean ? s->id : settings_context(s->meaning);
}

uint64_t settings_new_context(struct settings_table *t) { return ++t->last_id; }

// SQL.

// A string constant that means the same whatever standard_conforming_strings and client_encoding say: bytes beyond
// ASCII are given by number, and so taken for the server's encoding, as those of a start-up packet are.
static void put_literal(struct buf *sql, struct span text) {
    buf_put(sql, "E'", 2);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c >= 0x80) {
            buf_printf(sql, "\\x%02x", c);
            continue;
        }
        if (c == '\'' || c == '\\') buf_put_u8(sql, c);
        buf_put_u8(sql, c);
    }
    buf_put_u8(sql, '\'');
}

// Lists of set_config() calls; PostgreSQL takes 1664 in one.
enum { CALLS_MAX = 1000 };

struct calls {
    struct buf *sql;
    size_t n;
};

// `value` NULL: back to the default, as SET ... TO DEFAULT.
static void put_call(struct calls *calls, struct span name, const struct span *value) {
    const char *before = calls->n == 0 ? "SELECT " : calls->n % CALLS_MAX == 0 ? ";SELECT " : ",";
    buf_printf(calls->sql, "%spg_catalog.set_config(", before);
    calls->n++;
    put_literal(calls->sql, name);
    buf_put_u8(calls->sql, ',');
    if (value)
        put_literal(calls->sql, *value);
    else
        buf_printf(calls->sql, "NULL");
    buf_printf(calls->sql, ",false)");
}

// Whose rights the session has: what comes after them is done with those, and they change each other.
static const char *const identities[] = {"session_authorization", "role"};

static bool is_identity(struct span name) { return span_is(name, identities[0]) || span_is(name, identities[1]); }

bool settings_have_identity(const struct settings *s) {
    struct span value;
    return settings_get(s, span_str(identities[0]), &value) || settings_get(s, span_str(identities[1]), &value);
}

// A walk beside another one, since both are sorted: there may be thousands.
struct walk {
    struct cursor c;
    struct pair p;
    bool more;
};

static struct walk walk_of(const struct settings *s) {
    struct walk w = {.c = pairs_of(s)};
    w.more = next_pair(&w.c, &w.p);
    return w;
}

static bool walk_find(struct walk *w, struct span name, struct span *value) {
    while (w->more && strcasecmp((const char *)w->p.name.ptr, (const char *)name.ptr) < 0)
        w->more = next_pair(&w->c, &w->p);
    if (!w->more || !span_eq(w->p.name, name)) return false;
    *value = w->p.value;
    return true;
}

static void put_identities(struct calls *calls, const struct settings *to) {
    struct span value;
    for (size_t i = 0; i < countof(identities); i++)
        if (settings_get(to, span_str(identities[i]), &value)) put_call(calls, span_str(identities[i]), &value);
}

static void put_difference(struct calls *calls, const struct settings *from, const struct settings *to,
                           bool identities_first) {
    struct cursor c = pairs_of(from);
    struct walk beside = walk_of(to);
    struct pair p;
    struct span value;
    while (next_pair(&c, &p))
        if (!walk_find(&beside, p.name, &value)) put_call(calls, p.name, NULL);
    if (identities_first) put_identities(calls, to);
    c = pairs_of(to);
    beside = walk_of(from);
    while (next_pair(&c, &p)) {
        bool same = walk_find(&beside, p.name, &value) && span_eq(value, p.value);
        if (!same && !is_identity(p.name)) put_call(calls, p.name, &p.value);
    }
    if (!identities_first) put_identities(calls, to);
}

void settings_unserializable_sql(struct buf *sql) {
    buf_printf(sql, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;");
}

void settings_change_sql(const struct settings *from, const struct settings *to, bool identities_first,
                         struct buf *sql) {
    struct calls calls = {.sql = sql};
    struct span value;
    if (from == to) return;
    // A SELECT in a serializable transaction may wait for those of others to end, and fails on a replica.
    if (settings_get(from, span_str("default_transaction_isolation"), &value)) settings_unserializable_sql(sql);
    if (settings_have_identity(from)) { // RESET ALL leaves the role and the session's user as they are
        buf_printf(sql, "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;");
        from = NULL;
    }
    put_difference(&calls, from, to, identities_first);
}

enum { IDENTIFIER_MAX = 63 }; // what is longer is cut, but not by set_config

// A name that is one in SQL when its parts are quoted, without a question of encodings.
static bool is_plain(struct span name) {
    size_t part = 0; // bytes of it
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || c == '_', digit = c >= '0' && c <= '9';
        if (c == '.' ? part == 0 : !letter && !(part && digit)) return false;
        part = c == '.' ? 0 : part + 1;
        if (part > IDENTIFIER_MAX) return false;
    }
    return part > 0;
}

// A part of it may be a keyword.
static void put_plain(struct buf *sql, struct span name) {
    buf_put_u8(sql, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '.')
            buf_put(sql, "\".\"", 3);
        else
            buf_put_u8(sql, name.ptr[i]);
    }
    buf_put_u8(sql, '"');
}

// Lists of names (GUC_LIST_QUOTE), which SET would take for one name.
static bool is_list_of_names(struct span name) {
    static const char *const lists[] = {"search_path", "temp_tablespaces", "session_preload_libraries",
                                        "local_preload_libraries", "unix_socket_directories"};
    for (size_t i = 0; i < countof(lists); i++)
        if (span_is(name, lists[i])) return true;
    return false;
}

void settings_restore_sql(const struct settings *s, struct span names, struct buf *sql) {
    struct cursor c = cursor_of(names);
    struct span value;
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c);
        if (is_identity(name) || !settings_get(s, name, &value)) continue;
        struct calls calls = {.sql = sql};
        if (buf_len(sql)) buf_put_u8(sql, ';');
        if (is_list_of_names(name) || !is_plain(name)) {
            put_call(&calls, name, &value);
            continue;
        }
        buf_put(sql, "SET ", 4);
        put_plain(sql, name);
        buf_put(sql, " TO ", 4);
        put_literal(sql, value);
    }
}

// What was once known.

const struct settings *settings_customs(const struct settings *s) { return !s || s->is_customs ? s : s->customs; }

static void replace(struct settings **at, struct settings *with) {
    settings_unref(*at);
    *at = with;
}

bool settings_have(const struct settings *s, const struct settings *names) {
    if (!names || s == names) return true;
    struct cursor c = pairs_of(names);
    struct walk beside = walk_of(s);
    struct pair p;
    struct span value;
    while (next_pair(&c, &p))
        if (!walk_find(&beside, p.name, &value)) return false;
    return true;
}

void settings_add_customs(struct settings **to, const struct settings *more) {
    if (!settings_have(*to, more))
        replace(to, settings_edit(more->table, *to, span_of("", 0), span_of(more->pairs, more->len)));
}

void settings_add_names(struct settings_table *t, struct settings **to, struct span names) {
    struct buf more = buf_make(SIZE_MAX / 2);
    struct cursor c = cursor_of(names);
    struct span value;
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c);
        if (is_custom(name) && !settings_get(*to, name, &value)) put_custom(&more, name);
    }
    if (buf_len(&more)) replace(to, settings_edit(t, *to, span_of("", 0), buf_span(&more)));
    buf_release(&more);
}

// RESET rather than an empty value: where a library has the parameter by now, it has a default of another kind.
void settings_customs_sql(const struct settings *names, const struct settings *known, const struct settings *but,
                          struct buf *sql) {
    if (!names || names == known) return;
    struct cursor c = pairs_of(names);
    struct walk beside[] = {walk_of(known), walk_of(but)};
    struct pair p;
    struct span value;
    while (next_pair(&c, &p)) {
        struct calls calls = {.sql = sql};
        bool is_known = walk_find(&beside[0], p.name, &value), is_set = walk_find(&beside[1], p.name, &value);
        if (is_known || is_set) continue;
        buf_put(sql, ";RESET ", is_plain(p.name) ? 7 : 1);
        if (is_plain(p.name))
            put_plain(sql, p.name);
        else
            put_call(&calls, p.name, NULL);
    }
}

void settings_read_sql(struct span names, bool exact, struct buf *sql) {
    struct cursor c = cursor_of(names);
    const char *before = "(VALUES(";
    buf_printf(sql, "SELECT v.n,pg_catalog.current_setting(v.n,true),%s FROM ",
               exact ? "s.name IS NULL OR s.source OPERATOR(pg_catalog.=) 'session'" : "true");
    while (cursor_left(&c)) {
        buf_printf(sql, "%s", before);
        put_literal(sql, cursor_cstr(&c));
        before = "),(";
    }
    buf_printf(sql, "))v(n)");
    if (exact)
        buf_printf(sql, " LEFT JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) v.n");
}
