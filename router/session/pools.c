// SPDX-License-Identifier: ISC
//
// router/session/pools.c: all pools of a worker: see router/session/pool.h.
//
// What is only a matter of time (idle and old connections, the reserve, another try after a failure, servers that hang
// or have vanished) is done by one housekeeping deadline, a few times a second.
#include <netinet/in.h>
#include <sys/un.h>

#include "base/mem.h"
#include "router/session/pool_parts.h"

enum {
    HOUSEKEEPING_MS = 200,
    HOUSEKEEPING_SLOW = 5,       // every so many times: what need not be looked at often
    VACATE_MS = 5000,            // PostgreSQL waits so long for others to leave a database (CountOtherDBBackends)
    POOL_FORGET_ROUNDS = 60,     // of the slow ones, after which a pool that nobody uses goes
    POOL_FORGET_REFUSED = 2,     // ... of a user or database that the server does not take: anybody can make up names
    SERVER_SILENT_MAX_MS = 15000 // nothing acknowledged for so long: nobody is there
};

// ---- sizes and names from the config

static void close_all(struct ilist *servers, const char *why) {
    for (struct ilink *n; (n = ilist_first(servers));) pool_close_server(server_at(n), why);
}

static void pool_configure(struct pool *p) {
    const struct config *c = p->pools->env->config;
    p->size = (int)config_pool_size(c, p->database, p->user);
    p->min_size = (int)config_min_pool_size(c, p->database);
    budget_set_limit(p->budget, p->size, (int)config_reserve_pool_size(c, p->database));
    const char *name = config_server_database(c, p->database);
    if (p->server_database && strcmp(p->server_database, name) == 0) return;
    // The name stands for another database now.
    close_all(&p->idle, "its database has another name now");
    close_all(&p->anchored, "its database has another name now");
    close_all(&p->connecting, NULL);
    ILIST_EACH(&p->busy, n) server_at(n)->close_when_idle = true;
    ILIST_EACH(&p->parked, n) server_at(n)->close_when_idle = true;
    mem_free(p->server_database);
    p->server_database = mem_strdup(name);
}

void pools_config_changed(struct pools *all) {
    ILIST_EACH(&all->all, n) {
        pool_configure(pool_at(n));
        pool_grow(pool_at(n));
    }
}

// ---- finding and forgetting

static size_t make_key(char *to, size_t cap, const char *database, const char *user) {
    size_t at = 0;
    const char *parts[] = {database, user};
    for (size_t i = 0; i < countof(parts); i++) {
        size_t len = strlen(parts[i]) + 1;
        if (at + len <= cap) memcpy(to + at, parts[i], len);
        at += len;
    }
    return at;
}

struct account *account_get(struct pools *all, const char *database, const char *user) {
    struct account *a = NULL;
    size_t len = make_key(NULL, 0, database, user);
    char *key = mem_alloc(len);
    make_key(key, len, database, user);
    HASH_FIND(hh, all->accounts, key, len, a);
    if (a) {
        mem_free(key);
    } else {
        a = mem_new(struct account);
        a->pools = all;
        a->key = key;
        a->database = key;
        a->user = key + strlen(key) + 1;
        a->credentials.user = mem_strdup(user);
        ilist_init(&a->own);
        HASH_ADD_KEYPTR(hh, all->accounts, a->key, len, a);
    }
    a->refs++;
    return a;
}

static void credentials_wipe(struct credentials *c) {
    mem_free(c->user);
    secret_wipe(&c->password);
    explicit_bzero(&c->keys, sizeof c->keys);
}

void account_unref(struct account *a) {
    if (!a || --a->refs > 0) return;
    HASH_DEL(a->pools->accounts, a);
    credentials_wipe(&a->credentials);
    mem_free(a->by_node);
    mem_free(a->key);
    mem_free(a);
}

void account_set_credentials(struct account *a, const struct credentials *c) {
    struct credentials *mine = &a->credentials;
    bool same = a->has_credentials && mine->password.len == c->password.len &&
                memcmp(mine->password.bytes, c->password.bytes, c->password.len) == 0 &&
                memcmp(&mine->keys, &c->keys, sizeof c->keys) == 0;
    if (same) return;
    mine->password = c->password;
    mine->keys = c->keys;
    a->has_credentials = true;
    ILIST_EACH(&a->own, n) {
        struct pool *p = container_of(n, struct pool, own_link);
        if (p->refused) pool_forget_failure(p);
    }
}

const struct credentials *account_credentials(const struct account *a) {
    return a->has_credentials ? &a->credentials : NULL;
}

static struct pool *pool_new(struct account *a, const struct node *node) {
    struct pools *all = a->pools;
    struct pool *p = mem_new(struct pool);
    p->account = a;
    a->refs++;
    p->node_name = mem_strdup(node->name);
    p->database = a->database;
    p->user = a->user;
    p->pools = all;
    p->node = node;
    p->budget = quota_budget(all->quota, p->node_name, p->database, p->user);
    struct ilist *lists[] = {&p->connecting, &p->idle, &p->anchored, &p->busy, &p->parked, &p->waiters, &p->errands};
    for (size_t i = 0; i < countof(lists); i++) ilist_init(lists[i]);
    ilink_init(&p->link);
    ilink_init(&p->own_link);
    ilist_push_back(&all->all, &p->link);
    ilist_push_back(&a->own, &p->own_link);
    pool_configure(p);
    return p;
}

static void pool_free(struct pool *p) {
    struct pools *all = p->pools;
    struct account *a = p->account;
    ilist_remove(&all->all, &p->link);
    ilist_remove(&a->own, &p->own_link);
    for (size_t i = 0; i < a->n_nodes; i++)
        if (a->by_node[i] == p) a->by_node[i] = NULL;
    budget_want(p->budget, all->env->worker, false);
    budget_decline(p->budget, all->env->worker);
    quota_release(all->quota, p->budget);
    mem_free(p->server_database);
    mem_free(p->node_name);
    mem_free(p);
    account_unref(a);
}

// By the server's name.
static struct pool *account_look_up(struct account *a, const struct node *node) {
    ILIST_EACH(&a->own, n) {
        struct pool *p = container_of(n, struct pool, own_link);
        if (strcmp(p->node_name, node->name) == 0) return p;
    }
    return pool_new(a, node);
}

struct pool *account_pool(struct account *a, size_t at) {
    const struct topology *t = a->pools->topology;
    const struct node *node = &t->nodes[at];
    struct pool *p = at < a->n_nodes ? a->by_node[at] : NULL;
    if (UNLIKELY(!p || p->node != node)) {
        if (a->n_nodes < t->n_nodes) {
            a->by_node = mem_grow(a->by_node, t->n_nodes * sizeof(struct pool *));
            for (; a->n_nodes < t->n_nodes; a->n_nodes++) a->by_node[a->n_nodes] = NULL;
        }
        p = a->by_node[at] = account_look_up(a, node);
    }
    p->used = true;
    return p;
}

// ---- topology

static bool address_equal(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    if (a->ss_family != b->ss_family) return false;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
        return x->sin6_port == y->sin6_port && IN6_ARE_ADDR_EQUAL(&x->sin6_addr, &y->sin6_addr);
    }
    if (a->ss_family != AF_UNIX) return false;
    const struct sockaddr_un *x = (const void *)a, *y = (const void *)b;
    return strncmp(x->sun_path, y->sun_path, sizeof x->sun_path) == 0;
}

// True while the server still has the address that the connection goes to. One without any known address has merely
// lost its name for the moment.
static bool server_is_there(const struct server *s, const struct node *node) {
    struct sockaddr_storage peer;
    if (!node->n_addresses || !stream_peer(&s->stream, &peer)) return true;
    for (size_t i = 0; i < node->n_addresses; i++)
        if (address_equal(&peer, &node->addresses[i])) return true;
    return false;
}

static void pool_drop_idle(struct pool *p, const char *why) {
    close_all(&p->idle, why);
    close_all(&p->anchored, why);
    close_all(&p->connecting, why);
}

static void pool_check_addresses(struct pool *p) {
    struct ilist *lists[] = {&p->busy, &p->parked};
    for (size_t i = 0; i < countof(lists); i++)
        ILIST_EACH(lists[i], n) if (!server_is_there(server_at(n), p->node)) server_at(n)->close_when_idle = true;
    struct ilist *unused[] = {&p->idle, &p->anchored};
    for (size_t i = 0; i < countof(unused); i++) ILIST_EACH(unused[i], n) {
            const char *why = "the server has another address now";
            if (!server_is_there(server_at(n), p->node)) pool_close_server(server_at(n), why);
        }
}

void pool_lose_node(struct pool *p) {
    struct fault f;
    fault_set(&f, "57P03", "server \"%s\" was removed from the configuration", p->node_name);
    pool_drop_idle(p, "the server was removed");
    ILIST_EACH(&p->busy, n) server_at(n)->close_when_idle = true;
    ILIST_EACH(&p->parked, n) server_at(n)->close_when_idle = true;
    pool_doom(p, &f);
}

static void pool_node_is_down(struct pool *p) {
    struct fault f;
    fault_set(&f, "57P03", "server \"%s\" is down (%s)", p->node_name, node_reason_str(p->node->reason));
    pool_drop_idle(p, "the server is down");
    pool_doom(p, &f);
}

static void pool_set_node(struct pool *p, const struct node *node) {
    enum node_state before = p->node ? p->node->state : NODE_STATE_UNKNOWN;
    p->node = node;
    if (!node) {
        pool_lose_node(p);
        return;
    }
    pool_check_addresses(p);
    if (node->state == NODE_STATE_DOWN && before != NODE_STATE_DOWN) pool_node_is_down(p);
    // What failed against a server that was down need not fail now.
    if (node->state == NODE_STATE_UP && before != NODE_STATE_UP && !p->refused) pool_forget_failure(p);
    pool_grow(p);
}

void pools_set_topology(struct pools *all, struct topology *t) {
    struct topology *before = all->topology;
    topology_ref(t);
    all->topology = t;
    ILIST_EACH(&all->all, n) pool_set_node(pool_at(n), topology_find(t, pool_at(n)->node_name));
    if (before) topology_unref(before);
}

void pools_nudged(struct pools *all) {
    ILIST_EACH(&all->all, n) {
        // A place may have come free. Of descriptors nobody here knows more than before.
        if (pool_at(n)->full && !pool_at(n)->starved) pool_at(n)->retry_at_us = 0;
        pool_grow(pool_at(n));
        pool_yield_idle(pool_at(n));
    }
}

bool pool_is_vacated(const struct pool *p) {
    return ilist_empty(&p->waiters) && p->vacant_until_us && pools_now_us(p->pools) < p->vacant_until_us;
}

static void pool_vacate(struct pool *p) {
    if (pool_is_vacated(p)) close_all(&p->idle, "somebody wants its database for himself");
}

void pools_vacate(struct pools *all, const char *server_database) {
    ILIST_EACH(&all->all, n) {
        struct pool *p = pool_at(n);
        if (strcmp(p->server_database, server_database) != 0) continue;
        p->vacant_until_us = pools_now_us(all) + (uint64_t)VACATE_MS * 1000;
        pool_vacate(p);
    }
}

// ---- time

// The oldest go first; as many as the pool should have stay.
static void close_old(struct pool *p, struct ilist *unused_ones) {
    uint64_t now = pools_now_us(p->pools), idle_us = (uint64_t)p->pools->env->config->server_idle_timeout * 1000;
    for (struct ilink *n = unused_ones->head.prev, *before; n != &unused_ones->head; n = before) {
        struct server *s = server_at(n);
        before = n->prev;
        bool unused = idle_us && now - s->idle_since_us >= idle_us && budget_used(p->budget) > p->min_size;
        if (unused || pool_is_too_old(p, s)) {
            log_debug(&s->log, "server connection closed: %s", unused ? "server_idle_timeout" : "server_lifetime");
            pool_close_server(s, NULL);
        }
    }
}

static void pool_keep_minimum(struct pool *p) {
    while (pool_may_try(p) && !pool_is_vacated(p) && p->account->has_credentials &&
           budget_used(p->budget) < p->min_size && budget_take(p->budget, p->pools->env->worker, false))
        pool_open(p);
}

static struct server *next_silent(struct pool *p) {
    ILIST_EACH(&p->busy, n)
    if (stream_silent_ms(&server_at(n)->stream) > SERVER_SILENT_MAX_MS) return server_at(n);
    return NULL;
}

static void pool_break(struct server *s, const struct fault *f) {
    s->owner_ops->broken(s->owner, s, f);
    if (s->state == SERVER_BUSY) pool_discard(s, f->text);
}

// A peer that has vanished without a word; keepalive does not see it while bytes are on their way.
static void pool_break_silent(struct pool *p) {
    struct server_env *env = p->pools->env;
    for (struct server *s; (s = next_silent(p));) {
        struct fault f;
        fault_set(&f, "08006", "the server has acknowledged nothing for %d s", SERVER_SILENT_MAX_MS / 1000);
        env->report(env->arg, p->node_name, EVIDENCE_TIMEOUT);
        pool_break(s, &f);
    }
}

// Whether what waits for an answer of this server had better ask elsewhere: it has not answered the health checks for
// long enough to be down, and another server can answer instead. That is not so for the one primary: nobody can tell
// what it has done, and nobody else can do it.
static bool is_lost_for_good(const struct pool *p) {
    const struct node *n = p->node;
    if (!n || n->state != NODE_STATE_DOWN) return false;
    if (n->reason != NODE_REASON_TIMEOUT && n->reason != NODE_REASON_UNREACHABLE) return false;
    const struct topology *t = p->pools->topology;
    bool succeeded = t->primary >= 0 && &t->nodes[t->primary] != n;
    return n->role == NODE_ROLE_REPLICA || succeeded;
}

// Waits for an answer, and has heard nothing since the server stopped answering the health checks. One that has is
// alive, and the checks may be wrong; but a server that was merely slow at first may be gone by now.
static bool is_stuck(const struct server *s, uint64_t failing_since_us, uint64_t now) {
    bool silent = s->heard_us < failing_since_us || now - s->heard_us > (uint64_t)SERVER_SILENT_MAX_MS * 1000;
    return silent && !pipeline_is_empty(&s->replies) && !stream_has_unread(&s->stream);
}

static struct server *next_stuck(struct pool *p) {
    long long since = atomic_load_explicit(&p->node->live->failing_since_us, memory_order_relaxed);
    if (!since) return NULL; // it answers again
    ILIST_EACH(&p->busy, n)
    if (is_stuck(server_at(n), (uint64_t)since, pools_now_us(p->pools))) return server_at(n);
    return NULL;
}

// A server that hangs: its kernel acknowledges what is sent, and nobody answers.
static void pool_break_stuck(struct pool *p) {
    for (struct server *s; is_lost_for_good(p) && (s = next_stuck(p));) {
        struct fault f;
        fault_set(&f, "08006", "the server is down (%s)", node_reason_str(p->node->reason));
        pool_break(s, &f);
    }
}

static void pool_keep_slowly(struct pool *p) {
    close_old(p, &p->idle);
    close_old(p, &p->anchored);
    pool_keep_minimum(p);
    pool_break_silent(p);
    p->unused_rounds = p->used ? 0 : p->unused_rounds + 1;
    p->used = false;
    unsigned rounds = p->refused ? POOL_FORGET_REFUSED : POOL_FORGET_ROUNDS;
    if (p->unused_rounds >= rounds && pool_is_empty(p)) pool_free(p);
}

static void on_housekeeping(struct deadline *d) {
    struct pools *all = container_of(d, struct pools, housekeeping);
    bool slow = ++all->round % HOUSEKEEPING_SLOW == 0;
    ILIST_EACH(&all->all, n) {
        struct pool *p = pool_at(n);
        pool_grow(p); // the reserve, or another try
        pool_yield_idle(p);
        pool_break_stuck(p);
        if (slow) pool_keep_slowly(p);
    }
    deadline_set(all->env->deadlines, d, HOUSEKEEPING_MS, on_housekeeping);
}

static void on_soon(uv_timer_t *timer) {
    struct pools *all = container_of(timer, struct pools, soon);
    all->failing_waiters = true;
    ILIST_EACH(&all->all, n)
    if (pool_at(n)->doomed) pool_fail_waiters(pool_at(n));
    all->failing_waiters = false;
}

// Those that are failed may come back at once and be failed again. libuv runs a timer of no length that is started by
// itself again and again, and nothing else: so the next time is a millisecond away.
void pools_soon(struct pools *all) {
    bug_unless(uv_timer_start(&all->soon, on_soon, all->failing_waiters ? 1 : 0, 0) == 0);
}

// ---- the worker's life

struct pools *pools_new(struct server_env *env, struct quota *quota) {
    struct pools *all = mem_new(struct pools);
    all->env = env;
    ilist_init(&all->all);
    all->quota = quota;
    all->random = uv_hrtime() + env->worker;
    all->n_handles = 1;
    bug_unless(uv_timer_init(env->loop, &all->soon) == 0);
    deadline_init(&all->housekeeping);
    deadline_set(env->deadlines, &all->housekeeping, HOUSEKEEPING_MS, on_housekeeping);
    return all;
}

static void on_soon_closed(uv_handle_t *handle) { pools_handle_gone(container_of(handle, struct pools, soon)); }

static void pools_free(struct pools *all) {
    void (*closed)(void *arg) = all->closed;
    void *arg = all->arg;
    for (struct ilink *n; (n = ilist_first(&all->all));) pool_free(pool_at(n));
    bug_unless(!all->accounts);
    if (all->topology) topology_unref(all->topology);
    mem_free(all);
    closed(arg);
}

void pools_handle_gone(struct pools *all) {
    if (--all->n_handles == 0) pools_free(all);
}

static void pool_close(struct pool *p) {
    struct fault f;
    fault_set(&f, "57P01", "pgsteer is shutting down");
    p->fault = f;
    struct ilist *lists[] = {&p->connecting, &p->idle, &p->anchored, &p->busy, &p->parked};
    for (size_t i = 0; i < countof(lists); i++) close_all(lists[i], NULL);
    ILIST_EACH(&p->errands, n) cancel_abort(&container_of(n, struct errand, link)->cancel);
    pool_fail_waiters(p);
}

void pools_close(struct pools *all, void (*closed)(void *arg), void *arg) {
    all->closing = true;
    all->closed = closed;
    all->arg = arg;
    deadline_clear(&all->housekeeping);
    ILIST_EACH(&all->all, n) pool_close(pool_at(n));
    uv_close((uv_handle_t *)&all->soon, on_soon_closed);
}
