// SPDX-License-Identifier: ISC
//
// router/session/session_settings.c: what a client has SET.
//
// Which parameters a statement touches is known from its text; what they are afterwards, only the server knows, for a
// transaction may be rolled back, in part as well. So they are remembered as touched, and when no transaction is open
// any more their values are read back from the connection. What was read is the session's from then on, and every
// connection that works for it is given that first (session_input.c, the prelude). The same question asks for the other
// state that may be there (session_pins.c).
//
// Until then nobody knows what the connection has in force: it is not given back, and statements parsed meanwhile are
// nobody else's.
#include "base/mem.h"
#include "router/session/pins.h"
#include "router/session/session_parts.h"
#include "router/wire/frame.h"
#include "router/wire/msg.h"

enum { SETTINGS_BYTES_MAX = 64 * 1024 };

// What has been touched and not been read back.
struct touched {
    struct setting_names names;
    struct buf rows;     // DataRow messages, while reading
    uint32_t states;     // bits of pins (session_pins.c): whether there is any state of theirs
    bool anything;       // DO, CALL, functions and triggers: it may have left anything behind
    uint64_t generation; // of the catalog that the names are of
    bool reading;        // the query has been sent
    bool undone;         // something of it may have been, and have left a default behind
    bool counts;         // a transaction with some of it has ended: COMMIT AND CHAIN, or another one has begun
    struct buf locals;   // names of applications' parameters that are set for a transaction, in what is not answered
    struct buf reset;    // names of which a RESET in the transaction under way was the last
    bool restores; // RESET of what the start-up packet has: the server's default is in force where its value should be
};

bool session_is_reading(const struct session *s) { return s->touched && s->touched->reading; }

struct meaning session_meaning(const struct session *s) {
    struct session_env *env = s->env;
    uint64_t epoch = atomic_load_explicit(env->schema_epoch, memory_order_acquire);
    if (UNLIKELY(epoch != env->epoch_seen)) {
        // Not before the change: not the start of this turn of the loop.
        env->epoch_seen_us = uv_hrtime() / 1000 + 1;
        env->epoch_seen = epoch;
    }
    uint64_t context = s->context ? s->context : settings_context(s->settings) ^ s->user_mark;
    return (struct meaning){.context = context, .epoch = epoch};
}

void session_forget_touched(struct session *s) {
    if (!s->touched) return;
    setting_names_release(&s->touched->names);
    buf_release(&s->touched->rows);
    buf_release(&s->touched->reset);
    buf_release(&s->touched->locals);
    mem_free(s->touched);
    s->touched = NULL;
}

// Touching.

static void each_of_batch(struct session *s, struct span batch, void (*visit)(void *arg, struct span sql), void *arg) {
    struct frame frame;
    for (; batch.len; batch = span_from(batch, PROTO_HEADER_LEN + frame.payload.len)) {
        struct msg_parse parse;
        struct msg_bind bind;
        struct statement *st = NULL;
        if (frame_next(FRAME_FROM_CLIENT, batch, &frame, NULL) == WIRE_BAD || !frame.type) return;
        if (frame.type == FE_PARSE && msg_parse(frame.payload, &parse)) visit(arg, parse.query);
        if (frame.type == FE_BIND && msg_bind(frame.payload, &bind)) st = prep_client_find(&s->names, bind.statement);
        if (st) visit(arg, st->query);
    }
}

static bool any_has_meaning(struct span names) {
    struct cursor c = cursor_of(names);
    while (cursor_left(&c))
        if (settings_name_has_meaning(cursor_cstr(&c))) return true;
    return false;
}

// What decides where a string ends, and so what a text says.
static bool any_is_lexing(struct span names) {
    struct cursor c = cursor_of(names);
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c);
        if (span_is(name, "standard_conforming_strings") || span_is(name, "client_encoding")) return true;
    }
    return false;
}

// Whether a text of the batch is read when one before it has been run.
static bool parses_after_run(struct span batch) {
    struct frame frame;
    bool ran = false;
    for (; batch.len; batch = span_from(batch, PROTO_HEADER_LEN + frame.payload.len)) {
        if (frame_next(FRAME_FROM_CLIENT, batch, &frame, NULL) == WIRE_BAD || !frame.type) return false;
        if (frame.type == FE_EXECUTE) ran = true;
        if (frame.type == FE_PARSE && ran) return true;
    }
    return false;
}

static struct touched *touched_of(struct session *s) {
    if (s->touched) return s->touched;
    s->touched = mem_new(struct touched);
    setting_names_init(&s->touched->names);
    s->touched->rows = buf_make(2 * SETTINGS_BYTES_MAX);
    s->touched->reset = buf_make(SIZE_MAX / 2);
    s->touched->locals = buf_make(SETTINGS_BYTES_MAX); // more is not worth remembering
    return s->touched;
}

void session_touch_states(struct session *s, uint32_t pins) { touched_of(s)->states |= pins; }

bool session_touched_anything(const struct session *s) { return s->touched && s->touched->anything; }

static bool has_name(struct span names, struct span name) {
    struct cursor c = cursor_of(names);
    while (cursor_left(&c))
        if (span_eq(cursor_cstr(&c), name)) return true;
    return false;
}

// A transaction may touch the same a thousand times.
static void add_touched(struct session *s, const struct setting_names *n, bool anything) {
    if (!buf_len(&n->names) && !anything) return;
    struct setting_names *to = &touched_of(s)->names;
    struct cursor c = cursor_of(buf_span(&n->names));
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c);
        if (!has_name(buf_span(&to->names), name)) buf_put(&to->names, name.ptr, name.len + 1);
    }
    to->names.failed |= n->names.failed;
    to->restores |= n->restores;
    s->touched->anything |= anything;
    if (anything) s->touched->generation = s->database->generation;
    if (anything) s->touched->states |= PINS_ASKED;
}

static bool is_any_of_startup(const struct session *s, struct span names) {
    struct cursor c = cursor_of(names);
    struct span value;
    while (cursor_left(&c))
        if (settings_get(s->startup, cursor_cstr(&c), &value)) return true;
    return false;
}

static bool is_reset_alone(uint32_t facts) {
    return (facts & (FACT_RESET | FACT_RESET_ALL)) && !(facts & (FACT_SET | FACT_SET_LOCAL | FACT_CALL | FACT_MULTI));
}

bool session_restore_startup(struct session *s) {
    struct touched *t = s->touched;
    struct buf sql = buf_make(SIZE_MAX / 2);
    if (!t || !buf_len(&t->reset) || s->due || s->open || !pipeline_is_empty(&s->server->replies)) return false;
    if (s->server->tx_status == PROTO_TX_ACTIVE) settings_restore_sql(s->startup, buf_span(&t->reset), &sql);
    bool asks = buf_len(&sql) > 0;
    buf_release(&t->reset);
    if (asks) {
        session_ask_server(s, buf_span(&sql));
        s->response.show_parameters = s->proving = true;
    }
    buf_release(&sql);
    return asks;
}

bool session_awaits_startup(const struct session *s) { return s->touched && s->touched->restores; }

bool session_each_text(struct session *s, struct span unit, void (*visit)(void *arg, struct span sql), void *arg) {
    const struct request *r = &s->request;
    struct span sql;
    if (r->kind == REQUEST_BATCH) {
        each_of_batch(s, unit, visit, arg);
        return true;
    }
    if (r->stream || !msg_query(span_from(unit, PROTO_HEADER_LEN), &sql)) return false;
    visit(arg, sql);
    return true;
}

static void on_text(void *arg, struct span sql) { setting_names_add(arg, sql); }

static void on_body(void *arg, struct span sql) { setting_names_add_body(arg, sql); }

// EXECUTE may be of any statement that the client has prepared by message.
static void collect_prepared(struct session *s, struct setting_names *n) {
    struct prep_name *at = NULL;
    struct statement *st;
    struct span name;
    while ((st = prep_client_next(&s->names, &at, &name))) on_text(n, st->query);
}

static void collect(struct session *s, struct span unit, struct setting_names *n) {
    if (!session_each_text(s, unit, on_text, n)) n->unknown = true;
    if (s->request.verdict.facts & FACT_EXECUTE) collect_prepared(s, n);
}

struct touch_facts session_touch_facts(struct session *s, struct span unit) {
    struct setting_names n;
    setting_names_init(&n);
    collect(s, unit, &n);
    struct touch_facts facts = {.known = !n.unknown, .nobodys = n.nobodys};
    setting_names_release(&n);
    return facts;
}

// Whatever has been set, since it may be given its default.
static void collect_set(struct session *s, struct setting_names *n) {
    settings_put_names(s->settings, &n->names);
    settings_put_names(s->startup, &n->names);
    n->restores = true;
}

// What code that is not in the text may set: whatever is set, and what the server does not list.
static void collect_unlisted(struct session *s, struct span unit, struct setting_names *n) {
    static const char identity[] = "role\0session_authorization";
    collect_set(s, n);
    buf_put(&n->names, identity, sizeof identity);
    if (s->database->catalog) buf_put_span(&n->names, catalog_parameters(s->database->catalog));
    session_put_code_names(s, &n->names);
    if (s->request.verdict.facts & FACT_CALL) (void)session_each_text(s, unit, on_body, n);
}

// All that code may set has been noted in this transaction.
static bool is_touched_again(const struct session *s) {
    return session_touched_anything(s) && !s->code && s->touched->generation == s->database->generation;
}

static bool is_custom(struct span name) { return memchr(name.ptr, '.', name.len) != NULL; }

// An application's parameter that is set for the transaction stays known after it.
static void add_locals(struct session *s, const struct setting_names *n) {
    struct cursor c = cursor_of(buf_span(&n->local));
    struct span value;
    if (n->nobodys || settings_bytes(s->customs) > SETTINGS_BYTES_MAX) return;
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c);
        if (!is_custom(name) || settings_get(s->customs, name, &value)) continue;
        if (!has_name(buf_span(&touched_of(s)->locals), name)) buf_put(&s->touched->locals, name.ptr, name.len + 1);
    }
}

// They have been set, or an error says that they may not have been: then they are not known anywhere.
static void note_locals(struct session *s) {
    struct settings_table *t = s->env->settings;
    struct span names = buf_span(&s->touched->locals);
    if (!s->response.failed) {
        settings_add_names(t, &s->customs, names);
        settings_add_names(t, &s->server->customs, names);
        if (settings_bytes(s->server->customs) > 2 * SETTINGS_BYTES_MAX) s->server->dirty = true;
    }
    buf_clear(&s->touched->locals);
    if (!session_touched_matters(s)) session_forget_touched(s);
}

bool session_touch(struct session *s, struct span unit, bool anything) {
    const struct request *r = &s->request;
    struct setting_names n;
    setting_names_init(&n);
    if (r->verdict.facts & FACTS_TOUCHING) collect(s, unit, &n);
    if (r->verdict.facts & (FACT_RESET_ALL | FACT_DISCARD_ALL | FACT_CALL)) collect_set(s, &n);
    if (n.unknown || any_has_meaning(buf_span(&n.names)) || any_has_meaning(buf_span(&n.local)))
        s->context = settings_new_context(s->env->settings);
    if (n.unknown || any_is_lexing(buf_span(&n.names)) || any_is_lexing(buf_span(&n.local))) {
        s->lexing = true;
        n.unknown |= r->kind == REQUEST_BATCH && parses_after_run(unit); // it was taken for what it may not be
    }
    bool resets = n.restores;
    // What functions and triggers do is rarely such that what stands behind them would have to wait.
    if (anything && !(is_touched_again(s) && !(r->verdict.facts & FACT_CALL))) collect_unlisted(s, unit, &n);
    add_touched(s, &n, anything);
    if (buf_len(&n.local)) add_locals(s, &n);
    if (resets && is_any_of_startup(s, buf_span(&n.names))) {
        s->touched->restores = true;
        if (is_reset_alone(r->verdict.facts)) buf_put_span(&s->touched->reset, buf_span(&n.names));
    }
    bool known = !n.unknown && !n.names.failed && !n.local.failed && !(s->touched && s->touched->names.names.failed);
    setting_names_release(&n);
    return known;
}

// What the client's texts mean is known again, unless something has a part in it that keeps the client here.
static void know_context(struct session *s) {
    if (!(s->pins & (PIN_BIT(TEMP) | PIN_BIT(UNREADABLE) | PIN_BIT(SET)))) s->context = 0;
}

bool session_touched_matters(const struct session *s) {
    const struct touched *t = s->touched;
    return t && (buf_len(&t->names.names) || t->anything || t->states);
}

bool session_touched_counts(const struct session *s) { return s->touched && s->touched->counts; }

void session_touched_ready(struct session *s, const struct reply *due, char tx_status) {
    if (s->touched && buf_len(&s->touched->locals)) note_locals(s);
    if (session_touched_matters(s) && (due->does.ends || tx_status == PROTO_TX_IDLE)) s->touched->counts = true;
    if (s->touched && (s->response.failed || tx_status != PROTO_TX_IDLE)) s->touched->undone = true;
    if (tx_status != PROTO_TX_IDLE || s->due || s->open) return;
    s->lexing = false;
    if (!s->touched) know_context(s); // SET LOCAL is over
}

// Reading back.

// Rows of all that the session has set and the server shows.
static void put_all_set_sql(struct buf *sql) {
    buf_printf(sql,
               "%sSELECT pg_catalog.lower(name),pg_catalog.current_setting(name,true),true FROM pg_catalog.pg_settings "
               "WHERE source OPERATOR(pg_catalog.=) 'session'",
               buf_len(sql) ? " UNION ALL " : "");
}

// Whether a parameter that has a value may not be set.
static bool may_be_defaults(const struct touched *t) { return t->names.restores || t->undone; }

static void put_read_sql(const struct touched *t, struct buf *sql) {
    struct span names = buf_span(&t->names.names);
    if (names.len) settings_read_sql(names, may_be_defaults(t), sql);
    if (t->anything) put_all_set_sql(sql);
    session_put_states_sql(t->states, sql);
}

void session_read_settings(struct session *s) {
    struct buf sql = buf_make(SIZE_MAX / 2), question = buf_make(SIZE_MAX / 2);
    // What was set may be that transactions are serializable, of which a replica has none.
    if (s->on_replica) settings_unserializable_sql(&sql);
    put_read_sql(s->touched, &question);
    buf_put_span(&sql, buf_span(&question));
    s->touched->reading = true;
    session_ask_server(s, buf_span(&sql));
    s->response.capture = &s->touched->rows;
    buf_release(&question);
    buf_release(&sql);
}

// One value of a DataRow; false when it is NULL.
static bool next_column(struct cursor *c, struct span *value) {
    uint32_t len = cursor_u32(c);
    bool null = len == UINT32_MAX;
    *value = cursor_bytes(c, null ? 0 : len);
    return !null && !c->bad;
}

// What is as if it had never been set, although the server cannot tell: an identity that is the login's own, unless it
// was taken (SET ROLE NONE) where the start-up packet has another one; and an application's parameter after RESET,
// which is empty.
static bool is_default(const struct session *s, struct span name, struct span value) {
    const struct touched *t = s->touched;
    struct span startup;
    bool by_startup = settings_get(s->startup, name, &startup);
    if (span_is(name, "role")) return span_is(value, "none") && (t->names.restores || !by_startup);
    if (span_is(name, "session_authorization"))
        return span_is(value, s->client.user) && (t->names.restores || !by_startup);
    return value.len == 0 && t->names.restores && is_custom(name) && by_startup;
}

static bool is_ascii(struct span text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] >= 0x80) return false;
    return true;
}

static bool encodings_agree(const struct server *sv) {
    const char *client = server_parameter(sv, "client_encoding"), *server = server_parameter(sv, "server_encoding");
    return client && server && strcmp(client, server) == 0;
}

// What the server has answered.
struct read_back {
    struct buf unset, pairs; // of settings
    uint32_t states;         // there are, bits of pins
    bool whole;              // nothing of it is missing
};

// False when what the row tells of cannot be carried to another connection.
static bool take_row(struct session *s, struct span row, struct read_back *r) {
    struct cursor c = cursor_of(row);
    struct span name, value, set;
    if (cursor_u16(&c) != 3) return false;
    bool state = !next_column(&c, &name), is_set = next_column(&c, &value);
    if (state) r->states |= session_state_pin(value);
    if (state) return true;
    is_set = next_column(&c, &set) && span_is(set, "t") && is_set;
    if (c.bad) return false;
    if (!is_set || is_default(s, name, value)) {
        buf_put_span(&r->unset, name);
        buf_put_u8(&r->unset, 0);
        return true;
    }
    buf_put_span(&r->pairs, name);
    buf_put_u8(&r->pairs, 0);
    buf_put_span(&r->pairs, value);
    buf_put_u8(&r->pairs, 0);
    return is_ascii(value) || encodings_agree(s->server);
}

static bool take_rows(struct session *s, struct read_back *r) {
    struct span rows = buf_span(&s->touched->rows);
    struct frame frame;
    bool carried = !s->touched->names.names.failed;
    r->whole = !s->touched->rows.failed && !s->response.refusal;
    if (!r->whole) return false;
    for (; rows.len; rows = span_from(rows, frame.total)) {
        r->whole = frame_next(FRAME_FROM_SERVER, rows, &frame, NULL) == WIRE_OK;
        if (!r->whole) return false;
        carried &= take_row(s, frame.payload, r);
    }
    return carried && buf_len(&r->pairs) <= SETTINGS_BYTES_MAX && settings_bytes(s->settings) <= SETTINGS_BYTES_MAX;
}

// RESET means the value of the start-up packet, which the server takes for just another SET.
static void put_startup(const struct session *s, struct span names, struct buf *pairs) {
    struct cursor c = cursor_of(names);
    struct span value;
    while (cursor_left(&c)) {
        struct span name = cursor_cstr(&c);
        if (!settings_get(s->startup, name, &value)) continue;
        buf_put(pairs, name.ptr, name.len + 1);
        buf_put(pairs, value.ptr, value.len + 1);
    }
}

static void replace(struct settings **at, struct settings *with) {
    settings_unref(*at);
    *at = with;
}

// The server in use has all that the session has.
static void note_customs(struct session *s) {
    struct server *sv = s->server;
    settings_add_customs(&sv->customs, settings_customs(sv->settings));
    if (sv != s->held) settings_add_customs(&sv->customs, s->customs);
    if (settings_bytes(sv->customs) > 2 * SETTINGS_BYTES_MAX) sv->dirty = true; // they would become ever more
}

static void adopt(struct session *s, struct span unset, struct span pairs) {
    struct settings_table *t = s->env->settings;
    struct buf again = buf_make(SIZE_MAX / 2);
    put_startup(s, unset, &again);
    replace(&s->server->settings, settings_edit(t, s->server->settings, unset, pairs));
    replace(&s->settings, settings_edit(t, s->server->settings, span_of("", 0), buf_span(&again)));
    s->identities_first = false;
    buf_release(&again);
    note_customs(s);
}

// The answer, as far as there is one: without it the settings stay where they are, and the pins as they were. False
// when the session ends with it.
static bool take_answer(struct session *s) {
    const struct touched *t = s->touched;
    struct read_back r = {.unset = buf_make(SIZE_MAX / 2), .pairs = buf_make(SIZE_MAX / 2)};
    bool settings = buf_len(&t->names.names) || t->anything, carried = take_rows(s, &r);
    bool kept = settings && !carried;
    if (r.whole) session_states_read(s, t->states, r.states);
    if (settings && carried) adopt(s, buf_span(&r.unset), buf_span(&r.pairs));
    if (kept && !s->on_replica) session_set_pins(s, s->pins | PIN_BIT(SET));
    buf_release(&r.unset);
    buf_release(&r.pairs);
    if (!kept || !s->on_replica) return true;
    session_fail(s, STAT_ERROR_UNSUPPORTED, "0A000", // no connection to a replica is kept
                 "what was SET in a READ ONLY transaction on a replica cannot be carried to another server");
    return false;
}

void session_settings_read(struct session *s) {
    struct buf *told = &s->env->wbuf;
    if (!take_answer(s)) return;
    response_start(&s->response, false);
    session_forget_touched(s);
    know_context(s);
    buf_clear(told);
    session_configure(s, told);
    if (buf_len(told) && !session_send_client(s, buf_span(told))) return;
    if (s->server->settings != s->settings)
        session_put_settings(s, true, false);
    else
        session_settle(s);
}

void session_settings_are_in_force(struct session *s) {
    struct server *sv = s->server;
    settings_ref(s->settings);
    replace(&sv->settings, s->settings);
    note_customs(s);
}

// One that the client keeps may have it set in a way that nobody has seen.
bool session_customs_are_known(const struct session *s) {
    return s->server == s->held || settings_have(s->server->customs, s->customs);
}

bool session_forget_refused(struct session *s) {
    const char *text = s->response.refusal->text;
    const struct span nothing = span_of("", 0);
    struct settings **of = NULL;
    struct span name, value;
    if (settings_find_named(s->customs, text, &name))
        of = &s->customs;
    else if (settings_find_named(settings_customs(s->settings), text, &name) &&
             settings_get(s->settings, name, &value) && value.len == 0)
        of = &s->settings;
    if (of) replace(of, settings_edit(s->env->settings, *of, span_of(name.ptr, name.len + 1), nothing));
    return of != NULL;
}

bool session_puts_identity_first(struct session *s) {
    bool lacks_right = strcmp(s->response.refusal->sqlstate, "42501") == 0;
    if (!lacks_right || s->identities_first || !settings_have_identity(s->settings)) return false;
    s->identities_first = true;
    return true;
}

bool session_takes_temp_buffers(const struct session *s) {
    const struct span name = span_str("temp_buffers");
    struct span has, wants;
    bool has_one = settings_get(s->server->settings, name, &has), wants_one = settings_get(s->settings, name, &wants);
    return !s->server->temp_used || (has_one == wants_one && (!has_one || span_eq(has, wants)));
}

// What settings say to the router itself.

// A word of `words` by its number; `otherwise` when the parameter is not set. False when it is none of them.
static bool word_of(const struct session *s, const char *name, const char *const *words, int *word) {
    struct span value;
    if (!settings_get(s->settings, span_str(name), &value) || value.len == 0) return true;
    for (int i = 0; words[i]; i++) {
        if (!span_is(value, words[i])) continue;
        *word = i;
        return true;
    }
    return false;
}

static void warn(struct buf *told, const char *name, const char *const *words) {
    struct fault f;
    struct buf list = buf_make(256);
    if (!told) return;
    for (int i = 0; words[i]; i++) buf_printf(&list, "%s%s", i ? ", " : "", words[i]);
    fault_set(&f, "01000", "\"%s\" is not one of %.*s and has no effect", name, (int)buf_len(&list),
              (const char *)list.data);
    buf_release(&list);
    reply_notice(told, &f);
}

// As PostgreSQL's parse_bool takes it: "on", "true", "yes", "1", and what they begin with.
static bool is_true(struct span value) {
    static const char *const words[] = {"true", "yes", "1"};
    for (size_t i = 0; i < countof(words); i++)
        if (value.len && value.len <= strlen(words[i]) &&
            strncasecmp((const char *)value.ptr, words[i], value.len) == 0)
            return true;
    return value.len == 2 && strncasecmp((const char *)value.ptr, "on", 2) == 0;
}

struct tx_modes session_modes_of(struct span isolation, struct span read_only) {
    static const struct {
        const char *name;
        struct tx_modes modes;
    } levels[] = {
        {"read uncommitted", {.isolation = TX_ISOLATION_READ_UNCOMMITTED}},
        {"read committed", {.isolation = TX_ISOLATION_READ_COMMITTED}},
        {"repeatable read", {.isolation = TX_ISOLATION_REPEATABLE_READ}},
        {"serializable", {.isolation = TX_ISOLATION_SERIALIZABLE}},
    };
    struct tx_modes m = {0};
    for (size_t i = 0; i < countof(levels); i++)
        if (isolation.len == strlen(levels[i].name) &&
            strncasecmp((const char *)isolation.ptr, levels[i].name, isolation.len) == 0)
            m = levels[i].modes;
    if (read_only.len) m.access = is_true(read_only) ? TX_ACCESS_READ_ONLY : TX_ACCESS_READ_WRITE;
    return m;
}

static void configure_transactions(struct session *s) {
    struct span isolation = {0}, read_only = {0}, name = {0};
    (void)settings_get(s->settings, span_str("default_transaction_isolation"), &isolation);
    (void)settings_get(s->settings, span_str("default_transaction_read_only"), &read_only);
    (void)settings_get(s->settings, span_str("application_name"), &name);
    s->tx_defaults = tx_modes_over(s->login_modes, session_modes_of(isolation, read_only));
    s->serializable = s->tx_defaults.isolation == TX_ISOLATION_SERIALIZABLE; // a replica has no such transactions
    s->dumps = span_is(name, "pg_dump") || span_is(name, "pg_dumpall");
    s->counts = settings_get(s->settings, span_str("stats_fetch_consistency"), &name) ||
                settings_get(s->settings, span_str("track_functions"), &name);
}

void session_configure(struct session *s, struct buf *told) {
    static const char *const routes[] = {"auto", "primary", "replica", NULL};
    static const char *const levels[] = {"eventual", "session", "monotonic", "global", NULL};
    static const char *const switches[] = {"off", "on", NULL};
    const struct config *c = s->env->config;
    int preference = config_route(c, s->client.database, s->client.user);
    int consistency = config_consistency(c, s->client.database, s->client.user), show_route = 0;
    if (!word_of(s, "pgsteer.route", routes, &preference)) warn(told, "pgsteer.route", routes);
    if (!word_of(s, "pgsteer.consistency", levels, &consistency)) warn(told, "pgsteer.consistency", levels);
    if (!word_of(s, "pgsteer.show_route", switches, &show_route)) warn(told, "pgsteer.show_route", switches);
    s->preference = (enum preference)preference;
    s->consistency = (enum consistency)consistency;
    s->shows_route = show_route != 0;
    configure_transactions(s);
}
