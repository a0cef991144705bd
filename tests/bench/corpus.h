// SPDX-License-Identifier: ISC
//
// A corpus of statement shapes, read from statements.txt, and texts made from them with literals drawn at random.
#ifndef PGSTEER_TESTS_BENCH_CORPUS_H
#define PGSTEER_TESTS_BENCH_CORPUS_H

#include <stddef.h>
#include <stdint.h>

struct shape {
    char *group; // "orm"
    char *text;  // with its places for literals
};

struct corpus {
    struct shape *shapes;
    size_t count;
};

// Reads the file; ends the program with a sentence when that cannot be done.
struct corpus corpus_read(const char *path);
void corpus_free(struct corpus *c);

// Writes the shape with other literals than the last time into `out`; the length. `state` is the generator's, not 0.
size_t corpus_draw(const struct shape *s, uint64_t *state, char *out, size_t cap);

#endif
