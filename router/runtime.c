// SPDX-License-Identifier: ISC
// router/runtime.c: see router/runtime.h.
#include "router/runtime.h"

#include <signal.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "health/health.h"
#include "router/admin/http.h"
#include "router/process.h"
#include "router/session/pid.h"
#include "router/session/pins.h"
#include "router/session/route.h"
#include "router/worker.h"

enum { CONTROL_STACK = 64 * 1024 * 1024 };

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_DRAINING, PHASE_STOPPING };

struct runtime {
    const struct runtime_options *options;
    uv_loop_t loop;
    struct mailbox mailbox;
    uv_signal_t on_hup, on_term, on_int;
    uv_timer_t drain_timer;
    enum phase phase;
    struct config *config;
    struct topology *topology;
    struct tls_context *tls_clients, *tls_servers;
    struct http *http;
    struct health *health;
    struct worker_shared shared;
    struct worker **workers;
    size_t n_workers, n_running, n_drained;
    bool lookup_hangs; // at the end, in a thread that uses `loop` when it comes back
};

// Mail from workers.

enum note_kind {
    NOTE_WATCH,
    NOTE_UNWATCH,
    NOTE_REFRESH,
    NOTE_VACATE,
    NOTE_CANCEL,
    NOTE_NUDGE,
    NOTE_DRAINED,
    NOTE_EXITED
};

struct note {
    struct mail mail;
    enum note_kind kind;
    uint32_t pid, key;
    uint64_t asked_us;
    size_t worker;
    char name[]; // of a database
};

static void all_exited(struct runtime *r);
static void stop_now(struct runtime *r);

static void on_note(struct mail *m, void *owner) {
    struct runtime *r = owner;
    struct note *n = container_of(m, struct note, mail);
    switch (n->kind) {
    case NOTE_WATCH:
        if (r->health) health_watch_database(r->health, n->name);
        break;
    case NOTE_UNWATCH:
        if (r->health) health_unwatch_database(r->health, n->name);
        break;
    case NOTE_REFRESH:
        if (r->health) health_refresh_database(r->health, n->name);
        break;
    case NOTE_VACATE:
        for (size_t i = 0; i < r->n_workers; i++) worker_vacate(r->workers[i], n->name);
        break;
    case NOTE_CANCEL:
        for (size_t i = 0; i < r->n_workers; i++)
            if (pid_may_be_of(n->pid, i)) worker_cancel(r->workers[i], n->pid, n->key, n->asked_us);
        break;
    case NOTE_NUDGE:
        if (n->worker < r->n_workers) worker_nudge(r->workers[n->worker]);
        break;
    case NOTE_DRAINED:
        if (++r->n_drained == r->n_workers && r->phase == PHASE_DRAINING) {
            log_info(NULL, "drained: no client is left");
            stop_now(r);
        }
        break;
    case NOTE_EXITED:
        if (--r->n_running == 0) all_exited(r);
        break;
    }
    mem_free(n);
}

static void send_note(struct runtime *r, struct note from, const char *name) {
    size_t len = name ? strlen(name) : 0;
    struct note *n = mem_alloc(sizeof *n + len + 1);
    n->kind = from.kind;
    n->pid = from.pid;
    n->key = from.key;
    n->asked_us = from.asked_us;
    n->worker = from.worker;
    if (len) memcpy(n->name, name, len);
    n->mail.deliver = on_note;
    if (!mailbox_post(&r->mailbox, &n->mail)) mem_free(n);
}

// The workers' calls: on their threads.

static void on_report(void *arg, const char *node_name, enum evidence e) {
    struct runtime *r = arg;
    health_report(r->health, node_name, e); // health outlives the workers
}
static void on_watch_database(void *arg, const char *name) { send_note(arg, (struct note){.kind = NOTE_WATCH}, name); }
static void on_unwatch_database(void *arg, const char *name) {
    send_note(arg, (struct note){.kind = NOTE_UNWATCH}, name);
}
static void on_refresh_database(void *arg, const char *name) {
    send_note(arg, (struct note){.kind = NOTE_REFRESH}, name);
}
static void on_vacate_database(void *arg, const char *name) {
    send_note(arg, (struct note){.kind = NOTE_VACATE}, name);
}
static void on_cancel(void *arg, uint32_t pid, uint32_t key, uint64_t asked_us) {
    send_note(arg, (struct note){.kind = NOTE_CANCEL, .pid = pid, .key = key, .asked_us = asked_us}, NULL);
}
static void on_nudge(void *arg, size_t worker) {
    send_note(arg, (struct note){.kind = NOTE_NUDGE, .worker = worker}, NULL);
}
static void on_drained(void *arg, size_t worker) {
    send_note(arg, (struct note){.kind = NOTE_DRAINED, .worker = worker}, NULL);
}
static void on_exited(void *arg, size_t worker) {
    send_note(arg, (struct note){.kind = NOTE_EXITED, .worker = worker}, NULL);
}

// Health's calls: on this thread.

static void on_topology(void *arg, struct topology *t) {
    struct runtime *r = arg;
    topology_ref(t);
    if (r->topology) topology_unref(r->topology);
    r->topology = t;
    for (size_t i = 0; i < r->n_workers; i++) worker_set_topology(r->workers[i], t);
}

static void on_catalog(void *arg, struct catalog *c) {
    struct runtime *r = arg;
    for (size_t i = 0; i < r->n_workers; i++) worker_set_catalog(r->workers[i], c);
}

static void on_missing(void *arg, const char *database) {
    struct runtime *r = arg;
    for (size_t i = 0; i < r->n_workers; i++) worker_miss_database(r->workers[i], database);
}

// The HTTP port's questions: on this thread.

static const struct topology *http_topology(void *arg) { return ((struct runtime *)arg)->topology; }
static const struct config *http_config(void *arg) { return ((struct runtime *)arg)->config; }
static bool http_started(void *arg) { return ((struct runtime *)arg)->phase != PHASE_STARTING; }
static bool http_draining(void *arg) { return ((struct runtime *)arg)->phase >= PHASE_DRAINING; }
static void http_gather(void *arg, struct stats *out) {
    struct runtime *r = arg;
    for (size_t i = 0; i < r->n_workers; i++) stats_merge(out, worker_stats(r->workers[i]));
}

// Configuration.

static void apply_logging(const struct config *c) {
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    for (size_t i = 0; i < countof(levels); i++)
        if (strcmp(c->log_level, levels[i]) == 0) log_set_level((enum log_level)i);
    log_set_format(strcmp(c->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    for (size_t i = 0; i < c->n_warnings; i++) log_warning(NULL, "%s", c->warnings[i]);
}

// The TLS contexts of a config; NULL is a context too: none is wanted.
static bool make_tls(const struct config *c, struct tls_context **clients, struct tls_context **servers,
                     struct fault *f) {
    *clients = *servers = NULL;
    if (c->client_tls_sslmode != SSLMODE_DISABLE && !(*clients = tls_context_for_clients(c, f))) return false;
    if (c->server_tls_sslmode != SSLMODE_DISABLE && !(*servers = tls_context_for_servers(c, f))) {
        if (*clients) tls_context_unref(*clients);
        return false;
    }
    return true;
}

bool runtime_check_tls(const struct config *config, struct fault *f) {
    struct tls_context *clients, *servers;
    if (!make_tls(config, &clients, &servers, f)) return false;
    if (clients) tls_context_unref(clients);
    if (servers) tls_context_unref(servers);
    return true;
}

static void drop_tls(struct runtime *r) {
    if (r->tls_clients) tls_context_unref(r->tls_clients);
    if (r->tls_servers) tls_context_unref(r->tls_servers);
}

static void adopt(struct runtime *r, struct config *c, struct tls_context *clients, struct tls_context *servers) {
    char *restart = config_restart_needed(r->config, c);
    if (restart[0]) log_warning(NULL, "these options take effect only after a restart: %s", restart);
    mem_free(restart);
    apply_logging(c);
    drop_tls(r);
    config_unref(r->config);
    r->config = c;
    atomic_store(&r->shared.max_clients, process_make_room(c));
    r->tls_clients = clients;
    r->tls_servers = servers;
    for (size_t i = 0; i < r->n_workers; i++) worker_set_config(r->workers[i], c, clients, servers);
    health_reload(r->health, c);
    log_info(NULL, "configuration reloaded: servers=%zu databases=%zu", c->n_servers, c->n_databases);
}

static void on_sighup(uv_signal_t *h, int signum) {
    struct runtime *r = container_of(h, struct runtime, on_hup);
    struct tls_context *clients, *servers;
    struct fault f;
    (void)signum;
    if (r->phase != PHASE_RUNNING) return;
    sd_notify(0, "RELOADING=1");
    struct config *c = config_load(r->options->config_path, r->options->args, r->options->n_args, &f);
    if (c && !make_tls(c, &clients, &servers, &f)) {
        config_unref(c);
        c = NULL;
    }
    if (c)
        adopt(r, c, clients, servers);
    else
        log_error(NULL, "the configuration was not reloaded, the old one stays: %s%s%s", f.text, f.hint[0] ? "; " : "",
                  f.hint);
    sd_notify(0, "READY=1");
}

// The end.

static void on_drain_timeout(uv_timer_t *t) {
    struct runtime *r = container_of(t, struct runtime, drain_timer);
    log_warning(NULL, "shutdown_timeout has passed: the clients that are left are disconnected");
    stop_now(r);
}

static void stop_now(struct runtime *r) {
    if (r->phase == PHASE_STOPPING) return;
    r->phase = PHASE_STOPPING;
    uv_timer_stop(&r->drain_timer);
    for (size_t i = 0; i < r->n_workers; i++) worker_stop(r->workers[i]);
    if (r->n_running == 0) all_exited(r);
}

static void on_sigterm(uv_signal_t *h, int signum) {
    struct runtime *r = container_of(h, struct runtime, on_term);
    (void)signum;
    if (r->phase != PHASE_RUNNING) {
        stop_now(r);
        return;
    }
    log_info(NULL, "draining: no new clients, %d are connected", atomic_load(&r->shared.clients));
    sd_notify(0, "STOPPING=1");
    r->phase = PHASE_DRAINING;
    atomic_store(&r->shared.draining, true);
    if (r->config->shutdown_timeout)
        uv_timer_start(&r->drain_timer, on_drain_timeout, (uint64_t)r->config->shutdown_timeout, 0);
    for (size_t i = 0; i < r->n_workers; i++) worker_drain(r->workers[i]);
}

static void on_sigint(uv_signal_t *h, int signum) {
    (void)signum;
    sd_notify(0, "STOPPING=1");
    stop_now(container_of(h, struct runtime, on_int));
}

// A signal that comes when nobody handles it any more must not decide how the process ends.
static void block_signals(bool block) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void health_closed(void *arg) {
    struct runtime *r = arg;
    block_signals(true);
    r->health = NULL;
    http_stop(r->http, NULL, NULL);
    uv_close((uv_handle_t *)&r->on_hup, NULL);
    uv_close((uv_handle_t *)&r->on_term, NULL);
    uv_close((uv_handle_t *)&r->on_int, NULL);
    uv_close((uv_handle_t *)&r->drain_timer, NULL);
    mailbox_close(&r->mailbox);
    uv_stop(&r->loop); // what is left is closing: see run_loop
}

static void all_exited(struct runtime *r) {
    for (size_t i = 0; i < r->n_workers; i++) worker_join(r->workers[i]);
    r->n_workers = 0;
    health_stop(r->health, health_closed, r);
}

// The beginning.

static bool start_signals(struct runtime *r) {
    signal(SIGPIPE, SIG_IGN);
    return !uv_timer_init(&r->loop, &r->drain_timer) && !uv_signal_init(&r->loop, &r->on_hup) &&
           !uv_signal_init(&r->loop, &r->on_term) && !uv_signal_init(&r->loop, &r->on_int) &&
           !uv_signal_start(&r->on_hup, on_sighup, SIGHUP) && !uv_signal_start(&r->on_term, on_sigterm, SIGTERM) &&
           !uv_signal_start(&r->on_int, on_sigint, SIGINT);
}

static bool start_workers(struct runtime *r, size_t n, struct fault *f) {
    const struct worker_ops ops = {.report = on_report,
                                   .watch_database = on_watch_database,
                                   .unwatch_database = on_unwatch_database,
                                   .refresh_database = on_refresh_database,
                                   .vacate_database = on_vacate_database,
                                   .cancel = on_cancel,
                                   .nudge = on_nudge,
                                   .drained = on_drained,
                                   .exited = on_exited,
                                   .arg = r};
    r->workers = mem_array(n, struct worker *);
    for (size_t i = 0; i < n; i++) {
        r->workers[i] = worker_start(i, &r->shared, &ops, r->config, r->topology, r->tls_clients, r->tls_servers, f);
        if (!r->workers[i]) return false;
        r->n_workers = ++r->n_running;
    }
    return true;
}

static bool start(struct runtime *r, size_t n_workers, struct fault *f) {
    const struct health_ops health_ops = {
        .publish = on_topology, .catalog = on_catalog, .missing = on_missing, .arg = r};
    const struct http_source source = {.topology = http_topology,
                                       .config = http_config,
                                       .gather = http_gather,
                                       .started = http_started,
                                       .draining = http_draining,
                                       .route_reason_str = route_reason_str,
                                       .pin_str = pin_str,
                                       .arg = r};
    if (uv_loop_init(&r->loop) || mailbox_init(&r->mailbox, &r->loop, r) || !start_signals(r))
        return fault_set(f, "53000", "the control loop could not be made");
    r->health = health_start(&r->loop, r->config, &health_ops);
    if (!r->health) return fault_set(f, "53000", "the health checks could not be started");
    if (!start_workers(r, n_workers, f)) return false;
    if (!http_start(r->http, &r->loop, &source, f)) return false;
    r->phase = PHASE_RUNNING;
    return true;
}

static void on_handle(uv_handle_t *h, void *arg) {
    (void)h;
    *(bool *)arg = true;
}

static bool has_handles(uv_loop_t *loop) {
    bool any = false;
    uv_walk(loop, on_handle, &any);
    return any;
}

// Until all is closed. A look-up that hangs in the resolver cannot be called off, and the loop would run for as long.
static void run_loop(struct runtime *r) {
    uv_run(&r->loop, UV_RUN_DEFAULT);
    while (has_handles(&r->loop)) uv_run(&r->loop, UV_RUN_ONCE);
    uv_run(&r->loop, UV_RUN_NOWAIT); // one that was called off says so
    r->lookup_hangs = uv_loop_alive(&r->loop);
    mailbox_fini(&r->mailbox);
    if (!r->lookup_hangs && uv_loop_close(&r->loop)) bug("the control loop ended with handles open");
}

struct control {
    struct runtime *r;
    size_t n_workers;
};

static void control_run(void *arg) {
    struct control *c = arg;
    struct runtime *r = c->r;
    struct fault f;
    bool started = start(r, c->n_workers, &f);
    block_signals(false); // this thread's alone: the workers and the main thread keep them blocked
    if (!started) {
        log_error(NULL, "%s", f.text);
        // Nothing has been served, and half of the threads may run: the process's end is the clean-up.
        _exit(1);
    }
    log_info(NULL, "ready: pgsteer %s listens on %s, http on %s, workers=%zu servers=%zu", PGSTEER_VERSION,
             listen_describe(r->shared.listeners), http_describe(r->http), r->n_workers, r->config->n_servers);
    sd_notify(0, "READY=1");
    run_loop(r);
}

static size_t count_workers(const struct config *c) {
    long n = c->workers ? (long)c->workers : sysconf(_SC_NPROCESSORS_ONLN);
    return (size_t)(n < 1 ? 1 : n > QUOTA_WORKERS_MAX ? QUOTA_WORKERS_MAX : n);
}

// What must happen before privileges are dropped.
static bool bind_all(struct runtime *r, size_t n_workers, struct fault *f) {
    r->shared.listeners = listen_bind(r->config, n_workers, f);
    if (!r->shared.listeners) return false;
    r->http = http_bind(r->config, f);
    return r->http || !r->config->http_addr[0];
}

static void release(struct runtime *r) {
    quota_free(r->shared.quota);
    user_counts_free(r->shared.users);
    listen_free(r->shared.listeners);
    drop_tls(r);
    if (r->topology) topology_unref(r->topology);
    config_unref(r->config);
    mem_free(r->workers);
}

int runtime_run(struct config *config, const struct runtime_options *options) {
    struct runtime r = {.options = options, .config = config};
    struct control control = {.r = &r, .n_workers = count_workers(config)};
    struct fault f;
    uv_thread_t thread;
    uv_thread_options_t big = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = CONTROL_STACK};
    apply_logging(config);
    if (!bind_all(&r, control.n_workers, &f) || !process_prepare(config, &f) ||
        !make_tls(config, &r.tls_clients, &r.tls_servers, &f)) {
        log_error(NULL, "%s%s%s", f.text, f.hint[0] ? "; " : "", f.hint);
        if (r.http) http_stop(r.http, NULL, NULL);
        if (r.shared.listeners) listen_free(r.shared.listeners);
        config_unref(config);
        return 1;
    }
    atomic_store(&r.shared.max_clients, process_make_room(config));
    atomic_store(&r.shared.schema_epoch, 1); // 0 is before all
    r.shared.quota = quota_new(control.n_workers);
    block_signals(true);
    r.shared.users = user_counts_new();
    if (uv_thread_create_ex(&thread, &big, control_run, &control)) {
        log_error(NULL, "the control thread could not be started");
        return 1;
    }
    uv_thread_join(&thread);
    release(&r);
    log_info(NULL, "stopped");
    // exit() would wait for libuv's threads (uv_library_shutdown), and this one does not end.
    if (r.lookup_hangs) _exit(0);
    return 0;
}
