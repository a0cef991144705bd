// SPDX-License-Identifier: ISC
// config/load.c: see config/load.h. Text in, sections out; knows no option by name but a server's host and port.
#include "config/load.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/ini.h"
#include "config/suggest.h"
#include "config/words.h"

enum { SECTION_NAME_MAX = 63 };

static const char environment_prefix[] = "PGSTEER_";

// What is wrong, and where.

static struct origin section_given(const struct section *s, const char *key) {
    const struct option_row *o = options_find(s->kind, key);
    bug_unless(o);
    return s->given[option_index(o)];
}

bool section_is_given(const struct section *s, const char *key) { return section_given(s, key).kind != ORIGIN_DEFAULT; }

static char *upper(const char *key) {
    char *name = mem_strdup(key);
    for (char *p = name; *p; p++) *p = (char)toupper((unsigned char)*p);
    return name;
}

// "file:line: key: " and its like.
static char *place_describe(const struct load *l, struct origin origin, const char *key) {
    const char *colon = key ? ": " : "";
    if (!key) key = "";
    switch (origin.kind) {
    case ORIGIN_DEFAULT: return mem_printf("%s: %s%s", l->path ? l->path : "command line", key, colon);
    case ORIGIN_FILE: return mem_printf("%s:%zu: %s%s", l->path, origin.number, key, colon);
    case ORIGIN_SET: return mem_printf("--set: %s%s", key, colon);
    case ORIGIN_SERVER: return mem_printf("--server %zu: %s%s", origin.number, key, colon);
    case ORIGIN_ENVIRONMENT: break;
    }
    char *name = upper(key), *place = mem_printf("environment: %s%s%s", environment_prefix, name, colon);
    mem_free(name);
    return place;
}

static char *format(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);
static char *format(const char *fmt, va_list ap) {
    char *text = NULL;
    bug_unless(vasprintf(&text, fmt, ap) >= 0);
    return text;
}

static void load_verror(struct load *l, struct origin origin, const char *key, const char *fmt, va_list ap)
    PRINTF_LIKE(4, 0);
static void load_verror(struct load *l, struct origin origin, const char *key, const char *fmt, va_list ap) {
    char *what = format(fmt, ap), *place = place_describe(l, origin, key);
    struct config_errors *e = l->errors;
    e->texts = mem_grow(e->texts, (e->n + 1) * sizeof *e->texts);
    e->texts[e->n++] = mem_printf("%s%s", place, what);
    mem_free(place);
    mem_free(what);
}

void load_error(struct load *l, struct origin origin, const char *key, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    load_verror(l, origin, key, fmt, ap);
    va_end(ap);
}

void section_error(struct load *l, const struct section *s, const char *key, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    load_verror(l, section_is_given(s, key) ? section_given(s, key) : s->origin, key, fmt, ap);
    va_end(ap);
}

void load_warning(struct load *l, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    struct config *c = l->config;
    c->warnings = mem_grow(c->warnings, (c->n_warnings + 1) * sizeof *c->warnings);
    c->warnings[c->n_warnings++] = config_keep(c, format(fmt, ap));
    va_end(ap);
}

// Sections.

static const size_t object_sizes[OPTION_SECTIONS_COUNT] = {
    [OPTION_SECTION_SERVER] = sizeof(struct server_config),
    [OPTION_SECTION_DATABASE] = sizeof(struct database_config),
    [OPTION_SECTION_USER] = sizeof(struct user_config),
};

const char *section_describe(const struct section *s, char *text, size_t size) {
    snprintf(text, size, "[%s%s%s]", option_section_str(s->kind), s->name[0] ? " " : "", s->name);
    return text;
}

// A section with all defaults, at the end of the list.
static struct section *section_add(struct load *l, enum option_section kind, struct origin origin) {
    struct section *s = mem_new(struct section);
    s->kind = kind;
    s->name = "";
    s->origin = origin;
    s->given = mem_array(options_count(), struct origin);
    s->object = kind == OPTION_SECTION_PGSTEER ? (void *)l->config : mem_alloc(object_sizes[kind]);
    const struct option_row *o;
    for (size_t i = 0; (o = options_describe(i)) != NULL; i++)
        if (o->section == kind) option_set_default(o, s->object);
    l->sections = mem_grow(l->sections, (l->n_sections + 1) * sizeof *l->sections);
    l->sections[l->n_sections++] = s;
    return s;
}

// What is wrong with the name of a section, or NULL. A server's name goes into metrics, URLs and log lines.
static const char *name_problem(enum option_section kind, const char *name) {
    if (kind == OPTION_SECTION_PGSTEER) return name[0] ? "takes no name" : NULL;
    if (!name[0]) return "needs a name";
    if (strlen(name) > SECTION_NAME_MAX) return "has a name of more than 63 bytes";
    if (kind != OPTION_SECTION_SERVER) return NULL;
    for (const char *p = name; *p; p++)
        if (!isgraph((unsigned char)*p) || strchr("\"'\\,", *p))
            return "has a name with other characters than ASCII letters, digits and signs (no blanks, quotes, commas, "
                   "backslashes)";
    return NULL;
}

static void report_twin(struct load *l, const struct section *s, struct origin origin) {
    char heading[SECTION_NAME_MAX + 300];
    section_describe(s, heading, sizeof heading);
    if (s->origin.kind == ORIGIN_FILE) {
        load_error(l, origin, heading, "is already in line %zu", s->origin.number);
    } else {
        load_error(l, origin, heading, "is there twice");
    }
}

// Gives a section, but [pgsteer], its name. False and an error when another one of its kind has it.
static bool section_set_name(struct load *l, struct section *s, const char *name) {
    for (size_t i = 0; i < l->n_sections; i++) {
        const struct section *other = l->sections[i];
        if (other == s || other->kind != s->kind || strcmp(other->name, name) != 0) continue;
        report_twin(l, other, s->origin);
        s->refused = true;
        return false;
    }
    s->name = config_keep(l->config, mem_strdup(name));
    if (s->kind == OPTION_SECTION_SERVER) {
        struct server_config *server = s->object;
        server->name = s->name;
        server->line = s->origin.kind == ORIGIN_FILE ? s->origin.number : 0;
    } else if (s->kind == OPTION_SECTION_DATABASE) {
        ((struct database_config *)s->object)->name = s->name;
    } else {
        ((struct user_config *)s->object)->name = s->name;
    }
    return true;
}

void load_imply_database(struct load *l) {
    for (size_t i = 0; i < l->n_sections; i++)
        if (l->sections[i]->kind == OPTION_SECTION_DATABASE) return;
    struct section *s = section_add(l, OPTION_SECTION_DATABASE, (struct origin){ORIGIN_DEFAULT, 0});
    (void)section_set_name(l, s, "*");
}

// Values.

static void report_unknown(struct load *l, const struct section *s, const char *key, struct origin origin) {
    const char *section = option_section_str(s->kind), *near = options_suggest(s->kind, key);
    for (enum option_section other = 0; other < OPTION_SECTIONS_COUNT; other++) {
        if (other == s->kind || !options_find(other, key)) continue;
        load_error(l, origin, key, "is not an option of [%s] but of [%s%s]", section, option_section_str(other),
                   other == OPTION_SECTION_PGSTEER ? "" : " NAME");
        return;
    }
    load_error(l, origin, key, "is not an option of [%s]%s%s%s", section, near ? "; did you mean " : "",
               near ? near : "", near ? "?" : "");
}

// The value as the config keeps it: a copy, and a path of the file made to start at the file's folder.
static const char *keep_text(struct load *l, const struct option_row *o, const char *text, struct origin origin) {
    const char *slash = l->path ? strrchr(l->path, '/') : NULL;
    if (o->type != &value_path || origin.kind != ORIGIN_FILE || !slash || !text[0] || text[0] == '/')
        return config_keep(l->config, mem_strdup(text));
    return config_keep(l->config, mem_printf("%.*s/%s", (int)(slash - l->path), l->path, text));
}

static void section_set(struct load *l, struct section *s, const char *key, const char *text, struct origin origin) {
    const struct option_row *o = options_find(s->kind, key);
    if (!o) {
        report_unknown(l, s, key, origin);
        return;
    }
    struct origin *given = &s->given[option_index(o)];
    if (given->kind == origin.kind) {
        if (origin.kind == ORIGIN_FILE) {
            load_error(l, origin, key, "is already given in line %zu", given->number);
        } else {
            load_error(l, origin, key, "is given twice");
        }
        return;
    }
    *given = origin;
    struct option_value v;
    struct fault why;
    const char *bad = value_bad_bytes(span_str(text));
    if (bad || !option_parse(o, text, &v, &why)) {
        load_error(l, origin, key, "%s", bad ? bad : why.text);
        return;
    }
    if (value_is_text(o->type)) v.text = keep_text(l, o, text, origin);
    option_set(o, s->object, v);
}

// The file.

static bool section_kind_parse(const char *word, enum option_section *out) {
    for (*out = 0; *out < OPTION_SECTIONS_COUNT; ++*out)
        if (!strcmp(word, option_section_str(*out))) return true;
    return false;
}

static void report_unknown_section(struct load *l, const struct ini_event *e, struct origin origin) {
    struct suggestion s = suggestion_for(e->word);
    for (enum option_section k = 0; k < OPTION_SECTIONS_COUNT; k++) suggestion_try(&s, option_section_str(k));
    char *heading = mem_printf("[%s%s%s]", e->word, e->name[0] ? " " : "", e->name);
    load_error(l, origin, heading, "is not a section%s%s%s", s.best ? "; did you mean [" : "", s.best ? s.best : "",
               s.best ? "]?" : "");
    mem_free(heading);
}

static void on_heading(struct load *l, const struct ini_event *e) {
    struct origin origin = {ORIGIN_FILE, e->line};
    enum option_section kind;
    l->current = NULL;
    l->skipping = true;
    if (!section_kind_parse(e->word, &kind)) {
        report_unknown_section(l, e, origin);
        return;
    }
    const char *bad = name_problem(kind, e->name);
    if (bad) {
        char *heading = mem_printf("[%s%s%s]", e->word, e->name[0] ? " " : "", e->name);
        load_error(l, origin, heading, "%s", bad);
        mem_free(heading);
        return;
    }
    struct section *s = kind == OPTION_SECTION_PGSTEER ? l->sections[0] : section_add(l, kind, origin);
    if (kind != OPTION_SECTION_PGSTEER) {
        if (!section_set_name(l, s, e->name)) return;
    } else if (s->origin.kind == ORIGIN_FILE) {
        report_twin(l, s, origin);
        return;
    }
    s->origin = origin;
    l->current = s;
    l->skipping = false;
}

static void on_event(void *arg, const struct ini_event *e) {
    struct load *l = arg;
    struct origin origin = {ORIGIN_FILE, e->line};
    switch (e->kind) {
    case INI_SECTION: on_heading(l, e); break;
    case INI_ERROR: load_error(l, origin, NULL, "%s", e->error); break;
    case INI_KEY:
        if (l->current) {
            section_set(l, l->current, e->key, e->value, origin);
        } else if (!l->skipping) {
            load_error(l, origin, e->key, "stands before the first section");
        }
        break;
    }
}

void load_text(struct load *l, struct span text) { ini_read(text, on_event, l); }

// The environment.

static void warn_of_unknown_variable(struct load *l, const char *variable) {
    size_t prefix = sizeof environment_prefix - 1;
    if (strncmp(variable, environment_prefix, prefix) != 0) return;
    char *key = mem_strndup(variable + prefix, strcspn(variable + prefix, "="));
    for (char *p = key; *p; p++) *p = (char)tolower((unsigned char)*p);
    const char *near = options_suggest(OPTION_SECTION_PGSTEER, key);
    if (!options_find(OPTION_SECTION_PGSTEER, key))
        load_warning(l, "environment: %.*s is not an option of [pgsteer]%s%s%s", (int)strcspn(variable, "="), variable,
                     near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    mem_free(key);
}

void load_environment(struct load *l) {
    const struct option_row *o;
    for (size_t i = 0; (o = options_describe(i)) != NULL; i++) {
        if (o->section != OPTION_SECTION_PGSTEER) continue;
        char *key = upper(o->key), *name = mem_printf("%s%s", environment_prefix, key);
        const char *text = getenv(name);
        if (text) section_set(l, l->sections[0], o->key, text, (struct origin){ORIGIN_ENVIRONMENT, 0});
        mem_free(name);
        mem_free(key);
    }
    for (char **variable = environ; variable && *variable; variable++) warn_of_unknown_variable(l, *variable);
}

// The command line.

static void load_set(struct load *l, const char *text) {
    struct origin origin = {ORIGIN_SET, 0};
    const char *sign = strchr(text, '=');
    if (!sign) {
        load_error(l, origin, NULL, "\"%.80s\" is not key=value", text);
        return;
    }
    char *key = mem_strndup(text, (size_t)(sign - text));
    section_set(l, l->sections[0], key, sign + 1, origin);
    mem_free(key);
}

// Reads all pairs; `name` gets the server's name, if one is given.
static void read_server(struct load *l, struct section *s, const char *text, char **name) {
    char *copy = mem_alloc(strlen(text) + 2), *key, *value;
    struct fault why;
    enum words_result r;
    while ((r = words_next(&text, copy, &key, &value, &why)) == WORDS_PAIR) {
        if (strcmp(key, "name") != 0) {
            section_set(l, s, key, value, s->origin);
        } else if (*name) {
            load_error(l, s->origin, "name", "is given twice");
        } else {
            *name = mem_strdup(value);
            const char *bad = name_problem(OPTION_SECTION_SERVER, value);
            if (bad) load_error(l, s->origin, "name", "the server %s", bad);
        }
    }
    mem_free(copy);
    if (r == WORDS_END) return;
    load_error(l, s->origin, NULL, "%s", why.text);
    s->refused = true;
}

static void load_server(struct load *l, const char *text, size_t number) {
    struct section *s = section_add(l, OPTION_SECTION_SERVER, (struct origin){ORIGIN_SERVER, number});
    const struct server_config *server = s->object;
    char *name = NULL;
    size_t errors = l->errors->n;
    read_server(l, s, text, &name);
    const char *host = server->host;
    if (!name && host[0])
        name = mem_printf(host[0] != '/' && strchr(host, ':') ? "[%s]:%lld" : "%s:%lld", host, (long long)server->port);
    // The name would only repeat what has been said.
    if (name && l->errors->n == errors) (void)section_set_name(l, s, name);
    mem_free(name);
}

void load_arguments(struct load *l, const struct config_argument *args, size_t n_args) {
    size_t servers = 0;
    for (size_t i = 0; i < n_args; i++) {
        if (args[i].kind == CONFIG_ARGUMENT_SERVER) {
            load_server(l, args[i].text, ++servers);
        } else {
            load_set(l, args[i].text);
        }
    }
}

// The whole.

void load_init(struct load *l, const char *path, struct config_errors *errors) {
    *l = (struct load){.config = config_new(), .path = path, .errors = errors};
    l->config->path = config_keep(l->config, mem_strdup(path ? path : ""));
    section_add(l, OPTION_SECTION_PGSTEER, (struct origin){ORIGIN_DEFAULT, 0});
}

void load_release(struct load *l) {
    for (size_t i = 0; i < l->n_sections; i++) {
        struct section *s = l->sections[i];
        if (s->kind != OPTION_SECTION_PGSTEER) mem_free(s->object);
        mem_free(s->given);
        mem_free(s);
    }
    mem_free(l->sections);
}

// Copies the objects of all sections of a kind into one array, in their order.
static void *gather(const struct load *l, enum option_section kind, size_t *count) {
    size_t size = object_sizes[kind];
    char *array = mem_array_alloc(l->n_sections, size);
    for (size_t i = 0; i < l->n_sections; i++)
        if (l->sections[i]->kind == kind) memcpy(array + size * (*count)++, l->sections[i]->object, size);
    return array;
}

void load_finish(struct load *l) {
    struct config *c = l->config;
    c->servers = gather(l, OPTION_SECTION_SERVER, &c->n_servers);
    c->databases = gather(l, OPTION_SECTION_DATABASE, &c->n_databases);
    c->user_configs = gather(l, OPTION_SECTION_USER, &c->n_users);
}
