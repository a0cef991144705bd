// SPDX-License-Identifier: ISC
// tests/unit/session/settings_test.c: settings that mean the same are the same object; the SQL that moves between them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>

#include "router/session/settings.h"

#define PAIRS(text) span_of(text, sizeof(text)) // the literal's own NUL ends the last value

static void same_settings_are_one(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *a = settings_intern(t, PAIRS("DateStyle\0ISO\0application_name\0x"));
    struct settings *b = settings_intern(t, PAIRS("application_name\0x\0DateStyle\0ISO"));
    struct settings *c =
        settings_intern(t, PAIRS("application_name\0y\0application_name\0x\0datestyle\0SQL\0DateStyle\0ISO"));
    struct settings *d = settings_intern(t, PAIRS("application_name\0y\0DateStyle\0ISO"));
    assert_ptr_equal(a, b);
    assert_ptr_equal(a, c); // the last value of a name counts
    assert_ptr_not_equal(a, d);
    assert_null(settings_intern(t, span_of("", 0)));
    settings_unref(a);
    settings_unref(b);
    settings_unref(c);
    settings_unref(d);
    settings_unref(NULL);
    settings_table_free(t); // finds it empty
}

static void check_sql(const struct settings *from, const struct settings *to, const char *expected) {
    struct buf sql = buf_make(4096);
    settings_change_sql(from, to, false, &sql);
    buf_put_u8(&sql, 0);
    assert_string_equal((const char *)sql.data, expected);
    buf_release(&sql);
}

static void restoring_is_no_query_where_set_will_do(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *s = settings_intern(t, PAIRS("search_path\0a, b\0datestyle\0ISO, YMD\0my.x\0it's\0odd \"name\0v"
                                                  "\0role\0x\0work_mem\0001MB"));
    struct buf sql = buf_make(4096);
    settings_restore_sql(s, PAIRS("datestyle\0timezone\0my.x\0role"), &sql);
    settings_restore_sql(s, PAIRS("search_path"), &sql);
    settings_restore_sql(s, PAIRS("odd \"name"), &sql);
    settings_restore_sql(NULL, PAIRS("datestyle"), &sql);
    buf_put_u8(&sql, 0);
    assert_string_equal((const char *)sql.data, "SET \"datestyle\" TO E'ISO, YMD';SET \"my\".\"x\" TO E'it''s';"
                                                "SELECT pg_catalog.set_config(E'search_path',E'a, b',false);"
                                                "SELECT pg_catalog.set_config(E'odd \"name',E'v',false)");
    buf_release(&sql);
    settings_unref(s);
    settings_table_free(t);
}

static void sql_moves_between_settings(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *a = settings_intern(t, PAIRS("search_path\0a, \"b\""));
    struct settings *b = settings_intern(t, PAIRS("my.x\0it's a \\ b\0application_name\0"));
    check_sql(NULL, NULL, "");
    check_sql(a, a, "");
    check_sql(NULL, a, "SELECT pg_catalog.set_config(E'search_path',E'a, \"b\"',false)");
    check_sql(a, NULL, "SELECT pg_catalog.set_config(E'search_path',NULL,false)");
    check_sql(a, b,
              "SELECT pg_catalog.set_config(E'search_path',NULL,false),"
              "pg_catalog.set_config(E'application_name',E'',false),"
              "pg_catalog.set_config(E'my.x',E'it''s a \\\\ b',false)");
    struct settings *c = settings_intern(t, PAIRS("Role\0x\0work_mem\0\xc3\xa9\0session_authorization\0y"));
    check_sql(NULL, c, // what may want the login's own rights comes before they are given up
              "SELECT pg_catalog.set_config(E'work_mem',E'\\xc3\\xa9',false),"
              "pg_catalog.set_config(E'session_authorization',E'y',false),pg_catalog.set_config(E'role',E'x',false)");
    check_sql(c, a,
              "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;"
              "SELECT pg_catalog.set_config(E'search_path',E'a, \"b\"',false)");
    check_sql(c, NULL, "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;");
    struct buf sql = buf_make(4096);
    settings_change_sql(a, c, true, &sql); // or with theirs
    buf_put_u8(&sql, 0);
    assert_string_equal((const char *)sql.data, "SELECT pg_catalog.set_config(E'search_path',NULL,false),"
                                                "pg_catalog.set_config(E'session_authorization',E'y',false),"
                                                "pg_catalog.set_config(E'role',E'x',false),"
                                                "pg_catalog.set_config(E'work_mem',E'\\xc3\\xa9',false)");
    buf_release(&sql);
    assert_true(settings_have_identity(c));
    assert_false(settings_have_identity(a) || settings_have_identity(NULL));
    settings_unref(c);
    settings_unref(a);
    settings_unref(b);
    settings_table_free(t);
}

// What a transaction of the client before would have been does not matter to what is done for the next one.
static void isolation_is_left_first(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *a = settings_intern(t, PAIRS("default_transaction_isolation\0serializable"));
    struct settings *b = settings_intern(t, PAIRS("a\0001"));
    check_sql(a, b,
              "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
              "SELECT pg_catalog.set_config(E'default_transaction_isolation',NULL,false),"
              "pg_catalog.set_config(E'a',E'1',false)");
    settings_unref(a);
    settings_unref(b);
    settings_table_free(t);
}

// PostgreSQL takes 1664 columns in one SELECT.
static void many_settings_are_set_in_turns(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct buf pairs = buf_make(1 << 20), sql = buf_make(1 << 20);
    for (int i = 0; i < 2500; i++) {
        buf_printf(&pairs, "a.b%d", i);
        buf_put(&pairs, "\0x", 3);
    }
    struct settings *s = settings_intern(t, buf_span(&pairs));
    settings_change_sql(NULL, s, false, &sql);
    buf_put_u8(&sql, 0);
    const char *text = (const char *)sql.data;
    size_t selects = 0;
    for (; (text = strstr(text, "SELECT ")); text++) selects++;
    assert_int_equal(selects, 3);
    assert_null(strstr((const char *)sql.data, ",SELECT"));
    settings_unref(s);
    buf_release(&pairs);
    buf_release(&sql);
    settings_table_free(t);
}

static void edits(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *a = settings_intern(t, PAIRS("a\0001\0b\0002"));
    struct settings *same = settings_edit(t, a, span_of("", 0), span_of("", 0));
    struct settings *less = settings_edit(t, a, PAIRS("a\0c"), span_of("", 0));
    struct settings *more = settings_edit(t, less, span_of("", 0), PAIRS("a\0001"));
    struct settings *other = settings_edit(t, a, PAIRS("a"), PAIRS("a\0003"));
    assert_ptr_equal(same, a);
    assert_ptr_equal(more, a);
    struct span value;
    assert_false(settings_get(less, span_str("a"), &value));
    assert_true(settings_get(other, span_str("a"), &value) && span_is(value, "3"));
    assert_true(settings_get(other, span_str("b"), &value) && span_is(value, "2"));
    assert_null(settings_edit(t, a, PAIRS("a\0b"), span_of("", 0)));
    struct settings *all[] = {a, same, less, more, other};
    for (size_t i = 0; i < countof(all); i++) settings_unref(all[i]);
    settings_table_free(t);
}

#define LONG "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijab" // an identifier ends one letter behind it

// What a connection has known, it knows for good.
static void customs(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *s = settings_intern(t, PAIRS("my.x\0001\0work_mem\0001MB\0a.b\0"));
    struct settings *none = settings_intern(t, PAIRS("work_mem\0001MB"));
    struct settings *set = NULL, *known = NULL, *names = NULL;
    assert_null(settings_customs(NULL));
    assert_null(settings_customs(none));
    settings_add_customs(&set, settings_customs(none));
    assert_null(set);
    settings_add_customs(&set, settings_customs(s));
    assert_ptr_equal(set, settings_customs(s));
    assert_ptr_equal(set, settings_customs(set));
    assert_int_equal(settings_bytes(set), sizeof("a.b\0\0my.x\0"));
    settings_add_names(t, &known, PAIRS("work_mem\0my.x\0my.x"));
    assert_int_equal(settings_bytes(known), sizeof("my.x\0"));
    assert_true(settings_have(set, known) && settings_have(set, set) && settings_have(s, set) &&
                settings_have(NULL, NULL));
    assert_false(settings_have(known, set) || settings_have(NULL, known) || settings_have(none, known));
    assert_true(settings_have(known, NULL));

    struct buf sql = buf_make(4096);
    settings_add_names(t, &names, PAIRS("app.user\0my.x\0a.b\0odd.\"name\0c..d\0c.d.\0e._1\0l." LONG "xy"));
    settings_customs_sql(names, names, NULL, &sql);
    settings_customs_sql(NULL, known, s, &sql);
    assert_int_equal(buf_len(&sql), 0);
    settings_customs_sql(names, known, set, &sql);
    buf_put_u8(&sql, 0);
    assert_string_equal((const char *)sql.data, ";RESET \"app\".\"user\""
                                                ";SELECT pg_catalog.set_config(E'c..d',NULL,false)"
                                                ";SELECT pg_catalog.set_config(E'c.d.',NULL,false)"
                                                ";RESET \"e\".\"_1\""
                                                ";SELECT pg_catalog.set_config(E'l." LONG "xy',NULL,false)"
                                                ";SELECT pg_catalog.set_config(E'odd.\"name',NULL,false)");
    buf_release(&sql);
    struct settings *all[] = {s, none, set, known, names};
    for (size_t i = 0; i < countof(all); i++) settings_unref(all[i]);
    settings_table_free(t);
}

// As PostgreSQL writes a name in its errors.
static void what_an_error_names(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *s = settings_intern(t, PAIRS("my.x\0001\0work_mem\0001MB"));
    struct span name;
    assert_true(settings_find_named(s, "invalid value for parameter \"work_mem\": \"1MB\"", &name));
    assert_true(span_is(name, "work_mem"));
    assert_true(settings_find_named(s, "permission denied to set parameter \"My.X\"", &name) && span_is(name, "my.x"));
    assert_true(settings_find_named(s, "ung\xc3\xbcltiger Name \xc2\xbbmy.x\xc2\xab", &name) && span_is(name, "my.x"));
    assert_true(settings_find_named(s, "my.xy my.x", &name) && span_is(name, "my.x"));
    assert_true(settings_find_named(s, "my.x", &name));
    assert_false(settings_find_named(s, "\"my.xy\", a.my.x, work_mem2, my.x.y", &name));
    assert_false(settings_find_named(s, "", &name));
    assert_false(settings_find_named(NULL, "\"my.x\"", &name));
    settings_unref(s);
    settings_table_free(t);
}

// Clients whose texts mean the same share prepared statements.
static void contexts(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *a = settings_intern(t, PAIRS("TimeZone\0UTC\0application_name\0x"));
    struct settings *b = settings_intern(t, PAIRS("TimeZone\0UTC\0my.tenant\0x"));
    struct settings *c = settings_intern(t, PAIRS("TimeZone\0Asia/Tokyo"));
    struct settings *d = settings_intern(t, PAIRS("application_name\0x\0work_mem\0001MB"));
    struct settings *e = settings_intern(t, PAIRS("never_heard_of\0x"));
    struct settings *f = settings_intern(t, PAIRS("extra_float_digits\0000")); // float8out is immutable
    assert_int_equal(settings_context(NULL), 0);
    assert_int_equal(settings_context(d), 0);
    assert_int_equal(settings_context(a), settings_context(b));
    assert_int_not_equal(settings_context(a), 0);
    assert_int_not_equal(settings_context(a), settings_context(c));
    assert_int_not_equal(settings_context(e), 0);
    assert_int_not_equal(settings_context(f), 0);
    struct settings *all[] = {a, b, c, d, e, f};
    for (size_t i = 0; i < countof(all); i++) settings_unref(all[i]);
    settings_table_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_settings_are_one),
                                       cmocka_unit_test(sql_moves_between_settings),
                                       cmocka_unit_test(restoring_is_no_query_where_set_will_do),
                                       cmocka_unit_test(isolation_is_left_first),
                                       cmocka_unit_test(many_settings_are_set_in_turns),
                                       cmocka_unit_test(edits),
                                       cmocka_unit_test(contexts),
                                       cmocka_unit_test(customs),
                                       cmocka_unit_test(what_an_error_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
