// SPDX-License-Identifier: ISC
//
// base/mailbox.h: how threads talk.
//
// Each loop owns one mailbox. Anyone posts a struct mail (embedded in whatever is sent); the owner's loop wakes up and
// handles every mail in the order it was posted, on the owner's thread. Whoever posts gives the mail's memory to the
// handler. Nothing else crosses threads, but for snapshots' counts and a few atomics.
#ifndef PGSTEER_BASE_MAILBOX_H
#define PGSTEER_BASE_MAILBOX_H

#include <uv.h>

#include "base/base.h"

struct mail {
    struct mail *next;
    // Runs on the owner's thread with the `owner` given to mailbox_init; frees or keeps what embeds the mail.
    void (*deliver)(struct mail *m, void *owner);
};

struct mailbox {
    // private
    uv_async_t wake;
    uv_mutex_t lock;
    struct mail *first, **last;
    void *owner;
    bool closed;
};

// On the owner's thread. 0 or a libuv error.
NODISCARD int mailbox_init(struct mailbox *mb, uv_loop_t *loop, void *owner);
// Any thread, until the owner has closed it; false (and the mail is still the caller's) when it is closed.
NODISCARD bool mailbox_post(struct mailbox *mb, struct mail *m);
// On the owner's thread: handles what is still there, then refuses. The memory stays until the loop has run.
void mailbox_close(struct mailbox *mb);
// After the loop has ended and no thread can post any more.
void mailbox_fini(struct mailbox *mb);

#endif
