// SPDX-License-Identifier: ISC
// router/wire/frame.c: see router/wire/frame.h.
#include "router/wire/frame.h"

#include <limits.h>

enum { STARTUP_HEADER_LEN = 8 }; // length and code

#define LEN(least, most)                                                                                               \
    { (least), (uint32_t)(most) - (least) + 1 }

// Of clients: PostgreSQL's (SocketBackend in tcop/postgres.c), which ends the connection for no other length. Of
// servers, which no such list bounds: the least is what the message's fields need, the most libpq's where it has one
// (fe-protocol3.c), else the fields'.
const struct frame_bounds frame_bounds[2][UCHAR_MAX + 1] =
    {
        [FRAME_FROM_CLIENT] =
            {
                [FE_BIND] = LEN(4, PROTO_LARGE_MAX),
                [FE_CLOSE] = LEN(4, PROTO_SMALL_MAX),
                [FE_COPY_DATA] = LEN(4, PROTO_LARGE_MAX),
                [FE_COPY_DONE] = LEN(4, PROTO_SMALL_MAX),
                [FE_COPY_FAIL] = LEN(4, PROTO_SMALL_MAX),
                [FE_DESCRIBE] = LEN(4, PROTO_SMALL_MAX),
                [FE_EXECUTE] = LEN(4, PROTO_SMALL_MAX),
                [FE_FLUSH] = LEN(4, PROTO_SMALL_MAX),
                [FE_FUNCTION_CALL] = LEN(4, PROTO_LARGE_MAX),
                [FE_PARSE] = LEN(4, PROTO_LARGE_MAX),
                [FE_PASSWORD] = LEN(4, PROTO_AUTH_MAX),
                [FE_QUERY] = LEN(4, PROTO_LARGE_MAX),
                [FE_SYNC] = LEN(4, PROTO_SMALL_MAX),
                [FE_TERMINATE] = LEN(4, PROTO_SMALL_MAX),
            },
        [FRAME_FROM_SERVER] =
            {
                [BE_AUTHENTICATION] = LEN(8, PROTO_AUTH_REQUEST_MAX),
                [BE_BACKEND_KEY_DATA] = LEN(12, 12),
                [BE_BIND_COMPLETE] = LEN(4, 4),
                [BE_CLOSE_COMPLETE] = LEN(4, 4),
                [BE_COMMAND_COMPLETE] = LEN(5, PROTO_SERVER_SMALL_MAX),
                [BE_COPY_DATA] = LEN(4, PROTO_SERVER_LARGE_MAX),
                [BE_COPY_DONE] = LEN(4, 4),
                [BE_COPY_IN_RESPONSE] = LEN(7, 7 + 2 * UINT16_MAX),
                [BE_COPY_OUT_RESPONSE] = LEN(7, 7 + 2 * UINT16_MAX),
                [BE_COPY_BOTH_RESPONSE] = LEN(7, 7 + 2 * UINT16_MAX),
                [BE_DATA_ROW] = LEN(6, PROTO_SERVER_LARGE_MAX),
                [BE_EMPTY_QUERY] = LEN(4, 4),
                [BE_ERROR] = LEN(5, PROTO_SERVER_LARGE_MAX),
                [BE_FUNCTION_CALL_RESPONSE] = LEN(8, PROTO_SERVER_LARGE_MAX),
                [BE_NEGOTIATE_PROTOCOL_VERSION] =
                    LEN(12, PROTO_SERVER_SMALL_MAX),
                [BE_NO_DATA] = LEN(4, 4),
                [BE_NOTICE] = LEN(5, PROTO_SERVER_LARGE_MAX),
                [BE_NOTIFICATION] = LEN(10, PROTO_SERVER_LARGE_MAX),
                [BE_PARAMETER_DESCRIPTION] = LEN(6, 6 + 4 * UINT16_MAX),
                [BE_PARAMETER_STATUS] = LEN(6, PROTO_SERVER_SMALL_MAX),
                [BE_PARSE_COMPLETE] = LEN(4, 4),
                [BE_PORTAL_SUSPENDED] = LEN(4, 4),
                [BE_READY_FOR_QUERY] = LEN(5, 5),
                [BE_ROW_DESCRIPTION] = LEN(6, PROTO_SERVER_LARGE_MAX),
            },
};

enum wire_result frame_bad(enum frame_direction direction, uint8_t type, uint32_t len, struct fault *fault) {
    const char *side = direction == FRAME_FROM_CLIENT ? "frontend" : "backend";
    if (!frame_bounds[direction][type].width)
        fault_set(fault, "08P01", "invalid %s message type %d", side, type);
    else
        fault_set(fault, "08P01", "invalid message length %u for %s message type \"%c\"", len, side, type);
    return WIRE_BAD;
}

// Fewer bytes than a header. An unknown type is told at once: its sender may be waiting for an answer.
enum wire_result frame_short(enum frame_direction direction, struct span in, struct frame *out, struct fault *fault) {
    *out = (struct frame){.payload = span_of(in.ptr, 0)};
    if (in.len && !frame_bounds[direction][in.ptr[0]].width) return frame_bad(direction, in.ptr[0], 0, fault);
    return WIRE_MORE;
}

// PostgreSQL's rule (ProcessStartupPacket): pairs of strings, and the empty name that ends them is the last byte.
static bool startup_parameters_are_whole(struct span parameters) {
    struct cursor c = cursor_of(parameters);
    while (cursor_cstr(&c).len) (void)cursor_cstr(&c);
    return !c.bad && cursor_left(&c) == 0;
}

static enum wire_result startup_version(struct span in, uint32_t code, struct startup *out, struct fault *fault) {
    uint32_t major = code >> 16, minor = code & 0xffff;
    if (major != PROTO_MAJOR) {
        fault_set(fault, "0A000", "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0", major, minor);
        return WIRE_BAD;
    }
    out->kind = STARTUP_VERSION_3;
    out->minor = (uint16_t)minor;
    if (in.len < out->total) return WIRE_MORE;
    out->parameters = span_from(span_first(in, out->total), STARTUP_HEADER_LEN);
    if (startup_parameters_are_whole(out->parameters)) return WIRE_OK;
    fault_set(fault, "08P01", "invalid startup packet layout: expected terminator as last byte");
    return WIRE_BAD;
}

// The packets whose code stands where a version would, and the one length each can have.
static const struct {
    uint32_t code, total;
    int kind;
} special_packets[] = {
    {PROTO_SSL_REQUEST, STARTUP_HEADER_LEN, STARTUP_SSL_REQUEST},
    {PROTO_GSSENC_REQUEST, STARTUP_HEADER_LEN, STARTUP_GSSENC_REQUEST},
    {PROTO_CANCEL_REQUEST, STARTUP_HEADER_LEN + 8, STARTUP_CANCEL},
};

static enum wire_result startup_bad_length(uint32_t len, struct fault *fault) {
    fault_set(fault, "08P01", "invalid length %u of startup packet", len);
    return WIRE_BAD;
}

enum wire_result frame_startup(struct span in, struct startup *out, struct fault *fault) {
    *out = (struct startup){.kind = STARTUP_VERSION_3};
    if (in.len < 4) return WIRE_MORE;
    out->total = span_u32(in.ptr);
    if (out->total < STARTUP_HEADER_LEN || out->total > PROTO_STARTUP_MAX) return startup_bad_length(out->total, fault);
    if (in.len < STARTUP_HEADER_LEN) return WIRE_MORE;
    uint32_t code = span_u32(in.ptr + 4);
    for (size_t i = 0; i < countof(special_packets); i++) {
        if (code != special_packets[i].code) continue;
        if (out->total != special_packets[i].total) return startup_bad_length(out->total, fault);
        out->kind = special_packets[i].kind;
        if (in.len < out->total) return WIRE_MORE;
        if (out->kind == STARTUP_CANCEL) {
            out->cancel_pid = span_u32(in.ptr + STARTUP_HEADER_LEN);
            out->cancel_key = span_of(in.ptr + STARTUP_HEADER_LEN + 4, 4);
        }
        return WIRE_OK;
    }
    return startup_version(in, code, out, fault);
}

bool startup_next_parameter(struct span *rest, struct span *name, struct span *value) {
    struct cursor c = cursor_of(*rest);
    *name = cursor_cstr(&c);
    if (name->len == 0) return false;
    *value = cursor_cstr(&c);
    *rest = span_of(c.ptr, cursor_left(&c));
    return !c.bad;
}
