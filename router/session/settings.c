// SPDX-License-Identifier: ISC
// router/session/settings.c: see router/session/settings.h.
#include "router/session/settings.h"

#include <stdlib.h>
#include <uthash.h>

#include "base/mem.h"

struct settings {
    UT_hash_handle hh;
    struct settings_table *table;
    uint32_t refs;
    size_t len;
    uint8_t pairs[]; // name NUL value NUL ..., sorted by name
};

struct settings_table {
    struct settings *all;
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

static int by_name(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    int cmp = strcasecmp((const char *)x->name.ptr, (const char *)y->name.ptr);
    return cmp ? cmp : (x->order > y->order) - (x->order < y->order);
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
        buf_put(&out, all[i].name.ptr, all[i].name.len + 1);
        buf_put(&out, all[i].value.ptr, all[i].value.len + 1);
    }
    mem_free(all);
    return out;
}

struct settings *settings_intern(struct settings_table *t, struct span pairs) {
    struct buf key = canonical(pairs);
    struct settings *s = NULL;
    if (buf_len(&key)) {
        HASH_FIND(hh, t->all, key.data, buf_len(&key), s);
        if (!s) {
            s = mem_alloc(sizeof *s + buf_len(&key));
            s->table = t;
            s->len = buf_len(&key);
            memcpy(s->pairs, key.data, s->len);
            HASH_ADD_KEYPTR(hh, t->all, s->pairs, s->len, s);
        }
        s->refs++;
    }
    buf_release(&key);
    return s;
}

void settings_ref(struct settings *s) {
    if (s) s->refs++;
}

void settings_unref(struct settings *s) {
    if (!s || --s->refs > 0) return;
    HASH_DELETE(hh, s->table->all, s);
    mem_free(s);
}

bool settings_outlive_reset_all(const struct settings *s) {
    static const char *const names[] = {"role", "session_authorization", "seed"};
    struct cursor c = cursor_of(s ? span_of(s->pairs, s->len) : span_of("", 0));
    struct pair p;
    while (next_pair(&c, &p))
        for (size_t i = 0; i < countof(names); i++)
            if (strcasecmp((const char *)p.name.ptr, names[i]) == 0) return true;
    return false;
}

// A string constant that means the same whatever standard_conforming_strings says.
static void put_literal(struct buf *sql, struct span text) {
    buf_put(sql, "E'", 2);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'' || text.ptr[i] == '\\') buf_put_u8(sql, text.ptr[i]);
        buf_put_u8(sql, text.ptr[i]);
    }
    buf_put_u8(sql, '\'');
}

void settings_change_sql(const struct settings *from, const struct settings *to, struct buf *sql) {
    if (from == to) return;
    // RESET ALL leaves the role and the session's user as they are.
    if (from) buf_printf(sql, "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;");
    if (!to) return;
    struct cursor c = cursor_of(span_of(to->pairs, to->len));
    struct pair p;
    const char *before = "SELECT ";
    while (next_pair(&c, &p)) {
        buf_printf(sql, "%spg_catalog.set_config(", before);
        put_literal(sql, p.name);
        buf_put_u8(sql, ',');
        put_literal(sql, p.value);
        buf_printf(sql, ",false)");
        before = ",";
    }
}
