// SPDX-License-Identifier: ISC
// Tests of config/config.h: whole configurations, what is wrong with them to the word, and what a reload sees.
#include "tests/unit/config/check.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/users.h"

static char folder[] = "/tmp/pgsteer-config-XXXXXX";
static char file_path[64]; // the configuration

static void write_file(const char *name, const char *text, mode_t mode) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

static int make_files(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(file_path, sizeof file_path, "%s/pgsteer.ini", folder);
    write_file("users.txt", "\"checker\" \"secret\"\n\"other\" \"another\"\n", 0600);
    write_file("open.txt", "\"checker\" \"secret\"\n", 0644);
    write_file("bad.txt", "\"checker\" secret\n", 0600);
    write_file("none.txt", "; nobody yet\n", 0600);
    write_file("key.pem", "key\n", 0600);
    write_file("cert.pem", "cert\n", 0644);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    static const char *const names[] = {"users.txt", "open.txt", "bad.txt",    "none.txt",
                                        "key.pem",   "cert.pem", "pgsteer.ini"};
    for (size_t i = 0; i < countof(names); i++) {
        char path[100];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static struct config *must_load(const char *text) {
    struct config_errors errors = {0};
    struct config *c = config_load_text(file_path, span_str(text), NULL, 0, &errors);
    if (!c) fail_msg("%s", errors.texts[0]);
    return c;
}

// Every error of `text`, a line each, without the folder.
static void refuses(const char *text, const char *expected) {
    struct config_errors errors = {0};
    struct buf all = buf_make(SIZE_MAX);
    struct config *c = config_load_text(file_path, span_str(text), NULL, 0, &errors);
    for (size_t i = 0; i < errors.n; i++) {
        const char *p = errors.texts[i], *at;
        while ((at = strstr(p, folder)) != NULL) {
            buf_put(&all, p, (size_t)(at - p));
            p = at + strlen(folder) + 1;
        }
        buf_printf(&all, "%s\n", p);
    }
    assert_string_equal(buf_text(&all), expected);
    assert_null(c);
    buf_release(&all);
    config_errors_release(&errors);
}

static bool warns_of(const struct config *c, const char *part) {
    for (size_t i = 0; i < c->n_warnings; i++)
        if (strstr(c->warnings[i], part)) return true;
    return false;
}

// The example that the documentation shows, with its comments.
static const char example[] =
    "[pgsteer]\n"
    "listen_addr = 127.0.0.1        ; also unix_socket_dir\n"
    "listen_port = 6432\n"
    "http_addr = 127.0.0.1\n"
    "http_port = 8432\n"
    "auth_type = scram-sha-256      ; trust is allowed on loopback and unix sockets, with a warning\n"
    "auth_file = users.txt\n"
    "pool_mode = transaction\n"
    "default_pool_size = 20\n"
    "max_client_conn = 10000\n"
    "workers = 0                    ; 0 = one per core\n"
    "consistency = session\n"
    "max_lag = 60s\n"
    "[server pg1]\n"
    "host = 10.0.0.1\n"
    "port = 5432                    ; role = auto unless given\n"
    "[server pg2]\n"
    "host = 10.0.0.2\n"
    "weight = 2\n"
    "[database *]                   ; any database of the servers, under its own name\n";

static void the_example(void **state) {
    (void)state;
    write_file("pgsteer.ini", example, 0644);
    struct fault fault = {.text = ""};
    struct config *c = config_load(file_path, NULL, 0, &fault);
    if (!c) fail_msg("%s", fault.text);
    assert_string_equal(c->listen_addr, "127.0.0.1");
    assert_int_equal(c->auth_type, AUTH_TYPE_SCRAM_SHA_256);
    assert_int_equal(c->max_lag, 60000);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->n_servers, 2);
    assert_string_equal(c->servers[0].name, "pg1");
    assert_string_equal(c->servers[0].host, "10.0.0.1");
    assert_int_equal(c->servers[0].weight, 1);
    assert_int_equal(c->servers[0].role, SERVER_ROLE_AUTO);
    assert_int_equal(c->servers[0].line, 14);
    assert_string_equal(c->servers[1].name, "pg2");
    assert_int_equal(c->servers[1].port, 5432);
    assert_int_equal(c->servers[1].weight, 2);
    assert_int_equal(c->servers[1].line, 17);
    assert_int_equal(c->n_databases, 1);
    assert_int_equal(users_count(c->users), 2);
    assert_string_equal(c->path, file_path);
    assert_int_equal(c->n_warnings, 0);
    config_unref(c);
}

#define LEAST "[server a]\nhost = h\n[pgsteer]\nauth_file = users.txt\n"

static void defaults(void **state) {
    (void)state;
    struct config *c = must_load(LEAST);
    assert_string_equal(c->listen_addr, "127.0.0.1");
    assert_int_equal(c->listen_port, 6432);
    assert_string_equal(c->unix_socket_dir, "");
    assert_int_equal(c->unix_socket_mode, 0770);
    assert_string_equal(c->http_addr, "127.0.0.1");
    assert_int_equal(c->http_port, 8432);
    assert_int_equal(c->max_client_conn, 10000);
    assert_int_equal(c->client_tls_sslmode, SSLMODE_DISABLE);
    assert_int_equal(c->server_tls_sslmode, SSLMODE_PREFER);
    assert_int_equal(c->client_login_timeout, 60000);
    assert_int_equal(c->server_connect_timeout, 5000);
    assert_int_equal(c->server_lifetime, 3600000);
    assert_int_equal(c->server_idle_timeout, 600000);
    assert_int_equal(c->server_login_retry, 1000);
    assert_int_equal(c->cancel_wait_timeout, 5000);
    assert_int_equal(c->pool_mode, POOL_MODE_TRANSACTION);
    assert_int_equal(c->default_pool_size, 20);
    assert_int_equal(c->min_pool_size, 0);
    assert_int_equal(c->reserve_pool_size, 10);
    assert_int_equal(c->reserve_pool_timeout, 5000);
    assert_int_equal(c->query_wait_timeout, 30000);
    assert_int_equal(c->client_idle_timeout, 0);
    assert_int_equal(c->idle_transaction_timeout, 0);
    assert_int_equal(c->max_prepared_statements, 1000);
    assert_int_equal(c->max_client_prepared_statements, 10000);
    assert_int_equal(c->max_exchange_size, 262144);
    assert_int_equal(c->consistency, CONSISTENCY_SESSION);
    assert_int_equal(c->balance, BALANCE_ROUND_ROBIN);
    assert_int_equal(c->verdict_cache_size, 10000);
    assert_int_equal(c->max_parse_length, 65536);
    assert_int_equal(c->health_interval, 1000);
    assert_int_equal(c->health_timeout, 1000);
    assert_int_equal(c->fresh_interval, 10);
    assert_int_equal(c->health_failures, 2);
    assert_int_equal(c->max_lag, 60000);
    assert_int_equal(c->max_lag_return, 30000);
    assert_int_equal(c->critical_lag, 120000);
    assert_int_equal(c->catalog_interval, 60000);
    assert_string_equal(c->monitor_database, "postgres");
    assert_string_equal(c->log_level, "info");
    assert_string_equal(c->log_format, "text");
    assert_false(c->log_connections);
    assert_int_equal(c->shutdown_timeout, 30000);
    config_unref(c);
}

static void defaults_that_follow(void **state) {
    (void)state;
    struct config *c = must_load(LEAST "max_lag = 3s\nhealth_interval = 100ms\n");
    assert_int_equal(c->max_lag_return, 1500);
    assert_int_equal(c->critical_lag, 6000);
    config_unref(c);
    c = must_load(LEAST "max_lag = 10min\n");
    assert_int_equal(c->critical_lag, 1200000);
    config_unref(c);
    c = must_load(LEAST "max_lag = 1ms\n");
    assert_int_equal(c->max_lag_return, 1);
    assert_true(warns_of(c, "max_lag is less than health_interval"));
    config_unref(c);
    c = must_load(LEAST
                  "client_tls_cert_file = cert.pem\nclient_tls_key_file = key.pem\nserver_tls_ca_file = cert.pem\n");
    assert_int_equal(c->client_tls_sslmode, SSLMODE_PREFER);
    assert_int_equal(c->server_tls_sslmode, SSLMODE_VERIFY_FULL);
    config_unref(c);
    c = must_load(LEAST "client_tls_cert_file = cert.pem\nclient_tls_key_file = key.pem\nclient_tls_sslmode = disable\n"
                        "server_tls_ca_file = cert.pem\nserver_tls_sslmode = require\n");
    assert_int_equal(c->client_tls_sslmode, SSLMODE_DISABLE);
    assert_int_equal(c->server_tls_sslmode, SSLMODE_REQUIRE);
    config_unref(c);
}

// A path of the file is relative to the file; elsewhere it is taken as it is.
static void paths(void **state) {
    (void)state;
    char expected[100];
    struct config *c = must_load(LEAST "unix_socket_dir = run/sockets\n");
    snprintf(expected, sizeof expected, "%s/run/sockets", folder);
    assert_string_equal(c->unix_socket_dir, expected);
    snprintf(expected, sizeof expected, "%s/users.txt", folder);
    assert_string_equal(c->auth_file, expected);
    config_unref(c);
    c = must_load(LEAST "unix_socket_dir = /run/x\n");
    assert_string_equal(c->unix_socket_dir, "/run/x");
    config_unref(c);
    setenv("PGSTEER_UNIX_SOCKET_DIR", "here", 1);
    c = must_load(LEAST);
    assert_string_equal(c->unix_socket_dir, "here");
    config_unref(c);
    unsetenv("PGSTEER_UNIX_SOCKET_DIR");
}

// The text of a file, and all its errors.
static const char *const bad_files[][2] = {
    // syntax
    {"max_lag = 1s\n" LEAST, "pgsteer.ini:1: max_lag: stands before the first section\n"},
    {LEAST "what\n[oops\n", "pgsteer.ini:5: this line is neither a [section] nor key = value\n"
                            "pgsteer.ini:6: the heading needs a ] at its end\n"},
    {LEAST "workers = 1\nworkers = 2\n", "pgsteer.ini:6: workers: is already given in line 5\n"},
    {LEAST "max_lga = 1s\n", "pgsteer.ini:5: max_lga: is not an option of [pgsteer]; did you mean max_lag?\n"},
    {LEAST "Workers = 1\n", "pgsteer.ini:5: Workers: is not an option of [pgsteer]; did you mean workers?\n"},
    {LEAST "server_reset_query = x\n", "pgsteer.ini:5: server_reset_query: is not an option of [pgsteer]\n"},
    {LEAST "weight = 1\n", "pgsteer.ini:5: weight: is not an option of [pgsteer] but of [server NAME]\n"},
    {LEAST "[server b]\nhost = b\nmax_lag = 5\n",
     "pgsteer.ini:7: max_lag: is not an option of [server] but of [pgsteer]\n"},
    {LEAST "max_lag = soon\nworkers = 2000\nlog_level = loud\n",
     "pgsteer.ini:5: max_lag: \"soon\" is not a duration: a number and ms, s, min, h or d (alone it is seconds), to "
     "the "
     "millisecond\n"
     "pgsteer.ini:6: workers: 2000 is above the maximum of 64\n"
     "pgsteer.ini:7: log_level: \"loud\" is none of error, warning, info, debug\n"},
    // sections
    {LEAST "[servre b]\nhost = c\n[pgbouncer]\nx = y\n",
     "pgsteer.ini:5: [servre b]: is not a section; did you mean [server]?\n"
     "pgsteer.ini:7: [pgbouncer]: is not a section\n"},
    {LEAST "[]\n", "pgsteer.ini:5: []: is not a section\n"},
    {LEAST "[databases]\n", "pgsteer.ini:5: [databases]: is not a section; did you mean [database]?\n"},
    {LEAST "[server]\n", "pgsteer.ini:5: [server]: needs a name\n"},
    {LEAST "[database]\n", "pgsteer.ini:5: [database]: needs a name\n"},
    {LEAST "[pgsteer main]\n", "pgsteer.ini:5: [pgsteer main]: takes no name\n"},
    {LEAST "[pgsteer]\nworkers = x\n", "pgsteer.ini:5: [pgsteer]: is already in line 3\n"},
    {LEAST "[server a]\nhost = i\n", "pgsteer.ini:5: [server a]: is already in line 1\n"},
    {LEAST "[database *]\n[user x]\n[database *]\n[user x]\n", "pgsteer.ini:7: [database *]: is already in line 5\n"
                                                               "pgsteer.ini:8: [user x]: is already in line 6\n"},
    {LEAST "[server b c]\n", "pgsteer.ini:5: [server b c]: has a name with other characters than ASCII letters, digits "
                             "and signs (no blanks, quotes, "
                             "commas, backslashes)\n"},
    {LEAST "[database nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn]\n",
     "pgsteer.ini:5: [database nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn]: has a name of more "
     "than 63 "
     "bytes\n"},
    // servers
    {"[pgsteer]\nauth_file = users.txt\n", "pgsteer.ini: there is no [server NAME] section\n"},
    {"", "pgsteer.ini: auth_file: is missing: auth_type = scram-sha-256 needs it\n"
         "pgsteer.ini: there is no [server NAME] section\n"},
    {LEAST "[server b]\nport = 1\n", "pgsteer.ini:5: [server b]: host is missing\n"},
    {LEAST "[server b]\nhost =\n", "pgsteer.ini:6: host: must not be empty\n"},
    {LEAST "[server b]\nhost = H\n", "pgsteer.ini:6: host: H port 5432 is already [server a]\n"},
    {LEAST "[server b]\nhost = h,i\n",
     "pgsteer.ini:6: host: \"h,i\" is neither an address nor a host name nor a directory that starts with /\n"},
    {LEAST "[server b]\nhost = 10.0.0.256\n",
     "pgsteer.ini:6: host: \"10.0.0.256\" is neither an address nor a host name nor a directory that starts with /\n"},
    {LEAST "[server b]\nhost = "
           "/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\n",
     "pgsteer.ini:6: host: a socket directory has at most 92 bytes\n"},
    {LEAST "[server b]\nhost = i\nrole = primary\n[server c]\nhost = j\nrole = primary\n",
     "pgsteer.ini:10: role: is primary, as is that of [server b]: only one server can be\n"},
    {LEAST "[server b]\nhost = i\nweight = 1001\n", "pgsteer.ini:7: weight: 1001 is above the maximum of 1000\n"},
    {LEAST "[server b]\nhost = i\nweight = -1\n", "pgsteer.ini:7: weight: -1 is below the minimum of 0\n"},
    {LEAST "[server b]\nhost = 127.0.0.1\nport = 6432\n", "pgsteer.ini:6: host: is where this listens itself\n"},
    // listening
    {LEAST "listen_addr = 127.0.0.1, a b\n", "pgsteer.ini:5: listen_addr: \"a b\" is not an address\n"},
    {LEAST "listen_addr =\n",
     "pgsteer.ini:5: listen_addr: is empty, and so is unix_socket_dir: no client could connect\n"},
    {LEAST "http_addr = 127.0.0.1, ::1\n", "pgsteer.ini:5: http_addr: \"127.0.0.1, ::1\" is not an address\n"},
    {LEAST "http_port = 6432\n",
     "pgsteer.ini:5: http_port: http_port and listen_port are both 6432 on the same address\n"},
    {LEAST "listen_port = 8432\nlisten_addr = *\n",
     "pgsteer.ini:5: listen_port: http_port and listen_port are both 8432 on the same address\n"},
    // login
    {"[server a]\nhost = h\n[pgsteer]\n", "pgsteer.ini:3: auth_file: is missing: auth_type = scram-sha-256 needs it\n"},
    {LEAST "auth_type = md5\n", "pgsteer.ini:5: auth_type: \"md5\" is none of trust, scram-sha-256\n"},
    {LEAST "auth_type = trust\nlisten_addr = 127.0.0.1, 10.0.0.1\n",
     "pgsteer.ini:5: auth_type: auth_type = trust is for loopback addresses and Unix sockets only; listen_addr has "
     "10.0.0.1\n"},
    {LEAST "auth_type = trust\nlisten_addr = *\n", "pgsteer.ini:5: auth_type: auth_type = trust is for loopback "
                                                   "addresses and Unix sockets only; listen_addr has *\n"},
    {"[server a]\nhost = h\n[pgsteer]\nauth_file = nothing.txt\n",
     "pgsteer.ini:4: auth_file: nothing.txt: No such file or directory\n"},
    {"[server a]\nhost = h\n[pgsteer]\nauth_file = open.txt\n",
     "pgsteer.ini:4: auth_file: open.txt: may be read or written by others (its mode is 0644): set it to 0600 or "
     "0640\n"},
    {"[server a]\nhost = h\n[pgsteer]\nauth_file = bad.txt\n",
     "pgsteer.ini:4: auth_file: bad.txt:1: the password or verifier of \"checker\" must stand between double quotes\n"},
    // TLS
    {LEAST "client_tls_sslmode = require\n",
     "pgsteer.ini:5: client_tls_sslmode: require needs client_tls_cert_file and client_tls_key_file\n"},
    {LEAST "client_tls_cert_file = cert.pem\n",
     "pgsteer.ini:5: client_tls_cert_file: needs client_tls_key_file as well\n"},
    {LEAST "client_tls_key_file = key.pem\n",
     "pgsteer.ini:5: client_tls_key_file: needs client_tls_cert_file as well\n"},
    {LEAST "client_tls_key_file = cert.pem\nclient_tls_cert_file = cert.pem\n",
     "pgsteer.ini:5: client_tls_key_file: cert.pem: may be read or written by others (its mode is 0644): set it to "
     "0600 or "
     "0640\n"},
    {LEAST "client_tls_key_file = key.pem\nclient_tls_cert_file = cert.pem\nclient_tls_sslmode = verify-ca\n",
     "pgsteer.ini:7: client_tls_sslmode: verify-ca needs client_tls_ca_file\n"},
    {LEAST "server_tls_sslmode = verify-full\n",
     "pgsteer.ini:5: server_tls_sslmode: verify-full needs server_tls_ca_file\n"},
    {LEAST "server_tls_cert_file = cert.pem\n",
     "pgsteer.ini:5: server_tls_cert_file: needs server_tls_key_file as well\n"},
    {LEAST "server_tls_ca_file = no.pem\n", "pgsteer.ini:5: server_tls_ca_file: no.pem: No such file or directory\n"},
    // pools
    {LEAST "min_pool_size = 21\n", "pgsteer.ini:5: min_pool_size: 21 is more than default_pool_size (20)\n"},
    {LEAST "default_pool_size = 5\nmin_pool_size = 6\n",
     "pgsteer.ini:6: min_pool_size: 6 is more than default_pool_size (5)\n"},
    {LEAST "[database x]\npool_size = 5\nmin_pool_size = 6\n",
     "pgsteer.ini:7: min_pool_size: min_pool_size (6) is more than the pool's size (5)\n"},
    {LEAST "min_pool_size = 5\n[database x]\npool_size = 4\n",
     "pgsteer.ini:7: pool_size: min_pool_size (5) is more than the pool's size (4)\n"},
    {LEAST "[database x]\nmin_pool_size = 3\n[user u]\npool_size = 2\n",
     "pgsteer.ini:8: pool_size: 2 is less than the min_pool_size of database x (3)\n"},
    {LEAST "[database *]\ndbname = x\n",
     "pgsteer.ini:6: dbname: [database *] stands for many databases, which keep their names\n"},
    // health
    {LEAST "max_lag_return = 61s\n", "pgsteer.ini:5: max_lag_return: 61s is more than max_lag (1min)\n"},
    {LEAST "critical_lag = 59s\n", "pgsteer.ini:5: critical_lag: 59s is less than max_lag (1min)\n"},
    {LEAST "max_lag = 10s\ncritical_lag = 5s\n", "pgsteer.ini:5: max_lag: 10s is more than critical_lag (5s)\n"},
    {LEAST "fresh_interval = 2s\n", "pgsteer.ini:5: fresh_interval: 2s is more than health_interval (1s)\n"},
    {LEAST "health_timeout = 0\n", "pgsteer.ini:5: health_timeout: 0 is below the minimum of 10ms\n"},
    {LEAST "health_timeout = 2min\n", "pgsteer.ini:5: health_timeout: 2min is above the maximum of 1min\n"},
};

static void errors_name_file_line_and_key(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(bad_files); i++) refuses(bad_files[i][0], bad_files[i][1]);
}

static void the_fault_has_the_first_error(void **state) {
    (void)state;
    struct fault fault;
    char expected[200];
    write_file("pgsteer.ini", "[pgsteer]\nworkers = x\nmax_lag = x\nuser = a\nuser = b\n", 0644);
    assert_null(config_load(file_path, NULL, 0, &fault));
    snprintf(expected, sizeof expected, "%s:2: workers: \"x\" is not a whole number", file_path);
    assert_string_equal(fault.text, expected);
    assert_string_equal(fault.hint, "There are 2 more errors; --check lists all of them.");
    assert_string_equal(fault.sqlstate, "F0000");
    assert_null(config_load("/nowhere/pgsteer.ini", NULL, 0, &fault));
    assert_string_equal(fault.text, "/nowhere/pgsteer.ini: No such file or directory");
    assert_string_equal(fault.hint, "");
    assert_null(config_load(folder, NULL, 0, &fault));
    snprintf(expected, sizeof expected, "%s: is not a regular file", folder);
    assert_string_equal(fault.text, expected);
}

// A file's line is never shown with a value that must stay secret.
static void secrets_are_not_shown(void **state) {
    (void)state;
    char text[2000] = LEAST "monitor_password = hunter2", *end = text + strlen(text);
    memset(end, 'x', 1000);
    end[1000] = '\0';
    refuses(text, "pgsteer.ini:5: monitor_password: is longer than 1000 bytes (it has 1007)\n");
    refuses(LEAST "monitor_password = hunter2\nmonitor_pasword = hunter2\n",
            "pgsteer.ini:6: monitor_pasword: is not an option of [pgsteer]; did you mean monitor_password?\n");
}

// Arguments.

static struct config *load_servers(const char *const *texts, size_t n, struct config_errors *errors) {
    struct config_argument args[4];
    for (size_t i = 0; i < n; i++) args[i] = (struct config_argument){CONFIG_ARGUMENT_SERVER, texts[i]};
    return config_load_errors(NULL, args, n, errors);
}

static void servers_of_the_command_line(void **state) {
    (void)state;
    static const char *const texts[] = {"host=10.0.0.1",
                                        "host=::1 port = 5433 role=replica weight='3' zone='a b' name=two",
                                        "host=fe80::1", "host=/run/x"};
    struct config_errors errors = {0};
    struct config *c = load_servers(texts, 4, &errors);
    if (!c) fail_msg("%s", errors.texts[0]);
    assert_int_equal(c->n_servers, 4);
    assert_string_equal(c->servers[0].name, "10.0.0.1:5432");
    assert_int_equal(c->servers[0].line, 0);
    assert_string_equal(c->servers[1].name, "two");
    assert_string_equal(c->servers[1].host, "::1");
    assert_int_equal(c->servers[1].port, 5433);
    assert_int_equal(c->servers[1].role, SERVER_ROLE_REPLICA);
    assert_int_equal(c->servers[1].weight, 3);
    assert_string_equal(c->servers[1].zone, "a b");
    assert_string_equal(c->servers[2].name, "[fe80::1]:5432");
    assert_string_equal(c->servers[3].name, "/run/x:5432");
    // Without a file nobody has said how clients log in.
    assert_int_equal(c->auth_type, AUTH_TYPE_TRUST);
    assert_true(warns_of(c, "auth_type = trust"));
    assert_string_equal(c->path, "");
    assert_string_equal(c->monitor_user, getpwuid(geteuid())->pw_name);
    assert_non_null(config_database(c, "anything"));
    config_unref(c);
}

static const struct {
    const char *texts[2], *error;
} bad_servers[] = {
    {{"port=5432"}, "--server 1: host is missing"},
    {{""}, "--server 1: host is missing"},
    {{"host=a", "host=b port=x"}, "--server 2: port: \"x\" is not a whole number"},
    {{"host=a host=b"}, "--server 1: host: is given twice"},
    {{"host=a name=x name=y"}, "--server 1: name: is given twice"},
    {{"host=a hots=b"}, "--server 1: hots: is not an option of [server]; did you mean host?"},
    {{"host=a dbname=b"}, "--server 1: dbname: is not an option of [server] but of [database NAME]"},
    {{"host"}, "--server 1: \"host\" is not key=value"},
    {{"host='a"}, "--server 1: the quote after host= is not closed"},
    {{"host=a", "host=a"}, "--server 2: [server a:5432]: is there twice"},
    {{"host=a", "host=a name=b"}, "--server 2: host: a port 5432 is already [server a:5432]"},
    {{"host=a name='b c'"},
     "--server 1: name: the server has a name with other characters than ASCII letters, digits and signs (no blanks, "
     "quotes, "
     "commas, backslashes)"},
    {{"host=a\xff"}, "--server 1: host: is not valid UTF-8"},
};

static void errors_of_the_command_line(void **state) {
    (void)state;
    for (size_t i = 0; i < countof(bad_servers); i++) {
        struct config_errors errors = {0};
        assert_null(load_servers(bad_servers[i].texts, bad_servers[i].texts[1] ? 2 : 1, &errors));
        assert_string_equal(errors.texts[0], bad_servers[i].error);
        assert_int_equal(errors.n, 1);
        config_errors_release(&errors);
    }
    static const char *const sets[][2] = {
        {"max_lag", "--set: \"max_lag\" is not key=value"},
        {"max_lag=x",
         "--set: max_lag: \"x\" is not a duration: a number and ms, s, min, h or d (alone it is seconds), to the "
         "millisecond"},
        {"maxlag=1", "--set: maxlag: is not an option of [pgsteer]; did you mean max_lag?"},
        {"=", "--set: : is not an option of [pgsteer]"},
        {"listen_addr=0.0.0.0", "--set: listen_addr: auth_type = trust is for loopback addresses and Unix sockets "
                                "only; listen_addr has 0.0.0.0"}};
    for (size_t i = 0; i < countof(sets); i++) {
        struct config_errors errors = {0};
        struct config_argument args[] = {{CONFIG_ARGUMENT_SERVER, "host=a"}, {CONFIG_ARGUMENT_SET, sets[i][0]}};
        assert_null(config_load_errors(NULL, args, 2, &errors));
        assert_string_equal(errors.texts[0], sets[i][1]);
        config_errors_release(&errors);
    }
    struct fault fault;
    assert_null(config_load(NULL, NULL, 0, &fault));
    assert_string_equal(fault.text, "command line: there is no server: give --config FILE or --server \"host=...\"");
}

// The command line's servers join those of the file; --set goes before the file.
static void file_and_command_line(void **state) {
    (void)state;
    write_file("pgsteer.ini", LEAST "max_lag = 5s\n", 0600);
    struct config_argument args[] = {{CONFIG_ARGUMENT_SERVER, "host=b"},
                                     {CONFIG_ARGUMENT_SET, "max_lag=7s"},
                                     {CONFIG_ARGUMENT_SET, "monitor_user=m=m"}};
    struct fault fault = {.text = ""};
    struct config *c = config_load(file_path, args, countof(args), &fault);
    if (!c) fail_msg("%s", fault.text);
    assert_int_equal(c->n_servers, 2);
    assert_string_equal(c->servers[1].name, "b:5432");
    assert_int_equal(c->max_lag, 7000);
    assert_string_equal(c->monitor_user, "m=m");
    config_unref(c);
    args[0].text = "host=b name=a";
    assert_null(config_load(file_path, args, countof(args), &fault));
    assert_string_equal(fault.text, "--server 1: [server a]: is already in line 1");
}

static void unknown_variables_are_warned_of(void **state) {
    (void)state;
    setenv("PGSTEER_MAX_LGA", "1", 1);
    setenv("PGSTEER_XYZZY", "1", 1);
    struct config *c = must_load(LEAST);
    assert_true(warns_of(c, "environment: PGSTEER_MAX_LGA is not an option of [pgsteer]; did you mean max_lag?"));
    assert_true(warns_of(c, "environment: PGSTEER_XYZZY is not an option of [pgsteer]"));
    config_unref(c);
    unsetenv("PGSTEER_MAX_LGA");
    unsetenv("PGSTEER_XYZZY");
}

static void warnings(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {LEAST "auth_type = trust\nunix_socket_dir = /run/x\n",
         "whoever can connect from this machine may log in as any user"},
        {LEAST "listen_addr = localhost,10.0.0.1\n",
         "listen_addr has 10.0.0.1: what its clients send and get is not encrypted"},
        {"[server a]\nhost = h\nrole = replica\n[pgsteer]\nauth_file = users.txt\n", "every server has role = replica"},
        {"[server a]\nhost = h\n[pgsteer]\nauth_file = none.txt\n", "has no user: nobody can log in"}};
    for (size_t i = 0; i < countof(cases); i++) {
        struct config *c = must_load(cases[i][0]);
        assert_int_equal(c->n_warnings, 1);
        if (!warns_of(c, cases[i][1])) fail_msg("%s", c->warnings[0]);
        config_unref(c);
    }
    // These are not what they look like.
    struct config *c = must_load(LEAST "listen_addr = *\n[server b]\nhost = 10.0.0.9\nport = 6432\n");
    assert_int_equal(c->n_warnings, 1);
    config_unref(c);
    c = must_load(LEAST "listen_addr =\nunix_socket_dir = /run/x\nauth_type = trust\nhttp_port = 6432\n");
    config_unref(c);
}

// As root, files that the account of `user` could not read again are warned of, and those of others are refused.
static void files_after_dropping_root(void **state) {
    (void)state;
    if (geteuid() != 0) skip();
    struct config *c = must_load(LEAST "user = nobody\n");
    assert_true(warns_of(c, "users.txt cannot be read once this runs as user \"nobody\": a reload would fail"));
    config_unref(c);
    char path[100];
    snprintf(path, sizeof path, "%s/users.txt", folder);
    const struct passwd *nobody = getpwnam("nobody");
    assert_int_equal(chown(path, nobody->pw_uid, nobody->pw_gid), 0);
    c = must_load(LEAST "user = nobody\n");
    assert_int_equal(c->n_warnings, 0);
    config_unref(c);
    assert_int_equal(chown(path, 12345, 0), 0);
    char expected[200];
    snprintf(expected, sizeof expected,
             "pgsteer.ini:4: auth_file: users.txt: belongs to user id 12345: it must belong to root or to user id %u\n",
             (unsigned)nobody->pw_uid);
    refuses(LEAST "user = nobody\n", expected);
    c = must_load(LEAST); // root may check anybody's
    config_unref(c);
    assert_int_equal(chown(path, 0, 0), 0);
    refuses(LEAST "user = no-such-account\n", "pgsteer.ini:5: user: there is no account \"no-such-account\"\n");
}

static void the_monitor(void **state) {
    (void)state;
    static const char *const cases[][3] = {{LEAST, "checker", "secret"},
                                           {LEAST "monitor_password = mine\n", "checker", "mine"},
                                           {LEAST "monitor_user = other\n", "other", "another"},
                                           {LEAST "monitor_user = stranger\n", "stranger", ""},
                                           {LEAST "monitor_user = other\nmonitor_password = x\n", "other", "x"}};
    for (size_t i = 0; i < countof(cases); i++) {
        struct config *c = must_load(cases[i][0]);
        assert_string_equal(c->monitor_user, cases[i][1]);
        assert_string_equal(c->monitor_password, cases[i][2]);
        config_unref(c);
    }
    struct config *c = must_load("[server a]\nhost = h\n[pgsteer]\nauth_file = none.txt\n");
    assert_string_equal(c->monitor_user, getpwuid(geteuid())->pw_name);
    config_unref(c);
    // Verifiers are no passwords to log in with.
    write_file("verifiers.txt",
               "\"app\" \"SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:"
               "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=\"\n",
               0600);
    c = must_load("[server a]\nhost = h\n[pgsteer]\nauth_file = verifiers.txt\n");
    assert_string_equal(c->monitor_user, getpwuid(geteuid())->pw_name);
    assert_true(c->n_warnings > 0 && strstr(c->warnings[c->n_warnings - 1], "without a password"));
    config_unref(c);
}

// Lookups.

static void databases_and_users(void **state) {
    (void)state;
    struct config *c = must_load(LEAST "default_pool_size = 7\nmin_pool_size = 1\nreserve_pool_size = 3\n"
                                       "[database app]\ndbname = app_v2\npool_size = 9\nmin_pool_size = 2\n"
                                       "reserve_pool_size = 0\npool_mode = session\nroute = replica\n"
                                       "[database plain]\n"
                                       "[user web]\npool_size = 4\nconsistency = eventual\nmax_user_connections = 5\n"
                                       "[user batch]\npool_mode = transaction\nroute = primary\n");
    assert_null(config_database(c, "other"));
    assert_null(config_user(c, "other"));
    assert_string_equal(config_server_database(c, "app"), "app_v2");
    assert_string_equal(config_server_database(c, "plain"), "plain");
    assert_int_equal(config_user(c, "web")->max_user_connections, 5);
    // the user's section, else the database's, else [pgsteer]
    assert_int_equal(config_pool_size(c, "app", "web"), 4);
    assert_int_equal(config_pool_size(c, "app", "batch"), 9);
    assert_int_equal(config_pool_size(c, "plain", "x"), 7);
    assert_int_equal(config_min_pool_size(c, "app"), 2);
    assert_int_equal(config_min_pool_size(c, "plain"), 1);
    assert_int_equal(config_reserve_pool_size(c, "app"), 0);
    assert_int_equal(config_reserve_pool_size(c, "plain"), 3);
    assert_int_equal(config_pool_mode(c, "app", "web"), POOL_MODE_SESSION);
    assert_int_equal(config_pool_mode(c, "app", "batch"), POOL_MODE_TRANSACTION);
    assert_int_equal(config_pool_mode(c, "plain", "web"), POOL_MODE_TRANSACTION);
    assert_int_equal(config_consistency(c, "app", "web"), CONSISTENCY_EVENTUAL);
    assert_int_equal(config_consistency(c, "app", "batch"), CONSISTENCY_SESSION);
    assert_int_equal(config_route(c, "app", "web"), PREFERENCE_REPLICA);
    assert_int_equal(config_route(c, "app", "batch"), PREFERENCE_PRIMARY);
    assert_int_equal(config_route(c, "plain", "web"), PREFERENCE_AUTO);
    config_unref(c);
}

static void stars(void **state) {
    (void)state;
    struct config *c =
        must_load(LEAST "[database *]\npool_size = 3\n[database app]\n[user *]\npool_mode = session\n[user web]\n");
    assert_int_equal(config_pool_size(c, "any", "x"), 3);
    assert_int_equal(config_pool_size(c, "app", "x"), 20);
    assert_string_equal(config_server_database(c, "any"), "any");
    assert_int_equal(config_pool_mode(c, "any", "x"), POOL_MODE_SESSION);
    assert_int_equal(config_pool_mode(c, "any", "web"), POOL_MODE_TRANSACTION);
    config_unref(c);
    c = must_load(LEAST); // no [database] at all
    assert_int_equal(c->n_databases, 1);
    assert_string_equal(config_database(c, "any")->name, "*");
    config_unref(c);
}

// Reload.

static void what_waits_for_a_restart(void **state) {
    (void)state;
    struct config *before = must_load(LEAST);
    struct config *after =
        must_load("[server b]\nhost = i\nweight = 9\n[server c]\nhost = j\n[database x]\n[user y]\n[pgsteer]\n"
                  "auth_file = users.txt\nmax_lag = 5s\ndefault_pool_size = 3\nlog_level = debug\n");
    char *names = config_restart_needed(before, after);
    assert_string_equal(names, "");
    mem_free(names);
    config_unref(after);
    after = must_load(LEAST "http_port = 1\nlisten_addr = 127.0.0.2\nworkers = 2\nmax_lag = 5s\n");
    names = config_restart_needed(before, after);
    assert_string_equal(names, "listen_addr, http_port, workers");
    mem_free(names);
    config_ref(before);
    config_unref(before);
    config_unref(after);
    config_unref(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example),
        cmocka_unit_test(defaults),
        cmocka_unit_test(defaults_that_follow),
        cmocka_unit_test(paths),
        cmocka_unit_test(errors_name_file_line_and_key),
        cmocka_unit_test(the_fault_has_the_first_error),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(servers_of_the_command_line),
        cmocka_unit_test(errors_of_the_command_line),
        cmocka_unit_test(file_and_command_line),
        cmocka_unit_test(unknown_variables_are_warned_of),
        cmocka_unit_test(warnings),
        cmocka_unit_test(files_after_dropping_root),
        cmocka_unit_test(the_monitor),
        cmocka_unit_test(databases_and_users),
        cmocka_unit_test(stars),
        cmocka_unit_test(what_waits_for_a_restart),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
