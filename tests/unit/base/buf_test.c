// SPDX-License-Identifier: ISC
// tests/unit/base/buf_test.c: the byte queue and writer, spans and lists.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

#include "base/buf.h"
#include "base/ilist.h"
#include "base/mem.h"

static void queue_keeps_order(void **state) {
    (void)state;
    struct buf b = buf_make(1 << 20);
    uint8_t in = 0, out = 0;
    srand(1);
    for (int i = 0; i < 20000; i++) { // bytes in at the back, out at the front, in random portions
        uint8_t some[97];
        size_t n = (size_t)rand() % sizeof some;
        for (size_t k = 0; k < n; k++) some[k] = in++;
        buf_put(&b, some, n);
        size_t take = (size_t)rand() % (buf_len(&b) + 1);
        for (size_t k = 0; k < take; k++) assert_int_equal(b.data[b.head + k], out++);
        buf_consume(&b, take);
    }
    assert_false(b.failed);
    buf_release(&b);
    assert_null(b.data);
}

static void limit_is_sticky(void **state) {
    (void)state;
    struct buf b = buf_make(10);
    buf_put(&b, "12345678", 8);
    assert_false(b.failed);
    buf_put(&b, "123", 3);
    assert_true(b.failed);
    buf_put_u8(&b, 'x'); // would fit, but the message is not whole any more
    assert_int_equal(buf_len(&b), 8);
    assert_null(buf_reserve(&b, SIZE_MAX)); // no overflow of the sum
    buf_clear(&b);
    buf_put(&b, "1234567890", 10);
    assert_false(b.failed);
    buf_release(&b);
}

static void unread_goes_first(void **state) {
    (void)state;
    struct buf b = buf_make(1 << 16);
    buf_put(&b, "world", 5);
    buf_unread(&b, span_str("hello "));
    assert_true(span_is(buf_span(&b), "hello world"));
    buf_consume(&b, 6);
    buf_unread(&b, span_str("brave "));
    assert_true(span_is(buf_span(&b), "brave world"));
    buf_release(&b);
}

static void messages_have_lengths(void **state) {
    (void)state;
    struct buf b = buf_make(100);
    size_t at = buf_msg_begin(&b, 'Q');
    buf_put_cstr(&b, "SELECT");
    buf_msg_end(&b, at);
    assert_int_equal(buf_len(&b), 12);
    assert_int_equal(span_u32(b.data + 1), 11);
    buf_msg_lengthen(&b, at, 1000);
    assert_int_equal(span_u32(b.data + 1), 1011);
    buf_put_u16(&b, 0x1234);
    buf_printf(&b, "%s-%d", "x", 7);
    assert_true(span_is(span_from(buf_span(&b), 14), "x-7"));
    assert_int_equal(span_u16(b.data + 12), 0x1234);
    buf_release(&b);
}

static void cursor_never_passes_the_end(void **state) {
    (void)state;
    const uint8_t bytes[] = {1, 0, 2, 'a', 'b', 0, 'c'};
    struct cursor c = cursor_of(span_of(bytes, sizeof bytes));
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 2);
    assert_true(span_is(cursor_cstr(&c), "ab"));
    assert_int_equal(cursor_cstr(&c).len, 0); // no NUL follows
    assert_true(c.bad);
    assert_int_equal(cursor_u8(&c), 0); // and it stays bad, though a byte is there
    c = cursor_of(span_of(bytes, 3));
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.bad);
    c = cursor_of(span_of(bytes, 3));
    assert_int_equal(cursor_bytes(&c, SIZE_MAX).len, 0);
    assert_true(c.bad);
}

static void list_counts(void **state) {
    (void)state;
    struct ilist l;
    struct ilink n[3];
    ilist_init(&l);
    for (int i = 0; i < 3; i++) ilink_init(&n[i]);
    ilist_push_back(&l, &n[0]);
    ilist_push_back(&l, &n[1]);
    ilist_push_front(&l, &n[2]);
    assert_int_equal(l.count, 3);
    assert_ptr_equal(ilist_first(&l), &n[2]);
    assert_ptr_equal(ilist_last(&l), &n[1]);
    ILIST_EACH(&l, x) ilist_remove(&l, x); // the current one may go
    assert_true(ilist_empty(&l));
    assert_false(ilink_in_list(&n[0]));
    assert_null(ilist_pop_front(&l));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_keeps_order),     cmocka_unit_test(limit_is_sticky),
        cmocka_unit_test(unread_goes_first),     cmocka_unit_test(messages_have_lengths),
        cmocka_unit_test(cursor_never_passes_the_end), cmocka_unit_test(list_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
