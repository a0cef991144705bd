// SPDX-License-Identifier: ISC
// base/mem.c: see base/mem.h.
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

noreturn void bug_at(const char *file, int line, const char *what) {
    fprintf(stderr, "pgsteer: bug at %s:%d: %s\n", file, line, what);
    abort();
}

static noreturn void out_of_memory(size_t size) {
    fprintf(stderr, "pgsteer: out of memory (%zu bytes)\n", size);
    abort();
}

void *mem_alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (!p) out_of_memory(size);
    return p;
}

void *mem_array_alloc(size_t n, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) out_of_memory(SIZE_MAX);
    return mem_alloc(total);
}

void *mem_try(void *ptr, size_t size) { return realloc(ptr, size ? size : 1); }

void *mem_grow(void *ptr, size_t size) {
    void *p = realloc(ptr, size ? size : 1);
    if (!p) out_of_memory(size);
    return p;
}

char *mem_strndup(const char *s, size_t len) {
    char *p = mem_alloc(len + 1);
    memcpy(p, s, len);
    return p;
}

char *mem_strdup(const char *s) { return mem_strndup(s, strlen(s)); }

char *mem_printf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *p = NULL;
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    if (n < 0) out_of_memory(0);
    return p;
}

void mem_free(void *ptr) { free(ptr); }
