// SPDX-License-Identifier: ISC
//
// config/words.h: `key=value key=value`, as in libpq's connection strings.
//
// White space separates the pairs and may stand around the sign. A value with white space, or an empty one, stands
// between single quotes; a backslash takes the next character as it is, inside quotes and outside. Pure; any thread.
#ifndef PGSTEER_CONFIG_WORDS_H
#define PGSTEER_CONFIG_WORDS_H

#include "base/base.h"
#include "base/fault.h"

// Reads one pair at `*p` and moves `*p` behind it. `copy` has room for strlen(*p) + 2 bytes, and gets key and value,
// which `key` and `value` point to. WORDS_END at the end of the text; WORDS_BAD and a fault on bad syntax.
enum words_result { WORDS_PAIR, WORDS_END, WORDS_BAD };
NODISCARD enum words_result words_next(const char **p, char *copy, char **key, char **value, struct fault *fault);

#endif
