// SPDX-License-Identifier: ISC
//
// tests/unit/admin/metrics_doc_test.c: docs/metrics.md is what the code prints.
//
// metrics_doc_test FILE compares; metrics_doc_test --write FILE writes the page anew.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/admin/prom.h"

static char *read_file(const char *path) {
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t cap = 0;
    if (f) {
        if (getdelim(&text, &cap, '\0', f) < 0) perror(path);
        fclose(f);
    } else {
        perror(path);
    }
    return text;
}

static int compare(const char *path) {
    char *printed = NULL;
    size_t len;
    FILE *f = open_memstream(&printed, &len);
    prom_print_markdown(f);
    fclose(f);
    char *committed = read_file(path);
    bool same = committed && !strcmp(committed, printed);
    if (!same)
        fprintf(stderr, "%s is not what the code says; write it anew: admin_metrics_doc_test --write %s\n", path, path);
    free(committed);
    free(printed);
    return !same;
}

int main(int argc, char **argv) {
    if (argc == 2) return compare(argv[1]);
    if (argc == 3 && !strcmp(argv[1], "--write")) {
        FILE *f = fopen(argv[2], "w");
        if (!f) return perror(argv[2]), 1;
        prom_print_markdown(f);
        return fclose(f) != 0;
    }
    fprintf(stderr, "usage: %s [--write] FILE\n", argv[0]);
    return 2;
}
