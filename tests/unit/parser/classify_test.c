// SPDX-License-Identifier: ISC
// statements.txt, line by line; every command of the reference is in it; what only a catalog can know.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "parser/classify.h"

enum { LINE_MAX_LENGTH = 2000, MAX_LENGTH = 65536 };

static const char statements_file[] = "tests/unit/parser/statements.txt";
static const char commands_file[] = "tests/unit/parser/commands.txt";

static struct verdict verdict_with(const char *sql, const struct catalog *catalog) {
    return classify(span_str(sql), &(struct classify_options){.max_length = MAX_LENGTH, .catalog = catalog});
}

// As the file has it: kind | reason | facts | sql
static void describe(struct buf *out, struct verdict v, const char *sql) {
    buf_printf(out, "%s | %s | ", verdict_kind_str(v.kind), verdict_reason_str(v.reason));
    const char *space = "";
    for (unsigned bit = 0; bit < 32; bit++) {
        if (!(v.facts >> bit & 1)) continue;
        buf_printf(out, "%s%s", space, verdict_fact_str((enum verdict_fact)(1u << bit)));
        space = " ";
    }
    buf_printf(out, " | %s", sql);
    buf_put(out, "", 1);
}

// The next line that counts, without its newline; false at the end.
static bool next_line(FILE *f, char line[LINE_MAX_LENGTH]) {
    while (fgets(line, LINE_MAX_LENGTH, f)) {
        size_t len = strcspn(line, "\n");
        bug_unless(line[len] == '\n');
        line[len] = 0;
        if (len > 0 && line[0] != '#') return true;
    }
    return false;
}

static char *sql_of(char *line) {
    for (int bars = 0; bars < 3; bars++) {
        line = strchr(line, '|');
        assert_non_null(line);
        line++;
    }
    return line + 1;
}

static void statements(void **state) {
    (void)state;
    char line[LINE_MAX_LENGTH];
    FILE *f = fopen(statements_file, "r");
    assert_non_null(f);
    size_t count = 0, wrong = 0;
    for (; next_line(f, line); count++) {
        struct buf got = buf_make(2 * LINE_MAX_LENGTH);
        const char *sql = sql_of(line);
        describe(&got, verdict_with(sql, NULL), sql);
        if (strcmp((const char *)got.data, line) != 0) {
            print_error("expected %s\n     got %s\n", line, (const char *)got.data);
            wrong++;
        }
        buf_release(&got);
    }
    fclose(f);
    assert_true(count >= 400);
    assert_int_equal(wrong, 0);
}

// Whether the words of `command` are in `sql`, in order, the first one first.
static bool is_of_command(const char *sql, const char command[LINE_MAX_LENGTH]) {
    char words[LINE_MAX_LENGTH];
    memcpy(words, command, strlen(command) + 1);
    const char *at = sql;
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        const char *found = strcasestr(at, word);
        if (!found || (at == sql && found != sql)) return false;
        at = found + strlen(word);
    }
    return true;
}

static void commands(void **state) {
    (void)state;
    char command[LINE_MAX_LENGTH], line[LINE_MAX_LENGTH];
    FILE *commands_in = fopen(commands_file, "r"), *f = fopen(statements_file, "r");
    assert_true(commands_in && f);
    size_t missing = 0, count = 0;
    for (; next_line(commands_in, command); count++) {
        bool found = false;
        rewind(f);
        while (!found && next_line(f, line)) found = is_of_command(sql_of(line), command);
        if (!found) print_error("no statement for %s\n", command);
        missing += !found;
    }
    fclose(commands_in);
    fclose(f);
    assert_int_equal(count, 185);
    assert_int_equal(missing, 0);
}

static void counters_are_asked_for(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        bool counted;
    } cases[] = {
        {"select * from pg_stat_user_tables", true},
        {"select * from pg_catalog.pg_statio_all_indexes", true},
        {"create table t as select 1 from pg_stat_xact_user_functions", true},
        {"select pg_stat_get_numscans('t'::regclass)", true},
        {"select 1; select pg_stat_force_next_flush()", true},
        {"select pg_stat_have_stats('relation', 1, 2)", true},
        {"select * from pg_stat_activity", false},
        {"select * from pg_stat_replication", false},
        {"select * from pg_tables", false},
        {"select * from stat_tables", false},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct verdict v = classify(span_str(cases[i].sql), &(struct classify_options){.max_length = 1000});
        if (v.counted != cases[i].counted) fail_msg("%s", cases[i].sql);
    }
}

static struct catalog *catalog_example(void) {
    struct catalog *c = catalog_new("db");
    catalog_add_function(c, "public", "f", 1, 1, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "f", 2, 3, CATALOG_VOLATILE);
    catalog_add_function(c, "public", "many", 1, -1, CATALOG_HARMLESS);
    catalog_add_function(c, "other", "g", 0, 0, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "g", 0, 0, CATALOG_VOLATILE);
    catalog_add_function(c, "public", "age", 1, 1, CATALOG_VOLATILE);
    catalog_add_function(c, "public", "length", 1, 1, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "nextval", 1, 1, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "total", 1, 1, CATALOG_VOLATILE);
    catalog_add_function(c, "public", "ordered", 2, 2, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "system_rows", 1, 1, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "Quoted", 0, 0, CATALOG_HARMLESS);
    catalog_add_volatile_operator(c, "public", "<=>");
    catalog_add_volatile_operator(c, "odd", "+");
    catalog_add_primary_relation(c, "public", "risky_view");
    return c;
}

static void leaving(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        bool leaves, unseen, certain;
    } cases[] = {
        {"select f(1)", false, false, false},
        {"select g()", false, false, false},
        {"select set_it(1)", true, false, true},
        {"/* pgsteer: replica */ select set_it(1)", true, false, true},
        {"select public.set_it(1)", true, false, true},
        {"select other.set_it(1)", true, false, false}, // unknown
        {"select 1 where exists (select from set_it(1))", true, false, true},
        {"insert into plain select set_it(1)", true, false, true},
        {"select run_it('x')", true, true, true},
        {"explain analyze select run_it('x')", true, true, true},
        {"explain select run_it('x')", true, false, true},
        {"create view v as select run_it('x')", true, false, true},
        {"select nobodys()", true, false, false},
        {"/* pgsteer: replica */ select nobodys()", true, false, false},
        {"select set_it from t", false, false, false},
        {"select t.set_it from t", true, false, true}, // a column, or a call
        {"select * from fires", false, false, false},
        {"insert into fires values (1)", true, false, true},
        {"insert into other.fires values (1)", false, false, true},
        {"with a as (delete from fires returning *) select * from a", true, false, true},
        {"copy fires from stdin", true, false, true},
        {"truncate plain, fires", true, false, true},
        {"merge into fires using x on true when matched then delete", true, false, true},
        {"select * from fires_view", true, false, true},
        {"insert into runs values (1)", true, true, true},
        {"select a ~~~ b from t", true, false, true},
        {"select a ~~~ any (b) from t", true, false, true},
        {"select a ~~ b from t", false, false, false},
        {"insert into plain select a ~~~ b from t", true, false, true},
        {"select 'x'::checked", true, false, true},
        {"select '{}'::public.checked[]", true, false, true},
        {"select checked 'x'", true, false, true},
        {"select checked('x')", true, false, true},
        {"select t.checked from t", true, false, true}, // a column, or a cast
        {"select 'x'::other.checked, checked from t", false, false, false},
        {"prepare p (checked) as select $1", true, false, true},
        {"select t.of_two from t", false, false, false}, // a column: the function takes more
        {"select of_two(1, 2)", true, false, true},
        {"create table x (a int)", false, false, true},
        {"prepare p as insert into plain values (1)", false, false, true},
        {"execute p", true, false, true},
        {"select 1; insert into fires values (1)", true, false, true},
    };
    struct catalog *c = catalog_example();
    catalog_add_function(c, "public", "set_it", 1, 1, CATALOG_VOLATILE);
    catalog_add_function(c, "public", "run_it", 1, 1, CATALOG_VOLATILE);
    catalog_add_leaving_function(c, "public", "set_it", CATALOG_LEAVES_STATE);
    catalog_add_leaving_function(c, "public", "run_it", CATALOG_LEAVES_UNSEEN);
    catalog_add_leaving_function(c, "public", "~~~", CATALOG_LEAVES_STATE);
    catalog_add_leaving_type(c, "public", "checked", CATALOG_LEAVES_STATE);
    catalog_add_function(c, "public", "of_two", 2, 2, CATALOG_VOLATILE);
    catalog_add_leaving_function(c, "public", "of_two", CATALOG_LEAVES_STATE);
    catalog_add_leaving_relation(c, "public", "fires", CATALOG_LEAVES_STATE);
    catalog_add_leaving_relation(c, "public", "runs", CATALOG_LEAVES_UNSEEN);
    catalog_add_leaving_relation(c, "public", "fires_view", CATALOG_LEAVES_STATE);
    catalog_add_primary_relation(c, "public", "fires_view");
    struct classify_options options = {.max_length = 1000, .catalog = c};
    for (size_t i = 0; i < countof(cases); i++) {
        struct verdict v = classify(span_str(cases[i].sql), &options);
        bool unseen = (v.facts & FACT_LEAVES_STATE) != 0;
        if (v.leaves != cases[i].leaves || unseen != cases[i].unseen || v.certain != cases[i].certain)
            fail_msg("%s: leaves %d, unseen %d, certain %d", cases[i].sql, v.leaves, unseen, v.certain);
    }
    assert_true(classify(span_str("select 1, 2"), &(struct classify_options){.max_length = 5, .catalog = c}).leaves);
    assert_false(classify(span_str("not SQL"), &options).leaves);
    catalog_add_leaving_ddl(c, CATALOG_LEAVES_STATE);
    assert_true(classify(span_str("create table x (a int)"), &options).leaves);
    assert_false(classify(span_str("insert into plain values (1)"), &options).leaves);
    catalog_add_leaving_anything(c, CATALOG_LEAVES_UNSEEN);
    struct verdict any = classify(span_str("select 1"), &options);
    assert_int_equal(any.kind, VERDICT_WRITE);
    assert_true(any.leaves && any.certain && (any.facts & FACT_LEAVES_STATE));
    any = classify(span_str("insert into plain values (1)"), &options);
    assert_true(any.leaves && (any.facts & FACT_LEAVES_STATE));
    assert_false(classify(span_str("begin"), &options).leaves);
    assert_false(classify(span_str("set work_mem = 1"), &options).leaves);
    catalog_unref(c);
    c = catalog_example();
    assert_false(classify(span_str("select 1, 2"), &(struct classify_options){.max_length = 5, .catalog = c}).leaves);
    catalog_unref(c);
    options.catalog = NULL;
    assert_true(classify(span_str("select f(1)"), &options).leaves);
    assert_false(classify(span_str("select lower('X')"), &options).leaves);
}

static void with_catalog(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        enum verdict_kind kind;
        enum verdict_reason reason;
    } cases[] = {
        {"select f(1)", VERDICT_READ, VERDICT_REASON_READ},
        {"select public.f(1)", VERDICT_READ, VERDICT_REASON_READ},
        {"select F(1) from t where many(1, 2, 3, 4) and \"Quoted\"()", VERDICT_READ, VERDICT_REASON_READ},
        {"select quoted()", VERDICT_UNKNOWN, VERDICT_REASON_UNKNOWN_FUNCTION},
        {"select f(1, 2)", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select f(1, variadic x)", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select f()", VERDICT_UNKNOWN, VERDICT_REASON_UNKNOWN_FUNCTION},
        {"select other.f(1)", VERDICT_UNKNOWN, VERDICT_REASON_UNKNOWN_FUNCTION},
        {"select other.g()", VERDICT_READ, VERDICT_REASON_READ},
        {"select g()", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select many()", VERDICT_UNKNOWN, VERDICT_REASON_UNKNOWN_FUNCTION},
        {"select ordered(0.5) within group (order by a) from t", VERDICT_READ, VERDICT_REASON_READ},
        {"select ordered(a order by a) from t", VERDICT_UNKNOWN, VERDICT_REASON_UNKNOWN_FUNCTION},
        // A user's function of a built-in name counts too, but where pg_catalog is said.
        {"select age(x)", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select age(x, y)", VERDICT_READ, VERDICT_REASON_READ},
        {"select pg_catalog.age(x)", VERDICT_READ, VERDICT_REASON_READ},
        {"select length(x)", VERDICT_READ, VERDICT_REASON_READ},
        {"select nextval('s')", VERDICT_WRITE, VERDICT_REASON_WRITE_FUNCTION},
        // Attributes may be functions.
        {"select t.total from t", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select (t).total from t", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select total from t", VERDICT_READ, VERDICT_REASON_READ},
        {"select t.f from t", VERDICT_READ, VERDICT_REASON_READ},
        {"select t.unknown from t", VERDICT_READ, VERDICT_REASON_READ},
        {"select a <=> b from t", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select a <-> b from t order by c <#> d", VERDICT_READ, VERDICT_REASON_READ},
        {"select a + b from t", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
        {"select a operator(public.+) b from t", VERDICT_READ, VERDICT_REASON_READ},
        {"select a operator(pg_catalog.+) b from t", VERDICT_READ, VERDICT_REASON_READ},
        {"select * from risky_view", VERDICT_WRITE, VERDICT_REASON_PRIMARY_RELATION},
        {"select * from public.risky_view", VERDICT_WRITE, VERDICT_REASON_PRIMARY_RELATION},
        {"select * from safe.risky_view", VERDICT_READ, VERDICT_REASON_READ},
        {"/* pgsteer: replica */ select * from risky_view", VERDICT_WRITE, VERDICT_REASON_PRIMARY_RELATION},
        {"/* pgsteer: replica */ select g(), t.total <=> 1 from t", VERDICT_READ, VERDICT_REASON_HINT_REPLICA},
        {"select * from t tablesample system_rows(1)", VERDICT_READ, VERDICT_REASON_READ},
        {"insert into t select g()", VERDICT_WRITE, VERDICT_REASON_DML},
        {"explain select g()", VERDICT_WRITE, VERDICT_REASON_VOLATILE_FUNCTION},
    };
    struct catalog *c = catalog_example();
    size_t wrong = 0;
    for (size_t i = 0; i < countof(cases); i++) {
        struct verdict v = verdict_with(cases[i].sql, c);
        if (v.kind == cases[i].kind && v.reason == cases[i].reason) continue;
        print_error("%s: %s, %s\n", cases[i].sql, verdict_kind_str(v.kind), verdict_reason_str(v.reason));
        wrong++;
    }
    catalog_unref(c);
    assert_int_equal(wrong, 0);
}

// What no preference for replicas may overrule.
static void certainty(void **state) {
    (void)state;
    static const struct {
        bool certain;
        const char *sql;
    } table[] = {
        {false, ""},
        {false, "select 1"},
        {false, "select users_own(1)"},
        {false, "select 1; select users_own(1)"},
        {false, "/* pgsteer: replica */ select users_own(1)"},
        {true, "/* pgsteer: primary */ select 1"},
        {true, "/* pgsteer: primary */ select users_own(1)"},
        {true, "select users_own(1) for update"},
        {true, "select users_own(1), nextval('s')"},
        {true, "select users_own(1); insert into t values (1)"},
        {true, "begin"},
        {true, "set a = 1"},
        {true, "call p()"},
        {true, "select users_own(1) from"},
    };
    for (size_t i = 0; i < countof(table); i++)
        if (verdict_with(table[i].sql, NULL).certain != table[i].certain) fail_msg("%s", table[i].sql);
    char *long_ = mem_alloc(MAX_LENGTH + 2);
    memset(long_, ' ', MAX_LENGTH + 1);
    assert_true(verdict_with(long_, NULL).certain);
    mem_free(long_);
}

static void limits(void **state) {
    (void)state;
    struct verdict v = classify(span_str("select 1"), &(struct classify_options){.max_length = 8});
    assert_int_equal(v.kind, VERDICT_READ);
    v = classify(span_str("select 12"), &(struct classify_options){.max_length = 8});
    assert_int_equal(v.kind, VERDICT_UNKNOWN);
    assert_int_equal(v.reason, VERDICT_REASON_TOO_LONG);
    // The parser would end at the NUL and see a read.
    v = classify(span_of("select 1\0; delete from t", 24), &(struct classify_options){.max_length = 100});
    assert_int_equal(v.kind, VERDICT_UNKNOWN);
    assert_int_equal(v.reason, VERDICT_REASON_SYNTAX);
    v = classify(span_of(NULL, 0), &(struct classify_options){.max_length = 100});
    assert_int_equal(v.reason, VERDICT_REASON_EMPTY);
    // No NUL behind the text.
    char *bytes = malloc(8);
    memcpy(bytes, "select 1", 8);
    v = classify(span_of(bytes, 8), &(struct classify_options){.max_length = 100});
    free(bytes);
    assert_int_equal(v.kind, VERDICT_READ);
}

static void names(void **state) {
    (void)state;
    for (int k = 0; k < VERDICT_KINDS; k++) assert_string_not_equal(verdict_kind_str((enum verdict_kind)k), "?");
    for (int r = 0; r < VERDICT_REASONS_COUNT; r++) {
        assert_string_not_equal(verdict_reason_str((enum verdict_reason)r), "?");
        assert_string_not_equal(verdict_reason_text((enum verdict_reason)r), "?");
    }
    for (unsigned bit = 1; bit <= FACT_SHOW; bit <<= 1)
        assert_string_not_equal(verdict_fact_str((enum verdict_fact)bit), "?");
    assert_string_equal(verdict_kind_str(VERDICT_KINDS), "?");
    assert_string_equal(verdict_reason_str(VERDICT_REASONS_COUNT), "?");
    assert_string_equal(verdict_fact_str(0), "?");
}

// What a text says of its transaction.
static void controls(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        enum verdict_control control;
        struct tx_modes modes;
    } cases[] = {
        {"BEGIN", CONTROL_BEGIN, {0}},
        {"/* x */ begin work;", CONTROL_BEGIN, {0}},
        {"START TRANSACTION READ ONLY", CONTROL_START, {.access = TX_ACCESS_READ_ONLY}},
        {"BEGIN READ ONLY, READ WRITE", CONTROL_BEGIN, {.access = TX_ACCESS_READ_WRITE}},
        {"BEGIN ISOLATION LEVEL READ UNCOMMITTED NOT DEFERRABLE",
         CONTROL_BEGIN,
         {.isolation = TX_ISOLATION_READ_UNCOMMITTED, .deferrable = TX_DEFERRABLE_OFF}},
        {"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
         CONTROL_BEGIN,
         {TX_ISOLATION_SERIALIZABLE, TX_ACCESS_READ_ONLY, TX_DEFERRABLE_ON}},
        {"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
         CONTROL_MODES,
         {.isolation = TX_ISOLATION_REPEATABLE_READ, .access = TX_ACCESS_READ_ONLY}},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", CONTROL_NONE, {0}},
        {"SET TRANSACTION SNAPSHOT '1-1'", CONTROL_NONE, {0}},
        {"COMMIT", CONTROL_COMMIT, {0}},
        {"END AND CHAIN", CONTROL_COMMIT, {0}},
        {"ABORT", CONTROL_ROLLBACK, {0}},
        {"ROLLBACK AND CHAIN", CONTROL_ROLLBACK, {0}},
        {"SAVEPOINT a", CONTROL_NONE, {0}},
        {"ROLLBACK TO a", CONTROL_NONE, {0}},
        {"COMMIT PREPARED 'x'", CONTROL_NONE, {0}},
        {"BEGIN; SET TRANSACTION READ ONLY", CONTROL_NONE, {0}},
        {"SELECT 1", CONTROL_NONE, {0}},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct verdict v = verdict_with(cases[i].sql, NULL);
        if (v.control != cases[i].control) fail_msg("%s: control %d", cases[i].sql, v.control);
        if (memcmp(&v.modes, &cases[i].modes, sizeof v.modes) != 0) fail_msg("%s: modes", cases[i].sql);
    }
}

// Which texts a READ ONLY transaction may run on a replica as on the primary, errors included.
static void apart(void **state) {
    (void)state;
    static const char *const same[] = {
        "SELECT 1",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "COMMIT AND CHAIN",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE t (i int)",
        "TRUNCATE t",
        "SELECT * FROM t FOR UPDATE",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x",
        "SELECT 1 INTO t",
        "SELECT nextval('s')",
        "SELECT setval('s', 1)",
        "SELECT set_config('my.x', '1', true), current_setting('my.x')",
        "SHOW work_mem",
        "SET LOCAL work_mem = '1MB'",
        "SET work_mem = '1MB'",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH c",
        "DEALLOCATE a",
        "UNLISTEN a",
        "LOCK TABLE t IN ACCESS SHARE MODE",
        "COPY t TO STDOUT",
        "COPY t FROM STDIN",
        "EXPLAIN SELECT 1",
        "SELEC 1",
        "SELECT /* pgsteer: replica */ mine()",
        "SELECT /* pgsteer: primary */ 1",
    };
    static const char *const not_same[] = {
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT * FROM t FOR UPDATE OF t SKIP LOCKED; SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock(id) FROM t FOR SHARE",
        "SELECT txid_current()",
        "SELECT pg_is_in_recovery()",
        "SELECT pg_export_snapshot()",
        "SELECT pg_notify('a', 'b')",
        "SELECT lo_create(0)",
        "SELECT nextval('s'), pg_backend_pid()",
        "SELECT mine()",
        "SELECT currval('s')",
        "SELECT * FROM pg_stat_activity",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "BEGIN READ WRITE",
        "SET TRANSACTION READ WRITE",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION SNAPSHOT '1-1'",
        "SET LOCAL transaction_read_only = off",
        "SET transaction_isolation = 'serializable'",
        "SHOW in_hot_standby",
        "SHOW ALL",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "DECLARE c CURSOR FOR SELECT pg_advisory_lock(1)",
        "PREPARE a AS SELECT 1",
        "EXECUTE a",
        "LISTEN a",
        "NOTIFY a",
        "LOAD 'a'",
        "DO 'begin end'",
        "CALL a()",
        "COPY t TO '/x'",
        "VACUUM",
        "LOCK TABLE t",
        "LOCK TABLE t IN ROW SHARE MODE",
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "DISCARD ALL",
        "BEGIN /* pgsteer: primary */ READ ONLY",
    };
    for (size_t i = 0; i < countof(same); i++)
        if (verdict_with(same[i], NULL).apart) fail_msg("%s", same[i]);
    for (size_t i = 0; i < countof(not_same); i++)
        if (!verdict_with(not_same[i], NULL).apart) fail_msg("%s", not_same[i]);
}

static void timed(void **state) {
    (void)state;
    static const char *const yes[] = {"SELECT now()",
                                      "SELECT CURRENT_TIMESTAMP(3)",
                                      "SELECT localtime",
                                      "SELECT current_date + 1",
                                      "SELECT transaction_timestamp()",
                                      "SELECT age(t) FROM a",
                                      "SELECT mine()"};
    static const char *const no[] = {"SELECT clock_timestamp()", "SELECT current_user", "SELECT age(a, b) FROM t",
                                     "SELECT lower('A')", "SELECT statement_timestamp()"};
    for (size_t i = 0; i < countof(yes); i++)
        if (!verdict_with(yes[i], NULL).timed) fail_msg("%s", yes[i]);
    for (size_t i = 0; i < countof(no); i++)
        if (verdict_with(no[i], NULL).timed) fail_msg("%s", no[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements),   cmocka_unit_test(commands), cmocka_unit_test(counters_are_asked_for),
        cmocka_unit_test(with_catalog), cmocka_unit_test(leaving),  cmocka_unit_test(certainty),
        cmocka_unit_test(limits),       cmocka_unit_test(names),    cmocka_unit_test(controls),
        cmocka_unit_test(apart),        cmocka_unit_test(timed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
