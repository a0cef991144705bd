// SPDX-License-Identifier: ISC
//
// base/fault.h: what went wrong, as a value.
//
// Lower layers fill a fault and return false; they neither log nor answer anybody. The one place that owns the
// connection decides what the peer is told and logs once. Lives on the caller's stack, owns nothing.
#ifndef PGSTEER_BASE_FAULT_H
#define PGSTEER_BASE_FAULT_H

#include "base/base.h"

struct fault {
    char sqlstate[6];  // five characters of PostgreSQL's errcodes.txt, "" when none applies
    char text[400];    // a sentence without a full stop, in the style of PostgreSQL's primary messages
    char hint[200];    // "" when there is none
};

// Fills `f` and answers false, so that a failing function can end with `return fault_set(...)`. `f` may be NULL.
bool fault_set(struct fault *f, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(3, 4);
// Adds the hint to a filled fault.
void fault_hint(struct fault *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
