// SPDX-License-Identifier: ISC
//
// router/session/response.h: a server's messages against what is due.
//
// Walks the bytes a server sent, message by message, and says of each whether it is forwarded, swallowed or kept back;
// puts in the answers that are ours to invent. What is forwarded is sent from the receive buffer, in one write. Knows
// the server connection and the client's names, never the client's socket: bytes and events go up through the ops.
//
// For an exchange that could be run again elsewhere (a read on a replica), everything before the first row or
// completion is kept back; an error that means "not here" then ends the walk with RESPONSE_RERUN and the client has
// seen nothing.
#ifndef PGSTEER_ROUTER_SESSION_RESPONSE_H
#define PGSTEER_ROUTER_SESSION_RESPONSE_H

#include <sys/uio.h>

#include "base/fault.h"
#include "router/session/prep.h"
#include "router/session/server.h"

struct response_ops {
    // Bytes for the client, in order. False: it is gone; stop.
    bool (*send)(void *arg, const struct iovec *iov, int n);
    // A ReadyForQuery; `due` is its entry (swallowed ones too). Must not touch the pipeline.
    void (*ready)(void *arg, const struct reply *due, char tx_status);
    // Appends a message that tells the client where its exchange `due` has run; only where `due->does.told`.
    void (*tell)(void *arg, const struct reply *due, struct buf *out);
    // An error came before the client's Sync was sent: the server skips what follows up to it.
    void (*skipping)(void *arg);
    // CopyInResponse: the server takes COPY data from now on. `extended`: the batch's own Sync, if it was sent, is
    // ignored by PostgreSQL (`ignored` is its entry, else NULL); another one will come.
    void (*copy_in)(void *arg, bool extended, const struct reply *ignored);
    // A BEGIN put before a Query has failed: the server skips the Query, up to the Sync that must be sent now.
    void (*sync_wanted)(void *arg);
    // A parameter of the session has changed at the client's own doing.
    void (*parameter)(void *arg, struct span name, struct span value);
};

enum response_result {
    RESPONSE_OK,     // all bytes handled
    RESPONSE_STOP,   // the client is gone (send said so)
    RESPONSE_BROKEN, // the server broke the protocol or ended the session (FATAL); the fault says what
    RESPONSE_RERUN   // the exchange due first has to be run on the primary; the client has seen nothing of it
};

enum { RESPONSE_IOV = 32 };

// Bytes on their way out, within one call; one per worker, so that a session carries none.
struct response_out {
    struct iovec iov[RESPONSE_IOV];
    int n_iov;
    const uint8_t *from, *to; // the run of bytes being forwarded
    struct buf scratch;       // a message made anew, until it is sent
};

// A statement gives other columns than its client has been told, or cannot be parsed any more.
struct outdated {
    struct buf error;       // what PostgreSQL would say, or has said: an ErrorResponse
    struct statement *held; // what the server holds of it now (counted), or NULL
};

struct response {
    // set by the session
    const struct response_ops *ops;
    void *arg;
    struct prep_client *names;
    bool rerunnable;      // what is due could be run again elsewhere: keep back what comes before the first row
    bool drop;            // swallow everything
    bool show_parameters; // what a swallowed Query changes of the parameters is for the client all the same
    struct buf *capture;  // gets the rows of swallowed Queries as they come; NULL = nobody wants them
    bool notifications;   // NotificationResponse is for this client
    bool failed;          // the exchange due first has had an error; for `ready` to see
    // results
    bool learn;            // RESPONSE_RERUN: the statement can never run on a replica
    bool begin_failed;     // ... in the BEGIN put before it: the client's transaction has failed, the server has none
    bool stale_plan;       // a statement means something else than when it was parsed; the session clears it
    struct fault *refusal; // the server's words if it refused the client's settings, else NULL
    bool unproven;         // what was to be proven is an error, and has changed nothing
    struct outdated *outdated; // what a proof has shown, until the batch has been refused; NULL = nothing is wrong
    // private
    bool holding;       // nothing of the exchange due first has been sent, and it could be run again
    bool pass_swallow;  // what becomes of `pass`
    uint32_t pass;      // bytes to come of a message that is passed on in pieces
    struct buf partial; // the beginning of a message that is wanted whole
    struct buf held;    // what is kept back, between reads
    struct response_out *out;
};

void response_init(struct response *x, const struct response_ops *ops, void *arg, struct prep_client *names,
                   struct response_out *out);
void response_fini(struct response *x); // usable again after it, as after response_init
// Before the first exchange of a server connection is sent.
void response_start(struct response *x, bool rerunnable);
void response_forget_outdated(struct response *x);
// Nothing is left of the server's bytes: no half message, nothing kept back.
static inline bool response_is_clean(const struct response *x) {
    return x->pass == 0 && buf_len(&x->partial) == 0 && buf_len(&x->held) == 0;
}

// True when nothing of the exchange that is due first has been sent to the client and it may be run again elsewhere.
static inline bool response_can_rerun(const struct response *x) { return x->holding || x->drop; }

// Reads `s` once into `rbuf` and handles what came. 0 bytes: RESPONSE_OK. End of file and read errors: RESPONSE_BROKEN.
// After RESPONSE_RERUN the rest of the bytes has been handled as with `drop`, which is set.
NODISCARD enum response_result response_read(struct response *x, struct server *s, uint8_t *rbuf, size_t cap,
                                             size_t *n_read, struct fault *f);
// Sends answers of ours that no server has to give first.
NODISCARD enum response_result response_invent(struct response *x, struct server *s);

#endif
