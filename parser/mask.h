// SPDX-License-Identifier: ISC
//
// parser/mask.h: a text with its literals masked, as a key for what is known of it.
//
// `SELECT * FROM t WHERE id = 1` and `... = 2` have one masked form: each literal becomes one byte that says its class.
// Two texts with equal masked forms have equal verdicts, whoever wrote them. What is hard to be sure of is refused:
//
//   - Only single statements that begin with SELECT, INSERT, UPDATE, DELETE, MERGE, WITH, VALUES or TABLE are masked:
//   in
//     others a literal may be an option, as in EXPLAIN (ANALYZE 0).
//   - Not masked: texts with set_config( (its arguments decide the verdict), float( (whose precision the grammar
//   checks),
//     U&'', escapes that can be wrong, a string that goes on behind a newline, numbers like .5 and 1.., and whatever
//     PostgreSQL's scanner would refuse.
//
// A list of literals right behind IN ( or VALUES ( folds to one, and further rows of only literals fold into the first.
// Comments and white space that is more than a single space become one space; hints are kept, at the end. Parameters,
// identifiers, keywords and operators stay as they are. No allocation; any thread; about 0.4 ns per byte.
#ifndef PGSTEER_PARSER_MASK_H
#define PGSTEER_PARSER_MASK_H

#include "base/span.h"

enum { MASK_SLACK = 16 }; // what the room for a masked form must have beyond the length of the text

// Writes the masked form of `sql` and answers its length; 0 when the text cannot be masked or `cap` is less than its
// length + MASK_SLACK. `out` is overwritten either way.
size_t mask(struct span sql, uint8_t *out, size_t cap);

#endif
