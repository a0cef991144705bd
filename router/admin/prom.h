// SPDX-License-Identifier: ISC
//
// router/admin/prom.h: the metrics, in Prometheus' text format 0.0.4.
//
// Pure: sums of counters, a topology and a few numbers of the process go in, text comes out. One table in prom.c names
// every metric with its type, its help and its labels; the exposition and docs/metrics.md are both loops over it.
// Durations are in seconds, sizes in bytes. What is not known (the lag of a replica that never answered) is left out
// rather than given as NaN: a comparison with NaN is always false, and an absent series is what dashboards and absent()
// understand.
#ifndef PGSTEER_ROUTER_ADMIN_PROM_H
#define PGSTEER_ROUTER_ADMIN_PROM_H

#include <stdio.h>

#include "base/buf.h"
#include "health/topology.h"
#include "router/admin/procstat.h"
#include "router/stats.h"

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

// What an alert can be about: the flags of struct topology, by their names.
#define ALERT_CONDITIONS(X) X(no_primary) X(two_primaries) X(no_replica_eligible) X(lag_critical)

struct prom_input {
    const struct stats *stats;       // all workers' sum, written by nobody meanwhile
    const struct topology *topology; // NULL: none published yet
    bool draining;
    struct procstat_sample process;
    // The name of a routing reason; NULL past the last one.
    const char *(*route_reason_str)(unsigned reason);
    const char *(*pin_str)(unsigned pin); // likewise
};

// Appends every metric to `out`, which becomes `failed` when it has no room.
void prom_write(struct buf *out, const struct prom_input *in);

// Prints docs/metrics.md.
void prom_print_markdown(FILE *to);

#endif
