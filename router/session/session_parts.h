// SPDX-License-Identifier: ISC
//
// router/session/session_parts.h: what the parts of a session call of each other.
//
// session.c has its life, session_login.c the way in, session_link.c the server connection, session_input.c what the
// client says, session_output.c what the server says, session_tx.c transactions that no server knows of yet and those
// on replicas, session_lost.c a transaction without its server, session_failover.c another primary, session_settings.c,
// session_pins.c and session_sequences.c what the client leaves on a connection, session_used.c what others have left
// there, session_relay.c replication connections. Nobody else includes this.
#ifndef PGSTEER_ROUTER_SESSION_SESSION_PARTS_H
#define PGSTEER_ROUTER_SESSION_SESSION_PARTS_H

#include "parser/setting_names.h"
#include "router/wire/msg.h"
#include "router/session/session.h"

// In `settling`, beside facts: the unit was no SQL that we know; if it fails it has left nothing behind.
#define SESSION_SETTLING_SYNTAX (1u << 31)

#define SESSION_JOURNAL_LIMIT (SIZE_MAX / 2)

enum { SESSION_HIGH_WATER = 128 * 1024, SESSION_LOW_WATER = 32 * 1024 };

// A read that loses its server is run again; twice, since replicas may go together; no more, since it may be what kills
// them. So often, too, another connection is tried when one does not take the client's settings.
enum { SESSION_RERUNS_MAX = 2 };

// session.c
void session_set_state(struct session *s, enum session_state to);
void session_gone(void *owner, struct client *c); // a client's op
void session_free(struct session *s);             // nothing of it is in use any more
void session_leave_newcomers(struct session *s);  // it has proved who it is, or has gone
enum { SESSION_KEY_SIZE = sizeof((struct session *)0)->cancel_pid + sizeof((struct session *)0)->cancel_key };
static inline bool session_is_login(const struct session *s) { return s->client.state != CLIENT_READY; }
// FATAL to the client; the server connection is dealt with when the client is gone.
void session_fail(struct session *s, enum stat_error reason, const char *sqlstate, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
// The client's kept input is looked at again.
void session_resume(struct session *s);
// Each that waits in a pool's queue, which `visit` may have it leave.
void sessions_visit_waiting(struct session_env *env, void (*visit)(struct session *s));

// session_login.c
void session_authenticated(void *owner, struct client *c, const struct scram_keys *keys);
// What logs in to the servers: what the client's login has taught us, or the password that is configured. To be wiped.
struct credentials session_credentials(const struct session *s, const struct scram_keys *keys);
void session_make_cancel_key(struct session *s);
void session_login_linked(struct session *s); // a server has been found for the welcome
// What the session itself must know of its parameters.
void session_note_parameter(struct session *s, struct span name, struct span value);
void session_login_replied(struct session *s); // ... and has taken the settings
void session_forget_login(struct session *s);  // what it was about to be told
void session_login_retry(struct session *s);
void session_login_refused(struct session *s, const struct fault *f); // by a replica, in these words
bool session_awaits_catalog(const struct session *s); // a login that can go on when it has come, or late enough

// session_link.c
extern const struct server_owner_ops session_server_ops;
void session_link_init(struct session *s);
// Finds a server for the unit that is ready. LINKED afterwards, or waiting, parked, or closed.
void session_find_server(struct session *s);
// A read that waits in a replica's queue goes to another replica that has a connection to spare by now.
void session_try_elsewhere(struct session *s);
// The same for a login: any server in good order, the primary first.
void session_find_login_server(struct session *s);
bool session_has_login_server(struct session *s);    // there is one that has not refused it
bool session_has_anchorage(const struct session *s); // a login would get a connection for itself
void session_park(struct session *s);
// The connection it keeps is gone, and with it what currval and lastval would tell.
void session_let_held_go(struct session *s);
// Nothing ties the session to `server` any more: back to the pool, or kept while pinned.
void session_unlink(struct session *s);
// Whether this last word of a server is meant for the session, and ends it: a time limit of PostgreSQL has ended its
// transaction or idle connection, or somebody has asked, through us, that a process be ended. The end of a server ends
// no session.
bool session_is_ended_by(const struct session *s, const struct fault *f);
// The server connection in use is broken: what is due is run again, or answered with an error, or the client is lost.
void session_server_lost(struct session *s, struct server *sv, const struct fault *f);
// The server in use does not take the settings of the session, whose unit goes elsewhere. False when there is no unit,
// or no hope.
bool session_leave_refusing(struct session *s);
// The client is gone.
void session_drop_servers(struct session *s);
// The unit that is ready gets this error instead of a server.
void session_refuse(struct session *s, const struct fault *f);
// The unit, which is about to be sent, wants databases for itself: the connections that all workers keep to them are
// closed, unless it is answered soon (session_vacate.c). session_forget_vacating: it has been, or never will be.
void session_vacate(struct session *s, struct span unit);
void session_forget_vacating(struct session *s);
void session_note_ddl(struct session *s, bool over); // the schema may have changed; `over`: for others as well
void session_note_write(struct session *s);          // something that may have written has been answered
void session_note_read(struct session *s);           // an answer has been shown
void session_unpark(struct session *s);              // tries again
// A cancel of what has been answered is still on its way to the backend, and would hit whatever is sent now.
static inline bool session_awaits_cancel(const struct session *s) {
    return s->server && s->server->cancels && !s->due && !s->open;
}
void session_avoid_server(struct session *s); // nobody here goes to the server of its node for a while
bool session_park_expired(const struct session *s, uint64_t now_us);
// The transaction's replica has answered the ROLLBACK of session_tx_leave.
void session_left(struct session *s);
// The server in use is closed, and the client's transaction has failed.
void session_abandon(struct session *s, const struct fault *why);
// What was sent to a replica and not answered is put before the client's input, to be sent again.
void session_run_again(struct session *s, bool anywhere);

// session_input.c
size_t session_input(void *owner, struct client *c, struct span in);
// A Query of our own to the server in use; its answer is swallowed.
void session_ask_server(struct session *s, struct span sql);
// Gives the server in use the session's settings, and has it forget sequences if it `forgets`; `shown`: the client
// hears of what changes.
void session_put_settings(struct session *s, bool shown, bool forgets);

void session_send_sync(struct session *s); // to the server in use; its answer is expected already
void session_forget_name(struct session *s, struct span name);
void session_forget_unnamed(struct session *s); // a Query ends the unnamed statement
// A name of a prepared statement, from a Parse.
void session_take_name(struct session *s, const struct msg_parse *m);

// session_tx.c
// The modes of the transaction that is under way, or begins with the unit that is ready.
struct tx_modes session_tx_modes(const struct session *s);
char session_tx_status(const struct session *s); // as the client is to see it, when nothing is due
void session_tx_lose(struct session *s);         // to the client it has failed, and no server knows of it
// A BEGIN, or what may come between that and the first statement, that is answered here.
bool session_tx_is_local(const struct session *s, struct span unit);
void session_tx_answer(struct session *s, struct span unit);
// Answers to all messages of such a unit, or to a Query that ends a transaction.
void session_put_lone(struct session *s, struct span unit, const char *tag, char status, struct buf *out);
// The same for one message of a batch, which may also be a Close.
void session_put_message(struct session *s, const struct frame *frame, const char *tag, char status, struct buf *out);
// A transaction begins, for a server, with the unit that is ready.
bool session_tx_begins(const struct session *s);
// Why it must be on the primary: a route reason; ROUTE_REASON_BALANCED when it need not.
unsigned session_tx_reason(struct session *s, struct span unit);
// A server is there: puts the deferred BEGIN before the unit. True when there was one.
bool session_tx_start(struct session *s, struct buf *out);
// A transaction that has failed on its replica, and whose end is sent with what comes after it, fails anew on the
// server that was found for that. True: it has to be waited for.
bool session_tx_fail_anew(struct session *s);
bool session_tx_begin_is_due(const struct session *s); // its answer has not come
void session_tx_sending(struct session *s);            // the unit that is ready goes out
bool session_tx_may_move(const struct session *s);     // should it fail there, in a way that is the replica's
void session_tx_answered(struct session *s, const struct reply *due, char tx_status);
// On a replica, in a transaction: the unit that is ready cannot be run there.
bool session_tx_must_leave(struct session *s, struct span unit);
// ... it moves to the primary, where what is in the journal is run `again`.
void session_tx_leave(struct session *s, bool again);
// The replica is out of the game: the transaction is deferred again; `reason` as in struct transaction.
void session_tx_unplace(struct session *s, unsigned reason);
void session_tx_refusal(const struct session *s, struct fault *f);

// session_used.c
// The server in use has been others', who have left what this client would meet in the unit that is ready: then it is
// closed, and another one has to be found.
bool session_leave_used(struct session *s, struct span unit);

// session_code.c
// The unit is DDL: if it makes code, what that may set is remembered until the catalog tells it.
void session_note_code(struct session *s, struct span unit);
// There is such code.
bool session_has_new_code(struct session *s);
// Adds the names of the parameters that it may set, a NUL behind each.
void session_put_code_names(const struct session *s, struct buf *names);
void session_forget_code(struct session *s);

// session_settings.c
// The defaults of transactions by the values of default_transaction_isolation and ..._read_only; an empty one says
// nothing.
struct tx_modes session_modes_of(struct span isolation, struct span read_only);
// The texts that a unit runs: of its Query, of what it parses, of the statements that it binds. False when they cannot
// be read.
bool session_each_text(struct session *s, struct span unit, void (*visit)(void *arg, struct span sql), void *arg);
struct touch_facts {
    bool known;   // session_touch would say true
    bool nobodys; // it sets what PL/pgSQL would take away when it is loaded
};
// Of a unit whose verdict says that it changes settings.
struct touch_facts session_touch_facts(struct session *s, struct span unit);
// The facts of texts that change settings.
enum { FACTS_TOUCHING = FACT_SET | FACT_SET_LOCAL | FACT_RESET | FACT_RESET_ALL | FACT_DISCARD_ALL | FACT_CALL };
// Notes what the unit may change, whose facts say that it sets something or that runs code which may set `anything`.
// False when that cannot be told: pin.
bool session_touch(struct session *s, struct span unit, bool anything);
// Something may have been set that no text names.
bool session_touched_anything(const struct session *s);
// The exchange `due` has been answered.
void session_touched_ready(struct session *s, const struct reply *due, char tx_status);
// More may have been touched than names that stay known.
bool session_touched_matters(const struct session *s);
// Some of what was touched, and not read back, is in force whatever becomes of a transaction that is open.
bool session_touched_counts(const struct session *s);
// A RESET has left a server's default where the value of the start-up packet is to be: what comes behind it waits until
// that is in force, as far as no transaction is open.
bool session_awaits_startup(const struct session *s);
// ... and in one that is open they are put in force at once. True: that has to be waited for.
bool session_restore_startup(struct session *s);
// Nothing is due and no transaction is open: asks the server for the values of what was touched.
void session_read_settings(struct session *s);
bool session_is_reading(const struct session *s);
// PostgreSQL takes another temp_buffers only as long as a session has had no temporary table. False when the server in
// use has had some, and has other temp_buffers in force than the session wants.
bool session_takes_temp_buffers(const struct session *s);
void session_settings_read(struct session *s);  // the answer is there, or an error
void session_forget_touched(struct session *s); // what was touched never came to be
// The server in use has taken them.
void session_settings_are_in_force(struct session *s);
// The server in use knows the names of all parameters of applications that the client has had.
bool session_customs_are_known(const struct session *s);
// It does not take a parameter of an application, whose name is in its refusal: one that is empty, or only to be known,
// is not worth the client, and forgotten. False: there is none.
bool session_forget_refused(struct session *s);
// It says that the login lacks the right to one of the settings: that may have been made with the rights of the role
// that the client has taken, which comes first from now on. False: there is none, or that has been tried.
bool session_puts_identity_first(struct session *s);
// Of what the client parses now.
struct meaning session_meaning(const struct session *s);
// Takes what the config says of its database and user, and a reload may change, and what it has SET itself. Notices of
// what it has SET in vain go to `told`, unless that is NULL.
void session_configure(struct session *s, struct buf *told);

// When nothing is due and no transaction is open, the server is to be asked which of these pins have a state.
void session_touch_states(struct session *s, uint32_t pins);

// session_pins.c
// The one setter of s->pins.
void session_set_pins(struct session *s, uint32_t pins);
// The unit that is sent may have caused these pins, and its facts say which it may have ended.
void session_pin(struct session *s, uint32_t caused);
// DISCARD ALL has been done: no pin but `kept` has a cause any more.
void session_release_pins(struct session *s, uint32_t kept);
// A query for the states of `pins`, appended to others: rows of (NULL, name, true), one for each that is there.
void session_put_states_sql(uint32_t pins, struct buf *sql);
uint32_t session_state_pin(struct span name); // of such a row: the pin
// The server was asked for the states of the pins `asked`, and has those of `found`.
void session_states_read(struct session *s, uint32_t asked, uint32_t found);

// session_sequences.c. `moves`: the unit may move a sequence, by nextval or setval.
uint64_t session_sequence_bit(const char *database, const char *user); // for s->sequence_bit
// The server in use has to forget its sequences (DISCARD SEQUENCES) before the unit.
bool session_forgets_sequences(const struct session *s, bool moves);
// The unit asks for what is not at hand any more, or might be told of another client's.
bool session_sequences_are_lost(struct session *s, bool moves);
void session_note_sequences(struct session *s, bool moves); // the unit is sent
void session_leave_sequences(struct session *s);            // its primary connection is let go of
// `held` may be kept for nothing but sequences by now, or not any more: then others may have it when they need it.
void session_lease(struct session *s);
void session_end_lease(struct session *s); // `held` goes back to its pool
// Somebody is about to wait in `p`.
void sessions_yield_lease(struct session_env *env, const struct pool *p);
// Every tick: wherever somebody waits.
void sessions_yield_leases(struct session_env *env);

// session_failover.c
// The topology is another one: nothing goes to a server any more that was the primary and is not.
void sessions_follow_primary(struct session_env *env);

// session_lost.c
// The answer to a unit in a transaction that was lost, or to the beginning of one: to so many bytes.
size_t session_answer_lost(struct session *s, struct span unit);

// session_relay.c
// An authenticated client wants to replicate.
void session_relay_open(struct session *s, const struct scram_keys *keys);
void session_relay_try(struct session *s);   // it waits for the primary: try again
void session_relay_gone(struct session *s);  // the client is gone
void session_relay_freed(struct session *s); // ... and so is its memory: session_free follows, now or later
void session_relay_cancel(struct session *s, uint64_t asked_us); // at that time it was asked to stop what it did
void session_relay_shut(struct session *s);                      // the router ends
void relays_topology_changed(struct session_env *env);
void relays_tick(struct session_env *env);

// session_output.c
extern const struct response_ops session_response_ops;
void session_server_readable(void *owner, struct server *sv);
void session_client_drained(void *owner, struct client *c);
// Sends to the client; false when it is gone.
bool session_send_client(struct session *s, struct span bytes);
// What follows when answers have come: back to the pool, the next unit, back-pressure.
void session_settle(struct session *s);
// Of the above, what follows an answer that needed no server: the end of a drain, the time that the client may idle.
void session_rest(struct session *s);

#endif
