// SPDX-License-Identifier: ISC
//
// router/session/pins.h: why a session must stay with its primary connection.
//
// State that lives in a PostgreSQL session and that the router cannot carry to another one ties the client to the
// connection where it is, until it is gone. Each cause is a bit, counted and shown by name. Pure.
#ifndef PGSTEER_ROUTER_SESSION_PINS_H
#define PGSTEER_ROUTER_SESSION_PINS_H

#include "parser/verdict.h"

// id, name, the facts that cause it
#define PINS(X)                                                                                                        \
    X(SET, "set", FACT_SET)                                                                                            \
    X(TEMP, "temp", FACT_TEMP)                                                                                         \
    X(LISTEN, "listen", FACT_LISTEN)                                                                                   \
    X(HOLD_CURSOR, "hold_cursor", FACT_HOLD_CURSOR)                                                                    \
    X(ADVISORY_LOCK, "advisory_lock", FACT_ADVISORY_LOCK)                                                              \
    X(PREPARED, "prepared", FACT_PREPARE)                                                                              \
    X(LOAD, "load", FACT_LOAD)                                                                                         \
    X(UNREADABLE, "unreadable", 0) /* a statement was not understood, and may have left anything */

enum pin_index {
#define X(id, name, facts) PIN_INDEX_##id,
    PINS(X)
#undef X
        PIN_COUNT
};

// The pins, a bit each, that texts with these facts may cause. DISCARD ALL, once done, releases all.
static inline uint32_t pins_caused(uint32_t facts) {
    uint32_t pins = 0;
#define X(id, name, cause)                                                                                             \
    if (facts & (cause)) pins |= 1u << PIN_INDEX_##id;
    PINS(X)
#undef X
    return pins;
}

static inline const char *pin_str(enum pin_index pin) {
    static const char *const names[] = {
#define X(id, name, cause) name,
        PINS(X)
#undef X
    };
    return names[pin];
}

#endif
