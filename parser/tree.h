// SPDX-License-Identifier: ISC
//
// parser/tree.h: PostgreSQL's grammar, reduced to what decides a verdict.
//
// The only door to libpg_query. A text becomes statements, each with a type; walking a statement reports what occurs
// anywhere in it, however deep: calls, operators, relations, row locks, changes in WITH, temporary schemas. What that
// means is not decided here. Literals are never looked at, but for the few that are asked for by name: masked texts
// lean on it. Call on a thread with a big stack (64 MiB): the parser recurses with the text.
#ifndef PGSTEER_PARSER_TREE_H
#define PGSTEER_PARSER_TREE_H

#include "base/span.h"
#include "parser/tx_modes.h"

// What a statement is. Types that differ only by an option are told apart here.
enum tree_type {
    TREE_OTHER,    // a statement that has no row here
    TREE_SELECT,   // SELECT, VALUES, TABLE
    TREE_CHANGE,   // INSERT, UPDATE, DELETE, MERGE
    TREE_CONTENTS, // TRUNCATE, REFRESH MATERIALIZED VIEW
    TREE_DDL,
    TREE_CREATE_AS, // CREATE TABLE AS, CREATE MATERIALIZED VIEW
    TREE_EXPLAIN,
    TREE_COPY_IN,     // COPY ... FROM STDIN
    TREE_COPY_OUT,    // COPY ... TO STDOUT
    TREE_COPY_SERVER, // COPY with a file or program of the server
    TREE_CALL,        // CALL, DO
    TREE_BEGIN,
    TREE_START, // START TRANSACTION
    TREE_COMMIT,
    TREE_ROLLBACK,
    TREE_COMMIT_CHAIN, // ... AND CHAIN
    TREE_ROLLBACK_CHAIN,
    TREE_SAVEPOINT, // SAVEPOINT, RELEASE, ROLLBACK TO
    TREE_PREPARE_TRANSACTION,
    TREE_FINISH_PREPARED, // COMMIT PREPARED, ROLLBACK PREPARED
    TREE_SET,
    TREE_SET_LOCAL,       // also SET CONSTRAINTS
    TREE_SET_TRANSACTION, // its modes
    TREE_SET_SNAPSHOT,    // SET TRANSACTION SNAPSHOT
    TREE_RESET,
    TREE_RESET_ALL,
    TREE_SHOW,
    TREE_DEFAULTS, // ALTER ROLE or DATABASE ... SET or RESET
    TREE_DISCARD,
    TREE_DISCARD_ALL,
    TREE_PREPARE,
    TREE_EXECUTE,
    TREE_DEALLOCATE,
    TREE_DEALLOCATE_ALL,
    TREE_DECLARE,
    TREE_DECLARE_HOLD,
    TREE_CURSOR, // FETCH, MOVE
    TREE_CLOSE,
    TREE_LISTEN,
    TREE_UNLISTEN,
    TREE_NOTIFY,
    TREE_LOAD,
    TREE_LOCK,
    TREE_UTILITY, // VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT, ALTER SYSTEM
    TREE_TYPES
};

struct tree_statement {
    enum tree_type type;
    enum tree_type inner; // of the statement that EXPLAIN, COPY, PREPARE, DECLARE or CREATE AS holds; else TREE_OTHER
    bool executes;        // false for EXPLAIN without ANALYZE
    bool names_temp;      // SET with a value that names pg_temp
    bool of_server; // SHOW of what differs between servers; LOCK that is more than a SELECT takes; SET of what the
                    // transaction is
    struct tx_modes modes; // of BEGIN, START, SET TRANSACTION
};

enum tree_event_type {
    TREE_SAW_CALL,     // of the function `schema.name` with n_args arguments
    TREE_SAW_FIELD,    // x.name, which calls the function `name` where x has no such column
    TREE_SAW_OPERATOR, // `schema.name`
    TREE_SAW_TYPE,     // `schema.name`, in a cast or wherever else a type is named
    TREE_SAW_SAMPLE,   // TABLESAMPLE name (...)
    TREE_SAW_RELATION, // `schema.name`, or the name of a WITH query
    TREE_SAW_CHANGE,   // INSERT, UPDATE, DELETE or MERGE of the relation `schema.name`
    TREE_SAW_ROW_LOCK,
    TREE_SAW_INTO,
    TREE_SAW_EXECUTE,  // EXECUTE in CREATE AS or EXPLAIN
    TREE_SAW_TEMP,     // something of pg_temp, or made TEMPORARY
    TREE_SAW_TIME,     // CURRENT_TIMESTAMP and its like
    TREE_SAW_DATABASE, // the database `name`, in a statement that PostgreSQL refuses while others are connected to it
};

struct tree_event {
    enum tree_event_type type;
    struct span schema, name; // empty when there is none; good while the tree is
    int n_args;
    struct span call; // for tree_arg_...
};

enum tree_status {
    TREE_OK,
    TREE_SYNTAX,  // the grammar does not know it, or its tree cannot be read
    TREE_TOO_DEEP // nested too deeply to be looked at
};

struct tree;

// Parses `sql`, which needs no NUL at its end; one inside is TREE_SYNTAX. The caller frees *out, set only if TREE_OK.
enum tree_status tree_parse(struct span sql, struct tree **out);
void tree_free(struct tree *t);
size_t tree_count(const struct tree *t);
// The hints in the text's comments: enum lex_hint, OR-ed.
unsigned tree_hints(const struct tree *t);
struct tree_statement tree_statement(const struct tree *t, size_t at);
// Reports the events of one statement in the order of the grammar's fields. Anything but TREE_OK has
// stopped half-way.
enum tree_status tree_walk(const struct tree *t, size_t at, void (*visit)(void *arg, const struct tree_event *e),
                           void *arg);

// Reports the parameters that a SET or RESET changes, and whether it is SET LOCAL; nothing for others, nor for SET
// TRANSACTION and SET CONSTRAINTS. True when they may
// be given their defaults.
bool tree_set_names(const struct tree *t, size_t at, void (*visit)(void *arg, struct span name, bool local), void *arg);

// Whether the parameter is one that a transaction has: transaction_isolation and its like.
bool tree_setting_is_of_transaction(struct span name);

// Of a TREE_SAW_CALL: the argument number `at` (from 0), or the one given as `name => ...`, when it is a string
// constant; good while the tree is. False when it is anything else.
bool tree_arg_text(const struct tree_event *e, int at, const char *name, struct span *out);
// Of a TREE_SAW_CALL: whether the argument number `at` (from 0), or the one given as `name => ...`, is the constant
// TRUE.
bool tree_arg_is_true(const struct tree_event *e, int at, const char *name);
// Of a TREE_SAW_CALL: whether an argument is a string constant that contains pg_temp.
bool tree_args_name_temp(const struct tree_event *e);

#endif
