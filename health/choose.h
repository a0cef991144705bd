// SPDX-License-Identifier: ISC
//
// health/choose.h: which server is the primary, and which take reads: the decision over all of them. Pure.
//
// The primary is the one server that serves, is not in recovery, belongs to the cluster (by system identifier), is
// allowed to be it by role= and has the highest timeline. Two of the same timeline: nobody is, writes stop, reads go
// on. A timeline lower than that of the last primary, or than one that a replica is known to follow, is a primary of
// the past: the cluster has moved on without it, even if the newer one cannot be seen now.
//
// The cluster is the system identifier of the last primary, as long as any server has it; before there was one, the
// identifier that most serving servers share (a writable one decides between equals).
#ifndef PGSTEER_HEALTH_CHOOSE_H
#define PGSTEER_HEALTH_CHOOSE_H

#include "config/config.h"
#include "health/fresh.h"
#include "health/judge.h"

// Remembered from one choice to the next. All zero: nothing known yet.
struct cluster {
    uint64_t system_identifier;
    uint32_t timeline; // of the last primary
};

struct choose_node {
    // in
    struct facts facts;
    enum server_role wanted_role; // role= of the config
    enum fresh_status freshness;  // choose_readers only
    // out of choose_readers
    bool reads, writes;
    enum node_reason reason;
    enum alert alert;
};

struct choice {
    int primary; // index, or -1
    bool two_primaries;
    bool undecided;         // too few servers have been heard of to tell which cluster it is
    uint32_t timeline;      // the lowest that a primary may have
    struct cluster cluster; // to be remembered
};

NODISCARD struct choice choose_primary(const struct choose_node *nodes, size_t n, struct cluster before);
// Fills the out fields of every node.
void choose_readers(struct choose_node *nodes, size_t n, const struct choice *choice);

#endif
