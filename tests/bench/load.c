// SPDX-License-Identifier: ISC
//
// bench_load: clients that take little CPU time themselves, for measuring the router alone.
//
//     bench_load PORT CLIENTS BATCH STATEMENTS
//
// Each client logs in without a password as `app` to the database `app` of 127.0.0.1, and sends BATCH queries at once
// as soon as the answers to the last ones are there. With STATEMENTS 0 they are simple queries; otherwise so many
// different statements are prepared beforehand, by all clients together, and each client executes its own in turn. With
// batches it looks at its sockets only every two milliseconds, so that a call of the system brings many answers.
//
// It prints "ready" when all have logged in and every statement was executed twice, and then, for every line of its
// standard input, how many queries have been answered so far. At the end of its input it ends.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/span.h"

enum { CHUNK = 65536, HEAD = 5, NAP_US = 2000 };

struct client {
    int fd;
    uint32_t skip; // bytes of the message's body that are still to come
    size_t have;   // of the next message's head
    uint8_t head[HEAD];
    uint32_t due;            // answers that are still to come
    size_t first, own, next; // of the statements: where its own begin, how many there are, which is next
};

struct load {
    struct client *clients;
    struct pollfd *polls;
    size_t count, batch;
    uint64_t answered;
    uint8_t *out;
    size_t out_len, out_cap;
};

static void give_up(const char *what) {
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

// --- messages, gathered in one buffer for each sending
// -----------------------------------------------------------------

static void put(struct load *l, const void *bytes, size_t len) {
    if (l->out_len + len > l->out_cap) {
        l->out_cap = 2 * (l->out_len + len);
        l->out = realloc(l->out, l->out_cap);
        if (!l->out) abort();
    }
    memcpy(l->out + l->out_len, bytes, len);
    l->out_len += len;
}

static void put_message(struct load *l, char type, const void *body, size_t len) {
    uint32_t n = htonl((uint32_t)len + 4);
    if (type) put(l, &type, 1);
    put(l, &n, 4);
    put(l, body, len);
}

static void put_execute(struct load *l, size_t statement) {
    char bind[32] = "";
    size_t name = (size_t)snprintf(bind + 1, 20, "s%zu", statement);
    put_message(l, 'B', bind,
                1 + name + 1 + 6); // no formats, no values, no formats: zeros, as everything behind the name
    put_message(l, 'E', "\0\0\0\0\0", 5);
    put_message(l, 'S', "", 0);
}

static void put_parse(struct load *l, size_t statement) {
    char parse[96] = "";
    size_t len = (size_t)snprintf(parse, 20, "s%zu", statement) + 1;
    len += (size_t)snprintf(parse + len, 64, "select c%zu from t", statement) + 1;
    put_message(l, 'P', parse, len + 2);
    put_message(l, 'S', "", 0);
}

// --- one client
// -------------------------------------------------------------------------------------------------------

static void send_all(struct load *l, const struct client *c) {
    for (size_t at = 0; at < l->out_len;) {
        ssize_t n = send(c->fd, l->out + at, l->out_len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            poll(&(struct pollfd){.fd = c->fd, .events = POLLOUT}, 1, -1);
        else if (n < 0)
            give_up("sending");
        else
            at += (size_t)n;
    }
    l->out_len = 0;
}

// Counts the ReadyForQuery messages in what has come; of other messages only errors matter.
static void scan(struct load *l, struct client *c, const uint8_t *p, size_t len) {
    while (len > 0) {
        size_t n;
        if (c->skip > 0) {
            n = MIN_OF(len, c->skip);
            c->skip -= (uint32_t)n;
        } else {
            n = MIN_OF(len, HEAD - c->have);
            memcpy(c->head + c->have, p, n);
            c->have += n;
            if (c->have == HEAD) {
                c->have = 0;
                c->skip = span_u32(c->head + 1) - 4;
                if (c->head[0] == 'E') errno = 0, give_up("the router answered with an error");
                if (c->head[0] == 'Z') c->due--, l->answered++;
            }
        }
        p += n, len -= n;
    }
}

// False when there was nothing to read.
static bool receive(struct load *l, struct client *c) {
    static uint8_t in[CHUNK];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return false;
    if (n <= 0) give_up("the router closed a connection");
    scan(l, c, in, (size_t)n);
    return true;
}

static void await(struct load *l, struct client *c) {
    while (c->due > 0)
        if (!receive(l, c)) poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, -1);
}

static void login(struct load *l, struct client *c, const char *port) {
    static const char startup[] = "\0\3\0\0user\0app\0database\0app\0";
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    a.sin_port = htons((uint16_t)atoi(port));
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) give_up("connecting");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    put_message(l, 0, startup, sizeof startup);
    send_all(l, c);
    c->due = 1;
    await(l, c);
}

static void prepare(struct load *l, struct client *c) {
    for (size_t i = 0; i < c->own; i++) {
        put_parse(l, c->first + i);
        put_execute(l, c->first + i);
        put_execute(l, c->first + i);
        send_all(l, c);
        c->due = 3;
        await(l, c);
    }
}

static void send_batch(struct load *l, struct client *c) {
    for (size_t i = 0; i < l->batch; i++) {
        if (c->own == 0)
            put_message(l, 'Q', "select a from t where b = 1", 28);
        else
            put_execute(l, c->first + c->next++ % c->own);
    }
    send_all(l, c);
    c->due = (uint32_t)l->batch;
}

// --- all of them
// ------------------------------------------------------------------------------------------------------

static void open_all(struct load *l, const char *port, size_t statements) {
    for (size_t i = 0; i < l->count; i++) {
        struct client *c = &l->clients[i];
        *c = (struct client){.first = statements * i / l->count};
        c->own = statements * (i + 1) / l->count - c->first;
        if (statements > 0 && c->own == 0) c->own = 1, c->first = i % statements;
        login(l, c, port);
        prepare(l, c);
        l->polls[i] = (struct pollfd){.fd = c->fd, .events = POLLIN};
    }
    l->polls[l->count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
}

// True at the end of the input.
static bool report(const struct load *l) {
    char line[64];
    if (read(STDIN_FILENO, line, sizeof line) <= 0) return true;
    printf("%" PRIu64 "\n", l->answered);
    fflush(stdout);
    return false;
}

static void run(struct load *l) {
    for (size_t i = 0; i < l->count; i++) send_batch(l, &l->clients[i]);
    for (;;) {
        poll(l->polls, l->count + 1, -1);
        if (l->polls[l->count].revents && report(l)) return;
        for (size_t i = 0; i < l->count; i++) {
            struct client *c = &l->clients[i];
            if (!l->polls[i].revents) continue;
            (void)receive(l, c);
            if (c->due == 0) send_batch(l, c);
        }
        if (l->batch > 1) nanosleep(&(struct timespec){.tv_nsec = NAP_US * 1000L}, NULL);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: bench_load PORT CLIENTS BATCH STATEMENTS\n");
        return 2;
    }
    struct load l = {.count = (size_t)atol(argv[2]), .batch = (size_t)atol(argv[3])};
    l.clients = mem_array(l.count, struct client);
    l.polls = mem_array(l.count + 1, struct pollfd);
    open_all(&l, argv[1], (size_t)atol(argv[4]));
    printf("ready\n");
    fflush(stdout);
    run(&l);
    for (size_t i = 0; i < l.count; i++) close(l.clients[i].fd);
    mem_free(l.clients);
    mem_free(l.polls);
    free(l.out);
    return 0;
}
