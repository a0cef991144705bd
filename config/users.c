// SPDX-License-Identifier: ISC
// config/users.c: see config/users.h. Each user has memory of its own, so that no copy of a secret is left behind when
// an array grows or is sorted.
#include "config/users.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/mem.h"
#include "config/file.h"
#include "config/values.h"

enum { USERS_FILE_MAX = 16 << 20, USER_NAME_MAX = 63, SCRAM_ITERATIONS_LIMIT = 1000000 };

struct entry {
    struct user user;
    size_t line;
};

struct users {
    struct entry **entries; // by name, once all are there
    size_t n;
    const struct user *first_plain;
    struct scram_shape shape;
};

struct users *users_empty(void) {
    struct users *u = mem_new(struct users);
    u->shape = scram_shape_default();
    return u;
}

void users_free(struct users *u) {
    if (!u) return;
    for (size_t i = 0; i < u->n; i++) {
        struct entry *e = u->entries[i];
        mem_free(e->user.name);
        explicit_bzero(e, sizeof *e);
        mem_free(e);
    }
    mem_free(u->entries);
    mem_free(u);
}

size_t users_count(const struct users *u) { return u->n; }
const struct user *users_first_plain(const struct users *u) { return u->first_plain; }
struct scram_shape users_scram_shape(const struct users *u) {
    return u->shape;
}

static int compare_name(const void *name, const void *entry) {
    return strcmp(name, (*(struct entry *const *)entry)->user.name);
}

const struct user *users_find(const struct users *u, const char *name) {
    struct entry **found = u->n ? bsearch(name, u->entries, u->n, sizeof *u->entries, compare_name) : NULL;
    return found ? &(*found)->user : NULL;
}

// Decodes a base64 text of exactly `n` bytes.
static bool decode_key(const char *text, size_t text_len, uint8_t *out, size_t n) {
    size_t len;
    return base64_decode(span_of(text, text_len), out, n, &len) && len == n;
}

bool scram_verifier_parse(const char *text, struct scram_verifier *out) {
    static const char prefix[] = "SCRAM-SHA-256$";
    *out = (struct scram_verifier){0};
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) return false;
    const char *p = text + sizeof prefix - 1;
    for (; *p >= '0' && *p <= '9' && out->iterations <= SCRAM_ITERATIONS_LIMIT; p++)
        out->iterations = out->iterations * 10 + (uint32_t)(*p - '0');
    if (*p++ != ':' || out->iterations < 1 || out->iterations > SCRAM_ITERATIONS_LIMIT) return false;
    size_t salt_text = strcspn(p, "$"), salt_len;
    if (!base64_decode(span_of(p, salt_text), out->salt, sizeof out->salt, &salt_len) || salt_len == 0) return false;
    out->salt_len = (uint8_t)salt_len;
    p += salt_text;
    if (*p++ != '$') return false;
    size_t stored_text = strcspn(p, ":");
    if (!decode_key(p, stored_text, out->stored_key, SCRAM_KEY_LEN)) return false;
    p += stored_text;
    return *p == ':' && decode_key(p + 1, strlen(p + 1), out->server_key, SCRAM_KEY_LEN);
}

// A hash as PostgreSQL keeps it: "md5" and 32 digits. Anything else that starts so is a password.
static bool is_md5_hash(const char *s) {
    return !strncmp(s, "md5", 3) && strlen(s) == 35 && strspn(s + 3, "0123456789abcdef") == 32;
}

static void skip_blanks(struct span *s) {
    while (s->len && (s->ptr[0] == ' ' || s->ptr[0] == '\t')) *s = span_from(*s, 1);
}

// Takes a string between double quotes off the front of `s`. Answers what is wrong, or NULL. `out` has room for `size`
// bytes, of which the last is for a NUL.
static const char *read_string(struct span *s, char *out, size_t size) {
    skip_blanks(s);
    if (!s->len || s->ptr[0] != '"') return "must stand between double quotes";
    size_t n = 0, i = 1;
    for (;; i++) {
        if (i >= s->len) return "has no closing double quote";
        if (s->ptr[i] == '\0') return "holds a NUL byte";
        if (s->ptr[i] == '"' && (++i >= s->len || s->ptr[i] != '"')) break;
        if (n + 1 >= size) return "is too long";
        out[n++] = (char)s->ptr[i];
    }
    out[n] = '\0';
    *s = span_from(*s, i);
    return NULL;
}

// Sorts a secret into its kind. Answers what is wrong with it, or NULL.
static const char *set_secret(struct user *u, const char *text) {
    if (is_md5_hash(text))
        return "has an md5 hash: a SCRAM login can neither be checked with it nor made to a server; give the password, "
               "or "
               "the SCRAM-SHA-256 verifier that pg_authid.rolpassword holds once the password has been set anew";
    if (!strncmp(text, "SCRAM-SHA-256$", 14)) {
        u->kind = USER_SECRET_SCRAM;
        if (scram_verifier_parse(text, &u->verifier)) return NULL;
        return "has a damaged verifier: it must be SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey";
    }
    u->kind = text[0] ? USER_SECRET_PLAIN : USER_SECRET_NONE;
    return secret_set(&u->password, span_str(text)) ? NULL : "has a password that is too long";
}

// A line with something on it. True and an entry in `u`, or false and a fault without the path.
static bool parse_line(struct users *u, struct span line, size_t number, struct fault *fault) {
    char name[USER_NAME_MAX + 1], text[SECRET_MAX];
    const char *bad = read_string(&line, name, sizeof name);
    if (!bad && !name[0]) bad = "is empty";
    if (bad) return fault_set(fault, CONFIG_SQLSTATE, "the user name %s", bad);
    bad = read_string(&line, text, sizeof text);
    if (bad) {
        explicit_bzero(text, sizeof text);
        return fault_set(fault, CONFIG_SQLSTATE, "the password or verifier of \"%s\" %s", name, bad);
    }
    struct entry *e = mem_new(struct entry);
    e->line = number;
    e->user.name = mem_strdup(name);
    u->entries[u->n++] = e;
    bad = set_secret(&e->user, text);
    explicit_bzero(text, sizeof text);
    if (bad) return fault_set(fault, CONFIG_SQLSTATE, "\"%s\" %s", name, bad);
    skip_blanks(&line);
    if (line.len && line.ptr[0] != ';' && line.ptr[0] != '#')
        return fault_set(fault, CONFIG_SQLSTATE,
                         "something follows the two strings of \"%s\": a double quote within a string is written twice",
                         name);
    if (!u->first_plain && e->user.kind == USER_SECRET_PLAIN) u->first_plain = &e->user;
    return true;
}

// Takes the next line off `text`, without its end and leading blanks.
static struct span next_line(struct span *text) {
    const uint8_t *lf = memchr(text->ptr, '\n', text->len);
    struct span line = span_first(*text, lf ? (size_t)(lf - text->ptr) : text->len);
    *text = span_from(*text, line.len + 1);
    if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
    skip_blanks(&line);
    return line;
}

static int compare_entries(const void *a, const void *b) {
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    int order = strcmp(x->user.name, y->user.name);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

// Orders the users; false and a fault when one is there twice.
static bool sort_users(struct users *u, const char *path, struct fault *fault) {
    if (u->n) qsort(u->entries, u->n, sizeof *u->entries, compare_entries);
    for (size_t i = 1; i < u->n; i++) {
        const struct entry *first = u->entries[i - 1], *second = u->entries[i];
        if (strcmp(first->user.name, second->user.name) != 0) continue;
        return fault_set(fault, CONFIG_SQLSTATE, "%s:%zu: user \"%s\" is already in line %zu", path, second->line,
                         second->user.name, first->line);
    }
    return true;
}

static int compare_shapes(const void *a, const void *b) {
    const struct scram_shape *x = a, *y = b;
    if (x->iterations != y->iterations) return x->iterations < y->iterations ? -1 : 1;
    return x->salt_len - y->salt_len;
}

static void find_shape(struct users *u) {
    struct scram_shape *all = mem_array(u->n + 1, struct scram_shape);
    size_t n = 0, most = 0;
    for (size_t i = 0; i < u->n; i++) {
        const struct user *user = &u->entries[i]->user;
        if (user->kind != USER_SECRET_SCRAM) continue;
        all[n++] = (struct scram_shape){user->verifier.iterations, user->verifier.salt_len};
    }
    qsort(all, n, sizeof *all, compare_shapes);
    for (size_t i = 0, first = 0; i < n; i++) {
        if (compare_shapes(&all[first], &all[i]) != 0) first = i;
        if (i - first + 1 <= most) continue;
        most = i - first + 1;
        u->shape = all[i];
    }
    mem_free(all);
}

static size_t count_lines(struct span text) {
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++) n += text.ptr[i] == '\n';
    return n;
}

struct users *users_parse(struct span text, const char *path, struct fault *fault) {
    struct users *u = users_empty();
    u->entries = mem_array(count_lines(text), struct entry *);
    if (text.len >= 3 && !memcmp(text.ptr, "\xef\xbb\xbf", 3)) text = span_from(text, 3); // a byte order mark
    for (size_t number = 1; text.len; number++) {
        struct span line = next_line(&text);
        struct fault why;
        if (!line.len || line.ptr[0] == ';' || line.ptr[0] == '#' || parse_line(u, line, number, &why)) continue;
        fault_set(fault, CONFIG_SQLSTATE, "%s:%zu: %s", path, number, why.text);
        users_free(u);
        return NULL;
    }
    if (!sort_users(u, path, fault)) {
        users_free(u);
        return NULL;
    }
    find_shape(u);
    return u;
}

struct users *users_load(const char *path, struct fault *fault) {
    struct buf text;
    struct stat st;
    struct fault why;
    struct users *u = NULL;
    uid_t owner = geteuid() == 0 ? FILE_ANY_OWNER : geteuid();
    if (file_read(path, USERS_FILE_MAX, &text, &st, &why) && file_is_private(&st, owner, &why)) {
        u = users_parse(buf_span(&text), path, fault);
    } else {
        fault_set(fault, CONFIG_SQLSTATE, "%s: %s", path, why.text);
    }
    if (text.data) explicit_bzero(text.data, text.cap);
    buf_release(&text);
    return u;
}
