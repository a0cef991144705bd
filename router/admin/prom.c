// SPDX-License-Identifier: ISC
//
// router/admin/prom.c: see router/admin/prom.h. One row per metric; a row's function writes its samples.
#include "router/admin/prom.h"

#include <inttypes.h>

struct metric {
    const char *name, *type, *help;
    const char *labels; // for the documentation: what each label can be; "" = no labels
    void (*write)(struct buf *out, const struct metric *m, const struct prom_input *in);
    unsigned index; // in its table of router/stats.h, where it comes from one
};

// --- one sample line: name{label="value",...} number ---

struct sample {
    struct buf *out;
    bool has_labels;
};

static struct sample sample_begin(struct buf *out, const struct metric *m, const char *suffix) {
    buf_printf(out, "%s%s", m->name, suffix);
    return (struct sample){out, false};
}

// How many bytes the UTF-8 character at `s` has; 0 when there is none. Overlong forms and surrogates are none.
static size_t utf8_len(const unsigned char *s) {
    static const struct {
        unsigned char first_min, first_max, second_min, second_max, len;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    if (s[0] < 0x80) return 1;
    for (size_t i = 0; i < countof(forms); i++) {
        if (s[0] < forms[i].first_min || s[0] > forms[i].first_max) continue;
        if (s[1] < forms[i].second_min || s[1] > forms[i].second_max) return 0;
        for (size_t at = 2; at < forms[i].len; at++)
            if ((s[at] & 0xc0) != 0x80) return 0;
        return forms[i].len;
    }
    return 0;
}

// A label's value: \ " and newline escaped; a byte that is not UTF-8, for which a whole scrape would be refused,
// becomes '?'.
static void put_label_value(struct buf *out, const char *value) {
    for (const unsigned char *s = (const unsigned char *)value; *s;) {
        size_t len = utf8_len(s);
        if (*s == '\\' || *s == '"')
            buf_printf(out, "\\%c", *s);
        else if (*s == '\n')
            buf_put(out, "\\n", 2);
        else if (len)
            buf_put(out, s, len);
        else
            buf_put_u8(out, '?');
        s += len ? len : 1;
    }
}

static void sample_label(struct sample *s, const char *key, const char *value) {
    buf_printf(s->out, "%s%s=\"", s->has_labels ? "," : "{", key);
    put_label_value(s->out, value);
    buf_put_u8(s->out, '"');
    s->has_labels = true;
}

static void sample_text(struct sample *s, const char *number) {
    buf_printf(s->out, "%s %s\n", s->has_labels ? "}" : "", number);
}

static void sample_int(struct sample *s, int64_t v) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, v);
    sample_text(s, text);
}

// Microseconds as seconds, exactly.
static void sample_us(struct sample *s, uint64_t us) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
    sample_text(s, text);
}

static void put_int(struct buf *out, const struct metric *m, int64_t v) {
    struct sample s = sample_begin(out, m, "");
    sample_int(&s, v);
}

static void put_int_labelled(struct buf *out, const struct metric *m, const char *key, const char *value, int64_t v) {
    struct sample s = sample_begin(out, m, "");
    sample_label(&s, key, value);
    sample_int(&s, v);
}

// --- counters, gauges and histograms of the workers ---

static int64_t cell(const stat_cell *c) { return (int64_t)atomic_load_explicit(c, memory_order_relaxed); }

static void write_counter(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_int(out, m, cell(&in->stats->counters[m->index]));
}

static int64_t gauge(const struct prom_input *in, unsigned index) {
    return atomic_load_explicit(&in->stats->gauges[index], memory_order_relaxed);
}

static void write_gauge(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_int(out, m, gauge(in, m->index));
}

static void write_pool_size(struct buf *out, const struct metric *m, const struct prom_input *in) {
#define X(id, label) put_int_labelled(out, m, "state", label, gauge(in, STAT_GAUGE_##id));
    STAT_POOL_STATES(X)
#undef X
}

static void write_errors(struct buf *out, const struct metric *m, const struct prom_input *in) {
#define X(id, label) put_int_labelled(out, m, "reason", label, cell(&in->stats->errors[STAT_ERROR_##id]));
    STAT_ERRORS(X)
#undef X
}

static void write_routed(struct buf *out, const struct metric *m, const struct prom_input *in) {
    static const char *const targets[STAT_ROUTE_TARGETS] = {"primary", "replica"};
    for (size_t target = 0; target < STAT_ROUTE_TARGETS; target++) {
        for (unsigned reason = 0; reason < STAT_ROUTE_REASONS_MAX; reason++) {
            const char *name = in->route_reason_str(reason);
            if (!name) break;
            struct sample s = sample_begin(out, m, "");
            sample_label(&s, "target", targets[target]);
            sample_label(&s, "reason", name);
            sample_int(&s, cell(&in->stats->routed[target][reason]));
        }
    }
}

static void write_pins(struct buf *out, const struct metric *m, const struct prom_input *in) {
    const char *name;
    for (unsigned pin = 0; (name = in->pin_str(pin)); pin++)
        put_int_labelled(out, m, "reason", name, cell(&in->stats->pins[pin]));
}

static void write_pinned(struct buf *out, const struct metric *m, const struct prom_input *in) {
    const char *name;
    for (unsigned pin = 0; (name = in->pin_str(pin)); pin++)
        put_int_labelled(out, m, "reason", name, atomic_load_explicit(&in->stats->pinned[pin], memory_order_relaxed));
}

// The lines of one histogram, with one label more when `key` is not NULL.
static void put_histogram(struct buf *out, const struct metric *m, const struct prom_input *in, enum stat_histogram h,
                          const char *key, const char *value) {
    static const uint64_t bounds_us[] = STAT_BUCKETS_US;
    int64_t count = 0;
    for (size_t i = 0; i < STAT_BUCKETS; i++) {
        char bound[32] = "+Inf";
        if (i < countof(bounds_us)) snprintf(bound, sizeof bound, "%g", (double)bounds_us[i] / 1e6);
        count += cell(&in->stats->histograms[h].buckets[i]);
        struct sample s = sample_begin(out, m, "_bucket");
        if (key) sample_label(&s, key, value);
        sample_label(&s, "le", bound);
        sample_int(&s, count);
    }
    struct sample sum = sample_begin(out, m, "_sum");
    if (key) sample_label(&sum, key, value);
    sample_us(&sum, (uint64_t)cell(&in->stats->histograms[h].sum_us));
    struct sample all = sample_begin(out, m, "_count");
    if (key) sample_label(&all, key, value);
    sample_int(&all, count);
}

static void write_pool_wait(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_histogram(out, m, in, STAT_HISTOGRAM_POOL_WAIT, NULL, NULL);
}

static void write_query_duration(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_histogram(out, m, in, STAT_HISTOGRAM_READ, "query_type", "read");
    put_histogram(out, m, in, STAT_HISTOGRAM_WRITE, "query_type", "write");
}

// --- servers ---

#define EACH_NODE(in, n)                                                                                               \
    for (const struct node *n = (in)->topology ? (in)->topology->nodes : NULL,                                         \
                           *n##_end = n ? n + (in)->topology->n_nodes : NULL;                                          \
         n != n##_end; n++)

static int64_t node_lag_us(const struct node *n) {
    return atomic_load_explicit(&n->live->lag_us, memory_order_relaxed);
}

static void write_lag(struct buf *out, const struct metric *m, const struct prom_input *in) {
    EACH_NODE(in, n) {
        if (n->role != NODE_ROLE_REPLICA || node_lag_us(n) < 0) continue;
        struct sample s = sample_begin(out, m, "");
        sample_label(&s, "replica", n->name);
        sample_us(&s, (uint64_t)node_lag_us(n));
    }
}

static void write_replica_health(struct buf *out, const struct metric *m, const struct prom_input *in) {
    EACH_NODE(in, n) {
        if (n->role == NODE_ROLE_PRIMARY) continue;
        put_int_labelled(out, m, "replica", n->name, n->role == NODE_ROLE_REPLICA && n->reads);
    }
}

static int64_t node_is_up(const struct node *n) { return n->state == NODE_STATE_UP || n->state == NODE_STATE_SUSPECT; }
static int64_t node_reads(const struct node *n) { return n->reads; }
static int64_t node_writes(const struct node *n) { return n->writes; }
static int64_t node_weight(const struct node *n) { return n->weight; }
static int64_t node_connections(const struct node *n) {
    return atomic_load_explicit(&n->live->connections, memory_order_relaxed);
}

// Metrics that are one number per server.
static int64_t (*const node_numbers[])(const struct node *) = {node_is_up, node_reads, node_writes, node_weight,
                                                               node_connections};
enum { NODE_IS_UP, NODE_READS, NODE_WRITES, NODE_WEIGHT, NODE_CONNECTIONS };

static void write_node_number(struct buf *out, const struct metric *m, const struct prom_input *in) {
    EACH_NODE(in, n) put_int_labelled(out, m, "server", n->name, node_numbers[m->index](n));
}

static void write_role(struct buf *out, const struct metric *m, const struct prom_input *in) {
    static const enum node_role roles[] = {NODE_ROLE_PRIMARY, NODE_ROLE_REPLICA, NODE_ROLE_UNKNOWN};
    EACH_NODE(in, n) {
        for (size_t i = 0; i < countof(roles); i++) {
            struct sample s = sample_begin(out, m, "");
            sample_label(&s, "server", n->name);
            sample_label(&s, "role", node_role_str(roles[i]));
            sample_int(&s, n->role == roles[i]);
        }
    }
}

static void write_reason(struct buf *out, const struct metric *m, const struct prom_input *in) {
    EACH_NODE(in, n) {
        struct sample s = sample_begin(out, m, "");
        sample_label(&s, "server", n->name);
        sample_label(&s, "reason", node_reason_str(n->reason));
        sample_int(&s, 1);
    }
}

// --- the router and the process ---

static void write_alert(struct buf *out, const struct metric *m, const struct prom_input *in) {
    static const enum alert severities[] = {ALERT_WARNING, ALERT_CRITICAL};
    for (size_t i = 0; i < countof(severities); i++)
        put_int_labelled(out, m, "severity", alert_str(severities[i]),
                         in->topology && in->topology->alert == severities[i]);
}

static void write_alert_condition(struct buf *out, const struct metric *m, const struct prom_input *in) {
#define X(flag) put_int_labelled(out, m, "condition", #flag, in->topology && in->topology->flag);
    ALERT_CONDITIONS(X)
#undef X
}

static void write_build_info(struct buf *out, const struct metric *m, const struct prom_input *in) {
    (void)in;
    put_int_labelled(out, m, "version", PGSTEER_VERSION, 1);
}

static void write_draining(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_int(out, m, in->draining);
}

static void write_start_time(struct buf *out, const struct metric *m, const struct prom_input *in) {
    struct sample s = sample_begin(out, m, "");
    sample_us(&s, (uint64_t)(in->process.start_time_seconds * 1e6));
}

static void write_cpu(struct buf *out, const struct metric *m, const struct prom_input *in) {
    struct sample s = sample_begin(out, m, "");
    sample_us(&s, in->process.cpu_us);
}

static void write_resident(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_int(out, m, (int64_t)in->process.resident_bytes);
}

static void write_open_fds(struct buf *out, const struct metric *m, const struct prom_input *in) {
    put_int(out, m, in->process.open_fds);
}

static void write_max_fds(struct buf *out, const struct metric *m, const struct prom_input *in) {
    if (in->process.max_fds >= 0) put_int(out, m, in->process.max_fds);
}

// --- the table ---

#define ONE_OF(id, label) "`" label "` "
#define CONDITION(flag) "`" #flag "` "

static const struct metric metrics[] = {
    {"db_connection_pool_size", "gauge", "Server connections by state, and sessions waiting for one",
     "state: " STAT_POOL_STATES(ONE_OF), write_pool_size, 0},
    {"db_connection_pool_wait_time_seconds", "histogram", "How long sessions waited for a server connection", "",
     write_pool_wait, 0},
    {"db_connection_pool_errors_total", "counter", "Errors the router raised or met", "reason: " STAT_ERRORS(ONE_OF),
     write_errors, 0},
    {"db_replication_lag_seconds", "gauge",
     "How far a replica's replay is behind the primary, in time; absent while it is not known", "replica: its name",
     write_lag, 0},
    {"db_replica_health", "gauge",
     "1 when the replica takes reads, else 0; a server of which no role is known counts as a replica",
     "replica: its name", write_replica_health, 0},
    {"db_query_duration_seconds", "histogram",
     "From sending a statement to a server to the end of its answer; what it waited for before is not in it",
     "query_type: `read` `write`", write_query_duration, 0},
    {"pgsteer_routed_total", "counter", "Routing decisions by where a statement went and why",
     "target: `primary` `replica`; reason: the routing rule that decided, see routing.md", write_routed, 0},
    {"pgsteer_pins", "gauge", "Clients tied to their primary connection now, by what ties them; one may have several",
     "reason: the kind of session state, see sessions.md", write_pinned, 0},
    {"pgsteer_pins_total", "counter", "How often a client was tied to its primary connection, by what tied it",
     "reason: the kind of session state, see sessions.md", write_pins, 0},
#define X(id, name, help) {name, "counter", help, "", write_counter, STAT_##id},
    STAT_COUNTERS(X)
#undef X
#define X(id, name, help) {name, "gauge", help, "", write_gauge, STAT_GAUGE_##id},
        STAT_GAUGES(X)
#undef X
            {"pgsteer_server_up", "gauge", "1 when the server answers its health probes, else 0", "server: its name",
             write_node_number, NODE_IS_UP},
    {"pgsteer_server_role", "gauge", "1 for the role the server has, 0 for the others",
     "server: its name; role: `primary` `replica` `unknown`", write_role, 0},
    {"pgsteer_server_reads", "gauge", "1 when the server may get reads, else 0", "server: its name", write_node_number,
     NODE_READS},
    {"pgsteer_server_writes", "gauge", "1 for the primary that gets the writes, else 0", "server: its name",
     write_node_number, NODE_WRITES},
    {"pgsteer_server_reason", "gauge", "1 for the reason why the server gets no reads, ok when it does",
     "server: its name; reason: " NODE_REASONS(ONE_OF), write_reason, 0},
    {"pgsteer_server_weight", "gauge", "The server's share of reads, as configured", "server: its name",
     write_node_number, NODE_WEIGHT},
    {"pgsteer_server_connections", "gauge", "Connections to the server now, of all workers", "server: its name",
     write_node_number, NODE_CONNECTIONS},
    {"pgsteer_alert", "gauge", "1 for the severity of the alert that is raised, else 0",
     "severity: `warning` `critical`", write_alert, 0},
    {"pgsteer_alert_condition", "gauge",
     "1 while it holds; no_replica_eligible: there are replicas, none takes reads, the primary serves them",
     "condition: " ALERT_CONDITIONS(CONDITION), write_alert_condition, 0},
    {"pgsteer_draining", "gauge", "1 while the router is shutting down, else 0", "", write_draining, 0},
    {"pgsteer_build_info", "gauge", "Always 1; the label tells the version", "version", write_build_info, 0},
    {"process_start_time_seconds", "gauge", "When the process was started, in seconds since 1970", "", write_start_time,
     0},
    {"process_cpu_seconds_total", "counter", "User and system CPU time of all threads", "", write_cpu, 0},
    {"process_resident_memory_bytes", "gauge", "Resident memory", "", write_resident, 0},
    {"process_open_fds", "gauge", "Open file descriptors", "", write_open_fds, 0},
    {"process_max_fds", "gauge", "How many file descriptors may be open; absent without a limit", "", write_max_fds, 0},
};

void prom_write(struct buf *out, const struct prom_input *in) {
    for (size_t i = 0; i < countof(metrics); i++) {
        const struct metric *m = &metrics[i];
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, m->type);
        m->write(out, m, in);
    }
}

void prom_print_markdown(FILE *to) {
    static const uint64_t bounds_us[] = STAT_BUCKETS_US;
    fputs(
        "# Metrics\n\n"
        "`GET /metrics` on the HTTP port answers in Prometheus' text format 0.0.4. Durations are in seconds, sizes in\n"
        "bytes; counters start at zero with the process. This page is generated from the tables in the code.\n\n"
        "| Metric | Type | Labels | What it is |\n|---|---|---|---|\n",
        to);
    for (size_t i = 0; i < countof(metrics); i++) {
        const struct metric *m = &metrics[i];
        size_t labels_len = strlen(m->labels);
        while (labels_len && m->labels[labels_len - 1] == ' ') labels_len--;
        fprintf(to, "| `%s` | %s | %.*s | %s |\n", m->name, m->type, (int)labels_len, m->labels, m->help);
    }
    fputs("\nThe bounds of every histogram, in seconds:", to);
    for (size_t i = 0; i < countof(bounds_us); i++) fprintf(to, " %g", (double)bounds_us[i] / 1e6);
    fputs(".\n", to);
}
