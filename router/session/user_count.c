// SPDX-License-Identifier: ISC
// router/session/user_count.c: see router/session/user_count.h.
#include "router/session/user_count.h"

#include <stdlib.h>
#include <uthash.h>
#include <uv.h>

#include "base/mem.h"

struct user_count {
    UT_hash_handle hh;
    int64_t clients;
    char name[];
};

struct user_counts {
    uv_mutex_t lock;
    struct user_count *all; // only users with clients
};

struct user_counts *user_counts_new(void) {
    struct user_counts *c = mem_new(struct user_counts);
    bug_unless(uv_mutex_init(&c->lock) == 0);
    return c;
}

void user_counts_free(struct user_counts *c) {
    bug_unless(!c->all);
    uv_mutex_destroy(&c->lock);
    mem_free(c);
}

bool user_counts_enter(struct user_counts *c, const char *user, int64_t limit) {
    struct user_count *u;
    uv_mutex_lock(&c->lock);
    HASH_FIND_STR(c->all, user, u);
    bool room = limit == 0 || (u ? u->clients : 0) < limit;
    if (room && !u) {
        size_t len = strlen(user);
        u = mem_alloc(sizeof *u + len + 1);
        memcpy(u->name, user, len);
        HASH_ADD_STR(c->all, name, u);
    }
    if (room) u->clients++;
    uv_mutex_unlock(&c->lock);
    return room;
}

void user_counts_leave(struct user_counts *c, const char *user) {
    struct user_count *u;
    uv_mutex_lock(&c->lock);
    HASH_FIND_STR(c->all, user, u);
    bug_unless(u && u->clients > 0);
    if (--u->clients == 0) {
        HASH_DEL(c->all, u);
        mem_free(u);
    }
    uv_mutex_unlock(&c->lock);
}
