// SPDX-License-Identifier: ISC
// base/log.c: see base/log.h.
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { LOG_LINE_MAX = 2048, LOG_PREFIX_MAX = 160 };

// The only mutable state at file scope outside main: what every thread's log lines share.
static atomic_int current_level = LOG_LEVEL_INFO;
static atomic_int current_format = LOG_FORMAT_TEXT;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_set_level(enum log_level level) { atomic_store_explicit(&current_level, (int)level, memory_order_relaxed); }
void log_set_format(enum log_format format) { atomic_store_explicit(&current_format, (int)format, memory_order_relaxed); }
bool log_enabled(enum log_level level) {
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

// A line under construction; what does not fit is dropped.
struct line {
    char text[LOG_LINE_MAX];
    size_t len;
};

static void line_put(struct line *l, const char *s, size_t n) {
    size_t room = sizeof l->text - 1 - l->len; // one byte is kept for the newline
    if (n > room) n = room;
    memcpy(l->text + l->len, s, n);
    l->len += n;
}
static void line_str(struct line *l, const char *s) { line_put(l, s, strlen(s)); }

// Text between quotes in both formats: JSON's escapes, which key=value readers (logfmt) take as well.
static void line_escaped(struct line *l, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char esc[8];
        if (c == '"' || c == '\\') {
            line_put(l, (char[]){'\\', (char)c}, 2);
        } else if (c < 0x20 || c == 0x7f) {
            line_put(l, esc, (size_t)snprintf(esc, sizeof esc, "\\u%04x", c));
        } else {
            line_put(l, (const char *)&s[i], 1);
        }
    }
}

static void line_time(struct line *l) {
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    char text[40];
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    line_put(l, text, n);
    line_put(l, text, (size_t)snprintf(text, sizeof text, ".%03ldZ", ts.tv_nsec / 1000000));
}

void log_prefix_clear(struct log_prefix *p) {
    mem_free(p->text);
    p->text = NULL;
}

static bool is_plain(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' || (unsigned char)*s == 0x7f) return false;
    return true;
}

void log_prefix_add(struct log_prefix *p, const char *key, const char *fmt, ...) {
    char value[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    struct line l;
    l.len = 0; // not the whole of it: it is large
    if (p->text) line_str(&l, " ");
    line_str(&l, key);
    line_str(&l, "=");
    if (value[0] && is_plain(value)) {
        line_str(&l, value);
    } else {
        line_str(&l, "\"");
        line_escaped(&l, value, strlen(value));
        line_str(&l, "\"");
    }
    size_t used = p->text ? strlen(p->text) : 0;
    if (used + l.len >= LOG_PREFIX_MAX) return; // a pair is shown whole or not at all
    p->text = mem_grow(p->text, used + l.len + 1);
    memcpy(p->text + used, l.text, l.len);
    p->text[used + l.len] = '\0';
}

// Writes the prefix's pairs as JSON members. The text is our own, so its form is known.
static void line_prefix_json(struct line *l, const char *s) {
    while (*s) {
        const char *eq = strchr(s, '=');
        if (!eq) return;
        line_str(l, ",\"");
        line_put(l, s, (size_t)(eq - s));
        line_str(l, "\":\"");
        const char *end = eq + 1;
        if (*end == '"') {
            const char *from = ++end;
            while (*end && *end != '"') end += (*end == '\\' && end[1]) ? 2 : 1;
            line_put(l, from, (size_t)(end - from)); // already escaped
            if (*end) end++;
        } else {
            end += strcspn(end, " ");
            line_put(l, eq + 1, (size_t)(end - eq - 1));
        }
        line_str(l, "\"");
        s = *end == ' ' ? end + 1 : end;
    }
}

void log_write(enum log_level level, const struct log_prefix *prefix, const char *fmt, ...) {
    if (!log_enabled(level)) return;
    char message[LOG_LINE_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    struct line l;
    l.len = 0;
    bool json = atomic_load_explicit(&current_format, memory_order_relaxed) == LOG_FORMAT_JSON;
    line_str(&l, json ? "{\"time\":\"" : "time=");
    line_time(&l);
    line_str(&l, json ? "\",\"level\":\"" : " level=");
    line_str(&l, level_names[level]);
    if (json) line_str(&l, "\"");
    if (prefix && prefix->text) {
        if (json) {
            line_prefix_json(&l, prefix->text);
        } else {
            line_str(&l, " ");
            line_str(&l, prefix->text);
        }
    }
    line_str(&l, json ? ",\"msg\":\"" : " msg=\"");
    line_escaped(&l, message, strlen(message));
    if (l.len > sizeof l.text - 4) l.len = sizeof l.text - 4; // room for the closing quote, brace and newline
    line_str(&l, json ? "\"}" : "\"");
    l.text[l.len++] = '\n';
    // Standard error may be full or gone; a log that cannot be written must not stop the router.
    ssize_t ignored = write(STDERR_FILENO, l.text, l.len);
    (void)ignored;
}
