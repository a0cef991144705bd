// SPDX-License-Identifier: ISC
//
// parser/setting_names.h: which parameters of the session a text sets.
//
// A verdict says that a text sets or resets something (FACT_SET, FACT_RESET); this says what. It is not part of the
// verdict, since the name may be a literal, and verdicts are shared by texts that differ in literals. It parses the
// text anew, so it is for texts whose verdict has such a fact. Pure.
#ifndef PGSTEER_PARSER_SETTING_NAMES_H
#define PGSTEER_PARSER_SETTING_NAMES_H

#include "base/buf.h"

struct setting_names {
    struct buf names; // in lower case, a NUL behind each; one may be there more than once
    struct buf local; // the same, of what is set for the transaction only
    bool unknown;     // it sets something that cannot be told, or cannot be read back
    bool restores;    // one of them may be given its default: RESET, SET ... TO DEFAULT
    bool nobodys;     // one has PL/pgSQL's prefix and is none of its own: taken until its library is loaded, then lost
};

static inline void setting_names_init(struct setting_names *n) {
    *n = (struct setting_names){.names = buf_make(64 * 1024), .local = buf_make(64 * 1024)};
}
static inline void setting_names_release(struct setting_names *n) {
    buf_release(&n->names);
    buf_release(&n->local);
}
// Adds what `sql` sets by SET, RESET or set_config. What it sets with RESET ALL or
// DISCARD ALL is not told. Texts that cannot be parsed, or set by an UPDATE of pg_settings: unknown.
void setting_names_add(struct setting_names *n, struct span sql);
// Adds the parameters of applications (their names have a dot) that the body of a DO looks like setting: SET a.b, or
// 'a.b' as an argument. It may be more than are set, or fewer.
void setting_names_add_body(struct setting_names *n, struct span sql);

#endif
