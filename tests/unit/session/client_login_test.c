// SPDX-License-Identifier: ISC
// From an accepted socket to a client that is welcome, and every way in which that can fail.
#include "tests/unit/session/client_util.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "router/auth/scram.h"
#include "router/net/tls.h"

static struct fixture *x;

static int with_trust(void **state) {
    *state = x = fixture_new(AUTH_TYPE_TRUST);
    return 0;
}
static int with_scram(void **state) {
    *state = x = fixture_new(AUTH_TYPE_SCRAM_SHA_256);
    return 0;
}
static int done(void **state) {
    fixture_free(*state);
    return 0;
}

// ---- start-up packets

static void welcome_by_trust(void **state) {
    (void)state;
    struct frame f;
    struct span name, value;
    fixture_connect(x, false);
    x->config.log_connections = x->config.log_disconnections = true;
    SAY_STARTUP(x, {"user", "web"}, {"TimeZone", "UTC"}, {"options", "-c a=1"});
    RUN_UNTIL(&x->loop, x->authenticated);
    assert_int_equal(x->client.state, CLIENT_WELCOME);
    assert_string_equal(x->client.user, "web");
    assert_string_equal(x->client.database, "web");
    assert_true(span_eq(buf_span(&x->client.startup), span_of("a\0"
                                                              "1\0TimeZone\0UTC\0",
                                                              17)));
    assert_int_equal(buf_len(&x->front.got), 0);
    welcome(x);
    hear_auth(x, PROTO_AUTH_OK, &f);
    f = hear_type(x, BE_PARAMETER_STATUS);
    assert_true(msg_parameter_status(f.payload, &name, &value) && span_is(name, "server_version"));
    f = hear_type(x, BE_PARAMETER_STATUS);
    assert_true(msg_parameter_status(f.payload, &name, &value) && span_is(value, "UTC"));
    f = hear_type(x, BE_BACKEND_KEY_DATA);
    assert_int_equal(span_u32(f.payload.ptr), 4711);
    assert_int_equal(span_u32(f.payload.ptr + 4), 0x12345678);
    f = hear_type(x, BE_READY_FOR_QUERY);
    assert_int_equal(f.payload.ptr[0], PROTO_TX_IDLE);
    assert_int_equal(x->stats.counters[STAT_CLIENT_LOGINS], 1);
    assert_null(x->client.startup.data); // an idle client owns no buffers
    assert_null(x->client.in.data);
    assert_false(deadline_is_set(&x->client.deadline));
    fixture_disconnect(x);
}

static void startup_cut_at_every_byte(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    request_startup(&b, (const struct request_parameter[]){{"user", "web"}, {"database", "shop"}}, 2);
    for (size_t n = 0; n < buf_len(&b); n++) {
        fixture_connect(x, false);
        say(x, span_first(buf_span(&b), n));
        shutdown(x->front.stream.fd, SHUT_WR);
        hear_end(x);
        assert_int_equal(x->authenticated, 0);
        fixture_disconnect(x);
    }
    assert_int_equal(errors(x, STAT_ERROR_CLIENT_LOST), 0); // nobody had logged in
    // In pieces of one byte it is as good as in one.
    fixture_connect(x, false);
    for (size_t n = 0; n < buf_len(&b); n++) {
        say(x, span_first(span_from(buf_span(&b), n), 1));
        run_turns(&x->loop, 1);
    }
    RUN_UNTIL(&x->loop, x->authenticated);
    assert_string_equal(x->client.database, "shop");
    fixture_disconnect(x);
    buf_release(&b);
}

static void junk(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *sqlstate, *sentence;
    } cases[] = {
#define CASE(b, code, text) {b, sizeof b - 1, code, text}
        CASE("GET / HTTP/1.1\r\n\r\n", "08P01", "invalid length"),
        CASE("\x16\x03\x01\x02\x00\x01\x00\x01", "08P01", "invalid length"),
        CASE("\0\0\0\0", "08P01", "invalid length 0"),
        CASE("\0\0\0\7", "08P01", "invalid length 7"),
        CASE("\x7f\xff\xff\xff", "08P01", "invalid length 2147483647"),
        CASE("\xff\xff\xff\xff", "08P01", "invalid length"),
        CASE("\0\0\x27\x11", "08P01", "invalid length 10001"),
        CASE("\0\0\0\x08\0\2\0\0", "0A000", "unsupported frontend protocol 2.0"),
        CASE("\0\0\0\x08\0\4\0\0", "0A000", "unsupported frontend protocol 4.0"),
        CASE("\0\0\0\x08\0\3\0\0", "08P01", "expected terminator"),
        CASE("\0\0\0\x09\0\3\0\0x", "08P01", "expected terminator"),
        CASE("\0\0\0\x09\0\3\0\0\0", "28000", "no user name"),
        CASE("\0\0\0\x0c\x04\xd2\x16\x2f----", "08P01", "invalid length 12"),
        CASE("\0\0\0\x0c\x04\xd2\x16\x2e", "08P01", "invalid length 12"),
        CASE("\0\0\0\x11\x04\xd2\x16\x2e---------", "08P01", "invalid length 17"),
#undef CASE
    };
    for (size_t i = 0; i < countof(cases); i++) {
        fixture_connect(x, false);
        say(x, span_of(cases[i].bytes, cases[i].n));
        hear_fatal(x, cases[i].sqlstate, cases[i].sentence);
        assert_int_equal(x->authenticated, 0);
        fixture_disconnect(x);
    }
    assert_true(errors(x, STAT_ERROR_PROTOCOL) >= 10);
}

static void refused_requests(void **state) {
    (void)state;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"}, {"replication", "maybe"});
    hear_fatal(x, "22023", "invalid value for parameter \"replication\": \"maybe\"");
    fixture_disconnect(x);
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"}, {"options", "-e"});
    hear_fatal(x, "0A000", "\"-e\" is not supported");
    fixture_disconnect(x);
    assert_int_equal(errors(x, STAT_ERROR_UNSUPPORTED), 1);
    x->full = true;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    hear_fatal(x, "53300", "sorry, too many clients already");
    assert_int_equal(errors(x, STAT_ERROR_TOO_MANY_CLIENTS), 1);
    fixture_disconnect(x);
    x->draining = true;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    hear_fatal(x, "57P03", "pgsteer is shutting down");
    fixture_disconnect(x);
    assert_int_equal(x->stats.counters[STAT_CLIENT_LOGINS], 0);
}

static void trust_is_for_local_peers(void **state) {
    (void)state;
    fixture_connect(x, true);
    assert_true(x->client.is_local);
    assert_false(x->client.is_unix);
    SAY_STARTUP(x, {"user", "web"});
    RUN_UNTIL(&x->loop, x->authenticated);
    fixture_disconnect(x);
    fixture_connect(x, true);
    x->client.is_local = false;
    SAY_STARTUP(x, {"user", "web"});
    hear_fatal(x, "28000", "local connections only");
    assert_int_equal(x->authenticated, 0);
    assert_int_equal(errors(x, STAT_ERROR_AUTH), 1);
    fixture_disconnect(x);
}

static void newer_protocol_is_negotiated(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    request_startup(&b, (const struct request_parameter[]){{"user", "web"}, {"_pq_.a", "1"}, {"_pq_.b", "2"}}, 3);
    b.data[b.head + 7] = 2; // 3.2
    fixture_connect(x, false);
    say_buf(x, &b);
    struct frame f = hear_type(x, BE_NEGOTIATE_PROTOCOL_VERSION);
    assert_true(span_eq(f.payload, span_of("\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b\0", 22)));
    RUN_UNTIL(&x->loop, x->authenticated);
    assert_int_equal(buf_len(&x->client.startup), 0);
    fixture_disconnect(x);
}

static void cancel_request(void **state) {
    (void)state;
    struct buf b = buf_make(ROOM);
    x->full = x->draining = true; // cancelling works all the same
    fixture_connect(x, false);
    request_cancel(&b, 4711, 0xfedcba98);
    say_buf(x, &b);
    hear_end(x);
    assert_int_equal(x->cancels, 1);
    assert_int_equal(x->cancel_pid, 4711);
    assert_int_equal(x->cancel_key, 0xfedcba98);
    fixture_disconnect(x);
}

static void login_timeout(void **state) {
    (void)state;
    x->config.client_login_timeout = 1;
    fixture_connect(x, false);
    say(x, span_of("\0", 1));
    hear_fatal(x, "57014", "timeout (1 ms)");
    fixture_disconnect(x);
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    hear_fatal(x, "57P03", "no server was ready");
    assert_int_equal(x->authenticated, 1);
    assert_int_equal(x->gone, 1);
    fixture_disconnect(x);
    assert_int_equal(errors(x, STAT_ERROR_LOGIN_TIMEOUT), 2);
}

static void session_refuses(void **state) {
    (void)state;
    struct fault f;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    RUN_UNTIL(&x->loop, x->authenticated);
    fault_set(&f, "3D000", "database \"web\" does not exist");
    client_fail(&x->client, STAT_ERROR_NO_DATABASE, &f);
    assert_int_equal(x->gone, 1);
    client_fail(&x->client, STAT_ERROR_NO_DATABASE, &f);
    client_close(&x->client);
    assert_int_equal(x->gone, 1);
    assert_int_equal(errors(x, STAT_ERROR_NO_DATABASE), 1);
    assert_false(client_write(&x->client, span_str("x")));
    hear_fatal(x, "3D000", "does not exist");
    fixture_disconnect(x);
}

static void frontend_leaves_while_waiting(void **state) {
    (void)state;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    RUN_UNTIL(&x->loop, x->authenticated);
    shutdown(x->front.stream.fd, SHUT_RDWR);
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(x->gone, 1);
    assert_int_equal(errors(x, STAT_ERROR_CLIENT_LOST), 1);
    fixture_disconnect(x);
}

// ---- requests for encryption

static void say_special(uint32_t code) {
    uint8_t bytes[8] = {0, 0, 0, 8, (uint8_t)(code >> 24), (uint8_t)(code >> 16), (uint8_t)(code >> 8), (uint8_t)code};
    say(x, span_of(bytes, sizeof bytes));
}

static void special_packets_once_each(void **state) {
    (void)state;
    static const uint32_t orders[][2] = {{PROTO_SSL_REQUEST, PROTO_GSSENC_REQUEST},
                                         {PROTO_GSSENC_REQUEST, PROTO_SSL_REQUEST}};
    for (size_t i = 0; i < 2; i++) {
        fixture_connect(x, true);
        say_special(orders[i][0]);
        assert_int_equal(hear_byte(x), 'N');
        say_special(orders[i][1]);
        assert_int_equal(hear_byte(x), 'N');
        SAY_STARTUP(x, {"user", "web"});
        RUN_UNTIL(&x->loop, x->authenticated);
        fixture_disconnect(x);
        for (size_t again = 0; again < 2; again++) {
            fixture_connect(x, true);
            say_special(orders[i][0]);
            assert_int_equal(hear_byte(x), 'N');
            say_special(orders[i][1]);
            assert_int_equal(hear_byte(x), 'N');
            say_special(orders[i][again]);
            hear_fatal(x, "08P01", "more than once");
            fixture_disconnect(x);
        }
        fixture_connect(x, true);
        say_special(orders[i][0]);
        assert_int_equal(hear_byte(x), 'N');
        say_special(orders[i][0]);
        hear_fatal(x, "08P01", "more than once");
        fixture_disconnect(x);
    }
}

static void nothing_may_follow_a_special_packet(void **state) {
    (void)state;
    static const uint32_t codes[] = {PROTO_SSL_REQUEST, PROTO_GSSENC_REQUEST};
    for (size_t i = 0; i < 2; i++) {
        struct buf b = buf_make(ROOM);
        buf_put_u32(&b, 8);
        buf_put_u32(&b, codes[i]);
        request_startup(&b, (const struct request_parameter[]){{"user", "web"}}, 1);
        fixture_connect(x, true);
        say_buf(x, &b);
        hear_fatal(x, "08P01", "received unencrypted data");
        assert_int_equal(x->authenticated, 0);
        fixture_disconnect(x);
    }
}

static void tls_may_be_required(void **state) {
    (void)state;
    for (enum sslmode m = SSLMODE_REQUIRE; m <= SSLMODE_VERIFY_FULL; m++) {
        x->config.client_tls_sslmode = m;
        fixture_connect(x, true);
        SAY_STARTUP(x, {"user", "web"}, {"database", "shop"});
        hear_fatal(x, "28000",
                   "connections without TLS are not allowed (user \"web\", database \"shop\", no encryption)");
        fixture_disconnect(x);
        fixture_connect(x, false); // but not on a Unix socket, which has none
        SAY_STARTUP(x, {"user", "web"});
        RUN_UNTIL(&x->loop, x->authenticated);
        fixture_disconnect(x);
    }
}

static void write_key_pair(const char *cert_path, const char *key_path) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const uint8_t *)"x", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *f = fopen(cert_path, "w");
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    int fd = open(key_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    f = fdopen(fd, "w");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    EVP_PKEY_free(key);
    X509_free(cert);
}

static struct tls_context *tls_of_frontend;

static void offer_tls(void) {
    char dir[] = "/tmp/pgsteer-client-XXXXXX", cert[64], key[64];
    struct fault f;
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof cert, "%s/crt", dir);
    snprintf(key, sizeof key, "%s/key", dir);
    write_key_pair(cert, key);
    struct config c = {.client_tls_key_file = key,
                       .client_tls_cert_file = cert,
                       .client_tls_ca_file = "",
                       .client_tls_ciphers = "",
                       .client_tls_sslmode = SSLMODE_PREFER,
                       .server_tls_ca_file = "",
                       .server_tls_key_file = "",
                       .server_tls_cert_file = "",
                       .server_tls_sslmode = SSLMODE_REQUIRE};
    x->env.tls = tls_context_for_clients(&c, &f);
    tls_of_frontend = tls_context_for_servers(&c, &f);
    assert_non_null(x->env.tls);
    assert_non_null(tls_of_frontend);
    unlink(cert);
    unlink(key);
    rmdir(dir);
}

static void withdraw_tls(void) {
    tls_context_unref(x->env.tls);
    tls_context_unref(tls_of_frontend);
    x->env.tls = NULL;
}

static void start_tls(void) {
    struct fault f;
    say_special(PROTO_SSL_REQUEST);
    assert_int_equal(hear_byte(x), 'S');
    assert_true(stream_start_tls(&x->front.stream, tls_of_frontend, false, NULL, &f));
    RUN_UNTIL(&x->loop, x->front.ready);
}

static void tls_then_startup(void **state) {
    (void)state;
    struct frame f;
    offer_tls();
    x->config.client_tls_sslmode = SSLMODE_REQUIRE;
    x->welcome_at_once = true;
    fixture_connect(x, true);
    say_special(PROTO_GSSENC_REQUEST);
    assert_int_equal(hear_byte(x), 'N');
    start_tls();
    SAY_STARTUP(x, {"user", "web"});
    hear_auth(x, PROTO_AUTH_OK, &f);
    assert_true(stream_is_tls(&x->client.stream));
    fixture_disconnect(x);
    // A Unix socket is offered none.
    fixture_connect(x, false);
    say_special(PROTO_SSL_REQUEST);
    assert_int_equal(hear_byte(x), 'N');
    fixture_disconnect(x);
    withdraw_tls();
}

static void special_packets_within_tls(void **state) {
    (void)state;
    static const uint32_t codes[] = {PROTO_SSL_REQUEST, PROTO_GSSENC_REQUEST};
    offer_tls();
    for (size_t i = 0; i < 2; i++) {
        fixture_connect(x, true);
        start_tls();
        say_special(codes[i]);
        hear_fatal(x, "08P01", "more than once");
        fixture_disconnect(x);
    }
    withdraw_tls();
}

static void tls_handshake_fails(void **state) {
    (void)state;
    offer_tls();
    fixture_connect(x, true);
    say_special(PROTO_SSL_REQUEST);
    assert_int_equal(hear_byte(x), 'S');
    SAY_STARTUP(x, {"user", "web"}); // in the clear
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(x->authenticated, 0);
    fixture_disconnect(x);
    fixture_connect(x, true);
    say_special(PROTO_SSL_REQUEST);
    assert_int_equal(hear_byte(x), 'S');
    shutdown(x->front.stream.fd, SHUT_RDWR);
    RUN_UNTIL(&x->loop, x->freed);
    fixture_disconnect(x);
    // And one that never comes.
    x->config.client_login_timeout = 1;
    fixture_connect(x, true);
    say_special(PROTO_SSL_REQUEST);
    RUN_UNTIL(&x->loop, x->freed);
    assert_int_equal(errors(x, STAT_ERROR_LOGIN_TIMEOUT), 1);
    fixture_disconnect(x);
    withdraw_tls();
}

// ---- SCRAM

static void say_password_message(struct span body) {
    struct buf b = buf_make(ROOM);
    request_sasl_response(&b, body);
    say_buf(x, &b);
}

// How a frontend may differ from the usual.
struct scram_way {
    bool ask_for_challenge; // no initial response
    bool byte_by_byte;
};

static void say_slowly(struct buf *b, bool slowly) {
    if (!slowly) {
        say_buf(x, b);
        return;
    }
    for (size_t i = 0; i < buf_len(b); i++) {
        say(x, span_first(span_from(buf_span(b), i), 1));
        run_turns(&x->loop, 1);
    }
    buf_release(b);
}

static void say_client_first(struct scram_client *sc, struct scram_way way) {
    struct buf data = buf_make(ROOM), b = buf_make(ROOM);
    struct frame f;
    assert_true(scram_client_first(sc, &data, NULL));
    if (way.ask_for_challenge) {
        say_password_message(span_of("SCRAM-SHA-256\0\xff\xff\xff\xff", 18));
        hear_auth(x, PROTO_AUTH_SASL_CONTINUE, &f);
        assert_int_equal(f.payload.len, 0);
        request_sasl_response(&b, buf_span(&data));
    } else {
        request_sasl_initial(&b, SCRAM_MECHANISM, buf_span(&data));
    }
    say_slowly(&b, way.byte_by_byte);
    buf_release(&data);
}

// Up to the proof; what the router says to it is the caller's to hear.
static struct scram_client *say_proof(const char *user, const char *password, struct scram_way way) {
    struct secret secret;
    struct frame f;
    assert_true(secret_set(&secret, span_str(password)));
    struct scram_client *sc = scram_client_new(&secret, NULL);
    SAY_STARTUP(x, {"user", user}, {"database", "shop"});
    hear_auth(x, PROTO_AUTH_SASL, &f);
    assert_true(span_eq(f.payload, span_of("SCRAM-SHA-256\0", 15)));
    say_client_first(sc, way);
    hear_auth(x, PROTO_AUTH_SASL_CONTINUE, &f);
    struct buf data = buf_make(ROOM), b = buf_make(ROOM);
    assert_true(scram_client_final(sc, f.payload, &data, NULL));
    request_sasl_response(&b, buf_span(&data));
    say_slowly(&b, way.byte_by_byte);
    buf_release(&data);
    return sc;
}

// The router's signature comes with what follows, not before: one thing to wake up for.
static void log_in_by_scram(const char *user, struct scram_way way) {
    struct frame f;
    struct fault fault;
    struct scram_client *sc = say_proof(user, "pencil", way);
    RUN_UNTIL(&x->loop, x->authenticated);
    assert_int_equal(x->client.state, CLIENT_WELCOME);
    assert_string_equal(x->client.database, "shop");
    assert_true(client_unsent(&x->client) > 0);
    welcome(x);
    assert_int_equal(client_unsent(&x->client), 0);
    hear_auth(x, PROTO_AUTH_SASL_FINAL, &f);
    assert_true(scram_client_verify(sc, f.payload, &fault));
    hear_auth(x, PROTO_AUTH_OK, &f);
    scram_client_free(sc);
}

static void right_password(void **state) {
    (void)state;
    static const char *const users[] = {"web", "app"};
    x->env.scram_memo = scram_memo_new();
    for (int i = 0; i < 8; i++) {
        fixture_connect(x, i & 1);
        log_in_by_scram(users[i / 4], (struct scram_way){.ask_for_challenge = i & 1, .byte_by_byte = i & 2});
        assert_int_equal(x->keys_learnt, i / 4 == 1); // only a verifier of the user's own gives keys
        fixture_disconnect(x);
    }
    scram_memo_free(x->env.scram_memo);
    assert_int_equal(errors(x, STAT_ERROR_AUTH), 0);
}

static void wrong_password_and_unknown_user(void **state) {
    (void)state;
    static const char *const users[] = {"web", "app", "nobody"};
    for (size_t i = 0; i < countof(users); i++) {
        char sentence[100];
        snprintf(sentence, sizeof sentence, "password authentication failed for user \"%s\"", users[i]);
        fixture_connect(x, false);
        scram_client_free(say_proof(users[i], i < 2 ? "pencil!" : "pencil", (struct scram_way){0}));
        hear_fatal(x, "28P01", sentence);
        assert_int_equal(x->authenticated, 0);
        fixture_disconnect(x);
    }
    assert_int_equal(errors(x, STAT_ERROR_AUTH), countof(users));
}

static void scram_over_tls(void **state) {
    (void)state;
    offer_tls();
    fixture_connect(x, true);
    start_tls();
    log_in_by_scram("web", (struct scram_way){0});
    fixture_disconnect(x);
    withdraw_tls();
}

static void hear_mechanisms(void) {
    struct frame f;
    fixture_connect(x, false);
    SAY_STARTUP(x, {"user", "web"});
    hear_auth(x, PROTO_AUTH_SASL, &f);
}

static void malformed_sasl(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *sqlstate, *sentence;
    } cases[] = {
#define CASE(b, code, text) {b, sizeof b - 1, code, text}
        CASE("p\0\0\0\4", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\7abc", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x12SCRAM-SHA-256\0", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x15SCRAM-SHA-256\0\0\0\0", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\2n,,", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\4n,,", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x19SCRAM-SHA-256\0\x7f\xff\xff\xffn,,", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x19SCRAM-SHA-256\0\xff\xff\xff\xffn,,", "08P01", "malformed SASLInitialResponse"),
        CASE("p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\0", "08P01", "the message is empty"),
        CASE("p\0\0\0\x1eSCRAM-SHA-256-PLUS\0\0\0\0\3n,,", "08P01", "invalid SASL authentication mechanism"),
        CASE("p\0\0\0\x0fSCRAM\0\0\0\0\1n", "08P01", "invalid SASL authentication mechanism"),
        CASE("p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\3n,,", "08P01", "malformed SCRAM message"),
        CASE("p\0\0\0\x1cSCRAM-SHA-256\0\0\0\0\6n,a=x,", "0A000", "authorization identity"),
        CASE("p\0\0\0\x17SCRAM-SHA-256\0\0\0\0\1p", "08P01", "channel binding"),
        CASE("p\0\0\4\1", "08P01", "expected SASL response"),
        CASE("p\x7f\xff\xff\xff", "08P01", "invalid message length"),
        CASE("p\0\0\0\3", "08P01", "invalid message length"),
        CASE("Q\0\0\0\x0dselect 1\0", "08P01", "expected SASL response, got message type 81"),
        CASE("Q\0\1\0\0", "08P01", "expected SASL response"),
        CASE("z", "08P01", "invalid frontend message type 122"),
#undef CASE
    };
    for (size_t i = 0; i < countof(cases); i++) {
        hear_mechanisms();
        say(x, span_of(cases[i].bytes, cases[i].n));
        hear_fatal(x, cases[i].sqlstate, cases[i].sentence);
        assert_int_equal(x->authenticated, 0);
        fixture_disconnect(x);
    }
    hear_mechanisms();
    say(x, span_of("X\0\0\0\4", 5));
    hear_end(x);
    fixture_disconnect(x);
}

static void sasl_cut_at_every_byte(void **state) {
    (void)state;
    static const char first[] = "p\0\0\0\x21SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc";
    for (size_t n = 0; n < sizeof first - 1; n++) {
        hear_mechanisms();
        say(x, span_of(first, n));
        shutdown(x->front.stream.fd, SHUT_WR);
        hear_end(x);
        assert_int_equal(x->authenticated, 0);
        fixture_disconnect(x);
    }
    hear_mechanisms();
    say(x, span_of(first, sizeof first - 1));
    struct frame f;
    hear_auth(x, PROTO_AUTH_SASL_CONTINUE, &f);
    say(x, span_of(first, sizeof first - 1)); // again, where the proof should come
    hear_fatal(x, "08P01", "malformed SCRAM message");
    fixture_disconnect(x);
}

int main(void) {
#define TRUST(f) cmocka_unit_test_setup_teardown(f, with_trust, done)
#define SCRAM(f) cmocka_unit_test_setup_teardown(f, with_scram, done)
    const struct CMUnitTest tests[] = {
        TRUST(welcome_by_trust),
        TRUST(startup_cut_at_every_byte),
        TRUST(junk),
        TRUST(refused_requests),
        TRUST(trust_is_for_local_peers),
        TRUST(newer_protocol_is_negotiated),
        TRUST(cancel_request),
        TRUST(login_timeout),
        TRUST(session_refuses),
        TRUST(frontend_leaves_while_waiting),
        TRUST(special_packets_once_each),
        TRUST(nothing_may_follow_a_special_packet),
        TRUST(tls_may_be_required),
        TRUST(tls_then_startup),
        TRUST(special_packets_within_tls),
        TRUST(tls_handshake_fails),
        SCRAM(right_password),
        SCRAM(wrong_password_and_unknown_user),
        SCRAM(scram_over_tls),
        SCRAM(malformed_sasl),
        SCRAM(sasl_cut_at_every_byte),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
