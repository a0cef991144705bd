// SPDX-License-Identifier: ISC
//
// tests/unit/session/prep_told_test.c: what a client was told of its statements stays true, and SQL that looks at what
// is prepared sees the client's own names.
#include "tests/unit/session/prep_util.h"

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
    answered(&s);
    // But who prepares it is to be told of what has the name now.
    buf_clear(&s.in);
    parse(&s, "t", "fetch c");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "C(pgsteer_1_0) P(pgsteer_1_0:fetch c) S");
    assert_string_equal(due(&s), "cPS");
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

static void a_failed_transaction_takes_no_parse(void **state) {
    (void)state;
    const char *texts[] = {"",
                           " -- x",
                           "/* x */ rollback to a",
                           "COMMIT",
                           "prepare /**/ transaction 'x'",
                           "select 1",
                           "prepare p as select 1",
                           "commits",
                           "/* end"};
    for (size_t i = 0; i < countof(texts); i++) assert_int_equal(prep_parses_when_failed(span_str(texts[i])), i < 5);
    struct side s;
    setup(&s);
    parse(&s, "a", "select 1");
    parse(&s, "b", "rollback");
    sync_(&s);
    rewrite(&s);
    answered(&s);
    struct prep_rewrite r = rewriter(&s, 0);
    r.nothing_runs = true;
    parse(&s, "c", "rollback");
    parse(&s, "d", "select 1");
    sync_(&s);
    assert_true(prep_rewrite(&r, buf_span(&s.in)));
    assert_string_equal(sent(&s), "P(pgsteer_1_0:select 1) S");
    assert_string_equal(due(&s), "*PPS");
    pipeline_pop(&s.due);
    assert_true(prep_fail(&s.client, &s.server, &s.due));
    assert_null(prep_client_find(&s.client, span_str("d")));
    assert_true(prep_server_has(&s.server, prep_client_find(&s.client, span_str("a"))));
    answered(&s);
    // Behind something that may have ended it the text is taken to be known.
    buf_clear(&s.in);
    pipeline_push(&s.due, REPLY_QUERY, REPLY_FORWARD);
    buf_clear(&s.out);
    parse(&s, "d", "select 1");
    sync_(&s);
    assert_true(prep_rewrite(&r, buf_span(&s.in)));
    assert_string_equal(due(&s), "Q*PS");
    teardown(&s);
}

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

static void a_taken_name_is_told_by_one_of_ours(void **state) {
    (void)state;
    struct side s;
    exposed(&s, (const char *[]){"mine", "twin", NULL});
    parse(&s, "mine", "select 2");
    sync_(&s);
    rewrite(&s);
    // Whether the server has taken the client's own is not known.
    assert_string_equal(sent(&s), "P(pgsteer_3_0:/* pgsteer */) P(pgsteer_3_0:select 2) S");
    answered(&s);
    parse(&s, "twin", "select 2");
    sync_(&s);
    rewrite(&s);
    assert_string_equal(sent(&s), "P(pgsteer_3_0:select 2) S");
    assert_string_equal(due(&s), "PS");
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
        cmocka_unit_test(a_shape_is_names_and_types),
        cmocka_unit_test(old_statement_is_described_first),
        cmocka_unit_test(what_gives_another_ones_columns_needs_no_proof),
        cmocka_unit_test(refusal_takes_it_off_the_server),
        cmocka_unit_test(who_describes_the_portal_needs_no_proof),
        cmocka_unit_test(a_failed_transaction_takes_no_parse),
        cmocka_unit_test(exposed_statements),
        cmocka_unit_test(closing_takes_the_clients_own_name_away),
        cmocka_unit_test(a_second_name_makes_room),
        cmocka_unit_test(a_taken_name_is_told_by_one_of_ours),
        cmocka_unit_test(what_was_not_closed_keeps_its_name),
        cmocka_unit_test(an_attempt_that_fails_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
