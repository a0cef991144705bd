// SPDX-License-Identifier: ISC
//
// router/admin/endpoints.c: see router/admin/endpoints.h. A table of paths; each row's function fills one answer.
#include "router/admin/endpoints.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"

struct endpoint {
    const char *path;
    void (*respond)(const struct endpoint_view *v, const struct endpoint_request *r, struct endpoint_answer *a);
};

// --- bodies ---

// jansson refuses what is not UTF-8; a name in a config file may be anything.
static json_t *json_text(const char *s) {
    json_t *j = json_string(s);
    if (j) return j;
    char *plain = mem_strdup(s);
    for (char *p = plain; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    j = json_string(plain);
    mem_free(plain);
    return j;
}

// Takes over `body`.
static void answer_json(struct endpoint_answer *a, unsigned status, json_t *body, size_t flags) {
    char *text = body ? json_dumps(body, flags | JSON_REAL_PRECISION(9)) : NULL;
    bug_unless(text);
    json_decref(body);
    a->status = status;
    a->content_type = "application/json";
    buf_printf(&a->body, "%s\n", text);
    free(text);
}

PRINTF_LIKE(3, 4) static void answer_reason(struct endpoint_answer *a, unsigned status, const char *fmt, ...) {
    char reason[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    const char *word = status == 200 ? "ok" : status == 503 ? "unavailable" : "error";
    answer_json(a, status, json_pack("{s:s, s:o}", "status", word, "reason", json_text(reason)), JSON_COMPACT);
}

// --- what the router can do ---

static const struct node *view_primary(const struct endpoint_view *v) {
    const struct topology *t = v->topology;
    return t && t->primary >= 0 && (size_t)t->primary < t->n_nodes ? &t->nodes[t->primary] : NULL;
}

static int64_t node_lag_us(const struct node *n) {
    if (n->role == NODE_ROLE_PRIMARY) return 0;
    return atomic_load_explicit(&n->live->lag_us, memory_order_relaxed);
}

// Replicas that take reads and lag at most `max_us`; without a maximum when it is negative.
static size_t view_replicas(const struct endpoint_view *v, int64_t max_us) {
    size_t count = 0;
    for (size_t i = 0; v->topology && i < v->topology->n_nodes; i++) {
        const struct node *n = &v->topology->nodes[i];
        if (n->role != NODE_ROLE_REPLICA || !n->reads) continue;
        int64_t lag_us = node_lag_us(n);
        count += max_us < 0 || (lag_us >= 0 && lag_us <= max_us);
    }
    return count;
}

// Why no client should be sent here whatever the servers do; NULL when nothing speaks against it.
static const char *view_closed(const struct endpoint_view *v) {
    if (v->draining) return "the router is shutting down";
    if (!v->started) return "the router is starting";
    return v->topology ? NULL : "no server has been looked at yet";
}

// True when a load balancer should send clients here; `why` says why or why not.
static bool view_ready(const struct endpoint_view *v, const char **why) {
    *why = view_closed(v);
    if (*why) return false;
    bool writes = view_primary(v) != NULL, reads = view_replicas(v, -1) > 0;
    *why = writes ? "reads and writes are served" : reads ? "reads are served, writes wait" : "no server can be used";
    return writes || reads;
}

// --- lag= ---

static const struct {
    const char *name;
    int64_t us;
} duration_units[] = {{"", 1000000},     {"us", 1},         {"ms", 1000},      {"s", 1000000},
                      {"min", 60000000}, {"h", 3600000000}, {"d", 86400000000}};

static bool is_byte_unit(const char *s) {
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB"};
    for (size_t i = 0; i < countof(names); i++)
        if (!strcasecmp(s, names[i])) return true;
    return false;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "10s", "1.5min", "500": microseconds. NULL when understood, else what is wrong.
static const char *duration_parse(const char *text, int64_t *us) {
    enum { DIGITS_MAX = 9, FRACTION_MAX = 6 };
    int64_t whole = 0, fraction = 0, scale = 1;
    const char *p = text;
    for (; is_digit(*p) && p - text < DIGITS_MAX; p++) whole = whole * 10 + (*p - '0');
    if (p == text) return "is not a duration: give one such as 10s or 500ms";
    if (is_digit(*p)) return "is too large";
    if (*p == '.') {
        if (!is_digit(*++p)) return "is not a duration: give one such as 10s or 500ms";
        for (; is_digit(*p); p++) {
            if (scale >= 1000000) continue; // finer than a microsecond of a second: of no account
            fraction = fraction * 10 + (*p - '0');
            scale *= 10;
        }
    }
    for (size_t i = 0; i < countof(duration_units); i++) {
        if (strcmp(p, duration_units[i].name)) continue;
        int64_t unit = duration_units[i].us;
        // Below 10^9 days of microseconds, which 64 bits do not hold: the product is checked.
        if (__builtin_mul_overflow(whole, unit, us) || __builtin_add_overflow(*us, fraction * unit / scale, us))
            return "is too large";
        return NULL;
    }
    if (is_byte_unit(p)) return "is in bytes; lag is measured in time here: give a duration such as 10s";
    return "has an unknown unit: use us, ms, s, min, h or d";
}

// The lag= of a request, -1 when there is none. False: the answer is filled.
static bool request_lag(const struct endpoint_request *r, int64_t *max_us, struct endpoint_answer *a) {
    *max_us = -1;
    for (size_t i = 0; i < r->n_params; i++) {
        const struct endpoint_param *p = &r->params[i];
        if (strcmp(p->key, "lag")) {
            answer_reason(a, 400, "unknown parameter \"%.100s\": %s takes lag=DURATION", p->key, r->path);
            return false;
        }
        const char *wrong = *max_us >= 0 ? "is given twice" : duration_parse(p->value ? p->value : "", max_us);
        if (wrong) {
            answer_reason(a, 400, "lag=%.100s %s", p->value ? p->value : "", wrong);
            return false;
        }
    }
    return true;
}

// --- the paths ---

static void respond_liveness(const struct endpoint_view *v, const struct endpoint_request *r,
                             struct endpoint_answer *a) {
    (void)v, (void)r;
    answer_reason(a, 200, "the router runs");
}

static void respond_readiness(const struct endpoint_view *v, const struct endpoint_request *r,
                              struct endpoint_answer *a) {
    (void)r;
    const char *why;
    bool ready = view_ready(v, &why);
    answer_reason(a, ready ? 200 : 503, "%s", why);
}

static void respond_primary(const struct endpoint_view *v, const struct endpoint_request *r,
                            struct endpoint_answer *a) {
    (void)r;
    const char *closed = view_closed(v);
    if (closed) return answer_reason(a, 503, "%s", closed);
    if (!view_primary(v)) return answer_reason(a, 503, "there is no primary to write to");
    answer_reason(a, 200, "%s takes writes", view_primary(v)->name);
}

// /replica, and /read-only when the primary counts too.
static void respond_reads(const struct endpoint_view *v, const struct endpoint_request *r, struct endpoint_answer *a,
                          bool primary_counts) {
    int64_t max_us;
    if (!request_lag(r, &max_us, a)) return;
    const char *closed = view_closed(v);
    if (closed) return answer_reason(a, 503, "%s", closed);
    size_t replicas = view_replicas(v, max_us), all = view_replicas(v, -1);
    const struct node *primary = primary_counts ? view_primary(v) : NULL;
    if (replicas > 0) return answer_reason(a, 200, "replicas that take reads: %zu", replicas);
    if (primary) return answer_reason(a, 200, "%s, the primary, takes reads", primary->name);
    if (all > 0) return answer_reason(a, 503, "replicas that take reads: %zu, all with more lag than asked for", all);
    answer_reason(a, 503, primary_counts ? "no server takes reads" : "no replica takes reads");
}

static void respond_replica(const struct endpoint_view *v, const struct endpoint_request *r,
                            struct endpoint_answer *a) {
    respond_reads(v, r, a, false);
}

static void respond_read_only(const struct endpoint_view *v, const struct endpoint_request *r,
                              struct endpoint_answer *a) {
    respond_reads(v, r, a, true);
}

// Takes over `value`.
static void put(json_t *object, const char *key, json_t *value) {
    bug_unless(json_object_set_new(object, key, value) == 0);
}

static json_t *node_json(const struct node *n) {
    int64_t lag_us = node_lag_us(n);
    int connections = atomic_load_explicit(&n->live->connections, memory_order_relaxed);
    json_t *j = json_object();
    put(j, "name", json_text(n->name));
    put(j, "host", json_text(n->host));
    put(j, "port", json_integer(n->port));
    put(j, "zone", json_text(n->zone));
    put(j, "role", json_string(node_role_str(n->role)));
    put(j, "state", json_string(node_state_str(n->state)));
    put(j, "reason", json_string(node_reason_str(n->reason)));
    put(j, "alert", json_string(alert_str(n->alert)));
    put(j, "reads", json_boolean(n->reads));
    put(j, "writes", json_boolean(n->writes));
    put(j, "lag_seconds", lag_us < 0 ? json_null() : json_real((double)lag_us / 1e6));
    put(j, "timeline", n->timeline ? json_integer(n->timeline) : json_null());
    put(j, "weight", json_integer(n->weight));
    put(j, "connections", json_integer(connections));
    return j;
}

static json_t *conditions_json(const struct topology *t) {
    json_t *list = json_array();
#define X(flag)                                                                                                        \
    if (t && t->flag) json_array_append_new(list, json_string(#flag));
    ALERT_CONDITIONS(X)
#undef X
    return list;
}

static void respond_health(const struct endpoint_view *v, const struct endpoint_request *r, struct endpoint_answer *a) {
    (void)r;
    const char *why;
    bool ready = view_ready(v, &why);
    const struct topology *t = v->topology;
    const struct node *primary = view_primary(v);
    json_t *servers = json_array();
    for (size_t i = 0; t && i < t->n_nodes; i++) json_array_append_new(servers, node_json(&t->nodes[i]));
    json_t *j = json_object();
    put(j, "status", json_string(ready ? "ok" : "unavailable"));
    put(j, "reason", json_string(why));
    put(j, "state", json_string(v->draining ? "draining" : v->started ? "running" : "starting"));
    put(j, "version", json_string(PGSTEER_VERSION));
    put(j, "primary", primary ? json_text(primary->name) : json_null());
    put(j, "eligible_replicas", json_integer((json_int_t)view_replicas(v, -1)));
    put(j, "alert", json_string(alert_str(t ? t->alert : ALERT_OK)));
    put(j, "conditions", conditions_json(t));
    put(j, "max_lag_seconds", json_real((double)v->max_lag_ms / 1e3));
    put(j, "critical_lag_seconds", json_real((double)v->critical_lag_ms / 1e3));
    put(j, "servers", servers);
    answer_json(a, ready ? 200 : 503, j, JSON_INDENT(2));
}

static void respond_metrics(const struct endpoint_view *v, const struct endpoint_request *r,
                            struct endpoint_answer *a) {
    (void)r;
    a->status = 200;
    a->content_type = PROM_CONTENT_TYPE;
    prom_write(&a->body, v->metrics);
}

static const struct endpoint endpoints[] = {
    {"/liveness", respond_liveness}, {"/readiness", respond_readiness}, {"/health", respond_health},
    {"/primary", respond_primary},   {"/read-write", respond_primary},  {"/master", respond_primary},
    {"/replica", respond_replica},   {"/read-only", respond_read_only}, {"/metrics", respond_metrics},
};

bool endpoint_is_metrics(const char *path) { return strcmp(path, "/metrics") == 0; }

static const struct endpoint *endpoint_find(const char *path) {
    for (size_t i = 0; i < countof(endpoints); i++)
        if (!strcmp(path, endpoints[i].path)) return &endpoints[i];
    return NULL;
}

static void answer_no_such_path(struct endpoint_answer *a) {
    json_t *paths = json_array();
    for (size_t i = 0; i < countof(endpoints); i++) json_array_append_new(paths, json_string(endpoints[i].path));
    json_t *body = json_pack("{s:s, s:s, s:o}", "status", "error", "reason", "no such path", "paths", paths);
    answer_json(a, 404, body, JSON_COMPACT);
}

static bool method_is_known(const char *method) {
    return !strcmp(method, "GET") || !strcmp(method, "HEAD") || !strcmp(method, "OPTIONS");
}

struct endpoint_answer endpoint_respond(const struct endpoint_view *view, const struct endpoint_request *request) {
    struct endpoint_answer a = {.body = buf_make(ENDPOINT_BODY_MAX)};
    const struct endpoint *e = endpoint_find(request->path);
    if (!method_is_known(request->method))
        answer_reason(&a, 405, "only " ENDPOINT_ALLOW " are answered");
    else if (request->has_body)
        answer_reason(&a, 413, "no request here has a body");
    else if (!e)
        answer_no_such_path(&a);
    else
        e->respond(view, request, &a);
    if (a.body.failed) {
        buf_release(&a.body);
        answer_reason(&a, 500, "the answer is too large");
    }
    bool is_options = !strcmp(request->method, "OPTIONS");
    if (is_options) buf_clear(&a.body);
    a.allow = is_options || a.status == 405;
    return a;
}
