// SPDX-License-Identifier: ISC
//
// tests/unit/health/health_watch.c: the watch over the servers, alone, for tests with real ones.
//
//   health_watch [--config FILE] [--server "name=... host=... port=..."]... [--set key=value]...
//
// Prints a JSON object per line: every topology and catalog as it is published, and answers to commands, which come one
// per line on standard input:
//   live                            the numbers that are not part of a topology
//   want NAME                       as a worker whose session waits for freshness there
//   report NAME EVIDENCE            refused, timeout, shutdown, read_only, role_change or closed, from another thread
//   watch DATABASE, unwatch DATABASE, refresh DATABASE
//   function DATABASE SCHEMA NAME ARGS, operator DATABASE SCHEMA NAME, relation DATABASE SCHEMA NAME    ("-": no
//   schema) reload                          reads the same configuration again quit
// Moments are those of CLOCK_MONOTONIC, so that a test can compare them with its own.
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "health/health.h"

enum { ARGUMENTS_MAX = 64, CATALOGS_MAX = 16, LINE_MAX_BYTES = 1024, WORDS_MAX = 6 };

struct watch {
    uv_loop_t loop;
    uv_pipe_t in;
    struct health *health;
    const char *path;
    struct config_argument arguments[ARGUMENTS_MAX];
    size_t n_arguments;
    struct catalog *catalogs[CATALOGS_MAX];
    size_t n_catalogs;
    char line[LINE_MAX_BYTES];
    size_t line_len;
    bool stopping;
};

static void print(json_t *j) {
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(j);
}

static json_t *node_json(const struct node *n) {
    char address[INET6_ADDRSTRLEN] = "";
    if (n->n_addresses > 0) uv_ip_name((const struct sockaddr *)&n->addresses[0], address, sizeof address);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:i, s:i, s:I, s:I, s:i, s:s}", "name", n->name, "role",
                     node_role_str(n->role), "state", node_state_str(n->state), "reason", node_reason_str(n->reason),
                     "alert", alert_str(n->alert), "reads", n->reads, "writes", n->writes, "weight", n->weight,
                     "timeline", (int)n->timeline, "system_identifier", (json_int_t)n->system_identifier, "up_since_us",
                     (json_int_t)n->up_since_us, "addresses", (int)n->n_addresses, "address", address);
}

static void on_publish(void *arg, struct topology *t) {
    (void)arg;
    json_t *nodes = json_object();
    for (size_t i = 0; i < t->n_nodes; i++) json_object_set_new(nodes, t->nodes[i].name, node_json(&t->nodes[i]));
    const char *primary = t->primary < 0 ? NULL : t->nodes[t->primary].name;
    print(json_pack("{s:s, s:I, s:I, s:s?, s:s, s:b, s:b, s:b, s:b, s:o}", "event", "topology", "now_us",
                    (json_int_t)(uv_hrtime() / 1000), "generation", (json_int_t)t->generation, "primary", primary,
                    "alert", alert_str(t->alert), "no_primary", t->no_primary, "two_primaries", t->two_primaries,
                    "no_replica_eligible", t->no_replica_eligible, "lag_critical", t->lag_critical, "nodes", nodes));
}

static void on_missing(void *arg, const char *database) {
    (void)arg;
    print(json_pack("{s:s, s:s}", "event", "missing", "database", database));
}

static void on_catalog(void *arg, struct catalog *c) {
    struct watch *w = arg;
    size_t i = 0;
    while (i < w->n_catalogs && strcmp(catalog_database(w->catalogs[i]), catalog_database(c)) != 0) i++;
    if (i == CATALOGS_MAX) return;
    if (i < w->n_catalogs)
        catalog_unref(w->catalogs[i]);
    else
        w->n_catalogs++;
    catalog_ref(c);
    w->catalogs[i] = c;
    print(json_pack("{s:s, s:s}", "event", "catalog", "database", catalog_database(c)));
}

static struct config *load(struct watch *w) {
    struct fault fault;
    struct config *c = config_load(w->path, w->arguments, w->n_arguments, &fault);
    if (!c) fprintf(stderr, "%s\n", fault.text);
    return c;
}

static void do_live(struct watch *w, char **words) {
    (void)words;
    const struct topology *t = health_topology(w->health);
    json_t *nodes = json_object();
    for (size_t i = 0; i < t->n_nodes; i++) {
        struct node_live *live = t->nodes[i].live;
        json_object_set_new(nodes, t->nodes[i].name,
                            json_pack("{s:I, s:I}", "fresh_until_us", (json_int_t)atomic_load(&live->fresh_until_us),
                                      "lag_us", (json_int_t)atomic_load(&live->lag_us)));
    }
    print(json_pack("{s:s, s:I, s:o}", "event", "live", "now_us", (json_int_t)(uv_hrtime() / 1000), "nodes", nodes));
}

static void do_want(struct watch *w, char **words) {
    const struct node *n = topology_find(health_topology(w->health), words[1]);
    if (n) atomic_store(&n->live->wanted_at_us, (long long)(uv_hrtime() / 1000));
}

struct reporter {
    uv_thread_t thread;
    struct health *health;
    const char *name;
    enum evidence evidence;
};

static void report_from_thread(void *arg) {
    struct reporter *r = arg;
    health_report(r->health, r->name, r->evidence);
}

static void do_report(struct watch *w, char **words) {
    static const char *const kinds[] = {"refused", "timeout", "shutdown", "read_only", "role_change", "closed"};
    struct reporter r = {.health = w->health, .name = words[1]};
    for (size_t i = 0; i < countof(kinds); i++)
        if (strcmp(words[2], kinds[i]) == 0) r.evidence = (enum evidence)i;
    uv_thread_create(&r.thread, report_from_thread, &r);
    uv_thread_join(&r.thread);
}

static void do_watch(struct watch *w, char **words) { health_watch_database(w->health, words[1]); }
static void do_unwatch(struct watch *w, char **words) { health_unwatch_database(w->health, words[1]); }
static void do_refresh(struct watch *w, char **words) { health_refresh_database(w->health, words[1]); }

static struct catalog *find_catalog(struct watch *w, const char *database) {
    for (size_t i = 0; i < w->n_catalogs; i++)
        if (strcmp(catalog_database(w->catalogs[i]), database) == 0) return w->catalogs[i];
    return NULL;
}

static struct span schema_of(const char *word) { return span_str(strcmp(word, "-") == 0 ? "" : word); }

static void do_function(struct watch *w, char **words) {
    static const char *const names[] = {"unknown", "harmless", "volatile"};
    struct catalog *c = find_catalog(w, words[1]);
    enum catalog_volatility v =
        c ? catalog_function(c, schema_of(words[2]), span_str(words[3]), atoi(words[4])) : CATALOG_UNKNOWN;
    print(json_pack("{s:s, s:s}", "event", "answer", "answer", c ? names[v] : "no catalog"));
}

static void do_operator(struct watch *w, char **words) {
    struct catalog *c = find_catalog(w, words[1]);
    bool yes = c && catalog_operator_is_volatile(c, schema_of(words[2]), span_str(words[3]));
    print(json_pack("{s:s, s:b}", "event", "answer", "answer", yes));
}

static void do_leaves(struct watch *w, char **words) {
    static const char *const names[] = {"nothing", "state", "unseen"};
    struct catalog *c = find_catalog(w, words[1]);
    struct span schema = schema_of(words[3]), name = span_str(words[4]);
    enum catalog_leaves l = CATALOG_LEAVES_NOTHING;
    if (c && strcmp(words[2], "function") == 0) l = catalog_function_leaves(c, schema, name);
    if (c && strcmp(words[2], "relation") == 0) l = catalog_relation_leaves(c, schema, name);
    if (c && strcmp(words[2], "meaning") == 0 && catalog_changes_meaning(c)) l = CATALOG_LEAVES_STATE;
    print(json_pack("{s:s, s:s}", "event", "answer", "answer", c ? names[l] : "no catalog"));
}

static void do_relation(struct watch *w, char **words) {
    struct catalog *c = find_catalog(w, words[1]);
    bool yes = c && catalog_relation_is_primary(c, schema_of(words[2]), span_str(words[3]));
    print(json_pack("{s:s, s:b}", "event", "answer", "answer", yes));
}

static void do_reload(struct watch *w, char **words) {
    (void)words;
    struct config *c = load(w);
    if (!c) return;
    health_reload(w->health, c);
    config_unref(c);
}

static void on_stopped(void *arg) {
    struct watch *w = arg;
    w->health = NULL;
    print(json_pack("{s:s}", "event", "stopped"));
}

static void do_quit(struct watch *w, char **words) {
    (void)words;
    if (w->stopping) return;
    w->stopping = true;
    uv_close((uv_handle_t *)&w->in, NULL);
    health_stop(w->health, on_stopped, w);
}

static const struct {
    const char *name;
    size_t n_words;
    void (*run)(struct watch *w, char **words);
} commands[] = {{"live", 1, do_live},         {"want", 2, do_want},         {"report", 3, do_report},
                {"watch", 2, do_watch},       {"unwatch", 2, do_unwatch},   {"refresh", 2, do_refresh},
                {"function", 5, do_function}, {"operator", 4, do_operator}, {"relation", 4, do_relation},
                {"reload", 1, do_reload},     {"leaves", 5, do_leaves},     {"quit", 1, do_quit}};

static void run_line(struct watch *w, char *line) {
    char *words[WORDS_MAX], *save = NULL;
    size_t n = 0;
    for (char *word = strtok_r(line, " ", &save); word && n < WORDS_MAX; word = strtok_r(NULL, " ", &save))
        words[n++] = word;
    for (size_t i = 0; n > 0 && i < countof(commands); i++)
        if (strcmp(words[0], commands[i].name) == 0 && n == commands[i].n_words) {
            commands[i].run(w, words);
            return;
        }
    fprintf(stderr, "what is \"%s\"?\n", n ? words[0] : "");
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf) {
    (void)size;
    struct watch *w = h->data;
    *buf = uv_buf_init(w->line + w->line_len, (unsigned)(sizeof w->line - w->line_len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    (void)buf;
    struct watch *w = s->data;
    if (n < 0) {
        do_quit(w, NULL);
        return;
    }
    w->line_len += (size_t)n;
    char *end;
    while (!w->stopping && (end = memchr(w->line, '\n', w->line_len))) {
        char line[LINE_MAX_BYTES];
        size_t len = (size_t)(end - w->line);
        memcpy(line, w->line, len);
        line[len] = '\0';
        memmove(w->line, end + 1, w->line_len - len - 1);
        w->line_len -= len + 1;
        run_line(w, line);
    }
}

static bool parse_arguments(struct watch *w, int argc, char **argv) {
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || w->n_arguments == ARGUMENTS_MAX) return false;
        struct config_argument *a = &w->arguments[w->n_arguments];
        a->text = argv[i + 1];
        if (strcmp(argv[i], "--config") == 0) {
            w->path = argv[i + 1];
        } else if (strcmp(argv[i], "--server") == 0 || strcmp(argv[i], "--set") == 0) {
            a->kind = strcmp(argv[i], "--server") == 0 ? CONFIG_ARGUMENT_SERVER : CONFIG_ARGUMENT_SET;
            w->n_arguments++;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    static struct watch w;
    if (!parse_arguments(&w, argc, argv)) {
        fprintf(stderr, "usage: health_watch [--config FILE] [--server TEXT]... [--set KEY=VALUE]...\n");
        return 2;
    }
    struct config *config = load(&w);
    if (!config) return 1;
    log_set_level(LOG_LEVEL_DEBUG);
    uv_loop_init(&w.loop);
    uv_pipe_init(&w.loop, &w.in, 0);
    w.in.data = &w;
    const struct health_ops ops = {.publish = on_publish, .catalog = on_catalog, .missing = on_missing, .arg = &w};
    w.health = health_start(&w.loop, config, &ops);
    config_unref(config);
    if (uv_pipe_open(&w.in, STDIN_FILENO) != 0 || uv_read_start((uv_stream_t *)&w.in, on_alloc, on_read) != 0) return 1;
    uv_run(&w.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < w.n_catalogs; i++) catalog_unref(w.catalogs[i]);
    // Everything that was opened is closed, or this says so.
    return uv_loop_close(&w.loop) == 0 && !w.health ? 0 : 3;
}
