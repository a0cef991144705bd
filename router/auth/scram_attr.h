// SPDX-License-Identifier: ISC
//
// router/auth/scram_attr.h: reading a SCRAM message, `x=value,y=value`, front to back.
//
// Private to router/auth. As tolerant as PostgreSQL (a trailing comma is fine, attributes it does not know are passed
// over) and no more. A failing function fills the fault (08P01) and answers false. Spans point into the message.
#ifndef PGSTEER_ROUTER_AUTH_SCRAM_ATTR_H
#define PGSTEER_ROUTER_AUTH_SCRAM_ATTR_H

#include "base/fault.h"
#include "base/span.h"

// Longer than any honest message by far; what a peer without a login can make us hold.
enum { SCRAM_MESSAGE_MAX = 4096 };

// A message starts here: not empty, not too long, no NUL.
NODISCARD bool scram_message_check(struct span message, struct fault *fault);
// The next attribute must be `name`.
NODISCARD bool scram_attr_read(struct span *rest, char name, struct span *value, struct fault *fault);
// The next attribute, whichever.
NODISCARD bool scram_attr_any(struct span *rest, char *name, struct span *value, struct fault *fault);
// Nothing may be left.
NODISCARD bool scram_attr_end(struct span rest, struct fault *fault);
// RFC 5802's "printable": ASCII without space, control characters and the comma; not empty.
NODISCARD bool scram_nonce_check(struct span nonce, struct fault *fault);

#endif
