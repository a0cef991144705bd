// SPDX-License-Identifier: ISC
//
// router/session/pool.h: the connections of one worker to one (server, database, user), and who waits for one.
//
// A session asks for a connection with a ticket and gets it at once or later, first come first served; the last used
// idle connection goes first, so that the others can grow old. Connections are opened when somebody waits and the
// budget (quota.h) allows. When the server cannot be reached, waiters are failed at once, so that their sessions can go
// elsewhere, and the pool does not try again before server_login_retry has passed. When the server takes no more
// connections (53300) they wait on: for a busy one, or for the next try.
#ifndef PGSTEER_ROUTER_SESSION_POOL_H
#define PGSTEER_ROUTER_SESSION_POOL_H

#include "health/topology.h"
#include "router/session/quota.h"
#include "router/session/server.h"

struct pools;   // all pools of a worker
struct account; // a user of a database: the credentials, and its pools
struct pool;

// A client's claim to the connection whose process id it was told at its login: nobody else gets it, so that the client
// finds the process it knows, in pg_stat_activity as in a notification, and whoever ends or cancels that process means
// this client. When others need the connection it is closed: then no process has the id, and none that is another's.
struct anchor {
    // set by the caller; the connection has ended while it was idle, for the reason that the server gave
    void (*lost)(struct anchor *a, const struct fault *f);
    struct server *server; // read-only; NULL = there is none, or not any more
};

// A place in the queue; embedded in its session. Calls back exactly once unless cancelled, never from inside pool_get.
struct ticket {
    // set by the caller
    void (*granted)(struct ticket *t, struct server *s); // s is BUSY and the ticket's
    // 08006, 57P03: the server is not reachable now / as the server said: 28xxx login refused, 3D000 no such database,
    // ... / 53300: waited too long (query_wait_timeout). Counted by the caller, but for STAT_ERROR_SERVER_CONNECT and
    // STAT_ERROR_SERVER_PROTOCOL.
    void (*failed)(struct ticket *t, const struct fault *f);
    // The moment whose defaults (ALTER ROLE ... SET) its session began with. Since they have changed, connections with
    // the old ones are for those who began with them, as long as there are any; who began later gets none of them.
    uint64_t defaults_us;
    bool optional; // the caller can do without: failed with 53300 when the server takes no more connections
    struct anchor anchor;
    // private
    struct ilink link;
    struct pool *pool;
    const struct server_owner_ops *ops;
    void *owner;
    uint64_t since_us;
    struct deadline deadline;
};

// `env` and `quota` must outlive the pools; env->worker is the worker's place in the quota.
struct pools *pools_new(struct server_env *env, struct quota *quota);
// Closes everything (waiters are failed with 57P01); `closed`, from the loop, when the last server's memory is gone and
// the pools' too.
void pools_close(struct pools *p, void (*closed)(void *arg), void *arg);
// A change of topology: of removed servers idle connections close, busy ones when they come back, and waiters are
// failed with 57P03; the same for single connections whose address is the server's no more. When a server is found to
// be down, its idle connections close and its waiters are failed, so that they can go elsewhere. Busy ones are broken
// within 0.2 s when the server hangs or is out of reach, another one can do its work, and nothing has come over them
// since it stopped answering; else they are their sessions'.
void pools_set_topology(struct pools *p, struct topology *t);
// env->config has been replaced.
void pools_config_changed(struct pools *p);
// Somebody wants the database of that name on the servers for himself: for as long as PostgreSQL waits for the others
// to go, its idle connections are closed, but for those that a client has for itself and would have in the way as well
// without us.
void pools_vacate(struct pools *p, const char *server_database);
// The budget of some pool has room again, or another worker is starving: look at all pools.
void pools_nudged(struct pools *p);

// Finds or makes it. `database` is the name that clients use; what it is called on the servers, and how many
// connections it may have there, is in the config. The caller owns a reference.
struct account *account_get(struct pools *p, const char *database, const char *user);
void account_unref(struct account *a); // NULL is fine
// Copied; those of connections that are being opened change with them. A login that was refused is tried again at once
// when they differ from the last ones.
void account_set_credentials(struct account *a, const struct credentials *c);
// NULL until the first set.
const struct credentials *account_credentials(const struct account *a);
// The pool for a server of the current topology, by its place there, made at first use. The pointer is good while the
// caller holds a connection or a ticket of the pool, and else for the current call: a pool that nobody uses goes.
struct pool *account_pool(struct account *a, size_t node);

// An idle connection, BUSY and the caller's from now on, or NULL: then the ticket is queued (and a connection is opened
// if there is budget).
NODISCARD struct server *pool_get(struct pool *p, struct ticket *t, const struct server_owner_ops *ops, void *owner);
void pool_cancel(struct ticket *t); // idempotent; safe on a ticket that is not queued
static inline bool ticket_is_waiting(const struct ticket *t) { return ilink_in_list(&t->link); }

// Gives a connection back. It is reused only if nothing is due, the last ReadyForQuery said idle, no byte is unread, it
// is not dirty and no cancel is under way (then once that has ended); otherwise, or when the budget should go
// elsewhere, it is closed. The first ticket in the queue may be granted from inside.
void pool_put(struct server *s);
// Closes it now. `why` for the log; NULL = not worth a line.
void pool_discard(struct server *s, const char *why);

// True when a ticket would have to wait for somebody else's connection, and none has come free for a while, or for the
// next try of a server that failed: go elsewhere if you can.
bool pool_is_full(const struct pool *p);
const char *pool_node_name(const struct pool *p);
bool pool_would_close(const struct server *s); // rather than keep it idle
bool pool_is_wanted(const struct pool *p); // somebody waits for whom none is being opened, here or in another worker
bool pool_has_idle(const struct pool *p);  // pool_get would have one at once
bool pool_can_open(const struct pool *p);  // or as soon as one is opened, and would take it from nobody
size_t pool_waiting(const struct pool *p);
size_t pool_busy(const struct pool *p);
// True when connections are being opened for all who wait.
bool pool_is_opening(const struct pool *p);

// Whether a client that logs in may have a connection for itself: half of the pool at least is left to those who come
// for a transaction, and nobody waits for one. And whether there is one for it: a free one, or room for one more.
bool pool_may_anchor(const struct pool *p);
bool pool_has_anchorage(const struct pool *p);
// `s` is busy, and nobody's anchor.
void pool_anchor(struct server *s, struct anchor *a);
void anchor_drop(struct anchor *a); // idempotent

// Passes a cancel on to the backend behind `s` (router/session/cancel.h), over a connection of its own with the same
// TLS; until it has ended the server is not given to anybody else. Dropped when twice the pool's size are under way.
// Goes on when `s` is discarded meanwhile.
void pool_cancel_backend(struct server *s);

#endif
