// SPDX-License-Identifier: ISC
//
// tests/unit/session/prep_util.h: a client and a server connection without either, for the tests of
// router/session/prep.h.
#ifndef PGSTEER_TESTS_UNIT_SESSION_PREP_UTIL_H
#define PGSTEER_TESTS_UNIT_SESSION_PREP_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
// cmocka wants the above first
#include <cmocka.h>

#include "router/session/pipeline.h"
#include "router/session/prep.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

struct side {
    uint64_t next_id;
    struct statements *statements;
    struct prep_client client;
    struct prep_server server;
    struct pipeline due;
    struct buf out, in;
};

static inline struct side *setup(struct side *s) {
    *s = (struct side){.out = buf_make(1 << 20), .in = buf_make(1 << 20)};
    s->statements = statements_new(&s->next_id, 2);
    prep_client_init(&s->client);
    prep_server_init(&s->server);
    pipeline_init(&s->due);
    return s;
}

static inline void teardown(struct side *s) {
    pipeline_fini(&s->due);
    prep_client_fini(&s->client);
    prep_server_fini(&s->server);
    statements_free(s->statements); // finds that no reference is left
    buf_release(&s->out);
    buf_release(&s->in);
}

// Messages a client might send, into `in`.
static inline void parse(struct side *s, const char *name, const char *sql) {
    request_parse(&s->in, span_str(name), span_str(sql), span_of("\0\0", 2));
}
static inline void bind(struct side *s, const char *statement) {
    size_t at = buf_msg_begin(&s->in, FE_BIND);
    buf_put_cstr(&s->in, "");
    buf_put_cstr(&s->in, statement);
    buf_put(&s->in, "\0\0\0\0\0\0", 6);
    buf_msg_end(&s->in, at);
}
static inline void target(struct side *s, char type, char kind, const char *name) {
    size_t at = buf_msg_begin(&s->in, type);
    buf_put_u8(&s->in, (uint8_t)kind);
    buf_put_cstr(&s->in, name);
    buf_msg_end(&s->in, at);
}
static inline void sync_(struct side *s) { request_sync(&s->in); }

// True when something had to change; `out` has what is to be sent all the same.
static inline bool rewrite_at_most(struct side *s, size_t max_server) {
    struct prep_rewrite r = {.client = &s->client,
                             .server = &s->server,
                             .statements = s->statements,
                             .due = &s->due,
                             .out = &s->out,
                             .max_server = max_server};
    buf_clear(&s->out);
    bool changed = prep_rewrite(&r, buf_span(&s->in));
    assert_int_equal(changed, buf_len(&s->out) > 0);
    if (!changed) buf_put_span(&s->out, buf_span(&s->in));
    buf_clear(&s->in);
    return changed;
}
static inline bool rewrite(struct side *s) { return rewrite_at_most(s, 1000); }

// What goes to the server, in short: P(name:sql) B(name) D(name) C(name) S.
static inline const char *sent(struct side *s) {
    static char text[4096];
    size_t len = 0;
    struct frame f;
    struct msg_parse p;
    struct msg_bind b;
    struct msg_target t;
    for (struct span in = buf_span(&s->out); in.len; in = span_from(in, f.total)) {
        assert_int_equal(frame_next(FRAME_FROM_CLIENT, in, &f, NULL), WIRE_OK);
        struct span name = {0}, sql = {0};
        if (f.type == FE_PARSE && msg_parse(f.payload, &p)) name = p.name, sql = p.query;
        if (f.type == FE_BIND && msg_bind(f.payload, &b)) name = b.statement;
        if ((f.type == FE_DESCRIBE || f.type == FE_CLOSE) && msg_target(f.payload, &t)) name = t.name;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%c", len ? " " : "", f.type);
        if (name.ptr) len += (size_t)snprintf(text + len, sizeof text - len, "(%.*s", (int)name.len, name.ptr);
        if (sql.ptr) len += (size_t)snprintf(text + len, sizeof text - len, ":%.*s", (int)sql.len, sql.ptr);
        if (name.ptr) len += (size_t)snprintf(text + len, sizeof text - len, ")");
    }
    text[len] = '\0';
    return text;
}

// What is due, in short: a letter of PBDECSQR each, upper case forwarded, lower case swallowed, `*` before invented.
static inline const char *due(struct side *s) {
    static char text[256];
    size_t len = 0;
    for (uint32_t i = 0; i < s->due.count; i++) {
        const struct reply *r = pipeline_at(&s->due, i);
        char letter = "QPBDECSR"[r->kind];
        if (r->kind == REPLY_CLOSE) letter = 'C';
        if (r->action == REPLY_INVENT) text[len++] = '*';
        text[len++] = r->action == REPLY_SWALLOW ? (char)(letter + 32) : letter;
    }
    text[len] = '\0';
    return text;
}

static inline void answered(struct side *s) {
    while (!pipeline_is_empty(&s->due)) pipeline_pop(&s->due);
}

#endif
