// SPDX-License-Identifier: ISC
// router/stats.c: see router/stats.h.
#include "router/stats.h"

#include <assert.h>

static const uint64_t bucket_bounds_us[] = STAT_BUCKETS_US;
static_assert(countof(bucket_bounds_us) + 1 == STAT_BUCKETS, "one cell per bound and one without");

void stats_observe(struct stats *s, enum stat_histogram h, uint64_t us) {
    size_t bucket = 0;
    // Most durations are short, so the walk from the front beats a binary search.
    while (bucket < countof(bucket_bounds_us) && us > bucket_bounds_us[bucket]) bucket++;
    stat_cell_add(&s->histograms[h].buckets[bucket], 1);
    stat_cell_add(&s->histograms[h].sum_us, us);
}

static void cells_merge(stat_cell *to, const stat_cell *from, size_t n) {
    for (size_t i = 0; i < n; i++) stat_cell_add(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
}

static void gauges_merge(atomic_llong *to, const atomic_llong *from, size_t n) {
    for (size_t g = 0; g < n; g++) {
        long long sum =
            atomic_load_explicit(&to[g], memory_order_relaxed) + atomic_load_explicit(&from[g], memory_order_relaxed);
        atomic_store_explicit(&to[g], sum, memory_order_relaxed);
    }
}

void stats_merge(struct stats *to, const struct stats *from) {
    cells_merge(to->counters, from->counters, STAT_COUNTERS_COUNT);
    cells_merge(to->errors, from->errors, STAT_ERRORS_COUNT);
    for (size_t target = 0; target < STAT_ROUTE_TARGETS; target++)
        cells_merge(to->routed[target], from->routed[target], STAT_ROUTE_REASONS_MAX);
    for (size_t h = 0; h < STAT_HISTOGRAMS_COUNT; h++) {
        cells_merge(to->histograms[h].buckets, from->histograms[h].buckets, STAT_BUCKETS);
        cells_merge(&to->histograms[h].sum_us, &from->histograms[h].sum_us, 1);
    }
    cells_merge(to->pins, from->pins, STAT_PINS_MAX);
    gauges_merge(to->gauges, from->gauges, STAT_GAUGES_COUNT);
    gauges_merge(to->pinned, from->pinned, STAT_PINS_MAX);
}
