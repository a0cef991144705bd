// SPDX-License-Identifier: ISC
//
// router/session/parameters.h: what a server said of its parameters.
//
// A buf of name NUL value NUL ..., one entry per name, in the order of arrival; bounded by the buf's limit. Pure.
#ifndef PGSTEER_ROUTER_SESSION_PARAMETERS_H
#define PGSTEER_ROUTER_SESSION_PARAMETERS_H

#include "base/buf.h"

enum { PARAMETERS_MAX = 64 * 1024 };

// Neither may hold a NUL. False when there is no room; the buf is as it was, but for an older value of that name.
NODISCARD bool parameters_set(struct buf *b, struct span name, struct span value);
// NULL when the name is not there; good until the next set.
const char *parameters_get(const struct buf *b, const char *name);

#endif
