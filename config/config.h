// SPDX-License-Identifier: ISC
//
// config/config.h: the whole configuration as one immutable value.
//
// A config is built from defaults, the file, the environment and the command line, in that order, checked as a whole,
// and published as a snapshot: nobody alters one. A reload builds another. All times are in milliseconds (0 = no
// limit), all sizes in bytes, unless a name says otherwise. Strings are never NULL ("" = not given) and live as long as
// the snapshot.
#ifndef PGSTEER_CONFIG_CONFIG_H
#define PGSTEER_CONFIG_CONFIG_H

#include "base/base.h"
#include "base/fault.h"
#include "base/snap.h"
#include "base/span.h"

enum auth_type { AUTH_TYPE_TRUST, AUTH_TYPE_SCRAM_SHA_256 };
enum pool_mode { POOL_MODE_TRANSACTION, POOL_MODE_SESSION };
// Each promises what the ones before it do, and more.
enum consistency { CONSISTENCY_EVENTUAL, CONSISTENCY_SESSION, CONSISTENCY_MONOTONIC, CONSISTENCY_GLOBAL };
enum preference { PREFERENCE_AUTO, PREFERENCE_PRIMARY, PREFERENCE_REPLICA };
// libpq's words and meanings.
enum sslmode {
    SSLMODE_DISABLE,
    SSLMODE_ALLOW,
    SSLMODE_PREFER,
    SSLMODE_REQUIRE,
    SSLMODE_VERIFY_CA,
    SSLMODE_VERIFY_FULL
};
enum server_role { SERVER_ROLE_AUTO, SERVER_ROLE_PRIMARY, SERVER_ROLE_REPLICA };
enum balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS };

struct users; // config/users.h

// [server NAME]
struct server_config {
    const char *name;
    const char *host; // a name, an IPv4 or IPv6 address, or (leading '/') the directory of a Unix socket
    const char *zone;
    int64_t port, weight; // weight 0: no reads while another replica can take them
    enum server_role role;
    size_t line; // where the section starts, for messages; 0 from the command line
};

// [database NAME]; NAME `*` stands for every database not named, under its own name.
struct database_config {
    const char *name;
    const char *dbname; // its name on the servers; "" = the same (see config_server_database)
    int64_t pool_size;  // -1 = default_pool_size; the same for the next two
    int64_t min_pool_size, reserve_pool_size;
    enum pool_mode pool_mode;
    enum consistency consistency;
    enum preference route;
    bool has_pool_mode, has_consistency, has_route;
};

// [user NAME]; NAME `*` stands for every user not named.
struct user_config {
    const char *name;
    int64_t pool_size;            // -1 = the database's
    int64_t max_user_connections; // clients of this user; 0 = no limit
    enum pool_mode pool_mode;
    enum consistency consistency;
    enum preference route;
    bool has_pool_mode, has_consistency, has_route;
};

struct config {
    struct snap snap; // first

    // listening
    const char *listen_addr; // comma-separated addresses; "*" all; "" no TCP
    int64_t listen_port;
    const char *unix_socket_dir; // "" = no Unix socket
    int64_t unix_socket_mode;
    const char *http_addr; // "" = no HTTP
    int64_t http_port;
    int64_t max_client_conn;
    int64_t workers;  // 0 = one per core
    const char *user; // user to become when started as root

    // client authentication and TLS
    enum auth_type auth_type;
    const char *auth_file; // resolved against the config file's folder
    struct users *users;   // what auth_file held; never NULL
    enum sslmode client_tls_sslmode;
    const char *client_tls_key_file, *client_tls_cert_file, *client_tls_ca_file, *client_tls_ciphers;
    int64_t client_login_timeout;

    // servers
    enum sslmode server_tls_sslmode;
    const char *server_tls_ca_file, *server_tls_key_file, *server_tls_cert_file;
    int64_t server_connect_timeout, server_lifetime, server_idle_timeout, server_login_retry;
    int64_t cancel_wait_timeout;

    // pooling
    enum pool_mode pool_mode;
    int64_t default_pool_size, min_pool_size, reserve_pool_size, reserve_pool_timeout;
    int64_t max_replication_connections;
    int64_t query_wait_timeout;
    int64_t client_idle_timeout, idle_transaction_timeout, pin_idle_timeout;
    int64_t max_prepared_statements;        // per server connection
    int64_t max_client_prepared_statements; // per client
    int64_t max_exchange_size; // bytes gathered until Sync before an exchange goes to the primary as a stream

    // routing
    enum consistency consistency;
    int64_t consistency_wait; // how long a read may wait for a fresh replica before the primary gets it
    enum preference route;
    const char *zone;   // where this router stands; "" = it does not matter
    int64_t slow_start; // until a server that has come up has its full weight
    enum balance balance;
    int64_t verdict_cache_size; // entries per worker and database
    int64_t max_parse_length;   // longer statements are not parsed and go to the primary

    // health
    // Who probes, after all rules for an empty monitor_user and monitor_password have been applied: the user is never
    // ""; the password may be.
    const char *monitor_user, *monitor_password, *monitor_database;
    int64_t health_interval, health_timeout, fresh_interval; // fresh_interval: while sessions wait for freshness
    int64_t health_failures;                                 // failed probes in a row until a server counts as down
    int64_t max_lag, max_lag_return, critical_lag;           // leaves above max_lag, returns below max_lag_return
    int64_t catalog_interval; // how often functions and relations are read again from the primary

    // operation
    const char *log_level, *log_format; // one of error, warning, info, debug; text or json
    bool log_connections, log_disconnections;
    int64_t shutdown_timeout;

    size_t n_servers, n_databases, n_users;
    struct server_config *servers;
    struct database_config *databases;
    struct user_config *user_configs;

    const char *path; // the file it came from, "" when none

    // Sentences about what works but is likely not meant, such as auth_type = trust: for the log, once per load.
    size_t n_warnings;
    const char **warnings;
};

// One `--server "host=... port=... role=... weight=... zone=... name=..."` of the command line, or `--set key=value`.
struct config_argument {
    enum { CONFIG_ARGUMENT_SERVER, CONFIG_ARGUMENT_SET } kind;
    const char *text;
};

// All that is wrong with a configuration, in the order in which it was found, each "file:line: key: what is wrong".
// Empty it with config_errors_release.
struct config_errors {
    size_t n;
    char **texts;
};
void config_errors_release(struct config_errors *e);

// Reads `path` (NULL = no file), PGSTEER_* of the environment, then the arguments, and checks the whole. NULL and a
// filled fault ("file:line: key: what is wrong") when anything is wrong; the fault holds the first error, and its hint
// says how many more there are. The caller owns one reference. Reads auth_file, and looks at the TLS files. Any thread,
// as long as none changes the environment.
NODISCARD struct config *config_load(const char *path, const struct config_argument *args, size_t n_args,
                                     struct fault *fault);
// The same, with all errors; `errors` is {0} before.
NODISCARD struct config *config_load_errors(const char *path, const struct config_argument *args, size_t n_args,
                                            struct config_errors *errors);
// The same, with the text of the file that is, or would be, at `path` (not NULL).
NODISCARD struct config *config_load_text(const char *path, struct span text, const struct config_argument *args,
                                          size_t n_args, struct config_errors *errors);
static inline void config_ref(struct config *c) { snap_ref(&c->snap); }
static inline void config_unref(struct config *c) { snap_unref(&c->snap); }

// The section for a database or user, or the one for `*`; NULL when the database is not offered, or the user has no
// section.
const struct database_config *config_database(const struct config *c, const char *name);
const struct user_config *config_user(const struct config *c, const char *name);
// The name on the servers of the database that clients call `name`: its dbname, else `name` itself.
const char *config_server_database(const struct config *c, const char *name);

// What holds for one (database, user): the user's section, else the database's, else [pgsteer].
enum pool_mode config_pool_mode(const struct config *c, const char *database, const char *user);
enum preference config_route(const struct config *c, const char *database, const char *user);
enum consistency config_consistency(const struct config *c, const char *database, const char *user);
int64_t config_pool_size(const struct config *c, const char *database, const char *user);
int64_t config_min_pool_size(const struct config *c, const char *database);
int64_t config_reserve_pool_size(const struct config *c, const char *database);

// Names of the options that differ between two configs and take effect only after a restart, comma-separated; "" when
// none. The caller frees it.
char *config_restart_needed(const struct config *before, const struct config *after);

#endif
