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

// For servers, probes, listeners, HTTP and files. Where few descriptors are allowed, half of them must do.
enum { DESCRIPTORS_BESIDE_CLIENTS = 1024 };

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

int process_make_room(const struct config *c) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)c->max_client_conn + DESCRIPTORS_BESIDE_CLIENTS;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return (int)c->max_client_conn;
    if (limit.rlim_cur < wanted) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit)) limit.rlim_cur = before;
    }
    if (limit.rlim_cur >= wanted) return (int)c->max_client_conn;
    rlim_t beside = MIN_OF((rlim_t)DESCRIPTORS_BESIDE_CLIENTS, limit.rlim_cur / 2);
    int clients = (int)MIN_OF(limit.rlim_cur - beside, (rlim_t)c->max_client_conn);
    log_warning(NULL,
                "max_client_conn = %lld needs about %llu file descriptors, and only %llu are allowed: "
                "no more than %d clients will be served",
                (long long)c->max_client_conn, (unsigned long long)wanted, (unsigned long long)limit.rlim_cur, clients);
    return clients;
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
    if (!process_become_user(c, f)) return false;
    umask(077);
    setrlimit(RLIMIT_CORE, &none);
    return true;
}
