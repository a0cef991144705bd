// SPDX-License-Identifier: ISC
//
// router/worker.h: one thread that serves clients.
//
// Its own loop, listeners, clients, server connections, pools, caches and counters; nothing of it is touched by another
// thread, which sends mail instead. What it must share (the number of clients, connection budgets, freshness) are
// atomics.
#ifndef PGSTEER_ROUTER_WORKER_H
#define PGSTEER_ROUTER_WORKER_H

#include <stdatomic.h>

#include "config/config.h"
#include "health/health.h"
#include "router/net/listen.h"
#include "router/net/tls.h"
#include "router/session/quota.h"
#include "router/session/replication_counts.h"
#include "router/session/user_count.h"
#include "router/stats.h"

struct worker;

// What all workers share. Owned by the runtime, which outlives them.
struct worker_shared {
    atomic_int clients;                // connections now
    atomic_int max_clients;            // of them: max_client_conn, or what there are descriptors for
    atomic_ullong schema_epoch;        // grows when DDL passes by
    atomic_ullong defaults_changed_us; // when an ALTER ROLE or DATABASE ... SET has passed by
    atomic_ullong last_write_us;       // when the last write of any client was acknowledged; for consistency = global
    atomic_ullong terminate_us;        // when a client last called pg_terminate_backend
    atomic_ullong next_id;             // of clients
    atomic_ullong sequence_users;      // bits of those whose clients use currval or lastval
    atomic_bool draining;
    struct replication_counts replication;
    struct quota *quota;
    struct user_counts *users;
    struct listen_set *listeners;
};

// Upward calls, on the worker's thread: each must only post mail.
struct worker_ops {
    void (*report)(void *arg, const char *node_name, enum evidence e);
    void (*watch_database)(void *arg, const char *name);
    void (*unwatch_database)(void *arg, const char *name);
    void (*refresh_database)(void *arg, const char *name);
    void (*vacate_database)(void *arg, const char *name);
    // A CancelRequest, received at `asked_us`, that may be for a client of another worker.
    void (*cancel)(void *arg, uint32_t pid, uint32_t key, uint64_t asked_us);
    void (*nudge)(void *arg, size_t worker);
    void (*drained)(void *arg, size_t worker); // no client is left after worker_drain
    void (*exited)(void *arg, size_t worker);  // the thread is about to end: worker_join
    void *arg;
};

// References on config, topology and the TLS contexts (either may be NULL) are taken. Runs until worker_stop. Control
// thread, as all below.
NODISCARD struct worker *worker_start(size_t index, struct worker_shared *shared, const struct worker_ops *ops,
                                      struct config *config, struct topology *topology, struct tls_context *tls_clients,
                                      struct tls_context *tls_servers, struct fault *f);
void worker_set_config(struct worker *w, struct config *c, struct tls_context *tls_clients,
                       struct tls_context *tls_servers);
void worker_set_topology(struct worker *w, struct topology *t);
void worker_set_catalog(struct worker *w, struct catalog *c);
void worker_miss_database(struct worker *w, const char *server_database); // it does not exist
void worker_cancel(struct worker *w, uint32_t pid, uint32_t key, uint64_t asked_us);
void worker_vacate(struct worker *w, const char *server_database); // pools_vacate
void worker_nudge(struct worker *w);
void worker_drain(struct worker *w);
void worker_stop(struct worker *w); // `exited` follows
// After `exited`: waits for the thread's end and frees.
void worker_join(struct worker *w);

const struct stats *worker_stats(const struct worker *w); // read as relaxed atomics

#endif
