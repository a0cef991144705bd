// SPDX-License-Identifier: ISC
//
// bench_classify: what a verdict costs, and how often it is known already.
//
//     bench_classify [--json] tests/bench/statements.txt
//
// Each figure comes from texts that are drawn from the corpus. A hit is timed in loops, since it is shorter than the
// clock is sharp; a new text on its own, with a cache of one entry, so that each text throws out the one before it.
// Beside it stands what libpg_query takes for the same text when it does nothing but parse it: every text is taken in
// many passes, and its fastest counts, so that a busy machine does not matter much. tools/bench-classify runs it.
#include <inttypes.h>
#include <pg_query.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "parser/verdicts.h"
#include "tests/bench/corpus.h"

enum {
    TEXT_CAP = 16384,
    LOOP = 500,  // hits that are timed together
    PASSES = 40, // of which the fastest counts
    SHORT_MAX = 500,
    DRAWS = 200000, // for the hit rates
};

struct text {
    char *sql;
    size_t len;
    double hit_us, miss_us, parse_us;
};

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The value that `percent` of them do not exceed.
static double percentile(double *values, size_t count, size_t percent) {
    if (count == 0) return 0;
    qsort(values, count, sizeof *values, by_number);
    return values[MIN_OF(count - 1, count * percent / 100)];
}

static void keep_least(double *least, double value) {
    if (*least == 0 || value < *least) *least = value;
}

static struct text *draw_texts(const struct corpus *c) {
    struct text *texts = mem_array(c->count, struct text);
    char out[TEXT_CAP];
    uint64_t state = 42;
    for (size_t i = 0; i < c->count; i++) {
        texts[i].len = corpus_draw(&c->shapes[i], &state, out, sizeof out);
        texts[i].sql = mem_alloc(texts[i].len + 1);
        memcpy(texts[i].sql, out, texts[i].len + 1);
    }
    return texts;
}

static struct verdict ask(struct verdicts *v, const struct text *t) {
    return verdicts_get(v, span_of(t->sql, t->len), true);
}

static void time_hits(struct text *texts, size_t count) {
    struct verdicts *v = verdicts_new(10000, 65536);
    for (size_t i = 0; i < count; i++) (void)ask(v, &texts[i]);
    for (int pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < count; i++) {
            double began = now_us();
            for (int n = 0; n < LOOP; n++) (void)ask(v, &texts[i]);
            keep_least(&texts[i].hit_us, (now_us() - began) / LOOP);
        }
    verdicts_free(v);
}

static void time_misses(struct text *texts, size_t count) {
    struct verdicts *v = verdicts_new(1, 65536);
    for (int pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < count; i++) {
            double began = now_us();
            (void)ask(v, &texts[i]);
            keep_least(&texts[i].miss_us, now_us() - began);
        }
    if (verdicts_get_stats(v).hits > 0) {
        fprintf(stderr, "two neighbours in the corpus have one masked form\n");
        exit(1);
    }
    verdicts_free(v);
}

static void time_parser(struct text *texts, size_t count) {
    for (int pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < count; i++) {
            double began = now_us();
            PgQueryProtobufParseResult r = pg_query_parse_protobuf(texts[i].sql);
            pg_query_free_protobuf_parse_result(r);
            keep_least(&texts[i].parse_us, now_us() - began);
        }
}

// The share of texts whose verdict was known, of many that are drawn from one group.
static double hit_rate(const struct corpus *c, const char *group) {
    struct verdicts *v = verdicts_new(10000, 65536);
    const struct shape *shapes[256];
    size_t count = 0;
    char out[TEXT_CAP];
    uint64_t state = 4711;
    for (size_t i = 0; i < c->count && count < countof(shapes); i++)
        if (strcmp(c->shapes[i].group, group) == 0) shapes[count++] = &c->shapes[i];
    for (size_t i = 0; i < DRAWS && count > 0; i++)
        (void)verdicts_get(v, span_of(out, corpus_draw(shapes[i % count], &state, out, sizeof out)), true);
    struct verdicts_stats stats = verdicts_get_stats(v);
    verdicts_free(v);
    return (double)stats.hits / (double)MAX_OF(stats.hits + stats.misses, 1);
}

struct figures {
    double hit, hit_p99, hit_long, miss, parse, ratio, ratio_p99, ratio_all;
};

static struct figures add_up(const struct text *texts, size_t count) {
    struct figures f = {0};
    double *hits = mem_array(count, double), *longer = mem_array(count, double), *ratios = mem_array(count, double);
    double *misses = mem_array(count, double), *parses = mem_array(count, double), all_miss = 0, all_parse = 0;
    size_t n_short = 0, n_long = 0;
    for (size_t i = 0; i < count; i++) {
        if (texts[i].len <= SHORT_MAX)
            hits[n_short++] = texts[i].hit_us;
        else
            longer[n_long++] = texts[i].hit_us;
        ratios[i] = texts[i].miss_us / texts[i].parse_us;
        all_miss += misses[i] = texts[i].miss_us;
        all_parse += parses[i] = texts[i].parse_us;
    }
    f.hit = percentile(hits, n_short, 50), f.hit_p99 = percentile(hits, n_short, 99);
    f.hit_long = percentile(longer, n_long, 50);
    f.miss = percentile(misses, count, 50), f.parse = percentile(parses, count, 50);
    f.ratio = percentile(ratios, count, 50), f.ratio_p99 = percentile(ratios, count, 99);
    f.ratio_all = all_miss / all_parse;
    mem_free(hits), mem_free(longer), mem_free(ratios), mem_free(misses), mem_free(parses);
    return f;
}

static void print(bool json, const struct corpus *c, const struct figures *f) {
    const struct {
        const char *key, *text;
        double value;
    } rows[] = {
        {"statements", "statements in the corpus", (double)c->count},
        {"hit_us", "known, up to 500 bytes, median, microseconds", f->hit},
        {"hit_p99_us", "known, up to 500 bytes, p99, microseconds", f->hit_p99},
        {"hit_long_us", "known, longer, median, microseconds", f->hit_long},
        {"miss_us", "new, median, microseconds", f->miss},
        {"parse_us", "pg_query_parse_protobuf alone, median, microseconds", f->parse},
        {"miss_ratio", "new against pg_query_parse_protobuf, median", f->ratio},
        {"miss_ratio_p99", "new against pg_query_parse_protobuf, p99", f->ratio_p99},
        {"miss_ratio_all", "new against pg_query_parse_protobuf, all together", f->ratio_all},
        {"pgbench_hits", "share known, pgbench in simple mode", hit_rate(c, "pgbench")},
        {"orm_hits", "share known, ORM-like with literals in the text", hit_rate(c, "orm")},
    };
    for (size_t i = 0; i < countof(rows); i++)
        if (json)
            printf("%s\"%s\": %.6g%s", i ? " " : "{", rows[i].key, rows[i].value, i + 1 < countof(rows) ? "," : "}\n");
        else
            printf("%12.5g  %s\n", rows[i].value, rows[i].text);
}

int main(int argc, char **argv) {
    bool json = argc == 3 && strcmp(argv[1], "--json") == 0;
    if (argc != 2 + json) {
        fprintf(stderr, "usage: bench_classify [--json] CORPUS\n");
        return 2;
    }
    struct corpus c = corpus_read(argv[argc - 1]);
    struct text *texts = draw_texts(&c);
    time_hits(texts, c.count);
    time_misses(texts, c.count);
    time_parser(texts, c.count);
    struct figures f = add_up(texts, c.count);
    print(json, &c, &f);
    for (size_t i = 0; i < c.count; i++) mem_free(texts[i].sql);
    mem_free(texts);
    corpus_free(&c);
    return 0;
}
