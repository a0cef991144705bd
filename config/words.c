// SPDX-License-Identifier: ISC
// config/words.c: see config/words.h.
#include "config/words.h"

#include <ctype.h>
#include <string.h>

#include "config/values.h"

static bool is_space(char c) { return isspace((unsigned char)c) != 0; }

static const char *skip_space(const char *p) {
    while (is_space(*p)) p++;
    return p;
}

// Copies the value at `p` to `to`, with a NUL, and answers where it ends; NULL when its quote is not closed.
static const char *copy_value(const char *p, char *to) {
    bool quoted = *p == '\'';
    if (quoted) p++;
    while (quoted ? *p != '\'' : !is_space(*p) && *p) {
        if (*p == '\\' && p[1]) p++;
        if (!*p) return NULL;
        *to++ = *p++;
    }
    *to = '\0';
    return quoted ? p + 1 : p;
}

enum words_result words_next(const char **p, char *copy, char **key, char **value, struct fault *fault) {
    const char *s = skip_space(*p);
    if (!*s) return WORDS_END;
    size_t key_len = strcspn(s, "= \t\n\r\f\v");
    const char *sign = skip_space(s + key_len);
    if (key_len == 0 || *sign != '=') {
        fault_set(fault, CONFIG_SQLSTATE, "\"%.80s\" is not key=value", s);
        return WORDS_BAD;
    }
    *key = copy;
    memcpy(copy, s, key_len);
    copy[key_len] = '\0';
    *value = copy + key_len + 1;
    *p = copy_value(skip_space(sign + 1), *value);
    if (*p) return WORDS_PAIR;
    fault_set(fault, CONFIG_SQLSTATE, "the quote after %.80s= is not closed", *key);
    return WORDS_BAD;
}
