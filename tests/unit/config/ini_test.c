// SPDX-License-Identifier: ISC
// Tests of config/ini.h: every event with its line.
#include "tests/unit/config/check.h"

#include "config/ini.h"

// Writes events as "LINE [word|name]", "LINE key=value" and "LINE !error", a line each.
static void note_event(void *arg, const struct ini_event *e) {
    struct buf *out = arg;
    switch (e->kind) {
    case INI_SECTION: buf_printf(out, "%zu [%s|%s]\n", e->line, e->word, e->name); break;
    case INI_KEY: buf_printf(out, "%zu %s=%s\n", e->line, e->key, e->value); break;
    case INI_ERROR: buf_printf(out, "%zu !%s\n", e->line, e->error); break;
    }
}

static void expect_events(struct span text, const char *expected) {
    struct buf events = buf_make(SIZE_MAX);
    ini_read(text, note_event, &events);
    assert_string_equal(buf_text(&events), expected);
    buf_release(&events);
}

static void sections_keys_and_comments(void **state) {
    (void)state;
    expect_events(span_str("; first\n"
                           "# second\n"
                           "[pgsteer]\n"
                           "listen_addr = 127.0.0.1        ; also unix_socket_dir\n"
                           "\n"
                           "  indented = is its own key\n"
                           "\tworkers=0\t# all\n"
                           "a : b\n"
                           "empty =\n"
                           "empty_too = ; nothing\n"
                           "hash = a#b;c\n"
                           "equals = a = b\n"
                           "[server pg1]  ; the first\n"
                           "[ database   my db ]# a name with a blank\n"
                           "[database *]\n"
                           "[]\n"
                           "[user a;b]"),
                  "3 [pgsteer|]\n"
                  "4 listen_addr=127.0.0.1\n"
                  "6 indented=is its own key\n"
                  "7 workers=0\n"
                  "8 a=b\n"
                  "9 empty=\n"
                  "10 empty_too=\n"
                  "11 hash=a#b;c\n"
                  "12 equals=a = b\n"
                  "13 [server|pg1]\n"
                  "14 [database|my db]\n"
                  "15 [database|*]\n"
                  "16 [|]\n"
                  "17 [user|a;b]\n");
}

static void every_bad_line_is_reported(void **state) {
    (void)state;
    expect_events(span_str("[pgsteer\n"
                           "word\n"
                           "= value\n"
                           "two words = value\n"
                           "[a] b\n"
                           "ke-y = v\n"
                           "good = yes\n"
                           "; comment = only\n"
                           "word ; comment = only\n"
                           "bad\xff = x\n"
                           "bell = \a\n"
                           "last"),
                  "1 !the heading needs a ] at its end\n"
                  "2 !this line is neither a [section] nor key = value\n"
                  "3 !this line is neither a [section] nor key = value\n"
                  "4 !this line is neither a [section] nor key = value\n"
                  "5 !only a comment may follow the heading\n"
                  "6 !this line is neither a [section] nor key = value\n"
                  "7 good=yes\n"
                  "9 !this line is neither a [section] nor key = value\n"
                  "10 !this line is not valid UTF-8\n"
                  "11 !this line holds a control character\n"
                  "12 !this line is neither a [section] nor key = value\n");
}

static void line_ends_and_byte_order_mark(void **state) {
    (void)state;
    expect_events(span_str("\xef\xbb\xbf[pgsteer]\r\nworkers = 1\r\n\r\nuser = x \r\n"),
                  "1 [pgsteer|]\n2 workers=1\n4 user=x\n");
    expect_events(span_str("\xef\xbb\xbf\n\xef\xbb\xbf[a]\n"), "2 !this line is neither a [section] nor key = value\n");
    expect_events(span_str("a = b\rc = d\n"), "1 !this line holds a control character\n");
    expect_events(span_of("a = b\0\nc = d\n", 13), "1 !this line holds a control character\n2 c=d\n");
    expect_events(span_of("", 0), "");
    expect_events(span_of(NULL, 0), "");
    expect_events(span_str("\n\n\n"), "");
}

// A line of exactly the limit is whole; one byte more is refused, never cut; and the lines behind it keep their
// numbers.
static void long_lines(void **state) {
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        char text[INI_LINE_MAX + 100] = "key=";
        size_t len = INI_LINE_MAX + extra;
        memset(text + 4, 'v', len - 4);
        memcpy(text + len, "\nnext = 1\n", sizeof "\nnext = 1\n");
        struct buf expected = buf_make(SIZE_MAX);
        if (extra) {
            buf_printf(&expected, "1 !this line is longer than 4000 bytes\n2 next=1\n");
        } else {
            buf_printf(&expected, "1 %.*s\n2 next=1\n", (int)len, text);
        }
        expect_events(span_str(text), buf_text(&expected));
        buf_release(&expected);
    }
}

// libinih alone would cut these without a word.
static void long_names_are_whole(void **state) {
    (void)state;
    char text[400], expected[500], name[201];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(text, sizeof text, "[database %s]\n", name);
    snprintf(expected, sizeof expected, "1 [database|%s]\n", name);
    expect_events(span_str(text), expected);
    snprintf(text, sizeof text, "%s = 1\n", name);
    snprintf(expected, sizeof expected, "1 %s=1\n", name);
    expect_events(span_str(text), expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_keys_and_comments),    cmocka_unit_test(every_bad_line_is_reported),
        cmocka_unit_test(line_ends_and_byte_order_mark), cmocka_unit_test(long_lines),
        cmocka_unit_test(long_names_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
