// SPDX-License-Identifier: ISC
// router/session/pool.c: see router/session/pool.h.
//
// What must not happen inside a call (failing a ticket that was just queued) is marked, and done by a timer of no
// length at the loop's next turn.
#include "router/session/pool.h"

#include "base/mem.h"
#include "router/session/pool_parts.h"

enum {
    RETRY_MIN_MS = 100,      // the shortest server_login_retry
    RETRY_STARVED_MS = 100,  // after a connection for which there was no descriptor
    RETRY_REFUSED_MS = 1000, // the longest one after an answer that only a person's change makes different
    YIELD_AFTER_MS = 250,    // a connection that is needed here is not handed over before it has served so long
    CANCELS_PER_CONNECTION = 2,
    ANCHORS_PAUSE_MS = 1000, // after one has been closed for others
    STUCK_AFTER_MS = 20      // a pool of which no connection has come free for so long is not worth waiting for
};

static void pool_serve(struct pool *p);
static void gauge(struct pool *p, enum stat_gauge g, int n) { stats_gauge_add(p->pools->env->stats, g, n); }

// ---- tickets

static void ticket_end(struct ticket *t) {
    ilist_remove(&t->pool->waiters, &t->link);
    deadline_clear(&t->deadline);
    gauge(t->pool, STAT_GAUGE_POOL_WAITING, -1);
}

static void ticket_fail(struct ticket *t, const struct fault *f) {
    struct fault copy = *f; // the pool may forget it meanwhile
    ticket_end(t);
    t->failed(t, &copy);
}

void pool_doom(struct pool *p, const struct fault *f) {
    if (f != &p->fault) p->fault = *f;
    p->doomed = true;
    pools_soon(p->pools);
}

void pool_fail_waiters(struct pool *p) {
    p->doomed = false;
    struct fault f = p->fault;
    for (size_t n = p->waiters.count; n-- > 0 && !ilist_empty(&p->waiters);)
        ticket_fail(container_of(ilist_first(&p->waiters), struct ticket, link), &f);
}

static void on_wait_timeout(struct deadline *d) {
    struct ticket *t = container_of(d, struct ticket, deadline);
    struct pool *p = t->pool;
    struct fault f;
    fault_set(&f, "53300", "no server connection became free within %lld ms (query_wait_timeout)",
              (long long)p->pools->env->config->query_wait_timeout);
    if (p->starved)
        fault_hint(&f, "pgsteer has no file descriptor for another one; see ulimit -n and max_client_conn.");
    else if (p->full)
        fault_hint(&f, "Server \"%s\" takes no more connections: %.120s", p->node_name, p->fault.text);
    else
        fault_hint(&f, "All %d connections of this pool are in use; see default_pool_size.", budget_used(p->budget));
    ticket_fail(t, &f);
    pool_grow(p); // one fewer to open a connection for
}

void pool_cancel(struct ticket *t) {
    if (!ticket_is_waiting(t)) return;
    ticket_end(t);
    pool_grow(t->pool);
}

// ---- the budget

static void pool_want(struct pool *p, bool wanting) {
    if (p->wants == wanting) return;
    p->wants = wanting;
    budget_want(p->budget, p->pools->env->worker, wanting);
}

static void pool_nudge(struct pool *p, size_t who) { p->pools->env->nudge(p->pools->env->arg, who); }

// Who has more than its share gives one up the next time one is idle; those that are idle now need to be told.
static void pool_ask_others(struct pool *p) {
    size_t me = p->pools->env->worker;
    for (size_t who = 0; who < quota_workers(p->pools->quota); who++)
        if (budget_should_ask(p->budget, me, who)) pool_nudge(p, who);
}

// A connection has gone: its place is for whoever has fewest.
static void pool_give_budget(struct pool *p) {
    size_t me = p->pools->env->worker, who;
    if (!p->pools->closing && budget_should_yield(p->budget, me, &who)) {
        budget_hand_over(p->budget, me, who);
        pool_nudge(p, who);
        return;
    }
    budget_give(p->budget, me);
    if (ilist_empty(&p->waiters) && budget_someone_wants(p->budget, me, &who)) pool_nudge(p, who);
}

static bool pool_take_budget(struct pool *p) {
    const struct server_env *env = p->pools->env;
    struct ilink *first = ilist_first(&p->waiters);
    bool long_wait = false;
    if (first) {
        uint64_t waited = pools_now_us(p->pools) - container_of(first, struct ticket, link)->since_us;
        long_wait = waited >= (uint64_t)env->config->reserve_pool_timeout * 1000;
    }
    return budget_take(p->budget, env->worker, long_wait);
}

// What was handed over and nobody here needs any more goes on.
static void pool_decline(struct pool *p) {
    size_t me = p->pools->env->worker, who;
    pool_want(p, false);
    if (budget_decline(p->budget, me) && budget_someone_wants(p->budget, me, &who)) pool_nudge(p, who);
}

// ---- lists

// Into another list, NULL = out of all, with the figures that go with it.
static void pool_move(struct pool *p, struct server *s, struct ilist *to) {
    if (s->home) ilist_remove(s->home, &s->link);
    if (s->home == &p->idle || s->home == &p->anchored) gauge(p, STAT_GAUGE_POOL_IDLE, -1);
    if (s->home == &p->busy) gauge(p, STAT_GAUGE_POOL_ACTIVE, -1);
    s->home = to;
    if (!to) return;
    ilist_push_front(to, &s->link);
    if (to == &p->idle || to == &p->anchored) gauge(p, STAT_GAUGE_POOL_IDLE, 1);
    if (to == &p->busy) gauge(p, STAT_GAUGE_POOL_ACTIVE, 1);
}

// ---- connections come

static const struct server_pool_ops server_ops;
static void pool_failed(struct pool *p, enum server_end end, const struct fault *f);
static void pool_ask_when_full(struct pool *p);

// A replica has the defaults of what it has replayed.
static uint64_t defaults_now_us(const struct pool *p) {
    if (p->node->role != NODE_ROLE_REPLICA) return uv_hrtime() / 1000;
    return (uint64_t)atomic_load_explicit(&p->node->live->fresh_until_us, memory_order_acquire);
}

static uint64_t defaults_changed_us(const struct pool *p) {
    return atomic_load_explicit(p->pools->env->defaults_changed_us, memory_order_acquire);
}

// The defaults have changed since it was opened, and one that is opened now would have the new ones.
static bool has_old_defaults(const struct pool *p, const struct server *s) {
    uint64_t changed_us = defaults_changed_us(p);
    return UNLIKELY(s->defaults_us < changed_us) && p->node && defaults_now_us(p) >= changed_us;
}

void pool_open(struct pool *p) {
    struct pools *all = p->pools;
    struct fault f;
    const struct server_target to = {.topology = all->topology,
                                     .node = p->node,
                                     .node_name = p->node_name,
                                     .database = p->server_database,
                                     .who = &p->account->credentials};
    struct server *s = server_open(all->env, &server_ops, &to, p, &f);
    if (!s) {
        pool_give_budget(p);
        pool_failed(p, server_open_end(&f), &f);
        pool_ask_when_full(p);
        return;
    }
    all->n_handles++;
    p->n_servers++;
    all->random = all->random * 6364136223846793005u + 1442695040888963407u;
    s->jitter = (uint8_t)(all->random >> 56);
    s->live = p->node->live;
    node_live_ref(s->live);
    s->defaults_us = defaults_now_us(p);
    atomic_fetch_add_explicit(&s->live->connections, 1, memory_order_relaxed);
    pool_move(p, s, &p->connecting);
}

bool pool_may_try(const struct pool *p) {
    return p->node && !p->doomed && !p->pools->closing && p->retry_at_us <= pools_now_us(p->pools);
}

// The client that may not need it any more keeps an id that is no process's; who waits gets a place.
static bool pool_weigh_anchor(struct pool *p) {
    struct ilink *n = ilist_last(&p->anchored);
    if (!n) return false;
    p->weighed_us = pools_now_us(p->pools);
    log_debug(&server_at(n)->log, "server connection closed: another client needs one");
    pool_close_server(server_at(n), NULL);
    return true;
}

// Opens a connection for each waiter that none is being opened for, as far as the budget goes.
void pool_grow(struct pool *p) {
    // The place that a connection leaves on a server that is full can be taken at once.
    if (p->full && p->waiters.count > p->connecting.count && pool_weigh_anchor(p)) p->retry_at_us = 0;
    while (p->waiters.count > p->connecting.count && pool_may_try(p)) {
        if (!pool_take_budget(p)) {
            if (pool_weigh_anchor(p)) continue;
            if (p->wants) return;
            pool_want(p, true);
            if (!pool_take_budget(p)) { // somebody may have given one back before it could know
                pool_ask_others(p);
                return;
            }
        }
        pool_open(p);
    }
    if (!p->full || ilist_empty(&p->waiters)) pool_decline(p);
}

void pool_forget_failure(struct pool *p) {
    p->failing = p->full = p->starved = p->refused = p->doomed = false;
    p->retry_at_us = 0;
}

static void on_connected(struct server *s) {
    struct pool *p = s->pool;
    pool_move(p, s, &p->idle);
    p->served_us = pools_now_us(p->pools);
    stats_add(p->pools->env->stats, STAT_SERVER_LOGINS, 1);
    log_debug(&s->log, "connected%s", stream_is_tls(&s->stream) ? " (TLS)" : "");
    pool_forget_failure(p);
    pool_serve(p);
    pool_grow(p);
}

// ---- anchors

static void leave_anchor(struct server *s) {
    s->anchor->server = NULL;
    s->anchor = NULL;
    s->pool->anchors--;
}

bool pool_may_anchor(const struct pool *p) {
    if (!p->node || p->failing || p->full || p->anchors >= p->size / 2 || !pool_is_opening(p)) return false;
    return !p->weighed_us || pools_now_us(p->pools) - p->weighed_us >= (uint64_t)ANCHORS_PAUSE_MS * 1000;
}

bool pool_has_anchorage(const struct pool *p) {
    if (!pool_may_anchor(p)) return false;
    if (!ilist_empty(&p->idle)) return true;
    return p->anchors + (int)p->waiters.count < p->size / 2 && pool_may_try(p) &&
           budget_has_room(p->budget, p->pools->env->worker);
}

void pool_anchor(struct server *s, struct anchor *a) {
    bug_unless(s->state == SERVER_BUSY && !s->anchor && !a->server);
    s->anchor = a;
    a->server = s;
    s->pool->anchors++;
}

static void pool_offer(struct pool *p, struct server *s);

void anchor_drop(struct anchor *a) {
    struct server *s = a->server;
    if (!s) return;
    struct pool *p = s->pool;
    leave_anchor(s);
    if (s->home != &p->anchored) return;
    if (s->prepared.exposed) { // it has names that were this client's
        pool_discard(s, NULL);
        return;
    }
    pool_move(p, s, &p->idle);
    pool_offer(p, s);
}

// ---- connections go

// Out of the lists, the figures and the budget.
static void pool_remove(struct pool *p, struct server *s) {
    pool_move(p, s, NULL);
    if (s->anchor) leave_anchor(s);
    atomic_fetch_sub_explicit(&s->live->connections, 1, memory_order_relaxed);
    ILIST_EACH(&p->errands, n) {
        struct errand *e = container_of(n, struct errand, link);
        if (e->server == s) e->server = NULL;
    }
    pool_give_budget(p);
}

void pool_close_server(struct server *s, const char *why) {
    if (why) log_info(&s->log, "server connection closed: %s", why);
    pool_remove(s->pool, s);
    server_close(s);
}

static void on_freed(struct server *s) {
    s->pool->n_servers--;
    node_live_unref(s->live);
    pools_handle_gone(s->pool->pools);
}

// ---- failures

// What a failed connect says of the server.
static void pool_report(struct pool *p, enum server_end end) {
    static const struct {
        bool report;
        enum evidence evidence;
    } table[SERVER_ENDS] = {
        [SERVER_END_UNREACHABLE] = {true, EVIDENCE_REFUSED}, [SERVER_END_TIMEOUT] = {true, EVIDENCE_TIMEOUT},
        [SERVER_END_SHUTDOWN] = {true, EVIDENCE_SHUTDOWN},   [SERVER_END_CLOSED] = {true, EVIDENCE_CLOSED},
        [SERVER_END_ROLE] = {true, EVIDENCE_ROLE_CHANGE},
    };
    if (table[end].report) p->pools->env->report(p->pools->env->arg, p->node_name, table[end].evidence);
}

static int64_t retry_after_ms(const struct pool *p, enum server_end end) {
    int64_t retry_ms = MAX_OF(p->pools->env->config->server_login_retry, (int64_t)RETRY_MIN_MS);
    if (end == SERVER_END_SHORT) return RETRY_STARVED_MS;
    return end == SERVER_END_REFUSED ? MIN_OF(retry_ms, (int64_t)RETRY_REFUSED_MS) : retry_ms;
}

static void count_failure(struct stats *stats, enum server_end end) {
    if (end == SERVER_END_PROTOCOL)
        stats_error(stats, STAT_ERROR_SERVER_PROTOCOL);
    else if (end == SERVER_END_SHORT)
        stats_error(stats, STAT_ERROR_NO_DESCRIPTORS);
    else if (end != SERVER_END_REFUSED)
        stats_error(stats, STAT_ERROR_SERVER_CONNECT);
}

static void pool_failed(struct pool *p, enum server_end end, const struct fault *f) {
    struct pools *all = p->pools;
    bool known = end == SERVER_END_SHORT ? p->starved : p->retry_at_us > pools_now_us(all);
    p->retry_at_us = pools_now_us(all) + (uint64_t)retry_after_ms(p, end) * 1000;
    p->starved = end == SERVER_END_SHORT;
    p->full = end == SERVER_END_FULL || p->starved;
    p->failing = !p->full;
    p->refused = end == SERVER_END_REFUSED;
    p->fault = *f;
    count_failure(all->env->stats, end);
    if (end != SERVER_END_REFUSED && !p->full) {
        const char *sqlstate = end == SERVER_END_SHUTDOWN ? "57P03" : "08006";
        fault_set(&p->fault, sqlstate, "server \"%s\" cannot be reached: %.300s", p->node_name, f->text);
        fault_hint(&p->fault, "%s", f->hint);
    }
    if (!known)
        log_warning(NULL, "server \"%s\", database \"%s\", user \"%s\": no connection: %s", p->node_name, p->database,
                    p->user, f->text);
    pool_report(p, end);
    if (p->failing) pool_doom(p, &p->fault);
}

// Who only wanted a connection for itself does not stand in the way of others.
static void fail_optional(struct pool *p) {
    struct fault f = p->fault;
    for (size_t n = p->waiters.count; n-- > 0 && !ilist_empty(&p->waiters);) {
        struct ticket *t = container_of(ilist_first(&p->waiters), struct ticket, link);
        ilist_remove(&p->waiters, &t->link);
        ilist_push_back(&p->waiters, &t->link);
        if (t->optional) ticket_fail(t, &f);
    }
}

// Another worker may have what it does not need.
static void pool_ask_when_full(struct pool *p) {
    if (!p->full) return;
    pool_want(p, !ilist_empty(&p->waiters));
    if (p->wants) pool_ask_others(p);
}

static void on_failed(struct server *s, enum server_end end, const struct fault *f) {
    struct pool *p = s->pool;
    pool_remove(p, s);
    pool_failed(p, end, f);
    if (p->full) fail_optional(p);
    pool_ask_when_full(p);
    pool_grow(p);
}

static void on_lost(struct server *s, enum server_end end, const struct fault *f) {
    struct pool *p = s->pool;
    log_info(&s->log, "idle server connection lost: %s", f->text);
    if (end == SERVER_END_PROTOCOL) stats_error(p->pools->env->stats, STAT_ERROR_SERVER_PROTOCOL);
    struct anchor *a = s->anchor;
    pool_remove(p, s);
    pool_report(p, end);
    pool_grow(p);
    if (a) a->lost(a, f);
}

static const struct server_pool_ops server_ops = {
    .connected = on_connected, .failed = on_failed, .lost = on_lost, .freed = on_freed};

// ---- connections change hands

static void pool_hand_out(struct pool *p, struct server *s, const struct server_owner_ops *ops, void *owner) {
    pool_move(p, s, &p->busy);
    server_hand_out(s, ops, owner);
}

static struct server *idle_with_old_defaults(struct pool *p) {
    ILIST_EACH(&p->idle, n)
    if (has_old_defaults(p, server_at(n)) && server_is_between_messages(server_at(n))) return server_at(n);
    return NULL;
}

// The idle connection that was used last and has the right defaults, or NULL.
static struct server *pool_next_idle(struct pool *p, const struct ticket *t) {
    bool began_before = UNLIKELY(t->defaults_us < defaults_changed_us(p));
    struct server *s = began_before ? idle_with_old_defaults(p) : NULL;
    if (s) return s;
    for (struct ilink *n; (n = ilist_first(&p->idle));) {
        bool old = !began_before && has_old_defaults(p, server_at(n));
        if (!old && server_is_between_messages(server_at(n))) return server_at(n);
        pool_close_server(server_at(n), old ? "the defaults of sessions have changed"
                                            : "in the middle of a message when it was wanted");
    }
    return NULL;
}

// The one that is kept for this client, or NULL.
static struct server *pool_own_idle(struct pool *p, const struct ticket *t) {
    struct server *s = t->anchor.server;
    if (!s || s->home != &p->anchored) return NULL;
    if (server_is_between_messages(s)) return s;
    pool_close_server(s, "in the middle of a message when it was wanted");
    return NULL;
}

// First come, first served. Whoever is granted one may give it back before the call returns, and come here again: the
// first one does it all.
static void pool_serve(struct pool *p) {
    if (p->serving) return;
    p->serving = true;
    struct server *s;
    for (struct ilink *first; (first = ilist_first(&p->waiters));) {
        struct ticket *t = container_of(first, struct ticket, link);
        if (!(s = pool_next_idle(p, t))) break;
        stats_observe(p->pools->env->stats, STAT_HISTOGRAM_POOL_WAIT, pools_now_us(p->pools) - t->since_us);
        ticket_end(t);
        pool_hand_out(p, s, t->ops, t->owner);
        t->granted(t, s);
    }
    p->serving = false;
}

struct server *pool_get(struct pool *p, struct ticket *t, const struct server_owner_ops *ops, void *owner) {
    struct pools *all = p->pools;
    p->used = true;
    struct server *s = pool_own_idle(p, t);
    if (!s && ilist_empty(&p->waiters)) s = pool_next_idle(p, t);
    if (s) {
        stats_observe(all->env->stats, STAT_HISTOGRAM_POOL_WAIT, 0);
        pool_hand_out(p, s, ops, owner);
        return s;
    }
    t->pool = p;
    t->ops = ops;
    t->owner = owner;
    t->since_us = pools_now_us(all);
    ilist_push_back(&p->waiters, &t->link);
    gauge(p, STAT_GAUGE_POOL_WAITING, 1);
    deadline_set(all->env->deadlines, &t->deadline, all->env->config->query_wait_timeout, on_wait_timeout);
    if (!p->node)
        pool_lose_node(p);
    else if (p->failing && p->retry_at_us > t->since_us)
        pool_doom(p, &p->fault);
    else
        pool_grow(p);
    return NULL;
}

bool pool_is_too_old(const struct pool *p, const struct server *s) {
    uint64_t life_us = (uint64_t)p->pools->env->config->server_lifetime * 1000;
    if (!life_us) return false;
    // Connections that were opened together do not end together.
    return pools_now_us(p->pools) - s->connected_at_us >= life_us - life_us / 10 * s->jitter / 256;
}

// Another worker has fewer and wants one. While somebody waits here too, only one that has served a while is given, so
// that two workers with too few between them do not spend their time on connecting.
static bool should_yield(const struct pool *p, const struct server *s) {
    size_t who;
    if (!budget_should_yield(p->budget, p->pools->env->worker, &who)) return false;
    return ilist_empty(&p->waiters) || pools_now_us(p->pools) - s->connected_at_us >= (uint64_t)YIELD_AFTER_MS * 1000;
}

// The reserve has done its work; or the size was lowered, and whoever waits has fewer to wait for.
static bool is_too_large(const struct pool *p) {
    return ilist_empty(&p->waiters) ? budget_is_over(p->budget) : budget_is_over_reserve(p->budget);
}

// Why an idle connection is closed rather than kept; NULL = it is kept.
static const char *reason_to_close(const struct pool *p, const struct server *s) {
    if (s->close_when_idle || !p->node) return "it was to be closed";
    if (pool_is_too_old(p, s)) return "server_lifetime";
    if (!s->anchor && pool_is_vacated(p)) return "somebody wants its database for himself";
    if (is_too_large(p)) return "the pool is larger than its size";
    return should_yield(p, s) ? "another worker needs it" : NULL;
}

bool pool_would_close(const struct server *s) { return reason_to_close(s->pool, s) != NULL; }

// An idle connection is there to be used.
static void pool_offer(struct pool *p, struct server *s) {
    const char *why = reason_to_close(p, s);
    if (why) {
        log_debug(&s->log, "server connection closed: %s", why);
        pool_close_server(s, NULL);
        pool_grow(p);
    } else if (s->anchor) {
        pool_grow(p); // somebody may need it more
    } else {
        pool_serve(p);
        pool_grow(p); // it may have had the wrong defaults
    }
}

static void pool_move_idle(struct pool *p, struct server *s) { pool_move(p, s, s->anchor ? &p->anchored : &p->idle); }

void pool_put(struct server *s) {
    struct pool *p = s->pool;
    bug_unless(s->state == SERVER_BUSY);
    const char *unfit = server_unfit(s);
    if (unfit) {
        pool_discard(s, unfit);
        return;
    }
    server_take_back(s, s->cancels > 0);
    if (s->cancels)
        pool_move(p, s, &p->parked);
    else
        pool_move_idle(p, s);
    s->idle_since_us = p->served_us = pools_now_us(p->pools);
    if (!s->cancels) pool_offer(p, s);
}

void pool_discard(struct server *s, const char *why) {
    struct pool *p = s->pool;
    pool_close_server(s, why);
    pool_grow(p);
}

void pool_yield_idle(struct pool *p) {
    struct ilist *lists[] = {&p->idle, &p->anchored};
    for (size_t i = 0; i < countof(lists); i++)
        for (struct ilink *n; (n = ilist_last(lists[i])) && (is_too_large(p) || should_yield(p, server_at(n)));)
            pool_close_server(server_at(n), NULL);
}

// ---- cancels

static void on_cancel_ended(struct cancel *c, bool certain) {
    struct errand *e = container_of(c, struct errand, cancel);
    struct pool *p = e->pool;
    struct server *s = e->server;
    struct pools *all = p->pools;
    ilist_remove(&p->errands, &e->link);
    mem_free(e);
    if (s) {
        s->cancels--;
        if (!certain) s->dirty = true; // it may still be hit
        if (s->state == SERVER_PARKED && s->dirty) {
            pool_discard(s, "a cancel request did not end");
        } else if (s->state == SERVER_PARKED && s->cancels == 0) {
            server_take_back(s, false);
            pool_move_idle(p, s);
            pool_offer(p, s);
        } else if (s->state == SERVER_BUSY && s->cancels == 0) {
            s->owner_ops->drained(s->owner, s);
        }
    }
    pools_handle_gone(all);
}

void pool_cancel_backend(struct server *s) {
    struct pool *p = s->pool;
    struct pools *all = p->pools;
    struct sockaddr_storage address;
    socklen_t len = stream_peer(&s->stream, &address);
    if (!len || !s->backend_pid || !p->node || p->errands.count >= (size_t)p->size * CANCELS_PER_CONNECTION) return;
    struct errand *e = mem_new(struct errand);
    const char *tls_host = stream_is_tls(&s->stream) ? p->node->host : NULL;
    if (!cancel_start(&e->cancel, all->env, (const struct sockaddr *)&address, len, tls_host, s->backend_pid,
                      s->backend_key, on_cancel_ended)) {
        mem_free(e);
        return;
    }
    e->pool = p;
    e->server = s;
    s->cancels++;
    ilink_init(&e->link);
    ilist_push_back(&p->errands, &e->link);
    all->n_handles++;
    stats_add(all->env->stats, STAT_CANCELS, 1);
}

// ---- facts

// A ticket would have a connection of its own, now or as soon as one is opened.
static bool is_available(const struct pool *p) {
    if (LIKELY(!ilist_empty(&p->idle) || !ilist_empty(&p->anchored))) return true;
    if (p->connecting.count > p->waiters.count) return true; // one is coming that nobody waits for yet
    return pool_may_try(p) && budget_has_room(p->budget, p->pools->env->worker);
}

bool pool_is_full(const struct pool *p) {
    if (LIKELY(is_available(p))) return false;
    if (!pool_may_try(p)) return true;
    // A worker without any will be handed one over, if somebody asks for it.
    if (p->busy.count + p->connecting.count + p->parked.count + p->waiters.count == 0) return false;
    // While connections come and go the wait is short, and weights are to be kept.
    return pools_now_us(p->pools) - p->served_us > STUCK_AFTER_MS * 1000;
}
const char *pool_node_name(const struct pool *p) { return p->node_name; }
bool pool_is_wanted(const struct pool *p) {
    size_t who;
    return p->waiters.count > p->connecting.count || budget_someone_wants(p->budget, p->pools->env->worker, &who);
}
bool pool_has_idle(const struct pool *p) { return !ilist_empty(&p->idle) && ilist_empty(&p->waiters); }
bool pool_can_open(const struct pool *p) { return ilist_empty(&p->waiters) && is_available(p); }
size_t pool_waiting(const struct pool *p) { return p->waiters.count; }
size_t pool_busy(const struct pool *p) { return p->busy.count; }
bool pool_is_opening(const struct pool *p) { return p->connecting.count >= p->waiters.count; }
bool pool_is_empty(const struct pool *p) { return p->n_servers + p->waiters.count + p->errands.count == 0; }
