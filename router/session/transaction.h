// SPDX-License-Identifier: ISC
//
// router/session/transaction.h: a transaction that the router answers for.
//
// Of most transactions the server connection knows all there is to know. Two kinds are the router's own: one whose
// BEGIN has been answered and that no server has heard of yet, and a READ ONLY one on a replica, which may have to go
// on elsewhere. Pure.
#ifndef PGSTEER_ROUTER_SESSION_TRANSACTION_H
#define PGSTEER_ROUTER_SESSION_TRANSACTION_H

#include "base/buf.h"
#include "router/session/request.h"

enum transaction_phase {
    TRANSACTION_NONE,      // there is none, or the server in use knows all of it
    TRANSACTION_DEFERRED,  // the client is in one, and no server knows
    TRANSACTION_ON_REPLICA // it runs on a replica
};

struct transaction {
    uint8_t phase;         // enum transaction_phase
    uint8_t reason;        // enum route_reason: why it must be on the primary; 0 = it need not
    struct tx_modes modes; // as the client gave them
    bool chained;          // it came by ... AND CHAIN
    bool failed;           // DEFERRED: one that has failed and is to be ended with what comes after it
    bool queried;          // a query has been run in it: its modes cannot be changed any more
    bool unanswered;       // ON_REPLICA: the client's own BEGIN is among what is due, or was run again
    bool bound;            // ON_REPLICA: what the client has been shown can be gone on from only there
    bool ending;           // ON_REPLICA: its end has been sent
};

// Appends the BEGIN that has these modes.
void transaction_begin_sql(struct tx_modes modes, struct buf *out);
// Whether a replica does with such texts, within a READ ONLY transaction, what the primary would do.
bool transaction_fits_replica(const struct verdict *v);
// Whether it may run a query, after which a transaction keeps its modes.
bool transaction_queries(const struct request *r);
// Whether the client, once it has been answered, may have seen or left something that another server would not go on
// from: with READ COMMITTED a plain read is seen anew by each statement.
bool transaction_binds(const struct request *r, struct tx_modes modes);
// What a client is told of a lone BEGIN, SET TRANSACTION, COMMIT, ROLLBACK.
const char *transaction_tag(enum verdict_control c);

#endif
