// SPDX-License-Identifier: ISC
// config/config.c: see config/config.h. Loading from end to end, and the questions asked of a loaded configuration.
#include "config/config.h"

#include <string.h>

#include "base/mem.h"
#include "config/file.h"
#include "config/load.h"
#include "config/users.h"

enum { CONFIG_FILE_MAX = 4 << 20 };

// A config with the memory of its texts.
struct owner {
    struct config config; // first
    size_t n;
    char **texts;
};

// Texts may be passwords: all are wiped.
static void config_free(struct snap *snap) {
    struct config *c = container_of(snap, struct config, snap);
    struct owner *o = container_of(c, struct owner, config);
    for (size_t i = 0; i < o->n; i++) {
        explicit_bzero(o->texts[i], strlen(o->texts[i]));
        mem_free(o->texts[i]);
    }
    users_free(c->users);
    mem_free(c->servers);
    mem_free(c->databases);
    mem_free(c->user_configs);
    mem_free(c->warnings);
    mem_free(o->texts);
    mem_free(o);
}

struct config *config_new(void) {
    struct owner *o = mem_new(struct owner);
    snap_init(&o->config.snap, config_free);
    return &o->config;
}

const char *config_keep(struct config *c, char *text) {
    struct owner *o = container_of(c, struct owner, config);
    o->texts = mem_grow(o->texts, (o->n + 1) * sizeof *o->texts);
    return o->texts[o->n++] = text;
}

// Loading.

void config_errors_release(struct config_errors *e) {
    for (size_t i = 0; i < e->n; i++) mem_free(e->texts[i]);
    mem_free(e->texts);
    *e = (struct config_errors){0};
}

// Everything but reading the file. `path` is NULL when there is none, and then `text` is empty.
static struct config *load(const char *path, struct span text, const struct config_argument *args, size_t n_args,
                           struct config_errors *errors) {
    struct load l;
    load_init(&l, path, errors);
    load_text(&l, text);
    load_environment(&l);
    load_arguments(&l, args, n_args);
    load_check(&l);
    load_finish(&l);
    load_release(&l);
    if (errors->n == 0) return l.config;
    config_unref(l.config);
    return NULL;
}

struct config *config_load_text(const char *path, struct span text, const struct config_argument *args, size_t n_args,
                                struct config_errors *errors) {
    return load(path, text, args, n_args, errors);
}

struct config *config_load_errors(const char *path, const struct config_argument *args, size_t n_args,
                                  struct config_errors *errors) {
    if (!path) return load(NULL, span_of(NULL, 0), args, n_args, errors);
    struct buf text;
    struct fault why;
    struct config *c = NULL;
    if (file_read(path, CONFIG_FILE_MAX, &text, NULL, &why)) {
        c = load(path, buf_span(&text), args, n_args, errors);
    } else {
        errors->texts = mem_array(1, char *);
        errors->texts[errors->n++] = mem_printf("%s: %s", path, why.text);
    }
    if (text.data) explicit_bzero(text.data, text.cap); // it may hold monitor_password
    buf_release(&text);
    return c;
}

struct config *config_load(const char *path, const struct config_argument *args, size_t n_args, struct fault *fault) {
    struct config_errors errors = {0};
    struct config *c = config_load_errors(path, args, n_args, &errors);
    if (errors.n > 0) fault_set(fault, CONFIG_SQLSTATE, "%s", errors.texts[0]);
    if (errors.n > 1) fault_hint(fault, "There are %zu more errors; --check lists all of them.", errors.n - 1);
    config_errors_release(&errors);
    return c;
}

// Looking up.

const struct database_config *config_database(const struct config *c, const char *name) {
    const struct database_config *any = NULL;
    for (size_t i = 0; i < c->n_databases; i++) {
        if (!strcmp(c->databases[i].name, name)) return &c->databases[i];
        if (!strcmp(c->databases[i].name, "*")) any = &c->databases[i];
    }
    return any;
}

const struct user_config *config_user(const struct config *c, const char *name) {
    const struct user_config *any = NULL;
    for (size_t i = 0; i < c->n_users; i++) {
        if (!strcmp(c->user_configs[i].name, name)) return &c->user_configs[i];
        if (!strcmp(c->user_configs[i].name, "*")) any = &c->user_configs[i];
    }
    return any;
}

const char *config_server_database(const struct config *c, const char *name) {
    const struct database_config *d = config_database(c, name);
    return d && d->dbname[0] ? d->dbname : name;
}

enum pool_mode config_pool_mode(const struct config *c, const char *database, const char *user) {
    const struct user_config *u = config_user(c, user);
    const struct database_config *d = config_database(c, database);
    if (u && u->has_pool_mode) return u->pool_mode;
    return d && d->has_pool_mode ? d->pool_mode : c->pool_mode;
}

enum consistency config_consistency(const struct config *c, const char *database, const char *user) {
    const struct user_config *u = config_user(c, user);
    const struct database_config *d = config_database(c, database);
    if (u && u->has_consistency) return u->consistency;
    return d && d->has_consistency ? d->consistency : c->consistency;
}

enum preference config_route(const struct config *c, const char *database, const char *user) {
    const struct user_config *u = config_user(c, user);
    const struct database_config *d = config_database(c, database);
    if (u && u->has_route) return u->route;
    return d && d->has_route ? d->route : c->route;
}

int64_t config_pool_size(const struct config *c, const char *database, const char *user) {
    const struct user_config *u = config_user(c, user);
    const struct database_config *d = config_database(c, database);
    if (u && u->pool_size >= 0) return u->pool_size;
    return d && d->pool_size >= 0 ? d->pool_size : c->default_pool_size;
}

int64_t config_min_pool_size(const struct config *c, const char *database) {
    const struct database_config *d = config_database(c, database);
    return d && d->min_pool_size >= 0 ? d->min_pool_size : c->min_pool_size;
}

int64_t config_reserve_pool_size(const struct config *c, const char *database) {
    const struct database_config *d = config_database(c, database);
    return d && d->reserve_pool_size >= 0 ? d->reserve_pool_size : c->reserve_pool_size;
}

// Reloading. Only [pgsteer] has options that wait for a restart (tests/unit/config/options_test.c sees to it).
char *config_restart_needed(const struct config *before, const struct config *after) {
    char *names = mem_strdup("");
    const struct option_row *o;
    for (size_t i = 0; (o = options_describe(i)) != NULL; i++) {
        if (!(o->flags & OPTION_RESTART) || option_equal(o, before, after)) continue;
        char *longer = mem_printf("%s%s%s", names, names[0] ? ", " : "", o->key);
        mem_free(names);
        names = longer;
    }
    return names;
}
