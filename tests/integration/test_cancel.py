# SPDX-License-Identifier: ISC
"""A cancel request ends the statement of the client that it names, wherever that runs, and nobody else's."""
import random
import signal
import socket
import threading
import time

import psycopg
import pytest

import frontend as fe
from harness.load import OwnBytes, port, run_clients
from pgcluster import send, wait_until


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
        assert fe.errors(got)[0]["C"] == "57014" and time.monotonic() - start < 10
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


class Target:
    """A client that cancels what it does again and again, and counts what that did."""

    def __init__(self, endpoint, index, begin="", sql="select pg_sleep(0.002)", follow="select pg_sleep(0.003)", end=""):
        self._endpoint, self._random = endpoint, random.Random(index)
        self._conn = login(endpoint)
        self._begin, self._sql, self._follow, self._end = begin, sql, follow, end
        self.hits = 0

    def round(self):
        """One statement and its cancel, which comes before it, while it runs, or after its end. What is sent once the
        cancel has been answered was not cancelled."""
        conn = self._conn
        if self._begin:
            conn.ask(fe.query(self._begin))
        if self._random.random() < 0.1:
            send_cancel(self._endpoint, conn.key)
        conn.send(fe.query(self._sql))
        if self._random.random() < 0.3:
            self.hits += self._outcome(conn.until("Z"))
            send_cancel(self._endpoint, conn.key)
        else:
            time.sleep(self._random.random() * 0.003)  # for an offset, not for an event
            send_cancel(self._endpoint, conn.key)
            self.hits += self._outcome(conn.until("Z"))
        if conn.status == "E":
            conn.ask(fe.query("rollback"))
            return
        for sql in filter(None, (self._follow, self._end)):
            got = fe.errors(conn.ask(fe.query(sql)))
            assert not got, f"{sql}: {got}"

    @staticmethod
    def _outcome(got):
        codes = [e["C"] for e in fe.errors(got)]
        assert codes in ([], ["57014"]), codes
        return len(codes)

    def close(self):
        self._conn.socket.close()


# The pinned one waits for nobody, so that its statement takes longer than the way of a cancel.
RACES = {  # name: how its statements run
    "primary": {"sql": "select txid_current(), pg_sleep(0.002)"},
    "replica": {"follow": "select 1"},
    "transaction": {"begin": "begin", "end": "commit"},
    "pinned": {"begin": "create temp table if not exists t ()", "sql": "select pg_sleep(0.03)", "end": "discard all"},
}


@pytest.mark.timeout(900)
def test_race(router, full):
    """One connection to each server, and cancels at every moment: nobody gets a 57014 that it did not ask for, neither the
    next user of the backend nor the client itself for a statement that it sent after its cancel was answered."""
    cancels = 10000 if full else 2500
    endpoint = router(default_pool_size=1, workers=1)
    stop = threading.Event()
    targets = [Target(endpoint, n, **how) for n, how in enumerate(RACES.values())]
    answers = [0, 0]

    def victim(index):
        with login(endpoint) as conn:
            while not stop.is_set():
                sql = f"select {answers[index]}, pg_sleep(0.001)" + (", txid_current()" if index else "")
                got = conn.ask(fe.query(sql))
                assert not fe.errors(got) and fe.rows(got)[0][0] == str(answers[index]), got
                answers[index] += 1

    def work(index):
        if index >= len(targets):
            return victim(index - len(targets))
        try:
            while not stop.is_set():
                targets[index].round()
                counted[index] += 1
        except BaseException:
            stop.set()
            raise

    counted = [0] * len(targets)
    ender = threading.Thread(target=lambda: (wait_until(
        lambda: stop.is_set() or sum(counted) >= cancels, 800, f"{cancels} cancels"), stop.set()))
    ender.start()
    with OwnBytes(endpoint):
        run_clients(len(targets) + 2, work, timeout=850)
    ender.join()
    for target, name in zip(targets, RACES):
        target.close()
        assert target.hits > 0, f"no cancel came through: {name}"
    assert min(answers) > 0


@pytest.mark.parametrize("again", [False, True], ids=["not_hit", "cancelled"])
def test_what_follows_a_cancel(router, cluster, again):
    """A cancel that is late hits nothing that was sent after it, which waits for it; and which can be cancelled itself."""
    endpoint = router(workers=1)
    with login(endpoint) as conn:
        conn.ask(fe.query("begin"))
        conn.send(fe.query("select pg_sleep(0.5) /* before */"))
        wait_until(lambda: running(cluster, "/* before */"), 10, "the statement to run")
        cluster.dirty = True
        send(cluster.primary.pid, signal.SIGSTOP)  # the postmaster alone: it takes no cancel, backends go on
        send_cancel(endpoint, conn.key)
        assert not fe.errors(conn.until("Z"))
        cancels = endpoint.metric("pgsteer_cancels_total")
        conn.send(fe.query(f"select pg_sleep({60 if again else 0.2})"))
        if again:
            send_cancel(endpoint, conn.key)
        assert endpoint.metric("pgsteer_cancels_total") == cancels == 1 and not conn.pending()
        cluster.primary.thaw()
        assert [e["C"] for e in fe.errors(conn.until("Z"))] == (["57014"] if again else [])
        conn.ask(fe.query("rollback"))
        assert conn.value("select 1") == "1"


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

        with OwnBytes(endpoint):
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
