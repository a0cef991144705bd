// SPDX-License-Identifier: ISC
//
// router/auth/scram_verifier.h: what a client's proof is checked against.
//
// Private to router/auth. Of a user with a verifier, that one. Of a user with a plain password, one made with a salt
// that is the same for the name as long as the process lives. Of anybody else a mock with such a salt and keys that no
// proof fits. Salts come from the name and a random key of the process, so a made-up salt tells nothing about who
// exists.
#ifndef PGSTEER_ROUTER_AUTH_SCRAM_VERIFIER_H
#define PGSTEER_ROUTER_AUTH_SCRAM_VERIFIER_H

#include "router/auth/scram.h"

// `user` may be NULL; `memo` too. False when the digests are not to be had (XX000). Any thread, one per memo.
NODISCARD bool scram_verifier_for(const struct user *user, struct span user_name, struct scram_shape made,
                                  struct scram_memo *memo, struct scram_verifier *out, struct fault *fault);

#endif
