// SPDX-License-Identifier: ISC
// config/options.c: see config/options.h.
#include "config/options.h"

#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "config/suggest.h"

#define STRUCT_PGSTEER struct config
#define STRUCT_SERVER struct server_config
#define STRUCT_DATABASE struct database_config
#define STRUCT_USER struct user_config

// The field's own type says how it holds the value: what is none of these is an enum.
#define STORAGE(member)                                                                                                \
    _Generic((member), const char *: OPTION_TEXT, int64_t: OPTION_NUMBER, bool: OPTION_BOOLEAN, default: OPTION_WORD)

#define RELOAD OPTION_RELOAD
#define RESTART OPTION_RESTART
#define SENSITIVE OPTION_SENSITIVE
#define REQUIRED OPTION_REQUIRED

#define ROW(section_, key_, type_, preset_, from_, given_, min_, max_, flags_, help_)                                  \
    {.section = OPTION_SECTION_##section_,                                                                             \
     .key = #key_,                                                                                                     \
     .type = &value_##type_,                                                                                           \
     .preset = (preset_),                                                                                              \
     .inherits = (from_),                                                                                              \
     .min = (min_),                                                                                                    \
     .max = (max_),                                                                                                    \
     .flags = (flags_),                                                                                                \
     .help = (help_),                                                                                                  \
     .storage = STORAGE(((STRUCT_##section_ *)NULL)->key_),                                                            \
     .offset = offsetof(STRUCT_##section_, key_),                                                                      \
     .given_offset = (given_)},
#define GROUP(title, text)
#define OPTION(section, key, type, preset, min, max, flags, help)                                                      \
    ROW(section, key, type, preset, NULL, 0, min, max, flags, help)
#define INHERITED(section, key, type, from, min, max, flags, help)                                                     \
    ROW(section, key, type, NULL, from, 0, min, max, flags, help)
#define INHERITED_WORD(section, key, type, from, min, max, flags, help)                                                \
    ROW(section, key, type, NULL, from, offsetof(STRUCT_##section, has_##key), min, max, flags, help)

static const struct option_row options[] = {
#include "config/options.def"
};

static const char *const section_words[OPTION_SECTIONS_COUNT] = {"pgsteer", "server", "database", "user"};

const struct option_row *options_describe(size_t i) { return i < countof(options) ? &options[i] : NULL; }
size_t options_count(void) { return countof(options); }
size_t option_index(const struct option_row *o) { return (size_t)(o - options); }
const char *option_section_str(enum option_section section) { return section_words[section]; }

const struct option_row *options_find(enum option_section section, const char *key) {
    for (size_t i = 0; i < countof(options); i++)
        if (options[i].section == section && !strcmp(options[i].key, key)) return &options[i];
    return NULL;
}

const char *options_suggest(enum option_section section, const char *key) {
    struct suggestion s = suggestion_for(key);
    for (size_t i = 0; i < countof(options); i++)
        if (options[i].section == section) suggestion_try(&s, options[i].key);
    return s.best;
}

static bool text_parse(const struct option_row *o, const char *text, struct option_value *out, struct fault *fault) {
    size_t len = strlen(text);
    *out = (struct option_value){.text = text};
    if (len > (uint64_t)o->max)
        return fault_set(fault, CONFIG_SQLSTATE, "is longer than %" PRId64 " bytes (it has %zu)", o->max, len);
    if (len < (uint64_t)o->min) return fault_set(fault, CONFIG_SQLSTATE, "must not be empty");
    return true;
}

static bool check_bounds(const struct option_row *o, int64_t n, struct fault *fault) {
    if (o->type->words || (n >= o->min && n <= o->max)) return true;
    struct buf shown = buf_make(200);
    option_print_number(o, n, &shown);
    buf_printf(&shown, n < o->min ? " is below the minimum of " : " is above the maximum of ");
    option_print_number(o, n < o->min ? o->min : o->max, &shown);
    struct span s = buf_span(&shown);
    fault_set(fault, CONFIG_SQLSTATE, "%.*s", (int)s.len, (const char *)s.ptr);
    buf_release(&shown);
    return false;
}

bool option_parse(const struct option_row *o, const char *text, struct option_value *out, struct fault *fault) {
    if (value_is_text(o->type)) return text_parse(o, text, out, fault);
    *out = (struct option_value){0};
    if (!value_parse(o->type, text, &out->number, fault) || !check_bounds(o, out->number, fault)) return false;
    // Some enums are kept as the word itself.
    if (o->storage == OPTION_TEXT) out->text = o->type->words[out->number];
    return true;
}

static void *field_of(const struct option_row *o, void *object) { return (char *)object + o->offset; }
static const void *const_field_of(const struct option_row *o, const void *object) {
    return (const char *)object + o->offset;
}

void option_set(const struct option_row *o, void *object, struct option_value v) {
    void *field = field_of(o, object);
    switch (o->storage) {
    case OPTION_TEXT: *(const char **)field = v.text; break;
    case OPTION_NUMBER: *(int64_t *)field = v.number; break;
    case OPTION_BOOLEAN: *(bool *)field = v.number != 0; break;
    case OPTION_WORD: *(unsigned *)field = (unsigned)v.number; break;
    }
    if (o->given_offset) *(bool *)((char *)object + o->given_offset) = true;
}

struct option_value option_get(const struct option_row *o, const void *object) {
    const void *field = const_field_of(o, object);
    switch (o->storage) {
    case OPTION_TEXT: return (struct option_value){.text = *(const char *const *)field};
    case OPTION_NUMBER: return (struct option_value){.number = *(const int64_t *)field};
    case OPTION_BOOLEAN: return (struct option_value){.number = *(const bool *)field};
    case OPTION_WORD: return (struct option_value){.number = *(const unsigned *)field};
    }
    bug("an option without storage");
}

void option_set_default(const struct option_row *o, void *object) {
    if (o->preset) {
        struct option_value v = {.text = o->preset};
        bool ok = value_is_text(o->type) || option_parse(o, o->preset, &v, NULL);
        bug_unless(ok);
        option_set(o, object, v);
    } else if (o->given_offset) {
        *(bool *)((char *)object + o->given_offset) = false;
    } else {
        option_set(o, object, (struct option_value){.number = -1});
    }
}

bool option_is_given(const struct option_row *o, const void *object) {
    if (!o->inherits) return true;
    if (o->given_offset) return *(const bool *)((const char *)object + o->given_offset);
    return option_get(o, object).number >= 0;
}

bool option_equal(const struct option_row *o, const void *a, const void *b) {
    if (option_is_given(o, a) != option_is_given(o, b)) return false;
    if (!option_is_given(o, a)) return true;
    struct option_value x = option_get(o, a), y = option_get(o, b);
    return o->storage == OPTION_TEXT ? !strcmp(x.text, y.text) : x.number == y.number;
}

void option_print_number(const struct option_row *o, int64_t number, struct buf *out) { value_print(o->type, number, out); }

void option_print(const struct option_row *o, const void *object, struct buf *out) {
    if (!option_is_given(o, object)) return;
    struct option_value v = option_get(o, object);
    if (o->storage != OPTION_TEXT) {
        option_print_number(o, v.number, out);
    } else if (o->flags & OPTION_SENSITIVE) {
        buf_printf(out, "%s", v.text[0] ? "********" : "");
    } else {
        buf_put_span(out, span_str(v.text));
    }
}

// The reference.

static const char intro[] =
    "# Configuration reference\n"
    "\n"
    "<!-- Generated from config/options.def: edit that, then run `build/debug/config/print_options > docs/options.md`. "
    "-->\n"
    "\n"
    "The configuration is an INI file, given with `--config FILE`. A line is a section's heading, `key = value`, or "
    "empty. `;`\n"
    "and `#` start a comment at the start of a line, and after white space: a value cannot hold white space followed "
    "by one of\n"
    "them (the environment can give such a value). A line has at most 4,000 bytes. A section or a key that is there "
    "twice, or\n"
    "that is not known, is an error, and nothing starts or changes until it is gone; `pgsteer --check --config FILE` "
    "lists them.\n"
    "\n"
    "Every key of `[pgsteer]` can also be given in the environment, as `PGSTEER_` and the key in upper case, and on "
    "the command\n"
    "line, as `--set key=value`. Where the same key is given twice, the command line goes before the environment and "
    "the\n"
    "environment before the file. `--server \"host=... port=... role=... weight=... zone=... name=...\"` adds a "
    "server; its name is\n"
    "`host:port` unless given. Servers, databases and users cannot be given in the environment.\n"
    "\n"
    "| Type | Written as |\n"
    "|---|---|\n"
    "| boolean | `1` or `0`; also `yes`/`no`, `on`/`off`, `true`/`false` |\n"
    "| duration | a number with `ms`, `s`, `min`, `h` or `d`, such as `500ms`, `1.5s`, `5min`; a plain number is "
    "seconds |\n"
    "| size | a whole number with `kB`, `MB` or `GB` (of 1024), such as `256kB`; a plain number is bytes |\n"
    "| octal file mode | such as `0770` |\n"
    "| path | as it is when it starts with `/`; in the file, others are taken from the file's own folder, elsewhere "
    "from the "
    "current one |\n"
    "\n"
    "SIGHUP reads everything again. A file with an error is refused and the old configuration stays. Options marked "
    "*restart*\n"
    "keep their old value until then; the log names those that differ.\n";

static void print_group(FILE *f, const char *title, const char *text) {
    fprintf(f, "\n## %s\n", title);
    if (text[0]) fprintf(f, "\n%s\n", text);
}

static void print_code(FILE *f, const struct option_row *o, int64_t number) {
    struct buf b = buf_make(100);
    option_print_number(o, number, &b);
    struct span s = buf_span(&b);
    fprintf(f, "`%.*s`", (int)s.len, (const char *)s.ptr);
    buf_release(&b);
}

static void print_range(FILE *f, const struct option_row *o) {
    if (o->type->words) {
        for (size_t i = 0; o->type->words[i]; i++) fprintf(f, "%s`%s`", i ? " or " : ", ", o->type->words[i]);
    } else if (!value_is_text(o->type) && o->storage != OPTION_BOOLEAN) {
        fprintf(f, ", ");
        print_code(f, o, o->min);
        fprintf(f, " to ");
        print_code(f, o, o->max);
    }
}

static void print_default(FILE *f, const struct option_row *o) {
    if (o->flags & OPTION_REQUIRED) {
        fprintf(f, "required");
    } else if (o->inherits) {
        fprintf(f, "default: %s", o->inherits);
    } else if (o->preset[0]) {
        fprintf(f, "default `%s`", o->preset);
    } else {
        fprintf(f, "default empty");
    }
}

static void print_option(FILE *f, const struct option_row *o) {
    fprintf(f, "\n### `%s`\n\n%s", o->key, o->type->name);
    print_range(f, o);
    fprintf(f, "; ");
    print_default(f, o);
    fprintf(f, "%s\n\n%s\n", o->flags & OPTION_RESTART ? "; *restart*" : "", o->help);
}

void options_print_markdown(FILE *out) {
    size_t i = 0;
    fprintf(out, "%s", intro);
#undef GROUP
#undef OPTION
#undef INHERITED
#undef INHERITED_WORD
#define GROUP(title, text) print_group(out, title, text);
#define OPTION(...) print_option(out, &options[i++]);
#define INHERITED OPTION
#define INHERITED_WORD OPTION
#include "config/options.def"
}
