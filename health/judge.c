// SPDX-License-Identifier: ISC
// health/judge.c: see health/judge.h.
#include "health/judge.h"

struct facts judge_new(void) {
    return (struct facts){.role = NODE_ROLE_UNKNOWN, .state = NODE_STATE_UNKNOWN, .reason = NODE_REASON_NOT_PROBED};
}

static bool is_returning(const struct facts *f) {
    return f->state == NODE_STATE_SUSPECT && f->reason == NODE_REASON_RETURNING;
}

// Reasons that prove that a connection cannot be had now.
static bool is_definite(enum node_reason r) { return r == NODE_REASON_UNREACHABLE || r == NODE_REASON_STARTING; }

static struct facts judge_failure(const struct facts *old, const struct sighting *s,
                                  const struct judge_limits *limits) {
    struct facts f = *old;
    f.full = s->full;
    f.reason = s->failure;
    if (!s->full) f.failures++;
    bool was_down = old->state == NODE_STATE_DOWN || is_returning(old);
    f.state = was_down || f.failures >= limits->failures ? NODE_STATE_DOWN : NODE_STATE_SUSPECT;
    if (!judge_serves(&f)) f.up_since_us = 0;
    return f;
}

// Where a server that is a primary left its parent's history. Its own word is right if it was promoted under our eyes;
// after a restart that word means the end of crash recovery, and then only what we saw ourselves is sure.
static void judge_fork(struct facts *f, const struct facts *old, const struct sighting *s) {
    if (s->in_recovery) return;
    if (old->role == NODE_ROLE_REPLICA) {
        f->parent = old->timeline;
        f->fork = !s->new_connection && s->replayed ? s->replayed : old->lsn;
    } else if (old->timeline == s->timeline) {
        f->parent = old->parent;
        f->fork = old->fork;
    }
}

static uint32_t timeline_of(const struct facts *old, const struct sighting *s) {
    // A standby never goes back to an older timeline without a restart, and what tells the timeline is not always
    // there.
    if (s->in_recovery && old->role == NODE_ROLE_REPLICA && !s->new_connection)
        return MAX_OF(old->timeline, s->timeline);
    return s->timeline;
}

struct facts judge_sighting(const struct facts *old, const struct sighting *s, const struct judge_limits *limits,
                            int64_t now_us) {
    if (s->failure != NODE_REASON_OK) return judge_failure(old, s, limits);
    struct facts f = {.role = s->in_recovery ? NODE_ROLE_REPLICA : NODE_ROLE_PRIMARY,
                      .timeline = timeline_of(old, s),
                      .system_identifier = s->system_identifier ? s->system_identifier : old->system_identifier,
                      .lsn = s->lsn,
                      .lagging = s->in_recovery && old->lagging,
                      .critical = s->in_recovery && old->critical};
    judge_fork(&f, old, s);
    if (old->state == NODE_STATE_DOWN && s->in_recovery) {
        f.state = NODE_STATE_SUSPECT;
        f.reason = NODE_REASON_RETURNING;
        return f;
    }
    f.state = NODE_STATE_UP;
    f.reason = NODE_REASON_OK;
    f.up_since_us = old->up_since_us ? old->up_since_us : now_us;
    return f;
}

void judge_lag(struct facts *f, int64_t lag_us, const struct judge_limits *limits) {
    f->critical = limits->critical_lag_us > 0 && lag_us > limits->critical_lag_us;
    if (lag_us < 0) return;
    int64_t mark = limits->max_lag_us;
    if (f->lagging && limits->max_lag_return_us > 0) mark = MIN_OF(mark, limits->max_lag_return_us);
    f->lagging = limits->max_lag_us > 0 && lag_us > mark;
}

bool judge_serves(const struct facts *f) {
    switch (f->state) {
    case NODE_STATE_UP: return true;
    case NODE_STATE_SUSPECT:
        // A server that has never answered is SUSPECT too, and nothing is known of it.
        return f->role != NODE_ROLE_UNKNOWN && !is_returning(f) && !is_definite(f->reason);
    case NODE_STATE_UNKNOWN:
    case NODE_STATE_DOWN: break;
    }
    return false;
}
