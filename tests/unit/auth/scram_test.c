// SPDX-License-Identifier: ISC
// SCRAM as it should go: RFC 7677's vector, and the two roles against each other with every kind of secret.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/base64.h"
#include "router/auth/crypto.h"
#include "router/auth/scram_math.h"

enum { ROOM = 64 * 1024 };

// Of what is made up.
static struct scram_shape shape = {4096, 16};

static struct user plain_user(const char *name, const char *password) {
    struct user u = {.name = (char *)(uintptr_t)name, .kind = USER_SECRET_PLAIN};
    assert_true(secret_set(&u.password, span_str(password)));
    return u;
}

static struct user verifier_user(const char *name, const char *password, uint32_t iterations) {
    struct user u = {.name = (char *)(uintptr_t)name, .kind = USER_SECRET_SCRAM};
    struct secret s;
    struct scram_keys keys;
    assert_true(secret_set(&s, span_str(password)));
    u.verifier.iterations = iterations;
    u.verifier.salt_len = 16;
    crypto_random(u.verifier.salt, u.verifier.salt_len);
    assert_true(scram_derive(&s, span_of(u.verifier.salt, u.verifier.salt_len), iterations, &keys));
    assert_true(scram_stored_key(keys.client_key, u.verifier.stored_key));
    memcpy(u.verifier.server_key, keys.server_key, SCRAM_KEY_LEN);
    return u;
}

// What became of a login, step by step.
struct outcome {
    bool server_said_yes, client_said_yes;
    struct fault server_fault, client_fault;
    struct scram_keys learnt;
    char server_first[512];
};

static struct outcome log_in(const struct user *user, const char *name, struct scram_memo *memo,
                             const struct secret *password, const struct scram_keys *keys) {
    struct outcome o = {.server_said_yes = false};
    struct buf a = buf_make(ROOM), b = buf_make(ROOM);
    struct scram_server *s = scram_server_new(user, span_str(name), shape, memo);
    struct scram_client *c = scram_client_new(password, keys);
    assert_true(scram_client_first(c, &a, &o.client_fault));
    assert_true(scram_server_first(s, buf_span(&a), &b, &o.server_fault));
    snprintf(o.server_first, sizeof o.server_first, "%.*s", (int)buf_len(&b), (const char *)buf_span(&b).ptr);
    buf_clear(&a);
    if (scram_client_final(c, buf_span(&b), &a, &o.client_fault)) {
        buf_clear(&b);
        o.server_said_yes = scram_server_final(s, buf_span(&a), &b, &o.learnt, &o.server_fault);
        if (o.server_said_yes)
            o.client_said_yes = scram_client_verify(c, buf_span(&b), &o.client_fault);
        else
            assert_int_equal(buf_len(&b), 0);
    }
    scram_server_free(s);
    scram_client_free(c);
    buf_release(&a);
    buf_release(&b);
    return o;
}

static struct outcome log_in_with(const struct user *user, const char *name, const char *password) {
    struct secret s;
    assert_true(secret_set(&s, span_str(password)));
    return log_in(user, name, NULL, &s, NULL);
}

static void rfc_7677(void **state) {
    (void)state;
    static const char auth_message[] =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    struct secret password;
    struct scram_keys keys;
    uint8_t salt[16], stored[SCRAM_KEY_LEN], proof[SCRAM_KEY_LEN], signature[SCRAM_KEY_LEN], back[SCRAM_KEY_LEN];
    size_t salt_len;
    char text[BASE64_LEN(SCRAM_KEY_LEN) + 1];
    assert_true(secret_set(&password, span_str("pencil")));
    assert_true(base64_decode(span_str("W22ZaJ0SNY7soEsUEjb6gQ=="), salt, sizeof salt, &salt_len));
    assert_true(scram_derive(&password, span_of(salt, salt_len), 4096, &keys) && keys.set);
    assert_true(scram_stored_key(keys.client_key, stored));
    assert_true(scram_mask(stored, span_str(auth_message), keys.client_key, proof));
    base64_encode(span_of(proof, sizeof proof), text);
    assert_string_equal(text, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_true(scram_server_signature(keys.server_key, span_str(auth_message), signature));
    base64_encode(span_of(signature, sizeof signature), text);
    assert_string_equal(text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_true(scram_mask(stored, span_str(auth_message), proof, back));
    assert_memory_equal(back, keys.client_key, sizeof back);
}

static void right_password(void **state) {
    (void)state;
    struct user plain = plain_user("web", "p\xc3\xa4ss word"), stored = verifier_user("app", "secret", 5000);
    struct outcome o = log_in_with(&plain, "web", "p\xc3\xa4ss word");
    assert_true(o.server_said_yes && o.client_said_yes);
    assert_false(o.learnt.set); // the salt was made up: such keys log in nowhere
    o = log_in_with(&stored, "app", "secret");
    assert_true(o.server_said_yes && o.client_said_yes);
    assert_true(o.learnt.set);
    assert_non_null(strstr(o.server_first, ",i=5000"));
}

static void prepared_forms_are_the_same_password(void **state) {
    (void)state;
    struct user u = verifier_user("web", "p\xc3\xa4ss IX", 4096);
    assert_true(log_in_with(&u, "web", "pa\xcc\x88ss \xe2\x85\xa8").server_said_yes);
    assert_false(log_in_with(&u, "web", "pass IX").server_said_yes);
}

static void learnt_keys_log_in_elsewhere(void **state) {
    (void)state;
    struct user u = verifier_user("app", "secret", 4096);
    struct scram_keys keys = log_in_with(&u, "app", "secret").learnt;
    struct outcome o = log_in(&u, "app", NULL, NULL, &keys);
    assert_true(o.server_said_yes && o.client_said_yes);
    assert_memory_equal(o.learnt.client_key, keys.client_key, SCRAM_KEY_LEN);
    assert_memory_equal(o.learnt.server_key, keys.server_key, SCRAM_KEY_LEN);
    // A server with another verifier of the same password: neither side is convinced.
    struct user other = verifier_user("app", "secret", 4096);
    assert_false(log_in(&other, "app", NULL, NULL, &keys).server_said_yes);
}

static void keys_care_for_no_iterations(void **state) {
    (void)state;
    struct user u = verifier_user("app", "secret", 1);
    struct scram_keys keys = {.set = true};
    struct secret password;
    assert_true(secret_set(&password, span_str("secret")));
    assert_true(scram_derive(&password, span_of(u.verifier.salt, u.verifier.salt_len), 1, &keys));
    assert_true(log_in(&u, "app", NULL, NULL, &keys).client_said_yes);
    struct outcome o = log_in(&u, "app", NULL, &password, NULL);
    assert_false(o.server_said_yes);
    assert_string_equal(o.client_fault.text, "server asks for only 1 SCRAM iterations, fewer than 4096");
}

static void wrong_password_and_unknown_user_look_alike(void **state) {
    (void)state;
    struct user plain = plain_user("web", "right"), stored = verifier_user("web", "right", 4096),
                none = {.name = (char *)(uintptr_t) "web", .kind = USER_SECRET_NONE};
    const struct user *users[] = {&plain, &stored, &none, NULL};
    for (size_t i = 0; i < countof(users); i++) {
        static const char *const wrong[] = {"wrong", "righ", "right ", "x"};
        for (size_t j = 0; j < countof(wrong); j++) {
            struct outcome o = log_in_with(users[i], "web", wrong[j]);
            assert_false(o.server_said_yes || o.client_said_yes || o.learnt.set);
            assert_string_equal(o.server_fault.sqlstate, "28P01");
            assert_string_equal(o.server_fault.text, "password authentication failed for user \"web\"");
        }
    }
    struct secret empty = {.len = 0};
    assert_false(log_in(&stored, "web", NULL, &empty, NULL).server_said_yes);
    assert_false(log_in(NULL, "web", NULL, &empty, NULL).server_said_yes);
}

// The part after the nonce: salt and iterations.
static const char *salt_of(const struct outcome *o) { return strstr(o->server_first, ",s="); }

static void salts_are_stable_per_name(void **state) {
    (void)state;
    struct user web = plain_user("web", "x");
    struct outcome a = log_in_with(NULL, "nobody", "x"), b = log_in_with(NULL, "nobody", "y"),
                   c = log_in_with(NULL, "nobody2", "x"), d = log_in_with(&web, "web", "x"),
                   e = log_in_with(NULL, "web", "x");
    assert_string_equal(salt_of(&a), salt_of(&b));
    assert_string_not_equal(salt_of(&a), salt_of(&c));
    assert_string_equal(salt_of(&d), salt_of(&e)); // a user that comes or goes at a reload keeps its salt
    assert_int_equal(strlen(salt_of(&a)), strlen(",s=,i=4096") + BASE64_LEN(16));
    assert_string_not_equal(a.server_first, b.server_first); // but the nonce is new each time
}

static void what_is_made_up_has_the_usual_shape(void **state) {
    (void)state;
    static const struct scram_shape shapes[] = {{10000, 24}, {5000, 64}, {4096, 32}};
    struct user web = plain_user("web", "x");
    struct scram_memo *memo = scram_memo_new();
    for (size_t i = 0; i < countof(shapes); i++) {
        char end[20];
        shape = shapes[i];
        snprintf(end, sizeof end, ",i=%u", shape.iterations);
        struct outcome a = log_in_with(NULL, "nobody", "x"), b = log_in_with(NULL, "nobody", "y"),
                       c = log_in_with(NULL, "web", "x"), d = log_in(&web, "web", memo, &web.password, NULL);
        size_t len = strlen(",s=") + BASE64_LEN(shape.salt_len);
        assert_string_equal(salt_of(&a) + len, end);
        assert_string_equal(salt_of(&a), salt_of(&b));
        assert_string_equal(salt_of(&c), salt_of(&d)); // the memo's are from before a reload
        assert_string_not_equal(salt_of(&a), salt_of(&c));
        assert_true(d.client_said_yes);
        if (shape.salt_len == 64) assert_memory_not_equal(salt_of(&a) + 3, salt_of(&a) + 3 + 44, 40);
    }
    // Weak ones are no example for what is made of a password.
    shape = (struct scram_shape){1, 4};
    struct outcome weak = log_in(&web, "web", memo, &web.password, NULL), none = log_in_with(NULL, "nobody", "x");
    assert_string_equal(strstr(salt_of(&weak), ",i="), ",i=4096");
    assert_string_equal(strstr(salt_of(&none), ",i="), ",i=1");
    shape = scram_shape_default();
    scram_memo_free(memo);
}

static void memo_remembers_and_notices_a_new_password(void **state) {
    (void)state;
    struct scram_memo *memo = scram_memo_new();
    struct user old = plain_user("web", "old"), new = plain_user("web", "new"), other = plain_user("app", "old");
    struct secret old_password, new_password;
    assert_true(secret_set(&old_password, span_str("old")) && secret_set(&new_password, span_str("new")));
    for (int i = 0; i < 3; i++) {
        assert_true(log_in(&old, "web", memo, &old_password, NULL).client_said_yes);
        assert_false(log_in(&old, "web", memo, &new_password, NULL).server_said_yes);
        assert_true(log_in(&other, "app", memo, &old_password, NULL).client_said_yes);
    }
    assert_true(log_in(&new, "web", memo, &new_password, NULL).client_said_yes);
    assert_false(log_in(&new, "web", memo, &old_password, NULL).server_said_yes);
    scram_memo_free(memo);
    scram_memo_free(NULL);
}

static void long_names_are_cut_in_the_sentence(void **state) {
    (void)state;
    char name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct outcome o = log_in_with(NULL, name, "x");
    assert_string_equal(o.server_fault.sqlstate, "28P01");
    assert_true(strlen(o.server_fault.text) < 128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_7677),
        cmocka_unit_test(right_password),
        cmocka_unit_test(prepared_forms_are_the_same_password),
        cmocka_unit_test(learnt_keys_log_in_elsewhere),
        cmocka_unit_test(keys_care_for_no_iterations),
        cmocka_unit_test(wrong_password_and_unknown_user_look_alike),
        cmocka_unit_test(salts_are_stable_per_name),
        cmocka_unit_test(what_is_made_up_has_the_usual_shape),
        cmocka_unit_test(memo_remembers_and_notices_a_new_password),
        cmocka_unit_test(long_names_are_cut_in_the_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
