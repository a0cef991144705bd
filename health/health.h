// SPDX-License-Identifier: ISC
//
// health/health.h: the watch over the servers; runs on the control thread's loop.
//
// Probes every server, judges what it saw, keeps each replica's fresh_until, and publishes a topology when something
// that routing looks at has changed. Reports from traffic trigger a probe at once. Also reads each used database's
// catalog from the primary. Knows nothing of workers: what it has to say goes through the ops.
#ifndef PGSTEER_HEALTH_HEALTH_H
#define PGSTEER_HEALTH_HEALTH_H

#include <uv.h>

#include "config/config.h"
#include "health/topology.h"
#include "parser/catalog.h"

struct health;

struct health_ops {
    // A new topology; the receiver takes its own reference.
    void (*publish)(void *arg, struct topology *t);
    // A database's catalog was read and differs from the last one, or health_watch_database was called for it once
    // more; the receiver takes its own reference.
    void (*catalog)(void *arg, struct catalog *c);
    // A database whose catalog is wanted does not exist.
    void (*missing)(void *arg, const char *database);
    void *arg;
};

// What traffic saw of a server.
enum evidence {
    EVIDENCE_REFUSED,     // connection refused, reset or not possible
    EVIDENCE_TIMEOUT,     // connect or login took too long
    EVIDENCE_SHUTDOWN,    // 57P01, 57P02, 57P03
    EVIDENCE_READ_ONLY,   // 25006 from what was thought the primary
    EVIDENCE_ROLE_CHANGE, // in_hot_standby reported the other value
    EVIDENCE_CLOSED       // closed in the middle of something
};

// Control thread, all of these but health_report. The config is referenced. The first topology (nothing known yet) is
// published before health_start returns; NULL when the loop cannot be had for it.
NODISCARD struct health *health_start(uv_loop_t *loop, struct config *config, const struct health_ops *ops);
// Servers added, removed and altered; unchanged ones keep their state. Publishes.
void health_reload(struct health *h, struct config *config);
// Closes everything; the loop must run until `closed` is called, after which the memory is gone and no thread may
// report any more. A look-up that hangs in the resolver keeps a request in the loop, and `closed` does not wait for it.
void health_stop(struct health *h, void (*closed)(void *arg), void *arg);
// A database is in use, by the name the servers know it by: its catalog is wanted. When it is there already, it is
// handed to ops->catalog again at once: call it for every worker that begins to use the database.
void health_watch_database(struct health *h, const char *database);
// ... and this for every worker that has ended to use it.
void health_unwatch_database(struct health *h, const char *database);
// The database's schema may have changed (DDL passed by): read its catalog again soon, and twice more within seconds.
void health_refresh_database(struct health *h, const char *database);
// Any thread. `node_name` is copied.
void health_report(struct health *h, const char *node_name, enum evidence e);

struct topology *health_topology(struct health *h); // the current one, borrowed; control thread

#endif
