// SPDX-License-Identifier: ISC
//
// config/load.h: a configuration under construction; between config/load.c, config/check.c and config/config.c only.
//
// A load gathers sections from the file, the environment and the command line, each with where it and its values came
// from, and all that is wrong with them. It then is checked as a whole, and becomes a struct config, or is thrown away.
#ifndef PGSTEER_CONFIG_LOAD_H
#define PGSTEER_CONFIG_LOAD_H

#include "config/config.h"
#include "config/options.h"

enum origin_kind {
    ORIGIN_DEFAULT,     // nobody gave it
    ORIGIN_FILE,        // number: the line
    ORIGIN_ENVIRONMENT, // PGSTEER_KEY
    ORIGIN_SET,         // --set
    ORIGIN_SERVER       // --server; number: which of them, from 1
};

struct origin {
    enum origin_kind kind;
    size_t number;
};

struct section {
    enum option_section kind;
    const char *name; // "" for [pgsteer]; the config's
    bool refused;     // wrong as a whole: nothing more is said of it
    struct origin origin;
    void *object;         // the struct that the options write to
    struct origin *given; // by option_index: where each value came from
};

struct load {
    struct config *config; // owns every string
    const char *path;      // NULL = no file
    size_t n_sections;     // in the order in which they were given; the first is [pgsteer]
    struct section **sections;
    struct section *current; // the one that the file's next key belongs to; NULL under an unknown heading
    bool skipping;           // under a heading that was refused: its keys are passed over
    struct config_errors *errors;
};

// Memory that goes with the config. config_keep takes over a string of mem.h and answers it.
struct config *config_new(void);
const char *config_keep(struct config *c, char *text);

// Begins a load with the defaults; the errors are filled as they are found.
void load_init(struct load *l, const char *path, struct config_errors *errors);
// Frees all but the config.
void load_release(struct load *l);

void load_text(struct load *l, struct span text);
void load_environment(struct load *l);
void load_arguments(struct load *l, const struct config_argument *args, size_t n_args);

// Notes "file:line: key: what is wrong" with the place of `origin`. `key` may be NULL.
void load_error(struct load *l, struct origin origin, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);
// Notes a sentence in the config's warnings.
void load_warning(struct load *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

bool section_is_given(const struct section *s, const char *key);
// load_error about one key of a section: where it was given, else where the section starts.
void section_error(struct load *l, const struct section *s, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);
// `[server pg1]`, for messages; writes to `text`.
const char *section_describe(const struct section *s, char *text, size_t size);

// Adds [database *] when there is no such section.
void load_imply_database(struct load *l);

// Applies the defaults that hang on other options, reads auth_file and checks what no single option can see.
void load_check(struct load *l);
// Moves the sections' objects into the config's arrays.
void load_finish(struct load *l);

#endif
