// SPDX-License-Identifier: ISC
// router/session/cancel.c: see router/session/cancel.h.
#include "router/session/cancel.h"

#include "base/mem.h"
#include "router/net/tls.h"
#include "router/wire/reply.h"

enum { CANCEL_MESSAGE_MAX = 64 };

static void cancel_end(struct cancel *c, bool certain) {
    if (c->state == CANCEL_ENDED) return;
    c->state = CANCEL_ENDED;
    c->certain = certain;
    deadline_clear(&c->deadline);
    stream_close(&c->stream, false);
}

// What was not sent does no harm later; what was sent may, until the server has closed the connection.
static void cancel_give_up(struct cancel *c) { cancel_end(c, c->state != CANCEL_SENT); }

void cancel_abort(struct cancel *c) { cancel_give_up(c); }

static void on_timeout(struct deadline *d) { cancel_give_up(container_of(d, struct cancel, deadline)); }

static void send_message(struct cancel *c, enum cancel_state then) {
    struct buf b = buf_make(CANCEL_MESSAGE_MAX);
    if (then == CANCEL_SENT)
        request_cancel(&b, c->pid, c->key);
    else
        request_ssl(&b);
    bool ok = stream_write(&c->stream, b.data, buf_len(&b));
    buf_release(&b);
    if (ok)
        c->state = then;
    else
        cancel_give_up(c);
}

static void on_ready(struct stream *s) {
    struct cancel *c = container_of(s, struct cancel, stream);
    send_message(c, c->state == CANCEL_CONNECTING && c->tls ? CANCEL_TLS_ASK : CANCEL_SENT);
}

// Without TLS the key would be readable, and the connection it belongs to had TLS: anything but 'S' ends it.
static void on_tls_answer(struct cancel *c) {
    uint8_t answer[2];
    ssize_t n = stream_read(&c->stream, answer, sizeof answer, NULL);
    if (n == 0) return;
    c->state = CANCEL_TLS;
    if (n != 1 || answer[0] != 'S' || !stream_start_tls(&c->stream, c->tls, false, c->host, NULL)) cancel_give_up(c);
}

static void on_readable(struct stream *s) {
    struct cancel *c = container_of(s, struct cancel, stream);
    if (c->state == CANCEL_TLS_ASK) {
        on_tls_answer(c);
        return;
    }
    uint8_t nothing[64];
    ssize_t n = stream_read(s, nothing, sizeof nothing, NULL);
    if (n == 0) return;
    if (n == -1)
        cancel_end(c, true);
    else
        cancel_give_up(c); // bytes are not in the protocol
}

static void on_drained(struct stream *s) { (void)s; }

static void on_failed(struct stream *s, const struct fault *f) {
    (void)f;
    cancel_give_up(container_of(s, struct cancel, stream));
}

static void cancel_release(struct cancel *c) {
    if (c->tls) tls_context_unref(c->tls);
    mem_free(c->host);
}

static void on_closed(struct stream *s) {
    struct cancel *c = container_of(s, struct cancel, stream);
    cancel_release(c);
    c->ended(c, c->certain);
}

static const struct stream_ops cancel_stream_ops = {
    .ready = on_ready, .readable = on_readable, .drained = on_drained, .failed = on_failed, .closed = on_closed};

bool cancel_start(struct cancel *c, struct server_env *env, const struct sockaddr *address, socklen_t len,
                  const char *tls_host, uint32_t pid, uint32_t key, void (*ended)(struct cancel *c, bool certain)) {
    if (tls_host && !env->tls) return false; // TLS was switched off since
    *c = (struct cancel){.env = env, .pid = pid, .key = key, .ended = ended};
    deadline_init(&c->deadline);
    if (tls_host) {
        c->tls = env->tls;
        tls_context_ref(c->tls);
        c->host = mem_strdup(tls_host);
    }
    if (!stream_connect(&c->stream, env->loop, &cancel_stream_ops, address, len, NULL)) {
        cancel_release(c);
        return false;
    }
    deadline_set(env->deadlines, &c->deadline, env->config->cancel_wait_timeout, on_timeout);
    return true;
}
