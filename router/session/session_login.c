// SPDX-License-Identifier: ISC
//
// router/session/session_login.c: from an authenticated client to a welcome one.
//
// The client is shown the parameters that a PostgreSQL connection with its database, user and settings would show it.
// They come from such a connection: one of the pool is given the settings, which also proves that the servers take the
// user, the database and the settings; or from memory, when another client logged in with the same a moment ago.
#include <sys/random.h>
#include <xxhash.h>

#include "base/mem.h"
#include "config/users.h"
#include "router/session/pid.h"
#include "router/session/session_parts.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

// A key nobody can guess.
void session_make_cancel_key(struct session *s) {
    struct session *taken;
    const struct server *anchor = s->ticket.anchor.server;
    uint32_t random[2];
    do {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) bug("getrandom gave no bytes");
        s->cancel_pid = anchor ? anchor->backend_pid : pid_make_up(s->env->server.worker, random[0]);
        s->cancel_key = random[1];
        HASH_FIND(by_key, s->env->by_key, &s->cancel_pid, SESSION_KEY_SIZE, taken);
    } while (taken);
    HASH_ADD(by_key, s->env->by_key, cancel_pid, SESSION_KEY_SIZE, s);
}

// ParameterStatus messages. The client has one server, which is the primary, as far as it can tell.
static struct buf parameters_for_client(struct span from) {
    struct buf to = buf_make(SIZE_MAX / 2);
    struct cursor c = cursor_of(from);
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c), value = cursor_cstr(&c);
        if (c.bad) break;
        if (span_is(name, "in_hot_standby")) value = span_str("off");
        reply_parameter_status(&to, name, value);
    }
    return to;
}

// In these client encodings the second byte of a character may be that of a quote or backslash.
static bool is_safe_encoding(struct span name) {
    static const char *const unsafe[] = {"BIG5", "GBK", "GB18030", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"};
    for (size_t i = 0; i < countof(unsafe); i++)
        if (span_is(name, unsafe[i])) return false;
    return true;
}

void session_note_parameter(struct session *s, struct span name, struct span value) {
    if (span_is(name, "standard_conforming_strings")) s->nonstandard_strings = !span_is(value, "on");
    if (span_is(name, "client_encoding")) s->unsafe_encoding = !is_safe_encoding(value);
}

static void note_parameters(struct session *s, struct span parameters) {
    struct frame f;
    struct span name, value;
    for (; frame_next(FRAME_FROM_SERVER, parameters, &f, NULL) == WIRE_OK; parameters = span_from(parameters, f.total))
        if (msg_parameter_status(f.payload, &name, &value)) session_note_parameter(s, name, value);
}

static void welcome(struct session *s, struct span parameters) {
    deadline_clear(&s->deadline);
    s->parked_us = 0;
    s->ticket.optional = false;
    note_parameters(s, parameters);
    session_configure(s, NULL);
    session_make_cancel_key(s);
    session_set_state(s, SESSION_IDLE);
    client_welcome(&s->client, parameters, s->cancel_pid, s->cancel_key);
    if (s->state != SESSION_CLOSED) session_settle(s);
}

static struct span remembered(struct session *s, bool *fresh) {
    // Its session begins with the defaults of now, on whatever connections. Replicas without them yet are as those
    // that lack its own writes.
    s->ticket.defaults_us = atomic_load_explicit(s->env->defaults_changed_us, memory_order_acquire);
    s->last_write_us = MAX_OF(s->last_write_us, s->ticket.defaults_us);
    return welcome_find(&s->env->welcomes, s->database->name, s->client.user, s->settings,
                        s->env->server.now_us(s->env->server.arg), s->ticket.defaults_us, fresh, &s->login_modes);
}

// A database's first clients wait a moment for its catalog, so that their reads need not go to the primary.
enum { CATALOG_WAIT_US = 1000 * 1000 };
bool session_awaits_catalog(const struct session *s) {
    const struct database *d = s->database;
    if (!d || !d->accepted || d->catalog || d->missing) return false;
    return s->env->server.now_us(s->env->server.arg) - d->accepted_us < CATALOG_WAIT_US;
}

// A server has let this session, or another one a moment ago, into the database. Only now is its catalog asked for:
// names that anybody could make up are nothing that the reader of catalogs should have to find out about. Who has to
// wait for it finds what its login was told among what is remembered.
static void admit(struct session *s, struct span parameters) {
    struct session_env *env = s->env;
    if (databases_accept(&env->databases, s->database, env->server.now_us(env->server.arg)))
        env->watch_database(env->arg, s->database->name);
    if (session_awaits_catalog(s))
        session_park(s);
    else
        welcome(s, parameters);
}

// It has been dropped, and is there again.
static void find_again(struct session *s) {
    if (!s->database->missing) return;
    s->database->missing = false;
    s->env->refresh_database(s->env->arg, s->database->name);
}

// All connections of the pool are at work. What an earlier login was shown will do: some clients finish nothing while
// they wait for a login, and among that may be the transactions that the connections are at work for.
static void do_not_queue(struct session *s) {
    bool fresh;
    struct span parameters = remembered(s, &fresh);
    if (!parameters.len || pool_is_opening(s->ticket.pool)) return;
    pool_cancel(&s->ticket);
    session_set_state(s, SESSION_LOGIN);
    admit(s, parameters);
}

static void log_in(struct session *s) {
    bool fresh;
    struct span parameters = remembered(s, &fresh);
    if (session_awaits_catalog(s)) {
        session_park(s);
    } else if (fresh && !session_has_anchorage(s)) {
        admit(s, parameters);
    } else {
        s->ticket.optional = parameters.len > 0;
        session_find_login_server(s);
    }
    if (s->state == SESSION_WAITING) do_not_queue(s);
}

static bool count_user(struct session *s) {
    const struct user_config *u = config_user(s->env->config, s->client.user);
    int64_t limit = u ? u->max_user_connections : 0;
    s->user_counted = user_counts_enter(s->env->users, s->client.user, limit);
    if (!s->user_counted)
        session_fail(s, STAT_ERROR_TOO_MANY_CLIENTS, "53300",
                     "too many connections for user \"%s\" (max_user_connections = %lld)", s->client.user,
                     (long long)limit);
    return s->user_counted;
}

struct credentials session_credentials(const struct session *s, const struct scram_keys *keys) {
    const struct user *u = users_find(s->env->config->users, s->client.user);
    struct credentials c = {.user = s->client.user, .keys = *keys};
    if (u && u->kind == USER_SECRET_PLAIN) c.password = u->password;
    return c;
}

static void open_account(struct session *s, const struct scram_keys *keys) {
    struct credentials c = session_credentials(s, keys);
    s->account = account_get(s->env->pools, s->client.database, s->client.user);
    account_set_credentials(s->account, &c);
    secret_wipe(&c.password);
    explicit_bzero(&c.keys, sizeof c.keys);
}

void session_authenticated(void *owner, struct client *c, const struct scram_keys *keys) {
    struct session *s = owner;
    struct session_env *env = s->env;
    session_leave_newcomers(s);
    const struct database_config *d = config_database(env->config, c->database);
    if (!d && c->replication != REPLICATION_PHYSICAL) {
        session_fail(s, STAT_ERROR_NO_DATABASE, "3D000", "database \"%s\" does not exist", c->database);
        return;
    }
    if (!count_user(s)) return;
    if (c->replication != REPLICATION_NONE) {
        session_relay_open(s, keys);
        return;
    }
    open_account(s, keys);
    s->database = databases_get(&env->databases, config_server_database(env->config, c->database));
    s->settings = s->startup = settings_intern(env->settings, buf_span(&c->startup));
    settings_ref(s->startup);
    s->user_mark = XXH3_64bits(c->user, strlen(c->user));
    s->sequence_bit = session_sequence_bit(s->database->name, c->user);
    s->session_mode = config_pool_mode(env->config, c->database, c->user) == POOL_MODE_SESSION;
    session_configure(s, NULL);
    log_in(s);
}

// No server can be had now: what an earlier login was shown will do.
void session_login_retry(struct session *s) {
    bool fresh;
    if (s->relay) {
        session_relay_try(s);
        return;
    }
    struct span parameters = remembered(s, &fresh);
    if (session_awaits_catalog(s))
        session_park(s);
    else if (parameters.len)
        admit(s, parameters);
    else
        session_find_login_server(s);
}

void session_login_refused(struct session *s, const struct fault *f) {
    bool fresh;
    if (s->relay || remembered(s, &fresh).len || session_has_login_server(s))
        session_login_retry(s);
    else
        client_fail(&s->client, STAT_ERROR_SERVER_LOGIN, f);
}

// The server connection has told what there was to know; it may become the client's anchor.
static void greet(struct session *s, struct buf *parameters) {
    struct server *sv = s->server;
    if (!s->on_replica && !sv->anchor && sv->backend_pid && pool_may_anchor(sv->pool))
        pool_anchor(sv, &s->ticket.anchor);
    session_unlink(s);
    find_again(s);
    if (s->state != SESSION_CLOSED) admit(s, buf_span(parameters));
    buf_release(parameters);
}

static void login_done(struct session *s) {
    struct buf parameters = parameters_for_client(buf_span(&s->server->parameters));
    welcome_store(&s->env->welcomes, s->database->name, s->client.user, s->settings, buf_span(&parameters),
                  s->login_modes, s->env->server.now_us(s->env->server.arg), s->server->defaults_us);
    greet(s, &parameters);
}

// The connection is as the client wants it, and what the client is to be told is known from another login.
static bool needs_no_answer(struct session *s, struct buf *parameters) {
    bool fresh;
    if (s->server->settings != s->settings || s->forgets) return false;
    struct span known = remembered(s, &fresh);
    if (!known.len || !fresh) return false;
    *parameters = buf_make(SIZE_MAX / 2); // what lets go of the connection may forget it
    buf_put_span(parameters, known);
    return true;
}

enum { LOGIN_ROWS_MAX = 256 * 1024 };

void session_forget_login(struct session *s) {
    if (s->login_rows) buf_release(s->login_rows);
    mem_free(s->login_rows);
    s->login_rows = NULL;
}

// The values of the last two rows: the defaults of transactions, by whatever set them.
static void take_modes(struct session *s) {
    struct span values[2] = {{0}}, rows = buf_span(s->login_rows);
    struct frame frame;
    for (; rows.len; rows = span_from(rows, frame.total)) {
        if (frame_next(FRAME_FROM_SERVER, rows, &frame, NULL) != WIRE_OK) break;
        struct cursor c = cursor_of(frame.payload);
        values[0] = values[1];
        (void)cursor_u16(&c);
        values[1] = cursor_bytes(&c, cursor_u32(&c));
    }
    s->login_modes = session_modes_of(values[0], values[1]);
    session_forget_login(s);
}

void session_login_linked(struct session *s) {
    struct server *sv = s->server;
    // Who gets the connection for itself must not be told of another's sequences.
    s->forgets = !s->on_replica && sv->sequence_user && !sv->anchor && pool_may_anchor(sv->pool);
    if (sv->settings != s->settings && !session_takes_temp_buffers(s)) {
        sv->dirty = true;
        session_unlink(s);
        session_find_login_server(s);
        return;
    }
    struct buf parameters;
    if (needs_no_answer(s, &parameters)) {
        greet(s, &parameters);
        return;
    }
    struct buf sql = buf_make(SIZE_MAX / 2), *out = &s->env->wbuf;
    if (s->on_replica) settings_unserializable_sql(&sql); // by the defaults of its role or database it might be
    settings_change_sql(sv->settings, s->settings, false, &sql);
    buf_printf(&sql, "%s;SHOW default_transaction_isolation;SHOW default_transaction_read_only",
               s->forgets ? ";DISCARD SEQUENCES" : "");
    buf_clear(out);
    request_query(out, buf_span(&sql));
    buf_release(&sql);
    response_start(&s->response, false);
    session_forget_login(s);
    s->login_rows = mem_new(struct buf);
    *s->login_rows = buf_make(LOGIN_ROWS_MAX);
    s->response.capture = s->login_rows;
    pipeline_push(&sv->replies, REPLY_QUERY, REPLY_SWALLOW);
    if (!stream_write(&sv->stream, out->data, buf_len(out))) {
        struct fault f;
        fault_set(&f, "08006", "the connection to the server was lost");
        session_server_lost(s, sv, &f);
    }
}

// Whether the error names a parameter of the start-up packet.
static bool is_of_startup(const struct session *s, const struct fault *f) {
    struct span name;
    return settings_find_named(s->startup, f->text, &name);
}

// What the connection has been left with may be what takes no other settings: a parameter that is nobody's any more
// since its library has been loaded, a statement_timeout that is too short. The next connection shows whether it is the
// client's own that are refused; where the error says so, no connection is closed for a client that comes again and
// again.
static bool leave_refusing(struct session *s) {
    if (!s->server->settings || is_of_startup(s, s->response.refusal)) return false;
    if (s->reruns++ >= SESSION_RERUNS_MAX) return false;
    s->server->dirty = true;
    session_unlink(s);
    session_find_login_server(s);
    return true;
}

void session_login_replied(struct session *s) {
    struct server *sv = s->server;
    if (!pipeline_is_empty(&sv->replies)) return;
    if (s->response.refusal) {
        if (leave_refusing(s)) return;
        // The statement was one transaction, so the connection is what it was before.
        struct fault refusal = *s->response.refusal;
        session_unlink(s);
        client_fail(&s->client, STAT_ERROR_AUTH, &refusal);
        return;
    }
    session_settings_are_in_force(s);
    response_start(&s->response, false);
    s->reruns = 0;
    take_modes(s);
    if (s->forgets) sv->sequence_user = 0;
    login_done(s);
}
