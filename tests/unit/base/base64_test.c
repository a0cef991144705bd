// SPDX-License-Identifier: ISC
// Tests of base/base64.h: the vectors of RFC 4648, and that every other form is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

struct vector {
    const char *bytes, *text;
};

// RFC 4648, section 10.
static const struct vector vectors[] = {{"", ""},
                                        {"f", "Zg=="},
                                        {"fo", "Zm8="},
                                        {"foo", "Zm9v"},
                                        {"foob", "Zm9vYg=="},
                                        {"fooba", "Zm9vYmE="},
                                        {"foobar", "Zm9vYmFy"}};

static void rfc_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(vectors); i++) {
        const struct vector *v = &vectors[i];
        char text[32];
        assert_int_equal(base64_encode(span_str(v->bytes), text), strlen(v->text));
        assert_string_equal(text, v->text);
        assert_int_equal(BASE64_LEN(strlen(v->bytes)), strlen(v->text));
        uint8_t bytes[32];
        size_t len;
        assert_true(base64_decode(span_str(v->text), bytes, sizeof bytes, &len));
        assert_true(span_is(span_of(bytes, len), v->bytes));
    }
}

static void every_byte_goes_there_and_back(void **state) {
    (void)state;
    uint8_t in[256], out[256];
    for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(i * 151 + 7); // 151 is odd: each byte once
    for (size_t n = 0; n <= sizeof in; n++) {
        char text[BASE64_LEN(256) + 1];
        size_t text_len = base64_encode(span_of(in, n), text), len;
        assert_int_equal(text_len, BASE64_LEN(n));
        assert_true(base64_decode(span_of(text, text_len), out, n, &len));
        assert_int_equal(len, n);
        assert_memory_equal(out, in, n);
        // One byte less of room is refused, not overrun: the address sanitizer watches.
        if (n > 0) {
            assert_false(base64_decode(span_of(text, text_len), out, n - 1, &len));
            assert_int_equal(len, 0);
        }
    }
}

static void other_forms_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "Z",     "Zg",       "Zg=",      "=",       "====", "Zg=a",     "Z===",       "Zh==", "Zm9=", "Zm9v\n",
        " Zg==", "Zg==Zg==", "Zm8=Zm9v", "Zm9vYg=", "Zm-_", "Zm9v====", "\xc3\xa9m8", "Zg= ", "*m9v"};
    for (size_t i = 0; i < countof(bad); i++) {
        uint8_t out[16];
        size_t len = 99;
        if (base64_decode(span_str(bad[i]), out, sizeof out, &len)) fail_msg("\"%s\" was decoded", bad[i]);
        assert_int_equal(len, 0);
    }
    uint8_t out[16];
    size_t len;
    assert_false(base64_decode(span_of("Zm\0v", 4), out, sizeof out, &len));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_vectors),
        cmocka_unit_test(every_byte_goes_there_and_back),
        cmocka_unit_test(other_forms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
