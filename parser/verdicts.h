// SPDX-License-Identifier: ISC
//
// parser/verdicts.h: verdicts of texts seen before.
//
// Parsing costs ten to fifty microseconds; a look-up must cost less than 0.3. The key is the text with its literals
// masked by our own scanner (parser/mask.h), so `WHERE id = 1` and `= 2` share an entry. Masked-equal implies
// verdict-equal. Bounded, least recently used leaves first. One per worker and database; single thread.
#ifndef PGSTEER_PARSER_VERDICTS_H
#define PGSTEER_PARSER_VERDICTS_H

#include "parser/classify.h"

struct verdicts;

struct verdicts *verdicts_new(size_t max_entries, size_t max_parse_length);
void verdicts_free(struct verdicts *v);

// `standard_conforming_strings` off: nothing is masked or parsed, the answer is VERDICT_UNKNOWN/NONSTANDARD_STRINGS.
// Say off, too, for a client_encoding in which a later byte of a character can be a backslash (BIG5, GBK, GB18030,
// JOHAB, SJIS, SHIFT_JIS_2004, UHC): the server converts the text before it looks for quotes, and we do not.
struct verdict verdicts_get(struct verdicts *v, struct span sql, bool standard_conforming_strings);

// A replica refused this text: it and all that share its masked form are VERDICT_WRITE/LEARNED from now on, with the
// facts they had, until the catalog changes or the entry leaves. Texts whose key is too long to be kept are not
// learned.
void verdicts_learn_primary(struct verdicts *v, struct span sql);

// Takes a reference; forgets all verdicts when the catalog is another one. NULL = none.
void verdicts_set_catalog(struct verdicts *v, struct catalog *c);

struct verdicts_stats {
    uint64_t hits, misses, evictions;
    size_t entries;
};
struct verdicts_stats verdicts_get_stats(const struct verdicts *v);

#endif
