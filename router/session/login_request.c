// SPDX-License-Identifier: ISC
// router/session/login_request.c: see router/session/login_request.h.
#include "router/session/login_request.h"

#include <strings.h>

#include "base/mem.h"
#include "router/wire/frame.h"

enum { SETTINGS_MAX = 2 * PROTO_STARTUP_MAX }; // no setting is longer than the text it comes from

static void copy_name(char to[LOGIN_NAME_SIZE], struct span from) {
    size_t len = MIN_OF(from.len, LOGIN_NAME_SIZE - 1);
    memcpy(to, from.ptr, len);
    to[len] = '\0';
}

static void put_string(struct buf *b, struct span s) {
    buf_put_span(b, s);
    buf_put_u8(b, 0);
}

// PostgreSQL's parse_bool: any beginning of these words that could be no other. False when it is none.
static bool read_bool(struct span value, bool *yes) {
    static const struct {
        const char *word;
        size_t least;
        bool yes;
    } words[] = {{"false", 1, false}, {"no", 1, false}, {"off", 2, false}, {"0", 1, false},
                 {"true", 1, true},   {"yes", 1, true}, {"on", 2, true},   {"1", 1, true}};
    for (size_t i = 0; i < countof(words); i++) {
        if (value.len < words[i].least || value.len > strlen(words[i].word) ||
            strncasecmp((const char *)value.ptr, words[i].word, value.len) != 0)
            continue;
        *yes = words[i].yes;
        return true;
    }
    return false;
}

// "This is a hybrid beast", says ProcessStartupPacket: a boolean, or the word `database`.
static bool read_replication(struct span value, enum replication *to, struct fault *fault) {
    bool yes = false;
    if (span_is(value, "database")) {
        *to = REPLICATION_DATABASE;
        return true;
    }
    if (read_bool(value, &yes)) {
        *to = yes ? REPLICATION_PHYSICAL : REPLICATION_NONE;
        return true;
    }
    fault_set(fault, "22023", "invalid value for parameter \"replication\": \"%.*s\"",
              (int)MIN_OF(value.len, LOGIN_NAME_SIZE), (const char *)value.ptr);
    fault_hint(fault, "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
    return false;
}

// ---- options: a command line

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The next word of pg_split_opts: up to white space; a backslash takes what follows as it is. False at the end.
static bool next_word(struct span *rest, struct buf *word) {
    size_t i = 0;
    buf_clear(word);
    while (i < rest->len && is_space(rest->ptr[i])) i++;
    if (i == rest->len) return false;
    for (bool escaped = false; i < rest->len && (escaped || !is_space(rest->ptr[i])); i++) {
        escaped = !escaped && rest->ptr[i] == '\\';
        if (!escaped) buf_put_u8(word, rest->ptr[i]);
    }
    *rest = span_from(*rest, i);
    return true;
}

// "name=value", with dashes in the name for underscores; `lead` is how the client wrote it, for the fault.
static bool put_setting(struct buf *settings, const char *lead, struct span text, struct fault *fault) {
    const uint8_t *equals = text.len ? memchr(text.ptr, '=', text.len) : NULL;
    size_t name_len = equals ? (size_t)(equals - text.ptr) : text.len;
    if (!equals)
        return fault_set(fault, "42601", "%s%.*s requires a value", lead, (int)MIN_OF(text.len, LOGIN_NAME_SIZE),
                         (const char *)text.ptr);
    if (name_len == 0) return fault_set(fault, "42704", "unrecognized configuration parameter \"\"");
    for (size_t i = 0; i < name_len; i++) buf_put_u8(settings, text.ptr[i] == '-' ? '_' : text.ptr[i]);
    buf_put_u8(settings, 0);
    put_string(settings, span_from(text, name_len + 1));
    return true;
}

static bool refuse_switch(struct span word, struct fault *fault) {
    fault_set(fault, "0A000", "start-up option \"%.*s\" is not supported", (int)MIN_OF(word.len, LOGIN_NAME_SIZE),
              (const char *)word.ptr);
    fault_hint(fault, "Only settings can be given: -c name=value or --name=value.");
    return false;
}

static bool read_switch(struct span *rest, struct buf *word, struct buf *settings, struct fault *fault) {
    struct span w = buf_span(word);
    if (w.len >= 2 && memcmp(w.ptr, "-c", 2) == 0) {
        if (w.len > 2) return put_setting(settings, "-c ", span_from(w, 2), fault);
        if (next_word(rest, word)) return put_setting(settings, "-c ", buf_span(word), fault);
        return fault_set(fault, "42601", "-c requires a setting");
    }
    // "--" alone would end the switches.
    if (w.len > 2 && memcmp(w.ptr, "--", 2) == 0) return put_setting(settings, "--", span_from(w, 2), fault);
    return refuse_switch(w, fault);
}

static bool read_options(struct span options, struct buf *settings, struct fault *fault) {
    struct buf word = buf_make(PROTO_STARTUP_MAX);
    bool ok = true;
    while (ok && next_word(&options, &word)) ok = read_switch(&options, &word, settings, fault);
    buf_release(&word);
    return ok;
}

// ---- the parameters

// What is not a setting.
struct named {
    struct span user, database, options, replication;
};

static struct span *named_field(struct named *n, struct span name) {
    if (span_is(name, "user")) return &n->user;
    if (span_is(name, "database")) return &n->database;
    if (span_is(name, "options")) return &n->options;
    if (span_is(name, "replication")) return &n->replication;
    return NULL;
}

static bool is_protocol_option(struct span name) { return name.len >= 5 && memcmp(name.ptr, "_pq_.", 5) == 0; }

// Of a name given twice the last one counts.
static void read_named(struct login_request *r, struct span parameters, struct named *out) {
    struct span name, value;
    size_t n_unknown = 0;
    for (struct span rest = parameters; startup_next_parameter(&rest, &name, &value);) {
        struct span *field = named_field(out, name);
        if (field) *field = value;
        n_unknown += is_protocol_option(name);
    }
    if (n_unknown) r->unknown = mem_array(n_unknown, struct span);
}

static void read_others(struct login_request *r, struct span parameters) {
    struct named ignored;
    struct span name, value;
    for (struct span rest = parameters; startup_next_parameter(&rest, &name, &value);) {
        if (named_field(&ignored, name)) continue;
        if (is_protocol_option(name)) {
            r->unknown[r->n_unknown++] = name;
            continue;
        }
        put_string(&r->settings, name);
        put_string(&r->settings, value);
    }
}

bool login_request_read(struct login_request *r, struct span parameters, struct fault *fault) {
    *r = (struct login_request){.settings = buf_make(SETTINGS_MAX)};
    struct named named = {.user = {NULL, 0}};
    read_named(r, parameters, &named);
    if (named.user.len == 0) return fault_set(fault, "28000", "no user name given in the startup packet");
    if (named.replication.ptr && !read_replication(named.replication, &r->replication, fault)) return false;
    copy_name(r->user, named.user);
    copy_name(r->database, named.database.len ? named.database : named.user);
    if (named.options.len && !read_options(named.options, &r->settings, fault)) return false;
    read_others(r, parameters);
    return !r->settings.failed || fault_set(fault, "53200", "out of memory");
}

void login_request_fini(struct login_request *r) {
    buf_release(&r->settings);
    mem_free(r->unknown);
    r->unknown = NULL;
    r->n_unknown = 0;
}
