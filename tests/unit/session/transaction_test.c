// SPDX-License-Identifier: ISC
// tests/unit/session/transaction_test.c: what the router knows of transactions it answers for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>

#include "parser/classify.h"
#include "router/session/transaction.h"

static struct verdict verdict(const char *sql) {
    return classify(span_str(sql), &(struct classify_options){.max_length = 1000});
}

static void begin_has_its_modes(void **state) {
    (void)state;
    static const char *const texts[] = {
        "BEGIN",
        "BEGIN READ ONLY",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        "BEGIN ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE",
        "BEGIN ISOLATION LEVEL READ UNCOMMITTED",
    };
    for (size_t i = 0; i < countof(texts); i++) {
        struct buf sql = buf_make(1000);
        transaction_begin_sql(verdict(texts[i]).modes, &sql);
        buf_put_u8(&sql, 0);
        assert_string_equal((const char *)sql.data, texts[i]);
        buf_release(&sql);
    }
}

static void modes_are_laid_over_each_other(void **state) {
    (void)state;
    struct tx_modes base = {TX_ISOLATION_SERIALIZABLE, TX_ACCESS_READ_ONLY, TX_DEFERRABLE_ON};
    struct tx_modes m = tx_modes_over(base, (struct tx_modes){.access = TX_ACCESS_READ_WRITE});
    assert_int_equal(m.isolation, TX_ISOLATION_SERIALIZABLE);
    assert_int_equal(m.access, TX_ACCESS_READ_WRITE);
    assert_int_equal(m.deferrable, TX_DEFERRABLE_ON);
}

static void what_fits_a_replica(void **state) {
    (void)state;
    static const char *const fits[] = {
        "SELECT 1",
        "COMMIT",
        "ROLLBACK AND CHAIN",
        "SET work_mem = '1MB'",
        "SHOW work_mem",
        "INSERT INTO t VALUES (1)",
        "BEGIN",
        "CREATE TEMP TABLE t ()",
        "SELECT 1; SELECT 2",
        "DECLARE c CURSOR FOR SELECT 1",
        "COPY t FROM STDIN",
        "CLOSE c",
    };
    static const char *const not [] = {
        "COMMIT; INSERT INTO t VALUES (1)",
        "SELECT 1; COMMIT",
        "BEGIN; SELECT 1",
        "SELECT currval('s')",
        "CALL p()",
        "PREPARE a AS SELECT 1",
        "LISTEN a",
        "SET search_path = pg_temp",
        "SELECT pg_advisory_lock(1)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "BEGIN READ WRITE",
        "SELECT mine()",
    };
    for (size_t i = 0; i < countof(fits); i++) {
        struct verdict v = verdict(fits[i]);
        if (!transaction_fits_replica(&v)) fail_msg("%s", fits[i]);
    }
    for (size_t i = 0; i < countof(not ); i++) {
        struct verdict v = verdict(not [i]);
        if (transaction_fits_replica(&v)) fail_msg("%s", not [i]);
    }
}

static struct request request(const char *sql) {
    struct verdict v = verdict(sql);
    return (struct request){.kind = REQUEST_QUERY, .runs = true, .texts = 1, .verdict = v, .body = v};
}

static void what_binds(void **state) {
    (void)state;
    struct tx_modes committed = {.isolation = TX_ISOLATION_READ_COMMITTED},
                    repeatable = {.isolation = TX_ISOLATION_REPEATABLE_READ}, unknown = {0};
    struct request read = request("SELECT 1"), show = request("SHOW work_mem"), time = request("SELECT now()"),
                   cursor = request("DECLARE c CURSOR FOR SELECT 1"), local = request("SET LOCAL work_mem = '1MB'");
    assert_false(transaction_binds(&read, committed));
    assert_true(transaction_binds(&read, repeatable));
    assert_true(transaction_binds(&read, unknown));
    assert_false(transaction_binds(&show, repeatable));
    assert_true(transaction_binds(&time, committed));
    assert_true(transaction_binds(&cursor, committed));
    assert_true(transaction_binds(&local, committed));
    read.keeps_portal = true;
    assert_true(transaction_binds(&read, committed));
    struct request parsed = {.kind = REQUEST_BATCH, .texts = 1, .verdict = read.verdict};
    assert_false(transaction_binds(&parsed, repeatable));
    parsed.binds_portal = true;
    assert_true(transaction_binds(&parsed, committed));
}

static void what_queries(void **state) {
    (void)state;
    static const char *const yes[] = {"SELECT 1", "INSERT INTO t VALUES (1)", "DECLARE c CURSOR FOR SELECT 1"};
    static const char *const no[] = {"SHOW work_mem", "SET LOCAL work_mem = '1MB'", "SAVEPOINT a", "", "COMMIT"};
    for (size_t i = 0; i < countof(yes); i++) {
        struct request r = request(yes[i]);
        assert_true(transaction_queries(&r));
    }
    for (size_t i = 0; i < countof(no); i++) {
        struct request r = request(no[i]);
        assert_false(transaction_queries(&r));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_has_its_modes), cmocka_unit_test(modes_are_laid_over_each_other),
        cmocka_unit_test(what_fits_a_replica), cmocka_unit_test(what_binds),
        cmocka_unit_test(what_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
