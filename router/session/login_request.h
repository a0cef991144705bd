// SPDX-License-Identifier: ISC
//
// router/session/login_request.h: what a start-up packet asks for.
//
// Reads the parameters as PostgreSQL does (ProcessStartupPacket and process_postgres_switches): who, where, and with
// which settings. What we cannot do is refused by name, never passed over. Pure.
#ifndef PGSTEER_ROUTER_SESSION_LOGIN_REQUEST_H
#define PGSTEER_ROUTER_SESSION_LOGIN_REQUEST_H

#include "base/buf.h"
#include "base/fault.h"

enum { LOGIN_NAME_SIZE = 64 }; // NAMEDATALEN: longer names are cut, as PostgreSQL cuts them when they are made

// What `replication` in a start-up packet asks for: an ordinary session, or a walsender.
enum replication {
    REPLICATION_NONE,
    REPLICATION_PHYSICAL, // of the whole cluster; the database's name means nothing
    REPLICATION_DATABASE  // of one database, which takes SQL as well
};

struct login_request {
    char user[LOGIN_NAME_SIZE], database[LOGIN_NAME_SIZE]; // database: the user's name when not given
    // name NUL value NUL ..., in the order in which PostgreSQL applies them: those of `options` (-c x=y, --x=y) first,
    // then the others as given. A name may come twice; the last one counts.
    struct buf settings;
    enum replication replication;
    // `_pq_.` options, none of which we know; spans into the parameters.
    struct span *unknown;
    size_t n_unknown;
};

// `parameters` as in struct startup. False: 28000 no user; 22023 no such `replication`; 0A000 a switch in `options`
// that is not a setting; 42601 a setting without a value; 42704 without a name. login_request_fini follows in any case.
NODISCARD bool login_request_read(struct login_request *r, struct span parameters, struct fault *fault);
void login_request_fini(struct login_request *r);

#endif
