# SPDX-License-Identifier: ISC
"""Lag: a replica that is late gets no reads, one that is not does, and an idle primary makes nobody look late."""
import time

import pytest

from harness.load import Background, port, ports
from pgcluster import wait_until

MAX_LAG = 1.0


@pytest.fixture
def writes(cluster, table):
    """A context in which the primary is written to all the time, past the router."""
    name = table(rows="values (1, 0)")
    conn = cluster.primary.connect("app", "app")

    def write():
        conn.execute(f"update {name} set v = v + 1")
        time.sleep(0.02)

    yield lambda: Background(write)
    conn.close()


def lagging(router, **options):
    return router(max_lag=f"{int(MAX_LAG * 1000)}ms", **options)


def lag(endpoint, node):
    return endpoint.metric("db_replication_lag_seconds", replica=node.name)


def make_late(node, way):
    {"paused": node.pause_replay, "cut": node.cut_walreceiver, "delayed": lambda: node.delay("1h")}[way]()


def make_well(node, way):
    {"paused": node.resume_replay, "cut": node.restore_walreceiver, "delayed": lambda: node.delay("0")}[way]()


@pytest.mark.parametrize("way", ["paused", "cut", "delayed"])
def test_late_replica_gets_no_reads(router, cluster, writes, way):
    good, late = cluster.replicas
    endpoint = lagging(router)
    with endpoint.connect() as conn, writes():
        make_late(late, way)
        start = time.monotonic()
        endpoint.wait_replica(late.name, healthy=False, timeout=MAX_LAG + 4)
        assert time.monotonic() - start > MAX_LAG * 0.6, "it was taken out before it was late"
        assert set(ports(conn, 100)) == {good.port}
        assert lag(endpoint, late) > MAX_LAG * 0.9 and lag(endpoint, good) < MAX_LAG
        server = endpoint.http("/health")[2]
        assert "lag" in server
        make_well(late, way)
        endpoint.wait_replica(late.name)
        wait_until(lambda: late.port in ports(conn, 10), 3, "reads on the replica again")
        assert lag(endpoint, late) < MAX_LAG


def test_no_stale_read_beyond_max_lag(router, cluster, table):
    """The value read is never older than max_lag and a little, whatever replica it comes from, while one is paused."""
    late = cluster.replicas[0]
    name = table("at timestamptz", "values (clock_timestamp())")
    endpoint = lagging(router)
    writer = cluster.primary.connect("app", "app")
    oldest = 0
    with endpoint.connect() as conn, Background(lambda: writer.execute(f"update {name} set at = clock_timestamp()")):
        late.pause_replay()
        deadline = time.monotonic() + MAX_LAG + 2
        while time.monotonic() < deadline:
            oldest = max(oldest, conn.execute(f"select extract(epoch from clock_timestamp() - at) from {name}")
                         .fetchone()[0])
    writer.close()
    assert oldest < MAX_LAG + 0.75  # a health interval is 0.2 s
    assert oldest > MAX_LAG * 0.5, "the replica was taken out too early"


def test_idle_primary(router, cluster):
    """Nothing is written for 3 x max_lag: nobody looks late, at no moment."""
    endpoint = lagging(router)
    names = [n.name for n in cluster.replicas]
    deadline = time.monotonic() + 3 * MAX_LAG
    with endpoint.connect() as conn:
        while time.monotonic() < deadline:
            metrics = endpoint.metrics()
            for name in names:
                assert endpoint.metric("db_replica_health", metrics, replica=name) == 1
                assert endpoint.metric("db_replication_lag_seconds", metrics, replica=name) < MAX_LAG
            assert port(conn) != cluster.primary.port


def test_idle_primary_after_wal_switch(router, cluster):
    """The insert position just after a page header is no lag."""
    endpoint = lagging(router)
    cluster.primary.sql("select pg_switch_wal()")
    deadline = time.monotonic() + 1.5 * MAX_LAG
    while time.monotonic() < deadline:
        metrics = endpoint.metrics()
        for node in cluster.replicas:
            assert endpoint.metric("db_replica_health", metrics, replica=node.name) == 1


def test_walreceiver_cut_on_an_idle_primary(router, cluster, writes):
    """Cut off while nothing is written it is not late; the first write makes it so."""
    late = cluster.replicas[1]
    endpoint = lagging(router)

    def position():
        return cluster.primary.value("select pg_current_wal_insert_lsn()")

    for _ in range(3):  # PostgreSQL itself writes now and then: then the primary was not idle, and it counts again
        before = position()
        late.cut_walreceiver()
        deadline = time.monotonic() + 1.5 * MAX_LAG
        while time.monotonic() < deadline and position() == before:
            assert endpoint.metric("db_replica_health", replica=late.name) == 1 or position() != before
        if position() == before:
            break
        late.restore_walreceiver()
        endpoint.wait_replica(late.name)
    assert position() == before, "the primary is never idle"
    with writes():
        endpoint.wait_replica(late.name, healthy=False, timeout=MAX_LAG + 4)


def test_all_late(router, cluster, writes):
    """With no replica left the primary serves the reads; one warning, an alert, and it ends."""
    endpoint = lagging(router)
    with endpoint.connect() as conn:
        with writes():
            since = len(endpoint.log_text())
            for node in cluster.replicas:
                node.pause_replay()
            for node in cluster.replicas:
                endpoint.wait_replica(node.name, healthy=False, timeout=MAX_LAG + 4)
            assert set(ports(conn, 50)) == {cluster.primary.port}
            assert endpoint.http("/readiness")[0] == 200
            assert endpoint.http("/replica")[0] == 503 and endpoint.http("/primary")[0] == 200
            warning = endpoint.wait_log(r'level=warning msg="[^"]*replica[^"]*"', since=since)
            assert alerts(endpoint.metrics())
            ports(conn, 50)
        for node in cluster.replicas:
            node.resume_replay()
        for node in cluster.replicas:
            endpoint.wait_replica(node.name)
        text = endpoint.log_text(since)
        message = warning[0].split("msg=")[-1]
        assert text.count(message) == 1, text
        wait_until(lambda: set(ports(conn, 20)) == {n.port for n in cluster.replicas}, 3, "reads on replicas again")
        assert not alerts(endpoint.metrics())


def alerts(metrics):
    """The alert metrics that are set."""
    return {name: value for (name, _), value in metrics.items() if "alert" in name and value}


def test_critical_lag(router, cluster, writes):
    """Above critical_lag the alert is a critical one."""
    endpoint = lagging(router, critical_lag="3s")
    with writes():
        cluster.replicas[0].pause_replay()
        endpoint.wait_replica("pg2", healthy=False, timeout=MAX_LAG + 4)
        wait_until(lambda: lag(endpoint, cluster.replicas[0]) > 3, 5, "a lag of 3 s")
        wait_until(lambda: any("critical" in str(labels) + name for (name, labels), value in endpoint.metrics().items()
                               if value), 3, "a critical alert")


def test_lag_by_http(router, cluster, writes):
    """/replica?lag=: 503 once no replica is that close."""
    endpoint = router(max_lag="60s")
    assert endpoint.http("/replica?lag=10s")[0] == 200
    with writes():
        for node in cluster.replicas:
            node.pause_replay()
        wait_until(lambda: endpoint.http("/replica?lag=1s")[0] == 503, 5, "/replica?lag=1s to say 503")
        assert endpoint.http("/replica?lag=30s")[0] == 200
        assert endpoint.http("/replica")[0] == 200


def test_primary_gone_is_no_lag(router, cluster):
    """Reads go on at replicas while there is no primary to compare them with, for longer than max_lag."""
    endpoint = lagging(router)
    with endpoint.connect() as conn:
        ports(conn, 4)
        cluster.primary.stop("immediate")
        deadline = time.monotonic() + 2 * MAX_LAG
        while time.monotonic() < deadline:
            assert port(conn) in {n.port for n in cluster.replicas}


@pytest.mark.timeout(300)
def test_default_max_lag(router, cluster, writes, full):
    """At the default of 60 s: still in use at 50 s, out at 65 s."""
    if not full:
        pytest.skip("takes 70 s: --full")
    late = cluster.replicas[1]
    endpoint = router()
    with endpoint.connect() as conn, writes():
        late.pause_replay()
        start = time.monotonic()
        while time.monotonic() - start < 50:
            assert endpoint.metric("db_replica_health", replica=late.name) == 1
            time.sleep(0.5)
        assert late.port in ports(conn, 10)
        endpoint.wait_replica(late.name, healthy=False, timeout=20)
        assert time.monotonic() - start > 58
        assert set(ports(conn, 100)) == {cluster.replicas[0].port}
        late.resume_replay()
        endpoint.wait_replica(late.name)
