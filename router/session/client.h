// SPDX-License-Identifier: ISC
//
// router/session/client.h: one client's connection.
//
// TLS, start-up packet, authentication; then bytes up to the session and bytes down. Knows nothing of servers: after the
// login everything goes through the ops to the session that owns it.
//
//   STARTUP -> TLS -> STARTUP -> AUTH -> WELCOME -> READY -> CLOSED
//
// Input that the session cannot take yet is kept here, bounded; when it grows past the bound reading stops.
#ifndef PGSTEER_ROUTER_SESSION_CLIENT_H
#define PGSTEER_ROUTER_SESSION_CLIENT_H

#include "base/log.h"
#include "router/auth/scram.h"
#include "router/net/deadline.h"
#include "router/net/stream.h"
#include "router/stats.h"
#include "router/wire/reply.h"

struct client;

// What a worker's clients share.
struct client_env {
    uv_loop_t *loop;
    struct deadlines *deadlines;
    struct config *config;   // for new logins; replaced at a reload
    struct tls_context *tls; // NULL: TLS is not offered
    struct stats *stats;
    uint8_t *rbuf; // RBUF_SIZE bytes, shared, free between callbacks
    size_t rbuf_size;
    // A CancelRequest came (its connection is closed right after).
    void (*cancel)(void *arg, uint32_t pid, uint32_t key);
    // A connection has been accepted beyond max_client_conn? (all workers together)
    bool (*full)(void *arg);
    // SIGTERM came: new logins get 57P03.
    bool (*draining)(void *arg);
    void *arg;
};

enum client_state { CLIENT_STARTUP, CLIENT_TLS, CLIENT_AUTH, CLIENT_WELCOME, CLIENT_READY, CLIENT_CLOSED, CLIENT_STATES };

struct client_ops {
    // Authenticated; database and user are known, the start-up parameters are in client->startup. The session answers
    // with client_welcome or client_fail, now or later.
    void (*authenticated)(void *owner, struct client *c);
    // Bytes of messages: answers how many were taken (whole or partial messages as the session likes); the rest is kept and
    // offered again with more behind it, or by client_resume_input. May close the client (then the answer is ignored).
    size_t (*input)(void *owner, struct client *c, struct span bytes);
    void (*drained)(void *owner, struct client *c);
    // The connection has ended, by either side; detach. Called exactly once after `authenticated`, never for a client that
    // did not get that far.
    void (*gone)(void *owner, struct client *c);
};

struct client {
    // read-only
    struct stream stream;
    enum client_state state;
    struct log_prefix log;
    uint64_t id;
    char *database, *user;
    struct config *config; // the snapshot it logged in under; referenced
    // Start-up parameters other than user, database, replication and options' own name: name NUL value NUL ...; options=-c x=y
    // is taken apart into x and y. In the order given. Released after WELCOME.
    struct buf startup;
    struct scram_keys keys; // learnt at a SCRAM login with a verifier
    bool is_local;
    // owned by the session
    void *owner;
    const struct client_ops *ops;
    // private
    struct client_env *env;
    struct buf in; // bytes the session has not taken
    struct deadline deadline;
    struct scram_server *scram;
    struct ilink link; // the worker's list of clients
    unsigned special_packets; // SSLRequest, GSSENCRequest seen
    bool in_input, eof;
    void (*freed)(struct client *c); // the worker's, when the memory may go
};

enum { CLIENT_INPUT_MAX = 512 * 1024 };

const char *client_state_str(enum client_state s);

// Takes an accepted socket. `owner` and `ops` are used from `authenticated` on. `freed` is called when the client may be freed
// (the memory is the caller's; a client is embedded in whatever the caller likes).
NODISCARD bool client_open(struct client *c, struct client_env *env, int fd, uint64_t id, void *owner,
                           const struct client_ops *ops, void (*freed)(struct client *c));

// Sends AuthenticationOk, the ParameterStatus messages in `parameters` (name NUL value NUL ...), BackendKeyData and
// ReadyForQuery; the client is READY and what it has sent meanwhile is offered to the session.
void client_welcome(struct client *c, struct span parameters, uint32_t pid, uint32_t key);

// Sends bytes. False: it is gone, or going (`gone` has been or will be called).
bool client_writev(struct client *c, const struct iovec *iov, int n);
static inline bool client_write(struct client *c, struct span s) {
    struct iovec iov = {(void *)(uintptr_t)s.ptr, s.len};
    return client_writev(c, &iov, 1);
}
static inline size_t client_unsent(const struct client *c) { return stream_unsent(&c->stream); }

// Offers kept input again, from the loop's next turn or at once when not inside `input`.
void client_resume_input(struct client *c);

// Puts bytes before the kept input: they are offered again first. Not from inside `input`.
void client_unread(struct client *c, struct span bytes);

// Ends the connection with a FATAL error: logs, counts, tells the client, closes. Idempotent.
void client_fail(struct client *c, enum stat_error reason, const struct fault *f);
// Closes it without a word (Terminate, or it is gone already). Idempotent.
void client_close(struct client *c);

#endif
