// SPDX-License-Identifier: ISC
//
// parser/verdict.h: what a text of SQL does, as far as routing and pooling care.
//
// A verdict is a small value: what kind of thing the text is, why, and the facts that a session must know about it. A
// text of several statements has one verdict: the strictest kind and all facts. Unsure is VERDICT_UNKNOWN, which goes
// to the primary like a write. A text that was not parsed (reasons SYNTAX, NONSTANDARD_STRINGS, TOO_LONG, TOO_DEEP) has
// no facts: it may do anything.
#ifndef PGSTEER_PARSER_VERDICT_H
#define PGSTEER_PARSER_VERDICT_H

#include "parser/tx_modes.h"

// In order of strictness; that of several statements is the largest.
enum verdict_kind {
    VERDICT_READ,        // may run on any server that is fresh enough
    VERDICT_TRANSACTION, // BEGIN, COMMIT, ROLLBACK, SAVEPOINT ... and nothing else
    VERDICT_SESSION,     // changes or reads session state: SET, RESET, LISTEN, PREPARE, DISCARD ...
    VERDICT_WRITE,       // changes data, takes locks, or is only right on the primary
    VERDICT_UNKNOWN,     // not understood: primary
    VERDICT_KINDS
};

// Why. One row: enum suffix, name in logs, metrics and --classify, sentence.
#define VERDICT_REASONS(X)                                                                                             \
    X(EMPTY, "empty", "there is no statement in it")                                                                   \
    X(READ, "read", "it only reads")                                                                                   \
    X(DML, "dml", "it changes data")                                                                                   \
    X(DDL, "ddl", "it changes the schema")                                                                             \
    X(MODIFYING_CTE, "modifying_cte", "a WITH query in it changes data")                                               \
    X(ROW_LOCK, "row_lock", "it locks rows")                                                                           \
    X(SELECT_INTO, "select_into", "SELECT INTO creates a table")                                                       \
    X(WRITE_FUNCTION, "write_function", "it calls a function that writes or acts")                                     \
    X(PRIMARY_FUNCTION, "primary_function", "it calls a function whose answer is only right on the primary")           \
    X(SESSION_FUNCTION, "session_function", "it calls a function that uses or changes session state")                  \
    X(VOLATILE_FUNCTION, "volatile_function", "it calls a user's function declared VOLATILE")                          \
    X(UNKNOWN_FUNCTION, "unknown_function", "it calls a function that is not known to be harmless")                    \
    X(NO_CATALOG, "no_catalog", "what its relations are has not been read from the primary yet")                       \
    X(PRIMARY_RELATION, "primary_relation", "it reads a relation that is only right on the primary")                   \
    X(COPY_FROM, "copy_from", "COPY FROM changes data")                                                                \
    X(COPY_SERVER, "copy_server", "COPY uses a file or program of the server")                                         \
    X(EXPLAIN_WRITE, "explain_write", "EXPLAIN of something other than a read")                                        \
    X(TRANSACTION, "transaction", "it controls a transaction")                                                         \
    X(SET, "set", "it sets a parameter of the session")                                                                \
    X(SHOW, "show", "it reads a parameter of the session")                                                             \
    X(TEMP, "temp", "it makes or uses temporary objects")                                                              \
    X(CURSOR, "cursor", "it uses a cursor")                                                                            \
    X(PREPARED, "prepared", "it uses SQL-level prepared statements")                                                   \
    X(LISTEN, "listen", "it uses LISTEN, UNLISTEN or NOTIFY")                                                          \
    X(ADVISORY_LOCK, "advisory_lock", "it takes or releases an advisory lock")                                         \
    X(DISCARD, "discard", "it discards session state")                                                                 \
    X(LOAD, "load", "it loads a library into the session")                                                             \
    X(LOCK, "lock", "it locks a table")                                                                                \
    X(CALL, "call", "DO and CALL may do anything")                                                                     \
    X(UTILITY, "utility", "it is a utility command of the primary")                                                    \
    X(SYNTAX, "syntax", "the grammar does not know it")                                                                \
    X(NONSTANDARD_STRINGS, "nonstandard_strings", "standard_conforming_strings is off")                                \
    X(TOO_LONG, "too_long", "it is longer than max_parse_length")                                                      \
    X(TOO_DEEP, "too_deep", "it is nested too deeply to look at")                                                      \
    X(LEARNED, "learned", "a replica refused it before")                                                               \
    X(HINT_PRIMARY, "hint_primary", "a comment says primary")                                                          \
    X(HINT_REPLICA, "hint_replica", "a comment says replica")

enum verdict_reason {
#define X(id, name, text) VERDICT_REASON_##id,
    VERDICT_REASONS(X)
#undef X
        VERDICT_REASONS_COUNT
};

// Facts, independent of each other and of the kind.
enum verdict_fact {
    FACT_BEGIN = 1u << 0,       // BEGIN or START TRANSACTION
    FACT_END = 1u << 1,         // COMMIT, ROLLBACK, PREPARE TRANSACTION; with FACT_BEGIN: ... AND CHAIN
    FACT_SAVEPOINT = 1u << 2,   // SAVEPOINT, RELEASE, ROLLBACK TO
    FACT_SET = 1u << 3,         // SET of every form that outlasts the transaction, set_config(..., false or unknown)
    FACT_SET_LOCAL = 1u << 4,   // SET LOCAL, SET TRANSACTION, SET CONSTRAINTS, set_config(..., true)
    FACT_RESET = 1u << 5,       // RESET name
    FACT_RESET_ALL = 1u << 6,   // RESET ALL
    FACT_DISCARD_ALL = 1u << 7, // DISCARD ALL
    FACT_DISCARD = 1u << 8,     // DISCARD PLANS, SEQUENCES, TEMP
    FACT_TEMP = 1u << 9,        // makes or names a temporary object, or anything of pg_temp
    FACT_LISTEN = 1u << 10,
    FACT_UNLISTEN = 1u << 11,
    FACT_LEAVES_STATE = 1u << 12,    // calls a function that leaves in its session what nobody can ask for
    FACT_HOLD_CURSOR = 1u << 13,     // DECLARE ... WITH HOLD
    FACT_CURSOR = 1u << 14,          // DECLARE, FETCH, MOVE
    FACT_ADVISORY_LOCK = 1u << 15,   // takes a session-level advisory lock
    FACT_ADVISORY_UNLOCK = 1u << 16, // releases one, or all
    FACT_PREPARE = 1u << 17,         // SQL PREPARE
    FACT_EXECUTE = 1u << 18,         // SQL EXECUTE, or a look at what is prepared
    FACT_DEALLOCATE = 1u << 19,      // DEALLOCATE name
    FACT_DEALLOCATE_ALL = 1u << 20,  // DEALLOCATE ALL
    FACT_LOAD = 1u << 21,
    FACT_COPY_IN = 1u << 22, // COPY ... FROM STDIN: the client will send CopyData
    FACT_COPY_OUT = 1u << 23,
    FACT_DDL = 1u << 24,
    FACT_MULTI = 1u << 25,          // more than one statement
    FACT_SEQUENCE_STATE = 1u << 26, // currval, lastval: wants the session's own connection
    FACT_CALL = 1u << 27,           // CALL or DO: may control transactions itself
    FACT_SHOW = 1u << 28,           // SHOW, current_setting: reads session settings
    FACT_CLOSE = 1u << 29,          // CLOSE of a cursor, or of all
    FACT_DEFAULTS = 1u << 30,       // ALTER ROLE, ALTER DATABASE ... SET: what later sessions begin with
};

// What a text says that is a lone statement about its transaction. COMMIT and ROLLBACK with FACT_BEGIN: ... AND CHAIN.
enum verdict_control {
    CONTROL_NONE,
    CONTROL_BEGIN,
    CONTROL_START, // START TRANSACTION, which is BEGIN by another name
    CONTROL_MODES, // SET TRANSACTION, but for its SNAPSHOT
    CONTROL_COMMIT,
    CONTROL_ROLLBACK
};

struct verdict {
    uint8_t kind;          // enum verdict_kind
    uint8_t reason;        // enum verdict_reason: of the statement that decided the kind
    uint8_t control;       // enum verdict_control
    struct tx_modes modes; // of CONTROL_BEGIN, START, MODES
    uint32_t facts;        // enum verdict_fact, OR-ed
    bool certain;          // something speaks against a replica that no hint and no route = replica can talk away
    bool apart; // a READ ONLY transaction may get something else of it on a replica than on the primary; errors count
    bool terminates; // calls pg_terminate_backend
    bool vacates;    // wants a database to which nobody else is connected: DROP DATABASE and its like
    bool timed;      // it tells when its transaction began, or calls what may
    bool leaves;     // what it calls or fires may leave state behind that the server can be asked for
    bool counted;    // asks how often tables, indexes or functions have been used, which each server counts by itself
};

// The verdict of several texts sent together.
static inline struct verdict verdict_join(struct verdict a, struct verdict b) {
    struct verdict v = b.kind > a.kind ? b : a;
    v.facts = a.facts | b.facts;
    v.certain = a.certain || b.certain;
    v.apart = a.apart || b.apart;
    v.terminates = a.terminates || b.terminates;
    v.vacates = a.vacates || b.vacates;
    v.timed = a.timed || b.timed;
    v.leaves = a.leaves || b.leaves;
    v.counted = a.counted || b.counted;
    v.control = CONTROL_NONE;
    v.modes = (struct tx_modes){0};
    return v;
}

const char *verdict_kind_str(enum verdict_kind k);       // "read", "write" ...
const char *verdict_reason_str(enum verdict_reason r);   // "row_lock"
const char *verdict_reason_text(enum verdict_reason r);  // "it locks rows"
const char *verdict_fact_str(enum verdict_fact one_bit); // "set_local"

#endif
