// SPDX-License-Identifier: ISC
//
// router/session/quota.h: how many server connections a (server, database, user) may have in all workers together.
//
// The one mutable thing that workers share on their way to a connection, and it is atomics only: a count against a limit,
// and per worker how many it has and whether it wants one. Taking and giving back happens when a connection is opened or
// closed, never per statement. Fairness: a worker that has less than its share (limit / workers that have or want) may ask; one
// that has more than its share gives up a connection the next time one becomes idle, so the split settles and stays.
#ifndef PGSTEER_ROUTER_SESSION_QUOTA_H
#define PGSTEER_ROUTER_SESSION_QUOTA_H

#include "base/base.h"

enum { QUOTA_WORKERS_MAX = 64 };

struct quota; // all budgets of the process

struct budget; // one (server, database, user)

struct quota *quota_new(size_t n_workers);
void quota_free(struct quota *q);

// The budget of that name, made at first use; lives as long as the quota. Takes a lock: call when a pool is made, not per
// statement. Any thread.
struct budget *quota_budget(struct quota *q, const char *server, const char *database, const char *user);
// From the config, at every reload. The reserve is on top of the size, for tickets that waited reserve_pool_timeout.
void budget_set_limit(struct budget *b, int size, int reserve);

// Takes one for `worker`; false when the limit is reached. Any thread, as all below.
NODISCARD bool budget_take(struct budget *b, size_t worker, bool from_reserve);
void budget_give(struct budget *b, size_t worker);
// Says that `worker` has clients waiting and found no budget (or no longer).
void budget_want(struct budget *b, size_t worker, bool wanting);
// True when `worker` has more than its share while another that wants one has less than its own; `*who` is that worker.
bool budget_should_yield(const struct budget *b, size_t worker, size_t *who);
int budget_used(const struct budget *b);

#endif
