// SPDX-License-Identifier: ISC
// tests/fuzz/mask_oracle.c: see mask_oracle.h.
#include "tests/fuzz/mask_oracle.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "parser/classify.h"
#include "parser/mask.h"

enum { SLOTS = 1 << 16, MAX_PARSE = 65536, MAX_TOKENS = 512 };

// The last masked form of each hash, with the text it came from.
struct seen {
    uint8_t *key;
    size_t key_len;
    struct text text;
    struct verdict verdicts[2];
};

struct oracle {
    struct catalog *catalog;
    struct seen *slots[SLOTS];
    size_t compared;
};

struct oracle *oracle_new(void) {
    struct oracle *o = mem_new(struct oracle);
    o->catalog = catalog_new("db");
    catalog_add_function(o->catalog, "public", "f", 1, 1, CATALOG_HARMLESS);
    catalog_add_function(o->catalog, "public", "f", 2, 2, CATALOG_VOLATILE);
    catalog_add_function(o->catalog, "public", "lower", 2, 2, CATALOG_VOLATILE);
    catalog_add_function(o->catalog, "a", "in", 2, 2, CATALOG_VOLATILE);
    catalog_add_function(o->catalog, "a", "values", 1, 1, CATALOG_HARMLESS);
    catalog_add_volatile_operator(o->catalog, "public", "<=>");
    catalog_add_primary_relation(o->catalog, "public", "v");
    return o;
}

void oracle_free(struct oracle *o) {
    for (size_t i = 0; i < SLOTS; i++) {
        if (!o->slots[i]) continue;
        mem_free(o->slots[i]->key);
        mem_free(o->slots[i]);
    }
    catalog_unref(o->catalog);
    mem_free(o);
}

size_t oracle_compared(const struct oracle *o) { return o->compared; }

static void show(const char *what, struct span s) {
    fprintf(stderr, "%s:\n    ", what);
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 32 || s.ptr[i] == 127)
            fprintf(stderr, "\\x%02x", s.ptr[i]);
        else
            fputc(s.ptr[i], stderr);
    fputc('\n', stderr);
}

static void die(const struct seen *s, struct span sql, const struct verdict *v, const uint8_t *key, size_t key_len) {
    show("masked alike", span_of(key, key_len));
    show("one text", span_of(s->text.bytes, s->text.len));
    show("another", sql);
    for (int i = 0; i < 2; i++)
        fprintf(stderr, "%s: %s/%s/%x and %s/%s/%x\n", i ? "with a catalog" : "without a catalog",
                verdict_kind_str(s->verdicts[i].kind), verdict_reason_str(s->verdicts[i].reason), s->verdicts[i].facts,
                verdict_kind_str(v[i].kind), verdict_reason_str(v[i].reason), v[i].facts);
    abort();
}

static bool same(const struct verdict *a, const struct verdict *b) {
    return a->kind == b->kind && a->reason == b->reason && a->facts == b->facts;
}

static uint64_t hash_of(const uint8_t *p, size_t len) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * 1099511628211u;
    return h ^ (h >> 32);
}

bool oracle_check(struct oracle *o, struct span sql) {
    uint8_t key[ORACLE_TEXT_MAX + MASK_SLACK];
    if (sql.len > ORACLE_TEXT_MAX) return false;
    size_t key_len = mask(sql, key, sizeof key);
    struct verdict v[2] = {
        classify(sql, &(struct classify_options){.max_length = MAX_PARSE}),
        classify(sql, &(struct classify_options){.max_length = MAX_PARSE, .catalog = o->catalog}),
    };
    if (key_len == 0) return false;
    struct seen **slot = &o->slots[hash_of(key, key_len) % SLOTS];
    if (*slot && (*slot)->key_len == key_len && memcmp((*slot)->key, key, key_len) == 0) {
        if (!same(&(*slot)->verdicts[0], &v[0]) || !same(&(*slot)->verdicts[1], &v[1]))
            die(*slot, sql, v, key, key_len);
        o->compared++;
        return true;
    }
    if (!*slot) *slot = mem_new(struct seen);
    mem_free((*slot)->key);
    (*slot)->key = (uint8_t *)mem_strndup((const char *)key, key_len);
    (*slot)->key_len = key_len;
    (*slot)->text.len = sql.len;
    memcpy((*slot)->text.bytes, sql.ptr, sql.len);
    memcpy((*slot)->verdicts, v, sizeof v);
    return true;
}

// Mutations

static size_t below(uint64_t *seed, size_t n) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(*seed >> 33) % n;
}
static bool one_in(uint64_t *seed, size_t n) { return below(seed, n) == 0; }

static const char *const integers[] = {"0", "1", "42", "2147483647", "007", "0000000000001", "999999999", "54"};
static const char *const floats[] = {"1.5", "2147483648", "1e5", "1.", "1E+10", "99999999999", "0.5e-3", ".5"};
static const char *const strings[] = {"'a'",         "''",
                                      "'it''s'",     "'pg_temp'",
                                      "'pg_temp.x'", "'\\'",
                                      "'true'",      "'nextval'",
                                      "$$a$$",       "$x$'$x$",
                                      "$$--$$",      "'/*'",
                                      "'\"'",        "E'a'",
                                      "e'\\n'",      "E'\\\\'",
                                      "E'\\''",      "e'\\x41'",
                                      "U&'a'",       "'a'\n'b'",
                                      "'('",         "','",
                                      "'\xff'",      "E'\xff'",
                                      "'a;b'",       "'/* pgsteer: primary */'",
                                      "E'\\u0041'",  "E'\\u00g0'",
                                      "E'\\xff'"};
static const char *const bits[] = {"B'01'", "b''", "X'1F'", "x'zz'", "B'2'", "b'0''1'"};
static const char *const gaps[] = {" ",
                                   "  ",
                                   "\n",
                                   "\t ",
                                   "/**/",
                                   " /* 'x */ ",
                                   "--x\n",
                                   " -- \" \n ",
                                   "\r\n",
                                   "/*/**/*/",
                                   "\f",
                                   "/* pgsteer: primary */",
                                   "-- pgsteer: replica\n"};
static const char *const words[] = {"select",
                                    "in",
                                    "(",
                                    ")",
                                    ",",
                                    "values",
                                    "from",
                                    "t",
                                    "where",
                                    "a",
                                    "as",
                                    ".",
                                    ";",
                                    "1",
                                    "'x'",
                                    "$1",
                                    "$2::int",
                                    "f",
                                    "f(",
                                    "set_config(",
                                    "\"set_config\"",
                                    "float",
                                    "float(",
                                    "array",
                                    "[",
                                    "]",
                                    "::",
                                    "+",
                                    "-",
                                    "--",
                                    "/*",
                                    "*/",
                                    "and",
                                    "or",
                                    "not",
                                    "for update",
                                    "union",
                                    "with",
                                    "insert into t",
                                    "limit",
                                    "offset",
                                    "in (1,2)",
                                    "values (1)",
                                    "interval",
                                    "'1'",
                                    "\"in\"",
                                    "\"q 1\"",
                                    "\"",
                                    "'",
                                    "$$",
                                    "$a$",
                                    "e",
                                    "E'",
                                    "u&",
                                    "&",
                                    "<=>",
                                    "case",
                                    "when",
                                    "then",
                                    "end",
                                    "between",
                                    "like",
                                    "is null",
                                    "nextval('s')",
                                    "pg_temp",
                                    "current_setting",
                                    "lower(",
                                    "delete from t",
                                    "returning",
                                    "is_local => true",
                                    "true",
                                    "order by",
                                    "group by",
                                    "position(",
                                    "extract(",
                                    "overlaps",
                                    "row",
                                    "a.in",
                                    "a.values",
                                    "merge into",
                                    "b",
                                    "x",
                                    "n",
                                    "numeric(",
                                    "time(",
                                    "bit(",
                                    "char(",
                                    "tablesample system (",
                                    "fetch first",
                                    "rows only",
                                    "on conflict do nothing",
                                    "set",
                                    "explain",
                                    "escape",
                                    "collate",
                                    "\"C\"",
                                    "date",
                                    "at time zone",
                                    "default",
                                    "null"};

static void put(struct text *to, const void *p, size_t len) {
    if (len > sizeof to->bytes - to->len) return;
    memcpy(to->bytes + to->len, p, len);
    to->len += len;
}
static void put_str(struct text *to, const char *s) { put(to, s, strlen(s)); }
#define PUT_ONE_OF(to, list, seed) put_str((to), (list)[below((seed), countof(list))])

static PgQuery__ScanResult *scan(const struct text *t) {
    char *sql = mem_strndup((const char *)t->bytes, t->len);
    PgQueryScanResult scanned = pg_query_scan(sql);
    mem_free(sql);
    PgQuery__ScanResult *r = NULL;
    if (!scanned.error) r = pg_query__scan_result__unpack(NULL, scanned.pbuf.len, (const uint8_t *)scanned.pbuf.data);
    pg_query_free_scan_result(scanned);
    return r;
}

static bool is_constant(int token) {
    return token == PG_QUERY__TOKEN__ICONST || token == PG_QUERY__TOKEN__FCONST || token == PG_QUERY__TOKEN__SCONST ||
           token == PG_QUERY__TOKEN__USCONST || token == PG_QUERY__TOKEN__BCONST || token == PG_QUERY__TOKEN__XCONST;
}

// Puts another constant, most often of the class of `token`, or what was there.
static void put_constant(struct text *to, int token, const uint8_t *was, size_t len, uint64_t *seed) {
    static const int classes[] = {PG_QUERY__TOKEN__ICONST, PG_QUERY__TOKEN__FCONST, PG_QUERY__TOKEN__SCONST,
                                  PG_QUERY__TOKEN__BCONST};
    if (is_constant(token) && one_in(seed, 8)) token = classes[below(seed, countof(classes))];
    if (!is_constant(token) || one_in(seed, 4))
        put(to, was, len);
    else if (token == PG_QUERY__TOKEN__ICONST)
        PUT_ONE_OF(to, integers, seed);
    else if (token == PG_QUERY__TOKEN__FCONST)
        PUT_ONE_OF(to, floats, seed);
    else if (token == PG_QUERY__TOKEN__SCONST || token == PG_QUERY__TOKEN__USCONST)
        PUT_ONE_OF(to, strings, seed);
    else
        PUT_ONE_OF(to, bits, seed);
}

// What stands between two tokens; comments are tokens too.
static void put_gap(struct text *to, const uint8_t *was, size_t len, uint64_t *seed) {
    if (one_in(seed, 8) && (len > 0 || one_in(seed, 4)))
        PUT_ONE_OF(to, gaps, seed);
    else if (!one_in(seed, 40))
        put(to, was, len);
}

void oracle_vary(const struct text *from, struct text *to, uint64_t *seed) {
    PgQuery__ScanResult *r = scan(from);
    size_t at = 0;
    to->len = 0;
    for (size_t i = 0; r && i < r->n_tokens; i++) {
        const PgQuery__ScanToken *t = r->tokens[i];
        size_t start = (size_t)t->start, end = (size_t)t->end;
        if (start < at || end < start || end > from->len) break;
        put_gap(to, from->bytes + at, start - at, seed);
        put_constant(to, (int)t->token, from->bytes + start, end - start, seed);
        // A list may go on.
        while (is_constant((int)t->token) && one_in(seed, 10)) {
            put_str(to, one_in(seed, 2) ? "," : ", ");
            put_constant(to, (int)t->token, from->bytes + start, end - start, seed);
        }
        at = end;
    }
    if (r) pg_query__scan_result__free_unpacked(r, NULL);
    if (at < from->len) put(to, from->bytes + at, from->len - at);
}

void oracle_disturb(const struct text *from, struct text *to, uint64_t *seed) {
    PgQuery__ScanResult *r = scan(from);
    size_t at = 0, n = r ? r->n_tokens : 0, rate = 1 + below(seed, n + 1);
    to->len = 0;
    for (size_t i = 0; i < n; i++) {
        const PgQuery__ScanToken *t = r->tokens[i];
        size_t start = (size_t)t->start, end = (size_t)t->end;
        if (start < at || end < start || end > from->len) break;
        put(to, from->bytes + at, start - at);
        size_t what = one_in(seed, rate) ? below(seed, 5) : 9;
        if (what == 0 || what == 1) {
            PUT_ONE_OF(to, words, seed);
            put_str(to, one_in(seed, 3) ? "" : " ");
        }
        if (what != 1 && what != 2) put(to, from->bytes + start, end - start);
        if (what == 3) put(to, from->bytes + start, end - start);
        if (what == 4) {
            put_str(to, one_in(seed, 3) ? "" : " ");
            PUT_ONE_OF(to, words, seed);
        }
        at = end;
    }
    if (r) pg_query__scan_result__free_unpacked(r, NULL);
    if (at < from->len) put(to, from->bytes + at, from->len - at);
    if (n == 0 || one_in(seed, 10)) PUT_ONE_OF(to, words, seed);
}
