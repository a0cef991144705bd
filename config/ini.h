// SPDX-License-Identifier: ISC
//
// config/ini.h: the text of a configuration file as a sequence of events; the only user of libinih.
//
// libinih splits a line into key and value and cuts the comment. It cuts long section names without a word, gives no
// line numbers, joins indented lines to the one before and reports only the first bad line; so it is fed one line at a
// time by the code here, which counts the lines, reads the headings itself and knows which line got no answer. Knows
// nothing of options.
#ifndef PGSTEER_CONFIG_INI_H
#define PGSTEER_CONFIG_INI_H

#include "base/span.h"

enum { INI_LINE_MAX = 4000 }; // bytes, without the line's end

enum ini_event_kind { INI_SECTION, INI_KEY, INI_ERROR };

// The strings live until the callback returns.
struct ini_event {
    enum ini_event_kind kind;
    size_t line;             // from 1
    const char *word, *name; // INI_SECTION: `[word name]`; name is "" when there is none
    const char *key, *value; // INI_KEY: key is one word of letters, digits and _; value may be ""
    const char *error;       // INI_ERROR: a sentence about the line
};

// Calls `on_event` for each heading, key and bad line, in order. Accepts UTF-8 with or without a BOM, LF and CRLF.
void ini_read(struct span text, void (*on_event)(void *arg, const struct ini_event *e), void *arg);

#endif
