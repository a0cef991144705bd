// SPDX-License-Identifier: ISC
//
// tests/unit/net/stream_test.c: router/net/stream.c without TLS, on real sockets and a real loop.
//
// The system calls that must not happen in steady state are counted: this program's epoll_ctl and send stand in front
// of the C library's.
#include "tests/unit/net/net_util.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/un.h>

static int epoll_ctls;
__attribute__((visibility("default"))) int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    epoll_ctls++;
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

static struct test_loop loop;
static int set_up(void **state) {
    (void)state;
    test_loop_init(&loop);
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    test_loop_fini(&loop);
    return 0;
}

static void read_all(int fd, struct buf *to) {
    uint8_t bytes[65536];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) buf_put(to, bytes, (size_t)n);
}

static void bytes_go_both_ways_without_polling_calls(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    run_turns(&loop, 2);
    epoll_ctls = 0;
    for (int i = 0; i < 100; i++) {
        char c = (char)i, back;
        assert_int_equal(send(fds[1], &c, 1, 0), 1);
        RUN_UNTIL(&loop, buf_len(&e.got) == (size_t)i + 1);
        struct iovec iov[] = {{&c, 1}, {&c, 0}, {&c, 1}};
        assert_true(stream_writev(&e.stream, iov, 3));
        // It has left before the loop has turned.
        assert_int_equal(stream_unsent(&e.stream), 0);
        assert_int_equal(recv(fds[1], &back, 1, MSG_DONTWAIT), 1);
        assert_int_equal(recv(fds[1], &back, 1, MSG_DONTWAIT), 1);
        assert_int_equal(back, c);
    }
    assert_int_equal(epoll_ctls, 0);
    assert_int_equal(e.readable, 100);
    assert_int_equal(e.drained, 0);
    end_close(&e, &loop);
    close(fds[1]);
}

static void what_the_kernel_does_not_take_is_queued_in_order(void **state) {
    (void)state;
    enum { TOTAL = 6 << 20, CHUNK = 300000 };
    int fds[2];
    make_tcp_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    uint8_t *p = pattern_new(TOTAL);
    epoll_ctls = 0;
    for (size_t at = 0; at < TOTAL;) {
        size_t a = MIN_OF((size_t)CHUNK, TOTAL - at), b = MIN_OF((size_t)7, TOTAL - at - a);
        struct iovec iov[] = {{p + at, a}, {p + at + a, b}};
        assert_true(stream_writev(&e.stream, iov, 2));
        at += a + b;
    }
    assert_true(stream_unsent(&e.stream) > 0);
    assert_true(epoll_ctls > 0); // the counter counts
    assert_int_equal(e.drained, 0);
    struct buf got = buf_make(1 << 30);
    while (!e.drained) {
        read_all(fds[1], &got);
        run_turns(&loop, 1);
    }
    assert_int_equal(stream_unsent(&e.stream), 0);
    assert_null(e.stream.out.data); // the memory does not stay
    while (buf_len(&got) < TOTAL) read_all(fds[1], &got);
    assert_int_equal(buf_len(&got), TOTAL);
    assert_pattern(buf_span(&got));
    run_turns(&loop, 3);
    assert_int_equal(e.drained, 1);
    // Drained: a write goes straight through again and nothing is polled for it.
    epoll_ctls = 0;
    assert_true(stream_write(&e.stream, "x", 1));
    assert_int_equal(stream_unsent(&e.stream), 0);
    run_turns(&loop, 2);
    assert_int_equal(epoll_ctls, 0);
    end_close(&e, &loop);
    close(fds[1]);
    buf_release(&got);
    mem_free(p);
}

static void what_is_held_goes_with_what_follows(void **state) {
    (void)state;
    struct end e;
    int fds[2];
    char got[8];
    make_pair(fds);
    end_open(&e, &loop, fds[0]);
    run_turns(&loop, 2);
    epoll_ctls = 0;
    stream_hold(&e.stream, span_str("ab"));
    run_turns(&loop, 3);
    assert_int_equal(recv(fds[1], got, sizeof got, MSG_DONTWAIT), -1);
    assert_int_equal(stream_unsent(&e.stream), 2);
    struct iovec iov[] = {{(char *)"cd", 2}, {(char *)"e", 1}};
    assert_true(stream_writev(&e.stream, iov, 2));
    assert_int_equal(stream_unsent(&e.stream), 0);
    assert_int_equal(recv(fds[1], got, sizeof got, MSG_DONTWAIT), 5);
    assert_memory_equal(got, "abcde", 5);
    assert_null(e.stream.out.data);
    assert_int_equal(epoll_ctls, 0);
    assert_int_equal(e.drained, 0);
    // Or with what is queued already.
    uint8_t *p = pattern_new(1 << 20);
    assert_true(stream_write(&e.stream, p, 1 << 20));
    assert_true(stream_unsent(&e.stream) > 0);
    stream_hold(&e.stream, span_str("z"));
    struct buf all = buf_make(2 << 20);
    RUN_UNTIL(&loop, (read_all(fds[1], &all), buf_len(&all) == (1 << 20) + 1));
    assert_int_equal(all.data[all.head + (1 << 20)], 'z');
    buf_release(&all);
    mem_free(p);
    // Or with the close.
    stream_hold(&e.stream, span_str("fg"));
    stream_close(&e.stream, true);
    assert_int_equal(recv(fds[1], got, sizeof got, MSG_DONTWAIT), 2);
    RUN_UNTIL(&loop, e.closed);
    close(fds[1]);
}

static void more_iovecs_than_the_kernel_takes(void **state) {
    (void)state;
    enum { N = 3000 };
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    uint8_t *p = pattern_new(N);
    struct iovec iov[N];
    for (size_t i = 0; i < N; i++) iov[i] = (struct iovec){p + i, 1};
    assert_true(stream_writev(&e.stream, iov, N));
    struct buf got = buf_make(N);
    RUN_UNTIL(&loop, (read_all(fds[1], &got), buf_len(&got) == N));
    assert_pattern(buf_span(&got));
    end_close(&e, &loop);
    close(fds[1]);
    buf_release(&got);
    mem_free(p);
}

static void paused_hears_nothing_and_costs_nothing(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    run_turns(&loop, 1);
    epoll_ctls = 0;
    for (int i = 0; i < 10; i++) {
        stream_pause(&e.stream);
        stream_pause(&e.stream);
        run_turns(&loop, 1);
        stream_resume(&e.stream);
        stream_resume(&e.stream);
    }
    assert_int_equal(epoll_ctls, 0);
    stream_pause(&e.stream);
    assert_true(stream_is_paused(&e.stream));
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    run_turns(&loop, 5);
    assert_int_equal(e.readable, 0);
    int after_arrival = epoll_ctls;
    run_turns(&loop, 20); // no spinning on what is there
    assert_int_equal(epoll_ctls, after_arrival);
    stream_resume(&e.stream);
    RUN_UNTIL(&loop, buf_len(&e.got) == 3);
    end_close(&e, &loop);
    close(fds[1]);
}

static void writes_drain_while_paused(void **state) {
    (void)state;
    enum { TOTAL = 4 << 20 };
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    stream_pause(&e.stream);
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    run_turns(&loop, 2);
    uint8_t *p = pattern_new(TOTAL);
    assert_true(stream_write(&e.stream, p, TOTAL));
    struct buf got = buf_make(TOTAL);
    RUN_UNTIL(&loop, (read_all(fds[1], &got), e.drained));
    while (buf_len(&got) < TOTAL) read_all(fds[1], &got);
    assert_pattern(buf_span(&got));
    assert_int_equal(e.readable, 0);
    end_close(&e, &loop);
    close(fds[1]);
    buf_release(&got);
    mem_free(p);
}

static void the_end_of_file_is_told_once(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    shutdown(fds[1], SHUT_WR);
    RUN_UNTIL(&loop, e.last_read == -1);
    assert_int_equal(buf_len(&e.got), 3);
    int told = e.readable;
    run_turns(&loop, 10);
    assert_int_equal(e.readable, told);
    assert_int_equal(stream_read(&e.stream, &told, sizeof told, &e.fault), -1);
    // Only one side has ended: the other still works.
    char c;
    assert_true(stream_write(&e.stream, "x", 1));
    assert_int_equal(recv(fds[1], &c, 1, MSG_DONTWAIT), 1);
    end_close(&e, &loop);
    close(fds[1]);
}

static void reset(int fd) {
    struct linger hard = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd);
}

static void a_reset_is_an_error_of_the_next_read(void **state) {
    (void)state;
    int fds[2];
    make_tcp_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    run_turns(&loop, 1);
    reset(fds[1]);
    RUN_UNTIL(&loop, e.last_read == -2);
    assert_string_equal(e.fault.sqlstate, "08006");
    assert_non_null(strstr(e.fault.text, "reset"));
    int told = e.readable;
    run_turns(&loop, 10);
    assert_int_equal(e.readable, told);
    end_close(&e, &loop);
}

static void a_reset_is_noticed_while_paused(void **state) {
    (void)state;
    int fds[2];
    make_tcp_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    stream_pause(&e.stream);
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    run_turns(&loop, 3);
    reset(fds[1]);
    RUN_UNTIL(&loop, e.hung_up);
    run_turns(&loop, 10);
    assert_int_equal(e.hung_up, 1);
    assert_int_equal(e.readable, 0);
    stream_resume(&e.stream);
    RUN_UNTIL(&loop, e.last_read < 0);
    end_close(&e, &loop);
}

static void a_half_close_is_noticed_while_paused_and_loses_nothing(void **state) {
    (void)state;
    int fds[2];
    make_tcp_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    stream_pause(&e.stream);
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    close(fds[1]);
    RUN_UNTIL(&loop, e.hung_up);
    run_turns(&loop, 10);
    assert_int_equal(e.hung_up, 1);
    stream_resume(&e.stream);
    RUN_UNTIL(&loop, e.last_read == -1);
    assert_int_equal(buf_len(&e.got), 3);
    end_close(&e, &loop);
}

static void nobody_listens_for_a_hang_up(void **state) {
    (void)state;
    static const struct stream_ops ops = {
        .readable = end_readable, .drained = end_drained, .failed = end_failed, .closed = end_closed};
    int fds[2];
    make_tcp_pair(fds);
    struct end e;
    end_init(&e);
    assert_true(stream_open(&e.stream, &loop.loop, &ops, fds[0], &e.fault));
    stream_pause(&e.stream);
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    reset(fds[1]);
    run_turns(&loop, 3);
    epoll_ctls = 0;
    run_turns(&loop, 10);
    assert_int_equal(epoll_ctls, 0);
    assert_int_equal(e.readable + e.failed, 0);
    stream_resume(&e.stream);
    RUN_UNTIL(&loop, e.last_read < 0);
    end_close(&e, &loop);
}

static void last_words_can_be_read_after_a_failed_send(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    assert_int_equal(send(fds[1], "bye", 3, 0), 3);
    close(fds[1]);
    assert_false(stream_write(&e.stream, "x", 1));
    assert_false(stream_write(&e.stream, "x", 1));
    RUN_UNTIL(&loop, e.last_read == -1);
    assert_int_equal(buf_len(&e.got), 3);
    assert_int_equal(e.failed, 0);
    end_close(&e, &loop);
}

static void a_queue_that_cannot_be_sent_fails_once(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    uint8_t *p = pattern_new(4 << 20);
    assert_true(stream_write(&e.stream, p, 4 << 20));
    stream_pause(&e.stream);
    close(fds[1]);
    RUN_UNTIL(&loop, e.failed);
    run_turns(&loop, 10);
    assert_int_equal(e.failed, 1);
    assert_int_equal(stream_unsent(&e.stream), 0);
    assert_false(stream_write(&e.stream, "x", 1));
    end_close(&e, &loop);
    mem_free(p);
}

static void closing_drops_the_queue(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    uint8_t *p = pattern_new(4 << 20);
    assert_true(stream_write(&e.stream, p, 4 << 20));
    stream_close(&e.stream, false);
    stream_close(&e.stream, true);
    assert_int_equal(e.stream.fd, -1);
    assert_int_equal(stream_unsent(&e.stream), 0);
    assert_false(stream_write(&e.stream, "x", 1));
    assert_int_equal(e.closed, 0); // never from inside
    RUN_UNTIL(&loop, e.closed);
    assert_int_equal(e.drained + e.failed + e.readable, 0);
    // The peer sees the end behind what the kernel had taken.
    struct buf got = buf_make(8 << 20);
    read_all(fds[1], &got);
    char c;
    assert_int_equal(recv(fds[1], &c, 1, MSG_DONTWAIT), 0);
    assert_pattern(buf_span(&got));
    buf_release(&got);
    close(fds[1]);
    mem_free(p);
}

static void last_words_arrive_although_bytes_are_unread(void **state) {
    (void)state;
    int fds[2];
    make_tcp_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    static uint8_t flood[200000];
    assert_true(send(fds[1], flood, sizeof flood, 0) > 0);
    assert_true(stream_write(&e.stream, "the reason", 10));
    stream_close(&e.stream, true);
    RUN_UNTIL(&loop, e.closed);
    char words[32];
    assert_int_equal(recv(fds[1], words, sizeof words, 0), 10);
    assert_int_equal(recv(fds[1], words, sizeof words, 0), 0); // not ECONNRESET
    close(fds[1]);
}

static void a_flush_at_the_close_sends_what_the_kernel_takes(void **state) {
    (void)state;
    int fds[2];
    make_pair(fds);
    struct end e;
    end_open(&e, &loop, fds[0]);
    uint8_t *p = pattern_new(4 << 20);
    assert_true(stream_write(&e.stream, p, 4 << 20));
    struct buf got = buf_make(8 << 20);
    read_all(fds[1], &got); // room again, which the loop has not seen yet
    size_t before = buf_len(&got);
    stream_close(&e.stream, true);
    read_all(fds[1], &got);
    assert_true(buf_len(&got) > before);
    assert_pattern(buf_span(&got));
    RUN_UNTIL(&loop, e.closed);
    close(fds[1]);
    buf_release(&got);
    mem_free(p);
}

static void close_on(struct end *e, const char *event) {
    (void)event;
    stream_close(&e->stream, false);
}

static void every_callback_may_close(void **state) {
    (void)state;
    int fds[2];
    struct end e;
    // readable
    make_pair(fds);
    end_open(&e, &loop, fds[0]);
    e.hook = close_on;
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    RUN_UNTIL(&loop, e.closed);
    assert_int_equal(e.readable, 1);
    close(fds[1]);
    buf_release(&e.got);
    // drained
    uint8_t *p = pattern_new(1 << 20);
    make_pair(fds);
    end_open(&e, &loop, fds[0]);
    e.hook = close_on;
    assert_true(stream_write(&e.stream, p, 1 << 20));
    struct buf got = buf_make(1 << 20);
    RUN_UNTIL(&loop, (read_all(fds[1], &got), e.closed));
    assert_int_equal(e.drained, 1);
    close(fds[1]);
    // failed, by the queue
    make_pair(fds);
    end_open(&e, &loop, fds[0]);
    e.hook = close_on;
    stream_pause(&e.stream);
    e.stream.hung_up = true; // told already
    assert_true(stream_write(&e.stream, p, 1 << 20));
    close(fds[1]);
    RUN_UNTIL(&loop, e.closed);
    assert_int_equal(e.failed, 1);
    // hung up
    make_pair(fds);
    end_open(&e, &loop, fds[0]);
    e.hook = close_on;
    stream_pause(&e.stream);
    assert_int_equal(send(fds[1], "abc", 3, 0), 3);
    run_turns(&loop, 2);
    close(fds[1]);
    RUN_UNTIL(&loop, e.closed);
    assert_int_equal(e.hung_up, 1);
    assert_int_equal(e.readable, 0);
    buf_release(&got);
    mem_free(p);
}

static void connecting_is_told_later_and_sends_what_waits(void **state) {
    (void)state;
    struct sockaddr_in a;
    int listener = tcp_listener(&a), one = 0;
    socklen_t len = sizeof one;
    struct end e;
    end_init(&e);
    assert_true(stream_connect(&e.stream, &loop.loop, &end_ops, (struct sockaddr *)&a, sizeof a, &e.fault));
    assert_true(stream_write(&e.stream, "early", 5));
    assert_int_equal(e.ready, 0);
    assert_int_equal(getsockopt(e.stream.fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, &len), 0);
    assert_int_equal(one, 1);
    assert_int_equal(getsockopt(e.stream.fd, SOL_SOCKET, SO_KEEPALIVE, &one, &len), 0);
    assert_int_equal(one, 1);
    RUN_UNTIL(&loop, e.ready);
    int fd = accept(listener, NULL, NULL);
    char text[64];
    assert_int_equal(recv(fd, text, sizeof text, 0), 5);
    struct sockaddr_storage peer;
    stream_address_str((struct sockaddr *)&peer, stream_peer(&e.stream, &peer), text, sizeof text);
    char expected[64];
    snprintf(expected, sizeof expected, "127.0.0.1:%u", ntohs(a.sin_port));
    assert_string_equal(text, expected);
    assert_true(stream_address_is_local((struct sockaddr *)&peer));
    assert_int_equal(stream_silent_ms(&e.stream), 0);
    close(fd);
    RUN_UNTIL(&loop, e.last_read == -1);
    end_close(&e, &loop);
    assert_int_equal(stream_peer(&e.stream, &peer), 0);
    close(listener);
}

static void nobody_answers(void **state) {
    (void)state;
    struct sockaddr_in a;
    close(tcp_listener(&a));
    struct end e;
    end_init(&e);
    // The loopback interface answers while we are still inside; both ways of telling are good.
    if (stream_connect(&e.stream, &loop.loop, &end_ops, (struct sockaddr *)&a, sizeof a, &e.fault)) {
        assert_int_equal(e.failed, 0);
        RUN_UNTIL(&loop, e.failed);
        run_turns(&loop, 5);
        assert_int_equal(e.failed, 1);
        assert_int_equal(e.ready + e.readable, 0);
        assert_int_equal(stream_read(&e.stream, &a, sizeof a, &e.fault), -1);
        end_close(&e, &loop);
    }
    assert_non_null(strstr(e.fault.text, "refused"));
    assert_string_equal(e.fault.sqlstate, "08006");
    // A Unix socket that is not there.
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/nowhere/at/all"};
    assert_false(stream_connect(&e.stream, &loop.loop, &end_ops, (struct sockaddr *)&un, sizeof un, &e.fault));
    assert_non_null(strstr(e.fault.text, "No such file"));
}

static void a_closed_stream_can_be_used_again(void **state) {
    (void)state;
    struct sockaddr_in a;
    int listener = tcp_listener(&a);
    struct end e;
    for (int i = 0; i < 3; i++) {
        end_init(&e);
        assert_true(stream_connect(&e.stream, &loop.loop, &end_ops, (struct sockaddr *)&a, sizeof a, &e.fault));
        RUN_UNTIL(&loop, e.ready);
        end_close(&e, &loop);
        close(accept(listener, NULL, NULL));
    }
    close(listener);
}

static void unix_peers_have_a_name_and_are_local(void **state) {
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "/tmp/pgsteer-stream-%d", (int)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(listener, 1), 0);
    struct end client, server;
    end_init(&client);
    assert_true(stream_connect(&client.stream, &loop.loop, &end_ops, (struct sockaddr *)&un, sizeof un, &client.fault));
    end_open(&server, &loop, accept(listener, NULL, NULL));
    RUN_UNTIL(&loop, client.ready);
    char text[200], expected[200];
    snprintf(expected, sizeof expected, "unix:%s", un.sun_path);
    struct sockaddr_storage peer;
    socklen_t len = stream_peer(&client.stream, &peer);
    stream_address_str((struct sockaddr *)&peer, len, text, sizeof text);
    assert_string_equal(text, expected);
    len = stream_peer(&server.stream, &peer);
    stream_address_str((struct sockaddr *)&peer, len, text, sizeof text);
    assert_string_equal(text, expected);
    assert_true(stream_address_is_local((struct sockaddr *)&peer));
    assert_int_equal(stream_silent_ms(&server.stream), 0);
    stream_address_str((struct sockaddr *)&peer, len, text, 8);
    assert_string_equal(text, "unix:/t");
    end_close(&client, &loop);
    end_close(&server, &loop);
    close(listener);
    unlink(un.sun_path);
}

static void addresses_are_written_as_people_write_them(void **state) {
    (void)state;
    char text[80];
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(5432), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    stream_address_str((struct sockaddr *)&a, sizeof a, text, sizeof text);
    assert_string_equal(text, "[::1]:5432");
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    stream_address_str(&none, sizeof none, text, sizeof text);
    assert_string_equal(text, "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_both_ways_without_polling_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_kernel_does_not_take_is_queued_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_held_goes_with_what_follows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_iovecs_than_the_kernel_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paused_hears_nothing_and_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_drain_while_paused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_file_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reset_is_an_error_of_the_next_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reset_is_noticed_while_paused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_half_close_is_noticed_while_paused_and_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_listens_for_a_hang_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_words_can_be_read_after_a_failed_send, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_queue_that_cannot_be_sent_fails_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_drops_the_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_words_arrive_although_bytes_are_unread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flush_at_the_close_sends_what_the_kernel_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_callback_may_close, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connecting_is_told_later_and_sends_what_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_closed_stream_can_be_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unix_peers_have_a_name_and_are_local, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_are_written_as_people_write_them, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
