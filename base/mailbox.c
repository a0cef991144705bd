// SPDX-License-Identifier: ISC
// base/mailbox.c: see base/mailbox.h. A mutex around a list: mail is rare (health changes, cancels, reloads), never per
// statement, so the simplest queue that is obviously right is the one to have.
#include "base/mailbox.h"

static void mailbox_drain(struct mailbox *mb) {
    uv_mutex_lock(&mb->lock);
    struct mail *m = mb->first;
    mb->first = NULL;
    mb->last = &mb->first;
    uv_mutex_unlock(&mb->lock);
    while (m) {
        struct mail *next = m->next; // the handler may free the mail
        m->deliver(m, mb->owner);
        m = next;
    }
}

static void on_wake(uv_async_t *async) { mailbox_drain(container_of(async, struct mailbox, wake)); }

int mailbox_init(struct mailbox *mb, uv_loop_t *loop, void *owner) {
    mb->first = NULL;
    mb->last = &mb->first;
    mb->owner = owner;
    mb->closed = false;
    int rc = uv_mutex_init(&mb->lock);
    return rc ? rc : uv_async_init(loop, &mb->wake, on_wake);
}

bool mailbox_post(struct mailbox *mb, struct mail *m) {
    m->next = NULL;
    uv_mutex_lock(&mb->lock);
    bool open = !mb->closed;
    if (open) {
        *mb->last = m;
        mb->last = &m->next;
        // Under the lock, so that the owner cannot close the async handle in between.
        uv_async_send(&mb->wake);
    }
    uv_mutex_unlock(&mb->lock);
    return open;
}

void mailbox_close(struct mailbox *mb) {
    uv_mutex_lock(&mb->lock);
    mb->closed = true;
    uv_mutex_unlock(&mb->lock);
    mailbox_drain(mb);
    uv_close((uv_handle_t *)&mb->wake, NULL);
}

void mailbox_fini(struct mailbox *mb) { uv_mutex_destroy(&mb->lock); }
