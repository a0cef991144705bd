// SPDX-License-Identifier: ISC
// router/session/statements.c: see router/session/statements.h.
#include "router/session/statements.h"

#include <xxhash.h>

#include "base/mem.h"

struct statements {
    struct statement **slots; // chained
    size_t n_slots, count;    // n_slots is a power of two
    struct ilist idle;        // refs == 0, oldest first
    size_t max_idle, idle_bytes;
    uint64_t *next_id;
    struct statement *last; // asked for: a Parse is looked up when it is scanned, and again when it is sent
};

enum { STATEMENTS_FIRST_SLOTS = 64, STATEMENTS_IDLE_BYTES_MAX = 8 * 1024 * 1024 };

struct statements *statements_new(uint64_t *next_id, size_t max_idle) {
    struct statements *t = mem_new(struct statements);
    t->n_slots = STATEMENTS_FIRST_SLOTS;
    t->slots = mem_array(t->n_slots, struct statement *);
    ilist_init(&t->idle);
    t->max_idle = max_idle;
    t->next_id = next_id;
    return t;
}

static struct statement **slot_of(struct statements *t, uint64_t hash) { return &t->slots[hash & (t->n_slots - 1)]; }

static void statement_drop(struct statements *t, struct statement *s) {
    struct statement **at = slot_of(t, s->hash);
    if (t->last == s) t->last = NULL;
    while (*at != s) at = &(*at)->chain;
    *at = s->chain;
    t->count--;
    mem_free(s);
}

void statements_free(struct statements *t) {
    struct ilink *n;
    while ((n = ilist_pop_front(&t->idle))) statement_drop(t, container_of(n, struct statement, idle));
    bug_unless(t->count == 0);
    mem_free(t->slots);
    mem_free(t);
}

static void statements_grow(struct statements *t) {
    size_t n_old = t->n_slots;
    struct statement **old = t->slots;
    t->n_slots *= 2;
    t->slots = mem_array(t->n_slots, struct statement *);
    for (size_t i = 0; i < n_old; i++) {
        for (struct statement *s = old[i], *next; s; s = next) {
            next = s->chain;
            struct statement **at = slot_of(t, s->hash);
            s->chain = *at;
            *at = s;
        }
    }
    mem_free(old);
}

static struct statement *statement_new(struct statements *t, struct span query, struct span types, struct meaning m,
                                       uint64_t hash) {
    struct statement *s = mem_alloc(sizeof *s + query.len + types.len);
    uint8_t *bytes = (uint8_t *)(s + 1);
    memcpy(bytes, query.ptr, query.len);
    memcpy(bytes + query.len, types.ptr, types.len);
    s->query = span_of(bytes, query.len);
    s->types = span_of(bytes + query.len, types.len);
    s->id = ++*t->next_id;
    s->meaning = m;
    s->shape_epoch = m.epoch;
    s->hash = hash;
    s->table = t;
    s->refs = 1;
    ilink_init(&s->idle);
    if (++t->count > t->n_slots) statements_grow(t);
    struct statement **at = slot_of(t, hash);
    s->chain = *at;
    *at = s;
    return s;
}

static bool is_same(const struct statement *s, struct span query, struct span types, struct meaning m) {
    return meaning_equal(s->meaning, m) && span_eq(s->query, query) && span_eq(s->types, types);
}

struct statement *statements_intern(struct statements *t, struct span query, struct span types, struct meaning m) {
    if (t->last && is_same(t->last, query, types, m)) {
        statement_ref(t->last);
        return t->last;
    }
    uint64_t hash = XXH3_64bits_withSeed(query.ptr, query.len,
                                         XXH3_64bits_withSeed(types.ptr, types.len, m.context + 31 * m.epoch));
    for (struct statement *s = *slot_of(t, hash); s; s = s->chain) {
        if (s->hash != hash || !is_same(s, query, types, m)) continue;
        statement_ref(s);
        return t->last = s;
    }
    return t->last = statement_new(t, query, types, m, hash);
}

void statement_ref(struct statement *s) {
    if (s->refs++ > 0) return;
    ilist_remove(&s->table->idle, &s->idle);
    s->table->idle_bytes -= s->query.len + s->types.len;
}

void statement_unref(struct statement *s) {
    bug_unless(s->refs > 0);
    if (--s->refs > 0) return;
    struct statements *t = s->table;
    ilist_push_back(&t->idle, &s->idle);
    t->idle_bytes += s->query.len + s->types.len;
    while (t->idle.count > t->max_idle || t->idle_bytes > STATEMENTS_IDLE_BYTES_MAX) {
        struct statement *oldest = container_of(ilist_pop_front(&t->idle), struct statement, idle);
        t->idle_bytes -= oldest->query.len + oldest->types.len;
        statement_drop(t, oldest);
    }
}

size_t statements_count(const struct statements *t) { return t->count; }
bool statements_are_referenced(const struct statements *t) { return t->count > t->idle.count; }

uint64_t statement_shape(struct span row_description) {
    struct cursor c = cursor_of(row_description);
    uint64_t shape = 0;
    for (unsigned n = row_description.len ? cursor_u16(&c) : 0; n > 0 && !c.bad; n--) {
        struct span name = cursor_cstr(&c);
        (void)cursor_bytes(&c, 6);               // where the column comes from
        struct span type = cursor_bytes(&c, 10); // oid, size, modifier
        (void)cursor_u16(&c);                    // the format, which the Bind chooses
        shape = XXH3_64bits_withSeed(name.ptr, name.len, XXH3_64bits_withSeed(type.ptr, type.len, shape));
    }
    return shape | 1; // never 0
}
