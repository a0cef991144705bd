// SPDX-License-Identifier: ISC
// parser/packed.c: see parser/packed.h. The format: protobuf.dev, "Encoding".
#include "parser/packed.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct packed packed_of(const ProtobufCMessageDescriptor *of, struct span bytes) {
    return (struct packed){.of = of, .p = bytes.ptr, .end = span_at(bytes.ptr, bytes.len)};
}

static bool fail(struct packed *m) {
    m->p = m->end;
    m->wrong = true;
    return false;
}

static bool long_varint(struct packed *m, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned shift = 0; m->p < m->end && shift < 64; shift += 7) {
        uint8_t byte = *m->p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return fail(m);
}

static inline bool varint(struct packed *m, uint64_t *out) {
    if (m->p == m->end || *m->p >= 0x80) return long_varint(m, out);
    *out = *m->p++;
    return true;
}

static bool bytes(struct packed *m, uint64_t len, struct span *out) {
    if (len > (uint64_t)(m->end - m->p)) return fail(m);
    *out = span_of(m->p, (size_t)len);
    m->p += len;
    return true;
}

// The library numbers the fields of nearly all messages from 1 on, without gaps.
static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *of, uint64_t id) {
    if (id - 1 < of->n_fields && of->fields[id - 1].id == id) return &of->fields[id - 1];
    return id <= UINT32_MAX ? protobuf_c_message_descriptor_get_field(of, (unsigned)id) : NULL;
}

static bool is_bytes(const ProtobufCFieldDescriptor *f) {
    return f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES;
}

bool packed_next(struct packed *m, struct packed_field *f) {
    uint64_t tag, len;
    if (m->p == m->end || !varint(m, &tag)) return false;
    f->of = field_of(m->of, tag >> 3);
    f->bytes = span_of(m->end, 0);
    f->number = 0;
    unsigned type = tag & 7;
    if (!f->of || (type != WIRE_BYTES && is_bytes(f->of))) return fail(m);
    switch (type) {
    case WIRE_BYTES: return varint(m, &len) && bytes(m, len, &f->bytes);
    case WIRE_VARINT: return varint(m, &f->number);
    case WIRE_FIXED64: return bytes(m, 8, &f->bytes);
    case WIRE_FIXED32: return bytes(m, 4, &f->bytes);
    default: return fail(m);
    }
}

bool packed_find(struct packed *m, size_t field, struct packed_field *f) {
    while (packed_next(m, f))
        if (f->of->offset == field) return true;
    return false;
}

struct packed packed_message(const struct packed_field *f) {
    if (f->of->type != PROTOBUF_C_TYPE_MESSAGE) return packed_of(&pg_query__node__descriptor, span_of("", 0));
    return packed_of(f->of->descriptor, f->bytes);
}

struct packed packed_sub(struct packed m, size_t field) {
    struct packed_field f;
    if (packed_find(&m, field, &f)) return packed_message(&f);
    return packed_of(&pg_query__node__descriptor, span_of("", 0));
}

struct span packed_text(struct packed m, size_t field) {
    struct packed_field f;
    return packed_find(&m, field, &f) ? f.bytes : span_of("", 0);
}

int64_t packed_number(struct packed m, size_t field) {
    struct packed_field f;
    return packed_find(&m, field, &f) ? (int64_t)f.number : 0;
}

unsigned packed_node(struct packed node, struct packed *out) {
    struct packed_field f;
    if (node.of != &pg_query__node__descriptor || !packed_next(&node, &f)) return PG_QUERY__NODE__NODE__NOT_SET;
    *out = packed_message(&f);
    return f.of->id;
}

bool packed_node_is(struct packed node, unsigned type, struct packed *out) {
    struct packed held;
    if (packed_node(node, &held) != type) return false;
    *out = held;
    return true;
}

bool packed_const(struct packed node, struct packed_field *value) {
    struct packed constant;
    return packed_node_is(node, PG_QUERY__NODE__NODE_A_CONST, &constant) &&
           packed_find(&constant, PACKED_FIELD(AConst, ival), value);
}

bool packed_const_text(struct packed node, struct span *out) {
    struct packed_field value;
    if (!packed_const(node, &value) || value.of->id != PG_QUERY__A__CONST__VAL_SVAL) return false;
    *out = packed_text(packed_message(&value), PACKED_FIELD(String, sval));
    return true;
}
