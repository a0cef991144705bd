# SPDX-License-Identifier: ISC
"""A pgsteer process for a test: its configuration, its life, and what it says of itself.

Router starts the built program on free ports in front of a cluster, waits until it is ready, and at the end checks that
it left well: exit code 0, no sanitizer report, no server connection left open. Direct has the same ways to connect but
leads straight to the primary, to tell a mistake of a test from one of the router.
"""
import contextlib
import glob
import http.client
import json
import os
import re
import signal
import subprocess
import time

import psycopg

from pgcluster import DATABASE, USERS, ClusterError, await_exit, free_port, process_start, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class RouterFailed(AssertionError):
    """The router did not start, died, or left badly."""


def binary():
    """The program under test: PGSTEER_BIN, else the debug build."""
    return os.path.abspath(os.environ.get("PGSTEER_BIN", os.path.join(ROOT, "build", "debug", "pgsteer")))


def sanitized():
    """Whether the program carries a sanitizer, whose own memory hides the program's."""
    with open(binary(), "rb") as f:
        return b"__asan_init" in f.read()


def password(user):
    return USERS[user][0]


class Endpoint:
    """Something to connect to as a client."""
    host = "127.0.0.1"
    port = None

    def params(self, dbname=DATABASE, user="app", **more):
        """Connection parameters for psycopg and asyncpg alike but for their names; None takes one out."""
        merged = {"host": self.host, "port": self.port, "dbname": dbname, "user": user,
                  "password": USERS[user][0] if user in USERS else None, "connect_timeout": 10, "sslmode": "disable"}
        merged.update(more)
        return {k: v for k, v in merged.items() if v is not None}

    def conninfo(self, **more):
        return psycopg.conninfo.make_conninfo(**self.params(**more))

    def connect(self, autocommit=True, prepare_threshold=None, row_factory=None, **more):
        """A psycopg connection. Nothing is prepared unless asked for."""
        options = {"row_factory": row_factory} if row_factory else {}
        return psycopg.connect(autocommit=autocommit, prepare_threshold=prepare_threshold, **options,
                               **self.params(**more))

    def asyncpg_params(self, **more):
        found = self.params(**more)
        return {"host": found["host"], "port": found["port"], "user": found["user"], "database": found["dbname"],
                "password": found.get("password"), "ssl": False, "timeout": 10}

    def url(self, scheme="postgresql", dbname=DATABASE, user="app"):
        return f"{scheme}://{user}:{password(user)}@{self.host}:{self.port}/{dbname}"

    def env(self, **more):
        """Environment for programs that use libpq."""
        names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER",
                 "password": "PGPASSWORD", "sslmode": "PGSSLMODE", "connect_timeout": "PGCONNECT_TIMEOUT"}
        found = self.params(**more)
        return {**os.environ, **{names[k]: str(v) for k, v in found.items() if k in names}}


class Direct(Endpoint):
    """The primary itself."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.host = cluster.primary.host
        self.port = cluster.primary.port
        self.pid = None
        self.log_path = cluster.primary.log_path

    def log_text(self):
        return ""


class Router(Endpoint):
    """One run of pgsteer (or several: start() again after stop())."""

    def __init__(self, cluster, workspace, logs, number):
        self.cluster = cluster
        self.folder = workspace.make(f"router{number}")
        self.log_path = os.path.join(logs, f"router{number}.log")
        self._san = os.path.join(logs, f"router{number}.san")
        self._workspace = workspace
        self._process = None
        self._measure = False
        self.unprivileged = True  # False: it starts as we are
        self.port = free_port()
        self.http_port = free_port()
        self.socket_dir = os.path.join(self.folder, "sock")
        os.mkdir(self.socket_dir, 0o755)
        workspace.give(self.socket_dir)
        os.chmod(self.folder, 0o755)
        self.config_path = os.path.join(self.folder, "pgsteer.ini")
        self.arguments = ["--config", self.config_path]
        self._options = {}
        self._sections = {}

    # Its configuration.

    def configure(self, servers=None, databases=None, users=None, auth=None, **options):
        """Writes the config file and the auth_file.

        `servers` alters the section of a server ({"pg2": {"weight": 2}}), adds one, or takes one out ({"pg3": None});
        `auth` is what the auth_file holds ({"app": "a password or verifier"}); the options are those of [pgsteer],
        None takes a default of ours out.
        """
        if auth is None:
            auth = {name: USERS[name][0] for name in ("app", "other")}
        self._write_secret("users.txt", "".join(f'"{name}" "{secret}"\n' for name, secret in auth.items()))
        self._options = {
            "listen_addr": self.host, "listen_port": self.port, "unix_socket_dir": self.socket_dir,
            "http_addr": self.host, "http_port": self.http_port,
            "auth_type": "scram-sha-256", "auth_file": "users.txt",
            "default_pool_size": 10, "reserve_pool_size": 0, "workers": 2, "server_tls_sslmode": "disable",
            "monitor_user": "monitor", "monitor_password": USERS["monitor"][0], "monitor_database": "postgres",
            "health_interval": "200ms", "shutdown_timeout": "5s", **options}
        found = {n.name: {"host": n.host, "port": n.port} for n in self.cluster.nodes}
        for name, keys in (servers or {}).items():
            if keys is None:
                found.pop(name)
            else:
                found.setdefault(name, {}).update(keys)
        self._sections = {f"server {name}": keys for name, keys in found.items()}
        self._sections.update({f"database {n}": keys for n, keys in (databases or {"*": {}}).items()})
        self._sections.update({f"user {n}": keys for n, keys in (users or {}).items()})
        self.write_config(self.config_text())

    def config_text(self):
        sections = {"pgsteer": self._options, **self._sections}
        return "\n".join(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items() if v is not None)
                         for name, keys in sections.items())

    def write_config(self, text):
        self._write_secret("pgsteer.ini", text)

    def _write_secret(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        self._workspace.give(path)

    @property
    def replica_names(self):
        """Servers of the config that are replicas of the cluster."""
        return [n.name for n in self.cluster.replicas if f"server {n.name}" in self._sections]

    # Its life.

    @property
    def pid(self):
        return self._process.pid if self._process is not None else None

    def measure(self):
        """The next run's memory will be measured: a sanitizer is to give freed memory back at once."""
        self._measure = True

    def environment(self):
        quarantine = ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0" if self._measure else ""
        return {**{k: v for k, v in os.environ.items() if not k.startswith("PGSTEER_")},  # those are its options
                "ASAN_OPTIONS": f"log_path={self._san}:exitcode=99:detect_leaks=1:detect_stack_use_after_return="
                                f"{0 if self._measure else 1}:strict_string_checks=1{quarantine}",
                "UBSAN_OPTIONS": f"log_path={self._san}:print_stacktrace=1",
                "TSAN_OPTIONS": f"log_path={self._san}:exitcode=99"}

    def start(self, wait=True, env=None):
        """Starts it; with `wait` returns when it is ready and knows every replica of its config to be well."""
        if not os.access(binary(), os.X_OK):
            raise RouterFailed(f"{binary()} is not there: build it, or set PGSTEER_BIN")
        with open(self.log_path, "ab") as log:
            self._workspace.give(self.log_path)
            self._process = self._workspace.spawn([binary(), *self.arguments], self.unprivileged, stdout=log,
                                                  stderr=log, env={**self.environment(), **(env or {})})
        if wait:
            self.wait_ready()
        return self

    def start_refused(self, timeout=15):
        """Starts it on something that it must refuse, and returns (exit code, log) once it has ended."""
        self.start(wait=False)
        code = self.wait_exit(timeout)
        self._process = None
        self.check_sanitizers()
        return code, self.log_text()

    def wait_ready(self, timeout=20):
        def ready():
            self.check_alive()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.http("/readiness")[0] == 200
        self._wait(ready, timeout, "/readiness to say 200")
        # What a statement that failed has written (it prunes, say) is not flushed, and so not replicated, before something
        # else is: on an idle primary that is the background writer's snapshot, every 15 s.
        for name in self.replica_names:
            self.wait_replica(name, timeout=30)

    def wait_replica(self, name, healthy=True, timeout=15):
        """Waits until the router takes the replica to be fit for reads, or unfit."""
        def as_wanted():
            self.check_alive()
            return self.metric("db_replica_health", replica=name) == (1 if healthy else 0)
        self._wait(as_wanted, timeout, f"db_replica_health of {name} to be {int(healthy)}")

    def check_alive(self):
        code = self._process.poll()
        if code is not None:
            raise RouterFailed(f"the router ended with code {code}, see {self.log_path}:\n{self.log_tail()}")

    def send_signal(self, signum):
        self._process.send_signal(signum)

    def wait_exit(self, timeout=15):
        """Waits for the end of the process and returns its exit code."""
        if not await_exit(self._process.pid, timeout):
            raise RouterFailed(f"the router did not end in {timeout} s, see {self.log_path}:\n{self.log_tail()}")
        return self._process.wait()

    def stop(self, signum=signal.SIGTERM, timeout=15):
        """Ends it and checks that it ended well. Idempotent."""
        if self._process is None:
            return
        sockets = self.server_sockets() if self._process.poll() is None else set()
        if self._process.poll() is None:
            self.send_signal(signum)
        try:
            code = self.wait_exit(timeout)
        except RouterFailed:
            self._process.kill()
            self._process.wait()
            self._process = None
            raise
        self._process = None
        self.check_sanitizers()
        if code != 0:
            raise RouterFailed(f"the router ended with code {code}, see {self.log_path}:\n{self.log_tail()}")
        self._check_backends_gone(sockets)

    def kill(self):
        """kill -9, as when its machine is lost."""
        self._process.kill()
        self._process.wait()
        self._process = None

    def check_sanitizers(self):
        reports = [p for p in glob.glob(self._san + "*") if os.path.getsize(p)]
        if reports:
            with open(reports[0], encoding="utf-8", errors="replace") as f:
                text = f.read().split("\nShadow bytes")[0][:6000]
            raise RouterFailed(f"a sanitizer complained, see {reports[0]}:\n{text}")

    def _check_backends_gone(self, sockets):
        """No backend may be left at the other end of the connections that the router had at its end."""
        def left():
            for node in self.cluster.nodes:
                if node.pid is not None:
                    yield from node.ask("select pid, client_port, state, query from pg_stat_activity "
                                        "where client_port = any(%s)", (ports_to(sockets, node),))

        def gone():
            with contextlib.suppress(psycopg.OperationalError):
                return not list(left())
        if sockets:
            self._wait(gone, 10, "the backends of the router's connections to end")

    def reload(self, wait=True, **changes):
        """Writes a new config (as configure) and sends SIGHUP; with `wait` returns when the log tells the result."""
        if changes:
            self.configure(**changes)
        since = len(self.log_text())
        self.send_signal(signal.SIGHUP)
        if wait:
            self.wait_log(r"(?i)reload", since=since)

    # What it says of itself.

    def _wait(self, check, timeout, what):
        try:
            return wait_until(check, timeout, what)
        except ClusterError as error:
            raise RouterFailed(f"{error}; router log {self.log_path}:\n{self.log_tail()}") from None

    def http(self, path, method="GET", headers=None):
        """(status, headers, body) of a request to the router's HTTP port."""
        conn = http.client.HTTPConnection(self.host, self.http_port, timeout=5)
        try:
            conn.request(method, path, headers=headers or {})
            response = conn.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            conn.close()

    def health(self):
        return json.loads(self.http("/health")[2])

    def metrics(self):
        """{(name, frozenset of labels): value} of /metrics."""
        status, _, text = self.http("/metrics")
        assert status == 200, text
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
                assert match, f"not a line of Prometheus text: {line!r}"
                labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
                found[match[1], frozenset(labels)] = float(match[3])
        return found

    def metric(self, name, metrics=None, **labels):
        """The sum of all series of that name which have these labels; None when there is none."""
        wanted = set(labels.items())
        values = [v for (n, have), v in (metrics or self.metrics()).items() if n == name and wanted <= have]
        return sum(values) if values else None

    def log_text(self, since=0):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[since:]

    def log_tail(self, lines=40):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def wait_log(self, pattern, since=0, timeout=10):
        """The match of `pattern` in the log after position `since`, once it is there."""
        return self._wait(lambda: re.search(pattern, self.log_text(since)), timeout, f"{pattern!r} in the log")

    # What the system says of it.

    def rss(self):
        """Resident memory in bytes, shared pages of files left out."""
        return self._status("VmRSS") - self._status("RssFile")

    def reset_peak(self):
        """From now on peak() counts anew. Returns the present amount."""
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")
        return self._status("VmRSS")

    def peak(self):
        """The most resident memory since reset_peak()."""
        return self._status("VmHWM")

    def _status(self, key):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return int(re.search(rf"^{key}:\s+(\d+) kB", f.read(), re.M)[1]) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def server_sockets(self):
        """The router's TCP connections to servers of the cluster: (server's port, port here).

        Not the port here alone: the kernel gives the same one to connections that go to different servers.
        """
        servers = {n.port for n in self.cluster.nodes}
        inodes = set()
        for fd in glob.glob(f"/proc/{self.pid}/fd/*"):
            with contextlib.suppress(OSError):
                match = re.match(r"socket:\[(\d+)\]", os.readlink(fd))
                if match:
                    inodes.add(match[1])
        sockets = set()
        with open("/proc/net/tcp", encoding="ascii") as f:
            for line in list(f)[1:]:
                fields = line.split()
                remote = int(fields[2].split(":")[1], 16)
                if fields[9] in inodes and remote in servers:
                    sockets.add((remote, int(fields[1].split(":")[1], 16)))
        return sockets

    def backends(self, node, user="app", dbname=DATABASE):
        """Backends of `node` that serve this router for a user and database."""
        return node.ask("select pid, state, query from pg_stat_activity where usename = %s and datname = %s and "
                        "client_port = any(%s)", (user, dbname, ports_to(self.server_sockets(), node)))


def ports_to(sockets, node):
    """The ports here of those connections that go to `node`."""
    return [here for port, here in sockets if port == node.port]


def run_cli(*arguments, env=None, as_user=None, timeout=20, stdin=None):
    """Runs the program to its end: (exit code, standard output, standard error)."""
    options = {}
    if as_user is not None:
        options = {"user": as_user.pw_uid, "group": as_user.pw_gid, "extra_groups": []}
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=timeout, check=False,
                          input=stdin, **options, env={
                              **{k: v for k, v in os.environ.items() if not k.startswith("PGSTEER_")}, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def gone(pid, start):
    """True once the process that had `pid` since `start` is no more."""
    return process_start(pid) != start


def elapsed(since):
    return time.monotonic() - since
