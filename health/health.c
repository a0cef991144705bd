// SPDX-License-Identifier: ISC
// health/health.c: see health/health.h; the parts are told apart in health/internal.h.
#include "health/health.h"

#include <string.h>

#include "base/mem.h"
#include "config/users.h"
#include "health/internal.h"

enum { REPORTS_MAX = 1024 };

struct report {
    struct mail mail;
    enum evidence evidence;
    char node_name[];
};

static struct judge_limits limits_of(const struct config *c) {
    return (struct judge_limits){.failures = MAX_OF(c->health_failures, (int64_t)1),
                                 .max_lag_us = c->max_lag * 1000,
                                 .max_lag_return_us = (c->max_lag_return ? c->max_lag_return : c->max_lag / 2) * 1000,
                                 .critical_lag_us = (c->critical_lag ? c->critical_lag : c->max_lag * 2) * 1000};
}

// Who the monitor is: monitor_user, else the first user of the auth_file whose password is known, else libpq's default.
static void set_monitor(struct health *h) {
    const struct config *c = h->config;
    bool named = c->monitor_user[0] != '\0';
    const struct user *u = named ? users_find(c->users, c->monitor_user) : users_first_plain(c->users);
    bool plain = u && u->kind == USER_SECRET_PLAIN;
    h->user = named ? c->monitor_user : u ? u->name : "";
    h->password = c->monitor_password[0] ? c->monitor_password : plain ? (const char *)u->password.bytes : "";
}

static void on_catalog(void *owner, struct catalog *c) {
    struct health *h = owner;
    h->ops.catalog(h->ops.arg, c);
}

static void on_missing(void *owner, const char *database) {
    struct health *h = owner;
    h->ops.missing(h->ops.arg, database);
}

static void on_catalogs_freed(void *owner) { health_handle_freed(owner); }

struct health *health_start(uv_loop_t *loop, struct config *config, const struct health_ops *ops) {
    static const struct catalog_probe_ops catalog_ops = {watch_target_primary, on_catalog, on_missing,
                                                         on_catalogs_freed};
    struct health *h = mem_new(struct health);
    if (mailbox_init(&h->mailbox, loop, h) != 0) {
        mem_free(h);
        return NULL;
    }
    h->loop = loop;
    h->ops = *ops;
    h->config = config;
    config_ref(config);
    h->limits = limits_of(config);
    h->started_us = health_now();
    h->fresh = mem_new(struct fresh);
    fresh_reset(h->fresh);
    set_monitor(h);
    atomic_init(&h->reports, 0);
    uv_timer_init(loop, &h->tick);
    h->catalogs = catalog_probe_new(loop, &catalog_ops, h);
    h->handles = 1;
    h->n_servers = config->n_servers;
    h->servers = mem_array(config->n_servers + 1, struct server *);
    for (size_t i = 0; i < config->n_servers; i++) h->servers[i] = server_new(h, &config->servers[i]);
    publish_always(h);
    watch_schedule(h);
    return h;
}

static struct server *take_server(struct server **servers, size_t n, const struct server_config *config) {
    for (size_t i = 0; i < n; i++) {
        struct server *s = servers[i];
        if (!s || !server_is(s, config)) continue;
        servers[i] = NULL;
        return s;
    }
    return NULL;
}

// Whether the connections that there are were made as they would be made now.
static bool same_login(const struct config *a, const struct config *b) {
    return a->server_tls_sslmode == b->server_tls_sslmode &&
           strcmp(a->server_tls_ca_file, b->server_tls_ca_file) == 0 &&
           strcmp(a->server_tls_cert_file, b->server_tls_cert_file) == 0 &&
           strcmp(a->server_tls_key_file, b->server_tls_key_file) == 0 &&
           strcmp(a->monitor_database, b->monitor_database) == 0;
}

static struct server *find_server(const struct health *h, const char *name) {
    for (size_t i = 0; i < h->n_servers; i++)
        if (strcmp(h->servers[i]->name, name) == 0) return h->servers[i];
    return NULL;
}

// Whether the primary of the latest topology is still configured as one, and serves.
static bool keeps_primary(const struct health *h) {
    const struct topology *t = h->topology;
    const struct server *s = t->primary >= 0 ? find_server(h, t->nodes[t->primary].name) : NULL;
    return s && judge_serves(&s->facts) && s->wanted_role != SERVER_ROLE_REPLICA;
}

void health_reload(struct health *h, struct config *config) {
    struct server **before = h->servers;
    struct config *old = h->config;
    size_t n_before = h->n_servers;
    char *user = mem_strdup(h->user), *password = mem_strdup(h->password);
    config_ref(config);
    h->config = config;
    h->limits = limits_of(config);
    set_monitor(h);
    bool reconnect = !same_login(old, config) || strcmp(user, h->user) != 0 || strcmp(password, h->password) != 0;
    explicit_bzero(password, strlen(password));
    mem_free(password);
    mem_free(user);
    h->n_servers = config->n_servers;
    h->servers = mem_array(config->n_servers + 1, struct server *);
    for (size_t i = 0; i < config->n_servers; i++) {
        struct server *s = take_server(before, n_before, &config->servers[i]);
        if (s) server_configure(s, &config->servers[i]);
        if (s && reconnect) server_reconnect(s);
        h->servers[i] = s ? s : server_new(h, &config->servers[i]);
    }
    for (size_t i = 0; i < n_before; i++)
        if (before[i]) server_free(before[i]);
    mem_free(before);
    config_unref(old);
    // Who asks for a reload while nothing can be written has looked: which cluster this is and how far it had come is
    // found out again. Otherwise that is known, and servers that are new do not put it in doubt.
    if (!keeps_primary(h)) h->cluster = (struct cluster){0, 0};
    publish_always(h);
    watch_schedule(h);
}

static void on_all_freed(uv_handle_t *handle) {
    struct health *h = container_of((uv_timer_t *)handle, struct health, tick);
    mailbox_fini(&h->mailbox);
    topology_unref(h->topology);
    config_unref(h->config);
    mem_free(h->servers);
    mem_free(h->fresh);
    mem_free(h->logged_primary);
    void (*closed)(void *) = h->closed;
    void *arg = h->closed_arg;
    mem_free(h);
    closed(arg);
}

// The mailbox's handle is closed in the same turn as the last of the others; the timer's, closed only now, is a turn
// later.
void health_handle_freed(struct health *h) {
    if (--h->handles == 0 && h->closing) uv_close((uv_handle_t *)&h->tick, on_all_freed);
}

void health_stop(struct health *h, void (*closed)(void *arg), void *arg) {
    bug_unless(!h->closing);
    mailbox_close(&h->mailbox); // delivers what is still there
    h->closing = true;
    h->closed = closed;
    h->closed_arg = arg;
    uv_timer_stop(&h->tick);
    for (size_t i = 0; i < h->n_servers; i++) server_free(h->servers[i]);
    h->n_servers = 0;
    catalog_probe_free(h->catalogs);
}

void health_watch_database(struct health *h, const char *database) {
    catalog_probe_watch(h->catalogs, database);
    catalog_probe_tick(h->catalogs, health_now(), h->config->catalog_interval * 1000);
}

void health_unwatch_database(struct health *h, const char *database) { catalog_probe_unwatch(h->catalogs, database); }

void health_refresh_database(struct health *h, const char *database) {
    catalog_probe_refresh(h->catalogs, database);
    catalog_probe_tick(h->catalogs, health_now(), h->config->catalog_interval * 1000);
}

static unsigned doubts_of(enum evidence e) {
    switch (e) {
    case EVIDENCE_REFUSED:
    case EVIDENCE_SHUTDOWN: return DOUBT_RESTARTED | DOUBT_CONNECT;
    case EVIDENCE_TIMEOUT: return DOUBT_CONNECT;
    case EVIDENCE_ROLE_CHANGE:
    case EVIDENCE_CLOSED: return DOUBT_RESTARTED;
    case EVIDENCE_READ_ONLY: break;
    }
    return 0;
}

static void deliver_report(struct mail *m, void *owner) {
    struct health *h = owner;
    struct report *r = container_of(m, struct report, mail);
    atomic_fetch_sub_explicit(&h->reports, 1, memory_order_relaxed);
    struct server *s = find_server(h, r->node_name);
    if (s) server_hurry(s, doubts_of(r->evidence));
    mem_free(r);
}

void health_report(struct health *h, const char *node_name, enum evidence e) {
    // With so many on their way the probes are coming anyway, and the interval is the backstop.
    if (atomic_fetch_add_explicit(&h->reports, 1, memory_order_relaxed) < REPORTS_MAX) {
        size_t len = strlen(node_name);
        struct report *r = mem_alloc(sizeof *r + len + 1);
        r->mail.deliver = deliver_report;
        r->evidence = e;
        memcpy(r->node_name, node_name, len + 1);
        if (mailbox_post(&h->mailbox, &r->mail)) return;
        mem_free(r);
    }
    atomic_fetch_sub_explicit(&h->reports, 1, memory_order_relaxed);
}

struct topology *health_topology(struct health *h) {
    return h->topology;
}
