// SPDX-License-Identifier: ISC
//
// bench_responder: servers that answer at once, for measuring the router alone.
//
//     bench_responder PRIMARY_PORT [REPLICA_PORT...]
//
// One thread listens on every port of 127.0.0.1, lets everybody in, and answers every query with one short row; what
// the health probes ask (health/probe.c) is answered so that the first port is a primary and the others are replicas
// that have replayed everything. It prints "ready", and ends at the end of its standard input.
//
// It knows nothing of SQL and is for benchmarks only: no test may take it for PostgreSQL. What cannot be understood
// ends the connection.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/span.h"

enum { IN_MAX = 65536, OUT_MAX = 65536, EVENTS = 256, SSL_REQUEST = 80877103, PROTOCOL_3_0 = 196608 };

struct conn {
    int fd;
    bool listens, replica, started;
    size_t have, out_len;
    uint8_t *in, *out; // NULL for a listener
};

// What is written to, for the length of one call.
struct writer {
    uint8_t *p;
    size_t len;
};

static void put(struct writer *w, const void *bytes, size_t len) {
    if (w->len + len > OUT_MAX) {
        fprintf(stderr, "a batch of questions is too long\n");
        exit(1);
    }
    memcpy(w->p + w->len, bytes, len);
    w->len += len;
}

static void put_u16(struct writer *w, uint16_t n) { put(w, &(uint16_t){htons(n)}, 2); }
static void put_u32(struct writer *w, uint32_t n) { put(w, &(uint32_t){htonl(n)}, 4); }
static void put_str(struct writer *w, const char *s) { put(w, s, strlen(s) + 1); }

static size_t begin(struct writer *w, char type) {
    put(w, &type, 1);
    put_u32(w, 0);
    return w->len - 4;
}

static void end(struct writer *w, size_t at) {
    uint32_t len = htonl((uint32_t)(w->len - at));
    memcpy(w->p + at, &len, 4);
}

static void put_plain(struct writer *w, char type, const void *body, size_t len) {
    size_t at = begin(w, type);
    put(w, body, len);
    end(w, at);
}

static void put_ready(struct writer *w) { put_plain(w, 'Z', "I", 1); }

static void put_columns(struct writer *w, uint16_t count) {
    size_t at = begin(w, 'T');
    put_u16(w, count);
    for (uint16_t i = 0; i < count; i++) {
        put_str(w, "c");
        put_u32(w, 0), put_u16(w, 0), put_u32(w, 25), put_u16(w, 0xffff), put_u32(w, 0xffffffff), put_u16(w, 0);
    }
    end(w, at);
}

// A NULL in `values` is NULL.
static void put_row(struct writer *w, const char *const *values, uint16_t count) {
    size_t at = begin(w, 'D');
    put_u16(w, count);
    for (uint16_t i = 0; i < count; i++) {
        put_u32(w, values[i] ? (uint32_t)strlen(values[i]) : 0xffffffff);
        if (values[i]) put(w, values[i], strlen(values[i]));
    }
    end(w, at);
}

static void put_result(struct writer *w, const char *const *values, uint16_t columns, bool row) {
    put_columns(w, columns);
    if (row) put_row(w, values, columns);
    const char *tag = row ? "SELECT 1" : "SELECT 0";
    put_plain(w, 'C', tag, strlen(tag) + 1);
    put_ready(w);
}

static const char *const ONE[] = {"1"};

static void answer_query(struct writer *w, const char *sql, bool replica) {
    static const char *const identity[] = {"16777216", "8192", "7000000000000000001"};
    static const char *const primary[] = {"f", "0/3000100", NULL, "000000010000000000000003", NULL, NULL};
    static const char *const follower[] = {"t", "0/3000100", NULL, NULL, "1", "1"};
    if (strstr(sql, "pg_size_bytes"))
        put_result(w, identity, countof(identity), true);
    else if (strstr(sql, "pg_is_in_recovery"))
        put_result(w, replica ? follower : primary, countof(primary), true);
    else if (strstr(sql, "pg_catalog.pg_proc")) // the catalog: nothing of anybody's own
        put_result(w, identity, 6, false);
    else
        put_result(w, ONE, 1, true);
}

static void answer_startup(struct writer *w) {
    static const char *const parameters[][2] = {
        {"server_version", "15.0"},  {"client_encoding", "UTF8"},
        {"server_encoding", "UTF8"}, {"standard_conforming_strings", "on"},
        {"DateStyle", "ISO, MDY"},   {"TimeZone", "UTC"},
        {"integer_datetimes", "on"}, {"IntervalStyle", "postgres"},
        {"is_superuser", "off"},     {"session_authorization", "app"},
        {"application_name", ""},
    };
    put_plain(w, 'R', "\0\0\0\0", 4);
    for (size_t i = 0; i < countof(parameters); i++) {
        size_t at = begin(w, 'S');
        put_str(w, parameters[i][0]);
        put_str(w, parameters[i][1]);
        end(w, at);
    }
    put_plain(w, 'K', "\0\0\0\1\0\0\0\1", 8);
    put_ready(w);
}

// False ends the connection.
static bool answer(struct writer *w, char type, const uint8_t *body, bool replica) {
    switch (type) {
    case 'Q': answer_query(w, (const char *)body, replica); return true;
    case 'P': put_plain(w, '1', "", 0); return true;
    case 'B': put_plain(w, '2', "", 0); return true;
    case 'C': put_plain(w, '3', "", 0); return true;
    case 'D':
        if (body[0] == 'S') put_plain(w, 't', "\0\0", 2);
        put_columns(w, 1);
        return true;
    case 'E':
        put_row(w, ONE, 1);
        put_plain(w, 'C', "SELECT 1", 9);
        return true;
    case 'S': put_ready(w); return true;
    case 'H': return true;
    default: return false;
    }
}

// Takes whole messages from what has come in; how many bytes that was, or SIZE_MAX to end the connection.
static size_t take(struct conn *c, struct writer *w) {
    size_t at = 0;
    for (;;) {
        size_t head = c->started ? 5 : 4, left = c->have - at;
        if (left < head) return at;
        size_t len = span_u32(c->in + at + head - 4) + head - 4;
        if (len > IN_MAX || len < head) return SIZE_MAX;
        if (left < len) return at;
        const uint8_t *body = c->in + at + head;
        if (c->started) {
            if (!answer(w, (char)c->in[at], body, c->replica)) return SIZE_MAX;
        } else if (len >= 8 && span_u32(body) == SSL_REQUEST) {
            put(w, "N", 1);
        } else if (len >= 8 && span_u32(body) == PROTOCOL_3_0) {
            answer_startup(w);
            c->started = true;
        } else {
            return SIZE_MAX;
        }
        at += len;
    }
}

static void drop(struct conn *c) {
    close(c->fd);
    mem_free(c->in);
    mem_free(c->out);
    mem_free(c);
}

// False when the connection is over. Answers are short: what does not fit the socket at once is a client that does not
// read, and none of ours does that.
static bool serve(struct conn *c) {
    ssize_t got = recv(c->fd, c->in + c->have, IN_MAX - c->have, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
    c->have += (size_t)got;
    struct writer w = {c->out, 0};
    size_t taken = take(c, &w);
    if (taken == SIZE_MAX) return false;
    memmove(c->in, c->in + taken, c->have - taken);
    c->have -= taken;
    return w.len == 0 || send(c->fd, w.p, w.len, MSG_NOSIGNAL) == (ssize_t)w.len;
}

static struct conn *watch(int ep, int fd, bool listens, bool replica) {
    struct conn *c = mem_new(struct conn);
    *c = (struct conn){.fd = fd, .listens = listens, .replica = replica};
    if (!listens) c->in = mem_alloc(IN_MAX), c->out = mem_alloc(OUT_MAX);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0) abort();
    return c;
}

static void listen_on(int ep, const char *port, bool replica) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    a.sin_port = htons((uint16_t)atoi(port));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 1024) != 0) {
        perror(port);
        exit(1);
    }
    watch(ep, fd, true, replica);
}

static void accept_one(int ep, const struct conn *listener) {
    int fd = accept(listener->fd, NULL, NULL), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(ep, fd, false, listener->replica);
}

int main(int argc, char **argv) {
    int ep = epoll_create1(0);
    struct epoll_event events[EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
    for (int i = 1; i < argc; i++) listen_on(ep, argv[i], i > 1);
    if (argc < 2 || epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) {
        fprintf(stderr, "usage: bench_responder PRIMARY_PORT [REPLICA_PORT...], with a pipe as its input\n");
        return 2;
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) return 0;
            if (c->listens)
                accept_one(ep, c);
            else if (!serve(c))
                drop(c);
        }
    }
}
