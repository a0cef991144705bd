// SPDX-License-Identifier: ISC
//
// router/session/route.h: which server.
//
// Pure but for the balance it keeps: (verdict, what is known of the session, topology) -> (server, reason). Unsure
// means primary. Every answer has a reason, which is what logs and pgsteer_routed_total say.
#ifndef PGSTEER_ROUTER_SESSION_ROUTE_H
#define PGSTEER_ROUTER_SESSION_ROUTE_H

#include "config/config.h"
#include "health/topology.h"
#include "parser/verdict.h"

// Reasons of routing's own; the verdict's reasons follow them in the same numbering. id, name.
#define ROUTE_REASONS(X)                                                                                               \
    X(BALANCED, "balanced") /* a read, to a replica */                                                                 \
    X(IN_TRANSACTION, "in_transaction")                                                                                \
    X(READ_ONLY_TRANSACTION, "read_only_transaction") /* begins with it on a replica */                                \
    X(PINNED, "pinned")                               /* session state ties the client to its primary connection */    \
    X(PIPELINED, "pipelined")                         /* answers of the same server are still due */                   \
    X(READ_YOUR_WRITES, "read_your_writes")           /* no replica has replayed the session's last write yet */       \
    X(MONOTONIC, "monotonic")                         /* none is known to be as far as what the session has seen */    \
    X(GLOBAL, "global")                               /* none has replayed the last write of any client */             \
    X(SERIALIZABLE, "serializable")                   /* the session's transactions are, and no replica can do that */ \
    X(DUMP, "dump")                                   /* pg_dump reads what no replica has */                          \
    X(STATISTICS, "statistics")                       /* the session looks at what its reads add to the counters */    \
    X(PREFERENCE, "preference")                       /* route = primary or replica */                                 \
    X(NO_REPLICA, "no_replica")                       /* there is none that takes reads */                             \
    X(RERUN, "rerun")                                 /* a replica refused or lost it */                               \
    X(TOO_LARGE, "too_large")         /* larger than max_exchange_size, or malformed: it goes as a stream */           \
    X(FLUSH, "flush")                 /* a Flush after Execute, or a portal of an earlier batch */                     \
    X(FUNCTION_CALL, "function_call") /* the FunctionCall message */                                                   \
    X(LOGIN, "login")                 /* the parameters shown at login */

enum route_reason {
#define X(id, name) ROUTE_REASON_##id,
    ROUTE_REASONS(X)
#undef X
        ROUTE_REASON_VERDICT, // + enum verdict_reason
    ROUTE_REASONS_COUNT = ROUTE_REASON_VERDICT + VERDICT_REASONS_COUNT
};
// NULL past the end.
const char *route_reason_str(unsigned reason);

enum { ROUTE_NODES_MAX = 64 };

// A worker's memory of whose turn it is. All zero at the start and when the topology's servers change.
struct route_balance {
    int64_t current[ROUTE_NODES_MAX];
    uint32_t in_flight[ROUTE_NODES_MAX]; // exchanges now, kept by sessions; for least_connections
};

struct route_request {
    struct verdict verdict;
    enum consistency consistency;
    enum balance balance;
    enum preference preference;
    uint64_t last_write_us; // when the session's last write was acknowledged; 0 = none
    uint64_t last_read_us;  // when the session's last read was answered; 0 = none
    int last_reader; // ... by this replica, which has it for sure; -1 = it was the primary, or has restarted since
    uint64_t last_any_write_us; // when the last write of all clients was acknowledged; 0 = none
    uint64_t now_us;
    uint64_t slow_start_us; // until a newcomer has its whole share
    uint64_t avoid;         // bit per node: not reachable from here just now
    uint64_t full;          // bit per node: has no connection for it just now; the last resort
    uint64_t near;          // bit per node: preferred as long as one of them is not full
    bool rerun;             // a replica failed it: primary
    bool counted;           // the session looks at the primary's counters of reads
};

struct route {
    int node; // index in the topology; -1: it has to be the primary, and there is none
    bool replica;
    bool stale;      // the primary only because no replica is fresh enough yet: waiting may help
    unsigned reason; // enum route_reason
};

// Asks for faster probing (node_live.wanted_at_us) when a read had to go to the primary for freshness.
struct route route(const struct route_request *r, const struct topology *t, struct route_balance *b);

#endif
