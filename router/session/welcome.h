// SPDX-License-Identifier: ISC
//
// router/session/welcome.h: the parameters that a client is shown at its login.
//
// PostgreSQL tells a new client a dozen ParameterStatus values, which depend on database, user and the client's own
// settings. They are taken from a real server connection with those settings, and remembered per worker for a while, so
// that logging in does not need a server each time, and not at all when there is none. Bounded; single thread.
#ifndef PGSTEER_ROUTER_SESSION_WELCOME_H
#define PGSTEER_ROUTER_SESSION_WELCOME_H

#include "parser/tx_modes.h"
#include "router/session/settings.h"

enum { WELCOMES_MAX = 1024, WELCOME_FRESH_MS = 60 * 1000 };

struct welcome;
struct welcomes {
    struct welcome *all; // uthash, oldest first
};

void welcomes_fini(struct welcomes *w);
// The parameters, as the ParameterStatus messages that are sent, or an empty span; never those of before `defaults_us`,
// when the defaults have changed. `*fresh` is false when they are older than WELCOME_FRESH_MS. `*modes`: the
// defaults of transactions.
struct span welcome_find(struct welcomes *w, const char *database, const char *user, const struct settings *settings,
                         uint64_t now_us, uint64_t defaults_us, bool *fresh, struct tx_modes *modes);
// Remembers; keeps a reference on `settings`. `defaults_us`: the moment whose defaults are among them.
void welcome_store(struct welcomes *w, const char *database, const char *user, struct settings *settings,
                   struct span parameters, struct tx_modes modes, uint64_t now_us, uint64_t defaults_us);

#endif
