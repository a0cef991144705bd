# SPDX-License-Identifier: ISC
"""The end: SIGTERM lets run what runs, a second one or SIGINT does not wait."""
import os
import signal
import threading
import time

import psycopg
import pytest

import frontend as fe
from harness.load import Background, port
from pgcluster import wait_until


def login(endpoint):
    return fe.Frontend(endpoint).login(password="app-password")


def test_idle_clients_get_57p01(router):
    endpoint = router()
    clients = [login(endpoint) for _ in range(5)]
    clients[0].value("select 1")
    start = time.monotonic()
    endpoint.send_signal(signal.SIGTERM)
    for conn in clients:
        got = conn.drain()
        assert [e["C"] for e in fe.errors(got)] == ["57P01"]
        assert fe.errors(got)[0]["S"] == "FATAL"
        conn.socket.close()
    assert endpoint.wait_exit(10) == 0
    assert time.monotonic() - start < 10
    endpoint.stop()


def test_what_runs_is_finished(router, cluster, table):
    """A statement and a transaction under way end as they should; then their clients get 57P01."""
    name = table()
    endpoint = router(shutdown_timeout="20s")
    statement, transaction = login(endpoint), login(endpoint)
    transaction.ask(fe.query("begin"))
    transaction.ask(fe.query(f"insert into {name} values (1, 1)"))
    statement.send(fe.query("select pg_sleep(1.5)"))
    wait_until(lambda: sum(n.value("select count(*) from pg_stat_activity where query = 'select pg_sleep(1.5)'")
                           for n in cluster.nodes), 5, "the statement to run")
    endpoint.send_signal(signal.SIGTERM)
    endpoint.wait_log("(?i)drain|shut|stop")
    got = statement.drain()
    assert fe.rows(got) and [e["C"] for e in fe.errors(got)] == ["57P01"]
    assert fe.kinds(transaction.ask(fe.query(f"insert into {name} values (2, 2)"))) == "CZ"
    transaction.send(fe.query("commit"))
    got = transaction.drain()
    assert got[0].type == "C" and [e["C"] for e in fe.errors(got)] == ["57P01"]
    assert endpoint.wait_exit(10) == 0
    assert cluster.primary.sql(f"select count(*) from {name}", dbname="app") == [(2,)]
    endpoint.stop()


# More than the kernel takes from the router for a narrow client, and not so much more that the server is stopped.
LARGE = "select repeat('x', 1000) from generate_series(1, 160)"


def test_slow_reader(router):
    """An answer that its client has not read when its session is told to go is still read, and 57P01 behind it."""
    endpoint = router(shutdown_timeout="60s")
    conn = fe.Frontend(endpoint, narrow=True).login(password="app-password")
    conn.send(fe.query(LARGE))
    conn.until("D")
    endpoint.send_signal(signal.SIGTERM)
    endpoint.wait_log("closing: .*shutting down")
    conn.send(fe.query("select 1"))  # nobody answers, and it does no harm
    got = conn.drain()
    assert len(fe.rows(got)) == 159 and fe.kinds(got).lstrip("D") == "CZE" and fe.errors(got)[0]["C"] == "57P01"
    assert endpoint.wait_exit(5) == 0
    endpoint.stop()


def test_reader_that_stops_for_good(router):
    """... but not longer than shutdown_timeout."""
    endpoint = router(shutdown_timeout="1s")
    with fe.Frontend(endpoint, narrow=True).login(password="app-password") as conn:
        conn.send(fe.query(LARGE))
        conn.until("D")
        endpoint.send_signal(signal.SIGTERM)
        endpoint.wait_log("closing: .*shutting down")
        assert endpoint.wait_exit(5) == 0
    endpoint.stop()


def test_reader_that_has_said_goodbye(router):
    """What was asked for before a Terminate is answered to the end, too."""
    endpoint = router()
    with fe.Frontend(endpoint, narrow=True).login(password="app-password") as conn:
        conn.send(fe.query(LARGE) + fe.TERMINATE)
        wait_until(lambda: endpoint.metric("pgsteer_client_sent_bytes_total") > 160_000, 5, "the answer to be there")
        got = conn.drain()
        assert len(fe.rows(got)) == 160 and fe.kinds(got).endswith("CZ")


def test_no_new_clients_while_draining(router):
    """Refused, or told 57P03; never left waiting."""
    endpoint = router(shutdown_timeout="20s")
    with endpoint.connect() as conn:
        conn.execute("begin")
        conn.execute("select txid_current()")
        endpoint.send_signal(signal.SIGTERM)
        endpoint.wait_log("(?i)drain|shut|stop")
        start = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            endpoint.connect()
        assert time.monotonic() - start < 10
        assert conn.execute("select 1").fetchone() == (1,)
        conn.execute("commit")
    assert endpoint.wait_exit(10) == 0
    endpoint.stop()


def test_readiness_while_draining(router):
    """Load balancers are told first."""
    endpoint = router(shutdown_timeout="20s")
    with endpoint.connect() as conn:
        conn.execute("begin")
        conn.execute("select txid_current()")
        endpoint.send_signal(signal.SIGTERM)
        wait_until(lambda: endpoint.http("/readiness")[0] == 503, 5, "/readiness to say 503")
        assert endpoint.http("/liveness")[0] == 200
        conn.execute("rollback")


def test_who_is_not_logged_in_holds_nobody_up(router):
    """Connections that have said nothing, or only who they would be, end at once."""
    endpoint = router(shutdown_timeout="60s")
    silent, half = fe.Frontend(endpoint), fe.Frontend(endpoint)
    half.send(fe.startup(user="app", database="app"))
    assert half.receive().type == "R"
    wait_until(lambda: endpoint.metric("pgsteer_clients") == 2, 5, "both to be there")
    endpoint.send_signal(signal.SIGTERM)
    for conn in (silent, half):
        assert [e["C"] for e in fe.errors(conn.drain())] == ["57P03"]
        conn.socket.close()
    assert endpoint.wait_exit(5) == 0
    endpoint.stop()


def test_deadline(router):
    """shutdown_timeout ends the wait for a transaction that nobody ends."""
    endpoint = router(shutdown_timeout="1s")
    conn = login(endpoint)
    conn.ask(fe.query("begin"))
    conn.ask(fe.query("select txid_current()"))
    start = time.monotonic()
    endpoint.send_signal(signal.SIGTERM)
    got = conn.drain()
    assert 0.8 < time.monotonic() - start < 10
    assert [e["C"] for e in fe.errors(got)] == ["57P01"]
    assert endpoint.wait_exit(5) == 0
    endpoint.stop()


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,), (signal.SIGTERM, signal.SIGINT)])
def test_stop_now(router, signals):
    endpoint = router(shutdown_timeout="60s")
    conn = login(endpoint)
    conn.ask(fe.query("begin"))
    conn.ask(fe.query("select txid_current()"))
    start = time.monotonic()
    for n, signum in enumerate(signals):
        since = len(endpoint.log_text())
        endpoint.send_signal(signum)
        if n == 0 and len(signals) > 1:
            endpoint.wait_log("(?i)drain|shut|stop", since=since)
    conn.drain()
    assert endpoint.wait_exit(10) == 0
    assert time.monotonic() - start < 10
    endpoint.stop()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_name_that_does_not_resolve_in_time(router, names, signum):
    """A look-up cannot be called off, and a resolver may take a minute: nobody waits for it."""
    endpoint = router(start=False, servers={"lost": {"host": "hangs.test", "port": 5432}})
    names.set({"hangs.test": []})
    endpoint.start(env=names.env(endpoint.environment()))
    with endpoint.connect() as conn:
        port(conn)
    endpoint.send_signal(signum)
    assert endpoint.wait_exit(10) == 0
    assert 'msg="stopped"' in endpoint.log_text()
    endpoint.stop()


def test_transactions_are_not_lost(router, cluster, table):
    """What was acknowledged before the end is there, once; the rest is an error, not silence."""
    name = table("id serial primary key, v int")
    endpoint = router()
    acknowledged, failures = [], []

    def work(index):
        try:
            with endpoint.connect() as conn:
                for n in range(100000):
                    conn.execute(f"insert into {name} (v) values ({index * 100000 + n})")
                    acknowledged.append(index * 100000 + n)
        except psycopg.OperationalError as error:
            failures.append(error.sqlstate or str(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 50, 10, "some work to be done")
    endpoint.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(20)
    assert endpoint.wait_exit(10) == 0
    rows = [v for v, in cluster.primary.sql(f"select v from {name}", dbname="app")]
    assert len(rows) == len(set(rows)) and set(acknowledged) <= set(rows)
    assert set(rows) == set(acknowledged), "a statement that was let run is answered before its client is sent away"
    assert len(failures) == 5
    endpoint.stop()


def test_start_again_on_the_same_ports(router, cluster):
    """A restart finds its port and its socket file free, also after kill -9."""
    endpoint = router()
    endpoint.stop()
    endpoint.start()
    with endpoint.connect() as conn:
        port(conn)
    endpoint.send_signal(signal.SIGKILL)
    endpoint.wait_exit()
    endpoint.start()
    with endpoint.connect(host=endpoint.socket_dir) as conn, Background(lambda: port(conn)):
        pass


def test_socket_file_is_removed(router):
    endpoint = router()
    path = os.path.join(endpoint.socket_dir, f".s.PGSQL.{endpoint.port}")
    assert os.path.exists(path)
    endpoint.stop()
    assert not os.path.exists(path)


def test_second_instance(router):
    """Started twice, the second says what is in its way and ends; the first goes on, on all its sockets."""
    first = router()
    second = router(start=False, listen_port=first.port, http_port=first.http_port, unix_socket_dir=first.socket_dir)
    code, log = second.start_refused()
    assert code != 0 and ("in use" in log or str(first.port) in log)
    for host in (first.host, first.socket_dir):
        with first.connect(host=host) as conn:
            port(conn)
