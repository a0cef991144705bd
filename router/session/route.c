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

static bool is_fresh(const struct route_request *r, const struct node *n) {
    if (r->consistency == CONSISTENCY_EVENTUAL || r->last_write_us == 0) return true;
    return atomic_load_explicit(&n->live->fresh_until_us, memory_order_relaxed) >= (long long)r->last_write_us;
}

// Every replica that takes reads, as bits; `*stale` are those among them that have not replayed the session's last
// write.
static uint64_t candidates(const struct route_request *r, const struct topology *t, uint64_t *stale) {
    uint64_t fresh = 0;
    *stale = 0;
    for (size_t i = 0; i < t->n_nodes && i < ROUTE_NODES_MAX; i++) {
        if (!takes_reads(r, t, i)) continue;
        *(is_fresh(r, &t->nodes[i]) ? &fresh : stale) |= UINT64_C(1) << i;
    }
    return fresh;
}

static int weight_of(const struct topology *t, size_t i, bool all_zero) { return all_zero ? 1 : t->nodes[i].weight; }

// Smooth weighted round robin: every candidate gains its weight, the richest one is taken and pays the sum.
static int take_turn(const struct topology *t, struct route_balance *b, uint64_t set, bool all_zero) {
    int best = -1;
    int64_t sum = 0;
    for (size_t i = 0; i < t->n_nodes; i++) {
        if (!(set & (UINT64_C(1) << i))) continue;
        int weight = weight_of(t, i, all_zero);
        b->current[i] += weight;
        sum += weight;
        if (weight > 0 && (best < 0 || b->current[i] > b->current[best])) best = (int)i;
    }
    b->current[best] -= sum;
    return best;
}

// The one with the fewest exchanges under way for its weight; among equals the round robin decides.
static int take_least(const struct topology *t, struct route_balance *b, uint64_t set, bool all_zero) {
    uint64_t least = 0;
    int64_t fewest = 0, fewest_weight = 1;
    for (size_t i = 0; i < t->n_nodes; i++) {
        uint64_t bit = UINT64_C(1) << i;
        int64_t weight = weight_of(t, i, all_zero), load = b->in_flight[i];
        if (!(set & bit) || weight == 0) continue;
        int64_t a = load * fewest_weight, best = fewest * weight; // load/weight against fewest/fewest_weight
        if (least && a > best) continue;
        if (!least || a < best) {
            least = 0;
            fewest = load;
            fewest_weight = weight;
        }
        least |= bit;
    }
    return take_turn(t, b, least, all_zero);
}

static struct route to_replica(const struct route_request *r, const struct topology *t, struct route_balance *b,
                               uint64_t set) {
    bool all_zero = true;
    for (size_t i = 0; i < t->n_nodes; i++)
        if ((set & (UINT64_C(1) << i)) && t->nodes[i].weight > 0) all_zero = false;
    int node =
        r->balance == BALANCE_LEAST_CONNECTIONS ? take_least(t, b, set, all_zero) : take_turn(t, b, set, all_zero);
    return (struct route){.node = node, .replica = true, .reason = ROUTE_REASON_BALANCED};
}

static void want_freshness(const struct topology *t, uint64_t stale, uint64_t now_us) {
    for (size_t i = 0; i < t->n_nodes; i++)
        if (stale & (UINT64_C(1) << i))
            atomic_store_explicit(&t->nodes[i].live->wanted_at_us, (long long)now_us, memory_order_relaxed);
}

struct route route(const struct route_request *r, const struct topology *t, struct route_balance *b) {
    if (r->rerun) return to_primary(t, ROUTE_REASON_RERUN);
    if (r->verdict.kind != VERDICT_READ) return to_primary(t, ROUTE_REASON_VERDICT + r->verdict.reason);
    uint64_t stale, fresh = candidates(r, t, &stale);
    if (fresh) return to_replica(r, t, b, fresh);
    if (!stale) return to_primary(t, ROUTE_REASON_NO_REPLICA);
    want_freshness(t, stale, r->now_us);
    return to_primary(t, ROUTE_REASON_READ_YOUR_WRITES);
}
