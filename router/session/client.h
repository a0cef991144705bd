// SPDX-License-Identifier: ISC
//
// router/session/client.h: one client's connection.
//
// TLS, start-up packet, authentication; then bytes up to the session and bytes down. Knows nothing of servers: after
// the login everything goes through the ops to the session that owns it.
//
//   TLS <-> STARTUP -> AUTH -> WELCOME -> READY -> LEAVING -> CLOSED
//
// LEAVING: the session is over, and what was said before that still has to be sent. (auth_type = trust leaves AUTH out,
// and any state may end in CLOSED.)
//
// In steady state the session is given the bytes where they were received, and nothing is copied. What it cannot take
// is kept here; past CLIENT_INPUT_MAX reading stops, unless the session says that it needs more to go on. A client that
// has gone is gone at once, whatever it sent before and even while reading is stopped; but one that is LEAVING need
// only read.
#ifndef PGSTEER_ROUTER_SESSION_CLIENT_H
#define PGSTEER_ROUTER_SESSION_CLIENT_H

#include "base/log.h"
#include "router/auth/scram.h"
#include "router/net/deadline.h"
#include "router/net/stream.h"
#include "router/session/login_request.h"
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
    uint8_t *rbuf; // shared, free between callbacks
    size_t rbuf_size;
    struct scram_memo *scram_memo; // NULL: none; then each login with a plain password computes its verifier
    // A CancelRequest came (its connection is closed right after).
    void (*cancel)(void *arg, uint32_t pid, uint32_t key);
    // More connections than max_client_conn? (all workers together, this one included). Asked when the start-up packet
    // is there, so that cancel requests always come through and the others show the reason.
    bool (*full)(void *arg);
    // SIGTERM came: new logins get 57P03.
    bool (*draining)(void *arg);
    void *arg;
};

enum client_state {
    CLIENT_STARTUP,
    CLIENT_TLS,
    CLIENT_AUTH,
    CLIENT_WELCOME,
    CLIENT_READY,
    CLIENT_LEAVING,
    CLIENT_CLOSED,
    CLIENT_STATES
};

struct client_ops {
    // Authenticated; database and user are known, the start-up parameters are in client->startup. The session answers
    // with client_welcome or client_fail, now or later. Whether the database is offered is for the session to judge.
    // `keys`: what a SCRAM login with a verifier has taught us, if it was one; good for this call only.
    void (*authenticated)(void *owner, struct client *c, const struct scram_keys *keys);
    // Bytes of messages: answers how many were taken (whole or partial messages as the session likes); the rest is kept
    // and offered again with more behind it, or by client_resume_input. May close the client (then the answer is
    // ignored). The bytes may stand in env->rbuf.
    size_t (*input)(void *owner, struct client *c, struct span bytes);
    void (*drained)(void *owner, struct client *c);
    // The session has ended, by either side; detach. Called exactly once after `authenticated`, never for a client
    // that did not get that far.
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
    // The settings of the start-up packet: name NUL value NUL ..., those of `options` (-c x=y) first, as PostgreSQL
    // applies them; a name may come twice, and the last one counts. Released after WELCOME.
    struct buf startup;
    enum replication replication;
    bool is_local; // a Unix socket or a loopback address
    bool is_unix;
    // owned by the session
    void *owner;
    const struct client_ops *ops;
    // To be set in `input` when what was not taken waits for nothing but more bytes; cleared before each call. The
    // session bounds how much it needs.
    bool wants_more;
    // private
    struct client_env *env;
    struct buf in; // bytes the session has not taken
    struct deadline deadline;
    struct scram_server *scram;
    uint8_t special_packets; // SSLRequest, GSSENCRequest seen: a bit each
    uint8_t sasl_due;        // which message of the client comes next
    bool owned;              // `authenticated` has been called and `gone` has not
    bool in_input, resume_asked, unread;
    uint16_t lingered;               // looks at what is on its way to a client that leaves
    void (*freed)(struct client *c); // the owner's, when the memory may go
};

// So many bytes kept stop the reading, and half of them let it go on; one more receive buffer may be kept on top.
enum { CLIENT_INPUT_MAX = 64 * 1024 };

const char *client_state_str(enum client_state s);

// Takes an accepted socket, which is closed on failure; no callback comes from inside. `owner` and `ops` are used from
// `authenticated` on. `freed` is called when the client may be freed (the memory is the caller's; a client is embedded
// in whatever the caller likes); everything else of it has been released by then.
NODISCARD bool client_open(struct client *c, struct client_env *env, int fd, uint64_t id, void *owner,
                           const struct client_ops *ops, void (*freed)(struct client *c));

// Sends AuthenticationOk, `parameters` (ParameterStatus messages as they are sent), BackendKeyData and ReadyForQuery;
// the client is READY and what it has sent meanwhile is offered to the session.
void client_welcome(struct client *c, struct span parameters, uint32_t pid, uint32_t key);

// Sends bytes. False: it is gone; `gone` has been called, perhaps from inside.
bool client_writev(struct client *c, const struct iovec *iov, int n);
static inline bool client_write(struct client *c, struct span s) {
    struct iovec iov = {(void *)(uintptr_t)s.ptr, s.len};
    return client_writev(c, &iov, 1);
}
static inline size_t client_unsent(const struct client *c) { return stream_unsent(&c->stream); }

// Offers kept input again: at once, or, from inside `input`, when that returns and has made progress (taken or unread
// something). Does nothing before the client is READY.
void client_resume_input(struct client *c);

// Puts bytes before the kept input: they are offered again first. From inside `input`, they come before whatever that
// does not take.
void client_unread(struct client *c, struct span bytes);

// Four ways to end the session; all idempotent, and `gone` is called from inside.
// With a FATAL error: logs, counts, tells the client, leaves.
void client_fail(struct client *c, enum stat_error reason, const struct fault *f);
// Without a word. The connection ends when what is unsent has been sent, a minute later at the most; the client is
// freed then. What it says meanwhile is thrown away.
void client_leave(struct client *c);
// The same for one that does not go of its own accord: what it still says must not be answered with a reset, which
// would overtake what is on its way to it.
void client_dismiss(struct client *c);
// At once, also one that is leaving: what the kernel does not take now of what is unsent is lost.
void client_close(struct client *c);

#endif
