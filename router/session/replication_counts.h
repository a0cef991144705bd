// SPDX-License-Identifier: ISC
//
// router/session/replication_counts.h: how many clients replicate, in all workers together.
//
// `open` is what max_replication_connections bounds. `at_work` are those whose server is busy with something that comes
// to an end by itself, such as a base backup; while there is one, a drain leaves streams of WAL alone, since a base
// backup needs its stream to the end. Any thread.
#ifndef PGSTEER_ROUTER_SESSION_REPLICATION_COUNTS_H
#define PGSTEER_ROUTER_SESSION_REPLICATION_COUNTS_H

#include <stdatomic.h>

struct replication_counts {
    atomic_int open, at_work;
};

#endif
