// SPDX-License-Identifier: ISC
// config/values.c: see config/values.h.
#include "config/values.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    int64_t factor;
};

// Ascending; the last entry is the unit of a plain number.
static const struct unit duration_units[] = {{"ms", 1},          {"s", 1000},     {"min", 60000},
                                             {"h", 3600 * 1000}, {"d", 86400000}, {"", 1000}};
static const struct unit size_units[] = {{"B", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"", 1}};

const char *value_bad_bytes(struct span s) {
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.ptr[i];
        if (c < 0x80) {
            if ((c < ' ' && c != '\t') || c == 0x7f) return "holds a control character";
            i++;
            continue;
        }
        size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        if (c < 0xc2 || c > 0xf4 || n > s.len - i) return "is not valid UTF-8";
        uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (s.ptr[i + 1] < low || s.ptr[i + 1] > high) return "is not valid UTF-8";
        for (size_t k = 2; k < n; k++)
            if ((s.ptr[i + k] & 0xc0) != 0x80) return "is not valid UTF-8";
        i += n;
    }
    return NULL;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads the digits at `*p`, at least one. False when there are none or the number does not fit.
static bool read_digits(const char **p, int base, int64_t *out) {
    int64_t v = 0;
    const char *s = *p;
    for (; is_digit(*s) && *s < '0' + base; s++)
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, *s - '0', &v)) return false;
    bool any = s > *p;
    *p = s;
    *out = v;
    return any;
}

static bool integer_parse(const char *text, int64_t *out, struct fault *fault) {
    const char *p = text[0] == '-' ? text + 1 : text;
    if (!read_digits(&p, 10, out) || *p)
        return fault_set(fault, CONFIG_SQLSTATE, "\"%.80s\" is not a whole number", text);
    if (text[0] == '-') *out = -*out;
    return true;
}

static void integer_print(int64_t value, struct buf *out) { buf_printf(out, "%" PRId64, value); }

static bool mode_parse(const char *text, int64_t *out, struct fault *fault) {
    const char *p = text;
    if (read_digits(&p, 8, out) && !*p) return true;
    return fault_set(fault, CONFIG_SQLSTATE, "\"%.80s\" is not an octal file mode such as 0770", text);
}

static void mode_print(int64_t value, struct buf *out) { buf_printf(out, "%04" PRIo64, (uint64_t)value); }

static bool boolean_parse(const char *text, int64_t *out, struct fault *fault) {
    static const char *const words[] = {"0", "1", "no", "yes", "off", "on", "false", "true"};
    for (size_t i = 0; i < countof(words); i++) {
        if (strcasecmp(text, words[i]) != 0) continue;
        *out = (int64_t)(i % 2);
        return true;
    }
    return fault_set(fault, CONFIG_SQLSTATE, "\"%.80s\" is neither 1 (yes, on, true) nor 0 (no, off, false)", text);
}

static const struct unit *unit_find(const struct unit *units, const char *name) {
    const struct unit *u = units;
    while (strcmp(u->name, name) != 0)
        if (!*u++->name) return NULL; // the unit of a plain number is the last
    return u;
}

// Reads ".25" as a part of `factor` into `out`: 0 when there is none. False when it is not a whole number of the
// smallest unit.
static bool read_fraction(const char **p, int64_t factor, int64_t *out) {
    *out = 0;
    if (**p != '.') return true;
    int64_t scale = factor;
    if (!is_digit(*++*p)) return false;
    for (; is_digit(**p); ++*p) {
        int64_t digit = **p - '0';
        if (scale % 10 == 0) {
            scale /= 10;
            *out += digit * scale;
        } else if (digit != 0) {
            return false;
        }
    }
    return true;
}

static bool duration_parse(const char *text, int64_t *out, struct fault *fault) {
    const char *p = text;
    int64_t whole, fraction;
    const struct unit *u = unit_find(duration_units, p + strspn(p, "0123456789. "));
    if (u && read_digits(&p, 10, &whole) && read_fraction(&p, u->factor, &fraction)) {
        p += strspn(p, " ");
        if (!strcmp(p, u->name) && !__builtin_mul_overflow(whole, u->factor, out) &&
            !__builtin_add_overflow(*out, fraction, out))
            return true;
    }
    return fault_set(
        fault, CONFIG_SQLSTATE,
        "\"%.80s\" is not a duration: a number and ms, s, min, h or d (alone it is seconds), to the millisecond", text);
}

static bool size_parse(const char *text, int64_t *out, struct fault *fault) {
    const char *p = text;
    int64_t whole;
    if (read_digits(&p, 10, &whole)) {
        p += strspn(p, " ");
        const struct unit *u = unit_find(size_units, p);
        if (u && !__builtin_mul_overflow(whole, u->factor, out)) return true;
    }
    return fault_set(fault, CONFIG_SQLSTATE,
                     "\"%.80s\" is not a size: a whole number and kB, MB or GB (alone it is bytes)", text);
}

// In the largest unit that divides the value.
static void units_print(const struct unit *units, int64_t value, struct buf *out) {
    const struct unit *best = units;
    for (const struct unit *u = units; *u->name; u++)
        if (value % u->factor == 0) best = u;
    buf_printf(out, "%" PRId64, value / best->factor);
    if (value != 0) buf_printf(out, "%s", best->name);
}

static void duration_print(int64_t value, struct buf *out) { units_print(duration_units, value, out); }
static void size_print(int64_t value, struct buf *out) { units_print(size_units, value, out); }

const struct value_type value_string = {.name = "string"};
const struct value_type value_path = {.name = "path"};
const struct value_type value_boolean = {.name = "boolean", .parse = boolean_parse, .print = integer_print};
const struct value_type value_integer = {.name = "integer", .parse = integer_parse, .print = integer_print};
const struct value_type value_duration = {.name = "duration", .parse = duration_parse, .print = duration_print};
const struct value_type value_size = {.name = "size", .parse = size_parse, .print = size_print};
const struct value_type value_mode = {.name = "octal file mode", .parse = mode_parse, .print = mode_print};

// The words of each enum of config/config.h and base/log.h, in its order.
#define WORDS(...)                                                                                                     \
    {                                                                                                                  \
        .name = "enum", .words = (const char *const[]) { __VA_ARGS__, NULL }                                           \
    }
const struct value_type value_auth_type = WORDS("trust", "scram-sha-256");
const struct value_type value_pool_mode = WORDS("transaction", "session");
const struct value_type value_consistency = WORDS("eventual", "session", "monotonic", "global");
const struct value_type value_preference = WORDS("auto", "primary", "replica");
const struct value_type value_sslmode = WORDS("disable", "allow", "prefer", "require", "verify-ca", "verify-full");
const struct value_type value_server_role = WORDS("auto", "primary", "replica");
const struct value_type value_balance = WORDS("round_robin", "least_connections");
const struct value_type value_log_level = WORDS("error", "warning", "info", "debug");
const struct value_type value_log_format = WORDS("text", "json");

bool value_is_text(const struct value_type *t) { return !t->parse && !t->words; }

static bool word_parse(const struct value_type *t, const char *text, int64_t *out, struct fault *fault) {
    struct buf all = buf_make(256);
    for (size_t i = 0; t->words[i]; i++) {
        if (!strcmp(text, t->words[i])) {
            *out = (int64_t)i;
            buf_release(&all);
            return true;
        }
        buf_printf(&all, "%s%s", i ? ", " : "", t->words[i]);
    }
    struct span words = buf_span(&all);
    fault_set(fault, CONFIG_SQLSTATE, "\"%.80s\" is none of %.*s", text, (int)words.len, (const char *)words.ptr);
    buf_release(&all);
    return false;
}

bool value_parse(const struct value_type *t, const char *text, int64_t *out, struct fault *fault) {
    return t->words ? word_parse(t, text, out, fault) : t->parse(text, out, fault);
}

void value_print(const struct value_type *t, int64_t value, struct buf *out) {
    if (!t->words) {
        t->print(value, out);
    } else {
        buf_put_span(out, span_str(t->words[value]));
    }
}
