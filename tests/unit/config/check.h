// SPDX-License-Identifier: ISC
//
// tests/unit/config/check.h: what every test of this folder begins with.
#ifndef PGSTEER_TESTS_UNIT_CONFIG_CHECK_H
#define PGSTEER_TESTS_UNIT_CONFIG_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

// The bytes of a buf as a string, for assert_string_equal; the buf stays the owner.
static inline const char *buf_text(struct buf *b) {
    buf_put_u8(b, 0);
    b->tail--;
    return (const char *)b->data + b->head;
}

#endif
