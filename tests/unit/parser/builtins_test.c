// SPDX-License-Identifier: ISC
// The two tables are sorted and do not overlap; names, prefixes, schemas.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "parser/builtins.h"
#include "parser/verdict.h"

static const char *const judged[] = {
#define FUNC(name, class, facts) #name,
#include "parser/funcs.def"
#undef FUNC
};
static const char *const generated[] = {
#define BUILTIN(name) name,
#include "parser/builtins.def"
};
static const char *const operators[] = {
#define BUILTIN_OP(name) name,
#include "parser/builtins.def"
};

static void check_sorted(const char *const *names, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) >= 0) fail_msg("%s is not before %s", names[i - 1], names[i]);
}

static enum builtin_class class_of(const char *schema, const char *name) {
    return builtin_function(span_str(schema), span_str(name)).class;
}

static void tables(void **state) {
    (void)state;
    check_sorted(judged, countof(judged));
    check_sorted(generated, countof(generated));
    check_sorted(operators, countof(operators));
    assert_true(countof(generated) > 2000);
    for (size_t i = 0; i < countof(generated); i++) assert_int_equal(class_of("", generated[i]), BUILTIN_HARMLESS);
    for (size_t i = 0; i < countof(operators); i++) assert_true(builtin_operator(span_str(operators[i])));
    for (size_t i = 0; i < countof(judged); i++) {
        assert_int_not_equal(class_of("", judged[i]), BUILTIN_UNKNOWN);
        for (size_t k = 0; k < countof(generated); k++) assert_string_not_equal(judged[i], generated[k]);
    }
}

static void functions(void **state) {
    (void)state;
    assert_int_equal(class_of("", "nextval"), BUILTIN_WRITE);
    assert_int_equal(class_of("pg_catalog", "nextval"), BUILTIN_WRITE);
    assert_int_equal(class_of("public", "nextval"), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("information_schema", "nextval"), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("information_schema", "_pg_expandarray"), BUILTIN_HARMLESS);
    assert_int_equal(class_of("", "_pg_expandarray"), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("", "NEXTVAL"), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("", "nextva"), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("", "nextvall"), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("", ""), BUILTIN_UNKNOWN);
    assert_int_equal(class_of("", "random"), BUILTIN_HARMLESS);
    assert_int_equal(class_of("", "lower"), BUILTIN_HARMLESS);
    assert_int_equal(class_of("", "uuid"), BUILTIN_HARMLESS);
    assert_int_equal(class_of("", "pg_stat_get_anything_new"), BUILTIN_PRIMARY);
    assert_int_equal(class_of("", "RI_FKey_check_ins"), BUILTIN_UNKNOWN);
    assert_int_equal(builtin_function(span_str(""), span_str("pg_advisory_lock")).facts, FACT_ADVISORY_LOCK);
    assert_int_equal(builtin_function(span_str(""), span_str("pg_advisory_xact_lock")).facts, 0);
    assert_false(builtin_operator(span_str("<=>")));
    assert_false(builtin_operator(span_str("")));
}

static void relations(void **state) {
    (void)state;
    static const char *const primary[] = {"pg_stat_activity", "pg_statio_all_tables", "pg_locks",
                                          "pg_settings",      "pg_cursors",           "pg_sequences"};
    static const char *const others[] = {"pg_stats", "pg_statistic", "pg_statistic_ext_data", "pg_class", "locks", ""};
    for (size_t i = 0; i < countof(primary); i++) {
        assert_true(builtin_relation_is_primary(span_str(""), span_str(primary[i])));
        assert_true(builtin_relation_is_primary(span_str("pg_catalog"), span_str(primary[i])));
    }
    for (size_t i = 0; i < countof(others); i++)
        assert_false(builtin_relation_is_primary(span_str(""), span_str(others[i])));
    assert_false(builtin_relation_is_primary(span_str("app"), span_str("pg_locks")));
    assert_true(builtin_relation_is_primary(span_str("app"), span_str("pg_stat_statements")));
    assert_true(builtin_relation_is_settings(span_str(""), span_str("pg_settings")));
    assert_false(builtin_relation_is_settings(span_str("app"), span_str("pg_settings")));
    assert_true(builtin_schema_is_temp(span_str("pg_temp")) && builtin_schema_is_temp(span_str("pg_temp_12")) &&
                builtin_schema_is_temp(span_str("pg_toast_temp_1")));
    assert_false(builtin_schema_is_temp(span_str("pg_temporary")) || builtin_schema_is_temp(span_str("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(functions),
        cmocka_unit_test(relations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
