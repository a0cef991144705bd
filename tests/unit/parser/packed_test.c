// SPDX-License-Identifier: ISC
// Packed messages, read as they lie: what the library's own unpacking sees in them, and any damage is noticed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <pg_query.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "parser/packed.h"

enum { TEXT_CAP = 1 << 20, MAX_DEPTH = 200 };

// What a message says: "(" id value ... ")", without what has its default.
struct text {
    char bytes[TEXT_CAP];
    size_t len;
    bool wrong;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->bytes + t->len, TEXT_CAP - t->len, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < TEXT_CAP - t->len);
    t->len += (size_t)n;
}

static void put_number(struct text *t, unsigned id, int64_t number) {
    if (number != 0) put(t, " %u=%" PRId64, id, number);
}

static void put_string(struct text *t, unsigned id, struct span s) {
    if (s.len > 0) put(t, " %u='%.*s'", id, (int)s.len, (const char *)s.ptr);
}

// As parser/packed.c sees it.
static void put_packed(struct text *t, struct packed m, unsigned depth) {
    struct packed_field f;
    if (depth == MAX_DEPTH) return;
    put(t, "(");
    while (packed_next(&m, &f)) {
        if (f.of->type == PROTOBUF_C_TYPE_MESSAGE) {
            put(t, " %u", f.of->id);
            put_packed(t, packed_message(&f), depth + 1);
        } else if (f.of->type == PROTOBUF_C_TYPE_STRING) {
            put_string(t, f.of->id, f.bytes);
        } else {
            put_number(t, f.of->id, (int64_t)f.number);
        }
    }
    put(t, ")");
    t->wrong |= m.wrong;
}

static void put_unpacked(struct text *t, const ProtobufCMessage *m);

static void put_value(struct text *t, const ProtobufCFieldDescriptor *f, const void *at) {
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (!*(ProtobufCMessage *const *)at) return;
        put(t, " %u", f->id);
        put_unpacked(t, *(ProtobufCMessage *const *)at);
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        put_string(t, f->id, span_str(*(const char *const *)at));
    } else if (f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_INT64) {
        put_number(t, f->id, (int64_t) * (const uint64_t *)at);
    } else {
        assert_true(f->type == PROTOBUF_C_TYPE_INT32 || f->type == PROTOBUF_C_TYPE_UINT32 ||
                    f->type == PROTOBUF_C_TYPE_BOOL || f->type == PROTOBUF_C_TYPE_ENUM);
        put_number(t, f->id, *(const int32_t *)at);
    }
}

// As the library sees it.
static void put_unpacked(struct text *t, const ProtobufCMessage *m) {
    put(t, "(");
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const char *at = (const char *)m + f->offset, *quantifier = (const char *)m + f->quantifier_offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(const void *)quantifier;
            assert_int_equal(f->type, PROTOBUF_C_TYPE_MESSAGE);
            for (size_t k = 0; k < count; k++)
                put_value(t, f, *(const char *const *)(const void *)at + k * sizeof(void *));
        } else if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || *(const unsigned *)(const void *)quantifier == f->id) {
            put_value(t, f, at);
        }
    }
    put(t, ")");
}

static struct text *packed_text_of(const void *bytes, size_t len) {
    struct text *t = mem_new(struct text);
    put_packed(t, packed_of(&pg_query__parse_result__descriptor, span_of(bytes, len)), 0);
    return t;
}

static void check_equal(const char *sql) {
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(sql);
    if (!parsed.error) {
        PgQuery__ParseResult *result =
            pg_query__parse_result__unpack(NULL, parsed.parse_tree.len, (const uint8_t *)parsed.parse_tree.data);
        struct text *ours = packed_text_of(parsed.parse_tree.data, parsed.parse_tree.len);
        struct text *theirs = mem_new(struct text);
        put_unpacked(theirs, &result->base);
        assert_false(ours->wrong);
        if (strcmp(ours->bytes, theirs->bytes) != 0) fail_msg("%s\n%s\n%s", sql, ours->bytes, theirs->bytes);
        pg_query__parse_result__free_unpacked(result, NULL);
        mem_free(ours);
        mem_free(theirs);
    }
    pg_query_free_protobuf_parse_result(parsed);
}

// Every statement that classify_test knows.
static void as_unpacked(void **state) {
    (void)state;
    char line[4000];
    int count = 0;
    FILE *f = fopen("tests/unit/parser/statements.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *sql = line;
        line[strcspn(line, "\n")] = '\0';
        for (int bars = 0; sql && bars < 3; bars++) sql = strchr(sql, '|') ? strchr(sql, '|') + 1 : NULL;
        if (line[0] == '#' || !sql) continue;
        check_equal(sql);
        count++;
    }
    fclose(f);
    assert_in_range(count, 400, 10000);
}

static const char sample[] = "with w as (insert into s.t values (1, 'x') returning a) select f(a, b => true), - c[1].d "
                             "from w join u using (a) where a between 1 and 2 order by 1 using < for update";

// On the heap, to the byte, so that a sanitizer sees a read behind the end.
static void on_copies(void (*damage)(const uint8_t *bytes, size_t len)) {
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(sample);
    assert_null(parsed.error);
    damage((const uint8_t *)parsed.parse_tree.data, parsed.parse_tree.len);
    pg_query_free_protobuf_parse_result(parsed);
}

static void truncate_each(const uint8_t *bytes, size_t len) {
    struct packed result = packed_of(&pg_query__parse_result__descriptor, span_of(bytes, len));
    struct packed_field version;
    assert_true(packed_next(&result, &version));
    size_t whole = (size_t)(result.p - bytes);
    for (size_t n = 0; n < len; n++) {
        uint8_t *copy = mem_alloc(n + 1);
        memcpy(copy + 1, bytes, n);
        struct text *t = packed_text_of(copy + 1, n);
        assert_int_equal(t->wrong, n != 0 && n != whole);
        mem_free(t);
        mem_free(copy);
    }
}

static void change_each(const uint8_t *bytes, size_t len) {
    uint8_t *copy = mem_alloc(len);
    for (size_t n = 0; n < len; n++) {
        memcpy(copy, bytes, len);
        for (unsigned change = 1; change < 256; change += 18) {
            copy[n] = (uint8_t)(bytes[n] ^ change);
            mem_free(packed_text_of(copy, len));
        }
    }
    mem_free(copy);
}

static void truncated(void **state) {
    (void)state;
    on_copies(truncate_each);
}

static void changed(void **state) {
    (void)state;
    on_copies(change_each);
}

static void damaged(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool wrong;
    } cases[] = {
#define BYTES(text) text, sizeof text - 1
        {BYTES(""), false},
        {BYTES("\x08\x01"), false},                                        // version = 1
        {BYTES("\x08"), true},                                             // no number
        {BYTES("\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x01"), false},    // a number of ten bytes
        {BYTES("\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), true}, // and of eleven
        {BYTES("\x12\x00"), false},                                        // an empty statement
        {BYTES("\x12\x01"), true},                                         // one that ends too late
        {BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true},     // by 2^64 - 1
        {BYTES("\x10\x00"), true},                                         // a statement that is a number
        {BYTES("\x11\x00\x00\x00\x00\x00\x00\x00\x00"), true},             // a statement of eight bytes
        {BYTES("\x09\x00\x00\x00\x00\x00\x00\x00\x00"), false},            // a number of eight bytes
        {BYTES("\x0d\x00\x00\x00\x00"), false},                            // and of four
        {BYTES("\x0d\x00\x00\x00"), true},                                 // of three
        {BYTES("\x1a\x00"), true},                                         // no such field
        {BYTES("\x00\x00"), true},                                         // nor that
        {BYTES("\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"), true},     // nor that
        {BYTES("\x0b"), true},                                             // a group
        {BYTES("\x0f"), true},                                             // no type at all
#undef BYTES
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct text *t = packed_text_of(cases[i].bytes, cases[i].len);
        if (t->wrong != cases[i].wrong) fail_msg("case %zu: %s", i, t->bytes);
        mem_free(t);
    }
}

static struct packed first_statement(const PgQueryProtobufParseResult *parsed) {
    struct packed result =
        packed_of(&pg_query__parse_result__descriptor, span_of(parsed->parse_tree.data, parsed->parse_tree.len));
    return packed_sub(packed_sub(result, PACKED_FIELD(ParseResult, stmts)), PACKED_FIELD(RawStmt, stmt));
}

// What is asked for by name, and what is not there.
static void fields(void **state) {
    (void)state;
    PgQueryProtobufParseResult parsed = pg_query_parse_protobuf("set local a.b = 'c', 7, -1");
    assert_null(parsed.error);
    struct packed set, other;
    struct packed_field f;
    struct packed node = first_statement(&parsed);
    assert_false(packed_node_is(node, PG_QUERY__NODE__NODE_SELECT_STMT, &other));
    assert_true(packed_node_is(node, PG_QUERY__NODE__NODE_VARIABLE_SET_STMT, &set));
    assert_true(span_is(packed_text(set, PACKED_FIELD(VariableSetStmt, name)), "a.b"));
    assert_int_equal(packed_number(set, PACKED_FIELD(VariableSetStmt, is_local)), 1);
    struct span text;
    assert_true(packed_find(&set, PACKED_FIELD(VariableSetStmt, args), &f));
    assert_true(packed_const_text(packed_message(&f), &text) && span_is(text, "c"));
    assert_true(packed_find(&set, PACKED_FIELD(VariableSetStmt, args), &f));
    assert_false(packed_const_text(packed_message(&f), &text));
    assert_true(packed_find(&set, PACKED_FIELD(VariableSetStmt, args), &f));
    struct packed_field value;
    assert_true(packed_const(packed_message(&f), &value) && value.of->id == PG_QUERY__A__CONST__VAL_IVAL);
    assert_int_equal(packed_number(packed_message(&value), PACKED_FIELD(Integer, ival)), -1);
    assert_false(packed_find(&set, PACKED_FIELD(VariableSetStmt, args), &f));
    // What is not there is an empty Node, and that holds nothing.
    struct packed nothing = packed_sub(node, PACKED_FIELD(RawStmt, stmt) + 1);
    assert_int_equal(packed_node(nothing, &other), 0);
    assert_int_equal(packed_text(nothing, PACKED_FIELD(String, sval)).len, 0);
    assert_int_equal(packed_number(nothing, PACKED_FIELD(Integer, ival)), 0);
    pg_query_free_protobuf_parse_result(parsed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_unpacked), cmocka_unit_test(truncated), cmocka_unit_test(changed),
        cmocka_unit_test(damaged),     cmocka_unit_test(fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
