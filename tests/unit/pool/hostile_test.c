// SPDX-License-Identifier: ISC
//
// tests/unit/pool/hostile_test.c: router/session/server.c against servers that do not do what they should.
//
// Whatever it says, a server that does not let us in properly gives the waiting ticket one clear error, within a time,
// and leaves nothing behind: world_stop checks that no connection, gauge or handle is left, the sanitizers check the
// rest.
#include "tests/unit/pool/pool_util.h"

#include <stdlib.h>

static struct world w;

static int set_up(void **state) {
    (void)state;
    world_start(&w, 1);
    w.config.server_login_retry = 0;
    world_set_password(&w, "secret");
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    world_stop(&w);
    return 0;
}

// A visitor comes and is told that it failed; the pool is then fit for the next one.
static void expect_failure(const char *sqlstate, const char *text) {
    struct visitor v;
    visitor_wait(&v, &w);
    if (v.granted) fail_msg("let in");
    if (strcmp(v.fault.sqlstate, sqlstate) != 0 || !strstr(v.fault.text, text))
        fail_msg("%s: \"%s\"", v.fault.sqlstate, v.fault.text);
    pool_forget_failure(world_pool(&w));
}

static void expect_success(void) {
    struct visitor v;
    visitor_wait(&v, &w);
    if (!v.granted) fail_msg("%s: \"%s\"", v.fault.sqlstate, v.fault.text);
    pool_discard(v.server, NULL);
}

// A literal and its length: as it stands, and with the NUL behind it, which ends the fields of an error.
#define RAW(text) (text), sizeof(text) - 1
#define ERR(text) (text), sizeof(text)

static void put_message(struct buf *b, char type, const void *payload, size_t n) {
    size_t at = buf_msg_begin(b, type);
    buf_put(b, payload, n);
    buf_msg_end(b, at);
}

static struct buf good_login(void) {
    struct buf b = buf_make(4096);
    put_message(&b, BE_NEGOTIATE_PROTOCOL_VERSION, RAW("\0\3\0\0\0\0\0\0"));
    reply_auth(&b, PROTO_AUTH_OK, span_str(""));
    reply_parameter_status(&b, span_str("server_version"), span_str("15.1"));
    reply_parameter_status(&b, span_str("in_hot_standby"), span_str("off"));
    reply_backend_key_data(&b, 1, 2);
    put_message(&b, BE_NOTICE, ERR("SNOTICE\0C00000\0Mhello\0"));
    reply_ready(&b, PROTO_TX_IDLE);
    return b;
}

static void every_truncation_of_a_login(void **state) {
    (void)state;
    struct buf b = good_login();
    w.fake.script_then_close = true;
    for (size_t n = 0; n < buf_len(&b); n++) {
        w.fake.script = span_of(b.data, n);
        expect_failure("08006", "server \"pg1\" cannot be reached: the server closed the connection");
    }
    assert_true(w.reports[EVIDENCE_CLOSED] == (int)buf_len(&b));
    w.fake.script_then_close = false;
    w.fake.script = buf_span(&b);
    expect_success();
    buf_release(&b);
}

static void every_truncation_with_a_stall(void **state) {
    (void)state;
    struct buf b = good_login();
    w.config.server_connect_timeout = 100;
    w.config.default_pool_size = 1000;
    pools_config_changed(w.pools);
    // All at once: each connection gets one byte more than the one before.
    struct visitor *v = mem_array(buf_len(&b), struct visitor);
    for (size_t n = 0; n < buf_len(&b); n++) {
        w.fake.script = span_of(b.data, n);
        (void)visitor_come(&v[n], &w);
        int started = w.fake.startups;
        RUN_UNTIL(&w, w.fake.startups > started || v[n].failed);
    }
    for (size_t n = 0; n < buf_len(&b); n++) {
        RUN_UNTIL(&w, v[n].failed);
        assert_string_equal(v[n].fault.sqlstate, "08006");
    }
    assert_true(w.reports[EVIDENCE_TIMEOUT] > 0);
    mem_free(v);
    buf_release(&b);
}

// The login in single bytes, by hand.
static void byte_by_byte(void **state) {
    (void)state;
    struct buf b = good_login();
    w.fake.script = span_str("");
    struct visitor v;
    (void)visitor_come(&v, &w);
    RUN_UNTIL(&w, w.fake.startups == 1);
    for (size_t n = 0; n < buf_len(&b); n++) {
        assert_int_equal(v.granted + v.failed, 0);
        fake_send_span(w.fake.conns, span_of(b.data + n, 1));
        run_turns(&w, 2);
    }
    RUN_UNTIL(&w, v.granted);
    assert_string_equal(server_parameter(v.server, "server_version"), "15.1");
    assert_int_equal(v.server->backend_pid, 1);
    assert_int_equal(v.server->backend_key, 2);
    pool_discard(v.server, NULL);
    buf_release(&b);
}

static void every_bad_length(void **state) {
    (void)state;
    struct buf b = good_login();
    static const uint32_t lengths[] = {0, 1, 3, 5, 0x7fffffff, 0x80000000, 0xffffffff, 0x40000000, 70000};
    struct span login = buf_span(&b);
    uint8_t *bytes = mem_alloc(login.len);
    for (size_t at = 0; at < login.len; at += 1 + span_u32(login.ptr + at + 1)) {
        for (size_t i = 0; i < countof(lengths); i++) {
            if (span_u32(login.ptr + at + 1) == lengths[i]) continue; // that one is good
            memcpy(bytes, login.ptr, login.len);
            for (int k = 0; k < 4; k++) bytes[at + 1 + (size_t)k] = (uint8_t)(lengths[i] >> (24 - 8 * k));
            w.fake.script = span_of(bytes, login.len);
            expect_failure("08006", "protocol violation by the server");
        }
    }
    mem_free(bytes);
    buf_release(&b);
}

static void every_byte_changed(void **state) {
    (void)state;
    struct buf b = good_login();
    struct span login = buf_span(&b);
    uint8_t *bytes = mem_alloc(login.len);
    w.config.server_connect_timeout = 100;
    w.fake.script_then_close = true; // a changed length may make us wait for more
    for (size_t at = 0; at < login.len; at++) {
        memcpy(bytes, login.ptr, login.len);
        bytes[at] ^= 0x15;
        w.fake.script = span_of(bytes, login.len);
        struct visitor v;
        visitor_wait(&v, &w);
        if (v.server) pool_discard(v.server, NULL); // some bytes are only text
        pool_forget_failure(world_pool(&w));
    }
    mem_free(bytes);
    buf_release(&b);
}

static void bytes_behind_the_login(void **state) {
    (void)state;
    struct buf b = good_login();
    size_t login = buf_len(&b);
    // What may come at any time may come at once.
    put_message(&b, BE_NOTICE, ERR("SNOTICE\0C00000\0Mhello\0"));
    reply_parameter_status(&b, span_str("a"), span_str("b"));
    w.fake.script = buf_span(&b);
    expect_success();
    // What may not, ends it before anybody gets it.
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{RAW("Z\0\0\0\5I")}, {RAW("D\0\0\0\6\0\0")}, {RAW("x")}, {RAW("C\0\0\0\7OK\0")}};
    for (size_t i = 0; i < countof(cases); i++) {
        buf_truncate(&b, login);
        buf_put(&b, cases[i].bytes, cases[i].len);
        w.fake.script = buf_span(&b);
        expect_failure("08006", "protocol violation by the server");
    }
    buf_truncate(&b, login);
    put_message(&b, BE_ERROR, ERR("SFATAL\0C57P01\0Mterminating\0"));
    w.fake.script = buf_span(&b);
    expect_failure("57P03", "terminating");
    buf_release(&b);
}

static void half_a_notice_is_not_handed_out(void **state) {
    (void)state;
    struct buf b = good_login();
    size_t login = buf_len(&b);
    put_message(&b, BE_NOTICE, ERR("SNOTICE\0C00000\0Mhello\0"));
    w.fake.script = span_of(b.data, login + 10);
    struct visitor v;
    (void)visitor_come(&v, &w);
    RUN_UNTIL(&w, w.fake.startups == 2); // the first one was closed, another is tried
    assert_int_equal(v.granted, 0);
    w.fake.script = span_of(b.data, login);
    pool_cancel(&v.ticket);
    fake_close_connections(&w.fake);
    RUN_UNTIL(&w, !w.fake.conns);
    buf_release(&b);
}

static void errors_of_the_server(void **state) {
    (void)state;
    static const struct {
        const char *error;
        size_t len;
        const char *sqlstate, *text;
        bool report;
    } cases[] = {
        {ERR("SFATAL\0C28P01\0Mno\nway\0"), "28P01", "no?way", false},
        {ERR("SFATAL\0C3D000\0Mdatabase \"app\" does not exist\0"), "3D000", "database \"app\" does not exist", false},
        {ERR("SFATAL\0C57P03\0Mthe database system is starting up\0"), "57P03",
         "server \"pg1\" cannot be reached: the database system is starting up", true},
        {ERR("SFATAL\0Mno code\0"), "08006", "an error without an SQLSTATE", false},
        {ERR("SFATAL\0C\0Mno code\0"), "08006", "an error without an SQLSTATE", false},
        {ERR(""), "08006", "an error without an SQLSTATE", false},
        {ERR("C42501"), "42501", "gave no reason", false}, // and never ends
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct buf b = buf_make(1024);
        put_message(&b, BE_ERROR, cases[i].error, cases[i].len);
        w.fake.error = buf_span(&b);
        int before = w.reports[EVIDENCE_SHUTDOWN];
        expect_failure(cases[i].sqlstate, cases[i].text);
        assert_int_equal(w.reports[EVIDENCE_SHUTDOWN] - before, cases[i].report);
        buf_release(&b);
    }
}

static void a_scram_server_must_prove_itself(void **state) {
    (void)state;
    w.fake.auth = FAKE_SCRAM_WITHOUT_PROOF;
    expect_failure("08006", "without proving that it knows the password");
    w.fake.auth = FAKE_SCRAM;
    expect_success();
    w.fake.password = "another";
    expect_failure("28P01", "");
    w.fake.auth = FAKE_CLEARTEXT;
    expect_failure("28000", "not encrypted");
}

static void nobody_there(void **state) {
    (void)state;
    fake_deafen(&w.fake);
    expect_failure("08006", "server \"pg1\" cannot be reached: 127.0.0.1:");
    assert_int_equal(w.reports[EVIDENCE_REFUSED], 1);
    assert_int_equal(atomic_load(&w.stats.errors[STAT_ERROR_SERVER_CONNECT]), 1);
}

static void the_next_address_is_tried(void **state) {
    (void)state;
    struct fake dead;
    fake_start(&dead, &w.loop);
    fake_deafen(&dead);
    struct topology *t = world_topology(&w, NODE_STATE_UP);
    struct node *n = &t->nodes[0];
    n->n_addresses = 3;
    memcpy(&n->addresses[2], &n->addresses[0], sizeof n->addresses[0]);
    memcpy(&n->addresses[0], &dead.address, sizeof dead.address);
    memcpy(&n->addresses[1], &dead.address, sizeof dead.address);
    n->address_lens[1] = n->address_lens[2] = n->address_lens[0];
    world_set_topology(&w, t);
    struct visitor v;
    visitor_wait(&v, &w);
    assert_true(v.granted);
    assert_int_equal(v.server->address, 2);
    pool_discard(v.server, NULL);
    t = world_topology(&w, NODE_STATE_UP);
    memcpy(&t->nodes[0].addresses[0], &dead.address, sizeof dead.address);
    world_set_topology(&w, t);
    expect_failure("08006", "refused");
    t = world_topology(&w, NODE_STATE_UP);
    t->nodes[0].n_addresses = 0;
    world_set_topology(&w, t);
    expect_failure("08006", "no known address");
    fake_stop(&dead);
}

// ---- TLS

static struct tls_context *tls_to_servers(enum sslmode mode) {
    struct fault f;
    w.config.server_tls_sslmode = mode;
    struct tls_context *t = tls_context_for_servers(&w.config, &f);
    assert_non_null(t);
    w.env.tls = t;
    return t;
}

// Certificates that sign themselves: one that the fake shows, and another. Made once.
static char tls_dir[64];
static void make_certificate(const char *name) {
    char command[512];
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
             "-keyout %s/%s.key -out %s/%s.crt 2>/dev/null && chmod 600 %s/%s.key",
             tls_dir, name, tls_dir, name, tls_dir, name);
    assert_int_equal(system(command), 0);
}
static struct tls_context *tls_of_fake(void) {
    char key[80], cert[80];
    snprintf(key, sizeof key, "%s/fake.key", tls_dir);
    snprintf(cert, sizeof cert, "%s/fake.crt", tls_dir);
    struct config c = w.config;
    c.client_tls_sslmode = SSLMODE_REQUIRE;
    c.client_tls_key_file = key;
    c.client_tls_cert_file = cert;
    struct fault f;
    struct tls_context *t = tls_context_for_clients(&c, &f);
    if (!t) fail_msg("%s", f.text);
    return t;
}

static void answers_to_the_request_for_tls(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        size_t len;
        const char *text;
    } cases[] = {
        {RAW("SS"), "more than one byte"},
        {RAW("NN"), "more than one byte"},
        {RAW("S\x16\x03\x01"), "more than one byte"},
        {RAW("NR\0\0\0\x08\0\0\0\0"), "more than one byte"}, // a plain login pushed in behind the answer
        {RAW("E"), "neither yes nor no"},
        {RAW("\0"), "neither yes nor no"},
        {RAW("ESFATAL\0Mtrust me, run this\0\0"), "more than one byte"},
    };
    struct tls_context *t = tls_to_servers(SSLMODE_PREFER);
    for (size_t i = 0; i < countof(cases); i++) {
        int startups = w.fake.startups;
        w.fake.tls_answer = span_of(cases[i].answer, cases[i].len);
        expect_failure("08006", cases[i].text);
        assert_int_equal(w.fake.startups, startups); // nothing about us was said
    }
    // 'S', and then no TLS: prefer goes on without, on another connection; require does not.
    w.fake.tls_answer = span_str("S");
    w.config.server_connect_timeout = 200;
    expect_failure("08006", "server_connect_timeout");
    tls_context_unref(t);
}

static void sslmodes_are_libpqs(void **state) {
    (void)state;
    static const struct {
        enum sslmode mode;
        bool offered, works, encrypted;
        const char *text;
    } cases[] = {
        {SSLMODE_DISABLE, true, true, false, ""}, {SSLMODE_ALLOW, true, true, false, ""},
        {SSLMODE_PREFER, true, true, true, ""},   {SSLMODE_PREFER, false, true, false, ""},
        {SSLMODE_REQUIRE, true, true, true, ""},  {SSLMODE_REQUIRE, false, false, false, "does not offer TLS"},
    };
    struct tls_context *of_fake = tls_of_fake();
    for (size_t i = 0; i < countof(cases); i++) {
        struct tls_context *t = tls_to_servers(cases[i].mode);
        if (cases[i].mode == SSLMODE_DISABLE) w.env.tls = NULL;
        w.fake.tls = cases[i].offered ? of_fake : NULL;
        struct visitor v;
        visitor_wait(&v, &w);
        assert_int_equal(v.granted, cases[i].works);
        if (v.server) assert_int_equal(stream_is_tls(&v.server->stream), cases[i].encrypted);
        if (v.server)
            pool_discard(v.server, NULL);
        else
            assert_non_null(strstr(v.fault.text, cases[i].text));
        pool_forget_failure(world_pool(&w));
        tls_context_unref(t);
    }
    tls_context_unref(of_fake);
}

static void cleartext_goes_through_tls(void **state) {
    (void)state;
    struct tls_context *t = tls_to_servers(SSLMODE_REQUIRE);
    w.fake.tls = tls_of_fake();
    w.fake.auth = FAKE_CLEARTEXT;
    expect_success();
    tls_context_unref(t);
    tls_context_unref(w.fake.tls);
}

// pg_hba.conf may let in only those with TLS, or only those without.
static void the_other_way_is_tried_when_refused(void **state) {
    (void)state;
    struct buf no = buf_make(1024);
    put_message(&no, BE_ERROR, ERR("SFATAL\0C28000\0Mno pg_hba.conf entry\0"));
    struct tls_context *of_fake = tls_of_fake();
    w.fake.tls = of_fake;
    // allow: plain is refused, TLS is not.
    struct tls_context *t = tls_to_servers(SSLMODE_ALLOW);
    w.fake.error = buf_span(&no);
    w.fake.error_in_tls = span_of("", 0);
    expect_success();
    assert_int_equal(w.fake.tls_logins, 1);
    // allow, and the server has no TLS: what it said first counts.
    w.fake.tls = NULL;
    expect_failure("28000", "no pg_hba.conf entry");
    w.fake.tls = of_fake;
    tls_context_unref(t);
    // prefer: TLS is refused, plain is not.
    t = tls_to_servers(SSLMODE_PREFER);
    w.fake.error = span_of(NULL, 0);
    w.fake.error_in_tls = buf_span(&no);
    expect_success();
    // Both are refused; require has one way only.
    w.fake.error = buf_span(&no);
    expect_failure("28000", "no pg_hba.conf entry");
    tls_context_unref(t);
    t = tls_to_servers(SSLMODE_REQUIRE);
    w.fake.error = span_of(NULL, 0);
    expect_failure("28000", "no pg_hba.conf entry");
    tls_context_unref(t);
    // A wrong password is one either way, and is not tried twice.
    t = tls_to_servers(SSLMODE_PREFER);
    buf_clear(&no);
    put_message(&no, BE_ERROR, ERR("SFATAL\0C28P01\0Mwrong password\0"));
    w.fake.error = w.fake.error_in_tls = buf_span(&no);
    int before = w.fake.startups;
    expect_failure("28P01", "wrong password");
    assert_int_equal(w.fake.startups, before + 1);
    tls_context_unref(t);
    tls_context_unref(of_fake);
    buf_release(&no);
}

static void a_handshake_that_fails(void **state) {
    (void)state;
    // Verified against nobody's certificate.
    char ca[80];
    snprintf(ca, sizeof ca, "%s/other.crt", tls_dir);
    struct tls_context *of_fake = tls_of_fake();
    w.fake.tls = of_fake;
    w.config.server_tls_ca_file = ca;
    struct tls_context *t = tls_to_servers(SSLMODE_VERIFY_CA);
    expect_failure("08006", "certificate not accepted");
    tls_context_unref(t);
    t = tls_to_servers(SSLMODE_PREFER); // as libpq: without TLS then
    struct visitor v;
    visitor_wait(&v, &w);
    assert_true(v.granted);
    assert_false(stream_is_tls(&v.server->stream));
    pool_discard(v.server, NULL);
    tls_context_unref(t);
    tls_context_unref(of_fake);
}

// ---- a server that was fine until now

static void idle(struct visitor *v) {
    visitor_wait(v, &w);
    assert_true(v->granted);
    visitor_go(v);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 1);
}

static void what_an_idle_server_may_not_say(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int evidence; // -1: none
    } cases[] = {
        {RAW("Z\0\0\0\5I"), -1},
        {RAW("A\0\0\0\x0c\0\0\0\1a\0b\0"), -1},
        {RAW("E\0\0\0\x16SFATAL\0C57P01\0Mx\0\0"), EVIDENCE_SHUTDOWN},
        {RAW("E\0\0\0\x16SFATAL\0C57P05\0Mx\0\0"), -1},
        {RAW("E\0\0\0\5\0"), -1},
        {RAW("S\0\0\0\x17in_hot_standby\0on\0\0"), -1}, // malformed
        {RAW("S\0\0\0\x16in_hot_standby\0on\0"), EVIDENCE_ROLE_CHANGE},
        {RAW("N\x7f\xff\xff\xff"), -1},
        {RAW("\0"), -1},
        {RAW(""), EVIDENCE_CLOSED},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct visitor v;
        idle(&v);
        int before = cases[i].evidence < 0 ? 0 : w.reports[cases[i].evidence];
        if (cases[i].len)
            fake_send_span(w.fake.conns, span_of(cases[i].bytes, cases[i].len));
        else
            fake_close_connections(&w.fake);
        RUN_UNTIL(&w, gauge_of(&w, STAT_GAUGE_POOL_IDLE) == 0);
        if (cases[i].evidence >= 0 && w.reports[cases[i].evidence] != before + 1) fail_msg("case %zu", i);
        RUN_UNTIL(&w, !w.fake.conns);
    }
    assert_int_equal(atomic_load(&w.topology->nodes[0].live->connections), 0);
}

static void what_an_idle_server_may_say(void **state) {
    (void)state;
    struct visitor v;
    idle(&v);
    struct buf b = buf_make(4096);
    put_message(&b, BE_NOTICE, ERR("SNOTICE\0C00000\0Mhello\0"));
    reply_parameter_status(&b, span_str("in_hot_standby"), span_str("off")); // as before
    reply_parameter_status(&b, span_str("TimeZone"), span_str("UTC"));
    for (size_t n = 0; n < buf_len(&b); n++) {
        fake_send_span(w.fake.conns, span_of(b.data + n, 1));
        run_turns(&w, 2);
    }
    buf_release(&b);
    assert_true(visitor_come(&v, &w));
    assert_string_equal(server_parameter(v.server, "TimeZone"), "UTC");
    assert_int_equal(w.fake.accepted, 1);
    // While busy a change of role is noted, told as evidence, and kept from the client.
    assert_true(server_note_parameter(v.server, span_str("TimeZone"), span_str("CET")));
    assert_false(server_note_parameter(v.server, span_str("in_hot_standby"), span_str("off")));
    assert_int_equal(w.reports[EVIDENCE_ROLE_CHANGE], 0);
    assert_false(server_note_parameter(v.server, span_str("in_hot_standby"), span_str("on")));
    assert_int_equal(w.reports[EVIDENCE_ROLE_CHANGE], 1);
    visitor_go(&v);
    assert_int_equal(gauge_of(&w, STAT_GAUGE_POOL_IDLE), 0);
}

static int make_files(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(tls_dir, sizeof tls_dir, "/tmp/pgsteer-hostile-XXXXXX");
    assert_non_null(mkdtemp(tls_dir));
    make_certificate("fake");
    make_certificate("other");
    return 0;
}
static int remove_files(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", tls_dir);
    return system(command);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_truncation_of_a_login),
        TEST(every_truncation_with_a_stall),
        TEST(byte_by_byte),
        TEST(every_bad_length),
        TEST(every_byte_changed),
        TEST(bytes_behind_the_login),
        TEST(half_a_notice_is_not_handed_out),
        TEST(errors_of_the_server),
        TEST(a_scram_server_must_prove_itself),
        TEST(nobody_there),
        TEST(the_next_address_is_tried),
        TEST(answers_to_the_request_for_tls),
        TEST(sslmodes_are_libpqs),
        TEST(cleartext_goes_through_tls),
        TEST(the_other_way_is_tried_when_refused),
        TEST(a_handshake_that_fails),
        TEST(what_an_idle_server_may_not_say),
        TEST(what_an_idle_server_may_say),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
