// SPDX-License-Identifier: ISC
//
// tests/unit/net/listen_test.c: router/net/listen.c on real sockets.
#include "tests/unit/net/net_util.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "router/net/listen.h"

static struct test_loop loop;
static char dir[64];

static int set_up(void **state) {
    (void)state;
    test_loop_init(&loop);
    snprintf(dir, sizeof dir, "/tmp/pgsteer-listen-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    test_loop_fini(&loop);
    assert_int_equal(rmdir(dir), 0); // nothing is left behind
    return 0;
}

// What a worker hears.
struct worker {
    struct listeners *listeners;
    int fds[64];
    int accepted, shed;
    bool close_at_once;
};

static void on_accepted(void *arg, int fd) {
    struct worker *w = arg;
    w->fds[w->accepted++] = fd;
    if (w->close_at_once) listeners_close(w->listeners);
}
static void on_shed(void *arg) { ((struct worker *)arg)->shed++; }

static void worker_start_on(uv_loop_t *on, struct worker *w, struct listen_set *set, size_t index) {
    *w = (struct worker){.accepted = 0};
    w->listeners = listeners_start(on, set, index, on_accepted, on_shed, w);
    assert_non_null(w->listeners);
}
static void worker_start(struct worker *w, struct listen_set *set, size_t index) {
    worker_start_on(&loop.loop, w, set, index);
}
static void worker_drop_connections(struct worker *w) {
    while (w->accepted > 0) close(w->fds[--w->accepted]);
}
static void worker_stop(struct worker *w) {
    worker_drop_connections(w);
    listeners_close(w->listeners);
}

static struct config config_of(const char *addresses, int64_t port, const char *unix_dir) {
    struct config c = {
        .listen_addr = addresses, .listen_port = port, .unix_socket_dir = unix_dir, .unix_socket_mode = 0770};
    return c;
}

static struct listen_set *bind_set(const struct config *c, size_t workers) {
    struct fault f = {.text = ""};
    struct listen_set *set = listen_bind(c, workers, &f);
    if (!set) fail_msg("%s", f.text);
    return set;
}

// The n-th address of the description, as something to connect to.
static socklen_t address_at(const struct listen_set *set, int n, struct sockaddr_storage *to) {
    const char *p = listen_describe(set);
    while (n-- > 0) p = strstr(p, ", ") + 2;
    char text[200];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(p, ","), p);
    *to = (struct sockaddr_storage){0};
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)to;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, text + 5, strnlen(text + 5, sizeof un->sun_path - 1));
        return sizeof *un;
    }
    char *colon = strrchr(text, ':');
    *colon = '\0';
    if (text[0] == '[') {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)atoi(colon + 1));
        colon[-1] = '\0';
        assert_int_equal(inet_pton(AF_INET6, text + 1, &in6->sin6_addr), 1);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)atoi(colon + 1));
    assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
    return sizeof *in;
}

static int connect_to(const struct listen_set *set, int n) {
    struct sockaddr_storage a;
    socklen_t len = address_at(set, n, &a);
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, len) == 0) return fd;
    close(fd);
    return -1;
}

static int port_at(const struct listen_set *set, int n) {
    struct sockaddr_storage a;
    address_at(set, n, &a);
    return ntohs(((struct sockaddr_in *)&a)->sin_port);
}

static int option_of(int fd, int level, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

static void workers_share_a_port(void **state) {
    (void)state;
    enum { N = 40 };
    struct config c = config_of("127.0.0.1", 0, "");
    struct listen_set *set = bind_set(&c, 3);
    struct worker w[3];
    int fds[N];
    for (size_t i = 0; i < 3; i++) worker_start(&w[i], set, i);
    for (int i = 0; i < N; i++) fds[i] = connect_to(set, 0);
    RUN_UNTIL(&loop, w[0].accepted + w[1].accepted + w[2].accepted == N);
    // The kernel spreads by a hash of the addresses: with 40 connections none goes without.
    for (size_t i = 0; i < 3; i++) assert_true(w[i].accepted > 0);
    int fd = w[0].fds[0];
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    for (size_t i = 0; i < 3; i++) worker_stop(&w[i]);
    for (int i = 0; i < N; i++) close(fds[i]);
    run_turns(&loop, 2);
    listen_free(set);
}

static void several_addresses_and_a_unix_socket(void **state) {
    (void)state;
    struct config c = config_of("127.0.0.1, 127.0.0.2,127.0.0.1", 0, dir);
    struct listen_set *set = bind_set(&c, 2);
    char expected[200];
    snprintf(expected, sizeof expected, "127.0.0.1:%d, 127.0.0.2:%d, 127.0.0.1:%d, unix:%s/.s.PGSQL.0", port_at(set, 0),
             port_at(set, 1), port_at(set, 2), dir);
    assert_string_equal(listen_describe(set), expected);
    // Both workers hear of a connection to the Unix socket and one gets it.
    struct test_loop other;
    test_loop_init(&other);
    struct worker w[2];
    worker_start(&w[0], set, 0);
    worker_start_on(&other.loop, &w[1], set, 1);
    for (int n = 0; n < 4; n++) {
        int fd = connect_to(set, n);
        assert_true(fd >= 0);
        while (w[0].accepted + w[1].accepted < n + 1) {
            run_turns(&loop, 1);
            run_turns(&other, 1);
        }
        run_turns(&other, 1);
        run_turns(&loop, 1);
        assert_int_equal(w[0].accepted + w[1].accepted, n + 1);
        close(fd);
    }
    for (size_t i = 0; i < 2; i++) worker_stop(&w[i]);
    test_loop_fini(&other);
    run_turns(&loop, 2);
    listen_free(set);
}

static void the_same_address_twice_is_bound_once(void **state) {
    (void)state;
    struct config c = config_of("127.0.0.1", 0, "");
    struct listen_set *probe = bind_set(&c, 1);
    int port = port_at(probe, 0);
    listen_free(probe);
    c = config_of("127.0.0.1,localhost,127.0.0.1", port, "");
    struct listen_set *set = bind_set(&c, 1);
    char *again = strstr(listen_describe(set) + 1, "127.0.0.1");
    assert_null(again);
    listen_free(set);
}

static void a_star_is_every_address(void **state) {
    (void)state;
    struct config c = config_of("*", 0, "");
    struct listen_set *set = bind_set(&c, 1);
    assert_non_null(strstr(listen_describe(set), "0.0.0.0:"));
    struct worker w;
    worker_start(&w, set, 0);
    int fd = connect_to(set, 0);
    RUN_UNTIL(&loop, w.accepted == 1);
    close(fd);
    worker_stop(&w);
    run_turns(&loop, 2);
    listen_free(set);
}

static void expect_fault(const struct config *c, const char *begin, const char *what) {
    struct fault f = {.text = ""};
    assert_null(listen_bind(c, 2, &f));
    assert_string_equal(f.sqlstate, "F0000");
    if (strncmp(f.text, begin, strlen(begin)) != 0 || !strstr(f.text, what)) fail_msg("\"%s\"", f.text);
}

static void what_cannot_be_bound_is_named(void **state) {
    (void)state;
    struct config c = config_of("127.0.0.1", 0, "");
    struct listen_set *set = bind_set(&c, 2);
    // Another pgsteer (or anybody) has the port, although all of ours share theirs.
    struct config same = config_of("127.0.0.1", port_at(set, 0), "");
    char begin[64];
    snprintf(begin, sizeof begin, "listen_addr 127.0.0.1:%d", port_at(set, 0));
    expect_fault(&same, begin, "Address already in use");
    // The good address before the bad one is given back.
    struct config free_one = config_of("127.0.0.1", 0, "");
    struct listen_set *probe = bind_set(&free_one, 1);
    int port = port_at(probe, 0);
    listen_free(probe);
    struct config both = config_of("127.0.0.1,192.0.2.1", port, "");
    expect_fault(&both, "listen_addr 192.0.2.1", "Cannot assign");
    struct config again = config_of("127.0.0.1", port, "");
    listen_free(bind_set(&again, 1));
    listen_free(set);
    struct config none = config_of("no such host", 0, "");
    expect_fault(&none, "listen_addr no", "");
    struct config empty = config_of(" , ", 0, "");
    expect_fault(&empty, "nothing to listen on", "");
}

static const char *unix_path(void) {
    static char path[128];
    snprintf(path, sizeof path, "%s/.s.PGSQL.7777", dir);
    return path;
}

static void the_unix_socket_has_its_mode_and_goes(void **state) {
    (void)state;
    struct config c = config_of("", 7777, dir);
    const mode_t modes[] = {0700, 0777, 0660};
    for (size_t i = 0; i < countof(modes); i++) {
        c.unix_socket_mode = modes[i];
        mode_t before = umask(i == 1 ? 077 : 0);
        struct listen_set *set = bind_set(&c, 1);
        umask(before);
        struct stat st;
        assert_int_equal(stat(unix_path(), &st), 0);
        assert_int_equal(st.st_mode & 0777, modes[i]);
        listen_free(set);
        assert_int_equal(stat(unix_path(), &st), -1);
    }
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state) {
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, unix_path(), strnlen(unix_path(), sizeof un.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    struct config c = config_of("", 7777, dir);
    struct listen_set *set = bind_set(&c, 1);
    expect_fault(&c, "unix_socket_dir", "another process listens there");
    fd = connect_to(set, 0); // and it still does
    assert_true(fd >= 0);
    close(fd);
    listen_free(set);
    // What is not a socket is not ours to remove.
    fd = open(unix_path(), O_CREAT | O_WRONLY, 0600);
    close(fd);
    expect_fault(&c, "unix_socket_dir", "not a socket");
    assert_int_equal(unlink(unix_path()), 0);
    struct config nowhere = config_of("", 7777, "/no/such/dir");
    expect_fault(&nowhere, "unix_socket_dir", "No such file");
    char long_dir[200];
    memset(long_dir, 'x', sizeof long_dir);
    long_dir[sizeof long_dir - 1] = '\0';
    struct config too_long = config_of("", 7777, long_dir);
    expect_fault(&too_long, "unix_socket_dir", "too long");
}

static void closing_inside_the_callback(void **state) {
    (void)state;
    struct config c = config_of("127.0.0.1", 0, "");
    struct listen_set *set = bind_set(&c, 1);
    struct worker w;
    worker_start(&w, set, 0);
    w.close_at_once = true;
    int a = connect_to(set, 0), b = connect_to(set, 0);
    RUN_UNTIL(&loop, w.accepted);
    run_turns(&loop, 5);
    assert_int_equal(w.accepted, 1);
    worker_drop_connections(&w);
    close(a);
    close(b);
    listen_free(set);
}

// Every descriptor is taken but those of `spare`.
static void connections_without_descriptors_are_shed(void **state) {
    (void)state;
    enum { N = 8 };
    struct config c = config_of("127.0.0.1", 0, "");
    struct listen_set *set = bind_set(&c, 1);
    struct worker w;
    worker_start(&w, set, 0);
    int fds[N], highest = dup(0);
    for (int i = 0; i < N; i++) fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    close(highest);
    struct rlimit before, lower;
    getrlimit(RLIMIT_NOFILE, &before);
    lower = before;
    lower.rlim_cur = (rlim_t)fds[N - 1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lower), 0);
    int fill[64], n_fill = 0; // holes below the limit
    while (n_fill < 64 && (fill[n_fill] = dup(0)) >= 0) n_fill++;
    struct sockaddr_storage a;
    socklen_t len = address_at(set, 0, &a);
    for (int i = 0; i < N; i++) assert_int_equal(connect(fds[i], (struct sockaddr *)&a, len), 0);
    RUN_UNTIL(&loop, w.shed == N);
    assert_int_equal(w.accepted, 0);
    char byte;
    for (int i = 0; i < N; i++) assert_true(recv(fds[i], &byte, 1, 0) <= 0); // told, not left hanging
    // The loop sleeps: nothing is left to accept.
    int turns = 0;
    uint64_t until = uv_hrtime() + 50 * 1000000ull;
    while (uv_hrtime() < until && turns < 1000) {
        uv_run(&loop.loop, UV_RUN_NOWAIT);
        turns++;
    }
    assert_int_equal(w.shed, N);
    // With room again, the next one is served.
    setrlimit(RLIMIT_NOFILE, &before);
    while (n_fill > 0) close(fill[--n_fill]);
    for (int i = 0; i < N; i++) close(fds[i]);
    int fd = connect_to(set, 0);
    RUN_UNTIL(&loop, w.accepted == 1);
    close(fd);
    worker_stop(&w);
    run_turns(&loop, 2);
    listen_free(set);
}

// Not even the reserved descriptor can be had: the listener rests, the loop does not spin, and service resumes.
static void without_a_reserve_it_rests(void **state) {
    (void)state;
    struct config c = config_of("127.0.0.1", 0, "");
    struct listen_set *set = bind_set(&c, 1);
    struct rlimit before, lower;
    getrlimit(RLIMIT_NOFILE, &before);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage a;
    socklen_t len = address_at(set, 0, &a);
    lower = before;
    lower.rlim_cur = (rlim_t)client + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lower), 0);
    int fill[64], n_fill = 0;
    while (n_fill < 64 && (fill[n_fill] = dup(0)) >= 0) n_fill++;
    struct worker w;
    worker_start(&w, set, 0); // finds no descriptor to reserve
    assert_int_equal(connect(client, (struct sockaddr *)&a, len), 0);
    int turns = 0;
    uint64_t until = uv_hrtime() + 150 * 1000000ull;
    while (uv_hrtime() < until) {
        uv_run(&loop.loop, UV_RUN_ONCE);
        turns++;
    }
    assert_in_range(turns, 1, 20);
    assert_int_equal(w.accepted + w.shed, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    while (n_fill > 0) close(fill[--n_fill]);
    RUN_UNTIL(&loop, w.accepted == 1);
    close(client);
    worker_stop(&w);
    run_turns(&loop, 2);
    listen_free(set);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(workers_share_a_port),
        TEST(several_addresses_and_a_unix_socket),
        TEST(the_same_address_twice_is_bound_once),
        TEST(a_star_is_every_address),
        TEST(what_cannot_be_bound_is_named),
        TEST(the_unix_socket_has_its_mode_and_goes),
        TEST(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        TEST(closing_inside_the_callback),
        TEST(connections_without_descriptors_are_shed),
        TEST(without_a_reserve_it_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
