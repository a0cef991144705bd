// SPDX-License-Identifier: ISC
// Headers of every type and length, cut everywhere; start-up packets, good and bad.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/mem.h"
#include "router/wire/frame.h"

// What the documentation lists, apart from the code under test: every type with its least and most length.
struct expected {
    char type;
    uint32_t least, most;
};
static const struct expected client_types[] = {
    {'B', 4, 0x3ffffffe}, {'C', 4, 10000},      {'d', 4, 0x3ffffffe}, {'c', 4, 10000},      {'f', 4, 10000},
    {'D', 4, 10000},      {'E', 4, 10000},      {'H', 4, 10000},      {'F', 4, 0x3ffffffe}, {'P', 4, 0x3ffffffe},
    {'p', 4, 65535},      {'Q', 4, 0x3ffffffe}, {'S', 4, 10000},      {'X', 4, 10000},
};
static const struct expected server_types[] = {
    {'R', 8, 2000},       {'K', 12, 12},        {'2', 4, 4},           {'3', 4, 4},          {'C', 5, 30000},
    {'d', 4, 0x40000003}, {'c', 4, 4},          {'G', 7, 131077},      {'H', 7, 131077},     {'W', 7, 131077},
    {'D', 6, 0x40000003}, {'I', 4, 4},          {'E', 5, 0x40000003},  {'V', 8, 0x40000003}, {'v', 12, 30000},
    {'n', 4, 4},          {'N', 5, 0x40000003}, {'A', 10, 0x40000003}, {'t', 6, 262146},     {'S', 6, 30000},
    {'1', 4, 4},          {'s', 4, 4},          {'Z', 5, 5},           {'T', 6, 0x40000003},
};

static const struct expected *expected_find(enum frame_direction d, int type) {
    const struct expected *list = d == FRAME_FROM_CLIENT ? client_types : server_types;
    size_t n = d == FRAME_FROM_CLIENT ? countof(client_types) : countof(server_types);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)list[i].type == type) return &list[i];
    return NULL;
}

static struct span header(uint8_t to[5], int type, uint32_t len) {
    to[0] = (uint8_t)type;
    for (int i = 0; i < 4; i++) to[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    return span_of(to, 5);
}

static void check_length(enum frame_direction d, int type, const struct expected *e, uint32_t len) {
    uint8_t bytes[5];
    struct frame f;
    struct fault fault = {.text = ""};
    enum wire_result r = frame_next(d, header(bytes, type, len), &f, &fault);
    bool good = e && len >= e->least && len <= e->most;
    if (!good) {
        assert_int_equal(r, WIRE_BAD);
        assert_string_equal(fault.sqlstate, "08P01");
        assert_non_null(strstr(fault.text, e ? "invalid message length" : "message type"));
        return;
    }
    assert_int_equal(r, len == 4 ? WIRE_OK : WIRE_MORE);
    assert_int_equal((uint8_t)f.type, type);
    assert_int_equal(f.total, len + 1);
    assert_int_equal(f.payload.len, 0);
    assert_ptr_equal(f.payload.ptr, bytes + 5);
}

static void every_type_and_length(void **state) {
    (void)state;
    static const uint32_t lengths[] = {
        0,          1,          2,          3,          4,          5,          6,          7,          8,
        9,          10,         11,         12,         13,         14,         15,         1999,       2000,
        2001,       9999,       10000,      10001,      29999,      30000,      30001,      65534,      65535,
        65536,      131076,     131077,     131078,     262145,     262146,     262147,     0x3ffffffd, 0x3ffffffe,
        0x3fffffff, 0x40000000, 0x40000003, 0x40000004, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    for (int d = FRAME_FROM_CLIENT; d <= FRAME_FROM_SERVER; d++)
        for (int type = 0; type < 256; type++)
            for (size_t i = 0; i < countof(lengths); i++)
                check_length((enum frame_direction)d, type, expected_find((enum frame_direction)d, type), lengths[i]);
}

// Each prefix stands in memory of its own size, so that a sanitizer sees a read past its end.
static uint8_t *exact_copy(const void *bytes, size_t n) {
    uint8_t *p = malloc(n ? n : 1);
    assert_non_null(p);
    memcpy(p, bytes, n);
    return p;
}

static void cut_at_every_byte(void **state) {
    (void)state;
    static const char two[] = "Q\0\0\0\015select 1\0S\0\0\0\4";
    const size_t first = 14, all = sizeof two - 1;
    for (size_t n = 0; n <= all; n++) {
        uint8_t *copy = exact_copy(two, n);
        struct frame f;
        struct fault fault;
        enum wire_result r = frame_next(FRAME_FROM_CLIENT, span_of(copy, n), &f, &fault);
        assert_int_equal(r, n < first ? WIRE_MORE : WIRE_OK);
        assert_int_equal(f.type, n < 5 ? 0 : 'Q');
        assert_int_equal(f.total, n < 5 ? 0 : first);
        assert_int_equal(f.payload.len, n < 5 ? 0 : MIN_OF(n, first) - 5);
        if (r == WIRE_OK) assert_memory_equal(f.payload.ptr, "select 1", 9);
        free(copy);
    }
}

static void unknown_type_is_seen_from_one_byte(void **state) {
    (void)state;
    struct frame f;
    struct fault fault;
    assert_int_equal(frame_next(FRAME_FROM_CLIENT, span_str("z"), &f, &fault), WIRE_BAD);
    assert_string_equal(fault.text, "invalid frontend message type 122");
    assert_int_equal(frame_next(FRAME_FROM_SERVER, span_str("Q"), &f, &fault), WIRE_BAD);
    assert_string_equal(fault.text, "invalid backend message type 81");
    assert_int_equal(frame_next(FRAME_FROM_SERVER, span_str(""), &f, NULL), WIRE_MORE);
}

// A start-up packet: its length, its code, then `body`.
static size_t startup_bytes(uint8_t *to, uint32_t len, uint32_t code, const void *body, size_t n) {
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(len >> (24 - 8 * i));
        to[4 + i] = (uint8_t)(code >> (24 - 8 * i));
    }
    memcpy(to + 8, body, n);
    return 8 + n;
}

static enum wire_result startup_of(uint32_t len, uint32_t code, const void *body, size_t n, struct startup *out,
                                   struct fault *fault) {
    uint8_t bytes[256];
    *fault = (struct fault){.text = ""};
    return frame_startup(span_of(bytes, startup_bytes(bytes, len, code, body, n)), out, fault);
}

static void startup_lengths(void **state) {
    (void)state;
    static const uint32_t bad[] = {0, 1, 4, 7, 10001, 0x16030100, 0x47455420, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < countof(bad); i++) {
        uint8_t four[4];
        for (int j = 0; j < 4; j++) four[j] = (uint8_t)(bad[i] >> (24 - 8 * j));
        struct startup s;
        struct fault fault;
        assert_int_equal(frame_startup(span_of(four, 4), &s, &fault), WIRE_BAD);
        assert_string_equal(fault.sqlstate, "08P01");
        assert_int_equal(frame_startup(span_of(four, 3), &s, &fault), WIRE_MORE);
        assert_int_equal(s.total, 0);
    }
    struct startup s;
    struct fault fault;
    assert_int_equal(startup_of(10000, PROTO_VERSION_3_0, "", 0, &s, &fault), WIRE_MORE);
    assert_int_equal(s.total, 10000);
}

static void startup_versions(void **state) {
    (void)state;
    struct startup s;
    struct fault fault;
    assert_int_equal(startup_of(9, PROTO_VERSION_3_0, "", 1, &s, &fault), WIRE_OK);
    assert_int_equal(s.kind, STARTUP_VERSION_3);
    assert_int_equal(s.minor, 0);
    assert_int_equal(startup_of(9, PROTO_VERSION_3_0 | 9999, "", 1, &s, &fault), WIRE_OK);
    assert_int_equal(s.minor, 9999);
    static const uint32_t others[] = {0, 1 << 16, 2 << 16, 4 << 16, 0xffffffff, 1234 << 16 | 5677, 1234 << 16 | 5681};
    for (size_t i = 0; i < countof(others); i++) {
        assert_int_equal(startup_of(9000, others[i], "", 0, &s, &fault), WIRE_BAD);
        assert_string_equal(fault.sqlstate, "0A000");
    }
    assert_int_equal(startup_of(8, 2 << 16, "", 0, &s, &fault), WIRE_BAD);
    assert_string_equal(fault.text, "unsupported frontend protocol 2.0: server supports 3.0 to 3.0");
}

static void startup_special_packets(void **state) {
    (void)state;
    struct startup s;
    struct fault fault;
    assert_int_equal(startup_of(8, PROTO_SSL_REQUEST, "", 0, &s, &fault), WIRE_OK);
    assert_int_equal(s.kind, STARTUP_SSL_REQUEST);
    assert_int_equal(startup_of(8, PROTO_SSL_REQUEST, "Q", 1, &s, &fault), WIRE_OK);
    assert_int_equal(s.total, 8);
    assert_int_equal(startup_of(8, PROTO_GSSENC_REQUEST, "", 0, &s, &fault), WIRE_OK);
    assert_int_equal(s.kind, STARTUP_GSSENC_REQUEST);
    assert_int_equal(startup_of(16, PROTO_CANCEL_REQUEST, "\0\0\1\2\xff\0\0\7", 8, &s, &fault), WIRE_OK);
    assert_int_equal(s.kind, STARTUP_CANCEL);
    assert_int_equal(s.cancel_pid, 258);
    assert_int_equal(s.cancel_key.len, 4);
    assert_memory_equal(s.cancel_key.ptr, "\xff\0\0\7", 4);
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(startup_of(16, PROTO_CANCEL_REQUEST, "\0\0\1\2\xff\0\0\7", n, &s, &fault), WIRE_MORE);
    static const uint32_t codes[] = {PROTO_SSL_REQUEST, PROTO_GSSENC_REQUEST, PROTO_CANCEL_REQUEST};
    static const uint32_t wrong[] = {9, 12, 15, 17, 300, 10000};
    for (size_t i = 0; i < countof(codes); i++)
        for (size_t j = 0; j < countof(wrong); j++) {
            assert_int_equal(startup_of(wrong[j], codes[i], "", 0, &s, &fault), WIRE_BAD);
            assert_string_equal(fault.sqlstate, "08P01");
        }
}

static void startup_layouts(void **state) {
    (void)state;
#define LAYOUT(text, result)                                                                                           \
    { text, sizeof text - 1, result }
    static const struct {
        const char *body;
        size_t n;
        enum wire_result result;
    } layouts[] = {
        LAYOUT("\0", WIRE_OK),
        LAYOUT("user\0a\0\0", WIRE_OK),
        LAYOUT("user\0a\0b\0\0\0", WIRE_OK),
        LAYOUT("", WIRE_BAD),
        LAYOUT("user\0a\0", WIRE_BAD),
        LAYOUT("user\0a", WIRE_BAD),
        LAYOUT("user\0", WIRE_BAD),
        LAYOUT("user", WIRE_BAD),
        LAYOUT("\0\0", WIRE_BAD),
        LAYOUT("\0x", WIRE_BAD),
        LAYOUT("user\0a\0\0x", WIRE_BAD),
        LAYOUT("user\0a\0\0\0", WIRE_BAD),
        LAYOUT("user\0a\0b\0\0", WIRE_BAD),
    };
    for (size_t i = 0; i < countof(layouts); i++) {
        struct startup s;
        struct fault fault;
        uint32_t len = (uint32_t)(8 + layouts[i].n);
        assert_int_equal(startup_of(len, PROTO_VERSION_3_0, layouts[i].body, layouts[i].n, &s, &fault),
                         layouts[i].result);
        if (layouts[i].result == WIRE_BAD) assert_non_null(strstr(fault.text, "startup packet layout"));
    }
}

static void startup_parameters_in_order(void **state) {
    (void)state;
    static const char body[] = "user\0web\0empty\0\0database\0app\0";
    uint8_t bytes[128];
    size_t n = startup_bytes(bytes, 8 + sizeof body, PROTO_VERSION_3_0, body, sizeof body);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = exact_copy(bytes, cut);
        struct startup s;
        assert_int_equal(frame_startup(span_of(copy, cut), &s, NULL), WIRE_MORE);
        free(copy);
    }
    struct startup s;
    assert_int_equal(frame_startup(span_of(bytes, n), &s, NULL), WIRE_OK);
    static const char *const want[][2] = {{"user", "web"}, {"empty", ""}, {"database", "app"}};
    struct span rest = s.parameters, name, value;
    for (size_t i = 0; i < countof(want); i++) {
        assert_true(startup_next_parameter(&rest, &name, &value));
        assert_true(span_is(name, want[i][0]) && span_is(value, want[i][1]));
    }
    assert_false(startup_next_parameter(&rest, &name, &value));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_length),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(unknown_type_is_seen_from_one_byte),
        cmocka_unit_test(startup_lengths),
        cmocka_unit_test(startup_versions),
        cmocka_unit_test(startup_special_packets),
        cmocka_unit_test(startup_layouts),
        cmocka_unit_test(startup_parameters_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
