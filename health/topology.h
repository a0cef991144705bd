// SPDX-License-Identifier: ISC
//
// health/topology.h: the servers as they are known to be now.
//
// The control thread publishes a topology whenever a role, state or weight changes; workers route by the latest one
// they got. Immutable. Numbers that change all the time are atomics in struct node_live, which lives on from one
// topology to the next for as long as the server keeps its name and address. Moments are uv_hrtime() / 1000:
// microseconds of one monotonic clock of this process.
#ifndef PGSTEER_HEALTH_TOPOLOGY_H
#define PGSTEER_HEALTH_TOPOLOGY_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/snap.h"

enum node_role { NODE_ROLE_UNKNOWN, NODE_ROLE_PRIMARY, NODE_ROLE_REPLICA };
// UNKNOWN: never probed. SUSPECT: failed a probe or two, or came back a moment ago. DOWN: failed health_failures in a
// row.
enum node_state { NODE_STATE_UNKNOWN, NODE_STATE_UP, NODE_STATE_SUSPECT, NODE_STATE_DOWN };

// Why a server gets no reads, or NODE_REASON_OK.
#define NODE_REASONS(X)                                                                                                \
    X(OK, "ok")                                                                                                        \
    X(NOT_PROBED, "not_probed")         /* no answer yet, or too few */                                                \
    X(UNREACHABLE, "unreachable")       /* refused, reset, unresolvable */                                             \
    X(TIMEOUT, "timeout")               /* did not answer in health_timeout */                                         \
    X(LOGIN_FAILED, "login_failed")     /* the monitor may not log in */                                               \
    X(STARTING, "starting")             /* 57P03 */                                                                    \
    X(PROBE_ERROR, "probe_error")       /* any other answer than the expected one */                                   \
    X(RETURNING, "returning")           /* answers again after it was down; the next answer lets it back in */         \
    X(LAG, "lag")                       /* over max_lag, or not yet below max_lag_return */                            \
    X(LAG_UNKNOWN, "lag_unknown")       /* no common point with the primary known */                                   \
    X(OTHER_SYSTEM, "other_system")     /* another system identifier than the primary's */                             \
    X(OTHER_TIMELINE, "other_timeline") /* not known to replay the primary's timeline */                               \
    X(NOT_PRIMARY, "not_primary")       /* a writable server that is not the one to write to */                        \
    X(TWO_PRIMARIES, "two_primaries")   /* it and another qualify equally */                                           \
    X(ROLE_MISMATCH, "role_mismatch")   /* role= in the config says otherwise */                                       \
    X(REMOVED, "removed")               /* gone from the config */

enum node_reason {
#define X(id, name) NODE_REASON_##id,
    NODE_REASONS(X)
#undef X
        NODE_REASONS_COUNT
};

// How loud to be. CRITICAL: nothing can be written, or a replica lags more than critical_lag. WARNING: no replica takes
// reads although there should be one (of a node: it takes no reads).
enum alert { ALERT_OK, ALERT_WARNING, ALERT_CRITICAL };

// Shared by the control thread, which writes the first group, and the workers. Counted; the count is a struct snap.
struct node_live {
    struct snap snap;
    // Up to this moment everything the primary had is replayed here; 0 = unknown. The primary's own is INT64_MAX.
    atomic_llong fresh_until_us;
    atomic_llong lag_us; // newest primary sample - fresh_until; -1 = unknown
    // Workers store the time here when a session that wrote wants to read here but the server is not fresh enough yet:
    // the control thread probes faster for a while.
    atomic_llong wanted_at_us;
    // When the first of the probes failed that have failed in a row since the last answer; 0 = none has.
    atomic_llong failing_since_us;
    atomic_int connections; // server connections of all workers, for least_connections and /metrics
};

enum { NODE_ADDRESSES_MAX = 8 };

struct node {
    const char *name, *host, *zone;
    int port;
    size_t n_addresses;                                    // 0 when the name does not resolve
    struct sockaddr_storage addresses[NODE_ADDRESSES_MAX]; // the one that answered last comes first
    socklen_t address_lens[NODE_ADDRESSES_MAX];
    int weight;
    enum node_role role;
    enum node_state state;
    enum node_reason reason;
    enum alert alert;
    bool reads;                 // takes reads: a replica in good order, or the primary
    bool writes;                // the one primary
    uint32_t timeline;          // 0 = unknown; a replica's is the highest it is known to have been on
    uint64_t system_identifier; // 0 = unknown
    int64_t up_since_us;        // when it last came up; 0 = not up
    bool newcomer;              // it came up when others were serving: its caches are cold (slow_start)
    struct node_live *live;
};

struct topology {
    struct snap snap; // first
    uint64_t generation;
    int primary; // index, or -1: writes wait
    size_t n_nodes;
    struct node *nodes;
    enum alert alert;         // the loudest of the flags below
    bool no_primary;          // nothing can be written
    bool two_primaries;       // ... because two servers qualify equally
    bool no_replica_eligible; // there are replicas and none takes reads: the primary serves them
    bool lag_critical;        // some replica lags more than critical_lag
};

static inline void topology_ref(struct topology *t) { snap_ref(&t->snap); }
static inline void topology_unref(struct topology *t) { snap_unref(&t->snap); }
// NULL when there is none of that name.
const struct node *topology_find(const struct topology *t, const char *name);

// A builder: one thread fills a topology, then it is published and never altered. The caller owns the one reference.
// All nodes are zero, primary is -1.
NODISCARD struct topology *topology_new(size_t n_nodes);
// Names the server and copies the strings; takes a reference on `live`, which topology_free gives up.
void topology_set_node(struct topology *t, size_t i, const char *name, const char *host, int port, const char *zone,
                       struct node_live *live);
// One reference, the caller's. Nothing known: fresh_until 0, lag -1.
NODISCARD struct node_live *node_live_new(void);
static inline void node_live_ref(struct node_live *l) { snap_ref(&l->snap); }
static inline void node_live_unref(struct node_live *l) { snap_unref(&l->snap); }

// True when nothing that routing, /health or an alarm looks at differs; generations are not compared.
bool topology_equal(const struct topology *a, const struct topology *b);

const char *node_role_str(enum node_role r);
const char *node_state_str(enum node_state s);
const char *node_reason_str(enum node_reason r);
const char *alert_str(enum alert a); // "ok", "warning", "critical"

#endif
