// SPDX-License-Identifier: ISC
// tests/unit/session/prep_test.c: names of prepared statements between a client and server connections.
#include "tests/unit/session/prep_util.h"

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

// ... which is so from its first Parse to the answer to that, be it one or an error.
static void a_parse_is_awaited(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    for (int fails = 1; fails >= 0; fails--) {
        parse(&s, "a", "select 1");
        sync_(&s);
        rewrite(&s);
        struct statement *st = prep_client_find(&s.client, span_str("a"));
        statement_ref(st);
        assert_int_equal(st->awaited, 1);
        parse(&s, "b", "select 1");
        sync_(&s);
        rewrite(&s);
        assert_string_equal(due(&s), "PS*PS");
        assert_int_equal(st->awaited, 1); // the second one asks for nothing
        if (fails)
            assert_true(prep_fail(&s.client, &s.server, &s.due));
        else
            pipeline_pop(&s.due);
        assert_int_equal(st->awaited, 0);
        while (!pipeline_is_empty(&s.due)) pipeline_pop(&s.due);
        if (fails) statement_unref(prep_client_set(&s.client, span_str("b"), NULL));
        statement_unref(st);
    }
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

// The Close that makes room for another is not come to; but what it was to close was never parsed either.
static void what_was_never_parsed_is_not_held_again(void **state) {
    (void)state;
    struct side s;
    setup(&s);
    for (int i = 0; i < 2; i++) {
        execute(&s, "missing");
        parse(&s, i ? "b" : "a", i ? "select 2" : "select 1");
        sync_(&s);
        rewrite_at_most(&s, 1);
    }
    assert_string_equal(sent(&s), "E C(pgsteer_1_0) P(pgsteer_2_0:select 2) S");
    for (int i = 0; i < 2; i++) {
        assert_true(prep_fail(&s.client, &s.server, &s.due));
        pipeline_pop(&s.due);
    }
    assert_int_equal(prep_server_count(&s.server), 0);
    teardown(&s);
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

// Given twice behind one, where the server has no room for what the name was given to first: a name is taken there, and
// not the unnamed statement.
static void a_name_given_twice_needs_no_room(void **state) {
    (void)state;
    struct side s;
    deallocate_all_then_parse(&s, "");
    parse(&s, "b", "SELECT 3");
    parse(&s, "c", "SELECT 5"); // closes what `a` stands for
    parse(&s, "a", "SELECT 4");
    sync_(&s);
    struct prep_rewrite r = {.client = &s.client,
                             .server = &s.server,
                             .statements = s.statements,
                             .due = &s.due,
                             .out = &s.out,
                             .names_are_free = true,
                             .max_server = 1};
    buf_clear(&s.out);
    assert_true(prep_rewrite(&r, buf_span(&s.in)));
    assert_null(strstr(sent(&s), "P(:SELECT 4)"));
    assert_non_null(strstr(sent(&s), ":/* pgsteer */) P(pgsteer_"));
    teardown(&s);
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
        {"/* app=foo */ DEALLOCATE a", "a"},
        {"DEALLOCATE a -- done", "a"},
        {"-- first\nDEALLOCATE/**/PREPARE/* /* x */ */\"b\" /* y */ ; -- done\n", "b"},
        {"DEALLOCATE PREPARE -- done", "prepare"},
        {"DEALLOCATE a /* open", NULL},
        {"DEALLOCATE a; DEALLOCATE b", NULL},
        {"DEALLOCATE /* */ all", NULL},
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
                 {"/* app=foo */ deallocate /* all */ all -- done", true},
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

static void a_long_pipeline_gives_its_memory_back(void **state) {
    (void)state;
    struct pipeline p;
    pipeline_init(&p);
    for (uint32_t n = 100; n <= 100000; n *= 1000) {
        for (uint32_t i = 0; i < n; i++) pipeline_push(&p, REPLY_SYNC, REPLY_FORWARD);
        while (!pipeline_is_empty(&p)) pipeline_pop(&p);
        pipeline_trim(&p);
        assert_int_equal(p.cap, n == 100 ? 128 : 0);
    }
    assert_null(p.ring);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_follows_its_client),
        cmocka_unit_test(one_text_is_prepared_once),
        cmocka_unit_test(a_parse_is_awaited),
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
        cmocka_unit_test(a_name_given_twice_needs_no_room),
        cmocka_unit_test(another_portal_is_no_deallocate_all),
        cmocka_unit_test(errors_undo_one_after_the_other),
        cmocka_unit_test(what_was_never_parsed_is_not_held_again),
        cmocka_unit_test(deallocate_of_a_parsed_name),
        cmocka_unit_test(an_error_undoes_a_deallocate_behind_it),
        cmocka_unit_test(deallocate_names_are_read_as_sql),
        cmocka_unit_test(deallocate_all_is_read_as_sql),
        cmocka_unit_test(a_long_pipeline_gives_its_memory_back),
        cmocka_unit_test(errors_speak_of_the_clients_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
