// SPDX-License-Identifier: ISC
// Runs a function on a thread with the stack that the router's threads have. cmocka's checks may not be used in it.
#ifndef PGSTEER_TESTS_UNIT_PARSER_BIG_STACK_H
#define PGSTEER_TESTS_UNIT_PARSER_BIG_STACK_H

#include <pthread.h>

#include "base/base.h"

static inline void on_big_stack(void *(*run)(void *), void *arg) {
    pthread_attr_t attributes;
    pthread_t thread;
    bug_unless(pthread_attr_init(&attributes) == 0);
    bug_unless(pthread_attr_setstacksize(&attributes, (size_t)64 << 20) == 0);
    bug_unless(pthread_create(&thread, &attributes, run, arg) == 0);
    bug_unless(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
}

#endif
