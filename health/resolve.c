// SPDX-License-Identifier: ISC
// health/resolve.c: see health/resolve.h.
#include "health/resolve.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"

// Outlives its resolve when that goes while the look-up hangs.
struct resolve_query {
    uv_getaddrinfo_t req;
    struct resolve *resolve; // NULL once given up
};

static bool set_unix(struct resolve *r) {
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&r->addresses[0];
    int n = snprintf(un->sun_path, sizeof un->sun_path, "%s/.s.PGSQL.%d", r->host, r->port);
    if (n < 0 || (size_t)n >= sizeof un->sun_path) {
        snprintf(r->error, sizeof r->error, "the path of the Unix socket is longer than %zu bytes",
                 sizeof un->sun_path - 1);
        return false;
    }
    un->sun_family = AF_UNIX;
    r->address_lens[0] = sizeof *un;
    return true;
}

static bool set_numeric(struct resolve *r) {
    if (uv_ip4_addr(r->host, r->port, (struct sockaddr_in *)(void *)&r->addresses[0]) == 0)
        r->address_lens[0] = sizeof(struct sockaddr_in);
    else if (uv_ip6_addr(r->host, r->port, (struct sockaddr_in6 *)(void *)&r->addresses[0]) == 0)
        r->address_lens[0] = sizeof(struct sockaddr_in6);
    else
        return false;
    return true;
}

void resolve_init(struct resolve *r, uv_loop_t *loop, const char *host, int port,
                  void (*done)(void *owner, bool changed), void *owner) {
    *r = (struct resolve){.loop = loop, .host = mem_strdup(host), .port = port, .done = done, .owner = owner};
    if (host[0] == '/' ? set_unix(r) : set_numeric(r)) {
        r->n_addresses = 1;
    } else {
        memset(&r->addresses[0], 0, sizeof r->addresses[0]);
        if (!r->error[0]) snprintf(r->error, sizeof r->error, "the host name is not resolved yet");
    }
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    if (a->ss_family != b->ss_family) return false;
    if (a->ss_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
                      &((const struct sockaddr_in *)(const void *)b)->sin_addr, sizeof(struct in_addr)) == 0;
    return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static bool holds(const struct sockaddr_storage *list, size_t n, const struct sockaddr_storage *a) {
    for (size_t i = 0; i < n; i++)
        if (same_host(&list[i], a)) return true;
    return false;
}

struct found {
    size_t n;
    struct sockaddr_storage addresses[NODE_ADDRESSES_MAX];
    socklen_t lens[NODE_ADDRESSES_MAX];
};

// Adds what there is room for and is not there yet; only the host `wanted`, unless it is NULL.
static void collect(struct found *f, const struct addrinfo *res, const struct sockaddr_storage *wanted) {
    for (const struct addrinfo *a = res; a && f->n < NODE_ADDRESSES_MAX; a = a->ai_next) {
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
        const struct sockaddr_storage *address = (const void *)a->ai_addr; // as long as its family is: ai_addrlen
        if ((wanted && !same_host(address, wanted)) || holds(f->addresses, f->n, address)) continue;
        memcpy(&f->addresses[f->n], address, a->ai_addrlen);
        f->lens[f->n++] = a->ai_addrlen;
    }
}

// True when the addresses are others now.
static bool take(struct resolve *r, const struct addrinfo *res) {
    struct found f;
    memset(&f, 0, sizeof f);
    // The one in front is in use: it must not get lost among more than there is room for, in an order that rotates.
    if (r->n_addresses > 0) collect(&f, res, &r->addresses[0]);
    collect(&f, res, NULL);
    bool same = f.n == r->n_addresses;
    for (size_t i = 0; i < f.n && same; i++) same = holds(r->addresses, r->n_addresses, &f.addresses[i]);
    if (f.n == 0 || same) return false;
    memcpy(r->addresses, f.addresses, sizeof f.addresses);
    memcpy(r->address_lens, f.lens, sizeof f.lens);
    r->n_addresses = f.n;
    return true;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res) {
    struct resolve_query *q = container_of(req, struct resolve_query, req);
    struct resolve *r = q->resolve;
    bool changed = false;
    mem_free(q);
    if (r) {
        r->pending = NULL;
        r->error[0] = '\0';
        if (status == 0)
            changed = take(r, res);
        else
            snprintf(r->error, sizeof r->error, "the host name cannot be resolved: %s", uv_strerror(status));
    }
    uv_freeaddrinfo(res);
    if (r) r->done(r->owner, changed);
}

static bool needs_lookup(const struct resolve *r) {
    struct sockaddr_in6 unused; // the larger of the two
    return r->host[0] != '/' && uv_ip4_addr(r->host, 0, (struct sockaddr_in *)(void *)&unused) != 0 &&
           uv_ip6_addr(r->host, 0, &unused) != 0;
}

void resolve_start(struct resolve *r) {
    if (r->pending || !needs_lookup(r)) return;
    char port[16];
    snprintf(port, sizeof port, "%d", r->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct resolve_query *q = mem_new(struct resolve_query);
    q->resolve = r;
    int rc = uv_getaddrinfo(r->loop, &q->req, on_resolved, r->host, port, &hints);
    if (rc == 0) {
        r->pending = q;
        return;
    }
    mem_free(q);
    snprintf(r->error, sizeof r->error, "the host name cannot be resolved: %s", uv_strerror(rc));
}

bool resolve_is_pending(const struct resolve *r) { return r->pending != NULL; }

void resolve_fini(struct resolve *r) {
    if (r->pending) {
        r->pending->resolve = NULL;
        uv_cancel((uv_req_t *)&r->pending->req);
        r->pending = NULL;
    }
    mem_free(r->host);
    r->host = NULL;
}

bool resolve_holds(const struct resolve *r, const struct sockaddr_storage *address) {
    return holds(r->addresses, r->n_addresses, address);
}

bool resolve_prefer(struct resolve *r, const struct sockaddr_storage *address) {
    for (size_t i = 1; i < r->n_addresses; i++) {
        if (!same_host(&r->addresses[i], address)) continue;
        struct sockaddr_storage a = r->addresses[i];
        socklen_t len = r->address_lens[i];
        memmove(&r->addresses[1], &r->addresses[0], i * sizeof r->addresses[0]);
        memmove(&r->address_lens[1], &r->address_lens[0], i * sizeof r->address_lens[0]);
        r->addresses[0] = a;
        r->address_lens[0] = len;
        return true;
    }
    return false;
}
