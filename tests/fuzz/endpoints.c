// SPDX-License-Identifier: ISC
//
// tests/fuzz/endpoints.c: any method, path and parameters of a request, and any name of a server.
//
// The input is texts with a NUL behind each: a server's name, the method, the path, then keys and values by turns.
// Every request is answered with a status that is known; what says it is JSON is, and metrics are UTF-8 with no line
// too many.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/admin/endpoints.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARAMS_MAX = 4 };

static const char *one_reason(unsigned reason) { return reason ? NULL : "read"; }

static const char *next_text(const char **p, const char *end) {
    const char *text = *p < end ? *p : "";
    *p += *p < end ? strlen(text) + 1 : 0;
    return text;
}

static struct topology *topology_of(const char *name, size_t lag) {
    struct topology *t = topology_new(1);
    struct node_live *live = node_live_new();
    atomic_store(&live->lag_us, (long long)lag);
    topology_set_node(t, 0, name, name, 5432, name, live);
    node_live_unref(live);
    t->nodes[0].role = NODE_ROLE_REPLICA;
    t->nodes[0].reads = true;
    return t;
}

static void check(const struct endpoint_answer *a, const char *method, bool metrics) {
    static const unsigned known[] = {200, 400, 404, 405, 503};
    bool found = false;
    for (size_t i = 0; i < countof(known); i++) found |= a->status == known[i];
    if (!found || a->body.failed) abort();
    if (!strcmp(method, "OPTIONS")) {
        if (buf_len(&a->body)) abort();
        return;
    }
    const char *body = (const char *)a->body.data;
    json_t *j = metrics && a->status == 200 ? json_stringn(body, buf_len(&a->body))
                                            : json_loadb(body, buf_len(&a->body), 0, NULL);
    if (!j) abort();
    json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_alloc(size + 1);
    if (size) memcpy(text, data, size);
    const char *p = text, *end = text + size, *name = next_text(&p, end);
    struct topology *t = topology_of(name, size);
    static struct stats stats;
    struct prom_input metrics = {.stats = &stats, .topology = t, .route_reason_str = one_reason};
    struct endpoint_view view = {.topology = t, .started = true, .metrics = &metrics};
    struct endpoint_param params[PARAMS_MAX];
    struct endpoint_request r = {.params = params};
    r.method = next_text(&p, end);
    r.path = next_text(&p, end);
    while (p < end && r.n_params < PARAMS_MAX) {
        params[r.n_params].key = next_text(&p, end);
        params[r.n_params++].value = p < end ? next_text(&p, end) : NULL;
    }
    struct endpoint_answer a = endpoint_respond(&view, &r);
    check(&a, r.method, endpoint_is_metrics(r.path));
    buf_release(&a.body);
    topology_unref(t);
    mem_free(text);
    return 0;
}
