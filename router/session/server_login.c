// SPDX-License-Identifier: ISC
// router/session/server_login.c: see router/session/server_login.h.
#include "router/session/server_login.h"

#include "router/auth/md5.h"
#include "router/session/parameters.h"
#include "router/wire/msg.h"
#include "router/wire/reply.h"

void server_login_init(struct server_login *l, const struct credentials *who, bool private_channel,
                       struct buf *parameters) {
    *l = (struct server_login){.who = who, .private_channel = private_channel, .parameters = parameters};
}

void server_login_fini(struct server_login *l) {
    scram_client_free(l->scram);
    l->scram = NULL;
}

static enum server_login_result bad(struct fault *f, const char *what) {
    fault_set(f, "08P01", "protocol violation by the server: %s", what);
    return SERVER_LOGIN_BAD;
}

static enum server_login_result cannot(struct fault *f, const char *what) {
    fault_set(f, "28000", "%s", what);
    return SERVER_LOGIN_UNABLE;
}

// ---- authentication

static enum server_login_result need_password(const struct server_login *l, struct fault *f) {
    if (secret_is_set(&l->who->password)) return SERVER_LOGIN_MORE;
    fault_set(f, "28000", "the server asks for the password of user \"%s\", which pgsteer does not have", l->who->user);
    fault_hint(f, "%s",
               l->who->keys.set ? "A SCRAM verifier in auth_file is enough for servers that ask for scram-sha-256 only."
                                : "Add the user and the password to auth_file.");
    return SERVER_LOGIN_UNABLE;
}

static enum server_login_result on_cleartext(struct server_login *l, struct span data, struct buf *out,
                                             struct fault *f) {
    if (data.len) return bad(f, "malformed AuthenticationCleartextPassword");
    if (!l->private_channel)
        return cannot(f, "the server asks for the password in clear, and the connection is not encrypted");
    enum server_login_result r = need_password(l, f);
    if (r != SERVER_LOGIN_MORE) return r;
    request_password(out, span_of(l->who->password.bytes, (size_t)l->who->password.len + 1));
    l->phase = SERVER_LOGIN_ANSWERED;
    return SERVER_LOGIN_MORE;
}

static enum server_login_result on_md5(struct server_login *l, struct span data, struct buf *out, struct fault *f) {
    if (data.len != 4) return bad(f, "malformed AuthenticationMD5Password");
    enum server_login_result r = need_password(l, f);
    if (r != SERVER_LOGIN_MORE) return r;
    char answer[MD5_ANSWER_LEN];
    if (!md5_answer(&l->who->password, span_str(l->who->user), data.ptr, answer))
        return cannot(f, "the server asks for an md5 password, and this system has no md5");
    request_password(out, span_of(answer, sizeof answer));
    explicit_bzero(answer, sizeof answer);
    l->phase = SERVER_LOGIN_ANSWERED;
    return SERVER_LOGIN_MORE;
}

// The list ends with an empty name, which is the last byte. 1: ours is in it, 0: it is not, -1: malformed.
static int offers_scram(struct span list) {
    struct cursor c = cursor_of(list);
    int found = 0;
    for (;;) {
        struct span name = cursor_cstr(&c);
        if (c.bad || (!name.len && cursor_left(&c))) return -1;
        if (!name.len) return found;
        if (span_is(name, SCRAM_MECHANISM)) found = 1;
    }
}

static enum server_login_result on_sasl(struct server_login *l, struct span data, struct buf *out, struct fault *f) {
    int offered = offers_scram(data);
    if (offered < 0) return bad(f, "malformed AuthenticationSASL");
    if (!offered) return cannot(f, "the server offers no SASL mechanism that pgsteer knows (" SCRAM_MECHANISM ")");
    if (!l->who->keys.set) {
        enum server_login_result r = need_password(l, f);
        if (r != SERVER_LOGIN_MORE) return r;
    }
    bool by_password = secret_is_set(&l->who->password);
    l->scram = scram_client_new(by_password ? &l->who->password : NULL, by_password ? NULL : &l->who->keys);
    struct buf first = buf_make(PROTO_AUTH_MAX);
    bool ok = scram_client_first(l->scram, &first, f) && !first.failed;
    if (ok) request_sasl_initial(out, SCRAM_MECHANISM, buf_span(&first));
    buf_release(&first);
    l->phase = SERVER_LOGIN_SASL_FIRST;
    return ok ? SERVER_LOGIN_MORE : SERVER_LOGIN_BAD;
}

static enum server_login_result on_sasl_continue(struct server_login *l, struct span data, struct buf *out,
                                                 struct fault *f) {
    struct buf final = buf_make(PROTO_AUTH_MAX);
    bool ok = scram_client_final(l->scram, data, &final, f) && !final.failed;
    if (ok) request_sasl_response(out, buf_span(&final));
    buf_release(&final);
    l->phase = SERVER_LOGIN_SASL_FINAL;
    return ok ? SERVER_LOGIN_MORE : SERVER_LOGIN_BAD;
}

static enum server_login_result on_sasl_final(struct server_login *l, struct span data, struct buf *out,
                                              struct fault *f) {
    (void)out;
    if (!scram_client_verify(l->scram, data, f)) return SERVER_LOGIN_BAD;
    l->phase = SERVER_LOGIN_SASL_DONE;
    return SERVER_LOGIN_MORE;
}

static enum server_login_result on_ok(struct server_login *l, struct span data, struct buf *out, struct fault *f) {
    (void)out;
    if (data.len) return bad(f, "malformed AuthenticationOk");
    if (l->phase == SERVER_LOGIN_SASL_FIRST || l->phase == SERVER_LOGIN_SASL_FINAL) {
        fault_set(f, "28000", "the server ended the SCRAM exchange without proving that it knows the password");
        return SERVER_LOGIN_BAD;
    }
    l->phase = SERVER_LOGIN_ACCEPTED;
    return SERVER_LOGIN_MORE;
}

// Each request is good in few phases: a method is chosen once, and what belongs to SCRAM comes in its order.
static const struct auth_rule {
    uint32_t code;
    unsigned phases; // bits
    enum server_login_result (*handle)(struct server_login *l, struct span data, struct buf *out, struct fault *f);
} auth_rules[] = {
    {PROTO_AUTH_OK, ~(1u << SERVER_LOGIN_ACCEPTED), on_ok},
    {PROTO_AUTH_CLEARTEXT, 1u << SERVER_LOGIN_START, on_cleartext},
    {PROTO_AUTH_MD5, 1u << SERVER_LOGIN_START, on_md5},
    {PROTO_AUTH_SASL, 1u << SERVER_LOGIN_START, on_sasl},
    {PROTO_AUTH_SASL_CONTINUE, 1u << SERVER_LOGIN_SASL_FIRST, on_sasl_continue},
    {PROTO_AUTH_SASL_FINAL, 1u << SERVER_LOGIN_SASL_FINAL, on_sasl_final},
};

static enum server_login_result on_authentication(struct server_login *l, struct span payload, struct buf *out,
                                                  struct fault *f) {
    struct cursor c = cursor_of(payload);
    uint32_t code = cursor_u32(&c);
    if (c.bad) return bad(f, "malformed Authentication message");
    for (size_t i = 0; i < countof(auth_rules); i++) {
        if (auth_rules[i].code != code) continue;
        if (!(auth_rules[i].phases >> l->phase & 1)) return bad(f, "an Authentication message out of turn");
        return auth_rules[i].handle(l, span_of(c.ptr, cursor_left(&c)), out, f);
    }
    fault_set(f, "28000", "the server asks for authentication method %u, which pgsteer does not support", code);
    return SERVER_LOGIN_UNABLE;
}

// ---- what follows

static enum server_login_result on_parameter(struct server_login *l, struct span payload, struct fault *f) {
    struct span name, value;
    if (!msg_parameter_status(payload, &name, &value)) return bad(f, "malformed ParameterStatus");
    if (!parameters_set(l->parameters, name, value)) return bad(f, "too many parameters");
    return SERVER_LOGIN_MORE;
}

static enum server_login_result on_key(struct server_login *l, struct span payload, struct fault *f) {
    struct cursor c = cursor_of(payload);
    l->backend_pid = cursor_u32(&c);
    l->backend_key = cursor_u32(&c);
    return c.bad || cursor_left(&c) ? bad(f, "malformed BackendKeyData") : SERVER_LOGIN_MORE;
}

static enum server_login_result on_ready(struct span payload, struct fault *f) {
    if (payload.len != 1 || payload.ptr[0] != PROTO_TX_IDLE) return bad(f, "malformed ReadyForQuery");
    return SERVER_LOGIN_READY;
}

enum server_login_result server_login_message(struct server_login *l, const struct frame *m, struct buf *out,
                                              struct fault *f) {
    bool accepted = l->phase == SERVER_LOGIN_ACCEPTED;
    switch (m->type) {
    case BE_ERROR: return server_error_read(m->payload, f) ? SERVER_LOGIN_REFUSED : SERVER_LOGIN_BAD;
    case BE_NOTICE: return SERVER_LOGIN_MORE;
    case BE_NEGOTIATE_PROTOCOL_VERSION: // we ask for 3.0 without options, so it cannot take anything away
        if (l->phase == SERVER_LOGIN_START) return SERVER_LOGIN_MORE;
        break;
    case BE_AUTHENTICATION:
        if (!accepted) return on_authentication(l, m->payload, out, f);
        break;
    case BE_PARAMETER_STATUS:
        if (accepted) return on_parameter(l, m->payload, f);
        break;
    case BE_BACKEND_KEY_DATA:
        if (accepted) return on_key(l, m->payload, f);
        break;
    case BE_READY_FOR_QUERY:
        if (accepted) return on_ready(m->payload, f);
        break;
    default: break;
    }
    fault_set(f, "08P01", "protocol violation by the server: message type \"%c\" during login", m->type);
    return SERVER_LOGIN_BAD;
}

// ---- errors

// The length of the UTF-8 character at `p`, 0 when there is none (RFC 3629, overlong forms and surrogates left out).
static size_t utf8_len(const uint8_t *p, size_t n) {
    size_t len = p[0] < 0x80                   ? 1
                 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                               : 0;
    if (!len || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
    return len;
}

static void copy_shown(struct span from, char *to, size_t cap) {
    size_t used = 0;
    for (size_t i = 0, len; i < from.len; i += len) {
        len = utf8_len(from.ptr + i, from.len - i);
        bool plain = len > 1 || (len == 1 && from.ptr[i] >= 0x20 && from.ptr[i] != 0x7f);
        if (len == 0) len = 1;
        if (used + len >= cap) break;
        memcpy(to + used, plain ? (const char *)from.ptr + i : "?", len);
        used += len;
    }
    to[used] = '\0';
}

static bool is_sqlstate(struct span s) {
    if (s.len != 5) return false;
    for (size_t i = 0; i < s.len; i++)
        if (!(s.ptr[i] >= '0' && s.ptr[i] <= '9') && !(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')) return false;
    return true;
}

bool server_error_read(struct span payload, struct fault *f) {
    struct msg_error e;
    msg_error(payload, &e);
    if (!is_sqlstate(e.sqlstate))
        return fault_set(f, "08P01", "protocol violation by the server: an error without an SQLSTATE");
    copy_shown(e.sqlstate, f->sqlstate, sizeof f->sqlstate);
    copy_shown(e.message.len ? e.message : span_str("the server gave no reason"), f->text, sizeof f->text);
    copy_shown(e.hint, f->hint, sizeof f->hint);
    return true;
}
