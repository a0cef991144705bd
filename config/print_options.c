// SPDX-License-Identifier: ISC
//
// config/print_options.c: the program that writes docs/options.md, to standard output.
#include "config/options.h"

int main(void) {
    options_print_markdown(stdout);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
