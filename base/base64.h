// SPDX-License-Identifier: ISC
//
// base/base64.h: base64 with the standard alphabet and padding (RFC 4648, section 4), for SCRAM and its verifiers.
//
// Strict both ways: there is exactly one text for given bytes, and only that one is decoded. No line breaks, no white
// space, no missing padding, no bits set that would be thrown away. Pure; any thread.
#ifndef PGSTEER_BASE_BASE64_H
#define PGSTEER_BASE_BASE64_H

#include "base/span.h"

// The length of the text for `n` bytes, without its NUL; a constant for a constant.
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

// Writes the text and a NUL to `out`, which has room for BASE64_LEN(bytes.len) + 1. Answers the text's length.
size_t base64_encode(struct span bytes, char *out);

// Writes the bytes to `out`, which has room for `size`, and their number to `len`. False when the text is not base64 in
// the one form above, or its bytes do not fit; then `out` may be partly written and `len` is 0.
NODISCARD bool base64_decode(struct span text, uint8_t *out, size_t size, size_t *len);

#endif
