// SPDX-License-Identifier: ISC
// Tests of health/topology.h: building, look-up, comparison, and that a server's live numbers outlive a topology.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/topology.h"

static struct topology *make(struct node_live *a, struct node_live *b) {
    struct topology *t = topology_new(2);
    topology_set_node(t, 0, "pg1", "10.0.0.1", 5432, "", a);
    topology_set_node(t, 1, "pg2", "10.0.0.2", 5433, "east", b);
    t->primary = 0;
    return t;
}

static void finds_by_name(void **state) {
    (void)state;
    struct node_live *a = node_live_new(), *b = node_live_new();
    struct topology *t = make(a, b);
    assert_ptr_equal(topology_find(t, "pg2"), &t->nodes[1]);
    assert_null(topology_find(t, "pg"));
    assert_null(topology_find(t, ""));
    assert_string_equal(t->nodes[1].zone, "east");
    topology_unref(t);
    node_live_unref(a);
    node_live_unref(b);
}

static void live_numbers_outlive_a_topology(void **state) {
    (void)state;
    struct node_live *a = node_live_new(), *b = node_live_new();
    assert_int_equal(atomic_load(&a->fresh_until_us), 0);
    assert_int_equal(atomic_load(&a->lag_us), -1);
    struct topology *t = make(a, b);
    node_live_unref(b); // the topology holds it now
    topology_ref(t);
    topology_unref(t);
    assert_int_equal(atomic_load(&t->nodes[1].live->connections), 0);
    topology_unref(t);
    atomic_store(&a->connections, 7); // still ours
    node_live_unref(a);
}

// Every field that somebody looks at makes a difference.
static void differences_are_seen(void **state) {
    (void)state;
    struct node_live *a = node_live_new(), *b = node_live_new();
    struct topology *t = make(a, b), *u = make(a, b);
    u->generation = 9;
    assert_true(topology_equal(t, u));
#define DIFFERS(field, value)                                                                                          \
    do {                                                                                                               \
        struct topology *v = make(a, b);                                                                               \
        v->field = (value);                                                                                            \
        assert_false(topology_equal(t, v));                                                                            \
        topology_unref(v);                                                                                             \
    } while (0)
    DIFFERS(primary, -1);
    DIFFERS(alert, ALERT_WARNING);
    DIFFERS(no_primary, true);
    DIFFERS(two_primaries, true);
    DIFFERS(no_replica_eligible, true);
    DIFFERS(lag_critical, true);
    DIFFERS(nodes[1].weight, 3);
    DIFFERS(nodes[1].role, NODE_ROLE_REPLICA);
    DIFFERS(nodes[1].state, NODE_STATE_UP);
    DIFFERS(nodes[1].reason, NODE_REASON_LAG);
    DIFFERS(nodes[1].alert, ALERT_CRITICAL);
    DIFFERS(nodes[1].reads, true);
    DIFFERS(nodes[1].writes, true);
    DIFFERS(nodes[1].timeline, 2);
    DIFFERS(nodes[1].system_identifier, 5);
    DIFFERS(nodes[1].up_since_us, 5);
    DIFFERS(nodes[1].port, 1);
    DIFFERS(nodes[1].n_addresses, 1);
    t->nodes[0].n_addresses = u->nodes[0].n_addresses = 1;
    t->nodes[0].address_lens[0] = u->nodes[0].address_lens[0] = 16;
    assert_true(topology_equal(t, u));
    ((unsigned char *)&u->nodes[0].addresses[0])[4] = 1;
    assert_false(topology_equal(t, u));
    topology_unref(t);
    topology_unref(u);
    node_live_unref(a);
    node_live_unref(b);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(node_role_str(NODE_ROLE_REPLICA), "replica");
    assert_string_equal(node_state_str(NODE_STATE_SUSPECT), "suspect");
    assert_string_equal(node_reason_str(NODE_REASON_OK), "ok");
    assert_string_equal(node_reason_str(NODE_REASON_REMOVED), "removed");
    assert_string_equal(alert_str(ALERT_CRITICAL), "critical");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name),
        cmocka_unit_test(live_numbers_outlive_a_topology),
        cmocka_unit_test(differences_are_seen),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
