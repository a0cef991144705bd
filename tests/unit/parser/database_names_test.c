// SPDX-License-Identifier: ISC
// tests/unit/parser/database_names_test.c: which databases a text wants for itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the above first
#include <cmocka.h>

#include "base/buf.h"
#include "parser/classify.h"
#include "parser/database_names.h"

static void on_name(void *arg, struct span name) { buf_printf(arg, "%.*s ", (int)name.len, (const char *)name.ptr); }

static void names(void **state) {
    (void)state;
    static const struct {
        const char *sql, *names; // a blank behind each
    } table[] = {
        {"DROP DATABASE shop", "shop "},
        {"drop database if exists \"My Shop\" with (force)", "My Shop "},
        {"CREATE DATABASE shop", "template1 "},
        {"CREATE DATABASE shop OWNER app TEMPLATE = old ENCODING 'UTF8'", "old "},
        {"CREATE DATABASE shop TEMPLATE 'Old'", "Old "},
        {"CREATE DATABASE shop TEMPLATE DEFAULT", "template1 "},
        {"ALTER DATABASE shop RENAME TO other", "shop "},
        {"ALTER DATABASE shop SET TABLESPACE fast", "shop "},
        {"DROP DATABASE a; DROP DATABASE b", "a b "},
        {"ALTER DATABASE shop CONNECTION LIMIT 5", ""},
        {"ALTER DATABASE shop SET work_mem = '7MB'", ""},
        {"ALTER DATABASE shop OWNER TO app", ""},
        {"ALTER TABLE shop RENAME TO other", ""},
        {"ALTER TABLE shop SET TABLESPACE fast", ""},
        {"DROP SCHEMA shop", ""},
        {"SELECT 'DROP DATABASE shop'", ""},
        {"DROP DATABASE", ""},
    };
    for (size_t i = 0; i < countof(table); i++) {
        struct buf found = buf_make(1000);
        struct span sql = span_str(table[i].sql);
        database_names(sql, on_name, &found);
        buf_put_u8(&found, 0);
        assert_string_equal((const char *)found.data, table[i].names);
        buf_release(&found);
        const struct classify_options options = {.max_length = 1000};
        if (classify(sql, &options).vacates != (table[i].names[0] != '\0')) fail_msg("%s", table[i].sql);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
