// SPDX-License-Identifier: ISC
// config/suggest.c: see config/suggest.h. Optimal string alignment, by rows.
#include "config/suggest.h"

#include <ctype.h>
#include <string.h>

enum { WORD_MAX = 64, DISTANCE_MAX = 3 };

static bool same(char a, char b) { return tolower((unsigned char)a) == tolower((unsigned char)b); }

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t rows[3][WORD_MAX + 1];
    size_t *above2 = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++) row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *reused = above2;
        above2 = above;
        above = row;
        row = reused;
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replace = above[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
            row[j] = MIN_OF(replace, MIN_OF(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                row[j] = MIN_OF(row[j], above2[j - 2] + 1);
        }
    }
    return row[b_len];
}

void suggestion_try(struct suggestion *s, const char *candidate) {
    size_t len = strlen(s->word), candidate_len = strlen(candidate);
    if (len > WORD_MAX || candidate_len > WORD_MAX) return;
    size_t d = distance(s->word, len, candidate, candidate_len);
    if (d > MIN_OF(MAX_OF(len / 3, 1), DISTANCE_MAX) || d >= s->distance) return;
    s->best = candidate;
    s->distance = d;
}
