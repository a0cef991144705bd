// SPDX-License-Identifier: ISC
//
// router/auth/scram_math.h: the arithmetic of SCRAM-SHA-256 (RFC 5802 section 3), which both roles share.
//
// Private to router/auth. All functions answer false only when the digests are not to be had (router/auth/crypto.h).
#ifndef PGSTEER_ROUTER_AUTH_SCRAM_MATH_H
#define PGSTEER_ROUTER_AUTH_SCRAM_MATH_H

#include "router/auth/scram.h"

// ClientKey and ServerKey of a password as it was typed; SASLprep is done here. Costs `iterations`; sets keys->set.
// False also when the prepared password is too long.
NODISCARD bool scram_derive(const struct secret *password, struct span salt, uint32_t iterations,
                            struct scram_keys *keys);
// StoredKey := H(ClientKey)
NODISCARD bool scram_stored_key(const uint8_t client_key[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN]);
// ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage). Its own inverse: of a proof it makes the ClientKey.
NODISCARD bool scram_mask(const uint8_t stored_key[SCRAM_KEY_LEN], struct span auth_message,
                          const uint8_t in[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN]);
// ServerSignature := HMAC(ServerKey, AuthMessage)
NODISCARD bool scram_server_signature(const uint8_t server_key[SCRAM_KEY_LEN], struct span auth_message,
                                      uint8_t out[SCRAM_KEY_LEN]);

#endif
