// SPDX-License-Identifier: ISC
// router/auth/scram_verifier.c: see router/auth/scram_verifier.h.
#include "router/auth/scram_verifier.h"

#include <pthread.h>
#include <uthash.h>

#include "base/mem.h"
#include "router/auth/crypto.h"
#include "router/auth/scram_math.h"

enum { MEMO_MAX = 10000 };

// Made once, then only read: salts must agree between the threads of a process, or a name's would change from login to
// login and show that it is made up.
static uint8_t process_key[CRYPTO_SHA256_LEN];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void process_key_make(void) { crypto_random(process_key, sizeof process_key); }

// A digest of `in` that nobody outside the process can compute.
static bool process_digest(struct span in, uint8_t out[CRYPTO_SHA256_LEN]) {
    pthread_once(&process_key_once, process_key_make);
    return crypto_hmac_sha256(span_of(process_key, sizeof process_key), in, out);
}

struct memo_entry {
    UT_hash_handle hh;
    char *name;
    uint8_t password_digest[CRYPTO_SHA256_LEN]; // a reload may bring another password
    struct scram_verifier verifier;
};

struct scram_memo {
    struct memo_entry *entries;
};

struct scram_memo *scram_memo_new(void) {
    return mem_new(struct scram_memo);
}

void scram_memo_free(struct scram_memo *memo) {
    if (!memo) return;
    struct memo_entry *e, *next;
    HASH_ITER(hh, memo->entries, e, next) {
        HASH_DEL(memo->entries, e);
        mem_free(e->name);
        explicit_bzero(e, sizeof *e);
        mem_free(e);
    }
    mem_free(memo);
}

static struct memo_entry *memo_find(struct scram_memo *memo, const char *name) {
    struct memo_entry *e = NULL;
    if (memo) HASH_FIND_STR(memo->entries, name, e);
    return e;
}

static void memo_keep(struct scram_memo *memo, const char *name, const uint8_t digest[CRYPTO_SHA256_LEN],
                      const struct scram_verifier *v) {
    struct memo_entry *e = memo_find(memo, name);
    if (!memo || (!e && HASH_COUNT(memo->entries) >= MEMO_MAX)) return;
    if (!e) {
        e = mem_new(struct memo_entry);
        e->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, memo->entries, e->name, strlen(e->name), e);
    }
    memcpy(e->password_digest, digest, sizeof e->password_digest);
    e->verifier = *v;
}

// Salt and iterations of a name; the keys are left alone.
static bool made_salt(struct span user_name, struct scram_shape made, struct scram_verifier *out) {
    uint8_t digest[CRYPTO_SHA256_LEN];
    struct span from = user_name; // and for what is longer than a digest, the digest before
    for (size_t at = 0, n; at < made.salt_len; at += n) {
        if (!process_digest(from, digest)) return false;
        n = MIN_OF(sizeof digest, made.salt_len - at);
        memcpy(out->salt + at, digest, n);
        from = span_of(out->salt + at, n);
    }
    out->iterations = made.iterations;
    out->salt_len = made.salt_len;
    return true;
}

static bool derive_from_password(const struct user *user, struct scram_shape made, struct scram_verifier *out) {
    struct scram_keys keys;
    bool ok = made_salt(span_str(user->name), made, out) &&
              scram_derive(&user->password, span_of(out->salt, out->salt_len), out->iterations, &keys) &&
              scram_stored_key(keys.client_key, out->stored_key);
    if (ok) memcpy(out->server_key, keys.server_key, sizeof out->server_key);
    explicit_bzero(&keys, sizeof keys);
    return ok;
}

// What a password is turned into must not be weaker than PostgreSQL would make it, whatever the others are.
static struct scram_shape at_least_default(struct scram_shape made) {
    struct scram_shape least = scram_shape_default();
    return (struct scram_shape){MAX_OF(made.iterations, least.iterations), MAX_OF(made.salt_len, least.salt_len)};
}

static bool has_shape(const struct scram_verifier *v, struct scram_shape made) {
    return v->iterations == made.iterations && v->salt_len == made.salt_len;
}

static bool verifier_of_password(const struct user *user, struct scram_shape made, struct scram_memo *memo,
                                 struct scram_verifier *out) {
    uint8_t digest[CRYPTO_SHA256_LEN];
    if (!process_digest(span_of(user->password.bytes, user->password.len), digest)) return false;
    struct memo_entry *e = memo_find(memo, user->name);
    if (e && has_shape(&e->verifier, made) && crypto_equal(e->password_digest, digest, sizeof digest)) {
        *out = e->verifier;
        return true;
    }
    if (!derive_from_password(user, made, out)) return false;
    memo_keep(memo, user->name, digest, out);
    return true;
}

bool scram_verifier_for(const struct user *user, struct span user_name, struct scram_shape made,
                        struct scram_memo *memo, struct scram_verifier *out, struct fault *fault) {
    *out = (struct scram_verifier){0};
    switch (user ? user->kind : USER_SECRET_NONE) {
    case USER_SECRET_SCRAM: *out = user->verifier; return true;
    case USER_SECRET_PLAIN:
        if (verifier_of_password(user, at_least_default(made), memo, out)) return true;
        break;
    case USER_SECRET_NONE:
        if (made_salt(user_name, made, out)) return true;
        break;
    }
    return fault_set(fault, "XX000", "could not compute the SCRAM verifier");
}
