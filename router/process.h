// SPDX-License-Identifier: ISC
//
// router/process.h: the process itself: who it is, how many descriptors it may have.
#ifndef PGSTEER_ROUTER_PROCESS_H
#define PGSTEER_ROUTER_PROCESS_H

#include "config/config.h"

// Becomes the config's user (groups, gid, uid, and checks that there is no way back) when this is root; refuses to stay
// root. False and a fault on failure.
NODISCARD bool process_become_user(const struct config *c, struct fault *f);

// That, and lowers max core size to nothing, since memory holds secrets. Main thread, after binding, before any other
// thread. False and a fault on failure.
NODISCARD bool process_prepare(const struct config *c, struct fault *f);

// Raises the limit of file descriptors to what max_client_conn needs, as far as it may. Answers how many clients there
// can be at the most, so that enough descriptors are left for servers and probes. Any thread; not two at a time.
int process_make_room(const struct config *c);

#endif
