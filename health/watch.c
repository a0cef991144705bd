// SPDX-License-Identifier: ISC
//
// health/watch.c: when each server is probed.
//
// One timer drives everything. Every server has a moment when its next probe is due: an interval after the last one
// began; at once when it timed out; soon when it failed, came back, or when something happened there. Replicas are a
// little later than the primary, and the primary's answer pulls them forward, so that a fresh sample of the primary is
// there when a replica is asked. A replica that has not reached the newest sample is asked a few more times, so that
// its lag is known closer than by the interval. While sessions that wrote wait for freshness, the interval is
// fresh_interval.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "health/internal.h"

static const int64_t WANT_CHECK_US = 50000;      // how soon a new wish for freshness is seen
static const int64_t FAST_FOR_US = 1000000;      // how long one wish lasts
static const int64_t REPORT_GAP_US = 100000;     // between two probes that are asked for by what happened
static const int64_t RETRY_US = 100000;          // after a failed probe
static const int64_t RETURN_US = 200000;         // after the first answer of a server that was down
static const int64_t RESOLVE_US = 15000000;      // names are looked up again
static const int64_t RESOLVE_RETRY_US = 1000000; // ... when a server cannot be reached
static const int64_t CHASE_US[] = {20000, 80000, 300000};

// Without a primary, writes wait for the next one: it is looked for more often.
static int64_t slow_interval(const struct health *h) {
    int64_t interval = h->config->health_interval * 1000;
    return h->topology && h->topology->no_primary ? MIN_OF(interval, RETRY_US) : interval;
}

static int64_t interval_of(const struct health *h) {
    int64_t slow = slow_interval(h), fast = h->config->fresh_interval * 1000;
    return h->fast ? MIN_OF(fast, slow) : slow;
}

// When the next probe is due, after one that has just ended.
static int64_t next_due(const struct server *s, int64_t now) {
    const struct health *h = s->health;
    int64_t slow = slow_interval(h), fast = interval_of(h);
    switch (s->facts.state) {
    case NODE_STATE_UP: {
        bool leads = s->facts.role == NODE_ROLE_PRIMARY;
        return s->started_us + fast + (leads ? 0 : MIN_OF(fast / 4, REPORT_GAP_US));
    }
    case NODE_STATE_SUSPECT:
        if (s->facts.reason == NODE_REASON_RETURNING) return now + MIN_OF(RETURN_US, slow);
        if (s->facts.reason == NODE_REASON_TIMEOUT) return now;
        return s->facts.full ? s->started_us + slow : now + MIN_OF(RETRY_US, slow);
    case NODE_STATE_UNKNOWN:
    case NODE_STATE_DOWN: break;
    }
    return s->started_us + slow;
}

// The next probe begins at that moment or before.
static void server_due(struct server *s, int64_t at) {
    if (at < s->due_us) s->due_us = at;
}

static void chase(struct server *s, int64_t now) {
    const struct fresh *f = s->health->fresh;
    if (s->facts.role != NODE_ROLE_REPLICA || s->facts.state != NODE_STATE_UP || f->timeline == 0) return;
    if (s->freshness.fresh_until_us >= f->newest_us || s->chases >= (int)countof(CHASE_US)) return;
    server_due(s, now + CHASE_US[s->chases++]);
}

// The primary has answered: now is the moment to ask its replicas.
static void pull_replicas(struct health *h, int64_t now) {
    int64_t soon = now + interval_of(h) * 3 / 4;
    for (size_t i = 0; i < h->n_servers; i++) {
        struct server *s = h->servers[i];
        if (s->facts.role != NODE_ROLE_REPLICA || s->facts.state != NODE_STATE_UP) continue;
        s->chases = 0;
        if (s->due_us <= soon) s->due_us = now;
    }
}

static void resolve_again(struct server *s, int64_t now) {
    if (resolve_is_pending(&s->resolve)) return;
    s->resolve_us = now;
    resolve_start(&s->resolve);
}

// For those who wait for an answer of it: what has come since then shows that it is there all the same.
static void note_failing(struct server *s, bool answered, int64_t now) {
    atomic_llong *since = &s->live->failing_since_us;
    if (answered)
        atomic_store_explicit(since, 0, memory_order_relaxed);
    else if (!atomic_load_explicit(since, memory_order_relaxed))
        atomic_store_explicit(since, now, memory_order_relaxed);
}

static void server_see(struct server *s, const struct sighting *sighting) {
    struct health *h = s->health;
    int64_t now = health_now();
    s->blind = false;
    if (sighting->full && !s->facts.full) log_warning(&s->prefix, "no connection is left for the monitor");
    s->facts = judge_sighting(&s->facts, sighting, &h->limits, now);
    note_failing(s, sighting->failure == NODE_REASON_OK || sighting->full, now);
    if (sighting->failure == NODE_REASON_OK) {
        s->distrusted = false;
        s->has_peer = probe_peer(s->probe, &s->peer);
        if (s->has_peer) resolve_prefer(&s->resolve, &s->peer);
    } else {
        snprintf(s->detail, sizeof s->detail, "%s", sighting->text);
        log_debug(&s->prefix, "a probe failed: %s: %s", node_reason_str(sighting->failure), s->detail);
        if (now - s->resolve_us >= RESOLVE_RETRY_US) resolve_again(s, now);
    }
    publish_evaluate(h, s, sighting);
    s->due_us = next_due(s, now);
    if (s->again) server_due(s, MAX_OF(now, s->started_us + REPORT_GAP_US));
    s->again = false;
    chase(s, now);
    if (h->sampled == s && sighting->failure == NODE_REASON_OK) pull_replicas(h, now);
    watch_schedule(h);
}

static void on_seen(void *owner, const struct sighting *sighting) { server_see(owner, sighting); }

// What is thought of the server stays as it is. What it has replayed is known up to its last answer and no further.
static void on_unable(void *owner, const char *text) {
    struct server *s = owner;
    if (!s->blind) log_warning(&s->prefix, "cannot be probed: %s", text);
    s->blind = true;
    s->again = false;
    s->due_us = health_now() + RETRY_US;
    watch_schedule(s->health);
}

static void on_lost(void *owner) { server_hurry(owner, DOUBT_RESTARTED); }

static void on_probe_freed(void *owner) {
    struct server *s = owner;
    struct health *h = s->health;
    node_live_unref(s->live);
    mem_free(s->name);
    mem_free(s->host);
    mem_free(s->zone);
    log_prefix_clear(&s->prefix);
    mem_free(s);
    health_handle_freed(h);
}

static void fill_target(struct server *s, struct dbconn_target *target) {
    const struct health *h = s->health;
    const struct config *c = h->config;
    *target = (struct dbconn_target){.host = s->host,
                                     .port = s->port,
                                     .addresses = s->resolve.addresses,
                                     .n_addresses = s->resolve.n_addresses,
                                     .user = h->user,
                                     .password = h->password,
                                     .database = c->monitor_database[0] ? c->monitor_database : "postgres",
                                     .sslmode = c->server_tls_sslmode,
                                     .ca_file = c->server_tls_ca_file,
                                     .cert_file = c->server_tls_cert_file,
                                     .key_file = c->server_tls_key_file};
}

static void on_target(void *owner, struct dbconn_target *target) { fill_target(owner, target); }

bool watch_target_primary(void *health, struct dbconn_target *target) {
    struct health *h = health;
    if (h->topology->primary < 0) return false;
    fill_target(h->servers[h->topology->primary], target);
    return target->n_addresses > 0;
}

// Another server may be behind the name now: what is known is of the one that was, and so are the samples.
static void server_forget(struct server *s) {
    struct health *h = s->health;
    s->facts = judge_new();
    s->has_peer = false;
    if (h->sampled == s) h->sampled = NULL;
}

static void on_resolved(void *owner, bool changed) {
    struct server *s = owner;
    struct sockaddr_storage peer;
    if (s->resolve.error[0]) log_debug(&s->prefix, "%s", s->resolve.error);
    if (!changed) return;
    // Whoever answered last may have lost its connection since: it is its address that counts.
    bool moved = s->has_peer && !resolve_holds(&s->resolve, &s->peer);
    if (moved) {
        log_info(&s->prefix, "the host name leads to other addresses now");
        server_forget(s);
    }
    if (moved || (probe_peer(s->probe, &peer) && !resolve_holds(&s->resolve, &peer))) {
        server_reconnect(s);
    } else if (s->facts.state != NODE_STATE_UP) {
        server_due(s, health_now());
    }
    publish_evaluate(s->health, NULL, NULL);
    watch_schedule(s->health);
}

struct server *server_new(struct health *h, const struct server_config *config) {
    static const struct probe_ops ops = {on_target, on_seen, on_unable, on_lost, on_probe_freed};
    struct server *s = mem_new(struct server);
    int64_t now = health_now();
    s->health = h;
    s->name = mem_strdup(config->name);
    s->host = mem_strdup(config->host);
    s->zone = mem_strdup("");
    s->port = (int)config->port;
    s->live = node_live_new();
    s->facts = judge_new();
    s->freshness = (struct fresh_answer){.status = FRESH_UNKNOWN, .lag_us = -1};
    s->logged_reason = NODE_REASON_NOT_PROBED;
    log_prefix_add(&s->prefix, "server", "%s", s->name);
    server_configure(s, config);
    h->handles++;
    s->probe = probe_new(h->loop, &ops, s);
    resolve_init(&s->resolve, h->loop, s->host, s->port, on_resolved, s);
    resolve_again(s, now);
    // A name that is being looked up wakes the server when it is known.
    s->due_us = s->resolve.n_addresses ? now : now + h->config->health_timeout * 1000;
    return s;
}

void server_free(struct server *s) {
    if (s->health->sampled == s) s->health->sampled = NULL;
    resolve_fini(&s->resolve);
    probe_free(s->probe);
}

bool server_is(const struct server *s, const struct server_config *config) {
    return strcmp(s->name, config->name) == 0 && strcmp(s->host, config->host) == 0 && s->port == config->port;
}

void server_configure(struct server *s, const struct server_config *config) {
    mem_free(s->zone);
    s->zone = mem_strdup(config->zone);
    s->weight = (int)config->weight;
    s->wanted_role = config->role;
}

void server_reconnect(struct server *s) {
    probe_reset(s->probe);
    s->again = false;
    s->due_us = health_now();
}

void server_hurry(struct server *s, unsigned doubts) {
    int64_t now = health_now();
    // Until it has answered again, its sessions' own writes are not looked for there. Its other reads go on.
    if ((doubts & DOUBT_RESTARTED) && s->facts.role == NODE_ROLE_REPLICA) {
        s->distrusted = true;
        atomic_store_explicit(&s->live->fresh_until_us, 0, memory_order_release);
    }
    s->renew = s->renew || (doubts & DOUBT_CONNECT);
    if (probe_is_busy(s->probe))
        s->again = true;
    else
        server_due(s, MAX_OF(now, s->started_us + REPORT_GAP_US));
    watch_schedule(s->health);
}

static void server_probe(struct server *s, int64_t now) {
    s->started_us = now;
    bool renew = s->renew;
    s->renew = false;
    if (s->resolve.n_addresses > 0) {
        probe_start(s->probe, s->health->config->health_timeout, renew);
        return;
    }
    struct sighting unresolved = {.failure = NODE_REASON_UNREACHABLE};
    snprintf(unresolved.text, sizeof unresolved.text, "%s", s->resolve.error);
    server_see(s, &unresolved);
}

// Whether a session has wished for freshness of late.
static bool is_wanted(const struct health *h, int64_t now) {
    for (size_t i = 0; i < h->n_servers; i++) {
        int64_t at = atomic_load_explicit(&h->servers[i]->live->wanted_at_us, memory_order_relaxed);
        if (at != 0 && now - at < FAST_FOR_US) return true;
    }
    return now < h->fast_until_us;
}

// Somebody waits from now on: the primary first, its answer pulls the replicas.
static void go_fast(struct health *h, int64_t now) {
    for (size_t i = 0; i < h->n_servers; i++) {
        struct server *s = h->servers[i];
        if (s->facts.state != NODE_STATE_UP) continue;
        server_due(s, s->facts.role == NODE_ROLE_PRIMARY ? now : now + interval_of(h) / 2);
    }
}

void watch_tick(struct health *h) {
    int64_t now = health_now();
    bool was_fast = h->fast;
    h->fast = is_wanted(h, now);
    if (h->fast && !was_fast) go_fast(h, now);
    for (size_t i = 0; i < h->n_servers; i++) {
        struct server *s = h->servers[i];
        if (now - s->resolve_us >= RESOLVE_US) resolve_again(s, now);
        if (!probe_is_busy(s->probe) && s->due_us <= now) server_probe(s, now);
    }
    catalog_probe_tick(h->catalogs, now, h->config->catalog_interval * 1000);
    watch_schedule(h);
}

static void on_tick(uv_timer_t *t) { watch_tick(container_of(t, struct health, tick)); }

void watch_schedule(struct health *h) {
    if (h->closing) return;
    int64_t now = health_now(), next = now + WANT_CHECK_US;
    for (size_t i = 0; i < h->n_servers; i++)
        if (!probe_is_busy(h->servers[i]->probe)) next = MIN_OF(next, h->servers[i]->due_us);
    uv_update_time(h->loop);
    uv_timer_start(&h->tick, on_tick, (uint64_t)(MAX_OF(next - now, (int64_t)0) + 999) / 1000, 0);
}
