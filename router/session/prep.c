// SPDX-License-Identifier: ISC
// router/session/prep.c: see router/session/prep.h. The two sets of names; prep_rewrite.c writes the messages.
#include "router/session/prep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
// uthash's own takes three times as long for keys of a few bytes.
#define HASH_FUNCTION(key, len, hash) (hash) = (unsigned)XXH3_64bits((key), (len))
#include <uthash.h>

#include "base/mem.h"
#include "parser/lex.h"
#include "router/session/pipeline.h"

#define NAME_PREFIX "pgsteer_"
enum { NAME_MAX_LEN = 40 };

struct prep_name {
    UT_hash_handle hh;
    uint32_t refs;
    uint16_t freed;              // the client's count when it was given
    struct statement *statement; // counted; NULL = out of the map
    size_t len;
    char name[];
};

struct prep_held {
    UT_hash_handle hh;
    uint64_t id;
    struct statement *statement; // counted
    struct ilink lru;
    char *exposed; // the client's own name, by which the server knows it; NULL: by ours
    bool wanted;   // within prep_expose
    size_t name_len;
    char name[NAME_MAX_LEN];
};

// The client's names.

// A reference is the caller's.
static struct prep_name *name_new(struct span name) {
    struct prep_name *n = mem_alloc(sizeof *n + name.len);
    n->refs = 1;
    n->len = name.len;
    memcpy(n->name, name.ptr, name.len);
    return n;
}

void prep_name_unref(struct prep_name *n) {
    if (n && --n->refs == 0) mem_free(n);
}

struct span prep_name_text(const struct prep_name *n) {
    return n ? span_of(n->name, n->len) : span_of("", 0);
}

static struct prep_name *find_name(const struct prep_client *c, struct span name) {
    struct prep_name *n = NULL;
    HASH_FIND(hh, c->names, name.ptr, name.len, n);
    return n;
}

struct statement *prep_client_find(const struct prep_client *c, struct span name) {
    if (name.len == 0) return c->unnamed;
    struct prep_name *n = find_name(c, name);
    return n ? n->statement : NULL;
}

struct statement *prep_client_find_name(const struct prep_client *c, struct span name, struct prep_name **called) {
    *called = NULL;
    if (name.len == 0) return c->unnamed;
    struct prep_name *n = find_name(c, name);
    if (!n) {
        *called = name_new(name);
        return NULL;
    }
    n->refs++;
    *called = n;
    return n->statement;
}

uint16_t prep_portal_hash(struct span name) { return (uint16_t)(XXH3_64bits(name.ptr, name.len) | 1); }

bool prep_client_is_new(const struct prep_client *c, struct span name) {
    const struct prep_name *n = find_name(c, name);
    return n && n->freed == c->freed;
}

static struct statement *name_remove(struct prep_client *c, struct prep_name *n) {
    struct statement *before = n->statement;
    HASH_DELETE(hh, c->names, n);
    n->statement = NULL;
    prep_name_unref(n);
    c->count--;
    return before;
}

struct statement *prep_client_set(struct prep_client *c, struct span name, struct statement *s) {
    if (s) statement_ref(s);
    if (name.len == 0) {
        struct statement *before = c->unnamed;
        c->unnamed = s;
        return before;
    }
    struct prep_name *n = find_name(c, name);
    if (n) {
        if (!s) return name_remove(c, n);
        struct statement *before = n->statement;
        n->statement = s;
        n->freed = c->freed;
        return before;
    }
    if (!s) return NULL;
    n = name_new(name);
    n->statement = s;
    n->freed = c->freed;
    HASH_ADD_KEYPTR(hh, c->names, n->name, n->len, n);
    c->count++;
    return NULL;
}

void prep_client_fini(struct prep_client *c) {
    struct prep_name *n, *next;
    HASH_ITER(hh, c->names, n, next) statement_unref(name_remove(c, n));
    if (c->unnamed) statement_unref(c->unnamed);
    prep_client_init(c);
}

// The server's set.

void prep_server_init(struct prep_server *s) {
    *s = (struct prep_server){0};
    ilist_init(&s->lru);
    s->second = buf_make(SIZE_MAX / 2);
}

static struct prep_held *find_held(const struct prep_server *s, const struct statement *st) {
    struct prep_held *h = NULL;
    HASH_FIND(hh, s->held, &st->id, sizeof st->id, h);
    return h;
}

static void held_drop(struct prep_server *s, struct prep_held *h) {
    HASH_DELETE(hh, s->held, h);
    ilist_remove(&s->lru, &h->lru);
    statement_unref(h->statement);
    mem_free(h->exposed);
    mem_free(h);
}

bool prep_server_has(const struct prep_server *s, const struct statement *st) { return find_held(s, st) != NULL; }

static struct span held_name(const struct prep_held *h) {
    if (!h) return span_of("", 0);
    return UNLIKELY(h->exposed != NULL) ? span_str(h->exposed) : span_of(h->name, h->name_len);
}

struct span prep_server_name(const struct prep_server *s, const struct statement *st) {
    return held_name(find_held(s, st));
}

struct span prep_server_use(struct prep_server *s, const struct statement *st) {
    struct prep_held *h = find_held(s, st);
    if (h && &h->lru != ilist_last(&s->lru)) {
        ilist_remove(&s->lru, &h->lru);
        ilist_push_back(&s->lru, &h->lru);
    }
    return held_name(h);
}

struct span prep_server_add(struct prep_server *s, struct statement *st) {
    struct prep_held *h = find_held(s, st);
    if (h) return held_name(h);
    h = mem_new(struct prep_held);
    h->id = st->id;
    h->name_len = (size_t)snprintf(h->name, sizeof h->name, NAME_PREFIX "%" PRIu64 "_%u", st->id, s->epoch);
    h->statement = st;
    statement_ref(st);
    ilink_init(&h->lru);
    ilist_push_back(&s->lru, &h->lru);
    HASH_ADD(hh, s->held, id, sizeof h->id, h);
    return held_name(h);
}

void prep_server_add_as(struct prep_server *s, struct statement *st, struct span name) {
    (void)prep_server_add(s, st);
    find_held(s, st)->exposed = mem_strndup((const char *)name.ptr, name.len);
    s->exposed = true;
}

struct statement *prep_client_next(const struct prep_client *c, struct prep_name **at, struct span *name) {
    *at = *at ? (*at)->hh.next : c->names;
    if (!*at) return NULL;
    *name = prep_name_text(*at);
    return (*at)->statement;
}

void prep_server_unwant(struct prep_server *s) {
    for (struct prep_held *h = s->held; h; h = h->hh.next) h->wanted = false;
}

void prep_server_want(struct prep_server *s, const struct statement *st, struct span name) {
    struct prep_held *h = find_held(s, st);
    if (h && span_eq(held_name(h), name)) h->wanted = true;
}

struct statement *prep_server_exposed_as(const struct prep_server *s, struct span name) {
    for (struct prep_held *h = s->exposed ? s->held : NULL; h; h = h->hh.next)
        if (h->exposed && span_is(name, h->exposed)) return h->statement;
    return NULL;
}

struct statement *prep_server_unwanted(const struct prep_server *s) {
    for (struct prep_held *h = s->held; h; h = h->hh.next)
        if (!h->wanted) return h->statement;
    return NULL;
}

void prep_server_add_second(struct prep_server *s, struct span name) {
    buf_put_span(&s->second, name);
    buf_put_u8(&s->second, 0);
}

bool prep_server_has_second(const struct prep_server *s, struct span name) {
    for (struct cursor c = cursor_of(buf_span(&s->second)); cursor_left(&c);)
        if (span_eq(cursor_cstr(&c), name)) return true;
    return false;
}

void prep_server_remove_second(struct prep_server *s, struct span name) {
    struct buf before = s->second;
    s->second = buf_make(SIZE_MAX / 2);
    for (struct cursor c = cursor_of(buf_span(&before)); cursor_left(&c);) {
        struct span other = cursor_cstr(&c);
        if (!span_eq(other, name)) prep_server_add_second(s, other);
    }
    buf_release(&before);
}

void prep_server_remove(struct prep_server *s, const struct statement *st) {
    struct prep_held *h = find_held(s, st);
    if (h) held_drop(s, h);
}

struct statement *prep_server_oldest(struct prep_server *s) {
    struct ilink *n = ilist_first(&s->lru);
    return n ? container_of(n, struct prep_held, lru)->statement : NULL;
}

void prep_server_forget_all(struct prep_server *s) {
    struct prep_held *h, *next;
    HASH_ITER(hh, s->held, h, next) held_drop(s, h);
    s->epoch++;
    s->exposed = false;
    buf_release(&s->second);
}

void prep_server_fini(struct prep_server *s) {
    prep_server_forget_all(s);
    prep_server_init(s);
}

bool prep_is_our_name(struct span name) {
    return name.len >= strlen(NAME_PREFIX) && memcmp(name.ptr, NAME_PREFIX, strlen(NAME_PREFIX)) == 0;
}

// What an error undoes.

// The first message behind the failed batch that changes the name as well; NULL when none does.
static struct reply *next_change(struct pipeline *due, uint32_t behind, struct span name) {
    for (uint32_t i = behind; i < due->count; i++) {
        struct reply *r = pipeline_at(due, i);
        if (r->client_names && span_eq(prep_name_text(r->name), name)) return r;
    }
    return NULL;
}

// The name stands for `now` again, where `r` had made it stand for `then`. What a later message has made of it stays,
// but should that be undone as well, `now` is what was there before.
static void undo_name(struct prep_client *client, struct pipeline *due, uint32_t behind, const struct reply *r,
                      struct statement *then, struct statement *now) {
    struct reply *next = next_change(due, behind, prep_name_text(r->name));
    struct statement *dropped = NULL;
    if (next) {
        dropped = next->before;
        next->before = now;
        if (now) statement_ref(now);
    } else if (prep_client_find(client, prep_name_text(r->name)) ==
               then) { // else a Query has made it stand for nothing
        dropped = prep_client_set(client, prep_name_text(r->name), now);
    }
    if (dropped) statement_unref(dropped);
}

// A Close that the server never came to: it has what was to be closed, by the name that it had.
static void hold_again(struct prep_server *server, const struct reply *r) {
    if (!r->after)
        prep_server_add_second(server, prep_name_text(r->name));
    else if (r->name)
        prep_server_add_as(server, r->after, prep_name_text(r->name));
    else
        (void)prep_server_add(server, r->after);
}

// A Parse that failed, or was never come to: the server does not hold `st`, and a Close behind it has nothing to undo.
static void never_held(struct prep_server *server, struct pipeline *due, uint32_t behind, const struct statement *st) {
    prep_server_remove(server, st);
    for (uint32_t i = behind; i < due->count; i++) {
        struct reply *r = pipeline_at(due, i);
        if (r->kind == REPLY_CLOSE && r->after == st) r->server_names = false;
    }
}

bool prep_fail(struct prep_client *client, struct prep_server *server, struct pipeline *due) {
    uint32_t n = 0;
    while (n < due->count && pipeline_at(due, n)->kind != REPLY_SYNC) n++;
    bool has_sync = n < due->count;
    for (uint32_t i = n; i-- > 0;) { // the last first, so that what was there before comes back
        const struct reply *r = pipeline_at(due, i);
        if (r->kind == REPLY_PARSE) {
            if (r->server_names) never_held(server, due, n, r->after);
            // A Parse that fails leaves no unnamed statement; one that was never looked at leaves the old one.
            if (r->client_names) undo_name(client, due, n, r, r->after, i == 0 ? NULL : r->before);
        } else {
            if (r->server_names) hold_again(server, r);
            // Of a Close, the Execute of a DEALLOCATE, or a Query, which ends the unnamed statement.
            if (r->client_names && r->before) undo_name(client, due, n, r, NULL, r->before);
        }
    }
    while (n-- > 0) pipeline_pop(due);
    return has_sync;
}

// DEALLOCATE.

// By a message that the server has not come to yet, before the `end`th.
static bool is_parsed_behind(struct pipeline *due, const struct prep_name *n, uint32_t end) {
    for (uint32_t i = 1; i < end; i++) {
        const struct reply *r = pipeline_at(due, i);
        if (r->kind == REPLY_PARSE && r->client_names && span_eq(prep_name_text(r->name), prep_name_text(n)))
            return true;
    }
    return false;
}

void prep_deallocated_all(struct prep_client *client, struct prep_server *server, struct pipeline *due) {
    struct prep_name *n, *next;
    HASH_ITER(hh, client->names, n, next)
    if (!is_parsed_behind(due, n, due->count)) statement_unref(name_remove(client, n));
    for (uint32_t i = 1; i < due->count; i++) {
        struct reply *r = pipeline_at(due, i);
        if (!r->name || !r->before || is_parsed_behind(due, r->name, i)) continue;
        statement_unref(r->before);
        r->before = NULL;
    }
    prep_server_forget_all(server);
}

static bool is_word_char(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           c >= 0x80;
}

static void skip_space(struct cursor *c) {
    while (c->ptr < c->end && (*c->ptr == ' ' || (*c->ptr >= '\t' && *c->ptr <= '\r'))) c->ptr++;
}

// And comments; one that does not end stays.
static void skip_comments(struct cursor *c) {
    skip_space(c);
    while (lex_begins_comment(c->ptr, c->end)) {
        const uint8_t *behind = lex_comment(c->ptr, c->end);
        if (!behind) return;
        c->ptr = behind;
        skip_space(c);
    }
}

// One identifier, folded as PostgreSQL folds it; false when there is none or it does not fit.
static bool next_identifier(struct cursor *c, char *to, size_t cap, size_t *len) {
    skip_comments(c);
    size_t n = 0;
    bool quoted = c->ptr < c->end && *c->ptr == '"';
    if (quoted) c->ptr++;
    for (; c->ptr < c->end; c->ptr++) {
        uint8_t ch = *c->ptr;
        if (quoted && ch == '"') {
            if (c->ptr + 1 == c->end || c->ptr[1] != '"') break;
            c->ptr++;
        } else if (!quoted && !is_word_char(ch)) {
            break;
        }
        if (n + 1 >= cap) return false;
        to[n++] = (char)(!quoted && ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
    }
    if (quoted && c->ptr++ == c->end) return false;
    to[n] = '\0';
    *len = n;
    return n > 0;
}

bool prep_deallocate_name(struct span sql, char *to, size_t cap, size_t *len) {
    struct cursor c = cursor_of(sql);
    if (!next_identifier(&c, to, cap, len) || strcmp(to, "deallocate") != 0) return false;
    skip_comments(&c);
    bool quoted = c.ptr < c.end && *c.ptr == '"';
    if (!next_identifier(&c, to, cap, len)) return false;
    struct cursor after = c;
    skip_comments(&after);
    if (!quoted && strcmp(to, "prepare") == 0 && after.ptr < after.end && *after.ptr != ';') {
        quoted = *after.ptr == '"';
        if (!next_identifier(&c, to, cap, len)) return false;
    }
    if (!quoted && strcmp(to, "all") == 0) return false;
    skip_comments(&c);
    if (c.ptr < c.end && *c.ptr == ';') c.ptr++;
    skip_comments(&c);
    return c.ptr == c.end;
}

bool prep_deallocates_all(struct span sql) {
    struct cursor c = cursor_of(sql);
    char word[16];
    size_t len;
    if (!next_identifier(&c, word, sizeof word, &len)) return false;
    bool discards = strcmp(word, "discard") == 0;
    if (!discards && strcmp(word, "deallocate") != 0) return false;
    if (!next_identifier(&c, word, sizeof word, &len)) return false;
    if (!discards && strcmp(word, "prepare") == 0 && !next_identifier(&c, word, sizeof word, &len)) return false;
    return strcmp(word, "all") == 0 && c.ptr[-1] != '"';
}

bool prep_gives_what_is_named(struct span sql) {
    struct cursor c = cursor_of(sql);
    char word[16];
    size_t len;
    return next_identifier(&c, word, sizeof word, &len) && (strcmp(word, "fetch") == 0 || strcmp(word, "execute") == 0);
}

bool prep_parses_when_failed(struct span sql) {
    static const char *const ends[] = {"abort", "commit", "end", "rollback"};
    struct cursor c = cursor_of(sql);
    char word[16];
    size_t len;
    skip_comments(&c);
    if (c.ptr == c.end) return true;
    if (!next_identifier(&c, word, sizeof word, &len)) return false;
    for (size_t i = 0; i < countof(ends); i++)
        if (strcmp(word, ends[i]) == 0) return true;
    return strcmp(word, "prepare") == 0 && next_identifier(&c, word, sizeof word, &len) &&
           strcmp(word, "transaction") == 0;
}
