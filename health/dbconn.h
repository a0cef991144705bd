// SPDX-License-Identifier: ISC
//
// health/dbconn.h: one libpq connection that never blocks, on the loop.
//
// The only user of libpq in the router. A dbconn connects to addresses it is given (libpq resolves no name), runs one
// query at a time, notices at once when an idle connection is closed, and gives every step a deadline. It reports
// through its ops, always from the loop, never from within the call that began the step. It judges nothing: a failure
// says what happened and what the server's SQLSTATE was.
//
// After a failure the connection is closed and dbconn_connect may be called again, from within the op too.
#ifndef PGSTEER_HEALTH_DBCONN_H
#define PGSTEER_HEALTH_DBCONN_H

#include <sys/socket.h>
#include <uv.h>

#include "base/base.h"
#include "config/config.h"

struct dbconn;

enum dbconn_error {
    DBCONN_UNREACHABLE, // refused, reset, or no word from the server
    DBCONN_TIMEOUT,
    DBCONN_REFUSED, // the server refused the login; see the SQLSTATE, "" when libpq gave up by itself (no password)
    DBCONN_QUERY,   // the query failed; the connection is closed all the same
    DBCONN_CLOSED,  // an idle connection was closed by the server
    DBCONN_SHORT    // this process had no descriptor or memory to connect: nothing is known of the server
};

struct dbconn_failure {
    enum dbconn_error error;
    char sqlstate[6]; // "" when there is none
    char text[200];   // one line; may hold the server's words
};

struct dbconn_ops {
    void (*connected)(void *owner);
    // All rows are there: dbconn_rows and dbconn_value, until this returns.
    void (*result)(void *owner);
    void (*failed)(void *owner, const struct dbconn_failure *failure);
    // The last call: after dbconn_free, when nothing of it is left in the loop. May be NULL.
    void (*freed)(void *owner);
};

// Where and as whom. Borrowed until dbconn_connect returns; "" = not given.
struct dbconn_target {
    const char *host; // a name (for certificates and .pgpass), or a Unix socket's directory
    int port;
    const struct sockaddr_storage *addresses; // tried in this order
    size_t n_addresses;
    const char *user, *password, *database;
    enum sslmode sslmode;
    const char *ca_file, *cert_file, *key_file;
};

NODISCARD struct dbconn *dbconn_new(uv_loop_t *loop, const struct dbconn_ops *ops, void *owner);
// Closed, and freed a turn of the loop later. No op but `freed` is called any more.
void dbconn_free(struct dbconn *c);

// The connection must be closed. Answers with `connected` or `failed`.
void dbconn_connect(struct dbconn *c, const struct dbconn_target *target, int64_t timeout_ms);
// The connection must be open and idle. Answers with `result` or `failed`. `sql` is one statement, copied.
void dbconn_query(struct dbconn *c, const char *sql, int64_t timeout_ms);
// Closes at once, whatever goes on; no op is called for it.
void dbconn_close(struct dbconn *c);
bool dbconn_is_open(const struct dbconn *c); // connected, idle or busy

// Of the result, within the op: the number of rows, and a value as text, NULL for SQL's NULL.
size_t dbconn_rows(const struct dbconn *c);
const char *dbconn_value(const struct dbconn *c, size_t row, size_t column);
// The address that the open connection uses; false for a Unix socket.
bool dbconn_peer(const struct dbconn *c, struct sockaddr_storage *out);

#endif
