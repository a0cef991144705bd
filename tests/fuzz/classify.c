// SPDX-License-Identifier: ISC
// Any bytes to a verdict: no crash, a known kind and reason, and the same answer twice.
#include "base/base.h"
#include "parser/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct catalog *catalog;
    if (!catalog) {
        catalog = catalog_new("db");
        catalog_add_function(catalog, "public", "f", 1, 2, CATALOG_HARMLESS);
        catalog_add_volatile_operator(catalog, "public", "<=>");
        catalog_add_primary_relation(catalog, "public", "v");
    }
    // The stack here is 8 MiB, not the router's 64.
    for (int i = 0; i < 2; i++) {
        const struct classify_options options = {.max_length = 8192, .catalog = i ? catalog : NULL};
        struct verdict v = classify(span_of(data, size), &options), again = classify(span_of(data, size), &options);
        bug_unless(v.kind < VERDICT_KINDS && v.reason < VERDICT_REASONS_COUNT);
        bug_unless(v.kind == again.kind && v.reason == again.reason && v.facts == again.facts);
        // Nothing that changes something is ever a read, but by a hint, and that only for functions.
        bug_unless(v.kind != VERDICT_READ || !(v.facts & ~(uint32_t)(FACT_COPY_OUT | FACT_MULTI)));
    }
    return 0;
}
