// SPDX-License-Identifier: ISC
// Texts with equal masked forms have equal verdicts: the fuzzer's oracle with fixed seeds, for a few seconds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "tests/fuzz/mask_oracle.h"
#include "tests/unit/parser/big_stack.h"

enum { MAX_SEEDS = 2000 };

// Statements in which the place of a literal matters, beside those of statements.txt.
static const char *const more_seeds[] = {
    "select * from t where a in (1, 2, 3) and b in ('x', 'y')",
    "insert into t (a, b) values (1, 'x'), (2, 'y'), (3, 'z') returning a",
    "select f(1), f(1, 2), lower('a'), lower('a', 'b')",
    "select a.in(1, 2), a.values(1) from t as x where t.a in (select b from v where c in (1))",
    "select 1::float(5), 2::numeric(10, 2), interval '1' day, interval(3) '1', time(3) '10:00', bit(3) b'101'",
    "select set_config('a', 'b', true), set_config('search_path', 'pg_temp', false)",
    "select \"set_config\"('search_path', 'b', true), pg_catalog.\"set_config\" ('a', 'b', 't')",
    "select 1::float(5), 2::time(3), interval '1', date '2024-01-01', x::bit(3), t.a from t limit 1",
    "select position('a' in 'b'), overlay('a' placing 'b' from 1), extract('year' from d), (1, 2) overlaps (3, 4)",
    "select * from t limit 1 offset 2",
    "select * from t fetch first 5 rows only",
    "select case 1 when 2 then 3 else 4 end, array[1, 2], (array[1, 2])[1], a[1:2] from t",
    "values (1, 2), (3, 4) order by 1, 2 limit 5",
    "select x between 1 and 2, y like 'a' escape 'b', 'c' collate \"C\", n'x', $1 from t tablesample system (10)",
    "with a as (values (1), (2)) select * from a, (values ('x'), ('y')) v where a in (values (1), (2))",
    "update t set (a, b) = (1, 2), c = 'x' where d = -1 and e <=> 5",
    "merge into t using (values (1), (2)) u on t.a = 1 when matched and u.b in (1, 2) then update set a = 1",
    "select e'a', E'\\n', $$x$$, $a$y$a$, b'01', x'1f', 1.5, 1e5, 99999999999",
};

struct job {
    struct text *seeds;
    size_t n_seeds;
    double seconds;
    size_t checked, masked, compared;
};

static void add_seed(struct job *j, const char *sql) {
    size_t len = strlen(sql);
    if (j->n_seeds == MAX_SEEDS || len > 1000) return;
    struct text *t = &j->seeds[j->n_seeds++];
    t->len = len;
    memcpy(t->bytes, sql, len);
}

static void read_seeds(struct job *j) {
    char line[2000];
    FILE *f = fopen("tests/unit/parser/statements.txt", "r");
    bug_unless(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *sql = line;
        for (int bars = 0; sql && bars < 3; bars++)
            if ((sql = strchr(sql, '|'))) sql++;
        if (sql) add_seed(j, sql + 1);
    }
    fclose(f);
    // So often that they are as likely as all the others together.
    for (int times = 0; times < 40; times++)
        for (size_t i = 0; i < countof(more_seeds); i++) add_seed(j, more_seeds[i]);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *run(void *arg) {
    struct job *j = arg;
    struct oracle *o = oracle_new();
    struct text base, varied;
    double end = now() + j->seconds;
    // Each round has its own seed, so that a failure is found again whatever the machine's speed.
    for (uint64_t round = 0; now() < end; round++) {
        uint64_t seed = round * 0x9e3779b97f4a7c15u + 1;
        const struct text *from = &j->seeds[(seed >> 20) % j->n_seeds];
        if (round % 3)
            oracle_disturb(from, &base, &seed);
        else
            base = *from;
        j->masked += oracle_check(o, span_of(base.bytes, base.len));
        for (int i = 0; i < 6; i++) {
            oracle_vary(&base, &varied, &seed);
            j->masked += oracle_check(o, span_of(varied.bytes, varied.len));
        }
        j->checked += 7;
    }
    j->compared = oracle_compared(o);
    oracle_free(o);
    return NULL;
}

static void equal(void **state) {
    (void)state;
    const char *seconds = getenv("PGSTEER_MASK_SECONDS");
    struct job j = {.seeds = mem_array(MAX_SEEDS, struct text), .seconds = seconds ? atof(seconds) : 4};
    read_seeds(&j);
    on_big_stack(run, &j);
    print_message("%zu texts, %zu masked, %zu compared with an earlier one\n", j.checked, j.masked, j.compared);
    mem_free(j.seeds);
    // An oracle that compares nothing would be content with anything.
    assert_true(j.checked > 1000);
    assert_true(j.compared > j.checked / 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
