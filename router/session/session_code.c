// SPDX-License-Identifier: ISC
//
// router/session/session_code.c: functions and triggers that a client has just made.
//
// What a user's function may leave in its session the catalog tells (health/catalog_sql.c), and it is read again a
// moment after DDL. Until then the client that made the function is taken to run code of that kind with every write,
// and the parameters of applications that the text of its DDL names are those that the code may set.
#include "base/mem.h"
#include "parser/setting_names.h"
#include "router/session/pins.h"
#include "router/session/session_parts.h"

// Kept from the first CREATE of code to the catalog that knows of the last.
struct session_code {
    struct setting_names names;
    bool temporary; // some is in pg_temp, of which the catalog need not know: kept as long as there may be such
};

// What the DDL of code says somewhere. One word too many costs a question that need not be asked.
static bool speaks_of_code(struct span sql) {
    static const char *const words[] = {"function", "procedure", "trigger", "rule", "policy", "routine"};
    for (size_t i = 0; i < countof(words); i++)
        if (span_has_word(sql, words[i])) return true;
    return false;
}

static void on_text(void *arg, struct span sql) {
    struct session *s = arg;
    // Or what is made calls code that leaves something: the check of a domain, a default, an index.
    if (!speaks_of_code(sql) && !s->request.verdict.leaves) return;
    if (!s->code) {
        s->code = mem_new(struct session_code);
        setting_names_init(&s->code->names);
    }
    setting_names_add_body(&s->code->names, sql);
    s->code->temporary |= (s->request.verdict.facts & FACT_TEMP) != 0;
}

void session_note_code(struct session *s, struct span unit) { (void)session_each_text(s, unit, on_text, s); }

bool session_has_new_code(struct session *s) {
    const struct catalog *c = s->database->catalog;
    if (!s->code) return false;
    bool told = !s->ddl && c && s->ddl_us <= catalog_read_us(c);
    if (told && !(s->code->temporary && (s->pins & PIN_BIT(TEMP)))) session_forget_code(s);
    return s->code != NULL;
}

void session_put_code_names(const struct session *s, struct buf *names) {
    if (!s->code) return;
    buf_put_span(names, buf_span(&s->code->names.names));
    names->failed |= s->code->names.names.failed;
}

void session_forget_code(struct session *s) {
    if (!s->code) return;
    setting_names_release(&s->code->names);
    mem_free(s->code);
    s->code = NULL;
}
