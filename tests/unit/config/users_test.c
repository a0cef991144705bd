// SPDX-License-Identifier: ISC
// Tests of config/users.h and config/file.h.
#include "tests/unit/config/check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file.h"
#include "config/users.h"

// Keys that are easy to check: the bytes from 0 to 31, and from 31 to 0.
#define VERIFIER                                                                                                       \
    "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:"                            \
    "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="

static void verifier(void **state) {
    (void)state;
    struct scram_verifier v;
    assert_true(scram_verifier_parse(VERIFIER, &v));
    assert_int_equal(v.iterations, 4096);
    assert_int_equal(v.salt_len, 14);
    assert_memory_equal(v.salt, "saltsaltsaltsa", 14);
    for (uint8_t i = 0; i < SCRAM_KEY_LEN; i++) {
        assert_int_equal(v.stored_key[i], i);
        assert_int_equal(v.server_key[i], 31 - i);
    }
}

#define KEYS "$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="

static void verifier_bounds(void **state) {
    (void)state;
    static const char *const fine[] = {
        // of PostgreSQL's own tests (src/test/regress/sql/password.sql)
        "SCRAM-SHA-256$4096:VLK4RMaQLCvNtQ==$6YtlR4t69SguDiwFvbVgVZtuz6gpJQQqUMZ7IQJK5yI=:"
        "ps75jrHeYU4lXCcXI4O8oIdJ3eO8o2jirjruw9phBTo=",
        "SCRAM-SHA-256$1:YQ==" KEYS, "SCRAM-SHA-256$1000000:YQ==" KEYS,
        // a salt of 64 bytes
        "SCRAM-SHA-256$4096:YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ="
        "=" KEYS};
    static const char *const bad[] = {
        "", "SCRAM-SHA-256", "SCRAM-SHA-256$", "SCRAM-SHA-1$4096:YQ==" KEYS, "scram-sha-256$4096:YQ==" KEYS,
        "SCRAM-SHA-256$0:YQ==" KEYS, "SCRAM-SHA-256$1000001:YQ==" KEYS,
        "SCRAM-SHA-256$99999999999999999999999:YQ==" KEYS, "SCRAM-SHA-256$-1:YQ==" KEYS, "SCRAM-SHA-256$+1:YQ==" KEYS,
        "SCRAM-SHA-256$:YQ==" KEYS, "SCRAM-SHA-256$4096YQ==" KEYS, "SCRAM-SHA-256$4096:" KEYS,
        "SCRAM-SHA-256$4096:Y" KEYS, "SCRAM-SHA-256$4096:YQ==", "SCRAM-SHA-256$4096:YQ==$",
        "SCRAM-SHA-256$4096:YQ==$:", VERIFIER " ", VERIFIER "=", VERIFIER ":",
        // a salt of 65 bytes
        "SCRAM-SHA-256$4096:"
        "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=" KEYS,
        // a stored key of 31 bytes, a server key of 33
        "SCRAM-SHA-256$4096:YQ==$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==:"
        "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=",
        "SCRAM-SHA-256$4096:YQ==$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:"
        "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQAA"};
    struct scram_verifier v;
    for (size_t i = 0; i < countof(fine); i++)
        if (!scram_verifier_parse(fine[i], &v)) fail_msg("%s", fine[i]);
    for (size_t i = 0; i < countof(bad); i++)
        if (scram_verifier_parse(bad[i], &v)) fail_msg("%s", bad[i]);
}

static void a_file_of_users(void **state) {
    (void)state;
    struct fault fault = {.text = ""};
    struct users *u = users_parse(span_str("\xef\xbb\xbf; the team\n"
                                           "# and others\n"
                                           "\"verified\" \"" VERIFIER "\"\n"
                                           "\n"
                                           "  \"zoe\"\t\"first plain\"  ; a comment\r\n"
                                           "\"a \"\"quoted\"\" name\" \"pass\"\"word\"#comment\n"
                                           "\"empty\" \"\"\n"
                                           "\"md5ish\" \"md5 is what I like\"\n"
                                           "\"last\" \";#\""),
                                  "users.txt", &fault);
    if (!u) fail_msg("%s", fault.text);
    assert_int_equal(users_count(u), 6);
    assert_int_equal(users_find(u, "verified")->kind, USER_SECRET_SCRAM);
    assert_int_equal(users_find(u, "verified")->verifier.iterations, 4096);
    assert_int_equal(users_find(u, "empty")->kind, USER_SECRET_NONE);
    assert_string_equal((const char *)users_find(u, "a \"quoted\" name")->password.bytes, "pass\"word");
    assert_string_equal((const char *)users_find(u, "md5ish")->password.bytes, "md5 is what I like");
    assert_string_equal((const char *)users_find(u, "last")->password.bytes, ";#");
    assert_string_equal(users_first_plain(u)->name, "zoe");
    assert_int_equal(users_first_plain(u)->password.len, 11);
    assert_null(users_find(u, "verifie"));
    assert_null(users_find(u, ""));
    users_free(u);
    u = users_empty();
    assert_int_equal(users_count(u), 0);
    assert_null(users_find(u, "a"));
    assert_null(users_first_plain(u));
    users_free(u);
}

#define KEYS "$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
#define STRONG "SCRAM-SHA-256$20000:c2FsdHNhbHRzYWx0c2E=" KEYS
#define LONG "SCRAM-SHA-256$20000:c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0" KEYS

static struct scram_shape shape_of(const char *text) {
    struct fault fault = {.text = ""};
    struct users *u = users_parse(span_str(text), "users.txt", &fault);
    if (!u) fail_msg("%s", fault.text);
    struct scram_shape shape = users_scram_shape(u);
    users_free(u);
    return shape;
}

static void the_usual_shape(void **state) {
    (void)state;
    static const struct {
        const char *text;
        struct scram_shape shape;
    } table[] = {
        {"", {4096, 16}},
        {"\"a\" \"plain\"\n\"b\" \"\"", {4096, 16}},
        {"\"a\" \"" STRONG "\"\n\"b\" \"plain\"\n\"c\" \"plain\"", {20000, 14}},
        {"\"a\" \"" STRONG "\"\n\"b\" \"" LONG "\"\n\"c\" \"" LONG "\"", {20000, 24}},
        {"\"a\" \"" LONG "\"\n\"b\" \"" STRONG "\"", {20000, 14}},
        {"\"a\" \"" STRONG "\"\n\"b\" \"" VERIFIER "\"", {4096, 14}},
        {"\"a\" \"" STRONG "\"\n\"b\" \"" VERIFIER "\"\n\"c\" \"" STRONG "\"", {20000, 14}},
    };
    for (size_t i = 0; i < countof(table); i++) {
        struct scram_shape shape = shape_of(table[i].text);
        assert_int_equal(shape.iterations, table[i].shape.iterations);
        assert_int_equal(shape.salt_len, table[i].shape.salt_len);
    }
    struct users *empty = users_empty();
    assert_int_equal(users_scram_shape(empty).iterations, 4096);
    users_free(empty);
}

#define NAME_63 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const struct {
    const char *text, *error;
} bad_files[] = {
    {"bob x", "u:1: the user name must stand between double quotes"},
    {"\n\n\"bob", "u:3: the user name has no closing double quote"},
    {"\"bob\"\"", "u:1: the user name has no closing double quote"},
    {"\"\" \"x\"", "u:1: the user name is empty"},
    {"\"" NAME_63 "n\" \"x\"", "u:1: the user name is too long"},
    {"\"bob\"", "u:1: the password or verifier of \"bob\" must stand between double quotes"},
    {"\"bob\" ; \"x\"", "u:1: the password or verifier of \"bob\" must stand between double quotes"},
    {"\"bob\" \"x\n\"", "u:1: the password or verifier of \"bob\" has no closing double quote"},
    {"\"bob\" \"se\"cret\"",
     "u:1: something follows the two strings of \"bob\": a double quote within a string is written twice"},
    {"\"bob\" \"x\" \"2030-01-01\"",
     "u:1: something follows the two strings of \"bob\": a double quote within a string is written twice"},
    {"\"a\" \"x\"\n\"b\" \"x\"\n\"a\" \"y\"\n", "u:3: user \"a\" is already in line 1"},
    {"\"bob\" \"SCRAM-SHA-256$4096:x\"",
     "u:1: \"bob\" has a damaged verifier: it must be SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey"},
    {"\"bob\" \"md5d41d8cd98f00b204e9800998ecf8427e\"",
     "u:1: \"bob\" has an md5 hash: a SCRAM login can neither be checked with it nor made to a server; give the "
     "password, or "
     "the SCRAM-SHA-256 verifier that pg_authid.rolpassword holds once the password has been set anew"},
};

static void bad_files_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(bad_files); i++) {
        struct fault fault = {.text = ""};
        struct users *u = users_parse(span_str(bad_files[i].text), "u", &fault);
        if (u) fail_msg("%s", bad_files[i].text);
        assert_string_equal(fault.text, bad_files[i].error);
    }
    struct fault fault;
    assert_null(users_parse(span_of("\"bob\" \"a\0b\"", 11), "u", &fault));
    assert_string_equal(fault.text, "u:1: the password or verifier of \"bob\" holds a NUL byte");
}

static void lengths(void **state) {
    (void)state;
    for (size_t len = SECRET_MAX - 2; len <= SECRET_MAX; len++) {
        char text[SECRET_MAX + 100] = "\"" NAME_63 "\" \"";
        size_t at = strlen(text);
        memset(text + at, 'p', len);
        memcpy(text + at + len, "\"", 2);
        struct fault fault;
        struct users *u = users_parse(span_str(text), "u", &fault);
        if (len < SECRET_MAX) {
            assert_non_null(u);
            assert_int_equal(users_find(u, NAME_63)->password.len, len);
        } else {
            assert_null(u);
            assert_string_equal(fault.text, "u:1: the password or verifier of \"" NAME_63 "\" is too long");
        }
        users_free(u);
    }
}

static void many_users_are_found(void **state) {
    (void)state;
    struct buf text = buf_make(SIZE_MAX);
    for (int i = 0; i < 1000; i++) buf_printf(&text, "\"user%d\" \"p%d\"\n", i * 7919 % 1000, i * 7919 % 1000);
    struct fault fault;
    struct users *u = users_parse(buf_span(&text), "u", &fault);
    assert_non_null(u);
    for (int i = 0; i < 1000; i++) {
        char name[20], password[20];
        snprintf(name, sizeof name, "user%d", i);
        snprintf(password, sizeof password, "p%d", i);
        assert_string_equal((const char *)users_find(u, name)->password.bytes, password);
    }
    users_free(u);
    buf_release(&text);
}

// Files.

static char folder[] = "/tmp/pgsteer-users-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/users.txt", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text, mode_t mode) {
    unlink(path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect_refusal(const char *why) {
    char expected[300];
    struct fault fault = {.text = ""};
    snprintf(expected, sizeof expected, "%s: %s", path, why);
    assert_null(users_load(path, &fault));
    assert_string_equal(fault.text, expected);
}

static void modes(void **state) {
    (void)state;
    static const mode_t fine[] = {0600, 0400, 0640, 0440, 0700};
    static const mode_t open_to_others[] = {0644, 0604, 0660, 0620, 0610, 0602, 0601, 0666, 0777};
    for (size_t i = 0; i < countof(fine); i++) {
        struct fault fault = {.text = ""};
        write_file("\"a\" \"b\"\n", fine[i]);
        struct users *u = users_load(path, &fault);
        if (!u) fail_msg("%04o: %s", fine[i], fault.text);
        assert_int_equal(users_count(u), 1);
        users_free(u);
    }
    for (size_t i = 0; i < countof(open_to_others); i++) {
        char why[200];
        snprintf(why, sizeof why, "may be read or written by others (its mode is %04o): set it to 0600 or 0640",
                 open_to_others[i]);
        write_file("\"a\" \"b\"\n", open_to_others[i]);
        expect_refusal(why);
    }
}

static void what_is_no_file(void **state) {
    (void)state;
    unlink(path);
    expect_refusal("No such file or directory");
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refusal("is not a regular file");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0); // opening it to read would wait for a writer
    expect_refusal("is not a regular file");
}

static void owners(void **state) {
    (void)state;
    struct fault fault;
    struct stat st = {.st_mode = S_IFREG | 0640, .st_uid = 1000};
    assert_true(file_is_private(&st, 1000, &fault));
    assert_true(file_is_private(&st, FILE_ANY_OWNER, &fault));
    assert_false(file_is_private(&st, 1001, &fault));
    assert_string_equal(fault.text, "belongs to user id 1000: it must belong to root or to user id 1001");
    st.st_uid = 0;
    assert_true(file_is_private(&st, 1001, &fault));
}

static void size_limit(void **state) {
    (void)state;
    struct buf b;
    struct fault fault;
    write_file("0123456789", 0600);
    assert_true(file_read(path, 10, &b, NULL, &fault));
    assert_true(span_is(buf_span(&b), "0123456789"));
    buf_release(&b);
    assert_false(file_read(path, 9, &b, NULL, &fault));
    assert_string_equal(fault.text, "is larger than 9 bytes");
    buf_release(&b);
    write_file("", 0600);
    assert_true(file_read(path, 10, &b, NULL, &fault));
    assert_int_equal(buf_len(&b), 0);
    buf_release(&b);
    // A file that says it is empty and is not.
    assert_true(file_read("/proc/self/status", 1 << 20, &b, NULL, &fault));
    assert_true(buf_len(&b) > 100);
    buf_release(&b);
    assert_false(file_read("/proc/self/status", 100, &b, NULL, &fault));
    assert_string_equal(fault.text, "is larger than 100 bytes");
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verifier),
        cmocka_unit_test(verifier_bounds),
        cmocka_unit_test(a_file_of_users),
        cmocka_unit_test(the_usual_shape),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(lengths),
        cmocka_unit_test(many_users_are_found),
        cmocka_unit_test(modes),
        cmocka_unit_test(what_is_no_file),
        cmocka_unit_test(owners),
        cmocka_unit_test(size_limit),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
