// SPDX-License-Identifier: ISC
//
// router/admin/process.h: what the kernel says about this process, for the process_* metrics.
//
// Opens /proc once and keeps it open, so that a sample needs no file descriptor of its own: a process that has run out
// of them is the one whose metrics are wanted most. Control thread.
#ifndef PGSTEER_ROUTER_ADMIN_PROCESS_H
#define PGSTEER_ROUTER_ADMIN_PROCESS_H

#include "base/base.h"

struct process_sample {
    double start_time_seconds; // since 1970
    uint64_t cpu_us;           // user and system, all threads
    uint64_t resident_bytes;
    int64_t open_fds, max_fds; // max_fds: -1 = no limit
};

struct process_watch;

// Never fails: what cannot be read is zero in every sample.
struct process_watch *process_watch_new(void);
void process_watch_free(struct process_watch *w);
struct process_sample process_watch_sample(struct process_watch *w);

#endif
