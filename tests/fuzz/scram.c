// SPDX-License-Identifier: ISC
//
// tests/fuzz/scram.c: what a hostile peer may say in a SCRAM exchange; the first byte says to whom and when.
//
// Nonces and proofs are random, so the input names them: byte 1 stands for the nonce, byte 2 for the right proof or
// signature. Nobody is convinced by a message that lacks it.
#include <stdlib.h>

#include "base/mem.h"
#include "router/auth/scram_attr.h"
#include "router/auth/scram_math.h"

enum { ROOM = 256 * 1024, PROOF_LEN = 44 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static struct user user;
static struct scram_keys keys;

static void make_user(void) {
    struct secret password;
    check(secret_set(&password, span_str("secret")));
    user = (struct user){.name = (char *)(uintptr_t) "web", .kind = USER_SECRET_SCRAM};
    user.verifier = (struct scram_verifier){.iterations = 4096, .salt_len = 4, .salt = {1, 2, 3, 4}};
    check(scram_derive(&password, span_of(user.verifier.salt, 4), 4096, &keys));
    check(scram_stored_key(keys.client_key, user.verifier.stored_key));
    memcpy(user.verifier.server_key, keys.server_key, SCRAM_KEY_LEN);
}

// The input with the names replaced, in memory of its own size.
static struct span message_of(struct span input, struct span nonce, struct span proof) {
    struct buf b = buf_make(ROOM);
    for (size_t i = 0; i < input.len; i++) {
        if (input.ptr[i] == 1)
            buf_put_span(&b, nonce);
        else if (input.ptr[i] == 2)
            buf_put_span(&b, proof);
        else
            buf_put_u8(&b, input.ptr[i]);
    }
    uint8_t *copy = mem_alloc(b.failed ? 0 : buf_len(&b));
    struct span s = span_of(copy, b.failed ? 0 : buf_len(&b));
    if (s.len) memcpy(copy, buf_span(&b).ptr, s.len);
    buf_release(&b);
    return s;
}
static void message_free(struct span s) { mem_free((void *)(uintptr_t)s.ptr); }

static bool contains(struct span s, struct span part) { return memmem(s.ptr, s.len, part.ptr, part.len) != NULL; }

static void check_refusal(bool ok, const struct buf *out, const struct fault *f) {
    if (ok) return;
    check(buf_len(out) == 0 && f->text[0] && strlen(f->sqlstate) == 5);
}

// Both roles up to the point where the input comes in.
struct pair {
    struct scram_server *server;
    struct scram_client *client;
    struct buf client_first, server_first, client_final, server_final;
};

static struct pair pair_make(void) {
    struct pair p = {scram_server_new(&user, span_str("web"), scram_shape_default(), NULL),
                     scram_client_new(NULL, &keys),
                     buf_make(ROOM),
                     buf_make(ROOM),
                     buf_make(ROOM),
                     buf_make(ROOM)};
    check(scram_client_first(p.client, &p.client_first, NULL));
    return p;
}
static void pair_free(struct pair *p) {
    scram_server_free(p->server);
    scram_client_free(p->client);
    buf_release(&p->client_first);
    buf_release(&p->server_first);
    buf_release(&p->client_final);
    buf_release(&p->server_final);
}
static void run_to_client_final(struct pair *p) {
    check(scram_server_first(p->server, buf_span(&p->client_first), &p->server_first, NULL));
    check(scram_client_final(p->client, buf_span(&p->server_first), &p->client_final, NULL));
}
static struct span client_nonce(const struct pair *p) { return span_from(buf_span(&p->client_first), 8); }
static struct span whole_nonce(const struct pair *p) {
    return span_first(span_from(buf_span(&p->client_final), 9), 2 * SCRAM_NONCE_LEN);
}
static struct span proof(const struct pair *p) {
    return span_from(buf_span(&p->client_final), buf_len(&p->client_final) - PROOF_LEN);
}

static void to_server_first(struct span input) {
    struct pair p = pair_make();
    struct fault f = {.text = ""};
    struct span in = message_of(input, client_nonce(&p), span_of(NULL, 0));
    bool ok = scram_server_first(p.server, in, &p.server_first, &f);
    check_refusal(ok, &p.server_first, &f);
    if (ok) check(in.len <= SCRAM_MESSAGE_MAX && !p.server_first.failed);
    message_free(in);
    pair_free(&p);
}

static void to_server_final(struct span input) {
    struct pair p = pair_make();
    run_to_client_final(&p);
    struct scram_keys learnt = {.set = false};
    struct fault f = {.text = ""};
    struct span in = message_of(input, whole_nonce(&p), proof(&p));
    bool ok = scram_server_final(p.server, in, &p.server_final, &learnt, &f);
    check_refusal(ok, &p.server_final, &f);
    check(learnt.set == ok);
    if (ok) check(contains(in, proof(&p)) && memcmp(learnt.client_key, keys.client_key, SCRAM_KEY_LEN) == 0);
    message_free(in);
    pair_free(&p);
}

static void to_client_final(struct span input) {
    struct pair p = pair_make();
    struct fault f = {.text = ""};
    struct span in = message_of(input, client_nonce(&p), span_of(NULL, 0));
    bool ok = scram_client_final(p.client, in, &p.client_final, &f);
    check_refusal(ok, &p.client_final, &f);
    if (ok) check(contains(in, client_nonce(&p)));
    message_free(in);
    pair_free(&p);
}

static void to_client_verify(struct span input) {
    struct pair p = pair_make();
    run_to_client_final(&p);
    check(scram_server_final(p.server, buf_span(&p.client_final), &p.server_final, NULL, NULL));
    struct span signature = span_from(buf_span(&p.server_final), 2);
    struct fault f = {.text = ""};
    struct span in = message_of(input, whole_nonce(&p), signature);
    bool ok = scram_client_verify(p.client, in, &f);
    check(ok ? contains(in, signature) : f.text[0] != '\0');
    message_free(in);
    pair_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const targets[])(struct span) = {to_server_first, to_server_final, to_client_final, to_client_verify};
    if (!user.name) make_user();
    if (size == 0) return 0;
    targets[data[0] % countof(targets)](span_of(data + 1, size - 1));
    return 0;
}
