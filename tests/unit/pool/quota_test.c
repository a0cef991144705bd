// SPDX-License-Identifier: ISC
//
// tests/unit/pool/quota_test.c: router/session/quota.c, alone and with threads.
//
// The threads do what workers do: take, want, yield, hand over, give. Whatever the order, no more than the limit are
// ever out, nothing is lost in the end, and a worker that wants one gets one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <uv.h>

#include "router/session/quota.h"

static struct quota *q;
static struct budget *b;

static void start(size_t workers, int size, int reserve) {
    q = quota_new(workers);
    b = quota_budget(q, "pg1", "app", "web");
    budget_set_limit(b, size, reserve);
}
static void stop(void) {
    assert_int_equal(budget_used(b), 0);
    quota_release(q, b);
    quota_free(q);
}

static void one_budget_per_name(void **state) {
    (void)state;
    start(2, 1, 0);
    struct budget *same = quota_budget(q, "pg1", "app", "web"), *other = quota_budget(q, "pg1", "app", "batch");
    assert_ptr_equal(same, b);
    assert_ptr_not_equal(other, b);
    assert_false(budget_take(other, 0, true)); // no room before a limit is set
    quota_release(q, same);
    quota_release(q, other);
    assert_true(budget_take(b, 0, false));
    budget_give(b, 0);
    stop();
}

static void the_limit_holds_and_the_reserve_is_on_top(void **state) {
    (void)state;
    start(2, 2, 1);
    assert_true(budget_take(b, 0, false));
    assert_true(budget_take(b, 1, false));
    assert_false(budget_take(b, 0, false));
    assert_false(budget_is_over(b));
    assert_true(budget_take(b, 0, true));
    assert_false(budget_take(b, 0, true));
    assert_int_equal(budget_used(b), 3);
    assert_true(budget_is_over(b));
    assert_false(budget_is_over_reserve(b));
    budget_give(b, 0);
    assert_false(budget_take(b, 1, false));
    // A lower limit takes nothing away.
    budget_set_limit(b, 1, 0);
    assert_int_equal(budget_used(b), 2);
    assert_true(budget_is_over(b));
    assert_true(budget_is_over_reserve(b));
    budget_give(b, 0);
    assert_false(budget_is_over_reserve(b));
    assert_false(budget_take(b, 0, false));
    budget_give(b, 1);
    assert_true(budget_take(b, 0, false));
    budget_give(b, 0);
    stop();
}

static void who_has_more_yields_until_it_is_even(void **state) {
    (void)state;
    start(3, 6, 0);
    size_t who = 99;
    for (int i = 0; i < 6; i++) assert_true(budget_take(b, 0, false));
    assert_false(budget_should_yield(b, 0, &who)); // nobody wants any
    assert_false(budget_someone_wants(b, 0, &who));
    budget_want(b, 1, true);
    budget_want(b, 1, true); // counted once
    assert_true(budget_should_ask(b, 1, 0));
    assert_false(budget_should_ask(b, 1, 2));
    assert_true(budget_someone_wants(b, 0, &who));
    assert_false(budget_someone_wants(b, 1, &who)); // not oneself
    for (int i = 0; i < 3; i++) {
        assert_true(budget_should_yield(b, 0, &who));
        assert_int_equal(who, 1);
        budget_hand_over(b, 0, 1);
        assert_false(budget_take(b, 2, false)); // nobody else can have it
        assert_true(budget_take(b, 1, false));
    }
    assert_false(budget_should_yield(b, 0, &who)); // three and three
    budget_give(b, 1);
    assert_false(budget_should_yield(b, 0, &who)); // one more is no reason: it would only turn the tables
    assert_true(budget_take(b, 1, false));
    // The one with the least comes first.
    budget_want(b, 2, true);
    assert_true(budget_should_yield(b, 0, &who));
    assert_int_equal(who, 2);
    assert_true(budget_should_yield(b, 1, &who));
    budget_hand_over(b, 1, 2);
    assert_false(budget_should_yield(b, 0, &who) && who == 1);
    budget_want(b, 1, false);
    budget_want(b, 2, false);
    assert_true(budget_decline(b, 2));
    assert_false(budget_decline(b, 2));
    for (int i = 0; i < 3; i++) budget_give(b, 0);
    for (int i = 0; i < 2; i++) budget_give(b, 1);
    stop();
}

static void the_last_one_goes_to_whoever_has_none(void **state) {
    (void)state;
    start(2, 1, 0);
    size_t who = 99;
    assert_true(budget_take(b, 1, false));
    budget_want(b, 0, true);
    assert_true(budget_should_yield(b, 1, &who));
    assert_int_equal(who, 0);
    budget_hand_over(b, 1, 0);
    assert_false(budget_should_yield(b, 1, &who));
    assert_false(budget_take(b, 1, false));
    assert_true(budget_take(b, 0, false));
    budget_want(b, 0, false);
    budget_give(b, 0);
    stop();
}

// ---- threads

enum { WORKERS = 4, LIMIT = 3, ROUNDS = 5000, TAKES = 500 };

static atomic_int out, most;
static atomic_int running;

struct worker_thread {
    uv_thread_t thread;
    size_t index;
    int has;
    unsigned seed, got;
};

static unsigned dice(struct worker_thread *w) { return (w->seed = w->seed * 1103515245u + 12345u) >> 16; }

static void note_taken(struct worker_thread *w) {
    w->has++;
    w->got++;
    int now = atomic_fetch_add(&out, 1) + 1, before = atomic_load(&most);
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) continue;
}

static void give_one(struct worker_thread *w) {
    size_t who;
    w->has--;
    atomic_fetch_sub(&out, 1);
    if (budget_should_yield(b, w->index, &who))
        budget_hand_over(b, w->index, who);
    else
        budget_give(b, w->index);
}

static void work(void *arg) {
    struct worker_thread *w = arg;
    // Whoever holds the others' connections may not be running just now, so it goes on until it has had its share.
    for (int round = 0; round < ROUNDS || w->got < TAKES; round++) {
        if (round % 16 == 0) sched_yield();
        unsigned n = dice(w) % 4;
        if (n < 2) {
            if (budget_take(b, w->index, false)) {
                note_taken(w);
                budget_want(b, w->index, false);
            } else {
                budget_want(b, w->index, true);
                if (budget_take(b, w->index, false)) {
                    note_taken(w);
                    budget_want(b, w->index, false);
                }
            }
        } else if (w->has) {
            give_one(w);
        }
        if (n == 3) budget_set_limit(b, LIMIT, 0);
        if (round % 64 == 0) quota_release(q, quota_budget(q, "pg1", "app", "web"));
    }
    budget_want(b, w->index, false);
    while (w->has) give_one(w);
    atomic_fetch_sub(&running, 1);
    // Somebody may still hand one over to us.
    while (atomic_load(&running) > 0) budget_decline(b, w->index);
    budget_decline(b, w->index);
}

static void threads_never_pass_the_limit_and_lose_nothing(void **state) {
    (void)state;
    start(WORKERS, LIMIT, 0);
    struct worker_thread w[WORKERS];
    atomic_store(&running, WORKERS);
    for (size_t i = 0; i < WORKERS; i++) {
        w[i] = (struct worker_thread){.index = i, .seed = (unsigned)(i + 1) * 7919};
        assert_int_equal(uv_thread_create(&w[i].thread, work, &w[i]), 0);
    }
    for (size_t i = 0; i < WORKERS; i++) uv_thread_join(&w[i].thread);
    assert_in_range(atomic_load(&most), 1, LIMIT);
    assert_int_equal(atomic_load(&out), 0);
    stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_budget_per_name),
        cmocka_unit_test(the_limit_holds_and_the_reserve_is_on_top),
        cmocka_unit_test(who_has_more_yields_until_it_is_even),
        cmocka_unit_test(the_last_one_goes_to_whoever_has_none),
        cmocka_unit_test(threads_never_pass_the_limit_and_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
