// SPDX-License-Identifier: ISC
//
// tests/unit/net/tls_test.c: TLS through router/net/stream.c, both roles, on real sockets and a real loop.
//
// Certificates are made here. Between the two ends there may be a pump, which hands bytes over one by one, or in one
// piece, and sees the records as they are on the wire.
#include "tests/unit/net/net_util.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "router/net/tls.h"

// ---- certificates

struct authority {
    EVP_PKEY *key;
    X509 *cert;
};

static char dir[64];
static struct test_loop loop;

// The same string for the same name, good to the end.
static const char *path_of(const char *name) {
    static struct { char name[32], path[128]; } known[32];
    size_t i = 0;
    while (i < countof(known) && *known[i].name && strcmp(known[i].name, name) != 0) i++;
    assert_true(i < countof(known));
    snprintf(known[i].name, sizeof known[i].name, "%s", name);
    snprintf(known[i].path, sizeof known[i].path, "%s/%s", dir, name);
    return known[i].path;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

// `by` NULL: a certificate authority that signs itself.
static struct authority make_certificate(const char *name, const char *alt, const struct authority *by) {
    struct authority a = {EVP_EC_gen("P-256"), X509_new()};
    static long serial;
    X509_set_version(a.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(a.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(a.cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(a.cert), 3600);
    X509_set_pubkey(a.cert, a.key);
    X509_NAME *subject = X509_get_subject_name(a.cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(a.cert, by ? X509_get_subject_name(by->cert) : subject);
    if (!by) add_extension(a.cert, a.cert, NID_basic_constraints, "critical,CA:TRUE");
    if (alt) add_extension(a.cert, by->cert, NID_subject_alt_name, alt);
    assert_true(X509_sign(a.cert, by ? by->key : a.key, EVP_sha256()) > 0);
    return a;
}

static void write_certificate(const struct authority *a, const char *cert, const char *key) {
    FILE *f = fopen(path_of(cert), "w");
    assert_int_equal(PEM_write_X509(f, a->cert), 1);
    fclose(f);
    f = fopen(path_of(key), "w");
    assert_int_equal(PEM_write_PrivateKey(f, a->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    assert_int_equal(chmod(path_of(key), 0600), 0);
}

static void make_files(void) {
    struct authority ca = make_certificate("test ca", NULL, NULL), other = make_certificate("other ca", NULL, NULL);
    struct authority server = make_certificate("pg1", "DNS:pg1.test,DNS:*.wild.test,IP:127.0.0.1", &ca);
    struct authority client = make_certificate("client", NULL, &ca), stranger = make_certificate("x", NULL, &other);
    write_certificate(&ca, "ca.crt", "ca.key");
    write_certificate(&other, "other.crt", "other.key");
    write_certificate(&server, "server.crt", "server.key");
    write_certificate(&client, "client.crt", "client.key");
    write_certificate(&stranger, "stranger.crt", "stranger.key");
    struct authority *all[] = {&ca, &other, &server, &client, &stranger};
    for (size_t i = 0; i < countof(all); i++) {
        EVP_PKEY_free(all[i]->key);
        X509_free(all[i]->cert);
    }
}

static int make_directory(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof dir, "/tmp/pgsteer-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    make_files();
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

// ---- contexts

static struct config plain_config(void) {
    struct config c = {.client_tls_key_file = path_of("server.key"),
                       .client_tls_cert_file = path_of("server.crt"),
                       .client_tls_ca_file = "",
                       .client_tls_ciphers = "",
                       .client_tls_sslmode = SSLMODE_PREFER,
                       .server_tls_ca_file = "",
                       .server_tls_key_file = "",
                       .server_tls_cert_file = "",
                       .server_tls_sslmode = SSLMODE_PREFER};
    return c;
}

static struct tls_context *context(const struct config *c, bool for_clients) {
    struct fault f = {.text = ""};
    struct tls_context *t = for_clients ? tls_context_for_clients(c, &f) : tls_context_for_servers(c, &f);
    if (!t) fail_msg("%s", f.text);
    return t;
}

// Two ends and what stands between them.
struct line {
    struct end server, client;
    int far[2];          // the pump's ends when there is a pump, else -1
    size_t step;         // bytes the pump moves at once, 0 = all there is
    struct buf up, down; // what the pump saw from the client and from the server
};

static int set_up(void **state) {
    (void)state;
    test_loop_init(&loop);
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    test_loop_fini(&loop);
    return 0;
}

static void pump(struct line *l) {
    static uint8_t bytes[1 << 20];
    for (int i = 0; i < 2; i++) {
        ssize_t n = recv(l->far[i], bytes, l->step ? l->step : sizeof bytes, MSG_DONTWAIT);
        if (n <= 0) continue;
        buf_put(i ? &l->up : &l->down, bytes, (size_t)n);
        assert_int_equal(send(l->far[!i], bytes, (size_t)n, MSG_DONTWAIT), n);
    }
}

// The loop does not hear what waits for the pump, so with a pump it does not sleep.
static void line_turn(struct line *l) {
    if (l->far[0] < 0) {
        uv_run(&loop.loop, UV_RUN_ONCE);
        return;
    }
    pump(l);
    uv_run(&loop.loop, UV_RUN_NOWAIT);
}
#define RUN_LINE(line, cond)                                                                                           \
    do {                                                                                                               \
        uv_timer_start(&loop.watchdog, on_watchdog, 10000, 0);                                                         \
        while (!(cond)) line_turn(line);                                                                               \
    } while (0)

static void line_open(struct line *l, struct tls_context *for_clients, struct tls_context *for_servers,
                      const char *name, bool pumped, size_t step) {
    int fds[2];
    *l = (struct line){.far = {-1, -1}, .step = step, .up = buf_make(1 << 30), .down = buf_make(1 << 30)};
    make_pair(fds);
    end_open(&l->server, &loop, fds[0]);
    if (pumped) {
        l->far[0] = fds[1];
        make_pair(fds);
        l->far[1] = fds[0];
    }
    end_open(&l->client, &loop, fds[1]);
    struct fault f;
    if (for_clients) assert_true(stream_start_tls(&l->server.stream, for_clients, true, NULL, &f));
    if (for_servers) assert_true(stream_start_tls(&l->client.stream, for_servers, false, name, &f));
}

static void line_close(struct line *l) {
    end_close(&l->server, &loop);
    end_close(&l->client, &loop);
    for (int i = 0; i < 2; i++)
        if (l->far[i] >= 0) close(l->far[i]);
    buf_release(&l->up);
    buf_release(&l->down);
}

static void line_ready(struct line *l) {
    RUN_LINE(l, l->server.ready && l->client.ready);
    assert_true(stream_is_tls(&l->server.stream));
    assert_int_equal(l->server.failed + l->client.failed, 0);
}

// A line with the plain configuration at both ends.
static void line_simple(struct line *l, bool pumped, size_t step) {
    struct config c = plain_config();
    struct tls_context *s = context(&c, true), *t = context(&c, false);
    line_open(l, s, t, "pg1.test", pumped, step);
    tls_context_unref(s); // the sessions keep what they need
    tls_context_unref(t);
}

// ---- tests of the transport

static void both_ways(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, false, 0);
    assert_int_equal(l.client.ready, 0); // never from inside
    assert_true(stream_write(&l.client.stream, "early", 5));
    line_ready(&l);
    RUN_UNTIL(&loop, buf_len(&l.server.got) == 5);
    assert_true(stream_write(&l.server.stream, "pong", 4));
    assert_int_equal(stream_unsent(&l.server.stream), 0);
    RUN_UNTIL(&loop, buf_len(&l.client.got) == 4);
    stream_close(&l.client.stream, true);
    RUN_UNTIL(&loop, l.server.last_read == -1);
    line_close(&l);
}

static void transfer(struct line *l, size_t total) {
    uint8_t *p = pattern_new(total);
    for (size_t at = 0; at < total;) {
        size_t n = MIN_OF((size_t)70000, total - at);
        struct iovec iov[] = {{p + at, n / 3}, {p + at + n / 3, 0}, {p + at + n / 3, n - n / 3}};
        assert_true(stream_writev(&l->client.stream, iov, 3));
        assert_true(stream_writev(&l->server.stream, iov, 3));
        at += n;
    }
    RUN_LINE(l, buf_len(&l->server.got) == total && buf_len(&l->client.got) == total);
    assert_pattern(buf_span(&l->server.got));
    assert_pattern(buf_span(&l->client.got));
    assert_int_equal(stream_unsent(&l->client.stream), 0);
    mem_free(p);
}

static void much_both_ways_with_back_pressure(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, false, 0);
    line_ready(&l);
    transfer(&l, 8 << 20);
    assert_true(l.client.drained > 0 && l.server.drained > 0);
    line_close(&l);
}

static void byte_by_byte(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 1);
    line_ready(&l);
    transfer(&l, 20000);
    line_close(&l);
}

static size_t records_of_data(struct span s) {
    size_t n = 0;
    while (s.len >= 5) {
        n += s.ptr[0] == 23;
        s = span_from(s, 5 + (size_t)span_u16(s.ptr + 3));
    }
    assert_int_equal(s.len, 0);
    return n;
}

static void one_group_is_one_record(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 0);
    line_ready(&l);
    RUN_LINE(&l, stream_unsent(&l.client.stream) == 0);
    run_turns(&loop, 3);
    pump(&l);
    buf_clear(&l.up);
    uint8_t *p = pattern_new(3000);
    struct iovec iov[100];
    for (size_t i = 0; i < countof(iov); i++) iov[i] = (struct iovec){p + 30 * i, 30};
    assert_true(stream_writev(&l.client.stream, iov, countof(iov)));
    RUN_LINE(&l, buf_len(&l.server.got) == 3000);
    assert_int_equal(records_of_data(buf_span(&l.up)), 1);
    assert_pattern(buf_span(&l.server.got));
    mem_free(p);
    line_close(&l);
}

// Three records arrive in one piece; the owner reads little at a time.
static void what_tls_holds_is_announced(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 0);
    line_ready(&l);
    l.server.read_cap = 700;
    uint8_t *p = pattern_new(30000);
    for (size_t i = 0; i < 3; i++) assert_true(stream_write(&l.client.stream, p + 10000 * i, 10000));
    RUN_LINE(&l, buf_len(&l.server.got) == 30000);
    assert_pattern(buf_span(&l.server.got));
    assert_false(stream_has_pending(&l.server.stream));
    int told = l.server.readable;
    run_turns(&loop, 10);
    assert_int_equal(l.server.readable, told);
    mem_free(p);
    line_close(&l);
}

static void pause_once(struct end *e, const char *event) {
    if (strcmp(event, "readable") != 0) return;
    e->hook = NULL;
    stream_pause(&e->stream);
}

static void what_tls_holds_is_announced_after_a_pause(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 0);
    line_ready(&l);
    l.server.read_cap = 100;
    l.server.hook = pause_once;
    uint8_t *p = pattern_new(1000);
    assert_true(stream_write(&l.client.stream, p, 1000));
    RUN_LINE(&l, stream_is_paused(&l.server.stream));
    run_turns(&loop, 5);
    assert_int_equal(buf_len(&l.server.got), 100);
    assert_true(stream_has_pending(&l.server.stream));
    stream_resume(&l.server.stream);
    assert_int_equal(buf_len(&l.server.got), 100); // never from inside
    RUN_UNTIL(&loop, buf_len(&l.server.got) == 1000);
    assert_pattern(buf_span(&l.server.got));
    mem_free(p);
    line_close(&l);
}

static void half_a_record_does_not_spin(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 0);
    line_ready(&l);
    assert_true(stream_write(&l.client.stream, "0123456789", 10));
    uint8_t bytes[200];
    ssize_t n = recv(l.far[1], bytes, sizeof bytes, 0);
    assert_int_equal(send(l.far[0], bytes, (size_t)n - 3, 0), n - 3);
    RUN_UNTIL(&loop, l.server.readable);
    int told = l.server.readable;
    run_turns(&loop, 10);
    assert_int_equal(l.server.readable, told);
    assert_int_equal(l.server.last_read, 0);
    assert_false(stream_has_pending(&l.server.stream)); // nothing that could be read
    assert_int_equal(send(l.far[0], bytes + n - 3, 3, 0), 3);
    RUN_UNTIL(&loop, buf_len(&l.server.got) == 10);
    line_close(&l);
}

static void a_cut_connection_is_an_end_of_file(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, false, 0);
    line_ready(&l);
    stream_close(&l.client.stream, false); // no close_notify
    RUN_UNTIL(&loop, l.server.last_read == -1);
    line_close(&l);
}

static void closing_says_goodbye(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 0);
    line_ready(&l);
    run_turns(&loop, 3);
    pump(&l);
    buf_clear(&l.up);
    assert_true(stream_write(&l.client.stream, "bye", 3));
    stream_close(&l.client.stream, true);
    RUN_LINE(&l, l.server.last_read == -1);
    assert_int_equal(buf_len(&l.server.got), 3);
    assert_int_equal(records_of_data(buf_span(&l.up)), 2); // the bytes, and the alert in disguise (TLS 1.3)
    line_close(&l);
}

static void junk_in_the_stream_is_an_error(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, true, 0);
    line_ready(&l);
    assert_int_equal(send(l.far[0], "Q\0\0\0\x0dSELECT 1", 14, 0), 14);
    RUN_UNTIL(&loop, l.server.last_read == -2);
    assert_string_equal(l.server.fault.sqlstate, "08006");
    line_close(&l);
}

// ---- tests of the handshake

static void plain_text_instead_of_a_handshake_fails(void **state) {
    (void)state;
    struct config c = plain_config();
    struct tls_context *s = context(&c, true);
    struct line l;
    line_open(&l, s, NULL, NULL, false, 0);
    assert_true(stream_write(&l.client.stream, "Q\0\0\0\x0dSELECT 1", 14));
    RUN_UNTIL(&loop, l.server.failed);
    assert_non_null(strstr(l.server.fault.text, "TLS handshake failed"));
    run_turns(&loop, 5);
    assert_int_equal(l.server.failed, 1);
    assert_int_equal(l.server.readable + l.server.ready, 0);
    line_close(&l);
    tls_context_unref(s);
}

static void an_end_in_the_handshake_fails(void **state) {
    (void)state;
    struct config c = plain_config();
    struct tls_context *t = context(&c, false);
    struct line l;
    line_open(&l, NULL, t, NULL, false, 0);
    RUN_UNTIL(&loop, buf_len(&l.server.got) > 0);
    stream_close(&l.server.stream, false);
    RUN_UNTIL(&loop, l.client.failed);
    assert_non_null(strstr(l.client.fault.text, "connection closed"));
    line_close(&l);
    tls_context_unref(t);
}

static void closing_in_the_handshake(void **state) {
    (void)state;
    struct line l;
    line_simple(&l, false, 0);
    run_turns(&loop, 1);
    assert_true(stream_write(&l.client.stream, "queued", 6));
    stream_close(&l.client.stream, true);
    stream_close(&l.server.stream, true);
    line_close(&l);
}

static void tls_does_not_start_twice_or_behind_unsent_bytes(void **state) {
    (void)state;
    struct config c = plain_config();
    struct tls_context *s = context(&c, true);
    struct fault f;
    struct line l;
    line_open(&l, s, NULL, NULL, false, 0);
    assert_false(stream_start_tls(&l.server.stream, s, true, NULL, &f));
    uint8_t *p = pattern_new(4 << 20);
    assert_true(stream_write(&l.client.stream, p, 4 << 20));
    assert_true(stream_unsent(&l.client.stream) > 0);
    assert_false(stream_start_tls(&l.client.stream, s, true, NULL, &f));
    assert_false(stream_is_tls(&l.client.stream));
    mem_free(p);
    line_close(&l);
    tls_context_unref(s);
}

// Connects as a client with `c` to a server with the plain configuration; "" when it worked, else what failed.
static const char *connect_with(const struct config *for_client, const struct config *for_server, const char *name) {
    static struct fault f;
    struct tls_context *s = context(for_server, true), *t = context(for_client, false);
    struct line l;
    line_open(&l, s, t, name, false, 0);
    // A client certificate is judged after the client has finished (TLS 1.3), so both must have come to an end.
    assert_true(stream_write(&l.server.stream, "x", 1));
    RUN_UNTIL(&loop, l.client.failed || l.server.failed || buf_len(&l.client.got));
    f = l.server.failed ? l.server.fault : l.client.fault;
    if (buf_len(&l.client.got)) f.text[0] = '\0';
    line_close(&l);
    tls_context_unref(s);
    tls_context_unref(t);
    return f.text;
}

static void servers_are_verified_as_libpq_does(void **state) {
    (void)state;
    static const struct {
        enum sslmode mode;
        const char *ca, *name, *expected; // part of the fault, "" = works
    } cases[] = {
        {SSLMODE_REQUIRE, "", "other.test", ""},
        {SSLMODE_PREFER, "", NULL, ""},
        {SSLMODE_REQUIRE, "ca.crt", "other.test", ""},
        {SSLMODE_REQUIRE, "other.crt", "pg1.test", "not accepted"},
        {SSLMODE_VERIFY_CA, "ca.crt", "other.test", ""},
        {SSLMODE_VERIFY_CA, "other.crt", "pg1.test", "not accepted: unable to get local issuer certificate"},
        {SSLMODE_VERIFY_FULL, "ca.crt", "pg1.test", ""},
        {SSLMODE_VERIFY_FULL, "ca.crt", "a.wild.test", ""},
        {SSLMODE_VERIFY_FULL, "ca.crt", "127.0.0.1", ""},
        {SSLMODE_VERIFY_FULL, "ca.crt", "127.0.0.2", "IP address mismatch"},
        {SSLMODE_VERIFY_FULL, "ca.crt", "a.b.wild.test", "hostname mismatch"},
        {SSLMODE_VERIFY_FULL, "ca.crt", "other.test", "hostname mismatch"},
        {SSLMODE_VERIFY_FULL, "ca.crt", "pg1", "hostname mismatch"}, // the CN counts only without alternatives
        {SSLMODE_VERIFY_FULL, "other.crt", "pg1.test", "not accepted"},
    };
    struct config server = plain_config();
    for (size_t i = 0; i < countof(cases); i++) {
        struct config c = plain_config();
        c.server_tls_sslmode = cases[i].mode;
        c.server_tls_ca_file = *cases[i].ca ? path_of(cases[i].ca) : "";
        const char *text = connect_with(&c, &server, cases[i].name);
        if (*cases[i].expected ? !strstr(text, cases[i].expected) : *text) fail_msg("case %zu: \"%s\"", i, text);
    }
}

static void a_name_is_needed_to_verify_it(void **state) {
    (void)state;
    struct config c = plain_config();
    c.server_tls_sslmode = SSLMODE_VERIFY_FULL;
    c.server_tls_ca_file = path_of("ca.crt");
    struct tls_context *t = context(&c, false);
    struct line l;
    line_open(&l, NULL, NULL, NULL, false, 0);
    struct fault f;
    assert_false(stream_start_tls(&l.client.stream, t, false, NULL, &f));
    assert_non_null(strstr(f.text, "host name"));
    line_close(&l);
    tls_context_unref(t);
}

static void clients_show_a_certificate_when_asked(void **state) {
    (void)state;
    struct config server = plain_config(), c = plain_config();
    server.client_tls_sslmode = SSLMODE_VERIFY_FULL;
    server.client_tls_ca_file = path_of("ca.crt");
    assert_non_null(strstr(connect_with(&c, &server, NULL), "peer did not return a certificate"));
    c.server_tls_cert_file = path_of("client.crt");
    c.server_tls_key_file = path_of("client.key");
    assert_string_equal(connect_with(&c, &server, NULL), "");
    c.server_tls_cert_file = path_of("stranger.crt");
    c.server_tls_key_file = path_of("stranger.key");
    assert_non_null(strstr(connect_with(&c, &server, NULL), "not accepted"));
}

// ---- tests of the options

static void expect_bad(const struct config *c, bool for_clients, const char *option, const char *what) {
    struct fault f = {.text = ""};
    assert_null(for_clients ? tls_context_for_clients(c, &f) : tls_context_for_servers(c, &f));
    assert_string_equal(f.sqlstate, "F0000");
    if (strncmp(f.text, option, strlen(option)) != 0 || !strstr(f.text, what)) fail_msg("\"%s\"", f.text);
}

static void bad_files_are_named(void **state) {
    (void)state;
    struct config c = plain_config();
    c.client_tls_cert_file = path_of("none.crt");
    expect_bad(&c, true, "client_tls_cert_file", "No such file");
    c.client_tls_cert_file = path_of("server.key");
    expect_bad(&c, true, "client_tls_cert_file", "no start line");
    c.client_tls_cert_file = "";
    expect_bad(&c, true, "client_tls_cert_file", "not set");
    c = plain_config();
    c.client_tls_key_file = "";
    expect_bad(&c, true, "client_tls_key_file", "not set");
    c.client_tls_key_file = path_of("none.key");
    expect_bad(&c, true, "client_tls_key_file", "No such file");
    c.client_tls_key_file = dir;
    expect_bad(&c, true, "client_tls_key_file", "not a regular file");
    c.client_tls_key_file = path_of("client.key");
    expect_bad(&c, true, "client_tls_key_file", "mismatch");
    c = plain_config();
    c.client_tls_ciphers = "NOT-A-CIPHER";
    expect_bad(&c, true, "client_tls_ciphers", "no cipher match");
    c = plain_config();
    c.client_tls_sslmode = SSLMODE_VERIFY_CA;
    expect_bad(&c, true, "client_tls_ca_file", "not set");
    c.client_tls_ca_file = path_of("server.key");
    expect_bad(&c, true, "client_tls_ca_file", "");
    c = plain_config();
    c.server_tls_sslmode = SSLMODE_VERIFY_FULL;
    expect_bad(&c, false, "server_tls_ca_file", "not set");
    c.server_tls_ca_file = path_of("none.crt");
    expect_bad(&c, false, "server_tls_ca_file", "No such file");
    c = plain_config();
    c.server_tls_key_file = path_of("client.key");
    expect_bad(&c, false, "server_tls_cert_file", "not set");
}

static void a_key_that_others_can_read_is_refused(void **state) {
    (void)state;
    struct config c = plain_config();
    const char *key = path_of("server.key");
    static const struct {
        mode_t mode;
        bool as_root, as_other; // good when root owns it, when somebody else does
    } cases[] = {
        {0600, true, true}, {0400, true, true}, {0640, true, false}, {0644, false, false}, {0660, false, false}};
    for (size_t i = 0; i < countof(cases); i++) {
        assert_int_equal(chmod(key, cases[i].mode), 0);
        struct fault f;
        struct tls_context *t = tls_context_for_clients(&c, &f);
        assert_int_equal(t != NULL, geteuid() == 0 ? cases[i].as_root : cases[i].as_other);
        if (t) tls_context_unref(t);
        if (!t) assert_non_null(strstr(f.text, "can be read by others"));
    }
    assert_int_equal(chmod(key, 0600), 0);
}

static void a_key_with_a_passphrase_is_an_error_and_no_question(void **state) {
    (void)state;
    FILE *f = fopen(path_of("locked.key"), "w");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_int_equal(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), (const unsigned char *)"pass", 4, NULL, NULL), 1);
    fclose(f);
    EVP_PKEY_free(key);
    assert_int_equal(chmod(path_of("locked.key"), 0600), 0);
    struct config c = plain_config();
    c.client_tls_key_file = path_of("locked.key");
    expect_bad(&c, true, "client_tls_key_file", "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(both_ways),
        TEST(much_both_ways_with_back_pressure),
        TEST(byte_by_byte),
        TEST(one_group_is_one_record),
        TEST(what_tls_holds_is_announced),
        TEST(what_tls_holds_is_announced_after_a_pause),
        TEST(half_a_record_does_not_spin),
        TEST(a_cut_connection_is_an_end_of_file),
        TEST(closing_says_goodbye),
        TEST(junk_in_the_stream_is_an_error),
        TEST(plain_text_instead_of_a_handshake_fails),
        TEST(an_end_in_the_handshake_fails),
        TEST(closing_in_the_handshake),
        TEST(tls_does_not_start_twice_or_behind_unsent_bytes),
        TEST(servers_are_verified_as_libpq_does),
        TEST(a_name_is_needed_to_verify_it),
        TEST(clients_show_a_certificate_when_asked),
        TEST(bad_files_are_named),
        TEST(a_key_that_others_can_read_is_refused),
        TEST(a_key_with_a_passphrase_is_an_error_and_no_question),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
