// SPDX-License-Identifier: ISC
//
// health/dbconn.c: see health/dbconn.h.
//
//   CLOSED --connect--> CONNECTING --> IDLE --query--> BUSY --> IDLE
//      ^--- failure, deadline, dbconn_close -------------'
//
// libpq may close its socket and open another one, with the same number, within one PQconnectPoll (the next address, or
// without TLS): so the poll handle is always stopped before that call, while libuv can still take the old socket out of
// its poll set, and started on whatever socket there is afterwards.
#include "health/dbconn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum dbconn_state { DBCONN_STATE_CLOSED, DBCONN_STATE_CONNECTING, DBCONN_STATE_IDLE, DBCONN_STATE_BUSY };

// A poll handle must live until libuv has closed it, and its connection may have another one by then.
struct dbconn_poll {
    uv_poll_t handle;
    struct dbconn *conn; // NULL once given up
    int fd;
};

struct dbconn {
    const struct dbconn_ops *ops;
    void *owner;
    uv_loop_t *loop;
    enum dbconn_state state;
    bool last_turn; // the deadline has passed; one more turn of the loop for what is already in the socket
    uv_timer_t deadline;
    struct dbconn_poll *poll;
    PGconn *pg;
    PGresult *result;
};

static void dbconn_step(struct dbconn *c);

static void on_poll_closed(uv_handle_t *h) { mem_free(container_of((uv_poll_t *)h, struct dbconn_poll, handle)); }

static void poll_drop(struct dbconn *c) {
    if (!c->poll) return;
    uv_poll_stop(&c->poll->handle);
    c->poll->conn = NULL;
    uv_close((uv_handle_t *)&c->poll->handle, on_poll_closed);
    c->poll = NULL;
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    (void)status; // an error of the socket: libpq finds it in its next call
    (void)events;
    struct dbconn *c = container_of(handle, struct dbconn_poll, handle)->conn;
    if (c) dbconn_step(c);
}

// Waits for `events` on the socket libpq has now. False when there is none to wait on.
static bool poll_for(struct dbconn *c, int events) {
    int fd = PQsocket(c->pg);
    if (c->poll && c->poll->fd != fd) poll_drop(c);
    if (fd < 0) return false;
    if (!c->poll) {
        struct dbconn_poll *p = mem_new(struct dbconn_poll);
        if (uv_poll_init(c->loop, &p->handle, fd) != 0) {
            mem_free(p);
            return false;
        }
        p->conn = c;
        p->fd = fd;
        c->poll = p;
    }
    return uv_poll_start(&c->poll->handle, events, on_poll) == 0;
}

static void on_freed(uv_handle_t *h) {
    struct dbconn *c = container_of((uv_timer_t *)h, struct dbconn, deadline);
    if (c->ops->freed) c->ops->freed(c->owner);
    mem_free(c);
}

struct dbconn *dbconn_new(uv_loop_t *loop, const struct dbconn_ops *ops, void *owner) {
    struct dbconn *c = mem_new(struct dbconn);
    c->ops = ops;
    c->owner = owner;
    c->loop = loop;
    uv_timer_init(loop, &c->deadline);
    return c;
}

void dbconn_free(struct dbconn *c) {
    dbconn_close(c);
    uv_close((uv_handle_t *)&c->deadline, on_freed);
}

void dbconn_close(struct dbconn *c) {
    uv_timer_stop(&c->deadline);
    poll_drop(c);
    PQclear(c->result);
    c->result = NULL;
    PQfinish(c->pg);
    c->pg = NULL;
    c->state = DBCONN_STATE_CLOSED;
}

bool dbconn_is_open(const struct dbconn *c) { return c->state == DBCONN_STATE_IDLE || c->state == DBCONN_STATE_BUSY; }

// libpq tells the SQLSTATE of a refused login only in the text: "...FATAL:  57P03: the database system is starting up".
// The last one counts: with several addresses, or TLS and then none, there may be more than one.
static void find_sqlstate(const char *text, char out[6]) {
    for (const char *s = strstr(text, ":  "); s; s = strstr(s + 3, ":  ")) {
        size_t n = strspn(s + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n != 5 || s[8] != ':') continue;
        memcpy(out, s + 3, 5);
        out[5] = '\0';
    }
}

// libpq's messages end in newlines and may have several lines: hints start with a tab, and the verbose form ends with
// the place in the server's source.
static void copy_message(char *to, size_t size, const char *from) {
    size_t n = 0;
    while (*from && n + 3 < size) {
        size_t line = strcspn(from, "\n");
        bool wanted = line > 0 && *from != '\t' && strncmp(from, "LOCATION:", 9) != 0;
        if (wanted && n > 0) {
            to[n++] = ';';
            to[n++] = ' ';
        }
        size_t part = wanted ? MIN_OF(line, size - 1 - n) : 0;
        memcpy(to + n, from, part);
        n += part;
        from += line + (from[line] == '\n');
    }
    to[n] = '\0';
}

// Closes, then tells the owner, who may connect again at once.
static void dbconn_fail(struct dbconn *c, enum dbconn_error error, const char *sqlstate, const char *text) {
    struct dbconn_failure f = {.error = error};
    snprintf(f.sqlstate, sizeof f.sqlstate, "%s", sqlstate ? sqlstate : "");
    copy_message(f.text, sizeof f.text, text);
    dbconn_close(c);
    c->ops->failed(c->owner, &f);
}

// libpq tells only in its text that it got no socket, or could not open a file. A server that has run out of something
// says so with an SQLSTATE, but for one that cannot fork: that is short of memory, so what lacks memory must be a
// socket.
static bool is_shortage(const char *text) {
    static const int of_files[] = {EMFILE, ENFILE}, of_memory[] = {ENOMEM, ENOBUFS};
    char wanted[200];
    for (size_t i = 0; i < countof(of_files); i++)
        if (strstr(text, strerror(of_files[i]))) return true;
    for (size_t i = 0; i < countof(of_memory); i++) {
        snprintf(wanted, sizeof wanted, "could not create socket: %s", strerror(of_memory[i]));
        if (strstr(text, wanted)) return true;
    }
    return false;
}

static void fail_connecting(struct dbconn *c) {
    char sqlstate[6] = "";
    const char *text = c->pg ? PQerrorMessage(c->pg) : "out of memory";
    find_sqlstate(text, sqlstate);
    enum dbconn_error error = DBCONN_UNREACHABLE;
    if (sqlstate[0] || (c->pg && PQconnectionNeedsPassword(c->pg)))
        error = DBCONN_REFUSED;
    else if (!c->pg || is_shortage(text))
        error = DBCONN_SHORT;
    dbconn_fail(c, error, sqlstate, text);
}

static void on_deadline(uv_timer_t *t) {
    struct dbconn *c = container_of(t, struct dbconn, deadline);
    // When this process was stopped or busy, timers are found expired before the sockets are looked at.
    if (!c->last_turn) {
        c->last_turn = true;
        uv_timer_start(t, on_deadline, 1, 0);
        return;
    }
    const char *what = c->state == DBCONN_STATE_CONNECTING ? "no connection in time" : "no answer in time";
    dbconn_fail(c, DBCONN_TIMEOUT, "", what);
}

static void start_deadline(struct dbconn *c, int64_t timeout_ms) {
    c->last_turn = false;
    uv_update_time(c->loop); // it may be old when this turn of the loop took long
    uv_timer_start(&c->deadline, on_deadline, (uint64_t)MAX_OF(timeout_ms, 1), 0);
}

static void connect_step(struct dbconn *c) {
    if (c->poll) uv_poll_stop(&c->poll->handle);
    PostgresPollingStatusType status = PQconnectPoll(c->pg);
    if (status == PGRES_POLLING_OK) {
        uv_timer_stop(&c->deadline);
        PQsetnonblocking(c->pg, 1); // never blocks, not even when it says goodbye
        PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
        c->state = DBCONN_STATE_IDLE;
        if (!poll_for(c, UV_READABLE)) {
            dbconn_fail(c, DBCONN_UNREACHABLE, "", "the socket cannot be polled");
            return;
        }
        c->ops->connected(c->owner);
        return;
    }
    bool waiting =
        status != PGRES_POLLING_FAILED && poll_for(c, status == PGRES_POLLING_WRITING ? UV_WRITABLE : UV_READABLE);
    if (!waiting) fail_connecting(c);
}

// An idle connection has something to say: a notice, a changed parameter, or its end.
static void idle_step(struct dbconn *c) {
    bool alive = PQconsumeInput(c->pg);
    PQisBusy(c->pg); // takes what came out of the buffer
    if (!alive || PQstatus(c->pg) != CONNECTION_OK) dbconn_fail(c, DBCONN_CLOSED, "", PQerrorMessage(c->pg));
}

static void query_failed(struct dbconn *c) {
    const char *sqlstate = c->result ? PQresultErrorField(c->result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = c->result ? PQresultErrorMessage(c->result) : PQerrorMessage(c->pg);
    char copy[400];
    snprintf(copy, sizeof copy, "%s", text); // the result goes with the connection
    char state[6];
    snprintf(state, sizeof state, "%s", sqlstate ? sqlstate : "");
    dbconn_fail(c, state[0] ? DBCONN_QUERY : DBCONN_UNREACHABLE, state, copy);
}

static void query_done(struct dbconn *c) {
    uv_timer_stop(&c->deadline);
    if (PQresultStatus(c->result) != PGRES_TUPLES_OK) {
        query_failed(c);
        return;
    }
    c->state = DBCONN_STATE_IDLE;
    PGresult *result = c->result;
    c->ops->result(c->owner);
    if (c->result != result) return; // closed, from within the op
    PQclear(c->result);
    c->result = NULL;
}

static void query_step(struct dbconn *c) {
    if (!PQconsumeInput(c->pg)) {
        query_failed(c);
        return;
    }
    int unsent = PQflush(c->pg);
    if (unsent < 0 || !poll_for(c, unsent ? UV_READABLE | UV_WRITABLE : UV_READABLE)) {
        query_failed(c);
        return;
    }
    while (!PQisBusy(c->pg)) {
        PGresult *r = PQgetResult(c->pg);
        if (!r) {
            query_done(c);
            return;
        }
        PQclear(c->result);
        c->result = r;
    }
}

static void dbconn_step(struct dbconn *c) {
    switch (c->state) {
    case DBCONN_STATE_CONNECTING: connect_step(c); break;
    case DBCONN_STATE_IDLE: idle_step(c); break;
    case DBCONN_STATE_BUSY: query_step(c); break;
    case DBCONN_STATE_CLOSED: break;
    }
}

static void ignore_notice(void *arg, const PGresult *r) {
    (void)arg;
    (void)r;
}

// "a,a,a" for libpq, which wants as many hosts as addresses.
static void put_lists(const struct dbconn_target *t, struct buf *hosts, struct buf *addresses) {
    for (size_t i = 0; i < t->n_addresses; i++) {
        const struct sockaddr *sa = (const struct sockaddr *)&t->addresses[i];
        char text[INET6_ADDRSTRLEN] = "";
        uint32_t scope = 0;
        if (sa->sa_family == AF_INET) {
            inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, text, sizeof text);
        } else if (sa->sa_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
            inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
            scope = in6->sin6_scope_id;
        }
        buf_printf(hosts, "%s%s", i ? "," : "", t->host);
        buf_printf(addresses, "%s%s", i ? "," : "", text);
        if (scope) buf_printf(addresses, "%%%u", scope);
    }
    buf_put_u8(hosts, 0);
    buf_put_u8(addresses, 0);
}

// What is not given keeps libpq's default, but for what could make it read a name or block.
static PGconn *start(const struct dbconn_target *t) {
    static const char *const sslmodes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
    // Everything the queries name is qualified; the path makes sure of the operators too. What puts a view into words
    // locks what it names: it gives up before it could be one of a deadlock, of which somebody's DDL would be the
    // other.
    static const char options[] = "-c search_path=pg_catalog -c default_transaction_read_only=on -c jit=off "
                                  "-c max_parallel_workers_per_gather=0 -c statement_timeout=30000 "
                                  "-c lock_timeout=500";
    // libpq would look into the home folder for certificates of its own accord: it may not be readable to the
    // account that pgsteer has become, and what is there was not meant for pgsteer. A file that does not exist is none.
    static const char nothing[] = "/nonexistent/pgsteer";
    struct buf hosts = buf_make(1 << 16), addresses = buf_make(1 << 16);
    char port[16];
    snprintf(port, sizeof port, "%d", t->port);
    put_lists(t, &hosts, &addresses);
    const char *const pairs[][2] = {
        {"host", (const char *)hosts.data},
        {"hostaddr", t->host[0] == '/' ? "" : (const char *)addresses.data},
        {"port", port},
        {"user", t->user},
        {"password", t->password},
        {"dbname", t->database},
        {"sslmode", sslmodes[t->sslmode]},
        {"sslrootcert", t->ca_file},
        {"sslcert", t->cert_file && t->cert_file[0] ? t->cert_file : nothing},
        {"sslkey", t->key_file},
        {"sslcrl", nothing},
        {"gssencmode", "disable"},
        {"target_session_attrs", "any"},
        {"application_name", "pgsteer"},
        {"client_encoding", "UTF8"},
        {"options", options},
    };
    const char *keys[countof(pairs) + 1], *values[countof(pairs) + 1];
    for (size_t i = 0; i < countof(pairs); i++) {
        keys[i] = pairs[i][0];
        values[i] = pairs[i][1];
    }
    keys[countof(pairs)] = values[countof(pairs)] = NULL;
    PGconn *pg = hosts.failed || addresses.failed ? NULL : PQconnectStartParams(keys, values, 0);
    buf_release(&hosts);
    buf_release(&addresses);
    return pg;
}

// Even what fails at once is reported from the loop.
static void on_failed_start(uv_timer_t *t) { fail_connecting(container_of(t, struct dbconn, deadline)); }

void dbconn_connect(struct dbconn *c, const struct dbconn_target *target, int64_t timeout_ms) {
    bug_unless(c->state == DBCONN_STATE_CLOSED && target->n_addresses > 0);
    c->state = DBCONN_STATE_CONNECTING;
    c->pg = start(target);
    if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD) {
        uv_timer_start(&c->deadline, on_failed_start, 0, 0);
        return;
    }
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE); // for find_sqlstate
    start_deadline(c, timeout_ms);
    if (!poll_for(c, UV_WRITABLE)) uv_timer_start(&c->deadline, on_failed_start, 0, 0);
}

static void on_failed_query(uv_timer_t *t) { query_failed(container_of(t, struct dbconn, deadline)); }

void dbconn_query(struct dbconn *c, const char *sql, int64_t timeout_ms) {
    bug_unless(c->state == DBCONN_STATE_IDLE);
    PQclear(c->result); // of a query whose op calls this
    c->result = NULL;
    c->state = DBCONN_STATE_BUSY;
    start_deadline(c, timeout_ms);
    // What fails here is found again, from the loop, by query_step.
    if (PQsendQuery(c->pg, sql)) PQflush(c->pg);
    if (!poll_for(c, UV_READABLE | UV_WRITABLE)) uv_timer_start(&c->deadline, on_failed_query, 0, 0);
}

size_t dbconn_rows(const struct dbconn *c) { return (size_t)PQntuples(c->result); }

const char *dbconn_value(const struct dbconn *c, size_t row, size_t column) {
    if (PQgetisnull(c->result, (int)row, (int)column)) return NULL;
    return PQgetvalue(c->result, (int)row, (int)column);
}

bool dbconn_peer(const struct dbconn *c, struct sockaddr_storage *out) {
    const char *text = c->pg ? PQhostaddr(c->pg) : NULL;
    if (!text || !*text) return false;
    memset(out, 0, sizeof *out);
    int port = 0;
    return uv_ip4_addr(text, port, (struct sockaddr_in *)(void *)out) == 0 ||
           uv_ip6_addr(text, port, (struct sockaddr_in6 *)(void *)out) == 0;
}
