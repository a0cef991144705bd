// SPDX-License-Identifier: ISC
// router/net/stream.c: see router/net/stream.h.
//
//   CONNECTING -> OPEN <-> HANDSHAKE
//        \__________\__________\___ FAILED -> CLOSED
//
// What uv_poll waits for follows from the state (stream_wanted). Changing it costs system calls, so it is changed only
// when something is missing or would wake us for nothing: a pause alone changes nothing until bytes arrive.
#include "router/net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "router/net/tls.h"

enum stream_state { STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_FAILED, STREAM_CLOSED };

enum {
    STREAM_KEEPALIVE_IDLE_S = 5,
    STREAM_KEEPALIVE_INTERVAL_S = 3,
    STREAM_KEEPALIVE_PROBES = 3,
    STREAM_ROUNDS = 8,               // readable calls in a row for what TLS holds
    STREAM_DISCARD_ROUNDS = 64,      // unread bytes are thrown away at a close: so often,
    STREAM_DISCARD_BYTES = 64 * 1024 // so many at most
};

static void on_poll(uv_poll_t *handle, int status, int events);

// ---- what to wait for

static int stream_wanted(const struct stream *s) {
    switch ((enum stream_state)s->state) {
    case STREAM_CONNECTING: return UV_WRITABLE;
    case STREAM_HANDSHAKE: return s->handshake_wants;
    case STREAM_FAILED:
    case STREAM_CLOSED: return 0;
    case STREAM_OPEN: break;
    }
    int events = 0;
    if (!s->paused && !s->eof) events |= UV_READABLE;
    // Level-triggered: a socket is nearly always writable, so this is a call from the loop at its next turn.
    if (!s->paused && (s->more || s->read_wants_write)) events |= UV_WRITABLE;
    if (s->paused && s->ops->hung_up && !s->hung_up) events |= UV_DISCONNECT;
    if (buf_len(&s->out) && !s->held && !s->send_broken) events |= s->write_wants_read ? UV_READABLE : UV_WRITABLE;
    return events;
}

static void stream_wait_for(struct stream *s, int events) {
    if (events == s->events) return;
    s->events = (uint8_t)events;
    // Neither can fail: the descriptor is ours and was accepted by uv_poll_init.
    int rc = events ? uv_poll_start(&s->poll, events, on_poll) : uv_poll_stop(&s->poll);
    bug_unless(rc == 0);
}

// Waits for what is wanted. What is waited for and no longer wanted stays while it wakes nobody.
static void stream_arm(struct stream *s) {
    if (s->closing) return;
    int wanted = stream_wanted(s);
    // Reading may go on in a moment; until bytes arrive, waiting for them tells as much as waiting for a hang-up.
    if (s->state == STREAM_OPEN && s->paused && !s->eof && s->events & UV_READABLE)
        wanted = (wanted & ~UV_DISCONNECT) | UV_READABLE;
    stream_wait_for(s, wanted);
}

// ---- sending

static void stream_break(struct stream *s) {
    s->send_broken = true;
    buf_release(&s->out);
}

// How many bytes the kernel took, -1 when nothing can be sent any more.
static ssize_t send_plain(struct stream *s, const struct iovec *iov, int n) {
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)MIN_OF(n, IOV_MAX)};
    ssize_t sent;
    do {
        sent = n == 1 ? send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) : sendmsg(s->fd, &msg, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    return sent;
}

// Where a walk over iovecs stands.
struct iov_walk {
    const struct iovec *iov;
    int n;
    size_t at; // bytes of the first one that are done
};

static void iov_skip(struct iov_walk *w, size_t done) {
    while (w->n > 0 && done >= w->iov->iov_len - w->at) {
        done -= w->iov->iov_len - w->at;
        w->iov++;
        w->n--;
        w->at = 0;
    }
    w->at += done;
}

// The next bytes in one piece, a record's worth at most: in place when one iovec has them, else gathered in `scratch`.
static struct span iov_piece(struct iov_walk w, uint8_t scratch[TLS_RECORD_MAX]) {
    size_t first = w.iov->iov_len - w.at;
    const uint8_t *from = (const uint8_t *)w.iov->iov_base + w.at;
    if (w.n == 1 || first >= TLS_RECORD_MAX) return span_of(from, MIN_OF(first, TLS_RECORD_MAX));
    size_t len = 0;
    while (w.n > 0 && len < TLS_RECORD_MAX) {
        size_t take = MIN_OF(w.iov->iov_len - w.at, TLS_RECORD_MAX - len);
        if (take) memcpy(scratch + len, (const uint8_t *)w.iov->iov_base + w.at, take);
        len += take;
        iov_skip(&w, take);
    }
    return span_of(scratch, len);
}

static ssize_t send_tls(struct stream *s, const struct iovec *iov, int n) {
    uint8_t scratch[TLS_RECORD_MAX];
    struct iov_walk w = {iov, n, 0};
    ssize_t sent = 0;
    iov_skip(&w, 0);
    while (w.n > 0) {
        struct span piece = iov_piece(w, scratch);
        size_t taken = 0;
        enum tls_result r = tls_write(s->ssl, piece.ptr, piece.len, &taken, NULL);
        s->write_wants_read = r == TLS_WANT_READ;
        if (r == TLS_WANT_READ || r == TLS_WANT_WRITE) break;
        if (r != TLS_DONE) return -1;
        sent += (ssize_t)taken;
        iov_skip(&w, taken);
    }
    return sent;
}

static ssize_t stream_send(struct stream *s, const struct iovec *iov, int n) {
    return s->ssl ? send_tls(s, iov, n) : send_plain(s, iov, n);
}

// Sends what is queued as far as the kernel takes it. False: nothing can be sent any more.
static bool stream_flush(struct stream *s) {
    struct iovec iov = {s->out.data + s->out.head, buf_len(&s->out)};
    s->held = false;
    ssize_t sent = stream_send(s, &iov, 1);
    if (sent < 0) {
        stream_break(s);
        return false;
    }
    buf_consume(&s->out, (size_t)sent);
    // A queue is the exception, so its memory does not stay.
    if (buf_len(&s->out) == 0) buf_release(&s->out);
    return true;
}

bool stream_writev(struct stream *s, const struct iovec *iov, int n) {
    if (s->closing || s->send_broken) return false;
    struct iov_walk rest = {iov, n, 0};
    size_t total = 0;
    for (int i = 0; i < n; i++) total += iov[i].iov_len;
    if (total == 0) return true;
    if (s->state == STREAM_OPEN && buf_len(&s->out) == 0) {
        ssize_t sent = stream_send(s, iov, n);
        if (sent == (ssize_t)total) return true;
        if (sent < 0) {
            stream_break(s);
            return false;
        }
        iov_skip(&rest, (size_t)sent);
    }
    while (rest.n > 0) {
        buf_put(&s->out, (const uint8_t *)rest.iov->iov_base + rest.at, rest.iov->iov_len - rest.at);
        iov_skip(&rest, rest.iov->iov_len - rest.at);
    }
    if (s->out.failed) stream_break(s);
    if (s->held && !s->send_broken) (void)stream_flush(s);
    stream_arm(s);
    return !s->send_broken;
}

void stream_hold(struct stream *s, struct span bytes) {
    if (s->closing || s->send_broken) return;
    bool alone = buf_len(&s->out) == 0;
    buf_put_span(&s->out, bytes);
    if (s->out.failed) stream_break(s);
    s->held |= alone && buf_len(&s->out) > 0;
}

// ---- receiving

static ssize_t read_tls(struct stream *s, void *to, size_t cap, struct fault *f) {
    size_t n = 0;
    enum tls_result r = tls_read(s->ssl, to, cap, &n, f);
    s->more = r == TLS_DONE && tls_has_pending(s->ssl);
    s->read_wants_write = r == TLS_WANT_WRITE;
    switch (r) {
    case TLS_DONE: return (ssize_t)n;
    case TLS_WANT_READ:
    case TLS_WANT_WRITE: return 0;
    case TLS_EOF: return -1;
    case TLS_FAILED: break;
    }
    return -2;
}

static ssize_t read_plain(struct stream *s, void *to, size_t cap, struct fault *f) {
    ssize_t n;
    do {
        n = recv(s->fd, to, cap, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) return n;
    if (n == 0) return -1;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    fault_set(f, "08006", "could not receive: %s", strerror(errno));
    return -2;
}

ssize_t stream_read(struct stream *s, void *to, size_t cap, struct fault *f) {
    if (s->eof) return -1;
    if (s->state != STREAM_OPEN || cap == 0) return 0;
    ssize_t n = s->ssl ? read_tls(s, to, cap, f) : read_plain(s, to, cap, f);
    if (n < 0) s->eof = true; // also after an error: there is nothing more to wait for
    return n;
}

bool stream_has_pending(const struct stream *s) { return s->more; }

bool stream_has_unread(const struct stream *s) {
    char byte;
    if (s->more || s->fd < 0) return s->more;
    ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void stream_announce(struct stream *s) {
    for (int round = 0; round < STREAM_ROUNDS; round++) {
        s->ops->readable(s);
        if (s->closing || s->paused || s->eof || !s->more) return;
    }
}

void stream_pause(struct stream *s) {
    s->paused = true;
    stream_arm(s);
}
void stream_resume(struct stream *s) {
    s->paused = false;
    stream_arm(s);
}
bool stream_is_paused(const struct stream *s) { return s->paused; }

// ---- events

static void stream_fail(struct stream *s, const struct fault *f) {
    stream_break(s);
    s->state = STREAM_FAILED;
    s->eof = true;
    s->more = false;
    s->ops->failed(s, f);
}

static void stream_fail_to_send(struct stream *s) {
    struct fault f;
    fault_set(&f, "08006", "could not send: connection lost");
    s->ops->failed(s, &f);
}

static void step_open(struct stream *s, int events) {
    // Reading comes first: when the peer has gone, its last words say why, and a failed send would only say that.
    bool read = events & UV_READABLE || s->more || (s->read_wants_write && events & UV_WRITABLE);
    if (read && !s->paused && !s->eof) stream_announce(s);
    if (s->closing) return;
    if (s->paused && events & UV_DISCONNECT && s->ops->hung_up && !s->hung_up) {
        s->hung_up = true;
        s->ops->hung_up(s);
        if (s->closing) return;
    }
    if (buf_len(&s->out) == 0 || s->held || !(events & (s->write_wants_read ? UV_READABLE : UV_WRITABLE))) return;
    if (!stream_flush(s)) {
        stream_fail_to_send(s);
    } else if (buf_len(&s->out) == 0) {
        s->ops->drained(s);
    }
}

// The way is open: what was written meanwhile goes out, and the owner hears of it.
static void stream_opened(struct stream *s) {
    s->state = STREAM_OPEN;
    s->more = s->ssl && tls_has_pending(s->ssl);
    if (buf_len(&s->out) && !stream_flush(s)) {
        stream_fail_to_send(s);
    } else {
        s->ops->ready(s);
    }
}

static void step_connecting(struct stream *s) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) error = errno;
    if (error == 0) {
        stream_opened(s);
        return;
    }
    struct fault f;
    fault_set(&f, "08006", "could not connect: %s", strerror(error));
    stream_fail(s, &f);
}

static void step_handshake(struct stream *s) {
    struct fault f;
    switch (tls_handshake(s->ssl, &f)) {
    case TLS_DONE: stream_opened(s); return;
    case TLS_WANT_READ: s->handshake_wants = UV_READABLE; return;
    case TLS_WANT_WRITE: s->handshake_wants = UV_WRITABLE; return;
    case TLS_EOF:
    case TLS_FAILED: break;
    }
    stream_fail(s, &f);
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct stream *s = container_of(handle, struct stream, poll);
    if (status < 0) {
        // The socket has an error, and libuv has stopped the handle. Whoever reads or writes next meets the error
        // itself.
        s->events = 0;
        events = UV_READABLE | UV_WRITABLE | UV_DISCONNECT;
    } else if (s->paused && events & UV_READABLE && !(stream_wanted(s) & UV_READABLE)) {
        stream_wait_for(s, stream_wanted(s));
        return;
    }
    switch ((enum stream_state)s->state) {
    case STREAM_CONNECTING: step_connecting(s); break;
    case STREAM_HANDSHAKE: step_handshake(s); break;
    case STREAM_OPEN: step_open(s, events); break;
    case STREAM_FAILED:
    case STREAM_CLOSED: return;
    }
    stream_arm(s);
}

// ---- opening and closing

// What the process or its machine has run out of, and no peer can help.
static bool is_shortage(int e) { return e == EMFILE || e == ENFILE || e == ENOMEM || e == ENOBUFS; }

static bool stream_watch(struct stream *s, uv_loop_t *loop, const struct stream_ops *ops, int fd,
                         enum stream_state state, struct fault *f) {
    *s = (struct stream){.ops = ops, .fd = fd, .state = (uint8_t)state, .out = buf_make(SIZE_MAX / 4)};
    int rc = uv_poll_init(loop, &s->poll, fd);
    if (rc < 0) {
        close(fd);
        s->fd = -1;
        return fault_set(f, is_shortage(-rc) ? "53000" : "58000", "cannot watch a socket: %s", uv_strerror(rc));
    }
    stream_arm(s);
    return true;
}

bool stream_open(struct stream *s, uv_loop_t *loop, const struct stream_ops *ops, int fd, struct fault *f) {
    return stream_watch(s, loop, ops, fd, STREAM_OPEN, f);
}

static void set_option(int fd, int level, int option, int value) {
    // A socket that refuses one of these still works.
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

bool stream_is_acknowledged(const struct stream *s) {
    int queued;
    return ioctl(s->fd, TIOCOUTQ, &queued) < 0 || queued == 0;
}

static void set_tcp_options(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, STREAM_KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, STREAM_KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, STREAM_KEEPALIVE_PROBES);
}

bool stream_connect(struct stream *s, uv_loop_t *loop, const struct stream_ops *ops, const struct sockaddr *address,
                    socklen_t len, struct fault *f) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fault_set(f, is_shortage(errno) ? "53000" : "58000", "cannot make a socket: %s", strerror(errno));
    if (address->sa_family != AF_UNIX) set_tcp_options(fd);
    if (connect(fd, address, len) < 0 && errno != EINPROGRESS) {
        fault_set(f, is_shortage(errno) ? "53000" : "08006", "could not connect: %s", strerror(errno));
        close(fd);
        return false;
    }
    return stream_watch(s, loop, ops, fd, STREAM_CONNECTING, f);
}

bool stream_start_tls(struct stream *s, struct tls_context *tls, bool as_server, const char *server_name,
                      struct fault *f) {
    if (s->state != STREAM_OPEN || s->ssl || s->eof || s->send_broken || buf_len(&s->out))
        return fault_set(f, "08006", "TLS cannot start now");
    s->ssl = tls_new(tls, s->fd, as_server, server_name, f);
    if (!s->ssl) return false;
    s->state = STREAM_HANDSHAKE;
    s->handshake_wants = as_server ? UV_READABLE : UV_WRITABLE;
    stream_arm(s);
    return true;
}

bool stream_is_tls(const struct stream *s) { return s->ssl != NULL; }

static void on_closed(uv_handle_t *handle) {
    struct stream *s = container_of(handle, struct stream, poll);
    s->ops->closed(s);
}

static void stream_last_words(struct stream *s) {
    if (s->state != STREAM_OPEN || s->send_broken) return;
    if (buf_len(&s->out) && !stream_flush(s)) return;
    if (s->ssl) tls_goodbye(s->ssl);
    if (s->eof) return;
    // Closing a TCP socket with bytes unread sends a reset, which may overtake what was just sent. Each round opens the
    // window for the peer's next bytes, so there is a limit.
    char away[STREAM_DISCARD_BYTES]; // MSG_TRUNC would do without, but ThreadSanitizer takes it for a write
    for (int round = 0; round < STREAM_DISCARD_ROUNDS; round++)
        if (recv(s->fd, away, sizeof away, MSG_DONTWAIT) <= 0) return;
}

void stream_close(struct stream *s, bool flush_first) {
    if (s->closing) return;
    s->closing = true;
    if (flush_first) stream_last_words(s);
    s->state = STREAM_CLOSED;
    s->more = false;
    tls_free(s->ssl);
    s->ssl = NULL;
    buf_release(&s->out);
    uv_close((uv_handle_t *)&s->poll, on_closed); // stops it, so the descriptor may go
    close(s->fd);
    s->fd = -1;
}

// ---- facts about the peer

int64_t stream_silent_ms(const struct stream *s) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    if (s->fd < 0 || getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0) return 0;
    bool owes = info.tcpi_unacked > 0 || info.tcpi_probes > 0 || info.tcpi_backoff > 0;
    return owes ? (int64_t)info.tcpi_last_ack_recv : 0;
}

void stream_address_str(const struct sockaddr *address, socklen_t len, char *to, size_t cap) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(to, cap, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(to, cap, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (address->sa_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
        size_t path_len =
            len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
        snprintf(to, cap, "unix:%.*s", (int)strnlen(un->sun_path, path_len), un->sun_path);
    } else {
        snprintf(to, cap, "unknown");
    }
}

socklen_t stream_peer(const struct stream *s, struct sockaddr_storage *to) {
    socklen_t len = sizeof *to;
    *to = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (s->fd < 0 || getpeername(s->fd, (struct sockaddr *)to, &len) != 0) return 0;
    if (to->ss_family != AF_UNIX || len > offsetof(struct sockaddr_un, sun_path)) return len;
    len = sizeof *to;
    return getsockname(s->fd, (struct sockaddr *)to, &len) == 0 ? len : 0;
}

bool stream_address_is_local(const struct sockaddr *address) {
    if (address->sa_family == AF_UNIX) return true;
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    if (address->sa_family != AF_INET6) return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == IN_LOOPBACKNET);
}
