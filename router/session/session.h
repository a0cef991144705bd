// SPDX-License-Identifier: ISC
//
// router/session/session.h: a client and the server connection that works for it.
//
// The only object that knows both sides. It cuts the client's messages into units, has each routed, gets a server
// connection for it from a pool, sends it in the server's words, and passes the answers back; when nothing ties the two
// together any more the connection goes back to its pool.
//
//   LOGIN -> IDLE -> (WAITING | PARKED) -> LINKED -> IDLE ... -> CLOSED
//   LOGIN -> (PARKED -> LOGIN) -> RELAY -> CLOSED         a replication connection
//
// One thread: its worker's. Freed when the client's last callback has run.
#ifndef PGSTEER_ROUTER_SESSION_SESSION_H
#define PGSTEER_ROUTER_SESSION_SESSION_H

#include "router/session/client.h"
#include "router/session/database.h"
#include "router/session/pool.h"
#include "router/session/replication_counts.h"
#include "router/session/request.h"
#include "router/session/response.h"
#include "router/session/route.h"
#include "router/session/settings.h"
#include "router/session/transaction.h"
#include "router/session/user_count.h"
#include "router/session/welcome.h"

#include <uthash.h>

struct session;

enum { SESSION_JOURNALS = 16, SESSION_JOURNAL_KEPT_MAX = 4096 };

// What a worker's sessions share. The worker owns it, and replaces config and topology.
struct session_env {
    struct client_env client;
    struct server_env server;
    struct config *config;
    struct topology *topology;
    struct pools *pools;
    struct databases databases;
    struct settings_table *settings;
    struct welcomes welcomes;
    struct route_balance balance;
    struct response_out out;
    struct buf wbuf;                       // messages for a server, within one call
    struct buf journals[SESSION_JOURNALS]; // memory for journals that no session needs just now
    size_t n_journals;
    struct stats *stats;
    struct user_counts *users; // of all workers
    struct ilist sessions;     // all of them
    struct ilist parked;       // those that wait for a server to be there
    struct ilist waiting;      // those that wait in a pool's queue
    struct ilist leases;       // those that keep a connection for currval and lastval alone, the oldest first
    struct ilist newcomers;    // those that have not proved who they are, the oldest first
    struct ilist relays;       // replication connections (session_relay.c)
    struct replication_counts *replication; // of all workers
    struct session *by_key;                 // uthash, by cancel pid
    atomic_ullong
        *schema_epoch; // of all workers: grows when DDL passes by; what was parsed before may mean something else
    uint64_t epoch_seen, epoch_seen_us; // the last one, and since when; 0 = since the worker's start
    atomic_ullong *defaults_changed_us; // as in server_env
    uint64_t near;                      // bit per node of the topology: in the zone where this router stands
    atomic_ullong *last_write_us;       // of all workers: when the last write of any client was acknowledged
    atomic_ullong *terminate_us;        // of all workers: when a client last called pg_terminate_backend
    uint64_t avoid;                     // bit per node of the topology: not reachable from this worker just now
    atomic_ullong *sequence_users;      // of all workers: bits of those whose clients use currval or lastval
    uint64_t avoid_until_us[ROUTE_NODES_MAX];
    bool draining;                                       // no new work for idle clients: they are told to go
    void (*watch_database)(void *arg, const char *name); // a server has let somebody into a database for the first time
    void (*refresh_database)(void *arg, const char *name); // DDL has passed by
    void (*vacate_database)(void *arg, const char *name);  // pools_vacate, in all workers
    void (*session_closed)(void *arg);                     // the last of a session's memory is gone
    void (*retry_soon)(void *arg);                         // sessions_retry_stale is wanted in a moment
    void *arg;
};

enum session_state {
    SESSION_LOGIN,   // the client is authenticated or about to be, and not yet welcome
    SESSION_IDLE,    // has no server connection in use
    SESSION_WAITING, // a ticket stands in a pool's queue
    SESSION_PARKED,  // the server it needs is not there; tried again when the topology changes
    SESSION_LINKED,  // a server connection works for it
    SESSION_RELAY,   // a replication connection, joined to a server connection of its own
    SESSION_CLOSED,  // the client is gone
    SESSION_STATES
};

struct session {
    // read-only
    struct client client;
    struct session_env *env;
    enum session_state state;
    uint32_t pins;                   // router/session/pins.h; session_set_pins
    struct database *database;       // NULL until authenticated
    struct account *account;         // counted; NULL until authenticated, and when the client is gone
    struct settings *settings;       // from the start-up packet and by SET, as last read from a server
    struct settings *startup;        // from the start-up packet
    struct settings *customs;        // names of applications' parameters that it has had, set or not; NULL = none
    uint64_t user_mark;              // of its user, by whose defaults its texts are read
    struct relay *relay;             // of a replication connection, from its login on; NULL: an ordinary one
    uint32_t cancel_pid, cancel_key; // together the key of env->by_key

    // private
    UT_hash_handle by_key;
    struct ilink link, waits_link;
    struct ilink lease_link;  // in env->newcomers, and env->leases later
    struct deadline deadline; // parked too long, idle too long
    struct ticket ticket;
    struct server *server; // the connection in use
    struct server *held;   // the primary connection it keeps while pinned, or in session mode; may be `server`
    uint8_t node;          // the place of `server` in the topology, for the balance; ROUTE_NODES_MAX = unknown by now
    bool on_replica;       // `server` is a replica
    bool sequences_moved;  // it may have moved sequences on the primary connection it has
    bool sequences_lost;   // ... on one that it has no more
    bool forgets;          // what its login asks, or the prelude, has the connection forget sequences
    bool sequences_asked;  // ... and has been told since
    bool identities_first; // its settings are put in force with the rights of the role that is among them
    uint64_t sequence_bit; // in env->sequence_users
    uint64_t leased_us;    // since when it is among env->newcomers or env->leases
    struct prep_client names;
    struct touched *touched; // what is to be read back from the server (session_settings.c); NULL = nothing
    uint32_t pins_seen;      // those of `pins` whose state the server has shown
    uint32_t pins_suspected; // what there may have been to ask for since the first of `pins`
    uint32_t pins_kept;      // what the unit that is `settling` may have caused, whatever it has ended
    uint32_t settling; // facts of a unit under way whose effect is known only when it is answered: others wait for it
    uint64_t context;  // of statements parsed while it is not known what is in force; 0 = it is
    struct request request;
    struct response response;
    struct buf *login_rows; // while the login asks for them
    struct transaction tx;
    struct tx_modes login_modes; // of transactions that say nothing themselves, as the login found them
    struct tx_modes tx_defaults; // ... as they are now
    uint8_t tx_reason;           // enum route_reason: why the transaction that begins with the unit that is ready must
                                 // be on the primary; 0 = it need not
    uint8_t reason;              // enum route_reason of the unit that waits for its server
    uint8_t last_reader;         // the replica that gave the last answer; ROUTE_NODES_MAX = the primary
    struct buf journal;          // what the client sent and a replica has not answered: it can be sent again
    size_t again;                // bytes at the front of the input that were in the journal
    uint64_t avoid;              // bit per node: they lost what is to be run `again`
    struct vacating *vacating;   // a statement under way that wants a database for itself; NULL = none
    struct fault *refusal;       // the next unit gets this error instead of a server
    uint32_t due;                // exchanges sent and not answered
    uint32_t tail;               // bytes of a streamed message still to come from the client
    bool tail_discard;           // ... and nobody wants them
    bool ready;                  // `request` is complete and waits to be sent
    bool cancel_asked;           // ... and is to be cancelled when it has been
    bool open;                   // messages were sent for which the client's Sync has not come
    struct exchange opened;      // ... and what they do
    bool names_are_free;         // ... a DEALLOCATE ALL among it
    bool skipping;               // an error: everything up to the client's Sync is passed over
    bool nonstandard_strings, unsafe_encoding; // its statements cannot be understood
    bool lexing;                               // ... or maybe not: what decides it is being changed
    bool session_mode;
    uint8_t consistency; // enum consistency
    uint8_t preference;  // enum preference
    bool user_counted;   // in env->users
    bool claimed;        // `server` was found for the unit that is ready, and has not got it yet
    bool proving;        // ... nor before it is known what a statement of its gives (prep_prove), or before its
                         // transaction has failed again (session_tx_fail_anew)
    bool prelude_due;    // ... since the client's settings are being put in force on it
    // What its settings say.
    bool serializable : 1;     // its transactions are, unless they say otherwise
    bool dumps : 1;            // it is pg_dump's
    bool shows_route : 1;      // it is told where its statements go, and why
    bool counts : 1;           // it has set how counters are kept or told
    bool leaving;              // a ROLLBACK is due from the replica that its READ ONLY transaction leaves
    bool leaving_again;        // ... and what is in the journal is run again after that
    bool balanced;             // counted in env->balance.in_flight
    bool ddl;                  // DDL is under way, or was in the transaction under way
    bool defaults;             // ... and among it a change of the defaults of sessions to come
    uint8_t reruns;            // of the exchange that is due first
    bool copy_due;             // a COPY FROM STDIN has been sent; whether the server takes data is not known yet
    bool copying;              // it does, and the client has not said that it is done
    uint8_t copies_ended;      // CopyDone or CopyFail sent ahead of the CopyInResponse
    bool lost_tx;              // its transaction's server connection is gone (session_lost.c)
    bool lost_told;            // ... and the client has had an error for it
    bool tx_wrote;             // the transaction under way may have written
    bool again_anywhere;       // `again`: any other server will do, not only the primary
    bool flush_due;            // the answer to a batch whose Flush was sent as a Sync
    bool closing;              // what is due closes a statement: if it fails, the name is taken again
    uint64_t last_write_us;    // when its last write was acknowledged
    uint64_t ddl_us;           // when its last DDL was; 0 = never
    struct session_code *code; // functions and triggers it has just made (session_code.c); NULL = none
    uint64_t counted_us;       // when it last asked for counters of reads; 0 = never
    uint64_t last_read_us;     // when its last answer was shown; kept for `monotonic` only
    int64_t last_reader_up_us;
    uint64_t parked_us; // since when it waits for a server to be there; 0 = it does not
    uint64_t stale_us;  // since when it waits for a replica that is fresh enough; 0 = it does not
};

// Takes an accepted socket.
void session_open(struct session_env *env, int fd, uint64_t id);
// A CancelRequest with this key, received at `asked_us` (uv_hrtime() / 1000) by whatever worker: cancels what that
// client's session is doing, unless it has begun since then. False: there is no such client here.
bool session_cancel(struct session_env *env, uint32_t pid, uint32_t key, uint64_t asked_us);
// A database's catalog has come, or it is known that none will: logins that wait for it go on.
void sessions_catalog_changed(struct session_env *env);
// The topology has been replaced in `env`: parked sessions try again.
void sessions_topology_changed(struct session_env *env, const struct topology *before);
// The config has been replaced in `env`.
void sessions_config_changed(struct session_env *env);
// Those that wait for a fresh replica look again, and call env->retry_soon when they have to go on waiting.
void sessions_retry_stale(struct session_env *env);
// Every tick (100 ms).
void sessions_tick(struct session_env *env);
// There are `n` clients more than may be: those that have been longest about their logins give way. False when there
// are none but such as came a moment ago.
bool sessions_make_room(struct session_env *env, int n);
// SIGTERM: idle sessions are told 57P01 now, others when their work is done. Those that are not logged in yet go at
// once.
void sessions_drain(struct session_env *env);
// When no session is left.
void sessions_fini(struct session_env *env);
// The end of the drain's time: all of them, now.
void sessions_close_all(struct session_env *env);

#endif
