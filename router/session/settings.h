// SPDX-License-Identifier: ISC
//
// router/session/settings.h: the parameters that a client has set, as one comparable thing.
//
// By its start-up packet, and by SET since. Interned: two clients that have the same settings share one object, so that
// "does this server connection have my settings?" is a comparison of two pointers. NULL stands for no settings at all:
// the server's defaults. The server is the truth of what a SET did, also after a ROLLBACK: the values are read back
// from it (settings_read_sql). One table per worker, counted, single thread.
#ifndef PGSTEER_ROUTER_SESSION_SETTINGS_H
#define PGSTEER_ROUTER_SESSION_SETTINGS_H

#include "base/buf.h"

struct settings;
struct settings_table;

struct settings_table *settings_table_new(void);
void settings_table_free(struct settings_table *t); // no reference may be left

// `pairs` is name NUL value NUL ...; a name given twice has its last value; neither order nor the case of names
// matters. NULL when empty. The caller owns one reference.
struct settings *settings_intern(struct settings_table *t, struct span pairs);
// Those of `base` (may be NULL) without `names` (each with its NUL) and with `pairs`. The caller owns one reference.
struct settings *settings_edit(struct settings_table *t, const struct settings *base, struct span names,
                               struct span pairs);
void settings_ref(struct settings *s);   // NULL is fine
void settings_unref(struct settings *s); // NULL is fine

// The parameters of applications, which have a dot in their names, stay known on a connection where they have once been
// set, if only for a transaction: empty, where they are not set any more. A set of such names is settings with empty
// values.

// The names of those of `s`; borrowed, good while `s` is. NULL = none.
const struct settings *settings_customs(const struct settings *s);
// Adds to the set `*to`, whose reference changes hands, those of `more`; of `names` (each in lower case with a NUL)
// those that have a dot.
void settings_add_customs(struct settings **to, const struct settings *more);
void settings_add_names(struct settings_table *t, struct settings **to, struct span names);
// Whether `s` has every name of the set `names`; fast when they are the same.
bool settings_have(const struct settings *s, const struct settings *names);
// Statements, each behind a semicolon, that make those of the set `names` known that neither `known` nor `but` has.
void settings_customs_sql(const struct settings *names, const struct settings *known, const struct settings *but,
                          struct buf *sql);

// The value of a parameter, in lower case; false when it is not among them. NULL has none.
bool settings_get(const struct settings *s, struct span name, struct span *value);
// A name among them that stands in the text as a word, whatever the case: an error puts it in quotes, which are those
// of its language. Borrowed. False when there is none.
bool settings_find_named(const struct settings *s, const char *text, struct span *name);
void settings_put_names(const struct settings *s, struct buf *out);
size_t settings_bytes(const struct settings *s); // of their names and values
// A number that is the same for settings under which a text of SQL means the same: a constant such as '1.2.2026'::date
// and the names in a text are settled when it is parsed. 0 = as under the server's defaults.
uint64_t settings_context(const struct settings *s);
// A number that no settings have: what is parsed under it is nobody else's.
uint64_t settings_new_context(struct settings_table *t);
// Whether a parameter, in lower case, has a part in what a text means.
bool settings_name_has_meaning(struct span name);

// What goes before a SELECT where transactions may be serializable by default: there it may wait for those of others,
// and fails on a replica. Appended to `sql`.
void settings_unserializable_sql(struct buf *sql);
// The statement that turns a connection with settings `from` into one with `to` (either may be NULL), appended to
// `sql`. Names and values are quoted for any encoding and standard_conforming_strings; nothing when they are the same.
// It is one transaction: a failure leaves the connection as it was. Role and session_authorization come last, so that
// all is done with the login's rights, or, `identities_first`, with theirs.
void settings_change_sql(const struct settings *from, const struct settings *to, bool identities_first,
                         struct buf *sql);
bool settings_have_identity(const struct settings *s); // a role or a session_authorization
// Statements that put those values of `s` in force that are of `names` (each in lower case, with a NUL), but for role
// and session_authorization. SET where it will do: a query would fix the snapshot of its transaction.
void settings_restore_sql(const struct settings *s, struct span names, struct buf *sql);
// A query for the present values of `names`: rows of (name, value or NULL, whether the session has set it). `exact`
// costs the server more; without it whatever has a value counts as set.
void settings_read_sql(struct span names, bool exact, struct buf *sql);

#endif
