// SPDX-License-Identifier: ISC
// parser/database_names.c: see parser/database_names.h.
#include "parser/database_names.h"

#include "parser/tree.h"

struct search {
    void (*visit)(void *arg, struct span name);
    void *arg;
};

static void on_event(void *arg, const struct tree_event *e) {
    const struct search *s = arg;
    if (e->type == TREE_SAW_DATABASE) s->visit(s->arg, e->name);
}

void database_names(struct span sql, void (*visit)(void *arg, struct span name), void *arg) {
    struct search s = {visit, arg};
    struct tree *t;
    if (tree_parse(sql, &t) != TREE_OK) return;
    for (size_t i = 0; i < tree_count(t); i++)
        if (tree_walk(t, i, on_event, &s) != TREE_OK) break;
    tree_free(t);
}
