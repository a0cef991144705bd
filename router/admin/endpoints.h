// SPDX-License-Identifier: ISC
//
// router/admin/endpoints.h: what a path of the HTTP port answers.
//
// Pure: a request and a view of the router go in, a status and a body come out. The paths and their meaning are those
// of Patroni's REST API, so that health checks written for it work here; where Patroni speaks of one server, an answer
// here speaks of what the router can reach. `lag=` is a time, since that is how lag is measured here; Patroni's bytes
// are refused.
#ifndef PGSTEER_ROUTER_ADMIN_ENDPOINTS_H
#define PGSTEER_ROUTER_ADMIN_ENDPOINTS_H

#include "base/buf.h"
#include "health/topology.h"
#include "router/admin/prom.h"

struct endpoint_param {
    const char *key, *value; // decoded; value NULL when there was no '='
};

struct endpoint_request {
    const char *method, *path; // path without the query, decoded
    const struct endpoint_param *params;
    size_t n_params;
    bool has_body; // the header announces one
};

struct endpoint_view {
    const struct topology *topology; // NULL: none published yet
    bool started;                    // clients are accepted
    bool draining;                   // the router is shutting down
    int64_t max_lag_ms, critical_lag_ms;
    const struct prom_input *metrics; // needed when endpoint_is_metrics, else NULL
};

enum { ENDPOINT_BODY_MAX = 16 * 1024 * 1024 };

struct endpoint_answer {
    unsigned status;          // 200, 400, 404, 405, 413, 500 or 503
    const char *content_type; // a literal
    bool allow;               // say ENDPOINT_ALLOW in an Allow header
    struct buf body;          // the caller releases it; of a HEAD, the body a GET would have had; of OPTIONS, empty
};

// The methods that are answered, for the Allow header.
#define ENDPOINT_ALLOW "GET, HEAD, OPTIONS"

// True for the path that needs view->metrics.
bool endpoint_is_metrics(const char *path);

// Answers any request, also a wrong one.
//
//   path                              200 when
//   /liveness                         always
//   /readiness                        some server can be used, the router is started and not draining
//   /health                           the same; the body tells all servers
//   /primary /read-write /master      there is a primary to write to
//   /replica[?lag=10s]                a replica takes reads (and lags at most so much)
//   /read-only[?lag=10s]              the primary or such a replica takes reads
//   /metrics                          always
//
// and 503 otherwise, with the reason in the body. A duration is a number with us, ms, s, min, h or d behind it; a
// number alone is seconds. What is no duration, a parameter that /replica or /read-only does not have, or one given
// twice: 400.
struct endpoint_answer endpoint_respond(const struct endpoint_view *view, const struct endpoint_request *request);

#endif
