// SPDX-License-Identifier: ISC
//
// router/session/quota.h: how many server connections a (server, database, user) may have in all workers together.
//
// The one mutable thing that workers share on their way to a connection, and it is atomics only: a count against a
// limit, and per worker how many it has and whether it wants one. Taking and giving back happens when a connection is
// opened or closed, never per statement. Fairness: a worker that wants one and has at least two fewer than another (or
// none at all) is handed one over when the other has one to spare, so the split settles and stays.
#ifndef PGSTEER_ROUTER_SESSION_QUOTA_H
#define PGSTEER_ROUTER_SESSION_QUOTA_H

#include "base/base.h"

enum { QUOTA_WORKERS_MAX = 64 };

struct quota; // all budgets of the process

struct budget; // one (server, database, user)

struct quota *quota_new(size_t n_workers); // 1..QUOTA_WORKERS_MAX
size_t quota_workers(const struct quota *q);
void quota_free(struct quota *q); // no budget may be in use any more

// The budget of that name, made at first use with no room; counted. Both take a lock: call them when a pool is made and
// dropped, not per statement. Any thread.
struct budget *quota_budget(struct quota *q, const char *server, const char *database, const char *user);
void quota_release(struct quota *q, struct budget *b);
// From the config, at every reload. The reserve is on top of the size, for tickets that waited reserve_pool_timeout.
// What is over a lower limit stays until it is given back.
void budget_set_limit(struct budget *b, int size, int reserve);

// Takes one for `worker`: one handed over to it, else one that is free; false when the limit is reached. On the
// worker's own thread, as all below that name it.
NODISCARD bool budget_take(struct budget *b, size_t worker, bool from_reserve);
void budget_give(struct budget *b, size_t worker);
// Says that `worker` has clients waiting and found no budget (or no longer). To miss nothing: say it, then try once
// more.
void budget_want(struct budget *b, size_t worker, bool wanting);
// True when `worker` should give one up for another that wants one and has fewer; `*who` is that worker. One load when
// nobody wants any.
bool budget_should_yield(const struct budget *b, size_t worker, size_t *who);
// True when `holder` would have to yield to `worker`: worth asking.
bool budget_should_ask(const struct budget *b, size_t worker, size_t holder);
// Gives one of `from`'s to `to`, which takes it with budget_take: nobody can be faster.
void budget_hand_over(struct budget *b, size_t from, size_t to);
// What was handed over to `worker` and is not needed any more is free again; true when there was any.
bool budget_decline(struct budget *b, size_t worker);
// Somebody else who wants one, whatever the split is: worth a nudge when there is room.
bool budget_someone_wants(const struct budget *b, size_t worker, size_t *who);
// budget_take without the reserve would succeed, as far as can be said: others take and give meanwhile.
bool budget_has_room(const struct budget *b, size_t worker);
int budget_used(const struct budget *b);
// More are in use than the size: the reserve, or a limit that was lowered.
bool budget_is_over(const struct budget *b);
// More than the reserve allows, too: a limit that was lowered.
bool budget_is_over_reserve(const struct budget *b);

#endif
