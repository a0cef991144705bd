// SPDX-License-Identifier: ISC
//
// health/resolve.h: a server's host name to its addresses, again and again.
//
// Resolves on libuv's thread pool, so the loop never waits for a name server. Keeps the last good addresses: a name
// that stops resolving, or a resolver that hangs, changes nothing. Numeric addresses and Unix sockets need no look-up.
// The same set of addresses in another order counts as no change; in others, the one that answered last stays in front
// if it is among them.
#ifndef PGSTEER_HEALTH_RESOLVE_H
#define PGSTEER_HEALTH_RESOLVE_H

#include <sys/socket.h>
#include <uv.h>

#include "base/base.h"
#include "health/topology.h"

struct resolve_query;

struct resolve {
    // read-only for others
    size_t n_addresses; // 0 = none known yet
    struct sockaddr_storage addresses[NODE_ADDRESSES_MAX];
    socklen_t address_lens[NODE_ADDRESSES_MAX];
    char error[120]; // of the last look-up; "" when it succeeded
    // private
    uv_loop_t *loop;
    char *host;
    int port;
    struct resolve_query *pending;
    void (*done)(void *owner, bool changed);
    void *owner;
};

// `done` is called from the loop after each look-up, whatever came of it, and told whether the addresses are others
// now. A numeric address or a socket directory (leading '/') is known on return.
void resolve_init(struct resolve *r, uv_loop_t *loop, const char *host, int port,
                  void (*done)(void *owner, bool changed), void *owner);
// Looks the name up, unless a look-up is under way or none is needed.
void resolve_start(struct resolve *r);
bool resolve_is_pending(const struct resolve *r);
// No `done` comes any more. A look-up that hangs is left to end by itself: until then the loop has a request.
void resolve_fini(struct resolve *r);
bool resolve_holds(const struct resolve *r, const struct sockaddr_storage *address); // ports do not count
// Moves the address of this host (ports do not count) to the front. True when it was elsewhere.
bool resolve_prefer(struct resolve *r, const struct sockaddr_storage *address);

#endif
