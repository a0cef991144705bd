// SPDX-License-Identifier: ISC
//
// router/admin/acceptor.h: the listening sockets of the HTTP port.
//
// Bound early (a port below 1024 needs the privileges that are dropped later), watched once there is a loop. Holds one
// file descriptor in reserve, so that health checks and metrics are still served when clients have used up all the
// others. Whoever takes the connections pauses it when there are enough. Control thread.
#ifndef PGSTEER_ROUTER_ADMIN_ACCEPTOR_H
#define PGSTEER_ROUTER_ADMIN_ACCEPTOR_H

#include <sys/socket.h>
#include <uv.h>

#include "base/fault.h"

struct acceptor;

// Binds `address` (an IPv4 or IPv6 address, the latter also in brackets, a host name, or "*" for every address of the
// machine) and listens; a name is looked up here, which may block, and every address that it has is bound. Port 0 lets
// the kernel choose. NULL and a fault without the option's name ("127.0.0.1:8432: Address already in use") when it
// cannot.
NODISCARD struct acceptor *acceptor_bind(const char *address, int64_t port, struct fault *f);
// "127.0.0.1:8432", comma-separated when there are several; owned by the acceptor.
const char *acceptor_describe(const struct acceptor *a);

// `accepted` gets a non-blocking, close-on-exec socket that it owns.
NODISCARD bool acceptor_start(struct acceptor *a, uv_loop_t *loop,
                              void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len),
                              void *arg, struct fault *f);
// While paused nothing is accepted: who connects waits in the kernel's queue. Both are idempotent.
void acceptor_pause(struct acceptor *a);
void acceptor_resume(struct acceptor *a);
// Takes a descriptor in reserve unless there is one; false when there is none to be had.
bool acceptor_reserve(struct acceptor *a);

// Closes the sockets; `closed` (may be NULL) is called when the memory is gone: at once if it was never started, else
// by the loop.
void acceptor_close(struct acceptor *a, void (*closed)(void *arg), void *arg);

#endif
