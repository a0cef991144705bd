// SPDX-License-Identifier: ISC
//
// router/session/pid.h: what a client is told as the id of its server process.
//
// That of its anchor (router/session/pool.h), or a number made up that is no process's: Linux has none above 2^22, and
// these have bit 30. Below it is the worker, so that a CancelRequest finds it, and a random rest.
#ifndef PGSTEER_ROUTER_SESSION_PID_H
#define PGSTEER_ROUTER_SESSION_PID_H

#include "base/base.h"

enum { PID_MADE_UP = 1 << 30, PID_WORKER_SHIFT = 24 };

static inline uint32_t pid_make_up(size_t worker, uint32_t random) {
    return PID_MADE_UP | (uint32_t)worker << PID_WORKER_SHIFT | (random & ((1u << PID_WORKER_SHIFT) - 1));
}

// Whether a client of this worker may have been told it.
static inline bool pid_may_be_of(uint32_t pid, size_t worker) {
    return !(pid & PID_MADE_UP) || (pid & ~(uint32_t)PID_MADE_UP) >> PID_WORKER_SHIFT == worker;
}

#endif
