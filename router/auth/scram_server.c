// SPDX-License-Identifier: ISC
//
// router/auth/scram_server.c: the server role; see router/auth/scram.h.
//
//   FIRST --client-first--> FINAL --client-final--> DONE
//
// The AuthMessage, which both proofs are computed over, grows in one buffer: client-first-bare, server-first and
// client-final-without-proof, with commas between.
#include <stdio.h>

#include "base/base64.h"
#include "base/mem.h"
#include "router/auth/crypto.h"
#include "router/auth/scram_attr.h"
#include "router/auth/scram_math.h"
#include "router/auth/scram_verifier.h"

enum server_step { STEP_FIRST, STEP_FINAL, STEP_DONE };

enum {
    AUTH_MESSAGE_MAX = 4 * SCRAM_MESSAGE_MAX, // two messages of the client, one of ours that repeats its nonce
    NONCE_BYTES = SCRAM_NONCE_LEN / 4 * 3
};

struct scram_server {
    enum server_step step;
    bool broken;             // the verifier could not be made; `fault` says why
    bool known;              // a proof can be right at all
    bool keys_travel;        // the verifier is the user's own
    char cbind_flag;         // 'n' or 'y'
    size_t nonce, nonce_len; // the whole nonce, within `auth`
    struct buf auth;         // the AuthMessage
    struct scram_verifier verifier;
    struct fault fault;
    char user_name[64];
};

struct scram_server *scram_server_new(const struct user *user, struct span user_name, struct scram_shape made,
                                      struct scram_memo *memo) {
    struct scram_server *s = mem_new(struct scram_server);
    s->auth = buf_make(AUTH_MESSAGE_MAX);
    s->known = user && user->kind != USER_SECRET_NONE;
    s->keys_travel = user && user->kind == USER_SECRET_SCRAM;
    snprintf(s->user_name, sizeof s->user_name, "%.*s", (int)MIN_OF(user_name.len, sizeof s->user_name),
             (const char *)user_name.ptr);
    s->broken = !scram_verifier_for(user, user_name, made, memo, &s->verifier, &s->fault);
    return s;
}

void scram_server_free(struct scram_server *s) {
    if (!s) return;
    buf_release(&s->auth);
    explicit_bzero(s, sizeof *s);
    mem_free(s);
}

// "n,," or "y,,": what the client thinks of channel binding, and no authorization identity.
static bool read_gs2_header(struct scram_server *s, struct span *rest, struct fault *fault) {
    s->cbind_flag = (char)rest->ptr[0];
    if (s->cbind_flag == 'p') {
        fault_set(fault, "08P01", "client requires SCRAM channel binding, which was not offered");
        fault_hint(fault, "Connect with channel_binding=prefer or channel_binding=disable.");
        return false;
    }
    if (s->cbind_flag != 'n' && s->cbind_flag != 'y')
        return fault_set(fault, "08P01", "malformed SCRAM message: unexpected channel-binding flag 0x%02x",
                         rest->ptr[0]);
    if (rest->len < 2 || rest->ptr[1] != ',')
        return fault_set(fault, "08P01", "malformed SCRAM message: comma expected after the channel-binding flag");
    if (rest->len >= 3 && rest->ptr[2] == 'a')
        return fault_set(fault, "0A000", "client uses authorization identity, but it is not supported");
    if (rest->len < 3 || rest->ptr[2] != ',')
        return fault_set(fault, "08P01", "malformed SCRAM message: unexpected attribute in client-first-message");
    *rest = span_from(*rest, 3);
    return true;
}

// The user name in it is ignored, as PostgreSQL ignores it: the start-up packet's counts.
static bool read_client_first(struct span bare, struct span *nonce, struct fault *fault) {
    struct span rest = bare, value;
    char name;
    if (rest.len && rest.ptr[0] == 'm')
        return fault_set(fault, "0A000", "client requires an unsupported SCRAM extension");
    if (!scram_attr_read(&rest, 'n', &value, fault) || !scram_attr_read(&rest, 'r', nonce, fault) ||
        !scram_nonce_check(*nonce, fault))
        return false;
    while (rest.len)
        if (!scram_attr_any(&rest, &name, &value, fault)) return false;
    return true;
}

static void put_server_first(struct scram_server *s, struct span client_nonce) {
    uint8_t random[NONCE_BYTES];
    char ours[SCRAM_NONCE_LEN + 1], salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
    crypto_random(random, sizeof random);
    base64_encode(span_of(random, sizeof random), ours);
    base64_encode(span_of(s->verifier.salt, s->verifier.salt_len), salt);
    buf_put(&s->auth, "r=", 2);
    s->nonce = buf_len(&s->auth);
    s->nonce_len = client_nonce.len + SCRAM_NONCE_LEN;
    buf_put_span(&s->auth, client_nonce);
    buf_printf(&s->auth, "%s,s=%s,i=%u", ours, salt, s->verifier.iterations);
}

static bool out_of_turn(struct fault *fault) {
    return fault_set(fault, "08P01", "malformed SCRAM exchange: message out of turn");
}

static bool no_room(struct fault *fault) { return fault_set(fault, "53200", "out of memory"); }

bool scram_server_first(struct scram_server *s, struct span in, struct buf *out, struct fault *fault) {
    if (s->step != STEP_FIRST) return out_of_turn(fault);
    s->step = STEP_DONE; // a message that is refused ends the exchange
    struct span bare = in, nonce;
    if (!scram_message_check(in, fault) || !read_gs2_header(s, &bare, fault) || !read_client_first(bare, &nonce, fault))
        return false;
    if (s->broken) {
        if (fault) *fault = s->fault;
        return false;
    }
    buf_put_span(&s->auth, bare);
    buf_put_u8(&s->auth, ',');
    size_t start = buf_len(&s->auth);
    put_server_first(s, nonce);
    if (s->auth.failed) return no_room(fault);
    buf_put_span(out, span_from(buf_span(&s->auth), start));
    buf_put_u8(&s->auth, ',');
    s->step = STEP_FINAL;
    return true;
}

struct client_final {
    struct span without_proof, binding, nonce;
    uint8_t proof[SCRAM_KEY_LEN];
};

static bool read_client_final(struct span in, struct client_final *out, struct fault *fault) {
    struct span rest = in, value = span_of(NULL, 0);
    char name = 0;
    if (!scram_message_check(in, fault) || !scram_attr_read(&rest, 'c', &out->binding, fault) ||
        !scram_attr_read(&rest, 'r', &out->nonce, fault))
        return false;
    while (name != 'p') {
        // The comma before this attribute is not part of what comes before it.
        out->without_proof = span_first(in, (size_t)(rest.ptr - in.ptr) - 1);
        if (!scram_attr_any(&rest, &name, &value, fault)) return false;
    }
    size_t len;
    if (!base64_decode(value, out->proof, sizeof out->proof, &len) || len != sizeof out->proof)
        return fault_set(fault, "08P01", "malformed SCRAM message: malformed proof in client-final-message");
    return scram_attr_end(rest, fault);
}

// "n,," and "y,," in base64: the header of the first message again.
static bool check_binding(const struct scram_server *s, struct span binding, struct fault *fault) {
    return span_is(binding, s->cbind_flag == 'n' ? "biws" : "eSws") ||
           fault_set(fault, "08P01", "unexpected SCRAM channel-binding attribute in client-final-message");
}

static bool check_nonce(const struct scram_server *s, struct span nonce, struct fault *fault) {
    struct span ours = span_first(span_from(buf_span(&s->auth), s->nonce), s->nonce_len);
    return (nonce.len == ours.len && crypto_equal(nonce.ptr, ours.ptr, ours.len)) ||
           fault_set(fault, "08P01", "invalid SCRAM response: nonce does not match");
}

// Does all the work for a mock too, so that time does not tell the two apart.
static bool check_proof(struct scram_server *s, const uint8_t proof[SCRAM_KEY_LEN], uint8_t client_key[SCRAM_KEY_LEN],
                        struct fault *fault) {
    uint8_t stored_key[SCRAM_KEY_LEN];
    if (!scram_mask(s->verifier.stored_key, buf_span(&s->auth), proof, client_key) ||
        !scram_stored_key(client_key, stored_key))
        return fault_set(fault, "XX000", "could not compute the SCRAM proof");
    bool equal = crypto_equal(stored_key, s->verifier.stored_key, sizeof stored_key);
    explicit_bzero(stored_key, sizeof stored_key);
    return (equal && s->known) ||
           fault_set(fault, "28P01", "password authentication failed for user \"%s\"", s->user_name);
}

static bool put_server_final(struct scram_server *s, struct buf *out, struct fault *fault) {
    uint8_t signature[SCRAM_KEY_LEN];
    char text[BASE64_LEN(SCRAM_KEY_LEN) + 1];
    if (!scram_server_signature(s->verifier.server_key, buf_span(&s->auth), signature))
        return fault_set(fault, "XX000", "could not compute the SCRAM server signature");
    base64_encode(span_of(signature, sizeof signature), text);
    buf_printf(out, "v=%s", text);
    return true;
}

bool scram_server_final(struct scram_server *s, struct span in, struct buf *out, struct scram_keys *keys,
                        struct fault *fault) {
    if (s->step != STEP_FINAL) return out_of_turn(fault);
    s->step = STEP_DONE;
    struct client_final final;
    uint8_t client_key[SCRAM_KEY_LEN];
    if (!read_client_final(in, &final, fault) || !check_binding(s, final.binding, fault) ||
        !check_nonce(s, final.nonce, fault))
        return false;
    buf_put_span(&s->auth, final.without_proof);
    if (s->auth.failed) return no_room(fault);
    bool ok = check_proof(s, final.proof, client_key, fault) && put_server_final(s, out, fault);
    if (ok && keys && s->keys_travel) {
        keys->set = true;
        memcpy(keys->client_key, client_key, sizeof client_key);
        memcpy(keys->server_key, s->verifier.server_key, sizeof keys->server_key);
    }
    explicit_bzero(client_key, sizeof client_key);
    return ok;
}
