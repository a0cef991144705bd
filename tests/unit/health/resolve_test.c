// SPDX-License-Identifier: ISC
// Tests of health/resolve.h: addresses that need no look-up, names that do, and that going away early is safe.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "health/resolve.h"

struct outcome {
    int calls;
    bool changed;
};

static void on_done(void *owner, bool changed) {
    struct outcome *o = owner;
    o->calls++;
    o->changed = changed;
}

static void run(const char *host, int port, struct resolve *r, uv_loop_t *loop, struct outcome *o) {
    *o = (struct outcome){0, false};
    assert_int_equal(uv_loop_init(loop), 0);
    resolve_init(r, loop, host, port, on_done, o);
    resolve_start(r);
    resolve_start(r); // one at a time
    uv_run(loop, UV_RUN_DEFAULT);
}

static void end(struct resolve *r, uv_loop_t *loop) {
    resolve_fini(r);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void numbers_need_no_lookup(void **state) {
    (void)state;
    static const struct {
        const char *host;
        int family;
        socklen_t len;
    } rows[] = {{"127.0.0.1", AF_INET, sizeof(struct sockaddr_in)},
                {"::1", AF_INET6, sizeof(struct sockaddr_in6)},
                {"2001:db8::1", AF_INET6, sizeof(struct sockaddr_in6)},
                {"/run/postgresql", AF_UNIX, sizeof(struct sockaddr_un)}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct resolve r;
        uv_loop_t loop;
        struct outcome o;
        run(rows[i].host, 5433, &r, &loop, &o);
        assert_int_equal(o.calls, 0);
        assert_int_equal(r.n_addresses, 1);
        assert_int_equal(r.addresses[0].ss_family, rows[i].family);
        assert_int_equal(r.address_lens[0], rows[i].len);
        assert_string_equal(r.error, "");
        end(&r, &loop);
    }
}

static void the_port_and_the_path_are_in_it(void **state) {
    (void)state;
    struct resolve r;
    uv_loop_t loop;
    struct outcome o;
    run("127.0.0.1", 5433, &r, &loop, &o);
    assert_int_equal(((struct sockaddr_in *)(void *)&r.addresses[0])->sin_port, htons(5433));
    end(&r, &loop);
    run("/run/postgresql", 5433, &r, &loop, &o);
    assert_string_equal(((struct sockaddr_un *)(void *)&r.addresses[0])->sun_path, "/run/postgresql/.s.PGSQL.5433");
    end(&r, &loop);
}

static void a_long_path_is_refused(void **state) {
    (void)state;
    char path[200] = "/";
    memset(path + 1, 'x', sizeof path - 2);
    path[sizeof path - 1] = '\0';
    struct resolve r;
    uv_loop_t loop;
    struct outcome o;
    run(path, 5432, &r, &loop, &o);
    assert_int_equal(r.n_addresses, 0);
    assert_non_null(strstr(r.error, "longer than"));
    end(&r, &loop);
}

static void names_are_looked_up(void **state) {
    (void)state;
    struct resolve r;
    uv_loop_t loop;
    struct outcome o;
    run("localhost", 5433, &r, &loop, &o);
    assert_int_equal(o.calls, 1);
    assert_true(o.changed);
    assert_true(r.n_addresses >= 1);
    assert_false(resolve_is_pending(&r));
    // The same again is no change, in whatever order it comes.
    resolve_start(&r);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.calls, 2);
    assert_false(o.changed);
    end(&r, &loop);
}

static void a_failure_keeps_the_last_good_addresses(void **state) {
    (void)state;
    struct resolve r;
    uv_loop_t loop;
    struct outcome o;
    run("no-such-host.invalid", 5433, &r, &loop, &o);
    assert_int_equal(o.calls, 1);
    assert_false(o.changed);
    assert_int_equal(r.n_addresses, 0);
    assert_non_null(strstr(r.error, "cannot be resolved"));
    r.n_addresses = 1;
    resolve_start(&r);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(r.n_addresses, 1);
    end(&r, &loop);
}

static void going_away_during_a_lookup_is_safe(void **state) {
    (void)state;
    struct resolve r;
    uv_loop_t loop;
    struct outcome o = {0, false};
    assert_int_equal(uv_loop_init(&loop), 0);
    resolve_init(&r, &loop, "localhost", 5433, on_done, &o);
    resolve_start(&r);
    assert_true(resolve_is_pending(&r));
    resolve_fini(&r);
    memset(&r, 0xEE, sizeof r);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(o.calls, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void the_address_that_answered_comes_first(void **state) {
    (void)state;
    struct resolve r;
    uv_loop_t loop;
    struct outcome o;
    run("127.0.0.1", 5433, &r, &loop, &o);
    struct sockaddr_in *a = (struct sockaddr_in *)(void *)r.addresses;
    struct sockaddr_storage second = r.addresses[0], third = r.addresses[0], other = r.addresses[0];
    ((struct sockaddr_in *)(void *)&second)->sin_addr.s_addr = htonl(2);
    ((struct sockaddr_in *)(void *)&third)->sin_addr.s_addr = htonl(3);
    ((struct sockaddr_in *)(void *)&other)->sin_addr.s_addr = htonl(4);
    r.addresses[1] = second;
    r.addresses[2] = third;
    r.address_lens[1] = r.address_lens[2] = sizeof *a;
    r.n_addresses = 3;
    ((struct sockaddr_in *)(void *)&third)->sin_port = 0; // the port does not count
    assert_true(resolve_prefer(&r, &third));
    assert_int_equal(a->sin_addr.s_addr, htonl(3));
    assert_int_equal(a->sin_port, htons(5433));
    assert_false(resolve_prefer(&r, &third));
    assert_false(resolve_prefer(&r, &other));
    assert_true(resolve_holds(&r, &second));
    assert_false(resolve_holds(&r, &other));
    assert_int_equal(r.n_addresses, 3);
    end(&r, &loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_need_no_lookup),
        cmocka_unit_test(the_port_and_the_path_are_in_it),
        cmocka_unit_test(a_long_path_is_refused),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(a_failure_keeps_the_last_good_addresses),
        cmocka_unit_test(going_away_during_a_lookup_is_safe),
        cmocka_unit_test(the_address_that_answered_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
