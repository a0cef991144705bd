// SPDX-License-Identifier: ISC
//
// router/net/tls.h: certificates and keys, and one connection's TLS; the only user of libssl.
//
// Two kinds of things: contexts, which are made from the configuration and shared by all workers, and sessions, which
// only stream.c uses. A session reads and writes the socket itself and never blocks.
#ifndef PGSTEER_ROUTER_NET_TLS_H
#define PGSTEER_ROUTER_NET_TLS_H

#include <sys/types.h>

#include "config/config.h"

// Immutable once made; counted; any thread.
struct tls_context;

// For clients that connect to us: from client_tls_* (sslmode other than disable; verify-ca and verify-full both ask for
// a certificate of client_tls_ca_file). For connections to servers: from server_tls_*; as in libpq, a
// server_tls_ca_file is verified against in every sslmode, verify-ca and verify-full need one, and verify-full checks
// the name too. NULL and a fault (F0000) that names the option when a file cannot be read, does not fit, or is a key
// that others may read. TLS 1.2 at least, no compression, no renegotiation, no tickets.
NODISCARD struct tls_context *tls_context_for_clients(const struct config *c, struct fault *f);
NODISCARD struct tls_context *tls_context_for_servers(const struct config *c, struct fault *f);
void tls_context_ref(struct tls_context *t);
void tls_context_unref(struct tls_context *t);

// For stream.c.
struct ssl_st; // OpenSSL's SSL

enum tls_result { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_EOF, TLS_FAILED };

enum { TLS_RECORD_MAX = 16384 }; // plain bytes in one record, RFC 8446 section 5.1

// A session on a non-blocking socket; keeps the context alive. `server_name` is for SNI and verify-full.
NODISCARD struct ssl_st *tls_new(struct tls_context *t, int fd, bool as_server, const char *server_name,
                                 struct fault *f);
void tls_free(struct ssl_st *ssl);
// One step of the handshake. TLS_FAILED fills the fault (08006).
NODISCARD enum tls_result tls_handshake(struct ssl_st *ssl, struct fault *f);
// TLS_DONE: `*n` bytes. At most one record.
NODISCARD enum tls_result tls_read(struct ssl_st *ssl, void *to, size_t cap, size_t *n, struct fault *f);
// TLS_DONE: the first `*n` bytes were taken, as one record. After TLS_WANT_* the next call must begin with the same
// bytes, at any address, and give at least as many.
NODISCARD enum tls_result tls_write(struct ssl_st *ssl, const void *from, size_t len, size_t *n, struct fault *f);
// Bytes have been received and not been read; a part of a record counts.
bool tls_has_pending(const struct ssl_st *ssl);
// Says close_notify, as far as the kernel takes it at once.
void tls_goodbye(struct ssl_st *ssl);

#endif
