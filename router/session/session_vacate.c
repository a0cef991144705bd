// SPDX-License-Identifier: ISC
//
// router/session/session_vacate.c: statements that want a database for themselves.
//
// DROP DATABASE and its like fail while others are connected to the database, after PostgreSQL has waited some seconds
// for them to leave (CountOtherDBBackends in procarray.c). The connections that the pools keep for the next client are
// closed for that, in all workers; but only once the statement has been under way for a moment. PostgreSQL checks
// rights before it waits, so who has none is refused by then, and cannot empty the pools of a database by asking for
// what is not his. For the same reason the statement must be alone: in company, it might be another that takes time.
#include "base/mem.h"
#include "parser/database_names.h"
#include "router/session/session.h"
#include "router/session/session_parts.h"

enum { VACATE_AFTER_MS = 100 };

struct vacating {
    struct session *session;
    struct deadline deadline;
    struct buf names; // of the databases, each ends with a NUL
};

void session_forget_vacating(struct session *s) {
    struct vacating *v = s->vacating;
    if (!v) return;
    deadline_clear(&v->deadline);
    buf_release(&v->names);
    mem_free(v);
    s->vacating = NULL;
}

static void on_unanswered(struct deadline *d) {
    struct vacating *v = container_of(d, struct vacating, deadline);
    struct session_env *env = v->session->env;
    const char *name = (const char *)buf_span(&v->names).ptr, *end = name + buf_len(&v->names);
    for (; name < end; name += strlen(name) + 1) env->vacate_database(env->arg, name);
    session_forget_vacating(v->session);
}

static void on_name(void *arg, struct span name) {
    struct vacating *v = arg;
    buf_put(&v->names, name.ptr, name.len);
    buf_put_u8(&v->names, 0);
}

static void on_text(void *arg, struct span sql) { database_names(sql, on_name, arg); }

static bool is_alone(const struct session *s) {
    const struct request *r = &s->request;
    bool ends = r->kind == REQUEST_QUERY || (r->kind == REQUEST_BATCH && r->synced);
    return ends && r->texts == 1 && !(r->verdict.facts & FACT_MULTI) && !s->due && !s->open;
}

void session_vacate(struct session *s, struct span unit) {
    if (!is_alone(s)) return;
    struct vacating *v = mem_new(struct vacating);
    session_forget_vacating(s);
    s->vacating = v;
    v->session = s;
    v->names = buf_make(SIZE_MAX / 2);
    deadline_init(&v->deadline);
    (void)session_each_text(s, unit, on_text, v);
    deadline_set(s->env->server.deadlines, &v->deadline, VACATE_AFTER_MS, on_unanswered);
}
