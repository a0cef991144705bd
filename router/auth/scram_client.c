// SPDX-License-Identifier: ISC
//
// router/auth/scram_client.c: the client role; see router/auth/scram.h.
//
//   START --client_first--> FIRST --server-first--> FINAL --server-final--> DONE
//
// Channel binding is never claimed: the header is always "n,,", "biws" in base64.
#include "base/base64.h"
#include "base/mem.h"
#include "router/auth/crypto.h"
#include "router/auth/scram_attr.h"
#include "router/auth/scram_math.h"

enum client_step { STEP_START, STEP_FIRST, STEP_FINAL, STEP_DONE };

enum {
    AUTH_MESSAGE_MAX = 4 * SCRAM_MESSAGE_MAX, // a message of the server, two of ours, one of which repeats its nonce
    NONCE_BYTES = SCRAM_NONCE_LEN / 4 * 3
};

struct scram_client {
    enum client_step step;
    struct secret password; // empty when the keys were given
    struct scram_keys keys; // given, or derived from the password once the salt is known
    char nonce[SCRAM_NONCE_LEN + 1];
    struct buf auth; // the AuthMessage, as in scram_server.c
};

struct scram_client *scram_client_new(const struct secret *password, const struct scram_keys *keys) {
    struct scram_client *c = mem_new(struct scram_client);
    c->auth = buf_make(AUTH_MESSAGE_MAX);
    if (password) c->password = *password;
    if (keys) c->keys = *keys;
    return c;
}

void scram_client_free(struct scram_client *c) {
    if (!c) return;
    buf_release(&c->auth);
    explicit_bzero(c, sizeof *c);
    mem_free(c);
}

static bool out_of_turn(struct fault *fault) {
    return fault_set(fault, "08P01", "malformed SCRAM exchange: message out of turn");
}

static bool no_room(struct fault *fault) { return fault_set(fault, "53200", "out of memory"); }

bool scram_client_first(struct scram_client *c, struct buf *out, struct fault *fault) {
    if (c->step != STEP_START) return out_of_turn(fault);
    uint8_t random[NONCE_BYTES];
    crypto_random(random, sizeof random);
    base64_encode(span_of(random, sizeof random), c->nonce);
    // The name stays empty, as libpq leaves it: servers take the start-up packet's.
    buf_printf(&c->auth, "n=,r=%s", c->nonce);
    if (c->auth.failed) return no_room(fault);
    buf_put(out, "n,,", 3);
    buf_put_span(out, buf_span(&c->auth));
    buf_put_u8(&c->auth, ',');
    c->step = STEP_FIRST;
    return true;
}

struct server_first {
    struct span nonce;
    uint8_t salt[SCRAM_MESSAGE_MAX];
    size_t salt_len;
    uint32_t iterations;
};

// Digits alone, without a leading zero or sign, up to the most we would compute.
static bool read_iterations(struct span text, uint32_t *out, struct fault *fault) {
    uint32_t n = 0;
    bool ok = text.len > 0 && text.ptr[0] != '0';
    for (size_t i = 0; ok && i < text.len; i++) {
        ok = text.ptr[i] >= '0' && text.ptr[i] <= '9' && n <= SCRAM_ITERATIONS_MAX;
        n = n * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    if (!ok || n > SCRAM_ITERATIONS_MAX)
        return fault_set(fault, "08P01", "server asks for a SCRAM iteration count that is not from %d to %d",
                         SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX);
    *out = n;
    return true;
}

static bool read_server_first(struct span in, struct server_first *out, struct fault *fault) {
    struct span rest = in, salt, iterations;
    if (!scram_message_check(in, fault)) return false;
    if (in.ptr[0] == 'm') return fault_set(fault, "0A000", "server requires an unsupported SCRAM extension");
    if (!scram_attr_read(&rest, 'r', &out->nonce, fault) || !scram_nonce_check(out->nonce, fault) ||
        !scram_attr_read(&rest, 's', &salt, fault) || !scram_attr_read(&rest, 'i', &iterations, fault) ||
        !scram_attr_end(rest, fault))
        return false;
    if (!base64_decode(salt, out->salt, sizeof out->salt, &out->salt_len) || out->salt_len == 0)
        return fault_set(fault, "08P01", "malformed SCRAM message: invalid salt");
    return read_iterations(iterations, &out->iterations, fault);
}

static bool check_nonce(const struct scram_client *c, struct span nonce, struct fault *fault) {
    return (nonce.len > SCRAM_NONCE_LEN && memcmp(nonce.ptr, c->nonce, SCRAM_NONCE_LEN) == 0) ||
           fault_set(fault, "08P01", "invalid SCRAM response: nonce mismatch");
}

static bool make_keys(struct scram_client *c, const struct server_first *first, struct fault *fault) {
    if (c->keys.set) return true;
    if (first->iterations < SCRAM_CLIENT_ITERATIONS_MIN)
        return fault_set(fault, "28000", "server asks for only %u SCRAM iterations, fewer than %d", first->iterations,
                         SCRAM_CLIENT_ITERATIONS_MIN);
    bool ok = scram_derive(&c->password, span_of(first->salt, first->salt_len), first->iterations, &c->keys);
    secret_wipe(&c->password);
    return ok || fault_set(fault, "XX000", "could not compute the SCRAM keys");
}

static bool put_client_final(struct scram_client *c, struct span nonce, struct buf *out, struct fault *fault) {
    size_t start = buf_len(&c->auth);
    buf_put(&c->auth, "c=biws,r=", 9);
    buf_put_span(&c->auth, nonce);
    if (c->auth.failed) return no_room(fault);
    uint8_t stored_key[SCRAM_KEY_LEN], proof[SCRAM_KEY_LEN];
    char text[BASE64_LEN(SCRAM_KEY_LEN) + 1];
    bool ok = scram_stored_key(c->keys.client_key, stored_key) &&
              scram_mask(stored_key, buf_span(&c->auth), c->keys.client_key, proof);
    explicit_bzero(stored_key, sizeof stored_key);
    if (!ok) return fault_set(fault, "XX000", "could not compute the SCRAM proof");
    base64_encode(span_of(proof, sizeof proof), text);
    buf_put_span(out, span_from(buf_span(&c->auth), start));
    buf_printf(out, ",p=%s", text);
    return true;
}

bool scram_client_final(struct scram_client *c, struct span in, struct buf *out, struct fault *fault) {
    if (c->step != STEP_FIRST) return out_of_turn(fault);
    c->step = STEP_DONE; // a message that is refused ends the exchange
    struct server_first first;
    if (!read_server_first(in, &first, fault) || !check_nonce(c, first.nonce, fault) || !make_keys(c, &first, fault))
        return false;
    buf_put_span(&c->auth, in);
    buf_put_u8(&c->auth, ',');
    if (!put_client_final(c, first.nonce, out, fault)) return false;
    c->step = STEP_FINAL;
    return true;
}

bool scram_client_verify(struct scram_client *c, struct span in, struct fault *fault) {
    if (c->step != STEP_FINAL) return out_of_turn(fault);
    c->step = STEP_DONE;
    struct span rest = in, value;
    char name;
    if (!scram_message_check(in, fault) || !scram_attr_any(&rest, &name, &value, fault)) return false;
    if (name == 'e')
        return fault_set(fault, "28000", "error received from server in SCRAM exchange: %.*s",
                         (int)MIN_OF(value.len, 100), (const char *)value.ptr);
    uint8_t theirs[SCRAM_KEY_LEN], ours[SCRAM_KEY_LEN];
    size_t len;
    if (name != 'v' || !base64_decode(value, theirs, sizeof theirs, &len) || len != sizeof theirs)
        return fault_set(fault, "08P01", "malformed SCRAM message: invalid server signature");
    if (!scram_attr_end(rest, fault)) return false;
    if (!scram_server_signature(c->keys.server_key, buf_span(&c->auth), ours))
        return fault_set(fault, "XX000", "could not compute the SCRAM server signature");
    bool equal = crypto_equal(theirs, ours, sizeof ours);
    explicit_bzero(ours, sizeof ours);
    return equal ||
           fault_set(fault, "28000", "incorrect SCRAM server signature: the server does not know the password");
}
