// SPDX-License-Identifier: ISC
//
// router/net/stream.h: bytes over TCP or a Unix socket, with or without TLS.
//
// Readiness-based: uv_poll_t and non-blocking recv/send (SSL_read/SSL_write under TLS). The owner is told that bytes
// can be read and reads them into a buffer of its choice; it writes and what the kernel does not take is queued here
// and sent when there is room. In steady state a write is one send(2) and no epoll_ctl. Embedded in its owner, which
// must outlive the `closed` callback; after that it may be opened or connected again. One thread: the loop's. The
// process must ignore SIGPIPE.
#ifndef PGSTEER_ROUTER_NET_STREAM_H
#define PGSTEER_ROUTER_NET_STREAM_H

#include <sys/socket.h>
#include <sys/uio.h>
#include <uv.h>

#include "base/buf.h"
#include "base/fault.h"

struct stream;
struct tls_context; // router/net/tls.h
struct ssl_st;      // OpenSSL's SSL

// Upward calls. Each may close the stream; none is called after stream_close but `closed`.
struct stream_ops {
    // Connect (and TLS handshake, when asked for) is done.
    void (*ready)(struct stream *s);
    // There is something to read, or an end of file or error that the next stream_read will tell. Called again as long
    // as that holds (for what TLS holds decrypted, too), so one stream_read per call is enough.
    void (*readable)(struct stream *s);
    // Everything queued has been sent (called only after something had to be queued).
    void (*drained)(struct stream *s);
    // Connecting, the handshake or sending failed. The owner should call stream_close.
    void (*failed)(struct stream *s, const struct fault *fault);
    // The memory may go.
    void (*closed)(struct stream *s);
    // May be NULL. The peer has closed its side, or reset the connection, while reading was paused; what it sent before
    // can still be read. At most once.
    void (*hung_up)(struct stream *s);
};

struct stream {
    // read-only
    const struct stream_ops *ops;
    int fd; // -1 when closed
    // private
    uv_poll_t poll;
    struct ssl_st *ssl;
    struct buf out;          // accepted from the owner, not yet by the kernel
    uint8_t events;          // what uv_poll waits for now
    uint8_t state;           // enum stream_state
    uint8_t handshake_wants; // the event the TLS handshake waits for
    bool paused, closing;
    bool held;                               // what is in `out` waits for the next write
    bool eof;                                // the peer has sent its last byte
    bool send_broken;                        // nothing can be sent any more; what has come can still be read
    bool hung_up;                            // has been told
    bool more;                               // TLS holds bytes of which no readable event will tell
    bool read_wants_write, write_wants_read; // TLS
};

// Takes an accepted, non-blocking socket. Reading starts at once. On failure the fd is closed and no callback follows.
NODISCARD bool stream_open(struct stream *s, uv_loop_t *loop, const struct stream_ops *ops, int fd, struct fault *f);
// Starts to connect; `ready` or `failed` follows, never from inside this call; false (and no callback) when it failed
// at once: stream_ran_short tells whether that says anything of the peer. Deadlines are the owner's. TCP sockets get
// TCP_NODELAY and keepalive. They get no TCP_USER_TIMEOUT: it would end connections to a peer that is alive and does
// not read for a while, such as a backend in a COPY that waits for a lock; see stream_silent_ms.
NODISCARD bool stream_connect(struct stream *s, uv_loop_t *loop, const struct stream_ops *ops,
                              const struct sockaddr *address, socklen_t len, struct fault *f);
// Whether this fault of a stream_connect that failed at once is our own: there was no descriptor, or no memory, for a
// socket.
static inline bool stream_ran_short(const struct fault *f) { return strcmp(f->sqlstate, "53000") == 0; }
// Starts a TLS handshake on an open stream, as a server or as a client (server_name: for SNI and host verification,
// NULL = none). No byte may have been read past the point where the handshake begins, and none may be unsent. `ready`
// or `failed` follows, never from inside this call. On false the stream is as it was.
NODISCARD bool stream_start_tls(struct stream *s, struct tls_context *tls, bool as_server, const char *server_name,
                                struct fault *f);
bool stream_is_tls(const struct stream *s);

// > 0: bytes read. 0: nothing now. -1: end of file. -2: error, `f` filled (08006). Never more than one recv(2) or
// SSL_read.
NODISCARD ssize_t stream_read(struct stream *s, void *to, size_t cap, struct fault *f);
// True when TLS holds bytes that can be read now.
bool stream_has_pending(const struct stream *s);
// True when something has come that nobody has read (bytes, an end of file, an error), in the kernel's hands or in
// TLS's. One recv(2).
bool stream_has_unread(const struct stream *s);

// Sends or queues all of it; before `ready` it is queued. False: nothing can be sent any more (the owner closes, and
// may read the peer's last words before); `failed` is not called for it. The caller bounds what it queues with
// stream_unsent.
NODISCARD bool stream_writev(struct stream *s, const struct iovec *iov, int n);
NODISCARD static inline bool stream_write(struct stream *s, const void *p, size_t n) {
    struct iovec iov = {(void *)(uintptr_t)p, n};
    return stream_writev(s, &iov, 1);
}
// Queues it to go in one piece with what is written next, or with the close; or with what is queued already.
void stream_hold(struct stream *s, struct span bytes);
// Bytes queued and not yet sent.
static inline size_t stream_unsent(const struct stream *s) { return buf_len(&s->out); }
// What the kernel has taken of a TCP connection and the peer's kernel has not acknowledged. A close leaves that on its
// way, but a reset that follows, when the peer has sent something meanwhile, takes it away.
bool stream_is_acknowledged(const struct stream *s);

// While paused, `readable` is not called. Idempotent, and free of system calls while nothing arrives.
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
bool stream_is_paused(const struct stream *s);

// Idempotent. What is queued is dropped; with `flush_first` it is sent as far as the kernel takes it at once (a last
// error message), TLS says close_notify, and what has come is thrown away so that the kernel does not turn our last
// words into a reset. The descriptor is closed at once. `closed` follows from the loop, never from inside.
void stream_close(struct stream *s, bool flush_first);

// How long the peer's kernel has acknowledged nothing although it should have: 0 when it has nothing to acknowledge,
// and for Unix sockets. A peer that is alive and does not read still acknowledges. One getsockopt(2).
int64_t stream_silent_ms(const struct stream *s);

// The peer's address; 0 when there is none to be had. Whoever connects to a Unix socket has no name: then the socket's.
socklen_t stream_peer(const struct stream *s, struct sockaddr_storage *to);
// "127.0.0.1:5432", "[::1]:5432", "unix:/path"; at most `cap` bytes with the NUL.
void stream_address_str(const struct sockaddr *address, socklen_t len, char *to, size_t cap);
// True for a Unix socket or a loopback address.
bool stream_address_is_local(const struct sockaddr *address);

#endif
