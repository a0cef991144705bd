// SPDX-License-Identifier: ISC
//
// tests/unit/stats/stats_test.c: buckets and sums of router/stats.c.
//
// Every cell of the struct must be merged, also one that is added later: the test fills the whole struct cell by cell
// instead of naming fields.
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/stats.h"

static const uint64_t bounds[] = STAT_BUCKETS_US;

static unsigned long long bucket(const struct stats *s, size_t i) {
    return atomic_load(&s->histograms[STAT_HISTOGRAM_READ].buckets[i]);
}

static void observe_puts_each_duration_in_one_bucket(void **state) {
    (void)state;
    for (size_t i = 0; i < STAT_BUCKETS; i++) {
        struct stats s = {0};
        uint64_t us = i < countof(bounds) ? bounds[i] : bounds[countof(bounds) - 1] + 1;
        stats_observe(&s, STAT_HISTOGRAM_READ, us);
        for (size_t j = 0; j < STAT_BUCKETS; j++) assert_int_equal(bucket(&s, j), i == j);
        assert_int_equal(atomic_load(&s.histograms[STAT_HISTOGRAM_READ].sum_us), us);
    }
}

static void observe_takes_the_edges(void **state) {
    (void)state;
    struct stats s = {0};
    stats_observe(&s, STAT_HISTOGRAM_READ, 0);
    stats_observe(&s, STAT_HISTOGRAM_READ, bounds[0] + 1);
    stats_observe(&s, STAT_HISTOGRAM_READ, UINT64_MAX / 4);
    assert_int_equal(bucket(&s, 0), 1);
    assert_int_equal(bucket(&s, 1), 1);
    assert_int_equal(bucket(&s, STAT_BUCKETS - 1), 1);
    // The other histograms are not touched.
    for (size_t j = 0; j < STAT_BUCKETS; j++)
        assert_int_equal(atomic_load(&s.histograms[STAT_HISTOGRAM_WRITE].buckets[j]), 0);
}

static void bounds_ascend(void **state) {
    (void)state;
    for (size_t i = 1; i < countof(bounds); i++) assert_true(bounds[i - 1] < bounds[i]);
}

static void merge_adds_every_cell(void **state) {
    (void)state;
    static_assert(sizeof(struct stats) % sizeof(stat_cell) == 0, "cells only");
    enum { CELLS = sizeof(struct stats) / sizeof(stat_cell) };
    static struct stats a, b, sum;
    stat_cell *ca = (stat_cell *)&a, *cb = (stat_cell *)&b;
    for (size_t i = 0; i < CELLS; i++) {
        atomic_store(&ca[i], i + 1);
        atomic_store(&cb[i], 1000 * (i + 1));
    }
    stats_merge(&sum, &a);
    stats_merge(&sum, &b);
    const stat_cell *cs = (const stat_cell *)&sum;
    for (size_t i = 0; i < CELLS; i++) assert_int_equal(atomic_load(&cs[i]), 1001 * (i + 1));
}

static void merge_adds_negative_gauges(void **state) {
    (void)state;
    // A connection may be opened on one worker and closed on another: one worker's share can be below zero.
    struct stats a = {0}, b = {0}, sum = {0};
    stats_gauge_add(&a, STAT_GAUGE_POOL_IDLE, 3);
    stats_gauge_add(&b, STAT_GAUGE_POOL_IDLE, -1);
    stats_merge(&sum, &a);
    stats_merge(&sum, &b);
    assert_int_equal(atomic_load(&sum.gauges[STAT_GAUGE_POOL_IDLE]), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(observe_puts_each_duration_in_one_bucket),
        cmocka_unit_test(observe_takes_the_edges),
        cmocka_unit_test(bounds_ascend),
        cmocka_unit_test(merge_adds_every_cell),
        cmocka_unit_test(merge_adds_negative_gauges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
