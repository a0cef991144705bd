// SPDX-License-Identifier: ISC
// tests/unit/admin/fixture.c: see fixture.h.
#include "tests/unit/admin/fixture.h"

#include <stdio.h>
#include <string.h>

static const struct kind {
    char letter;
    enum node_role role;
    enum node_state state;
    enum node_reason reason;
    bool reads, writes;
    int64_t lag_us;
} kinds[] = {
    {'P', NODE_ROLE_PRIMARY, NODE_STATE_UP, NODE_REASON_OK, true, true, 0},
    {'p', NODE_ROLE_PRIMARY, NODE_STATE_UP, NODE_REASON_NOT_PRIMARY, false, false, -1},
    {'R', NODE_ROLE_REPLICA, NODE_STATE_UP, NODE_REASON_OK, true, false, 2000000},
    {'U', NODE_ROLE_REPLICA, NODE_STATE_SUSPECT, NODE_REASON_OK, true, false, 8000000},
    {'l', NODE_ROLE_REPLICA, NODE_STATE_UP, NODE_REASON_LAG, false, false, 90000000},
    {'u', NODE_ROLE_REPLICA, NODE_STATE_UP, NODE_REASON_LAG_UNKNOWN, false, false, -1},
    {'d', NODE_ROLE_UNKNOWN, NODE_STATE_DOWN, NODE_REASON_UNREACHABLE, false, false, -1},
};

static const struct kind *kind_of(char letter) {
    for (size_t i = 0; i < countof(kinds); i++)
        if (kinds[i].letter == letter) return &kinds[i];
    bug("no such letter");
}

struct topology *fixture_topology(const char *servers) {
    size_t n = strlen(servers), replicas = 0, eligible = 0;
    struct topology *t = topology_new(n);
    for (size_t i = 0; i < n; i++) {
        const struct kind *k = kind_of(servers[i]);
        char name[32], host[32];
        snprintf(name, sizeof name, "pg%zu", i + 1);
        snprintf(host, sizeof host, "10.0.0.%zu", i + 1);
        struct node_live *live = node_live_new();
        atomic_store(&live->lag_us, k->lag_us);
        atomic_store(&live->connections, (int)i + 3);
        topology_set_node(t, i, name, host, 5432, "", live);
        node_live_unref(live);
        struct node *node = &t->nodes[i];
        node->role = k->role;
        node->state = k->state;
        node->reason = k->reason;
        node->reads = k->reads;
        node->writes = k->writes;
        node->weight = (int)i + 1;
        node->timeline = k->role == NODE_ROLE_UNKNOWN ? 0 : 7;
        node->alert = k->reads ? ALERT_OK : ALERT_WARNING;
        if (k->writes) t->primary = (int)i;
        replicas += k->role != NODE_ROLE_PRIMARY;
        eligible += k->role == NODE_ROLE_REPLICA && k->reads;
    }
    t->no_primary = t->primary < 0;
    t->no_replica_eligible = replicas > 0 && eligible == 0;
    t->alert = t->no_primary ? ALERT_CRITICAL : t->no_replica_eligible ? ALERT_WARNING : ALERT_OK;
    return t;
}
