# SPDX-License-Identifier: ISC
"""A server that is gone without a word: no end of file, no reset, no answer. Needs root, for network namespaces."""
import time

import pytest

import frontend as fe
from harness.load import Readers
from harness.netns import Network, missing
from pgcluster import wait_until

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
PIDS = "select (select pid from here), pg_sleep(0.005)"
HEALTH = {"health_interval": "1s", "health_timeout": "1s", "health_failures": 2}  # as they are by default


@pytest.fixture
def network(cluster):
    with Network(cluster) as made:
        yield made


def backends(node):
    return {pid for pid, in node.sql("select pid from pg_stat_activity where usename = 'app'")}


def test_replica_vanishes(network, router, cluster):
    """It is taken out in time, what was asked there is asked elsewhere, and none of its connections is used again."""
    lost = cluster.replicas[0]
    endpoint = router(servers=network.servers(), **HEALTH)
    with Readers(endpoint, sql=PIDS) as readers:
        old = backends(lost)
        assert readers.more() & old
        start = time.monotonic()
        network.cut(lost)
        endpoint.wait_replica(lost.name, healthy=False, timeout=10)
        assert time.monotonic() - start < 3.5, "interval + health_failures x health_timeout"
        readers.everyone()
        assert not readers.more() & old
        assert endpoint.metric("pgsteer_reruns_total") >= 1
        network.restore(lost)
        endpoint.wait_replica(lost.name)
        wait_until(lambda: readers.more(50) & backends(lost), 20, "reads on the replica that has come back")
        assert not readers.more(200) & old
    assert readers.errors == []
    assert readers.longest < 4


def test_primary_vanishes(network, router, cluster, table):
    """What was under way there gets its error within 15 s or so; the clients live, and nobody else notices."""
    name = table(rows="values (1, 0)")
    endpoint = router(servers=network.servers(), query_wait_timeout="60s", **HEALTH)
    login = {"password": "app-password"}
    with fe.Frontend(endpoint, timeout=40).login(**login) as early, fe.Frontend(endpoint, timeout=40).login(**login) as late:
        late.ask(fe.query("begin"))  # its statement comes after the cut, when nothing is acknowledged any more
        late.ask(fe.query(f"update {name} set v = 1"))
        early.send(fe.query("select pg_sleep(120), txid_current() /* vanishes */"))
        wait_until(lambda: cluster.primary.sql("select 1 from pg_stat_activity where query like '%/* vanishes%' and "
                                               "pid <> pg_backend_pid()"), 5, "the statement to run")
        old = backends(cluster.primary)
        with Readers(endpoint, count=4) as readers:
            network.cut(cluster.primary)
            start = time.monotonic()
            late.send(fe.query(f"update {name} set v = 2"))
            for conn in (early, late):
                got = conn.until("Z")
                assert [e["C"] for e in fe.errors(got)] == ["08006"]
                assert time.monotonic() - start < 18
            assert got[-1].body == b"E"  # the transaction went with its server
            late.ask(fe.query("rollback"))
            readers.everyone()
            network.restore(cluster.primary)
            wait_until(lambda: endpoint.http("/primary")[0] == 200, 10, "the primary to be known again")
            for backend in old:  # those behind the cut; the update's holds its lock until it notices
                cluster.primary.sql("select pg_terminate_backend(%s, 5000)", (backend,))
            for conn in (early, late):
                assert int(conn.value(f"select pid from here, {name}, txid_current()")) not in old
            assert early.value(f"select v from {name}") == "0"
        assert readers.errors == []
        assert readers.longest < 4
