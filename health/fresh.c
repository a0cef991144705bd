// SPDX-License-Identifier: ISC
// health/fresh.c: see health/fresh.h.
#include "health/fresh.h"

#include <string.h>

enum { PAGE_HEADER_SHORT = 24, PAGE_HEADER_LONG = 40 };

void fresh_reset(struct fresh *f) {
    f->timeline = f->parent = 0;
    f->fork = f->oldest_fork = 0;
    f->newest_us = 0;
    f->n = 0;
}

// Samples at or below `lsn`; they are in order.
static size_t count_up_to(const struct fresh *f, uint64_t lsn) {
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (f->samples[mid].lsn <= lsn)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

// Keeps of the older samples only as many as their age deserves. The newest one stays, and any that goes leaves an
// older one at a lower position to answer in its place.
static void thin(struct fresh *f, int64_t now_us) {
    size_t kept = 0; // at the end of the array, built from the newest backwards
    int64_t last_kept_us = INT64_MAX;
    for (size_t i = f->n; i-- > 0;) {
        int64_t age = now_us - f->samples[i].moment_us;
        if (kept > 0 && last_kept_us - f->samples[i].moment_us < age / FRESH_RATIO) continue;
        last_kept_us = f->samples[i].moment_us;
        kept++;
        f->samples[f->n - kept] = f->samples[i];
    }
    memmove(f->samples, f->samples + (f->n - kept), kept * sizeof f->samples[0]);
    f->n = kept;
    // Samples a millisecond apart for a hundred years do not get here; if anything else does, the oldest half goes.
    if (f->n == FRESH_MAX) {
        f->n = FRESH_MAX / 2;
        memmove(f->samples, f->samples + FRESH_MAX / 2, f->n * sizeof f->samples[0]);
    }
}

void fresh_promoted(struct fresh *f, uint32_t timeline, uint64_t fork) {
    if (timeline <= f->timeline) return;
    if (f->timeline != 0) {
        f->oldest_fork = f->parent ? MIN_OF(f->oldest_fork, fork) : fork;
        f->fork = fork;
        f->parent = f->timeline;
        f->n = count_up_to(f, fork);
    }
    f->timeline = timeline;
}

void fresh_add(struct fresh *f, int64_t moment_us, uint32_t timeline, uint64_t lsn) {
    if (timeline < f->timeline || moment_us < f->newest_us) return;
    if (timeline > f->timeline) fresh_promoted(f, timeline, 0);
    // An older sample at this position or above can never be the answer again. (A primary that crashed may come back
    // with a lower position than it had: what it had not yet written to disk is gone.)
    while (f->n > 0 && f->samples[f->n - 1].lsn >= lsn) f->n--;
    if (f->n == FRESH_MAX) thin(f, moment_us);
    f->samples[f->n++] = (struct fresh_sample){.moment_us = moment_us, .lsn = lsn};
    f->newest_us = moment_us;
}

void fresh_unseen(struct fresh *f, int64_t moment_us, int64_t patience_us) {
    if (f->n == 0 || moment_us - f->samples[f->n - 1].moment_us <= patience_us) return;
    f->newest_us = MAX_OF(f->newest_us, moment_us);
}

// Whether all samples up to the position are of the history it belongs to.
static bool same_history(const struct fresh *f, struct fresh_position p) {
    if (p.timeline == f->timeline) return true;
    if (p.timeline > f->timeline) return false;
    // A server that does not tell its timeline is taken to be on the primary's until that changes.
    if (f->parent == 0) return p.timeline == 0;
    return p.lsn <= (p.timeline == f->parent ? f->fork : f->oldest_fork);
}

struct fresh_answer fresh_of(const struct fresh *f, struct fresh_position p) {
    struct fresh_answer a = {.status = FRESH_UNKNOWN, .fresh_until_us = 0, .lag_us = -1};
    if (f->timeline == 0) return a;
    if (!same_history(f, p)) {
        a.status = FRESH_OTHER_TIMELINE;
        return a;
    }
    size_t n = count_up_to(f, p.lsn);
    if (n == 0) return a;
    a.status = FRESH_KNOWN;
    a.fresh_until_us = f->samples[n - 1].moment_us;
    a.lag_us = f->newest_us - a.fresh_until_us;
    return a;
}

// Up to eight hexadecimal digits; NULL when there is none or more.
static const char *parse_half(const char *s, uint32_t *out) {
    uint32_t v = 0;
    int digits = 0;
    for (;; s++, digits++) {
        uint32_t d;
        if (*s >= '0' && *s <= '9')
            d = (uint32_t)(*s - '0');
        else if (*s >= 'A' && *s <= 'F')
            d = (uint32_t)(*s - 'A' + 10);
        else if (*s >= 'a' && *s <= 'f')
            d = (uint32_t)(*s - 'a' + 10);
        else
            break;
        if (digits == 8) return NULL;
        v = (v << 4) | d;
    }
    *out = v;
    return digits ? s : NULL;
}

bool lsn_parse(const char *text, uint64_t *lsn) {
    uint32_t high, low;
    const char *s = parse_half(text, &high);
    if (!s || *s != '/') return false;
    s = parse_half(s + 1, &low);
    if (!s || *s) return false;
    *lsn = ((uint64_t)high << 32) | low;
    return true;
}

uint64_t lsn_normalise(uint64_t lsn, uint64_t page_size, uint64_t segment_size) {
    if (page_size == 0 || segment_size == 0) return lsn;
    uint64_t offset = lsn % page_size;
    bool first_page = lsn % segment_size < page_size;
    return offset == (first_page ? PAGE_HEADER_LONG : PAGE_HEADER_SHORT) ? lsn - offset : lsn;
}
