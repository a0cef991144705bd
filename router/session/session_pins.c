// SPDX-License-Identifier: ISC
//
// router/session/session_pins.c: what ties a session to its primary connection, and until when.
//
// A text that may leave state behind pins the session at once. Whether there is state, and whether there still is after
// a text that may have ended it, is not for the text to say: the statement may fail, its transaction may be rolled
// back, a lock may have been taken twice. So when no transaction is open any more the connection is asked, together
// with the settings (session_settings.c), and the pins are what it answers. A connection that goes back to its pool
// after that has been found clean; one that carried what cannot be asked for is closed.
#include "router/session/pins.h"
#include "router/session/session_parts.h"

// Where the server shows a state, by the pin that it is: whether there is any. What a temporary schema has in it
// depends on the schema, of whatever kind it is.
static const struct {
    enum pin_index pin;
    const char *from;
} states[] = {
    {PIN_INDEX_TEMP, "pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) "
                     "'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid OPERATOR(pg_catalog.=) "
                     "pg_catalog.pg_my_temp_schema()"},
    {PIN_INDEX_PREPARED, "pg_catalog.pg_prepared_statements WHERE from_sql"},
    {PIN_INDEX_HOLD_CURSOR, "pg_catalog.pg_cursors WHERE is_holdable"},
    {PIN_INDEX_LISTEN, "pg_catalog.pg_listening_channels()"},
    {PIN_INDEX_ADVISORY_LOCK, "pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND "
                              "pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()"},
};

void session_set_pins(struct session *s, uint32_t pins) {
    uint32_t changed = s->pins ^ pins;
    if (!changed) return;
    for (unsigned i = 0; i < PIN_COUNT; i++)
        if (changed >> i & 1) stats_pin(s->env->stats, i, pins >> i & 1 ? 1 : -1);
    if (!s->pins || !pins) stats_gauge_add(s->env->stats, STAT_GAUGE_CLIENTS_PINNED, pins ? 1 : -1);
    s->pins = pins;
    s->pins_seen &= pins;
    s->pins_suspected = pins ? s->pins_suspected | (pins & PINS_ASKED) : 0;
    s->response.notifications = (pins & PIN_BIT(LISTEN)) != 0;
    if (s->server && !s->on_replica && (pins || s->session_mode)) s->held = s->server;
}

// It may have run what we cannot see into.
static bool runs_users_code(const struct request *r) {
    return r->verdict.reason == VERDICT_REASON_VOLATILE_FUNCTION ||
           r->verdict.reason == VERDICT_REASON_UNKNOWN_FUNCTION || r->kind == REQUEST_FUNCTION;
}

void session_pin(struct session *s, uint32_t caused) {
    const struct request *r = &s->request;
    if (caused) session_set_pins(s, s->pins | caused);
    uint32_t ended = runs_users_code(r) ? PINS_ASKED : pins_ended(r->verdict.facts);
    if (r->closes_name) ended |= PIN_BIT(PREPARED); // Close takes a name of SQL's PREPARE too
    uint32_t doubt = (s->pins & PINS_ASKED) & (ended | ~s->pins_seen);
    if (doubt) session_touch_states(s, runs_users_code(r) ? PINS_ASKED : s->pins_suspected);
}

void session_release_pins(struct session *s, uint32_t kept) {
    uint32_t asked = s->pins & PINS_ASKED;
    if (s->pins & ~(asked | kept | PINS_SOFT)) s->server->dirty = true; // nobody can tell whether it is gone
    session_set_pins(s, s->pins & (asked | kept));
    if (!(s->pins & PIN_BIT(SEQUENCE))) s->sequences_moved = s->sequences_lost = false;
    if (asked) session_touch_states(s, asked);
}

// Asking.

void session_put_states_sql(uint32_t pins, struct buf *sql) {
    for (size_t i = 0; i < countof(states); i++)
        if (pins >> states[i].pin & 1)
            buf_printf(sql, "%sSELECT NULL,'%s',true WHERE EXISTS(SELECT FROM %s)", buf_len(sql) ? " UNION ALL " : "",
                       pin_str(states[i].pin), states[i].from);
}

uint32_t session_state_pin(struct span name) {
    for (size_t i = 0; i < countof(states); i++)
        if (span_is(name, pin_str(states[i].pin))) return 1u << states[i].pin;
    return 0;
}

void session_states_read(struct session *s, uint32_t asked, uint32_t found) {
    session_set_pins(s, (s->pins & ~asked) | found);
    s->pins_seen |= found;
}
