# SPDX-License-Identifier: ISC
"""What is compared: each peer with the configuration of one scenario, as a process of ours that ends with it.

A peer's configuration is made for speed where that does not change what it does: no log of connections, SCRAM verifiers
instead of passwords (so that nobody derives keys anew at each login), TLS off unless the scenario is about it.
"""
import contextlib
import http.client
import os
import signal

import psycopg

import pgcluster
from pgcluster import DATABASE, USERS, await_exit, free_port, wait_until

from .machine import descendants

MAX_CLIENTS = 10300
HOST = "127.0.0.1"


def pgbouncer_binary():
    return "/usr/sbin/pgbouncer"


class Setup:
    """What a scenario asks of its peers."""

    def __init__(self, clients=64, pool=20, tls=False, workers=1, auth="scram-sha-256"):
        self.clients, self.pool, self.tls, self.workers, self.auth = clients, pool, tls, workers, auth


class Peer:
    """One way to the servers. start(), use as an endpoint, stop()."""
    name = title = None
    splits = prepares = True

    def __init__(self, stage, setup):
        self.stage, self.setup = stage, setup
        self.host, self.port, self.process = HOST, free_port(), None
        self.primary = stage.cluster.primary
        self.log_path = stage.workspace.path(f"{self.name}.log")

    # Its life.

    def command(self):
        raise NotImplementedError

    def start(self):
        self.folder = self.stage.workspace.path(f"{self.name}-{self.port}")
        os.mkdir(self.folder, 0o755)
        self.stage.workspace.give(self.folder)
        with open(self.log_path, "ab") as log:
            self.stage.workspace.give(self.log_path)
            self.process = self.stage.workspace.spawn(self.command(), stdout=log, stderr=log)
        return self

    def wait_ready(self, timeout=30):
        try:
            wait_until(self._ready, timeout, f"{self.name} to be ready", 0.05)
        except pgcluster.ClusterError as error:
            raise RuntimeError(f"{error}; its log ends:\n{self.log_tail()}") from None
        return self

    def _ready(self):
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with code {self.process.returncode}:\n{self.log_tail()}")
        with contextlib.suppress(psycopg.Error):
            with psycopg.connect(**self.params(), connect_timeout=5, autocommit=True) as conn:
                return conn.execute("select 1").fetchone()

    def stop(self, signum=signal.SIGINT):
        """Ends it by its process id, with what it started."""
        if self.process is None:
            return
        pids = descendants(self.process.pid)
        self.process.send_signal(signum)
        if not await_exit(self.process.pid, 5):
            for pid in pids:
                pgcluster.send(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    # Reaching it.

    def params(self):
        return {"host": self.host, "port": self.port, "user": "app", "password": USERS["app"][0], "dbname": DATABASE,
                "sslmode": "require" if self.setup.tls else "disable"}

    def env(self):
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
                 "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}
        return {**os.environ, **{names[k]: str(v) for k, v in self.params().items()}}

    def pids(self):
        return descendants(self.process.pid) if self.process is not None else []

    # Files.

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return self.stage.workspace.give(path)

    def write_users(self):
        return self.write("users.txt", "".join(f'"{user}" "{secret}"\n' for user, secret in
                                               self.stage.verifiers().items()), 0o600)

    def log_tail(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    @property
    def certificate(self):
        return [self.stage.cluster.path("tls", name) for name in ("server.crt", "server.key", "ca.crt")]


class Direct(Peer):
    """No router at all: the primary."""
    name, title = "direct", "direct"

    def __init__(self, stage, setup):
        super().__init__(stage, setup)
        self.port = self.primary.port

    def start(self):
        return self


class HAProxy(Peer):
    """Bytes from one socket to the other: the floor for whatever stands between."""
    name, title = "haproxy", "HAProxy (TCP)"

    def command(self):
        return ["/usr/sbin/haproxy", "-db", "-f", self.write("haproxy.cfg", f"""\
global
    maxconn 2000
    nbthread {self.setup.workers}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen pg
    bind {HOST}:{self.port}
    server pg1 {HOST}:{self.primary.port}
""")]


class PgBouncer(Peer):
    """Transaction mode, the primary alone: it does not split."""
    name, title, mode = "pgbouncer", "PgBouncer (transaction)", "transaction"
    prepares = False
    more = ""

    def binary(self):
        return pgbouncer_binary()

    def command(self):
        cert, key, authority = self.certificate
        tls = (f"client_tls_sslmode = require\nclient_tls_cert_file = {cert}\nclient_tls_key_file = {key}\n"
               f"client_tls_ca_file = {authority}\nserver_tls_sslmode = require\n" if self.setup.tls
               else "server_tls_sslmode = disable\n")
        pool = self.setup.pool if self.mode == "transaction" else max(self.setup.clients, self.setup.pool)
        auth = "trust" if self.setup.auth == "trust" else "scram-sha-256"
        return [self.binary(), self.write("pgbouncer.ini", f"""\
[databases]
* = host={HOST} port={self.primary.port}
[pgbouncer]
listen_addr = {HOST}
listen_port = {self.port}
unix_socket_dir =
auth_type = {auth}
auth_file = {self.write_users()}
pool_mode = {self.mode}
default_pool_size = {pool}
max_client_conn = {MAX_CLIENTS}
listen_backlog = 4096
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
{tls}{self.more}""", 0o600)]


class PgBouncerSession(PgBouncer):
    """Session mode: where PgBouncer of Debian 12 can do prepared statements."""
    name, title, mode = "pgbouncer-session", "PgBouncer (session)", "session"
    prepares = True


class PgBouncerNew(PgBouncer):
    """The PgBouncer that PGBOUNCER names, with prepared statements in transaction mode."""
    name, title = "pgbouncer-new", "PgBouncer of PGBOUNCER (transaction)"
    prepares = True
    more = "max_prepared_statements = 200\n"

    def binary(self):
        return os.environ["PGBOUNCER"]


class Pgpool(Peer):
    """Pgpool-II with a decision for each statement, reads on the replicas."""
    name, title = "pgpool", "Pgpool-II"

    def command(self):
        password = USERS["app"][0]
        self.write("pool_passwd", f"app:TEXT{password}\n", 0o600)
        cert, key, _ = self.certificate
        tls = f"ssl = on\nssl_cert = '{cert}'\nssl_key = '{key}'\n" if self.setup.tls else "ssl = off\n"
        backends = "".join(
            f"backend_hostname{i} = '{HOST}'\nbackend_port{i} = {node.port}\nbackend_weight{i} = {int(i > 0)}\n"
            f"backend_flag{i} = 'DISALLOW_TO_FAILOVER'\n"
            for i, node in enumerate(self.stage.cluster.nodes))
        hba = self.write("pool_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n")
        return ["/usr/sbin/pgpool", "-n", "-a", hba, "-F", self.write("pcp.conf", ""), "-f",
                self.write("pgpool.conf", f"""\
backend_clustering_mode = 'streaming_replication'
listen_addresses = '{HOST}'
port = {self.port}
socket_dir = '{self.folder}'
pcp_listen_addresses = ''
pcp_port = {free_port()}
pcp_socket_dir = '{self.folder}'
pid_file_name = '{self.folder}/pgpool.pid'
logdir = '{self.folder}'
enable_pool_hba = on
pool_passwd = 'pool_passwd'
num_init_children = {self.setup.clients + 4}
max_pool = 1
load_balance_mode = on
statement_level_load_balance = on
sr_check_user = 'trusted'
sr_check_database = 'postgres'
log_min_messages = error
{tls}{backends}""", 0o600)]


class Pgsteer(Peer):
    """One worker, splitting on, session consistency: as it comes."""
    name, title = "pgsteer", "pgsteer"

    def __init__(self, stage, setup, servers=None):
        super().__init__(stage, setup)
        self.http_port = free_port()
        self.servers = servers or [(n.name, n.port) for n in stage.cluster.nodes]
        self.options = {}

    def config(self):
        cert, key, _ = self.certificate
        tls = {"client_tls_sslmode": "require", "client_tls_cert_file": cert, "client_tls_key_file": key,
               "server_tls_sslmode": "require"} if self.setup.tls else {"server_tls_sslmode": "disable"}
        options = {"listen_addr": HOST, "listen_port": self.port, "http_addr": HOST, "http_port": self.http_port,
                   "auth_type": self.setup.auth, "auth_file": "users.txt", "pool_mode": "transaction",
                   "default_pool_size": self.setup.pool, "workers": self.setup.workers,
                   "max_client_conn": MAX_CLIENTS, "consistency": "session", "monitor_user": "monitor",
                   "monitor_password": USERS["monitor"][0], "shutdown_timeout": "1s", **tls, **self.options}
        return "[pgsteer]\n" + "".join(f"{k} = {v}\n" for k, v in options.items()) + "".join(
            f"[server {name}]\nhost = {HOST}\nport = {port}\n" for name, port in self.servers) + "[database *]\n"

    def command(self):
        self.write_users()
        return [self.stage.program("pgsteer"), "--config", self.write("pgsteer.ini", self.config(), 0o600)]

    def stop(self, signum=signal.SIGTERM):
        super().stop(signum)

    def _ready(self):
        if not super()._ready():
            return False
        text = self.get("/metrics")
        return all(f'db_replica_health{{replica="{name}"}} 1' in text for name, _ in self.servers[1:])

    def get(self, path):
        conn = http.client.HTTPConnection(HOST, self.http_port, timeout=5)
        try:
            conn.request("GET", path)
            return conn.getresponse().read().decode()
        finally:
            conn.close()


class PgsteerPrimary(Pgsteer):
    """Told of no replicas, so that it uses no more server processes than PgBouncer: what is left is what splitting costs
    a machine that has to run all three servers itself."""
    name, title = "pgsteer-primary", "pgsteer (no replicas)"

    def __init__(self, stage, setup):
        node = stage.cluster.primary
        super().__init__(stage, setup, [(node.name, node.port)])


KINDS = {kind.name: kind for kind in (Direct, HAProxy, PgBouncer, PgBouncerSession, PgBouncerNew, Pgpool, Pgsteer,
                                      PgsteerPrimary)}


def available():
    """Names of the peers that this machine has."""
    return [name for name in KINDS if name != "pgbouncer-new" or os.environ.get("PGBOUNCER")]
