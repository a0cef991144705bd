// SPDX-License-Identifier: ISC
//
// config/address.h: the addresses of listen_addr and their like, as texts. Pure; nothing is resolved; any thread.
#ifndef PGSTEER_CONFIG_ADDRESS_H
#define PGSTEER_CONFIG_ADDRESS_H

#include "base/base.h"

enum { ADDRESS_MAX = 256 }; // bytes with a NUL: a host name has at most 253

// The next of a list separated by commas, without the blanks around it; false at the end. What is longer than an
// address can be comes out as "". Call first with `*p` the list.
bool address_next(const char **p, char item[ADDRESS_MAX]);

// An IPv4 or IPv6 address or the characters of a host name; not `*`.
bool address_is_valid(const char *s);
// 127.0.0.0/8, ::1, the same within IPv6 (::ffff:127.0.0.1), or `localhost`.
bool address_is_loopback(const char *s);

#endif
