// SPDX-License-Identifier: ISC
// base/fault.c: see base/fault.h.
#include "base/fault.h"

#include <stdarg.h>
#include <stdio.h>

bool fault_set(struct fault *f, const char *sqlstate, const char *fmt, ...) {
    if (!f) return false;
    snprintf(f->sqlstate, sizeof f->sqlstate, "%s", sqlstate);
    f->hint[0] = '\0';
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    return false;
}

void fault_hint(struct fault *f, const char *fmt, ...) {
    if (!f) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->hint, sizeof f->hint, fmt, ap);
    va_end(ap);
}
