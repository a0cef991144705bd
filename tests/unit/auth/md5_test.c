// SPDX-License-Identifier: ISC
// The md5 answer against ones that PostgreSQL accepted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "router/auth/md5.h"

static void answers(void **state) {
    (void)state;
    struct secret password;
    char out[MD5_ANSWER_LEN];
    assert_true(secret_set(&password, span_str("secret")));
    // echo -n "$(echo -n secretweb | md5sum | cut -c1-32)" followed by the bytes 01 02 03 ff | md5sum
    assert_true(md5_answer(&password, span_str("web"), (const uint8_t[]){1, 2, 3, 255}, out));
    assert_string_equal(out, "md54ea5d3a0cf990aacf4664a4a17aa0aa2");
    char other[MD5_ANSWER_LEN];
    assert_true(md5_answer(&password, span_str("web"), (const uint8_t[]){1, 2, 3, 254}, other));
    assert_string_not_equal(out, other);
    assert_true(md5_answer(&password, span_str("wec"), (const uint8_t[]){1, 2, 3, 255}, other));
    assert_string_not_equal(out, other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
