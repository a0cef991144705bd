// SPDX-License-Identifier: ISC
// router/process.c: see router/process.h.
#include "router/process.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { DESCRIPTORS_BESIDE_CLIENTS = 1024 }; // servers, probes, listeners, HTTP, files

static bool become(const char *name, struct fault *f) {
    errno = 0;
    const struct passwd *pw = getpwnam(name);
    if (!pw) return fault_set(f, "F0000", "user: there is no user \"%s\" on this system", name);
    if (pw->pw_uid == 0) return fault_set(f, "F0000", "user: \"%s\" is root", name);
    if (initgroups(name, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
        return fault_set(f, "F0000", "user: could not become \"%s\": %s", name, strerror(errno));
    if (setuid(0) == 0) return fault_set(f, "F0000", "user: root could be regained after becoming \"%s\"", name);
    return true;
}

static void raise_descriptors(const struct config *c) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)c->max_client_conn + DESCRIPTORS_BESIDE_CLIENTS;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return;
    if (limit.rlim_cur < wanted) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit)) limit.rlim_cur = before;
    }
    if (limit.rlim_cur < wanted)
        log_warning(NULL, "max_client_conn = %lld needs about %llu file descriptors, and only %llu are allowed",
                    (long long)c->max_client_conn, (unsigned long long)wanted, (unsigned long long)limit.rlim_cur);
}

bool process_become_user(const struct config *c, struct fault *f) {
    if (geteuid() != 0) return true;
    if (c->user[0]) return become(c->user, f);
    fault_set(f, "F0000", "pgsteer does not run as root");
    fault_hint(f, "Start it as another user, or set user = in [pgsteer] so that it becomes that user.");
    return false;
}

bool process_prepare(const struct config *c, struct fault *f) {
    struct rlimit none = {0, 0};
    raise_descriptors(c);
    if (!process_become_user(c, f)) return false;
    umask(077);
    setrlimit(RLIMIT_CORE, &none);
    return true;
}
