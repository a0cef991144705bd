// SPDX-License-Identifier: ISC
//
// tests/unit/net/deadline_test.c: router/net/deadline.c on a real loop.
#include "tests/unit/net/net_util.h"

#include "router/net/deadline.h"

static struct test_loop loop;
static struct deadlines *ds;

struct item {
    struct deadline d;
    int fired, order;
    uint64_t at_ms;
    void (*then)(struct item *i);
};
static int order;

static int set_up(void **state) {
    (void)state;
    test_loop_init(&loop);
    ds = deadlines_new(&loop.loop);
    order = 0;
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    if (ds) deadlines_close(ds);
    ds = NULL;
    test_loop_fini(&loop);
    return 0;
}

static void on_fire(struct deadline *d) {
    struct item *i = container_of(d, struct item, d);
    i->fired++;
    i->order = ++order;
    i->at_ms = uv_now(&loop.loop);
    if (i->then) i->then(i);
}
static void item_init(struct item *i) {
    *i = (struct item){.fired = 0};
    deadline_init(&i->d);
}

static void fires_once_and_not_early(void **state) {
    (void)state;
    struct item i;
    item_init(&i);
    uint64_t start = uv_now(&loop.loop);
    deadline_set(ds, &i.d, 150, on_fire);
    assert_true(deadline_is_set(&i.d));
    RUN_UNTIL(&loop, i.fired);
    assert_false(deadline_is_set(&i.d));
    assert_in_range(i.at_ms - start, 150, 150 + 2 * DEADLINE_TICK_MS + 50);
    struct item later;
    item_init(&later);
    deadline_set(ds, &later.d, 250, on_fire);
    RUN_UNTIL(&loop, later.fired);
    assert_int_equal(i.fired, 1);
}

static void within_a_length_they_fire_in_order_and_cleared_ones_do_not(void **state) {
    (void)state;
    struct item i[5];
    for (size_t n = 0; n < countof(i); n++) {
        item_init(&i[n]);
        deadline_set(ds, &i[n].d, 120, on_fire);
    }
    deadline_clear(&i[1].d);
    deadline_clear(&i[1].d);
    deadline_set(ds, &i[0].d, 120, on_fire); // again: now it is the last
    deadline_set(ds, &i[3].d, 0, on_fire);   // 0 = never
    assert_false(deadline_is_set(&i[3].d));
    RUN_UNTIL(&loop, i[0].fired);
    assert_int_equal(i[2].order, 1);
    assert_int_equal(i[4].order, 2);
    assert_int_equal(i[0].order, 3);
    assert_int_equal(i[1].fired + i[3].fired, 0);
}

static void lengths_do_not_disturb_each_other(void **state) {
    (void)state;
    struct item far, near;
    item_init(&far);
    item_init(&near);
    deadline_set(ds, &far.d, INT64_MAX, on_fire);
    deadline_set(ds, &near.d, 1, on_fire);
    RUN_UNTIL(&loop, near.fired);
    assert_int_equal(far.fired, 0);
    deadline_set(ds, &far.d, 1, on_fire);
    RUN_UNTIL(&loop, far.fired);
    assert_int_equal(far.fired, 1);
}

static void set_again(struct item *i) {
    if (i->fired < 3) deadline_set(ds, &i->d, i->fired == 1 ? 1 : 30, on_fire);
}

static void a_callback_may_set_its_own_again(void **state) {
    (void)state;
    struct item i;
    item_init(&i);
    i.then = set_again;
    deadline_set(ds, &i.d, 1, on_fire);
    RUN_UNTIL(&loop, i.fired == 3);
}

static struct item *victim;
static void clear_victim(struct item *i) {
    (void)i;
    deadline_clear(&victim->d);
}

static void a_callback_may_clear_the_next(void **state) {
    (void)state;
    struct item a, b, end;
    item_init(&a);
    item_init(&b);
    item_init(&end);
    victim = &b;
    a.then = clear_victim;
    deadline_set(ds, &a.d, 50, on_fire);
    deadline_set(ds, &b.d, 50, on_fire);
    deadline_set(ds, &end.d, 50, on_fire);
    RUN_UNTIL(&loop, end.fired);
    assert_int_equal(b.fired, 0);
}

static void close_all(struct item *i) {
    (void)i;
    deadlines_close(ds);
    ds = NULL;
}

static void a_callback_may_close_everything(void **state) {
    (void)state;
    struct item a, b;
    item_init(&a);
    item_init(&b);
    a.then = close_all;
    deadline_set(ds, &a.d, 1, on_fire);
    deadline_set(ds, &b.d, 1, on_fire);
    RUN_UNTIL(&loop, a.fired);
    assert_int_equal(b.fired, 0);
    assert_false(deadline_is_set(&b.d));
    deadline_clear(&b.d);
}

static int ticks;
static void on_tick(void *arg) { ticks += *(int *)arg; }

static void ticks_are_told(void **state) {
    (void)state;
    int step = 7;
    ticks = 0;
    deadlines_on_tick(ds, on_tick, &step);
    RUN_UNTIL(&loop, ticks == 14);
    deadlines_on_tick(ds, NULL, NULL);
    struct item i;
    item_init(&i);
    deadline_set(ds, &i.d, 100, on_fire);
    RUN_UNTIL(&loop, i.fired);
    assert_int_equal(ticks, 14);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(fires_once_and_not_early),
        TEST(within_a_length_they_fire_in_order_and_cleared_ones_do_not),
        TEST(lengths_do_not_disturb_each_other),
        TEST(a_callback_may_set_its_own_again),
        TEST(a_callback_may_clear_the_next),
        TEST(a_callback_may_close_everything),
        TEST(ticks_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
