// SPDX-License-Identifier: ISC
//
// router/net/listen.h: listening sockets.
//
// Bound once, before privileges are dropped, on the main thread: for each address one socket per worker (SO_REUSEPORT
// lets the kernel spread connections), and one Unix socket that all workers share. A worker then watches its own.
#ifndef PGSTEER_ROUTER_NET_LISTEN_H
#define PGSTEER_ROUTER_NET_LISTEN_H

#include <uv.h>

#include "base/fault.h"
#include "config/config.h"

struct listen_set; // the bound sockets of all workers

// NULL and a fault (F0000, "listen_addr ...: Address already in use") on failure, with everything closed again. A
// listen_port of 0 takes any free port, one for each address. The Unix socket is
// unix_socket_dir/.s.PGSQL.<listen_port>, made with unix_socket_mode; a stale one (nobody answers) is replaced.
NODISCARD struct listen_set *listen_bind(const struct config *c, size_t n_workers, struct fault *f);
void listen_free(struct listen_set *l); // closes all and removes the Unix socket's file
// Bound addresses for the log, e.g. "127.0.0.1:6432, unix:/run/.s.PGSQL.6432". Owned by the set.
const char *listen_describe(const struct listen_set *l);

struct listeners; // one worker's watch

// `accepted` gets a non-blocking, close-on-exec socket that it owns. Without descriptors (EMFILE), a reserved one is
// used to accept and close the connection, so the loop does not spin; `shed` is called then, to count it. Either may
// call listeners_close. TCP connections come with TCP_NODELAY and keepalive. NULL only when the loop cannot watch a
// socket. On the loop's thread; `set` must stay until listeners_close.
NODISCARD struct listeners *listeners_start(uv_loop_t *loop, struct listen_set *set, size_t worker,
                                            void (*accepted)(void *arg, int fd), void (*shed)(void *arg), void *arg);
// After a worker's listeners_close: its sockets are closed, so that connections are refused and not left waiting; worker 0
// also takes the Unix socket away. On the worker's thread.
void listen_close_worker(struct listen_set *l, size_t worker);
// Stops accepting; the memory goes with the loop's close callbacks.
void listeners_close(struct listeners *all);

#endif
