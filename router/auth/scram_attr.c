// SPDX-License-Identifier: ISC
// router/auth/scram_attr.c: see router/auth/scram_attr.h.
#include "router/auth/scram_attr.h"

bool scram_message_check(struct span message, struct fault *fault) {
    if (message.len == 0) return fault_set(fault, "08P01", "malformed SCRAM message: the message is empty");
    if (message.len > SCRAM_MESSAGE_MAX)
        return fault_set(fault, "08P01", "malformed SCRAM message: %zu bytes, more than %d", message.len,
                         SCRAM_MESSAGE_MAX);
    if (memchr(message.ptr, 0, message.len))
        return fault_set(fault, "08P01", "malformed SCRAM message: a zero byte in it");
    return true;
}

static bool is_letter(uint8_t c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

bool scram_attr_any(struct span *rest, char *name, struct span *value, struct fault *fault) {
    if (rest->len == 0)
        return fault_set(fault, "08P01", "malformed SCRAM message: attribute expected, but found end of message");
    if (!is_letter(rest->ptr[0]))
        return fault_set(fault, "08P01", "malformed SCRAM message: attribute expected, but found byte 0x%02x",
                         rest->ptr[0]);
    *name = (char)rest->ptr[0];
    if (rest->len < 2 || rest->ptr[1] != '=')
        return fault_set(fault, "08P01", "malformed SCRAM message: expected \"=\" after attribute \"%c\"", *name);
    *rest = span_from(*rest, 2);
    const uint8_t *comma = rest->len ? memchr(rest->ptr, ',', rest->len) : NULL;
    *value = comma ? span_of(rest->ptr, (size_t)(comma - rest->ptr)) : *rest;
    *rest = span_from(*rest, value->len + (comma ? 1 : 0));
    return true;
}

bool scram_attr_read(struct span *rest, char name, struct span *value, struct fault *fault) {
    char found;
    if (!scram_attr_any(rest, &found, value, fault)) return false;
    if (found == name) return true;
    return fault_set(fault, "08P01", "malformed SCRAM message: expected attribute \"%c\" but found \"%c\"", name,
                     found);
}

bool scram_attr_end(struct span rest, struct fault *fault) {
    return rest.len == 0 || fault_set(fault, "08P01", "malformed SCRAM message: garbage at the end");
}

bool scram_nonce_check(struct span nonce, struct fault *fault) {
    if (nonce.len == 0) return fault_set(fault, "08P01", "malformed SCRAM message: the nonce is empty");
    for (size_t i = 0; i < nonce.len; i++)
        if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e || nonce.ptr[i] == ',')
            return fault_set(fault, "08P01", "non-printable characters in SCRAM nonce");
    return true;
}
