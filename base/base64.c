// SPDX-License-Identifier: ISC
// base/base64.c: see base/base64.h.
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(struct span bytes, char *out) {
    char *to = out;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t v = (uint32_t)bytes.ptr[i] << 16;
        if (left > 1) v |= (uint32_t)bytes.ptr[i + 1] << 8;
        if (left > 2) v |= bytes.ptr[i + 2];
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[(v >> 12) & 63];
        *to++ = left > 1 ? alphabet[(v >> 6) & 63] : '=';
        *to++ = left > 2 ? alphabet[v & 63] : '=';
    }
    *to = '\0';
    return (size_t)(to - out);
}

// The six bits a character stands for, or -1.
static int digit_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// Decodes one group of four characters, of which the last `pad` are padding. False when one is not a digit or a bit
// that belongs to no byte is set.
static bool decode_group(const uint8_t *text, size_t pad, uint8_t *out) {
    uint32_t v = 0;
    for (size_t i = 0; i < 4 - pad; i++) {
        int digit = digit_value(text[i]);
        if (digit < 0) return false;
        v |= (uint32_t)digit << (18 - 6 * i);
    }
    for (size_t i = 0; i < 3 - pad; i++) out[i] = (uint8_t)(v >> (16 - 8 * i));
    uint32_t unused = pad == 2 ? 0xffff : pad == 1 ? 0xff : 0;
    return (v & unused) == 0;
}

bool base64_decode(struct span text, uint8_t *out, size_t size, size_t *len) {
    *len = 0;
    if (text.len % 4 != 0) return false;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i += 4) {
        const uint8_t *group = text.ptr + i;
        size_t pad = 0;
        if (i + 4 == text.len) pad = group[3] != '=' ? 0 : group[2] != '=' ? 1 : 2;
        if (3 - pad > size - n || !decode_group(group, pad, out + n)) return false;
        n += 3 - pad;
    }
    *len = n;
    return true;
}
