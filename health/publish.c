// SPDX-License-Identifier: ISC
//
// health/publish.c: the judgement over all servers, the topology made of it, and what is logged about it.
//
// Everything is judged anew whenever a server has answered: there are few servers, and no state is left behind that
// could disagree. A topology goes out only when it differs from the last one. A line is logged when something has
// changed for those who use the servers, and then once; what passes in a moment (a late answer, a server on its way
// back) is not said.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "health/internal.h"

static const int64_t BOOST_US = 1000000;  // fast probes after a primary was found: replicas' freshness is needed now
static const int64_t SETTLE_US = 3000000; // after the start, when not all servers answer; at least

static void fill_nodes(const struct health *h, struct choose_node *nodes) {
    for (size_t i = 0; i < h->n_servers; i++) {
        const struct server *s = h->servers[i];
        nodes[i] =
            (struct choose_node){.facts = s->facts, .wanted_role = s->wanted_role, .freshness = s->freshness.status};
    }
}

// A primary without a connection for the monitor goes on writing. (One that is silent may not, and will be down soon.)
static void take_unseen(struct health *h, const struct server *primary) {
    int64_t patience_us = (h->config->health_interval + h->config->health_timeout) * 1000;
    fresh_unseen(h->fresh, primary->started_us, patience_us);
}

// Samples come from one server on one timeline after another; what cannot be compared with them starts anew.
static void take_sample(struct health *h, const struct choice *choice, struct server *s,
                        const struct sighting *sighting) {
    if (choice->cluster.system_identifier && choice->cluster.system_identifier != h->sampled_system) {
        if (h->sampled_system) fresh_reset(h->fresh);
        h->sampled_system = choice->cluster.system_identifier;
    }
    if (choice->primary < 0) return;
    struct server *primary = h->servers[choice->primary];
    const struct facts *f = &primary->facts;
    if (primary != h->sampled) {
        if (f->timeline <= h->fresh->timeline) fresh_reset(h->fresh);
        h->sampled = primary;
        h->fast_until_us = health_now() + BOOST_US;
    }
    if (f->timeline > h->fresh->timeline)
        fresh_promoted(h->fresh, f->timeline, f->parent == h->fresh->timeline ? f->fork : 0);
    if (s == primary && sighting->failure == NODE_REASON_OK)
        fresh_add(h->fresh, sighting->sent_us, f->timeline, f->lsn);
    else if (s == primary && sighting->full)
        take_unseen(h, primary);
}

static void measure(struct health *h, struct server *s) {
    struct fresh_position p = {.lsn = s->facts.lsn, .timeline = s->facts.timeline};
    bool readable = s->facts.role == NODE_ROLE_REPLICA && judge_serves(&s->facts);
    s->freshness = (struct fresh_answer){.status = FRESH_UNKNOWN, .fresh_until_us = 0, .lag_us = -1};
    if (readable) s->freshness = fresh_of(h->fresh, p);
    judge_lag(&s->facts, s->freshness.lag_us, &h->limits);
}

static void store_live(struct server *s, bool is_primary) {
    int64_t fresh_until = is_primary ? INT64_MAX : s->distrusted ? 0 : s->freshness.fresh_until_us;
    atomic_store_explicit(&s->live->lag_us, is_primary ? 0 : s->freshness.lag_us, memory_order_relaxed);
    atomic_store_explicit(&s->live->fresh_until_us, fresh_until, memory_order_release);
}

static bool is_settled(const struct health *h) {
    // So long it takes until a server that does not answer is known to be down.
    int64_t silent_us = h->config->health_timeout * 1000 * h->limits.failures;
    if (health_now() - h->started_us >= MAX_OF(SETTLE_US, silent_us)) return true;
    for (size_t i = 0; i < h->n_servers; i++) {
        const struct server *s = h->servers[i];
        if (s->facts.state == NODE_STATE_UNKNOWN || (s->facts.state == NODE_STATE_SUSPECT && !judge_serves(&s->facts)))
            return false;
        if (s->facts.role == NODE_ROLE_REPLICA && s->freshness.status == FRESH_UNKNOWN) return false;
    }
    return true;
}

static void fill_alerts(const struct health *h, struct topology *t, const struct choice *choice) {
    size_t replicas = 0, eligible = 0;
    for (size_t i = 0; i < t->n_nodes; i++) {
        if ((int)i == t->primary) continue;
        replicas++;
        eligible += t->nodes[i].reads;
        t->lag_critical = t->lag_critical || h->servers[i]->facts.critical;
    }
    t->no_primary = t->primary < 0;
    t->two_primaries = choice->two_primaries;
    t->no_replica_eligible = replicas > 0 && eligible == 0 && t->n_nodes > 1;
    if (!h->settled_us) return;
    t->alert = t->no_primary || t->lag_critical ? ALERT_CRITICAL : t->no_replica_eligible ? ALERT_WARNING : ALERT_OK;
}

static void fill_node(const struct health *h, struct topology *t, size_t i, const struct choose_node *c) {
    const struct server *s = h->servers[i];
    topology_set_node(t, i, s->name, s->host, s->port, s->zone, s->live);
    struct node *n = &t->nodes[i];
    n->n_addresses = s->resolve.n_addresses;
    memcpy(n->addresses, s->resolve.addresses, sizeof n->addresses);
    memcpy(n->address_lens, s->resolve.address_lens, sizeof n->address_lens);
    n->weight = s->weight;
    n->role = s->facts.role;
    n->state = s->facts.state;
    n->reason = c->reason;
    n->alert = c->alert;
    n->reads = c->reads;
    n->writes = c->writes;
    n->timeline = s->facts.timeline;
    n->system_identifier = s->facts.system_identifier;
    n->up_since_us = s->facts.up_since_us;
    n->newcomer = h->settled_us && n->up_since_us > h->settled_us;
}

// What passes by itself within moments, or has just begun.
static bool is_passing(const struct server *s, enum node_reason reason) {
    bool suspect = s->facts.state == NODE_STATE_SUSPECT && !s->facts.full; // full it may be for hours
    return s->facts.state == NODE_STATE_UNKNOWN || suspect || reason == NODE_REASON_LAG_UNKNOWN ||
           reason == NODE_REASON_NOT_PROBED;
}

static void log_server(struct server *s, const struct node *n) {
    const char *role = node_role_str(n->role), *reason = node_reason_str(n->reason);
    bool failed = n->state == NODE_STATE_DOWN;
    if (s->facts.critical != s->logged_critical) {
        s->logged_critical = s->facts.critical;
        if (s->logged_critical)
            log_error(&s->prefix, "replica lags critically lag_ms=%lld", (long long)(s->freshness.lag_us / 1000));
    }
    if (is_passing(s, n->reason) || (n->reason == s->logged_reason && n->role == s->logged_role)) return;
    s->logged_reason = n->reason;
    s->logged_role = n->role;
    if (n->reason == NODE_REASON_OK)
        log_info(&s->prefix, "server is in use role=%s timeline=%u", role, n->timeline);
    else if (failed)
        log_warning(&s->prefix, "server is down reason=%s: %s", reason, s->detail);
    else if (n->reason == NODE_REASON_LAG)
        log_warning(&s->prefix, "server is not used reason=lag lag_ms=%lld", (long long)(s->freshness.lag_us / 1000));
    else
        log_warning(&s->prefix, "server is not used role=%s reason=%s timeline=%u system_identifier=%llu", role, reason,
                    n->timeline, (unsigned long long)n->system_identifier);
}

static void log_primary(struct health *h, const struct topology *t) {
    if (t->two_primaries && !h->logged_two_primaries)
        log_error(NULL, "two servers qualify as the primary: nothing is written to either, reads go on");
    h->logged_two_primaries = t->two_primaries;
    if (t->no_primary != h->logged_no_primary) {
        h->logged_no_primary = t->no_primary;
        if (t->no_primary && !t->two_primaries) log_error(NULL, "no server is the primary: writes wait");
    }
    if (t->no_primary) return;
    const struct node *n = &t->nodes[t->primary];
    if (h->logged_primary && strcmp(h->logged_primary, n->name) == 0) return;
    if (h->logged_primary)
        log_warning(NULL, "the primary is now %s timeline=%u; it was %s", n->name, n->timeline, h->logged_primary);
    mem_free(h->logged_primary);
    h->logged_primary = mem_strdup(n->name);
}

static void log_topology(struct health *h, const struct topology *t) {
    for (size_t i = 0; i < t->n_nodes; i++) log_server(h->servers[i], &t->nodes[i]);
    if (!h->settled_us) return;
    log_primary(h, t);
    if (t->no_replica_eligible == h->logged_no_replica) return;
    h->logged_no_replica = t->no_replica_eligible;
    if (t->no_replica_eligible)
        log_warning(NULL, "no replica takes reads: %s", t->no_primary ? "no server does" : "they go to the primary");
    else
        log_info(NULL, "replicas take reads again");
}

static bool same_primary(const struct topology *a, const struct topology *b) {
    if (a->primary < 0 || b->primary < 0) return a->primary == b->primary;
    return strcmp(a->nodes[a->primary].name, b->nodes[b->primary].name) == 0;
}

static void publish(struct health *h, struct topology *t) {
    if (h->topology && !same_primary(h->topology, t)) catalog_probe_leave(h->catalogs);
    t->generation = h->topology ? h->topology->generation + 1 : 1;
    if (h->topology) topology_unref(h->topology);
    h->topology = t;
    h->ops.publish(h->ops.arg, t);
}

static void evaluate(struct health *h, struct server *s, const struct sighting *sighting, bool always) {
    struct choose_node *nodes = mem_array(h->n_servers + 1, struct choose_node);
    fill_nodes(h, nodes);
    struct choice choice = choose_primary(nodes, h->n_servers, h->cluster);
    h->cluster = choice.cluster;
    take_sample(h, &choice, s, sighting);
    for (size_t i = 0; i < h->n_servers; i++) measure(h, h->servers[i]);
    fill_nodes(h, nodes);
    choose_readers(nodes, h->n_servers, &choice);
    if (!h->settled_us && is_settled(h)) h->settled_us = health_now();
    struct topology *t = topology_new(h->n_servers);
    t->primary = choice.primary;
    for (size_t i = 0; i < h->n_servers; i++) {
        store_live(h->servers[i], nodes[i].writes);
        fill_node(h, t, i, &nodes[i]);
    }
    mem_free(nodes);
    fill_alerts(h, t, &choice);
    log_topology(h, t);
    if (always || !h->topology || !topology_equal(t, h->topology))
        publish(h, t);
    else
        topology_unref(t);
}

void publish_evaluate(struct health *h, struct server *s, const struct sighting *sighting) {
    evaluate(h, s, sighting, false);
}

void publish_always(struct health *h) { evaluate(h, NULL, NULL, true); }
