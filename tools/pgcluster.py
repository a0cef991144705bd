# SPDX-License-Identifier: ISC
"""A throwaway PostgreSQL 15 cluster: a real primary and streaming replicas in a temporary folder.

    with Cluster(replicas=2) as cluster:
        cluster.primary.sql("create table t (a int)")
        cluster.replicas[0].freeze()

For tests and demonstrations only: it is set for speed (fsync off) and its passwords are in this file. Servers run as
the unprivileged user `postgres` (or PGSTEER_RUN_AS) when we are root, else as the caller. They listen on 127.0.0.1 on
free ports, where they ask for passwords (SCRAM unless the user is one of the odd ones below), and on Unix sockets that
only their owner and root can use, where they ask for none.

The view `here` in the database `app` tells which server reads it.

Everything that was started is stopped by its process id and the folder is removed at the end. When our process dies
before it could do so, the guard does it: a small process of its own that waits for the end of the pipe from us.
"""
import contextlib
import itertools
import json
import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pki

BINDIR = os.environ.get("PGSTEER_PG_BINDIR", "/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"
DATABASE = "app"
# name: (password, options). `app` and `other` are two ordinary users; `monitor` watches; `replicator` may replicate;
# the rest differ in how PostgreSQL lets them in: see HBA.
USERS = {
    "app": ("app-password", ""),
    "other": ("other-password", ""),
    "monitor": ("monitor-password", "in role pg_monitor"),
    "replicator": ("replicator-password", "replication"),
    "trusted": ("unused", ""),
    "md5user": ("md5-password", ""),
    "cleartext": ("cleartext-password", ""),
}
HBA = """\
local   all          all                        trust
local   replication  all                        trust
host    all          trusted    127.0.0.1/32    trust
host    replication  replicator 127.0.0.1/32    scram-sha-256
host    all          md5user    127.0.0.1/32    md5
host    all          cleartext  127.0.0.1/32    password
host    all          all        127.0.0.1/32    scram-sha-256
"""
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_permissions = 0700
max_connections = 200
max_wal_senders = 10
max_replication_slots = 10
wal_level = logical
hot_standby = on
shared_buffers = 64MB
fsync = off
full_page_writes = off
autovacuum = off
max_wal_size = 4GB
wal_keep_size = 256MB
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
ssl = on
log_line_prefix = '%m [%p] user=%u db=%d app=%a '
log_min_duration_statement = -1
logging_collector = off
max_prepared_transactions = 10
"""


class ClusterError(Exception):
    """Something about the cluster did not happen; the text says what and where the log is."""


def wait_until(check, timeout=10.0, what="a condition", interval=0.01):
    """Calls `check` until it returns something true, and returns that. Fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {timeout:g} s for {what}")
        time.sleep(interval)


# --- processes ------------------------------------------------------------------------------------------------------

def unprivileged_account():
    """The account that servers run as: None (the caller's own) unless we are root."""
    if os.geteuid() != 0:
        return None
    name = os.environ.get("PGSTEER_RUN_AS", "postgres")
    account = pwd.getpwnam(name)
    if account.pw_uid == 0:
        raise ClusterError(f"PGSTEER_RUN_AS={name} is root: PostgreSQL refuses that")
    return account


def spawn(argv, account=None, **options):
    """Popen as `account`, in a session of its own, so that Ctrl-C reaches us alone."""
    if account is not None:
        options.update(user=account.pw_uid, group=account.pw_gid, extra_groups=[])
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(argv, start_new_session=True, **options)


def process_stat(pid):
    """The fields of /proc/PID/stat from the state on (state, parent, ...), or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def process_start(pid):
    """When the process started (kernel ticks), or None when there is none: tells it from a later one of its id."""
    fields = process_stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def await_exit(pid, timeout):
    """True once the process is gone (or a zombie), False when it is still there after `timeout` seconds."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(fd)


def children(pid):
    """Ids of the processes whose parent is `pid`."""
    stats = ((int(name), process_stat(name)) for name in os.listdir("/proc") if name.isdigit())
    return [child for child, fields in stats if fields is not None and int(fields[1]) == pid]


def send(pid, signum):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def signal_instance(pid, signum):
    """Signals a postmaster and all of its children. The postmaster first: it then makes no new ones."""
    below = children(pid)
    send(pid, signum)
    for child in set(below + children(pid)):
        send(child, signum)


_given = set()


# Below those that the kernel takes ports of clients from. Who runs beside another process of ours takes a part of them.
PORTS = range(20000, 32000)


def free_port():
    """A TCP port that is free on 127.0.0.1 now; another one each time."""
    while True:
        port = random.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                _given.add(port)
                return port


# --- the guard ------------------------------------------------------------------------------------------------------

class Workspace:
    """A temporary folder, the processes that were started for it, and the guard that outlives us to end both."""

    def __init__(self, prefix="pgsteer-", folder=None):
        self.account = unprivileged_account()
        self.folder = folder or tempfile.mkdtemp(prefix=prefix)
        os.makedirs(os.path.join(self.folder, "pids"), exist_ok=True)
        os.chmod(self.folder, 0o711)
        self._guard = subprocess.Popen([sys.executable, os.path.abspath(__file__), "guard", self.folder],
                                       stdin=subprocess.PIPE, start_new_session=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def make(self, name):
        """A new folder in it that belongs to the unprivileged account."""
        path = self.path(name)
        os.mkdir(path, 0o700)
        self.give(path)
        return path

    def give(self, path):
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    def spawn(self, argv, unprivileged=True, **options):
        """spawn() as the unprivileged account (or as we are), on the list of what has to be ended."""
        process = spawn(argv, self.account if unprivileged else None, cwd=self.folder, **options)
        with open(self.path("pids", str(process.pid)), "w", encoding="ascii") as f:
            f.write(str(process_start(process.pid) or 0))
        return process

    def close(self):
        """Ends the processes, removes the folder. Idempotent."""
        sweep(self.folder)
        if self._guard is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None


def sweep(folder):
    """Ends every process on the folder's list and removes the folder."""
    pids = []
    listed = os.path.join(folder, "pids")
    for name in os.listdir(listed) if os.path.isdir(listed) else []:
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(listed, name), encoding="ascii") as f:
                if process_start(int(name)) == int(f.read()):
                    pids.append(int(name))
    for pid in pids:
        send(pid, signal.SIGQUIT)  # PostgreSQL's immediate shutdown
        signal_instance(pid, signal.SIGCONT)  # it may be frozen
    deadline = time.monotonic() + 10
    for pid in pids:
        if not await_exit(pid, max(0.0, deadline - time.monotonic())):
            signal_instance(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def guard(folder):
    """Waits until the other end of our standard input is closed, then sweeps."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    if os.path.isdir(folder):
        sweep(folder)


# --- one server -----------------------------------------------------------------------------------------------------

class Node:
    """One PostgreSQL instance of a cluster, reached through its folder, so that any process may drive it."""

    def __init__(self, cluster, name, port):
        self.cluster = cluster
        self.name = name
        self.port = port
        self.host = "127.0.0.1"
        self.data = cluster.path(name)
        self.log_path = cluster.path(name + ".log")
        self._process = None
        self._kept, self._kept_of, self._asking = None, None, threading.RLock()

    def __repr__(self):
        return f"{self.name}:{self.port}"

    # Life and death.

    def reap(self):
        """Takes note of its end, so that it is no zombie; for who waits for SIGCHLD."""
        if self._process is not None:
            self._process.poll()

    @property
    def pid(self):
        """The postmaster's id, or None when it does not run."""
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as f:
                pid = int(f.readline())
        except (FileNotFoundError, ValueError):
            return None
        return pid if process_start(pid) is not None else None

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.cluster.workspace.give(self.log_path)
            self._process = self.cluster.workspace.spawn(
                [os.path.join(BINDIR, "postgres"), "-D", self.data], stdout=log, stderr=log)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=30):
        def ready():
            if self._process is not None and self._process.poll() is not None:
                raise ClusterError(f"{self.name} ended at start, see {self.log_path}:\n{self.log_text()[-2000:]}")
            with contextlib.suppress(Exception):
                return self.sql("select 1") == [(1,)]
        wait_until(ready, timeout, f"{self.name} to accept connections (log: {self.log_path})", interval=0.05)

    def _gone(self, pid, timeout=30):
        if self._process is not None:
            pid = self._process.pid
        if pid is not None and not await_exit(pid, timeout):
            raise ClusterError(f"{self.name} did not end in {timeout} s, see {self.log_path}")
        if self._process is not None:
            self._process.wait()
            self._process = None
        elif pid is not None:  # another process's child: PostgreSQL takes a zombie for a running server
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), timeout, f"the parent of {self.name} to reap it")

    def stop(self, mode="fast"):
        """Ends it: smart waits for clients, fast sends them away (57P01), immediate does not even flush."""
        self.cluster.dirty = True
        self.hang_up()
        pid = self.pid
        if pid is not None:
            send(pid, {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self._gone(pid)

    def kill(self):
        """kill -9 of the whole instance, as when the machine loses power."""
        self.cluster.dirty = True
        pid = self.pid
        below = children(pid) if pid is not None else []
        if pid is not None:
            signal_instance(pid, signal.SIGKILL)
        self._gone(pid)
        for child in below:
            await_exit(child, 10)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def freeze(self):
        """SIGSTOP to the whole instance: its connections stay and nothing answers."""
        self.cluster.dirty = True
        self.hang_up()
        signal_instance(self.pid, signal.SIGSTOP)

    def thaw(self):
        signal_instance(self.pid, signal.SIGCONT)

    # Asking it.

    def dsn(self, dbname=DATABASE, user=SUPERUSER):
        """A connection string through the Unix socket, where no password is asked for."""
        return f"host={self.cluster.sockets} port={self.port} dbname={dbname} user={user} connect_timeout=10"

    def connect(self, dbname=DATABASE, user=SUPERUSER, **options):
        import psycopg
        options.setdefault("autocommit", True)
        return psycopg.connect(self.dsn(dbname, user), **options)

    def sql(self, query, params=None, dbname="postgres", user=SUPERUSER):
        """Runs `query` on a connection of its own; its rows, or None when it has none."""
        with self.connect(dbname, user) as conn:
            cursor = conn.execute(query, params)
            return cursor.fetchall() if cursor.description else None

    def ask(self, query, params=None):
        """The rows of a query that changes nothing, on a connection that is kept: for what is asked again and again."""
        import psycopg
        with self._asking:
            pid = self.pid
            if self._kept_of != pid:
                self.hang_up()
            for fresh in (self._kept is None, True):
                if self._kept is None:
                    self._kept, self._kept_of = self.connect("postgres"), pid
                try:
                    return self._kept.execute(query, params).fetchall()
                except psycopg.OperationalError:  # somebody may have ended it meanwhile
                    self.hang_up()
                    if fresh:
                        raise
        return None

    def hang_up(self):
        """Gives up the connection of ask()."""
        with self._asking:
            if self._kept is not None:
                self._kept.close()
            self._kept = self._kept_of = None

    def value(self, query, params=None, dbname="postgres"):
        return self.sql(query, params, dbname)[0][0]

    def set(self, name, value):
        """ALTER SYSTEM and reload; None resets. Returns when the server has taken it."""
        self.cluster.dirty = True
        with self.connect("postgres") as conn:
            before = conn.execute("select pg_conf_load_time()").fetchone()[0]
            quoted = "default" if value is None else "'" + str(value).replace("'", "''") + "'"
            conn.execute(f"alter system set {name} = {quoted}")
            conn.execute("select pg_reload_conf()")
        wait_until(lambda: self.value("select pg_conf_load_time()") > before, 10, f"{self.name} to reload")

    # Its log.

    def log_text(self, since=0):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            f.seek(since)
            return f.read()

    def log_size(self):
        return os.path.getsize(self.log_path)

    def statements(self, since=0):
        """(user, statement) of everything that log_statement wrote from position `since` on."""
        pattern = r"user=(\S*) db=\S* app=.*? LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)"
        return [(m[1], m[2].replace("\n\t", "\n")) for m in re.finditer(pattern, self.log_text(since))]


class Replica(Node):
    """A streaming replica, with the faults that replicas have."""

    def lsn(self):
        return self.value("select pg_last_wal_replay_lsn()")

    def pause_replay(self):
        self.cluster.dirty = True
        self.sql("select pg_wal_replay_pause()")
        wait_until(lambda: self.value("select pg_get_wal_replay_pause_state()") == "paused", 10,
                   f"{self.name} to pause replay")

    def resume_replay(self):
        self.sql("select pg_wal_replay_resume()")

    def delay(self, value):
        """recovery_min_apply_delay, such as '500ms'; '0' ends it."""
        self.set("recovery_min_apply_delay", value)

    def conninfo(self):
        """How it reaches the first server of the cluster."""
        return (f"host={self.cluster.sockets} port={self.cluster.primary.port} user={SUPERUSER} "
                f"application_name={self.name}")

    def streaming(self):
        return bool(self.ask("select 1 from pg_stat_wal_receiver where status = 'streaming'"))

    def cut_walreceiver(self):
        """No WAL comes any more, while the primary, the replica and the network between them are well."""
        self.set("primary_conninfo", "")
        wait_until(lambda: not self.sql("select 1 from pg_stat_wal_receiver"), 10, f"{self.name} to stop streaming")

    def restore_walreceiver(self):
        self.set("primary_conninfo", self.conninfo())
        wait_until(self.streaming, 15, f"{self.name} to stream again")

    def promote(self):
        self.cluster.dirty = True
        if not self.value("select pg_promote(true, 30)"):
            raise ClusterError(f"{self.name} was not promoted in 30 s, see {self.log_path}")

    def heal(self):
        """Back to a streaming replica without delay."""
        if self.pid is None:
            self.start()
        self.thaw()
        self.wait_ready()
        if self.value("select pg_get_wal_replay_pause_state()") != "not paused":
            self.resume_replay()
        if self.value("show recovery_min_apply_delay") != "0":
            self.delay("0")
        if self.value("show primary_conninfo") == "":
            self.restore_walreceiver()
        wait_until(self.streaming, 15, f"{self.name} to stream")


# --- the cluster ----------------------------------------------------------------------------------------------------

class Cluster:
    """A primary `pg1` and replicas `pg2`, `pg3`, ... A context manager; start() and close() otherwise."""

    def __init__(self, replicas=2, workspace=None):
        self.workspace = workspace or Workspace()
        self._own_workspace = workspace is None
        self._name = next(n for n in map("cluster{}".format, itertools.count(1)) if not os.path.exists(
            self.workspace.path(n)))
        self.dirty = False  # a fault was made: heal() has something to do
        self.nodes = []
        os.mkdir(self.path(), 0o711)
        self.sockets = self.path("sockets")
        self.workspace.make(os.path.join(self._name, "sockets"))
        self.tls = pki.Authority(self.path("tls"))
        self.tls.issue("server")
        self.tls.give_to(self.workspace.account)
        os.chmod(self.path("tls"), 0o755)
        self._shape = replicas

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    def path(self, *names):
        return self.workspace.path(self._name, *names)

    @property
    def primary(self):
        return self.nodes[0]

    @property
    def replicas(self):
        return self.nodes[1:]

    def node(self, name):
        for node in self.nodes:
            if node.name == name:
                return node
        raise ClusterError(f"no server {name}: there are {', '.join(n.name for n in self.nodes)}")

    def start(self):
        self._make_primary()
        for index in range(self._shape):
            self.nodes.append(Replica(self, f"pg{index + 2}", free_port()))
        copies = [(node, self._copy(node)) for node in self.replicas]
        for node, process in copies:
            self._finish(process, f"pg_basebackup for {node.name}")
            self._configure(node, "log_statement = all")
            node.start(wait=False)
        for node in self.replicas:
            node.wait_ready()
        self.write_state()
        return self

    def close(self):
        """Ends every server at once and removes everything. Idempotent."""
        pids = [node.pid for node in self.nodes]
        for pid in filter(None, pids):
            send(pid, signal.SIGQUIT)
            signal_instance(pid, signal.SIGCONT)
        for node, pid in zip(self.nodes, pids):
            node.hang_up()
            node._gone(pid)
        self.nodes = []
        shutil.rmtree(self.path(), ignore_errors=True)
        if self._own_workspace:
            self.workspace.close()

    def caught_up(self, timeout=30):
        """Waits until every replica has replayed all that is committed on the primary now."""
        # Not the insert position: after a WAL switch that stands behind a page header which no replica will replay.
        lsn = self.primary.ask("select pg_current_wal_flush_lsn()")[0][0]
        for node in self.replicas:
            wait_until(lambda: node.ask("select pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,))[0][0], timeout,
                       f"{node.name} to replay up to {lsn}")

    def at_work(self):
        """The clients' statements and transactions under way on any server: (server, pid, state, text)."""
        query = ("select pid, state, query from pg_stat_activity where backend_type = 'client backend' "
                 "and state <> 'idle' and pid <> pg_backend_pid()")
        return [(node.name, *row) for node in self.nodes for row in node.ask(query)]

    def wait_quiet(self, timeout=15):
        """Waits until nothing is at work: what was left behind would hold up replay, or whoever comes next."""
        with contextlib.suppress(ClusterError):
            return wait_until(lambda: not self.at_work(), timeout)
        raise ClusterError(f"still at work after {timeout:g} s: {self.at_work()}")

    def heal(self):
        """Ends every fault that was made, as far as that can be done without making a replica anew."""
        if not self.dirty:
            return
        if self.primary.pid is None:
            self.primary.start()
        self.primary.thaw()
        self.primary.wait_ready()
        for node in self.replicas:
            node.heal()
        self.caught_up()
        self.dirty = False

    def write_state(self):
        """What tools/cluster needs to drive this cluster from another process."""
        with open(self.workspace.path("cluster.json"), "w", encoding="utf-8") as f:
            json.dump({"name": self._name, "nodes": [[n.name, n.port] for n in self.nodes]}, f)

    # Making it.

    def _run(self, argv, what):
        self._finish(self.workspace.spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT), what)

    @staticmethod
    def _finish(process, what):
        output, _ = process.communicate(timeout=120)
        if process.returncode != 0:
            raise ClusterError(f"{what} failed:\n{output.decode(errors='replace')}")

    def _make_primary(self):
        node = Node(self, "pg1", free_port())
        self.workspace.make(os.path.join(self._name, node.name))
        self._run([os.path.join(BINDIR, "initdb"), "-D", node.data, "-U", SUPERUSER, "--auth=trust", "--no-sync",
                   "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8"], "initdb")
        with open(os.path.join(node.data, "pg_hba.conf"), "w", encoding="utf-8") as f:
            f.write(HBA)
        tls = f"ssl_cert_file = '{self.path('tls', 'server.crt')}'\nssl_key_file = '{self.path('tls', 'server.key')}'\n"
        self._configure(node, SETTINGS + tls + f"unix_socket_directories = '{self.sockets}'")
        self.nodes.append(node)
        node.start()
        with node.connect("postgres") as conn:
            for name, (password, options) in USERS.items():
                conn.execute(f"set password_encryption = '{'md5' if name == 'md5user' else 'scram-sha-256'}'")
                conn.execute(f"create role {name} login password '{password}' {options}")
            conn.execute(f"create database {DATABASE} owner app")
        with node.connect(DATABASE) as conn:
            conn.execute("grant create, usage on schema public to public")
            # The router takes inet_server_port() to ask about the primary; a view is a relation to be read like any other.
            conn.execute("create view here as select inet_server_port() as port, pg_backend_pid() as pid, "
                         "current_setting('cluster_name') as name")
            conn.execute("grant select on here to public")

    def _copy(self, node):
        self.workspace.make(os.path.join(self._name, node.name))
        return self.workspace.spawn(
            [os.path.join(BINDIR, "pg_basebackup"), "-D", node.data, "-d", node.conninfo(), "-R", "-X", "stream",
             "-C", "-S", f"slot_{node.name}", "--checkpoint=fast", "--no-sync"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    @staticmethod
    def _configure(node, text):
        with open(os.path.join(node.data, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write(f"{text}\nport = {node.port}\ncluster_name = '{node.name}'\n")


class RunningCluster(Cluster):
    """A cluster that another process started and will remove: nodes and their faults, no start and no close."""

    def __init__(self, folder):
        with open(os.path.join(folder, "cluster.json"), encoding="utf-8") as f:
            state = json.load(f)
        self.workspace = _Folder(folder)
        self._name = state["name"]
        self.dirty = True
        self.sockets = self.path("sockets")
        self.nodes = [(Node if i == 0 else Replica)(self, name, port) for i, (name, port) in enumerate(state["nodes"])]

    def start(self):
        raise ClusterError("it runs already")

    def close(self):
        """It is not ours to end."""


class _Folder(Workspace):
    """Another process's workspace, which that process and its guard clean up."""

    def __init__(self, folder):
        self.account = unprivileged_account()
        self.folder = folder
        self._guard = None

    def close(self):
        """It is not ours to remove."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["guard"]:
        guard(sys.argv[2])
