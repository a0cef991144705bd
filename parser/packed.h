// SPDX-License-Identifier: ISC
//
// parser/packed.h: reads libpg_query's messages where they lie, packed, without making objects of them.
//
// Belongs to parser/tree.c and parser/tree_type.c; nobody else includes it. A message is its description and its bytes;
// stepping over it gives its fields in the order of the grammar, those with their default left out. Which field is
// meant is said by its place in the library's own struct, PACKED_FIELD(FuncCall, args), so that the compiler knows it:
// no number is written down here. Bytes that are no such message end the reading and set `wrong`; nothing is read
// outside of them. No allocation.
#ifndef PGSTEER_PARSER_PACKED_H
#define PGSTEER_PARSER_PACKED_H

#include <pg_query/pg_query.pb-c.h>

#include "base/span.h"

struct packed {
    const ProtobufCMessageDescriptor *of;
    const uint8_t *p, *end; // what has not been stepped over
    bool wrong;
};

struct packed_field {
    const ProtobufCFieldDescriptor *of;
    struct span bytes; // of a string, a message or several numbers
    uint64_t number;   // of a number, a bool or an enum
};

// The members of a union share their place: they are told apart by f->of->id, for which the library has enums.
#define PACKED_FIELD(message, member) offsetof(PgQuery__##message, member)

struct packed packed_of(const ProtobufCMessageDescriptor *of, struct span bytes);
// Steps over one field. False at the end, and where the bytes are wrong.
bool packed_next(struct packed *m, struct packed_field *f);
// Steps over fields up to and with the next one at the place `field`. False when there is none.
bool packed_find(struct packed *m, size_t field, struct packed_field *f);

// The message in a field. One without fields when it is none.
struct packed packed_message(const struct packed_field *f);
// One field of a message, or its default.
struct packed packed_sub(struct packed m, size_t field);
struct span packed_text(struct packed m, size_t field);
int64_t packed_number(struct packed m, size_t field);

// Whether a Node holds `type` (PG_QUERY__NODE__NODE_...), and the message that it holds; a Node holds at most one.
bool packed_node_is(struct packed node, unsigned type, struct packed *out);
// The type of what a Node holds, 0 when it is empty.
unsigned packed_node(struct packed node, struct packed *out);
// Of a Node that is a constant: its value, told apart by value->of->id (PG_QUERY__A__CONST__VAL_...). False for NULL.
bool packed_const(struct packed node, struct packed_field *value);
// Of a Node that is a string constant: what is in it.
bool packed_const_text(struct packed node, struct span *out);

#endif
