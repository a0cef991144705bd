// SPDX-License-Identifier: ISC
//
// router/session/user_count.h: how many clients each user has, in all workers together, for max_user_connections.
//
// A lock around a table: taken at a client's login and end, never per statement. Any thread.
#ifndef PGSTEER_ROUTER_SESSION_USER_COUNT_H
#define PGSTEER_ROUTER_SESSION_USER_COUNT_H

#include "base/base.h"

struct user_counts;

struct user_counts *user_counts_new(void);
void user_counts_free(struct user_counts *c);
// Counts one more client of `user`; false (and not counted) when that would be more than `limit` (0 = no limit).
NODISCARD bool user_counts_enter(struct user_counts *c, const char *user, int64_t limit);
void user_counts_leave(struct user_counts *c, const char *user);

#endif
