// SPDX-License-Identifier: ISC
//
// parser/classify.h: a text of SQL to its verdict, without memory of earlier ones.
//
// Pure: the same text and catalog always give the same verdict. Uses the parser, so call it on a thread with a big
// stack (64 MiB); parser/verdicts.h is the cache in front of it.
#ifndef PGSTEER_PARSER_CLASSIFY_H
#define PGSTEER_PARSER_CLASSIFY_H

#include "base/span.h"
#include "parser/catalog.h"
#include "parser/verdict.h"

struct classify_options {
    size_t max_length;             // longer texts are VERDICT_UNKNOWN/TOO_LONG and never parsed
    const struct catalog *catalog; // NULL = none
};

// `sql` needs no NUL at its end and may hold anything.
struct verdict classify(struct span sql, const struct classify_options *options);

#endif
