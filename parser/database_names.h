// SPDX-License-Identifier: ISC
//
// parser/database_names.h: which databases a text wants for itself.
//
// PostgreSQL refuses DROP DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE, and CREATE DATABASE of the one that
// is copied, while others are connected to the database (CountOtherDBBackends). A verdict says that a text has such a
// statement (verdict.vacates); this says which databases are meant. It parses the text anew. Pure.
#ifndef PGSTEER_PARSER_DATABASE_NAMES_H
#define PGSTEER_PARSER_DATABASE_NAMES_H

#include "base/span.h"

// Names are good during the call. A text that cannot be parsed has none.
void database_names(struct span sql, void (*visit)(void *arg, struct span name), void *arg);

#endif
