# SPDX-License-Identifier: ISC
"""Pools: never more server connections than allowed, and none lost to clients that leave, sleep or break."""
import contextlib
import socket
import time

import psycopg
import pytest

import frontend as fe
from harness.load import Background, OwnBytes, own_rows, port, run_clients
from pgcluster import free_port, wait_until

WRITE = "select txid_current()"  # to the primary, without writing


def login(endpoint, **more):
    return fe.Frontend(endpoint).login(password="app-password", **more)


@contextlib.contextmanager
def holder(endpoint):
    """A client in a transaction: it has the primary connection until the end of the block."""
    with login(endpoint) as conn:
        conn.ask(fe.query("begin"))
        conn.ask(fe.query(WRITE))
        yield conn
        conn.ask(fe.query("rollback"))


def waiting(endpoint, count):
    wait_until(lambda: endpoint.metric("db_connection_pool_size", state="waiting") == count, 5, f"{count} to wait")


@pytest.mark.parametrize("workers", [1, 4])
def test_size_is_never_exceeded(router, cluster, workers):
    """30 clients on any number of workers share three connections per server."""
    endpoint = router(default_pool_size=3, workers=workers)

    def work(_):
        with endpoint.connect() as conn:
            return {own_rows(conn, f"pid, port, {extra}", "from here")[0][:2]
                    for extra in ("pg_sleep(0.002)", "txid_current()") for _ in range(20)}

    sockets = []
    with Background(lambda: sockets.append(len(endpoint.server_sockets()))):
        seen = set().union(*run_clients(30, work))
    assert max(sockets) <= 3 * 3 + 4, "more than the pools', the probes' and the catalog's"
    for node in cluster.nodes:
        pids = {pid for pid, where in seen if where == node.port}
        # Not always the same ones: several workers hand their budget to each other by closing connections, and one whose
        # process id a client was told as its own is closed when others need its place.
        assert pids
        assert len(endpoint.backends(node)) <= 3


def test_size_per_database_and_user(router, cluster):
    cluster.primary.sql("create database second owner app")
    cluster.caught_up()
    try:
        endpoint = router(default_pool_size=5, workers=1, users={"other": {"pool_size": 1}},
                          databases={"*": {}, "second": {"pool_size": 2}})

        def work(index):
            options = ({"dbname": "second"}, {"user": "other"})[index % 2]
            with endpoint.connect(**options) as conn:
                for _ in range(20):
                    own_rows(conn, "txid_current(), pg_sleep(0.002)")

        run_clients(12, work)
        assert len(endpoint.backends(cluster.primary, dbname="second")) == 2
        assert len(endpoint.backends(cluster.primary, user="other")) == 1
        endpoint.stop()
    finally:
        cluster.primary.sql("drop database second with (force)")


def test_min_pool_size(router, cluster):
    """Once the pool is in use so many connections are kept open."""
    endpoint = router(min_pool_size=3, workers=1)
    with endpoint.connect() as conn:
        conn.execute(WRITE)
        wait_until(lambda: len(endpoint.backends(cluster.primary)) == 3, 10, "three connections to the primary")


def test_reserve(router, cluster):
    """Who waits longer than reserve_pool_timeout gets a connection of the reserve."""
    endpoint = router(default_pool_size=1, reserve_pool_size=1, reserve_pool_timeout="300ms", workers=1)
    with holder(endpoint), login(endpoint) as second:
        start = time.monotonic()
        assert second.value(WRITE)
        assert 0.2 < time.monotonic() - start < 10
        second.ask(fe.query("begin"))
        second.ask(fe.query(WRITE))
        with login(endpoint) as third:
            third.send(fe.query(WRITE))
            waiting(endpoint, 1)
            second.ask(fe.query("commit"))
            assert fe.kinds(third.until("Z")) == "TDCZ"


def test_wait_timeout(router):
    """53300 after query_wait_timeout, with a sentence that says so; the client may go on or is told that it may not."""
    endpoint = router(default_pool_size=1, query_wait_timeout="500ms", workers=1)
    with holder(endpoint), login(endpoint) as conn:
        start = time.monotonic()
        conn.send(fe.query(WRITE))
        error = fe.fields(conn.until("E")[-1].body)
        assert error["C"] == "53300" and 0.4 < time.monotonic() - start < 10
        assert any(word in error["M"] + error.get("D", "") + error.get("H", "") for word in ("wait", "timeout"))
    with endpoint.connect() as conn:
        conn.execute(WRITE)


def test_first_come_first_served(router):
    endpoint = router(default_pool_size=1, workers=1)
    with contextlib.ExitStack() as stack:
        with holder(endpoint):
            queue = [stack.enter_context(login(endpoint)) for _ in range(10)]
            for n, conn in enumerate(queue):
                conn.send(fe.query("select clock_timestamp(), txid_current()"))
                waiting(endpoint, n + 1)
        answers = [fe.rows(conn.until("Z"))[0][0] for conn in queue]
        assert answers == sorted(answers)


def test_idle_clients_hold_nothing(router, cluster):
    endpoint = router(default_pool_size=2, workers=2)
    clients = [endpoint.connect() for _ in range(100)]
    for conn in clients:
        port(conn)
        conn.execute(WRITE)
    for node in cluster.nodes:
        assert len(endpoint.backends(node)) <= 2
    assert endpoint.metric("pgsteer_clients") == 100
    for conn in clients:
        conn.close()
    wait_until(lambda: endpoint.metric("pgsteer_clients") == 0, 5, "the clients to be gone")


def test_accounting(router, cluster):
    """/metrics, the kernel and the servers agree on how many connections there are."""
    endpoint = router(default_pool_size=4)

    def work(_):
        with endpoint.connect() as conn:
            for _ in range(30):
                port(conn)
                own_rows(conn, "txid_current()")

    run_clients(10, work)
    wait_until(lambda: endpoint.metric("db_connection_pool_size", state="active") == 0, 5, "nothing to be in use")
    idle = endpoint.metric("db_connection_pool_size", state="idle")
    assert idle == sum(len(endpoint.backends(n)) for n in cluster.nodes)


def test_max_client_conn(router):
    """53300 for one more, at once; room again when one has left."""
    endpoint = router(max_client_conn=5)
    clients = [login(endpoint) for _ in range(5)]
    with fe.Frontend(endpoint) as conn, pytest.raises(fe.ServerError) as caught:
        conn.login(password="app-password")
    assert caught.value.code == "53300"
    clients[0].send(fe.TERMINATE)

    def room():
        with contextlib.suppress(psycopg.OperationalError):
            return endpoint.connect().close() or True
    wait_until(room, 5, "room for one more", interval=0.05)
    assert all(conn.value("select 1") == "1" for conn in clients[1:])
    for conn in clients:
        conn.socket.close()


# --- clients that leave ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["terminate", "close", "reset"])
def test_abandoned_transaction(router, cluster, table, how):
    """It is rolled back, its locks are free, and the one server connection is in use again."""
    name = table(rows="values (1, 0)")
    endpoint = router(default_pool_size=1, workers=1)
    conn = login(endpoint)
    conn.ask(fe.query("begin"))
    conn.ask(fe.query(f"update {name} set v = 1"))
    {"terminate": lambda: conn.send(fe.TERMINATE), "close": conn.socket.close, "reset": conn.reset}[how]()
    start = time.monotonic()
    with endpoint.connect() as other:
        assert other.execute(f"update {name} set v = v + 10 returning v").fetchone() == (10,)
    assert time.monotonic() - start < 10
    assert cluster.primary.value("select count(*) from pg_stat_activity where state like 'idle in transaction%%' "
                                 "and usename = 'app'") == 0


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("target", ["primary", "replica"])
def test_vanished_in_a_statement(router, cluster, target, how):
    """The statement is cancelled and its connection is free at once."""
    endpoint = router(default_pool_size=1, workers=1, servers={"pg3": None})
    sql = "select pg_sleep(60)" + (", txid_current()" if target == "primary" else "")
    conn = login(endpoint)
    conn.send(fe.query(sql))
    node = cluster.primary if target == "primary" else cluster.replicas[0]
    running = "select count(*) from pg_stat_activity where query = %s and state = 'active'"
    wait_until(lambda: node.value(running, (sql,)) == 1, 5, "the statement to run")
    start = time.monotonic()
    conn.reset() if how == "reset" else conn.socket.close()
    with endpoint.connect() as other:
        other.execute(WRITE if target == "primary" else "select 1")
    assert time.monotonic() - start < 10
    wait_until(lambda: node.value(running, (sql,)) == 0, 5, "the statement to be cancelled")


def test_vanished_while_waiting(router):
    endpoint = router(default_pool_size=1, workers=1)
    with holder(endpoint):
        for _ in range(5):
            conn = login(endpoint)
            conn.send(fe.query(WRITE))
            waiting(endpoint, 1)
            conn.reset()
            waiting(endpoint, 0)
    assert endpoint.metric("db_connection_pool_size", state="active") == 0


def test_many_vanish(router, cluster, table):
    """300 clients that break off at any point leave nothing behind."""
    name = table(rows="select g, 0 from generate_series(0, 9) g")
    endpoint = router(default_pool_size=3)
    update = fe.query(f"begin; update {name} set v = v + 1 where id = 1")
    ends = [b"", fe.query("select 1")[:7], fe.query("select pg_sleep(1)"), update, fe.parse("select 1", "s"),
            fe.ask("select g from generate_series(1, 100000) g"), fe.query(f"copy {name} from stdin"),
            fe.query(f"copy {name} to stdout"), fe.query("listen x"), fe.query("select 1") * 20]

    def work(index):
        for n in range(30):
            conn = login(endpoint)
            conn.send(ends[(index + n) % len(ends)])
            conn.reset() if n % 2 else conn.socket.close()

    with OwnBytes(endpoint):
        run_clients(10, work)
    wait_until(lambda: endpoint.metric("pgsteer_clients") == 0, 10, "the clients to be gone")
    wait_until(lambda: endpoint.metric("db_connection_pool_size", state="active") == 0, 10, "nothing to be in use")
    with endpoint.connect() as conn:
        for _ in range(20):
            assert conn.execute(f"update {name} set v = v + 1 where id = 1 returning 7").fetchone() == (7,)
    assert cluster.primary.value("select count(*) from pg_stat_activity where state like 'idle in transaction%%' "
                                 "and usename = 'app'") == 0


def test_idle_transaction_timeout(router, cluster, table):
    """A transaction that its client forgets is ended, and what it locked is free."""
    name = table(rows="values (1, 0)")
    endpoint = router(default_pool_size=1, workers=1, idle_transaction_timeout="500ms")
    conn = login(endpoint)
    conn.ask(fe.query("begin"))
    conn.ask(fe.query(f"update {name} set v = 1"))
    with endpoint.connect() as other:
        assert other.execute(f"update {name} set v = v + 10 returning v").fetchone() == (10,)
    assert fe.errors(conn.drain())[0]["C"] in ("25P03", "57P05", "57P01")
    conn.socket.close()


def test_client_idle_timeout(router):
    endpoint = router(client_idle_timeout="500ms")
    with login(endpoint) as conn:
        start = time.monotonic()
        conn.value("select 1")
        assert fe.errors(conn.drain())[0]["C"] in ("57P05", "57P01")
        assert 0.4 < time.monotonic() - start < 10


def test_failed_transaction_keeps_its_connection(router, cluster):
    """In a failed transaction every statement is refused until its end, by the server, as always."""
    endpoint = router(default_pool_size=1, workers=1)
    with login(endpoint) as conn:
        conn.ask(fe.query("begin"))
        assert fe.errors(conn.ask(fe.query("select 1/0")))[0]["C"] == "22012"
        assert conn.status == "E"
        assert fe.errors(conn.ask(fe.query("select 1")))[0]["C"] == "25P02"
        got = conn.ask(fe.query("commit"))
        assert got[0].body == b"ROLLBACK\0" and conn.status == "I"
        assert conn.value("select 1") == "1"


# --- servers that leave ---------------------------------------------------------------------------------------------

def test_lifetime(router, cluster):
    """Connections older than server_lifetime are replaced, between statements."""
    endpoint = router(server_lifetime="1s", workers=1, default_pool_size=1)
    with endpoint.connect() as conn:
        start, pids = time.monotonic(), set()
        while time.monotonic() - start < 3.5:
            pids.add(conn.execute("select pg_backend_pid(), txid_current()").fetchone()[0])
        assert 2 <= len(pids) <= 5


def test_idle_timeout(router, cluster):
    endpoint = router(server_idle_timeout="500ms")
    with endpoint.connect() as conn:
        port(conn)
        conn.execute(WRITE)
        wait_until(lambda: not any(endpoint.backends(n) for n in cluster.nodes), 10, "idle connections to be closed")
        port(conn)


def test_terminated_idle_connections(router, cluster):
    """Backends that an administrator ends are replaced before anyone notices."""
    endpoint = router(default_pool_size=3, workers=1)
    with endpoint.connect() as conn:
        for _ in range(5):
            port(conn)
            conn.execute(WRITE)
            for node in cluster.nodes:
                for pid, _, _ in endpoint.backends(node):
                    node.sql("select pg_terminate_backend(%s)", (pid,))
                wait_until(lambda: endpoint.backends(node) == [], 5, "the backends to end")
            conn.execute(WRITE)
            port(conn)


def test_terminated_in_use(router, cluster):
    """One error for the statement, and the client stays connected."""
    endpoint = router()
    with login(endpoint) as conn:
        sql = "select pg_sleep(60), txid_current()"
        conn.send(fe.query(sql))
        pid = wait_until(lambda: cluster.primary.sql("select pid from pg_stat_activity where query = %s", (sql,)), 5,
                         "the statement to run")[0][0]
        cluster.primary.sql("select pg_terminate_backend(%s)", (pid,))
        got = conn.until("Z")
        assert [e["C"] for e in fe.errors(got)] in (["57P01"], ["08006"])
        assert conn.value(WRITE)


def test_server_that_never_answers(router, cluster):
    """It accepts and says nothing: it is no server, and nobody waits for it."""
    with socket.create_server(("127.0.0.1", free_port()), backlog=64) as silent:
        endpoint = router(servers={"pg9": {"host": "127.0.0.1", "port": silent.getsockname()[1]}},
                          server_connect_timeout="20s")
        with endpoint.connect() as conn:
            for _ in range(50):
                start = time.monotonic()
                port(conn)
                assert time.monotonic() - start < 10
        assert endpoint.metric("db_replica_health", replica="pg9") in (0, None)


def test_max_connections_of_the_server(router, new_cluster):
    """A server that is full: the clients share what there is, without an error."""
    cluster = new_cluster(0)
    cluster.primary.set("max_connections", 14)
    cluster.primary.restart()
    endpoint = router(cluster=cluster, default_pool_size=50, workers=2)

    def work(_):
        with endpoint.connect() as conn:
            for _ in range(10):
                own_rows(conn, "pg_sleep(0.02), txid_current()")

    run_clients(30, work)


# --- session mode ---------------------------------------------------------------------------------------------------

def test_session_mode(router, cluster):
    """One primary connection for the whole session, with all its state; reads are split all the same."""
    endpoint = router(pool_mode="session")
    with endpoint.connect() as conn, endpoint.connect() as other:
        pids = {conn.execute("select pg_backend_pid(), txid_current()").fetchone()[0] for _ in range(10)}
        assert len(pids) == 1
        conn.execute("create temp table mine (a int)")
        conn.execute("insert into mine values (1)")
        conn.execute("set application_name = 'session mode'")
        for _ in range(5):
            assert conn.execute("select a from mine").fetchone() == (1,)
            assert conn.execute("show application_name").fetchone() == ("session mode",)
            with pytest.raises(psycopg.errors.UndefinedTable):
                other.execute("select a from mine")
    with endpoint.connect() as third:
        for _ in range(5):
            assert third.execute("select to_regclass('pg_temp.mine'), txid_current()").fetchone()[0] is None
            assert third.execute("show application_name").fetchone() != ("session mode",)


def test_session_mode_splits_reads(router, cluster):
    endpoint = router(pool_mode="session")
    with endpoint.connect() as conn:
        assert {port(conn) for _ in range(20)} <= {n.port for n in cluster.replicas}
        assert conn.execute("select (select port from here), txid_current()").fetchone()[0] == cluster.primary.port


def test_session_mode_of_one_user(router):
    endpoint = router(default_pool_size=1, workers=1, users={"other": {"pool_mode": "session"}},
                      query_wait_timeout="500ms")
    with endpoint.connect() as a, endpoint.connect() as b:
        a.execute(WRITE)
        b.execute(WRITE)
    with endpoint.connect(user="other") as a, endpoint.connect(user="other") as b:
        a.execute(WRITE)
        with pytest.raises(psycopg.Error) as caught:
            b.execute(WRITE)
        assert caught.value.sqlstate == "53300"


@pytest.mark.timeout(300)
def test_login_while_all_are_busy(router, full):
    """Also a minute after the last login that asked a server: who must log in to end a transaction would wait for ever."""
    if not full:
        pytest.skip("takes 62 s: --full")
    endpoint = router(default_pool_size=1, workers=1, servers={"pg2": None, "pg3": None})
    with login(endpoint):
        pass
    with holder(endpoint):
        time.sleep(61)
        for _ in range(3):
            start = time.monotonic()
            with login(endpoint):
                assert time.monotonic() - start < 2
