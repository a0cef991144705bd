// SPDX-License-Identifier: ISC
//
// tests/unit/session/response_test.c: what becomes of a server's messages, in whatever pieces they arrive.
//
// The server connection is a byte string; server.c is not linked. Every script is played whole, and again a byte at a
// time: the client must get the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
// cmocka wants the above first
#include <cmocka.h>

#include "base/mem.h"
#include "router/session/response.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

struct world {
    struct server server;
    struct prep_client names;
    struct response x;
    struct response_out out;
    struct buf from_server, to_client;
    size_t step; // bytes per read
    char events[256];
    bool client_gone;
};
static struct world w;
static uint8_t rbuf[RBUF_SIZE];

// In place of server.c.
ssize_t server_read(struct server *s, void *to, size_t cap, struct fault *f) {
    (void)s, (void)f;
    size_t n = MIN_OF(MIN_OF(w.step, cap), buf_len(&w.from_server));
    if (!n) return -1;
    memcpy(to, w.from_server.data + w.from_server.head, n);
    buf_consume(&w.from_server, n);
    return (ssize_t)n;
}
bool server_note_parameter(struct server *s, struct span name, struct span value) {
    (void)s, (void)value;
    return !span_is(name, "in_hot_standby");
}

static void event(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void event(const char *fmt, ...) {
    size_t len = strlen(w.events);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w.events + len, sizeof w.events - len, fmt, ap);
    va_end(ap);
}

static bool on_send(void *arg, const struct iovec *iov, int n) {
    (void)arg;
    for (int i = 0; i < n; i++) buf_put(&w.to_client, iov[i].iov_base, iov[i].iov_len);
    return !w.client_gone;
}
static void on_ready(void *arg, const struct reply *due, char tx) {
    (void)arg;
    event("%s%c%s ", due->action == REPLY_SWALLOW ? "swallowed:" : "", tx, w.x.failed ? "!" : "");
}
static void on_skipping(void *arg) { (void)arg, event("skipping "); }
static void on_copy_in(void *arg, bool extended, const struct reply *ignored) {
    (void)arg;
    event("copy_in%s%s ", extended ? " extended" : "", ignored ? " ignored" : "");
}
static void on_parameter(void *arg, struct span name, struct span value) {
    (void)arg, (void)value;
    event("%.*s ", (int)name.len, name.ptr);
}
static void on_tell(void *arg, const struct reply *due, struct buf *out) {
    struct fault f;
    (void)arg;
    event("told:%d ", due->does.told);
    fault_set(&f, "00000", "here");
    reply_notice(out, &f);
}
static void on_sync_wanted(void *arg) { (void)arg, event("sync "); }
static const struct response_ops ops = {
    .send = on_send,
    .ready = on_ready,
    .tell = on_tell,
    .skipping = on_skipping,
    .copy_in = on_copy_in,
    .sync_wanted = on_sync_wanted,
    .parameter = on_parameter,
};

static void setup(size_t step) {
    w = (struct world){.step = step, .from_server = buf_make(1 << 22), .to_client = buf_make(1 << 22)};
    w.out.scratch = buf_make(1 << 16);
    pipeline_init(&w.server.replies);
    prep_server_init(&w.server.prepared);
    prep_client_init(&w.names);
    response_init(&w.x, &ops, NULL, &w.names, &w.out);
    response_start(&w.x, false);
}

static void teardown(void) {
    response_fini(&w.x);
    pipeline_fini(&w.server.replies);
    prep_server_fini(&w.server.prepared);
    prep_client_fini(&w.names);
    buf_release(&w.out.scratch);
    buf_release(&w.from_server);
    buf_release(&w.to_client);
}

static void due(enum reply_kind kind, enum reply_action action) { pipeline_push(&w.server.replies, kind, action); }
static void say(char type, const char *body, size_t n) {
    size_t at = buf_msg_begin(&w.from_server, type);
    buf_put(&w.from_server, body, n);
    buf_msg_end(&w.from_server, at);
}
static void say_error(const char *sqlstate, const char *text) {
    struct fault f;
    fault_set(&f, sqlstate, "%s", text);
    reply_error(&w.from_server, false, &f);
}
static void rows(int n) {
    say(BE_ROW_DESCRIPTION, "\0\0", 2);
    for (int i = 0; i < n; i++) say(BE_DATA_ROW, "\0\1\0\0\0\3abc", 9);
    say(BE_COMMAND_COMPLETE, "SELECT 1", 9);
}
static void ready(char tx) { say(BE_READY_FOR_QUERY, &tx, 1); }

static enum response_result play(struct fault *f) {
    enum response_result got = RESPONSE_OK;
    size_t n;
    while (buf_len(&w.from_server) && (got == RESPONSE_OK || got == RESPONSE_RERUN)) {
        enum response_result now = response_read(&w.x, &w.server, rbuf, sizeof rbuf, &n, f);
        if (now != RESPONSE_OK) got = now;
    }
    return got;
}

// The types of the messages that the client got.
static const char *client_got(void) {
    static char types[4096];
    size_t n = 0;
    struct frame f;
    for (struct span in = buf_span(&w.to_client); in.len && n < sizeof types - 1; in = span_from(in, f.total)) {
        assert_int_equal(frame_next(FRAME_FROM_SERVER, in, &f, NULL), WIRE_OK);
        types[n++] = f.type;
    }
    types[n] = '\0';
    return types;
}

static const size_t steps[] = {1 << 20, 1, 7};
#define EACH_STEP for (size_t si_ = 0; si_ < countof(steps); teardown(), si_++)
#define BEGIN_STEP setup(steps[si_])

static void a_simple_answer_is_forwarded(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_QUERY, REPLY_FORWARD);
        rows(2);
        ready('T');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "TDDCZ");
        assert_string_equal(w.events, "T ");
        assert_true(pipeline_is_empty(&w.server.replies) && response_is_clean(&w.x));
        assert_int_equal(w.server.tx_status, 'T');
    }
}

// Before the ReadyForQuery of each exchange that asks for it, and of no other.
static void a_client_is_told_where_it_ran(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        response_start(&w.x, true);
        pipeline_push(&w.server.replies, REPLY_QUERY, REPLY_SWALLOW)->does.told = 9;
        due(REPLY_QUERY, REPLY_FORWARD);
        pipeline_push(&w.server.replies, REPLY_QUERY, REPLY_FORWARD)->does.told = 1;
        pipeline_push(&w.server.replies, REPLY_SYNC, REPLY_FORWARD)->does.told = 2;
        ready('I');
        rows(1);
        ready('I');
        rows(1);
        ready('I');
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "TDCZTDCNZNZ");
        assert_string_equal(w.events, "swallowed:I I told:1 I told:2 I ");
        assert_true(pipeline_is_empty(&w.server.replies) && response_is_clean(&w.x));
    }
}

static void ours_are_swallowed_and_invented(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_QUERY, REPLY_SWALLOW); // settings
        due(REPLY_PARSE, REPLY_SWALLOW); // a statement that the server lacked
        due(REPLY_PARSE, REPLY_INVENT);  // one that it has
        due(REPLY_BIND, REPLY_FORWARD);
        due(REPLY_DESCRIBE, REPLY_FORWARD);
        due(REPLY_EXECUTE, REPLY_FORWARD);
        due(REPLY_CLOSE, REPLY_INVENT);
        due(REPLY_SYNC, REPLY_FORWARD);
        say(BE_PARAMETER_STATUS, "TimeZone\0UTC", 13);
        rows(1);
        ready('I');
        say(BE_PARSE_COMPLETE, "", 0);
        say(BE_BIND_COMPLETE, "", 0);
        say(BE_NO_DATA, "", 0);
        say(BE_COMMAND_COMPLETE, "INSERT 0 1", 11);
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "12nC3Z");
        assert_string_equal(w.events, "TimeZone swallowed:I I "); // the session knows, the client need not
    }
}

static void prefix(void) {
    static const enum reply_kind kinds[] = {REPLY_PARSE, REPLY_BIND, REPLY_EXECUTE};
    for (size_t i = 0; i < countof(kinds); i++)
        pipeline_push(&w.server.replies, kinds[i], REPLY_SWALLOW)->prefix = true;
}

static void a_begin_of_ours_is_swallowed(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        prefix();
        due(REPLY_QUERY, REPLY_FORWARD);
        say(BE_PARSE_COMPLETE, "", 0);
        say(BE_BIND_COMPLETE, "", 0);
        say(BE_COMMAND_COMPLETE, "BEGIN", 6);
        rows(1);
        ready('T');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "TDCZ");
        assert_string_equal(w.events, "T ");
    }
}

// The server skips what follows; the client is told that its transaction has failed, although the server has none.
static void a_begin_of_ours_fails(void **state) {
    (void)state;
    static const struct {
        bool query, sync;
        const char *events;
    } cases[] = {{true, false, "sync I! "}, {false, true, "I! "}, {false, false, "skipping I! "}};
    for (size_t i = 0; i < countof(cases); i++) {
        EACH_STEP {
            struct fault f;
            BEGIN_STEP;
            prefix();
            due(cases[i].query ? REPLY_QUERY : REPLY_BIND, REPLY_FORWARD);
            if (cases[i].sync) due(REPLY_SYNC, REPLY_FORWARD);
            say(BE_PARSE_COMPLETE, "", 0);
            say_error("57014", "canceling statement due to user request");
            assert_int_equal(play(&f), RESPONSE_OK);
            if (!cases[i].query && !cases[i].sync) due(REPLY_SYNC, REPLY_FORWARD); // the client's own
            ready('I');
            assert_int_equal(play(&f), RESPONSE_OK);
            assert_string_equal(client_got(), "EZ");
            assert_int_equal(*(w.to_client.data + w.to_client.tail - 1), 'E');
            assert_string_equal(w.events, cases[i].events);
            assert_true(pipeline_is_empty(&w.server.replies) && !w.x.begin_failed);
        }
    }
}

static void an_error_skips_to_the_sync(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_BIND, REPLY_FORWARD);
        due(REPLY_EXECUTE, REPLY_FORWARD);
        due(REPLY_CLOSE, REPLY_INVENT); // never answered
        due(REPLY_SYNC, REPLY_FORWARD);
        due(REPLY_BIND, REPLY_FORWARD); // without a Sync yet
        due(REPLY_EXECUTE, REPLY_FORWARD);
        say(BE_BIND_COMPLETE, "", 0);
        say_error("22012", "division by zero");
        ready('E');
        say_error("25P02", "current transaction is aborted");
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "2EZE");
        assert_string_equal(w.events, "E! skipping ");
        assert_true(pipeline_is_empty(&w.server.replies));
    }
}

static void a_read_is_kept_back_until_its_first_row(void **state) {
    (void)state;
    struct fault f;
    setup(1 << 20);
    response_start(&w.x, true);
    due(REPLY_BIND, REPLY_FORWARD);
    due(REPLY_EXECUTE, REPLY_FORWARD);
    due(REPLY_SYNC, REPLY_FORWARD);
    say(BE_BIND_COMPLETE, "", 0);
    say(BE_NOTICE, "SNOTICE\0\0", 9);
    assert_int_equal(play(&f), RESPONSE_OK);
    assert_string_equal(client_got(), "");
    assert_true(response_can_rerun(&w.x) && !response_is_clean(&w.x));
    say(BE_DATA_ROW, "\0\0", 2);
    assert_int_equal(play(&f), RESPONSE_OK);
    assert_string_equal(client_got(), "2ND");
    assert_false(response_can_rerun(&w.x));
    say(BE_COMMAND_COMPLETE, "SELECT 1", 9);
    ready('I');
    assert_int_equal(play(&f), RESPONSE_OK);
    assert_string_equal(client_got(), "2NDCZ");
    teardown();
}

static void what_a_replica_refuses_is_run_again(void **state) {
    static const struct {
        const char *sqlstate, *text;
        bool rerun, learn;
    } cases[] = {
        {"25006", "cannot execute INSERT in a read-only transaction", true, true},
        {"0A000", "cannot use serializable mode in a hot standby... during recovery", true, true},
        {"55000", "recovery is in progress", true, true},
        {"0A000", "cross-database references are not implemented", true, false},
        {"40001", "canceling statement due to conflict with recovery", true, false},
        {"42P01", "relation \"t\" does not exist", false, false},
        {"57014", "canceling statement due to statement timeout", false, false},
    };
    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        EACH_STEP {
            struct fault f;
            BEGIN_STEP;
            response_start(&w.x, true);
            due(REPLY_PARSE, REPLY_FORWARD);
            due(REPLY_EXECUTE, REPLY_FORWARD);
            due(REPLY_SYNC, REPLY_FORWARD);
            due(REPLY_QUERY, REPLY_FORWARD); // one that was sent behind it: it is run again with it
            say(BE_PARSE_COMPLETE, "", 0);
            say_error(cases[i].sqlstate, cases[i].text);
            ready('I');
            if (cases[i].rerun) {
                rows(1);
                ready('I');
                assert_int_equal(play(&f), RESPONSE_RERUN);
                assert_string_equal(client_got(), "");
                assert_int_equal(w.x.learn, cases[i].learn);
                assert_true(pipeline_is_empty(&w.server.replies) && response_is_clean(&w.x));
            } else {
                assert_int_equal(play(&f), RESPONSE_OK);
                assert_string_equal(client_got(), "1EZ");
            }
        }
    }
}

static void after_a_row_there_is_no_way_back(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        response_start(&w.x, true);
        due(REPLY_QUERY, REPLY_FORWARD);
        say(BE_ROW_DESCRIPTION, "\0\0", 2);
        say(BE_DATA_ROW, "\0\0", 2);
        say_error("40001", "canceling statement due to conflict with recovery");
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "TDEZ");
    }
}

static void the_next_one_is_kept_back_again(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        response_start(&w.x, true);
        due(REPLY_QUERY, REPLY_FORWARD);
        due(REPLY_QUERY, REPLY_FORWARD);
        rows(1);
        ready('I');
        say(BE_ROW_DESCRIPTION, "\0\0", 2);
        say_error("25006", "cannot execute nextval() in a read-only transaction");
        ready('I');
        assert_int_equal(play(&f), RESPONSE_RERUN);
        assert_string_equal(client_got(), "TDCZ");
    }
}

static void large_rows_go_in_pieces(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        if (w.step == 1) continue; // the same as 7, and slow
        char *row = mem_alloc(300000);
        due(REPLY_QUERY, REPLY_FORWARD);
        say(BE_DATA_ROW, row, 300000);
        say(BE_ROW_DESCRIPTION, row, 200000); // wanted whole, but too large to wait for
        say(BE_COMMAND_COMPLETE, "SELECT 1", 9);
        ready('I');
        size_t total = buf_len(&w.from_server);
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_int_equal(buf_len(&w.to_client), total);
        assert_string_equal(client_got(), "DTCZ");
        assert_true(w.x.partial.cap <= RBUF_SIZE);
        mem_free(row);
    }
}

static void copy_in_takes_the_sync_back(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_BIND, REPLY_FORWARD);
        due(REPLY_EXECUTE, REPLY_FORWARD);
        due(REPLY_SYNC, REPLY_FORWARD);
        say(BE_BIND_COMPLETE, "", 0);
        say(BE_COPY_IN_RESPONSE, "\0\0\0", 3);
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(w.events, "copy_in extended ignored ");
        due(REPLY_SYNC, REPLY_FORWARD);
        say(BE_COMMAND_COMPLETE, "COPY 1", 7);
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "2GCZ");
    }
}

static void what_is_not_due_breaks_the_connection(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_BIND, REPLY_FORWARD);
        say(BE_DATA_ROW, "\0\0", 2);
        assert_int_equal(play(&f), RESPONSE_BROKEN);
        assert_string_equal(f.sqlstate, "08P01");
        assert_string_equal(client_got(), "");
        pipeline_fini(&w.server.replies);
        buf_clear(&w.from_server);
        response_fini(&w.x);
        say(BE_READY_FOR_QUERY, "I", 1);
        assert_int_equal(play(&f), RESPONSE_BROKEN);
        buf_clear(&w.from_server);
        response_fini(&w.x);
        due(REPLY_QUERY, REPLY_FORWARD);
        say(BE_BACKEND_KEY_DATA, "12345678", 8);
        assert_int_equal(play(&f), RESPONSE_BROKEN);
    }
}

static void a_fatal_error_is_the_connections_end(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f, said;
        BEGIN_STEP;
        due(REPLY_QUERY, REPLY_FORWARD);
        fault_set(&said, "57P01", "terminating connection due to administrator command");
        reply_error(&w.from_server, true, &said);
        assert_int_equal(play(&f), RESPONSE_BROKEN);
        assert_string_equal(f.sqlstate, "57P01");
        assert_string_equal(client_got(), ""); // to the client it is an error of this statement, not of its connection
    }
}

static void an_error_without_fields_is_survived(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_QUERY, REPLY_FORWARD);
        say(BE_ERROR, "\0", 1);
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "EZ");
    }
}

static void notifications_are_for_listeners(void **state) {
    (void)state;
    for (int listens = 0; listens < 2; listens++) {
        EACH_STEP {
            struct fault f;
            BEGIN_STEP;
            w.x.notifications = listens;
            say(BE_NOTIFICATION, "\0\0\0\1chan\0load", 14);
            assert_int_equal(play(&f), RESPONSE_OK);
            assert_string_equal(client_got(), listens ? "A" : "");
        }
    }
}

// Those that come with the answer to a question of ours are the client's all the same; notices are not.
static void notifications_come_at_any_time(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        w.x.notifications = true;
        due(REPLY_QUERY, REPLY_SWALLOW);
        rows(1);
        say(BE_NOTIFICATION, "\0\0\0\1chan\0load", 14);
        say(BE_NOTICE, "SNOTICE\0", 9);
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_string_equal(client_got(), "A");
    }
}

static void a_client_that_is_gone_stops_it(void **state) {
    (void)state;
    struct fault f;
    setup(1 << 20);
    w.client_gone = true;
    due(REPLY_QUERY, REPLY_FORWARD);
    rows(1);
    ready('I');
    assert_int_equal(play(&f), RESPONSE_STOP);
    assert_null(w.out.from);
    assert_int_equal(w.out.n_iov, 0);
    teardown();
}

static void refused_settings_are_told(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        due(REPLY_QUERY, REPLY_SWALLOW);
        say_error("22023", "invalid value for parameter \"TimeZone\": \"nowhere\"");
        ready('I');
        assert_int_equal(play(&f), RESPONSE_OK);
        assert_non_null(w.x.refusal);
        assert_string_equal(w.x.refusal->sqlstate, "22023");
        assert_string_equal(client_got(), "");
    }
}

// Seen in its answer, so that it counts whatever comes afterwards.
static void deallocate_all_is_seen(void **state) {
    (void)state;
    EACH_STEP {
        struct fault f;
        BEGIN_STEP;
        uint64_t next_id = 0;
        struct statements *all = statements_new(&next_id, 2);
        struct statement *st =
            statements_intern(all, span_str("SELECT 1"), span_of("\0\0", 2), (struct meaning){.context = 0});
        for (int i = 0; i < 2; i++) {
            prep_client_set(&w.names, span_str("a"), st);
            prep_server_add(&w.server.prepared, st);
            due(REPLY_QUERY, REPLY_FORWARD);
            say(BE_COMMAND_COMPLETE, i ? "DISCARD ALL" : "DEALLOCATE ALL", i ? 12 : 15);
            say_error("22012", "division by zero");
            ready('I');
            assert_int_equal(play(&f), RESPONSE_OK);
            assert_null(prep_client_find(&w.names, span_str("a")));
            assert_int_equal(prep_server_count(&w.server.prepared), 0);
        }
        statement_unref(st);
        statements_free(all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_simple_answer_is_forwarded),
        cmocka_unit_test(a_client_is_told_where_it_ran),
        cmocka_unit_test(ours_are_swallowed_and_invented),
        cmocka_unit_test(a_begin_of_ours_is_swallowed),
        cmocka_unit_test(a_begin_of_ours_fails),
        cmocka_unit_test(an_error_skips_to_the_sync),
        cmocka_unit_test(a_read_is_kept_back_until_its_first_row),
        cmocka_unit_test(what_a_replica_refuses_is_run_again),
        cmocka_unit_test(after_a_row_there_is_no_way_back),
        cmocka_unit_test(the_next_one_is_kept_back_again),
        cmocka_unit_test(large_rows_go_in_pieces),
        cmocka_unit_test(copy_in_takes_the_sync_back),
        cmocka_unit_test(what_is_not_due_breaks_the_connection),
        cmocka_unit_test(a_fatal_error_is_the_connections_end),
        cmocka_unit_test(an_error_without_fields_is_survived),
        cmocka_unit_test(notifications_are_for_listeners),
        cmocka_unit_test(notifications_come_at_any_time),
        cmocka_unit_test(a_client_that_is_gone_stops_it),
        cmocka_unit_test(refused_settings_are_told),
        cmocka_unit_test(deallocate_all_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
