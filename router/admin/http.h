// SPDX-License-Identifier: ISC
//
// router/admin/http.h: the HTTP port: health checks and metrics.
//
// libmicrohttpd parses and writes HTTP (http.c is its only user); it runs inside the loop that is given, by its epoll
// descriptor, and starts no thread. What is answered is decided in endpoints.c. Bounded: 64 connections, 8 KiB of
// header, no bodies, and five seconds from a connection's start (or its last answer) to a whole request: one when all
// places or all file descriptors are taken. Never blocks; costs nothing while nobody asks.
#ifndef PGSTEER_ROUTER_ADMIN_HTTP_H
#define PGSTEER_ROUTER_ADMIN_HTTP_H

#include <uv.h>

#include "base/fault.h"
#include "config/config.h"
#include "health/topology.h"
#include "router/stats.h"

struct http;

// Where the answers come from. All are called on the loop's thread, from inside a request; what they answer is borrowed
// until they return to the loop.
struct http_source {
    const struct topology *(*topology)(void *arg);    // NULL: none published yet
    const struct config *(*config)(void *arg);        // the one in force
    void (*gather)(void *arg, struct stats *out);     // adds every worker's counts to `out` (stats_merge)
    bool (*started)(void *arg);                       // clients are accepted
    bool (*draining)(void *arg);                      // the router is shutting down
    const char *(*route_reason_str)(unsigned reason); // NULL past the last reason
    const char *(*pin_str)(unsigned pin);             // NULL past the last pin
    void *arg;
};

// Binds http_addr and http_port; before privileges are dropped. With http_addr = "" there is nothing to bind and the
// other functions do nothing. NULL and a fault ("http_addr 127.0.0.1:8432: Address already in use") when it cannot. A
// name is looked up, which may block: call it before the loop runs.
NODISCARD struct http *http_bind(const struct config *c, struct fault *f);
// What is bound, for the log: "127.0.0.1:8432"; "" when off. Owned by `h`.
const char *http_describe(const struct http *h);
// Answers from now on, on this loop. `source` is copied. On failure call http_stop.
NODISCARD bool http_start(struct http *h, uv_loop_t *loop, const struct http_source *source, struct fault *f);
// Closes everything; `closed` (may be NULL) is called when the memory is gone: at once if it was never started, else by
// the loop.
void http_stop(struct http *h, void (*closed)(void *arg), void *arg);

#endif
