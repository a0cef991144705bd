// SPDX-License-Identifier: ISC
// tests/unit/base/mailbox_test.c: mail of several threads arrives whole, in each sender's order, and none is lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>

#include "base/mailbox.h"
#include "base/mem.h"

enum { SENDERS = 4, LETTERS = 5000 };

struct letter {
    struct mail mail;
    int sender, number;
};

static struct mailbox box;
static int next_number[SENDERS], arrived;

static void deliver(struct mail *m, void *owner) {
    struct letter *l = container_of(m, struct letter, mail);
    assert_ptr_equal(owner, next_number);
    assert_int_equal(l->number, next_number[l->sender]);
    next_number[l->sender]++;
    mem_free(l);
    if (++arrived == SENDERS * LETTERS) mailbox_close(&box);
}

static void send_all(void *arg) {
    for (int i = 0; i < LETTERS; i++) {
        struct letter *l = mem_new(struct letter);
        l->mail.deliver = deliver;
        l->sender = (int)(intptr_t)arg;
        l->number = i;
        assert_true(mailbox_post(&box, &l->mail));
    }
}

static void nothing_is_lost(void **state) {
    uv_loop_t loop;
    uv_thread_t threads[SENDERS];
    (void)state;
    uv_loop_init(&loop);
    assert_int_equal(mailbox_init(&box, &loop, next_number), 0);
    for (intptr_t i = 0; i < SENDERS; i++) uv_thread_create(&threads[i], send_all, (void *)i);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < SENDERS; i++) uv_thread_join(&threads[i]);
    assert_int_equal(arrived, SENDERS * LETTERS);
    struct letter late = {.mail.deliver = deliver};
    assert_false(mailbox_post(&box, &late.mail)); // closed: the letter stays the sender's
    mailbox_fini(&box);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
