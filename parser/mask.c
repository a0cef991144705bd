// SPDX-License-Identifier: ISC
//
// parser/mask.c: see parser/mask.h for what is masked and what is not.
//
// Speed comes from one trick. Most bytes of a statement are copied as they are, so eight at a time are looked up in a
// table and the eight answers added: a sum below STOP means that none of them needs a look. A double quote counts 1 in
// that sum, so that the lowest bit of the running total tells whether we are inside a quoted identifier, without
// stopping at each. The bytes that do stop are few: quotes, digits, white space other than a space, and what may begin
// a comment, a dollar quote, a list. Where a decision needs what stood before, it looks back in the output: it is
// there, without comments.
#include "parser/mask.h"

#include "parser/lex.h"

// What stands for a literal. Control characters never stand for themselves: outside quotes the grammar has none.
enum {
    MARK_INTEGER = 1,
    MARK_FLOAT = 2,
    MARK_STRING = 3, // the four kinds of strings are neighbours
    MARK_BITS = 4,
    MARK_HEX = 5,
    MARK_NATIONAL = 6,
    MARK_LIST = 7, // one or more literals with commas between them
    MARK_HINTS = 8,
};

enum { STOP = 16 };

// clang-format off
static const uint8_t fast[256] = {
    [0 ... 31] = STOP, [127] = STOP,
    ['"'] = 1,
    ['\''] = STOP, ['0' ... '9'] = STOP, ['-'] = STOP, ['/'] = STOP, ['$'] = STOP, ['&'] = STOP, ['('] = STOP,
    [';'] = STOP, ['\\'] = STOP, ['{'] = STOP, ['}'] = STOP,
};
// clang-format on

struct masker {
    const uint8_t *p, *end;
    uint8_t *start, *o;
    unsigned quotes; // the lowest bit: inside "..."
    unsigned hints;
};

// What has been put out, backwards: the end of the text before `o` without the spaces at its end.
static const uint8_t *before_spaces(const struct masker *m, const uint8_t *o) {
    while (o > m->start && o[-1] == ' ') o--;
    return o;
}

static uint8_t last_byte(const struct masker *m) { return m->o > m->start ? m->o[-1] : ' '; }

// Whether the bytes from `p` on are the word, given in lower case, in upper or lower case. Most often they are not, and
// the first byte says so.
static inline bool is_word(const uint8_t *p, const char *word, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((p[i] | 0x20) != word[i] && p[i] != word[i]) return false;
    return true;
}

// Whether the output up to `o` ends in this word, upper or lower case, not in the tail of a longer one.
static inline bool ends_in(const struct masker *m, const uint8_t *o, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(o - m->start) < len || !is_word(o - len, word, len)) return false;
    return o - len == m->start || !lex_is(o[-(ptrdiff_t)len - 1], LEX_IDENT);
}

// As ends_in, and the word is the keyword: behind a dot or AS it would be a name.
static bool ends_in_keyword(const struct masker *m, const uint8_t *o, const char *word) {
    if (!ends_in(m, o, word)) return false;
    const uint8_t *before = before_spaces(m, o - strlen(word));
    return before == m->start || (before[-1] != '.' && !ends_in(m, before, "as"));
}

static void mask_copy(struct masker *m) {
    const uint8_t *p = m->p, *end = m->end;
    uint8_t *o = m->o;
    unsigned quotes = m->quotes;
    while (end - p >= 8) {
        unsigned sum = fast[p[0]] + fast[p[1]] + fast[p[2]] + fast[p[3]];
        sum += fast[p[4]] + fast[p[5]] + fast[p[6]] + fast[p[7]];
        if (sum >= STOP) break;
        memcpy(o, p, 8);
        quotes += sum;
        p += 8;
        o += 8;
    }
    while (p < end && fast[*p] < STOP) {
        quotes += fast[*p];
        *o++ = *p++;
    }
    m->p = p;
    m->o = o;
    m->quotes = quotes;
}

// The rest of a quoted identifier in which the fast loop has stopped.
static bool mask_identifier(struct masker *m) {
    const uint8_t *close = memchr(m->p, '"', (size_t)(m->end - m->p));
    if (!close) return false;
    size_t len = (size_t)(close + 1 - m->p);
    memcpy(m->o, m->p, len);
    m->p += len;
    m->o += len;
    m->quotes++;
    return true;
}

// White space with more than spaces, or what stood for it.
static bool mask_gap(struct masker *m) {
    while (last_byte(m) == ' ' && m->o > m->start) m->o--;
    m->p = lex_skip(m->p, m->end, LEX_SPACE);
    if (m->o > m->start) *m->o++ = ' ';
    return true;
}

static bool mask_comment(struct masker *m) {
    const uint8_t *p = lex_comment(m->p, m->end);
    if (!p) return false;
    m->hints |= lex_hint(span_of(m->p, (size_t)(p - m->p)));
    m->p = p;
    return mask_gap(m);
}

static bool mask_mark(struct masker *m, uint8_t mark, const uint8_t *p) {
    if (!p) return false;
    *m->o++ = mark;
    m->p = p;
    return true;
}

// The letter is the last byte of the output and gives way to the mark.
static bool mask_prefixed(struct masker *m, uint8_t letter) {
    const uint8_t *p = m->p + 1;
    bool plain = true;
    m->o--;
    switch (letter | 0x20) {
    case 'e': p = lex_escaped(p, m->end, &plain); return plain && mask_mark(m, MARK_STRING, p);
    case 'b': return mask_mark(m, MARK_BITS, lex_bits(p, m->end));
    case 'x': return mask_mark(m, MARK_HEX, lex_bits(p, m->end));
    default: return mask_mark(m, MARK_NATIONAL, lex_quoted(p, m->end, '\''));
    }
}

static bool mask_string(struct masker *m) {
    uint8_t last = last_byte(m);
    if (lex_is(last, LEX_IDENT) && strchr("eEbBxXnN", last) && (m->o - m->start < 2 || !lex_is(m->o[-2], LEX_IDENT)))
        return mask_prefixed(m, last);
    // Two strings with a newline between them are one; with less between them they are an error.
    const uint8_t *before = before_spaces(m, m->o);
    if (before > m->start && before[-1] >= MARK_STRING && before[-1] <= MARK_NATIONAL) return false;
    return mask_mark(m, MARK_STRING, lex_quoted(m->p + 1, m->end, '\''));
}

static bool mask_digit(struct masker *m) {
    uint8_t last = last_byte(m);
    if (lex_is(last, LEX_IDENT)) {
        while (m->p < m->end && lex_is(*m->p, LEX_IDENT)) *m->o++ = *m->p++;
        return true;
    }
    if (last == '.') return false;
    const uint8_t *p = lex_short_integer(m->p, m->end);
    if (p) return mask_mark(m, MARK_INTEGER, p);
    p = m->p;
    enum lex_number type = lex_number(&p, m->end);
    return type != LEX_NO_NUMBER && mask_mark(m, type == LEX_INTEGER ? MARK_INTEGER : MARK_FLOAT, p);
}

// $ begins a parameter or a dollar quote, or goes on with an identifier.
static bool mask_dollar(struct masker *m) {
    if (lex_is(last_byte(m), LEX_IDENT)) {
        while (m->p < m->end && lex_is(*m->p, LEX_IDENT)) *m->o++ = *m->p++;
        return true;
    }
    if (m->end - m->p < 2 || !lex_is(m->p[1], LEX_DIGIT)) return mask_mark(m, MARK_STRING, lex_dollar(m->p, m->end));
    *m->o++ = *m->p++;
    while (m->p < m->end && lex_is(*m->p, LEX_DIGIT)) *m->o++ = *m->p++;
    return m->p == m->end || !lex_is(*m->p, LEX_IDENT);
}

static const uint8_t *literal(const uint8_t *p, const uint8_t *end) {
    bool plain = true;
    if (p == end) return NULL;
    if (*p == '\'') return lex_quoted(p + 1, end, '\'');
    if (lex_is(*p, LEX_DIGIT)) {
        const uint8_t *q = lex_short_integer(p, end);
        return q ? q : lex_number(&p, end) == LEX_NO_NUMBER ? NULL : p;
    }
    if ((*p | 0x20) != 'e' || end - p < 2 || p[1] != '\'') return NULL;
    p = lex_escaped(p + 2, end, &plain);
    return plain ? p : NULL;
}

// From behind a parenthesis: steps over literals that are each followed by a comma or a closing parenthesis, to the
// comma or parenthesis behind the last such. NULL when there is none.
static const uint8_t *literals(const uint8_t *p, const uint8_t *end) {
    const uint8_t *good = NULL;
    for (;;) {
        p = literal(lex_skip(p, end, LEX_SPACE), end);
        if (!p) return good;
        p = lex_skip(p, end, LEX_SPACE);
        if (p == end || (*p != ',' && *p != ')')) return good;
        good = p;
        if (*p == ')') return good;
        p++;
    }
}

// From behind the parenthesis of a row: steps over the rows that follow it and are only literals.
static const uint8_t *literal_rows(const uint8_t *p, const uint8_t *end) {
    for (;;) {
        const uint8_t *q = lex_skip(p, end, LEX_SPACE);
        if (q == end || *q != ',') return p;
        q = lex_skip(q + 1, end, LEX_SPACE);
        if (q == end || *q != '(') return p;
        q = literals(q + 1, end);
        if (!q || *q != ')') return p;
        p = q + 1;
    }
}

static bool mask_list(struct masker *m, bool rows) {
    const uint8_t *p = literals(m->p, m->end);
    if (!p) return true;
    *m->o++ = MARK_LIST;
    m->p = p;
    if (!rows || *p != ')') return true;
    *m->o++ = ')';
    m->p = literal_rows(p + 1, m->end);
    return true;
}

// What stands before a parenthesis decides what the literals in it mean.
static bool mask_parenthesis(struct masker *m) {
    const uint8_t *before = before_spaces(m, m->o);
    *m->o++ = *m->p++;
    if (before == m->start) return true;
    switch (before[-1] | 0x20) {
    case 'n': return !ends_in_keyword(m, before, "in") || mask_list(m, false);
    case 's': return !ends_in_keyword(m, before, "values") || mask_list(m, true);
    case 't': return !ends_in(m, before, "float");
    case 'g': return !ends_in(m, before, "set_config");
    case '"': return !ends_in(m, before - 1, "set_config");
    default: return true;
    }
}

// Behind a semicolon nothing may come.
static bool mask_tail(struct masker *m) {
    while (m->p < m->end) {
        if (*m->p == ';' || lex_is(*m->p, LEX_SPACE))
            m->p++;
        else if (!lex_begins_comment(m->p, m->end) || !mask_comment(m))
            return false;
    }
    return true;
}

// The byte at which the fast loop has stopped, outside quotes.
static bool mask_stop(struct masker *m) {
    uint8_t c = *m->p;
    switch (c) {
    case '\'': return mask_string(m);
    case '(': return mask_parenthesis(m);
    case ';': return mask_tail(m);
    case '$': return mask_dollar(m);
    case '-':
    case '/':
        if (lex_begins_comment(m->p, m->end)) return mask_comment(m);
        break;
    case '&':
        // U&'' and U&""
        if (m->end - m->p >= 2 && (m->p[1] == '\'' || m->p[1] == '"') && (last_byte(m) | 0x20) == 'u') return false;
        break;
    default:
        if (lex_is(c, LEX_DIGIT)) return mask_digit(m);
        return lex_is(c, LEX_SPACE) && mask_gap(m);
    }
    *m->o++ = *m->p++;
    return true;
}

// Whether the masked form begins with a statement in which literals are only values.
static bool begins_well(const struct masker *m) {
    static const struct {
        char text[8];
        size_t len;
    } words[] = {{"select", 6}, {"insert", 6}, {"update", 6}, {"delete", 6},
                 {"with", 4},   {"values", 6}, {"merge", 5},  {"table", 5}};
    const uint8_t *p = m->start;
    while (p < m->o && (*p == '(' || *p == ' ')) p++;
    size_t len = (size_t)(lex_skip(p, m->o, LEX_IDENT) - p);
    for (size_t i = 0; i < countof(words); i++)
        if (words[i].len == len && is_word(p, words[i].text, len)) return true;
    return false;
}

size_t mask(struct span sql, uint8_t *out, size_t cap) {
    if (sql.len == 0 || cap < MASK_SLACK || sql.len > cap - MASK_SLACK) return 0;
    struct masker m = {.p = sql.ptr, .end = sql.ptr + sql.len, .start = out, .o = out};
    m.p = lex_skip(m.p, m.end, LEX_SPACE);
    // The parser ends at a NUL; a statement that has one is not the one that it reads.
    if (m.p == m.end || memchr(m.p, 0, (size_t)(m.end - m.p))) return 0;
    for (;;) {
        mask_copy(&m);
        if (m.p == m.end) break;
        if (!(m.quotes & 1 ? mask_identifier(&m) : mask_stop(&m))) return 0;
    }
    if (m.quotes & 1) return 0;
    while (m.o > m.start && m.o[-1] == ' ') m.o--;
    if (!begins_well(&m)) return 0;
    if (m.hints) {
        *m.o++ = MARK_HINTS;
        *m.o++ = (uint8_t)m.hints;
    }
    return (size_t)(m.o - m.start);
}
