// SPDX-License-Identifier: ISC
//
// router/session/prep.h: protocol-level prepared statements across server connections.
//
// A client's name stands for an interned statement (statements.h); a server connection knows a statement by a name of
// ours and is given the ones it lacks just in time, in the same write as the messages that use them. A server's unnamed
// statement is used only by the batch that parses it; used later, it goes by a name of ours like any other, so that no
// client can ever meet another's. A server connection closes the statement it used longest ago when it holds too many.
// Single thread.
#ifndef PGSTEER_ROUTER_SESSION_PREP_H
#define PGSTEER_ROUTER_SESSION_PREP_H

#include "base/buf.h"
#include "base/ilist.h"
#include "router/session/statements.h"

struct pipeline;
struct prep_name; // a client's name; counted by the client's map and by replies due that may have to undo something
struct prep_held; // a statement on a server connection

// The client's side.
struct prep_client {
    struct prep_name *names; // uthash, by name; NULL when there is none
    struct statement *unnamed;
    uint32_t count;
    uint16_t freed;      // times that all names became free at once
    uint16_t all_portal; // a hash of the portal that is bound to a DEALLOCATE ALL; 0 = none
};
static inline void prep_client_init(struct prep_client *c) { *c = (struct prep_client){0}; }
void prep_client_fini(struct prep_client *c);
// NULL when the client has none of that name. An empty name is the unnamed statement.
struct statement *prep_client_find(const struct prep_client *c, struct span name);
// The same, with a reference to the name itself (NULL for the unnamed statement), which may be one that it has not.
struct statement *prep_client_find_name(const struct prep_client *c, struct span name, struct prep_name **called);
// The name stands for `s` (counted by the map) from now on, or for nothing (NULL). Answers what it stood for before;
// the caller owns that reference.
struct statement *prep_client_set(struct prep_client *c, struct span name, struct statement *s);
// Never 0. For what is harmless when two portals of a session have the same one.
uint16_t prep_portal_hash(struct span name);
// A DEALLOCATE ALL is about to be run, after which all names are free, if nothing goes wrong; and whether the name has
// been given anew since the last one.
static inline void prep_client_free_names(struct prep_client *c) { c->freed++; }
bool prep_client_is_new(const struct prep_client *c, struct span name);
// The name as text: of a reference, "" for NULL. And to drop one (NULL is fine).
struct span prep_name_text(const struct prep_name *n);
void prep_name_unref(struct prep_name *n);

// The server's side.
struct prep_server {
    struct prep_held *held; // uthash, by statement id
    struct ilist lru;       // oldest first
    uint32_t epoch;         // part of the names: after DEALLOCATE ALL no old name is used again
    bool exposed;           // a client's own names have been given to it (prep_expose)
    struct buf second;      // ... of which these stand for a statement that has another name: each with a NUL
};
void prep_server_init(struct prep_server *s);
void prep_server_fini(struct prep_server *s);
bool prep_server_has(const struct prep_server *s, const struct statement *st);
// "pgsteer_<id>_<epoch>": how this server connection knows the statement; empty when it does not hold it. Good until it
// is removed. `use` also marks it used now.
struct span prep_server_name(const struct prep_server *s, const struct statement *st);
struct span prep_server_use(struct prep_server *s, const struct statement *st);
// Answers its name.
struct span prep_server_add(struct prep_server *s, struct statement *st);
// It is parsed by this name of its client's.
void prep_server_add_as(struct prep_server *s, struct statement *st, struct span name);
// Which are to stay: none; the one held by this name; and the first that is not.
void prep_server_unwant(struct prep_server *s);
void prep_server_want(struct prep_server *s, const struct statement *st, struct span name);
struct statement *prep_server_exposed_as(const struct prep_server *s, struct span name); // NULL: none
struct statement *prep_server_unwanted(const struct prep_server *s);
// Names in `second`.
void prep_server_add_second(struct prep_server *s, struct span name);
bool prep_server_has_second(const struct prep_server *s, struct span name);
void prep_server_remove_second(struct prep_server *s, struct span name);
// Goes through a client's names, the oldest first, from *at == NULL on; NULL after the last.
struct statement *prep_client_next(const struct prep_client *c, struct prep_name **at, struct span *name);
void prep_server_remove(struct prep_server *s, const struct statement *st);
struct statement *prep_server_oldest(struct prep_server *s); // NULL when it holds none
void prep_server_forget_all(struct prep_server *s);          // the server dropped all its statements
static inline size_t prep_server_count(const struct prep_server *s) { return s->lru.count; }

// True for a name that looks like one of ours: a client's use of it must never reach a server.
bool prep_is_our_name(struct span name);

// Writes a client's batch of extended-protocol messages for a server: names replaced, missing statements prepared ahead
// of their first use, a Parse of what the server has already left out (its answer invented), superfluous ones closed.
// Every message gets its entry in `due`.
struct prep_rewrite {
    struct prep_client *client;
    struct prep_server *server;
    struct statements *statements;
    struct pipeline *due;
    struct buf *out;        // empty
    struct meaning meaning; // of what is parsed now; statements of another context are parsed anew
    bool schema_young;      // DDL has passed by not long ago: some servers may not have it yet
    bool again;        // the batch was sent before, to a server that could not do it: its Parse may find its name taken
    bool nothing_runs; // the transaction has failed: a statement that the server has will do, whatever it means
    bool deallocates;  // a DEALLOCATE is among its texts
    bool flush_is_sync;     // write a Sync, its answer swallowed, for a final Flush
    bool malformed;         // its last message is, and goes as it is
    bool deallocates_all;   // a DEALLOCATE ALL or DISCARD ALL is among its texts
    bool names_are_free;    // ... or has been run before in the same exchange; set when that is so behind this batch
    size_t max_server;      // max_prepared_statements
    uint64_t server_parses; // counts statements prepared for lack of them
};
// `batch` is messages that frame_next and msg_* have accepted, the last one perhaps not (`malformed`); of the last one,
// if it is a Bind, the rest may be still to come. A Parse of a name that the client has already and a use of one it has
// not make the server answer with the error that PostgreSQL has for it. False: nothing has to change, the batch can be
// sent as it is, and `out` is empty.
NODISCARD bool prep_rewrite(struct prep_rewrite *r, struct span batch);

// The first statement that `batch` binds and the server connection lacks, or holds with another meaning, and that may
// give other columns by now than its client has been told: DDL has passed by, or the client's settings have changed.
// NULL: there is none.
struct statement *prep_unproven(struct prep_rewrite *r, struct span batch);
// Has it parsed and described, all answers swallowed, before the batch may be sent. Nothing may be due.
void prep_prove(struct prep_rewrite *r, struct statement *st);
// Before a text that looks at what is prepared, or EXECUTEs it, by SQL: the server connection is given the client's
// statements by the client's own names, and loses all others. All answers are swallowed; a statement that cannot be
// parsed any more is left out. Nothing may be due. From then on the connection is for this client alone.
void prep_expose(struct prep_rewrite *r, bool in_transaction);
// Writes, instead of a batch whose proof has failed, what makes the server give an error, for which the client is told
// what PostgreSQL would have said: see struct outdated. `synced`: the batch ends with a Sync.
void prep_refuse(struct prep_rewrite *r, struct statement *held, bool synced);

// An error came for the head of `due`: the server skips everything up to the next Sync, so the entries up to there go,
// and what they did to the client's and the server's sets is undone. True when there was a Sync; false when none has
// been sent yet, and what is sent until then will be skipped as well.
bool prep_fail(struct prep_client *client, struct prep_server *server, struct pipeline *due);
// The server has just done a DEALLOCATE ALL, the head of `due`: its statements are gone, and the client's names, but
// for those that messages behind it give. The unnamed statement stays.
void prep_deallocated_all(struct prep_client *client, struct prep_server *server, struct pipeline *due);

// Copies an ErrorResponse or NoticeResponse with the names of ours in its texts replaced by what the client calls them:
// by `name` (empty: the unnamed statement). False when there is none in it and the message can be passed on as it is.
bool prep_rename_error(struct span message, struct span name, struct buf *out);

// The name in `DEALLOCATE [PREPARE] name`, as PostgreSQL would fold it, in `to`; false when the text is anything else.
bool prep_deallocate_name(struct span sql, char *to, size_t cap, size_t *len);
// Whether the text is DEALLOCATE [PREPARE] ALL or DISCARD ALL.
bool prep_deallocates_all(struct span sql);
// Whether PostgreSQL takes a Parse of the text in a transaction that has failed: it ends one, or is empty.
bool prep_parses_when_failed(struct span sql);
// Whether the text is a FETCH or an EXECUTE: it gives the columns of what has the name when it is run, and PostgreSQL
// does not mind that they are others than before.
bool prep_gives_what_is_named(struct span sql);

#endif
