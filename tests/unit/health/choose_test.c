// SPDX-License-Identifier: ISC
// Tests of health/choose.h: which of several servers is the primary, and which take reads, as a table of situations.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/choose.h"

#define R(x) NODE_REASON_##x
#define AUTO SERVER_ROLE_AUTO

// P primary, R replica; lower case: down; ?: no answer yet. `late`: SUSPECT for a timeout, still serving.
struct row {
    char role;
    uint32_t timeline;
    uint64_t system;
    enum server_role wanted;
    enum fresh_status freshness;
    bool lagging, late;
    // expected
    bool reads;
    enum node_reason reason;
};

enum { ROWS = 4 };

static const struct situation {
    const char *name;
    struct cluster before;
    int primary;
    bool two;
    struct row rows[ROWS]; // ends at role 0
} situations[] = {
    {"one server alone", {0, 0}, 0, false, {{.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"a primary and its replicas",
     {0, 0},
     1,
     false,
     {{.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"identifiers that are not told are no obstacle",
     {0, 0},
     0,
     false,
     {{.role = 'P', .timeline = 1, .reads = true, .reason = R(OK)}, {.role = 'R', .reads = true, .reason = R(OK)}}},
    {"no primary: reads go on",
     {7, 1},
     -1,
     false,
     {{.role = 'p', .timeline = 1, .system = 7, .reason = R(TIMEOUT)},
      {.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"a primary that is late stays",
     {7, 1},
     0,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .late = true, .reads = true, .reason = R(OK)},
      {.role = 'R', .timeline = 1, .system = 7, .late = true, .reads = true, .reason = R(OK)}}},
    {"two that qualify equally: none, reads go on",
     {7, 1},
     -1,
     true,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(TWO_PRIMARIES)},
      {.role = 'P', .timeline = 1, .system = 7, .reason = R(TWO_PRIMARIES)},
      {.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"the highest timeline wins",
     {7, 1},
     1,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PRIMARY)},
      {.role = 'P', .timeline = 2, .system = 7, .reads = true, .reason = R(OK)}}},
    {"two old ones and a new one",
     {7, 1},
     2,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PRIMARY)},
      {.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PRIMARY)},
      {.role = 'P', .timeline = 2, .system = 7, .reads = true, .reason = R(OK)}}},
    {"one old one and two new ones",
     {7, 1},
     -1,
     true,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PRIMARY)},
      {.role = 'P', .timeline = 2, .system = 7, .reason = R(TWO_PRIMARIES)},
      {.role = 'P', .timeline = 2, .system = 7, .reason = R(TWO_PRIMARIES)}}},
    {"the old primary comes back while the new one is down",
     {7, 2},
     -1,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PRIMARY)},
      {.role = 'p', .timeline = 2, .system = 7, .reason = R(TIMEOUT)}}},
    {"a replica that follows a newer timeline proves a primary to be of the past",
     {0, 0},
     -1,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PRIMARY)},
      {.role = 'R', .timeline = 2, .system = 7, .reads = true, .reason = R(OK)}}},
    {"a replica of the timeline agrees with it",
     {7, 2},
     0,
     false,
     {{.role = 'P', .timeline = 2, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'R', .timeline = 2, .system = 7, .reads = true, .reason = R(OK)}}},
    {"a server of another cluster",
     {7, 1},
     0,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'P', .timeline = 9, .system = 8, .reason = R(OTHER_SYSTEM)},
      {.role = 'R', .timeline = 1, .system = 8, .reason = R(OTHER_SYSTEM)}}},
    {"another cluster does not take over where the primary is down",
     {7, 1},
     -1,
     false,
     {{.role = 'p', .timeline = 1, .system = 7, .reason = R(TIMEOUT)},
      {.role = 'P', .timeline = 1, .system = 8, .reason = R(OTHER_SYSTEM)}}},
    {"at first, most servers say which cluster it is",
     {0, 0},
     2,
     false,
     {{.role = 'P', .timeline = 5, .system = 8, .reason = R(OTHER_SYSTEM)},
      {.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"between equals, the one that can be written to",
     {0, 0},
     1,
     false,
     {{.role = 'R', .timeline = 1, .system = 8, .reason = R(OTHER_SYSTEM)},
      {.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"two systems of equal weight: nothing is written, whatever the timelines",
     {0, 0},
     -1,
     true,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(TWO_PRIMARIES)},
      {.role = 'P', .timeline = 9, .system = 8, .reason = R(TWO_PRIMARIES)}}},
    {"every server is of a new cluster (pg_upgrade)",
     {7, 4},
     0,
     false,
     {{.role = 'P', .timeline = 1, .system = 8, .reads = true, .reason = R(OK)},
      {.role = 'R', .timeline = 1, .system = 8, .reads = true, .reason = R(OK)}}},
    {"role = replica is never written to",
     {7, 1},
     -1,
     false,
     {{.role = 'P', .timeline = 2, .system = 7, .wanted = SERVER_ROLE_REPLICA, .reason = R(ROLE_MISMATCH)},
      {.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"role = primary takes no reads as a replica",
     {7, 1},
     1,
     false,
     {{.role = 'R', .timeline = 1, .system = 7, .wanted = SERVER_ROLE_PRIMARY, .reason = R(ROLE_MISMATCH)},
      {.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)}}},
    {"role = replica settles a tie",
     {7, 1},
     1,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .wanted = SERVER_ROLE_REPLICA, .reason = R(ROLE_MISMATCH)},
      {.role = 'P', .timeline = 1, .system = 7, .wanted = SERVER_ROLE_PRIMARY, .reads = true, .reason = R(OK)}}},
    {"replicas in no good order",
     {7, 2},
     0,
     false,
     {{.role = 'P', .timeline = 2, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'R', .timeline = 2, .system = 7, .lagging = true, .reason = R(LAG)},
      {.role = 'R', .timeline = 2, .system = 7, .freshness = FRESH_UNKNOWN, .reason = R(LAG_UNKNOWN)},
      {.role = 'R', .timeline = 1, .system = 7, .freshness = FRESH_OTHER_TIMELINE, .reason = R(OTHER_TIMELINE)}}},
    {"the first to answer is not taken for a primary of the past",
     {0, 0},
     -1,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reason = R(NOT_PROBED)},
      {.role = '?', .reason = R(NOT_PROBED)},
      {.role = '?', .reason = R(NOT_PROBED)}}},
    {"two of three say which cluster it is",
     {0, 0},
     0,
     false,
     {{.role = 'P', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)},
      {.role = 'R', .timeline = 1, .system = 7, .reads = true, .reason = R(OK)},
      {.role = '?', .reason = R(NOT_PROBED)}}},
    {"nobody answers",
     {7, 2},
     -1,
     false,
     {{.role = 'p', .timeline = 2, .system = 7, .reason = R(TIMEOUT)},
      {.role = 'r', .timeline = 2, .system = 7, .reason = R(TIMEOUT)}}},
};

static struct choose_node node_of(const struct row *r) {
    bool down = r->role == 'p' || r->role == 'r', primary = r->role == 'P' || r->role == 'p';
    struct choose_node c = {.wanted_role = r->wanted, .freshness = r->freshness};
    if (r->role == '?') c.facts = judge_new();
    if (r->role == '?') return c;
    c.facts = (struct facts){.role = primary ? NODE_ROLE_PRIMARY : NODE_ROLE_REPLICA,
                             .state = down      ? NODE_STATE_DOWN
                                      : r->late ? NODE_STATE_SUSPECT
                                                : NODE_STATE_UP,
                             .reason = down || r->late ? NODE_REASON_TIMEOUT : NODE_REASON_OK,
                             .timeline = r->timeline,
                             .system_identifier = r->system,
                             .lagging = r->lagging};
    return c;
}

static void check(const struct situation *s, const size_t *order, size_t n) {
    struct choose_node nodes[ROWS];
    int primary = -1;
    for (size_t i = 0; i < n; i++) {
        nodes[i] = node_of(&s->rows[order[i]]);
        if ((int)order[i] == s->primary) primary = (int)i;
    }
    struct choice c = choose_primary(nodes, n, s->before);
    choose_readers(nodes, n, &c);
    if (c.primary != primary || c.two_primaries != s->two)
        fail_msg("%s: primary %d and not %d, two_primaries %d", s->name, c.primary, primary, c.two_primaries);
    for (size_t i = 0; i < n; i++) {
        const struct row *r = &s->rows[order[i]];
        if (nodes[i].reads != r->reads || nodes[i].reason != r->reason || nodes[i].writes != ((int)i == primary))
            fail_msg("%s: server %zu: reads %d, writes %d, reason %s", s->name, order[i], nodes[i].reads,
                     nodes[i].writes, node_reason_str(nodes[i].reason));
    }
}

static void swap(size_t *a, size_t *b) {
    size_t t = *a;
    *a = *b;
    *b = t;
}

// The order of the servers in the config must not matter.
static void check_permutations(const struct situation *s, size_t *order, size_t n, size_t fixed) {
    if (fixed == n) check(s, order, n);
    for (size_t i = fixed; i < n; i++) {
        swap(&order[fixed], &order[i]);
        check_permutations(s, order, n, fixed + 1);
        swap(&order[fixed], &order[i]);
    }
}

static void all_situations(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(situations); i++) {
        size_t n = 0, order[ROWS] = {0, 1, 2, 3};
        while (n < ROWS && situations[i].rows[n].role) n++;
        check_permutations(&situations[i], order, n, 0);
    }
}

static void what_was_chosen_is_remembered(void **state) {
    (void)state;
    struct row row = {.role = 'P', .timeline = 3, .system = 7};
    struct choose_node node = node_of(&row);
    struct choice c = choose_primary(&node, 1, (struct cluster){0, 0});
    assert_int_equal(c.cluster.system_identifier, 7);
    assert_int_equal(c.cluster.timeline, 3);
    node.facts.timeline = 2; // the same address now has a primary of the past
    c = choose_primary(&node, 1, c.cluster);
    assert_int_equal(c.primary, -1);
    assert_int_equal(c.cluster.timeline, 3);
    node.facts.timeline = 3;
    c = choose_primary(&node, 1, c.cluster);
    assert_int_equal(c.primary, 0);
}

// A server that does not tell its identifier at first does not make the cluster forget its timeline when it does.
static void an_identifier_learnt_late_keeps_the_timeline(void **state) {
    (void)state;
    struct row row = {.role = 'P', .timeline = 3};
    struct choose_node node = node_of(&row);
    struct choice c = choose_primary(&node, 1, (struct cluster){0, 0});
    node.facts.system_identifier = 7;
    node.facts.timeline = 2;
    c = choose_primary(&node, 1, c.cluster);
    assert_int_equal(c.primary, -1);
    assert_int_equal(c.cluster.system_identifier, 7);
}

static void alerts(void **state) {
    (void)state;
    struct row rows[] = {
        {.role = 'P', .timeline = 1}, {.role = 'R', .timeline = 1}, {.role = 'r'}, {.role = 'R', .lagging = true}};
    struct choose_node nodes[countof(rows) + 1];
    for (size_t i = 0; i < countof(rows); i++) nodes[i] = node_of(&rows[i]);
    nodes[3].facts.critical = true;
    nodes[4] = (struct choose_node){.facts = judge_new()};
    struct choice c = choose_primary(nodes, countof(nodes), (struct cluster){0, 0});
    choose_readers(nodes, countof(nodes), &c);
    static const enum alert expected[] = {ALERT_OK, ALERT_OK, ALERT_WARNING, ALERT_CRITICAL, ALERT_OK};
    for (size_t i = 0; i < countof(nodes); i++) assert_int_equal(nodes[i].alert, expected[i]);
}

static void no_servers(void **state) {
    (void)state;
    struct choice c = choose_primary(NULL, 0, (struct cluster){0, 0});
    assert_int_equal(c.primary, -1);
    assert_false(c.two_primaries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_situations),
        cmocka_unit_test(what_was_chosen_is_remembered),
        cmocka_unit_test(an_identifier_learnt_late_keeps_the_timeline),
        cmocka_unit_test(alerts),
        cmocka_unit_test(no_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
