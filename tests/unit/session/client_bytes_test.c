// SPDX-License-Identifier: ISC
// Bytes between a client that is ready and its session: kept, offered again, put back, held back, and the end.
#include "tests/unit/session/client_util.h"

static struct fixture *x;

static int set_up(void **state) {
    *state = x = fixture_new(AUTH_TYPE_TRUST);
    fixture_connect(x, false);
    log_in_by_trust(x);
    x->offers = 0;
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    fixture_disconnect(x);
    fixture_free(x);
    return 0;
}

static bool input_is(const char *s) { return span_is(buf_span(&x->input), s); }

static size_t take_nothing(struct fixture *f, struct span bytes) {
    (void)f, (void)bytes;
    return 0;
}

// ---- what is taken and what is kept

static void straight_through(void **state) {
    (void)state;
    say(x, span_str("hello"));
    RUN_UNTIL(&x->loop, input_is("hello"));
    assert_int_equal(x->offers, 1);
    assert_null(x->client.in.data);
    say(x, span_str(" world"));
    RUN_UNTIL(&x->loop, input_is("hello world"));
    assert_true(x->stats.counters[STAT_BYTES_FROM_CLIENTS] >= 11);
}

static size_t take_words(struct fixture *f, struct span bytes) {
    size_t n = bytes.len;
    while (n && bytes.ptr[n - 1] != ';') n--;
    f->client.wants_more = n < bytes.len;
    return n;
}

static void the_rest_is_offered_with_more_behind(void **state) {
    (void)state;
    x->on_input = take_words;
    say(x, span_str("one;tw"));
    RUN_UNTIL(&x->loop, x->offers == 1);
    assert_true(input_is("one;"));
    assert_int_equal(buf_len(&x->client.in), 2);
    say(x, span_str("o"));
    RUN_UNTIL(&x->loop, x->offers == 2);
    assert_true(input_is("one;"));
    say(x, span_str(";three;"));
    RUN_UNTIL(&x->loop, x->offers == 3);
    assert_true(input_is("one;two;three;"));
    assert_null(x->client.in.data);
}

static void resumed_from_outside(void **state) {
    (void)state;
    x->on_input = take_nothing;
    say(x, span_str("abc"));
    RUN_UNTIL(&x->loop, x->offers == 1);
    client_resume_input(&x->client);
    assert_int_equal(x->offers, 2);
    assert_int_equal(buf_len(&x->client.in), 3);
    x->on_input = NULL;
    client_resume_input(&x->client);
    assert_true(input_is("abc"));
    client_resume_input(&x->client); // nothing to offer
    assert_int_equal(x->offers, 3);
}

static size_t take_one_and_ask(struct fixture *f, struct span bytes) {
    (void)bytes;
    client_resume_input(&f->client);
    return 1;
}
static size_t take_nothing_and_ask(struct fixture *f, struct span bytes) {
    (void)bytes;
    client_resume_input(&f->client);
    return 0;
}
static size_t take_one(struct fixture *f, struct span bytes) {
    (void)f, (void)bytes;
    return 1;
}

static void resumed_from_inside(void **state) {
    (void)state;
    x->on_input = take_one;
    say(x, span_str("abcde"));
    RUN_UNTIL(&x->loop, x->offers == 1);
    assert_true(input_is("a"));
    x->on_input = take_one_and_ask;
    client_resume_input(&x->client);
    assert_int_equal(x->offers, 5);
    assert_true(input_is("abcde"));
    // The same when the bytes come straight from the socket.
    say(x, span_str("fgh"));
    RUN_UNTIL(&x->loop, input_is("abcdefgh"));
    // Without progress it is not asked for ever.
    x->on_input = take_nothing_and_ask;
    say(x, span_str("i"));
    RUN_UNTIL(&x->loop, buf_len(&x->client.in) == 1);
    client_resume_input(&x->client);
    assert_int_equal(buf_len(&x->client.in), 1);
}

static void unread_from_outside(void **state) {
    (void)state;
    client_unread(&x->client, span_str("first,"));
    client_resume_input(&x->client);
    assert_true(input_is("first,"));
    x->on_input = take_nothing;
    say(x, span_str("third,"));
    RUN_UNTIL(&x->loop, buf_len(&x->client.in) == 6);
    client_unread(&x->client, span_str("second,"));
    x->on_input = NULL;
    client_resume_input(&x->client);
    assert_true(input_is("first,second,third,"));
}

// Takes one byte and puts two others before the next, once.
static size_t take_and_unread(struct fixture *f, struct span bytes) {
    (void)bytes;
    client_unread(&f->client, span_str("XY"));
    client_resume_input(&f->client);
    f->on_input = NULL;
    return 1;
}

static void unread_from_inside(void **state) {
    (void)state;
    x->on_input = take_and_unread; // bytes that stand in the receive buffer
    say(x, span_str("abc"));
    RUN_UNTIL(&x->loop, input_is("aXYbc"));
    x->on_input = take_nothing; // bytes that are kept
    say(x, span_str("def"));
    RUN_UNTIL(&x->loop, buf_len(&x->client.in) == 3);
    x->on_input = take_and_unread;
    client_resume_input(&x->client);
    assert_true(input_is("aXYbcdXYef"));
    assert_null(x->client.in.data);
}

static void early_bytes_wait_for_the_welcome(void **state) {
    (void)state;
    fixture_disconnect(x);
    x->welcome_at_once = false;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    say(x, span_str("early"));
    RUN_UNTIL(&x->loop, x->authenticated && buf_len(&x->client.in) == 5);
    client_resume_input(&x->client); // too early for that, too
    assert_int_equal(x->offers, 0);
    welcome(x);
    assert_int_equal(x->offers, 1);
    assert_true(input_is("early"));
}

// ---- back-pressure

static void flood(size_t n) {
    uint8_t *bytes = pattern_new(n);
    say(x, span_of(bytes, n));
    mem_free(bytes);
}

static void blocked_session_stops_the_reading(void **state) {
    (void)state;
    const size_t all = 4 << 20;
    x->on_input = take_nothing;
    flood(all);
    RUN_UNTIL(&x->loop, stream_is_paused(&x->client.stream));
    run_turns(&x->loop, 20);
    assert_in_range(buf_len(&x->client.in), CLIENT_INPUT_MAX, CLIENT_INPUT_MAX + CLIENT_RBUF);
    x->on_input = NULL;
    client_resume_input(&x->client);
    assert_false(stream_is_paused(&x->client.stream));
    RUN_UNTIL(&x->loop, buf_len(&x->input) == all);
    assert_pattern(buf_span(&x->input));
}

static size_t wanted;
static size_t take_when_enough(struct fixture *f, struct span bytes) {
    f->client.wants_more = bytes.len < wanted;
    return bytes.len < wanted ? 0 : bytes.len;
}

static void a_large_unit_is_waited_for(void **state) {
    (void)state;
    wanted = 1 << 20;
    x->on_input = take_when_enough;
    flood(wanted);
    RUN_UNTIL(&x->loop, buf_len(&x->input) == wanted);
    assert_pattern(buf_span(&x->input));
    assert_null(x->client.in.data);
}

static void wanting_more_resumes_the_reading(void **state) {
    (void)state;
    wanted = 1 << 20;
    x->on_input = take_nothing;
    flood(wanted);
    RUN_UNTIL(&x->loop, stream_is_paused(&x->client.stream));
    x->on_input = take_when_enough; // it is free now, and finds that the unit is not all here
    client_resume_input(&x->client);
    assert_false(stream_is_paused(&x->client.stream));
    RUN_UNTIL(&x->loop, buf_len(&x->input) == wanted);
}

static uint32_t seed;
static uint32_t dice(uint32_t sides) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 16) % sides;
}
// Whatever a session may do with bytes.
static size_t take_at_random(struct fixture *f, struct span bytes) {
    size_t n = dice(3) ? dice((uint32_t)MIN_OF(bytes.len, 9000) + 1) : bytes.len;
    if (dice(4) == 0) f->client.wants_more = true;
    if (dice(3) == 0) client_resume_input(&f->client);
    size_t put_back = dice(5) == 0 ? MIN_OF(buf_len(&f->input), dice(700)) : 0;
    if (put_back && n == 0) { // put back some of what was taken before
        buf_truncate(&f->input, buf_len(&f->input) - put_back);
        client_unread(&f->client, span_of(f->input.data + f->input.tail, put_back));
    }
    return n;
}

static void nothing_is_lost_or_swapped(void **state) {
    (void)state;
    const size_t all = 300000;
    for (uint32_t round = 1; round <= 30; round++) {
        seed = round;
        buf_clear(&x->input);
        x->on_input = take_at_random;
        flood(all);
        uv_timer_start(&x->loop.watchdog, on_watchdog, 10000, 0);
        while (buf_len(&x->input) < all) {
            client_resume_input(&x->client);
            uv_run(&x->loop.loop, buf_len(&x->client.in) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        }
        assert_pattern(buf_span(&x->input));
        x->on_input = NULL;
    }
}

// ---- the end

static size_t fail_inside(struct fixture *f, struct span bytes) {
    (void)bytes;
    struct fault fault;
    fault_set(&fault, "08P01", "invalid frontend message type 33");
    client_fail(&f->client, STAT_ERROR_PROTOCOL, &fault);
    assert_int_equal(f->gone, 1);
    return 1;
}
static size_t close_inside(struct fixture *f, struct span bytes) {
    client_unread(&f->client, span_str("x"));
    client_close(&f->client);
    return bytes.len;
}

static void failed_inside(void **state) {
    (void)state;
    x->on_input = fail_inside;
    say(x, span_str("!"));
    hear_fatal(x, "08P01", "message type 33");
    assert_int_equal(x->offers, 1);
}

static void closed_inside(void **state) {
    (void)state;
    x->on_input = take_nothing;
    say(x, span_str("abc"));
    RUN_UNTIL(&x->loop, x->offers == 1);
    x->on_input = close_inside;
    client_resume_input(&x->client);
    assert_int_equal(x->gone, 1);
    client_resume_input(&x->client);
    client_unread(&x->client, span_str("x"));
    assert_int_equal(x->offers, 2);
    hear_end(x);
    assert_int_equal(errors(x, STAT_ERROR_CLIENT_LOST), 0);
}

static void end_of_file(void **state) {
    (void)state;
    shutdown(x->front.stream.fd, SHUT_WR);
    RUN_UNTIL(&x->loop, x->gone);
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(errors(x, STAT_ERROR_CLIENT_LOST), 1);
}

static void hang_up_while_held_back(void **state) {
    (void)state;
    x->on_input = take_nothing;
    flood(1 << 20);
    RUN_UNTIL(&x->loop, stream_is_paused(&x->client.stream));
    shutdown(x->front.stream.fd, SHUT_RDWR);
    RUN_UNTIL(&x->loop, x->gone);
    assert_int_equal(x->gone, 1);
}

static void drained_is_passed_on(void **state) {
    (void)state;
    const size_t all = 4 << 20;
    uint8_t *bytes = pattern_new(all);
    buf_consume(&x->front.got, x->heard);
    x->heard = 0;
    assert_true(client_write(&x->client, span_of(bytes, all)));
    assert_true(client_unsent(&x->client) > 0);
    RUN_UNTIL(&x->loop, x->drained && buf_len(&x->front.got) == all);
    assert_int_equal(client_unsent(&x->client), 0);
    assert_pattern(buf_span(&x->front.got));
    mem_free(bytes);
}

// ---- what is unsent at the end

enum { UNSENT = 4 << 20 };

// More than the kernel takes, and nobody reads it.
static void send_much(void) {
    uint8_t *bytes = pattern_new(UNSENT);
    buf_consume(&x->front.got, x->heard);
    x->heard = 0;
    stream_pause(&x->front.stream);
    assert_true(client_write(&x->client, span_of(bytes, UNSENT)));
    assert_true(client_unsent(&x->client) > 0);
    mem_free(bytes);
}

static void hear_much(void) {
    stream_resume(&x->front.stream);
    RUN_UNTIL(&x->loop, buf_len(&x->front.got) >= UNSENT);
    assert_pattern(span_first(buf_span(&x->front.got), UNSENT));
    buf_consume(&x->front.got, UNSENT);
}

static void fail_now(void) {
    struct fault fault;
    fault_set(&fault, "57P01", "terminating connection");
    client_fail(&x->client, STAT_ERROR_SHUTDOWN, &fault);
}

// The session is over at once, and the client's connection when it has read what was said.
static void an_error_comes_behind_what_is_unread(void **state) {
    (void)state;
    send_much();
    fail_now();
    assert_int_equal(x->gone, 1);
    assert_int_equal(x->client.state, CLIENT_LEAVING);
    assert_false(client_write(&x->client, span_str("x")));
    fail_now(); // is said once
    client_leave(&x->client);
    assert_int_equal(errors(x, STAT_ERROR_SHUTDOWN), 1);
    run_turns(&x->loop, 20);
    assert_int_equal(x->freed, 0);
    hear_much();
    hear_fatal(x, "57P01", "terminating connection");
    assert_int_equal(x->gone, 1);
    assert_int_equal(errors(x, STAT_ERROR_CLIENT_LOST), 0);
}

static size_t leave_inside(struct fixture *f, struct span bytes) {
    (void)bytes;
    client_unread(&f->client, span_str("x"));
    client_leave(&f->client);
    return 1;
}

// What it says when it has been told to go is thrown away, also where reading had been stopped; and its end of file is
// no more than that.
static void who_leaves_need_only_read(void **state) {
    (void)state;
    send_much();
    x->on_input = take_nothing;
    flood(1 << 20);
    RUN_UNTIL(&x->loop, stream_is_paused(&x->client.stream));
    int offers = x->offers;
    x->on_input = leave_inside;
    client_resume_input(&x->client);
    assert_int_equal(x->gone, 1);
    assert_int_equal(buf_len(&x->client.in), 0);
    RUN_UNTIL(&x->loop, stream_unsent(&x->front.stream) == 0);
    shutdown(x->front.stream.fd, SHUT_WR);
    RUN_UNTIL(&x->loop, x->client.stream.eof);
    client_resume_input(&x->client);
    assert_int_equal(x->offers, offers + 1);
    hear_much();
    hear_end(x);
}

static void who_leaves_may_vanish(void **state) {
    (void)state;
    send_much();
    client_leave(&x->client);
    assert_int_equal(x->freed, 0);
    close(x->front.stream.fd); // at once, behind the stream's back
    x->front.stream.fd = open("/dev/null", O_RDONLY);
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(x->gone, 1);
    assert_int_equal(errors(x, STAT_ERROR_CLIENT_LOST), 0);
}

static void who_leaves_may_be_closed(void **state) {
    (void)state;
    send_much();
    client_leave(&x->client);
    client_close(&x->client);
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(x->gone, 1);
}

static void who_does_not_read_leaves_in_the_end(void **state) {
    (void)state;
    send_much();
    client_leave(&x->client);
    assert_true(deadline_is_set(&x->client.deadline));
    x->client.lingered = 1200; // a minute has passed
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(x->gone, 1);
}

static void writing_to_nobody(void **state) {
    (void)state;
    close(x->front.stream.fd); // at once, behind the stream's back
    x->front.stream.fd = open("/dev/null", O_RDONLY);
    uint8_t *bytes = pattern_new(1 << 20);
    bool sent = true;
    for (int i = 0; sent && i < 3; i++) sent = client_write(&x->client, span_of(bytes, 1 << 20));
    assert_false(sent);
    assert_int_equal(x->gone, 1);
    assert_false(client_write(&x->client, span_str("x")));
    mem_free(bytes);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(straight_through),
        TEST(the_rest_is_offered_with_more_behind),
        TEST(resumed_from_outside),
        TEST(resumed_from_inside),
        TEST(unread_from_outside),
        TEST(unread_from_inside),
        TEST(early_bytes_wait_for_the_welcome),
        TEST(blocked_session_stops_the_reading),
        TEST(a_large_unit_is_waited_for),
        TEST(wanting_more_resumes_the_reading),
        TEST(nothing_is_lost_or_swapped),
        TEST(failed_inside),
        TEST(closed_inside),
        TEST(end_of_file),
        TEST(hang_up_while_held_back),
        TEST(drained_is_passed_on),
        TEST(an_error_comes_behind_what_is_unread),
        TEST(who_leaves_need_only_read),
        TEST(who_leaves_may_vanish),
        TEST(who_leaves_may_be_closed),
        TEST(who_does_not_read_leaves_in_the_end),
        TEST(writing_to_nobody),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
