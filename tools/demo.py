# SPDX-License-Identifier: ISC
"""What tools/run shows: pgsteer in front of a throwaway cluster, a few statements, and where each went and why.

Stays until Ctrl-C or SIGTERM, then ends and removes everything that it made.
"""
import contextlib
import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys

import psycopg

from pgcluster import DATABASE, USERS, Cluster, ClusterError, Workspace, free_port, wait_until

CONFIG = """\
; What tools/run made. Every option: docs/options.md
[pgsteer]
listen_addr = 127.0.0.1
listen_port = {port}
http_addr = 127.0.0.1
http_port = {http_port}
auth_type = scram-sha-256
auth_file = users.txt
pool_mode = transaction
default_pool_size = 20
consistency = session
max_lag = 60s
monitor_user = monitor
monitor_password = {monitor_password}
{user}{servers}
[database *]
"""

DATA = """
    create table customer (id int primary key, name text not null, balance numeric not null default 0);
    create table purchase (id bigserial primary key, customer int not null references customer, amount numeric not null,
                           at timestamptz not null default now());
    insert into customer select g, 'customer ' || g, 1000 from generate_series(1, 1000) g;
    insert into purchase (customer, amount) select 1 + g % 1000, g % 97 from generate_series(1, 5000) g;
    analyze customer, purchase;
"""

LATER = "a moment later, when the replicas have what was written:"

# Each tells the name of the server that it ran on, in its last column, when it gives rows.
STATEMENTS = [
    "select name, (select name from here) from customer where id = 7",
    "select sum(amount), (select name from here) from purchase where customer = 7",
    "with top as (select * from customer limit 3) select count(*), (select name from here) from top",
    "select name, (select name from here) from customer where id = 7 for update",
    "select nextval('purchase_id_seq'), (select name from here)",
    "begin",
    "update customer set balance = balance - 10 where id = 7 returning (select name from here)",
    "select balance, (select name from here) from customer where id = 7",
    "commit",
    "select balance, (select name from here) from customer where id = 7",
    LATER,
    "select balance, (select name from here) from customer where id = 7",
    "select count(*), (select name from here) from customer",
    "with gone as (delete from purchase where id = 1 returning *) select count(*), (select name from here) from gone",
    "/* pgsteer: primary */ select count(*), (select name from here) from customer",
]

# Reasons that are the router's own, not the statement's.
REASONS = {
    "in_transaction": "it is inside a transaction",
    "read_your_writes": "this client has just written, and no replica is known to have that yet",
    "monotonic": "no replica is known to be as far as what this client has seen",
    "global": "no replica is known to have everybody's last write yet",
    "serializable": "this client's transactions are serializable, and no replica can do that",
    "preference": "route = ... says so",
    "no_replica": "no replica takes reads now",
    "pinned": "session state ties this client to its primary connection",
    "rerun": "a replica refused it",
}


def step(text):
    print(f"\n\033[1m==> {text}\033[0m", flush=True)


def port_or(preferred):
    """The port that people know, when nobody has it."""
    with socket.socket() as s:
        with contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", preferred))
            return preferred
    return free_port()


class Router:
    """One pgsteer with a config of its own in front of `cluster`."""

    def __init__(self, binary, workspace, cluster):
        self.binary = os.path.abspath(binary)
        self.port, self.http_port = port_or(6432), port_or(8432)
        self.folder = workspace.make("pgsteer")
        os.chmod(self.folder, 0o755)
        self.config = os.path.join(self.folder, "pgsteer.ini")
        self.log = os.path.join(self.folder, "pgsteer.log")
        self._workspace = workspace
        servers = "".join(f"[server {n.name}]\nhost = {n.host}\nport = {n.port}\n" for n in cluster.nodes)
        account = workspace.account
        self._write("pgsteer.ini", CONFIG.format(
            port=self.port, http_port=self.http_port, monitor_password=USERS["monitor"][0], servers=servers,
            user=f"user = {account.pw_name}\n" if account else ""))
        self._write("users.txt", "".join(f'"{name}" "{USERS[name][0]}"\n' for name in ("app", "other")))

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        self._workspace.give(path)

    def start(self, replicas):
        """Starts it as we are: with user= in the config it becomes that user itself, wherever the program lies."""
        with open(self.log, "ab") as log:
            self._workspace.give(self.log)
            self.process = self._workspace.spawn([self.binary, "--config", self.config], unprivileged=False,
                                                 stdout=log, stderr=log)

        def ready():
            if self.process.poll() is not None:
                raise ClusterError(f"pgsteer ended with code {self.process.returncode}:\n{open(self.log).read()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("/metrics").count('db_replica_health{replica=') and all(
                    f'db_replica_health{{replica="{n.name}"}} 1' in self.get("/metrics") for n in replicas)
        wait_until(ready, 20, f"pgsteer to be ready (log: {self.log})", interval=0.05)

    def get(self, path):
        conn = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            conn.request("GET", path)
            return conn.getresponse().read().decode()
        finally:
            conn.close()

    def url(self):
        return f"postgresql://app:{USERS['app'][0]}@127.0.0.1:{self.port}/{DATABASE}"

    def decisions(self):
        """{reason: how many statements were routed for it}."""
        found = {}
        for labels, count in re.findall(r"^pgsteer_routed_total\{(.*)\} (\d+)", self.get("/metrics"), re.M):
            reason = re.search(r'reason="([^"]*)"', labels)[1]
            found[reason] = found.get(reason, 0) + int(count)
        return found

    def sentence(self, sql):
        """What the statement itself says: pgsteer --classify."""
        text = subprocess.run([self.binary, "--classify", sql], capture_output=True, text=True, check=False).stdout
        match = re.search(r"^reason: \S+ \((.*)\)$", text, re.M)
        return match[1] if match else text.strip()


def show(router, cluster):
    """Runs the statements on one connection and says of each where it went and why."""
    names = {n.name: f"{n.name} {'primary' if n is cluster.primary else 'replica'}" for n in cluster.nodes}
    print(f"(here is a view that tells which server reads it)\n{'server':<12} statement, and why it went there")
    with psycopg.connect(router.url(), autocommit=True, prepare_threshold=None) as conn:
        before = router.decisions()
        for sql in STATEMENTS:
            if sql is LATER:
                wait_until(lambda: conn.execute("select name from here").fetchone()[0] != cluster.primary.name, 5,
                           "reads on replicas after a write")
                before = router.decisions()
                print(f"{'':<12} {LATER}")
                continue
            cursor = conn.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            where = names.get(row[-1], "?") if row else ""
            after = router.decisions()
            reasons = [r for r in after if after[r] > before.get(r, 0)]
            before = after
            own = [REASONS[r] for r in reasons if r in REASONS]
            print(f"{where:<12} {sql}\n{'':<12}   \033[2m{own[0] if own else router.sentence(sql)}"
                  f"{' [' + ', '.join(reasons) + ']' if reasons else ''}\033[0m")


def serve(router):
    """Until a signal comes or the router ends."""
    print(f"""
connect     psql '{router.url()}'
why there   SET pgsteer.show_route = on; tells it with each answer
health      http://127.0.0.1:{router.http_port}/health
metrics     http://127.0.0.1:{router.http_port}/metrics
config      {router.config}
log         {router.log}

Ctrl-C ends it and removes everything.""", flush=True)
    fd = os.pidfd_open(router.process.pid)
    select.select([fd], [], [])
    raise ClusterError(f"pgsteer ended with code {router.process.wait()}:\n{open(router.log).read()[-4000:]}")


def stop(router):
    step("Stopping and removing everything")
    router.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        router.process.wait(3)


def main(binary):
    workspace = Workspace("pgsteer-run-")
    try:
        step("Starting PostgreSQL: a primary and two streaming replicas")
        with Cluster(2, workspace) as cluster:
            for node in cluster.nodes:
                print(f"{node.name:<12} 127.0.0.1:{node.port}  log: {node.log_path}")
            router = Router(binary, workspace, cluster)
            step("Starting pgsteer in front of it")
            router.start(cluster.replicas)
            try:
                step("Loading a small data set through it")
                with psycopg.connect(router.url(), autocommit=True) as conn:
                    conn.execute(DATA)
                cluster.caught_up()
                step("Where statements go")
                show(router, cluster)
                serve(router)
            finally:
                stop(router)
    finally:
        workspace.close()


if __name__ == "__main__":
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        print()
    except (ClusterError, psycopg.Error) as error:
        sys.exit(f"tools/run: {error}")
