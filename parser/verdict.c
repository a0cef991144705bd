// SPDX-License-Identifier: ISC
// parser/verdict.c: the names of parser/verdict.h.
#include "parser/verdict.h"

static const char *const kind_names[] = {
    [VERDICT_READ] = "read",   [VERDICT_TRANSACTION] = "transaction", [VERDICT_SESSION] = "session",
    [VERDICT_WRITE] = "write", [VERDICT_UNKNOWN] = "unknown",
};
_Static_assert(countof(kind_names) == VERDICT_KINDS, "each kind has a name");

static const char *const reason_names[] = {
#define X(id, name, text) name,
    VERDICT_REASONS(X)
#undef X
};

static const char *const reason_texts[] = {
#define X(id, name, text) text,
    VERDICT_REASONS(X)
#undef X
};

static const struct {
    enum verdict_fact fact;
    const char *name;
} fact_names[] = {
    {FACT_BEGIN, "begin"},
    {FACT_END, "end"},
    {FACT_SAVEPOINT, "savepoint"},
    {FACT_SET, "set"},
    {FACT_SET_LOCAL, "set_local"},
    {FACT_RESET, "reset"},
    {FACT_RESET_ALL, "reset_all"},
    {FACT_DISCARD_ALL, "discard_all"},
    {FACT_DISCARD, "discard"},
    {FACT_TEMP, "temp"},
    {FACT_LISTEN, "listen"},
    {FACT_UNLISTEN, "unlisten"},
    {FACT_LEAVES_STATE, "leaves_state"},
    {FACT_HOLD_CURSOR, "hold_cursor"},
    {FACT_CURSOR, "cursor"},
    {FACT_ADVISORY_LOCK, "advisory_lock"},
    {FACT_ADVISORY_UNLOCK, "advisory_unlock"},
    {FACT_PREPARE, "prepare"},
    {FACT_EXECUTE, "execute"},
    {FACT_DEALLOCATE, "deallocate"},
    {FACT_DEALLOCATE_ALL, "deallocate_all"},
    {FACT_LOAD, "load"},
    {FACT_COPY_IN, "copy_in"},
    {FACT_COPY_OUT, "copy_out"},
    {FACT_DDL, "ddl"},
    {FACT_DEFAULTS, "defaults"},
    {FACT_MULTI, "multi"},
    {FACT_SEQUENCE_STATE, "sequence_state"},
    {FACT_CALL, "call"},
    {FACT_SHOW, "show"},
    {FACT_CLOSE, "close"},
};

const char *verdict_kind_str(enum verdict_kind k) { return (size_t)k < countof(kind_names) ? kind_names[k] : "?"; }

const char *verdict_reason_str(enum verdict_reason r) {
    return (size_t)r < countof(reason_names) ? reason_names[r] : "?";
}

const char *verdict_reason_text(enum verdict_reason r) {
    return (size_t)r < countof(reason_texts) ? reason_texts[r] : "?";
}

const char *verdict_fact_str(enum verdict_fact one_bit) {
    for (size_t i = 0; i < countof(fact_names); i++)
        if (fact_names[i].fact == one_bit) return fact_names[i].name;
    return "?";
}
