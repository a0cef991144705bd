// SPDX-License-Identifier: ISC
// router/session/transaction.c: see router/session/transaction.h.
#include "router/session/transaction.h"

#include "router/session/pins.h"

void transaction_begin_sql(struct tx_modes modes, struct buf *out) {
    static const char *const isolation[] = {"", " ISOLATION LEVEL READ UNCOMMITTED", " ISOLATION LEVEL READ COMMITTED",
                                            " ISOLATION LEVEL REPEATABLE READ", " ISOLATION LEVEL SERIALIZABLE"};
    static const char *const access[] = {"", " READ ONLY", " READ WRITE"};
    static const char *const deferrable[] = {"", " DEFERRABLE", " NOT DEFERRABLE"};
    const char *const words[] = {"BEGIN", isolation[modes.isolation], access[modes.access],
                                 deferrable[modes.deferrable]};
    for (size_t i = 0; i < countof(words); i++) buf_put_span(out, span_str(words[i])); // this is on the hot path
}

bool transaction_fits_replica(const struct verdict *v) {
    // What only the session's own connection has or may keep.
    const uint32_t never = FACT_SEQUENCE_STATE | FACT_CALL | FACT_PREPARE | FACT_EXECUTE;
    bool refused = v->kind == VERDICT_WRITE; // whatever it would leave behind: no READ ONLY transaction may do it
    if (v->apart || (v->facts & never) || (pins_caused(v->facts) && !refused)) return false;
    bool lone_end = v->control == CONTROL_COMMIT || v->control == CONTROL_ROLLBACK;
    bool lone_begin = v->control == CONTROL_BEGIN || v->control == CONTROL_START;
    // What stands behind the end of the transaction is no part of it.
    if ((v->facts & FACT_END) && !lone_end) return false;
    return !(v->facts & FACT_BEGIN) || lone_end || lone_begin;
}

static bool only_shows(const struct verdict *v) { return v->reason == VERDICT_REASON_SHOW && v->facts == FACT_SHOW; }

bool transaction_queries(const struct request *r) {
    const struct verdict *v = r->leads ? &r->body : &r->verdict;
    if (r->kind == REQUEST_BATCH && !r->executes) return false;
    return v->kind != VERDICT_TRANSACTION && v->reason != VERDICT_REASON_SET && !only_shows(v) &&
           !(v->kind == VERDICT_READ && v->reason == VERDICT_REASON_EMPTY && r->texts <= 1);
}

bool transaction_binds(const struct request *r, struct tx_modes modes) {
    const struct verdict *v = r->leads ? &r->body : &r->verdict;
    if (r->kind == REQUEST_BATCH && !r->runs) return r->binds_portal; // which is to be run later
    if (only_shows(v)) return false;
    bool anew = modes.isolation == TX_ISOLATION_READ_COMMITTED || modes.isolation == TX_ISOLATION_READ_UNCOMMITTED;
    return !anew || v->kind != VERDICT_READ || v->timed || r->keeps_portal || r->old_portal;
}

const char *transaction_tag(enum verdict_control c) {
    switch (c) {
    case CONTROL_NONE: break;
    case CONTROL_BEGIN: return "BEGIN";
    case CONTROL_START: return "START TRANSACTION";
    case CONTROL_MODES: return "SET";
    case CONTROL_COMMIT: return "COMMIT";
    case CONTROL_ROLLBACK: return "ROLLBACK";
    }
    bug("no statement about a transaction");
}
