// SPDX-License-Identifier: ISC
// Every message of our own, byte by byte, and what happens when there is no room.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/wire/frame.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

enum { ROOM = 64 * 1024 };

#define CHECK(b, text)                                                                                                 \
    do {                                                                                                               \
        assert_false((b)->failed);                                                                                     \
        assert_int_equal(buf_len(b), sizeof(text) - 1);                                                                \
        assert_memory_equal(buf_span(b).ptr, text, sizeof(text) - 1);                                                  \
        buf_clear(b);                                                                                                  \
    } while (0)

static void to_clients(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    reply_ready(&b, PROTO_TX_ACTIVE);
    CHECK(&b, "Z\0\0\0\5T");
    reply_empty_body(&b, BE_PARSE_COMPLETE);
    CHECK(&b, "1\0\0\0\4");
    reply_command_complete(&b, "BEGIN");
    CHECK(&b, "C\0\0\0\012BEGIN\0");
    reply_parameter_status(&b, span_str("a"), span_str(""));
    CHECK(&b, "S\0\0\0\7a\0\0");
    reply_backend_key_data(&b, 1, 0xfffefdfc);
    CHECK(&b, "K\0\0\0\014\0\0\0\1\xff\xfe\xfd\xfc");
    reply_auth(&b, PROTO_AUTH_OK, span_str(""));
    CHECK(&b, "R\0\0\0\010\0\0\0\0");
    reply_auth(&b, PROTO_AUTH_SASL_CONTINUE, span_str("r=x"));
    CHECK(&b, "R\0\0\0\013\0\0\0\013r=x");
    reply_auth_sasl(&b, (const char *const[]){"ONE", "TWO", NULL});
    CHECK(&b, "R\0\0\0\021\0\0\0\012ONE\0TWO\0\0");
    struct span options[] = {span_str("_pq_.x")};
    reply_negotiate_version(&b, 0, options, 1);
    CHECK(&b, "v\0\0\0\023\0\3\0\0\0\0\0\1_pq_.x\0");
    buf_release(&b);
}

static void errors_and_notices(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    struct fault f;
    fault_set(&f, "3D000", "no such database");
    reply_error(&b, true, &f);
    CHECK(&b, "E\0\0\0\054SFATAL\0VFATAL\0C3D000\0Mno such database\0\0");
    fault_hint(&f, "look");
    reply_error(&b, false, &f);
    CHECK(&b, "E\0\0\0\062SERROR\0VERROR\0C3D000\0Mno such database\0Hlook\0\0");
    fault_set(&f, "", "x");
    reply_error(&b, false, &f);
    CHECK(&b, "E\0\0\0\035SERROR\0VERROR\0CXX000\0Mx\0\0");
    fault_set(&f, "01000", "x");
    reply_notice(&b, &f);
    CHECK(&b, "N\0\0\0\041SWARNING\0VWARNING\0C01000\0Mx\0\0");
    fault_set(&f, "", "x");
    reply_notice(&b, &f);
    CHECK(&b, "N\0\0\0\037SNOTICE\0VNOTICE\0C00000\0Mx\0\0");
    buf_release(&b);
}

static void to_servers(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    request_startup(&b, (struct request_parameter[]){{"user", "u"}, {"database", "d"}}, 2);
    CHECK(&b, "\0\0\0\033\0\3\0\0user\0u\0database\0d\0\0");
    request_startup(&b, NULL, 0);
    CHECK(&b, "\0\0\0\011\0\3\0\0\0");
    request_ssl(&b);
    CHECK(&b, "\0\0\0\010\x04\xd2\x16\x2f");
    request_cancel(&b, 258, 3);
    CHECK(&b, "\0\0\0\020\x04\xd2\x16\x2e\0\0\1\2\0\0\0\3");
    request_query(&b, span_str("select 1"));
    CHECK(&b, "Q\0\0\0\015select 1\0");
    request_password(&b, span_of("md5\0", 4));
    CHECK(&b, "p\0\0\0\010md5\0");
    request_sasl_initial(&b, "SCRAM-SHA-256", span_str("n,,"));
    CHECK(&b, "p\0\0\0\031SCRAM-SHA-256\0\0\0\0\3n,,");
    request_sasl_response(&b, span_str("c=biws"));
    CHECK(&b, "p\0\0\0\012c=biws");
    request_parse(&b, span_str("s"), span_str("select $1"), span_of("\0\1\0\0\0\027", 6));
    CHECK(&b, "P\0\0\0\026s\0select $1\0\0\1\0\0\0\027");
    request_close_statement(&b, span_str("s"));
    CHECK(&b, "C\0\0\0\7Ss\0");
    request_sync(&b);
    CHECK(&b, "S\0\0\0\4");
    request_terminate(&b);
    CHECK(&b, "X\0\0\0\4");
    buf_release(&b);
}

// What is written for one side is what frame.h takes from it.
static void frames_take_what_is_written(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    request_startup(&b, (struct request_parameter[]){{"user", "u"}}, 1);
    struct startup s;
    assert_int_equal(frame_startup(buf_span(&b), &s, NULL), WIRE_OK);
    assert_int_equal(s.total, buf_len(&b));
    buf_clear(&b);
    request_parse(&b, span_str(""), span_str("select 1"), span_of("\0\0", 2));
    struct frame f;
    assert_int_equal(frame_next(FRAME_FROM_CLIENT, buf_span(&b), &f, NULL), WIRE_OK);
    struct msg_parse m;
    assert_true(msg_parse(f.payload, &m) && span_is(m.query, "select 1"));
    buf_clear(&b);
    struct fault fault;
    fault_set(&fault, "28000", "no");
    reply_error(&b, true, &fault);
    assert_int_equal(frame_next(FRAME_FROM_SERVER, buf_span(&b), &f, NULL), WIRE_OK);
    struct msg_error e;
    msg_error(f.payload, &e);
    assert_true(span_is(e.severity, "FATAL") && span_is(e.sqlstate, "28000") && span_is(e.message, "no"));
    buf_release(&b);
}

static void no_room_is_a_failure(void **state) {
    (void)state;
    for (size_t room = 0; room < 14; room++) {
        struct buf b = buf_make(room);
        request_query(&b, span_str("select 1"));
        assert_true(b.failed);
        buf_release(&b);
    }
    struct buf b = buf_make(14);
    request_query(&b, span_str("select 1"));
    assert_false(b.failed);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_clients),           cmocka_unit_test(errors_and_notices),
        cmocka_unit_test(to_servers),           cmocka_unit_test(frames_take_what_is_written),
        cmocka_unit_test(no_room_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
