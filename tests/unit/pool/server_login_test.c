// SPDX-License-Identifier: ISC
//
// tests/unit/pool/server_login_test.c: router/session/server_login.c and parameters.c: messages in, answers out.
//
// The other side of SCRAM is our own server role; a real PostgreSQL is met in pool.postgres.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "router/auth/md5.h"
#include "router/session/parameters.h"
#include "router/session/server_login.h"
#include "router/wire/reply.h"

static struct {
    struct server_login login;
    struct credentials who;
    struct buf parameters, out, message;
    struct fault fault;
} w;

static int set_up(void **state) {
    (void)state;
    memset(&w, 0, sizeof w);
    w.who.user = mem_strdup("web");
    assert_true(secret_set(&w.who.password, span_str("secret")));
    w.parameters = buf_make(PARAMETERS_MAX);
    w.out = buf_make(1 << 20);
    w.message = buf_make(1 << 20);
    server_login_init(&w.login, &w.who, false, &w.parameters);
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    server_login_fini(&w.login);
    mem_free(w.who.user);
    buf_release(&w.parameters);
    buf_release(&w.out);
    buf_release(&w.message);
    return 0;
}

// Feeds what stands in w.message, one whole message.
static enum server_login_result feed(void) {
    struct frame m;
    assert_int_equal(frame_next(FRAME_FROM_SERVER, buf_span(&w.message), &m, &w.fault), WIRE_OK);
    assert_int_equal(m.total, buf_len(&w.message));
    buf_clear(&w.out);
    enum server_login_result r = server_login_message(&w.login, &m, &w.out, &w.fault);
    buf_clear(&w.message);
    return r;
}
static enum server_login_result feed_auth(uint32_t code, struct span data) {
    reply_auth(&w.message, code, data);
    return feed();
}
static enum server_login_result feed_raw(char type, const void *payload, size_t n) {
    size_t at = buf_msg_begin(&w.message, type);
    buf_put(&w.message, payload, n);
    buf_msg_end(&w.message, at);
    return feed();
}
static void expect_fault(const char *sqlstate, const char *text) {
    assert_string_equal(w.fault.sqlstate, sqlstate);
    if (!strstr(w.fault.text, text)) fail_msg("\"%s\"", w.fault.text);
}
static void expect_bad(enum server_login_result r, const char *sqlstate, const char *text) {
    assert_int_equal(r, SERVER_LOGIN_BAD);
    expect_fault(sqlstate, text);
}
static void expect_unable(enum server_login_result r, const char *text) {
    assert_int_equal(r, SERVER_LOGIN_UNABLE);
    expect_fault("28000", text);
}
static const struct span nothing = {(const uint8_t *)"", 0};

static void finish(void) {
    reply_parameter_status(&w.message, span_str("server_version"), span_str("15.1"));
    assert_int_equal(feed(), SERVER_LOGIN_MORE);
    reply_backend_key_data(&w.message, 77, 99);
    assert_int_equal(feed(), SERVER_LOGIN_MORE);
    reply_ready(&w.message, 'I');
    assert_int_equal(feed(), SERVER_LOGIN_READY);
    assert_int_equal(w.login.backend_pid, 77);
    assert_int_equal(w.login.backend_key, 99);
    assert_string_equal(parameters_get(&w.parameters, "server_version"), "15.1");
}

static void trust(void **state) {
    (void)state;
    assert_int_equal(feed_raw(BE_NEGOTIATE_PROTOCOL_VERSION, "\0\0\0\0\0\0\0\0", 8), SERVER_LOGIN_MORE);
    assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
    assert_int_equal(buf_len(&w.out), 0);
    finish();
}

static void cleartext_only_where_nobody_listens(void **state) {
    (void)state;
    expect_unable(feed_auth(PROTO_AUTH_CLEARTEXT, nothing), "not encrypted");
    assert_int_equal(buf_len(&w.out), 0);
    server_login_fini(&w.login);
    server_login_init(&w.login, &w.who, true, &w.parameters);
    assert_int_equal(feed_auth(PROTO_AUTH_CLEARTEXT, nothing), SERVER_LOGIN_MORE);
    assert_memory_equal(buf_span(&w.out).ptr, "p\0\0\0\x0bsecret", 12);
    assert_int_equal(buf_len(&w.out), 12);
    assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
    finish();
}

static void md5(void **state) {
    (void)state;
    char expected[MD5_ANSWER_LEN];
    assert_true(md5_answer(&w.who.password, span_str("web"), (const uint8_t *)"salt", expected));
    assert_int_equal(feed_auth(PROTO_AUTH_MD5, span_str("salt")), SERVER_LOGIN_MORE);
    assert_int_equal(buf_len(&w.out), 5 + sizeof expected);
    assert_memory_equal(buf_span(&w.out).ptr + 5, expected, sizeof expected);
    assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
    finish();
}

// The data of the SASL message in w.out; for the first one behind the mechanism and a length.
static struct span sasl_data(bool first) {
    struct cursor c = cursor_of(buf_span(&w.out));
    assert_int_equal(cursor_u8(&c), FE_PASSWORD);
    assert_int_equal(cursor_u32(&c) + 1, buf_len(&w.out));
    if (first) {
        assert_true(span_is(cursor_cstr(&c), SCRAM_MECHANISM));
        uint32_t len = cursor_u32(&c);
        assert_int_equal(len, cursor_left(&c));
    }
    return span_of(c.ptr, cursor_left(&c));
}

static struct user *user_with_password(const char *password) {
    struct user *u = mem_new(struct user);
    u->name = mem_strdup("web");
    u->kind = USER_SECRET_PLAIN;
    assert_true(secret_set(&u->password, span_str(password)));
    return u;
}
static void user_free(struct user *u) {
    mem_free(u->name);
    mem_free(u);
}

enum { MECHANISMS_LEN = sizeof SCRAM_MECHANISM + 1 }; // the list's own end

// Up to the client's last message; answers what the server thinks of it.
static bool scram(struct scram_server *s, struct buf *final, struct scram_keys *keys) {
    struct buf first = buf_make(4096);
    assert_int_equal(feed_auth(PROTO_AUTH_SASL, span_of(SCRAM_MECHANISM "\0", MECHANISMS_LEN)), SERVER_LOGIN_MORE);
    assert_true(scram_server_first(s, sasl_data(true), &first, &w.fault));
    assert_int_equal(feed_auth(PROTO_AUTH_SASL_CONTINUE, buf_span(&first)), SERVER_LOGIN_MORE);
    buf_release(&first);
    return scram_server_final(s, sasl_data(false), final, keys, &w.fault);
}

// "secret", as PostgreSQL stores it.
static const char verifier[] = "SCRAM-SHA-256$4096:MTIzNDU2Nzg5MGFiY2RlZg==$"
                               "E374ZzydihWsWELg9tKh/T7Yg6JfxlKZkXc9FGo6e/w=:"
                               "WZ4p84gpeUJblsRJLh3eXIPUoyTDST1NSkxHsccQFSA=";

static void scram_with_a_password_and_with_keys(void **state) {
    (void)state;
    struct user u = {.name = (char[]){"web"}, .kind = USER_SECRET_SCRAM};
    assert_true(scram_verifier_parse(verifier, &u.verifier));
    struct scram_keys keys = {.set = false};
    for (int by_keys = 0; by_keys < 2; by_keys++) {
        if (by_keys) { // those that the first login has taught
            assert_true(keys.set);
            secret_wipe(&w.who.password);
            w.who.keys = keys;
        }
        struct scram_server *s = scram_server_new(&u, span_str("web"), scram_shape_default(), NULL);
        struct buf final = buf_make(4096);
        assert_true(scram(s, &final, &keys));
        assert_int_equal(feed_auth(PROTO_AUTH_SASL_FINAL, buf_span(&final)), SERVER_LOGIN_MORE);
        assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
        finish();
        buf_release(&final);
        scram_server_free(s);
        server_login_fini(&w.login);
        server_login_init(&w.login, &w.who, false, &w.parameters);
    }
}

static void a_server_that_proves_nothing_is_refused(void **state) {
    (void)state;
    struct user *u = user_with_password("secret");
    struct scram_server *s = scram_server_new(u, span_str("web"), scram_shape_default(), NULL);
    struct buf final = buf_make(4096);
    // It says yes before, and instead of, its proof.
    assert_int_equal(feed_auth(PROTO_AUTH_SASL, span_of(SCRAM_MECHANISM "\0", MECHANISMS_LEN)), SERVER_LOGIN_MORE);
    expect_bad(feed_auth(PROTO_AUTH_OK, nothing), "28000", "without proving");
    server_login_fini(&w.login);
    server_login_init(&w.login, &w.who, false, &w.parameters);
    assert_true(scram(s, &final, NULL));
    expect_bad(feed_auth(PROTO_AUTH_OK, nothing), "28000", "without proving");
    // It proves something else.
    server_login_fini(&w.login);
    server_login_init(&w.login, &w.who, false, &w.parameters);
    scram_server_free(s);
    s = scram_server_new(u, span_str("web"), scram_shape_default(), NULL);
    buf_clear(&final);
    assert_true(scram(s, &final, NULL));
    final.data[final.head + 5] ^= 1;
    assert_int_equal(feed_auth(PROTO_AUTH_SASL_FINAL, buf_span(&final)), SERVER_LOGIN_BAD);
    buf_release(&final);
    scram_server_free(s);
    user_free(u);
}

static void each_request_has_its_time(void **state) {
    (void)state;
    static const struct {
        uint32_t code;
        const char *data;
        size_t len;
    } requests[] = {{PROTO_AUTH_MD5, "salt", 4},
                    {PROTO_AUTH_SASL, SCRAM_MECHANISM "\0", MECHANISMS_LEN},
                    {PROTO_AUTH_SASL_CONTINUE, "r=x", 3},
                    {PROTO_AUTH_SASL_FINAL, "v=x", 3},
                    {PROTO_AUTH_CLEARTEXT, "", 0}};
    // Out of the blue.
    expect_bad(feed_auth(PROTO_AUTH_SASL_CONTINUE, span_str("r=x")), "08P01", "out of turn");
    expect_bad(feed_auth(PROTO_AUTH_SASL_FINAL, span_str("v=x")), "08P01", "out of turn");
    // After an answer, nothing but a yes or no.
    assert_int_equal(feed_auth(PROTO_AUTH_MD5, span_str("salt")), SERVER_LOGIN_MORE);
    for (size_t i = 0; i < countof(requests); i++)
        expect_bad(feed_auth(requests[i].code, span_of(requests[i].data, requests[i].len)), "08P01", "out of turn");
    // In the middle of SCRAM, the others.
    server_login_fini(&w.login);
    server_login_init(&w.login, &w.who, true, &w.parameters);
    assert_int_equal(feed_auth(PROTO_AUTH_SASL, span_of(SCRAM_MECHANISM "\0", MECHANISMS_LEN)), SERVER_LOGIN_MORE);
    for (size_t i = 0; i < countof(requests); i++)
        if (requests[i].code != PROTO_AUTH_SASL_CONTINUE)
            expect_bad(feed_auth(requests[i].code, span_of(requests[i].data, requests[i].len)), "08P01", "out of turn");
    // After the yes, none at all.
    server_login_fini(&w.login);
    server_login_init(&w.login, &w.who, true, &w.parameters);
    assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
    expect_bad(feed_auth(PROTO_AUTH_OK, nothing), "08P01", "during login");
    expect_bad(feed_auth(PROTO_AUTH_CLEARTEXT, nothing), "08P01", "during login");
}

static void what_we_cannot_do_is_said(void **state) {
    (void)state;
    const uint32_t others[] = {1, 2, 4, 6, 7, 8, 9, 13, 0xffffffff};
    for (size_t i = 0; i < countof(others); i++) expect_unable(feed_auth(others[i], nothing), "does not support");
    expect_unable(feed_auth(PROTO_AUTH_SASL, span_of("SCRAM-SHA-256-PLUS\0", 20)), "SCRAM-SHA-256");
    expect_unable(feed_auth(PROTO_AUTH_SASL, span_of("", 1)), "SCRAM-SHA-256");
    // Nothing but keys, or nothing at all.
    secret_wipe(&w.who.password);
    w.who.keys.set = true;
    expect_unable(feed_auth(PROTO_AUTH_MD5, span_str("salt")), "password of user \"web\"");
    assert_non_null(strstr(w.fault.hint, "SCRAM verifier"));
    w.who.keys.set = false;
    expect_unable(feed_auth(PROTO_AUTH_SASL, span_of(SCRAM_MECHANISM "\0", MECHANISMS_LEN)), "password of user");
    assert_non_null(strstr(w.fault.hint, "auth_file"));
}

static void malformed_messages(void **state) {
    (void)state;
    expect_bad(feed_auth(PROTO_AUTH_OK, span_str("x")), "08P01", "AuthenticationOk");
    expect_bad(feed_auth(PROTO_AUTH_MD5, span_str("sal")), "08P01", "MD5");
    expect_bad(feed_auth(PROTO_AUTH_MD5, span_str("salty")), "08P01", "MD5");
    expect_bad(feed_auth(PROTO_AUTH_SASL, nothing), "08P01", "AuthenticationSASL");
    expect_bad(feed_auth(PROTO_AUTH_SASL, span_str("SCRAM-SHA-256")), "08P01", "AuthenticationSASL");
    expect_bad(feed_auth(PROTO_AUTH_SASL, span_of("SCRAM-SHA-256\0\0x", 16)), "08P01", "AuthenticationSASL");
    expect_bad(feed_auth(PROTO_AUTH_SASL, span_of("SCRAM-SHA-256\0", 14)), "08P01", "AuthenticationSASL");
    const char early[] = {BE_PARAMETER_STATUS, BE_BACKEND_KEY_DATA, BE_READY_FOR_QUERY};
    expect_bad(feed_raw(early[0], "a\0b", 4), "08P01", "during login");
    expect_bad(feed_raw(early[1], "12345678", 8), "08P01", "during login");
    expect_bad(feed_raw(early[2], "I", 1), "08P01", "during login");
    expect_bad(feed_raw(BE_ROW_DESCRIPTION, "\0\0", 2), "08P01", "during login");
    assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
    expect_bad(feed_raw(BE_PARAMETER_STATUS, "a\0b", 3), "08P01", "ParameterStatus");
    expect_bad(feed_raw(BE_READY_FOR_QUERY, "T", 1), "08P01", "ReadyForQuery");
    expect_bad(feed_raw(BE_READY_FOR_QUERY, "x", 1), "08P01", "ReadyForQuery");
    expect_bad(feed_raw(BE_NEGOTIATE_PROTOCOL_VERSION, "\0\0\0\0\0\0\0\0", 8), "08P01", "during login");
}

static void a_flood_of_parameters_ends(void **state) {
    (void)state;
    assert_int_equal(feed_auth(PROTO_AUTH_OK, nothing), SERVER_LOGIN_MORE);
    char name[16], value[2001] = {0};
    memset(value, 'x', sizeof value - 1);
    enum server_login_result r = SERVER_LOGIN_MORE;
    int n = 0;
    while (r == SERVER_LOGIN_MORE && n < 1000) {
        snprintf(name, sizeof name, "p%d", n++);
        reply_parameter_status(&w.message, span_str(name), span_str(value));
        r = feed();
    }
    expect_bad(r, "08P01", "too many parameters");
    assert_in_range(n, 30, 34);
}

static void errors_are_the_servers(void **state) {
    (void)state;
    static const char error[] = "SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"web\"\0Htry\0";
    assert_int_equal(feed_raw(BE_ERROR, error, sizeof error), SERVER_LOGIN_REFUSED);
    assert_string_equal(w.fault.sqlstate, "28P01");
    assert_string_equal(w.fault.text, "password authentication failed for user \"web\"");
    assert_string_equal(w.fault.hint, "try");
    assert_int_equal(feed_raw(BE_NOTICE, error, sizeof error), SERVER_LOGIN_MORE);
}

static void errors_without_a_sqlstate_are_not_passed_on(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{"SFATAL\0Mhello\0", 15},
                 {"", 1},
                 {"SFATAL", 6},
                 {"C\0Mhello\0", 10},
                 {"C28P0\0Mx\0", 10},
                 {"C28P011\0\0", 9},
                 {"C28p01\0Mx\0", 11},
                 {"C2\nP01\0Mx\0", 11}};
    for (size_t i = 0; i < countof(cases); i++)
        expect_bad(feed_raw(BE_ERROR, cases[i].bytes, cases[i].len), "08P01", "without an SQLSTATE");
}

static void what_is_shown_is_clean(void **state) {
    (void)state;
    static const char error[] =
        "C28000\0Ma\nb\x1b[31m\xff\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98\xc0\x80\xed\xa0\x80\xe2\x82\0";
    assert_int_equal(feed_raw(BE_ERROR, error, sizeof error), SERVER_LOGIN_REFUSED);
    assert_string_equal(w.fault.text, "a?b?[31m?\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98???????");
    // Cut at the end of a character, never inside.
    struct buf b = buf_make(4096);
    buf_put(&b, "C28000\0M", 8);
    for (int i = 0; i < 500; i++) buf_put(&b, "\xe2\x82\xac", 3);
    buf_put(&b, "\0", 2);
    assert_int_equal(feed_raw(BE_ERROR, b.data, buf_len(&b)), SERVER_LOGIN_REFUSED);
    assert_int_equal(strlen(w.fault.text), 399);
    assert_int_equal(strlen(w.fault.text) % 3, 0);
    buf_release(&b);
}

static void parameters_have_one_value_each(void **state) {
    (void)state;
    struct buf b = buf_make(40);
    assert_null(parameters_get(&b, "a"));
    assert_true(parameters_set(&b, span_str("a"), span_str("1")));
    assert_true(parameters_set(&b, span_str("bb"), span_str("")));
    assert_true(parameters_set(&b, span_str("a"), span_str("2")));
    assert_string_equal(parameters_get(&b, "a"), "2");
    assert_string_equal(parameters_get(&b, "bb"), "");
    assert_true(parameters_set(&b, span_str("a"), span_str("longer")));
    assert_string_equal(parameters_get(&b, "a"), "longer");
    assert_string_equal(parameters_get(&b, "bb"), "");
    assert_true(parameters_set(&b, span_str("a"), span_str("")));
    assert_int_equal(buf_len(&b), 7);
    assert_null(parameters_get(&b, "b"));
    assert_false(parameters_set(&b, span_str("c"), span_of("0123456789012345678901234567890", 31)));
    assert_true(parameters_set(&b, span_str("c"), span_of("012345678901234567890123456789", 30)));
    assert_string_equal(parameters_get(&b, "bb"), "");
    buf_release(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(trust),
        TEST(cleartext_only_where_nobody_listens),
        TEST(md5),
        TEST(scram_with_a_password_and_with_keys),
        TEST(a_server_that_proves_nothing_is_refused),
        TEST(each_request_has_its_time),
        TEST(what_we_cannot_do_is_said),
        TEST(malformed_messages),
        TEST(a_flood_of_parameters_ends),
        TEST(errors_are_the_servers),
        TEST(errors_without_a_sqlstate_are_not_passed_on),
        TEST(what_is_shown_is_clean),
        TEST(parameters_have_one_value_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
