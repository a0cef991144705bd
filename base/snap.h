// SPDX-License-Identifier: ISC
//
// base/snap.h: counted references to values that do not change.
//
// Configuration and topology are published as snapshots: built whole, never altered, read by many threads. Embed a
// struct snap first, and free the value in the function given to snap_init. The count is the only thing shared.
#ifndef PGSTEER_BASE_SNAP_H
#define PGSTEER_BASE_SNAP_H

#include <stdatomic.h>

#include "base/base.h"

struct snap {
    atomic_uint refs;
    void (*free)(struct snap *s);
};

// Count 1, held by the caller.
static inline void snap_init(struct snap *s, void (*free)(struct snap *)) {
    atomic_init(&s->refs, 1);
    s->free = free;
}
// Any thread that holds a reference.
static inline void snap_ref(struct snap *s) { atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed); }
// Gives a reference up; the last one frees. Any thread.
static inline void snap_unref(struct snap *s) {
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) s->free(s);
}

#endif
