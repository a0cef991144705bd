# SPDX-License-Identifier: ISC
"""pgbench's own loads, 50 clients over 10 server connections, without a single error; TPC-B's books balance after."""
import subprocess

import pytest

from harness.load import pgbench
from pgcluster import wait_until

CLIENTS = 50
SERVERS = 10

pytestmark = pytest.mark.speed


@pytest.fixture(scope="module")
def bench(shared_cluster, full):
    """pgbench's tables in a database of their own, owned by `app`."""
    cluster = shared_cluster
    cluster.primary.sql("drop database if exists bench")
    cluster.primary.sql("create database bench owner app")

    subprocess.run(["pgbench", "-i", "-q", "-s", "50" if full else "10", cluster.primary.dsn("bench", "app")],
                   check=True, capture_output=True, timeout=170)
    cluster.caught_up(60)
    yield cluster
    cluster.primary.sql("drop database bench with (force)")


@pytest.fixture
def seconds(full):
    return "60" if full else "2"


def books(cluster):
    """The four sums that must agree, less what the tables held at first (0)."""
    return cluster.primary.sql("""
        select (select sum(bbalance) from pgbench_branches), (select sum(tbalance) from pgbench_tellers),
               (select sum(abalance) from pgbench_accounts), (select coalesce(sum(delta), 0) from pgbench_history)""",
                               dbname="bench")[0]


def settled(endpoint):
    """Nobody waits and nothing is in use any more."""
    wait_until(lambda: endpoint.metric("db_connection_pool_size", state="active") == 0 and
               endpoint.metric("db_connection_pool_size", state="waiting") == 0, 5, "the pools to be idle")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["tpcb-like", "select-only"])
def test_pgbench(router, bench, seconds, script, mode):
    endpoint = router(default_pool_size=SERVERS)
    pgbench(endpoint, "-n", "-c", str(CLIENTS), "-j", "2", "-T", seconds, "-M", mode, "-b", script, dbname="bench")
    for node in bench.nodes:
        assert len(endpoint.backends(node, dbname="bench")) <= SERVERS
    busy = bench.replicas if script == "select-only" else [bench.primary]
    assert all(endpoint.backends(node, dbname="bench") for node in busy)
    assert len(set(books(bench))) == 1, books(bench)
    settled(endpoint)
    assert not endpoint.metric("db_connection_pool_errors_total")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("script", ["tpcb-like", "select-only"])
def test_pgbench_connecting_each_time(router, bench, seconds, script):
    """-C: a new client connection for every transaction, at one pace with the servers' ten."""
    endpoint = router(default_pool_size=SERVERS)
    pgbench(endpoint, "-n", "-c", str(CLIENTS), "-j", "2", "-T", seconds, "-C", "-b", script, dbname="bench")
    assert len(set(books(bench))) == 1, books(bench)
    settled(endpoint)
    wait_until(lambda: endpoint.metric("pgsteer_clients") == 0, 5, "all clients to be gone")


@pytest.mark.timeout(400)
def test_pgbench_pipeline(router, bench, seconds, tmp_path):
    """Several statements in flight, some of which go elsewhere than others."""
    script = tmp_path / "pipeline.sql"
    script.write_text(r"""
\set aid random(1, 100000)
\startpipeline
select abalance from pgbench_accounts where aid = :aid;
update pgbench_accounts set abalance = abalance + 0 where aid = :aid;
select abalance from pgbench_accounts where aid = :aid;
\endpipeline
""")
    endpoint = router(default_pool_size=SERVERS)
    pgbench(endpoint, "-n", "-c", "20", "-j", "2", "-T", seconds, "-M", "prepared", "-f", str(script), dbname="bench")
    settled(endpoint)
