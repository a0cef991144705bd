// SPDX-License-Identifier: ISC
//
// router/session/pool_parts.h: what pool.c and pools.c know together.
//
// pool.c has one pool: tickets, budget, connections, cancels. pools.c has all of a worker: finding, topology, config,
// time. Nobody else includes this.
#ifndef PGSTEER_ROUTER_SESSION_POOL_PARTS_H
#define PGSTEER_ROUTER_SESSION_POOL_PARTS_H

#include <uthash.h>

#include "router/session/cancel.h"
#include "router/session/pool.h"

struct pools {
    struct server_env *env;
    struct quota *quota;
    struct topology *topology; // referenced; NULL before the first
    struct account *accounts;  // uthash
    struct ilist all;          // of struct pool
    uv_timer_t soon;           // no length: fails the waiters of doomed pools
    bool failing_waiters;      // ... and does so now
    struct deadline housekeeping;
    unsigned round;
    uint64_t random;
    size_t n_handles; // servers, cancels and the timer that are not gone yet
    bool closing;
    void (*closed)(void *arg);
    void *arg;
};

struct account {
    UT_hash_handle hh;
    struct pools *pools;
    char *key;                   // database NUL user
    const char *database, *user; // in it
    uint32_t refs;               // sessions', and one of each pool
    struct credentials credentials;
    bool has_credentials;
    struct ilist own; // of struct pool: one for each server's name
    // By place in the topology, found there before: good when its `node` is the one at that place. NULL: look it up.
    struct pool **by_node;
    size_t n_nodes;
};

struct pool {
    struct ilink link, own_link; // of all, of the account's own
    struct pools *pools;
    struct account *account; // counted
    char *node_name;
    const char *database, *user; // the account's
    char *server_database;
    const struct node *node; // in the current topology; NULL: removed
    struct budget *budget;
    int size, min_size;
    struct ilist connecting, idle, busy, parked; // of struct server; idle: last used first
    struct ilist anchored;                       // idle, and for one client each: used last first
    struct ilist waiters;                        // of struct ticket, first come first
    struct ilist errands;                        // cancels under way
    size_t n_servers;                            // whose memory is not gone yet
    bool wants;                                  // said so to the budget
    bool serving;                                // inside pool_serve
    int anchors;                                 // connections that are some client's anchor
    uint64_t weighed_us;                         // when one was closed since others needed it
    bool used;                                   // since the last housekeeping
    uint64_t served_us;                          // when a connection was last there for somebody
    unsigned unused_rounds;
    uint64_t vacant_until_us; // somebody wants the database for himself
    // after a failure
    uint64_t retry_at_us; // no new connection before
    bool failing;         // tickets are failed with `fault` until then
    bool full;            // tickets wait until then: the server takes no more connections
    bool starved;         // ... or, rather, this process has no descriptor for another one
    bool refused;         // `failing`, because of the credentials or the database
    bool doomed;          // the waiters are to be failed with `fault` soon
    struct fault fault;
};

// A cancel request under way.
struct errand {
    struct cancel cancel;
    struct pool *pool;
    struct server *server; // NULL when it has been closed
    struct ilink link;
};

static inline uint64_t pools_now_us(const struct pools *all) { return all->env->now_us(all->env->arg); }
static inline struct pool *pool_at(struct ilink *n) { return container_of(n, struct pool, link); }
static inline struct server *server_at(struct ilink *n) { return container_of(n, struct server, link); }

// pool.c
// Opens a connection for each waiter that none is being opened for, as far as the budget goes.
void pool_grow(struct pool *p);
// One more, for which budget has been taken.
void pool_open(struct pool *p);
NODISCARD bool pool_may_try(const struct pool *p);
// Closes it, wherever it is. `why` for the log; NULL = not worth a line.
void pool_close_server(struct server *s, const char *why);
// All waiters are failed with `f`, from the loop.
void pool_doom(struct pool *p, const struct fault *f);
void pool_fail_waiters(struct pool *p);
// Idle connections go to workers that want one and have fewer; what is over the size of the pool goes.
void pool_yield_idle(struct pool *p);
// Nothing points to it any more.
NODISCARD bool pool_is_empty(const struct pool *p);
void pool_forget_failure(struct pool *p);
bool pool_is_too_old(const struct pool *p, const struct server *s);
bool pool_is_vacated(const struct pool *p); // by pools_vacate, and nobody waits

// pools.c
void pools_handle_gone(struct pools *all); // one of n_handles
void pools_soon(struct pools *all);        // doomed pools have their waiters failed at the loop's next turn
// The waiters of a pool whose server is not in the topology are failed.
void pool_lose_node(struct pool *p);

#endif
