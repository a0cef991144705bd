// SPDX-License-Identifier: ISC
// parser/lex.c: see parser/lex.h.
#include "parser/lex.h"

#include <strings.h>

// clang-format off
const uint8_t lex_classes[256] = {
    ['a' ... 'z'] = LEX_IDENT, ['A' ... 'Z'] = LEX_IDENT, ['_'] = LEX_IDENT, ['$'] = LEX_IDENT,
    [0x80 ... 0xff] = LEX_IDENT,
    ['0' ... '9'] = LEX_IDENT | LEX_DIGIT,
    // No vertical tab: PostgreSQL took it up in version 16.
    [' '] = LEX_SPACE, ['\t'] = LEX_SPACE, ['\n'] = LEX_SPACE, ['\r'] = LEX_SPACE, ['\f'] = LEX_SPACE,
    ['~'] = LEX_OPERATOR, ['!'] = LEX_OPERATOR, ['@'] = LEX_OPERATOR, ['#'] = LEX_OPERATOR, ['^'] = LEX_OPERATOR,
    ['&'] = LEX_OPERATOR, ['|'] = LEX_OPERATOR, ['`'] = LEX_OPERATOR, ['?'] = LEX_OPERATOR, ['+'] = LEX_OPERATOR,
    ['-'] = LEX_OPERATOR, ['*'] = LEX_OPERATOR, ['/'] = LEX_OPERATOR, ['%'] = LEX_OPERATOR, ['<'] = LEX_OPERATOR,
    ['>'] = LEX_OPERATOR, ['='] = LEX_OPERATOR, [':'] = LEX_OPERATOR,
};
// clang-format on

const uint8_t *lex_quoted(const uint8_t *p, const uint8_t *end, uint8_t quote) {
    for (;;) {
        const uint8_t *q = memchr(p, quote, (size_t)(end - p));
        if (!q) return NULL;
        if (q + 1 == end || q[1] != quote) return q + 1;
        p = q + 2;
    }
}

const uint8_t *lex_bits(const uint8_t *p, const uint8_t *end) {
    const uint8_t *q = memchr(p, '\'', (size_t)(end - p));
    return q ? q + 1 : NULL;
}

const uint8_t *lex_escaped(const uint8_t *p, const uint8_t *end, bool *plain) {
    while (p < end) {
        if (*p == '\\') {
            if (end - p < 2) return NULL;
            if (!p[1] || !strchr("\\bfnrt", p[1])) *plain = false;
            p += 2;
        } else if (*p != '\'') {
            p++;
        } else if (end - p >= 2 && p[1] == '\'') {
            p += 2;
        } else {
            return p + 1;
        }
    }
    return NULL;
}

const uint8_t *lex_dollar(const uint8_t *p, const uint8_t *end) {
    const uint8_t *tag_end = p + 1;
    if (tag_end < end && lex_is(*tag_end, LEX_DIGIT)) return NULL;
    while (tag_end < end && *tag_end != '$' && lex_is(*tag_end, LEX_IDENT)) tag_end++;
    if (tag_end == end || *tag_end != '$') return NULL;
    size_t len = (size_t)(tag_end + 1 - p);
    const uint8_t *found = memmem(tag_end + 1, (size_t)(end - (tag_end + 1)), p, len);
    return found ? found + len : NULL;
}

static const uint8_t *block_comment(const uint8_t *p, const uint8_t *end) {
    size_t depth = 0;
    while (end - p >= 2) {
        if (p[0] == '/' && p[1] == '*') {
            depth++;
            p += 2;
        } else if (p[0] == '*' && p[1] == '/') {
            p += 2;
            if (--depth == 0) return p;
        } else {
            p++;
        }
    }
    return NULL;
}

const uint8_t *lex_comment(const uint8_t *p, const uint8_t *end) {
    if (*p == '/') return block_comment(p, end);
    while (p < end && *p != '\n' && *p != '\r') p++;
    return p;
}

static bool fits_int32(const uint8_t *p, const uint8_t *end) {
    uint64_t value = 0;
    for (; p < end; p++) {
        value = value * 10 + (uint64_t)(*p - '0');
        if (value > INT32_MAX) return false;
    }
    return true;
}

enum lex_number lex_number(const uint8_t **p, const uint8_t *end) {
    const uint8_t *start = *p, *q = lex_skip(start, end, LEX_DIGIT);
    enum lex_number type = fits_int32(start, q) ? LEX_INTEGER : LEX_FLOAT;
    if (q < end && *q == '.') {
        type = LEX_FLOAT;
        q = lex_skip(q + 1, end, LEX_DIGIT);
    }
    if (q < end && (*q | 0x20) == 'e') {
        const uint8_t *exponent = q + 1;
        if (exponent < end && (*exponent == '+' || *exponent == '-')) exponent++;
        if (exponent == end || !lex_is(*exponent, LEX_DIGIT)) return LEX_NO_NUMBER;
        type = LEX_FLOAT;
        q = lex_skip(exponent, end, LEX_DIGIT);
    }
    if (q < end && (*q == '.' || lex_is(*q, LEX_IDENT))) return LEX_NO_NUMBER;
    *p = q;
    return type;
}

static struct span trim(struct span s) {
    while (s.len > 0 && lex_is(s.ptr[0], LEX_SPACE)) s = span_from(s, 1);
    while (s.len > 0 && lex_is(s.ptr[s.len - 1], LEX_SPACE)) s.len--;
    return s;
}

unsigned lex_hint(struct span comment) {
    const struct span mark = span_str("pgsteer:");
    if (comment.len < 2) return 0;
    size_t tail = comment.ptr[0] == '/' && comment.len >= 4 ? 2 : 0;
    struct span body = trim(span_of(comment.ptr + 2, comment.len - 2 - tail));
    if (!span_eq(span_first(body, mark.len), mark)) return 0;
    struct span word = trim(span_from(body, mark.len));
    if (span_is(word, "primary")) return LEX_HINT_PRIMARY;
    return span_is(word, "replica") ? LEX_HINT_REPLICA : 0;
}

// Operators seen in each parenthesis that is open. Deeper ones are not told apart: their operators only add up.
enum { CHAIN_LEVELS = 256 };
struct chain {
    size_t outer[CHAIN_LEVELS]; // before each open parenthesis
    size_t level, deeper;
    size_t before; // sum of outer
    size_t here;
};

static void chain_open(struct chain *c) {
    if (c->level == CHAIN_LEVELS) {
        c->deeper++;
        return;
    }
    c->outer[c->level++] = c->here;
    c->before += c->here;
    c->here = 0;
}

static void chain_close(struct chain *c) {
    if (c->deeper > 0) {
        c->deeper--;
    } else if (c->level > 0) {
        c->here = c->outer[--c->level];
        c->before -= c->here;
    }
}

static void chain_break(struct chain *c) {
    if (c->deeper == 0) c->here = 0;
}

// Steps over a word, which may turn out to be the letter before a quote.
static const uint8_t *chain_word(struct chain *c, const uint8_t *p, const uint8_t *end) {
    const uint8_t *q = lex_skip(p, end, LEX_IDENT);
    size_t len = (size_t)(q - p);
    bool plain;
    if (len == 1 && q < end && *q == '\'') {
        if ((*p | 0x20) == 'e') return lex_escaped(q + 1, end, &plain);
        if (strchr("bBxX", *p)) return lex_bits(q + 1, end);
    }
    if ((len == 3 && strncasecmp((const char *)p, "and", 3) == 0) ||
        (len == 2 && strncasecmp((const char *)p, "or", 2) == 0))
        chain_break(c);
    return q;
}

// One token or byte; NULL when it does not end.
static const uint8_t *chain_step(struct chain *c, const uint8_t *p, const uint8_t *end) {
    if (lex_begins_comment(p, end)) return lex_comment(p, end);
    switch (*p) {
    case '\'':
    case '"': return lex_quoted(p + 1, end, *p);
    case '(':
    case '[': chain_open(c); return p + 1;
    case ')':
    case ']': chain_close(c); return p + 1;
    case ',':
    case ';': chain_break(c); return p + 1;
    case ':': c->here += p[-1] != ':'; return p + 1;
    case '$':
        if (end - p >= 2 && !lex_is(p[1], LEX_DIGIT)) return lex_dollar(p, end);
        return p + 1;
    default:
        // As one token: the sign of an exponent is no operator.
        if (lex_is(*p, LEX_DIGIT) && lex_number(&p, end) != LEX_NO_NUMBER) return p;
        if (lex_is(*p, LEX_IDENT)) return chain_word(c, p, end);
        c->here += lex_is(*p, LEX_OPERATOR);
        return p + 1;
    }
}

bool lex_chains(struct span sql, size_t limit) {
    // There cannot be more operators than bytes. The first byte of a statement is no colon, so p[-1] is looked at
    // safely.
    if (sql.len <= limit || sql.ptr[0] == ':') return false;
    struct chain c = {.level = 0};
    for (const uint8_t *p = sql.ptr, *end = sql.ptr + sql.len; p && p < end;) {
        p = chain_step(&c, p, end);
        if (c.before + c.here > limit) return true;
    }
    return false;
}
