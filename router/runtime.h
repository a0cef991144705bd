// SPDX-License-Identifier: ISC
//
// router/runtime.h: the running router: start, signals, reload, drain, stop.
//
// The control thread's loop has the health checks, the HTTP port, signals and reload; the workers have the clients. Signals:
// SIGHUP reads the configuration again; the first SIGTERM drains (no new clients, what runs is finished, idle clients are
// told 57P01) and then ends; a second one, or SIGINT, ends at once.
#ifndef PGSTEER_ROUTER_RUNTIME_H
#define PGSTEER_ROUTER_RUNTIME_H

#include "base/fault.h"
#include "config/config.h"

struct runtime_options {
    const char *config_path; // NULL = none
    const struct config_argument *args;
    size_t n_args;
};

// What runtime_run would say of the certificates and keys of `config`, as the account that it runs as: true, or false and
// a fault.
bool runtime_check_tls(const struct config *config, struct fault *f);

// Runs until it is told to end; the caller's reference on `config` is taken over. Main thread. The process's exit status.
int runtime_run(struct config *config, const struct runtime_options *options);

#endif
