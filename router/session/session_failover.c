// SPDX-License-Identifier: ISC
//
// router/session/session_failover.c: another server is the primary now.
//
// The cluster has moved on, and what the old primary would still commit would be missing from it. So nothing goes there
// any more: who waits for a connection to it waits for one to its successor, what is kept is let go, and what is
// under way on it ends as if the server had gone. The same when two servers claim to be the primary: none is written
// to. A primary that is merely absent is no reason for any of this, nor one that has been taken out of the
// configuration: what runs there comes to its end.
#include "router/session/pins.h"
#include "router/session/session_parts.h"

static const struct node *node_of(const struct session_env *env, const struct pool *p) {
    return topology_find(env->topology, pool_node_name(p));
}

// A connection that was asked for as one to the primary is to a server that is not.
static bool is_deposed(const struct session_env *env, const struct pool *p) {
    const struct topology *t = env->topology;
    const struct node *n = node_of(env, p);
    if (!n) return false;
    return t->primary < 0 ? t->two_primaries : n != &t->nodes[t->primary];
}

// It stands in the queue of a server that is not the right one any more.
static bool waits_in_vain(const struct session *s) {
    const struct session_env *env = s->env;
    const struct node *n = node_of(env, s->ticket.pool);
    if (!s->on_replica) return is_deposed(env, s->ticket.pool);
    bool promoted = env->topology->primary >= 0 && n == &env->topology->nodes[env->topology->primary];
    return n && !n->reads && !promoted && !session_is_login(s);
}

static void leave_queue(struct session *s) {
    if (!waits_in_vain(s)) return;
    bool login = session_is_login(s);
    pool_cancel(&s->ticket);
    session_set_state(s, login ? SESSION_LOGIN : SESSION_IDLE);
    if (login)
        session_login_retry(s);
    else
        session_resume(s);
}

static void leave_connections(struct session *s) {
    struct server *sv = s->server && !s->on_replica ? s->server : s->held;
    struct fault f;
    if (!sv || s->relay || !is_deposed(s->env, sv->pool)) return;
    fault_set(&f, "08006", "it is not the primary any more");
    session_server_lost(s, sv, &f);
}

void sessions_follow_primary(struct session_env *env) {
    sessions_visit_waiting(env, leave_queue);
    ILIST_EACH(&env->sessions, n) leave_connections(container_of(n, struct session, link));
}
