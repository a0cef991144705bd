// SPDX-License-Identifier: ISC
//
// config/suggest.h: "did you mean".
//
// The number of letters to add, drop, replace or swap with their neighbour to turn one word into another, whatever
// their case. Pure; any thread.
#ifndef PGSTEER_CONFIG_SUGGEST_H
#define PGSTEER_CONFIG_SUGGEST_H

#include "base/base.h"

// Looks at one candidate after the other and keeps the nearest that is near enough to be meant.
struct suggestion {
    const char *word; // what was written
    const char *best; // NULL while nothing is near
    size_t distance;
};

static inline struct suggestion suggestion_for(const char *word) { return (struct suggestion){word, NULL, SIZE_MAX}; }
// Near enough: a third of the written letters may differ, at most three. Words over 64 bytes are near nothing. The
// first of two that are equally near stays.
void suggestion_try(struct suggestion *s, const char *candidate);

#endif
