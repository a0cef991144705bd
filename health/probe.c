// SPDX-License-Identifier: ISC
// health/probe.c: see health/probe.h.
#include "health/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "health/fresh.h"

#define WAL_SIZES                                                                                                      \
    "pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')), "                                       \
    "pg_catalog.current_setting('wal_block_size')::pg_catalog.int8"
static const char SQL_IDENTIFY[] =
    "SELECT " WAL_SIZES ", (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c)";
static const char SQL_IDENTIFY_RESTRICTED[] = "SELECT " WAL_SIZES ", NULL";

// Whether it is a replica is asked once, in a subquery (not flattened, since the function is volatile), so that a
// promotion in the middle of the query cannot mix the two.
#define ASK(control_timeline)                                                                                          \
    "SELECT r, CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END, " \
    "CASE WHEN NOT r THEN pg_catalog.pg_last_wal_replay_lsn() END, "                                                   \
    "CASE WHEN NOT r THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END, "                    \
    "CASE WHEN r THEN (SELECT w.received_tli FROM pg_catalog.pg_stat_wal_receiver AS w) END, " control_timeline        \
    " FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) AS s"
static const char SQL_ASK[] = ASK("NULL");
// The control file is read from disk: once a second is enough.
static const char SQL_ASK_CONTROL[] =
    ASK("CASE WHEN r THEN GREATEST((SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() AS c), "
        "(SELECT c.min_recovery_end_timeline FROM pg_catalog.pg_control_recovery() AS c)) END");

enum { COLUMN_IN_RECOVERY, COLUMN_LSN, COLUMN_REPLAYED, COLUMN_WAL_FILE, COLUMN_RECEIVED, COLUMN_CONTROL, COLUMNS };

static const int64_t CONTROL_EVERY_US = 900000;

enum probe_phase { PROBE_PHASE_NONE, PROBE_PHASE_CONNECT, PROBE_PHASE_IDENTIFY, PROBE_PHASE_ASK };

struct link {
    struct probe *probe;
    struct dbconn *conn;
    bool answered;
    bool restricted;    // pg_control_*() may not be called by the monitor
    int64_t control_us; // when the control file was last asked for
    uint64_t system_identifier, page_size, segment_size;
};

struct probe {
    const struct probe_ops *ops;
    void *owner;
    struct link links[2];
    struct link *link; // the one that is asked; the other is open only while this one is to replace it
    size_t n_freed;
    enum probe_phase phase;
    int64_t deadline_us;
    bool kept; // this probe began on a connection of an earlier one
    struct sighting s;
};

static struct link *other_link(struct probe *p) { return p->link == &p->links[0] ? &p->links[1] : &p->links[0]; }

static int64_t now_us(void) { return (int64_t)(uv_hrtime() / 1000); }

static int64_t left_ms(const struct probe *p) {
    int64_t left_us = p->deadline_us - now_us();
    return left_us > 1000 ? (left_us + 999) / 1000 : 1;
}

static void probe_end(struct probe *p) {
    struct sighting s = p->s;
    p->phase = PROBE_PHASE_NONE;
    dbconn_close(other_link(p)->conn);
    p->ops->seen(p->owner, &s);
}

static void probe_fail(struct probe *p, enum node_reason reason, const char *sqlstate, const char *text) {
    p->s.failure = reason;
    p->s.full = strcmp(sqlstate, "53300") == 0;
    snprintf(p->s.sqlstate, sizeof p->s.sqlstate, "%s", sqlstate);
    snprintf(p->s.text, sizeof p->s.text, "%s", text);
    dbconn_close(p->link->conn);
    probe_end(p);
}

static void probe_connect(struct probe *p) {
    struct dbconn_target target = {.host = ""};
    p->ops->target(p->owner, &target);
    p->phase = PROBE_PHASE_CONNECT;
    p->link->answered = false;
    p->link->control_us = 0;
    dbconn_connect(p->link->conn, &target, left_ms(p));
}

static void probe_ask(struct probe *p) {
    p->phase = PROBE_PHASE_ASK;
    p->s.sent_us = now_us();
    const char *sql = SQL_ASK;
    if (!p->link->restricted && p->s.sent_us - p->link->control_us >= CONTROL_EVERY_US) {
        sql = SQL_ASK_CONTROL;
        p->link->control_us = p->s.sent_us;
    }
    dbconn_query(p->link->conn, sql, left_ms(p));
}

void probe_start(struct probe *p, int64_t timeout_ms, bool renew) {
    bug_unless(p->phase == PROBE_PHASE_NONE);
    p->s = (struct sighting){.failure = NODE_REASON_OK};
    p->deadline_us = now_us() + timeout_ms * 1000;
    if (renew) {
        p->link = other_link(p);
        p->link->restricted = false;
    }
    p->kept = dbconn_is_open(p->link->conn);
    if (p->kept)
        probe_ask(p);
    else
        probe_connect(p);
}

static void on_connected(void *owner) {
    struct probe *p = ((struct link *)owner)->probe;
    p->phase = PROBE_PHASE_IDENTIFY;
    dbconn_query(p->link->conn, p->link->restricted ? SQL_IDENTIFY_RESTRICTED : SQL_IDENTIFY, left_ms(p));
}

// A number without anything after it; false for NULL too. A negative one, as int8 shows a large system identifier, is
// taken for the unsigned number of the same bits.
static bool parse_number(const char *text, uint64_t *out) {
    if (!text || !*text) return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static uint32_t parse_timeline(const char *text) {
    uint64_t n;
    return parse_number(text, &n) && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static void take_identity(struct probe *p) {
    if (!parse_number(dbconn_value(p->link->conn, 0, 0), &p->link->segment_size)) p->link->segment_size = 0;
    if (!parse_number(dbconn_value(p->link->conn, 0, 1), &p->link->page_size)) p->link->page_size = 0;
    if (!parse_number(dbconn_value(p->link->conn, 0, 2), &p->link->system_identifier)) p->link->system_identifier = 0;
    probe_ask(p);
}

// The first eight characters of a WAL file's name are its timeline.
static uint32_t parse_wal_file(const char *name) {
    uint32_t timeline;
    return name && strlen(name) == 24 && sscanf(name, "%8" SCNx32, &timeline) == 1 ? timeline : 0;
}

// False when the answer is not one.
static bool parse_answer(struct probe *p) {
    const char *value[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) value[i] = dbconn_value(p->link->conn, 0, i);
    struct sighting *s = &p->s;
    if (!value[COLUMN_IN_RECOVERY] || !value[COLUMN_LSN] || !lsn_parse(value[COLUMN_LSN], &s->lsn)) return false;
    s->in_recovery = value[COLUMN_IN_RECOVERY][0] == 't';
    s->lsn = lsn_normalise(s->lsn, p->link->page_size, p->link->segment_size);
    if (value[COLUMN_REPLAYED] && !lsn_parse(value[COLUMN_REPLAYED], &s->replayed)) return false;
    s->replayed = lsn_normalise(s->replayed, p->link->page_size, p->link->segment_size);
    s->system_identifier = p->link->system_identifier;
    s->new_connection = !p->link->answered;
    if (s->in_recovery) {
        uint32_t received = parse_timeline(value[COLUMN_RECEIVED]), control = parse_timeline(value[COLUMN_CONTROL]);
        s->timeline = MAX_OF(received, control);
        return true;
    }
    s->timeline = parse_wal_file(value[COLUMN_WAL_FILE]);
    return s->timeline != 0;
}

static void on_result(void *owner) {
    struct probe *p = ((struct link *)owner)->probe;
    if (dbconn_rows(p->link->conn) != 1) {
        probe_fail(p, NODE_REASON_PROBE_ERROR, "", "the answer does not have one row");
    } else if (p->phase == PROBE_PHASE_IDENTIFY) {
        take_identity(p);
    } else if (!parse_answer(p)) {
        probe_fail(p, NODE_REASON_PROBE_ERROR, "", "the answer cannot be understood");
    } else {
        p->link->answered = true;
        probe_end(p);
    }
}

enum node_reason probe_reason(const struct dbconn_failure *f) {
    static const struct {
        const char *sqlstate; // or the start of one
        enum node_reason reason;
    } reasons[] = {
        {"57P", NODE_REASON_STARTING},       // starting, or going down
        {"28", NODE_REASON_LOGIN_FAILED},    // invalid authorization
        {"3D000", NODE_REASON_LOGIN_FAILED}, // no such database
        {"42501", NODE_REASON_LOGIN_FAILED}, // no CONNECT privilege
    };
    if (f->error == DBCONN_TIMEOUT) return NODE_REASON_TIMEOUT;
    if (f->error == DBCONN_UNREACHABLE || f->error == DBCONN_CLOSED) return NODE_REASON_UNREACHABLE;
    if (f->error == DBCONN_REFUSED && !f->sqlstate[0]) return NODE_REASON_LOGIN_FAILED;
    for (size_t i = 0; i < countof(reasons); i++)
        if (strncmp(f->sqlstate, reasons[i].sqlstate, strlen(reasons[i].sqlstate)) == 0) return reasons[i].reason;
    return NODE_REASON_PROBE_ERROR;
}

// Only the new connection was refused, for want of room there or here: the old one still tells how the server is.
static bool fall_back(struct probe *p, const struct dbconn_failure *f) {
    bool no_room = strcmp(f->sqlstate, "53300") == 0 || f->error == DBCONN_SHORT;
    if (!no_room || !dbconn_is_open(other_link(p)->conn)) return false;
    p->link = other_link(p);
    p->kept = true;
    probe_ask(p);
    return true;
}

static void on_failed(void *owner, const struct dbconn_failure *f) {
    struct probe *p = ((struct link *)owner)->probe;
    if (owner != p->link) return; // the old one, which has ended while the new one was tried
    if (p->phase == PROBE_PHASE_NONE) {
        p->ops->lost(p->owner);
        return;
    }
    if (fall_back(p, f)) return;
    if (f->error == DBCONN_SHORT) {
        p->phase = PROBE_PHASE_NONE;
        p->ops->unable(p->owner, f->text);
        return;
    }
    // A kept connection may have been closed for a reason of its own: only a new one tells how the server is.
    if (p->kept && f->error != DBCONN_TIMEOUT) {
        p->kept = false;
        probe_connect(p);
        return;
    }
    if (!p->link->restricted && f->error == DBCONN_QUERY && strcmp(f->sqlstate, "42501") == 0) {
        p->link->restricted = true;
        probe_connect(p);
        return;
    }
    probe_fail(p, probe_reason(f), f->sqlstate, f->text);
}

static void on_freed(void *owner) {
    struct probe *p = ((struct link *)owner)->probe;
    if (++p->n_freed < countof(p->links)) return;
    p->ops->freed(p->owner);
    mem_free(p);
}

struct probe *probe_new(uv_loop_t *loop, const struct probe_ops *ops, void *owner) {
    static const struct dbconn_ops conn_ops = {on_connected, on_result, on_failed, on_freed};
    struct probe *p = mem_new(struct probe);
    p->ops = ops;
    p->owner = owner;
    for (size_t i = 0; i < countof(p->links); i++) {
        p->links[i].probe = p;
        p->links[i].conn = dbconn_new(loop, &conn_ops, &p->links[i]);
    }
    p->link = &p->links[0];
    return p;
}

void probe_free(struct probe *p) {
    for (size_t i = 0; i < countof(p->links); i++) dbconn_free(p->links[i].conn);
}

bool probe_is_busy(const struct probe *p) { return p->phase != PROBE_PHASE_NONE; }

void probe_reset(struct probe *p) {
    for (size_t i = 0; i < countof(p->links); i++) {
        dbconn_close(p->links[i].conn);
        p->links[i].restricted = false;
    }
    p->phase = PROBE_PHASE_NONE;
}

bool probe_peer(const struct probe *p, struct sockaddr_storage *out) { return dbconn_peer(p->link->conn, out); }
