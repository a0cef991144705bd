// SPDX-License-Identifier: ISC
//
// router/session/server.h: one connection to one PostgreSQL server.
//
// Connects, negotiates TLS, logs in (trust, cleartext under TLS only, md5, SCRAM-SHA-256) with our own code, and then is either
// idle in its pool or busy for one session. While idle it watches for what the server says unasked: a shutdown, a changed
// parameter, an end of file. While busy, bytes belong to the session that has it.
//
//   CONNECTING -> TLS_ASK -> TLS -> STARTUP -> AUTH -> SYNC -> IDLE <-> BUSY
//        \___________\________\________\________\______\________\_____\__-> CLOSED
//
// Never knows a client. Single thread; memory goes after the stream's closed callback.
#ifndef PGSTEER_ROUTER_SESSION_SERVER_H
#define PGSTEER_ROUTER_SESSION_SERVER_H

#include "base/log.h"
#include "health/health.h"
#include "router/auth/scram.h"
#include "router/net/deadline.h"
#include "router/net/stream.h"
#include "router/session/pipeline.h"
#include "router/session/prep.h"
#include "router/stats.h"

struct pool;
struct server;
struct settings; // router/session/settings.h
struct tls_context;

// What every connection of a worker shares. Read-only for servers and pools; config, tls and topology are replaced by the
// worker at a reload.
struct server_env {
    uv_loop_t *loop;
    struct deadlines *deadlines;
    struct config *config;
    struct tls_context *tls; // for connections to servers; NULL when server_tls_sslmode = disable
    struct stats *stats;
    size_t worker; // its index
    uint8_t *rbuf; // the worker's receive buffer, RBUF_SIZE bytes, free between callbacks
    uint64_t (*now_us)(void *arg); // monotonic, cached per loop turn
    void (*report)(void *arg, const char *node_name, enum evidence e);
    // Another worker should look at its pools again (a connection was given up for it).
    void (*nudge)(void *arg, size_t worker);
    void *arg;
};
enum { RBUF_SIZE = 128 * 1024 };

enum server_state {
    SERVER_CONNECTING,
    SERVER_TLS_ASK, // SSLRequest sent
    SERVER_TLS,     // handshake
    SERVER_STARTUP, // StartupMessage sent
    SERVER_AUTH,    // in an authentication exchange
    SERVER_SYNC,    // logged in; parameters and key arrive; waits for the first ReadyForQuery
    SERVER_IDLE,
    SERVER_BUSY,
    SERVER_CLOSED,
    SERVER_STATES
};

// What the session that has the server hears.
struct server_owner_ops {
    void (*readable)(void *owner, struct server *s); // read with server_read
    void (*drained)(void *owner, struct server *s);
    void (*broken)(void *owner, struct server *s, const struct fault *f); // call server_close, or pool_discard
};

// How to log in as one user.
struct credentials {
    char *user;
    struct secret password;  // not set: none
    struct scram_keys keys;  // not set: none
};

struct server {
    // read-only
    struct stream stream;
    struct pool *pool;
    enum server_state state;
    struct log_prefix log;
    uint32_t backend_pid, backend_key;
    uint8_t address; // which of the node's addresses
    uint64_t connected_at_us, idle_since_us;
    // ParameterStatus as the server last reported: name NUL value NUL ..., sorted by arrival, one entry per name.
    struct buf parameters;
    char tx_status; // of the last ReadyForQuery seen

    // owned by the session that has it (router/session/response.c and prep.c write them)
    struct pipeline replies;        // what is still due
    struct prep_server prepared;    // statements it holds
    struct settings *settings;      // the client settings in force (counted); NULL = the server's own defaults
    uint64_t sequence_user;         // the client whose nextval currval and lastval would tell of; 0 = nobody's
    bool dirty;                     // carries session state: must be closed, not reused
    bool close_when_idle;           // lifetime over, server removed, budget wanted elsewhere

    // private
    struct ilink link; // exactly one list of its pool, which the state names
    const struct server_owner_ops *owner_ops;
    void *owner;
    unsigned cancels; // cancel requests under way: not reusable before they have ended
    struct deadline deadline; // connect+login, then lifetime/idle
    struct scram_client *scram;
    bool sasl_done;
};

const char *server_state_str(enum server_state s);

// Reads once, at most `cap` bytes; as stream_read. Counts nothing.
NODISCARD ssize_t server_read(struct server *s, void *to, size_t cap, struct fault *f);
// Keeps `parameters` up to date; answers true when the client should be told (in_hot_standby is ours alone: a change is
// reported as evidence instead).
bool server_note_parameter(struct server *s, struct span name, struct span value);
// The value last reported, or NULL; good until the next message.
const char *server_parameter(const struct server *s, const char *name);

#endif
