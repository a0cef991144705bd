// SPDX-License-Identifier: ISC
//
// parser/tree_type.h: from a statement's node to its type. Belongs to parser/tree.c; nobody else includes it.
#ifndef PGSTEER_PARSER_TREE_TYPE_H
#define PGSTEER_PARSER_TREE_TYPE_H

#include <pg_query/pg_query.pb-c.h>

#include "parser/tree.h"

// `n` is the node of a whole statement; NULL is TREE_OTHER.
struct tree_statement tree_type(const PgQuery__Node *n);
// See tree_set_names.
bool tree_type_set_names(const PgQuery__VariableSetStmt *s, void (*visit)(void *arg, struct span name, bool local),
                         void *arg);
// Whether it is a string constant that contains pg_temp.
bool tree_const_names_temp(const PgQuery__Node *n);

#endif
