// SPDX-License-Identifier: ISC
//
// base/base.h: the few macros every file may use.
//
// Nothing here has state and nothing here includes another file of the project. What is wanted twice as a macro and
// cannot be a function belongs here; everything else does not.
#ifndef PGSTEER_BASE_BASE_H
#define PGSTEER_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#define countof(a) (sizeof(a) / sizeof((a)[0]))

// What the macro `x` stands for, as a string.
#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

// The object that embeds `member` at `ptr`.
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FALLTHROUGH __attribute__((fallthrough))

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

// Ends the process with a message and a core: for what only a programming error can cause, never for input.
// Any thread.
noreturn void bug_at(const char *file, int line, const char *what);
#define bug(what) bug_at(__FILE__, __LINE__, (what))
#define bug_unless(cond) (LIKELY(cond) ? (void)0 : bug_at(__FILE__, __LINE__, #cond))

#endif
