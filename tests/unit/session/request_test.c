// SPDX-License-Identifier: ISC
// tests/unit/session/request_test.c: where units end, in whatever pieces their bytes arrive.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>

#include "router/session/request.h"
#include "router/wire/reply.h"

struct fixture {
    struct databases databases;
    struct prep_client names;
    struct request_context ctx;
    struct buf in;
};

static void setup(struct fixture *f) {
    *f = (struct fixture){.databases = {.verdict_cache_size = 100, .max_parse_length = 65536}, .in = buf_make(1 << 24)};
    prep_client_init(&f->names);
    struct database *d = databases_get(&f->databases, "db");
    assert_true(databases_accept(&f->databases, d, 1));
    struct catalog *c = catalog_new("db");
    databases_set_catalog(&f->databases, c);
    catalog_unref(c);
    f->ctx = (struct request_context){
        .database = d, .names = &f->names, .conforming = true, .max_held = 4096, .max_names = 3};
}

static void teardown(struct fixture *f) {
    prep_client_fini(&f->names);
    databases_fini(&f->databases);
    buf_release(&f->in);
}

static void parse(struct fixture *f, const char *name, const char *sql) {
    request_parse(&f->in, span_str(name), span_str(sql), span_of("\0\0", 2));
}
static void put(struct fixture *f, char type, const void *body, size_t n) {
    size_t at = buf_msg_begin(&f->in, type);
    buf_put(&f->in, body, n);
    buf_msg_end(&f->in, at);
}
static void bind(struct fixture *f, const char *portal, const char *statement, size_t value) {
    size_t at = buf_msg_begin(&f->in, FE_BIND);
    buf_put_cstr(&f->in, portal);
    buf_put_cstr(&f->in, statement);
    buf_put(&f->in, "\0\0\0\1", 4);
    buf_put_u32(&f->in, (uint32_t)value);
    while (value-- > 0) buf_put_u8(&f->in, 'x');
    buf_put(&f->in, "\0\0", 2);
    buf_msg_end(&f->in, at);
}
static void execute(struct fixture *f, const char *portal) {
    size_t at = buf_msg_begin(&f->in, FE_EXECUTE);
    buf_put_cstr(&f->in, portal);
    buf_put_u32(&f->in, 0);
    buf_msg_end(&f->in, at);
}

// Scans with the bytes arriving `step` at a time; the unit must become ready exactly when the `expected`th byte is
// there.
static struct request scan(struct fixture *f, size_t step) {
    struct request r;
    struct fault fault;
    request_reset(&r);
    for (size_t n = step;; n += step) {
        struct span have = span_first(buf_span(&f->in), n);
        enum request_result got = request_scan(&r, &f->ctx, have, &fault);
        assert_int_not_equal(got, REQUEST_BAD);
        if (got == REQUEST_READY) return r;
        assert_true(n < buf_len(&f->in));
    }
}

static void check(struct fixture *f, size_t len, enum verdict_kind kind, struct request *out) {
    struct request whole = scan(f, 1 << 20);
    assert_int_equal(whole.len, len);
    assert_int_equal(whole.verdict.kind, kind);
    struct request bytewise = scan(f, 1);
    assert_int_equal(bytewise.len, whole.len);
    assert_int_equal(bytewise.verdict.kind, whole.verdict.kind);
    assert_int_equal(bytewise.verdict.facts, whole.verdict.facts);
    assert_int_equal(bytewise.stream, whole.stream);
    *out = whole;
}

static void a_query_is_a_unit(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    request_query(&f.in, span_str("SELECT 1"));
    size_t len = buf_len(&f.in);
    request_query(&f.in, span_str("DELETE FROM t"));
    check(&f, len, VERDICT_READ, &r);
    assert_int_equal(r.kind, REQUEST_QUERY);
    teardown(&f);
}

static void a_batch_ends_at_sync(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    parse(&f, "", "SELECT $1");
    bind(&f, "", "", 10);
    execute(&f, "");
    request_sync(&f.in);
    size_t len = buf_len(&f.in);
    parse(&f, "", "INSERT INTO t VALUES ($1)");
    check(&f, len, VERDICT_READ, &r);
    assert_int_equal(r.kind, REQUEST_BATCH);
    assert_true(r.synced && r.executes && r.server_needed && !r.old_portal && !r.old_name && !r.stream);
    teardown(&f);
}

static void a_batch_is_as_strict_as_its_strictest(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    parse(&f, "", "SELECT 1");
    parse(&f, "w", "DELETE FROM t");
    parse(&f, "", "SELECT 2");
    request_sync(&f.in);
    check(&f, buf_len(&f.in), VERDICT_WRITE, &r);
    teardown(&f);
}

static void names_count_with_what_they_stand_for(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    struct statement *w = statements_intern(f.ctx.database->statements, span_str("DELETE FROM t"), span_of("\0\0", 2),
                                            (struct meaning){0});
    prep_client_set(&f.names, span_str("w"), w);
    prep_client_set(&f.names, span_str(""), w);
    statement_unref(w);
    bind(&f, "", "w", 1);
    execute(&f, "");
    request_sync(&f.in);
    check(&f, buf_len(&f.in), VERDICT_WRITE, &r);
    assert_true(r.old_name);
    // The unnamed one is what this batch parses, not what it was.
    buf_clear(&f.in);
    parse(&f, "", "SELECT 1");
    bind(&f, "", "", 1);
    execute(&f, "");
    request_sync(&f.in);
    check(&f, buf_len(&f.in), VERDICT_READ, &r);
    teardown(&f);
}

// Whether a server holds it is known when its Parse has been answered; the unnamed one is parsed in any case.
static void a_text_that_is_awaited(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    struct statement *st = statements_intern(f.ctx.database->statements, span_str("DELETE FROM t"), span_of("\0\0", 2),
                                             (struct meaning){0});
    for (int i = 0; i < 2; i++) {
        st->awaited = i == 0;
        for (int named = 0; named < 2; named++) {
            buf_clear(&f.in);
            parse(&f, named ? "w" : "", "DELETE FROM t");
            request_sync(&f.in);
            check(&f, buf_len(&f.in), VERDICT_WRITE, &r);
            assert_int_equal(r.old_name, st->awaited && named);
        }
    }
    statement_unref(st);
    teardown(&f);
}

static void flush_ends_a_unit_too(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    parse(&f, "a", "SELECT 1");
    put(&f, FE_DESCRIBE, "Sa", 3);
    put(&f, FE_FLUSH, "", 0);
    size_t len = buf_len(&f.in);
    bind(&f, "", "a", 1);
    check(&f, len, VERDICT_READ, &r);
    assert_true(r.flushed && !r.executes && r.changes_names);
    teardown(&f);
}

static void an_old_portal_is_seen(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    execute(&f, "p");
    request_sync(&f.in);
    check(&f, buf_len(&f.in), VERDICT_READ, &r);
    assert_true(r.old_portal);
    teardown(&f);
}

static void closing_needs_no_server(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    put(&f, FE_CLOSE, "Sa", 3);
    request_sync(&f.in);
    check(&f, buf_len(&f.in), VERDICT_READ, &r);
    assert_false(r.server_needed);
    teardown(&f);
}

static void what_is_too_large_is_a_stream(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    parse(&f, "", "SELECT $1");
    size_t parsed = buf_len(&f.in);
    bind(&f, "", "", 10000); // over max_held: sent as soon as its names are here
    struct fault fault;
    request_reset(&r);
    struct span have = span_first(buf_span(&f.in), parsed + 100);
    assert_int_equal(request_scan(&r, &f.ctx, have, &fault), REQUEST_READY);
    assert_true(r.stream);
    assert_int_equal(r.len, parsed + 100);
    assert_int_equal(r.tail, buf_len(&f.in) - parsed - 100);
    // Many small messages: cut between two of them.
    buf_clear(&f.in);
    for (int i = 0; i < 1000; i++) bind(&f, "", "", 10);
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f.ctx, buf_span(&f.in), &fault), REQUEST_READY);
    assert_true(r.stream && r.len >= 4096 && r.len < 4200 && r.tail == 0);
    teardown(&f);
}

static void a_long_query_is_not_waited_for(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    struct fault fault;
    char sql[9000];
    setup(&f);
    memset(sql, ' ', sizeof sql);
    memcpy(sql, "SELECT 1", 8);
    request_query(&f.in, span_of(sql, sizeof sql));
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f.ctx, span_first(buf_span(&f.in), 500), &fault), REQUEST_READY);
    assert_true(r.stream);
    assert_int_equal(r.verdict.kind, VERDICT_UNKNOWN);
    assert_int_equal(r.len + r.tail, buf_len(&f.in));
    teardown(&f);
}

static void copy_data_goes_as_it_comes(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    struct fault fault;
    setup(&f);
    put(&f, FE_COPY_DATA, "abc", 3);
    put(&f, FE_COPY_DATA, "defg", 4);
    size_t whole = buf_len(&f.in);
    put(&f, FE_COPY_DATA, "hijklmnop", 9);
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f.ctx, span_first(buf_span(&f.in), whole + 7), &fault), REQUEST_READY);
    assert_int_equal(r.kind, REQUEST_COPY);
    assert_int_equal(r.len, whole + 7);
    assert_int_equal(r.tail, 7);
    // All of it, and then something else.
    put(&f, FE_COPY_DONE, "", 0);
    size_t copy = buf_len(&f.in);
    request_sync(&f.in);
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f.ctx, buf_span(&f.in), &fault), REQUEST_READY);
    assert_int_equal(r.len, copy);
    teardown(&f);
}

static void copy_data_ends_a_batch_without_sync(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    struct fault fault;
    setup(&f);
    parse(&f, "", "COPY t FROM STDIN");
    bind(&f, "", "", 0);
    execute(&f, "");
    size_t len = buf_len(&f.in);
    put(&f, FE_COPY_DATA, "abc", 3);
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f.ctx, buf_span(&f.in), &fault), REQUEST_READY);
    assert_true(r.stream && !r.synced);
    assert_int_equal(r.len, len);
    teardown(&f);
}

// A cursor that is closed by message, before a text or behind it.
static void a_close_of_a_portal_is_one_of_a_cursor(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    for (int behind = 0; behind < 2; behind++) {
        setup(&f);
        if (behind) parse(&f, "", "SELECT 1");
        put(&f, FE_CLOSE, "Pc", 3);
        if (!behind) parse(&f, "", "SELECT 1");
        request_sync(&f.in);
        check(&f, buf_len(&f.in), VERDICT_READ, &r);
        assert_int_equal(r.verdict.facts, FACT_CLOSE);
        teardown(&f);
    }
}

// Of a text that is not looked into the word is enough, of another one it has to be a call.
static void what_may_ask_for_sequences(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        size_t blanks; // behind it
        bool asks;
    } cases[] = {{"INSERT INTO t VALUES (CurrVal('s'), 1)", 70000, true},
                 {"INSERT INTO t SELECT lastval()", 70000, true},
                 {"INSERT INTO t VALUES (1)", 70000, false},
                 {"SELECT 'lastval'", 0, false},
                 {"SELECT lastval() (", 0, true}, // maybe it is a newer PostgreSQL's
                 {"DO 'begin perform currval(''s''); end'", 0, true},
                 {"DO 'begin end'", 0, false}};
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < countof(cases); i++) {
        struct request r;
        struct fault fault;
        struct buf sql = buf_make(1 << 20);
        f.ctx.max_held = 1 << 20;
        buf_put_span(&sql, span_str(cases[i].sql));
        for (size_t n = 0; n < cases[i].blanks; n++) buf_put_u8(&sql, ' ');
        request_query(&f.in, buf_span(&sql));
        request_reset(&r);
        assert_int_equal(request_scan(&r, &f.ctx, buf_span(&f.in), &fault), REQUEST_READY);
        if (((r.verdict.facts & FACT_SEQUENCE_STATE) != 0) != cases[i].asks) fail_msg("%s", cases[i].sql);
        buf_clear(&f.in);
        buf_release(&sql);
    }
    teardown(&f);
}

// What EXECUTE runs may have been prepared by message.
static void execute_does_what_is_prepared(void **state) {
    (void)state;
    struct fixture f;
    struct request r;
    setup(&f);
    struct statement *s = statements_intern(f.ctx.database->statements, span_str("SELECT pg_advisory_lock(1)"),
                                            span_of("\0\0", 2), (struct meaning){0});
    request_query(&f.in, span_str("EXECUTE a"));
    check(&f, buf_len(&f.in), VERDICT_WRITE, &r);
    assert_int_equal(r.verdict.facts, FACT_EXECUTE);
    prep_client_set(&f.names, span_str("a"), s);
    statement_unref(s);
    check(&f, buf_len(&f.in), VERDICT_WRITE, &r);
    assert_int_equal(r.verdict.facts, FACT_EXECUTE | FACT_ADVISORY_LOCK);
    buf_clear(&f.in);
    request_query(&f.in, span_str("SELECT 1"));
    check(&f, buf_len(&f.in), VERDICT_READ, &r);
    assert_int_equal(r.verdict.facts, 0);
    teardown(&f);
}

// Only what is executed asks for data.
static void a_copy_is_one_when_it_is_run(void **state) {
    (void)state;
    static const struct {
        const char *bound, *also, *run;
        bool copies;
    } cases[] = {{"", NULL, "", true},   {"p", NULL, "p", true}, {"p", NULL, "q", false},
                 {"p", "q", "q", false}, {"p", "q", "p", true},  {"p", "p", "p", false}};
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < countof(cases); i++) {
        struct request r;
        struct fault fault;
        parse(&f, "", "COPY t FROM STDIN");
        bind(&f, cases[i].bound, "", 0);
        parse(&f, "", "SELECT 1");
        if (cases[i].also) bind(&f, cases[i].also, "", 0);
        execute(&f, cases[i].run);
        request_sync(&f.in);
        request_reset(&r);
        assert_int_equal(request_scan(&r, &f.ctx, buf_span(&f.in), &fault), REQUEST_READY);
        if (r.copies != cases[i].copies) fail_msg("case %zu", i);
        buf_clear(&f.in);
    }
    teardown(&f);
}

static void bad(struct fixture *f, const char *sqlstate) {
    struct request r;
    struct fault fault;
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f->ctx, buf_span(&f->in), &fault), REQUEST_BAD);
    assert_string_equal(fault.sqlstate, sqlstate);
    buf_clear(&f->in);
}

// Scanned up to the malformed message, which is the last of its unit and is not waited for: the server says what is
// wrong with it.
static void is_malformed(struct fixture *f, enum request_kind kind) {
    struct request r;
    struct fault fault;
    size_t len = buf_len(&f->in);
    request_sync(&f->in);
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f->ctx, buf_span(&f->in), &fault), REQUEST_READY);
    assert_int_equal(r.kind, kind);
    assert_int_equal(r.len, len);
    assert_true(r.malformed && r.stream && r.server_needed);
    assert_false(r.synced || r.flushed || r.runs || r.unreadable);
    buf_clear(&f->in);
}

static void malformed_messages_go_to_the_server(void **state) {
    (void)state;
    static const struct {
        char type;
        const char *body;
        size_t len;
    } cases[] = {
        {FE_PARSE, "a\0SELECT 1\0\0\1", 13}, // one type announced, none there
        {FE_PARSE, "", 0},
        {FE_BIND, "a", 1},
        {FE_BIND, "", 0},
        {FE_DESCRIBE, "Xa", 3},
        {FE_DESCRIBE, "S", 1},
        {FE_CLOSE, "Xa", 3},
        {FE_CLOSE, "Pa\0more", 7},
        {FE_EXECUTE, "a", 2},
        {FE_EXECUTE, "a\0\0\0\0\0more", 10},
        {FE_FLUSH, "more", 4},
    };
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < countof(cases); i++) {
        put(&f, cases[i].type, cases[i].body, cases[i].len);
        is_malformed(&f, REQUEST_BATCH);
        parse(&f, "", "SELECT 1");
        put(&f, cases[i].type, cases[i].body, cases[i].len);
        is_malformed(&f, REQUEST_BATCH);
    }
    put(&f, FE_QUERY, "no NUL", 6);
    is_malformed(&f, REQUEST_QUERY);
    put(&f, FE_QUERY, "", 0);
    is_malformed(&f, REQUEST_QUERY);
    // A Sync is one whatever is in it.
    struct request r;
    struct fault fault;
    put(&f, FE_SYNC, "more", 4);
    request_reset(&r);
    assert_int_equal(request_scan(&r, &f.ctx, buf_span(&f.in), &fault), REQUEST_READY);
    assert_true(r.synced && r.server_needed && !r.malformed);
    teardown(&f);
}

static void wrong_messages_are_refused(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    put(&f, FE_PASSWORD, "secret", 7);
    bad(&f, "08P01");
    buf_put(&f.in, "P\x7f\xff\xff\xff", 5);
    bad(&f, "08P01");
    buf_put(&f.in, "P\0\xff\xff\xff", 5); // 16 MiB that would have to be held
    bad(&f, "54000");
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        struct statement *s =
            statements_intern(f.ctx.database->statements, span_str(name), span_of("\0\0", 2), (struct meaning){0});
        prep_client_set(&f.names, span_str(name), s);
        statement_unref(s);
    }
    parse(&f, "one too many", "SELECT 1");
    request_sync(&f.in);
    struct request r;
    check(&f, buf_len(&f.in), VERDICT_READ, &r);
    assert_true(r.too_many_names);
    teardown(&f);
}

static bool is_lone(struct fixture *f) {
    request_sync(&f->in);
    struct request r = scan(f, 1);
    bool lone = request_is_lone(&r, buf_span(&f->in));
    teardown(f);
    setup(f);
    return lone;
}

static void a_lone_statement_is_told_from_more(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    parse(&f, "", "BEGIN");
    request_bind(&f.in);
    request_execute(&f.in);
    assert_true(is_lone(&f));
    parse(&f, "", "BEGIN"); // described in every way
    put(&f, FE_DESCRIBE, "S", 2);
    request_bind(&f.in);
    put(&f, FE_DESCRIBE, "P", 2);
    request_execute(&f.in);
    assert_true(is_lone(&f));
    request_bind(&f.in); // of a statement from before
    request_execute(&f.in);
    assert_true(is_lone(&f));
    parse(&f, "", "BEGIN"); // not executed
    request_bind(&f.in);
    assert_false(is_lone(&f));
    parse(&f, "", "BEGIN"); // twice
    request_bind(&f.in);
    request_execute(&f.in);
    request_execute(&f.in);
    assert_false(is_lone(&f));
    parse(&f, "", "BEGIN"); // a value for it
    bind(&f, "", "", 1);
    request_execute(&f.in);
    assert_false(is_lone(&f));
    request_parse(&f.in, span_str(""), span_str("BEGIN"), span_of("\0\1\0\0\0\27", 6)); // a type of a parameter
    request_bind(&f.in);
    request_execute(&f.in);
    assert_false(is_lone(&f));
    parse(&f, "a", "BEGIN"); // another one is bound
    request_bind(&f.in);
    request_execute(&f.in);
    assert_false(is_lone(&f));
    parse(&f, "", "BEGIN");
    request_bind(&f.in);
    request_execute(&f.in);
    put(&f, FE_CLOSE, "S", 2);
    assert_false(is_lone(&f));
    teardown(&f);
}

static void what_begins_a_transaction_leads(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    parse(&f, "", "BEGIN READ ONLY");
    request_bind(&f.in);
    request_execute(&f.in);
    parse(&f, "", "SELECT 1");
    request_bind(&f.in);
    request_execute(&f.in);
    request_sync(&f.in);
    struct request r = scan(&f, 1);
    assert_true(r.leads);
    assert_int_equal(r.modes.access, TX_ACCESS_READ_ONLY);
    assert_int_equal(r.verdict.kind, VERDICT_TRANSACTION);
    assert_int_equal(r.verdict.control, CONTROL_NONE);
    assert_int_equal(r.body.kind, VERDICT_READ);
    buf_clear(&f.in);
    parse(&f, "", "INSERT INTO t VALUES (1)");
    request_bind(&f.in);
    parse(&f, "", "BEGIN READ ONLY");
    request_bind(&f.in);
    request_sync(&f.in);
    assert_false(scan(&f, 1).leads);
    teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_is_a_unit),
        cmocka_unit_test(a_batch_ends_at_sync),
        cmocka_unit_test(a_batch_is_as_strict_as_its_strictest),
        cmocka_unit_test(names_count_with_what_they_stand_for),
        cmocka_unit_test(a_text_that_is_awaited),
        cmocka_unit_test(flush_ends_a_unit_too),
        cmocka_unit_test(an_old_portal_is_seen),
        cmocka_unit_test(closing_needs_no_server),
        cmocka_unit_test(what_is_too_large_is_a_stream),
        cmocka_unit_test(a_long_query_is_not_waited_for),
        cmocka_unit_test(copy_data_goes_as_it_comes),
        cmocka_unit_test(copy_data_ends_a_batch_without_sync),
        cmocka_unit_test(a_close_of_a_portal_is_one_of_a_cursor),
        cmocka_unit_test(what_may_ask_for_sequences),
        cmocka_unit_test(execute_does_what_is_prepared),
        cmocka_unit_test(a_copy_is_one_when_it_is_run),
        cmocka_unit_test(malformed_messages_go_to_the_server),
        cmocka_unit_test(wrong_messages_are_refused),
        cmocka_unit_test(a_lone_statement_is_told_from_more),
        cmocka_unit_test(what_begins_a_transaction_leads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
