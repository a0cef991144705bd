// SPDX-License-Identifier: ISC
//
// router/stats.h: what is counted.
//
// Each worker has one struct stats that only its own thread writes; the control thread adds them up for /metrics.
// Relaxed atomics: a sum may be a moment old, never torn. What there is to count is a few tables: STAT_COUNTERS,
// STAT_GAUGES, STAT_POOL_STATES and STAT_ERRORS here, the routing reasons in router/session/route.h; every output loops
// over them.
#ifndef PGSTEER_ROUTER_STATS_H
#define PGSTEER_ROUTER_STATS_H

#include <stdatomic.h>

#include "base/base.h"

// id, Prometheus name, help
#define STAT_COUNTERS(X)                                                                                               \
    X(CLIENTS_ACCEPTED, "pgsteer_client_connections_total", "Client connections accepted")                             \
    X(CLIENT_LOGINS, "pgsteer_client_logins_total", "Clients that logged in")                                          \
    X(SERVER_LOGINS, "pgsteer_server_connections_total", "Server connections opened and logged in")                    \
    X(EXCHANGES, "pgsteer_exchanges_total", "Query messages and extended-protocol batches answered")                   \
    X(TRANSACTIONS, "pgsteer_transactions_total", "Transactions finished, implicit ones included")                     \
    X(BYTES_FROM_CLIENTS, "pgsteer_client_received_bytes_total", "Bytes received from clients")                        \
    X(BYTES_TO_CLIENTS, "pgsteer_client_sent_bytes_total", "Bytes sent to clients")                                    \
    X(RERUNS, "pgsteer_reruns_total", "Reads run again elsewhere after a replica refused or failed them")              \
    X(SERVER_PARSES, "pgsteer_server_parses_total", "Statements prepared on a server because it lacked them")          \
    X(SETTINGS_REPLAYS, "pgsteer_settings_replays_total", "Times a server connection was given a client's settings")   \
    X(VERDICT_HITS, "pgsteer_verdict_cache_hits_total", "Verdicts found in the cache")                                 \
    X(VERDICT_MISSES, "pgsteer_verdict_cache_misses_total", "Statements classified by the parser")                     \
    X(CANCELS, "pgsteer_cancels_total", "Cancel requests passed on to a server")

// id, Prometheus name, help
#define STAT_GAUGES(X)                                                                                                 \
    X(CLIENTS, "pgsteer_clients", "Client connections now")                                                            \
    X(CLIENTS_PINNED, "pgsteer_clients_pinned", "Clients tied to their primary connection by session state")           \
    X(REPLICATION, "pgsteer_replication_connections",                                                                  \
      "Clients that replicate, each with a server connection of its own")

// Gauges too: the states of db_connection_pool_size. id, label.
#define STAT_POOL_STATES(X)                                                                                            \
    X(POOL_ACTIVE, "active")   /* server connections at work for a session */                                          \
    X(POOL_IDLE, "idle")       /* server connections nobody uses */                                                    \
    X(POOL_WAITING, "waiting") /* sessions waiting for a server connection */

// Errors the router itself raises or sees, by reason: id, label.
#define STAT_ERRORS(X)                                                                                                 \
    X(PROTOCOL, "protocol_violation")                                                                                  \
    X(AUTH, "authentication_failed")                                                                                   \
    X(LOGIN_TIMEOUT, "client_login_timeout")                                                                           \
    X(TOO_MANY_CLIENTS, "too_many_clients")                                                                            \
    X(WAIT_TIMEOUT, "query_wait_timeout")                                                                              \
    X(NO_PRIMARY, "no_primary")                                                                                        \
    X(NO_DATABASE, "no_such_database")                                                                                 \
    X(UNSUPPORTED, "unsupported")                                                                                      \
    X(LIMIT, "limit_exceeded")                                                                                         \
    X(SERVER_CONNECT, "server_connect_failed")                                                                         \
    X(SERVER_LOGIN, "server_login_failed")                                                                             \
    X(SERVER_LOST, "server_connection_lost")                                                                           \
    X(SERVER_PROTOCOL, "server_protocol_violation")                                                                    \
    X(CLIENT_LOST, "client_connection_lost")                                                                           \
    X(IDLE_TIMEOUT, "idle_timeout")                                                                                    \
    X(NO_DESCRIPTORS, "no_file_descriptors")                                                                           \
    X(SHUTDOWN, "shutting_down")

enum stat_counter {
#define X(id, name, help) STAT_##id,
    STAT_COUNTERS(X)
#undef X
        STAT_COUNTERS_COUNT
};
enum stat_gauge {
#define X(id, name, ...) STAT_GAUGE_##id,
    STAT_GAUGES(X) STAT_POOL_STATES(X)
#undef X
        STAT_GAUGES_COUNT
};
enum stat_error {
#define X(id, name) STAT_ERROR_##id,
    STAT_ERRORS(X)
#undef X
        STAT_ERRORS_COUNT
};

// Histograms of durations; the same bucket bounds for all, in microseconds. A bucket counts what is at most its bound
// and over the one before (cells are not cumulative); the last cell has no bound.
enum stat_histogram {
    STAT_HISTOGRAM_POOL_WAIT, // db_connection_pool_wait_time_seconds
    STAT_HISTOGRAM_READ,      // db_query_duration_seconds{query_type="read"}
    STAT_HISTOGRAM_WRITE,     // db_query_duration_seconds{query_type="write"}
    STAT_HISTOGRAMS_COUNT
};
#define STAT_BUCKETS_US                                                                                                \
    {                                                                                                                  \
        100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,       \
            10000000                                                                                                   \
    }
enum { STAT_BUCKETS = 17 };

enum { STAT_ROUTE_TARGETS = 2, STAT_ROUTE_REASONS_MAX = 64 }; // target 0 primary, 1 replica; reason: enum route_reason
enum { STAT_PINS_MAX = 16 };                                  // enum pin_index

typedef atomic_ullong stat_cell; // written by one thread

struct stats {
    stat_cell counters[STAT_COUNTERS_COUNT];
    atomic_llong gauges[STAT_GAUGES_COUNT];
    stat_cell errors[STAT_ERRORS_COUNT];
    stat_cell routed[STAT_ROUTE_TARGETS][STAT_ROUTE_REASONS_MAX];
    stat_cell pins[STAT_PINS_MAX];      // how often a client got it
    atomic_llong pinned[STAT_PINS_MAX]; // clients that have it now
    struct {
        stat_cell buckets[STAT_BUCKETS];
        stat_cell sum_us;
    } histograms[STAT_HISTOGRAMS_COUNT];
};

// One writer, so no read-modify-write instruction is needed.
static inline void stat_cell_add(stat_cell *c, unsigned long long n) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void stats_add(struct stats *s, enum stat_counter c, uint64_t n) { stat_cell_add(&s->counters[c], n); }
static inline void stats_gauge_add(struct stats *s, enum stat_gauge g, int n) {
    atomic_store_explicit(&s->gauges[g], atomic_load_explicit(&s->gauges[g], memory_order_relaxed) + n,
                          memory_order_relaxed);
}
// A client has got a pin (1) or has lost it (-1).
static inline void stats_pin(struct stats *s, unsigned pin, int n) {
    atomic_store_explicit(&s->pinned[pin], atomic_load_explicit(&s->pinned[pin], memory_order_relaxed) + n,
                          memory_order_relaxed);
    if (n > 0) stat_cell_add(&s->pins[pin], 1);
}
static inline void stats_error(struct stats *s, enum stat_error e) { stat_cell_add(&s->errors[e], 1); }
static inline void stats_routed(struct stats *s, bool replica, unsigned reason) {
    stat_cell_add(&s->routed[replica][reason], 1);
}
// Counts one duration. The owner's thread.
void stats_observe(struct stats *s, enum stat_histogram h, uint64_t us);

// Adds `from` to `to` cell by cell (control thread: `to` is its own). Both may be read by others meanwhile.
void stats_merge(struct stats *to, const struct stats *from);

#endif
