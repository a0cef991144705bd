// SPDX-License-Identifier: ISC
// router/session/database.c: see router/session/database.h.
#include "router/session/database.h"

#include "base/mem.h"

enum { STATEMENTS_IDLE_MAX = 1000 };

static void add_stats(struct verdicts_stats *sum, const struct database *d) {
    if (!d->verdicts) return;
    struct verdicts_stats one = verdicts_get_stats(d->verdicts);
    sum->hits += one.hits;
    sum->misses += one.misses;
    sum->evictions += one.evictions;
    sum->entries += one.entries;
}

static void database_free(struct databases *all, struct database *d) {
    HASH_DEL(all->all, d);
    verdicts_free(d->verdicts);
    if (d->statements) statements_free(d->statements);
    mem_free(d->name);
    mem_free(d);
}

void databases_fini(struct databases *all) {
    struct database *d, *next;
    HASH_ITER(hh, all->all, d, next) database_free(all, d);
}

static struct database *databases_find(const struct databases *all, const char *name) {
    struct database *d;
    HASH_FIND_STR(all->all, name, d);
    return d;
}

struct database *databases_get(struct databases *all, const char *name) {
    struct database *d = databases_find(all, name);
    if (!d) {
        d = mem_new(struct database);
        d->name = mem_strdup(name);
        d->generation = 1;
        HASH_ADD_KEYPTR(hh, all->all, d->name, strlen(d->name), d);
    }
    d->refs++;
    return d;
}

// Connections that are about to find out that it is gone may still hold statements of it: it goes another time then.
static bool is_needed(const struct database *d) {
    return d->refs || (d->accepted && !d->missing) || (d->statements && statements_are_referenced(d->statements));
}

static void drop_unless_needed(struct databases *all, struct database *d) {
    if (is_needed(d)) return;
    add_stats(&all->gone, d);
    all->gone.entries = 0;
    if (d->accepted && all->dropped) all->dropped(all->arg, d->name);
    database_free(all, d);
}

void databases_leave(struct databases *all, struct database *d) {
    bug_unless(d->refs > 0);
    d->refs--;
    drop_unless_needed(all, d);
}

bool databases_accept(struct databases *all, struct database *d, uint64_t now_us) {
    if (d->accepted) return false;
    d->accepted = true;
    d->accepted_us = now_us;
    d->verdicts = verdicts_new(all->verdict_cache_size, all->max_parse_length);
    d->statements = statements_new(&all->next_statement_id, STATEMENTS_IDLE_MAX);
    return true;
}

void databases_set_catalog(struct databases *all, struct catalog *c) {
    struct database *d = databases_find(all, catalog_database(c));
    if (!d || !d->accepted) return;
    verdicts_set_catalog(d->verdicts, c);
    d->catalog = c; // held by the verdicts
    d->missing = false;
    d->generation++;
}

void databases_miss(struct databases *all, const char *name) {
    struct database *d = databases_find(all, name);
    if (!d) return;
    d->missing = true;
    drop_unless_needed(all, d);
}

static struct verdict judge(const struct database *d, struct verdict v) {
    if (v.kind == VERDICT_READ && v.reason == VERDICT_REASON_READ && !d->catalog)
        return (struct verdict){.kind = VERDICT_UNKNOWN, .reason = VERDICT_REASON_NO_CATALOG, .facts = v.facts};
    return v;
}

struct verdict database_verdict(struct database *d, struct span sql, bool conforming) {
    return judge(d, verdicts_get(d->verdicts, sql, conforming));
}

struct verdict database_statement_verdict(struct database *d, struct statement *s, bool conforming) {
    if (!conforming) return verdicts_get(d->verdicts, s->query, false);
    if (s->verdict_generation != d->generation) {
        s->verdict = verdicts_get(d->verdicts, s->query, true);
        s->verdict_generation = d->generation;
    }
    return judge(d, s->verdict);
}

void database_learn_primary(struct database *d, struct span sql) {
    verdicts_learn_primary(d->verdicts, sql);
    d->generation++;
}

struct verdicts_stats databases_stats(const struct databases *all) {
    struct verdicts_stats sum = all->gone;
    for (const struct database *d = all->all; d; d = d->hh.next) add_stats(&sum, d);
    return sum;
}
