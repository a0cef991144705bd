// SPDX-License-Identifier: ISC
// router/session/database.c: see router/session/database.h.
#include "router/session/database.h"

#include "base/mem.h"

enum { STATEMENTS_IDLE_MAX = 1000 };

static void database_free(struct database *d) {
    verdicts_free(d->verdicts);
    statements_free(d->statements);
    mem_free(d->name);
    mem_free(d);
}

void databases_fini(struct databases *all) {
    for (struct database *d = all->first, *next; d; d = next) {
        next = d->next;
        database_free(d);
    }
    all->first = NULL;
}

static struct database *databases_find(const struct databases *all, const char *name) {
    struct database *d = all->first;
    while (d && strcmp(d->name, name) != 0) d = d->next;
    return d;
}

struct database *databases_get(struct databases *all, const char *name, bool *made) {
    struct database *d = databases_find(all, name);
    *made = !d;
    if (d) return d;
    d = mem_new(struct database);
    d->name = mem_strdup(name);
    d->verdicts = verdicts_new(all->verdict_cache_size, all->max_parse_length);
    d->statements = statements_new(&all->next_statement_id, STATEMENTS_IDLE_MAX);
    d->generation = 1;
    d->next = all->first;
    all->first = d;
    return d;
}

void databases_set_catalog(struct databases *all, struct catalog *c) {
    struct database *d = databases_find(all, catalog_database(c));
    if (!d) return;
    verdicts_set_catalog(d->verdicts, c);
    d->catalog = c; // held by the verdicts
    d->generation++;
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
    struct verdicts_stats sum = {0};
    for (const struct database *d = all->first; d; d = d->next) {
        struct verdicts_stats one = verdicts_get_stats(d->verdicts);
        sum.hits += one.hits;
        sum.misses += one.misses;
        sum.evictions += one.evictions;
        sum.entries += one.entries;
    }
    return sum;
}
