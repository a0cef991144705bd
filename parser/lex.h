// SPDX-License-Identifier: ISC
//
// parser/lex.h: PostgreSQL's lexical rules, as far as they can be followed without a parser.
//
// What parser/mask.c and the look at a text before parsing share: classes of bytes, and functions that step over one
// literal or comment (scan.l of PostgreSQL 15, standard_conforming_strings on). Each takes a position and the end of
// the text and answers the position behind what it steps over, or NULL when that does not end. No allocation; any
// thread.
#ifndef PGSTEER_PARSER_LEX_H
#define PGSTEER_PARSER_LEX_H

#include "base/span.h"

enum lex_class {
    LEX_IDENT = 1u << 0, // may stand inside an identifier: letters, digits, _, $, all above ASCII
    LEX_DIGIT = 1u << 1,
    LEX_SPACE = 1u << 2,
    LEX_OPERATOR = 1u << 3,
};
extern const uint8_t lex_classes[256];

static inline bool lex_is(uint8_t c, unsigned classes) { return (lex_classes[c] & classes) != 0; }
static inline const uint8_t *lex_skip(const uint8_t *p, const uint8_t *end, unsigned classes) {
    while (p < end && lex_is(*p, classes)) p++;
    return p;
}

// '...' and "...", from the first byte after the opening quote; a doubled quote is part of it.
const uint8_t *lex_quoted(const uint8_t *p, const uint8_t *end, uint8_t quote);
// B'...' and X'...', from the first byte after the quote; a doubled quote is not part of it.
const uint8_t *lex_bits(const uint8_t *p, const uint8_t *end);
// E'...', from the first byte after the quote. *plain is cleared by an escape that can be wrong (\u, \x, octal, \').
const uint8_t *lex_escaped(const uint8_t *p, const uint8_t *end, bool *plain);
// $tag$...$tag$, from the first $. NULL also when none begins there.
const uint8_t *lex_dollar(const uint8_t *p, const uint8_t *end);
// A comment of either form, from its first byte; the newline that ends -- is not part of it.
const uint8_t *lex_comment(const uint8_t *p, const uint8_t *end);
static inline bool lex_begins_comment(const uint8_t *p, const uint8_t *end) {
    return end - p >= 2 && ((p[0] == '-' && p[1] == '-') || (p[0] == '/' && p[1] == '*'));
}

enum lex_number { LEX_INTEGER, LEX_FLOAT, LEX_NO_NUMBER };
// An unsigned number from its first digit; *p is set behind it. An integer that needs more than 32 bits is a LEX_FLOAT,
// as in the grammar. LEX_NO_NUMBER when what follows is part of the token, or could be.
enum lex_number lex_number(const uint8_t **p, const uint8_t *end);

// The usual number, an integer of at most nine digits: the position behind it, or NULL when it is not one.
static inline const uint8_t *lex_short_integer(const uint8_t *p, const uint8_t *end) {
    const uint8_t *q = lex_skip(p, end, LEX_DIGIT);
    return q - p <= 9 && (q == end || (*q != '.' && !lex_is(*q, LEX_IDENT))) ? q : NULL;
}

enum lex_hint { LEX_HINT_PRIMARY = 1, LEX_HINT_REPLICA = 2 };
// The hint of a comment, with its delimiters: exactly `pgsteer: primary` or `pgsteer: replica` between them, but for
// spaces. 0 when there is none.
unsigned lex_hint(struct span comment);

// Whether more than `limit` characters of operators follow each other without a comma, AND or OR between them, counting
// those outside the parentheses around. Such texts nest as deep as they are long, and the parser's time grows with the
// square. Depends only on what masking keeps. False for a text that is not lexically right.
bool lex_chains(struct span sql, size_t limit);

#endif
