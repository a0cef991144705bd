// SPDX-License-Identifier: ISC
//
// tests/unit/admin/endpoints_test.c: every path against every kind of topology, and the bodies.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/admin/endpoints.h"
#include "tests/unit/admin/fixture.h"

static const char *no_reasons(unsigned reason) {
    (void)reason;
    return NULL;
}

// "/replica?lag=10s&x": cuts the query into parameters, as the HTTP library does. Good until the next call.
static struct endpoint_request request_of(const char *method, const char *target) {
    static char text[256];
    static struct endpoint_param params[8];
    struct endpoint_request r = {.method = method, .path = text, .params = params};
    snprintf(text, sizeof text, "%s", target);
    char *rest = strchr(text, '?');
    while (rest) {
        *rest++ = '\0';
        char *key = rest, *value = strchr(key, '=');
        rest = strchr(key, '&');
        if (value && (!rest || value < rest))
            *value++ = '\0';
        else
            value = NULL;
        params[r.n_params++] = (struct endpoint_param){key, value};
        if (rest) *rest = '\0';
    }
    return r;
}

static struct endpoint_view view_of(const struct topology *t) {
    return (struct endpoint_view){.topology = t, .started = true, .max_lag_ms = 60000, .critical_lag_ms = 120000};
}

static struct endpoint_answer ask(const struct endpoint_view *v, const char *method, const char *target) {
    static struct stats stats;
    struct prom_input metrics = {
        .stats = &stats, .topology = v->topology, .route_reason_str = no_reasons, .pin_str = no_reasons};
    struct endpoint_view with_metrics = *v;
    with_metrics.metrics = &metrics;
    struct endpoint_request r = request_of(method, target);
    return endpoint_respond(&with_metrics, &r);
}

static unsigned status_of(const struct endpoint_view *v, const char *method, const char *target) {
    struct endpoint_answer a = ask(v, method, target);
    assert_false(a.body.failed);
    buf_release(&a.body);
    return a.status;
}

static json_t *json_of(const struct endpoint_view *v, const char *target, unsigned status) {
    struct endpoint_answer a = ask(v, "GET", target);
    assert_int_equal(a.status, status);
    assert_string_equal(a.content_type, "application/json");
    json_error_t error;
    json_t *j = json_loadb((const char *)a.body.data, buf_len(&a.body), 0, &error);
    if (!j) fail_msg("%s: %s", target, error.text);
    buf_release(&a.body);
    return j;
}

static const char *text_at(json_t *j, const char *key) { return json_string_value(json_object_get(j, key)); }

enum { PRIMARY, READ_WRITE, MASTER, REPLICA, REPLICA_5S, READ_ONLY, READ_ONLY_5S, READINESS, HEALTH, PATHS };
static const char *const paths[PATHS] = {"/primary",   "/read-write",       "/master",    "/replica", "/replica?lag=5s",
                                         "/read-only", "/read-only?lag=5s", "/readiness", "/health"};

// 'y' is 200, '-' is 503, in the order of `paths`.
static const struct {
    const char *servers, *expected;
} by_topology[] = {
    {"PRR", "yyyyyyyyy"}, {"PRU", "yyyyyyyyy"}, {"PU", "yyyy-yyyy"}, {"P", "yyy--yyyy"}, {"Pl", "yyy--yyyy"},
    {"Pu", "yyy--yyyy"},  {"Pd", "yyy--yyyy"},  {"R", "---yyyyyy"},  {"U", "---y-y-yy"}, {"Ud", "---y-y-yy"},
    {"RU", "---yyyyyy"},  {"l", "---------"},   {"u", "---------"},  {"d", "---------"}, {"ddd", "---------"},
    {"pp", "---------"},  {"ppR", "---yyyyyy"}, {"", "---------"},
};

static void status_follows_the_topology(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(by_topology); i++) {
        struct topology *t = fixture_topology(by_topology[i].servers);
        struct endpoint_view v = view_of(t);
        for (size_t p = 0; p < PATHS; p++) {
            unsigned expected = by_topology[i].expected[p] == 'y' ? 200 : 503;
            const char *const methods[] = {"GET", "HEAD", "OPTIONS"};
            for (size_t m = 0; m < countof(methods); m++) {
                unsigned got = status_of(&v, methods[m], paths[p]);
                if (got != expected) fail_msg("\"%s\" %s: %u", by_topology[i].servers, paths[p], got);
            }
        }
        assert_int_equal(status_of(&v, "GET", "/liveness"), 200);
        assert_int_equal(status_of(&v, "GET", "/metrics"), 200);
        topology_unref(t);
    }
}

static void nobody_is_sent_here_before_start_or_while_draining(void **state) {
    (void)state;
    struct topology *t = fixture_topology("PRR");
    struct endpoint_view starting = view_of(t), draining = view_of(t), blind = view_of(NULL);
    starting.started = false;
    draining.draining = true;
    const struct {
        struct endpoint_view *view;
        const char *reason;
    } cases[] = {{&starting, "the router is starting"},
                 {&draining, "the router is shutting down"},
                 {&blind, "no server has been looked at yet"}};
    for (size_t i = 0; i < countof(cases); i++) {
        for (size_t p = 0; p < PATHS; p++) {
            json_t *j = json_of(cases[i].view, paths[p], 503);
            assert_string_equal(text_at(j, "reason"), cases[i].reason);
            assert_string_equal(text_at(j, "status"), "unavailable");
            json_decref(j);
        }
        assert_int_equal(status_of(cases[i].view, "GET", "/liveness"), 200);
        assert_int_equal(status_of(cases[i].view, "GET", "/metrics"), 200);
    }
    topology_unref(t);
}

// The one replica lags two seconds exactly.
static const struct {
    const char *lag;
    unsigned status;
    const char *reason; // part of it; NULL: any
} lags[] = {
    {"2s", 200, NULL},
    {"2", 200, NULL},
    {"2000ms", 200, NULL},
    {"2000000us", 200, NULL},
    {"1min", 200, NULL},
    {"1h", 200, NULL},
    {"1d", 200, NULL},
    {"2.0s", 200, NULL},
    {"0.5min", 200, NULL},
    {"002s", 200, NULL},
    {"1.9999999999s", 503, "more lag than asked for"},
    {"1s", 503, NULL},
    {"1999ms", 503, NULL},
    {"0.03min", 503, NULL},
    {"0", 503, NULL},
    {"1999999us", 503, NULL},
    {"", 400, "is not a duration"},
    {"s", 400, "is not a duration"},
    {"-1s", 400, "is not a duration"},
    {"+1s", 400, "is not a duration"},
    {".5s", 400, "is not a duration"},
    {"1.s", 400, "is not a duration"},
    {" 1s", 400, "is not a duration"},
    {"nan", 400, "is not a duration"},
    {"1 s", 400, "unknown unit"},
    {"1s ", 400, "unknown unit"},
    {"1S", 400, "unknown unit"},
    {"1e3s", 400, "unknown unit"},
    {"0x10s", 400, "unknown unit"},
    {"1fortnight", 400, "unknown unit"},
    {"16MB", 400, "in bytes; lag is measured in time"},
    {"1kB", 400, "in bytes"},
    {"1B", 400, "in bytes"},
    {"1gb", 400, "in bytes"},
    {"999999999s", 200, NULL},
    {"1000000000s", 400, "too large"},
    {"999999999d", 400, "too large"},
    {"106751992d", 400, "too large"}, // the first day whose microseconds pass 2^63
    {"106751991d", 200, NULL},
    {"99999999999999999999", 400, "too large"},
};

static void lag_is_a_duration(void **state) {
    (void)state;
    struct topology *t = fixture_topology("R");
    struct endpoint_view v = view_of(t);
    for (size_t i = 0; i < countof(lags); i++) {
        const char *const takers[] = {"/replica", "/read-only"};
        for (size_t p = 0; p < countof(takers); p++) {
            char target[100];
            snprintf(target, sizeof target, "%s?lag=%s", takers[p], lags[i].lag);
            json_t *j = json_of(&v, target, lags[i].status);
            if (lags[i].reason && !strstr(text_at(j, "reason"), lags[i].reason))
                fail_msg("%s: %s", target, text_at(j, "reason"));
            json_decref(j);
        }
    }
    topology_unref(t);
}

static void wrong_requests_are_told_so(void **state) {
    (void)state;
    struct topology *t = fixture_topology("PR");
    struct endpoint_view v = view_of(t);
    const struct {
        const char *target;
        unsigned status;
    } cases[] = {
        {"/", 404},
        {"", 404},
        {"/Primary", 404},
        {"/primary/", 404},
        {"/health/x", 404},
        {"*", 404},
        {"/metricsx", 404},
        {"/replica?lag", 400},
        {"/replica?lag=1s&lag=2s", 400},
        {"/replica?lga=1s", 400},
        {"/replica?lag=1s&x=y", 400},
        {"/read-only?x", 400},
        {"/primary?x=y", 200}, // only paths that take a parameter look at the query
        {"/metrics?name=x", 200},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        unsigned got = status_of(&v, "GET", cases[i].target);
        if (got != cases[i].status) fail_msg("%s: %u", cases[i].target, got);
    }
    // What is wrong with a request is said also when the answer would have been 503.
    v.draining = true;
    assert_int_equal(status_of(&v, "GET", "/replica?lag=1MB"), 400);
    topology_unref(t);
}

static void a_404_names_the_paths(void **state) {
    (void)state;
    struct endpoint_view v = view_of(NULL);
    json_t *j = json_of(&v, "/nope", 404), *list = json_object_get(j, "paths");
    assert_string_equal(text_at(j, "reason"), "no such path");
    assert_int_equal(json_array_size(list), 9);
    for (size_t i = 0; i < json_array_size(list); i++)
        assert_int_not_equal(status_of(&v, "GET", json_string_value(json_array_get(list, i))), 404);
    json_decref(j);
}

static void methods_are_get_head_and_options(void **state) {
    (void)state;
    struct topology *t = fixture_topology("PR");
    struct endpoint_view v = view_of(t);
    const char *const others[] = {"POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "", "GETX"};
    for (size_t i = 0; i < countof(others); i++) {
        const char *const targets[] = {"/primary", "/metrics", "/nope"};
        for (size_t p = 0; p < countof(targets); p++) {
            struct endpoint_answer a = ask(&v, others[i], targets[p]);
            assert_int_equal(a.status, 405);
            assert_true(a.allow);
            buf_release(&a.body);
        }
    }
    struct endpoint_answer get = ask(&v, "GET", "/primary"), options = ask(&v, "OPTIONS", "/primary");
    assert_false(get.allow);
    assert_true(buf_len(&get.body) > 0);
    assert_true(options.allow);
    assert_int_equal(options.status, 200);
    assert_int_equal(buf_len(&options.body), 0);
    buf_release(&get.body);
    buf_release(&options.body);
    topology_unref(t);
}

static void a_body_is_refused(void **state) {
    (void)state;
    struct endpoint_view v = view_of(NULL);
    struct endpoint_request r = {.method = "GET", .path = "/liveness", .has_body = true};
    struct endpoint_answer a = endpoint_respond(&v, &r);
    assert_int_equal(a.status, 413);
    buf_release(&a.body);
    r.method = "POST";
    a = endpoint_respond(&v, &r);
    assert_int_equal(a.status, 405);
    buf_release(&a.body);
}

static void health_tells_every_server(void **state) {
    (void)state;
    struct topology *t = fixture_topology("PRlud");
    struct endpoint_view v = view_of(t);
    json_t *j = json_of(&v, "/health", 200), *servers = json_object_get(j, "servers");
    assert_string_equal(text_at(j, "status"), "ok");
    assert_string_equal(text_at(j, "state"), "running");
    assert_string_equal(text_at(j, "version"), PGSTEER_VERSION);
    assert_string_equal(text_at(j, "primary"), "pg1");
    assert_string_equal(text_at(j, "alert"), "ok");
    assert_int_equal(json_array_size(json_object_get(j, "conditions")), 0);
    assert_int_equal(json_integer_value(json_object_get(j, "eligible_replicas")), 1);
    assert_true(json_real_value(json_object_get(j, "max_lag_seconds")) == 60);
    assert_true(json_real_value(json_object_get(j, "critical_lag_seconds")) == 120);
    const char *const expected[] = {
        "{\"name\":\"pg1\",\"host\":\"10.0.0.1\",\"port\":5432,\"zone\":\"\",\"role\":\"primary\",\"state\":\"up\","
        "\"reason\":\"ok\",\"alert\":\"ok\",\"reads\":true,\"writes\":true,\"lag_seconds\":0.0,\"timeline\":7,"
        "\"weight\":1,\"connections\":3}",
        "{\"name\":\"pg2\",\"host\":\"10.0.0.2\",\"port\":5432,\"zone\":\"\",\"role\":\"replica\",\"state\":\"up\","
        "\"reason\":\"ok\",\"alert\":\"ok\",\"reads\":true,\"writes\":false,\"lag_seconds\":2.0,\"timeline\":7,"
        "\"weight\":2,\"connections\":4}",
        "{\"name\":\"pg3\",\"host\":\"10.0.0.3\",\"port\":5432,\"zone\":\"\",\"role\":\"replica\",\"state\":\"up\","
        "\"reason\":\"lag\",\"alert\":\"warning\",\"reads\":false,\"writes\":false,\"lag_seconds\":90.0,"
        "\"timeline\":7,\"weight\":3,\"connections\":5}",
        "{\"name\":\"pg4\",\"host\":\"10.0.0.4\",\"port\":5432,\"zone\":\"\",\"role\":\"replica\",\"state\":\"up\","
        "\"reason\":\"lag_unknown\",\"alert\":\"warning\",\"reads\":false,\"writes\":false,\"lag_seconds\":null,"
        "\"timeline\":7,\"weight\":4,\"connections\":6}",
        "{\"name\":\"pg5\",\"host\":\"10.0.0.5\",\"port\":5432,\"zone\":\"\",\"role\":\"unknown\","
        "\"state\":\"down\",\"reason\":\"unreachable\",\"alert\":\"warning\",\"reads\":false,\"writes\":false,"
        "\"lag_seconds\":null,\"timeline\":null,\"weight\":5,\"connections\":7}",
    };
    assert_int_equal(json_array_size(servers), countof(expected));
    for (size_t i = 0; i < countof(expected); i++) {
        char *text = json_dumps(json_array_get(servers, i), JSON_COMPACT);
        assert_string_equal(text, expected[i]);
        free(text);
    }
    json_decref(j);
    topology_unref(t);
}

static void health_tells_the_alert(void **state) {
    (void)state;
    struct topology *t = fixture_topology("Pl");
    struct endpoint_view v = view_of(t);
    json_t *j = json_of(&v, "/health", 200), *conditions = json_object_get(j, "conditions");
    assert_string_equal(text_at(j, "alert"), "warning");
    assert_int_equal(json_array_size(conditions), 1);
    assert_string_equal(json_string_value(json_array_get(conditions, 0)), "no_replica_eligible");
    json_decref(j);
    topology_unref(t);

    v = view_of(NULL);
    j = json_of(&v, "/health", 503);
    assert_true(json_is_null(json_object_get(j, "primary")));
    assert_int_equal(json_array_size(json_object_get(j, "servers")), 0);
    json_decref(j);
}

static void names_that_are_not_utf8_stay_json(void **state) {
    (void)state;
    struct topology *t = topology_new(1);
    struct node_live *live = node_live_new();
    topology_set_node(t, 0, "caf\xe9\"\n", "h\xc3\xa9", 5432, "", live);
    node_live_unref(live);
    t->primary = 0;
    t->nodes[0].role = NODE_ROLE_PRIMARY;
    t->nodes[0].reads = t->nodes[0].writes = true;
    struct endpoint_view v = view_of(t);
    json_t *j = json_of(&v, "/primary", 200);
    assert_string_equal(text_at(j, "reason"), "caf?\"\n takes writes");
    json_decref(j);
    j = json_of(&v, "/health", 200);
    json_t *server = json_array_get(json_object_get(j, "servers"), 0);
    assert_string_equal(text_at(server, "name"), "caf?\"\n");
    assert_string_equal(text_at(server, "host"), "h\xc3\xa9");
    json_decref(j);
    topology_unref(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_follows_the_topology),
        cmocka_unit_test(nobody_is_sent_here_before_start_or_while_draining),
        cmocka_unit_test(lag_is_a_duration),
        cmocka_unit_test(wrong_requests_are_told_so),
        cmocka_unit_test(a_404_names_the_paths),
        cmocka_unit_test(methods_are_get_head_and_options),
        cmocka_unit_test(a_body_is_refused),
        cmocka_unit_test(health_tells_every_server),
        cmocka_unit_test(health_tells_the_alert),
        cmocka_unit_test(names_that_are_not_utf8_stay_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
