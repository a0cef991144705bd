// SPDX-License-Identifier: ISC
//
// router/wire/reply.h: messages of our own, to clients and to servers.
//
// Each function appends one message to a buf, whose sticky failure flag covers running out of room. Strings are taken
// as they are: a caller that passes on a peer's bytes has them from a message, where they cannot hold a NUL.
#ifndef PGSTEER_ROUTER_WIRE_REPLY_H
#define PGSTEER_ROUTER_WIRE_REPLY_H

#include "base/buf.h"
#include "base/fault.h"
#include "router/wire/proto.h"

// To clients. An error's severity is ERROR or FATAL; hint and SQLSTATE come from the fault (XX000 when it has none).
void reply_error(struct buf *b, bool fatal, const struct fault *f);
// Severity WARNING when the SQLSTATE starts with "01", else NOTICE.
void reply_notice(struct buf *b, const struct fault *f);
// PostgreSQL's error for a statement whose result has changed. Drivers know it by the name of its routine.
void reply_outdated(struct buf *b);
void reply_ready(struct buf *b, char tx_status);
void reply_empty_body(struct buf *b, char type); // ParseComplete, BindComplete, CloseComplete, NoData, ...
void reply_command_complete(struct buf *b, const char *tag);
void reply_parameter_status(struct buf *b, struct span name, struct span value);
void reply_parameters(struct buf *b, struct span pairs); // ParameterStatus for each of name NUL value NUL ...
void reply_backend_key_data(struct buf *b, uint32_t pid, uint32_t key);
void reply_auth(struct buf *b, uint32_t code, struct span data);    // AuthenticationXxx: code, then data as it is
void reply_auth_sasl(struct buf *b, const char *const *mechanisms); // NULL-terminated list
// NegotiateProtocolVersion: the newest minor we speak and the `_pq_.` options we do not know. The version is sent whole
// (3 << 16 | minor), as PostgreSQL sends it and libpq reads it.
void reply_negotiate_version(struct buf *b, uint32_t minor, const struct span *options, size_t n_options);

// To servers.
struct request_parameter {
    const char *name, *value;
};
void request_startup(struct buf *b, const struct request_parameter *parameters, size_t n);
void request_ssl(struct buf *b);
void request_cancel(struct buf *b, uint32_t pid, uint32_t key);
void request_query(struct buf *b, struct span sql);
void request_password(struct buf *b, struct span bytes_with_nul); // PasswordMessage: the answer and its NUL
void request_sasl_initial(struct buf *b, const char *mechanism, struct span data);
void request_sasl_response(struct buf *b, struct span data);
void request_parse(struct buf *b, struct span name, struct span query, struct span types); // types as in msg_parse
void request_bind(struct buf *b);    // the unnamed statement, without parameters, in the unnamed portal
void request_execute(struct buf *b); // the unnamed portal, all of it
void request_close_statement(struct buf *b, struct span name);
void request_close_portal(struct buf *b); // the unnamed one
void request_describe_statement(struct buf *b, struct span name);
void request_sync(struct buf *b);
void request_flush(struct buf *b);
void request_terminate(struct buf *b);

#endif
