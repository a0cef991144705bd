// SPDX-License-Identifier: ISC
//
// router/admin/procstat.h: what the kernel says about this process, for the process_* metrics.
//
// Opens /proc once and keeps it open, so that a sample needs no file descriptor of its own: a process that has run out
// of them is the one whose metrics are wanted most. Control thread.
#ifndef PGSTEER_ROUTER_ADMIN_PROCSTAT_H
#define PGSTEER_ROUTER_ADMIN_PROCSTAT_H

#include "base/base.h"

struct procstat_sample {
    double start_time_seconds; // since 1970
    uint64_t cpu_us;           // user and system, all threads
    uint64_t resident_bytes;
    int64_t open_fds, max_fds; // max_fds: -1 = no limit
};

struct procstat;

// Never fails: what cannot be read is zero in every sample.
struct procstat *procstat_new(void);
void procstat_free(struct procstat *w);
struct procstat_sample procstat_sample(struct procstat *w);

#endif
