// SPDX-License-Identifier: ISC
//
// router/session/pins.h: why a session must stay with its primary connection.
//
// State that lives in a PostgreSQL session and that the router cannot carry to another one ties the client to the
// connection where it is, until it is gone. Each cause is a bit, counted and shown by name. A text says that there may
// be such state, or that it may have gone; whether there is any, only the server knows, and it can be asked for most
// kinds. Pure.
#ifndef PGSTEER_ROUTER_SESSION_PINS_H
#define PGSTEER_ROUTER_SESSION_PINS_H

#include "parser/verdict.h"

// id, name, the facts that may cause it, the facts that may end it
#define PINS(X)                                                                                                        \
    X(SET, "set", 0, 0) /* a setting that cannot be carried to another connection */                                   \
    X(TEMP, "temp", FACT_TEMP, FACT_DDL | FACT_DISCARD)                                                                \
    X(LISTEN, "listen", FACT_LISTEN, FACT_UNLISTEN)                                                                    \
    X(HOLD_CURSOR, "hold_cursor", FACT_HOLD_CURSOR, FACT_CLOSE)                                                        \
    X(ADVISORY_LOCK, "advisory_lock", FACT_ADVISORY_LOCK, FACT_ADVISORY_UNLOCK | FACT_EXECUTE)                         \
    X(PREPARED, "prepared", FACT_PREPARE, FACT_DEALLOCATE | FACT_DEALLOCATE_ALL)                                       \
    X(LOAD, "load", FACT_LOAD, 0)                                                                                      \
    X(FUNCTION, "function", FACT_LEAVES_STATE, 0)                                                                      \
    X(UNREADABLE, "unreadable", 0, 0) /* a statement was not understood, and may have left anything */                 \
    X(SEQUENCE, "sequence", 0, 0)     /* what currval and lastval may be asked for (session_sequences.c) */

enum pin_index {
#define X(id, name, causes, ends) PIN_INDEX_##id,
    PINS(X)
#undef X
        PIN_COUNT
};

#define PIN_BIT(id) (1u << PIN_INDEX_##id)

// Those of which the server can say whether their state is there (session_pins.c). The others stay until DISCARD ALL.
#define PINS_ASKED (PIN_BIT(TEMP) | PIN_BIT(LISTEN) | PIN_BIT(HOLD_CURSOR) | PIN_BIT(ADVISORY_LOCK) | PIN_BIT(PREPARED))

// Those that give way: what is lost with them is answered with an error. With no others the session is bound to
// nothing.
#define PINS_SOFT PIN_BIT(SEQUENCE)

static inline bool pins_bind(uint32_t pins) { return (pins & ~PINS_SOFT) != 0; }

// The pins, a bit each, that texts with these facts may cause.
static inline uint32_t pins_caused(uint32_t facts) {
    uint32_t pins = 0;
#define X(id, name, causes, ends)                                                                                      \
    if (facts & (causes)) pins |= PIN_BIT(id);
    PINS(X)
#undef X
    return pins;
}

// Those that they may end. DO and CALL may do anything.
static inline uint32_t pins_ended(uint32_t facts) {
    uint32_t pins = facts & FACT_CALL ? PINS_ASKED : 0;
#define X(id, name, causes, ends)                                                                                      \
    if (facts & (ends)) pins |= PIN_BIT(id);
    PINS(X)
#undef X
    return pins;
}

// NULL past the end.
static inline const char *pin_str(unsigned pin) {
    static const char *const names[] = {
#define X(id, name, causes, ends) name,
        PINS(X)
#undef X
    };
    return pin < PIN_COUNT ? names[pin] : NULL;
}

#endif
