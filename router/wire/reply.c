// SPDX-License-Identifier: ISC
// router/wire/reply.c: see router/wire/reply.h.
#include "router/wire/reply.h"

#include <string.h>

static void put_string(struct buf *b, struct span s) {
    buf_put_span(b, s);
    buf_put_u8(b, 0);
}

static void put_field(struct buf *b, uint8_t code, const char *value) {
    buf_put_u8(b, code);
    buf_put_cstr(b, value);
}

static void put_fault(struct buf *b, char type, const char *severity, const char *sqlstate, const struct fault *f) {
    size_t at = buf_msg_begin(b, type);
    put_field(b, PROTO_FIELD_SEVERITY, severity);
    put_field(b, PROTO_FIELD_SEVERITY_NONLOCALIZED, severity);
    put_field(b, PROTO_FIELD_SQLSTATE, f->sqlstate[0] ? f->sqlstate : sqlstate);
    put_field(b, PROTO_FIELD_MESSAGE, f->text);
    if (f->hint[0]) put_field(b, PROTO_FIELD_HINT, f->hint);
    buf_put_u8(b, 0);
    buf_msg_end(b, at);
}

void reply_error(struct buf *b, bool fatal, const struct fault *f) {
    put_fault(b, BE_ERROR, fatal ? "FATAL" : "ERROR", "XX000", f);
}

void reply_notice(struct buf *b, const struct fault *f) {
    put_fault(b, BE_NOTICE, strncmp(f->sqlstate, "01", 2) == 0 ? "WARNING" : "NOTICE", "00000", f);
}

// A message whose body is bytes as they are.
static void put_message(struct buf *b, char type, struct span body) {
    size_t at = buf_msg_begin(b, type);
    buf_put_span(b, body);
    buf_msg_end(b, at);
}

void reply_outdated(struct buf *b) {
    static const char body[] = "SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0Fplancache.c\0"
                               "RRevalidateCachedQuery\0";
    put_message(b, BE_ERROR, span_of(body, sizeof body)); // with the NUL that ends it
}

void reply_ready(struct buf *b, char tx_status) { put_message(b, BE_READY_FOR_QUERY, span_of(&tx_status, 1)); }
void reply_empty_body(struct buf *b, char type) { put_message(b, type, span_str("")); }

void reply_command_complete(struct buf *b, const char *tag) {
    put_message(b, BE_COMMAND_COMPLETE, span_of(tag, strlen(tag) + 1));
}

void reply_parameter_status(struct buf *b, struct span name, struct span value) {
    size_t at = buf_msg_begin(b, BE_PARAMETER_STATUS);
    put_string(b, name);
    put_string(b, value);
    buf_msg_end(b, at);
}

void reply_parameters(struct buf *b, struct span pairs) {
    struct cursor c = cursor_of(pairs);
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c), value = cursor_cstr(&c);
        if (c.bad) return;
        reply_parameter_status(b, name, value);
    }
}

void reply_backend_key_data(struct buf *b, uint32_t pid, uint32_t key) {
    size_t at = buf_msg_begin(b, BE_BACKEND_KEY_DATA);
    buf_put_u32(b, pid);
    buf_put_u32(b, key);
    buf_msg_end(b, at);
}

void reply_auth(struct buf *b, uint32_t code, struct span data) {
    size_t at = buf_msg_begin(b, BE_AUTHENTICATION);
    buf_put_u32(b, code);
    buf_put_span(b, data);
    buf_msg_end(b, at);
}

void reply_auth_sasl(struct buf *b, const char *const *mechanisms) {
    size_t at = buf_msg_begin(b, BE_AUTHENTICATION);
    buf_put_u32(b, PROTO_AUTH_SASL);
    for (; *mechanisms; mechanisms++) buf_put_cstr(b, *mechanisms);
    buf_put_u8(b, 0);
    buf_msg_end(b, at);
}

void reply_negotiate_version(struct buf *b, uint32_t minor, const struct span *options, size_t n_options) {
    size_t at = buf_msg_begin(b, BE_NEGOTIATE_PROTOCOL_VERSION);
    buf_put_u32(b, (uint32_t)PROTO_MAJOR << 16 | minor);
    buf_put_u32(b, (uint32_t)n_options);
    for (size_t i = 0; i < n_options; i++) put_string(b, options[i]);
    buf_msg_end(b, at);
}

void request_startup(struct buf *b, const struct request_parameter *parameters, size_t n) {
    size_t at = buf_msg_begin(b, 0);
    buf_put_u32(b, PROTO_VERSION_3_0);
    for (size_t i = 0; i < n; i++) {
        buf_put_cstr(b, parameters[i].name);
        buf_put_cstr(b, parameters[i].value);
    }
    buf_put_u8(b, 0);
    buf_msg_end(b, at);
}

void request_ssl(struct buf *b) {
    size_t at = buf_msg_begin(b, 0);
    buf_put_u32(b, PROTO_SSL_REQUEST);
    buf_msg_end(b, at);
}

void request_cancel(struct buf *b, uint32_t pid, uint32_t key) {
    size_t at = buf_msg_begin(b, 0);
    buf_put_u32(b, PROTO_CANCEL_REQUEST);
    buf_put_u32(b, pid);
    buf_put_u32(b, key);
    buf_msg_end(b, at);
}

void request_query(struct buf *b, struct span sql) {
    size_t at = buf_msg_begin(b, FE_QUERY);
    put_string(b, sql);
    buf_msg_end(b, at);
}

void request_password(struct buf *b, struct span bytes_with_nul) { put_message(b, FE_PASSWORD, bytes_with_nul); }

void request_sasl_initial(struct buf *b, const char *mechanism, struct span data) {
    size_t at = buf_msg_begin(b, FE_PASSWORD);
    buf_put_cstr(b, mechanism);
    buf_put_u32(b, (uint32_t)data.len);
    buf_put_span(b, data);
    buf_msg_end(b, at);
}

void request_sasl_response(struct buf *b, struct span data) { put_message(b, FE_PASSWORD, data); }

void request_parse(struct buf *b, struct span name, struct span query, struct span types) {
    size_t at = buf_msg_begin(b, FE_PARSE);
    put_string(b, name);
    put_string(b, query);
    buf_put_span(b, types);
    buf_msg_end(b, at);
}

void request_bind(struct buf *b) { put_message(b, FE_BIND, span_of("\0\0\0\0\0\0\0\0", 8)); }
void request_execute(struct buf *b) { put_message(b, FE_EXECUTE, span_of("\0\0\0\0\0", 5)); }

static void put_statement_target(struct buf *b, char type, struct span name) {
    size_t at = buf_msg_begin(b, type);
    buf_put_u8(b, PROTO_KIND_STATEMENT);
    put_string(b, name);
    buf_msg_end(b, at);
}

void request_close_statement(struct buf *b, struct span name) { put_statement_target(b, FE_CLOSE, name); }
void request_describe_statement(struct buf *b, struct span name) { put_statement_target(b, FE_DESCRIBE, name); }
void request_close_portal(struct buf *b) { put_message(b, FE_CLOSE, span_of("P", 2)); } // with its NUL

void request_sync(struct buf *b) { put_message(b, FE_SYNC, span_str("")); }
void request_flush(struct buf *b) { put_message(b, FE_FLUSH, span_str("")); }
void request_terminate(struct buf *b) { put_message(b, FE_TERMINATE, span_str("")); }
