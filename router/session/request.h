// SPDX-License-Identifier: ISC
//
// router/session/request.h: a client's messages, cut into units that can be routed.
//
// A unit is a Query or FunctionCall message, or extended-protocol messages up to Sync or Flush. It is scanned as its
// bytes arrive; nothing is scanned twice. A message that is well framed but not as it has to be goes to a server as it
// is, at once, and it is the server that says so: an error that a client survives. When a unit is larger than may be
// held it is cut at a message, or inside one, and marked as a stream: then it must go to the primary as it comes. Pure:
// looks names up, changes none.
#ifndef PGSTEER_ROUTER_SESSION_REQUEST_H
#define PGSTEER_ROUTER_SESSION_REQUEST_H

#include "base/fault.h"
#include "router/session/database.h"
#include "router/session/prep.h"

enum request_kind {
    REQUEST_NONE, // nothing scanned yet
    REQUEST_QUERY,
    REQUEST_BATCH,
    REQUEST_FUNCTION,
    REQUEST_COPY, // CopyData, CopyDone, CopyFail
    REQUEST_TERMINATE
};

struct request {
    enum request_kind kind;
    size_t len;  // bytes scanned that belong to the unit, from its first one
    size_t tail; // bytes of its last message that are still to come (a stream); `len` counts those that are here
    struct verdict verdict; // of all its texts
    bool leads;             // the first of them is BEGIN or START TRANSACTION
    struct tx_modes modes;  // ... with these modes
    struct verdict body;    // of the others
    uint32_t texts;         // how many
    bool stream;            // goes to the primary as it comes
    bool synced, flushed;   // ended by Sync, by Flush
    bool executes;          // a Bind, Execute or portal is in it
    bool old_portal;        // executes or describes a portal that it does not bind
    bool old_name;          // uses what it does not parse, parses by a name that is taken, or a text that is awaited
    bool taken_name;        // ... by a name that is taken
    bool typed;             // uses a statement that has types of parameters
    bool server_needed;     // not just Close, Parse of what a server has parsed before, and Sync
    bool too_many_names;    // a Parse would give the client more names than it may have
    bool unreadable;        // it could not be understood, and might leave any state behind
    bool names_ours;        // SQL that speaks of a prepared statement by a name of ours
    bool runs;              // a Query, or a batch with an Execute
    bool copies;            // ... of a COPY FROM STDIN
    bool malformed;         // its last message is not as it has to be
    bool ends_copy;         // a CopyDone or CopyFail is in it
    bool changes_names;     // parses a named statement, or closes one
    bool closes_name;       // closes a statement
    bool binds_portal, parses_unnamed;
    bool aged;            // uses a statement that its client was told of when the schema or its settings were others
    bool unnamed_copies;  // the unnamed statement that it parses is a COPY FROM STDIN
    uint32_t copy_portal; // a hash of the portal that is bound to one; 0 = none
    bool keeps_portal; // a portal of it has a name. An unnamed one ends with the next Query or Bind, whatever is left
    uint32_t parses;   // named ones
};

struct request_context {
    struct database *database;
    const struct prep_client *names;
    struct meaning meaning; // of what is parsed now
    bool conforming;        // standard_conforming_strings
    size_t max_held;        // max_exchange_size
    size_t max_names;       // max_client_prepared_statements
};

enum { REQUEST_PARSE_MAX = 4 * 1024 * 1024 }; // a Parse must be held whole: other servers will want it

enum request_result {
    REQUEST_READY, // the unit is complete, or as much of it as can be sent now (stream)
    REQUEST_MORE,  // more bytes are needed
    REQUEST_BAD    // 08P01 (no message of a client, or it cannot be held) or 54000: the connection must end
};

static inline void request_reset(struct request *r) { *r = (struct request){0}; }
// Scans on in `in`, which begins at the unit's first byte and holds at least the r->len bytes scanned before.
NODISCARD enum request_result request_scan(struct request *r, const struct request_context *ctx, struct span in,
                                           struct fault *f);
// Whether a unit that has been scanned is a Query, or a batch that prepares (or not), binds, describes (or not) and
// executes one statement without parameters in the unnamed portal, and nothing else.
bool request_is_lone(const struct request *r, struct span unit);

#endif
