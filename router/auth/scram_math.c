// SPDX-License-Identifier: ISC
// router/auth/scram_math.c: see router/auth/scram_math.h.
#include "router/auth/scram_math.h"

#include "router/auth/crypto.h"
#include "router/auth/saslprep.h"

static struct span key_span(const uint8_t key[SCRAM_KEY_LEN]) { return span_of(key, SCRAM_KEY_LEN); }

bool scram_derive(const struct secret *password, struct span salt, uint32_t iterations, struct scram_keys *keys) {
    struct secret prepared;
    uint8_t salted[SCRAM_KEY_LEN];
    bool ok = saslprep(password, &prepared) &&
              crypto_pbkdf2_sha256(span_of(prepared.bytes, prepared.len), salt, iterations, salted) &&
              crypto_hmac_sha256(key_span(salted), span_str("Client Key"), keys->client_key) &&
              crypto_hmac_sha256(key_span(salted), span_str("Server Key"), keys->server_key);
    secret_wipe(&prepared);
    explicit_bzero(salted, sizeof salted);
    keys->set = ok;
    return ok;
}

bool scram_stored_key(const uint8_t client_key[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN]) {
    return crypto_sha256(key_span(client_key), out);
}

bool scram_mask(const uint8_t stored_key[SCRAM_KEY_LEN], struct span auth_message, const uint8_t in[SCRAM_KEY_LEN],
                uint8_t out[SCRAM_KEY_LEN]) {
    uint8_t signature[SCRAM_KEY_LEN];
    if (!crypto_hmac_sha256(key_span(stored_key), auth_message, signature)) return false;
    for (size_t i = 0; i < SCRAM_KEY_LEN; i++) out[i] = in[i] ^ signature[i];
    explicit_bzero(signature, sizeof signature);
    return true;
}

bool scram_server_signature(const uint8_t server_key[SCRAM_KEY_LEN], struct span auth_message,
                            uint8_t out[SCRAM_KEY_LEN]) {
    return crypto_hmac_sha256(key_span(server_key), auth_message, out);
}
