// SPDX-License-Identifier: ISC
//
// router/wire/msg.h: the messages we look into.
//
// Pure views: each function takes a complete payload (after the length) and answers false when it is malformed; spans
// point into the payload.
#ifndef PGSTEER_ROUTER_WIRE_MSG_H
#define PGSTEER_ROUTER_WIRE_MSG_H

#include "base/span.h"
#include "router/wire/proto.h"

struct msg_parse {
    struct span name, query;
    struct span types; // the number of types (2 bytes) and the oids, as they stand in the message
};
NODISCARD bool msg_parse(struct span payload, struct msg_parse *out);

struct msg_bind {
    struct span portal, statement;
    struct span rest; // formats, values, result formats: everything after the two names
};
// Only the two names are looked at, so `payload` may be a prefix of the message as long as both are in it.
NODISCARD bool msg_bind(struct span payload, struct msg_bind *out);

struct msg_target { // Describe and Close
    char kind;      // 'S' statement, 'P' portal
    struct span name;
};
NODISCARD bool msg_target(struct span payload, struct msg_target *out);

struct msg_execute {
    struct span portal;
    uint32_t max_rows;
};
NODISCARD bool msg_execute(struct span payload, struct msg_execute *out);

// Query: the text without its NUL, which must be the last byte and the only NUL.
NODISCARD bool msg_query(struct span payload, struct span *sql);

// CommandComplete: the tag without its NUL.
NODISCARD bool msg_command_complete(struct span payload, struct span *tag);

// ParameterStatus.
NODISCARD bool msg_parameter_status(struct span payload, struct span *name, struct span *value);

// ErrorResponse and NoticeResponse; a field that is missing has an empty span (ptr NULL). A payload cut short is
// understood as far as it goes.
struct msg_error {
    struct span severity, sqlstate, message, detail, hint;
};
void msg_error(struct span payload, struct msg_error *out);

#endif
