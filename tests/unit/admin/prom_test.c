// SPDX-License-Identifier: ISC
//
// tests/unit/admin/prom_test.c: the exposition: exact text of every kind of metric, and the rules of the format over
// all of it (one HELP and TYPE per metric, its samples together, no series twice, histograms that add up).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/admin/prom.h"
#include "tests/unit/admin/fixture.h"

static const char *two_reasons(unsigned reason) {
    static const char *const names[] = {"read", "in_transaction"};
    return reason < countof(names) ? names[reason] : NULL;
}

static const char *two_pins(unsigned pin) {
    static const char *const names[] = {"set", "temp"};
    return pin < countof(names) ? names[pin] : NULL;
}

static struct prom_input input_of(const struct stats *s, const struct topology *t) {
    return (struct prom_input){
        .stats = s,
        .topology = t,
        .process = {.start_time_seconds = 1700000000.25,
                    .cpu_us = 1500000,
                    .resident_bytes = 4096,
                    .open_fds = 12,
                    .max_fds = 1024},
        .route_reason_str = two_reasons,
        .pin_str = two_pins,
    };
}

static char *expose(const struct prom_input *in) {
    struct buf out = buf_make(1024 * 1024);
    prom_write(&out, in);
    assert_false(out.failed);
    char *text = mem_strndup((const char *)out.data, buf_len(&out));
    buf_release(&out);
    return text;
}

// The lines of one metric without HELP and TYPE, and of its _bucket, _sum and _count.
static char *lines_of(const char *text, const char *metric) {
    struct buf found = buf_make(64 * 1024);
    size_t len = strlen(metric);
    while (*text) {
        size_t line = strcspn(text, "\n") + 1;
        const char *after = text + len;
        bool same = !strncmp(text, metric, len) && (strchr(" {", *after) || !strncmp(after, "_bucket", 7) ||
                                                    !strncmp(after, "_sum", 4) || !strncmp(after, "_count", 6));
        if (same) buf_put(&found, text, line);
        text += line;
    }
    buf_put_u8(&found, 0);
    return (char *)found.data; // its memory is the caller's now
}

static const struct {
    const char *metric, *lines;
} exact[] = {
    {"db_connection_pool_size", "db_connection_pool_size{state=\"active\"} 4\n"
                                "db_connection_pool_size{state=\"idle\"} 5\n"
                                "db_connection_pool_size{state=\"waiting\"} 6\n"},
    {"db_connection_pool_wait_time_seconds", "db_connection_pool_wait_time_seconds_bucket{le=\"0.0001\"} 1\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.00025\"} 1\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.0005\"} 1\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.001\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.0025\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.005\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.01\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.025\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.05\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.1\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.25\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"0.5\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"1\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"2.5\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"5\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"10\"} 2\n"
                                             "db_connection_pool_wait_time_seconds_bucket{le=\"+Inf\"} 3\n"
                                             "db_connection_pool_wait_time_seconds_sum 20.001050\n"
                                             "db_connection_pool_wait_time_seconds_count 3\n"},
    {"db_replication_lag_seconds", "db_replication_lag_seconds{replica=\"pg2\"} 2.000000\n"
                                   "db_replication_lag_seconds{replica=\"pg3\"} 90.000000\n"},
    {"db_replica_health", "db_replica_health{replica=\"pg2\"} 1\n"
                          "db_replica_health{replica=\"pg3\"} 0\n"
                          "db_replica_health{replica=\"pg4\"} 0\n"
                          "db_replica_health{replica=\"pg5\"} 0\n"},
    {"pgsteer_routed_total", "pgsteer_routed_total{target=\"primary\",reason=\"read\"} 0\n"
                             "pgsteer_routed_total{target=\"primary\",reason=\"in_transaction\"} 8\n"
                             "pgsteer_routed_total{target=\"replica\",reason=\"read\"} 9\n"
                             "pgsteer_routed_total{target=\"replica\",reason=\"in_transaction\"} 0\n"},
    {"pgsteer_pins", "pgsteer_pins{reason=\"set\"} 0\n"
                     "pgsteer_pins{reason=\"temp\"} 1\n"},
    {"pgsteer_pins_total", "pgsteer_pins_total{reason=\"set\"} 0\n"
                           "pgsteer_pins_total{reason=\"temp\"} 2\n"},
    {"pgsteer_client_logins_total", "pgsteer_client_logins_total 7\n"},
    {"pgsteer_clients", "pgsteer_clients 11\n"},
    {"pgsteer_server_up", "pgsteer_server_up{server=\"pg1\"} 1\n"
                          "pgsteer_server_up{server=\"pg2\"} 1\n"
                          "pgsteer_server_up{server=\"pg3\"} 1\n"
                          "pgsteer_server_up{server=\"pg4\"} 1\n"
                          "pgsteer_server_up{server=\"pg5\"} 0\n"},
    {"pgsteer_server_role", "pgsteer_server_role{server=\"pg1\",role=\"primary\"} 1\n"
                            "pgsteer_server_role{server=\"pg1\",role=\"replica\"} 0\n"
                            "pgsteer_server_role{server=\"pg1\",role=\"unknown\"} 0\n"
                            "pgsteer_server_role{server=\"pg2\",role=\"primary\"} 0\n"
                            "pgsteer_server_role{server=\"pg2\",role=\"replica\"} 1\n"
                            "pgsteer_server_role{server=\"pg2\",role=\"unknown\"} 0\n"
                            "pgsteer_server_role{server=\"pg3\",role=\"primary\"} 0\n"
                            "pgsteer_server_role{server=\"pg3\",role=\"replica\"} 1\n"
                            "pgsteer_server_role{server=\"pg3\",role=\"unknown\"} 0\n"
                            "pgsteer_server_role{server=\"pg4\",role=\"primary\"} 0\n"
                            "pgsteer_server_role{server=\"pg4\",role=\"replica\"} 1\n"
                            "pgsteer_server_role{server=\"pg4\",role=\"unknown\"} 0\n"
                            "pgsteer_server_role{server=\"pg5\",role=\"primary\"} 0\n"
                            "pgsteer_server_role{server=\"pg5\",role=\"replica\"} 0\n"
                            "pgsteer_server_role{server=\"pg5\",role=\"unknown\"} 1\n"},
    {"pgsteer_server_reason", "pgsteer_server_reason{server=\"pg1\",reason=\"ok\"} 1\n"
                              "pgsteer_server_reason{server=\"pg2\",reason=\"ok\"} 1\n"
                              "pgsteer_server_reason{server=\"pg3\",reason=\"lag\"} 1\n"
                              "pgsteer_server_reason{server=\"pg4\",reason=\"lag_unknown\"} 1\n"
                              "pgsteer_server_reason{server=\"pg5\",reason=\"unreachable\"} 1\n"},
    {"pgsteer_server_weight", "pgsteer_server_weight{server=\"pg1\"} 1\n"
                              "pgsteer_server_weight{server=\"pg2\"} 2\n"
                              "pgsteer_server_weight{server=\"pg3\"} 3\n"
                              "pgsteer_server_weight{server=\"pg4\"} 4\n"
                              "pgsteer_server_weight{server=\"pg5\"} 5\n"},
    {"pgsteer_alert", "pgsteer_alert{severity=\"warning\"} 0\n"
                      "pgsteer_alert{severity=\"critical\"} 0\n"},
    {"pgsteer_build_info", "pgsteer_build_info{version=\"" PGSTEER_VERSION "\"} 1\n"},
    {"process_start_time_seconds", "process_start_time_seconds 1700000000.250000\n"},
    {"process_cpu_seconds_total", "process_cpu_seconds_total 1.500000\n"},
    {"process_resident_memory_bytes", "process_resident_memory_bytes 4096\n"},
    {"process_open_fds", "process_open_fds 12\n"},
    {"process_max_fds", "process_max_fds 1024\n"},
    {"nothing", ""},
};

static void fill(struct stats *s) {
    stats_gauge_add(s, STAT_GAUGE_POOL_ACTIVE, 4);
    stats_gauge_add(s, STAT_GAUGE_POOL_IDLE, 5);
    stats_gauge_add(s, STAT_GAUGE_POOL_WAITING, 6);
    stats_gauge_add(s, STAT_GAUGE_CLIENTS, 11);
    stats_add(s, STAT_CLIENT_LOGINS, 7);
    for (int i = 0; i < 8; i++) stats_routed(s, false, 1);
    for (int i = 0; i < 9; i++) stats_routed(s, true, 0);
    stats_pin(s, 1, 1);
    stats_pin(s, 1, 1);
    stats_pin(s, 1, -1);
    stats_observe(s, STAT_HISTOGRAM_POOL_WAIT, 50);
    stats_observe(s, STAT_HISTOGRAM_POOL_WAIT, 1000);
    stats_observe(s, STAT_HISTOGRAM_POOL_WAIT, 20000000);
    stats_observe(s, STAT_HISTOGRAM_READ, 3);
    stats_observe(s, STAT_HISTOGRAM_WRITE, 300);
    stats_error(s, STAT_ERROR_WAIT_TIMEOUT);
}

static void every_kind_of_metric_is_exact(void **state) {
    (void)state;
    struct stats s = {0};
    fill(&s);
    struct topology *t = fixture_topology("PRlud");
    struct prom_input in = input_of(&s, t);
    char *text = expose(&in);
    for (size_t i = 0; i < countof(exact); i++) {
        char *lines = lines_of(text, exact[i].metric);
        assert_string_equal(lines, exact[i].lines);
        mem_free(lines);
    }
    assert_true(strstr(text, "\n# HELP pgsteer_clients Client connections now\n# TYPE pgsteer_clients gauge\n"
                             "pgsteer_clients 11\n") != NULL);
    assert_true(strstr(text, "\ndb_connection_pool_errors_total{reason=\"query_wait_timeout\"} 1\n") != NULL);
    assert_true(strstr(text, "\ndb_query_duration_seconds_bucket{query_type=\"read\",le=\"0.0001\"} 1\n") != NULL);
    assert_true(strstr(text, "\ndb_query_duration_seconds_sum{query_type=\"write\"} 0.000300\n") != NULL);
    mem_free(text);
    topology_unref(t);
}

static void alerts_are_shown(void **state) {
    (void)state;
    struct stats s = {0};
    const struct {
        const char *servers, *warning, *critical, *condition;
    } cases[] = {
        {"Pl", "1", "0", "no_replica_eligible"},
        {"R", "0", "1", "no_primary"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct topology *t = fixture_topology(cases[i].servers);
        struct prom_input in = input_of(&s, t);
        char *text = expose(&in), expected[200];
        snprintf(expected, sizeof expected,
                 "pgsteer_alert{severity=\"warning\"} %s\npgsteer_alert{severity=\"critical\"} %s\n", cases[i].warning,
                 cases[i].critical);
        assert_true(strstr(text, expected) != NULL);
        static const char *const conditions[] = {"no_primary", "two_primaries", "no_replica_eligible", "lag_critical"};
        for (size_t c = 0; c < countof(conditions); c++) {
            snprintf(expected, sizeof expected, "pgsteer_alert_condition{condition=\"%s\"} %d\n", conditions[c],
                     !strcmp(conditions[c], cases[i].condition));
            if (!strstr(text, expected)) fail_msg("%s: no %s", cases[i].servers, expected);
        }
        mem_free(text);
        topology_unref(t);
    }
}

static void label_values_are_escaped(void **state) {
    (void)state;
    struct stats s = {0};
    struct topology *t = topology_new(1);
    struct node_live *live = node_live_new();
    // a quote, a backslash, a newline, good UTF-8 of each length; a lone byte, an overlong form, a surrogate, a cut one
    topology_set_node(t, 0, "a\"b\\c\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98|\xe9|\xc0\x80|\xed\xa0\x80|\xe2\x82", "", 1,
                      "", live);
    node_live_unref(live);
    struct prom_input in = input_of(&s, t);
    char *text = expose(&in), *lines = lines_of(text, "pgsteer_server_up");
    assert_string_equal(
        lines, "pgsteer_server_up{server=\"a\\\"b\\\\c\\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98|?|??|???|??\"} 0\n");
    mem_free(lines);
    mem_free(text);
    topology_unref(t);
}

static void what_is_not_known_is_absent(void **state) {
    (void)state;
    struct stats s = {0};
    struct prom_input in = input_of(&s, NULL);
    in.process.max_fds = -1;
    char *text = expose(&in);
    const char *const absent[] = {"db_replication_lag_seconds", "db_replica_health", "pgsteer_server_up",
                                  "process_max_fds"};
    for (size_t i = 0; i < countof(absent); i++) {
        char *lines = lines_of(text, absent[i]);
        assert_string_equal(lines, "");
        mem_free(lines);
    }
    mem_free(text);
}

static void a_full_buffer_fails(void **state) {
    (void)state;
    struct stats s = {0};
    struct prom_input in = input_of(&s, NULL);
    struct buf out = buf_make(1000);
    prom_write(&out, &in);
    assert_true(out.failed);
    buf_release(&out);
}

// --- the rules of the format ---

struct rules {
    char name[100], type[20]; // of the metric that is being read
    char seen[200][100];      // names of those before
    size_t n_seen;
    char series[2000][160]; // every sample's name and labels
    size_t n_series;
    long long last_bucket, inf_bucket; // of the histogram being read; -1 = none yet
};

static bool is_name(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!(isalpha((unsigned char)s[i]) || s[i] == '_' || s[i] == ':' || (i > 0 && isdigit((unsigned char)s[i]))))
            return false;
    return len > 0;
}

static void check_header(struct rules *r, const char *help, const char *type) {
    char name[100], type_name[100], kind[20];
    assert_int_equal(sscanf(help, "# HELP %99s ", name), 1);
    assert_true(strlen(help) > strlen("# HELP ") + strlen(name) + 1);
    assert_int_equal(sscanf(type, "# TYPE %99s %19s", type_name, kind), 2);
    assert_string_equal(name, type_name);
    assert_true(is_name(name, strlen(name)));
    assert_true(!strcmp(kind, "counter") || !strcmp(kind, "gauge") || !strcmp(kind, "histogram"));
    bool is_total = strlen(name) > 6 && !strcmp(name + strlen(name) - 6, "_total");
    assert_int_equal(is_total, !strcmp(kind, "counter"));
    for (size_t i = 0; i < r->n_seen; i++) assert_string_not_equal(r->seen[i], name);
    snprintf(r->seen[r->n_seen++], sizeof r->seen[0], "%s", name);
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->type, sizeof r->type, "%s", kind);
    r->last_bucket = r->inf_bucket = -1;
}

static void check_histogram(struct rules *r, const char *suffix, const char *labels, const char *value) {
    if (!strncmp(suffix, "_bucket", 7)) {
        long long count = atoll(value);
        assert_true(strstr(labels, "le=\"") != NULL);
        if (r->last_bucket >= 0) assert_true(count >= r->last_bucket);
        r->last_bucket = count;
        if (strstr(labels, "le=\"+Inf\"")) {
            r->inf_bucket = count;
            r->last_bucket = -1;
        }
    } else if (!strncmp(suffix, "_count", 6)) {
        assert_int_equal(atoll(value), r->inf_bucket);
    } else {
        assert_true(!strncmp(suffix, "_sum", 4));
    }
}

static void check_sample(struct rules *r, const char *line) {
    const char *value = strrchr(line, ' ');
    assert_non_null(value);
    char *end;
    strtod(value + 1, &end);
    assert_string_equal(end, "");
    size_t name = strcspn(line, "{ "), family = strlen(r->name);
    assert_true(is_name(line, name));
    if (strncmp(line, r->name, family)) fail_msg("%s among the samples of %s", line, r->name);
    if (!strcmp(r->type, "histogram"))
        check_histogram(r, line + family, line + name, value + 1);
    else
        assert_int_equal(name, family);
    char series[160];
    snprintf(series, sizeof series, "%.*s", (int)(value - line), line);
    for (size_t i = 0; i < r->n_series; i++) assert_string_not_equal(r->series[i], series);
    memcpy(r->series[r->n_series++], series, sizeof series);
}

static void the_whole_follows_the_format(void **state) {
    (void)state;
    struct stats s = {0};
    fill(&s);
    struct topology *t = fixture_topology("PRlud");
    struct prom_input in = input_of(&s, t);
    char *text = expose(&in), *rest = text;
    struct rules *r = mem_new(struct rules);
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = strsep(&rest, "\n"); line && *line; line = strsep(&rest, "\n")) {
        if (line[0] == '#')
            check_header(r, line, strsep(&rest, "\n"));
        else
            check_sample(r, line);
    }
    assert_true(r->n_seen > 25 && r->n_series > 100);
    mem_free(r);
    mem_free(text);
    topology_unref(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_metric_is_exact), cmocka_unit_test(alerts_are_shown),
        cmocka_unit_test(label_values_are_escaped),      cmocka_unit_test(what_is_not_known_is_absent),
        cmocka_unit_test(a_full_buffer_fails),           cmocka_unit_test(the_whole_follows_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
