// SPDX-License-Identifier: ISC
//
// router/session/session_sequences.c: currval and lastval.
//
// What they tell is known to one server connection only, nobody can list it, and nobody can put it on another one. So
// it stays where it is: of users whose clients ask for it, a client that may have moved a sequence keeps its connection
// (the pin `sequence`), until somebody else needs that one. A connection that such a client is given forgets first what
// it knows of others. The answer then is this client's, or an error: when its connection was needed elsewhere, or when
// nobody knew yet that the user's clients would ask.
//
// Code may ask that no text shows: a function, a default, a view. Where the catalog knows of any, every client of the
// database is given a connection that has forgotten others' numbers, whatever it does there, and whoever may have moved
// a sequence keeps it, but not when somebody else needs one.
#include <xxhash.h>

#include "base/mem.h"
#include "router/session/pins.h"
#include "router/session/session_parts.h"

// How long a connection is kept whoever waits for one: what moved a sequence and the question for it follow each other.
enum { LEASE_US = 50 * 1000 };
// How long after its last DDL a client is taken for a script.
enum { SCRIPT_US = 10 * 1000 * 1000 };
#define SEQUENCES_OF_SEVERAL UINT64_MAX

// Whose clients ask: a bit for each user of a database, of 64; that two may share one costs a connection kept, no more.
uint64_t session_sequence_bit(const char *database, const char *user) {
    uint64_t hash = XXH3_64bits_withSeed(user, strlen(user), XXH3_64bits(database, strlen(database)));
    return UINT64_C(1) << (hash >> 58);
}

static bool user_asks(const struct session *s) {
    return (atomic_load_explicit(s->env->sequence_users, memory_order_relaxed) & s->sequence_bit) != 0;
}

// Whether the client is expected to ask. Who has just changed the schema is a script that goes on by hand or a
// migration: what it does next with a sequence it may well want to see, and there are few of them. DDL itself moves
// none that it would ask for.
static bool will_ask(const struct session *s) {
    if (user_asks(s)) return true;
    return s->ddl_us && !(s->request.verdict.facts & FACT_DDL) &&
           s->env->server.now_us(s->env->server.arg) < s->ddl_us + SCRIPT_US;
}

// Whether there is code in its database that asks. Before the catalog has been read nobody knows.
static bool code_asks(const struct session *s) {
    const struct catalog *c = s->database->catalog;
    return c && catalog_asks_sequence_state(c);
}

// Whether what runs may ask, though no text says so.
static bool may_ask_unseen(const struct session *s) {
    return !s->database->catalog || code_asks(s) || s->request.unreadable || s->request.kind == REQUEST_FUNCTION;
}

// Nobody else gets the connection: it is kept, or it is the one whose process id the client knows.
static bool is_for_nobody_else(const struct session *s, const struct server *sv) {
    return sv == s->held || sv->anchor == &s->ticket.anchor;
}

// What the connection knows is this session's, and all of it since it began to.
static bool is_own(const struct session *s, const struct server *sv) {
    return sv->sequence_user == s->client.id && is_for_nobody_else(s, sv) && !s->sequences_lost;
}

// The connection stays with the client whatever happens to its sequences: a question can always be answered there, if
// nobody else's numbers are in the way. Nobody need have asked before for that to be worth a message.
static bool is_bound(const struct session *s, const struct server *sv) { return sv == s->held && pins_bind(s->pins); }

bool session_forgets_sequences(const struct session *s, bool moves) {
    const struct server *sv = s->server;
    if (s->on_replica || !sv->sequence_user || is_own(s, sv)) return false;
    if (may_ask_unseen(s)) return true;
    bool begins = session_tx_begins(s); // which may ask later
    bool matters = moves || begins || (s->request.verdict.facts & (FACT_SEQUENCE_STATE | FACT_BEGIN));
    return matters && (s->session_mode || is_bound(s, sv) || will_ask(s));
}

bool session_sequences_are_lost(struct session *s, bool moves) {
    if (!(s->request.verdict.facts & FACT_SEQUENCE_STATE)) return false;
    if (!user_asks(s)) atomic_fetch_or_explicit(s->env->sequence_users, s->sequence_bit, memory_order_relaxed);
    const struct server *sv = s->server ? s->server : s->held ? s->held : s->ticket.anchor.server;
    if (!sv && s->sequences_moved) session_leave_sequences(s); // its anchor was needed by others
    bool mixed = sv && sv->sequence_user && sv->sequence_user != s->client.id;
    // What finds a connection now finds one that forgets first.
    if (!s->server || s->claimed) return !moves && (s->sequences_lost || (mixed && s->sequences_moved));
    return mixed || (sv->sequence_user && s->sequences_lost);
}

void session_note_sequences(struct session *s, bool moves) {
    struct server *sv = s->server;
    bool asks = (s->request.verdict.facts & FACT_SEQUENCE_STATE) != 0;
    if (s->on_replica || (!moves && !asks)) return;
    s->sequences_asked = !moves;
    if (moves) {
        if (!sv->sequence_user) s->sequences_lost = false; // whatever it will tell is newer than what was lost
        sv->sequence_user =
            !sv->sequence_user || sv->sequence_user == s->client.id ? s->client.id : SEQUENCES_OF_SEVERAL;
        s->sequences_moved = true;
    }
    bool stays = sv->anchor == &s->ticket.anchor && !sv->dirty; // it comes back to this client anyway
    bool asks_later = will_ask(s) || code_asks(s);
    bool keep = s->sequences_moved && sv->sequence_user == s->client.id && !s->session_mode && !stays && asks_later;
    if (keep) session_set_pins(s, s->pins | PIN_BIT(SEQUENCE));
}

void session_leave_sequences(struct session *s) {
    s->sequences_lost |= s->sequences_moved;
    s->sequences_moved = false;
}

// Connections that are kept for nothing else.

// Somebody may have it by now. That code may ask some time is no reason for anybody to wait.
static bool is_ripe(const struct session *s) {
    return s->sequences_asked || !will_ask(s) || s->env->server.now_us(s->env->server.arg) - s->leased_us >= LEASE_US;
}

// Somebody waits for it, or it would be closed if it were idle: it is too old, or its server has another address.
static bool is_wanted(const struct session *s) { return pool_is_wanted(s->held->pool) || pool_would_close(s->held); }

// Who keeps a connection without a pause gives others their turn, too.
void session_lease(struct session *s) {
    bool kept = !s->session_mode && s->held && s->held != s->server && s->pins == PINS_SOFT;
    if (kept == ilink_in_list(&s->lease_link)) return;
    if (!kept) {
        ilist_remove(&s->env->leases, &s->lease_link);
        return;
    }
    s->leased_us = s->env->server.now_us(s->env->server.arg);
    ilist_push_back(&s->env->leases, &s->lease_link);
    if (is_ripe(s) && is_wanted(s)) session_end_lease(s);
}

void session_end_lease(struct session *s) {
    struct server *sv = s->held;
    session_let_held_go(s);
    pool_put(sv);
}

// The oldest lease in `p` that may be ended, or in any pool where it is wanted; NULL = none.
static struct session *find_ripe(struct session_env *env, const struct pool *p) {
    ILIST_EACH(&env->leases, n) {
        struct session *s = container_of(n, struct session, lease_link);
        if (is_ripe(s) && (p ? s->held->pool == p : is_wanted(s))) return s;
    }
    return NULL;
}

void sessions_yield_lease(struct session_env *env, const struct pool *p) {
    struct session *s = find_ripe(env, p);
    if (s) session_end_lease(s);
}

void sessions_yield_leases(struct session_env *env) {
    for (struct session *s; (s = find_ripe(env, NULL));) session_end_lease(s);
}
