// SPDX-License-Identifier: ISC
// Tests of health/judge.h: scripts of probe outcomes, and what is thought of the server after each.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/judge.h"

static const struct judge_limits limits = {
    .failures = 3, .max_lag_us = 60, .max_lag_return_us = 30, .critical_lag_us = 120};

// One step of a script: a letter for what the probe saw, and what must hold afterwards.
//   P answers as a primary, R as a replica, t timeout, r refused, s starting, l login failed, e odd answer, f full
struct step {
    char seen;
    enum node_state state;
    enum node_reason reason;
    bool serves;
};

static struct sighting sighting_of(char seen) {
    struct sighting s = {.failure = NODE_REASON_OK};
    switch (seen) {
    case 'P': s.timeline = 1; break;
    case 'R': s.in_recovery = true; break;
    case 't': s.failure = NODE_REASON_TIMEOUT; break;
    case 'r': s.failure = NODE_REASON_UNREACHABLE; break;
    case 's': s.failure = NODE_REASON_STARTING; break;
    case 'l': s.failure = NODE_REASON_LOGIN_FAILED; break;
    case 'e': s.failure = NODE_REASON_PROBE_ERROR; break;
    case 'f':
        s.failure = NODE_REASON_PROBE_ERROR;
        s.full = true;
        break;
    default: fail();
    }
    return s;
}

#define UP NODE_STATE_UP
#define SUSPECT NODE_STATE_SUSPECT
#define DOWN NODE_STATE_DOWN
#define R(x) NODE_REASON_##x

static const struct {
    const char *name;
    struct step steps[12];
} scripts[] = {
    {"a replica comes up at its first answer", {{'R', UP, R(OK), true}}},
    {"a primary too", {{'P', UP, R(OK), true}}},
    {"one that never answers serves nothing",
     {{'t', SUSPECT, R(TIMEOUT), false}, {'t', SUSPECT, R(TIMEOUT), false}, {'t', DOWN, R(TIMEOUT), false}}},
    {"a late answer changes nothing for the traffic",
     {{'R', UP, R(OK), true}, {'t', SUSPECT, R(TIMEOUT), true}, {'R', UP, R(OK), true}}},
    {"three late ones do",
     {{'P', UP, R(OK), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', DOWN, R(TIMEOUT), false}}},
    {"failures count in a row only",
     {{'R', UP, R(OK), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'R', UP, R(OK), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', DOWN, R(TIMEOUT), false}}},
    {"failures of different kinds count together",
     {{'R', UP, R(OK), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'e', SUSPECT, R(PROBE_ERROR), true},
      {'l', DOWN, R(LOGIN_FAILED), false}}},
    {"who refuses gets nothing from then on",
     {{'R', UP, R(OK), true},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'s', SUSPECT, R(STARTING), false},
      {'R', UP, R(OK), true}}},
    {"a replica that was down must answer twice",
     {{'R', UP, R(OK), true},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'r', DOWN, R(UNREACHABLE), false},
      {'s', DOWN, R(STARTING), false},
      {'R', SUSPECT, R(RETURNING), false},
      {'R', UP, R(OK), true}}},
    {"one that fails on its way back is down again",
     {{'R', UP, R(OK), true},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'r', DOWN, R(UNREACHABLE), false},
      {'R', SUSPECT, R(RETURNING), false},
      {'t', DOWN, R(TIMEOUT), false},
      {'R', SUSPECT, R(RETURNING), false},
      {'f', DOWN, R(PROBE_ERROR), false}}},
    {"a primary is back at once",
     {{'P', UP, R(OK), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'t', DOWN, R(TIMEOUT), false},
      {'P', UP, R(OK), true}}},
    {"a replica promoted while it was down as well",
     {{'R', UP, R(OK), true},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'r', SUSPECT, R(UNREACHABLE), false},
      {'r', DOWN, R(UNREACHABLE), false},
      {'P', UP, R(OK), true}}},
    {"a full server is alive",
     {{'R', UP, R(OK), true},
      {'f', SUSPECT, R(PROBE_ERROR), true},
      {'f', SUSPECT, R(PROBE_ERROR), true},
      {'f', SUSPECT, R(PROBE_ERROR), true},
      {'f', SUSPECT, R(PROBE_ERROR), true},
      {'t', SUSPECT, R(TIMEOUT), true},
      {'R', UP, R(OK), true}}},
    {"but one that was full from the start is not known", {{'f', SUSPECT, R(PROBE_ERROR), false}}},
};

static void run_scripts(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(scripts); i++) {
        struct facts f = judge_new();
        for (const struct step *step = scripts[i].steps; step->seen; step++) {
            struct sighting s = sighting_of(step->seen);
            f = judge_sighting(&f, &s, &limits, 1000 + (step - scripts[i].steps));
            if (f.state != step->state || f.reason != step->reason || judge_serves(&f) != step->serves)
                fail_msg("%s: after step %td (%c): state %s, reason %s, serves %d", scripts[i].name,
                         step - scripts[i].steps, step->seen, node_state_str(f.state), node_reason_str(f.reason),
                         judge_serves(&f));
        }
    }
}

static void nothing_is_known_at_first(void **state) {
    (void)state;
    struct facts f = judge_new();
    assert_int_equal(f.state, NODE_STATE_UNKNOWN);
    assert_int_equal(f.role, NODE_ROLE_UNKNOWN);
    assert_int_equal(f.reason, NODE_REASON_NOT_PROBED);
    assert_false(judge_serves(&f));
}

static void a_role_changes_at_once(void **state) {
    (void)state;
    struct facts f = judge_new();
    struct sighting replica = sighting_of('R'), primary = sighting_of('P');
    f = judge_sighting(&f, &replica, &limits, 1);
    assert_int_equal(f.role, NODE_ROLE_REPLICA);
    f.lagging = true;
    f = judge_sighting(&f, &primary, &limits, 2);
    assert_int_equal(f.role, NODE_ROLE_PRIMARY);
    assert_false(f.lagging); // what it was as a replica is forgotten
    f = judge_sighting(&f, &replica, &limits, 3);
    assert_int_equal(f.role, NODE_ROLE_REPLICA);
}

static void up_since_restarts_when_it_did_not_serve(void **state) {
    (void)state;
    struct facts f = judge_new();
    struct sighting ok = sighting_of('R'), late = sighting_of('t'), refused = sighting_of('r');
    f = judge_sighting(&f, &ok, &limits, 10);
    assert_int_equal(f.up_since_us, 10);
    f = judge_sighting(&f, &late, &limits, 20);
    f = judge_sighting(&f, &ok, &limits, 30);
    assert_int_equal(f.up_since_us, 10);
    f = judge_sighting(&f, &refused, &limits, 40);
    assert_int_equal(f.up_since_us, 0);
    f = judge_sighting(&f, &ok, &limits, 50);
    assert_int_equal(f.up_since_us, 50);
}

static void a_failure_forgets_nothing_of_before(void **state) {
    (void)state;
    struct facts f = judge_new();
    struct sighting ok = {.in_recovery = true, .lsn = 700, .timeline = 3, .system_identifier = 42};
    struct sighting late = sighting_of('t');
    f = judge_sighting(&f, &ok, &limits, 1);
    f = judge_sighting(&f, &late, &limits, 2);
    assert_int_equal(f.role, NODE_ROLE_REPLICA);
    assert_int_equal(f.lsn, 700);
    assert_int_equal(f.timeline, 3);
    assert_int_equal(f.system_identifier, 42);
}

static void a_replicas_timeline_never_falls_on_one_connection(void **state) {
    (void)state;
    struct facts f = judge_new();
    struct sighting s = {.in_recovery = true, .timeline = 3, .new_connection = true};
    f = judge_sighting(&f, &s, &limits, 1);
    s = (struct sighting){.in_recovery = true, .timeline = 0};
    f = judge_sighting(&f, &s, &limits, 2);
    assert_int_equal(f.timeline, 3);
    s.timeline = 4;
    f = judge_sighting(&f, &s, &limits, 3);
    assert_int_equal(f.timeline, 4);
    // After a restart it may be another server altogether.
    s = (struct sighting){.in_recovery = true, .timeline = 2, .new_connection = true};
    f = judge_sighting(&f, &s, &limits, 4);
    assert_int_equal(f.timeline, 2);
}

static void a_promotion_tells_where_the_timelines_part(void **state) {
    (void)state;
    struct sighting replica = {.in_recovery = true, .timeline = 1, .lsn = 500, .new_connection = true};
    // Promoted before our eyes: what it says it replayed last is the fork.
    struct sighting primary = {.timeline = 2, .lsn = 900, .replayed = 600};
    struct facts f = judge_new();
    f = judge_sighting(&f, &replica, &limits, 1);
    struct facts seen = judge_sighting(&f, &primary, &limits, 2);
    assert_int_equal(seen.parent, 1);
    assert_int_equal(seen.fork, 600);
    primary.lsn = 950;
    seen = judge_sighting(&seen, &primary, &limits, 3);
    assert_int_equal(seen.fork, 600);
    // Promoted and restarted: it speaks of its crash recovery, and only what we saw is sure.
    primary.new_connection = true;
    primary.replayed = 940;
    struct facts restarted = judge_sighting(&f, &primary, &limits, 2);
    assert_int_equal(restarted.fork, 500);
    // Never seen as a replica: nothing is known.
    struct facts unseen = judge_new();
    unseen = judge_sighting(&unseen, &primary, &limits, 1);
    assert_int_equal(unseen.parent, 0);
    assert_int_equal(unseen.fork, 0);
}

static void lag_has_hysteresis(void **state) {
    (void)state;
    static const struct {
        int64_t lag;
        bool lagging, critical;
    } rows[] = {
        {0, false, false},  {60, false, false}, {61, true, false},  {59, true, false}, {31, true, false},
        {30, false, false}, {50, false, false}, {120, true, false}, {121, true, true}, {-1, true, false},
        {100, true, false}, {0, false, false},  {-1, false, false},
    };
    struct facts f = judge_new();
    for (size_t i = 0; i < countof(rows); i++) {
        judge_lag(&f, rows[i].lag, &limits);
        assert_int_equal(f.lagging, rows[i].lagging);
        assert_int_equal(f.critical, rows[i].critical);
    }
}

static void no_limit_is_no_limit(void **state) {
    (void)state;
    const struct judge_limits none = {.failures = 1};
    struct facts f = judge_new();
    judge_lag(&f, INT64_MAX, &none);
    assert_false(f.lagging);
    assert_false(f.critical);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_scripts),
        cmocka_unit_test(nothing_is_known_at_first),
        cmocka_unit_test(a_role_changes_at_once),
        cmocka_unit_test(up_since_restarts_when_it_did_not_serve),
        cmocka_unit_test(a_failure_forgets_nothing_of_before),
        cmocka_unit_test(a_replicas_timeline_never_falls_on_one_connection),
        cmocka_unit_test(a_promotion_tells_where_the_timelines_part),
        cmocka_unit_test(lag_has_hysteresis),
        cmocka_unit_test(no_limit_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
