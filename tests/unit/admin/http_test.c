// SPDX-License-Identifier: ISC
//
// tests/unit/admin/http_test.c: the HTTP port over real sockets.
//
// The server's loop runs in a thread of its own, as the control thread's does; the test is a raw client, so that it can
// send what no HTTP library would. The source's answers do not change while the thread runs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "router/admin/http.h"
#include "tests/unit/admin/fixture.h"

// --- the server ---

struct server {
    struct http *http;
    struct topology *topology;
    uv_loop_t loop;
    uv_async_t stop;
    uv_thread_t thread;
    int port;
    bool closed;
};

static struct config config = {.http_addr = "127.0.0.1", .max_lag = 60000, .critical_lag = 120000};

static const struct topology *source_topology(void *arg) { return ((struct server *)arg)->topology; }
static const struct config *source_config(void *arg) {
    (void)arg;
    return &config;
}
static void source_gather(void *arg, struct stats *out) {
    (void)arg;
    struct stats worker = {0};
    stats_add(&worker, STAT_CLIENT_LOGINS, 21);
    stats_merge(out, &worker);
    stats_merge(out, &worker);
}
static bool source_started(void *arg) {
    (void)arg;
    return true;
}
static bool source_draining(void *arg) {
    (void)arg;
    return false;
}
static const char *source_reason(unsigned reason) { return reason ? NULL : "read"; }

static void on_http_closed(void *arg) {
    struct server *s = arg;
    s->closed = true;
}

static void on_stop(uv_async_t *async) {
    struct server *s = async->data;
    http_stop(s->http, on_http_closed, s);
    uv_close((uv_handle_t *)async, NULL);
}

static void serve(void *arg) {
    struct server *s = arg;
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

static int setup(void **state) {
    struct server *s = calloc(1, sizeof *s);
    struct fault f;
    s->topology = fixture_topology("PRl");
    s->http = http_bind(&config, &f);
    if (!s->http) fail_msg("%s", f.text);
    s->port = atoi(strrchr(http_describe(s->http), ':') + 1);
    uv_loop_init(&s->loop);
    uv_async_init(&s->loop, &s->stop, on_stop);
    s->stop.data = s;
    struct http_source source = {source_topology, source_config, source_gather, source_started,
                                 source_draining, source_reason, source_reason, s};
    if (!http_start(s->http, &s->loop, &source, &f)) fail_msg("%s", f.text);
    uv_thread_create(&s->thread, serve, s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct server *s = *state;
    uv_async_send(&s->stop);
    uv_thread_join(&s->thread);
    assert_true(s->closed);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    topology_unref(s->topology);
    free(s);
    return 0;
}

// --- the client ---

static double now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int dial(const struct server *s) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) fail_msg("connect: %s", strerror(errno));
    return fd;
}

// False when the other side has gone.
static bool send_all(int fd, const char *text, size_t len) {
    while (len) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}
static void send_text(int fd, const char *text) { assert_true(send_all(fd, text, strlen(text))); }

// Everything up to the end of the connection, which is closed; the caller frees.
static char *read_to_end(int fd) {
    struct buf got = buf_make(8 * 1024 * 1024);
    for (;;) {
        uint8_t *to = buf_reserve(&got, 65536);
        assert_non_null(to);
        ssize_t n = recv(fd, to, 65536, 0);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) fail_msg("no end after 20 s");
        if (n <= 0) break;
        buf_commit(&got, (size_t)n);
    }
    close(fd);
    buf_put_u8(&got, 0);
    return (char *)got.data;
}

static char *ask(const struct server *s, const char *request) {
    int fd = dial(s);
    send_text(fd, request);
    return read_to_end(fd);
}

static size_t count_of(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what)) n++;
    return n;
}

static bool has_status(const char *answer, int status) {
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    return !strncmp(answer, line, strlen(line));
}

#define HOST "Host: localhost\r\n"
#define CLOSE "Connection: close\r\n\r\n"

static const struct {
    const char *request;
    int status;
    const char *holds; // part of the answer
} requests[] = {
    {"GET /primary HTTP/1.1\r\n" HOST CLOSE, 200, "\r\n\r\n{\"status\":\"ok\",\"reason\":\"pg1 takes writes\"}\n"},
    {"GET /replica?lag=1s HTTP/1.1\r\n" HOST CLOSE, 503, "Content-Type: application/json\r\n"},
    {"GET /replica?lag=2s HTTP/1.1\r\n" HOST CLOSE, 200, "Cache-Control: no-store\r\n"},
    {"GET /replica?lag=16MB HTTP/1.1\r\n" HOST CLOSE, 400, "in bytes"},
    {"GET /replica?lag=%31%73 HTTP/1.1\r\n" HOST CLOSE, 503, "more lag"},
    {"GET /health HTTP/1.0\r\n\r\n", 200, "\"lag_seconds\": 90.0"},
    {"GET /metrics HTTP/1.1\r\n" HOST CLOSE, 200, "\npgsteer_client_logins_total 42\n"},
    {"GET /metrics HTTP/1.1\r\n" HOST CLOSE, 200, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"},
    {"GET /nope HTTP/1.1\r\n" HOST CLOSE, 404, "no such path"},
    {"POST /primary HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 405, "Allow: GET, HEAD, OPTIONS\r\n"},
    {"DELETE /primary HTTP/1.1\r\n" HOST CLOSE, 405, "Allow: GET, HEAD, OPTIONS\r\n"},
    {"GET /primary HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 413, "body"},
    {"GET /primary HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413, "body"},
    {"OPTIONS /primary HTTP/1.0\r\n\r\n", 200, "Allow: GET, HEAD, OPTIONS\r\n"},
    {"OPTIONS /replica?lag=1s HTTP/1.0\r\n\r\n", 503, "Content-Length: 0\r\n"},
    {"GET /primary HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", 413, ""},
    {"GET /primary HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400, ""},
};

static void requests_are_answered(void **state) {
    for (size_t i = 0; i < countof(requests); i++) {
        char *answer = ask(*state, requests[i].request);
        if (!has_status(answer, requests[i].status) || !strstr(answer, requests[i].holds))
            fail_msg("%s -> %s", requests[i].request, answer);
        free(answer);
    }
}

static void head_has_the_length_and_no_body(void **state) {
    char *get = ask(*state, "GET /primary HTTP/1.1\r\n" HOST CLOSE);
    char *head = ask(*state, "HEAD /primary HTTP/1.1\r\n" HOST CLOSE);
    char *options = ask(*state, "OPTIONS /primary HTTP/1.1\r\n" HOST CLOSE);
    const char *length = strstr(get, "Content-Length: ");
    assert_non_null(length);
    assert_true(has_status(head, 200));
    assert_int_equal(strncmp(strstr(head, "Content-Length: "), length, strcspn(length, "\r")), 0);
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
    assert_string_equal(strstr(options, "\r\n\r\n"), "\r\n\r\n");
    free(get);
    free(head);
    free(options);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    char *answer = ask(*state, "GET /liveness HTTP/1.1\r\n" HOST "\r\n"
                               "HEAD /health HTTP/1.1\r\n" HOST "\r\n"
                               "GET /primary HTTP/1.1\r\n" HOST "\r\n"
                               "GET /nope HTTP/1.1\r\n" HOST "\r\n"
                               "GET /replica HTTP/1.1\r\n" HOST CLOSE);
    assert_int_equal(count_of(answer, "HTTP/1.1 "), 5);
    const char *const order[] = {"the router runs", "pg1 takes writes", "no such path", "replicas that take reads: 1"};
    const char *at = answer;
    for (size_t i = 0; i < countof(order); i++) {
        at = strstr(at, order[i]);
        if (!at) fail_msg("no \"%s\" in its place: %s", order[i], answer);
    }
    free(answer);
}

// What stands where a body would be must not be taken for a request.
static void a_body_is_not_a_request(void **state) {
    const char *const smuggled[] = {
        "GET /primary HTTP/1.1\r\n" HOST "Content-Length: 40\r\n\r\nGET /liveness HTTP/1.1\r\n" HOST "\r\n",
        "POST /primary HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\nGET /liveness HTTP/1.1\r\n" HOST "\r\n",
        "PATCH /primary HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET /liveness HTTP/1.1\r\n" HOST CLOSE,
    };
    char *answer = ask(*state, smuggled[0]);
    assert_int_equal(count_of(answer, "HTTP/1.1 "), 1);
    assert_null(strstr(answer, "the router runs"));
    free(answer);
    answer = ask(*state, smuggled[2]);
    assert_int_equal(count_of(answer, "HTTP/1.1 "), 1);
    free(answer);
    // An empty one is none: this is two requests.
    int fd = dial(*state);
    send_text(fd, smuggled[1]);
    shutdown(fd, SHUT_WR);
    answer = read_to_end(fd);
    assert_int_equal(count_of(answer, "HTTP/1.1 405"), 1);
    free(answer);
}

static void a_giant_header_is_refused(void **state) {
    enum { GIANT = 1024 * 1024 };
    char *giant = malloc(GIANT);
    memset(giant, 'a', GIANT);
    const char *const starts[] = {"GET /primary HTTP/1.1\r\n" HOST "X-Giant: ", "GET /", "", "GET /replica?lag="};
    for (size_t i = 0; i < countof(starts); i++) {
        int fd = dial(*state);
        send_text(fd, starts[i]);
        // The answer comes, and the connection ends, long before all of it is sent.
        send_all(fd, giant, GIANT);
        char *answer = read_to_end(fd);
        if (*answer && !has_status(answer, 431) && !has_status(answer, 414)) fail_msg("%s", answer);
        free(answer);
    }
    // One that is too large by a little gets its answer.
    int fd = dial(*state);
    send_text(fd, starts[0]);
    send_all(fd, giant, 8200);
    char *answer = read_to_end(fd);
    assert_true(has_status(answer, 431));
    free(answer);
    // And one that fits is served.
    fd = dial(*state);
    send_text(fd, starts[0]);
    send_all(fd, giant, 6000);
    send_text(fd, "\r\n" CLOSE);
    answer = read_to_end(fd);
    assert_true(has_status(answer, 200));
    free(answer);
    free(giant);
}

// One more request on a connection that is kept.
static void ask_again(int fd) {
    char answer[1024] = "";
    send_text(fd, "GET /liveness HTTP/1.1\r\n" HOST "\r\n");
    if (recv(fd, answer, sizeof answer - 1, 0) <= 0 || !has_status(answer, 200)) fail_msg("\"%s\"", answer);
}

static void slow_clients_are_cut_off(void **state) {
    // One that is slow in no way, only older than the others may become; one that says nothing, one that stops in the
    // header, one that sends a byte now and then, one between two requests.
    int lively = dial(*state), silent = dial(*state), stopped = dial(*state), drip = dial(*state), idle = dial(*state);
    double start = now();
    send_text(stopped, "GET /primary HTTP/1.1\r\nHo");
    send_text(idle, "GET /primary HTTP/1.1\r\n" HOST "\r\n");
    struct timeval pause = {.tv_usec = 200000};
    setsockopt(drip, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof pause);
    send_text(drip, "GET /primary HTTP/1.1\r\nX-Drip: ");
    char byte;
    while (now() - start < 15) {
        ask_again(lively);
        if (!send_all(drip, "a", 1)) break;
        if (recv(drip, &byte, 1, 0) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) break; // waits a little, or ends
    }
    assert_true(now() - start > 4);
    assert_true(now() - start < 8);
    ask_again(lively);
    close(lively);
    close(drip);
    char *answers[] = {read_to_end(silent), read_to_end(stopped), read_to_end(idle)};
    assert_true(now() - start < 8);
    assert_string_equal(answers[0], "");
    assert_true(!*answers[1] || has_status(answers[1], 408));
    assert_true(has_status(answers[2], 200));
    for (size_t i = 0; i < countof(answers); i++) free(answers[i]);
}

static void a_hundred_connections_are_all_served(void **state) {
    enum { MANY = 100 };
    int fds[MANY];
    for (size_t i = 0; i < MANY; i++) fds[i] = dial(*state);
    for (size_t i = 0; i < MANY; i++) send_text(fds[i], "GET /liveness HTTP/1.1\r\n" HOST CLOSE);
    for (size_t i = 0; i < MANY; i++) {
        char *answer = read_to_end(fds[i]);
        assert_true(has_status(answer, 200));
        free(answer);
    }
}

static void idle_connections_make_room(void **state) {
    enum { PLACES = 64 };
    int fds[PLACES];
    double start = now();
    for (size_t i = 0; i < PLACES; i++) fds[i] = dial(*state);
    char *answer = ask(*state, "GET /liveness HTTP/1.1\r\n" HOST CLOSE);
    assert_true(has_status(answer, 200));
    assert_true(now() - start < 4); // sooner than an idle connection ends otherwise
    free(answer);
    for (size_t i = 0; i < PLACES; i++) close(fds[i]);
}

static void clients_that_vanish_are_forgotten(void **state) {
    for (size_t i = 0; i < 200; i++) {
        int fd = dial(*state);
        struct linger reset = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        static const char text[] = "GET /metrics HTTP/1.1\r\n" HOST "\r\n";
        send_all(fd, text, i % sizeof text);
        close(fd);
    }
    char *answer = ask(*state, "GET /liveness HTTP/1.1\r\n" HOST CLOSE);
    assert_true(has_status(answer, 200));
    free(answer);
}

static void a_reader_that_stops_costs_nothing(void **state) {
    // Asks for more than the kernel holds and reads nothing: the server must wait, not spin, and serve others
    // meanwhile.
    int fd = dial(*state), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    static const char text[] = "GET /metrics HTTP/1.1\r\n" HOST "\r\n";
    struct rusage before, after;
    while (send(fd, text, sizeof text - 1, MSG_NOSIGNAL) > 0) continue;
    char *answer = ask(*state, "GET /liveness HTTP/1.1\r\n" HOST CLOSE);
    assert_true(has_status(answer, 200));
    free(answer);
    getrusage(RUSAGE_SELF, &before);
    fcntl(fd, F_SETFL, 0);
    int other = dial(*state); // silent: ends when its time is over
    free(read_to_end(other));
    getrusage(RUSAGE_SELF, &after);
    double cpu =
        (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
        (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
            1e6;
    if (cpu > 1) fail_msg("%.1f s of CPU in 5 s of waiting", cpu);
    free(read_to_end(fd));
}

static void without_descriptors_it_is_served_from_the_reserve(void **state) {
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    // A client's socket first, then a limit that is used up.
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int next = dup(0);
    low = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
    close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct server *s = *state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int refused = dup(0), error = errno;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    send_text(fd, "GET /metrics HTTP/1.1\r\n" HOST CLOSE);
    char *answer = read_to_end(fd);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(refused, -1);
    assert_int_equal(error, EMFILE);
    assert_true(has_status(answer, 200));
    const char *open_fds = strstr(answer, "\nprocess_open_fds ");
    assert_non_null(open_fds);
    assert_true(atoi(open_fds + strlen("\nprocess_open_fds ")) > 3);
    free(answer);
}

// --- start and stop ---

static void a_taken_address_is_a_clear_error(void **state) {
    (void)state;
    struct fault f;
    struct config c = config;
    struct http *first = http_bind(&c, &f);
    assert_non_null(first);
    c.http_port = atoi(strrchr(http_describe(first), ':') + 1);
    assert_null(http_bind(&c, &f));
    char expected[100];
    snprintf(expected, sizeof expected, "http_addr 127.0.0.1:%d: Address already in use", (int)c.http_port);
    assert_string_equal(f.text, expected);
    http_stop(first, NULL, NULL);
    struct http *second = http_bind(&c, &f);
    if (!second) fail_msg("%s", f.text);
    http_stop(second, NULL, NULL);
}

static void addresses_are_checked(void **state) {
    (void)state;
    const struct {
        const char *address, *error; // NULL: it is bound
    } cases[] = {
        {"127.0.0.1", NULL},
        {"localhost", NULL},
        {"*", NULL},
        {"192.0.2.1", "http_addr 192.0.2.1:0: Cannot assign requested address"},
        {"a..b", "http_addr a..b:0: "},
        {"[::1", "http_addr [::1:0: "},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct fault f = {0};
        struct config c = {.http_addr = cases[i].address};
        struct http *h = http_bind(&c, &f);
        if (cases[i].error ? h || strncmp(f.text, cases[i].error, strlen(cases[i].error)) : !h)
            fail_msg("%s: %s", cases[i].address, f.text);
        if (h) http_stop(h, NULL, NULL);
    }
}

static void ipv6_is_served(void **state) {
    (void)state;
    struct fault f;
    struct config c = {.http_addr = "[::1]"};
    struct http *h = http_bind(&c, &f);
    if (!h) {
        assert_non_null(strstr(f.text, "Cannot assign requested address")); // a machine without IPv6
        skip();
    }
    assert_int_equal(strncmp(http_describe(h), "[::1]:", 6), 0);
    http_stop(h, NULL, NULL);
}

static void off_is_nothing(void **state) {
    (void)state;
    struct fault f;
    struct config c = {.http_addr = ""};
    struct http *h = http_bind(&c, &f);
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct http_source source = {0};
    assert_non_null(h);
    assert_string_equal(http_describe(h), "");
    assert_true(http_start(h, &loop, &source, &f));
    assert_int_equal(uv_run(&loop, UV_RUN_NOWAIT), 0);
    http_stop(h, NULL, NULL);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void stop_ends_open_connections(void **state) {
    setup(state);
    struct server *s = *state;
    int idle = dial(s), asked = dial(s);
    send_text(asked, "GET /liveness HTTP/1.1\r\n" HOST "\r\n");
    char byte;
    assert_int_equal(recv(asked, &byte, 1, 0), 1); // both are accepted: in order
    teardown(state);
    free(read_to_end(idle));
    free(read_to_end(asked));
}

#define on_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        on_server(requests_are_answered),
        on_server(head_has_the_length_and_no_body),
        on_server(pipelined_requests_are_answered_in_order),
        on_server(a_body_is_not_a_request),
        on_server(a_giant_header_is_refused),
        on_server(slow_clients_are_cut_off),
        on_server(a_hundred_connections_are_all_served),
        on_server(idle_connections_make_room),
        on_server(clients_that_vanish_are_forgotten),
        on_server(a_reader_that_stops_costs_nothing),
        on_server(without_descriptors_it_is_served_from_the_reserve),
        cmocka_unit_test(a_taken_address_is_a_clear_error),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(ipv6_is_served),
        cmocka_unit_test(off_is_nothing),
        cmocka_unit_test(stop_ends_open_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
