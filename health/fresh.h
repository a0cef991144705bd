// SPDX-License-Identifier: ISC
//
// health/fresh.h: how fresh a replica is, from moments and log positions. Pure.
//
// Every probe of the primary gives a sample: the moment just before the query was sent, and the position up to which
// the primary had inserted WAL when it answered. Whatever was acknowledged before that moment lies below that position.
// So a replica that has replayed position P has everything of the primary up to
//
//     fresh_until = the latest moment among the samples whose position <= P
//
// and its lag is the moment of the newest sample minus that. No clock of a server takes part, an idle primary never
// looks ahead of its replicas, and a primary that is down adds no samples, so nobody falls behind it. One that is there
// but cannot be asked (fresh_unseen) goes on writing: the lag counts up to then, although there is no sample.
//
// The samples are kept in order, both moments and positions rising: an older sample at the same or a higher position
// than a newer one can never be the answer and is dropped, so an idle primary takes one entry. When the array is full,
// older samples are thinned to a spacing of 1/FRESH_RATIO of their age: that can only make an answer older, by less
// than two per cent of its age, and lets years of samples fit.
//
// Positions are only compared on one timeline. After a promotion, samples up to the fork are common history and stay,
// those of the old timeline past it go; a replica not known to follow the new timeline is compared up to the fork only.
#ifndef PGSTEER_HEALTH_FRESH_H
#define PGSTEER_HEALTH_FRESH_H

#include "base/base.h"

enum { FRESH_MAX = 4096, FRESH_RATIO = 128 };

struct fresh_sample {
    int64_t moment_us;
    uint64_t lsn;
};

struct fresh {
    // read-only for others
    uint32_t timeline; // of the newest samples; 0 = no sample yet
    int64_t newest_us; // moment of the newest sample, or of fresh_unseen
    // private
    uint32_t parent;      // the timeline before this one; 0 = it has not changed since the first sample
    uint64_t fork;        // up to here `timeline` and `parent` are one history; 0 = not known
    uint64_t oldest_fork; // the lowest of all forks so far: up to here all timelines seen are
    size_t n;
    struct fresh_sample samples[FRESH_MAX];
};

// What a replica is known to have replayed.
struct fresh_position {
    uint64_t lsn;      // normalised
    uint32_t timeline; // the highest it is known to have been on; 0 = unknown
};

enum fresh_status {
    FRESH_KNOWN,         // fresh_until and lag hold
    FRESH_UNKNOWN,       // no sample yet that low
    FRESH_OTHER_TIMELINE // not known to share the primary's history
};

struct fresh_answer {
    enum fresh_status status;
    int64_t fresh_until_us; // 0 unless FRESH_KNOWN
    int64_t lag_us;         // -1 unless FRESH_KNOWN
};

void fresh_reset(struct fresh *f);

// A sample of the primary. Moments must not fall; one that does is ignored. A higher timeline than before is taken for
// a promotion of which the fork is not known (fresh_promoted says otherwise first); a lower one is ignored.
void fresh_add(struct fresh *f, int64_t moment_us, uint32_t timeline, uint64_t lsn);

// At that moment the primary was there and did not say how far it was. After more than `patience_us` without a sample
// it counts as having written ever since, which nobody is known to have replayed.
void fresh_unseen(struct fresh *f, int64_t moment_us, int64_t patience_us);

// The primary is on `timeline` from now on, and `fork` (0 = unknown) lies on both it and the timeline before: the last
// position the new primary replayed before its promotion.
void fresh_promoted(struct fresh *f, uint32_t timeline, uint64_t fork);

// How fresh the holder of `p` is.
struct fresh_answer fresh_of(const struct fresh *f, struct fresh_position p);

// "16/B374D848" to a number; false when it is not one.
NODISCARD bool lsn_parse(const char *text, uint64_t *lsn);

// A position just after a page header holds no more WAL than the start of the page, and a server says either for the
// same point: pg_current_wal_insert_lsn() the former, pg_last_wal_replay_lsn() the latter. Answers the start of the
// page. The header takes 24 bytes, in the first page of a segment 40 (SizeOfXLogShortPHD and SizeOfXLogLongPHD of
// PostgreSQL's access/xlog_internal.h). 0 for either size = unknown: the position stays as it is, which can only make a
// replica look older.
uint64_t lsn_normalise(uint64_t lsn, uint64_t page_size, uint64_t segment_size);

#endif
