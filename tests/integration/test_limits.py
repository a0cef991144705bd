# SPDX-License-Identifier: ISC
"""What others can take away: file descriptors, places for clients, memory, the time of who reads catalogs."""
import contextlib
import os
import re
import select
import subprocess
import threading

import frontend as fe
from pgcluster import USERS, wait_until


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
