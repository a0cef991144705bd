// SPDX-License-Identifier: ISC
//
// router/session/session_used.c: what others have left on a connection, and nobody can take away.
//
// A connection that goes back to its pool is clean as far as PostgreSQL can clean it. What stays is that it has had
// temporary tables, and which libraries are loaded. Few statements see any of it; for those another connection is
// found, and the one that was used is closed.
#include "router/session/session_parts.h"

// What PostgreSQL takes only where nobody has used PL/pgSQL yet, as the client has not.
static bool sets_nobodys(struct session *s, struct span unit) {
    bool sets = (s->request.verdict.facts & (FACT_SET | FACT_SET_LOCAL)) && !(s->request.verdict.facts & FACT_CALL);
    return sets && span_has_word(unit, "plpgsql.") && session_touch_facts(s, unit).nobodys;
}

// What current_schema() asks for is made for it: a transaction that does so cannot be prepared, unless the connection
// has it already.
static bool is_temporary_first(const struct session *s) {
    static const struct span user = {(const uint8_t *)"\"$user\", ", 9}, temp = {(const uint8_t *)"pg_temp", 7};
    struct span path;
    if (!settings_get(s->settings, span_str("search_path"), &path)) return false;
    if (path.len > user.len && span_eq(span_first(path, user.len), user)) path = span_from(path, user.len);
    return path.len >= temp.len && span_eq(span_first(path, temp.len), temp);
}

// Temporary tables that there have been: PostgreSQL would tell of them.
static bool meets_temporary(struct session *s, struct span unit) {
    const struct server *sv = s->server;
    bool sets = (s->request.verdict.facts & FACTS_TOUCHING) && span_has_word(unit, "temp_buffers");
    return sv->temp_used && (sets || !session_takes_temp_buffers(s) || (sv->shared && is_temporary_first(s)));
}

bool session_leave_used(struct session *s, struct span unit) {
    struct server *sv = s->server;
    // Within a transaction the connection is claimed again while a statement is proven.
    if (!s->claimed || sv->tx_status != PROTO_TX_IDLE || s->held == sv) return false;
    if (!(sv->shared && sets_nobodys(s, unit)) && !meets_temporary(s, unit)) return false;
    sv->dirty = true;
    s->claimed = false;
    session_unlink(s);
    return true;
}
