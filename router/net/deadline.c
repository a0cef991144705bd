// SPDX-License-Identifier: ISC
// router/net/deadline.c: see router/net/deadline.h.
//
// A program has few lengths of timeouts, so each length gets a queue: what is set last ends last, and the queue is in
// order without any sorting. Queues that are empty at a tick go.
#include "router/net/deadline.h"

#include "base/mem.h"

struct deadline_queue {
    struct ilist waiting; // in the order in which they end
    int64_t after_ms;
    struct deadline_queue *next;
};

struct deadlines {
    uv_timer_t timer;
    struct deadline_queue *queues;
    void (*tick)(void *arg);
    void *arg;
    bool closing;
};

static uint64_t deadlines_now(const struct deadlines *ds) { return uv_now(ds->timer.loop); }

static void queue_fire_due(struct deadlines *ds, struct deadline_queue *q) {
    // Whoever sets a deadline again from inside `fire` ends later than now, so this ends.
    for (struct ilink *n; !ds->closing && (n = ilist_first(&q->waiting));) {
        struct deadline *d = container_of(n, struct deadline, link);
        if (d->at_ms > deadlines_now(ds)) return;
        deadline_clear(d);
        d->fire(d);
    }
}

static void queues_drop_empty(struct deadlines *ds) {
    for (struct deadline_queue **at = &ds->queues, *q; (q = *at);) {
        if (!ilist_empty(&q->waiting)) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        mem_free(q);
    }
}

static void on_timer(uv_timer_t *timer) {
    struct deadlines *ds = container_of(timer, struct deadlines, timer);
    // A queue that a callback adds stands in front of the ones walked here; nothing in it is due yet.
    for (struct deadline_queue *q = ds->queues; q; q = q->next) queue_fire_due(ds, q);
    if (ds->closing) return;
    queues_drop_empty(ds);
    if (ds->tick) ds->tick(ds->arg);
}

static void on_closed(uv_handle_t *handle) {
    struct deadlines *ds = container_of(handle, struct deadlines, timer);
    queues_drop_empty(ds);
    mem_free(ds);
}

struct deadlines *deadlines_new(uv_loop_t *loop) {
    struct deadlines *ds = mem_new(struct deadlines);
    bug_unless(uv_timer_init(loop, &ds->timer) == 0);
    bug_unless(uv_timer_start(&ds->timer, on_timer, DEADLINE_TICK_MS, DEADLINE_TICK_MS) == 0);
    return ds;
}

void deadlines_close(struct deadlines *ds) {
    ds->closing = true;
    for (struct deadline_queue *q = ds->queues; q; q = q->next) {
        ILIST_EACH(&q->waiting, n) deadline_clear(container_of(n, struct deadline, link));
    }
    uv_close((uv_handle_t *)&ds->timer, on_closed);
}

static struct deadline_queue *queue_of(struct deadlines *ds, int64_t after_ms) {
    for (struct deadline_queue *q = ds->queues; q; q = q->next)
        if (q->after_ms == after_ms) return q;
    struct deadline_queue *q = mem_new(struct deadline_queue);
    ilist_init(&q->waiting);
    q->after_ms = after_ms;
    q->next = ds->queues;
    ds->queues = q;
    return q;
}

void deadline_set(struct deadlines *ds, struct deadline *d, int64_t after_ms, void (*fire)(struct deadline *d)) {
    struct deadline_queue *q = d->queue; // most are set again with the length they had
    deadline_clear(d);
    if (after_ms <= 0) return;
    bug_unless(!ds->closing);
    if (!q || q->after_ms != after_ms) q = queue_of(ds, after_ms);
    d->at_ms = deadlines_now(ds) + (uint64_t)after_ms;
    d->fire = fire;
    d->queue = q;
    ilist_push_back(&q->waiting, &d->link);
}

void deadline_clear(struct deadline *d) {
    if (!d->queue) return;
    ilist_remove(&d->queue->waiting, &d->link);
    d->queue = NULL;
}

void deadlines_on_tick(struct deadlines *ds, void (*tick)(void *arg), void *arg) {
    ds->tick = tick;
    ds->arg = arg;
}
