// SPDX-License-Identifier: ISC
// config/address.c: see config/address.h.
#include "config/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

bool address_next(const char **p, char item[ADDRESS_MAX]) {
    if (!**p) return false;
    const char *from = *p + strspn(*p, " \t"), *comma = strchr(from, ',');
    size_t len = comma ? (size_t)(comma - from) : strlen(from);
    while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\t')) len--;
    if (len >= ADDRESS_MAX) len = 0;
    memcpy(item, from, len);
    item[len] = '\0';
    *p = comma ? comma + 1 : from + strlen(from);
    return true;
}

bool address_is_valid(const char *s) {
    static const char name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(s);
    if (len == 0 || len >= ADDRESS_MAX) return false;
    struct in_addr v4;
    if (strspn(s, "0123456789.") == len) return inet_pton(AF_INET, s, &v4) == 1;
    if (!strchr(s, ':')) return s[0] != '-' && s[0] != '.' && strspn(s, name_chars) == len;
    struct in6_addr v6;
    char literal[ADDRESS_MAX];
    size_t zone = strcspn(s, "%"); // fe80::1%eth0
    memcpy(literal, s, zone);
    literal[zone] = '\0';
    return inet_pton(AF_INET6, literal, &v6) == 1 && (zone == len || (zone + 1 < len && !strpbrk(s, " \t/")));
}

bool address_is_loopback(const char *s) {
    struct in_addr v4;
    struct in6_addr v6;
    if (!strcasecmp(s, "localhost")) return true;
    if (inet_pton(AF_INET, s, &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, s, &v6) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}
