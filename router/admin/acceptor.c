// SPDX-License-Identifier: ISC
// router/admin/acceptor.c: see router/admin/acceptor.h.
#include "router/admin/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { SOCKETS_MAX = 8, RETRY_MS = 200 };

struct acceptor {
    size_t n_sockets;
    int fds[SOCKETS_MAX];
    int reserve; // a descriptor to give up when there are no others, or -1
    char description[400];
    // from acceptor_start on
    uv_poll_t polls[SOCKETS_MAX];
    uv_timer_t retry; // runs while there are no descriptors
    size_t n_handles; // uv handles that are not closed yet
    bool started, paused;
    void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len);
    void *arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

// --- binding ---

static void sockets_close(struct acceptor *a) {
    for (size_t i = 0; i < a->n_sockets; i++) close(a->fds[i]);
    if (a->reserve >= 0) close(a->reserve);
    a->n_sockets = 0;
    a->reserve = -1;
}

bool acceptor_reserve(struct acceptor *a) {
    if (a->reserve < 0) a->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return a->reserve >= 0;
}

static void describe(struct acceptor *a, int fd) {
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&bound, &len) ||
        getnameinfo((struct sockaddr *)&bound, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    size_t used = strlen(a->description);
    snprintf(a->description + used, sizeof a->description - used, bound.ss_family == AF_INET6 ? "%s[%s]:%s" : "%s%s:%s",
             used ? ", " : "", host, port);
}

// A listening socket on one address, or -1 and errno.
static int listen_on(const struct addrinfo *ai) {
    int on = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    // "*" is both families, each with a socket of its own.
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              (ai->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
              bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    if (ok) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

// An address family that the machine does not have is no reason to fail as long as another one works.
static bool is_missing_family(int error) { return error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

static bool bind_all(struct acceptor *a, const struct addrinfo *list, const char *address, int64_t port,
                     struct fault *f) {
    int missing = 0;
    for (const struct addrinfo *ai = list; ai && a->n_sockets < SOCKETS_MAX; ai = ai->ai_next) {
        int fd = listen_on(ai);
        if (fd >= 0) {
            a->fds[a->n_sockets++] = fd;
            describe(a, fd);
        } else if (is_missing_family(errno)) {
            missing = errno;
        } else {
            return fault_set(f, "", "%s:%" PRId64 ": %s", address, port, strerror(errno));
        }
    }
    if (a->n_sockets) return true;
    return fault_set(f, "", "%s:%" PRId64 ": %s", address, port, strerror(missing));
}

// The host of "[::1]" without its brackets; `cap` bytes at `to`. False when it does not fit.
static bool strip_brackets(const char *address, char *to, size_t cap) {
    size_t len = strlen(address);
    if (len >= cap) return false;
    memcpy(to, address, len + 1);
    if (len < 2 || to[0] != '[' || to[len - 1] != ']') return true;
    memmove(to, to + 1, len - 2);
    to[len - 2] = '\0';
    return true;
}

struct acceptor *acceptor_bind(const char *address, int64_t port, struct fault *f) {
    char host[256], service[24];
    if (!strip_brackets(address, host, sizeof host)) {
        fault_set(f, "", "%.64s...: the address is too long", address);
        return NULL;
    }
    snprintf(service, sizeof service, "%" PRId64, port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    int error = getaddrinfo(strcmp(host, "*") ? host : NULL, service, &hints, &list);
    if (error) {
        fault_set(f, "", "%s:%" PRId64 ": %s", address, port,
                  error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
        return NULL;
    }
    struct acceptor *a = mem_new(struct acceptor);
    a->reserve = -1;
    bool ok = bind_all(a, list, address, port, f);
    freeaddrinfo(list);
    if (ok) {
        acceptor_reserve(a);
        return a;
    }
    sockets_close(a);
    mem_free(a);
    return NULL;
}

const char *acceptor_describe(const struct acceptor *a) { return a->description; }

// --- accepting ---

static void on_readable(uv_poll_t *poll, int status, int events);

// Watches the sockets or not, by `paused` and the retry timer.
static void watch(struct acceptor *a) {
    bool wanted = !a->paused && !uv_is_active((uv_handle_t *)&a->retry);
    for (size_t i = 0; i < a->n_sockets; i++) {
        if (wanted)
            uv_poll_start(&a->polls[i], UV_READABLE, on_readable);
        else
            uv_poll_stop(&a->polls[i]);
    }
}

static void on_retry(uv_timer_t *timer) { watch(timer->data); }

static int accept_one(int fd, struct sockaddr_storage *peer, socklen_t *len) {
    *len = sizeof *peer;
    return accept4(fd, (struct sockaddr *)peer, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

// Without descriptors the socket stays readable and the loop would spin: accept with the reserved one, else wait a
// little.
static int accept_without_descriptors(struct acceptor *a, int fd, struct sockaddr_storage *peer, socklen_t *len) {
    int client = -1;
    if (a->reserve >= 0) {
        close(a->reserve);
        a->reserve = -1;
        client = accept_one(fd, peer, len);
    }
    if (client < 0) {
        log_debug(NULL, "http: %s", strerror(errno));
        uv_timer_start(&a->retry, on_retry, RETRY_MS, 0);
        watch(a);
    }
    return client;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)events;
    struct acceptor *a = poll->data;
    int fd = a->fds[poll - a->polls];
    if (status < 0) return;
    // One at a time: the taker may pause after any, and the loop comes back while there are more.
    struct sockaddr_storage peer;
    socklen_t len;
    acceptor_reserve(a);
    int client = accept_one(fd, &peer, &len);
    if (client < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
        client = accept_without_descriptors(a, fd, &peer, &len);
    if (client >= 0) a->accepted(a->arg, client, (struct sockaddr *)&peer, len);
}

bool acceptor_start(struct acceptor *a, uv_loop_t *loop,
                    void (*accepted)(void *arg, int fd, const struct sockaddr *peer, socklen_t len), void *arg,
                    struct fault *f) {
    a->accepted = accepted;
    a->arg = arg;
    a->started = true;
    uv_timer_init(loop, &a->retry);
    a->retry.data = a;
    a->n_handles = 1;
    for (size_t i = 0; i < a->n_sockets; i++) {
        int error = uv_poll_init(loop, &a->polls[i], a->fds[i]);
        if (error) return fault_set(f, "", "%s: %s", a->description, uv_strerror(error));
        a->polls[i].data = a;
        a->n_handles++;
    }
    watch(a);
    return true;
}

void acceptor_pause(struct acceptor *a) {
    if (a->paused) return;
    a->paused = true;
    watch(a);
}

void acceptor_resume(struct acceptor *a) {
    if (!a->paused) return;
    a->paused = false;
    watch(a);
}

// --- closing ---

static void release(struct acceptor *a) {
    void (*closed)(void *) = a->closed;
    void *arg = a->closed_arg;
    sockets_close(a);
    mem_free(a);
    if (closed) closed(arg);
}

static void on_closed(uv_handle_t *handle) {
    struct acceptor *a = handle->data;
    if (--a->n_handles == 0) release(a);
}

void acceptor_close(struct acceptor *a, void (*closed)(void *arg), void *arg) {
    a->closed = closed;
    a->closed_arg = arg;
    if (!a->started) return release(a);
    for (size_t i = 0; i + 1 < a->n_handles; i++) uv_close((uv_handle_t *)&a->polls[i], on_closed);
    uv_close((uv_handle_t *)&a->retry, on_closed);
}
