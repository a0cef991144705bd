// SPDX-License-Identifier: ISC
// Masked-equal means verdict-equal, for any text and its variations; the forms seen are remembered for the whole run.
#include "tests/fuzz/mask_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct oracle *oracle;
    static struct text base, varied;
    if (!oracle) oracle = oracle_new();
    if (size > ORACLE_TEXT_MAX) return 0;
    memcpy(base.bytes, data, size);
    base.len = size;
    uint64_t seed = size * 0x9e3779b97f4a7c15u + (size ? data[size - 1] : 0);
    if (!oracle_check(oracle, span_of(base.bytes, base.len))) return 0;
    for (int i = 0; i < 4; i++) {
        oracle_vary(&base, &varied, &seed);
        (void)oracle_check(oracle, span_of(varied.bytes, varied.len));
    }
    return 0;
}

// Half of the new inputs are made of whole tokens.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    static struct text from, to;
    uint64_t state = seed;
    if (seed % 2 || size > ORACLE_TEXT_MAX) return LLVMFuzzerMutate(data, size, max_size);
    memcpy(from.bytes, data, size);
    from.len = size;
    oracle_disturb(&from, &to, &state);
    if (to.len > max_size) return LLVMFuzzerMutate(data, size, max_size);
    memcpy(data, to.bytes, to.len);
    return to.len;
}
