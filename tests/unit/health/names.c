// SPDX-License-Identifier: ISC
//
// tests/unit/health/names.c: a resolver that does as it is told, to be put before the system's (LD_PRELOAD).
//
// The file that TEST_NAMES names has a line per host name: the name, and its addresses in order. A name without any is
// one whose look-up hangs, until its line says otherwise. Other names are left to the system.
#include <dlfcn.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

// What the line of `name` has after it; false when there is none.
static bool find(const char *name, char *addresses, size_t size) {
    const char *path = getenv("TEST_NAMES");
    FILE *f = path ? fopen(path, "r") : NULL;
    bool found = false;
    while (f && !found && fgets(addresses, (int)size, f)) {
        size_t len = strcspn(addresses, " \n");
        found = len == strlen(name) && strncmp(addresses, name, len) == 0;
        if (found) memmove(addresses, addresses + len, strlen(addresses + len) + 1);
    }
    if (f) fclose(f);
    return found;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **out) {
    getaddrinfo_fn *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    char addresses[1024], *save = NULL, *address = NULL;
    while (!address && name && find(name, addresses, sizeof addresses)) {
        address = strtok_r(addresses, " \n", &save);
        if (!address) usleep(20000);
    }
    if (!address) return real(name, service, hints, out);
    // The system's own list for each, one after the other: it is freed link by link.
    for (; address; address = strtok_r(NULL, " \n", &save)) {
        int rc = real(address, service, hints, out);
        if (rc != 0) return rc;
        while (*out) out = &(*out)->ai_next;
    }
    return 0;
}
