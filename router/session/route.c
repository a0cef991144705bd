// SPDX-License-Identifier: ISC
// router/session/route.c: see router/session/route.h.
#include "router/session/route.h"

#include "router/stats.h"

static const char *const reason_names[] = {
#define X(id, name) name,
    ROUTE_REASONS(X)
#undef X
};
_Static_assert(countof(reason_names) == ROUTE_REASON_VERDICT, "a name for each reason");
_Static_assert((int)ROUTE_REASONS_COUNT <= (int)STAT_ROUTE_REASONS_MAX, "a counter for each reason");

const char *route_reason_str(unsigned reason) {
    if (reason < ROUTE_REASON_VERDICT) return reason_names[reason];
    if (reason < ROUTE_REASONS_COUNT) return verdict_reason_str((enum verdict_reason)(reason - ROUTE_REASON_VERDICT));
    return NULL;
}

static struct route to_primary(const struct topology *t, unsigned reason) {
    return (struct route){.node = t->primary, .replica = false, .reason = reason};
}

static bool takes_reads(const struct route_request *r, const struct topology *t, size_t i) {
    const struct node *n = &t->nodes[i];
    return n->reads && n->role == NODE_ROLE_REPLICA && !(r->avoid & (UINT64_C(1) << i));
}

static uint64_t bit(size_t i) { return UINT64_C(1) << i; }

// The moment up to which a replica must have everything, by each promise that the level of consistency makes.
static uint64_t own_writes(const struct route_request *r) {
    return r->consistency >= CONSISTENCY_SESSION ? r->last_write_us : 0;
}
static uint64_t any_writes(const struct route_request *r) {
    return r->consistency >= CONSISTENCY_GLOBAL ? r->last_any_write_us : 0;
}
// What the session was shown may be newer than what is known of the replica that showed it, so it is that one, or one
// that has everything up to then.
static uint64_t own_reads(const struct route_request *r, size_t i) {
    return r->consistency >= CONSISTENCY_MONOTONIC && (int)i != r->last_reader ? r->last_read_us : 0;
}

static bool is_fresh(const struct route_request *r, const struct topology *t, size_t i) {
    uint64_t wanted = MAX_OF(own_writes(r), MAX_OF(any_writes(r), own_reads(r, i)));
    if (wanted == 0) return true;
    return atomic_load_explicit(&t->nodes[i].live->fresh_until_us, memory_order_relaxed) >= (long long)wanted;
}

// Every replica that takes reads, as bits; `*stale` are those among them that are not fresh enough.
static uint64_t candidates(const struct route_request *r, const struct topology *t, uint64_t *stale) {
    uint64_t fresh = 0;
    *stale = 0;
    for (size_t i = 0; i < t->n_nodes && i < ROUTE_NODES_MAX; i++)
        if (takes_reads(r, t, i)) *(is_fresh(r, t, i) ? &fresh : stale) |= bit(i);
    return fresh;
}

// A weight of 1 is a share of FULL_SHARE, so that a newcomer's can be small. Weight 0 counts only among others of
// weight 0.
enum { FULL_SHARE = 64 };

static int64_t share_of(const struct route_request *r, const struct node *n) {
    int64_t share = (int64_t)MAX_OF(n->weight, 1) * FULL_SHARE;
    uint64_t age = r->now_us - (uint64_t)n->up_since_us;
    if (LIKELY(!n->newcomer) || age >= r->slow_start_us) return share;
    share = (int64_t)((uint64_t)share * age / r->slow_start_us);
    return MAX_OF(share, 1);
}

// Smooth weighted round robin: every candidate gains its share, the richest one is taken and pays the sum.
static int take_turn(const struct route_request *r, const struct topology *t, struct route_balance *b, uint64_t set) {
    int best = -1;
    int64_t sum = 0;
    for (size_t i = 0; i < t->n_nodes; i++) {
        if (!(set & bit(i))) continue;
        int64_t share = share_of(r, &t->nodes[i]);
        b->current[i] += share;
        sum += share;
        if (best < 0 || b->current[i] > b->current[best]) best = (int)i;
    }
    b->current[best] -= sum;
    return best;
}

// The one with the fewest exchanges under way for its share; among equals the round robin decides.
static int take_least(const struct route_request *r, const struct topology *t, struct route_balance *b, uint64_t set) {
    uint64_t least = 0;
    int64_t fewest = 0, fewest_share = 1;
    for (size_t i = 0; i < t->n_nodes; i++) {
        if (!(set & bit(i))) continue;
        int64_t share = share_of(r, &t->nodes[i]), load = b->in_flight[i];
        int64_t a = load * fewest_share, best = fewest * share; // load/share against fewest/fewest_share
        if (least && a > best) continue;
        if (!least || a < best) {
            least = 0;
            fewest = load;
            fewest_share = share;
        }
        least |= bit(i);
    }
    return take_turn(r, t, b, least);
}

static uint64_t with_weight(const struct topology *t) {
    uint64_t set = 0;
    for (size_t i = 0; i < t->n_nodes && i < ROUTE_NODES_MAX; i++)
        if (t->nodes[i].weight > 0) set |= bit(i);
    return set;
}

// The set without those that are not in `wanted`, unless that would leave none.
static uint64_t prefer(uint64_t set, uint64_t wanted) { return set & wanted ? set & wanted : set; }

static struct route to_replica(const struct route_request *r, const struct topology *t, struct route_balance *b,
                               uint64_t set) {
    set = prefer(prefer(prefer(set, with_weight(t)), ~r->full), r->near);
    int node = r->balance == BALANCE_LEAST_CONNECTIONS ? take_least(r, t, b, set) : take_turn(r, t, b, set);
    unsigned reason = r->verdict.kind == VERDICT_READ ? ROUTE_REASON_BALANCED : ROUTE_REASON_PREFERENCE;
    return (struct route){.node = node, .replica = true, .reason = reason};
}

static void want_freshness(const struct topology *t, uint64_t stale, uint64_t now_us) {
    for (size_t i = 0; i < t->n_nodes; i++)
        if (stale & bit(i))
            atomic_store_explicit(&t->nodes[i].live->wanted_at_us, (long long)now_us, memory_order_relaxed);
}

// The first promise that keeps the read from all of `stale`.
static enum route_reason why_stale(const struct route_request *r, const struct topology *t, uint64_t stale) {
    struct route_request q = *r;
    enum route_reason reasons[] = {ROUTE_REASON_READ_YOUR_WRITES, ROUTE_REASON_MONOTONIC};
    for (size_t n = 0; n < countof(reasons); n++) {
        bool enough = false;
        q.consistency = (enum consistency)(CONSISTENCY_SESSION + n);
        for (size_t i = 0; i < t->n_nodes; i++) enough |= (stale & bit(i)) && is_fresh(&q, t, i);
        if (!enough) return reasons[n];
    }
    return ROUTE_REASON_GLOBAL;
}

static bool is_read(const struct route_request *r) {
    if (r->verdict.kind == VERDICT_READ) return true;
    return r->preference == PREFERENCE_REPLICA && !r->verdict.certain;
}

struct route route(const struct route_request *r, const struct topology *t, struct route_balance *b) {
    if (r->rerun) return to_primary(t, ROUTE_REASON_RERUN);
    if (!is_read(r)) return to_primary(t, ROUTE_REASON_VERDICT + r->verdict.reason);
    if (r->preference == PREFERENCE_PRIMARY && r->verdict.reason != VERDICT_REASON_HINT_REPLICA)
        return to_primary(t, ROUTE_REASON_PREFERENCE);
    if (r->counted && r->preference == PREFERENCE_AUTO && r->verdict.reason != VERDICT_REASON_HINT_REPLICA)
        return to_primary(t, ROUTE_REASON_STATISTICS);
    uint64_t stale, fresh = candidates(r, t, &stale);
    if (fresh) return to_replica(r, t, b, fresh);
    if (!stale) return to_primary(t, ROUTE_REASON_NO_REPLICA);
    want_freshness(t, stale, r->now_us);
    struct route to = to_primary(t, why_stale(r, t, stale));
    to.stale = true;
    return to;
}
