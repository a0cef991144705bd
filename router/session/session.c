// SPDX-License-Identifier: ISC
// router/session/session.c: see router/session/session.h. A session's life: opening, states, cancelling, closing.
#include "router/session/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "router/session/session_parts.h"

// Which state may follow which, a bit each. One setter, so that an impossible move is found where it is made.
static const uint8_t legal_moves[SESSION_STATES] = {
    [SESSION_LOGIN] = 1 << SESSION_IDLE | 1 << SESSION_WAITING | 1 << SESSION_PARKED | 1 << SESSION_LINKED |
                      1 << SESSION_RELAY | 1 << SESSION_CLOSED,
    [SESSION_IDLE] = 1 << SESSION_WAITING | 1 << SESSION_PARKED | 1 << SESSION_LINKED | 1 << SESSION_CLOSED,
    [SESSION_WAITING] = 1 << SESSION_IDLE | 1 << SESSION_LOGIN | 1 << SESSION_LINKED | 1 << SESSION_CLOSED,
    [SESSION_PARKED] = 1 << SESSION_IDLE | 1 << SESSION_LOGIN | 1 << SESSION_CLOSED,
    [SESSION_LINKED] = 1 << SESSION_IDLE | 1 << SESSION_LOGIN | 1 << SESSION_CLOSED,
    [SESSION_RELAY] = 1 << SESSION_CLOSED,
    [SESSION_CLOSED] = 0,
};

void session_set_state(struct session *s, enum session_state to) {
    if (s->state == to) return;
    bug_unless(legal_moves[s->state] & (1 << to));
    if (s->state == SESSION_PARKED) ilist_remove(&s->env->parked, &s->waits_link);
    if (s->state == SESSION_WAITING) ilist_remove(&s->env->waiting, &s->waits_link);
    if (to == SESSION_PARKED) ilist_push_back(&s->env->parked, &s->waits_link);
    if (to == SESSION_WAITING) ilist_push_back(&s->env->waiting, &s->waits_link);
    s->state = to;
}

void session_fail(struct session *s, enum stat_error reason, const char *sqlstate, const char *fmt, ...) {
    char text[sizeof(((struct fault *)0)->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct fault f;
    fault_set(&f, sqlstate, "%s", text);
    client_fail(&s->client, reason, &f);
}

void session_resume(struct session *s) {
    if (s->state == SESSION_CLOSED || session_is_login(s)) return;
    client_resume_input(&s->client);
}

// The client.

void session_leave_newcomers(struct session *s) {
    if (ilink_in_list(&s->lease_link)) ilist_remove(&s->env->newcomers, &s->lease_link);
}

void session_free(struct session *s) {
    struct session_env *env = s->env;
    session_leave_newcomers(s);
    ilist_remove(&env->sessions, &s->link);
    if (s->database) databases_leave(&env->databases, s->database);
    mem_free(s);
    env->session_closed(env->arg);
}

static void session_freed(struct client *c) {
    struct session *s = container_of(c, struct session, client);
    if (s->relay)
        session_relay_freed(s);
    else
        session_free(s);
}

void session_gone(void *owner, struct client *c) {
    struct session *s = owner;
    deadline_clear(&s->deadline);
    session_drop_servers(s);
    anchor_drop(&s->ticket.anchor);
    if (s->relay) session_relay_gone(s);
    session_set_state(s, SESSION_CLOSED);
    if (s->cancel_pid) HASH_DELETE(by_key, s->env->by_key, s);
    s->cancel_pid = 0;
    session_set_pins(s, 0);
    if (s->user_counted) user_counts_leave(s->env->users, c->user);
    s->user_counted = false;
    account_unref(s->account);
    s->account = NULL;
    prep_client_fini(&s->names);
    settings_unref(s->settings);
    settings_unref(s->startup);
    settings_unref(s->customs);
    s->settings = s->startup = s->customs = NULL;
    session_forget_touched(s);
    session_forget_code(s);
    session_forget_vacating(s);
    response_fini(&s->response);
    buf_release(&s->journal);
    session_forget_login(s);
    mem_free(s->refusal);
    s->refusal = NULL;
}

static const struct client_ops client_ops = {
    .authenticated = session_authenticated,
    .input = session_input,
    .drained = session_client_drained,
    .gone = session_gone,
};

void session_open(struct session_env *env, int fd, uint64_t id) {
    struct session *s = mem_new(struct session);
    s->env = env;
    s->node = s->last_reader = ROUTE_NODES_MAX;
    ilink_init(&s->link);
    ilink_init(&s->waits_link);
    ilink_init(&s->lease_link);
    deadline_init(&s->deadline);
    s->journal = buf_make(SESSION_JOURNAL_LIMIT);
    prep_client_init(&s->names);
    response_init(&s->response, &session_response_ops, s, &s->names, &env->out);
    session_link_init(s);
    if (!client_open(&s->client, &env->client, fd, id, s, &client_ops, session_freed)) {
        mem_free(s);
        env->session_closed(env->arg);
        return;
    }
    ilist_push_back(&env->sessions, &s->link);
    ilist_push_back(&env->newcomers, &s->lease_link);
    s->leased_us = env->server.now_us(env->server.arg);
}

// Cancelling.

static struct session *find_by_key(struct session_env *env, uint32_t pid, uint32_t key) {
    struct session *s = NULL;
    const uint32_t both[] = {pid, key};
    HASH_FIND(by_key, env->by_key, both, SESSION_KEY_SIZE, s);
    return s;
}

// When what the session does, or waits to do, began. While a batch is open that is not known: long ago.
static uint64_t began_us(struct session *s) {
    if (s->state == SESSION_WAITING) return s->ticket.since_us;
    if (s->state == SESSION_PARKED) return s->parked_us;
    for (uint32_t i = 0; s->server && i < s->server->replies.count; i++) {
        const struct reply *due = pipeline_at(&s->server->replies, i);
        if (due->counted) return due->started_us;
    }
    return 0;
}

bool session_cancel(struct session_env *env, uint32_t pid, uint32_t key, uint64_t asked_us) {
    struct session *s = find_by_key(env, pid, key);
    if (s && s->relay) session_relay_cancel(s, asked_us);
    if (!s || s->relay || began_us(s) > asked_us) return s != NULL;
    if (s->state == SESSION_WAITING || s->state == SESSION_PARKED) {
        struct fault f;
        fault_set(&f, "57014", "canceling statement due to user request");
        pool_cancel(&s->ticket);
        session_refuse(s, &f);
        return true;
    }
    if (s->state != SESSION_LINKED) return true;
    if (s->due || s->open)
        pool_cancel_backend(s->server);
    else
        s->cancel_asked = s->ready; // it waits for the connection to be made ready for it
    return true;
}

// All sessions of a worker.

// Those that are parked now and fulfil `which` try again; one that is parked anew goes to the back, and is not met
// twice.
static void retry_parked(struct session_env *env, bool (*which)(const struct session *s, uint64_t now_us),
                         uint64_t now_us) {
    for (size_t n = env->parked.count; n-- > 0 && !ilist_empty(&env->parked);) {
        struct ilink *first = ilist_first(&env->parked);
        struct session *s = container_of(first, struct session, waits_link);
        if (which(s, now_us)) {
            session_unpark(s);
        } else {
            ilist_remove(&env->parked, first);
            ilist_push_back(&env->parked, first);
        }
    }
}

static bool is_any(const struct session *s, uint64_t now_us) { return (void)s, (void)now_us, true; }
static bool is_stale(const struct session *s, uint64_t now_us) { return (void)now_us, s->stale_us != 0; }
static bool is_login(const struct session *s, uint64_t now_us) { return (void)now_us, session_is_login(s); }

// Waited long enough, or what it waits for may be there.
static bool is_due(const struct session *s, uint64_t now_us) {
    const struct session_env *env = s->env;
    int primary = env->topology->primary;
    if (session_park_expired(s, now_us)) return true;
    if (s->stale_us) return true;
    if (session_is_login(s) && session_awaits_catalog(s)) return false;
    return session_is_login(s) || (primary >= 0 && !(env->avoid >> primary & 1));
}

static void find_near(struct session_env *env) {
    const struct topology *t = env->topology;
    const char *zone = env->config->zone;
    env->near = 0;
    for (size_t i = 0; zone[0] && i < t->n_nodes && i < ROUTE_NODES_MAX; i++)
        if (strcmp(t->nodes[i].zone, zone) == 0) env->near |= UINT64_C(1) << i;
}

void sessions_topology_changed(struct session_env *env, const struct topology *before) {
    const struct topology *t = env->topology;
    bool same = before && before->n_nodes == t->n_nodes;
    for (size_t i = 0; same && i < t->n_nodes; i++) same = strcmp(before->nodes[i].name, t->nodes[i].name) == 0;
    if (!same) { // the places of servers are others now
        memset(&env->balance, 0, sizeof env->balance);
        env->avoid = 0;
        ILIST_EACH(&env->sessions, n) {
            struct session *s = container_of(n, struct session, link);
            s->node = s->last_reader = ROUTE_NODES_MAX;
            s->avoid = 0;
        }
    }
    // What could not be reached before it came up can be reached now.
    for (size_t i = 0; same && i < t->n_nodes && i < ROUTE_NODES_MAX; i++)
        if (t->nodes[i].state == NODE_STATE_UP && before->nodes[i].state != NODE_STATE_UP)
            env->avoid &= ~(UINT64_C(1) << i);
    find_near(env);
    relays_topology_changed(env);
    sessions_follow_primary(env);
    retry_parked(env, is_any, 0);
}

void sessions_catalog_changed(struct session_env *env) { retry_parked(env, is_login, 0); }

void sessions_retry_stale(struct session_env *env) { retry_parked(env, is_stale, 0); }

void sessions_config_changed(struct session_env *env) {
    find_near(env);
    ILIST_EACH(&env->sessions, n) {
        struct session *s = container_of(n, struct session, link);
        // pool_mode stays what it was at the login: the client may have built on it.
        if (s->database) session_configure(s, NULL); // its client may be in the middle of a message
    }
}

static void avoid_no_longer(struct session_env *env, uint64_t now_us) {
    for (size_t i = 0; i < ROUTE_NODES_MAX; i++)
        if ((env->avoid >> i & 1) && env->avoid_until_us[i] <= now_us) env->avoid &= ~(UINT64_C(1) << i);
}

// Each goes to the back first, so that one that waits again is not met twice.
void sessions_visit_waiting(struct session_env *env, void (*visit)(struct session *s)) {
    for (size_t n = env->waiting.count; n-- > 0 && !ilist_empty(&env->waiting);) {
        struct ilink *first = ilist_first(&env->waiting);
        ilist_remove(&env->waiting, first);
        ilist_push_back(&env->waiting, first);
        visit(container_of(first, struct session, waits_link));
    }
}

void sessions_tick(struct session_env *env) {
    uint64_t now_us = env->server.now_us(env->server.arg);
    if (env->avoid) avoid_no_longer(env, now_us);
    retry_parked(env, is_due, now_us);
    sessions_visit_waiting(env, session_try_elsewhere);
    if (!ilist_empty(&env->leases)) sessions_yield_leases(env);
    relays_tick(env);
}

// A login takes much less, even where a thousand of them come at once; who takes longer may have no mind to log in.
enum { NEWCOMER_US = 1000 * 1000 };

bool sessions_make_room(struct session_env *env, int n) {
    uint64_t now_us = env->server.now_us(env->server.arg);
    int made = 0;
    for (struct ilink *first; made < n && (first = ilist_first(&env->newcomers)); made++) {
        struct session *s = container_of(first, struct session, lease_link);
        if (now_us - s->leased_us < NEWCOMER_US) break;
        session_leave_newcomers(s);
        session_fail(s, STAT_ERROR_TOO_MANY_CLIENTS, "53300", "sorry, too many clients already");
    }
    return made > 0;
}

void sessions_drain(struct session_env *env) {
    env->draining = true;
    ILIST_EACH(&env->sessions, n) {
        struct session *s = container_of(n, struct session, link);
        if (s->state == SESSION_IDLE)
            session_settle(s);
        else if (session_is_login(s)) // it may never say another word
            session_fail(s, STAT_ERROR_SHUTDOWN, "57P03", "pgsteer is shutting down");
    }
}

void sessions_fini(struct session_env *env) {
    while (env->n_journals) buf_release(&env->journals[--env->n_journals]);
    buf_release(&env->wbuf);
    buf_release(&env->out.scratch);
}

void sessions_close_all(struct session_env *env) {
    ILIST_EACH(&env->sessions, n) {
        struct session *s = container_of(n, struct session, link);
        if (s->relay)
            session_relay_shut(s);
        else
            session_fail(s, STAT_ERROR_SHUTDOWN, "57P01", "terminating connection: pgsteer is shutting down");
        client_close(&s->client); // the time to read is over as well
    }
}
