// SPDX-License-Identifier: ISC
// router/net/tls.c: see router/net/tls.h.
#include "router/net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct tls_context {
    struct snap snap; // first
    SSL_CTX *ctx;
    bool verify_name;
};

// The first of OpenSSL's queued errors says what went wrong; the others say where it came through.
static const char *tls_reason(void) {
    unsigned long e = ERR_peek_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    if (e && ERR_SYSTEM_ERROR(e)) text = strerror(ERR_GET_REASON(e));
    return text ? text : "unknown error";
}

// Nobody sits at a terminal: an encrypted key is an error, not a question.
static int no_passphrase(char *to, int cap, int writing, void *arg) {
    (void)to, (void)cap, (void)writing, (void)arg;
    return 0;
}

static void context_free(struct snap *snap) {
    struct tls_context *t = container_of(snap, struct tls_context, snap);
    SSL_CTX_free(t->ctx);
    mem_free(t);
}

static struct tls_context *context_new(const SSL_METHOD *method, struct fault *f) {
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx) {
        fault_set(f, "58000", "TLS is not available: %s", tls_reason());
        return NULL;
    }
    // A partial write is one record: what the caller hands over in one piece leaves in one piece.
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1); // a record's header and body in one recv(2)
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    struct tls_context *t = mem_new(struct tls_context);
    snap_init(&t->snap, context_free);
    t->ctx = ctx;
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1) return t;
    fault_set(f, "58000", "TLS 1.2 is not available: %s", tls_reason());
    tls_context_unref(t);
    return NULL;
}

static bool bad_file(struct fault *f, const char *option, const char *path) {
    return fault_set(f, "F0000", "%s: \"%s\": %s", option, path, tls_reason());
}

// The rule of PostgreSQL's check_ssl_key_file_permissions: nobody but the owner, or root's with a group that may read.
static bool key_is_private(const char *option, const char *path, struct fault *f) {
    struct stat st;
    if (stat(path, &st) < 0) return fault_set(f, "F0000", "%s: \"%s\": %s", option, path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return fault_set(f, "F0000", "%s: \"%s\" is not a regular file", option, path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return fault_set(f, "F0000", "%s: \"%s\" must be owned by the user pgsteer runs as, or by root", option, path);
    mode_t others = st.st_uid == 0 ? (S_IWGRP | S_IXGRP | S_IRWXO) : (S_IRWXG | S_IRWXO);
    if (!(st.st_mode & others)) return true;
    fault_set(f, "F0000", "%s: \"%s\" can be read by others", option, path);
    fault_hint(f, "Set its mode to 0600, or to 0640 when root owns it.");
    return false;
}

// `side` is the beginning of the options' names.
static bool load_certificate(struct tls_context *t, const char *side, const char *cert, const char *key,
                             struct fault *f) {
    char cert_option[40], key_option[40];
    snprintf(cert_option, sizeof cert_option, "%s_tls_cert_file", side);
    snprintf(key_option, sizeof key_option, "%s_tls_key_file", side);
    if (!*cert) return fault_set(f, "F0000", "%s is not set", cert_option);
    if (!*key) return fault_set(f, "F0000", "%s is not set", key_option);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(t->ctx, cert) != 1) return bad_file(f, cert_option, cert);
    if (!key_is_private(key_option, key, f)) return false;
    if (SSL_CTX_use_PrivateKey_file(t->ctx, key, SSL_FILETYPE_PEM) != 1) return bad_file(f, key_option, key);
    return true;
}

static bool load_ca(struct tls_context *t, const char *side, const char *ca, struct fault *f) {
    char option[40];
    snprintf(option, sizeof option, "%s_tls_ca_file", side);
    if (!*ca) return fault_set(f, "F0000", "%s is not set, and verification needs it", option);
    ERR_clear_error();
    return SSL_CTX_load_verify_locations(t->ctx, ca, NULL) == 1 || bad_file(f, option, ca);
}

static bool set_ciphers(struct tls_context *t, const char *ciphers, struct fault *f) {
    ERR_clear_error();
    if (!*ciphers || SSL_CTX_set_cipher_list(t->ctx, ciphers) == 1) return true;
    return fault_set(f, "F0000", "client_tls_ciphers: \"%s\": %s", ciphers, tls_reason());
}

static bool demand_client_certificate(struct tls_context *t, const char *ca, struct fault *f) {
    if (!load_ca(t, "client", ca, f)) return false;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca);
    if (!names) return bad_file(f, "client_tls_ca_file", ca);
    SSL_CTX_set_client_CA_list(t->ctx, names);
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

struct tls_context *tls_context_for_clients(const struct config *c, struct fault *f) {
    struct tls_context *t = context_new(TLS_server_method(), f);
    if (!t) return NULL;
    SSL_CTX_set_dh_auto(t->ctx, 1);
    SSL_CTX_set_options(t->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    bool demand = c->client_tls_sslmode == SSLMODE_VERIFY_CA || c->client_tls_sslmode == SSLMODE_VERIFY_FULL;
    if (load_certificate(t, "client", c->client_tls_cert_file, c->client_tls_key_file, f) &&
        set_ciphers(t, c->client_tls_ciphers, f) && (!demand || demand_client_certificate(t, c->client_tls_ca_file, f)))
        return t;
    tls_context_unref(t);
    return NULL;
}

struct tls_context *tls_context_for_servers(const struct config *c, struct fault *f) {
    struct tls_context *t = context_new(TLS_client_method(), f);
    if (!t) return NULL;
    t->verify_name = c->server_tls_sslmode == SSLMODE_VERIFY_FULL;
    bool verify = *c->server_tls_ca_file || t->verify_name || c->server_tls_sslmode == SSLMODE_VERIFY_CA;
    bool own = *c->server_tls_cert_file || *c->server_tls_key_file;
    if (verify) SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    if ((!verify || load_ca(t, "server", c->server_tls_ca_file, f)) &&
        (!own || load_certificate(t, "server", c->server_tls_cert_file, c->server_tls_key_file, f)))
        return t;
    tls_context_unref(t);
    return NULL;
}

void tls_context_ref(struct tls_context *t) { snap_ref(&t->snap); }
void tls_context_unref(struct tls_context *t) { snap_unref(&t->snap); }

static bool is_ip_address(const char *name) {
    struct in6_addr any;
    return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

// RFC 6066 section 3: SNI has names only, no addresses.
static bool set_server_name(SSL *ssl, const char *name, bool verify) {
    bool is_ip = is_ip_address(name);
    if (!is_ip && SSL_set_tlsext_host_name(ssl, name) != 1) return false;
    if (!verify) return true;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 : X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

struct ssl_st *tls_new(struct tls_context *t, int fd, bool as_server, const char *server_name, struct fault *f) {
    if (!as_server && t->verify_name && !server_name) {
        fault_set(f, "08006", "the server's certificate cannot be verified without a host name");
        return NULL;
    }
    ERR_clear_error();
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl || SSL_set_fd(ssl, fd) != 1 ||
        (!as_server && server_name && !set_server_name(ssl, server_name, t->verify_name))) {
        fault_set(f, "08006", "TLS cannot be set up: %s", tls_reason());
        SSL_free(ssl);
        return NULL;
    }
    if (as_server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    return ssl;
}

void tls_free(struct ssl_st *ssl) { SSL_free(ssl); }

// `rc` is what an SSL_* call answered. A peer that goes without close_notify has come to its end like any other: the
// protocol above knows whether a message was cut.
static enum tls_result tls_result_of(SSL *ssl, int rc, const char *what, struct fault *f) {
    int saved_errno = errno;
    switch (SSL_get_error(ssl, rc)) {
    case SSL_ERROR_NONE: return TLS_DONE;
    case SSL_ERROR_WANT_READ: return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE: return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN: return TLS_EOF;
    case SSL_ERROR_SYSCALL:
        fault_set(f, "08006", "%s: %s", what, saved_errno ? strerror(saved_errno) : "connection closed");
        return TLS_FAILED;
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return TLS_EOF;
        fault_set(f, "08006", "%s: %s", what, tls_reason());
        return TLS_FAILED;
    }
}

enum tls_result tls_handshake(struct ssl_st *ssl, struct fault *f) {
    ERR_clear_error();
    errno = 0;
    enum tls_result r = tls_result_of(ssl, SSL_do_handshake(ssl), "TLS handshake failed", f);
    if (r == TLS_EOF) {
        fault_set(f, "08006", "TLS handshake failed: connection closed by the peer");
        return TLS_FAILED;
    }
    long verify = SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE ? X509_V_OK : SSL_get_verify_result(ssl);
    if (r == TLS_FAILED && verify != X509_V_OK)
        fault_set(f, "08006", "TLS handshake failed: certificate not accepted: %s",
                  X509_verify_cert_error_string(verify));
    return r;
}

enum tls_result tls_read(struct ssl_st *ssl, void *to, size_t cap, size_t *n, struct fault *f) {
    ERR_clear_error();
    errno = 0;
    return tls_result_of(ssl, SSL_read_ex(ssl, to, cap, n), "could not receive", f);
}

enum tls_result tls_write(struct ssl_st *ssl, const void *from, size_t len, size_t *n, struct fault *f) {
    ERR_clear_error();
    errno = 0;
    return tls_result_of(ssl, SSL_write_ex(ssl, from, len, n), "could not send", f);
}

bool tls_has_pending(const struct ssl_st *ssl) { return SSL_has_pending(ssl) == 1; }

void tls_goodbye(struct ssl_st *ssl) {
    // Allowed only while the session is sound: not in a handshake, not after an error.
    if (!SSL_is_init_finished(ssl)) return;
    ERR_clear_error();
    SSL_shutdown(ssl);
}
