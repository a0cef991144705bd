# SPDX-License-Identifier: ISC
"""SIGHUP: what changes, what does not, and that no client notices."""
import os
import re
import time

import psycopg
import pytest

from harness.load import Background, OwnBytes, Readers, port, ports, run_clients
from pgcluster import wait_until


def test_weights(router, cluster):
    endpoint = router(servers={"pg2": {"weight": 1}, "pg3": {"weight": 1}})
    with endpoint.connect() as conn:
        assert all(count >= 40 for count in ports(conn, 100).values())
        endpoint.reload(servers={"pg2": {"weight": 1}, "pg3": {"weight": 4}})
        light, heavy = (cluster.node(n).port for n in ("pg2", "pg3"))

        def shifted():
            seen = ports(conn, 100)
            return abs(seen[heavy] - 80) <= 4 and seen[light] + seen[heavy] == 100
        wait_until(shifted, 5, "reads to be spread 1 : 4")


def test_server_removed_and_added(router, cluster):
    endpoint = router()
    first, second = cluster.replicas
    with endpoint.connect() as conn:
        assert set(ports(conn, 20)) == {first.port, second.port}
        endpoint.reload(servers={second.name: None})
        wait_until(lambda: set(ports(conn, 20)) == {first.port}, 5, "no reads on the removed server")
        wait_until(lambda: endpoint.backends(second) == [], 5, "its connections to be closed")
        wait_until(lambda: second.port not in dict(endpoint.server_sockets()), 5, "the checks of it to end")
        endpoint.reload(servers={})
        wait_until(lambda: set(ports(conn, 20)) == {first.port, second.port}, 5, "reads on it again")


def test_pool_size(router, cluster):
    endpoint = router(default_pool_size=2, workers=1)

    def serves(count):
        """Six clients want a transaction each: so many have one at once, and no more before the last has had its own."""
        conns = [endpoint.connect() for _ in range(6)]
        try:
            for conn in conns:
                conn.pgconn.send_query(b"begin; select txid_current()")
                conn.pgconn.flush()
            for ended in range(6):
                left = 6 - ended
                wait_until(lambda: (waiting(), len(endpoint.backends(cluster.primary))) == (max(left - count, 0), count),
                           10, f"{count} of {left} to be served")
                wait_until(lambda: any(map(replied, conns)), 5, "one of them to have its transaction")
                conn = next(filter(replied, conns))
                while conn.pgconn.get_result():
                    pass
                conn.execute("rollback")
                conns.remove(conn)
                conn.close()
        finally:
            for conn in conns:
                conn.close()

    def waiting():
        return endpoint.metric("db_connection_pool_size", state="waiting")

    def replied(conn):
        conn.pgconn.consume_input()
        return not conn.pgconn.is_busy()

    serves(2)
    endpoint.reload(default_pool_size=5, workers=1)
    serves(5)
    endpoint.reload(default_pool_size=1, workers=1)
    wait_until(lambda: len(endpoint.backends(cluster.primary)) == 1, 10, "the pool to have shrunk")


def test_pool_size_lowered_under_load(router, cluster):
    """The surplus goes although clients wait for connections all the time."""
    endpoint = router(default_pool_size=6, workers=1, route="primary")
    with Readers(endpoint, 40, "select pg_sleep(0.02), txid_current()") as readers, OwnBytes(endpoint):
        wait_until(lambda: len(endpoint.backends(cluster.primary)) == 6, 10, "six connections")
        endpoint.reload(default_pool_size=2, workers=1, route="primary")
        wait_until(lambda: len(endpoint.backends(cluster.primary)) == 2, 10, "two connections")
    assert readers.errors == []


def test_thresholds(router, cluster, table):
    """A lower max_lag takes a replica out that was good enough before."""
    name = table(rows="values (1, 0)")
    late = cluster.replicas[0]
    endpoint = router(max_lag="60s")
    writer = cluster.primary.connect("app", "app")

    def write():
        writer.execute(f"update {name} set v = v + 1")
        time.sleep(0.02)

    with Background(write):
        late.pause_replay()
        wait_until(lambda: endpoint.metric("db_replication_lag_seconds", replica=late.name) > 1, 5, "a lag of 1 s")
        assert endpoint.metric("db_replica_health", replica=late.name) == 1
        endpoint.reload(max_lag="1s")
        endpoint.wait_replica(late.name, healthy=False, timeout=5)
        endpoint.reload(max_lag="60s")
        endpoint.wait_replica(late.name, timeout=5)
    writer.close()


@pytest.mark.parametrize("find, replace, line_of", [
    ("workers = 2", "workers = many", "workers"),
    ("default_pool_size = 10", "default_pool_size = -5", "default_pool_size"),
    ("health_interval = 200ms", "no_such_option = 1", "no_such_option"),
    ("port = ", "port = 99999999 ; ", "port"),
    ("[server pg2]", "[sever pg2]", "sever"),
])
def test_bad_file(router, cluster, find, replace, line_of):
    """Refused with file, line and key; the old config stays, whole."""
    endpoint = router()
    with endpoint.connect() as conn:
        port(conn)
        text = endpoint.config_text().replace(find, replace, 1)
        line = next(n for n, content in enumerate(text.splitlines(), 1) if replace in content)
        endpoint.write_config(text)
        since = len(endpoint.log_text())
        endpoint.send_signal(1)
        message = endpoint.wait_log(rf"pgsteer\.ini:{line}\b.*", since=since)[0]
        assert line_of in message
        assert set(ports(conn, 20)) == {n.port for n in cluster.replicas}
        endpoint.write_config(endpoint.config_text())
        endpoint.reload()
        assert set(ports(conn, 20)) == {n.port for n in cluster.replicas}


def test_missing_file_and_auth_file(router):
    """Even a file that is gone stops nothing."""
    endpoint = router()
    with endpoint.connect() as conn:
        for name in ("pgsteer.ini", "users.txt"):
            path = os.path.join(endpoint.folder, name)
            os.rename(path, path + ".away")
            since = len(endpoint.log_text())
            endpoint.send_signal(1)
            endpoint.wait_log(re.escape(name), since=since)
            assert port(conn)
            endpoint.connect().close()
            os.rename(path + ".away", path)
        endpoint.reload()


def test_users(router):
    """Added and removed users, changed passwords: for new logins."""
    endpoint = router(auth={"app": "app-password"})
    with endpoint.connect() as conn:
        with pytest.raises(psycopg.OperationalError):
            endpoint.connect(user="other")
        endpoint.reload(auth={"app": "app-password", "other": "other-password"})
        wait_until(lambda: can_login(endpoint, "other"), 5, "the new user to be let in")
        endpoint.reload(auth={"other": "other-password"})
        wait_until(lambda: not can_login(endpoint, "app"), 5, "the old user to be refused")
        conn.execute("select 1")


def can_login(endpoint, user):
    try:
        endpoint.connect(user=user).close()
        return True
    except psycopg.OperationalError:
        return False


def test_what_needs_a_restart_is_said(router):
    endpoint = router()
    since = len(endpoint.log_text())
    endpoint.reload(workers=1, wait=False)
    assert "workers" in endpoint.wait_log(r"(?i).*restart.*", since=since)[0]


def test_no_client_notices(router, cluster, table):
    """Twenty reloads of everything that may change, while ten clients read and write and one keeps a transaction open."""
    name = table(rows="select g, 0 from generate_series(0, 9) g")
    endpoint = router()
    rounds = [0]

    def reloads():
        variants = [{"servers": {"pg2": {"weight": 5}}}, {"servers": {"pg3": None}}, {"default_pool_size": 3},
                    {"servers": {"pg2": None}}, {"max_lag": "5s"}, {"servers": {}}]
        endpoint.reload(**variants[rounds[0] % len(variants)])
        rounds[0] += 1

    def work(index):
        with endpoint.connect(prepare_threshold=0) as conn:
            if index == 0:
                conn.execute("begin")
                xid = conn.execute("select txid_current()").fetchone()
            for n in range(200):
                if index == 0:
                    assert conn.execute("select txid_current()").fetchone() == xid
                    continue
                conn.execute(f"update {name} set v = %s where id = %s", (n, index))
                assert conn.execute(f"select v from {name} where id = %s", (index,)).fetchone() == (n,)
            if index == 0:
                conn.execute("commit")

    with Background(reloads):
        run_clients(10, work)
    assert rounds[0] >= 3
    endpoint.reload(servers={})
    for node in cluster.replicas:
        endpoint.wait_replica(node.name)
