// SPDX-License-Identifier: ISC
//
// base/ilist.h: intrusive doubly linked lists.
//
// A node sits in at most one list at a time; a node in none points to itself. The list counts its nodes. No allocation,
// O(1) everything, single thread.
#ifndef PGSTEER_BASE_ILIST_H
#define PGSTEER_BASE_ILIST_H

#include "base/base.h"

struct ilink {
    struct ilink *prev, *next;
};

struct ilist {
    struct ilink head;
    size_t count;
};

static inline void ilink_init(struct ilink *n) { n->prev = n->next = n; }
static inline bool ilink_in_list(const struct ilink *n) { return n->next != n; }
static inline void ilist_init(struct ilist *l) {
    ilink_init(&l->head);
    l->count = 0;
}
static inline bool ilist_empty(const struct ilist *l) { return l->count == 0; }
static inline void ilist_insert_before_(struct ilist *l, struct ilink *at, struct ilink *n) {
    bug_unless(!ilink_in_list(n));
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
    l->count++;
}
static inline void ilist_push_back(struct ilist *l, struct ilink *n) { ilist_insert_before_(l, &l->head, n); }
static inline void ilist_push_front(struct ilist *l, struct ilink *n) { ilist_insert_before_(l, l->head.next, n); }
static inline void ilist_remove(struct ilist *l, struct ilink *n) {
    bug_unless(ilink_in_list(n) && l->count > 0);
    n->prev->next = n->next;
    n->next->prev = n->prev;
    ilink_init(n);
    l->count--;
}
static inline struct ilink *ilist_first(struct ilist *l) { return l->count ? l->head.next : NULL; }
static inline struct ilink *ilist_last(struct ilist *l) { return l->count ? l->head.prev : NULL; }
static inline struct ilink *ilist_pop_front(struct ilist *l) {
    struct ilink *n = ilist_first(l);
    if (n) ilist_remove(l, n);
    return n;
}

// Walks a list; the current node may be removed in the body.
#define ILIST_EACH(list, n)                                                                                            \
    for (struct ilink *n = (list)->head.next, *n##_next = n->next; n != &(list)->head; n = n##_next, n##_next = n->next)

#endif
