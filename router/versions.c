// SPDX-License-Identifier: ISC
//
// router/versions.c: see router/versions.h. The one file that includes every library's header, to ask for its version and
// nothing else.
#include "router/versions.h"

#include <jansson.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <openssl/crypto.h>
#include <pg_query.h>
#include <uv.h>
#include <xxhash.h>

void versions_print(FILE *to) {
    unsigned xx = XXH_versionNumber();
    int pq = PQlibVersion();
    fprintf(to, "pgsteer %s\n", PGSTEER_VERSION);
    fprintf(to, "libuv %s\n", uv_version_string());
    fprintf(to, "%s\n", OpenSSL_version(OPENSSL_VERSION));
    fprintf(to, "libpg_query, grammar of PostgreSQL %s\n", PG_VERSION);
    fprintf(to, "libpq %d.%d\n", pq / 10000, pq % 10000);
    fprintf(to, "libmicrohttpd %s\n", MHD_get_version());
    fprintf(to, "jansson %s\n", jansson_version_str());
    fprintf(to, "xxhash %u.%u.%u\n", xx / 10000, xx / 100 % 100, xx % 100);
}
