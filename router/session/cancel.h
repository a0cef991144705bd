// SPDX-License-Identifier: ISC
//
// router/session/cancel.h: one cancel request to a server.
//
// A short-lived connection to the address that the backend's connection has, with TLS when that has it; it sends the
// CancelRequest and waits for the end of file, which PostgreSQL gives once it has signalled the backend
// (section 55.2.8). Until then the backend may be hit at any moment, so its connection must not serve anybody else.
// Single thread.
#ifndef PGSTEER_ROUTER_SESSION_CANCEL_H
#define PGSTEER_ROUTER_SESSION_CANCEL_H

#include "router/session/server.h"

enum cancel_state { CANCEL_CONNECTING, CANCEL_TLS_ASK, CANCEL_TLS, CANCEL_SENT, CANCEL_ENDED };

struct cancel {
    // private
    struct stream stream;
    struct server_env *env;
    struct tls_context *tls; // referenced; NULL: plain
    char *host;
    uint32_t pid, key;
    enum cancel_state state;
    bool certain;
    struct deadline deadline;
    void (*ended)(struct cancel *c, bool certain);
};

// `tls_host`: the name to verify, NULL = without TLS. All within cancel_wait_timeout. `ended` is called once, from the
// loop, and the memory is the caller's again; `certain`: the signal has been sent, or never will be. False when it
// could not be started: nothing was sent, and nothing follows.
NODISCARD bool cancel_start(struct cancel *c, struct server_env *env, const struct sockaddr *address, socklen_t len,
                            const char *tls_host, uint32_t pid, uint32_t key,
                            void (*ended)(struct cancel *c, bool certain));
// Ends it early; `ended` follows.
void cancel_abort(struct cancel *c);

#endif
