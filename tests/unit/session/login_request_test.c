// SPDX-License-Identifier: ISC
// What a start-up packet asks for: names, settings, options, and what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "router/session/login_request.h"
#include "router/wire/reply.h"

// Reads the packet made of the pairs, out of memory of its own size.
static bool read_pairs(struct login_request *r, const struct request_parameter *pairs, size_t n, struct fault *f) {
    struct buf b = buf_make(64 * 1024);
    request_startup(&b, pairs, n);
    assert_false(b.failed);
    struct span body = span_from(buf_span(&b), 8);
    uint8_t *copy = malloc(body.len);
    memcpy(copy, body.ptr, body.len);
    buf_release(&b);
    *f = (struct fault){.text = ""};
    bool ok = login_request_read(r, span_of(copy, body.len), f);
    free(copy);
    return ok;
}

#define READ(r, f, ...)                                                                                                \
    read_pairs((r), (const struct request_parameter[]){__VA_ARGS__},                                                   \
               countof(((const struct request_parameter[]){__VA_ARGS__})), (f))
#define SETTINGS(r, text) span_eq(buf_span(&(r)->settings), span_of(text, sizeof text - 1))

static void names(void **state) {
    (void)state;
    struct login_request r;
    struct fault f;
    assert_true(READ(&r, &f, {"user", "web"}));
    assert_string_equal(r.user, "web");
    assert_string_equal(r.database, "web");
    login_request_fini(&r);
    assert_true(READ(&r, &f, {"database", "shop"}, {"user", "a"}, {"user", "b"}));
    assert_string_equal(r.user, "b");
    assert_string_equal(r.database, "shop");
    login_request_fini(&r);
    assert_true(READ(&r, &f, {"database", ""}, {"user", "b"}));
    assert_string_equal(r.database, "b");
    login_request_fini(&r);
    assert_false(READ(&r, &f, {"database", "shop"}));
    assert_string_equal(f.sqlstate, "28000");
    login_request_fini(&r);
    assert_false(READ(&r, &f, {"user", ""}, {"database", "shop"}));
    login_request_fini(&r);
    assert_false(READ(&r, &f, {"User", "web"}));
    login_request_fini(&r);
}

static void long_names_are_cut(void **state) {
    (void)state;
    struct login_request r;
    struct fault f;
    char name[101];
    memset(name, 'n', 100);
    name[100] = '\0';
    assert_true(READ(&r, &f, {"user", name}));
    assert_int_equal(strlen(r.user), 63);
    assert_int_equal(strlen(r.database), 63);
    login_request_fini(&r);
}

static void settings_in_order(void **state) {
    (void)state;
    struct login_request r;
    struct fault f;
    assert_true(READ(&r, &f, {"TimeZone", "UTC"}, {"user", "web"}, {"application_name", ""}, {"options", "-c a=1"},
                     {"TimeZone", "CET"}, {"replication", "false"}));
    assert_true(SETTINGS(&r, "a\0"
                             "1\0TimeZone\0UTC\0application_name\0\0TimeZone\0CET\0"));
    assert_int_equal(r.n_unknown, 0);
    login_request_fini(&r);
}

static void options_like_postgresql(void **state) {
    (void)state;
    static const struct {
        const char *options;
        struct span settings;
    } cases[] = {
#define CASE(o, s)                                                                                                     \
    {                                                                                                                  \
        o, { (const uint8_t *)(s), sizeof(s) - 1 }                                                                     \
    }
        CASE("", ""),
        CASE("   ", ""),
        CASE("-c a=1", "a\0"
                       "1\0"),
        CASE("-ca=1", "a\0"
                      "1\0"),
        CASE("--a=1", "a\0"
                      "1\0"),
        CASE("  -c   a=1\t--b=2\n-cc=3  ", "a\0"
                                           "1\0b\0"
                                           "2\0c\0"
                                           "3\0"),
        CASE("--search-path=x-y", "search_path\0x-y\0"),
        CASE("-c search-path=x-y", "search_path\0x-y\0"),
        CASE("-c search_path=a,\\ b", "search_path\0a, b\0"),
        CASE("-c a=\\\\", "a\0\\\0"),
        CASE("-c a=b=c", "a\0b=c\0"),
        CASE("-c a=", "a\0\0"),
        CASE("-c a=\\-c\\ b=2", "a\0-c b=2\0"),
        CASE("-c a=1\\", "a\0"
                         "1\0"),
        CASE("-c a=1 -c a=2", "a\0"
                              "1\0a\0"
                              "2\0"),
#undef CASE
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct login_request r;
        struct fault f;
        if (!READ(&r, &f, {"user", "web"}, {"options", cases[i].options})) fail_msg("%s: %s", cases[i].options, f.text);
        if (!span_eq(buf_span(&r.settings), cases[i].settings)) fail_msg("%s", cases[i].options);
        login_request_fini(&r);
    }
}

static void options_refused(void **state) {
    (void)state;
    static const struct {
        const char *options, *sqlstate, *text;
    } cases[] = {
        {"-e", "0A000", "start-up option \"-e\" is not supported"},
        {"-d 5", "0A000", "start-up option \"-d\" is not supported"},
        {"-S 100", "0A000", "start-up option \"-S\" is not supported"},
        {"x", "0A000", "start-up option \"x\" is not supported"},
        {"-c a=1 x", "0A000", "start-up option \"x\" is not supported"},
        {"-", "0A000", "start-up option \"-\" is not supported"},
        {"--", "0A000", "start-up option \"--\" is not supported"},
        {"\\", "0A000", "start-up option \"\" is not supported"},
        {"-C a=1", "0A000", "start-up option \"-C\" is not supported"},
        {"-c", "42601", "-c requires a setting"},
        {"-c a", "42601", "-c a requires a value"},
        {"-ca", "42601", "-c a requires a value"},
        {"--a", "42601", "--a requires a value"},
        {"--a b", "42601", "--a requires a value"},
        {"-c =1", "42704", "unrecognized configuration parameter \"\""},
        {"--=1", "42704", "unrecognized configuration parameter \"\""},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct login_request r;
        struct fault f;
        assert_false(READ(&r, &f, {"user", "web"}, {"options", cases[i].options}));
        assert_string_equal(f.text, cases[i].text);
        assert_string_equal(f.sqlstate, cases[i].sqlstate);
        login_request_fini(&r);
    }
}

static void replication(void **state) {
    (void)state;
    static const char *const no[] = {"false", "FALSE", "f", "off", "of", "no", "n", "0"};
    static const char *const yes[] = {"true", "TRUE", "t", "on", "1", "yes", "y"};
    static const char *const neither[] = {"", "o", "falsee", "00", "x", "Database", "data"};
    struct login_request r;
    struct fault f;
    for (size_t i = 0; i < countof(no); i++) {
        assert_true(READ(&r, &f, {"user", "web"}, {"replication", no[i]}));
        assert_int_equal(r.replication, REPLICATION_NONE);
        login_request_fini(&r);
    }
    for (size_t i = 0; i < countof(yes); i++) {
        assert_true(READ(&r, &f, {"user", "web"}, {"replication", yes[i]}));
        assert_int_equal(r.replication, REPLICATION_PHYSICAL);
        login_request_fini(&r);
    }
    for (size_t i = 0; i < countof(neither); i++) {
        assert_false(READ(&r, &f, {"user", "web"}, {"replication", neither[i]}));
        assert_string_equal(f.sqlstate, "22023");
        assert_string_equal(f.hint, "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
        login_request_fini(&r);
    }
    assert_true(READ(&r, &f, {"user", "web"}, {"replication", "database"}, {"TimeZone", "CET"}));
    assert_int_equal(r.replication, REPLICATION_DATABASE);
    assert_true(SETTINGS(&r, "TimeZone\0CET\0"));
    login_request_fini(&r);
}

static void protocol_options(void **state) {
    (void)state;
    struct buf b = buf_make(64 * 1024);
    const struct request_parameter pairs[] = {{"_pq_.x", "1"}, {"user", "web"}, {"_pq_.", ""}, {"_pq", "setting"}};
    struct login_request r;
    request_startup(&b, pairs, countof(pairs));
    assert_true(login_request_read(&r, span_from(buf_span(&b), 8), NULL));
    assert_int_equal(r.n_unknown, 2);
    assert_true(span_is(r.unknown[0], "_pq_.x") && span_is(r.unknown[1], "_pq_."));
    assert_true(SETTINGS(&r, "_pq\0setting\0"));
    login_request_fini(&r);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(settings_in_order),
        cmocka_unit_test(options_like_postgresql),
        cmocka_unit_test(options_refused),
        cmocka_unit_test(replication),
        cmocka_unit_test(protocol_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
