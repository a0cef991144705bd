// SPDX-License-Identifier: ISC
//
// health/probe.h: asks one server how it is.
//
// A probe is one query that answers everything, on a connection that is kept from one probe to the next. What was seen
// comes back as a struct sighting; nothing is judged here. The whole of a probe, connecting included, has one deadline.
// Where a new connection is to be tried, the kept one stays until that has answered: a server that is full would not
// give it back.
//
// What is asked, and what a monitor needs for it (PostgreSQL 11 and later):
// - role, and WAL position: pg_current_wal_insert_lsn() of a primary, pg_last_wal_replay_lsn() of a replica: any role.
//   The insert position and not the write position: with synchronous_commit = off a commit may be acknowledged before
//   it is written.
// - a primary's timeline: from pg_walfile_name() of that position: any role, and right at once after a promotion.
// - the timeline a replica follows: pg_stat_wal_receiver.received_tli, which only members of pg_monitor see; and, a
// lower
//   bound that may be minutes late after a promotion, what its control file says (pg_control_checkpoint(),
//   pg_control_recovery()). Without pg_monitor a replica that follows a new primary gets no reads until its control
//   file tells so, which is at its next restart point.
// - the system identifier and the sizes of WAL pages and segments, once per connection: any role by default; where
//   pg_control_system() is revoked the identifier is unknown, and a server of another cluster is not recognised.
#ifndef PGSTEER_HEALTH_PROBE_H
#define PGSTEER_HEALTH_PROBE_H

#include "health/dbconn.h"
#include "health/judge.h"

struct probe;

struct probe_ops {
    // Where to connect now: fills `target`, which is used and forgotten before the call of the probe goes on.
    void (*target)(void *owner, struct dbconn_target *target);
    // A probe has ended, one way or the other.
    void (*seen)(void *owner, const struct sighting *s);
    // A probe has ended without having seen anything: this process had no descriptor or memory for it.
    void (*unable)(void *owner, const char *text);
    // The kept connection was closed by the server, between probes.
    void (*lost)(void *owner);
    void (*freed)(void *owner);
};

NODISCARD struct probe *probe_new(uv_loop_t *loop, const struct probe_ops *ops, void *owner);
// Only `freed` is called any more.
void probe_free(struct probe *p);

// Begins a probe; none may be under way, and there must be an address to connect to. With `renew` on a new connection;
// if there is none to be had but for the kept one (53300, no file descriptor), on that. Answers with `seen` or
// `unable`.
void probe_start(struct probe *p, int64_t timeout_ms, bool renew);
bool probe_is_busy(const struct probe *p);
// Gives the connections up; a probe under way ends without a word.
void probe_reset(struct probe *p);
bool probe_peer(const struct probe *p, struct sockaddr_storage *out); // as dbconn_peer

// What a failure of a connection means.
enum node_reason probe_reason(const struct dbconn_failure *f);

#endif
