// SPDX-License-Identifier: ISC
//
// base/log.h: lines for people and machines, on standard error.
//
// A line is a time, a level, an optional prefix that names the object (`client=12 db=app user=web`) and a message, as
// key=value pairs or as one JSON object. Written with one write(2), so lines of different threads do not mix. A level
// that is off costs one branch. Never give it a secret or, above debug, the text of a statement.
#ifndef PGSTEER_BASE_LOG_H
#define PGSTEER_BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

// Both may be changed while threads log.
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
bool log_enabled(enum log_level level);

// The pairs printed before a message, made once when the object is made: `key=value key=value`, quoted where needed.
struct log_prefix {
    char *text; // owned; NULL = nothing
};
void log_prefix_clear(struct log_prefix *p);
// Cut, never overrun, when it does not fit. The value may come from a peer: it is escaped.
void log_prefix_add(struct log_prefix *p, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

// One line: `time level prefix message`. `prefix` may be NULL. Control characters in the message are escaped, so a peer's
// text cannot forge a line. Any thread.
void log_write(enum log_level level, const struct log_prefix *prefix, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(prefix, ...) log_write(LOG_LEVEL_ERROR, (prefix), __VA_ARGS__)
#define log_warning(prefix, ...) log_write(LOG_LEVEL_WARNING, (prefix), __VA_ARGS__)
#define log_info(prefix, ...) (log_enabled(LOG_LEVEL_INFO) ? log_write(LOG_LEVEL_INFO, (prefix), __VA_ARGS__) : (void)0)
#define log_debug(prefix, ...)                                                                                        \
    (log_enabled(LOG_LEVEL_DEBUG) ? log_write(LOG_LEVEL_DEBUG, (prefix), __VA_ARGS__) : (void)0)

#endif
