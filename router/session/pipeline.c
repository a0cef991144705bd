// SPDX-License-Identifier: ISC
// router/session/pipeline.c: see router/session/pipeline.h.
#include "router/session/pipeline.h"

#include "base/mem.h"
#include "router/session/prep.h"
#include "router/session/statements.h"

enum { PIPELINE_FIRST_CAP = 16, PIPELINE_KEPT_CAP = 1024 };

void reply_fini(struct reply *r) {
    if (r->name) prep_name_unref(r->name);
    if (r->kind == REPLY_PARSE && r->server_names) r->after->awaited--;
    if (r->after) statement_unref(r->after);
    if (r->before) statement_unref(r->before);
}

void pipeline_fini(struct pipeline *p) {
    while (p->count) pipeline_pop(p);
    mem_free(p->ring);
    pipeline_init(p);
}

void pipeline_trim(struct pipeline *p) {
    if (p->cap > PIPELINE_KEPT_CAP) pipeline_fini(p);
}

void pipeline_grow(struct pipeline *p) {
    uint32_t cap = p->cap ? p->cap * 2 : PIPELINE_FIRST_CAP;
    struct reply *ring = mem_array(cap, struct reply);
    for (uint32_t i = 0; i < p->count; i++) ring[i] = *pipeline_at(p, i);
    mem_free(p->ring);
    p->ring = ring;
    p->cap = cap;
    p->head = 0;
}

bool pipeline_has_end(struct pipeline *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        uint8_t kind = pipeline_at(p, i)->kind;
        if (kind == REPLY_QUERY || kind == REPLY_SYNC) return true;
    }
    return false;
}
