// SPDX-License-Identifier: ISC
//
// health/judge.h: what is thought of one server, from what its probes saw. Pure.
//
// judge_sighting takes the old facts and one probe's outcome and answers the new facts:
//
//               answer                     failures in a row = limit
//     UNKNOWN ---------> UP <------+  +---------------------------> DOWN
//        |               |  answer |  |                              |
//        |       failure v         |  |                       answer v (a primary: UP at once)
//        +----------> SUSPECT -----+--+                SUSPECT, RETURNING -- answer --> UP
//                                                               +----------- failure --> DOWN
//
// A server that refuses connections or is starting takes no traffic from the first such probe on; one that is slow, or
// that answers something odd, keeps its traffic until it is DOWN: a late answer is no proof, and moving everything
// elsewhere may be what breaks the others. A server that is full (53300) is alive and is never DOWN for that.
//
// A change of role holds at once. Who the primary is, and who takes reads, is decided over all servers in
// health/choose.h.
#ifndef PGSTEER_HEALTH_JUDGE_H
#define PGSTEER_HEALTH_JUDGE_H

#include "health/topology.h"

struct judge_limits {
    int64_t failures;                                       // failed probes in a row until DOWN
    int64_t max_lag_us, max_lag_return_us, critical_lag_us; // 0 = no limit
};

// What one probe saw.
struct sighting {
    enum node_reason failure; // NODE_REASON_OK: the server answered, and what follows `text` holds
    bool full;                // 53300: no connection to be had, but it is alive
    char sqlstate[6];         // of the failure; "" when the server did not say
    char text[200];           // a sentence for the log; may hold a server's words
    int64_t sent_us;          // just before the query was sent
    bool new_connection;      // the first answer of this connection: the server may have been restarted before it
    bool in_recovery;
    uint64_t lsn;               // a primary's insert position, a replica's replay position; normalised
    uint64_t replayed;          // of a primary: the last position it replayed before it became one; 0 = none
    uint32_t timeline;          // a primary's own; the highest a replica is known to have been on; 0 = unknown
    uint64_t system_identifier; // 0 = unknown
};

struct facts {
    enum node_role role;
    enum node_state state;
    enum node_reason reason; // of the last failure, RETURNING, or OK
    int64_t failures;        // in a row
    bool full;               // the last probe found it full
    bool lagging, critical;  // with hysteresis; over critical_lag
    uint32_t timeline;
    uint64_t system_identifier;
    uint64_t lsn;
    // Of a primary that we saw as a replica before: where its timeline leaves `parent`, the one it was on then. Else 0.
    uint32_t parent;
    uint64_t fork;
    int64_t up_since_us; // when it last began to serve; 0 = it does not
};

// Nothing known.
struct facts judge_new(void);
struct facts judge_sighting(const struct facts *old, const struct sighting *s, const struct judge_limits *limits,
                            int64_t now_us);
// `lag_us` as fresh_of answers it; -1 = unknown changes nothing but `critical`.
void judge_lag(struct facts *f, int64_t lag_us, const struct judge_limits *limits);
// Whether statements may be sent there at all.
bool judge_serves(const struct facts *f);

#endif
