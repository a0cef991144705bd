// SPDX-License-Identifier: ISC
//
// router/session/pool.h: the connections of one worker to one (server, database, user), and who waits for one.
//
// A session asks for a connection with a ticket and gets it at once or later, first come first served; the last used idle
// connection goes first, so that the others can grow old. Connections are opened when somebody waits and the budget
// (quota.h) allows. When the server cannot be reached, waiters are failed at once, so that their sessions can go elsewhere, and
// the pool does not try again before server_login_retry has passed.
#ifndef PGSTEER_ROUTER_SESSION_POOL_H
#define PGSTEER_ROUTER_SESSION_POOL_H

#include "health/topology.h"
#include "router/session/quota.h"
#include "router/session/server.h"

struct pools; // all pools of a worker
struct pool;

// A place in the queue; embedded in its session. Calls back exactly once unless cancelled, never from inside pool_get.
struct ticket {
    // set by the caller
    void (*granted)(struct ticket *t, struct server *s); // s is BUSY and the ticket's
    // 57P03 server not reachable now / 28xxx login refused / 3D000 no such database (as the server said) / 53300 waited
    // too long (query_wait_timeout) / 53300 from the server itself once nothing is left to wait for
    void (*failed)(struct ticket *t, const struct fault *f);
    // private
    struct ilink link;
    struct pool *pool;
    uint64_t since_us;
    struct deadline deadline;
};

struct pools *pools_new(struct server_env *env, struct quota *quota);
// Closes everything; `closed` when the last server's memory is gone.
void pools_close(struct pools *p, void (*closed)(void *arg), void *arg);
// After a reload or a change of topology: new addresses, sizes, removed servers (idle ones close, busy ones when they come
// back, waiters are failed with 57P03).
void pools_set_topology(struct pools *p, struct topology *t);
void pools_config_changed(struct pools *p);
// The budget of some pool has room again, or another worker is starving: look at all pools with waiters.
void pools_nudged(struct pools *p);

// The pool for a server of the current topology, made at first use. `credentials` are copied and replace older ones.
struct pool *pools_find(struct pools *p, const struct node *node, const char *database, const char *user);
void pool_set_credentials(struct pool *p, const struct credentials *c);
// NULL until the first set.
const struct credentials *pool_credentials(const struct pool *p);

// An idle connection, BUSY and the caller's from now on, or NULL: then the ticket is queued (and a connection is opened if
// there is budget).
NODISCARD struct server *pool_get(struct pool *p, struct ticket *t, const struct server_owner_ops *ops, void *owner);
void pool_cancel(struct ticket *t); // idempotent; safe on a ticket that is not queued
static inline bool ticket_is_waiting(const struct ticket *t) { return ilink_in_list(&t->link); }

// Gives a connection back. It is reused only if nothing is due, the last ReadyForQuery said idle, no byte is unread, it is not
// dirty and no cancel is under way (then once that has ended); otherwise, or when the budget should go elsewhere, it is closed.
void pool_put(struct server *s);
// Closes it now. `why` for the log; NULL = not worth a line.
void pool_discard(struct server *s, const char *why);

// True while a connect has failed within server_login_retry: route elsewhere if you can.
bool pool_is_failing(const struct pool *p);
const char *pool_node_name(const struct pool *p);
size_t pool_waiting(const struct pool *p);
size_t pool_busy(const struct pool *p);

// Passes a cancel on to the backend behind `s` (router/session/cancel.h), over a connection of its own with the same TLS; until
// it has ended the server is not given to anybody else.
void pool_cancel_backend(struct server *s);

#endif
