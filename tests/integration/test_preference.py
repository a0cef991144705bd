# SPDX-License-Identifier: ISC
"""Which of the servers that may: zones, full pools, newcomers, the preferences of users, and how much a read may miss."""
import collections
import contextlib
import threading
import time

import pytest
from psycopg.pq import ExecStatus

from harness.load import Background, port, ports, run_clients
from pgcluster import wait_until


def routed(router, target, reason):
    return router.metric("pgsteer_routed_total", target=target, reason=reason) or 0


@contextlib.contextmanager
def occupied(router, node):
    """One connection of the node's pool is at work for another client."""
    busy = f"select (select port from here), pg_sleep(60) where (select port from here) = {node.port}"
    ends = threading.Event()

    def stay():
        with router.connect() as conn:
            while not ends.is_set():
                with contextlib.suppress(Exception):
                    conn.execute(f"/* occupied */ {busy}")

    thread = threading.Thread(target=stay, daemon=True)
    thread.start()

    def sleepers():
        return node.sql("select pid from pg_stat_activity where wait_event = 'PgSleep' and query like '/* occupied%'")

    try:
        wait_until(sleepers, 10, "a connection to be occupied")
        yield
    finally:
        ends.set()
        for (pid,) in sleepers():
            node.sql("select pg_cancel_backend(%s)", (pid,))
        thread.join(15)
        assert not thread.is_alive()


def test_zone_is_preferred(router, cluster):
    near, far = cluster.replicas
    r = router(zone="a", servers={near.name: {"zone": "a"}, far.name: {"zone": "b"}}, default_pool_size=1, workers=1)
    with r.connect() as conn:
        assert set(ports(conn, 30)) == {near.port}
        with occupied(r, near):
            assert set(ports(conn, 10)) == {far.port}
        wait_until(lambda: port(conn) == near.port, 5, "reads in the zone")
        r.reload(zone="b", servers={near.name: {"zone": "a"}, far.name: {"zone": "b"}}, default_pool_size=1, workers=1)
        wait_until(lambda: port(conn) == far.port, 5, "the new zone to count")
        assert set(ports(conn, 30)) == {far.port}


def test_who_waits_goes_where_a_connection_can_be_opened(router, cluster):
    """A read that began to wait in its zone is answered by a replica that nobody has used so far."""
    near, far = cluster.replicas
    r = router(zone="a", servers={near.name: {"zone": "a"}, far.name: {"zone": "b"}}, default_pool_size=1, workers=1)
    busy = r.connect()
    with contextlib.closing(busy), r.connect() as conn:
        assert port(busy) == near.port
        busy.pgconn.send_query(b"select pg_sleep(60)")
        assert port(conn) == far.port
        busy.cancel()  # closing sends Terminate, which lets a statement finish
        assert busy.pgconn.get_result().status == ExecStatus.FATAL_ERROR


def test_full_replica_spills(router, cluster):
    """Nobody waits for a connection of one replica while the other has one."""
    one, other = cluster.replicas
    r = router(default_pool_size=1, workers=1)
    got = []

    def read():
        with r.connect() as waiter:
            got.append(port(waiter))

    with r.connect() as conn:
        assert set(ports(conn, 10)) == {one.port, other.port}
        with occupied(r, one):
            start = time.monotonic()
            assert set(ports(conn, 20)) == {other.port}
            assert time.monotonic() - start < 10
            with occupied(r, other):  # both are full: one waits, and does not go to the primary
                waiting = [threading.Thread(target=read, daemon=True) for _ in range(4)]
                for thread in waiting:
                    thread.start()
                wait_until(lambda: r.metric("db_connection_pool_size", state="waiting") == 4, 5, "reads to wait")
            for thread in waiting:  # whichever of the queues they stood in
                thread.join(15)
            assert got == [other.port] * 4


def test_many_wait_for_few(router, cluster):
    """With fewer connections than workers want, queues move on and nobody goes round in circles."""
    r = router(default_pool_size=1, workers=2)

    def work(_):
        with r.connect() as conn:
            ports(conn, 50)

    run_clients(12, work)
    used = r.cpu_seconds()
    time.sleep(1)  # what nobody asks for costs nothing
    assert r.cpu_seconds() - used < 0.5


def test_newcomer_starts_slowly(router, new_cluster):
    cluster = new_cluster()
    old, new = cluster.replicas
    r = router(cluster, slow_start="60s")
    with r.connect() as conn:
        seen = ports(conn, 40)
        assert min(seen[n.port] for n in cluster.replicas) >= 15  # those that were there from the start are all alike
        new.stop()
        r.wait_replica(new.name, healthy=False)
        new.start()
        r.wait_replica(new.name)
        seen = ports(conn, 200)
        assert seen[new.port] < 40 < seen[old.port]
        r.reload(slow_start="0")
        wait_until(lambda: min(ports(conn, 40)[n.port] for n in cluster.replicas) >= 15, 5, "equal shares")


def test_preference_of_a_user(router, cluster):
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create or replace function where_am_i() returns int language sql volatile "
                     "as 'select port from here'")
        conn.execute("drop table if exists preferred; create table preferred (v int)")
    cluster.caught_up()
    r = router(users={"app": {"route": "primary"}, "other": {"route": "replica"}})
    replicas = {n.port for n in cluster.replicas}
    with r.connect() as conn:
        assert set(ports(conn, 10)) == {cluster.primary.port}
        assert conn.execute("/* pgsteer: replica */ select port from here").fetchone()[0] in replicas
    assert routed(r, "primary", "preference") >= 10
    with r.connect(user="other") as conn:
        wait_until(lambda: conn.execute("select where_am_i()").fetchone()[0] in replicas, 5, "the catalog")
        assert conn.execute("/* pgsteer: primary */ select where_am_i()").fetchone()[0] == cluster.primary.port
        assert conn.execute("select txid_current() > 0, (select port from here)").fetchone()[1] == cluster.primary.port
        with conn.transaction():
            assert conn.execute("select where_am_i()").fetchone()[0] == cluster.primary.port
    assert routed(r, "replica", "preference") >= 1
    r.reload(users={"app": {"route": "auto"}})
    with r.connect() as conn:
        wait_until(lambda: port(conn) in replicas, 5, "the new preference")


def test_read_waits_for_freshness(router, cluster, table):
    name = table(rows="values (1, 0)")
    for node in cluster.replicas:
        node.delay("300ms")
    r = router(consistency_wait="20s")
    with r.connect() as conn:
        for n in range(5):
            conn.execute(f"update {name} set v = {n}")
            value, where = conn.execute(f"select v, (select port from here) from {name}").fetchone()
            assert value == n
            assert where != cluster.primary.port
    assert routed(r, "primary", "read_your_writes") == 0


def test_wait_for_freshness_has_an_end(router, cluster, table):
    name = table(rows="values (1, 0)")
    for node in cluster.replicas:
        node.delay("30s")
    r = router(consistency_wait="300ms")
    with r.connect() as conn:
        conn.execute(f"update {name} set v = 1")
        start = time.monotonic()
        assert conn.execute(f"select v, (select port from here) from {name}").fetchone() == (1, cluster.primary.port)
        assert time.monotonic() - start >= 0.3
        conn.execute(f"update {name} set v = 2")
        with r.connect() as other:  # nobody else waits
            assert other.execute(f"select 1 from {name}").fetchone() == (1,)
    assert routed(r, "primary", "read_your_writes") >= 1


def counter(router, cluster, table, consistency, enough):
    """What one client reads of a number that another raises, on two replicas of which one is late."""
    name = table(rows="values (1, 0)")
    cluster.replicas[1].delay("500ms")
    r = router(consistency=consistency, default_pool_size=5)
    writer = r.connect()
    seen, where = [], collections.Counter()

    def write():
        writer.execute(f"update {name} set v = v + 1")
        time.sleep(0.002)

    with Background(write), r.connect() as conn:
        end = time.monotonic() + 30
        while not enough(seen, where) and time.monotonic() < end:
            value, at = conn.execute(f"select v, (select port from here) from {name}").fetchone()
            seen.append(value)
            where[at] += 1
    writer.close()
    return seen, where


def falls(seen):
    return any(b < a for a, b in zip(seen, seen[1:]))


def test_monotonic_reads(router, cluster, table):
    seen, _ = counter(router, cluster, table, "session", lambda s, w: falls(s))
    assert falls(seen)  # what the next level is for


def test_monotonic_reads_never_fall(router, cluster, table):
    replicas = {n.port for n in cluster.replicas}
    seen, where = counter(router, cluster, table, "monotonic",
                          lambda s, w: len(s) >= 1500 and sum(w[p] for p in replicas) >= 50)
    assert not falls(seen)
    assert sum(where[p] for p in replicas) >= 50


@pytest.mark.parametrize("consistency", ["session", "global"])
def test_writes_of_others(router, cluster, table, consistency):
    """`global`: what one client was told to be written, every other sees, whatever worker serves it."""
    name = table(rows="values (1, 0)")
    for node in cluster.replicas:
        node.delay("300ms")
    r = router(consistency=consistency, workers=2)
    stale = 0
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(r.connect()) for _ in range(6)]
        writer = stack.enter_context(r.connect())
        for n in range(1, 11):
            writer.execute(f"update {name} set v = {n}")
            stale += sum(conn.execute(f"select v from {name}").fetchone()[0] != n for conn in readers)
        replicas = {n.port for n in cluster.replicas}
        if consistency == "global":
            assert stale == 0
            wait_until(lambda: port(readers[0]) in replicas, 10, "reads on replicas")
        else:
            assert stale > 0
