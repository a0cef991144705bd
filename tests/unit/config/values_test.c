// SPDX-License-Identifier: ISC
// Tests of config/values.h, config/suggest.h, config/address.h and config/words.h: text to value, and what is refused.
#include "tests/unit/config/check.h"

#include "base/mem.h"
#include "config/address.h"
#include "config/suggest.h"
#include "config/values.h"
#include "config/words.h"

struct value_case {
    const struct value_type *type;
    const char *text;
    int64_t value;
    const char *printed;
};

static const struct value_case good[] = {
    {&value_boolean, "0", 0, "0"},
    {&value_boolean, "1", 1, "1"},
    {&value_boolean, "no", 0, "0"},
    {&value_boolean, "YES", 1, "1"},
    {&value_boolean, "Off", 0, "0"},
    {&value_boolean, "on", 1, "1"},
    {&value_boolean, "false", 0, "0"},
    {&value_boolean, "true", 1, "1"},
    {&value_integer, "0", 0, "0"},
    {&value_integer, "007", 7, "7"},
    {&value_integer, "-5", -5, "-5"},
    {&value_integer, "9223372036854775807", INT64_MAX, "9223372036854775807"},
    {&value_duration, "0", 0, "0"},
    {&value_duration, "60", 60000, "1min"},
    {&value_duration, "500ms", 500, "500ms"},
    {&value_duration, "60s", 60000, "1min"},
    {&value_duration, "90 s", 90000, "90s"},
    {&value_duration, "5min", 300000, "5min"},
    {&value_duration, "1h", 3600000, "1h"},
    {&value_duration, "36h", 36 * 3600000, "36h"},
    {&value_duration, "1d", 86400000, "1d"},
    {&value_duration, "1.5s", 1500, "1500ms"},
    {&value_duration, "0.25", 250, "250ms"},
    {&value_duration, "1.50000000000000000000h", 5400000, "90min"},
    {&value_duration, "0.0001min", 6, "6ms"},
    {&value_size, "0", 0, "0"},
    {&value_size, "1000", 1000, "1000B"},
    {&value_size, "1000B", 1000, "1000B"},
    {&value_size, "256kB", 262144, "256kB"},
    {&value_size, "1 MB", 1048576, "1MB"},
    {&value_size, "3GB", (int64_t)3 << 30, "3GB"},
    {&value_mode, "0770", 0770, "0770"},
    {&value_mode, "600", 0600, "0600"},
    {&value_mode, "0", 0, "0000"},
    {&value_auth_type, "trust", 0, "trust"},
    {&value_auth_type, "scram-sha-256", 1, "scram-sha-256"},
    {&value_sslmode, "disable", 0, "disable"},
    {&value_sslmode, "verify-full", 5, "verify-full"},
    {&value_log_level, "debug", 3, "debug"},
};

static void values_are_read_and_printed(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(good); i++) {
        const struct value_case *c = &good[i];
        struct fault fault = {.text = ""};
        int64_t value = -99, again = -99;
        if (!value_parse(c->type, c->text, &value, &fault)) fail_msg("%s", fault.text);
        assert_int_equal(value, c->value);
        struct buf b = buf_make(100);
        value_print(c->type, value, &b);
        assert_string_equal(buf_text(&b), c->printed);
        assert_true(value_parse(c->type, buf_text(&b), &again, &fault));
        assert_int_equal(again, value);
        buf_release(&b);
    }
}

#define NO_DURATION " is not a duration: a number and ms, s, min, h or d (alone it is seconds), to the millisecond"
#define NO_SIZE " is not a size: a whole number and kB, MB or GB (alone it is bytes)"
#define NO_INTEGER " is not a whole number"
#define NO_BOOLEAN " is neither 1 (yes, on, true) nor 0 (no, off, false)"
#define NO_MODE " is not an octal file mode such as 0770"

static const struct {
    const struct value_type *type;
    const char *text, *error;
} bad[] = {
    {&value_boolean, "", "\"\"" NO_BOOLEAN},
    {&value_boolean, "maybe", "\"maybe\"" NO_BOOLEAN},
    {&value_boolean, "2", "\"2\"" NO_BOOLEAN},
    {&value_integer, "", "\"\"" NO_INTEGER},
    {&value_integer, "-", "\"-\"" NO_INTEGER},
    {&value_integer, "1.5", "\"1.5\"" NO_INTEGER},
    {&value_integer, "0x10", "\"0x10\"" NO_INTEGER},
    {&value_integer, "5 s", "\"5 s\"" NO_INTEGER},
    {&value_integer, "9223372036854775808", "\"9223372036854775808\"" NO_INTEGER},
    {&value_duration, "", "\"\"" NO_DURATION},
    {&value_duration, "s", "\"s\"" NO_DURATION},
    {&value_duration, "-5s", "\"-5s\"" NO_DURATION},
    {&value_duration, "5 parsecs", "\"5 parsecs\"" NO_DURATION},
    {&value_duration, "5s5", "\"5s5\"" NO_DURATION},
    {&value_duration, "1 2s", "\"1 2s\"" NO_DURATION},
    {&value_duration, "5.", "\"5.\"" NO_DURATION},
    {&value_duration, ".5", "\".5\"" NO_DURATION},
    {&value_duration, "0.5ms", "\"0.5ms\"" NO_DURATION},
    {&value_duration, "0.0001s", "\"0.0001s\"" NO_DURATION},
    {&value_duration, "0.000005min", "\"0.000005min\"" NO_DURATION},
    {&value_duration, "106751991168d", "\"106751991168d\"" NO_DURATION},
    {&value_duration, "5S", "\"5S\"" NO_DURATION},
    {&value_size, "", "\"\"" NO_SIZE},
    {&value_size, "kB", "\"kB\"" NO_SIZE},
    {&value_size, "1.5MB", "\"1.5MB\"" NO_SIZE},
    {&value_size, "1KiB", "\"1KiB\"" NO_SIZE},
    {&value_size, "8589934592GB", "\"8589934592GB\"" NO_SIZE},
    {&value_mode, "", "\"\"" NO_MODE},
    {&value_mode, "0778", "\"0778\"" NO_MODE},
    {&value_mode, "rwx", "\"rwx\"" NO_MODE},
    {&value_auth_type, "md5", "\"md5\" is none of trust, scram-sha-256"},
    {&value_auth_type, "Trust", "\"Trust\" is none of trust, scram-sha-256"},
    {&value_sslmode, "", "\"\" is none of disable, allow, prefer, require, verify-ca, verify-full"},
};

static void bad_values_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(bad); i++) {
        struct fault fault = {.text = ""};
        int64_t value;
        if (value_parse(bad[i].type, bad[i].text, &value, &fault)) fail_msg("\"%s\" was taken", bad[i].text);
        assert_string_equal(fault.text, bad[i].error);
        assert_string_equal(fault.sqlstate, "F0000");
    }
}

static void bytes_that_have_no_place(void **state) {
    (void)state;
    static const char *const fine[] = {
        "", "plain", "a\tb", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x98", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};
    static const char *const not_utf8[] = {"\xe9",
                                           "a\x80",
                                           "\xc0\xaf",
                                           "\xc3",
                                           "\xe2\x82",
                                           "\xe0\x80\x80",
                                           "\xed\xa0\x80",
                                           "\xf0\x80\x80\x80",
                                           "\xf4\x90\x80\x80",
                                           "\xff",
                                           "\xe2\x28\xa1",
                                           "\xf0\x9f\x90z"};
    static const char *const control[] = {"\x01", "a\nb", "a\rb", "\x1b[0m", "\x7f"};
    for (size_t i = 0; i < countof(fine); i++) assert_null(value_bad_bytes(span_str(fine[i])));
    for (size_t i = 0; i < countof(not_utf8); i++)
        assert_string_equal(value_bad_bytes(span_str(not_utf8[i])), "is not valid UTF-8");
    for (size_t i = 0; i < countof(control); i++)
        assert_string_equal(value_bad_bytes(span_str(control[i])), "holds a control character");
    assert_string_equal(value_bad_bytes(span_of("a\0b", 3)), "holds a control character");
}

static void suggestions_are_near(void **state) {
    (void)state;
    static const struct {
        const char *word, *candidate;
        bool near;
    } cases[] = {{"max_lgg", "max_lag", true},
                 {"max_lga", "max_lag", true},
                 {"MAX_LAG", "max_lag", true},
                 {"maxlag", "max_lag", true},
                 {"max_laag", "max_lag", true},
                 {"hst", "host", true},
                 {"databases", "database", true},
                 {"pgbouncer", "pgsteer", false},
                 {"xyz", "host", false},
                 {"ab", "cd", false},
                 {"", "host", false},
                 {"auth_query", "auth_file", false},
                 {"listen_address", "listen_addr", true}};
    for (size_t i = 0; i < countof(cases); i++) {
        struct suggestion s = suggestion_for(cases[i].word);
        suggestion_try(&s, cases[i].candidate);
        if ((s.best != NULL) != cases[i].near) fail_msg("%s and %s", cases[i].word, cases[i].candidate);
    }
    struct suggestion s = suggestion_for("min_pool_sise");
    suggestion_try(&s, "min_pool_side_b");
    suggestion_try(&s, "min_pool_size");
    suggestion_try(&s, "mn_pool_size");
    assert_string_equal(s.best, "min_pool_size");
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    s = suggestion_for(longer);
    suggestion_try(&s, longer);
    assert_null(s.best);
}

static void addresses(void **state) {
    (void)state;
    static const char *const loopback[] = {"127.0.0.1",        "127.255.0.9", "::1",
                                           "::ffff:127.0.0.1", "localhost",   "LOCALHOST"};
    static const char *const elsewhere[] = {
        "0.0.0.0", "10.0.0.1", "128.0.0.1", "::",          "fe80::1%lo", "::ffff:10.0.0.1",
        "a.b.c",   "*",        "",          "localhost.x", "127.1",      "1270.0.0.1"};
    static const char *const valid[] = {"10.0.0.1", "::", "fe80::1%eth0", "pg-1.example.com", "pg_1", "a"};
    static const char *const invalid[] = {"",    "10.0.0.300", "10.0.0", "1:2", "::1%", "[::1]",
                                          "a b", "-a",         ".a",     "*",   "a/b",  "a,b"};
    for (size_t i = 0; i < countof(loopback); i++) assert_true(address_is_loopback(loopback[i]));
    for (size_t i = 0; i < countof(elsewhere); i++) assert_false(address_is_loopback(elsewhere[i]));
    for (size_t i = 0; i < countof(valid); i++)
        if (!address_is_valid(valid[i])) fail_msg("%s", valid[i]);
    for (size_t i = 0; i < countof(invalid); i++)
        if (address_is_valid(invalid[i])) fail_msg("%s", invalid[i]);
}

static void address_lists(void **state) {
    (void)state;
    char item[ADDRESS_MAX], longest[ADDRESS_MAX + 10];
    const char *p = " 127.0.0.1 ,::1,, *, ";
    static const char *const expected[] = {"127.0.0.1", "::1", "", "*", ""};
    for (size_t i = 0; i < countof(expected); i++) {
        assert_true(address_next(&p, item));
        assert_string_equal(item, expected[i]);
    }
    assert_false(address_next(&p, item));
    p = "";
    assert_false(address_next(&p, item));
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    p = longest;
    assert_true(address_next(&p, item));
    assert_string_equal(item, "");
    longest[ADDRESS_MAX - 1] = '\0';
    p = longest;
    assert_true(address_next(&p, item));
    assert_string_equal(item, longest);
}

static void words(void **state) {
    (void)state;
    const char *p = "host=a port = 5432 zone='' name='it\\'s \\\\ here' dir=/tmp/a\\ b  ";
    static const char *const expected[][2] = {
        {"host", "a"}, {"port", "5432"}, {"zone", ""}, {"name", "it's \\ here"}, {"dir", "/tmp/a b"}};
    // The room that the contract asks for, to the byte: the address sanitizer watches.
    for (size_t i = 0; i < countof(expected); i++) {
        char *copy = mem_alloc(strlen(p) + 2), *key, *value;
        assert_int_equal(words_next(&p, copy, &key, &value, NULL), WORDS_PAIR);
        assert_string_equal(key, expected[i][0]);
        assert_string_equal(value, expected[i][1]);
        mem_free(copy);
    }
    char copy[8], *key, *value;
    assert_int_equal(words_next(&p, copy, &key, &value, NULL), WORDS_END);
}

static void bad_words(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"host", "\"host\" is not key=value"},
                                           {"=a", "\"=a\" is not key=value"},
                                           {"host a", "\"host a\" is not key=value"},
                                           {"host='a", "the quote after host= is not closed"},
                                           {"host='a\\'", "the quote after host= is not closed"}};
    for (size_t i = 0; i < countof(cases); i++) {
        struct fault fault;
        const char *p = cases[i][0];
        char copy[32], *key, *value;
        assert_int_equal(words_next(&p, copy, &key, &value, &fault), WORDS_BAD);
        assert_string_equal(fault.text, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_and_printed),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(bytes_that_have_no_place),
        cmocka_unit_test(suggestions_are_near),
        cmocka_unit_test(addresses),
        cmocka_unit_test(address_lists),
        cmocka_unit_test(words),
        cmocka_unit_test(bad_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
