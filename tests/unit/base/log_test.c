// SPDX-License-Identifier: ISC
// tests/unit/base/log_test.c: a line is one line, whatever a peer puts into it.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
// cmocka wants the above first
#include <cmocka.h>

#include "base/log.h"

static char got[8192];

// What log_write writes to standard error while `body` runs.
static void capture(void (*body)(void)) {
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    body();
    dup2(saved, STDERR_FILENO);
    close(pipe_fds[1]);
    close(saved);
    ssize_t n = read(pipe_fds[0], got, sizeof got - 1);
    got[n < 0 ? 0 : n] = '\0';
    close(pipe_fds[0]);
}

static struct log_prefix prefix;

static void write_hostile(void) { log_write(LOG_LEVEL_INFO, &prefix, "said \"%s\"", "a\nlevel=error msg=\"forged"); }

static void text_is_one_line(void **state) {
    (void)state;
    log_set_format(LOG_FORMAT_TEXT);
    log_prefix_clear(&prefix);
    log_prefix_add(&prefix, "client", "%d", 7);
    log_prefix_add(&prefix, "db", "a b\"c");
    capture(write_hostile);
    assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
    assert_non_null(strstr(got, " level=info client=7 db=\"a b\\\"c\" msg=\"said \\\"a\\u000alevel=error msg=\\\"forged\\\"\"\n"));
}

static void json_has_members(void **state) {
    (void)state;
    log_set_format(LOG_FORMAT_JSON);
    capture(write_hostile);
    assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
    assert_memory_equal(got, "{\"time\":\"", 9);
    assert_non_null(strstr(got, ",\"client\":\"7\",\"db\":\"a b\\\"c\",\"msg\":\"said \\\"a\\u000a"));
    assert_string_equal(got + strlen(got) - 3, "\"}\n");
    log_set_format(LOG_FORMAT_TEXT);
}

static void write_long(void) {
    char text[5000];
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_write(LOG_LEVEL_ERROR, NULL, "%s", text);
}

static void long_lines_are_cut(void **state) {
    (void)state;
    log_set_format(LOG_FORMAT_JSON);
    capture(write_long);
    assert_true(strlen(got) <= 2048);
    assert_string_equal(got + strlen(got) - 3, "\"}\n");
    log_set_format(LOG_FORMAT_TEXT);
}

static void write_debug(void) { log_debug(NULL, "nobody reads this"); }

static void levels_are_kept(void **state) {
    (void)state;
    log_set_level(LOG_LEVEL_INFO);
    capture(write_debug);
    assert_string_equal(got, "");
    log_set_level(LOG_LEVEL_DEBUG);
    capture(write_debug);
    assert_non_null(strstr(got, "level=debug"));
    log_set_level(LOG_LEVEL_INFO);
}

static void prefix_never_overruns(void **state) {
    (void)state;
    struct log_prefix p = {0};
    for (int i = 0; i < 100; i++) log_prefix_add(&p, "key", "%0100d", i);
    assert_int_equal(strlen(p.text), strlen("key=") + 100); // the second one would be too much
    log_prefix_clear(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_one_line),  cmocka_unit_test(json_has_members),
        cmocka_unit_test(long_lines_are_cut), cmocka_unit_test(levels_are_kept),
        cmocka_unit_test(prefix_never_overruns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
