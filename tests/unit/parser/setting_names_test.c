// SPDX-License-Identifier: ISC
// tests/unit/parser/setting_names_test.c: which parameters a text sets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>

#include "parser/setting_names.h"

static void names(void **state) {
    (void)state;
    static const struct {
        const char *sql, *names; // a blank behind each; in brackets: for the transaction
        bool restores;
    } table[] = {
        {"SET work_mem = '7MB'", "work_mem ", false},
        {"SET SESSION DateStyle TO ISO, DMY", "datestyle ", false},
        {"SET \"TimeZone\" = 'UTC'", "timezone ", false},
        {"SET TIME ZONE 'Asia/Tokyo'", "timezone ", false},
        {"SET TIME ZONE LOCAL", "timezone ", true},
        {"SET NAMES 'latin1'", "client_encoding ", false},
        {"SET SCHEMA 'x'", "search_path ", false},
        {"SET my.tenant = '42'", "my.tenant ", false},
        {"SET ROLE other", "role ", false},
        {"SET ROLE NONE", "role ", false},
        {"SET SESSION AUTHORIZATION other", "role session_authorization ", false},
        {"SET SESSION AUTHORIZATION DEFAULT", "role session_authorization ", true},
        {"RESET SESSION AUTHORIZATION", "role session_authorization ", true},
        {"SET XML OPTION DOCUMENT", "xmloption ", false},
        {"SET work_mem TO DEFAULT", "work_mem ", true},
        {"RESET work_mem", "work_mem ", true},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
         "default_transaction_isolation default_transaction_read_only ", false},
        {"SELECT set_config('my.tenant', $1, false)", "my.tenant ", true},
        {"SELECT pg_catalog.set_config(setting_name => 'a.B', new_value => 'x', is_local => f()) FROM t", "a.b ", true},
        {"SET a = 1; SELECT 1; SET b = 2", "a b ", false},
        // for the transaction only, or not of the session
        {"SET LOCAL work_mem = '7MB'", "(work_mem) ", false},
        {"SELECT set_config('a', 'b', true)", "(a) ", false},
        {"PREPARE p(text) AS SELECT set_config('a', $1, true)", "(a) ", false},
        {"SET a = 1; PREPARE p AS SELECT 1", "a ", false},
        {"SET TRANSACTION READ ONLY", "", false},
        {"SET transaction_isolation = 'serializable'", "", false},
        {"SET CONSTRAINTS ALL DEFERRED", "", false},
        {"RESET ALL", "", false},
        {"DISCARD ALL", "", false},
        {"SELECT 1", "", false},
    };
    for (size_t i = 0; i < countof(table); i++) {
        struct setting_names n;
        setting_names_init(&n);
        setting_names_add(&n, span_str(table[i].sql));
        if (n.unknown || n.restores != table[i].restores) fail_msg("%s", table[i].sql);
        struct buf all = buf_make(1000);
        struct cursor c = cursor_of(buf_span(&n.names));
        while (cursor_left(&c)) buf_printf(&all, "%s ", (const char *)cursor_cstr(&c).ptr);
        c = cursor_of(buf_span(&n.local));
        while (cursor_left(&c)) buf_printf(&all, "(%s) ", (const char *)cursor_cstr(&c).ptr);
        buf_put_u8(&all, 0);
        assert_string_equal((const char *)all.data, table[i].names);
        buf_release(&all);
        setting_names_release(&n);
    }
}

static void what_cannot_be_told(void **state) {
    (void)state;
    static const char *const table[] = {
        "SELECT set_config(name, 'x', false) FROM t",
        "SELECT set_config($1, $2, $3)",
        "UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'",
        "PREPARE p(text) AS SELECT set_config('my.tenant', $1, false)",
        "PREPARE p(bool) AS SELECT set_config('my.tenant', 'x', $1)",
        "SELECT (t).set_config FROM t",
        "SET seed = 0.5",
        "SELECT setseed('0.5')",
        "SET work_mem =",
        "SET my.\xc3\xa9 = 'x'",
        "SELECT set_config('my.\xc3\xa9', 'x', false)",
    };
    for (size_t i = 0; i < countof(table); i++) {
        struct setting_names n;
        setting_names_init(&n);
        setting_names_add(&n, span_str(table[i]));
        if (!n.unknown) fail_msg("%s", table[i]);
        setting_names_release(&n);
    }
}

static void nobodys(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        bool nobodys;
    } table[] = {
        {"SET plpgsql.variable_conflict = use_column", false},
        {"SET plpgsql.extra_warnings TO 'all'; SET plpgsql.check_asserts TO off", false},
        {"SET plpgsqlx.y = 1", false},
        {"SET plpgsql.no_such_thing = 1", true},
        {"SET LOCAL PLpgSQL.No_Such_Thing = 1", true},
        {"SELECT set_config('plpgsql.no_such_thing', 'x', false)", true},
    };
    for (size_t i = 0; i < countof(table); i++) {
        struct setting_names n;
        setting_names_init(&n);
        setting_names_add(&n, span_str(table[i].sql));
        if (n.nobodys != table[i].nobodys || n.unknown != table[i].nobodys) fail_msg("%s", table[i].sql);
        setting_names_release(&n);
    }
}

static void bodies(void **state) {
    (void)state;
    static const struct {
        const char *sql, *names; // a blank behind each
    } table[] = {
        {"do $$ begin perform set_config('my.Tenant', 'x', false); end $$", "my.tenant "},
        {"do 'begin perform set_config(''my.tenant'', ''x'', false); end'", "my.tenant "},
        {"do $$ begin set  my.tenant = 'x'; SET a.b.c to 1; end $$", "my.tenant a.b.c "},
        {"do $$ begin select a.b from my.t where x = 'a.b c' and y = 1.5; set work_mem = 1; end $$", ""},
        {"my.", ""},
        {"'my.x", ""},
        {"", ""},
    };
    for (size_t i = 0; i < countof(table); i++) {
        struct setting_names n;
        struct buf all = buf_make(1000);
        setting_names_init(&n);
        setting_names_add_body(&n, span_str(table[i].sql));
        struct cursor c = cursor_of(buf_span(&n.names));
        while (cursor_left(&c)) buf_printf(&all, "%s ", (const char *)cursor_cstr(&c).ptr);
        buf_put_u8(&all, 0);
        assert_string_equal((const char *)all.data, table[i].names);
        buf_release(&all);
        setting_names_release(&n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(nobodys), cmocka_unit_test(bodies),
                                       cmocka_unit_test(what_cannot_be_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
