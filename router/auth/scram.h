// SPDX-License-Identifier: ISC
//
// router/auth/scram.h: SCRAM-SHA-256, both roles (RFC 5802, RFC 7677, PostgreSQL 15 documentation section 55.3).
//
// Pure: message in, message out; no sockets. The server role checks clients, with a verifier, a plain password or, for
// an unknown user, a mock verifier that is the same for each name, so that an attacker learns nothing. It also gains
// the client's ClientKey, which logs in to any server that holds the same verifier. The client role logs in to servers
// with a password or with such keys. Channel binding: tls-server-end-point is not offered; the `n` and `y` flags are
// understood. Passwords are prepared and messages are judged as PostgreSQL does (libpq/auth-scram.c,
// common/scram-common.c, interfaces/libpq/fe-auth-scram.c). Any thread, one per object.
#ifndef PGSTEER_ROUTER_AUTH_SCRAM_H
#define PGSTEER_ROUTER_AUTH_SCRAM_H

#include "base/buf.h"
#include "base/fault.h"
#include "config/users.h"

enum {
    SCRAM_NONCE_LEN = 24, // of our part; base64 of 18 random bytes, as PostgreSQL's
    SCRAM_ITERATIONS_MIN = 1,
    SCRAM_ITERATIONS_MAX = 1000000,
    // What a server must ask for at least before we show it a proof made from a password: with fewer, whoever listens,
    // or pretends to be the server, could try passwords at leisure.
    SCRAM_CLIENT_ITERATIONS_MIN = 4096
};

// The mechanism's name in AuthenticationSASL and SASLInitialResponse.
#define SCRAM_MECHANISM "SCRAM-SHA-256"

// What a login with a verifier taught us: enough to log in elsewhere as this user, so it is wiped like a password.
struct scram_keys {
    bool set;
    uint8_t client_key[SCRAM_KEY_LEN];
    uint8_t server_key[SCRAM_KEY_LEN];
};

struct scram_server; // one login of one client
struct scram_client; // one login to one server

// The verifiers made of plain passwords, so that a login pays for one (about a millisecond) only once per user and
// memo. One thread; the owner may throw it away at any time.
struct scram_memo;
struct scram_memo *scram_memo_new(void);
void scram_memo_free(struct scram_memo *memo);

// `user` may be NULL (unknown): the exchange is carried through with a mock verifier and then refused. A plain password
// is turned into a verifier with a fixed salt per process and name. Both get the shape `made`, which should be that of
// the verifiers that there are (users_scram_shape): another one would show that they are made up. `memo` may be NULL.
// Nothing of `user` and `user_name` is kept but copies. Owned by the caller.
struct scram_server *scram_server_new(const struct user *user, struct span user_name, struct scram_shape made,
                                      struct scram_memo *memo);
void scram_server_free(struct scram_server *s); // NULL is fine
// The client's SASLInitialResponse data (client-first-message) in, server-first-message out (appended to `out`). False:
// 08P01 malformed, 0A000 an authorization identity or an extension we do not know.
NODISCARD bool scram_server_first(struct scram_server *s, struct span in, struct buf *out, struct fault *fault);
// client-final-message in; true: the proof is right, server-final-message is appended and, when the user has a verifier
// of its own, `keys` (if not NULL) is filled; keys of a salt that we made up would log in nowhere and are not set.
// False: fault is 28P01 (wrong proof or unknown user: one sentence for both) or 08P01 (malformed, or out of turn).
NODISCARD bool scram_server_final(struct scram_server *s, struct span in, struct buf *out, struct scram_keys *keys,
                                  struct fault *fault);

// Exactly one of `password` and `keys` is set; both are copied.
struct scram_client *scram_client_new(const struct secret *password, const struct scram_keys *keys);
void scram_client_free(struct scram_client *c); // NULL is fine
NODISCARD bool scram_client_first(struct scram_client *c, struct buf *out, struct fault *fault);
// server-first in, client-final out. Iterations out of bounds, a nonce that does not continue ours, anything malformed
// or out of turn: false.
NODISCARD bool scram_client_final(struct scram_client *c, struct span in, struct buf *out, struct fault *fault);
// server-final in: true when the server proved that it knows the verifier. Call it always: a server that skips this
// step has proved nothing.
NODISCARD bool scram_client_verify(struct scram_client *c, struct span in, struct fault *fault);

#endif
