// SPDX-License-Identifier: ISC
// Tests of the options table: each row of it, and each way in which a value comes in.
#include "tests/unit/config/check.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/options.h"

#define EACH_OPTION(o)                                                                                                 \
    const struct option_row *o = options_describe(0);                                                                      \
    o != NULL;                                                                                                         \
    o = options_describe(option_index(o) + 1)

// Two files that are good for every option that names one, and a configuration in which any single option may change.
static char folder[] = "/tmp/pgsteer-options-XXXXXX";
static char file_a[64], file_b[64], base[1200];

static void write_file(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    fputs("\"user\" \"password\"\n", f);
    fclose(f);
    chmod(path, 0600);
}

static int make_files(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    write_file(file_a, sizeof file_a, "a");
    write_file(file_b, sizeof file_b, "b");
    snprintf(base, sizeof base,
             "[server pg1]\nhost = 10.0.0.1\n[database app]\n[user web]\n[pgsteer]\nauth_file = %s\n"
             "client_tls_cert_file = %s\nclient_tls_key_file = %s\nclient_tls_ca_file = %s\n"
             "server_tls_cert_file = %s\nserver_tls_key_file = %s\nserver_tls_ca_file = %s\n",
             file_a, file_a, file_a, file_a, file_a, file_a, file_a);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    unlink(file_a);
    unlink(file_b);
    return rmdir(folder);
}

static struct config *must_load(const struct config_argument *args, size_t n_args) {
    struct config_errors errors = {0};
    struct config *c = config_load_text("t.ini", span_str(base), args, n_args, &errors);
    if (!c) fail_msg("%s", errors.texts[0]);
    return c;
}

// The section's struct of option `o` in `c`.
static const void *object_of(const struct config *c, const struct option_row *o) {
    switch (o->section) {
    case OPTION_SECTION_SERVER: return &c->servers[0];
    case OPTION_SECTION_DATABASE: return &c->databases[0];
    case OPTION_SECTION_USER: return &c->user_configs[0];
    case OPTION_SECTION_PGSTEER:
    case OPTION_SECTIONS_COUNT: break;
    }
    return c;
}

// The number as text; mem_free it.
static char *number_text(const struct option_row *o, int64_t number) {
    struct buf b = buf_make(100);
    option_print_number(o, number, &b);
    char *text = mem_strdup(buf_text(&b));
    buf_release(&b);
    return text;
}

static char *repeat(char c, size_t n) {
    char *text = mem_alloc(n + 1);
    memset(text, c, n);
    return text;
}

static void every_row_is_whole(void **state) {
    (void)state;
    size_t n = 0;
    for (EACH_OPTION(o)) {
        n++;
        assert_ptr_equal(options_find(o->section, o->key), o); // also: no key is there twice
        assert_int_equal(o->key[strspn(o->key, "abcdefghijklmnopqrstuvwxyz_")], 0);
        assert_true((o->preset == NULL) == (o->inherits != NULL));
        assert_true(strlen(o->help) > 4 && o->help[strlen(o->help) - 1] == '.');
        assert_true(o->min <= o->max);
        // config_restart_needed looks at [pgsteer] only.
        assert_true(!(o->flags & OPTION_RESTART) || o->section == OPTION_SECTION_PGSTEER);
        assert_true(!o->inherits || o->section != OPTION_SECTION_PGSTEER);
    }
    assert_int_equal(n, options_count());
    assert_null(options_describe(n));
    assert_null(options_find(OPTION_SECTION_PGSTEER, "host"));
}

static void takes(const struct option_row *o, const char *text) {
    struct fault fault = {.text = ""};
    struct option_value v;
    if (!option_parse(o, text, &v, &fault)) fail_msg("%s = %s: %s", o->key, text, fault.text);
}

static void refuses(const struct option_row *o, const char *text, const char *error) {
    struct fault fault = {.text = ""};
    struct option_value v;
    if (option_parse(o, text, &v, &fault)) fail_msg("%s = %s was taken", o->key, text);
    assert_string_equal(fault.text, error);
}

static void check_number(const struct option_row *o) {
    char *min = number_text(o, o->min), *max = number_text(o, o->max), error[200];
    char *above = number_text(o, o->max + 1), *below = number_text(o, o->min - 1);
    takes(o, min);
    takes(o, max);
    snprintf(error, sizeof error, "%s is above the maximum of %s", above, max);
    refuses(o, above, error);
    // Only an integer can be written with a sign, so only for these is there a value below 0.
    if (o->min > 0 || o->type == &value_integer) {
        snprintf(error, sizeof error, "%s is below the minimum of %s", below, min);
        refuses(o, below, error);
    }
    mem_free(min);
    mem_free(max);
    mem_free(above);
    mem_free(below);
}

static void check_text(const struct option_row *o) {
    char *longest = repeat('x', (size_t)o->max), *longer = repeat('x', (size_t)o->max + 1), error[200];
    takes(o, longest);
    snprintf(error, sizeof error, "is longer than %d bytes (it has %d)", (int)o->max, (int)o->max + 1);
    refuses(o, longer, error);
    if (o->min > 0) {
        refuses(o, "", "must not be empty");
    } else {
        takes(o, "");
    }
    mem_free(longest);
    mem_free(longer);
}

static void check_words(const struct option_row *o) {
    struct buf error = buf_make(300);
    buf_printf(&error, "\"nonsense\" is none of ");
    for (size_t i = 0; o->type->words[i]; i++) {
        takes(o, o->type->words[i]);
        buf_printf(&error, "%s%s", i ? ", " : "", o->type->words[i]);
    }
    refuses(o, "nonsense", buf_text(&error));
    buf_release(&error);
}

static void bounds_of_every_row(void **state) {
    (void)state;
    for (EACH_OPTION(o)) {
        if (o->preset && !(o->flags & OPTION_REQUIRED)) takes(o, o->preset);
        if (o->type->words) {
            check_words(o);
        } else if (value_is_text(o->type)) {
            check_text(o);
        } else if (o->type == &value_boolean) {
            refuses(o, "2", "\"2\" is neither 1 (yes, on, true) nor 0 (no, off, false)");
        } else {
            check_number(o);
        }
    }
}

static void a_value_comes_back(const struct option_row *o, struct option_value v) {
    union {
        struct config config;
        struct server_config server;
        struct database_config database;
        struct user_config user;
    } object, other;
    memset(&object, 0, sizeof object);
    option_set_default(o, &object);
    other = object;
    assert_int_equal(option_is_given(o, &object), o->inherits == NULL);
    option_set(o, &object, v);
    assert_true(option_is_given(o, &object));
    struct option_value again = option_get(o, &object);
    assert_int_equal(again.number, o->storage == OPTION_TEXT ? 0 : v.number);
    if (v.text) assert_string_equal(again.text, v.text);
    struct buf b = buf_make(10000);
    option_print(o, &object, &b);
    if (o->flags & OPTION_SENSITIVE) {
        assert_string_equal(buf_text(&b), v.text[0] ? "********" : "");
    } else {
        struct option_value printed;
        assert_true(option_parse(o, buf_text(&b), &printed, NULL));
        assert_int_equal(printed.number, v.number);
    }
    buf_release(&b);
    option_set(o, &other, v);
    assert_true(option_equal(o, &object, &other));
}

static void fields_hold_what_they_are_given(void **state) {
    (void)state;
    for (EACH_OPTION(o)) {
        struct option_value low = {.number = o->min}, high = {.number = o->max};
        if (o->type->words) {
            high.number = 1;
            if (o->storage == OPTION_TEXT) {
                low.text = o->type->words[0];
                high.text = o->type->words[1];
            }
        } else if (value_is_text(o->type)) {
            low = (struct option_value){.text = "a"};
            high = (struct option_value){.text = "b"};
        }
        a_value_comes_back(o, low);
        a_value_comes_back(o, high);
    }
}

// A value that differs from what the base configuration gives, and goes together with it.
static char *other_value(const struct option_row *o) {
    static const char *const special[][2] = {
        {"critical_lag", "5min"}, {"user", "nobody"}, {"unix_socket_dir", "/run/x"}, {"min_pool_size", "20"}};
    for (size_t i = 0; i < countof(special); i++)
        if (!strcmp(o->key, special[i][0])) return mem_strdup(special[i][1]);
    if (o->type == &value_path) return mem_strdup(file_b);
    if (value_is_text(o->type)) return mem_strdup("x");
    struct config *c = must_load(NULL, 0);
    int64_t number = option_get(o, object_of(c, o)).number;
    config_unref(c);
    if (o->type->words) return mem_strdup(o->type->words[!strcmp(o->preset, o->type->words[0])]);
    if (o->type == &value_boolean) return mem_strdup(number ? "0" : "1");
    return number_text(o, number < o->max ? number + 1 : number - 1);
}

static char *variable_of(const struct option_row *o) {
    char *name = mem_printf("PGSTEER_%s", o->key);
    for (char *p = name; *p; p++) *p = (char)toupper((unsigned char)*p);
    return name;
}

static void expect_printed(const struct config *c, const struct option_row *o, const char *text) {
    struct buf b = buf_make(10000), given = buf_make(10000);
    struct option_value v;
    option_print(o, c, &b);
    assert_true(option_parse(o, text, &v, NULL));
    if (o->flags & OPTION_SENSITIVE) {
        buf_printf(&given, "********");
    } else if (v.text) {
        buf_printf(&given, "%s", v.text);
    } else {
        option_print_number(o, v.number, &given);
    }
    assert_string_equal(buf_text(&b), buf_text(&given));
    buf_release(&b);
    buf_release(&given);
}

// Each option of [pgsteer]: the environment goes before the default or the file, the command line before the
// environment; and a reload knows whether the difference needs a restart.
static void environment_and_command_line(void **state) {
    (void)state;
    for (EACH_OPTION(o)) {
        if (o->section != OPTION_SECTION_PGSTEER) continue;
        char *other = other_value(o), *variable = variable_of(o), *set = mem_printf("%s=%s", o->key, other);
        struct config *before = must_load(NULL, 0);
        setenv(variable, other, 1);
        struct config *after = must_load(NULL, 0);
        expect_printed(after, o, other);
        assert_false(option_equal(o, before, after));
        char *names = config_restart_needed(before, after);
        assert_string_equal(names, o->flags & OPTION_RESTART ? o->key : "");
        mem_free(names);
        config_unref(after);

        // What the environment has is now another good value: that of the base configuration.
        struct buf plain = buf_make(10000);
        option_print(o, before, &plain);
        setenv(variable, o->flags & OPTION_SENSITIVE ? "other" : buf_text(&plain), 1);
        buf_release(&plain);
        after = must_load(&(struct config_argument){CONFIG_ARGUMENT_SET, set}, 1);
        expect_printed(after, o, other);
        config_unref(after);
        unsetenv(variable);
        config_unref(before);
        mem_free(set);
        mem_free(variable);
        mem_free(other);
    }
}

static void errors_of_the_environment(void **state) {
    (void)state;
    for (EACH_OPTION(o)) {
        if (o->section != OPTION_SECTION_PGSTEER) continue;
        char *bad = value_is_text(o->type) ? repeat('x', (size_t)o->max + 1) : mem_strdup("-"),
             *variable = variable_of(o);
        struct fault fault;
        struct option_value v;
        assert_false(option_parse(o, bad, &v, &fault));
        char *expected = mem_printf("environment: %s: %s", variable, fault.text);
        setenv(variable, bad, 1);
        struct config_errors errors = {0};
        assert_null(config_load_text("t.ini", span_str(base), NULL, 0, &errors));
        assert_int_equal(errors.n, 1);
        assert_string_equal(errors.texts[0], expected);
        config_errors_release(&errors);
        unsetenv(variable);
        mem_free(expected);
        mem_free(variable);
        mem_free(bad);
    }
}

// Each option of every section, in the file: a bad value is named with its line and key.
static void errors_of_the_file(void **state) {
    (void)state;
    for (EACH_OPTION(o)) {
        char *bad = value_is_text(o->type) ? repeat('x', (size_t)o->max + 1) : mem_strdup("-");
        const char *name = o->section == OPTION_SECTION_PGSTEER ? "" : " n";
        char *text = mem_printf("[%s%s]\n\n%s = %s\n", option_section_str(o->section), name, o->key, bad);
        struct fault fault = {.text = "this line is longer than 4000 bytes"};
        struct option_value v;
        bool long_line = strlen(bad) > 3900;
        if (!long_line) assert_false(option_parse(o, bad, &v, &fault));
        char *expected = mem_printf("dir/t.ini:3: %s%s%s", long_line ? "" : o->key, long_line ? "" : ": ", fault.text);
        struct config_errors errors = {0};
        assert_null(config_load_text("dir/t.ini", span_str(text), NULL, 0, &errors));
        assert_string_equal(errors.texts[0], expected);
        config_errors_release(&errors);
        mem_free(expected);
        mem_free(text);
        mem_free(bad);
    }
}

static void the_reference_names_every_option(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    options_print_markdown(f);
    fclose(f);
    const char *p = text;
    for (EACH_OPTION(o)) {
        char heading[100];
        snprintf(heading, sizeof heading, "\n### `%s`\n", o->key);
        p = strstr(p, heading);
        assert_non_null(p);
        p = strstr(p, o->help);
        assert_non_null(p);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(bounds_of_every_row),
        cmocka_unit_test(fields_hold_what_they_are_given),
        cmocka_unit_test(environment_and_command_line),
        cmocka_unit_test(errors_of_the_environment),
        cmocka_unit_test(errors_of_the_file),
        cmocka_unit_test(the_reference_names_every_option),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
