// SPDX-License-Identifier: ISC
// router/session/quota.c: see router/session/quota.h.
//
// Sequentially consistent where a want meets a give: the worker that wants says so and then tries again, the one that
// gives gives and then looks who wants, so one of them sees the other.
#include "router/session/quota.h"

#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include "base/mem.h"

// One worker's part. Its thread writes `used`; others read it.
struct budget_share {
    atomic_int used;
    atomic_int gifts; // handed over and not taken yet; counted in the budget's `used`
    atomic_bool wanting;
};

struct budget {
    struct budget *next;
    size_t refs; // under the quota's lock
    char *server, *database, *user;
    size_t n_workers;
    atomic_int size, reserve;
    atomic_int used; // of all workers
    atomic_int n_wanting;
    struct budget_share shares[];
};

struct quota {
    uv_mutex_t lock;
    size_t n_workers;
    struct budget *first;
};

struct quota *quota_new(size_t n_workers) {
    bug_unless(n_workers >= 1 && n_workers <= QUOTA_WORKERS_MAX);
    struct quota *q = mem_new(struct quota);
    q->n_workers = n_workers;
    bug_unless(uv_mutex_init(&q->lock) == 0);
    return q;
}

size_t quota_workers(const struct quota *q) { return q->n_workers; }

void quota_free(struct quota *q) {
    bug_unless(!q->first);
    uv_mutex_destroy(&q->lock);
    mem_free(q);
}

static struct budget *budget_new(struct quota *q, const char *server, const char *database, const char *user) {
    struct budget *b = mem_alloc(sizeof *b + q->n_workers * sizeof b->shares[0]);
    b->server = mem_strdup(server);
    b->database = mem_strdup(database);
    b->user = mem_strdup(user);
    b->n_workers = q->n_workers;
    b->next = q->first;
    q->first = b;
    return b;
}

struct budget *quota_budget(struct quota *q, const char *server, const char *database, const char *user) {
    uv_mutex_lock(&q->lock);
    struct budget *b = q->first;
    while (b && (strcmp(b->user, user) != 0 || strcmp(b->database, database) != 0 || strcmp(b->server, server) != 0))
        b = b->next;
    if (!b) b = budget_new(q, server, database, user);
    b->refs++;
    uv_mutex_unlock(&q->lock);
    return b;
}

void quota_release(struct quota *q, struct budget *b) {
    uv_mutex_lock(&q->lock);
    bool last = --b->refs == 0;
    if (last) {
        struct budget **at = &q->first;
        while (*at != b) at = &(*at)->next;
        *at = b->next;
    }
    uv_mutex_unlock(&q->lock);
    if (!last) return;
    mem_free(b->server);
    mem_free(b->database);
    mem_free(b->user);
    mem_free(b);
}

void budget_set_limit(struct budget *b, int size, int reserve) {
    atomic_store(&b->size, size);
    atomic_store(&b->reserve, reserve);
}

static bool take_gift(struct budget_share *s) {
    if (atomic_load(&s->gifts) <= 0) return false;
    atomic_fetch_sub(&s->gifts, 1); // only this worker takes them away
    return true;
}

static bool take_free(struct budget *b, bool from_reserve) {
    int used = atomic_load(&b->used);
    do {
        if (used >= atomic_load(&b->size) + (from_reserve ? atomic_load(&b->reserve) : 0)) return false;
    } while (!atomic_compare_exchange_weak(&b->used, &used, used + 1));
    return true;
}

bool budget_take(struct budget *b, size_t worker, bool from_reserve) {
    struct budget_share *s = &b->shares[worker];
    if (!take_gift(s) && !take_free(b, from_reserve)) return false;
    atomic_fetch_add(&s->used, 1);
    return true;
}

bool budget_has_room(const struct budget *b, size_t worker) {
    return atomic_load(&b->shares[worker].gifts) > 0 || atomic_load(&b->used) < atomic_load(&b->size);
}

void budget_give(struct budget *b, size_t worker) {
    int had = atomic_fetch_sub(&b->shares[worker].used, 1);
    bug_unless(had > 0);
    atomic_fetch_sub(&b->used, 1);
}

void budget_want(struct budget *b, size_t worker, bool wanting) {
    if (atomic_exchange(&b->shares[worker].wanting, wanting) == wanting) return;
    atomic_fetch_add(&b->n_wanting, wanting ? 1 : -1);
}

// What a worker has or is about to have.
static int share_has(const struct budget_share *s) { return atomic_load(&s->used) + atomic_load(&s->gifts); }

// Moving one from a worker with `has` makes the split more even, or gives the other its first.
static bool is_unfair(int has, int other_has) { return has >= other_has + 2 || (has >= 1 && other_has == 0); }

bool budget_should_yield(const struct budget *b, size_t worker, size_t *who) {
    if (LIKELY(atomic_load(&b->n_wanting) == 0)) return false;
    bool found = false;
    int least = 0;
    for (size_t i = 1; i < b->n_workers; i++) {
        size_t other = (worker + i) % b->n_workers; // the next one comes first, so that all have their turn
        const struct budget_share *s = &b->shares[other];
        if (!atomic_load(&s->wanting) || (found && share_has(s) >= least)) continue;
        found = true;
        least = share_has(s);
        *who = other;
    }
    return found && is_unfair(atomic_load(&b->shares[worker].used), least);
}

bool budget_should_ask(const struct budget *b, size_t worker, size_t holder) {
    return worker != holder && is_unfair(atomic_load(&b->shares[holder].used), share_has(&b->shares[worker]));
}

void budget_hand_over(struct budget *b, size_t from, size_t to) {
    int had = atomic_fetch_sub(&b->shares[from].used, 1);
    bug_unless(had > 0);
    atomic_fetch_add(&b->shares[to].gifts, 1);
}

bool budget_decline(struct budget *b, size_t worker) {
    int gifts = atomic_exchange(&b->shares[worker].gifts, 0);
    if (gifts > 0) atomic_fetch_sub(&b->used, gifts);
    return gifts > 0;
}

bool budget_someone_wants(const struct budget *b, size_t worker, size_t *who) {
    if (atomic_load(&b->n_wanting) == 0) return false;
    for (size_t i = 1; i < b->n_workers; i++) {
        size_t other = (worker + i) % b->n_workers;
        if (!atomic_load(&b->shares[other].wanting)) continue;
        *who = other;
        return true;
    }
    return false;
}

int budget_used(const struct budget *b) { return atomic_load(&b->used); }
bool budget_is_over(const struct budget *b) { return budget_used(b) > atomic_load(&b->size); }
bool budget_is_over_reserve(const struct budget *b) {
    return budget_used(b) > atomic_load(&b->size) + atomic_load(&b->reserve);
}
