// SPDX-License-Identifier: ISC
//
// config/values.h: how values are written: numbers with units, words, file modes.
//
// A value type turns text into an int64_t and back. Durations are milliseconds, sizes are bytes, an enum is the index
// of its word, a boolean is 0 or 1. Strings and paths have no number and so neither parse nor print. Pure; any thread.
#ifndef PGSTEER_CONFIG_VALUES_H
#define PGSTEER_CONFIG_VALUES_H

#include "base/buf.h"
#include "base/fault.h"

// PostgreSQL's config_file_error: the SQLSTATE of every fault of this module.
#define CONFIG_SQLSTATE "F0000"

struct value_type {
    const char *name;         // as in the reference, e.g. "duration"
    const char *const *words; // of an enum, in the order of its values, NULL-terminated; NULL for the others
    // NULL for strings, paths and enums. False and a fault (`"x" is not a whole number`) when `text` is something else.
    bool (*parse)(const char *text, int64_t *out, struct fault *fault);
    void (*print)(int64_t value, struct buf *out);
};

extern const struct value_type value_string, value_path;
extern const struct value_type value_boolean;  // 0/1, no/yes, off/on, false/true; printed as 0 or 1
extern const struct value_type value_integer;  // decimal
extern const struct value_type value_duration; // 500ms, 60s, 1.5s, 5min, 1h, 1d; a plain number is seconds
extern const struct value_type value_size; // 256kB, 1MB, 1GB (units of 1024, as in PostgreSQL); a plain number is bytes
extern const struct value_type value_mode; // octal, e.g. 0770

extern const struct value_type value_auth_type, value_pool_mode, value_consistency, value_sslmode, value_server_role,
    value_balance, value_preference, value_log_level, value_log_format;

// True for strings and paths.
bool value_is_text(const struct value_type *t);

// Any type but strings and paths; white space around is the caller's to cut. On failure the fault says what was
// expected.
NODISCARD bool value_parse(const struct value_type *t, const char *text, int64_t *out, struct fault *fault);
// The shortest text that value_parse reads as `value`.
void value_print(const struct value_type *t, int64_t value, struct buf *out);

// What is wrong with the first byte that has no place in any value, e.g. "is not valid UTF-8", or NULL. Control
// characters but tabs, and what is not UTF-8, would reach logs, metrics and JSON.
const char *value_bad_bytes(struct span text);

#endif
