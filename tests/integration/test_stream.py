# SPDX-License-Identifier: ISC
"""Results larger than anybody's memory, rows larger than any buffer, and readers that stop reading."""
import os
import socket
import threading
import time

import pytest

import frontend as fe
from harness.load import port
from harness.router import sanitized
from pgcluster import wait_until

MIB = 1 << 20


def limit(mib):
    """What memory may grow by; a sanitizer adds some of its own to everything."""
    return (mib if not sanitized() else 4 * mib) * MIB


@pytest.mark.memory
@pytest.mark.timeout(600)
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_large_result(router, full, extended):
    """200 MB (2 GB in full) of rows."""
    megabytes = 2048 if full else 200
    endpoint = router(measure=True)
    sql = f"select g, repeat('x', 1000) from generate_series(1, {megabytes * 1024}) g"
    with fe.Frontend(endpoint, timeout=60).login(password="app-password") as conn:
        conn.value("select 1")
        before = endpoint.reset_peak()
        conn.send(fe.ask(sql) if extended else fe.query(sql))
        count = 0
        while True:
            got = conn.receive()
            if got.type == "D":
                count += 1
                assert got.body.endswith(b"x" * 1000)
            assert got.type != "E", fe.fields(got.body)
            if got.type == "Z":
                break
        assert count == megabytes * 1024
        assert endpoint.peak() - before < limit(8)


@pytest.mark.memory
def test_large_row(router):
    """One value of 64 MB, which is one message, and one of 32 MB as a parameter."""
    endpoint = router(measure=True)
    with endpoint.connect() as conn:
        port(conn)
        before = endpoint.reset_peak()
        assert len(conn.execute("select repeat('x', 64 * 1024 * 1024)").fetchone()[0]) == 64 * MIB
        assert conn.execute("select length(%s)", ("y" * (32 * MIB),)).fetchone() == (32 * MIB,)
        assert endpoint.peak() - before < limit(8)


@pytest.mark.memory
def test_long_query(router):
    """A simple query of 16 MB, which nobody parses."""
    endpoint = router(measure=True)
    with endpoint.connect() as conn:
        port(conn)
        before = endpoint.reset_peak()
        text = "x" * (16 * MIB)
        assert conn.execute(f"select length('{text}')").fetchone() == (16 * MIB,)
        assert endpoint.peak() - before < limit(8)
        port(conn)


@pytest.mark.memory
def test_reader_that_stops(router, cluster):
    """It stops the server: the router holds next to nothing for it, and everyone else goes on."""
    endpoint = router(measure=True, default_pool_size=12, workers=1)
    slow = []
    try:
        with endpoint.connect() as other:
            port(other)
            before = endpoint.reset_peak()
            for _ in range(10):
                conn = fe.Frontend(endpoint, timeout=60).login(password="app-password")
                conn.send(fe.query("select repeat('x', 1000) from generate_series(1, 100000)"))
                conn.until("D")
                slow.append(conn)
            waiting = "select count(*) from pg_stat_activity where usename = 'app' and wait_event = 'ClientWrite'"
            wait_until(lambda: sum(n.value(waiting) for n in cluster.nodes) == 10, 20, "the servers to be stopped")
            for _ in range(50):
                start = time.monotonic()
                port(other)
                assert time.monotonic() - start < 10
            assert endpoint.peak() - before < limit(10)
            for conn in slow:  # and each gets all of it after all
                got = conn.until("Z")
                assert len([m for m in got if m.type == "D"]) == 99999
    finally:
        for conn in slow:
            conn.socket.close()


@pytest.mark.memory
def test_server_that_does_not_read(router, cluster, table):
    """A COPY into a server that hangs: the router stops reading the client that sends."""
    name = table("v text")
    endpoint = router(measure=True, health_timeout="30s")
    conn = fe.Frontend(endpoint).login(password="app-password")
    conn.value("select 1")
    before = endpoint.reset_peak()
    conn.send(fe.query(f"copy {name} from stdin"))
    conn.until("G")
    cluster.primary.freeze()
    conn.socket.settimeout(1)
    sent = 0
    with pytest.raises(OSError):  # a timeout, or the router gave the server up
        while sent < 200 * MIB:
            conn.socket.sendall(fe.copy_data(b"x" * 65535 + b"\n"))
            sent += 65536
    assert sent < 50 * MIB
    assert endpoint.peak() - before < limit(8)
    conn.reset()
    cluster.primary.thaw()


def test_slow_reader_with_a_connection_of_its_own(router, cluster):
    """In session mode: the primary has been stopped for the client's sake, and a read is on a replica when the client has
    caught up. The sizes are about what a Unix socket and the router hold together."""
    endpoint = router(pool_mode="session", workers=1, consistency="eventual")
    path = os.path.join(endpoint.socket_dir, f".s.PGSQL.{endpoint.port}")
    done = "select 1 from pg_stat_activity where query like '%/* big */' and state = 'idle'"
    with fe.Frontend(endpoint, timeout=5, path=path).login(password="app-password") as conn:
        conn.value("select txid_current()")
        for rows in range(472, 520, 8):
            for first in range(240, 290, 10):
                conn.send(fe.query(f"select repeat('x', 1000), txid_current() from generate_series(1, {rows}) /* big */"))
                conn.receive()
                wait_until(lambda: cluster.primary.sql(done), 5, "the server to have sent it all")
                for _ in range(first):
                    conn.receive()
                conn.send(fe.query("select pg_sleep(0.05)"))
                conn.until("Z")
                conn.until("Z")
                assert conn.value("select txid_current()")


def test_abandoned_result(router, cluster):
    """A client that goes away in the middle of a large result frees its server connection, and the server stops."""
    endpoint = router(default_pool_size=1, workers=1)
    for _ in range(3):
        conn = fe.Frontend(endpoint).login(password="app-password")
        conn.send(fe.query("select repeat('x', 1000) from generate_series(1, 10000000)"))
        conn.until("D")
        conn.reset()
    with endpoint.connect() as other:
        start = time.monotonic()
        for _ in range(4):
            port(other)
        assert time.monotonic() - start < 3
    running = "select count(*) from pg_stat_activity where query like '%10000000%' and state = 'active' " \
              "and pid <> pg_backend_pid()"
    wait_until(lambda: sum(n.value(running) for n in cluster.nodes) == 0, 10, "the abandoned statements to end")


def vanish(conn, how):
    if how == "reset":
        conn.reset()
    elif how == "close":
        conn.socket.close()
    else:
        conn.socket.shutdown(socket.SHUT_WR)  # nothing is unread at our end: a plain end of file


@pytest.mark.parametrize("how", ["reset", "close", "shutdown"])
def test_reader_that_stops_and_vanishes(router, cluster, how):
    """It asks for 1 GB and stops reading; its end is seen all the same, at once. Every other time it has asked for so much
    more that nobody reads from it either."""
    endpoint = router(default_pool_size=1, workers=1)
    ask = "select repeat('x', 1024) from generate_series(1, 1048576) /* vanishes */"
    mine = "from pg_stat_activity where query like '%/* vanishes */' and state = 'active' and pid <> pg_backend_pid()"

    def anywhere(condition=""):
        return sum(n.value(f"select count(*) {mine} {condition}") for n in cluster.nodes)

    def freed():
        now = endpoint.metrics()
        return (endpoint.metric("pgsteer_clients", now) == 0 and
                endpoint.metric("db_connection_pool_size", now, state="active") == 0 and
                endpoint.metric("db_connection_pool_size", now, state="waiting") == 0)

    def taken():
        return endpoint.metric("pgsteer_client_received_bytes_total")

    rounds = 10 if how == "shutdown" else 50
    for number in range(rounds):
        conn = fe.Frontend(endpoint, timeout=20).login(password="app-password")
        conn.send(fe.query(ask))
        conn.until("D")
        wait_until(lambda: anywhere("and wait_event = 'ClientWrite'") == 1, 10, "the server to be stopped")
        if number % 2:
            before = taken()
            conn.send(fe.query("select 1 -- " + "x" * 1000) * 150)  # its end must find room behind it
            wait_until(lambda: taken() - before >= 64 * 1024, 5, "the router to have as much as it keeps")
        vanish(conn, how)
        wait_until(freed, 1, "the server connection to be free")
        wait_until(lambda: anywhere() == 0, 5, "the backend to be gone or idle")
        conn.socket.close()
    assert endpoint.metric("db_connection_pool_errors_total", reason="client_connection_lost") == rounds


@pytest.mark.direct
def test_wide_and_empty_results(router):
    with router().connect() as conn:
        columns = ", ".join(f"{i} as c{i}" for i in range(1600))
        assert conn.execute(f"select {columns}").fetchone() == tuple(range(1600))
        assert conn.execute("select").fetchone() == ()
        assert conn.execute("select 1 where false").fetchall() == []
        assert conn.execute("").description is None
        assert len(conn.execute("select g from generate_series(1, 100000) g").fetchall()) == 100000


CLOSE = fe.close("S")


def closes(conn, bursts):
    """Sends Close messages, until none has gone out for two seconds or so many bursts have; how many bytes."""
    data, sent = CLOSE * 100000, 0
    conn.socket.settimeout(2)
    try:
        while sent < bursts * len(data):
            sent += conn.socket.send(data[sent % len(CLOSE):])
    except TimeoutError:
        pass
    conn.socket.settimeout(60)
    return sent


def closed(conn):
    """The CloseComplete messages among what comes up to ReadyForQuery, and what else there is."""
    got = b""
    while got[-6:-1] != b"Z\0\0\0\5":
        got += conn.socket.recv(1 << 20)
    return got.count(b"3\0\0\0\4"), got.replace(b"3\0\0\0\4", b"")


@pytest.mark.memory
def test_answers_that_nobody_waits_for(router):
    """Messages that need no server, behind one that takes its time: they wait at the client, and not in our memory."""
    endpoint = router(measure=True, workers=1, pool_mode="session")
    with fe.Frontend(endpoint, timeout=60).login(password="app-password") as conn:
        conn.value("select txid_current()")
        before = endpoint.reset_peak()
        slow = fe.parse("select pg_sleep(6), txid_current()") + fe.bind() + fe.execute()
        conn.send(slow + fe.FLUSH)
        sent = closes(conn, 50)
        assert sent < 50 * 100000 * len(CLOSE)
        assert endpoint.peak() - before < limit(32)
        rest = threading.Thread(target=conn.send, args=(CLOSE[sent % len(CLOSE) or len(CLOSE):] + fe.SYNC,))
        rest.start()
        count, others = closed(conn)
        rest.join()
        assert count == -(-sent // len(CLOSE)) and others.endswith(b"Z\0\0\0\5I")
        conn.value("select txid_current()")


def test_answers_that_the_server_keeps_back(router):
    """It sends none before a Sync, which comes behind more messages than are let through without answers."""
    with fe.Frontend(router(workers=1), timeout=60).login(password="app-password") as conn:
        conn.send(fe.parse("select txid_current()") + fe.bind() + fe.execute() + CLOSE * 200000 + fe.SYNC)
        count, others = closed(conn)
        assert count == 200000 and others.endswith(b"Z\0\0\0\5I")
