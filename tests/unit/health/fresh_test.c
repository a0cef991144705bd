// SPDX-License-Identifier: ISC
// Tests of health/fresh.h: the cases that fool other measures of lag, and random histories against a plain model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "health/fresh.h"

enum { SECOND = 1000000 };

static struct fresh *make(void) {
    struct fresh *f = mem_new(struct fresh);
    fresh_reset(f);
    return f;
}

static void expect(const struct fresh *f, uint32_t timeline, uint64_t lsn, enum fresh_status status, int64_t until,
                   int64_t lag) {
    struct fresh_answer a = fresh_of(f, (struct fresh_position){.lsn = lsn, .timeline = timeline});
    assert_int_equal(a.status, status);
    assert_int_equal(a.fresh_until_us, until);
    assert_int_equal(a.lag_us, lag);
}

static void nothing_is_known_without_a_sample(void **state) {
    (void)state;
    struct fresh *f = make();
    expect(f, 1, 100, FRESH_UNKNOWN, 0, -1);
    fresh_add(f, 5, 1, 200);
    expect(f, 1, 199, FRESH_UNKNOWN, 0, -1);
    expect(f, 1, 200, FRESH_KNOWN, 5, 0);
    mem_free(f);
}

static void a_replica_is_as_fresh_as_the_newest_sample_it_has_reached(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 10, 1, 100);
    fresh_add(f, 20, 1, 200);
    fresh_add(f, 30, 1, 300);
    expect(f, 1, 100, FRESH_KNOWN, 10, 20);
    expect(f, 1, 199, FRESH_KNOWN, 10, 20);
    expect(f, 1, 200, FRESH_KNOWN, 20, 10);
    expect(f, 1, 9999, FRESH_KNOWN, 30, 0);
    mem_free(f);
}

// Nothing is written for an hour: a replica that has everything is never behind, and one entry is enough.
static void an_idle_primary_makes_nobody_lag(void **state) {
    (void)state;
    struct fresh *f = make();
    for (int64_t t = 1; t <= 3600; t++) fresh_add(f, t * SECOND, 1, 500);
    assert_int_equal(f->n, 1);
    expect(f, 1, 500, FRESH_KNOWN, (int64_t)3600 * SECOND, 0);
    mem_free(f);
}

// Replay is paused, or the walreceiver is dead, while the primary writes: the position stands still and the lag grows.
static void a_replica_that_stands_still_lags(void **state) {
    (void)state;
    struct fresh *f = make();
    for (int64_t t = 0; t <= 100; t++) fresh_add(f, t * SECOND, 1, 1000 + (uint64_t)t);
    expect(f, 1, 1040, FRESH_KNOWN, (int64_t)40 * SECOND, (int64_t)60 * SECOND);
    mem_free(f);
}

// The primary is full for an hour: nobody can ask it how far it is, and it writes all the same.
static void a_primary_that_cannot_be_asked_makes_its_replicas_lag(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_unseen(f, 5 * SECOND, SECOND);
    expect(f, 1, 500, FRESH_UNKNOWN, 0, -1);
    fresh_add(f, 10 * SECOND, 1, 500);
    fresh_unseen(f, 11 * SECOND, SECOND); // it has not lasted long
    expect(f, 1, 500, FRESH_KNOWN, 10 * SECOND, 0);
    fresh_unseen(f, 12 * SECOND, SECOND);
    expect(f, 1, 500, FRESH_KNOWN, 10 * SECOND, 2 * SECOND);
    fresh_unseen(f, 13 * SECOND, SECOND); // counted from the sample, and not from when it was last unseen
    expect(f, 1, 500, FRESH_KNOWN, 10 * SECOND, 3 * SECOND);
    fresh_add(f, 14 * SECOND, 1, 600);
    expect(f, 1, 500, FRESH_KNOWN, 10 * SECOND, 4 * SECOND);
    expect(f, 1, 600, FRESH_KNOWN, 14 * SECOND, 0);
    mem_free(f);
}

// The first record after a long rest makes a replica that has it not one interval late, not an hour.
static void the_rest_before_a_write_does_not_count(void **state) {
    (void)state;
    struct fresh *f = make();
    for (int64_t t = 1; t <= 3600; t++) fresh_add(f, t * SECOND, 1, 500);
    fresh_add(f, (int64_t)3601 * SECOND, 1, 600);
    expect(f, 1, 500, FRESH_KNOWN, (int64_t)3600 * SECOND, SECOND);
    mem_free(f);
}

// The primary is gone: no samples come, and its replicas catch up with the last one and stay there.
static void a_primary_that_is_down_makes_nobody_lag(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, SECOND, 1, 100);
    fresh_add(f, 2 * SECOND, 1, 200);
    expect(f, 1, 150, FRESH_KNOWN, SECOND, SECOND);
    expect(f, 1, 200, FRESH_KNOWN, 2 * SECOND, 0);
    mem_free(f);
}

// A crash loses WAL that was not on disk yet: the position falls, and what was sampled above it is of no use.
static void a_position_that_falls_drops_what_was_above(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 10, 1, 100);
    fresh_add(f, 20, 1, 200);
    fresh_add(f, 30, 1, 300);
    fresh_add(f, 40, 1, 200);
    assert_int_equal(f->n, 2);
    expect(f, 1, 200, FRESH_KNOWN, 40, 0);
    expect(f, 1, 199, FRESH_KNOWN, 10, 30);
    mem_free(f);
}

static void a_moment_that_falls_is_ignored(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 20, 1, 200);
    fresh_add(f, 10, 1, 300);
    expect(f, 1, 300, FRESH_KNOWN, 20, 0);
    mem_free(f);
}

static void a_promotion_keeps_the_common_history(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 10, 1, 100);
    fresh_add(f, 20, 1, 200);
    fresh_add(f, 30, 1, 300);
    fresh_promoted(f, 2, 250); // the new primary had replayed 250: what came after is lost
    fresh_add(f, 40, 2, 400);
    expect(f, 2, 399, FRESH_KNOWN, 20, 20);
    expect(f, 2, 400, FRESH_KNOWN, 40, 0);
    // Still on the old timeline: the same as the new one up to the fork, another history after it.
    expect(f, 1, 250, FRESH_KNOWN, 20, 20);
    expect(f, 1, 251, FRESH_OTHER_TIMELINE, 0, -1);
    expect(f, 0, 250, FRESH_KNOWN, 20, 20);
    expect(f, 0, 400, FRESH_OTHER_TIMELINE, 0, -1);
    expect(f, 3, 100, FRESH_OTHER_TIMELINE, 0, -1);
    mem_free(f);
}

static void an_unknown_fork_starts_anew(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 10, 1, 100);
    fresh_add(f, 20, 2, 200);
    expect(f, 1, 100, FRESH_OTHER_TIMELINE, 0, -1);
    expect(f, 2, 199, FRESH_UNKNOWN, 0, -1);
    expect(f, 2, 200, FRESH_KNOWN, 20, 0);
    fresh_add(f, 30, 1, 900); // a primary of the past
    expect(f, 2, 900, FRESH_KNOWN, 20, 0);
    mem_free(f);
}

// Two promotions: a replica left on the first timeline has that in common only up to the first fork.
static void a_second_promotion_remembers_the_first_fork(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 10, 1, 100);
    fresh_promoted(f, 2, 150);
    fresh_add(f, 20, 2, 200);
    fresh_promoted(f, 3, 250);
    fresh_add(f, 30, 3, 300);
    expect(f, 1, 150, FRESH_KNOWN, 10, 20);
    expect(f, 1, 200, FRESH_OTHER_TIMELINE, 0, -1);
    expect(f, 0, 200, FRESH_OTHER_TIMELINE, 0, -1);
    expect(f, 2, 250, FRESH_KNOWN, 20, 10);
    expect(f, 2, 251, FRESH_OTHER_TIMELINE, 0, -1);
    mem_free(f);
}

static void an_untold_timeline_is_the_primarys_until_that_changes(void **state) {
    (void)state;
    struct fresh *f = make();
    fresh_add(f, 10, 4, 100);
    expect(f, 0, 100, FRESH_KNOWN, 10, 0);
    expect(f, 3, 100, FRESH_OTHER_TIMELINE, 0, -1);
    mem_free(f);
}

// A day of samples every 10 ms: the memory is what it is, the newest seconds are exact, the rest is right to two per
// cent of its age, and never too new.
static void thinning_only_makes_older(void **state) {
    (void)state;
    struct fresh *f = make();
    const int64_t step = 10000, end = (int64_t)24 * 3600 * SECOND;
    for (int64_t t = step; t <= end; t += step) fresh_add(f, t, 1, (uint64_t)t); // the position is the moment
    assert_true(f->n <= FRESH_MAX);
    static const int64_t ages[] = {
        0, step, SECOND / 2, SECOND, 5 * SECOND, 60 * SECOND, 120 * SECOND, 1000 * SECOND, (int64_t)36000 * SECOND};
    for (size_t i = 0; i < countof(ages); i++) {
        uint64_t lsn = (uint64_t)(end - ages[i]);
        struct fresh_answer a = fresh_of(f, (struct fresh_position){.lsn = lsn, .timeline = 1});
        assert_int_equal(a.status, FRESH_KNOWN);
        assert_true(a.fresh_until_us <= end - ages[i]);
        assert_true(a.fresh_until_us >= end - ages[i] - ages[i] / 50 - step);
        if (ages[i] <= SECOND / 2) assert_int_equal(a.fresh_until_us, end - ages[i]);
    }
    mem_free(f);
}

static void positions_are_parsed(void **state) {
    (void)state;
    uint64_t lsn = 1;
    assert_true(lsn_parse("0/0", &lsn));
    assert_true(lsn == 0);
    assert_true(lsn_parse("16/B374D848", &lsn));
    assert_true(lsn == 0x16B374D848);
    assert_true(lsn_parse("FFFFFFFF/ffffffff", &lsn));
    assert_true(lsn == UINT64_MAX);
    static const char *const bad[] = {"",     "/",           "0",           "0/",  "/0",  "0/0 ",
                                      " 0/0", "123456789/0", "0/123456789", "G/0", "-1/0"};
    for (size_t i = 0; i < countof(bad); i++) assert_false(lsn_parse(bad[i], &lsn));
}

static void page_headers_are_skipped(void **state) {
    (void)state;
    const uint64_t page = 8192, segment = 16 << 20;
    static const struct {
        uint64_t lsn, normal;
    } rows[] = {
        {0x0D000028, 0x0D000000}, // after pg_switch_wal(): the long header of a segment's first page
        {0x0D000000, 0x0D000000}, {0x0D002018, 0x0D002000}, // the short header of another page
        {0x0D002028, 0x0D002028},                           // 16 bytes of a record that began on the page before
        {0x0D000018, 0x0D000018},                           // within the long header: no server says that
        {0x0D002030, 0x0D002030}, {0, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) assert_true(lsn_normalise(rows[i].lsn, page, segment) == rows[i].normal);
    assert_true(lsn_normalise(0x0D100028, page, 1 << 20) == 0x0D100000); // segments of 1 MB
    assert_true(lsn_normalise(0x0D100028, page, segment) == 0x0D100028);
    assert_true(lsn_normalise(0x0D000028, 0, 0) == 0x0D000028); // sizes unknown
}

// ---- random histories against a model
// ---------------------------------------------------------------------------------- The model keeps every sample, and
// knows the true history: which timeline forked off which, and where.

enum { MODEL_SAMPLES = 20000, MODEL_TIMELINES = 8 };

struct model {
    size_t n;
    struct {
        int64_t moment;
        uint32_t timeline;
        uint64_t lsn;
    } samples[MODEL_SAMPLES];
    uint64_t fork[MODEL_TIMELINES + 1]; // where timeline i + 1 leaves timeline i
};

static uint32_t random_state;
static uint32_t rnd(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)random_state * n) >> 32);
}

// Whether a server at `lsn` on `timeline` has what the sample stands for.
static bool model_has(const struct model *m, size_t i, uint32_t timeline, uint64_t lsn) {
    uint64_t reach = lsn;
    if (m->samples[i].timeline > timeline) return false;
    for (uint32_t t = m->samples[i].timeline; t < timeline; t++) reach = reach < m->fork[t] ? reach : m->fork[t];
    return m->samples[i].lsn <= reach;
}

// The latest moment up to which a server at that place has everything.
static int64_t model_until(const struct model *m, uint32_t timeline, uint64_t lsn) {
    int64_t best = 0;
    for (size_t i = 0; i < m->n; i++)
        if (model_has(m, i, timeline, lsn) && m->samples[i].moment > best) best = m->samples[i].moment;
    return best;
}

struct world {
    int64_t now;
    uint32_t timeline;
    uint64_t lsn;
};

static void random_sample(struct fresh *f, struct model *m, struct world *w) {
    w->now += 1 + rnd(20000);
    if (rnd(4) != 0) w->lsn += rnd(500);
    if (rnd(400) == 0) w->lsn -= rnd(300) < w->lsn ? rnd(300) : 0; // crash: the end of the WAL was not on disk
    fresh_add(f, w->now, w->timeline, w->lsn);
    m->samples[m->n].moment = w->now;
    m->samples[m->n].timeline = w->timeline;
    m->samples[m->n++].lsn = w->lsn;
}

static void random_promotion(struct fresh *f, struct model *m, struct world *w) {
    if (w->timeline == MODEL_TIMELINES || rnd(900) != 0) return;
    uint64_t lost = rnd(1000), fork = w->lsn - (lost < w->lsn ? lost : 0);
    m->fork[w->timeline++] = fork;
    w->lsn = fork + rnd(100);
    if (rnd(3) == 0) return; // the fork is not known: fresh_add finds the new timeline
    uint64_t known = rnd(2) ? fork : fork - (rnd(50) < fork ? rnd(50) : 0);
    fresh_promoted(f, w->timeline, known);
}

// A server somewhere in the history asks: the answer is never newer than the truth, and exact on the primary's
// timeline.
static void random_question(const struct fresh *f, const struct model *m, const struct world *w) {
    uint32_t timeline = 1 + rnd(w->timeline);
    uint64_t back = rnd(2) ? rnd(3000) : rnd((uint32_t)w->lsn), lsn = w->lsn > back ? w->lsn - back + rnd(200) : 0;
    if (timeline == w->timeline && lsn > w->lsn) lsn = w->lsn;
    uint32_t told = rnd(3) == 0 ? rnd(timeline + 1) : timeline; // it may not say how far it is
    if (told == 0 && f->parent == 0 && w->timeline > 1) return;
    struct fresh_answer a = fresh_of(f, (struct fresh_position){.lsn = lsn, .timeline = told});
    // What it has of the timelines that lead to its own. One that strayed off shows nothing that the cluster has lost.
    int64_t truth = model_until(m, timeline, lsn);
    if (a.status != FRESH_KNOWN) {
        assert_int_equal(a.fresh_until_us, 0);
        assert_int_equal(a.lag_us, -1);
        return;
    }
    assert_true(a.fresh_until_us <= truth);
    assert_int_equal(a.lag_us, f->newest_us - a.fresh_until_us);
    if (timeline < w->timeline)
        for (uint32_t t = timeline; t < w->timeline; t++) assert_true(lsn <= m->fork[t]);
}

// With one timeline and room for every sample, the answer is the truth.
static void exact_question(const struct fresh *f, const struct model *m, const struct world *w) {
    uint64_t back = rnd(20000), lsn = w->lsn > back ? w->lsn - back : 0;
    struct fresh_answer a = fresh_of(f, (struct fresh_position){.lsn = lsn, .timeline = w->timeline});
    assert_int_equal(a.fresh_until_us, model_until(m, w->timeline, lsn));
}

static void random_histories(void **state) {
    (void)state;
    struct model *m = mem_new(struct model);
    for (uint32_t seed = 1; seed <= 40; seed++) {
        random_state = seed * 7919;
        struct fresh *f = make();
        struct world w = {.now = 1, .timeline = 1, .lsn = 10000};
        m->n = 0;
        while (m->n < (seed % 4 ? 3000 : MODEL_SAMPLES)) { // every fourth is long enough to be thinned
            random_sample(f, m, &w);
            random_promotion(f, m, &w);
            if (rnd(10) == 0) random_question(f, m, &w);
        }
        mem_free(f);
    }
    mem_free(m);
}

static void random_histories_exactly(void **state) {
    (void)state;
    struct model *m = mem_new(struct model);
    for (uint32_t seed = 1; seed <= 20; seed++) {
        random_state = seed * 104729;
        struct fresh *f = make();
        struct world w = {.now = 1, .timeline = 1, .lsn = 10000};
        m->n = 0;
        while (m->n < FRESH_MAX - 1) {
            random_sample(f, m, &w);
            if (rnd(10) == 0) exact_question(f, m, &w);
        }
        mem_free(f);
    }
    mem_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_without_a_sample),
        cmocka_unit_test(a_replica_is_as_fresh_as_the_newest_sample_it_has_reached),
        cmocka_unit_test(an_idle_primary_makes_nobody_lag),
        cmocka_unit_test(a_replica_that_stands_still_lags),
        cmocka_unit_test(a_primary_that_cannot_be_asked_makes_its_replicas_lag),
        cmocka_unit_test(the_rest_before_a_write_does_not_count),
        cmocka_unit_test(a_primary_that_is_down_makes_nobody_lag),
        cmocka_unit_test(a_position_that_falls_drops_what_was_above),
        cmocka_unit_test(a_moment_that_falls_is_ignored),
        cmocka_unit_test(a_promotion_keeps_the_common_history),
        cmocka_unit_test(an_unknown_fork_starts_anew),
        cmocka_unit_test(a_second_promotion_remembers_the_first_fork),
        cmocka_unit_test(an_untold_timeline_is_the_primarys_until_that_changes),
        cmocka_unit_test(thinning_only_makes_older),
        cmocka_unit_test(positions_are_parsed),
        cmocka_unit_test(page_headers_are_skipped),
        cmocka_unit_test(random_histories),
        cmocka_unit_test(random_histories_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
