// SPDX-License-Identifier: ISC
//
// router/session/client_parts.h: what the two parts of a client call of each other.
//
// client.c has its life and its bytes, client_login.c the way from an accepted socket to an authenticated client.
// Nobody else includes this.
#ifndef PGSTEER_ROUTER_SESSION_CLIENT_PARTS_H
#define PGSTEER_ROUTER_SESSION_CLIENT_PARTS_H

#include "router/session/client.h"

// client.c
void client_set_state(struct client *c, enum client_state to);
// As client_fail, with the sentence.
void client_refuse(struct client *c, enum stat_error reason, const char *sqlstate, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

// client_login.c
// Goes as far as the bytes in c->in allow. The client may be anything afterwards but freed.
void client_login_advance(struct client *c);
// The TLS handshake is done.
void client_login_secured(struct client *c);

#endif
