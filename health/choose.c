// SPDX-License-Identifier: ISC
// health/choose.c: see health/choose.h.
#include "health/choose.h"

static bool in_cluster(const struct choose_node *c, uint64_t system_identifier) {
    return c->facts.system_identifier == 0 || system_identifier == 0 || c->facts.system_identifier == system_identifier;
}

static bool is_candidate(const struct choose_node *c, uint64_t system_identifier) {
    return judge_serves(&c->facts) && c->facts.role == NODE_ROLE_PRIMARY && c->wanted_role != SERVER_ROLE_REPLICA &&
           in_cluster(c, system_identifier);
}

// How many serving servers have the identifier; one that is writable decides between equals.
static size_t support(const struct choose_node *nodes, size_t n, uint64_t system_identifier) {
    size_t score = 0;
    bool writable = false;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].facts.system_identifier != system_identifier || !judge_serves(&nodes[i].facts)) continue;
        score += 2;
        writable = writable || is_candidate(&nodes[i], system_identifier);
    }
    return score + writable;
}

// The cluster's identifier; 0 = no server tells one. `tie` is set when two have the same support.
static uint64_t identify(const struct choose_node *nodes, size_t n, uint64_t before, bool *tie) {
    *tie = false;
    for (size_t i = 0; i < n && before != 0; i++)
        if (nodes[i].facts.system_identifier == before) return before;
    uint64_t best = 0;
    size_t best_support = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t id = nodes[i].facts.system_identifier;
        size_t s = id != 0 && id != best ? support(nodes, n, id) : 0;
        if (s > best_support) {
            best = id;
            best_support = s;
            *tie = false;
        } else if (s > 0 && s == best_support) {
            *tie = true;
        }
    }
    return best;
}

// The lowest timeline that a primary may have now.
static uint32_t timeline_floor(const struct choose_node *nodes, size_t n, struct cluster cluster) {
    uint32_t floor = cluster.timeline;
    for (size_t i = 0; i < n; i++) {
        const struct facts *f = &nodes[i].facts;
        if (f->role == NODE_ROLE_REPLICA && judge_serves(f) && in_cluster(&nodes[i], cluster.system_identifier))
            floor = MAX_OF(floor, f->timeline);
    }
    return floor;
}

// Two systems of equal weight: neither can be told to be the cluster, and nothing is remembered.
static struct choice choose_tied(const struct choose_node *nodes, size_t n) {
    struct choice c = {.primary = -1, .two_primaries = false};
    for (size_t i = 0; i < n; i++) c.two_primaries = c.two_primaries || is_candidate(&nodes[i], 0);
    return c;
}

// At the start one server answers first, and it may be the one that does not belong: as long as those that have not
// been heard of could outnumber those of the cluster it tells of, nothing is decided.
static bool may_be_outnumbered(const struct choose_node *nodes, size_t n, uint64_t id) {
    size_t silent = 0, members = 0;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].facts.state == NODE_STATE_UNKNOWN)
            silent++;
        else if (id != 0 && nodes[i].facts.system_identifier == id)
            members++;
    }
    return silent > 0 && silent >= members;
}

struct choice choose_primary(const struct choose_node *nodes, size_t n, struct cluster before) {
    bool tie;
    uint64_t id = identify(nodes, n, before.system_identifier, &tie);
    if (before.system_identifier == 0 && id != 0 && may_be_outnumbered(nodes, n, id))
        return (struct choice){.primary = -1, .undecided = true, .cluster = before};
    if (tie) return choose_tied(nodes, n);
    struct choice c = {.primary = -1, .two_primaries = false, .cluster = before};
    if (id != 0 && id != before.system_identifier)
        c.cluster =
            (struct cluster){.system_identifier = id, .timeline = before.system_identifier ? 0 : before.timeline};
    uint32_t floor = timeline_floor(nodes, n, c.cluster);
    for (size_t i = 0; i < n; i++) {
        uint32_t timeline = nodes[i].facts.timeline;
        if (!is_candidate(&nodes[i], c.cluster.system_identifier) || timeline < floor) continue;
        bool first = c.primary < 0 && !c.two_primaries;
        c.two_primaries = !first && timeline == floor;
        c.primary = c.two_primaries ? -1 : (int)i;
        floor = timeline;
    }
    c.timeline = floor;
    if (c.primary >= 0) c.cluster.timeline = floor;
    return c;
}

// Why a writable server that is not the primary is left alone.
static enum node_reason judge_spare_primary(const struct choose_node *c, const struct choice *choice) {
    if (c->wanted_role == SERVER_ROLE_REPLICA) return NODE_REASON_ROLE_MISMATCH;
    if (!in_cluster(c, choice->cluster.system_identifier)) return NODE_REASON_OTHER_SYSTEM;
    if (choice->undecided) return NODE_REASON_NOT_PROBED; // it may be the primary: that is seen in a moment
    bool tied = choice->two_primaries && c->facts.timeline >= choice->timeline;
    return tied ? NODE_REASON_TWO_PRIMARIES : NODE_REASON_NOT_PRIMARY;
}

static enum node_reason judge_replica(const struct choose_node *c, const struct choice *choice) {
    if (c->wanted_role == SERVER_ROLE_PRIMARY) return NODE_REASON_ROLE_MISMATCH;
    if (!in_cluster(c, choice->cluster.system_identifier)) return NODE_REASON_OTHER_SYSTEM;
    switch (c->freshness) {
    case FRESH_OTHER_TIMELINE: return NODE_REASON_OTHER_TIMELINE;
    case FRESH_UNKNOWN: return NODE_REASON_LAG_UNKNOWN;
    case FRESH_KNOWN: break;
    }
    return c->facts.lagging ? NODE_REASON_LAG : NODE_REASON_OK;
}

static enum alert judge_alert(const struct choose_node *c) {
    if (c->facts.critical || c->reason == NODE_REASON_TWO_PRIMARIES) return ALERT_CRITICAL;
    return c->reads || c->reason == NODE_REASON_NOT_PROBED ? ALERT_OK : ALERT_WARNING;
}

void choose_readers(struct choose_node *nodes, size_t n, const struct choice *choice) {
    for (size_t i = 0; i < n; i++) {
        struct choose_node *c = &nodes[i];
        c->writes = (int)i == choice->primary;
        if (!judge_serves(&c->facts))
            c->reason = c->facts.reason;
        else if (c->writes)
            c->reason = NODE_REASON_OK;
        else
            c->reason = c->facts.role == NODE_ROLE_PRIMARY ? judge_spare_primary(c, choice) : judge_replica(c, choice);
        c->reads = c->reason == NODE_REASON_OK;
        c->alert = judge_alert(c);
    }
}
