// SPDX-License-Identifier: ISC
// tests/unit/session/prep_test.c: names of prepared statements between a client and server connections.
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

static struct side *setup(struct side *s) {
    *s = (struct side){.out = buf_make(1 << 20), .in = buf_make(1 << 20)};
    s->statements = statements_new(&s->next_id, 2);
    prep_client_init(&s->client);
    prep_server_init(&s->server);
    pipeline_init(&s->due);
    return s;
}

static void teardown(struct side *s) {
    pipeline_fini(&s->due);
    prep_client_fini(&s->client);
    prep_server_fini(&s->server);
    statements_free(s->statements); // finds that no reference is left
    buf_release(&s->out);
    buf_release(&s->in);
}

// Messages a client might send, into `in`.
static void parse(struct side *s, const char *name, const char *sql) {
    request_parse(&s->in, span_str(name), span_str(sql), span_of("\0\0", 2));
}
static void bind(struct side *s, const char *statement) {
    size_t at = buf_msg_begin(&s->in, FE_BIND);
    buf_put_cstr(&s->in, "");
    buf_put_cstr(&s->in, statement);
    buf_put(&s->in, "\0\0\0\0\0\0", 6);
    buf_msg_end(&s->in, at);
}
static void target(struct side *s, char type, char kind, const char *name) {
    size_t at = buf_msg_begin(&s->in, type);
    buf_put_u8(&s->in, (uint8_t)kind);
    buf_put_cstr(&s->in, name);
    buf_msg_end(&s->in, at);
}
static void sync_(struct side *s) { request_sync(&s->in); }

// True when something had to change; `out` has what is to be sent all the same.
static bool rewrite_at_most(struct side *s, size_t max_server) {
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
static bool rewrite(struct side *s) { return rewrite_at_most(s, 1000); }

// What goes to the server, in short: P(name:sql) B(name) D(name) C(name) S.
static const char *sent(struct side *s) {
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
static const char *due(struct side *s) {
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

static void answered(struct side *s) {
    while (!pipeline_is_empty(&s->due)) pipeline_pop(&s->due);
}

static void a_name_follows_its_client(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    bind(&s, "a");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_1_0:SELECT 1) B(pgsteer_1_0) S");
    assert_string_equal(due(&s), "PBS");
    answered(&s);
    // Another connection lacks it: it is prepared there first.
    prep_server_fini(&s.server);
    bind(&s, "a");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_1_0:SELECT 1) B(pgsteer_1_0) S");
    assert_string_equal(due(&s), "pBS");
    answered(&s);
    bind(&s, "a");
    target(&s, FE_DESCRIBE, 'S', "a");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "B(pgsteer_1_0) D(pgsteer_1_0) S");
    assert_string_equal(due(&s), "BDS");
    teardown(&s);
}

static void one_text_is_prepared_once(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    struct prep_client first = s.client; // another client, with the same text, on the same connection
    prep_client_init(&s.client);
    parse(&s, "b", "SELECT 1");
    bind(&s, "b");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "B(pgsteer_1_0) S");
    assert_string_equal(due(&s), "*PBS");
    assert_int_equal(statements_count(s.statements), 1);
    prep_client_fini(&first);
    teardown(&s);
}

static void the_unnamed_one_is_never_anothers(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "", "SELECT 1");
    bind(&s, "");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(:SELECT 1) B() S");
    answered(&s);
    // Used again later: by a name of ours, since the server's unnamed one may be another client's by now.
    bind(&s, "");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_1_0:SELECT 1) B(pgsteer_1_0) S");
    assert_string_equal(due(&s), "pBS");
    answered(&s);
    // Closed: there is none, and none of anybody's is reached.
    target(&s, FE_CLOSE, 'S', "");
    bind(&s, "");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "B(pgsteer_0_0) S");
    assert_string_equal(due(&s), "*CBS");
    teardown(&s);
}

static void what_need_not_change_is_not_copied(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "", "SELECT 1");
    bind(&s, "");
    target(&s, FE_DESCRIBE, 'P', "");
    sync_(&s);
    assert_false(rewrite(&s));
    assert_string_equal(due(&s), "PBDS");
    answered(&s);
    // Between messages that stay, one that does not and one that goes.
    parse(&s, "", "SELECT 1");
    bind(&s, "");
    parse(&s, "a", "SELECT 2");
    bind(&s, "a");
    bind(&s, "");
    target(&s, FE_CLOSE, 'S', "a");
    sync_(&s);
    assert_true(rewrite(&s));
    assert_string_equal(sent(&s), "P(:SELECT 1) B() P(pgsteer_2_0:SELECT 2) B(pgsteer_2_0) B() S");
    assert_string_equal(due(&s), "PBPBB*CS");
    answered(&s);
    // One that goes alone, at either end.
    parse(&s, "a", "SELECT 2");
    sync_(&s);
    assert_true(rewrite(&s));
    assert_string_equal(sent(&s), "S");
    answered(&s);
    parse(&s, "", "SELECT 1");
    bind(&s, "");
    target(&s, FE_CLOSE, 'S', "a");
    assert_true(rewrite(&s));
    assert_string_equal(sent(&s), "P(:SELECT 1) B()");
    teardown(&s);
}

static void a_statement_that_has_gone_is_made_anew(void **state) {
    (void)state;
    uint64_t last_id = 0;
    struct statements *t = statements_new(&last_id, 0);
    struct span sql = span_str("SELECT 1"), types = span_of("\0\0", 2);
    for (uint64_t id = 1; id <= 2; id++) {
        struct statement *one = statements_intern(t, sql, types, (struct meaning){0});
        assert_ptr_equal(statements_intern(t, sql, types, (struct meaning){0}), one);
        assert_int_equal(one->id, id);
        statement_unref(one);
        statement_unref(one);
        assert_int_equal(statements_count(t), 0);
    }
    statements_free(t);
}

static void names_of_ours_cannot_be_used(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    bind(&s, "pgsteer_1_0");
    bind(&s, "unknown");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "B(pgsteer_0_0) B(unknown) S");
    teardown(&s);
}

static void a_taken_name_is_refused_by_the_server(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    parse(&s, "a", "SELECT 2");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_1_0:SELECT 1) P(pgsteer_1_0:SELECT 2) S");
    pipeline_pop(&s.due);
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_string_equal(due(&s), "S");
    assert_int_equal(prep_client_find(&s.client, span_str("a"))->id, 1); // the first stays
    teardown(&s);
}

static void an_error_takes_names_back(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "kept", "SELECT 0");
    parse(&s, "", "SELECT 9");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    struct statement *unnamed = prep_client_find(&s.client, span_str(""));
    parse(&s, "wrong", "SELEC 1");
    parse(&s, "skipped", "SELECT 2");
    parse(&s, "", "SELECT 3");
    target(&s, FE_CLOSE, 'S', "kept");
    sync_(&s);
    bind(&s, "kept");
    sync_(&s);
    rewrite(&s);
    assert_null(prep_client_find(&s.client, span_str("kept")));
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_null(prep_client_find(&s.client, span_str("wrong")));
    assert_null(prep_client_find(&s.client, span_str("skipped")));
    assert_non_null(prep_client_find(&s.client, span_str("kept")));
    assert_ptr_equal(prep_client_find(&s.client, span_str("")), unnamed);
    assert_int_equal(prep_server_count(&s.server), 1); // only `kept`
    assert_string_equal(due(&s), "SBS");
    teardown(&s);
}

static void a_failed_parse_leaves_no_unnamed_one(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "", "SELECT 1");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    parse(&s, "", "SELEC 2");
    rewrite(&s);
    assert_false(prep_fail(&s.client, &s.server, &s.due)); // no Sync yet: what follows is skipped too
    assert_null(prep_client_find(&s.client, span_str("")));
    assert_true(pipeline_is_empty(&s.due));
    teardown(&s);
}

static void the_oldest_makes_room(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    parse(&s, "b", "SELECT 2");
    bind(&s, "a");
    rewrite_at_most(&s, 2);
    answered(&s);
    parse(&s, "c", "SELECT 3");
    sync_(&s);
    rewrite_at_most(&s, 2);
    assert_string_equal(sent(&s), "C(pgsteer_2_0) P(pgsteer_3_0:SELECT 3) S");
    assert_string_equal(due(&s), "cPS");
    assert_int_equal(prep_server_count(&s.server), 2);
    // Had the server never got to the Close, it would hold it still.
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_true(prep_server_has(&s.server, prep_client_find(&s.client, span_str("b"))));
    teardown(&s);
}

static void after_deallocate_all_names_are_new(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    rewrite(&s);
    answered(&s);
    prep_server_forget_all(&s.server);
    bind(&s, "a");
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_1_1:SELECT 1) B(pgsteer_1_1)");
    teardown(&s);
}

// What stands before DEALLOCATE ALL is gone for good, what is parsed behind it is not; the unnamed statement stays.
static void deallocate_all_spares_what_comes_behind(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    parse(&s, "b", "SELECT 2");
    parse(&s, "", "DEALLOCATE ALL");
    rewrite(&s);
    answered(&s);
    bind(&s, "");
    target(&s, FE_CLOSE, 'S', "b");
    parse(&s, "c", "SELECT 3");
    sync_(&s);
    rewrite(&s);
    prep_deallocated_all(&s.client, &s.server, &s.due);
    assert_int_equal(prep_server_count(&s.server), 0);
    assert_null(prep_client_find(&s.client, span_str("a")));
    assert_non_null(prep_client_find(&s.client, span_str("c")));
    assert_non_null(prep_client_find(&s.client, span_str("")));
    pipeline_pop(&s.due); // Bind, and the Close fails
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_null(prep_client_find(&s.client, span_str("b")));
    assert_null(prep_client_find(&s.client, span_str("c")));
    answered(&s);
    teardown(&s);
}

static void execute(struct side *s, const char *portal) {
    size_t at = buf_msg_begin(&s->in, FE_EXECUTE);
    buf_put_cstr(&s->in, portal);
    buf_put_u32(&s->in, 0);
    buf_msg_end(&s->in, at);
}

// Parse, Bind, Execute of a DEALLOCATE ALL, and a Parse of a name that the client has behind it.
static void deallocate_all_then_parse(struct side *s, const char *executed) {
    setup(s);
    parse(s, "a", "SELECT 1");
    rewrite(s);
    answered(s);
    parse(s, "", "DEALLOCATE ALL");
    bind(s, "");
    execute(s, executed);
    parse(s, "a", "SELECT 2");
    sync_(s);
    struct prep_rewrite r = {.client = &s->client,
                             .server = &s->server,
                             .statements = s->statements,
                             .due = &s->due,
                             .out = &s->out,
                             .deallocates_all = true};
    buf_clear(&s->out);
    assert_true(prep_rewrite(&r, buf_span(&s->in)));
    buf_clear(&s->in);
    assert_string_equal(due(s), "PBEPS");
}

static void a_stands_for(struct side *s, const char *sql) {
    struct statement *a = prep_client_find(&s->client, span_str("a"));
    assert_true(a && span_is(a->query, sql));
}

// Where one has run, no name is taken; where it has not, its batch has failed, and they are as they were.
static void names_are_free_behind_deallocate_all(void **state) {
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct side s;
        deallocate_all_then_parse(&s, "");
        assert_non_null(strstr(sent(&s), "P(pgsteer_3_0:SELECT 2)"));
        pipeline_pop(&s.due), pipeline_pop(&s.due);
        if (fails)
            assert_true(prep_fail(&s.client, &s.server, &s.due));
        else
            prep_deallocated_all(&s.client, &s.server, &s.due);
        answered(&s);
        a_stands_for(&s, fails ? "SELECT 1" : "SELECT 2");
        teardown(&s);
    }
}

static void another_portal_is_no_deallocate_all(void **state) {
    (void)state;
    struct side s;
    deallocate_all_then_parse(&s, "other");
    assert_non_null(strstr(sent(&s), "P(pgsteer_1_0:SELECT 2)")); // taken there, too
    a_stands_for(&s, "SELECT 1");
    teardown(&s);
}

// Two batches that fail one after the other: what the first never parsed is not what was there before the second.
static void errors_undo_one_after_the_other(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    for (int i = 0; i < 2; i++) {
        bind(&s, "missing");
        parse(&s, "", i ? "SELECT 2" : "SELECT 1");
        sync_(&s);
        rewrite(&s);
    }
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_true(span_is(prep_client_find(&s.client, span_str(""))->query, "SELECT 2"));
    pipeline_pop(&s.due); // the Sync
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_null(prep_client_find(&s.client, span_str("")));
    teardown(&s);
}

static void deallocate_of_a_parsed_name(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "_pg3_0", "SELECT 1");
    rewrite(&s);
    answered(&s);
    parse(&s, "", "DEALLOCATE _pg3_0");
    bind(&s, "");
    size_t at = buf_msg_begin(&s.in, FE_EXECUTE);
    buf_put(&s.in, "\0\0\0\0\0", 5);
    buf_msg_end(&s.in, at);
    parse(&s, "", "SELECT 2");
    bind(&s, "");
    sync_(&s);
    struct prep_rewrite r = {.client = &s.client,
                             .server = &s.server,
                             .statements = s.statements,
                             .due = &s.due,
                             .out = &s.out,
                             .deallocates = true};
    buf_clear(&s.out);
    if (!prep_rewrite(&r, buf_span(&s.in))) buf_put_span(&s.out, buf_span(&s.in));
    assert_string_equal(sent(&s), "P(:SELECT 2) B() S");
    assert_string_equal(due(&s), "*P*B*EPBS");
    assert_null(prep_client_find(&s.client, span_str("_pg3_0")));
    teardown(&s);
}

// What an error keeps from being run has not been done.
static void an_error_undoes_a_deallocate_behind_it(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "a", "SELECT 1");
    rewrite(&s);
    answered(&s);
    bind(&s, "a");
    parse(&s, "", "DEALLOCATE a");
    bind(&s, "");
    size_t at = buf_msg_begin(&s.in, FE_EXECUTE);
    buf_put(&s.in, "\0\0\0\0\0", 5);
    buf_msg_end(&s.in, at);
    sync_(&s);
    struct prep_rewrite r = {.client = &s.client,
                             .server = &s.server,
                             .statements = s.statements,
                             .due = &s.due,
                             .out = &s.out,
                             .max_server = 1000,
                             .deallocates = true};
    buf_clear(&s.out);
    if (!prep_rewrite(&r, buf_span(&s.in))) buf_put_span(&s.out, buf_span(&s.in));
    assert_string_equal(due(&s), "B*P*B*ES");
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_non_null(prep_client_find(&s.client, span_str("a")));
    teardown(&s);
}

static void deallocate_names_are_read_as_sql(void **state) {
    static const struct {
        const char *sql, *name;
    } cases[] = {
        {"DEALLOCATE a", "a"},
        {"deallocate prepare FooBar ;", "foobar"},
        {"DEALLOCATE \"Foo\"\"Bar\"", "Foo\"Bar"},
        {"DEALLOCATE PREPARE", "prepare"},
        {"DEALLOCATE ALL", NULL},
        {"DEALLOCATE \"all\"", "all"},
        {"DEALLOCATE PREPARE ALL", NULL},
        {"DEALLOCATE a; SELECT 1", NULL},
        {"DEALLOCATE", NULL},
        {"SELECT 1", NULL},
        {"DEALLOCATE \"open", NULL},
        {"DEALLOCATE a b", NULL},
    };
    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        char name[32];
        size_t len;
        bool got = prep_deallocate_name(span_str(cases[i].sql), name, sizeof name, &len);
        assert_int_equal(got, cases[i].name != NULL);
        if (got) assert_string_equal(name, cases[i].name);
    }
}

static void deallocate_all_is_read_as_sql(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        bool all;
    } cases[] = {{"DEALLOCATE ALL", true},
                 {" deallocate\tprepare all ; ", true},
                 {"discard ALL;", true},
                 {"DEALLOCATE \"all\"", false},
                 {"deallocate a", false},
                 {"discard plans", false},
                 {"deallocate prepare", false},
                 {"select 1", false},
                 {"", false}};
    for (size_t i = 0; i < countof(cases); i++)
        if (prep_deallocates_all(span_str(cases[i].sql)) != cases[i].all) fail_msg("%s", cases[i].sql);
}

static void errors_speak_of_the_clients_name(void **state) {
    (void)state;
    struct buf in = buf_make(1000), out = buf_make(1000);
    struct fault f;
    fault_set(&f, "26000", "prepared statement \"pgsteer_7_0\" does not exist");
    reply_error(&in, false, &f);
    struct msg_error e;
    assert_true(prep_rename_error(buf_span(&in), span_str("mine"), &out));
    msg_error(span_from(buf_span(&out), 5), &e);
    assert_true(span_is(e.message, "prepared statement \"mine\" does not exist"));
    assert_int_equal(span_u32(out.data + 1), buf_len(&out) - 1);
    buf_clear(&out);
    assert_true(prep_rename_error(buf_span(&in), span_str(""), &out));
    msg_error(span_from(buf_span(&out), 5), &e);
    assert_true(span_is(e.message, "unnamed prepared statement does not exist"));
    buf_clear(&in);
    buf_clear(&out);
    fault_set(&f, "42P01", "relation \"pgsteer\" does not exist");
    reply_error(&in, false, &f);
    assert_false(prep_rename_error(buf_span(&in), span_str("mine"), &out));
    assert_int_equal(buf_len(&out), 0);
    buf_release(&in);
    buf_release(&out);
}

// Nothing is read into it, whatever it looks like, and nothing but an error is due.
static void a_malformed_message_goes_as_it_is(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    struct prep_rewrite r = {.client = &s.client,
                             .server = &s.server,
                             .statements = s.statements,
                             .due = &s.due,
                             .out = &s.out,
                             .max_server = 10,
                             .malformed = true};
    parse(&s, "a", "SELECT 1");
    target(&s, FE_CLOSE, 'X', "a");
    if (!prep_rewrite(&r, buf_span(&s.in))) buf_put_span(&s.out, buf_span(&s.in));
    assert_string_equal(sent(&s), "P(pgsteer_1_0:SELECT 1) C");
    assert_string_equal(due(&s), "PR");
    assert_non_null(prep_client_find(&s.client, span_str("a")));
    size_t len = buf_len(&s.out);
    assert_memory_equal(s.out.data + len - 8, "C\0\0\0\7Xa", 8);
    answered(&s);
    teardown(&s);
}

// What was described once, under another schema.

static struct prep_rewrite rewriter(struct side *s, uint64_t epoch) {
    buf_clear(&s->out);
    return (struct prep_rewrite){.client = &s->client,
                                 .server = &s->server,
                                 .statements = s->statements,
                                 .due = &s->due,
                                 .out = &s->out,
                                 .meaning = {.epoch = epoch},
                                 .max_server = 1000};
}

// The client has had `s` described when the schema was of the epoch 0; the server connection does not hold it.
static struct statement *described(struct side *s) {
    parse(s, "s", "select * from t");
    sync_(s);
    rewrite(s);
    answered(s);
    struct statement *st = prep_client_find(&s->client, span_str("s"));
    st->shape = statement_shape(span_of("\0\1a\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 22));
    prep_server_remove(&s->server, st);
    return st;
}

static void a_shape_is_names_and_types(void **state) {
    (void)state;
    uint64_t one = statement_shape(span_of("\0\1a\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 22));
    assert_int_not_equal(one, 0);
    assert_int_not_equal(statement_shape(span_of("", 0)), 0);
    // From another table, in another format: the same.
    assert_int_equal(one, statement_shape(span_of("\0\1a\0\0\0\1\2\0\3\0\0\0\x17\0\4\xff\xff\xff\xff\0\1", 22)));
    assert_int_not_equal(one, statement_shape(span_of("\0\1b\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 22)));
    assert_int_not_equal(one, statement_shape(span_of("\0\1a\0\0\0\0\0\0\0\0\0\0\x19\0\4\xff\xff\xff\xff\0\0", 22)));
}

static void old_statement_is_described_first(void **state) {
    (void)state;
    struct side s;
    struct statement *st = described(setup(&s));
    bind(&s, "s");
    sync_(&s);
    struct prep_rewrite same = rewriter(&s, 0), later = rewriter(&s, 1);
    assert_null(prep_unproven(&same, buf_span(&s.in)));
    assert_ptr_equal(prep_unproven(&later, buf_span(&s.in)), st);
    prep_prove(&later, st);
    assert_string_equal(sent(&s), "P(pgsteer_1_0:select * from t) D(pgsteer_1_0) S");
    assert_string_equal(due(&s), "pds");
    assert_true(pipeline_at(&s.due, 1)->proof);
    assert_int_equal(pipeline_at(&s.due, 1)->epoch, 1);
    answered(&s);
    assert_null(prep_unproven(&later, buf_span(&s.in))); // it is there now, and PostgreSQL watches over it
    teardown(&s);
}

static void what_gives_another_ones_columns_needs_no_proof(void **state) {
    (void)state;
    const char *texts[] = {"fetch all from c", " FETCH c", "Execute p (1)", "fetches", "select 1"};
    for (size_t i = 0; i < countof(texts); i++) assert_int_equal(prep_gives_what_is_named(span_str(texts[i])), i < 3);
    struct side s;
    setup(&s);
    parse(&s, "s", "fetch c");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    prep_client_find(&s.client, span_str("s"))->shape = 7;
    bind(&s, "s");
    sync_(&s);
    struct prep_rewrite later = rewriter(&s, 1);
    assert_null(prep_unproven(&later, buf_span(&s.in)));
    assert_true(prep_rewrite(&later, buf_span(&s.in)));
    assert_string_equal(sent(&s), "B(pgsteer_1_0) S");
    teardown(&s);
}

static void refusal_takes_it_off_the_server(void **state) {
    (void)state;
    struct side s;
    struct statement *st = described(setup(&s));
    prep_server_add(&s.server, st);
    struct prep_rewrite r = rewriter(&s, 1);
    prep_refuse(&r, st, true);
    assert_string_equal(sent(&s), "C(pgsteer_1_0) B(pgsteer_0_0) S");
    assert_string_equal(due(&s), "cBS");
    assert_false(prep_server_has(&s.server, st));
    teardown(&s);
}

static void who_describes_the_portal_needs_no_proof(void **state) {
    (void)state;
    struct side s;
    described(setup(&s));
    bind(&s, "s");
    target(&s, FE_DESCRIBE, 'P', "");
    sync_(&s);
    struct prep_rewrite r = rewriter(&s, 1);
    assert_null(prep_unproven(&r, buf_span(&s.in)));
    // It is another statement that runs, since others were told of the first one.
    assert_true(prep_rewrite(&r, buf_span(&s.in)));
    assert_string_equal(sent(&s), "P(pgsteer_2_0:select * from t) B(pgsteer_2_0) D() S");
    teardown(&s);
}

// By their own names.

static void exposed_statements(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "mine", "select 1");
    parse(&s, "twin", "select 1");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    struct statement *foreign =
        statements_intern(s.statements, span_str("select 2"), span_of("\0\0", 2), (struct meaning){0});
    prep_server_add(&s.server, foreign);
    statement_unref(foreign);
    struct prep_rewrite r = rewriter(&s, 0);
    prep_expose(&r, true);
    assert_string_equal(sent(&s), "C(pgsteer_1_0) C(pgsteer_2_0) S Q P(mine:select 1) S Q P(twin:select 1) S Q Q");
    assert_string_equal(due(&s), "ccsqpsqpsqq");
    answered(&s);
    // A second look finds them there, but for the second name, which is not remembered with its statement.
    r = rewriter(&s, 0);
    prep_expose(&r, false);
    assert_string_equal(sent(&s), "C(twin) S P(twin:select 1) S");
    answered(&s);
    // They go by these names now, and so does what is parsed from here on.
    bind(&s, "mine");
    parse(&s, "new", "select 3");
    sync_(&s);
    r = rewriter(&s, 0);
    (void)!prep_rewrite(&r, buf_span(&s.in));
    if (buf_len(&s.out)) assert_string_equal(sent(&s), "B(mine) P(new:select 3) S");
    teardown(&s);
}

// A client with `names`, all of one text, that its connection knows them by.
static struct side *exposed(struct side *s, const char *const *names) {
    setup(s);
    for (; *names; names++) parse(s, *names, "select 1");
    sync_(s);
    rewrite(s);
    answered(s);
    struct prep_rewrite r = rewriter(s, 0);
    prep_expose(&r, false);
    answered(s);
    buf_clear(&s->in);
    return s;
}

static void closing_takes_the_clients_own_name_away(void **state) {
    (void)state;
    struct side s;
    exposed(&s, (const char *[]){"mine", "twin", NULL});
    for (int i = 0; i < 2; i++) {
        target(&s, FE_CLOSE, 'S', "mine");
        target(&s, FE_CLOSE, 'S', "twin");
    }
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "C(mine) C(twin) C(mine) C(twin) S");
    assert_string_equal(due(&s), "c*Cc*CCCS"); // the second ones may be of SQL
    answered(&s);
    parse(&s, "mine", "select 1");
    bind(&s, "mine");
    target(&s, FE_CLOSE, 'S', "of sql");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(mine:select 1) B(mine) C(of sql) S");
    assert_string_equal(due(&s), "PBCS");
    teardown(&s);
}

static void a_second_name_makes_room(void **state) {
    (void)state;
    struct side s;
    exposed(&s, (const char *[]){"mine", "twin", NULL});
    target(&s, FE_CLOSE, 'S', "twin");
    parse(&s, "twin", "select 2");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "C(twin) P(twin:select 2) S");
    assert_string_equal(due(&s), "c*CPS");
    assert_false(prep_server_has_second(&s.server, span_str("twin")));
    teardown(&s);
}

static void a_taken_name_is_told_by_itself(void **state) {
    (void)state;
    struct side s;
    exposed(&s, (const char *[]){"mine", "twin", NULL});
    parse(&s, "mine", "select 2");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(mine:select 2) S");
    answered(&s);
    parse(&s, "twin", "select 2"); // by that name it is not held
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_3_0:) P(pgsteer_3_0:select 2) S");
    assert_string_equal(due(&s), "pPS");
    teardown(&s);
}

static void what_was_not_closed_keeps_its_name(void **state) {
    (void)state;
    struct side s;
    exposed(&s, (const char *[]){"mine", "twin", NULL});
    struct statement *st = prep_client_find(&s.client, span_str("mine"));
    bind(&s, "");
    target(&s, FE_CLOSE, 'S', "mine");
    target(&s, FE_CLOSE, 'S', "twin");
    parse(&s, "mine", "select 2");
    parse(&s, "twin", "select 2");
    parse(&s, "third", "select 3");
    sync_(&s);
    rewrite(&s);
    assert_false(prep_server_has(&s.server, st));
    assert_true(prep_fail(&s.client, &s.server, &s.due)); // the Bind
    assert_ptr_equal(prep_server_exposed_as(&s.server, span_str("mine")), st);
    assert_true(prep_server_has_second(&s.server, span_str("twin")));
    assert_null(prep_server_exposed_as(&s.server, span_str("third")));
    teardown(&s);
}

static void an_attempt_that_fails_is_undone(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    parse(&s, "mine", "select 1");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    struct statement *st = prep_client_find(&s.client, span_str("mine"));
    struct prep_rewrite r = rewriter(&s, 0);
    prep_expose(&r, false);
    assert_true(prep_server_has(&s.server, st));
    while (!pipeline_head(&s.due)->attempt) pipeline_pop(&s.due);
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_false(prep_server_has(&s.server, st));
    assert_ptr_equal(prep_client_find(&s.client, span_str("mine")), st);
    teardown(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_follows_its_client),
        cmocka_unit_test(one_text_is_prepared_once),
        cmocka_unit_test(the_unnamed_one_is_never_anothers),
        cmocka_unit_test(what_need_not_change_is_not_copied),
        cmocka_unit_test(a_statement_that_has_gone_is_made_anew),
        cmocka_unit_test(names_of_ours_cannot_be_used),
        cmocka_unit_test(a_taken_name_is_refused_by_the_server),
        cmocka_unit_test(an_error_takes_names_back),
        cmocka_unit_test(a_failed_parse_leaves_no_unnamed_one),
        cmocka_unit_test(a_malformed_message_goes_as_it_is),
        cmocka_unit_test(the_oldest_makes_room),
        cmocka_unit_test(after_deallocate_all_names_are_new),
        cmocka_unit_test(deallocate_all_spares_what_comes_behind),
        cmocka_unit_test(names_are_free_behind_deallocate_all),
        cmocka_unit_test(another_portal_is_no_deallocate_all),
        cmocka_unit_test(errors_undo_one_after_the_other),
        cmocka_unit_test(deallocate_of_a_parsed_name),
        cmocka_unit_test(an_error_undoes_a_deallocate_behind_it),
        cmocka_unit_test(deallocate_names_are_read_as_sql),
        cmocka_unit_test(deallocate_all_is_read_as_sql),
        cmocka_unit_test(errors_speak_of_the_clients_name),
        cmocka_unit_test(a_shape_is_names_and_types),
        cmocka_unit_test(old_statement_is_described_first),
        cmocka_unit_test(what_gives_another_ones_columns_needs_no_proof),
        cmocka_unit_test(refusal_takes_it_off_the_server),
        cmocka_unit_test(who_describes_the_portal_needs_no_proof),
        cmocka_unit_test(exposed_statements),
        cmocka_unit_test(closing_takes_the_clients_own_name_away),
        cmocka_unit_test(a_second_name_makes_room),
        cmocka_unit_test(a_taken_name_is_told_by_itself),
        cmocka_unit_test(what_was_not_closed_keeps_its_name),
        cmocka_unit_test(an_attempt_that_fails_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
