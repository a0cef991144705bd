// SPDX-License-Identifier: ISC
// router/session/welcome.c: see router/session/welcome.h.
#include "router/session/welcome.h"

#include <stdlib.h>
#include <uthash.h>

#include "base/mem.h"

struct welcome {
    UT_hash_handle hh;
    struct buf key;
    struct settings *settings;
    struct buf parameters;
    struct tx_modes modes;
    uint64_t stored_us, defaults_us;
};

static struct buf make_key(const char *database, const char *user, const struct settings *settings) {
    struct buf key = buf_make(SIZE_MAX / 2);
    buf_put_cstr(&key, database);
    buf_put_cstr(&key, user);
    buf_put(&key, &settings, sizeof settings);
    return key;
}

static struct welcome *find(struct welcomes *w, const struct buf *key) {
    struct welcome *found = NULL;
    HASH_FIND(hh, w->all, key->data, buf_len(key), found);
    return found;
}

static void drop(struct welcomes *w, struct welcome *x) {
    HASH_DELETE(hh, w->all, x);
    settings_unref(x->settings);
    buf_release(&x->key);
    buf_release(&x->parameters);
    mem_free(x);
}

void welcomes_fini(struct welcomes *w) {
    struct welcome *x, *next;
    HASH_ITER(hh, w->all, x, next) drop(w, x);
}

struct span welcome_find(struct welcomes *w, const char *database, const char *user, const struct settings *settings,
                         uint64_t now_us, uint64_t defaults_us, bool *fresh, struct tx_modes *modes) {
    struct buf key = make_key(database, user, settings);
    struct welcome *x = find(w, &key);
    buf_release(&key);
    if (x && x->defaults_us < defaults_us) x = NULL;
    if (x) *modes = x->modes;
    *fresh = x && now_us - x->stored_us < (uint64_t)WELCOME_FRESH_MS * 1000;
    return x ? buf_span(&x->parameters) : span_of(NULL, 0);
}

void welcome_store(struct welcomes *w, const char *database, const char *user, struct settings *settings,
                   struct span parameters, struct tx_modes modes, uint64_t now_us, uint64_t defaults_us) {
    struct buf key = make_key(database, user, settings);
    struct welcome *x = find(w, &key);
    if (x) drop(w, x);
    if (HASH_COUNT(w->all) >= WELCOMES_MAX) drop(w, w->all);
    x = mem_new(struct welcome);
    x->key = key;
    x->settings = settings;
    settings_ref(settings);
    x->parameters = buf_make(SIZE_MAX / 2);
    buf_put_span(&x->parameters, parameters);
    x->modes = modes;
    x->stored_us = now_us;
    x->defaults_us = defaults_us;
    HASH_ADD_KEYPTR(hh, w->all, x->key.data, buf_len(&x->key), x);
}
