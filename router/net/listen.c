// SPDX-License-Identifier: ISC
// router/net/listen.c: see router/net/listen.h.
#include "router/net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "router/net/stream.h"

enum {
    LISTEN_ADDRESSES_MAX = 64,
    LISTEN_BACKLOG = 4096, // the kernel cuts it to net.core.somaxconn
    LISTEN_DESCRIPTION_MAX = 4096,
    LISTEN_KEEPALIVE_IDLE_S = 60,
    LISTEN_KEEPALIVE_INTERVAL_S = 10,
    LISTEN_KEEPALIVE_PROBES = 3,
    ACCEPT_BATCH = 64,    // connections taken per event, so that one listener cannot keep the loop
    ACCEPT_PAUSE_MS = 100 // after an error that the next accept would meet again
};

// Per address one socket per worker.
struct listen_address {
    struct sockaddr_storage address;
    socklen_t len;
    int *fds; // n_workers of them, -1 = not open
};

struct listen_set {
    size_t n_workers, n_addresses;
    struct listen_address addresses[LISTEN_ADDRESSES_MAX];
    int unix_fd; // -1 = none
    char unix_path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    char *description;
};

// ---- TCP

// What is set on a listening socket holds for the connections it accepts.
static void set_inherited_options(int fd) {
    const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, LISTEN_KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, LISTEN_KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, LISTEN_KEEPALIVE_PROBES},
    };
    for (size_t i = 0; i < countof(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof options[i].value);
}

// A bound socket, or -1 with errno. `a` gets the port when it asked for any.
static int bind_one(struct listen_address *a, bool shared) {
    int one = 1, fd = socket(a->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0) &&
        (a->address.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0) &&
        bind(fd, (const struct sockaddr *)&a->address, a->len) == 0 &&
        getsockname(fd, (struct sockaddr *)&a->address, &a->len) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

// SO_REUSEPORT would let a second process of the same user share the port unnoticed; a socket without it does not bind
// while anybody else listens there.
static bool port_is_free(const struct listen_address *a) {
    struct listen_address probe = *a;
    int fd = bind_one(&probe, false);
    if (fd < 0) return false;
    // Listening shows a conflict that binding with SO_REUSEADDR does not.
    bool free_ = listen(fd, 1) == 0;
    int e = errno;
    close(fd);
    errno = e;
    return free_;
}

static bool listen_tcp(struct listen_set *l, const struct addrinfo *ai, struct fault *f) {
    char text[80];
    stream_address_str(ai->ai_addr, ai->ai_addrlen, text, sizeof text);
    if (l->n_addresses == LISTEN_ADDRESSES_MAX)
        return fault_set(f, "F0000", "listen_addr: more than %d addresses", LISTEN_ADDRESSES_MAX);
    struct listen_address *a = &l->addresses[l->n_addresses++];
    memcpy(&a->address, ai->ai_addr, ai->ai_addrlen);
    a->len = ai->ai_addrlen;
    a->fds = mem_array(l->n_workers, int);
    for (size_t w = 0; w < l->n_workers; w++) a->fds[w] = -1;
    bool ok = port_is_free(a);
    for (size_t w = 0; ok && w < l->n_workers; w++) {
        a->fds[w] = bind_one(a, true);
        ok = a->fds[w] >= 0 && listen(a->fds[w], LISTEN_BACKLOG) == 0;
        if (ok) set_inherited_options(a->fds[w]);
    }
    return ok || fault_set(f, "F0000", "listen_addr %s: %s", text, strerror(errno));
}

static bool already_listens(const struct listen_set *l, const struct addrinfo *ai) {
    for (size_t i = 0; i < l->n_addresses; i++) {
        const struct listen_address *a = &l->addresses[i];
        if (a->len == ai->ai_addrlen && memcmp(&a->address, ai->ai_addr, a->len) == 0) return true;
    }
    return false;
}

// A kernel without IPv6 still has all of IPv4.
static bool family_exists(const struct addrinfo *ai) {
    struct listen_address any = {.len = ai->ai_addrlen};
    any.address.ss_family = (sa_family_t)ai->ai_family;
    int fd = bind_one(&any, false);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static bool listen_name(struct listen_set *l, const char *name, int64_t port, struct fault *f) {
    bool any = strcmp(name, "*") == 0;
    char service[16];
    snprintf(service, sizeof service, "%d", (int)port);
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int rc = getaddrinfo(any ? NULL : name, service, &hints, &found);
    if (rc != 0)
        return fault_set(f, "F0000", "listen_addr %s: %s", name, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    bool ok = true;
    for (struct addrinfo *ai = found; ok && ai; ai = ai->ai_next) {
        if (already_listens(l, ai) || (any && !family_exists(ai))) continue;
        ok = listen_tcp(l, ai, f);
    }
    freeaddrinfo(found);
    return ok;
}

static bool listen_names(struct listen_set *l, const struct config *c, struct fault *f) {
    char *names = mem_strdup(c->listen_addr), *rest = names;
    bool ok = true;
    for (char *name; ok && (name = strtok_r(rest, ", \t", &rest));) ok = listen_name(l, name, c->listen_port, f);
    mem_free(names);
    return ok;
}

// ---- the Unix socket

static bool unix_fault(const struct listen_set *l, const char *what, struct fault *f) {
    return fault_set(f, "F0000", "unix_socket_dir: \"%s\": %s", l->unix_path, what);
}

// What an earlier run left behind is a socket that nobody answers; nothing else is removed.
static bool unix_remove_stale(const struct listen_set *l, const struct sockaddr_un *un, struct fault *f) {
    struct stat st;
    if (lstat(l->unix_path, &st) < 0) return errno == ENOENT || unix_fault(l, strerror(errno), f);
    if (!S_ISSOCK(st.st_mode)) return unix_fault(l, "exists and is not a socket", f);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return unix_fault(l, strerror(errno), f);
    int e = connect(fd, (const struct sockaddr *)un, sizeof *un) == 0 ? 0 : errno;
    close(fd);
    if (e == 0 || e == EAGAIN) return unix_fault(l, "another process listens there", f);
    if (e != ECONNREFUSED && e != ENOENT) return unix_fault(l, strerror(e), f);
    return unlink(l->unix_path) == 0 || errno == ENOENT || unix_fault(l, strerror(errno), f);
}

static bool listen_unix(struct listen_set *l, const struct config *c, struct fault *f) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int n = snprintf(un.sun_path, sizeof un.sun_path, "%s/.s.PGSQL.%d", c->unix_socket_dir, (int)c->listen_port);
    if (n < 0 || (size_t)n >= sizeof un.sun_path)
        return fault_set(f, "F0000", "unix_socket_dir: \"%s\" is too long for the name of a socket",
                         c->unix_socket_dir);
    memcpy(l->unix_path, un.sun_path, sizeof l->unix_path);
    if (!unix_remove_stale(l, &un, f)) {
        l->unix_path[0] = '\0'; // not ours to remove
        return false;
    }
    l->unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mode = (mode_t)c->unix_socket_mode & 0777;
    // The mode before the bind makes sure that nobody gets in before the one after it, which undoes the umask.
    bool bound = l->unix_fd >= 0 && fchmod(l->unix_fd, mode) == 0 &&
                 bind(l->unix_fd, (const struct sockaddr *)&un, sizeof un) == 0;
    if (bound && chmod(l->unix_path, mode) == 0 && listen(l->unix_fd, LISTEN_BACKLOG) == 0) return true;
    unix_fault(l, strerror(errno), f);
    if (!bound) l->unix_path[0] = '\0';
    return false;
}

// ---- the set

static void listen_make_description(struct listen_set *l) {
    struct buf b = buf_make(LISTEN_DESCRIPTION_MAX);
    for (size_t i = 0; i < l->n_addresses; i++) {
        char text[80];
        stream_address_str((const struct sockaddr *)&l->addresses[i].address, l->addresses[i].len, text, sizeof text);
        buf_printf(&b, "%s%s", i ? ", " : "", text);
    }
    if (l->unix_fd >= 0) buf_printf(&b, "%sunix:%s", l->n_addresses ? ", " : "", l->unix_path);
    l->description = mem_strndup((const char *)buf_span(&b).ptr, buf_len(&b));
    buf_release(&b);
}

struct listen_set *listen_bind(const struct config *c, size_t n_workers, struct fault *f) {
    struct listen_set *l = mem_new(struct listen_set);
    l->n_workers = n_workers;
    l->unix_fd = -1;
    bool ok = listen_names(l, c, f) && (!*c->unix_socket_dir || listen_unix(l, c, f));
    if (ok && l->n_addresses == 0 && l->unix_fd < 0)
        ok = fault_set(f, "F0000", "nothing to listen on: listen_addr and unix_socket_dir are both empty");
    if (ok) {
        listen_make_description(l);
        return l;
    }
    listen_free(l);
    return NULL;
}

void listen_free(struct listen_set *l) {
    for (size_t i = 0; i < l->n_addresses; i++) {
        for (size_t w = 0; w < l->n_workers; w++)
            if (l->addresses[i].fds[w] >= 0) close(l->addresses[i].fds[w]);
        mem_free(l->addresses[i].fds);
    }
    if (l->unix_path[0]) unlink(l->unix_path);
    if (l->unix_fd >= 0) close(l->unix_fd);
    mem_free(l->description);
    mem_free(l);
}

void listen_close_worker(struct listen_set *l, size_t worker) {
    for (size_t i = 0; i < l->n_addresses; i++) {
        if (l->addresses[i].fds[worker] >= 0) close(l->addresses[i].fds[worker]);
        l->addresses[i].fds[worker] = -1;
    }
    if (worker != 0 || l->unix_fd < 0) return;
    // Other workers may still watch it, so it stays open, and refuses.
    shutdown(l->unix_fd, SHUT_RDWR);
    if (l->unix_path[0]) unlink(l->unix_path);
    l->unix_path[0] = '\0'; // another process may bind the path from now on
}

const char *listen_describe(const struct listen_set *l) { return l->description; }

// ---- one worker's watch

struct listener {
    uv_poll_t poll;
    struct listeners *all;
    int fd;
};

struct listeners {
    uv_timer_t pause;
    size_t n_listeners, n_handles; // n_handles: not closed yet
    int reserve;                   // given up for a moment to accept and close when there is no other descriptor; or -1
    void (*accepted)(void *arg, int fd);
    void (*shed)(void *arg);
    void *arg;
    bool closing;
    struct listener listeners[];
};

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void listeners_watch(struct listeners *all) {
    for (size_t i = 0; i < all->n_listeners; i++)
        bug_unless(uv_poll_start(&all->listeners[i].poll, UV_READABLE, on_acceptable) == 0);
}

static void on_pause_over(uv_timer_t *timer) { listeners_watch(container_of(timer, struct listeners, pause)); }

// Connections wait in the kernel meanwhile.
static void listeners_pause(struct listeners *all) {
    for (size_t i = 0; i < all->n_listeners; i++) uv_poll_stop(&all->listeners[i].poll);
    bug_unless(uv_timer_start(&all->pause, on_pause_over, ACCEPT_PAUSE_MS, 0) == 0);
}

static int reserve_open(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

// Without this a connection that cannot be accepted would wake the loop for ever.
static bool listener_shed(struct listener *l) {
    struct listeners *all = l->all;
    if (all->reserve < 0) all->reserve = reserve_open();
    if (all->reserve < 0) return false;
    close(all->reserve);
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int e = errno;
    if (fd >= 0) close(fd);
    all->reserve = reserve_open();
    // Another thread may have been faster to take the descriptor.
    if (fd < 0) return e == EAGAIN || e == EWOULDBLOCK || e == ECONNABORTED || e == EINTR;
    all->shed(all->arg);
    return true;
}

// Errors of one connection, which accept(2) reports though the listener is in order.
static bool accept_error_is_passing(int e) { return e == EINTR || e == ECONNABORTED || e == EPROTO || e == EPERM; }

static void on_acceptable(uv_poll_t *poll, int status, int events) {
    struct listener *l = container_of(poll, struct listener, poll);
    struct listeners *all = l->all;
    (void)events;
    if (status < 0) {
        listeners_pause(all);
        return;
    }
    for (int i = 0; i < ACCEPT_BATCH && !all->closing; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            all->accepted(all->arg, fd);
            continue;
        }
        int e = errno;
        if (e == EAGAIN || e == EWOULDBLOCK) return;
        if (accept_error_is_passing(e) || ((e == EMFILE || e == ENFILE) && listener_shed(l))) continue;
        listeners_pause(all);
        return;
    }
}

static bool listener_init(struct listeners *all, uv_loop_t *loop, int fd) {
    struct listener *l = &all->listeners[all->n_listeners];
    l->all = all;
    l->fd = fd;
    if (uv_poll_init(loop, &l->poll, fd) < 0) return false;
    all->n_listeners++;
    all->n_handles++;
    return true;
}

struct listeners *listeners_start(uv_loop_t *loop, struct listen_set *set, size_t worker,
                                  void (*accepted)(void *arg, int fd), void (*shed)(void *arg), void *arg) {
    size_t n = set->n_addresses + (set->unix_fd >= 0);
    struct listeners *all = mem_alloc(sizeof *all + n * sizeof all->listeners[0]);
    all->accepted = accepted;
    all->shed = shed;
    all->arg = arg;
    all->reserve = reserve_open();
    bug_unless(uv_timer_init(loop, &all->pause) == 0);
    all->n_handles = 1;
    bool ok = true;
    for (size_t i = 0; ok && i < set->n_addresses; i++) ok = listener_init(all, loop, set->addresses[i].fds[worker]);
    if (ok && set->unix_fd >= 0) ok = listener_init(all, loop, set->unix_fd);
    if (!ok) {
        listeners_close(all);
        return NULL;
    }
    listeners_watch(all);
    return all;
}

static void listeners_handle_closed(struct listeners *all) {
    if (--all->n_handles == 0) mem_free(all);
}
static void on_poll_closed(uv_handle_t *h) { listeners_handle_closed(container_of(h, struct listener, poll)->all); }
static void on_pause_closed(uv_handle_t *h) { listeners_handle_closed(container_of(h, struct listeners, pause)); }

void listeners_close(struct listeners *all) {
    all->closing = true;
    if (all->reserve >= 0) close(all->reserve);
    for (size_t i = 0; i < all->n_listeners; i++) uv_close((uv_handle_t *)&all->listeners[i].poll, on_poll_closed);
    uv_close((uv_handle_t *)&all->pause, on_pause_closed);
}
