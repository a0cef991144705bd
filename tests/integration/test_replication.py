# SPDX-License-Identifier: ISC
"""Replication connections: each has a server connection of its own to the primary, and everything goes through it."""
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import psycopg
import pytest

import frontend as fe
import pki
from harness.load import port
from harness.router import sanitized
from pgcluster import BINDIR, USERS, Node, free_port, spawn, wait_until

USER = "replicator"
PASSWORD = USERS[USER][0]
AUTH = {name: USERS[name][0] for name in ("app", USER)}


@pytest.fixture
def endpoint(router):
    return router(auth=AUTH)


@pytest.fixture
def folder(workspace):
    """A new folder that servers and tools may write to."""
    made = []

    def make(name):
        path = workspace.path(f"replication-{name}-{len(os.listdir(workspace.folder))}")
        os.mkdir(path, 0o700)
        workspace.give(path)
        made.append(path)
        return path

    yield make
    for path in made:
        subprocess.run(["rm", "-rf", path], check=True)


class Tool:
    """A program of PostgreSQL's, run against an endpoint; killed at the end if it still runs."""

    def __init__(self, workspace, endpoint, program, *arguments, **env):
        self._process = spawn([os.path.join(BINDIR, program), *arguments], workspace.account, cwd="/",
                              env={**endpoint.env(user=USER), "HOME": "/nonexistent", **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def finish(self, timeout=60):
        """Waits for its end: (exit code, what it said)."""
        output, _ = self._process.communicate(timeout=timeout)
        return self._process.returncode, output.decode(errors="replace")

    def stop(self):
        self._process.send_signal(signal.SIGINT)
        return self.finish(20)

    def running(self):
        return self._process.poll() is None


@pytest.fixture
def tool(workspace):
    with contextlib.ExitStack() as stack:
        def start(endpoint, program, *arguments, **env):
            return stack.enter_context(Tool(workspace, endpoint, program, *arguments, **env))
        yield start


def succeed(tool, timeout=60):
    code, output = tool.finish(timeout)
    assert code == 0, output
    return output


def replicate(endpoint, kind="database", database="app", timeout=10, **parameters):
    return fe.Frontend(endpoint, timeout=timeout).login(USER, database, PASSWORD, replication=kind, **parameters)


def walsenders(cluster):
    """The walsenders of the test's user: process ids."""
    return [pid for pid, in cluster.primary.sql("select pid from pg_stat_activity where usename = %s and "
                                                "backend_type = 'walsender'", (USER,))]


def streaming(cluster):
    return cluster.primary.sql("select 1 from pg_stat_replication where usename = %s and state = 'streaming'", (USER,))


def gone(cluster):
    wait_until(lambda: not walsenders(cluster), 10, "the walsender to end")


def start_physical(conn, cluster):
    """Copy-both mode from the present position on."""
    conn.send(fe.query(f"START_REPLICATION {cluster.primary.value('select pg_current_wal_lsn()')}"))
    assert conn.until("W")[-1].type == "W"


# --- the real tools ---------------------------------------------------------------------------------------------------

def test_pg_basebackup(endpoint, cluster, table, folder, tool, workspace):
    """A backup with its stream of WAL is whole, and a server starts from it."""
    name = table("id int primary key, v text", "select g, repeat('x', 500) from generate_series(1, 20000) g")
    data = folder("backup")
    succeed(tool(endpoint, "pg_basebackup", "-D", data, "-X", "stream", "--checkpoint=fast", "--no-sync"), 120)
    succeed(tool(endpoint, "pg_verifybackup", data))
    copy = Copy(cluster, data, workspace)
    try:
        copy.start()
        assert copy.sql(f"select count(*), sum(length(v)) from {name}", dbname="app") == [(20000, 20000 * 500)]
    finally:
        copy.end()
    gone(cluster)


class Copy:
    """A server of its own, started from a base backup."""

    def __init__(self, cluster, data, workspace):
        self._node = Node(cluster, os.path.basename(data), free_port())
        self._node.data, self._node.log_path = data, data + ".log"
        with open(os.path.join(data, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write(f"port = {self._node.port}\ncluster_name = 'copy'\n")
        self.start, self.sql = self._node.start, self._node.sql

    def end(self):
        self._node.stop("immediate")
        os.unlink(self._node.log_path)


def test_pg_receivewal(endpoint, cluster, table, folder, tool):
    """It streams, confirms what it has, and ends when it is told to."""
    name = table()
    target = folder("wal")
    receiver = tool(endpoint, "pg_receivewal", "-D", target, "--status-interval=1", "--synchronous")
    wait_until(lambda: streaming(cluster), 15, "pg_receivewal to stream")
    cluster.primary.sql(f"insert into {name} select g, g from generate_series(1, 1000) g", dbname="app")
    end = cluster.primary.value("select pg_current_wal_flush_lsn()")
    wait_until(lambda: cluster.primary.sql(
        "select 1 from pg_stat_replication where usename = %s and flush_lsn >= %s::pg_lsn", (USER, end)), 15,
        "pg_receivewal to confirm what was written")
    assert receiver.stop()[0] == 0
    segment = cluster.primary.value("select pg_walfile_name(%s::pg_lsn)", (end,))
    assert any(f.startswith(segment) for f in os.listdir(target)), os.listdir(target)
    gone(cluster)


def test_pg_recvlogical(endpoint, cluster, table, folder, tool):
    """A slot is made, read and dropped; what is decoded is what was written, in order."""
    name = table()
    output = os.path.join(folder("decoded"), "out")
    slot = ["-d", "app", "--slot", "through_the_router"]
    succeed(tool(endpoint, "pg_recvlogical", *slot, "--create-slot", "-P", "test_decoding"))
    try:
        cluster.primary.sql(f"insert into {name} select g, 7 from generate_series(1, 500) g", dbname="app")
        end = cluster.primary.value("select pg_current_wal_flush_lsn()")
        succeed(tool(endpoint, "pg_recvlogical", *slot, "--start", "-f", output, "--endpos", str(end),
                     "-s", "1", "-o", "include-xids=0"))
    finally:
        gone(cluster)
        succeed(tool(endpoint, "pg_recvlogical", *slot, "--drop-slot"))
    with open(output, encoding="utf-8") as f:
        lines = [line.strip() for line in f if "INSERT" in line]
    assert lines == [f"table public.{name}: INSERT: id[integer]:{n} v[integer]:7" for n in range(1, 501)]


def test_subscription(endpoint, cluster, table, new_cluster):
    """Another server subscribes with the router as the publisher's address: initial copy, stream, and a restart of the
    router in between."""
    name = table("id int primary key, v text", "select g, 'before' from generate_series(1, 3000) g")
    subscriber = new_cluster(0).primary
    cluster.primary.sql(f"grant select on {name} to {USER}", dbname="app")
    cluster.primary.sql(f"create publication p_{name} for table {name}", dbname="app")

    def arrived(count, text):
        wait_until(lambda: subscriber.sql(f"select count(*) from {name} where v = %s", (text,), dbname="app")
                   == [(count,)], 30, f"{count} rows {text!r} at the subscriber")

    subscriber.sql(f"create table {name} (id int primary key, v text)", dbname="app")
    subscriber.sql(f"create subscription s_{name} connection 'host={endpoint.host} port={endpoint.port} user={USER} "
                   f"password={PASSWORD} dbname=app' publication p_{name}", dbname="app")
    try:
        arrived(3000, "before")
        cluster.primary.sql(f"insert into {name} select g, 'after' from generate_series(3001, 4000) g", dbname="app")
        arrived(1000, "after")
        cluster.primary.sql(f"update {name} set v = 'changed' where id % 2 = 0", dbname="app")
        arrived(2000, "changed")
        endpoint.stop()
        cluster.primary.sql(f"delete from {name} where id <= 100", dbname="app")
        endpoint.start()
        wait_until(lambda: subscriber.sql(f"select count(*) from {name}", dbname="app") == [(3900,)], 60,
                   "the deletes at the subscriber")
    finally:
        subscriber.sql(f"drop subscription s_{name}", dbname="app")
        cluster.primary.sql(f"drop publication p_{name}", dbname="app")
    gone(cluster)


@pytest.mark.parametrize("program", ["pg_basebackup", "pg_receivewal"])
def test_tls_on_both_sides(router, cluster, folder, tool, workspace, program):
    """With SCRAM, with the client's connection and the server's encrypted, and with a verifier instead of a password."""
    authority = pki.Authority(workspace.path(f"tls-replication-{program}"))
    cert, key = authority.issue("router")
    authority.give_to(workspace.account)
    os.chmod(workspace.path(f"tls-replication-{program}"), 0o755)
    (verifier,), = cluster.primary.sql("select rolpassword from pg_authid where rolname = %s", (USER,))
    endpoint = router(auth={**AUTH, USER: verifier}, client_tls_sslmode="require", client_tls_cert_file=cert,
                      client_tls_key_file=key, server_tls_sslmode="verify-full",
                      server_tls_ca_file=cluster.tls.cert)
    target = folder(program)
    if program == "pg_basebackup":
        succeed(tool(endpoint, program, "-D", target, "--checkpoint=fast", "--no-sync", PGSSLMODE="require"), 120)
    else:
        receiver = tool(endpoint, program, "-D", target, "--no-sync", PGSSLMODE="require")
        wait_until(lambda: streaming(cluster), 15, "pg_receivewal to stream")
        assert cluster.primary.sql("select ssl from pg_stat_ssl join pg_stat_replication using (pid) "
                                   "where usename = %s", (USER,)) == [(True,)]
        assert receiver.stop()[0] == 0
    gone(cluster)


# --- who may --------------------------------------------------------------------------------------------------------

def refused(endpoint, user=USER, password=PASSWORD, **parameters):
    with fe.Frontend(endpoint) as conn, pytest.raises(fe.ServerError) as caught:
        conn.login(user, "app", password, **parameters)
    return caught.value


def test_disabled(router):
    endpoint = router(auth=AUTH, max_replication_connections=0)
    for kind in ("true", "database"):
        error = refused(endpoint, replication=kind)
        assert error.code == "0A000" and "replication connections are disabled" in error.fields["M"]
    assert replicate(endpoint, "false").value("select 1") == "1"
    endpoint.reload(auth=AUTH, max_replication_connections=1)
    wait_until(lambda: try_once(endpoint), 5, "the reload to reach the workers")


def try_once(endpoint):
    with contextlib.suppress(fe.ServerError), replicate(endpoint) as conn:
        return conn.value("show wal_level")


def test_limit(router, cluster):
    """max_replication_connections, in all workers together; who leaves makes room."""
    endpoint = router(auth=AUTH, max_replication_connections=3, workers=3)
    connections = [replicate(endpoint) for _ in range(3)]
    assert endpoint.metric("pgsteer_replication_connections") == 3
    error = refused(endpoint, replication="true")
    assert error.code == "53300" and "max_replication_connections = 3" in error.fields["M"]
    with endpoint.connect() as conn:
        port(conn)
    connections.pop().socket.close()
    wait_until(lambda: try_once(endpoint), 5, "room for another one")
    for conn in connections:
        conn.socket.close()
    gone(cluster)


def test_what_the_server_says_is_told(endpoint, router):
    """A role without REPLICATION, and a database that is not there: in PostgreSQL's words."""
    error = refused(endpoint, "app", "app-password", replication="database")
    assert error.code == "42501" and "REPLICATION" in error.fields["M"].upper(), error
    error = refused(endpoint, "app", "app-password", replication="true")
    assert error.code == "28000" and "no pg_hba.conf entry for replication" in error.fields["M"], error
    assert refused(endpoint, USER, "wrong", replication="true").code == "28P01"
    assert refused(endpoint, replication="maybe").code == "22023"
    only = router(auth=AUTH, databases={"mine": {"dbname": "app"}})
    with fe.Frontend(only) as conn, pytest.raises(fe.ServerError) as caught:
        conn.login(USER, "app", PASSWORD, replication="database")
    assert caught.value.code == "3D000"
    with replicate(only, "true", database="replication") as conn:  # of the whole cluster: the name means nothing
        assert fe.kinds(conn.ask(fe.query("IDENTIFY_SYSTEM"))) == "TDCZ"
    with replicate(only, database="mine") as conn:
        assert conn.value("select current_database()") == "app"


# --- what goes through ----------------------------------------------------------------------------------------------

def test_commands(endpoint, cluster):
    """A walsender's grammar, and SQL of every kind, all on the same connection to the primary."""
    with replicate(endpoint, application_name="mine", options="-c work_mem=77MB -c my.tenant=x") as conn:
        (system, *_, database), = fe.rows(conn.ask(fe.query("IDENTIFY_SYSTEM")))
        assert database == "app"
        assert system == str(cluster.primary.value("select system_identifier from pg_control_system()"))
        backends = {conn.value("select pg_backend_pid()") for _ in range(3)}
        assert conn.value("SHOW work_mem") == "77MB" and conn.value("select current_setting('my.tenant')") == "x"
        assert conn.value("select name from here") == "pg1"
        assert conn.parameters["application_name"] == "mine" and conn.parameters["server_version"]
        assert fe.kinds(conn.ask(fe.query("begin"))) == "CZ" and conn.status == "T"
        assert fe.errors(conn.ask(fe.query("select 1/0")))[0]["C"] == "22012" and conn.status == "E"
        conn.ask(fe.query("rollback"))
        assert fe.errors(conn.ask(fe.query("nonsense")))[0]["C"] == "42601"
        assert fe.errors(conn.ask(fe.ask("select 1")))[0]["C"] == "08P01"  # no extended protocol there
        conn.ask(fe.query("create temp table t as select 1; listen here; select pg_advisory_lock(1)"))
        backends.add(conn.value("select pg_backend_pid()"))
        assert backends == {str(pid) for pid in walsenders(cluster)}
        assert endpoint.metric("pgsteer_clients_pinned") == 0
    gone(cluster)


def test_never_pooled(router, cluster):
    """It takes no place in a pool, and nobody gets its connection afterwards."""
    endpoint = router(auth=AUTH, default_pool_size=1, workers=1)
    with replicate(endpoint) as walsender, endpoint.connect(user=USER) as conn:
        pid = walsender.value("select pg_backend_pid()")
        walsender.ask(fe.query("begin"))
        assert str(conn.execute("select pg_backend_pid()").fetchone()[0]) != pid
        walsender.send(fe.TERMINATE)
        assert walsender.drain() == []
        gone(cluster)
        assert conn.execute("select current_setting('application_name')").fetchone() == ("",)


def test_copy_done_on_both_sides(endpoint, cluster):
    """Copy-both mode ends with a handshake, and the connection takes commands again."""
    with replicate(endpoint, "true") as conn:
        for _ in range(3):
            start_physical(conn, cluster)
            wait_until(lambda: streaming(cluster), 10, "the stream")
            conn.send(fe.COPY_DONE)
            assert fe.kinds([m for m in conn.until("Z") if m.type != "d"]) == "cCCZ"
            assert fe.kinds(conn.ask(fe.query("IDENTIFY_SYSTEM"))) == "TDCZ"


def test_keepalives(endpoint, cluster):
    """The server's reach the client, and the client's answer the server, through more than wal_sender_timeout."""
    cluster.primary.set("wal_sender_timeout", "1s")
    try:
        with replicate(endpoint, "true") as conn:
            start_physical(conn, cluster)
            asked = 0
            while asked < 4:  # one is asked for after half of the timeout
                got = conn.receive()
                if got.type == "d" and got.body[:1] == b"k" and got.body[-1:] == b"\1":
                    asked += 1
                    conn.send(fe.copy_data(b"r" + got.body[1:9] * 3 + got.body[9:17] + b"\0"))
            assert streaming(cluster)
            assert not fe.errors(conn.drain())  # nothing answers any more: the server ends it, without a word
    finally:
        cluster.primary.set("wal_sender_timeout", None)
    gone(cluster)


@pytest.mark.memory
def test_slow_client(router, cluster, table):
    """A base backup for a client that does not read is held back at the server; nothing grows, and nothing is lost."""
    table("id int, v text", "select g, repeat(md5(g::text), 30) from generate_series(1, 40000) g")
    endpoint = router(auth=AUTH, measure=True)
    with replicate(endpoint, "true", timeout=60) as conn:
        conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        fe.kinds(conn.ask(fe.query("IDENTIFY_SYSTEM")))
        before = endpoint.reset_peak()
        conn.send(fe.query("BASE_BACKUP ( LABEL 'slow', CHECKPOINT 'fast', WAIT 0 )"))
        waiting = "select 1 from pg_stat_activity where usename = %s and wait_event = 'WalSenderWriteData'"
        wait_until(lambda: cluster.primary.sql(waiting + " or usename = %s and wait_event = 'ClientWrite'",
                                               (USER, USER)), 20, "the server to wait for the client")
        assert endpoint.peak() - before < (4 if not sanitized() else 16) << 20
        got = sum(len(m.body) for m in conn.until("Z"))
        assert got > 40 << 20 and endpoint.peak() - before < (4 if not sanitized() else 16) << 20
    gone(cluster)


def test_timeouts_of_others_do_not_end_it(router, cluster):
    """client_idle_timeout and idle_transaction_timeout are for sessions."""
    endpoint = router(auth=AUTH, client_idle_timeout="300ms", idle_transaction_timeout="300ms",
                      query_wait_timeout="300ms", server_lifetime="1s", server_idle_timeout="1s")
    with replicate(endpoint) as idle, replicate(endpoint, "true") as stream:
        idle.ask(fe.query("begin"))
        start_physical(stream, cluster)
        for _ in range(4):  # each of them lives as long as the timeout
            with fe.Frontend(endpoint).login(password="app-password") as conn:
                assert [e["C"] for e in fe.errors(conn.drain())] == ["57P05"]
        assert idle.value("select 1") == "1"
        stream.send(fe.COPY_DONE)
        assert stream.until("Z")[-1].type == "Z"


def test_cancel(endpoint, cluster):
    with replicate(endpoint) as conn:
        for _ in range(20):  # PostgreSQL signals twice: the second one must not hit the next statement
            conn.send(fe.query("select pg_sleep(60)"))
            wait_until(lambda: cluster.primary.sql("select 1 from pg_stat_activity where usename = %s and "
                                                   "wait_event = 'PgSleep'", (USER,)), 10, "the statement to run")
            with socket.create_connection((endpoint.host, endpoint.port), 10) as s:
                s.sendall(fe.cancel(*conn.key))
                assert s.recv(100) == b""
            assert fe.errors(conn.until("Z"))[0]["C"] == "57014"
        assert conn.value("select 1") == "1"


# --- ends -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("doing", ["idle", "streaming", "backup"])
def test_client_vanishes(endpoint, cluster, table, how, doing):
    """The walsender ends with its client."""
    conn = replicate(endpoint, "true")
    if doing == "streaming":
        start_physical(conn, cluster)
    elif doing == "backup":
        conn.send(fe.query("BASE_BACKUP ( CHECKPOINT 'fast', WAIT 0 )"))
        conn.until("d")
    assert walsenders(cluster)
    if how == "reset":
        conn.reset()
    else:
        conn.socket.close()
    gone(cluster)
    wait_until(lambda: endpoint.metric("pgsteer_replication_connections") == 0, 5, "it not to be counted any more")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_server_goes(endpoint, cluster, mode):
    """What the server says last reaches the client, which comes again when the server does."""
    with replicate(endpoint) as idle, replicate(endpoint, "true") as stream:
        if mode == "immediate":  # else it would wait for the client to have everything
            start_physical(stream, cluster)
        cluster.primary.stop(mode)
        for conn in (idle, stream):
            assert [e["C"] for e in fe.errors(conn.drain())] == (["57P01"] if mode == "fast" else [])
    cluster.primary.start()
    with replicate(endpoint) as conn:  # waits for the primary
        assert conn.value("select 1") == "1"


def test_waits_for_a_primary(router, cluster):
    """A client that comes while there is none gets one as soon as it is there, or an error in time."""
    endpoint = router(auth=AUTH, query_wait_timeout="1s", server_login_retry="100ms")
    cluster.primary.stop()
    assert refused(endpoint, replication="true").code in ("57P03",)
    cluster.primary.start()
    endpoint.reload(auth=AUTH, query_wait_timeout="30s")
    with replicate(endpoint) as conn:
        assert conn.value("select 1") == "1"


def test_another_primary(router, new_cluster):
    """After a failover those that replicate from the old primary are sent away, and come back to the new one."""
    cluster = new_cluster(1)
    endpoint = router(cluster=cluster, auth=AUTH)
    with replicate(endpoint) as idle, replicate(endpoint, "true") as stream:
        start_physical(stream, cluster)
        cluster.primary.freeze()
        cluster.replicas[0].promote()
        for conn in (idle, stream):
            said = conn.drain()
            assert [e["C"] for e in fe.errors(said)] == ["57P01"] and "not the primary" in fe.errors(said)[0]["M"]
    with replicate(endpoint) as conn:
        assert conn.value("select current_setting('cluster_name')") == "pg2"


def test_drain(router, cluster):
    """Those that do nothing or stream are told to go at once; a base backup runs to its end, and its stream with it."""
    endpoint = router(auth=AUTH, shutdown_timeout="60s")
    with replicate(endpoint) as idle, replicate(endpoint, "true") as stream:
        start_physical(stream, cluster)
        backup = replicate(endpoint, "true", timeout=60)
        backup.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        backup.send(fe.query("BASE_BACKUP ( CHECKPOINT 'fast', WAIT 0 )"))
        backup.until("d")
        endpoint.send_signal(signal.SIGTERM)
        assert [e["C"] for e in fe.errors(idle.drain())] == ["57P01"]
        cluster.primary.sql("select pg_logical_emit_message(false, 'x', 'y')")
        while stream.receive().body[:1] != b"w":  # it goes on
            pass
        said = backup.drain()
        assert [m.type for m in said if m.type in "ZE"] == ["Z", "E"] and fe.errors(said)[0]["C"] == "57P01"
        assert [e["C"] for e in fe.errors(stream.drain())] == ["57P01"]
        backup.socket.close()
    assert endpoint.wait_exit(10) == 0
    endpoint.stop()
    gone(cluster)


def test_drain_of_a_slow_reader(router, cluster):
    """One that is idle, and has not read what it was answered, is told to go behind that."""
    endpoint = router(auth=AUTH, shutdown_timeout="60s")
    conn = fe.Frontend(endpoint, narrow=True).login(USER, "app", PASSWORD, replication="database")
    conn.send(fe.query("select repeat('x', 1000) from generate_series(1, 160)"))  # it stops no server, see test_drain
    conn.until("D")
    endpoint.send_signal(signal.SIGTERM)
    endpoint.wait_log("closing: .*shutting down")
    got = conn.drain()
    assert len(fe.rows(got)) == 159 and fe.kinds(got).lstrip("D") == "CZE" and fe.errors(got)[0]["C"] == "57P01"
    assert endpoint.wait_exit(5) == 0
    endpoint.stop()
    gone(cluster)


def test_end_of_the_drain(router, cluster):
    """After shutdown_timeout a base backup is ended as well."""
    endpoint = router(auth=AUTH, shutdown_timeout="500ms")
    with replicate(endpoint, "true") as backup:
        backup.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        backup.send(fe.query("BASE_BACKUP ( CHECKPOINT 'fast', WAIT 0 )"))
        backup.until("d")
        endpoint.send_signal(signal.SIGTERM)
        assert endpoint.wait_exit(10) == 0
        assert not any(m.type == "Z" for m in backup.drain())
    endpoint.stop()
    gone(cluster)


def test_under_load(endpoint, cluster, table):
    """Streams of WAL while clients write: what comes through the router is what the primary wrote."""
    name = table()
    begin = cluster.primary.value("select pg_current_wal_flush_lsn()")
    with replicate(endpoint, "true", timeout=30) as stream:
        stream.send(fe.query(f"START_REPLICATION {begin}"))
        stream.until("W")

        def write():
            with endpoint.connect() as conn:
                for n in range(200):
                    conn.execute(f"insert into {name} select {n} * 100 + g, g from generate_series(1, 100) g")

        writer = threading.Thread(target=write)
        writer.start()
        got, at = bytearray(), None
        deadline = time.monotonic() + 60
        writer_done_at = None
        while writer_done_at is None or at < writer_done_at:
            assert time.monotonic() < deadline
            message = stream.receive()
            if message.type == "d" and message.body[:1] == b"w":
                start = int.from_bytes(message.body[1:9], "big")
                assert at is None or start == at, "a hole in the stream"
                got += message.body[25:]
                at = start + len(message.body) - 25
            if writer_done_at is None and not writer.is_alive():
                high, low = str(cluster.primary.value("select pg_current_wal_flush_lsn()")).split("/")
                writer_done_at = (int(high, 16) << 32) + int(low, 16)
        writer.join()
    high, low = str(begin).split("/")
    first = (int(high, 16) << 32) + int(low, 16)
    assert bytes(got) == wal_bytes(cluster.primary, first, len(got))


def wal_bytes(node, start, count):
    """The same bytes from the primary's own files."""
    size, data = 16 << 20, b""
    while len(data) < count:
        at = start + len(data)
        segment = f"{1:08X}{at >> 32:08X}{(at & 0xffffffff) // size:08X}"
        with open(os.path.join(node.data, "pg_wal", segment), "rb") as f:
            f.seek(at % size)
            data += f.read(min(size - at % size, count - len(data)))
    return data


def test_psycopg_still_works(endpoint):
    with psycopg.connect(**endpoint.params(user=USER)) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
