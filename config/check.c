// SPDX-License-Identifier: ISC
// config/check.c: what no single option can see: see load_check in config/load.h.
//
// Each function looks at one subject and notes what is wrong with it at the line of the option that is most likely to
// be changed: the one that was given. Values that hang on other options get their defaults here.
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/address.h"
#include "config/file.h"
#include "config/load.h"
#include "config/users.h"

enum { SOCKET_DIR_MAX = 92 }; // what sun_path leaves beside "/.s.PGSQL.65535" and a NUL
enum { HEADING_MAX = 400 };
enum { SERVERS_MAX = 64 }; // ROUTE_NODES_MAX: routing has a bit for each

static struct section *top(const struct load *l) { return l->sections[0]; }
static bool is_given(const struct load *l, const char *key) { return section_is_given(top(l), key); }

// The next section of a kind after `*i`, which starts at 0; NULL past the last.
static struct section *next_section(const struct load *l, enum option_section kind, size_t *i) {
    while (*i < l->n_sections) {
        struct section *s = l->sections[(*i)++];
        if (s->kind == kind) return s;
    }
    return NULL;
}

static void check_required(struct load *l) {
    for (size_t i = 0; i < l->n_sections; i++) {
        const struct section *s = l->sections[i];
        const struct option_row *o;
        for (size_t k = 0; !s->refused && (o = options_describe(k)) != NULL; k++) {
            if (o->section != s->kind || !(o->flags & OPTION_REQUIRED) || section_is_given(s, o->key)) continue;
            char heading[HEADING_MAX];
            bool named = s->name[0] != '\0';
            load_error(l, s->origin, named ? section_describe(s, heading, sizeof heading) : NULL, "%s is missing",
                       o->key);
        }
    }
}

// Defaults that hang on other options.
static void resolve_defaults(struct load *l) {
    struct config *c = l->config;
    // Without a file there is nobody to be told what is missing: pgsteer --server host=... must work.
    if (!l->path && !is_given(l, "auth_type") && !c->auth_file[0]) c->auth_type = AUTH_TYPE_TRUST;
    if (!is_given(l, "client_tls_sslmode") && c->client_tls_cert_file[0]) c->client_tls_sslmode = SSLMODE_PREFER;
    if (!is_given(l, "server_tls_sslmode") && c->server_tls_ca_file[0]) c->server_tls_sslmode = SSLMODE_VERIFY_FULL;
    if (c->max_lag_return == 0) c->max_lag_return = MAX_OF(c->max_lag / 2, 1);
    if (c->critical_lag == 0) c->critical_lag = 2 * c->max_lag;
}

// Pairs of options of [pgsteer] of which the first must not be more than the second.
static void check_order(struct load *l) {
    static const char *const pairs[][2] = {{"min_pool_size", "default_pool_size"},
                                           {"max_lag_return", "max_lag"},
                                           {"max_lag", "critical_lag"},
                                           {"fresh_interval", "health_interval"}};
    for (size_t i = 0; i < countof(pairs); i++) {
        const struct option_row *low = options_find(OPTION_SECTION_PGSTEER, pairs[i][0]);
        const struct option_row *high = options_find(OPTION_SECTION_PGSTEER, pairs[i][1]);
        int64_t at_least = option_get(low, l->config).number, at_most = option_get(high, l->config).number;
        if (at_least <= at_most) continue;
        bool blame_low = is_given(l, low->key);
        const struct option_row *wrong = blame_low ? low : high, *other = blame_low ? high : low;
        struct buf value = buf_make(100), limit = buf_make(100);
        option_print(wrong, l->config, &value);
        option_print(other, l->config, &limit);
        buf_put_u8(&value, 0);
        buf_put_u8(&limit, 0);
        section_error(l, top(l), wrong->key, "%s is %s than %s (%s)", (const char *)value.data,
                      blame_low ? "more" : "less", other->key, (const char *)limit.data);
        buf_release(&value);
        buf_release(&limit);
    }
}

// Listening.

static bool lists_address(const char *list, const char *wanted) {
    char item[ADDRESS_MAX];
    while (address_next(&list, item))
        if (!strcmp(item, "*") || !strcmp(item, wanted)) return true;
    return false;
}

static void check_listen(struct load *l) {
    const struct config *c = l->config;
    const char *list = c->listen_addr;
    char item[ADDRESS_MAX];
    while (address_next(&list, item))
        if (strcmp(item, "*") != 0 && !address_is_valid(item))
            section_error(l, top(l), "listen_addr", "\"%s\" is not an address", item);
    if (!c->listen_addr[0] && !c->unix_socket_dir[0])
        section_error(l, top(l), "listen_addr", "is empty, and so is unix_socket_dir: no client could connect");
    if (strlen(c->unix_socket_dir) > SOCKET_DIR_MAX)
        section_error(l, top(l), "unix_socket_dir", "%s is longer than %d bytes", c->unix_socket_dir, SOCKET_DIR_MAX);
    const char *http = c->http_addr;
    if (!http[0]) return;
    if (strcmp(http, "*") != 0 && !address_is_valid(http))
        section_error(l, top(l), "http_addr", "\"%s\" is not an address", http);
    bool shared = lists_address(c->listen_addr, http) || (c->listen_addr[0] && !strcmp(http, "*"));
    if (c->http_port == c->listen_port && shared)
        section_error(l, top(l), is_given(l, "http_port") ? "http_port" : "listen_port",
                      "http_port and listen_port are both %" PRId64 " on the same address", c->http_port);
}

// The first address that others can reach, written to `item`; NULL when there is none.
static const char *find_public_address(const struct config *c, char item[ADDRESS_MAX]) {
    const char *list = c->listen_addr;
    while (address_next(&list, item))
        if (!address_is_loopback(item)) return item;
    return NULL;
}

// Accounts and files.

// The account that this will run as: `user` when started as root. False when there is no such account.
static bool find_account(const struct config *c, uid_t *uid, gid_t *gid) {
    *uid = geteuid();
    *gid = getegid();
    if (*uid != 0 || !c->user[0]) return true;
    struct passwd entry, *found = NULL;
    char room[16384];
    if (getpwnam_r(c->user, &entry, room, sizeof room, &found) != 0 || !found) return false;
    *uid = entry.pw_uid;
    *gid = entry.pw_gid;
    return true;
}

// A file that root can read now, and the account cannot later, would spoil each reload.
static void warn_if_unreadable(struct load *l, const char *key, const char *path, uid_t uid, gid_t gid) {
    struct stat st;
    if (uid == geteuid() || stat(path, &st) != 0) return;
    bool readable = st.st_uid == uid ? st.st_mode & 0400 : st.st_gid == gid && st.st_mode & 0040;
    if (!readable)
        load_warning(l, "%s: %s cannot be read once this runs as user \"%s\": a reload would fail", key, path,
                     l->config->user);
}

// The files that an option names: each is there, and those with secrets are nobody else's business.
static void check_files(struct load *l) {
    static const struct {
        const char *key;
        bool secret;
    } files[] = {{"client_tls_key_file", true},
                 {"client_tls_cert_file", false},
                 {"client_tls_ca_file", false},
                 {"server_tls_key_file", true},
                 {"server_tls_cert_file", false},
                 {"server_tls_ca_file", false},
                 {"auth_file", true}};
    uid_t uid;
    gid_t gid;
    if (!find_account(l->config, &uid, &gid)) {
        section_error(l, top(l), "user", "there is no account \"%s\"", l->config->user);
        return;
    }
    // Root without `user` is only asked to check, and the files may be anybody's.
    uid_t owner = uid == 0 ? FILE_ANY_OWNER : uid;
    for (size_t i = 0; i < countof(files); i++) {
        const char *key = files[i].key;
        const char *path = option_get(options_find(OPTION_SECTION_PGSTEER, key), l->config).text;
        struct fault why;
        if (!path[0]) continue;
        if (!file_check(path, files[i].secret, owner, &why)) {
            section_error(l, top(l), key, "%s: %s", path, why.text);
        } else if (files[i].secret) {
            warn_if_unreadable(l, key, path, uid, gid);
        }
    }
}

// How clients log in.

static void check_auth(struct load *l) {
    struct config *c = l->config;
    char item[ADDRESS_MAX];
    const char *public = find_public_address(c, item);
    if (c->auth_type == AUTH_TYPE_TRUST) {
        if (public)
            section_error(l, top(l), is_given(l, "auth_type") ? "auth_type" : "listen_addr",
                          "auth_type = trust is for loopback addresses and Unix sockets only; listen_addr has %s",
                          public);
        load_warning(l, "auth_type = trust: whoever can connect from this machine may log in as any user");
    } else if (!c->auth_file[0]) {
        section_error(l, top(l), "auth_file", "is missing: auth_type = scram-sha-256 needs it");
    }
    if (public && c->client_tls_sslmode == SSLMODE_DISABLE)
        load_warning(
            l,
            "listen_addr has %s: what its clients send and get is not encrypted; give client_tls_cert_file and "
            "client_tls_key_file",
            public);
}

static void load_users(struct load *l) {
    struct config *c = l->config;
    struct fault why;
    if (c->auth_file[0]) c->users = users_load(c->auth_file, &why);
    if (c->auth_file[0] && !c->users) section_error(l, top(l), "auth_file", "%s", why.text);
    if (!c->users) c->users = users_empty();
    if (c->auth_type == AUTH_TYPE_SCRAM_SHA_256 && users_count(c->users) == 0)
        load_warning(l, "auth_file: %s has no user: nobody can log in", c->auth_file);
}

// One side's certificate and key.
static void check_tls_side(struct load *l, const char *mode_key, enum sslmode mode, const char *const keys[3],
                           const char *const values[3], bool need_cert) {
    enum { CERT, KEY, CA };
    if (!values[CERT][0] != !values[KEY][0]) {
        const char *have = values[CERT][0] ? keys[CERT] : keys[KEY], *lack = values[CERT][0] ? keys[KEY] : keys[CERT];
        section_error(l, top(l), have, "needs %s as well", lack);
    } else if (need_cert && mode != SSLMODE_DISABLE && !values[CERT][0]) {
        section_error(l, top(l), mode_key, "%s needs %s and %s", value_sslmode.words[mode], keys[CERT], keys[KEY]);
    }
    if (mode >= SSLMODE_VERIFY_CA && !values[CA][0])
        section_error(l, top(l), mode_key, "%s needs %s", value_sslmode.words[mode], keys[CA]);
}

static void check_tls(struct load *l) {
    static const char *const client_keys[] = {"client_tls_cert_file", "client_tls_key_file", "client_tls_ca_file"};
    static const char *const server_keys[] = {"server_tls_cert_file", "server_tls_key_file", "server_tls_ca_file"};
    const struct config *c = l->config;
    check_tls_side(l, "client_tls_sslmode", c->client_tls_sslmode, client_keys,
                   (const char *const[]){c->client_tls_cert_file, c->client_tls_key_file, c->client_tls_ca_file}, true);
    check_tls_side(l, "server_tls_sslmode", c->server_tls_sslmode, server_keys,
                   (const char *const[]){c->server_tls_cert_file, c->server_tls_key_file, c->server_tls_ca_file},
                   false);
}

// Who probes, when monitor_user or monitor_password is empty: see their help.
static void resolve_monitor(struct load *l) {
    struct config *c = l->config;
    const struct user *u = c->monitor_user[0] ? users_find(c->users, c->monitor_user) : users_first_plain(c->users);
    if (u && u->kind == USER_SECRET_PLAIN) {
        if (!c->monitor_user[0]) c->monitor_user = config_keep(c, mem_strdup(u->name));
        if (!c->monitor_password[0]) c->monitor_password = config_keep(c, mem_strdup((const char *)u->password.bytes));
    }
    if (c->monitor_user[0]) return;
    uid_t uid;
    gid_t gid;
    struct passwd entry, *found = NULL;
    char room[16384];
    bool known = find_account(c, &uid, &gid) && getpwuid_r(uid, &entry, room, sizeof room, &found) == 0 && found;
    c->monitor_user = config_keep(c, known ? mem_strdup(entry.pw_name) : mem_printf("%u", (unsigned)geteuid()));
    if (users_count(c->users) > 0 && !c->monitor_password[0])
        load_warning(l,
                     "monitor_user: auth_file has nobody with a password in plain text; the health checks log in as "
                     "\"%s\", without a password",
                     c->monitor_user);
}

// Health.

static void check_health(struct load *l) {
    const struct config *c = l->config;
    if (c->max_lag < c->health_interval)
        load_warning(l,
                     "max_lag is less than health_interval: replicas may be taken for late between two looks at them");
}

// Servers.

static void check_host(struct load *l, const struct section *s) {
    const char *host = ((const struct server_config *)s->object)->host;
    if (host[0] == '/' && strlen(host) > SOCKET_DIR_MAX) {
        section_error(l, s, "host", "a socket directory has at most %d bytes", SOCKET_DIR_MAX);
    } else if (host[0] != '/' && !address_is_valid(host)) {
        section_error(l, s, "host", "\"%s\" is neither an address nor a host name nor a directory that starts with /",
                      host);
    }
}

// pgsteer as one of its own servers would send each statement round and round.
static bool is_itself(const struct config *c, const struct server_config *server) {
    if (server->port != c->listen_port) return false;
    if (server->host[0] == '/') return !strcmp(server->host, c->unix_socket_dir);
    return lists_address(c->listen_addr, server->host) &&
           (address_is_loopback(server->host) || !lists_address(c->listen_addr, "*"));
}

// What a server must not have in common with an earlier one.
static void check_against(struct load *l, const struct section *s, const struct section *earlier) {
    const struct server_config *a = s->object, *b = earlier->object;
    char heading[HEADING_MAX];
    section_describe(earlier, heading, sizeof heading);
    if (!strcasecmp(a->host, b->host) && a->port == b->port)
        section_error(l, s, "host", "%s port %" PRId64 " is already %s", a->host, a->port, heading);
    if (a->role == SERVER_ROLE_PRIMARY && b->role == SERVER_ROLE_PRIMARY)
        section_error(l, s, "role", "is primary, as is that of %s: only one server can be", heading);
}

static void check_servers(struct load *l) {
    size_t i = 0, n = 0, n_replicas = 0;
    const struct section *s, *earlier;
    while ((s = next_section(l, OPTION_SECTION_SERVER, &i)) != NULL) {
        if (++n > SERVERS_MAX) section_error(l, s, "host", "is one server more than the %d there can be", SERVERS_MAX);
        if (((const struct server_config *)s->object)->role == SERVER_ROLE_REPLICA) n_replicas++;
        check_host(l, s);
        if (is_itself(l->config, s->object)) section_error(l, s, "host", "is where this listens itself");
        for (size_t k = 0; (earlier = next_section(l, OPTION_SECTION_SERVER, &k)) != s;) check_against(l, s, earlier);
    }
    struct origin nowhere = {ORIGIN_DEFAULT, 0};
    if (n == 0)
        load_error(l, nowhere, NULL,
                   l->path ? "there is no [server NAME] section"
                           : "there is no server: give --config FILE or --server \"host=...\"");
    if (n > 0 && n == n_replicas) load_warning(l, "every server has role = replica: nothing can be written");
}

// Databases and users.

static void check_databases(struct load *l) {
    const struct config *c = l->config;
    size_t i = 0;
    for (const struct section *s; (s = next_section(l, OPTION_SECTION_DATABASE, &i)) != NULL;) {
        const struct database_config *d = s->object;
        if (!strcmp(d->name, "*") && d->dbname[0])
            section_error(l, s, "dbname", "[database *] stands for many databases, which keep their names");
        if (d->pool_size < 0 && d->min_pool_size < 0) continue; // as in [pgsteer], where it has been checked
        int64_t size = d->pool_size < 0 ? c->default_pool_size : d->pool_size;
        int64_t min = d->min_pool_size < 0 ? c->min_pool_size : d->min_pool_size;
        if (min > size)
            section_error(l, s, d->min_pool_size < 0 ? "pool_size" : "min_pool_size",
                          "min_pool_size (%" PRId64 ") is more than the pool's size (%" PRId64 ")", min, size);
    }
}

// A user's own pool_size holds in every database.
static void check_users(struct load *l) {
    size_t i = 0;
    for (const struct section *s; (s = next_section(l, OPTION_SECTION_USER, &i)) != NULL;) {
        const struct user_config *u = s->object;
        size_t k = 0;
        for (const struct section *database; (database = next_section(l, OPTION_SECTION_DATABASE, &k)) != NULL;) {
            const struct database_config *d = database->object;
            int64_t min = d->min_pool_size < 0 ? l->config->min_pool_size : d->min_pool_size;
            if (u->pool_size < 0 || min <= u->pool_size) continue;
            section_error(l, s, "pool_size", "%" PRId64 " is less than the min_pool_size of database %s (%" PRId64 ")",
                          u->pool_size, d->name, min);
            break;
        }
    }
}

void load_check(struct load *l) {
    static void (*const checks[])(struct load *) = {check_order,  check_listen,    check_auth,
                                                    check_tls,    check_files,     check_servers,
                                                    check_health, check_databases, check_users};
    check_required(l);
    if (l->errors->n > 0) return; // what is not known yet cannot be compared
    resolve_defaults(l);
    load_imply_database(l);
    for (size_t i = 0; i < countof(checks); i++) checks[i](l);
    if (l->errors->n > 0) return;
    load_users(l);
    resolve_monitor(l);
}
