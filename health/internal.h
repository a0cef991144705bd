// SPDX-License-Identifier: ISC
//
// health/internal.h: what the files of the watch share; nobody else includes it.
//
//   health.c   life and death, reload, reports from traffic
//   watch.c    when each server is probed, and what is done with what a probe saw
//   publish.c  the judgement over all servers, the topology made of it, and what is logged about it
//
// All of it runs on the control thread. Times are microseconds of uv_hrtime().
#ifndef PGSTEER_HEALTH_INTERNAL_H
#define PGSTEER_HEALTH_INTERNAL_H

#include "base/log.h"
#include "base/mailbox.h"
#include "health/catalog_probe.h"
#include "health/choose.h"
#include "health/fresh.h"
#include "health/health.h"
#include "health/judge.h"
#include "health/probe.h"
#include "health/resolve.h"

struct server {
    struct health *health;
    char *name, *host, *zone;
    int port, weight;
    enum server_role wanted_role;
    struct log_prefix prefix;
    struct node_live *live;

    struct probe *probe;
    struct resolve resolve;
    int64_t resolve_us;           // when the name was last looked up
    bool has_peer;                // it has answered, and not on a Unix socket
    struct sockaddr_storage peer; // the address that last answered

    // scheduling
    int64_t due_us;     // when the next probe begins, unless one is under way
    int64_t started_us; // when the last one began
    bool again;         // something happened during the probe: its answer may be from before
    bool renew;         // the next probe is to be on a new connection: whether one can be had is in doubt
    bool blind;         // the last probe could not even be tried, and that has been said
    int chases;         // extra probes since the primary's last sample

    // what is thought of it
    struct facts facts;
    struct fresh_answer freshness;
    bool distrusted;  // may have been restarted since its last answer: what it had replayed may not hold
    char detail[200]; // what the last failure said

    // what was last logged of it
    enum node_role logged_role;
    enum node_reason logged_reason;
    bool logged_critical;
};

struct health {
    uv_loop_t *loop;
    struct health_ops ops;
    struct config *config;
    struct judge_limits limits;
    const char *user, *password; // of the monitor; borrowed from the config

    struct mailbox mailbox;
    atomic_int reports; // posted and not yet delivered
    uv_timer_t tick;
    struct catalog_probe *catalogs;
    size_t n_servers;
    struct server **servers;

    struct fresh *fresh;
    struct server *sampled;  // whose samples these are; NULL = nobody's that is still here
    uint64_t sampled_system; // and of which cluster
    struct cluster cluster;
    bool fast;             // somebody waits for freshness
    int64_t fast_until_us; // ... or is likely to
    int64_t started_us;
    int64_t settled_us; // when every server had been seen once: what is missing now is really missing; 0 = not yet

    struct topology *topology; // the latest one
    bool logged_no_primary, logged_two_primaries, logged_no_replica;
    char *logged_primary; // name, NULL = none yet

    size_t handles; // what must still be freed by the loop
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static inline int64_t health_now(void) { return (int64_t)(uv_hrtime() / 1000); }

// watch.c
NODISCARD struct server *server_new(struct health *h, const struct server_config *config);
void server_free(struct server *s);                                         // freed a turn of the loop later
bool server_is(const struct server *s, const struct server_config *config); // same name and address
void server_configure(struct server *s, const struct server_config *config);
// Drops the connection and probes anew: how to connect has changed.
void server_reconnect(struct server *s);
// Something happened there, as far as traffic or the probe's connection can tell: it is probed soon.
enum doubt {
    DOUBT_RESTARTED = 1, // it may have been restarted, and know less than before
    DOUBT_CONNECT = 2    // it may refuse new connections, while it serves those that there are
};
void server_hurry(struct server *s, unsigned doubts);
void watch_tick(struct health *h);
// Starts the timer for what is due next.
void watch_schedule(struct health *h);
bool watch_target_primary(void *health, struct dbconn_target *target); // for the catalogs

// publish.c
// Judges all servers anew; `s` (may be NULL) has just answered with `sighting`. Publishes what differs.
void publish_evaluate(struct health *h, struct server *s, const struct sighting *sighting);
// Publishes the present state, whether or not it differs.
void publish_always(struct health *h);

// health.c
void health_handle_freed(struct health *h);

#endif
