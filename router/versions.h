// SPDX-License-Identifier: ISC
//
// router/versions.h: what this program is made of.
#ifndef PGSTEER_ROUTER_VERSIONS_H
#define PGSTEER_ROUTER_VERSIONS_H

#include <stdio.h>

// pgsteer's version and, a line each, those of the libraries as they are at run time (of those that only tell it at compile
// time, that).
void versions_print(FILE *to);

#endif
