// SPDX-License-Identifier: ISC
//
// router/auth/saslprep.h: the form of a password that SCRAM hashes (RFC 4013).
//
// Does what PostgreSQL's pg_saslprep and its callers do: a password in ASCII is taken as it is; another is prepared
// (compatibility forms folded, invisible characters dropped, exotic spaces made plain); one that cannot be (not UTF-8,
// a prohibited or unassigned character, a mix of directions) is taken as it is after all. The only user of libidn,
// whose tables are RFC 3454's. Of all the characters that change, seven come out otherwise than in PostgreSQL: U+0340,
// U+0341 and the five of Unicode's Corrigendum 4 (U+2F868, U+2F874, U+2F91F, U+2F95F, U+2F9BF). Any thread.
#ifndef PGSTEER_ROUTER_AUTH_SASLPREP_H
#define PGSTEER_ROUTER_AUTH_SASLPREP_H

#include "base/secret.h"

// Writes the form to `out`, which is not `password`. False when it does not fit in a secret: a form can be longer than
// the password.
NODISCARD bool saslprep(const struct secret *password, struct secret *out);

#endif
