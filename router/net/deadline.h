// SPDX-License-Identifier: ISC
//
// router/net/deadline.h: many timeouts, one timer.
//
// A worker has one deadlines object and one uv timer, its coarse tick. Timeouts of the same length stand in one queue
// in the order in which they end, so setting and clearing one is O(1) and touches no timer. Good to one tick (100 ms).
// Fired in the order of their moments within a queue. Lengths should be few: options, not computed numbers. Single
// thread.
#ifndef PGSTEER_ROUTER_NET_DEADLINE_H
#define PGSTEER_ROUTER_NET_DEADLINE_H

#include <uv.h>

#include "base/ilist.h"

struct deadlines;

struct deadline {
    // private
    struct ilink link;
    struct deadline_queue *queue;
    uint64_t at_ms;
    void (*fire)(struct deadline *d);
};

enum { DEADLINE_TICK_MS = 100 };

struct deadlines *deadlines_new(uv_loop_t *loop);
// Clears all that are still set, without firing them; none may be set any more. The memory goes when the loop has run
// its close callbacks.
void deadlines_close(struct deadlines *ds);

static inline void deadline_init(struct deadline *d) {
    ilink_init(&d->link);
    d->queue = NULL;
}
// (Re)starts `d`: `fire` is called once, `after_ms` from now (the loop's time), unless cleared; from inside `fire`, `d`
// may be set again or freed. 0 = never: clears it.
void deadline_set(struct deadlines *ds, struct deadline *d, int64_t after_ms, void (*fire)(struct deadline *d));
void deadline_clear(struct deadline *d);
static inline bool deadline_is_set(const struct deadline *d) { return d->queue != NULL; }
// `tick` is called at every tick, after the due ones have fired, for slow housekeeping; one at a time, NULL = none.
void deadlines_on_tick(struct deadlines *ds, void (*tick)(void *arg), void *arg);

#endif
