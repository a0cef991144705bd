// SPDX-License-Identifier: ISC
// config/ini.c: see config/ini.h.
#include "config/ini.h"

#include <ctype.h>
#include <ini.h>
#include <pthread.h>
#include <stdio.h>

#include "config/values.h"

struct reader {
    struct span left; // the lines not yet read
    size_t line;      // the one that libinih has, from 1
    bool answer_due;  // that line must come back as a key, or it is bad
    void (*on_event)(void *arg, const struct ini_event *e);
    void *arg;
};

// libinih's options are global variables. They are set once, always to the same values.
static void set_library_options(void) {
    static char comment_signs[] = ";#";
    ini_max_line = INI_LINE_MAX + 2; // a line's end and a NUL
    ini_inline_comment_prefixes = comment_signs;
}

static void report(struct reader *r, const char *error) {
    r->on_event(r->arg, &(struct ini_event){.kind = INI_ERROR, .line = r->line, .error = error});
}

// `text` is "[...", NUL-terminated and ours to cut.
static void read_heading(struct reader *r, char *text) {
    char *end = strchr(text, ']');
    if (!end) {
        report(r, "the heading needs a ] at its end");
        return;
    }
    const char *rest = end + 1 + strspn(end + 1, " \t");
    if (*rest && *rest != ';' && *rest != '#') {
        report(r, "only a comment may follow the heading");
        return;
    }
    while (end > text + 1 && isspace((unsigned char)end[-1])) end--;
    *end = '\0';
    char *word = text + 1 + strspn(text + 1, " \t");
    char *name = word + strcspn(word, " \t");
    if (*name) *name++ = '\0';
    name += strspn(name, " \t");
    r->on_event(r->arg, &(struct ini_event){.kind = INI_SECTION, .line = r->line, .word = word, .name = name});
}

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

// Takes the next line off the text, without its end and the white space around it.
static bool next_line(struct reader *r, struct span *line) {
    if (r->left.len == 0) return false;
    const uint8_t *lf = memchr(r->left.ptr, '\n', r->left.len);
    size_t len = lf ? (size_t)(lf - r->left.ptr) : r->left.len;
    *line = span_first(r->left, len);
    r->left = span_from(r->left, len + 1);
    if (r->line++ == 0 && line->len >= 3 && !memcmp(line->ptr, "\xef\xbb\xbf", 3)) *line = span_from(*line, 3);
    if (line->len && line->ptr[line->len - 1] == '\r') line->len--;
    while (line->len && is_blank(line->ptr[line->len - 1])) line->len--;
    // libinih would take an indented line for a part of the one before.
    while (line->len && is_blank(line->ptr[0])) *line = span_from(*line, 1);
    return true;
}

// libinih asks for a line: `size` bytes of room at `to`. Lines that are not for it reach it as empty ones.
static char *feed_line(char *to, int size, void *arg) {
    struct reader *r = arg;
    struct span line;
    if (r->answer_due) report(r, "this line is neither a [section] nor key = value");
    r->answer_due = false;
    if (!next_line(r, &line)) return NULL;
    to[0] = '\0';
    const char *bad = value_bad_bytes(line);
    char sentence[80];
    snprintf(sentence, sizeof sentence, "this line %s", bad ? bad : "is longer than 4000 bytes");
    _Static_assert(INI_LINE_MAX == 4000, "the sentence says so");
    if (bad || line.len > INI_LINE_MAX || line.len + 1 > (size_t)size) {
        report(r, sentence);
        return to;
    }
    if (line.len == 0 || line.ptr[0] == ';' || line.ptr[0] == '#') return to;
    memcpy(to, line.ptr, line.len);
    to[line.len] = '\0';
    if (to[0] == '[') {
        read_heading(r, to);
        to[0] = '\0';
    } else {
        r->answer_due = true;
    }
    return to;
}

static int on_key(void *arg, const char *section, const char *key, const char *value) {
    (void)section;
    struct reader *r = arg;
    if (!*key || key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")]) return 1;
    r->answer_due = false;
    r->on_event(r->arg, &(struct ini_event){.kind = INI_KEY, .line = r->line, .key = key, .value = value});
    return 1;
}

void ini_read(struct span text, void (*on_event)(void *arg, const struct ini_event *e), void *arg) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_library_options);
    struct reader r = {.left = text, .on_event = on_event, .arg = arg};
    // Its own idea of the first bad line is known here already.
    (void)ini_parse_stream(feed_line, &r, on_key, &r);
}
