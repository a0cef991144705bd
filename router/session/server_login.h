// SPDX-License-Identifier: ISC
//
// router/session/server_login.h: logging in to a server: its messages in, our answers out.
//
// From the answer to the StartupMessage to the first ReadyForQuery (PostgreSQL 15 documentation, section 55.2.1).
// Trust, cleartext where nobody can listen, md5 and SCRAM-SHA-256; one of them, once. A server that asks for what we
// cannot or should not do, that asks twice, or that skips a step of SCRAM is refused. Pure: no sockets, no clock.
// Single thread.
#ifndef PGSTEER_ROUTER_SESSION_SERVER_LOGIN_H
#define PGSTEER_ROUTER_SESSION_SERVER_LOGIN_H

#include "router/auth/scram.h"
#include "router/wire/frame.h"

// How to log in as one user.
struct credentials {
    char *user;
    struct secret password; // not set: none
    struct scram_keys keys; // not set: none
};

enum server_login_phase {
    SERVER_LOGIN_START,      // the StartupMessage has been sent
    SERVER_LOGIN_ANSWERED,   // a password has been sent, in clear or as md5
    SERVER_LOGIN_SASL_FIRST, // client-first-message sent
    SERVER_LOGIN_SASL_FINAL, // client-final-message sent
    SERVER_LOGIN_SASL_DONE,  // the server has proved itself
    SERVER_LOGIN_ACCEPTED    // AuthenticationOk; parameters and key arrive
};

enum server_login_result {
    SERVER_LOGIN_MORE,    // go on; `out` may hold an answer
    SERVER_LOGIN_READY,   // logged in: ReadyForQuery has come
    SERVER_LOGIN_REFUSED, // the server said no: the fault has its SQLSTATE and message
    SERVER_LOGIN_UNABLE,  // we say no: it wants what we cannot or should not do (28000), until somebody changes that
    SERVER_LOGIN_BAD      // it breaks the protocol (08P01), or did not prove who it is (28000)
};

struct server_login {
    // read-only, once READY
    uint32_t backend_pid, backend_key; // 0 when the server sent none
    // private
    enum server_login_phase phase;
    const struct credentials *who; // borrowed
    bool private_channel;
    struct scram_client *scram;
    struct buf *parameters; // borrowed: filled as router/session/parameters.h says
};

// `who` and `parameters` must stay until server_login_fini. `private_channel`: TLS, or a Unix socket.
void server_login_init(struct server_login *l, const struct credentials *who, bool private_channel,
                       struct buf *parameters);
void server_login_fini(struct server_login *l);
// A whole message from the server.
NODISCARD enum server_login_result server_login_message(struct server_login *l, const struct frame *m, struct buf *out,
                                                        struct fault *f);

// What an ErrorResponse says, fit to be shown: control characters and what is no UTF-8 are replaced, and it is cut at
// the end of a character. False (and 08P01) when it has no proper SQLSTATE.
NODISCARD bool server_error_read(struct span payload, struct fault *f);

#endif
