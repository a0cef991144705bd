// SPDX-License-Identifier: ISC
//
// router/auth/md5.h: the answer to AuthenticationMD5Password, for servers that still ask for it.
#ifndef PGSTEER_ROUTER_AUTH_MD5_H
#define PGSTEER_ROUTER_AUTH_MD5_H

#include "base/base.h"
#include "base/secret.h"
#include "base/span.h"

enum { MD5_ANSWER_LEN = 36 }; // "md5" + 32 digits + NUL

// "md5" + md5(md5(password + user) + salt) as PostgreSQL's pg_md5_encrypt makes it. False when the digest is not to be
// had (a FIPS provider without MD5).
NODISCARD bool md5_answer(const struct secret *password, struct span user, const uint8_t salt[4],
                          char out[MD5_ANSWER_LEN]);

#endif
