// SPDX-License-Identifier: ISC
//
// tests/fuzz/server_login.c: what a server may say from the StartupMessage to the first ReadyForQuery.
//
// The first byte chooses what we have (password, keys, nothing) and whether the channel is private; the rest is the
// server's stream. However it goes: a password in clear leaves only on a private channel and only once, nothing is
// accepted while SCRAM is half done, a refusal has an SQLSTATE, and what is shown of it is UTF-8 without control
// characters.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/session/parameters.h"
#include "router/session/server_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct fault *f) {
    if (strlen(f->sqlstate) != 5) abort();
    for (const char *p = f->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) abort();
}

static bool holds(const struct buf *b, const char *what) {
    return buf_len(b) && memmem(b->data + b->head, buf_len(b), what, strlen(what));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    struct credentials who = {.user = (char[]){"web"}};
    bool private_channel = data[0] & 4;
    if (data[0] & 1) who.keys.set = true;
    if (data[0] & 2 && !secret_set(&who.password, span_str("s3cr3t-w0rd"))) abort();
    struct buf parameters = buf_make(PARAMETERS_MAX), out = buf_make(1 << 20);
    struct server_login l;
    server_login_init(&l, &who, private_channel, &parameters);
    struct span in = span_of(data + 1, size - 1);
    enum server_login_result r = SERVER_LOGIN_MORE;
    struct frame m;
    struct fault f;
    int clear = 0;
    while (r == SERVER_LOGIN_MORE && frame_next(FRAME_FROM_SERVER, in, &m, &f) == WIRE_OK) {
        enum server_login_phase before = l.phase;
        buf_clear(&out);
        r = server_login_message(&l, &m, &out, &f);
        clear += holds(&out, "s3cr3t-w0rd");
        if (clear > private_channel || out.failed) abort();
        bool halfway = before == SERVER_LOGIN_SASL_FIRST || before == SERVER_LOGIN_SASL_FINAL;
        if (halfway && l.phase == SERVER_LOGIN_ACCEPTED) abort();
        in = span_from(in, m.total);
    }
    if (r == SERVER_LOGIN_REFUSED || r == SERVER_LOGIN_BAD) check_text(&f);
    if (r == SERVER_LOGIN_READY && l.phase != SERVER_LOGIN_ACCEPTED) abort();
    struct cursor c = cursor_of(buf_span(&parameters));
    while (cursor_left(&c)) (void)cursor_cstr(&c);
    if (c.bad) abort();
    server_login_fini(&l);
    buf_release(&parameters);
    buf_release(&out);
    return 0;
}
