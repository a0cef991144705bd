// SPDX-License-Identifier: ISC
// router/worker.c: see router/worker.h.
#include "router/worker.h"

#include <unistd.h>

#include "base/mailbox.h"
#include "base/mem.h"
#include "router/session/pid.h"
#include "router/session/session.h"

enum { WORKER_STACK = 64 * 1024 * 1024 }; // the parser recurses; pages that are not touched cost nothing

struct worker {
    size_t index;
    struct worker_shared *shared;
    struct worker_ops ops;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_prepare_t before_poll;
    uv_timer_t retry; // for sessions that wait for a fresh replica
    struct mailbox mailbox;
    struct deadlines *deadlines;
    struct listeners *listeners;
    struct session_env env;
    struct tls_context *tls_clients, *tls_servers;
    struct stats stats;
    uint64_t now_us; // of this turn of the loop; 0 = not asked for yet
    bool stopping, drained_told;
    uint8_t rbuf[RBUF_SIZE];
};

const struct stats *worker_stats(const struct worker *w) { return &w->stats; }

// Time: one clock call for each turn of the loop that asks for it.

static uint64_t worker_now_us(void *arg) {
    struct worker *w = arg;
    if (!w->now_us) w->now_us = uv_hrtime() / 1000;
    return w->now_us;
}

static void on_before_poll(uv_prepare_t *p) { container_of(p, struct worker, before_poll)->now_us = 0; }

// Clients.

// So many connections may be there beyond the limit, for a moment: those that come to cancel, and those that are about
// to be told that there are too many.
enum { CLIENTS_BEYOND_MAX = 32 };

static int clients_too_many(const struct worker *w) {
    return atomic_load_explicit(&w->shared->clients, memory_order_relaxed) -
           atomic_load_explicit(&w->shared->max_clients, memory_order_relaxed);
}

static bool on_full(void *arg) { return clients_too_many(arg) > 0; }

static bool on_draining(void *arg) {
    struct worker *w = arg;
    return atomic_load_explicit(&w->shared->draining, memory_order_relaxed);
}

static void on_cancel(void *arg, uint32_t pid, uint32_t key) {
    struct worker *w = arg;
    uint64_t asked_us = uv_hrtime() / 1000;
    if (!pid_may_be_of(pid, w->index) || !session_cancel(&w->env, pid, key, asked_us))
        w->ops.cancel(w->ops.arg, pid, key, asked_us);
}

// Without a word: it has not said yet in what protocol it would understand one. Were it kept until then, those that
// never say anything would take the descriptors that servers need.
static void turn_away(struct worker *w, int fd) {
    close(fd);
    atomic_fetch_sub_explicit(&w->shared->clients, 1, memory_order_relaxed);
    stats_error(&w->stats, STAT_ERROR_TOO_MANY_CLIENTS);
}

static void on_accepted(void *arg, int fd) {
    struct worker *w = arg;
    atomic_fetch_add_explicit(&w->shared->clients, 1, memory_order_relaxed);
    int too_many = clients_too_many(w);
    if (too_many > 0 && !sessions_make_room(&w->env, too_many) && too_many > CLIENTS_BEYOND_MAX) {
        turn_away(w, fd);
        return;
    }
    stats_add(&w->stats, STAT_CLIENTS_ACCEPTED, 1);
    stats_gauge_add(&w->stats, STAT_GAUGE_CLIENTS, 1);
    session_open(&w->env, fd, 1 + atomic_fetch_add_explicit(&w->shared->next_id, 1, memory_order_relaxed));
}

static void on_shed(void *arg) {
    struct worker *w = arg;
    stats_error(&w->stats, STAT_ERROR_NO_DESCRIPTORS);
}

static void pools_closed(void *arg) {
    struct worker *w = arg;
    w->env.pools = NULL;
    deadlines_close(w->deadlines);
    uv_close((uv_handle_t *)&w->before_poll, NULL);
    uv_close((uv_handle_t *)&w->retry, NULL);
    mailbox_close(&w->mailbox);
}

static void session_closed(void *arg) {
    struct worker *w = arg;
    atomic_fetch_sub_explicit(&w->shared->clients, 1, memory_order_relaxed);
    stats_gauge_add(&w->stats, STAT_GAUGE_CLIENTS, -1);
    if (!ilist_empty(&w->env.sessions)) return;
    if (w->stopping) {
        pools_close(w->env.pools, pools_closed, w);
    } else if (w->env.draining && !w->drained_told) {
        w->drained_told = true;
        w->ops.drained(w->ops.arg, w->index);
    }
}

// Upward.

static void on_report(void *arg, const char *node_name, enum evidence e) {
    struct worker *w = arg;
    w->ops.report(w->ops.arg, node_name, e);
}
static void on_nudge(void *arg, size_t worker) {
    struct worker *w = arg;
    w->ops.nudge(w->ops.arg, worker);
}
static void on_watch_database(void *arg, const char *name) {
    struct worker *w = arg;
    w->ops.watch_database(w->ops.arg, name);
}
static void on_unwatch_database(void *arg, const char *name) {
    struct worker *w = arg;
    w->ops.unwatch_database(w->ops.arg, name);
}
static void on_refresh_database(void *arg, const char *name) {
    struct worker *w = arg;
    w->ops.refresh_database(w->ops.arg, name);
}
static void on_vacate_database(void *arg, const char *name) {
    struct worker *w = arg;
    w->ops.vacate_database(w->ops.arg, name);
}
static void count_verdicts(struct worker *w) {
    struct verdicts_stats now = databases_stats(&w->env.databases);
    atomic_store_explicit(&w->stats.counters[STAT_VERDICT_HITS], now.hits, memory_order_relaxed);
    atomic_store_explicit(&w->stats.counters[STAT_VERDICT_MISSES], now.misses, memory_order_relaxed);
}

static void on_retry(uv_timer_t *timer) { sessions_retry_stale(&container_of(timer, struct worker, retry)->env); }

// Half the time between two looks at the servers: so little is added to what they take.
static void on_retry_soon(void *arg) {
    struct worker *w = arg;
    uint64_t after_ms = MAX_OF((uint64_t)w->env.config->fresh_interval / 2, UINT64_C(1));
    if (!uv_is_active((uv_handle_t *)&w->retry)) uv_timer_start(&w->retry, on_retry, after_ms, 0);
}

static void on_tick(void *arg) {
    struct worker *w = arg;
    sessions_tick(&w->env);
    count_verdicts(w);
}

// Mail.

enum order_kind {
    ORDER_CONFIG,
    ORDER_TOPOLOGY,
    ORDER_CATALOG,
    ORDER_MISS,
    ORDER_CANCEL,
    ORDER_VACATE,
    ORDER_NUDGE,
    ORDER_DRAIN,
    ORDER_STOP
};

struct order {
    struct mail mail;
    enum order_kind kind;
    struct config *config;
    struct tls_context *tls_clients, *tls_servers;
    struct topology *topology;
    struct catalog *catalog;
    char *database;
    uint32_t pid, key;
    uint64_t asked_us;
};

static void take_config(struct worker *w, struct order *o) {
    config_unref(w->env.config);
    if (w->tls_clients) tls_context_unref(w->tls_clients);
    if (w->tls_servers) tls_context_unref(w->tls_servers);
    w->env.config = w->env.client.config = w->env.server.config = o->config;
    w->tls_clients = w->env.client.tls = o->tls_clients;
    w->tls_servers = w->env.server.tls = o->tls_servers;
    sessions_config_changed(&w->env);
    pools_config_changed(w->env.pools);
}

static void take_topology(struct worker *w, struct topology *t) {
    struct topology *before = w->env.topology;
    w->env.topology = t;
    pools_set_topology(w->env.pools, t);
    sessions_topology_changed(&w->env, before);
    topology_unref(before);
}

static void stop_listening(struct worker *w) {
    if (!w->listeners) return;
    listeners_close(w->listeners);
    listen_close_worker(w->shared->listeners, w->index);
    w->listeners = NULL;
}

static void drain(struct worker *w) {
    stop_listening(w);
    sessions_drain(&w->env);
    if (ilist_empty(&w->env.sessions) && !w->drained_told) {
        w->drained_told = true;
        w->ops.drained(w->ops.arg, w->index);
    }
}

static void stop(struct worker *w) {
    if (w->stopping) return;
    w->stopping = true;
    stop_listening(w);
    if (ilist_empty(&w->env.sessions))
        pools_close(w->env.pools, pools_closed, w);
    else
        sessions_close_all(&w->env);
}

static void order_drop(struct order *o) {
    if (o->config) config_unref(o->config);
    if (o->tls_clients) tls_context_unref(o->tls_clients);
    if (o->tls_servers) tls_context_unref(o->tls_servers);
    if (o->topology) topology_unref(o->topology);
    if (o->catalog) catalog_unref(o->catalog);
    mem_free(o->database);
    mem_free(o);
}

static void on_order(struct mail *m, void *owner) {
    struct worker *w = owner;
    struct order *o = container_of(m, struct order, mail);
    if (!w->env.pools) { // the worker is at its end
        order_drop(o);
        return;
    }
    switch (o->kind) {
    case ORDER_CONFIG: take_config(w, o); break;
    case ORDER_TOPOLOGY: take_topology(w, o->topology); break;
    case ORDER_CATALOG:
        databases_set_catalog(&w->env.databases, o->catalog);
        sessions_catalog_changed(&w->env);
        catalog_unref(o->catalog);
        break;
    case ORDER_MISS:
        databases_miss(&w->env.databases, o->database);
        sessions_catalog_changed(&w->env);
        break;
    case ORDER_CANCEL: (void)session_cancel(&w->env, o->pid, o->key, o->asked_us); break;
    case ORDER_VACATE: pools_vacate(w->env.pools, o->database); break;
    case ORDER_NUDGE: pools_nudged(w->env.pools); break;
    case ORDER_DRAIN: drain(w); break;
    case ORDER_STOP: stop(w); break;
    }
    mem_free(o->database);
    mem_free(o);
}

static void send_order(struct worker *w, struct order from) {
    struct order *o = mem_new(struct order);
    *o = from;
    o->mail.deliver = on_order;
    if (!mailbox_post(&w->mailbox, &o->mail)) order_drop(o); // the worker is at its end
}

static struct tls_context *tls_ref(struct tls_context *t) {
    if (t) tls_context_ref(t);
    return t;
}

void worker_set_config(struct worker *w, struct config *c, struct tls_context *tls_clients,
                       struct tls_context *tls_servers) {
    config_ref(c);
    send_order(w, (struct order){.kind = ORDER_CONFIG,
                                 .config = c,
                                 .tls_clients = tls_ref(tls_clients),
                                 .tls_servers = tls_ref(tls_servers)});
}

void worker_set_topology(struct worker *w, struct topology *t) {
    topology_ref(t);
    send_order(w, (struct order){.kind = ORDER_TOPOLOGY, .topology = t});
}

void worker_set_catalog(struct worker *w, struct catalog *c) {
    catalog_ref(c);
    send_order(w, (struct order){.kind = ORDER_CATALOG, .catalog = c});
}

void worker_miss_database(struct worker *w, const char *server_database) {
    send_order(w, (struct order){.kind = ORDER_MISS, .database = mem_strdup(server_database)});
}

void worker_cancel(struct worker *w, uint32_t pid, uint32_t key, uint64_t asked_us) {
    send_order(w, (struct order){.kind = ORDER_CANCEL, .pid = pid, .key = key, .asked_us = asked_us});
}

void worker_vacate(struct worker *w, const char *server_database) {
    send_order(w, (struct order){.kind = ORDER_VACATE, .database = mem_strdup(server_database)});
}

void worker_nudge(struct worker *w) { send_order(w, (struct order){.kind = ORDER_NUDGE}); }
void worker_drain(struct worker *w) { send_order(w, (struct order){.kind = ORDER_DRAIN}); }
void worker_stop(struct worker *w) { send_order(w, (struct order){.kind = ORDER_STOP}); }

// The thread.

static void worker_run(void *arg) {
    struct worker *w = arg;
    uv_run(&w->loop, UV_RUN_DEFAULT);
    w->ops.exited(w->ops.arg, w->index);
}

static void init_env(struct worker *w) {
    struct session_env *e = &w->env;
    e->server = (struct server_env){.loop = &w->loop,
                                    .deadlines = w->deadlines,
                                    .config = e->config,
                                    .tls = w->tls_servers,
                                    .stats = &w->stats,
                                    .worker = w->index,
                                    .rbuf = w->rbuf,
                                    .now_us = worker_now_us,
                                    .defaults_changed_us = &w->shared->defaults_changed_us,
                                    .report = on_report,
                                    .nudge = on_nudge,
                                    .arg = w};
    e->client = (struct client_env){.loop = &w->loop,
                                    .deadlines = w->deadlines,
                                    .config = e->config,
                                    .tls = w->tls_clients,
                                    .stats = &w->stats,
                                    .rbuf = w->rbuf,
                                    .rbuf_size = RBUF_SIZE / 2,
                                    .cancel = on_cancel,
                                    .full = on_full,
                                    .draining = on_draining,
                                    .scram_memo = scram_memo_new(),
                                    .arg = w};
    e->databases.verdict_cache_size = (size_t)e->config->verdict_cache_size;
    e->databases.max_parse_length = (size_t)e->config->max_parse_length;
    e->databases.dropped = on_unwatch_database;
    e->databases.arg = w;
    e->settings = settings_table_new();
    e->wbuf = buf_make(SIZE_MAX / 2);
    e->out.scratch = buf_make(SIZE_MAX / 2);
    e->stats = &w->stats;
    e->users = w->shared->users;
    ilist_init(&e->sessions);
    ilist_init(&e->parked);
    ilist_init(&e->waiting);
    ilist_init(&e->leases);
    ilist_init(&e->newcomers);
    ilist_init(&e->relays);
    e->watch_database = on_watch_database;
    e->refresh_database = on_refresh_database;
    e->vacate_database = on_vacate_database;
    e->session_closed = session_closed;
    e->retry_soon = on_retry_soon;
    e->last_write_us = &w->shared->last_write_us;
    e->terminate_us = &w->shared->terminate_us;
    e->schema_epoch = &w->shared->schema_epoch;
    e->epoch_seen = atomic_load_explicit(e->schema_epoch, memory_order_acquire);
    e->defaults_changed_us = &w->shared->defaults_changed_us;
    e->sequence_users = &w->shared->sequence_users;
    e->replication = &w->shared->replication;
    e->arg = w;
    e->pools = pools_new(&e->server, w->shared->quota);
    pools_set_topology(e->pools, e->topology);
    sessions_config_changed(e);
}

struct worker *worker_start(size_t index, struct worker_shared *shared, const struct worker_ops *ops,
                            struct config *config, struct topology *topology, struct tls_context *tls_clients,
                            struct tls_context *tls_servers, struct fault *f) {
    struct worker *w = mem_new(struct worker);
    w->index = index;
    w->shared = shared;
    w->ops = *ops;
    if (uv_loop_init(&w->loop) || mailbox_init(&w->mailbox, &w->loop, w)) {
        fault_set(f, "53000", "worker %zu: no loop could be made", index);
        mem_free(w);
        return NULL;
    }
    w->deadlines = deadlines_new(&w->loop);
    deadlines_on_tick(w->deadlines, on_tick, w);
    uv_prepare_init(&w->loop, &w->before_poll);
    uv_prepare_start(&w->before_poll, on_before_poll);
    uv_timer_init(&w->loop, &w->retry);
    config_ref(config);
    topology_ref(topology);
    w->env.config = config;
    w->env.topology = topology;
    w->tls_clients = tls_ref(tls_clients);
    w->tls_servers = tls_ref(tls_servers);
    init_env(w);
    w->listeners = listeners_start(&w->loop, shared->listeners, index, on_accepted, on_shed, w);
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = WORKER_STACK};
    if (!w->listeners || uv_thread_create_ex(&w->thread, &options, worker_run, w)) {
        fault_set(f, "53000", "worker %zu: no thread could be started", index);
        return NULL; // the process ends; there is nobody to serve yet
    }
    return w;
}

void worker_join(struct worker *w) {
    struct session_env *e = &w->env;
    uv_thread_join(&w->thread);
    welcomes_fini(&e->welcomes);
    settings_table_free(e->settings);
    databases_fini(&e->databases);
    scram_memo_free(e->client.scram_memo);
    sessions_fini(e);
    config_unref(e->config);
    topology_unref(e->topology);
    if (w->tls_clients) tls_context_unref(w->tls_clients);
    if (w->tls_servers) tls_context_unref(w->tls_servers);
    mailbox_fini(&w->mailbox);
    if (uv_loop_close(&w->loop)) bug("a worker's loop ended with handles open");
    mem_free(w);
}
