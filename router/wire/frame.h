// SPDX-License-Identifier: ISC
//
// router/wire/frame.h: bytes to messages.
//
// Pure. A frame is one message of the protocol, or as much of it as has arrived; lengths are checked against what the
// message's type allows before anybody reserves or skips a byte. Used for both directions: which types are good is a
// table per direction, with the smallest and largest length of each.
#ifndef PGSTEER_ROUTER_WIRE_FRAME_H
#define PGSTEER_ROUTER_WIRE_FRAME_H

#include "base/fault.h"
#include "base/span.h"
#include "router/wire/proto.h"

enum wire_result {
    WIRE_OK,   // done
    WIRE_MORE, // not yet: more bytes are needed
    WIRE_BAD   // never: the fault says why; the connection must end
};

enum frame_direction { FRAME_FROM_CLIENT, FRAME_FROM_SERVER };

struct frame {
    char type;
    uint32_t total;      // bytes of the whole message, header and all
    struct span payload; // what follows the length: complete on WIRE_OK
};

// How long each type of message may be, by direction and type: the least, and how many lengths from there on; 0 lengths
// for a type that is unknown, so that one comparison refuses that as well.
struct frame_bounds {
    uint32_t min, width;
};
extern const struct frame_bounds frame_bounds[2][256];

// For frame_next: fewer bytes than a header, and headers that cannot be.
NODISCARD enum wire_result frame_short(enum frame_direction direction, struct span in, struct frame *out,
                                       struct fault *fault);
NODISCARD enum wire_result frame_bad(enum frame_direction direction, uint8_t type, uint32_t len, struct fault *fault);

// Reads the message at the front of `in`. WIRE_OK: it is there in full. WIRE_MORE: fewer than 5 bytes (type and total
// are 0 then), or the header is good (type and total are set, payload holds what there is) and the rest is missing.
// WIRE_BAD (08P01): unknown type (seen from the first byte), or a length that type cannot have. Lengths are judged by
// type only: whether the fields fill the message is for msg.h or the server to say.
NODISCARD static inline enum wire_result frame_next(enum frame_direction direction, struct span in, struct frame *out,
                                                    struct fault *fault) {
    if (UNLIKELY(in.len < PROTO_HEADER_LEN)) return frame_short(direction, in, out, fault);
    uint32_t len = span_u32(in.ptr + 1);
    const struct frame_bounds *b = &frame_bounds[direction][in.ptr[0]];
    if (UNLIKELY(len - b->min >= b->width)) return frame_bad(direction, in.ptr[0], len, fault);
    out->type = (char)in.ptr[0];
    out->total = len + 1;
    bool whole = in.len >= out->total;
    out->payload = span_of(in.ptr + PROTO_HEADER_LEN, (whole ? out->total : in.len) - PROTO_HEADER_LEN);
    return whole ? WIRE_OK : WIRE_MORE;
}

// The first packet of a connection, which has no type byte.
struct startup {
    enum { STARTUP_VERSION_3, STARTUP_SSL_REQUEST, STARTUP_GSSENC_REQUEST, STARTUP_CANCEL } kind;
    uint32_t total;
    uint16_t minor;         // STARTUP_VERSION_3
    struct span parameters; // STARTUP_VERSION_3: name NUL value NUL ... NUL, with that last NUL
    uint32_t cancel_pid;    // STARTUP_CANCEL
    struct span cancel_key; // STARTUP_CANCEL: 4 bytes in protocol 3.0
};

// WIRE_MORE: total is set once the first 4 bytes are there, else 0. WIRE_BAD (08P01, or 0A000 for a protocol we do not
// speak): the length is under 8 or over 10,000, which is seen from its first four bytes, before more is read; another
// major version (seen from 8); a request without parameters whose length is not its own; parameters that are not pairs
// closed by an empty name as the last byte.
NODISCARD enum wire_result frame_startup(struct span in, struct startup *out, struct fault *fault);

// Walks the parameters of a start-up packet; false at the end. The pairs were checked by frame_startup.
NODISCARD bool startup_next_parameter(struct span *rest, struct span *name, struct span *value);

#endif
