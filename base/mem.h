// SPDX-License-Identifier: ISC
//
// base/mem.h: allocation.
//
// Two kinds. What the program sizes itself (mem_new, mem_alloc, mem_strdup) cannot fail: without memory for a fixed-size
// object there is nothing sensible left to do, and an untestable error branch is worse than an exit. What a peer sizes
// (mem_try) may fail and the caller answers the peer. Every pointer is freed with mem_free.
#ifndef PGSTEER_BASE_MEM_H
#define PGSTEER_BASE_MEM_H

#include "base/base.h"

// `size` zeroed bytes; ends the process when there are none. Any thread.
void *mem_alloc(size_t size) __attribute__((returns_nonnull, malloc));
#define mem_new(type) ((type *)mem_alloc(sizeof(type)))
// An array of `n` zeroed elements; ends the process when the size overflows.
void *mem_array_alloc(size_t n, size_t size) __attribute__((returns_nonnull));
#define mem_array(n, type) ((type *)mem_array_alloc((n), sizeof(type)))

// Like realloc, but a failure leaves `ptr` alone and answers NULL. New bytes are not zeroed.
NODISCARD void *mem_try(void *ptr, size_t size);

// Grows an array the program sizes itself; ends the process when it cannot.
void *mem_grow(void *ptr, size_t size) __attribute__((returns_nonnull));

char *mem_strdup(const char *s) __attribute__((returns_nonnull));
// A NUL-terminated copy of `len` bytes, which may hold NULs.
char *mem_strndup(const char *s, size_t len) __attribute__((returns_nonnull));
// A NUL-terminated formatted string.
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull));

void mem_free(void *ptr);

#endif
