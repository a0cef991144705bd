// SPDX-License-Identifier: ISC
// router/session/pipeline.c: see router/session/pipeline.h.
#include "router/session/pipeline.h"

#include <string.h>

#include "base/mem.h"
#include "router/session/prep.h"

enum { PIPELINE_FIRST_CAP = 16 };

static void reply_fini(struct reply *r) {
    if (r->name) prep_name_unref(r->name);
    if (r->after) statement_unref(r->after);
    if (r->before) statement_unref(r->before);
}

void pipeline_fini(struct pipeline *p) {
    while (p->count) pipeline_pop(p);
    mem_free(p->ring);
    pipeline_init(p);
}

static void pipeline_grow(struct pipeline *p) {
    uint32_t cap = p->cap ? p->cap * 2 : PIPELINE_FIRST_CAP;
    struct reply *ring = mem_array(cap, struct reply);
    for (uint32_t i = 0; i < p->count; i++) ring[i] = *pipeline_at(p, i);
    mem_free(p->ring);
    p->ring = ring;
    p->cap = cap;
    p->head = 0;
}

struct reply *pipeline_push(struct pipeline *p, enum reply_kind kind, enum reply_action action) {
    if (p->count == p->cap) pipeline_grow(p);
    struct reply *r = pipeline_at(p, p->count++);
    *r = (struct reply){.kind = (uint8_t)kind, .action = (uint8_t)action};
    return r;
}

void pipeline_pop(struct pipeline *p) {
    bug_unless(p->count > 0);
    reply_fini(pipeline_head(p));
    p->head++;
    p->count--;
}
