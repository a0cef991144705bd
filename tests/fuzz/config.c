// SPDX-License-Identifier: ISC
//
// tests/fuzz/config.c: the text of a configuration file and of the command line, as anybody might write them.
//
// The input is a file, and after a NUL a `--server`, and after another NUL a `--set`. Whatever it is, it gives either a
// configuration or at least one error, and the values of a configuration can be printed and read again.
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_values(const struct config *c) {
    const struct option_row *o;
    for (size_t i = 0; (o = options_describe(i)) != NULL; i++) {
        struct option_value v = option_get(o, c), again;
        // The greatest critical_lag is twice the greatest max_lag, and cannot be written.
        if (o->section != OPTION_SECTION_PGSTEER || o->storage == OPTION_TEXT || v.number > o->max) continue;
        struct buf b = buf_make(1000);
        option_print(o, c, &b);
        buf_put_u8(&b, 0);
        if (!option_parse(o, (const char *)b.data, &again, NULL) || again.number != v.number) abort();
        buf_release(&b);
    }
    if (c->n_servers == 0 || c->n_databases == 0 || !c->users || !c->monitor_user[0]) abort();
    (void)config_pool_size(c, "app", "web");
    (void)config_server_database(c, "app");
    char *names = config_restart_needed(c, c);
    if (names[0]) abort();
    mem_free(names);
}

// The text up to the next NUL, or NULL when there is no more.
static const char *next_text(const char **p, const char *end) {
    if (*p >= end) return NULL;
    const char *text = *p;
    *p += strlen(text) + 1;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = mem_strndup((const char *)data, size);
    const char *p = copy, *end = copy + size;
    const char *file = next_text(&p, end), *server = next_text(&p, end), *set = next_text(&p, end);
    struct config_argument args[2];
    size_t n = 0;
    if (server) args[n++] = (struct config_argument){CONFIG_ARGUMENT_SERVER, server};
    if (set) args[n++] = (struct config_argument){CONFIG_ARGUMENT_SET, set};
    struct config_errors errors = {0};
    struct config *c = config_load_text("fuzz/pgsteer.ini", file ? span_str(file) : span_of(NULL, 0), args, n, &errors);
    if ((c == NULL) != (errors.n > 0)) abort();
    config_errors_release(&errors);
    if (c) {
        check_values(c);
        config_unref(c);
    }
    mem_free(copy);
    return 0;
}
