// SPDX-License-Identifier: ISC
//
// parser/verdicts.c: verdicts of texts seen before.
//
// A table of chains, by the hash of the key, over entries that also stand in one list by last use. The key is the
// masked form; a text that cannot be masked is its own key if it is short, and the two never meet though their bytes
// may be the same. A key is compared whole on a hit: XXH3 is fast, not hard to collide. A hit allocates nothing and
// moves one entry.
#include "parser/verdicts.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/ilist.h"
#include "base/mem.h"
#include "parser/mask.h"

enum {
    MAX_MASKED_KEY = 8192, // longer ones are classified each time
    MAX_EXACT_KEY = 1024,
    MEAN_KEY = 512, // what keys may take on the average; more, and older ones leave
};

struct entry {
    struct ilink link;  // first; in `recent`
    struct entry *next; // in its chain
    uint64_t hash;
    uint32_t len;
    bool masked;
    struct verdict verdict;
    uint8_t key[];
};

struct verdicts {
    struct ilist recent; // the most recently used first
    struct entry **chains;
    size_t mask; // number of chains - 1
    size_t max_entries, max_bytes, bytes;
    size_t max_parse_length;
    struct catalog *catalog;
    uint64_t hits, misses, evictions;
    uint8_t *scratch; // room for the masked form of one text
    size_t scratch_cap;
};

struct key {
    struct span bytes; // in the scratch or the text
    uint64_t hash;
    bool masked;
    bool usable;
};

struct verdicts *verdicts_new(size_t max_entries, size_t max_parse_length) {
    struct verdicts *v = mem_new(struct verdicts);
    size_t chains = 16;
    v->max_entries = MAX_OF(max_entries, 1);
    while (chains < v->max_entries && chains < SIZE_MAX / 4) chains *= 2;
    v->mask = chains - 1;
    v->chains = mem_array(chains, struct entry *);
    if (__builtin_mul_overflow(v->max_entries, MEAN_KEY, &v->max_bytes)) v->max_bytes = SIZE_MAX;
    v->max_bytes = MAX_OF(v->max_bytes, MAX_MASKED_KEY);
    v->max_parse_length = max_parse_length;
    v->scratch_cap = max_parse_length + MASK_SLACK;
    v->scratch = mem_alloc(v->scratch_cap);
    ilist_init(&v->recent);
    return v;
}

static struct entry **place_of(struct verdicts *v, uint64_t hash) { return &v->chains[hash & v->mask]; }

static void forget(struct verdicts *v, struct entry *e) {
    struct entry **at = place_of(v, e->hash);
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    ilist_remove(&v->recent, &e->link);
    v->bytes -= e->len;
    mem_free(e);
}

static void forget_all(struct verdicts *v) {
    ILIST_EACH(&v->recent, link) forget(v, container_of(link, struct entry, link));
}

void verdicts_free(struct verdicts *v) {
    if (!v) return;
    forget_all(v);
    if (v->catalog) catalog_unref(v->catalog);
    mem_free(v->chains);
    mem_free(v->scratch);
    mem_free(v);
}

static struct key key_of(struct verdicts *v, struct span sql) {
    struct key k = {.masked = true};
    if (sql.len == 0) sql = span_of("", 0);
    size_t len = mask(sql, v->scratch, v->scratch_cap);
    if (len > 0) {
        k.bytes = span_of(v->scratch, len);
        k.usable = len <= MAX_MASKED_KEY;
    } else {
        k.bytes = sql;
        k.masked = false;
        k.usable = sql.len <= MAX_EXACT_KEY;
    }
    if (k.usable) k.hash = XXH3_64bits(k.bytes.ptr, k.bytes.len) ^ k.masked;
    return k;
}

static struct entry *find(struct verdicts *v, const struct key *k) {
    for (struct entry *e = *place_of(v, k->hash); e; e = e->next)
        if (e->hash == k->hash && e->masked == k->masked && e->len == k->bytes.len &&
            memcmp(e->key, k->bytes.ptr, k->bytes.len) == 0)
            return e;
    return NULL;
}

static void use(struct verdicts *v, struct entry *e) {
    if (v->recent.head.next == &e->link) return;
    ilist_remove(&v->recent, &e->link);
    ilist_push_front(&v->recent, &e->link);
}

static struct entry *add(struct verdicts *v, const struct key *k, struct verdict verdict) {
    while (v->recent.count > 0 && (v->recent.count >= v->max_entries || k->bytes.len > v->max_bytes - v->bytes)) {
        forget(v, container_of(ilist_last(&v->recent), struct entry, link));
        v->evictions++;
    }
    struct entry *e = mem_alloc(sizeof *e + k->bytes.len);
    ilink_init(&e->link);
    e->hash = k->hash;
    e->len = (uint32_t)k->bytes.len;
    e->masked = k->masked;
    e->verdict = verdict;
    memcpy(e->key, k->bytes.ptr, k->bytes.len);
    struct entry **at = place_of(v, e->hash);
    e->next = *at;
    *at = e;
    ilist_push_front(&v->recent, &e->link);
    v->bytes += e->len;
    return e;
}

static struct verdict classify_now(const struct verdicts *v, struct span sql) {
    return classify(sql, &(struct classify_options){.max_length = v->max_parse_length, .catalog = v->catalog});
}

struct verdict verdicts_get(struct verdicts *v, struct span sql, bool standard_conforming_strings) {
    if (!standard_conforming_strings)
        return (struct verdict){.kind = VERDICT_UNKNOWN, .reason = VERDICT_REASON_NONSTANDARD_STRINGS, .certain = true};
    if (sql.len > v->max_parse_length) return classify_now(v, sql);
    struct key k = key_of(v, sql);
    struct entry *e = k.usable ? find(v, &k) : NULL;
    if (e) {
        v->hits++;
        use(v, e);
        return e->verdict;
    }
    v->misses++;
    struct verdict verdict = classify_now(v, sql);
    if (k.usable) add(v, &k, verdict);
    return verdict;
}

void verdicts_learn_primary(struct verdicts *v, struct span sql) {
    if (sql.len > v->max_parse_length) return;
    struct key k = key_of(v, sql);
    if (!k.usable) return;
    struct entry *e = find(v, &k);
    if (!e) e = add(v, &k, classify_now(v, sql));
    e->verdict.kind = VERDICT_WRITE;
    e->verdict.reason = VERDICT_REASON_LEARNED;
    e->verdict.certain = e->verdict.apart = true;
    use(v, e);
}

void verdicts_set_catalog(struct verdicts *v, struct catalog *c) {
    if (c == v->catalog) return;
    if (c) catalog_ref(c);
    if (v->catalog) catalog_unref(v->catalog);
    v->catalog = c;
    forget_all(v);
}

struct verdicts_stats verdicts_get_stats(const struct verdicts *v) {
    return (struct verdicts_stats){
        .hits = v->hits, .misses = v->misses, .evictions = v->evictions, .entries = v->recent.count};
}
