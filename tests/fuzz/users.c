// SPDX-License-Identifier: ISC
//
// tests/fuzz/users.c: the text of an auth_file, and of a SCRAM verifier.
//
// Whatever it is, it gives either users or a sentence about it, and a verifier that is taken is within its bounds.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fault fault = {.text = ""};
    struct users *u = users_parse(span_of(data, size), "users.txt", &fault);
    if (!u && strncmp(fault.text, "users.txt:", 10) != 0) abort();
    if (u) {
        const struct user *plain = users_first_plain(u);
        if (plain && (users_find(u, plain->name) != plain || plain->password.len == 0)) abort();
    }
    users_free(u);

    char *text = mem_strndup((const char *)data, size);
    struct scram_verifier v;
    if (scram_verifier_parse(text, &v) &&
        (v.iterations < 1 || v.iterations > 1000000 || v.salt_len < 1 || v.salt_len > SCRAM_SALT_MAX))
        abort();
    mem_free(text);
    return 0;
}
