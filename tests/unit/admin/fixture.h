// SPDX-License-Identifier: ISC
//
// tests/unit/admin/fixture.h: topologies of a few servers, written as short texts.
#ifndef PGSTEER_TESTS_UNIT_ADMIN_FIXTURE_H
#define PGSTEER_TESTS_UNIT_ADMIN_FIXTURE_H

#include "health/topology.h"

// One letter per server, named pg1, pg2 and so on:
//   P  the primary                          p  a writable server that is not the primary
//   R  a replica that takes reads, lag 2 s  l  a replica that lags 90 s and takes none
//   U  a replica that takes reads, lag 8 s  u  a replica whose lag is not known and takes none
//   d  a server that is down and was never seen
// The caller gives up the one reference.
struct topology *fixture_topology(const char *servers);

#endif
