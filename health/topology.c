// SPDX-License-Identifier: ISC
// health/topology.c: see health/topology.h.
#include "health/topology.h"

#include <string.h>

#include "base/mem.h"

static const char *const role_names[] = {"unknown", "primary", "replica"};
static const char *const state_names[] = {"unknown", "up", "suspect", "down"};
static const char *const reason_names[] = {
#define X(id, name) name,
    NODE_REASONS(X)
#undef X
};
static const char *const alert_names[] = {"ok", "warning", "critical"};

_Static_assert(countof(reason_names) == NODE_REASONS_COUNT, "one name per reason");

const char *node_role_str(enum node_role r) { return role_names[r]; }
const char *node_state_str(enum node_state s) { return state_names[s]; }
const char *node_reason_str(enum node_reason r) { return reason_names[r]; }
const char *alert_str(enum alert a) { return alert_names[a]; }

static void live_free(struct snap *s) { mem_free(container_of(s, struct node_live, snap)); }

struct node_live *node_live_new(void) {
    struct node_live *l = mem_new(struct node_live);
    snap_init(&l->snap, live_free);
    atomic_init(&l->fresh_until_us, 0);
    atomic_init(&l->lag_us, -1);
    atomic_init(&l->wanted_at_us, 0);
    atomic_init(&l->failing_since_us, 0);
    atomic_init(&l->connections, 0);
    return l;
}

static void topology_free(struct snap *s) {
    struct topology *t = container_of(s, struct topology, snap);
    for (size_t i = 0; i < t->n_nodes; i++) {
        struct node *n = &t->nodes[i];
        mem_free((void *)n->name);
        mem_free((void *)n->host);
        mem_free((void *)n->zone);
        if (n->live) node_live_unref(n->live);
    }
    mem_free(t->nodes);
    mem_free(t);
}

struct topology *topology_new(size_t n_nodes) {
    struct topology *t = mem_new(struct topology);
    snap_init(&t->snap, topology_free);
    t->primary = -1;
    t->n_nodes = n_nodes;
    t->nodes = mem_array(MAX_OF(n_nodes, (size_t)1), struct node);
    return t;
}

void topology_set_node(struct topology *t, size_t i, const char *name, const char *host, int port, const char *zone,
                       struct node_live *live) {
    bug_unless(i < t->n_nodes && !t->nodes[i].live);
    struct node *n = &t->nodes[i];
    n->name = mem_strdup(name);
    n->host = mem_strdup(host);
    n->zone = mem_strdup(zone);
    n->port = port;
    n->live = live;
    node_live_ref(live);
}

const struct node *topology_find(const struct topology *t, const char *name) {
    for (size_t i = 0; i < t->n_nodes; i++)
        if (strcmp(t->nodes[i].name, name) == 0) return &t->nodes[i];
    return NULL;
}

static bool addresses_equal(const struct node *a, const struct node *b) {
    if (a->n_addresses != b->n_addresses) return false;
    for (size_t i = 0; i < a->n_addresses; i++) {
        if (a->address_lens[i] != b->address_lens[i]) return false;
        if (memcmp(&a->addresses[i], &b->addresses[i], a->address_lens[i]) != 0) return false;
    }
    return true;
}

static bool node_equal(const struct node *a, const struct node *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->host, b->host) == 0 && strcmp(a->zone, b->zone) == 0 &&
           a->port == b->port && a->weight == b->weight && a->role == b->role && a->state == b->state &&
           a->reason == b->reason && a->alert == b->alert && a->reads == b->reads && a->writes == b->writes &&
           a->timeline == b->timeline && a->system_identifier == b->system_identifier &&
           a->up_since_us == b->up_since_us && a->newcomer == b->newcomer && a->live == b->live &&
           addresses_equal(a, b);
}

bool topology_equal(const struct topology *a, const struct topology *b) {
    if (a->n_nodes != b->n_nodes || a->primary != b->primary || a->alert != b->alert ||
        a->no_primary != b->no_primary || a->two_primaries != b->two_primaries ||
        a->no_replica_eligible != b->no_replica_eligible || a->lag_critical != b->lag_critical)
        return false;
    for (size_t i = 0; i < a->n_nodes; i++)
        if (!node_equal(&a->nodes[i], &b->nodes[i])) return false;
    return true;
}
