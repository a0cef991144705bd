// SPDX-License-Identifier: ISC
// SCRAM as it should not go: malformed messages to both roles, cut and altered everywhere, and messages out of turn.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"
#include "router/auth/scram_attr.h"
#include "router/auth/scram_math.h"

enum { ROOM = 64 * 1024, PROOF_LEN = BASE64_LEN(SCRAM_KEY_LEN) };

static struct user web;            // with a verifier of "secret"
static struct secret web_password; // "secret"

static int set_up(void **state) {
    (void)state;
    struct scram_keys keys;
    web = (struct user){.name = (char *)(uintptr_t) "web", .kind = USER_SECRET_SCRAM};
    web.verifier = (struct scram_verifier){.iterations = 4096, .salt_len = 4, .salt = {1, 2, 3, 4}};
    bool ok = secret_set(&web_password, span_str("secret")) &&
              scram_derive(&web_password, span_of(web.verifier.salt, 4), 4096, &keys) &&
              scram_stored_key(keys.client_key, web.verifier.stored_key);
    memcpy(web.verifier.server_key, keys.server_key, SCRAM_KEY_LEN);
    return ok ? 0 : -1;
}

// Memory of just that size, so that a sanitizer sees a read past the end.
static struct span exact(struct span s) {
    uint8_t *p = mem_alloc(s.len);
    if (s.len) memcpy(p, s.ptr, s.len);
    return span_of(p, s.len);
}
static void exact_free(struct span s) { mem_free((void *)(uintptr_t)s.ptr); }

// One message to a fresh server role.
static bool server_first(struct span in, struct buf *out, struct fault *fault) {
    struct span copy = exact(in);
    struct scram_server *s = scram_server_new(&web, span_str("web"), scram_shape_default(), NULL);
    *fault = (struct fault){.text = ""};
    bool ok = scram_server_first(s, copy, out, fault);
    exact_free(copy);
    if (!ok) {
        assert_int_equal(buf_len(out), 0);
        assert_true(fault->text[0] != '\0');
        // Refused once, refused for good.
        assert_false(scram_server_first(s, span_str("n,,n=,r=abc"), out, NULL));
        assert_false(scram_server_final(s, span_str("c=biws,r=abc,p=x"), out, NULL, NULL));
    }
    scram_server_free(s);
    return ok;
}

#define TEXT(s)                                                                                                        \
    { (const uint8_t *)(s), sizeof(s) - 1 }

static void client_first_messages(void **state) {
    (void)state;
    static const struct {
        struct span in;
        const char *sqlstate; // NULL: good
    } cases[] = {
        {TEXT("n,,n=,r=abc"), NULL},
        {TEXT("y,,n=,r=abc"), NULL},
        {TEXT("n,,n=whoever,r=abc"), NULL},
        {TEXT("n,,n=,r=abc,"), NULL},
        {TEXT("n,,n=,r=abc,x=1,Y=2"), NULL},
        {TEXT("n,,n=,r=!~"), NULL},
        {TEXT(""), "08P01"},
        {TEXT("n"), "08P01"},
        {TEXT("n,"), "08P01"},
        {TEXT("n,,"), "08P01"},
        {TEXT("nn,,n=,r=abc"), "08P01"},
        {TEXT("x,,n=,r=abc"), "08P01"},
        {TEXT("N,,n=,r=abc"), "08P01"},
        {TEXT(",,n=,r=abc"), "08P01"},
        {TEXT("p=tls-server-end-point,,n=,r=abc"), "08P01"},
        {TEXT("p=tls-unique,,n=,r=abc"), "08P01"},
        {TEXT("p"), "08P01"},
        {TEXT("n,a=root,n=,r=abc"), "0A000"},
        {TEXT("n,a"), "0A000"},
        {TEXT("n,b=root,n=,r=abc"), "08P01"},
        {TEXT("n,,m=ext,n=,r=abc"), "0A000"},
        {TEXT("n,,m"), "0A000"},
        {TEXT("n,,r=abc,n="), "08P01"},
        {TEXT("n,,n=,"), "08P01"},
        {TEXT("n,,n="), "08P01"},
        {TEXT("n,,n"), "08P01"},
        {TEXT("n,,n,r=abc"), "08P01"},
        {TEXT("n,,n=,r="), "08P01"},
        {TEXT("n,,n=,r=,x=1"), "08P01"},
        {TEXT("n,,n=,r=a b"), "08P01"},
        {TEXT("n,,n=,r=a\tb"), "08P01"},
        {TEXT("n,,n=,r=a\x7f"), "08P01"},
        {TEXT("n,,n=,r=a\xc3\xa4"), "08P01"},
        {TEXT("n,,n=,r=abc,x"), "08P01"},
        {TEXT("n,,n=,r=abc,1=1"), "08P01"},
        {TEXT("n,,n=,r=abc,=1"), "08P01"},
        {TEXT("n,,n=,r=abc,,x=1"), "08P01"},
        {TEXT("n,,n=,r=ab\0c"), "08P01"},
        {TEXT("n,,n=,r=abc\0"), "08P01"},
        {TEXT("\0n,,n=,r=abc"), "08P01"},
        {TEXT("n,,n=a\0b,r=abc"), "08P01"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct buf out = buf_make(ROOM);
        struct fault fault;
        bool ok = server_first(cases[i].in, &out, &fault);
        if (ok != !cases[i].sqlstate) fail_msg("%zu: %s", i, (const char *)cases[i].in.ptr);
        if (!ok) assert_string_equal(fault.sqlstate, cases[i].sqlstate);
        buf_release(&out);
    }
}

static void long_messages(void **state) {
    (void)state;
    char text[SCRAM_MESSAGE_MAX + 2];
    struct fault fault;
    memset(text, 'x', sizeof text);
    memcpy(text, "n,,n=,r=", 8);
    struct buf out = buf_make(ROOM);
    assert_true(server_first(span_of(text, SCRAM_MESSAGE_MAX), &out, &fault));
    buf_clear(&out);
    assert_false(server_first(span_of(text, SCRAM_MESSAGE_MAX + 1), &out, &fault));
    assert_string_equal(fault.sqlstate, "08P01");
    buf_release(&out);
    // No room for the answer is the caller's to see, at the flag.
    struct buf small = buf_make(10);
    struct scram_server *s = scram_server_new(&web, span_str("web"), scram_shape_default(), NULL);
    assert_true(scram_server_first(s, span_str("n,,n=,r=abc"), &small, &fault));
    assert_true(small.failed);
    scram_server_free(s);
    buf_release(&small);
}

// A login up to the client's last message, which the test then alters.
struct pair {
    struct scram_server *server;
    struct scram_client *client;
    struct buf server_first, client_final;
};

static struct pair pair_make(void) {
    struct pair p = {.server = scram_server_new(&web, span_str("web"), scram_shape_default(), NULL),
                     .client = scram_client_new(&web_password, NULL),
                     .server_first = buf_make(ROOM),
                     .client_final = buf_make(ROOM)};
    struct buf first = buf_make(ROOM);
    assert_true(scram_client_first(p.client, &first, NULL));
    assert_true(scram_server_first(p.server, buf_span(&first), &p.server_first, NULL));
    assert_true(scram_client_final(p.client, buf_span(&p.server_first), &p.client_final, NULL));
    buf_release(&first);
    return p;
}

static void pair_free(struct pair *p) {
    scram_server_free(p->server);
    scram_client_free(p->client);
    buf_release(&p->server_first);
    buf_release(&p->client_final);
}

static bool finish(struct pair *p, struct span message, struct fault *fault) {
    struct buf out = buf_make(ROOM);
    struct scram_keys keys = {.set = false};
    struct span copy = exact(message);
    *fault = (struct fault){.text = ""};
    bool ok = scram_server_final(p->server, copy, &out, &keys, fault);
    exact_free(copy);
    assert_int_equal(buf_len(&out) > 0, ok);
    assert_int_equal(keys.set, ok);
    if (!ok) assert_true(strcmp(fault->sqlstate, "08P01") == 0 || strcmp(fault->sqlstate, "28P01") == 0);
    assert_false(scram_server_final(p->server, message, &out, &keys, NULL)); // never twice
    buf_release(&out);
    return ok;
}

static void client_final_cut_and_altered(void **state) {
    (void)state;
    struct pair p = pair_make();
    size_t len = buf_len(&p.client_final);
    pair_free(&p);
    for (size_t n = 0; n <= len; n++) {
        struct fault fault;
        p = pair_make();
        assert_int_equal(buf_len(&p.client_final), len);
        assert_int_equal(finish(&p, span_first(buf_span(&p.client_final), n), &fault), n == len);
        pair_free(&p);
        if (n == len) break;
        p = pair_make();
        p.client_final.data[p.client_final.head + n] ^= 1;
        assert_false(finish(&p, buf_span(&p.client_final), &fault));
        // Only in the proof can an altered byte be taken for a wrong password.
        if (n < len - PROOF_LEN) assert_string_equal(fault.sqlstate, "08P01");
        pair_free(&p);
    }
}

// Builds a final message with the right nonce; `fmt` has it as %s once, and the good proof as the second %s.
static void final_of(const struct pair *p, const char *before, const char *between, const char *after,
                     struct buf *out) {
    struct span whole = buf_span(&p->client_final);
    size_t proof_at = whole.len - PROOF_LEN, nonce_at = 9, nonce_len = proof_at - 3 - nonce_at;
    buf_put(out, before, strlen(before));
    buf_put_span(out, span_first(span_from(whole, nonce_at), nonce_len));
    buf_put(out, between, strlen(between));
    buf_put_span(out, span_from(whole, proof_at));
    buf_put(out, after, strlen(after));
}

static void client_final_messages(void **state) {
    (void)state;
    static const struct {
        const char *before, *between, *after, *sqlstate; // NULL: good
    } cases[] = {
        {"c=biws,r=", ",p=", "", NULL},
        {"c=biws,r=", ",p=", ",", NULL},
        {"c=biws,r=", ",x=1,p=", "", "28P01"}, // read, and no longer what the proof was made for
        {"c=eSws,r=", ",p=", "", "08P01"},
        {"c=biw=,r=", ",p=", "", "08P01"},
        {"c=,r=", ",p=", "", "08P01"},
        {"c=biwsbiws,r=", ",p=", "", "08P01"},
        {"r=", ",p=", "", "08P01"},
        {"m=x,c=biws,r=", ",p=", "", "08P01"},
        {"c=biws,r=x", ",p=", "", "08P01"},
        {"c=biws,r=", "x,p=", "", "08P01"},
        {"c=biws,n=,r=", ",p=", "", "08P01"},
        {"c=biws,r=", ",p=x", "", "08P01"},
        {"c=biws,r=", ",p==", "", "08P01"},
        {"c=biws,r=", ",p=", "=", "08P01"},
        {"c=biws,r=", ",p=", "x", "08P01"},
        {"c=biws,r=", ",p=", ",x=1", "08P01"},
        {"c=biws,r=", ",p=", "\n", "08P01"},
        {"c=biws,r=", ",q=", "", "08P01"},
        {"c=biws,r=", ",p=,", "", "08P01"},
        {"c=biws,r=", ",", "", "08P01"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct pair p = pair_make();
        struct buf message = buf_make(ROOM);
        struct fault fault;
        final_of(&p, cases[i].before, cases[i].between, cases[i].after, &message);
        bool ok = finish(&p, buf_span(&message), &fault);
        if (ok != !cases[i].sqlstate)
            fail_msg("%zu: %s...%s...%s", i, cases[i].before, cases[i].between, cases[i].after);
        if (!ok) assert_string_equal(fault.sqlstate, cases[i].sqlstate);
        buf_release(&message);
        pair_free(&p);
    }
}

static void proof_of_another_length(void **state) {
    (void)state;
    static const char *const proofs[] = {
        "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < countof(proofs); i++) {
        struct pair p = pair_make();
        struct span whole = buf_span(&p.client_final);
        struct buf message = buf_make(ROOM);
        struct fault fault;
        buf_put_span(&message, span_first(whole, whole.len - PROOF_LEN));
        buf_put(&message, proofs[i], strlen(proofs[i]));
        assert_false(finish(&p, buf_span(&message), &fault));
        assert_string_equal(fault.sqlstate, "08P01");
        buf_release(&message);
        pair_free(&p);
    }
}

// One message of a hostile server to a fresh client role; `rest` follows the client's own nonce.
static bool client_final(const char *before, const char *rest, size_t cut, struct fault *fault) {
    struct scram_client *c = scram_client_new(&web_password, NULL);
    struct buf first = buf_make(ROOM), in = buf_make(ROOM), out = buf_make(ROOM);
    assert_true(scram_client_first(c, &first, NULL));
    buf_put(&in, before, strlen(before));
    buf_put_span(&in, span_from(buf_span(&first), strlen("n,,n=,r=")));
    buf_put(&in, rest, strlen(rest));
    struct span copy = exact(span_first(buf_span(&in), buf_len(&in) - cut));
    *fault = (struct fault){.text = ""};
    bool ok = scram_client_final(c, copy, &out, fault);
    assert_int_equal(buf_len(&out) > 0, ok);
    if (!ok) {
        assert_true(fault->text[0] != '\0');
        assert_false(scram_client_verify(c, span_str("v=x"), NULL));
    }
    assert_false(scram_client_final(c, copy, &out, NULL)); // never twice
    exact_free(copy);
    scram_client_free(c);
    buf_release(&first);
    buf_release(&in);
    buf_release(&out);
    return ok;
}

static void server_first_messages(void **state) {
    (void)state;
    static const struct {
        const char *before, *rest, *sqlstate; // NULL: good
    } cases[] = {
        {"r=", "Z,s=AQIDBA==,i=4096", NULL},
        {"r=", "Z,s=AQIDBA==,i=4096,", NULL},
        {"r=", ",s=AQIDBA==,i=4096", "08P01"}, // the server added nothing of its own
        {"r=Z", ",s=AQIDBA==,i=4096", "08P01"},
        {"q", "Z,s=AQIDBA==,i=4096", "08P01"}, // a nonce alone could begin with an m
        {"m=x,r=", "Z,s=AQIDBA==,i=4096", "0A000"},
        {"e=no,r=", "Z,s=AQIDBA==,i=4096", "08P01"},
        {"r=", " Z,s=AQIDBA==,i=4096", "08P01"},
        {"r=", "Z", "08P01"},
        {"r=", "Z,", "08P01"},
        {"r=", "Z,i=4096,s=AQIDBA==", "08P01"},
        {"r=", "Z,s=AQIDBA==", "08P01"},
        {"r=", "Z,s=AQIDBA==,", "08P01"},
        {"r=", "Z,s=AQIDBA=,i=4096", "08P01"},
        {"r=", "Z,s=A*IDBA==,i=4096", "08P01"},
        {"r=", "Z,s=,i=4096", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=0", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=-4096", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=+4096", "08P01"},
        {"r=", "Z,s=AQIDBA==,i= 4096", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=04096", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=4096x", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=0x1000", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=1", "28000"},
        {"r=", "Z,s=AQIDBA==,i=4095", "28000"},
        {"r=", "Z,s=AQIDBA==,i=1000001", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=4294971392", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=99999999999999999999999999", "08P01"},
        {"r=", "Z,s=AQIDBA==,i=4096,x=1", "08P01"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct fault fault;
        bool ok = client_final(cases[i].before, cases[i].rest, 0, &fault);
        if (ok != !cases[i].sqlstate) fail_msg("%zu: %s...%s", i, cases[i].before, cases[i].rest);
        if (!ok) assert_string_equal(fault.sqlstate, cases[i].sqlstate);
    }
}

static void server_first_cut(void **state) {
    (void)state;
    const char *rest = "Z,s=AQIDBA==,i=4096";
    struct fault fault;
    for (size_t cut = 1; cut <= strlen(rest) + SCRAM_NONCE_LEN + 2; cut++) {
        assert_false(client_final("r=", rest, cut, &fault));
        assert_true(fault.sqlstate[0] != '\0');
    }
    // A nonce as long as a message may be: refused by length, not copied anywhere.
    char *longest = mem_alloc(ROOM / 2);
    memset(longest, 'x', ROOM / 2 - 1);
    assert_false(client_final("r=", longest, 0, &fault));
    assert_string_equal(fault.sqlstate, "08P01");
    mem_free(longest);
}

// The server's last message, altered; the client role must be convinced only by the right one.
static bool verify_altered(void (*alter)(struct buf *message, size_t at), size_t at, size_t *len, struct fault *fault) {
    struct pair p = pair_make();
    struct buf out = buf_make(ROOM);
    assert_true(scram_server_final(p.server, buf_span(&p.client_final), &out, NULL, NULL));
    *len = buf_len(&out);
    alter(&out, at);
    struct span copy = exact(buf_span(&out));
    *fault = (struct fault){.text = ""};
    bool ok = scram_client_verify(p.client, copy, fault);
    assert_false(scram_client_verify(p.client, copy, NULL)); // never twice
    exact_free(copy);
    buf_release(&out);
    pair_free(&p);
    return ok;
}

static void alter_nothing(struct buf *b, size_t at) { (void)b, (void)at; }
static void alter_bit(struct buf *b, size_t at) { b->data[b->head + at] ^= 1; }
static void alter_cut(struct buf *b, size_t at) { buf_truncate(b, at); }
static void alter_replace(struct buf *b, size_t at) {
    static const char *const messages[] = {"e=other-error", "e=", "e", "x=y", "v=", "v=AAAA", "v", ""};
    buf_clear(b);
    buf_put(b, messages[at], strlen(messages[at]));
}
static void alter_append(struct buf *b, size_t at) {
    static const char *const tails[] = {"x", "=", ",x=1", ",v=AAAA", "\n"};
    buf_put(b, tails[at], strlen(tails[at]));
}

static void server_final_messages(void **state) {
    (void)state;
    struct fault fault;
    size_t len;
    assert_true(verify_altered(alter_nothing, 0, &len, &fault));
    size_t whole = len;
    for (size_t i = 0; i < whole; i++) {
        assert_false(verify_altered(alter_bit, i, &len, &fault));
        assert_false(verify_altered(alter_cut, i, &len, &fault));
    }
    for (size_t i = 0; i < 8; i++) assert_false(verify_altered(alter_replace, i, &len, &fault));
    for (size_t i = 0; i < 5; i++) assert_false(verify_altered(alter_append, i, &len, &fault));
    assert_false(verify_altered(alter_replace, 0, &len, &fault));
    assert_string_equal(fault.text, "error received from server in SCRAM exchange: other-error");
}

static void out_of_turn(void **state) {
    (void)state;
    struct buf out = buf_make(ROOM);
    struct fault fault;
    struct scram_server *s = scram_server_new(&web, span_str("web"), scram_shape_default(), NULL);
    assert_false(scram_server_final(s, span_str("c=biws,r=abc,p=x"), &out, NULL, &fault));
    assert_string_equal(fault.sqlstate, "08P01");
    assert_true(scram_server_first(s, span_str("n,,n=,r=abc"), &out, &fault));
    assert_false(scram_server_first(s, span_str("n,,n=,r=abc"), &out, &fault));
    scram_server_free(s);
    struct scram_client *c = scram_client_new(&web_password, NULL);
    assert_false(scram_client_final(c, span_str("r=abc,s=AQIDBA==,i=4096"), &out, &fault));
    assert_false(scram_client_verify(c, span_str("v=AAAA"), &fault));
    assert_string_equal(fault.sqlstate, "08P01");
    buf_clear(&out);
    assert_true(scram_client_first(c, &out, &fault));
    assert_false(scram_client_first(c, &out, &fault));
    // A server that skips its first message and claims to have proved itself.
    assert_false(scram_client_verify(c, span_str("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), &fault));
    scram_client_free(c);
    scram_client_free(NULL);
    scram_server_free(NULL);
    buf_release(&out);
}

// An empty or made-up stored key must not be matched by a proof that fits it.
static void mock_accepts_no_proof(void **state) {
    (void)state;
    struct user none = {.name = (char *)(uintptr_t) "web", .kind = USER_SECRET_NONE};
    const struct user *users[] = {&none, NULL};
    for (size_t i = 0; i < countof(users); i++) {
        struct buf a = buf_make(ROOM), b = buf_make(ROOM);
        struct fault fault;
        struct scram_server *s = scram_server_new(users[i], span_str("web"), scram_shape_default(), NULL);
        struct scram_keys zero = {.set = true};
        struct scram_client *c = scram_client_new(NULL, &zero);
        assert_true(scram_client_first(c, &a, NULL) && scram_server_first(s, buf_span(&a), &b, NULL));
        buf_clear(&a);
        assert_true(scram_client_final(c, buf_span(&b), &a, NULL));
        buf_clear(&b);
        assert_false(scram_server_final(s, buf_span(&a), &b, NULL, &fault));
        assert_string_equal(fault.sqlstate, "28P01");
        scram_server_free(s);
        scram_client_free(c);
        buf_release(&a);
        buf_release(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_first_messages),
        cmocka_unit_test(long_messages),
        cmocka_unit_test(client_final_cut_and_altered),
        cmocka_unit_test(client_final_messages),
        cmocka_unit_test(proof_of_another_length),
        cmocka_unit_test(server_first_messages),
        cmocka_unit_test(server_first_cut),
        cmocka_unit_test(server_final_messages),
        cmocka_unit_test(out_of_turn),
        cmocka_unit_test(mock_accepts_no_proof),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
