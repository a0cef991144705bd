# SPDX-License-Identifier: ISC
"""What others can take away: file descriptors, places for clients, memory, the time of who reads catalogs."""
import contextlib
import os
import re
import select
import subprocess
import threading
import time

import psycopg
import pytest

import frontend as fe
from harness.router import binary
from pgcluster import USERS, wait_until

CLIENTS, BEYOND = 20, 32  # BEYOND: what a router keeps of those that are too many (router/worker.c)


def login(endpoint, **more):
    return fe.Frontend(endpoint).login(password="app-password", **more)


@contextlib.contextmanager
def without_descriptors(endpoint):
    """The router gets no new file descriptor until the end of the block."""
    owner = os.stat(f"/proc/{endpoint.pid}")  # who alone may do that

    def allow(soft):
        subprocess.run(["prlimit", f"--pid={endpoint.pid}", f"--nofile={soft}:"], check=True, user=owner.st_uid,
                       group=owner.st_gid, extra_groups=[] if os.geteuid() == 0 else None)

    with open(f"/proc/{endpoint.pid}/limits", encoding="ascii") as f:
        before = re.search(r"^Max open files +(\d+)", f.read(), re.M)[1]
    allow(3)
    try:
        yield
    finally:
        allow(before)


def test_without_descriptors(router, cluster):
    """Statements wait for a connection; no server is taken to be down."""
    endpoint = router(server_login_retry="1h")
    conn, reader = login(endpoint), login(endpoint)
    with without_descriptors(endpoint):
        for node in cluster.nodes:
            node.ask("select pg_terminate_backend(pid) from pg_stat_activity where usename in ('app', 'monitor')")
        endpoint.wait_log("cannot be probed: .*Too many open files")
        conn.send(fe.query("select txid_current()"))
        reader.send(fe.query("select 1"))
        endpoint.wait_log("no connection: cannot make a socket: Too many open files")
        assert not select.select([conn.socket, reader.socket], [], [], 2)[0]
    assert fe.kinds(conn.until()) == "TDCZ" and fe.kinds(reader.until()) == "TDCZ"
    assert not re.search("server is not used|no server is the primary", endpoint.log_text())
    assert endpoint.metric("db_connection_pool_errors_total", reason="no_file_descriptors") > 0
    assert endpoint.metric("db_connection_pool_errors_total", reason="server_connect_failed") == 0
    for client in (conn, reader):
        client.socket.close()


def test_replication_without_descriptors(router):
    """It waits, as statements do."""
    password = USERS["replicator"][0]
    endpoint = router(auth={"app": "app-password", "replicator": password})
    with fe.Frontend(endpoint) as conn:
        wait_until(lambda: endpoint.metric("pgsteer_clients") == 1, 5, "it to be accepted")
        with without_descriptors(endpoint):
            login_it = threading.Thread(target=lambda: conn.login("replicator", "app", password, replication="database"))
            login_it.start()
            endpoint.wait_log("no replication connection: cannot make a socket: Too many open files")
        login_it.join(10)
        assert fe.kinds(conn.ask(fe.query("IDENTIFY_SYSTEM"))) == "TDCZ"
    assert endpoint.metric("db_connection_pool_errors_total", reason="server_connect_failed") == 0


def test_who_says_nothing_keeps_nobody_out(router):
    """Of those that are too many most are turned away, and who has been silent for a while gives way to who comes."""
    endpoint = router(max_client_conn=CLIENTS, workers=1)
    old = login(endpoint)
    silent = [fe.Frontend(endpoint) for _ in range(10 * CLIENTS)]
    wait_until(lambda: sum(bool(select.select([c.socket], [], [], 0)[0]) for c in silent)
               == len(silent) + 1 - CLIENTS - BEYOND, 5, "the others to be turned away")
    assert endpoint.metric("pgsteer_clients") == CLIENTS + BEYOND
    time.sleep(1.1)
    with login(endpoint) as conn:
        assert conn.value("select 1") == old.value("select 1") == "1"
    assert endpoint.metric("pgsteer_clients") <= CLIENTS
    assert endpoint.metric("db_connection_pool_errors_total", reason="too_many_clients") == len(silent) + 2 - CLIENTS
    for conn in [old, *silent]:
        conn.socket.close()


def test_cancelling_when_it_is_full(router):
    """A cancel request needs no place."""
    endpoint = router(max_client_conn=CLIENTS)
    clients = [login(endpoint) for _ in range(CLIENTS)]
    clients[0].send(fe.query("select pg_sleep(30)"))
    with fe.Frontend(endpoint) as conn:
        conn.send(fe.cancel(*clients[0].key))
        conn.drain()
    assert [e["C"] for e in fe.errors(clients[0].until())] == ["57014"]
    for conn in clients:
        conn.socket.close()


def test_few_descriptors(router, monkeypatch):
    """Clients get half of them, so that the servers' connections find some."""
    endpoint = router(start=False, workers=1)
    script = os.path.join(endpoint.folder, "few")
    with open(script, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\nulimit -n 256\nexec {binary()} \"$@\"\n")
    os.chmod(script, 0o755)
    monkeypatch.setenv("PGSTEER_BIN", script)
    endpoint.start()
    endpoint.wait_log("max_client_conn = 10000 needs .* only 256 are allowed: no more than 128 clients will be served")
    conn = login(endpoint)
    silent = [fe.Frontend(endpoint) for _ in range(400)]
    wait_until(lambda: endpoint.metric("db_connection_pool_errors_total", reason="too_many_clients") >= 401 - 128 - BEYOND,
               5, "most to be turned away")
    assert conn.value("select txid_current() > 0") == "t" and conn.value("select 1") == "1"
    assert endpoint.metric("db_connection_pool_errors_total", reason="no_file_descriptors") == 0
    for client in [conn, *silent]:
        client.socket.close()


# --- databases ------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def database(cluster, name):
    cluster.primary.sql(f"create database {name}")
    try:
        cluster.caught_up()
        yield
    finally:
        cluster.primary.sql(f"drop database if exists {name} with (force)")


def goes_to_replica(endpoint, conn, sql="select 1"):
    before = endpoint.metric("pgsteer_routed_total", target="replica")
    conn.execute(sql)
    return endpoint.metric("pgsteer_routed_total", target="replica") > before


def test_made_up_databases(router, cluster):
    """Whoever asks for databases that are not there has nobody look for their catalogs; one that is there is read."""
    endpoint = router(catalog_interval="100ms")
    for i in range(100):
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            endpoint.connect(dbname=f"made_up_{i}")
    assert "catalog of database" not in endpoint.log_text()
    with database(cluster, "made_up_7"), endpoint.connect(dbname="made_up_7") as conn:
        assert goes_to_replica(endpoint, conn)
    with endpoint.connect() as conn:
        assert goes_to_replica(endpoint, conn)


# A call of a function that is not known to be harmless goes to the primary.
FUNCTION = "create function harmless() returns int language sql stable as 'select 1'"


def test_database_that_is_dropped_and_made_again(router, cluster):
    """What was known of it is forgotten, and the new one's catalog is read."""
    endpoint = router(catalog_interval="100ms")
    with database(cluster, "again"):
        with endpoint.connect(dbname="again") as conn:
            assert goes_to_replica(endpoint, conn)
    endpoint.wait_log("the catalog of .*again.* cannot be read")

    def asked_for(seconds):
        mark = cluster.primary.log_size()
        time.sleep(seconds)
        return "again" in cluster.primary.log_text(mark)

    wait_until(lambda: not asked_for(0.5), 10, "nobody to ask for its catalog any more")

    def connected():
        with contextlib.suppress(psycopg.OperationalError):  # a refusal is remembered for a second
            return endpoint.connect(dbname="again")

    wait_until(lambda: not connected(), 5, "the login to be refused")
    with database(cluster, "again"):
        cluster.primary.sql(FUNCTION, dbname="again")
        cluster.caught_up()
        with wait_until(connected, 5, "the login") as conn:
            assert goes_to_replica(endpoint, conn)
            assert goes_to_replica(endpoint, conn, "select harmless()")


def test_client_of_a_database_that_is_made_again(router, cluster):
    """A client that has stayed meanwhile has the new one's catalog, too."""
    endpoint = router(catalog_interval="100ms")
    with database(cluster, "again"):
        conn = endpoint.connect(dbname="again")
        assert goes_to_replica(endpoint, conn)
    endpoint.wait_log("the catalog of .*again.* cannot be read")
    with database(cluster, "again"), conn:
        cluster.primary.sql(FUNCTION, dbname="again")
        cluster.caught_up()
        wait_until(lambda: goes_to_replica(endpoint, conn, "select harmless()"), 5, "the new catalog")
