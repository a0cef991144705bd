// SPDX-License-Identifier: ISC
//
// router/main.c: the command line.
//
// Reads the arguments, does the small things at once (--check, --classify, --version, --print-options), and otherwise
// hands the configuration to the runtime. Exit status: 0 done, 1 failed, 2 wrong arguments.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/options.h"
#include "parser/classify.h"
#include "router/process.h"
#include "router/runtime.h"
#include "router/versions.h"

static const char usage[] =
    "pgsteer " PGSTEER_VERSION ": one PostgreSQL endpoint in front of a primary and its replicas\n"
    "\n"
    "  pgsteer --config FILE                       run with a configuration file\n"
    "  pgsteer --server host=... --server host=... run without one, in front of these servers\n"
    "\n"
    "  -c, --config FILE    the configuration file (docs/options.md)\n"
    "      --server WORDS   a server: host=, port=, name=, role=, weight=, zone=; may be given several times\n"
    "      --set KEY=VALUE  an option of [pgsteer]; goes before the file and the environment\n"
    "      --check          check the configuration, say what is wrong with it, and exit\n"
    "      --classify SQL   say what the router thinks of the statement, and exit\n"
    "      --print-options  write the reference of all options, as Markdown, and exit\n"
    "  -V, --version        versions of pgsteer and its libraries\n"
    "  -h, --help           this text\n"
    "\n"
    "Every option of [pgsteer] can also be given as environment variable PGSTEER_<KEY>.\n";

enum { OPT_SERVER = 256, OPT_SET, OPT_CHECK, OPT_CLASSIFY, OPT_PRINT_OPTIONS };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"server", required_argument, NULL, OPT_SERVER},
    {"set", required_argument, NULL, OPT_SET},
    {"check", no_argument, NULL, OPT_CHECK},
    {"classify", required_argument, NULL, OPT_CLASSIFY},
    {"print-options", no_argument, NULL, OPT_PRINT_OPTIONS},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
    const char *config_path, *classify;
    bool check;
    struct config_argument *settings;
    size_t n_settings;
};

// The parser wants a deep stack.
static void classify_thread(void *arg) {
    const char *sql = arg;
    const struct classify_options o = {.max_length = 64 * 1024};
    struct verdict v = classify(span_str(sql), &o);
    printf("verdict: %s\nreason: %s (%s)\ntarget: %s\n", verdict_kind_str((enum verdict_kind)v.kind),
           verdict_reason_str((enum verdict_reason)v.reason), verdict_reason_text((enum verdict_reason)v.reason),
           v.kind == VERDICT_READ ? "replica" : "primary");
    if (!v.facts) return;
    printf("facts:");
    for (uint32_t bit = 1; bit; bit <<= 1)
        if (v.facts & bit) printf(" %s", verdict_fact_str((enum verdict_fact)bit));
    printf("\n");
}

static int run_classify(const char *sql) {
    uv_thread_t thread;
    uv_thread_options_t big = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 64 * 1024 * 1024};
    if (uv_thread_create_ex(&thread, &big, classify_thread, (void *)(uintptr_t)sql)) return 1;
    uv_thread_join(&thread);
    return 0;
}

static void add_setting(struct arguments *a, int kind, const char *text) {
    a->settings = mem_grow(a->settings, (a->n_settings + 1) * sizeof *a->settings);
    a->settings[a->n_settings].kind = kind;
    a->settings[a->n_settings].text = text;
    a->n_settings++;
}

// -1: go on; else the exit status.
static int read_arguments(int argc, char **argv, struct arguments *a) {
    for (int opt; (opt = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1;) {
        switch (opt) {
        case 'c': a->config_path = optarg; break;
        case OPT_SERVER: add_setting(a, CONFIG_ARGUMENT_SERVER, optarg); break;
        case OPT_SET: add_setting(a, CONFIG_ARGUMENT_SET, optarg); break;
        case OPT_CHECK: a->check = true; break;
        case OPT_CLASSIFY: a->classify = optarg; break;
        case OPT_PRINT_OPTIONS: options_print_markdown(stdout); return 0;
        case 'V': versions_print(stdout); return 0;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs("Try 'pgsteer --help'.\n", stderr); return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "pgsteer: unexpected argument \"%s\"\nTry 'pgsteer --help'.\n", argv[optind]);
        return 2;
    }
    return -1;
}

// All that is wrong, a line each.
static struct config *load(const struct arguments *a) {
    struct config_errors errors = {0};
    struct config *c = config_load_errors(a->config_path, a->settings, a->n_settings, &errors);
    for (size_t i = 0; i < errors.n; i++) fprintf(stderr, "pgsteer: %s\n", errors.texts[i]);
    config_errors_release(&errors);
    return c;
}

// As the account that will run it: keys have rules of whose they are.
static bool check_tls(const struct config *c) {
    struct fault f;
    if (geteuid() == 0 && !c->user[0]) {
        printf("warning: certificates and keys were not loaded: check as the account that pgsteer runs as\n");
        return true;
    }
    if (process_become_user(c, &f) && runtime_check_tls(c, &f)) return true;
    fprintf(stderr, "pgsteer: %s%s%s\n", f.text, f.hint[0] ? "; " : "", f.hint);
    return false;
}

static int run_check(struct config *c) {
    bool tls = c->client_tls_cert_file[0] || c->server_tls_cert_file[0] || c->server_tls_ca_file[0] ||
               c->client_tls_ciphers[0];
    for (size_t i = 0; i < c->n_warnings; i++) printf("warning: %s\n", c->warnings[i]);
    bool good = !tls || check_tls(c);
    if (good) printf("the configuration is good: %zu servers\n", c->n_servers);
    config_unref(c);
    return good ? 0 : 1;
}

static int run(const struct arguments *a) {
    if (a->classify) return run_classify(a->classify);
    if (!a->config_path && !a->n_settings) {
        fputs(usage, stderr);
        return 2;
    }
    struct config *c = load(a);
    if (!c) return 1;
    if (a->check) return run_check(c);
    const struct runtime_options o = {.config_path = a->config_path, .args = a->settings, .n_args = a->n_settings};
    return runtime_run(c, &o);
}

int main(int argc, char **argv) {
    struct arguments a = {0};
    int status = read_arguments(argc, argv, &a);
    if (status < 0) status = run(&a);
    mem_free(a.settings);
    return status;
}
