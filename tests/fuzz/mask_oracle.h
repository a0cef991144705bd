// SPDX-License-Identifier: ISC
//
// tests/fuzz/mask_oracle.h: masked-equal means verdict-equal.
//
// The oracle is told texts. It remembers the verdict of each masked form it has seen, and dies with both texts in the
// report when another text of the same form is judged otherwise. The mutations make texts that are likely to share a
// form, or nearly: they replace tokens as PostgreSQL's own scanner cuts them, not as ours does.
//
// Used by the fuzzer (tests/fuzz/mask.c) and, with fixed seeds, by a unit test. Single thread.
#ifndef PGSTEER_TESTS_FUZZ_MASK_ORACLE_H
#define PGSTEER_TESTS_FUZZ_MASK_ORACLE_H

#include "base/span.h"

enum { ORACLE_TEXT_MAX = 4096 };

struct oracle;
struct oracle *oracle_new(void);
void oracle_free(struct oracle *o);

// Judges the text with and without a catalog. Answers whether it could be masked.
bool oracle_check(struct oracle *o, struct span sql);
// How many texts were compared with an earlier one of the same form.
size_t oracle_compared(const struct oracle *o);

struct text {
    size_t len;
    uint8_t bytes[ORACLE_TEXT_MAX];
};

// Another text in which constants are others of the same class, lists are longer or shorter, and what stands between
// tokens is other white space or comments. `seed` is a state that is changed.
void oracle_vary(const struct text *from, struct text *to, uint64_t *seed);
// Another text in which a few tokens are inserted, removed, replaced or doubled.
void oracle_disturb(const struct text *from, struct text *to, uint64_t *seed);

#endif
