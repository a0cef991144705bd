// SPDX-License-Identifier: ISC
// router/wire/msg.c: see router/wire/msg.h.
#include "router/wire/msg.h"

// Well-formed means: every field was there, and nothing follows the last one.
static bool cursor_is_done(const struct cursor *c) { return !c->bad && cursor_left(c) == 0; }

bool msg_parse(struct span payload, struct msg_parse *out) {
    struct cursor c = cursor_of(payload);
    out->name = cursor_cstr(&c);
    out->query = cursor_cstr(&c);
    const uint8_t *types = c.ptr;
    size_t n = cursor_u16(&c);
    (void)cursor_bytes(&c, n * 4);
    out->types = span_of(types, (size_t)(c.ptr - types));
    return cursor_is_done(&c);
}

bool msg_bind(struct span payload, struct msg_bind *out) {
    struct cursor c = cursor_of(payload);
    out->portal = cursor_cstr(&c);
    out->statement = cursor_cstr(&c);
    out->rest = span_of(c.ptr, cursor_left(&c));
    return !c.bad;
}

bool msg_target(struct span payload, struct msg_target *out) {
    struct cursor c = cursor_of(payload);
    out->kind = (char)cursor_u8(&c);
    out->name = cursor_cstr(&c);
    return cursor_is_done(&c) && (out->kind == PROTO_KIND_STATEMENT || out->kind == PROTO_KIND_PORTAL);
}

bool msg_execute(struct span payload, struct msg_execute *out) {
    struct cursor c = cursor_of(payload);
    out->portal = cursor_cstr(&c);
    out->max_rows = cursor_u32(&c);
    return cursor_is_done(&c);
}

// A message that is one string.
static bool msg_string(struct span payload, struct span *out) {
    struct cursor c = cursor_of(payload);
    *out = cursor_cstr(&c);
    return cursor_is_done(&c);
}

bool msg_query(struct span payload, struct span *sql) { return msg_string(payload, sql); }
bool msg_command_complete(struct span payload, struct span *tag) { return msg_string(payload, tag); }

bool msg_parameter_status(struct span payload, struct span *name, struct span *value) {
    struct cursor c = cursor_of(payload);
    *name = cursor_cstr(&c);
    *value = cursor_cstr(&c);
    return cursor_is_done(&c);
}

static struct span *error_field(struct msg_error *e, uint8_t code) {
    switch (code) {
    case PROTO_FIELD_SEVERITY: return &e->severity;
    case PROTO_FIELD_SQLSTATE: return &e->sqlstate;
    case PROTO_FIELD_MESSAGE: return &e->message;
    case PROTO_FIELD_DETAIL: return &e->detail;
    case PROTO_FIELD_HINT: return &e->hint;
    default: return NULL;
    }
}

void msg_error(struct span payload, struct msg_error *out) {
    *out = (struct msg_error){.hint = {NULL, 0}};
    struct cursor c = cursor_of(payload);
    for (uint8_t code = cursor_u8(&c); code; code = cursor_u8(&c)) {
        struct span value = cursor_cstr(&c);
        struct span *field = error_field(out, code);
        if (field && !c.bad) *field = value;
    }
}
