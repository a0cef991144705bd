# SPDX-License-Identifier: ISC
"""A cancel request ends the statement of the client that it names, wherever that runs, and nobody else's."""
import socket
import threading
import time

import psycopg
import pytest

import frontend as fe
from harness.load import port, run_clients
from pgcluster import wait_until


def login(endpoint):
    return fe.Frontend(endpoint).login(password="app-password")


def send_cancel(endpoint, key):
    """As libpq: the answer is the end of the connection."""
    with socket.create_connection((endpoint.host, endpoint.port), 10) as s:
        s.sendall(fe.cancel(*key))
        s.settimeout(10)
        assert s.recv(100) == b""


def running(cluster, text):
    query = "select count(*) from pg_stat_activity where query like %s and state = 'active' and pid <> pg_backend_pid()"
    return sum(n.value(query, (f"%{text}%",)) for n in cluster.nodes)


@pytest.mark.direct
@pytest.mark.parametrize("where", ["replica", "primary", "transaction", "extended"])
def test_cancel(router, cluster, where):
    endpoint = router()
    with login(endpoint) as conn:
        sql = "select pg_sleep(60)" + (", txid_current()" if where == "primary" else "") + f" /* {where} */"
        if where == "transaction":
            conn.ask(fe.query("begin"))
        conn.send(fe.ask(sql) if where == "extended" else fe.query(sql))
        wait_until(lambda: running(cluster, f"/* {where} */"), 10, "the statement to run")
        start = time.monotonic()
        send_cancel(endpoint, conn.key)
        got = conn.until("Z")
        assert fe.errors(got)[0]["C"] == "57014" and time.monotonic() - start < 3
        assert conn.status == ("E" if where == "transaction" else "I")
        conn.ask(fe.query("rollback"))
        assert conn.value("select 1") == "1"


@pytest.mark.direct
def test_psycopg_cancel(router):
    with router().connect() as conn:
        timer = threading.Timer(0.3, conn.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("select pg_sleep(60)")
        assert conn.execute("select 1").fetchone() == (1,)


@pytest.mark.direct
def test_cancel_of_an_idle_client(router):
    endpoint = router()
    with login(endpoint) as conn:
        for _ in range(20):
            send_cancel(endpoint, conn.key)
            assert conn.value("select 1") == "1"


@pytest.mark.direct
def test_wrong_keys(router, cluster):
    """A wrong key does nothing, and says nothing."""
    endpoint = router()
    with login(endpoint) as conn:
        conn.send(fe.query("select pg_sleep(1.5) /* wrong key */"))
        wait_until(lambda: running(cluster, "/* wrong key */"), 10, "the statement to run")
        pid, key = conn.key
        for wrong in ((pid, key ^ 1), (pid ^ 1, key), (0, 0), (0xffffffff, 0xffffffff)):
            send_cancel(endpoint, wrong)
        assert fe.errors(conn.until("Z")) == []


def test_keys_are_unguessable(router):
    """All different, and no counter: neither half tells the next."""
    endpoint = router()
    connections = [login(endpoint) for _ in range(20)]
    keys = [c.key for c in connections]
    for conn in connections:
        conn.socket.close()
    assert len({key for _, key in keys}) == 20
    distances = {(b[1] - a[1]) & 0xffffffff for a, b in zip(keys, keys[1:])}
    assert len(distances) == 19


def test_only_the_named_client(router):
    """One server connection, passed from hand to hand while cancels rain on one client: the other is never hit."""
    endpoint = router(default_pool_size=1, workers=1)
    stop = threading.Event()
    with login(endpoint) as target, login(endpoint) as victim:
        def rain():
            while not stop.is_set():
                send_cancel(endpoint, target.key)

        thread = threading.Thread(target=rain)
        thread.start()
        hits = 0
        try:
            for n in range(300):
                got = target.ask(fe.query("select pg_sleep(0.002)"))
                codes = [e["C"] for e in fe.errors(got)]
                assert codes in ([], ["57014"])
                hits += len(codes)
                got = victim.ask(fe.query(f"select {n}, pg_sleep(0.002)"))
                assert fe.errors(got) == [] and fe.rows(got)[0][0] == str(n)
        finally:
            stop.set()
            thread.join()
        assert hits > 0, "not one cancel came through: the test shows nothing"


def test_cancel_while_waiting_for_a_server(router):
    """A statement that waits in the queue can be cancelled as well."""
    endpoint = router(default_pool_size=1, workers=1)
    with login(endpoint) as holder, login(endpoint) as waiter:
        holder.ask(fe.query("begin"))
        holder.ask(fe.query("select txid_current()"))
        waiter.send(fe.query("select txid_current()"))
        wait_until(lambda: endpoint.metric("db_connection_pool_size", state="waiting") == 1, 5, "the client to wait")
        send_cancel(endpoint, waiter.key)
        got = waiter.until("Z")
        assert fe.errors(got)[0]["C"] == "57014"
        holder.ask(fe.query("commit"))
        assert waiter.value("select txid_current()")


def test_cancel_storm(router):
    """Hundreds of cancels with made-up keys never reach a server and disturb nobody."""
    endpoint = router()
    with endpoint.connect() as conn:
        before = endpoint.metric("pgsteer_cancels_total") or 0

        def work(index):
            for n in range(50):
                send_cancel(endpoint, (index * 1000 + n, n))
                if index == 0:
                    port(conn)

        run_clients(8, work)
        assert (endpoint.metric("pgsteer_cancels_total") or 0) == before


def test_cancel_over_the_unix_socket(router, cluster):
    endpoint = router()
    with endpoint.connect(host=endpoint.socket_dir) as conn:
        timer = threading.Timer(0.3, conn.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("select pg_sleep(60)")


def test_cancel_reaches_other_workers(router, cluster):
    """The connection of the cancel lands on any worker; the client is on its own."""
    endpoint = router(workers=4)
    connections = [login(endpoint) for _ in range(8)]
    for n, conn in enumerate(connections):
        conn.send(fe.query(f"select pg_sleep(60) /* worker {n} */"))
    wait_until(lambda: running(cluster, "/* worker") == 8, 10, "eight statements to run")
    for conn in connections:
        send_cancel(endpoint, conn.key)
        assert fe.errors(conn.until("Z"))[0]["C"] == "57014"
        conn.socket.close()
