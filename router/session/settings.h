// SPDX-License-Identifier: ISC
//
// router/session/settings.h: the parameters a client set in its start-up packet, as one comparable thing.
//
// Interned: two clients that ask for the same settings share one object, so that "does this server connection have my
// settings?" is a comparison of two pointers. NULL stands for no settings at all: the server's defaults. One table per
// worker, counted, single thread.
#ifndef PGSTEER_ROUTER_SESSION_SETTINGS_H
#define PGSTEER_ROUTER_SESSION_SETTINGS_H

#include "base/buf.h"

struct settings;
struct settings_table;

struct settings_table *settings_table_new(void);
void settings_table_free(struct settings_table *t); // no reference may be left

// `pairs` is name NUL value NUL ...; a name given twice has its last value; order does not matter. NULL when empty. The
// caller owns one reference.
struct settings *settings_intern(struct settings_table *t, struct span pairs);
void settings_ref(struct settings *s);   // NULL is fine
void settings_unref(struct settings *s); // NULL is fine

// True when RESET ALL would not undo all of them (GUC_NO_RESET_ALL in PostgreSQL's guc.c).
bool settings_outlive_reset_all(const struct settings *s);

// The statements that turn a connection with settings `from` into one with `to` (either may be NULL), appended to
// `sql`. Names and values are quoted for any server encoding and standard_conforming_strings; nothing when they are the
// same.
void settings_change_sql(const struct settings *from, const struct settings *to, struct buf *sql);

#endif
