// SPDX-License-Identifier: ISC
//
// router/net/tls.h: certificates and keys; the only user of libssl together with stream's calls through it.
#ifndef PGSTEER_ROUTER_NET_TLS_H
#define PGSTEER_ROUTER_NET_TLS_H

#include "config/config.h"

// Immutable once made; counted; any thread.
struct tls_context;

// For clients that connect to us: from client_tls_*. For connections to servers: from server_tls_*. NULL and a fault that
// names the option when a file cannot be read or does not fit. TLS 1.2 at least, no compression, no renegotiation.
NODISCARD struct tls_context *tls_context_for_clients(const struct config *c, struct fault *f);
NODISCARD struct tls_context *tls_context_for_servers(const struct config *c, struct fault *f);
void tls_context_ref(struct tls_context *t);
void tls_context_unref(struct tls_context *t);

#endif
