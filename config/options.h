// SPDX-License-Identifier: ISC
//
// config/options.h: the table of all options (config/options.def) and what can be done with one row of it.
//
// The loader, the environment, reload, SHOW CONFIG and the reference walk this table; none of them knows an option by
// name. A row says where its value lives in the struct of its section (struct config, server_config, database_config or
// user_config): `object` below is a pointer to that struct. Pure; any thread.
#ifndef PGSTEER_CONFIG_OPTIONS_H
#define PGSTEER_CONFIG_OPTIONS_H

#include <stdio.h>

#include "config/values.h"

enum option_section {
    OPTION_SECTION_PGSTEER,
    OPTION_SECTION_SERVER,
    OPTION_SECTION_DATABASE,
    OPTION_SECTION_USER,
    OPTION_SECTIONS_COUNT
};

enum option_flags {
    OPTION_RELOAD = 0,    // a reload applies it
    OPTION_RESTART = 1,   // a change waits for a restart
    OPTION_SENSITIVE = 2, // its value is never shown
    OPTION_REQUIRED = 4   // its section is wrong without it
};

// How the field holds the value: const char *, int64_t, bool, or an enum.
enum option_storage { OPTION_TEXT, OPTION_NUMBER, OPTION_BOOLEAN, OPTION_WORD };

struct option_row {
    enum option_section section;
    const char *key;
    const struct value_type *type;
    const char *preset;   // the default as text; NULL when it is inherited
    const char *inherits; // what holds when it is not given; NULL when there is a preset
    int64_t min, max;     // of the number, or of the text's length
    unsigned flags;
    const char *help; // sentences, in Markdown
    // private
    enum option_storage storage;
    size_t offset;
    size_t given_offset; // of the bool that says whether an inherited word was given; 0 = has none
};

// Row `i` in the order of the reference, NULL past the last: the way to walk the table.
const struct option_row *options_describe(size_t i);
size_t options_count(void);
size_t option_index(const struct option_row *o); // its row: options_describe(option_index(o)) == o
// NULL when there is none.
const struct option_row *options_find(enum option_section section, const char *key);
// The nearest key to one that does not exist, in that section, or NULL.
const char *options_suggest(enum option_section section, const char *key);
// "pgsteer", "server", "database", "user".
const char *option_section_str(enum option_section section);

struct option_value {
    int64_t number;   // all but texts
    const char *text; // texts: borrowed from the argument of option_parse, or from the object
};

// Reads and checks the bounds. False and a fault that says what is wrong, without file, line and key. The fault of a
// SENSITIVE option does not hold the value.
NODISCARD bool option_parse(const struct option_row *o, const char *text, struct option_value *out, struct fault *fault);
// Puts a value that option_parse or option_get made into the field. A text is not copied: it must live as long as the
// object.
void option_set(const struct option_row *o, void *object, struct option_value v);
// The field's value. For an inherited option see option_is_given.
struct option_value option_get(const struct option_row *o, const void *object);
// Puts the preset into the field, or for an inherited option "not given".
void option_set_default(const struct option_row *o, void *object);
// True unless the option is inherited and was not given.
bool option_is_given(const struct option_row *o, const void *object);
bool option_equal(const struct option_row *o, const void *a, const void *b);

// The value as one would write it in the file; nothing for one that is not given; "********" for a SENSITIVE one that
// is set.
void option_print(const struct option_row *o, const void *object, struct buf *out);
// A number of the option's type, e.g. one of its bounds.
void option_print_number(const struct option_row *o, int64_t number, struct buf *out);

// The whole of docs/options.md.
void options_print_markdown(FILE *out);

#endif
