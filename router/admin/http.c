// SPDX-License-Identifier: ISC
//
// router/admin/http.c: see router/admin/http.h.
//
// The library's epoll descriptor is watched like a socket, and one timer stands for all that is due later: what the
// library asks for, and the oldest connection's end of patience. The library's own timeout starts anew with every byte,
// so a client that sends one byte at a time would hold its place for ever: each connection's age is kept here, and a
// late one's socket is shut down, which the library sees as the client's leaving.
#include "router/admin/http.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ilist.h"
#include "base/log.h"
#include "base/mem.h"
#include "router/admin/acceptor.h"
#include "router/admin/endpoints.h"
#include "router/admin/procstat.h"

enum {
    CONNECTIONS_MAX = 64,
    HEADER_MAX = 8 * 1024,
    PATIENCE_MS = 5000,
    PATIENCE_SCARCE_MS = 1000, // when all places or all file descriptors are taken
    PARAMS_MAX = 16
};

struct http {
    struct acceptor *acceptor; // NULL: http_addr is empty
    // from http_start on
    uv_loop_t *loop;
    struct http_source source;
    struct MHD_Daemon *daemon;
    struct procstat *process;
    uv_poll_t poll;
    uv_timer_t timer;
    struct ilist connections; // by age, the oldest first
    size_t n_open;            // what is still to be closed: handles and the acceptor
    void (*closed)(void *arg);
    void *closed_arg;
};

struct connection {
    struct ilink link;
    int fd;
    uint64_t since_ms; // accepted, or answered last
};

// --- the library's turns ---

static bool is_full(const struct http *h) { return h->connections.count >= CONNECTIONS_MAX; }

static uint64_t due_ms(struct http *h, const struct connection *c) {
    bool scarce = is_full(h) || !acceptor_reserve(h->acceptor);
    return c->since_ms + (scarce ? PATIENCE_SCARCE_MS : PATIENCE_MS);
}

static void end_late_connections(struct http *h) {
    uint64_t now = uv_now(h->loop);
    ILIST_EACH(&h->connections, link) {
        struct connection *c = container_of(link, struct connection, link);
        if (due_ms(h, c) > now) return;
        // The library closes it, in this turn or when epoll tells. Until then it must not be found again at once.
        shutdown(c->fd, SHUT_RDWR);
        c->since_ms = now;
        ilist_remove(&h->connections, link);
        ilist_push_back(&h->connections, link);
    }
}

static void on_timer(uv_timer_t *timer);

// When to come back without an event: what the library wants, or the oldest connection's end of patience.
static void arm(struct http *h) {
    MHD_UNSIGNED_LONG_LONG wait = 0;
    bool wanted = MHD_get_timeout(h->daemon, &wait) == MHD_YES;
    struct ilink *oldest = ilist_first(&h->connections);
    if (oldest) {
        uint64_t due = due_ms(h, container_of(oldest, struct connection, link)), now = uv_now(h->loop);
        uint64_t left = due > now ? due - now : 0;
        wait = wanted ? MIN_OF(wait, left) : left;
        wanted = true;
    }
    if (wanted)
        uv_timer_start(&h->timer, on_timer, wait, 0);
    else
        uv_timer_stop(&h->timer);
}

static void run(struct http *h) {
    end_late_connections(h);
    MHD_run(h->daemon);
    if (is_full(h))
        acceptor_pause(h->acceptor);
    else
        acceptor_resume(h->acceptor);
    arm(h);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    run(poll->data);
}

static void on_timer(uv_timer_t *timer) { run(timer->data); }

static void on_accepted(void *arg, int fd, const struct sockaddr *peer, socklen_t len) {
    struct http *h = arg;
    // The library closes the socket when it does not want it.
    if (MHD_add_connection(h->daemon, fd, peer, len) != MHD_YES) log_debug(NULL, "http: a connection was not taken");
    run(h);
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    struct http *h = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *c = mem_new(struct connection);
        ilink_init(&c->link);
        c->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since_ms = uv_now(h->loop);
        ilist_push_back(&h->connections, &c->link);
        *context = c;
    } else if (*context) {
        struct connection *c = *context;
        ilist_remove(&h->connections, &c->link);
        mem_free(c);
        *context = NULL;
    }
}

// --- requests ---

struct params {
    struct endpoint_param list[PARAMS_MAX];
    size_t count;
};

static enum MHD_Result on_param(void *cls, enum MHD_ValueKind kind, const char *key, const char *value) {
    (void)kind;
    struct params *p = cls;
    if (p->count == PARAMS_MAX) return MHD_NO; // no path has so many: the ones seen are wrong already
    p->list[p->count++] = (struct endpoint_param){key, value};
    return MHD_YES;
}

static struct endpoint_answer answer(struct http *h, const struct endpoint_request *r) {
    const struct http_source *s = &h->source;
    const struct config *c = s->config(s->arg);
    struct endpoint_view view = {
        .topology = s->topology(s->arg),
        .started = s->started(s->arg),
        .draining = s->draining(s->arg),
        .max_lag_ms = c->max_lag,
        .critical_lag_ms = c->critical_lag,
    };
    if (!endpoint_is_metrics(r->path)) return endpoint_respond(&view, r);
    struct stats sum = {0};
    s->gather(s->arg, &sum);
    view.metrics = &(struct prom_input){.stats = &sum,
                                        .topology = view.topology,
                                        .draining = view.draining,
                                        .process = procstat_sample(h->process),
                                        .route_reason_str = s->route_reason_str,
                                        .pin_str = s->pin_str};
    return endpoint_respond(&view, r);
}

// Takes the answer's body over.
static enum MHD_Result send_answer(struct MHD_Connection *conn, struct endpoint_answer *a) {
    size_t len = buf_len(&a->body);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(len, a->body.data, mem_free);
    if (!response) {
        buf_release(&a->body);
        return MHD_NO;
    }
    if (len) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, a->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (a->allow) MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, ENDPOINT_ALLOW);
    enum MHD_Result result = MHD_queue_response(conn, a->status, response);
    MHD_destroy_response(response);
    return result;
}

static bool announces_body(struct MHD_Connection *conn) {
    const char *len = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (len && strcmp(len, "0")) ||
           MHD_lookup_connection_value(conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

// Called for the header and again when the body is whole. An answer to the first call ends the connection after it,
// which is right for a request with a body, as none is read, and would be a waste for all others.
static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **context) {
    (void)version, (void)upload, (void)upload_size;
    struct http *h = cls;
    struct params params = {.count = 0};
    struct endpoint_request request = {.method = method, .path = url, .has_body = announces_body(conn)};
    if (!*context && !request.has_body) {
        *context = h; // any value but NULL
        return MHD_YES;
    }
    MHD_get_connection_values(conn, MHD_GET_ARGUMENT_KIND, on_param, &params);
    request.params = params.list;
    request.n_params = params.count;
    struct endpoint_answer a = answer(h, &request);
    return send_answer(conn, &a);
}

// An answer has been sent: the connection's patience starts anew.
static void on_completed(void *cls, struct MHD_Connection *conn, void **context, enum MHD_RequestTerminationCode how) {
    (void)context, (void)how;
    struct http *h = cls;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *c = info ? info->socket_context : NULL;
    if (!c) return;
    c->since_ms = uv_now(h->loop);
    ilist_remove(&h->connections, &c->link);
    ilist_push_back(&h->connections, &c->link);
}

PRINTF_LIKE(2, 0) static void on_library_log(void *cls, const char *fmt, va_list ap) {
    (void)cls;
    char text[300];
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_debug(NULL, "http: %s", text);
}

// --- start and stop ---

struct http *http_bind(const struct config *c, struct fault *f) {
    struct acceptor *acceptor = NULL;
    struct fault why = {0};
    if (c->http_addr[0]) {
        acceptor = acceptor_bind(c->http_addr, c->http_port, &why);
        if (!acceptor) {
            fault_set(f, "", "http_addr %s", why.text);
            return NULL;
        }
    }
    struct http *h = mem_new(struct http);
    h->acceptor = acceptor;
    ilist_init(&h->connections);
    return h;
}

const char *http_describe(const struct http *h) { return h->acceptor ? acceptor_describe(h->acceptor) : ""; }

static struct MHD_Daemon *daemon_new(struct http *h) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
        MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, // first: the rest may have to say something
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MAX,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_END);
}

bool http_start(struct http *h, uv_loop_t *loop, const struct http_source *source, struct fault *f) {
    if (!h->acceptor) return true;
    h->loop = loop;
    h->source = *source;
    h->daemon = daemon_new(h);
    const union MHD_DaemonInfo *info = h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) return fault_set(f, "", "http_addr %s: the HTTP library does not start", http_describe(h));
    int error = uv_poll_init(loop, &h->poll, info->epoll_fd);
    if (error) return fault_set(f, "", "http_addr %s: %s", http_describe(h), uv_strerror(error));
    h->poll.data = h;
    uv_timer_init(loop, &h->timer);
    h->timer.data = h;
    h->n_open = 2;
    h->process = procstat_new();
    uv_poll_start(&h->poll, UV_READABLE, on_poll);
    return acceptor_start(h->acceptor, loop, on_accepted, h, f);
}

static void release(struct http *h) {
    void (*closed)(void *) = h->closed;
    void *arg = h->closed_arg;
    if (h->process) procstat_free(h->process);
    mem_free(h);
    if (closed) closed(arg);
}

static void part_closed(void *arg) {
    struct http *h = arg;
    if (--h->n_open == 0) release(h);
}

static void on_closed(uv_handle_t *handle) { part_closed(handle->data); }

void http_stop(struct http *h, void (*closed)(void *arg), void *arg) {
    h->closed = closed;
    h->closed_arg = arg;
    bool has_handles = h->n_open > 0;
    // The loop must have let go of the library's epoll descriptor before the library closes it.
    if (has_handles) uv_close((uv_handle_t *)&h->poll, on_closed);
    if (has_handles) uv_close((uv_handle_t *)&h->timer, on_closed);
    if (h->daemon) MHD_stop_daemon(h->daemon);
    h->n_open++;
    if (h->acceptor)
        acceptor_close(h->acceptor, part_closed, h);
    else
        part_closed(h);
}
