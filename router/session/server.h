// SPDX-License-Identifier: ISC
//
// router/session/server.h: one connection to one PostgreSQL server.
//
// Connects, negotiates TLS, logs in (trust, cleartext under TLS only, md5, SCRAM-SHA-256) with our own code, and then
// is either idle in its pool or busy for one session. While idle it watches for what the server says unasked: a
// shutdown, a changed parameter, an end of file. While busy, bytes belong to the session that has it.
//
//   CONNECTING -> TLS_ASK -> TLS -> STARTUP -> AUTH -> SYNC -> IDLE <-> BUSY
//        \___________\________\________\________\______\     \  ^        |
//         \                                             \     \  \_ PARKED
//          CONNECTING: another address, or with or without TLS CLOSED: from anywhere
//
// Never knows a client. Single thread; memory goes after the stream's closed callback.
#ifndef PGSTEER_ROUTER_SESSION_SERVER_H
#define PGSTEER_ROUTER_SESSION_SERVER_H

#include "base/log.h"
#include "health/health.h"
#include "router/net/deadline.h"
#include "router/net/stream.h"
#include "router/session/pipeline.h"
#include "router/session/prep.h"
#include "router/session/server_login.h"
#include "router/stats.h"

struct pool;
struct relay; // router/session/session_relay.c
struct server;
struct server_attempt;
struct settings; // router/session/settings.h
struct tls_context;

// What every connection of a worker shares. Read-only for servers and pools; config, tls and topology are replaced by
// the worker at a reload.
struct server_env {
    uv_loop_t *loop;
    struct deadlines *deadlines;
    struct config *config;
    struct tls_context *tls; // for connections to servers; NULL when server_tls_sslmode = disable
    struct stats *stats;
    size_t worker;                 // its index
    uint8_t *rbuf;                 // the worker's receive buffer, RBUF_SIZE bytes, free between callbacks
    uint64_t (*now_us)(void *arg); // monotonic, cached per loop turn
    // Of all workers: when the defaults that a session begins with were last changed (ALTER ROLE, ALTER DATABASE).
    const atomic_ullong *defaults_changed_us;
    void (*report)(void *arg, const char *node_name, enum evidence e);
    // Another worker should look at its pools again (a connection was given up for it, or one is wanted of it).
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
    SERVER_PARKED, // given back while a cancel request is under way
    SERVER_CLOSED,
    SERVER_STATES
};

// What the session that has the server hears.
struct server_owner_ops {
    void (*readable)(void *owner, struct server *s); // read with server_read
    void (*drained)(void *owner, struct server *s);  // or a cancel request that was under way has ended
    void (*broken)(void *owner, struct server *s, const struct fault *f); // call pool_discard
};

// Why a connection did not come about, or came to an end while nobody used it.
enum server_end {
    SERVER_END_UNREACHABLE, // refused, reset, no route, TLS that does not fit
    SERVER_END_TIMEOUT,     // server_connect_timeout
    SERVER_END_SHUTDOWN,    // 57P01, 57P02, 57P03: it starts or stops
    SERVER_END_FULL,        // 53300: it takes no more connections
    SERVER_END_REFUSED,     // any other error of the server's: SQLSTATE and message are its own; or it asks for what we
                            // cannot or should not do
    SERVER_END_PROTOCOL,    // it breaks the protocol, or does not prove who it is
    SERVER_END_CLOSED,      // end of file without a word
    SERVER_END_ROLE,        // in_hot_standby has changed
    SERVER_END_SHORT,       // this process had no descriptor or memory for it: nothing is known of the server
    SERVER_ENDS
};

// What the pool, or the relay, hears; never from inside a call of its own. The server is closed by the time of `failed`
// and `lost`.
struct server_pool_ops {
    void (*connected)(struct server *s);
    void (*failed)(struct server *s, enum server_end end, const struct fault *f); // did not get so far
    void (*lost)(struct server *s, enum server_end end, const struct fault *f);   // while IDLE or PARKED
    void (*freed)(struct server *s);                                              // the memory goes now
};

struct server {
    // read-only
    struct stream stream;
    struct pool *pool;   // NULL: it is a relay's
    struct relay *relay; // the one it works for, all its life; NULL: it is a pool's
    enum server_state state;
    struct log_prefix log;
    uint32_t backend_pid, backend_key; // 0 when the server gave none
    uint8_t address;                   // which of the node's addresses
    uint64_t connected_at_us, idle_since_us;
    uint64_t heard_us; // when bytes last came from it
    // ParameterStatus as the server last reported: name NUL value NUL ..., sorted by arrival, one entry per name.
    struct buf parameters;
    char tx_status; // of the last ReadyForQuery seen

    // owned by the session that has it (router/session/response.c and prep.c write them)
    struct pipeline replies;     // what is still due
    struct prep_server prepared; // statements it holds
    struct settings *settings;   // the client settings in force (counted); NULL = the server's own defaults
    struct settings *customs;    // names of applications' parameters that it has ever had (counted); NULL = none
    uint64_t sequence_user;      // the client whose nextval currval and lastval would tell of; 0 = nobody's
    uint64_t worked_for;         // the client that had it last; 0 = nobody has yet
    bool shared;                 // others have worked on it than that one
    bool temp_used;              // has had temporary objects: takes no other temp_buffers any more
    bool dirty;                  // carries session state: must be closed, not reused
    bool close_when_idle;        // lifetime over, server removed, budget wanted elsewhere

    // private to server.c
    struct server_env *env;
    const struct server_pool_ops *pool_ops;
    const struct server_owner_ops *owner_ops;
    void *owner;
    struct buf in;                  // the beginning of a message of which the rest has not come; empty while BUSY
    struct server_attempt *attempt; // until it is logged in
    const char *node_name;          // the pool's
    bool told;                      // the pool has heard that it is connected
    struct deadline deadline;       // server_connect_timeout
    struct anchor *anchor;          // of the client that was told its process id (pool.h); NULL = nobody was
    // private to pool.c
    struct ilink link;      // in `home`
    struct ilist *home;     // exactly one list of its pool, which the state names; NULL: in none any more
    struct node_live *live; // counted there
    unsigned cancels;       // cancel requests under way: not reusable before they have ended
    uint64_t defaults_us;   // the moment whose defaults it began with; later is possible
    uint8_t jitter;         // how much of a tenth of server_lifetime is left out
};

const char *server_state_str(enum server_state s);

// Reads once, at most `cap` bytes; as stream_read.
NODISCARD ssize_t server_read(struct server *s, void *to, size_t cap, struct fault *f);
// Keeps `parameters` up to date; answers true when the client should be told (in_hot_standby is ours alone: a change is
// reported as evidence instead, and the connection is closed when it is given back).
bool server_note_parameter(struct server *s, struct span name, struct span value);
// The value last reported, or NULL; good until the next message.
const char *server_parameter(const struct server *s, const char *name);

// For pool.c, and a relay that has a connection of its own.

// Where to and as whom. `topology` is referenced, `database` copied; `who` and `node_name` must outlive the server.
struct server_target {
    struct topology *topology;
    const struct node *node; // in it
    const char *node_name;
    const char *database; // its name on the server
    const struct credentials *who;
    // What else the start-up packet says: name NUL value NUL ...; must outlive the login. Empty for a pool's.
    struct span parameters;
    struct relay *relay; // for whom, when it is for no pool
};
// Starts to connect to the node's addresses in turn, with TLS as server_tls_sslmode says (libpq's meanings; never on a
// Unix socket), all within server_connect_timeout. NULL and a fault, for server_open_end, when it failed at once.
NODISCARD struct server *server_open(struct server_env *env, const struct server_pool_ops *ops,
                                     const struct server_target *to, struct pool *pool, struct fault *f);
static inline enum server_end server_open_end(const struct fault *f) {
    return stream_ran_short(f) ? SERVER_END_SHORT : SERVER_END_UNREACHABLE;
}
// IDLE -> BUSY.
void server_hand_out(struct server *s, const struct server_owner_ops *ops, void *owner);
// BUSY or PARKED -> IDLE, BUSY -> PARKED. Reading goes on: what comes is unasked for.
void server_take_back(struct server *s, bool park);
// An idle connection in the middle of a message (a long notice) cannot be handed out.
static inline bool server_is_between_messages(const struct server *s) { return buf_len(&s->in) == 0; }
// A busy one that is ready for somebody else: nothing due, nothing unsent, nothing unread, no transaction. NULL, or
// what is in the way.
const char *server_unfit(const struct server *s);
// Idempotent; says Terminate when it is idle. `freed` follows from the loop.
void server_close(struct server *s);

#endif
