// SPDX-License-Identifier: ISC
//
// parser/tree_type.h: from a statement's node to its type. Belongs to parser/tree.c; nobody else includes it.
#ifndef PGSTEER_PARSER_TREE_TYPE_H
#define PGSTEER_PARSER_TREE_TYPE_H

#include "parser/packed.h"
#include "parser/tree.h"

// `node` is the Node of a whole statement; an empty one is TREE_OTHER.
struct tree_statement tree_type(struct packed node);
// `set` is a VariableSetStmt. See tree_set_names.
bool tree_type_set_names(struct packed set, void (*visit)(void *arg, struct span name, bool local), void *arg);
// Whether it is a string constant that contains pg_temp.
bool tree_const_names_temp(struct packed node);

#endif
