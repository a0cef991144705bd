// SPDX-License-Identifier: ISC
// Overloads, schemas, numbers of arguments, counted references.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "parser/catalog.h"

static enum catalog_volatility ask(const struct catalog *c, const char *schema, const char *name, int n_args) {
    return catalog_function(c, span_str(schema), span_str(name), n_args);
}

static void functions(void **state) {
    (void)state;
    struct catalog *c = catalog_new("app");
    assert_string_equal(catalog_database(c), "app");
    assert_int_equal(ask(c, "", "f", 0), CATALOG_UNKNOWN);
    catalog_add_function(c, "public", "f", 1, 2, CATALOG_HARMLESS);
    catalog_add_function(c, "public", "f", 3, 3, CATALOG_VOLATILE);
    catalog_add_function(c, "other", "f", 2, -1, CATALOG_VOLATILE);
    catalog_add_function(c, "public", "odd", 0, 0, CATALOG_UNKNOWN);
    catalog_add_function(c, "public", "", 0, 0, CATALOG_HARMLESS);
    assert_int_equal(ask(c, "", "f", 0), CATALOG_UNKNOWN);
    assert_int_equal(ask(c, "", "f", 1), CATALOG_HARMLESS);
    assert_int_equal(ask(c, "public", "f", 2), CATALOG_HARMLESS);
    assert_int_equal(ask(c, "", "f", 2), CATALOG_VOLATILE);
    assert_int_equal(ask(c, "public", "f", 3), CATALOG_VOLATILE);
    assert_int_equal(ask(c, "public", "f", 4), CATALOG_UNKNOWN);
    assert_int_equal(ask(c, "other", "f", 100), CATALOG_VOLATILE);
    assert_int_equal(ask(c, "other", "f", 1), CATALOG_UNKNOWN);
    assert_int_equal(ask(c, "none", "f", 1), CATALOG_UNKNOWN);
    assert_int_equal(ask(c, "", "F", 1), CATALOG_UNKNOWN);
    assert_int_equal(ask(c, "", "", 0), CATALOG_UNKNOWN);
    assert_int_equal(ask(c, "", "odd", 0), CATALOG_VOLATILE);
    catalog_unref(c);
}

static void others(void **state) {
    (void)state;
    struct catalog *c = catalog_new("app");
    catalog_add_volatile_operator(c, "public", "<=>");
    catalog_add_primary_relation(c, "public", "v");
    assert_true(catalog_operator_is_volatile(c, span_str(""), span_str("<=>")));
    assert_true(catalog_operator_is_volatile(c, span_str("public"), span_str("<=>")));
    assert_false(catalog_operator_is_volatile(c, span_str("x"), span_str("<=>")));
    assert_false(catalog_operator_is_volatile(c, span_str(""), span_str("<=")));
    assert_true(catalog_relation_is_primary(c, span_str(""), span_str("v")));
    assert_true(catalog_relation_is_primary(c, span_str("public"), span_str("v")));
    assert_false(catalog_relation_is_primary(c, span_str("x"), span_str("v")));
    assert_false(catalog_relation_is_primary(c, span_str(""), span_str("<=>")));
    catalog_ref(c);
    catalog_unref(c);
    assert_true(catalog_relation_is_primary(c, span_str(""), span_str("v")));
    catalog_unref(c);
}

static void leaving(void **state) {
    (void)state;
    struct catalog *c = catalog_new("app");
    assert_int_equal(catalog_most_leaves(c), CATALOG_LEAVES_NOTHING);
    assert_int_equal(catalog_parameters(c).len, 0);
    catalog_add_leaving_function(c, "public", "f", CATALOG_LEAVES_STATE);
    catalog_add_leaving_function(c, "other", "f", CATALOG_LEAVES_UNSEEN);
    catalog_add_leaving_relation(c, "public", "t", CATALOG_LEAVES_STATE);
    catalog_add_parameter(c, "my.tenant");
    catalog_add_parameter(c, "my.x");
    assert_int_equal(catalog_function_leaves(c, span_str("public"), span_str("f")), CATALOG_LEAVES_STATE);
    assert_int_equal(catalog_function_leaves(c, span_str(""), span_str("f")), CATALOG_LEAVES_UNSEEN);
    assert_int_equal(catalog_function_leaves(c, span_str("x"), span_str("f")), CATALOG_LEAVES_NOTHING);
    assert_int_equal(catalog_function_leaves(c, span_str(""), span_str("t")), CATALOG_LEAVES_NOTHING);
    assert_int_equal(catalog_relation_leaves(c, span_str(""), span_str("t")), CATALOG_LEAVES_STATE);
    assert_int_equal(catalog_relation_leaves(c, span_str(""), span_str("f")), CATALOG_LEAVES_NOTHING);
    assert_int_equal(catalog_most_leaves(c), CATALOG_LEAVES_UNSEEN);
    assert_int_equal(catalog_ddl_leaves(c), CATALOG_LEAVES_NOTHING);
    catalog_add_leaving_ddl(c, CATALOG_LEAVES_STATE);
    assert_int_equal(catalog_ddl_leaves(c), CATALOG_LEAVES_STATE);
    assert_true(span_eq(catalog_parameters(c), span_of("my.tenant\0my.x", 15)));
    assert_false(catalog_asks_sequence_state(c));
    catalog_add_sequence_state(c);
    assert_true(catalog_asks_sequence_state(c));
    catalog_unref(c);
}

static void many(void **state) {
    (void)state;
    struct catalog *c = catalog_new("app");
    enum { COUNT = 5000 };
    for (int i = 0; i < COUNT; i++) {
        char *name = mem_printf("function_%d", i);
        catalog_add_function(c, "public", name, i % 7, i % 7, i % 2 ? CATALOG_HARMLESS : CATALOG_VOLATILE);
        mem_free(name);
    }
    for (int i = 0; i < COUNT; i++) {
        char *name = mem_printf("function_%d", i);
        assert_int_equal(ask(c, "", name, i % 7), i % 2 ? CATALOG_HARMLESS : CATALOG_VOLATILE);
        assert_int_equal(ask(c, "", name, 8), CATALOG_UNKNOWN);
        mem_free(name);
    }
    catalog_unref(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(functions), cmocka_unit_test(others), cmocka_unit_test(leaving),
                                       cmocka_unit_test(many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
