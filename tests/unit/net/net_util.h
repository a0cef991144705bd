// SPDX-License-Identifier: ISC
//
// tests/unit/net/net_util.h: a loop, two ends and what happened, for the tests of router/net.
//
// Everything runs on one uv loop and one thread. A test says what it waits for and the loop runs until that is so; it
// fails when ten seconds have passed. Nothing sleeps.
#ifndef PGSTEER_TESTS_UNIT_NET_UTIL_H
#define PGSTEER_TESTS_UNIT_NET_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "router/net/stream.h"

struct test_loop {
    uv_loop_t loop;
    uv_timer_t watchdog;
};

static inline void on_watchdog(uv_timer_t *t) {
    (void)t;
    fail_msg("nothing happened for ten seconds");
}

static inline void test_loop_init(struct test_loop *l) {
    assert_int_equal(uv_loop_init(&l->loop), 0);
    uv_timer_init(&l->loop, &l->watchdog);
    uv_timer_start(&l->watchdog, on_watchdog, 10000, 0);
    uv_unref((uv_handle_t *)&l->watchdog);
}

#define RUN_UNTIL(l, cond)                                                                                             \
    do {                                                                                                               \
        uv_timer_start(&(l)->watchdog, on_watchdog, 10000, 0);                                                         \
        uv_ref((uv_handle_t *)&(l)->watchdog);                                                                         \
        while (!(cond)) uv_run(&(l)->loop, UV_RUN_ONCE);                                                               \
        uv_unref((uv_handle_t *)&(l)->watchdog);                                                                       \
    } while (0)

// Handles whatever can be handled now.
static inline void run_turns(struct test_loop *l, int n) {
    while (n-- > 0) uv_run(&l->loop, UV_RUN_NOWAIT);
}

// The loop must be empty by then: a handle that was not closed is a leak.
static inline void test_loop_fini(struct test_loop *l) {
    uv_close((uv_handle_t *)&l->watchdog, NULL);
    run_turns(l, 10);
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

// One end under test.
struct end {
    struct stream stream; // first
    struct buf got;
    int ready, readable, drained, failed, closed, hung_up;
    ssize_t last_read;
    struct fault fault;
    size_t read_cap;                                // bytes per read, 0 = plenty
    void (*hook)(struct end *e, const char *event); // NULL = none
};

static inline struct end *end_of(struct stream *s) { return container_of(s, struct end, stream); }
static inline void end_tell(struct end *e, const char *event) {
    if (e->hook) e->hook(e, event);
}
static inline void end_ready(struct stream *s) {
    end_of(s)->ready++;
    end_tell(end_of(s), "ready");
}
static inline void end_readable(struct stream *s) {
    struct end *e = end_of(s);
    static uint8_t bytes[128 * 1024];
    e->readable++;
    e->last_read = stream_read(s, bytes, e->read_cap ? e->read_cap : sizeof bytes, &e->fault);
    if (e->last_read > 0) buf_put(&e->got, bytes, (size_t)e->last_read);
    end_tell(e, "readable");
}
static inline void end_drained(struct stream *s) {
    end_of(s)->drained++;
    end_tell(end_of(s), "drained");
}
static inline void end_failed(struct stream *s, const struct fault *f) {
    end_of(s)->failed++;
    end_of(s)->fault = *f;
    end_tell(end_of(s), "failed");
}
static inline void end_closed(struct stream *s) { end_of(s)->closed++; }
static inline void end_hung_up(struct stream *s) {
    end_of(s)->hung_up++;
    end_tell(end_of(s), "hung_up");
}

static const struct stream_ops end_ops = {.ready = end_ready,
                                          .readable = end_readable,
                                          .drained = end_drained,
                                          .failed = end_failed,
                                          .closed = end_closed,
                                          .hung_up = end_hung_up};

static inline void end_init(struct end *e) { *e = (struct end){.got = buf_make(1 << 30)}; }

static inline void end_open(struct end *e, struct test_loop *l, int fd) {
    struct fault f;
    end_init(e);
    assert_true(stream_open(&e->stream, &l->loop, &end_ops, fd, &f));
}

static inline void end_close(struct end *e, struct test_loop *l) {
    stream_close(&e->stream, false);
    RUN_UNTIL(l, e->closed);
    assert_int_equal(e->closed, 1);
    buf_release(&e->got);
}

static inline void set_nonblocking(int fd) { assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0); }

// Two ends of a Unix connection, non-blocking.
static inline void make_pair(int fds[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static inline int tcp_listener(struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof *address;
    assert_int_equal(bind(fd, (struct sockaddr *)address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

// The same over TCP on the loopback interface.
static inline void make_tcp_pair(int fds[2]) {
    struct sockaddr_in a;
    int listener = tcp_listener(&a);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&a, sizeof a), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
    set_nonblocking(fds[0]);
    set_nonblocking(fds[1]);
}

// Bytes that tell where they stand.
static inline uint8_t pattern_at(size_t i) { return (uint8_t)((i * 2654435761u) >> 13); }
static inline uint8_t *pattern_new(size_t n) {
    uint8_t *p = mem_alloc(n);
    for (size_t i = 0; i < n; i++) p[i] = pattern_at(i);
    return p;
}
static inline void assert_pattern(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != pattern_at(i)) fail_msg("byte %zu is wrong", i);
}

#endif
