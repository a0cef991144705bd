// SPDX-License-Identifier: ISC
//
// router/session/client_login.c: from an accepted socket to an authenticated client; see router/session/client.h.
//
// Steps over what has been received, one packet or message each, with the checks in PostgreSQL's order
// (BackendInitialize, ClientAuthentication). Nobody is told whether a user or a database exists before the proof is
// right.
#include "base/mem.h"
#include "config/config.h"
#include "router/session/client_parts.h"
#include "router/session/login_request.h"
#include "router/wire/frame.h"

enum { SPECIAL_SSL = 1, SPECIAL_GSSENC = 2 };

enum { SASL_MECHANISM, SASL_CLIENT_FIRST, SASL_CLIENT_FINAL };

// Enough for the longest answer: a list of unknown protocol options, which stood in a start-up packet.
enum { LOGIN_REPLY_MAX = 2 * PROTO_STARTUP_MAX };

static bool put_reply(struct client *c, struct buf *b, bool hold) {
    bool ok = !b->failed;
    if (!ok)
        client_refuse(c, STAT_ERROR_LIMIT, "53200", "out of memory");
    else if (hold)
        stream_hold(&c->stream, buf_span(b));
    else
        ok = client_write(c, buf_span(b));
    buf_release(b);
    return ok;
}

static bool send_reply(struct client *c, struct buf *b) { return put_reply(c, b, false); }

// The packet or message in front has been dealt with. Nothing points into it any more.
static void took(struct client *c, uint32_t n) {
    buf_consume(&c->in, n);
    if (buf_len(&c->in) == 0) buf_release(&c->in);
}

// ---- authentication

static void authenticated(struct client *c, const struct scram_keys *keys) {
    client_set_state(c, CLIENT_WELCOME);
    scram_server_free(c->scram);
    c->scram = NULL;
    c->owned = true;
    c->ops->authenticated(c->owner, c, keys);
}

static void start_trust(struct client *c) {
    if (c->is_local) {
        authenticated(c, &(struct scram_keys){.set = false});
        return;
    }
    client_refuse(c, STAT_ERROR_AUTH, "28000", "auth_type = trust is for local connections only; user \"%s\" is remote",
                  c->user);
}

static void start_scram(struct client *c) {
    const struct users *users = c->config->users;
    c->scram =
        scram_server_new(users_find(users, c->user), span_str(c->user), users_scram_shape(users), c->env->scram_memo);
    c->sasl_due = SASL_MECHANISM;
    client_set_state(c, CLIENT_AUTH);
    struct buf b = buf_make(LOGIN_REPLY_MAX);
    reply_auth_sasl(&b, (const char *const[]){SCRAM_MECHANISM, NULL});
    (void)send_reply(c, &b);
}

static void start_authentication(struct client *c) {
    switch (c->config->auth_type) {
    case AUTH_TYPE_TRUST: start_trust(c); return;
    case AUTH_TYPE_SCRAM_SHA_256: start_scram(c); return;
    }
}

// SASLInitialResponse: mechanism, length (-1: no data), data.
static bool read_mechanism(struct span *data, struct fault *fault) {
    struct cursor cur = cursor_of(*data);
    struct span mechanism = cursor_cstr(&cur);
    uint32_t len = cursor_u32(&cur);
    *data = len == UINT32_MAX ? span_of(NULL, 0) : cursor_bytes(&cur, len);
    if (cur.bad || cursor_left(&cur)) return fault_set(fault, "08P01", "malformed SASLInitialResponse message");
    return span_is(mechanism, SCRAM_MECHANISM) ||
           fault_set(fault, "08P01", "client selected an invalid SASL authentication mechanism");
}

// One message into the exchange; the answer's data is appended to `answer`. `done`: the proof was right.
static bool sasl_step(struct client *c, struct span data, struct buf *answer, struct scram_keys *keys, bool *done,
                      struct fault *fault) {
    *done = false;
    if (c->sasl_due == SASL_MECHANISM) {
        if (!read_mechanism(&data, fault)) return false;
        c->sasl_due = SASL_CLIENT_FIRST;
        if (!data.ptr) return true; // asked for with an empty challenge
    }
    if (c->sasl_due == SASL_CLIENT_FIRST) {
        c->sasl_due = SASL_CLIENT_FINAL;
        return scram_server_first(c->scram, data, answer, fault);
    }
    *done = scram_server_final(c->scram, data, answer, keys, fault);
    return *done;
}

static enum stat_error reason_of(const struct fault *f) {
    if (strncmp(f->sqlstate, "28", 2) == 0) return STAT_ERROR_AUTH;
    return strncmp(f->sqlstate, "0A", 2) == 0 ? STAT_ERROR_UNSUPPORTED : STAT_ERROR_PROTOCOL;
}

static void take_sasl(struct client *c, const struct frame *frame) {
    struct buf answer = buf_make(LOGIN_REPLY_MAX), b = buf_make(LOGIN_REPLY_MAX);
    struct scram_keys keys = {.set = false};
    struct fault f;
    bool done;
    if (sasl_step(c, frame->payload, &answer, &keys, &done, &f)) {
        reply_auth(&b, done ? PROTO_AUTH_SASL_FINAL : PROTO_AUTH_SASL_CONTINUE, buf_span(&answer));
        b.failed |= answer.failed;
        took(c, frame->total);
        // As PostgreSQL does: the last word of the exchange waits for what follows.
        if (put_reply(c, &b, done) && done) authenticated(c, &keys);
    } else {
        client_fail(c, reason_of(&f), &f);
    }
    explicit_bzero(&keys, sizeof keys);
    buf_release(&answer);
}

static bool step_auth(struct client *c) {
    struct frame frame;
    struct fault f;
    enum wire_result r = frame_next(FRAME_FROM_CLIENT, buf_span(&c->in), &frame, &f);
    if (r == WIRE_MORE && frame.type == 0) return false;
    if (r == WIRE_BAD) {
        client_fail(c, STAT_ERROR_PROTOCOL, &f);
        return false;
    }
    if (frame.type == FE_TERMINATE) {
        client_close(c);
        return false;
    }
    if (frame.type != FE_PASSWORD || frame.total > PROTO_SASL_MAX + 1) {
        client_refuse(c, STAT_ERROR_PROTOCOL, "08P01", "expected SASL response, got message type %d of %u bytes",
                      frame.type, frame.total);
        return false;
    }
    if (r == WIRE_MORE) return false;
    take_sasl(c, &frame);
    return true;
}

// ---- the start-up packet

static bool send_negotiation(struct client *c, const struct login_request *r) {
    struct buf b = buf_make(LOGIN_REPLY_MAX);
    reply_negotiate_version(&b, 0, r->unknown, r->n_unknown);
    return send_reply(c, &b);
}

// What stands between a good start-up packet and authentication.
static bool may_log_in(struct client *c) {
    if (c->config->client_tls_sslmode >= SSLMODE_REQUIRE && !c->is_unix && !stream_is_tls(&c->stream)) {
        struct fault f;
        fault_set(&f, "28000", "connections without TLS are not allowed (user \"%s\", database \"%s\", no encryption)",
                  c->user, c->database);
        fault_hint(&f, "Connect with sslmode=require or stronger.");
        client_fail(c, STAT_ERROR_AUTH, &f);
        return false;
    }
    if (c->env->draining(c->env->arg)) {
        client_refuse(c, STAT_ERROR_SHUTDOWN, "57P03", "pgsteer is shutting down");
        return false;
    }
    if (c->env->full(c->env->arg)) {
        client_refuse(c, STAT_ERROR_TOO_MANY_CLIENTS, "53300", "sorry, too many clients already");
        return false;
    }
    return true;
}

static void take_startup(struct client *c, const struct startup *packet) {
    struct login_request r;
    struct fault f;
    if (!login_request_read(&r, packet->parameters, &f)) {
        login_request_fini(&r);
        client_fail(c, reason_of(&f), &f);
        return;
    }
    c->user = mem_strdup(r.user);
    c->database = mem_strdup(r.database);
    c->startup = r.settings;
    c->replication = r.replication;
    r.settings = buf_make(0);
    log_prefix_add(&c->log, "db", "%s", c->database);
    log_prefix_add(&c->log, "user", "%s", c->user);
    // The names in `unknown` still stand in the packet.
    bool sent = !(packet->minor || r.n_unknown) || send_negotiation(c, &r);
    login_request_fini(&r);
    took(c, packet->total);
    if (sent && may_log_in(c)) start_authentication(c);
}

static bool answer_special(struct client *c, char answer) { return client_write(c, span_of(&answer, 1)); }

// What comes behind a request for encryption, before its answer, was not sent by somebody who means to encrypt: it
// would be taken for the first encrypted bytes, or for plain ones (CVE-2021-23214).
static bool special_is_good(struct client *c, uint8_t which, uint32_t total) {
    if (c->special_packets & which || stream_is_tls(&c->stream)) {
        client_refuse(c, STAT_ERROR_PROTOCOL, "08P01", "encryption was requested more than once");
        return false;
    }
    if (buf_len(&c->in) > total) {
        client_refuse(c, STAT_ERROR_PROTOCOL, "08P01", "received unencrypted data after a request for encryption");
        return false;
    }
    c->special_packets |= which;
    return true;
}

static void take_ssl_request(struct client *c, uint32_t total) {
    if (!special_is_good(c, SPECIAL_SSL, total)) return;
    took(c, total);
    bool offered = c->env->tls && !c->is_unix;
    if (!answer_special(c, offered ? 'S' : 'N') || !offered) return;
    struct fault f;
    client_set_state(c, CLIENT_TLS);
    if (!stream_start_tls(&c->stream, c->env->tls, true, NULL, &f)) client_fail(c, STAT_ERROR_PROTOCOL, &f);
}

static void take_gssenc_request(struct client *c, uint32_t total) {
    if (!special_is_good(c, SPECIAL_GSSENC, total)) return;
    took(c, total);
    (void)answer_special(c, 'N');
}

static void take_cancel(struct client *c, const struct startup *packet) {
    c->env->cancel(c->env->arg, packet->cancel_pid, span_u32(packet->cancel_key.ptr));
    client_close(c);
}

static bool step_startup(struct client *c) {
    struct startup packet;
    struct fault f;
    switch (frame_startup(buf_span(&c->in), &packet, &f)) {
    case WIRE_MORE: return false;
    case WIRE_BAD: client_fail(c, reason_of(&f), &f); return false;
    case WIRE_OK: break;
    }
    switch (packet.kind) {
    case STARTUP_VERSION_3: take_startup(c, &packet); break;
    case STARTUP_SSL_REQUEST: take_ssl_request(c, packet.total); break;
    case STARTUP_GSSENC_REQUEST: take_gssenc_request(c, packet.total); break;
    case STARTUP_CANCEL: take_cancel(c, &packet); break;
    }
    return true;
}

void client_login_advance(struct client *c) {
    bool went_on = true;
    while (went_on && buf_len(&c->in)) {
        if (c->state == CLIENT_STARTUP)
            went_on = step_startup(c);
        else if (c->state == CLIENT_AUTH)
            went_on = step_auth(c);
        else
            return;
    }
}

void client_login_secured(struct client *c) { client_set_state(c, CLIENT_STARTUP); }
