// SPDX-License-Identifier: ISC
//
// config/users.h: who may log in, and with what: the auth_file.
//
// PgBouncer's format, a line each: "user" "password or verifier". A quote inside a string is doubled; a line starting
// with
// `;` or `#` is a comment, and so is what follows one of these behind the second string. The second string is a
// password in plain text or a verifier as PostgreSQL keeps it in pg_authid.rolpassword
// ("SCRAM-SHA-256$4096:salt$StoredKey:ServerKey"), or empty: then the user exists, and can log in only where nothing is
// asked. A hash ("md5...") is refused: neither can a SCRAM login be checked with it, nor can it log in to a server by
// SCRAM. The file must be 0600 or 0640 and belong to root or to the user this runs as. Immutable after loading, part of
// the config snapshot.
#ifndef PGSTEER_CONFIG_USERS_H
#define PGSTEER_CONFIG_USERS_H

#include "base/base.h"
#include "base/fault.h"
#include "base/secret.h"

enum { SCRAM_KEY_LEN = 32, SCRAM_SALT_MAX = 64 };

// RFC 5802's secrets of one user, as PostgreSQL stores them.
struct scram_verifier {
    uint32_t iterations;
    uint8_t salt_len;
    uint8_t salt[SCRAM_SALT_MAX];
    uint8_t stored_key[SCRAM_KEY_LEN];
    uint8_t server_key[SCRAM_KEY_LEN];
};

// What whoever begins a login is shown of a verifier.
struct scram_shape {
    uint32_t iterations;
    uint8_t salt_len;
};
// As PostgreSQL makes them: scram_iterations and SCRAM_DEFAULT_SALT_LEN.
static inline struct scram_shape scram_shape_default(void) { return (struct scram_shape){4096, 16}; }

enum user_secret_kind { USER_SECRET_NONE, USER_SECRET_PLAIN, USER_SECRET_SCRAM };

struct user {
    char *name;
    enum user_secret_kind kind;
    struct secret password;         // USER_SECRET_PLAIN
    struct scram_verifier verifier; // USER_SECRET_SCRAM
};

struct users;

struct users *users_empty(void);
// NULL and "path: what" or "path:line: what" when the file cannot be read, is readable by others, or has a bad line or
// a user twice. No fault holds a secret. Root may load a file of any owner.
NODISCARD struct users *users_load(const char *path, struct fault *fault);
// The same, of a text; `path` is for the fault only.
NODISCARD struct users *users_parse(struct span text, const char *path, struct fault *fault);
void users_free(struct users *u);                                       // wipes every secret
const struct user *users_find(const struct users *u, const char *name); // NULL when there is none
// The first user of the file with a plain password, or NULL: what the monitor uses when nothing else is said.
const struct user *users_first_plain(const struct users *u);
size_t users_count(const struct users *u);
// The shape that most verifiers of the file have, the smaller of two; the default one when there are none. What is made
// up for others must look the same.
struct scram_shape users_scram_shape(const struct users *u);

// Parses "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey" (PostgreSQL 15 documentation, section 53.8, pg_authid; the
// last three in base64; iterations 1..1,000,000, salt of 1 to 64 bytes); false when it is not one.
NODISCARD bool scram_verifier_parse(const char *text, struct scram_verifier *out);

#endif
