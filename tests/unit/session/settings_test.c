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
    struct settings *c = settings_intern(t, PAIRS("application_name\0y\0application_name\0x\0datestyle\0SQL\0DateStyle\0ISO"));
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
    settings_change_sql(from, to, &sql);
    buf_put_u8(&sql, 0);
    assert_string_equal((const char *)sql.data, expected);
    buf_release(&sql);
}

static void sql_moves_between_settings(void **state) {
    (void)state;
    struct settings_table *t = settings_table_new();
    struct settings *a = settings_intern(t, PAIRS("search_path\0a, \"b\""));
    struct settings *b = settings_intern(t, PAIRS("my.x\0it's a \\ b\0application_name\0"));
    check_sql(NULL, NULL, "");
    check_sql(a, a, "");
    check_sql(NULL, a, "SELECT pg_catalog.set_config(E'search_path',E'a, \"b\"',false)");
    check_sql(a, NULL, "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;");
    check_sql(a, b, "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;SELECT pg_catalog.set_config(E'application_name',E'',false),"
                    "pg_catalog.set_config(E'my.x',E'it''s a \\\\ b',false)");
    assert_false(settings_outlive_reset_all(NULL));
    assert_false(settings_outlive_reset_all(a));
    struct settings *c = settings_intern(t, PAIRS("Role\0x"));
    assert_true(settings_outlive_reset_all(c));
    settings_unref(c);
    settings_unref(a);
    settings_unref(b);
    settings_table_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_settings_are_one),
                                       cmocka_unit_test(sql_moves_between_settings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
