// SPDX-License-Identifier: ISC
//
// tests/bench/corpus.c: see tests/bench/corpus.h.
#include "tests/bench/corpus.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void give_up(const char *path, const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static char *copy(const char *s) {
    size_t len = strlen(s) + 1;
    char *c = mem_alloc(len);
    memcpy(c, s, len);
    return c;
}

static void add(struct corpus *c, const char *group, const char *text) {
    struct shape *grown = realloc(c->shapes, (c->count + 1) * sizeof *grown);
    if (!grown) abort();
    grown[c->count++] = (struct shape){.group = copy(group), .text = copy(text)};
    c->shapes = grown;
}

// Statements may have several lines.
struct corpus corpus_read(const char *path) {
    struct corpus c = {0};
    char line[8192], text[16384] = "", group[64] = "";
    FILE *f = fopen(path, "r");
    if (!f) give_up(path, "cannot be read");
    for (bool more = true; more;) {
        more = fgets(line, sizeof line, f) != NULL;
        size_t len = more ? strcspn(line, "\n") : 0;
        line[len] = '\0';
        if (len == 0) {
            if (text[0]) add(&c, group, text);
            text[0] = '\0';
        } else if (line[0] == '[' && !text[0]) {
            if (sscanf(line, "[%63[^]]", group) != 1) give_up(path, "a group without a name");
        } else if (line[0] != '#') {
            size_t have = strlen(text);
            snprintf(text + have, sizeof text - have, "%s%s", have ? "\n" : "", line);
        }
    }
    fclose(f);
    if (c.count == 0) give_up(path, "has no statement");
    return c;
}

void corpus_free(struct corpus *c) {
    for (size_t i = 0; i < c->count; i++) {
        mem_free(c->shapes[i].group);
        mem_free(c->shapes[i].text);
    }
    free(c->shapes);
    *c = (struct corpus){0};
}

// xorshift64: good enough to vary literals, and the same texts on every machine.
static uint64_t draw(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t put_letters(uint64_t *state, char *out, size_t cap) {
    size_t len = 4 + draw(state) % 12;
    if (len > cap) len = cap;
    for (size_t i = 0; i < len; i++) out[i] = (char)('a' + draw(state) % 26);
    return len;
}

static size_t put_list(uint64_t *state, char *out, size_t cap) {
    size_t count = 1 + draw(state) % 20, len = 0;
    for (size_t i = 0; i < count && len + 16 < cap; i++)
        len += (size_t)snprintf(out + len, cap - len, "%s%" PRIu64, i ? ", " : "", draw(state) % 1000000);
    return len;
}

// The literal that the name between the braces asks for; 0 when there is none of that name.
static size_t put_literal(const char *name, size_t name_len, uint64_t *state, char *out, size_t cap) {
    uint64_t n = draw(state);
    if (name_len == 4 && memcmp(name, "list", 4) == 0) return put_list(state, out, cap);
    if (name_len != 1) return 0;
    switch (name[0]) {
    case 'n': return (size_t)snprintf(out, cap, "%" PRIu64, n % 1000000);
    case 's': return put_letters(state, out, cap);
    case 't':
        return (size_t)snprintf(out, cap, "2024-%02d-%02d %02d:%02d:%02d", (int)(1 + n % 12), (int)(1 + n / 12 % 28),
                                (int)(n / 400 % 24), (int)(n / 9600 % 60), (int)(n / 600000 % 60));
    case 'u':
        return (size_t)snprintf(out, cap, "%08x-0000-4000-8000-%012" PRIx64, (uint32_t)n, draw(state) & 0xffffffffffff);
    default: return 0;
    }
}

size_t corpus_draw(const struct shape *s, uint64_t *state, char *out, size_t cap) {
    size_t len = 0;
    for (const char *p = s->text; *p && len + 64 < cap;) {
        const char *end = *p == '{' ? strchr(p, '}') : NULL;
        size_t put = end ? put_literal(p + 1, (size_t)(end - p - 1), state, out + len, cap - len) : 0;
        if (put > 0) {
            len += put;
            p = end + 1;
        } else {
            out[len++] = *p++;
        }
    }
    out[len] = '\0';
    return len;
}
