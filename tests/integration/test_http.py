# SPDX-License-Identifier: ISC
"""Health and metrics by HTTP, as load balancers and Prometheus ask."""
import http.client
import re
import socket
import time

import pytest

from harness.load import Background, port, ports
from pgcluster import wait_until

PATHS = ["/liveness", "/readiness", "/health", "/primary", "/replica", "/replica?lag=10s", "/read-write", "/read-only"]


@pytest.fixture(scope="module")
def well(module_router):
    """A router in front of servers that are all well."""
    return module_router()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
def test_all_well(well, path, method):
    status, _, body = well.http(path, method)
    assert status == 200
    assert body == "" or method != "HEAD"


def test_health(router, cluster):
    """Every server with its role, state, lag and reason."""
    endpoint = router()
    status, headers, text = endpoint.http("/health")
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    servers = servers_of(endpoint.health())
    assert set(servers) == {n.name for n in cluster.nodes}
    for name, server in servers.items():
        assert server["role"] == ("primary" if name == "pg1" else "replica")
        assert {"state", "reason"} <= set(server) and any("lag" in key for key in server), server
    assert "app-password" not in text and "monitor-password" not in text


def servers_of(health):
    """{name: facts} whether the servers are listed or keyed by name."""
    servers = health["servers"]
    return servers if isinstance(servers, dict) else {s["name"]: s for s in servers}


def test_replica_down(router, cluster):
    endpoint = router()
    for node in cluster.replicas:
        node.kill()
    for node in cluster.replicas:
        endpoint.wait_replica(node.name, healthy=False)
    expected = {"/liveness": 200, "/readiness": 200, "/primary": 200, "/read-write": 200, "/replica": 503}
    assert {path: endpoint.http(path)[0] for path in expected} == expected
    server = servers_of(endpoint.health())["pg2"]
    assert server["state"] not in ("up", "ok") and server["reason"] not in ("", "ok")


def test_primary_down(router, cluster):
    endpoint = router()
    cluster.primary.kill()
    wait_until(lambda: endpoint.http("/primary")[0] == 503, 10, "/primary to say 503")
    assert endpoint.http("/read-write")[0] == 503
    assert endpoint.http("/replica")[0] == 200 and endpoint.http("/read-only")[0] == 200
    assert endpoint.http("/liveness")[0] == 200
    cluster.heal()
    wait_until(lambda: endpoint.http("/primary")[0] == 200, 10, "/primary to say 200 again")


def test_bad_requests(router):
    endpoint = router()
    assert endpoint.http("/nothing-here")[0] == 404
    assert endpoint.http("/health", "POST")[0] == 405
    assert endpoint.http("/replica?lag=nonsense")[0] == 400
    assert endpoint.http("/" + "x" * 20000)[0] in (400, 404, 414, 431, 500)
    for junk in (b"\0" * 100, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"x" * 100000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9999):
        with socket.create_connection((endpoint.host, endpoint.http_port), 5) as s:
            try:
                s.sendall(junk)
            except OSError:
                pass
    assert endpoint.http("/liveness")[0] == 200


def test_slow_http_clients_disturb_nobody(router):
    endpoint = router()
    slow = [socket.create_connection((endpoint.host, endpoint.http_port), 5) for _ in range(30)]
    try:
        for s in slow:
            s.sendall(b"GET /metrics HTTP/1.1\r\n")
        with endpoint.connect() as conn:
            port(conn)
    finally:
        for s in slow:
            s.close()
    wait_until(lambda: endpoint.http("/liveness")[0] == 200, 5, "HTTP to answer")


def test_keep_alive(router):
    endpoint = router()
    conn = http.client.HTTPConnection(endpoint.host, endpoint.http_port, timeout=5)
    for _ in range(50):
        for path in ("/readiness", "/metrics"):
            conn.request("GET", path)
            response = conn.getresponse()
            assert response.status == 200 and response.read() is not None
    conn.close()


def test_metrics(router, cluster):
    """The names that dashboards rely on, with sensible values, in Prometheus' text format."""
    endpoint = router(default_pool_size=1)
    with endpoint.connect() as conn:
        ports(conn, 10)
        conn.execute("begin")
        conn.execute("select txid_current()")
        metrics = endpoint.metrics()
        assert endpoint.metric("db_connection_pool_size", metrics, state="active") == 1
        assert endpoint.metric("db_connection_pool_size", metrics, state="idle") >= 2
        assert endpoint.metric("db_connection_pool_size", metrics, state="waiting") == 0
        conn.execute("rollback")
    for node in cluster.replicas:
        assert 0 <= endpoint.metric("db_replication_lag_seconds", metrics, replica=node.name) < 5
        assert endpoint.metric("db_replica_health", metrics, replica=node.name) == 1
    for histogram, labels in (("db_connection_pool_wait_time_seconds", {}),
                              ("db_query_duration_seconds", {"query_type": "read"}),
                              ("db_query_duration_seconds", {"query_type": "write"})):
        check_histogram(metrics, histogram, labels)
    assert endpoint.metric("db_query_duration_seconds_count", metrics, query_type="read") >= 10
    assert endpoint.metric("pgsteer_routed_total", metrics, target="replica") >= 10
    assert endpoint.metric("db_connection_pool_errors_total", metrics) == 0


def check_histogram(metrics, name, labels):
    """Buckets grow, the last is the count, and there is a sum."""
    buckets = sorted((float(dict(have)["le"]), value) for (n, have), value in metrics.items()
                     if n == name + "_bucket" and set(labels.items()) <= have)
    assert len(buckets) > 3 and buckets[-1][0] == float("inf")
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    total = [v for (n, have), v in metrics.items() if n == name + "_count" and set(labels.items()) <= have]
    assert total == [counts[-1]]
    assert [v for (n, have), v in metrics.items() if n == name + "_sum" and set(labels.items()) <= have]


def test_metrics_text(router):
    """Every family has HELP and TYPE, once, before its samples."""
    endpoint = router()
    status, headers, text = endpoint.http("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)
    helps = re.findall(r"^# HELP (\S+) \S.*$", text, re.M)
    assert len(types) == len(set(types)) and {name for name, _ in types} == set(helps)
    families = {name for name, _ in types}
    for name, _ in endpoint.metrics():
        assert name in families or re.sub(r"_(bucket|count|sum)$", "", name) in families
    assert text.endswith("\n")


def test_errors_are_counted(router):
    endpoint = router(default_pool_size=1, workers=1, query_wait_timeout="300ms")
    with endpoint.connect() as holder, endpoint.connect() as waiter:
        holder.execute("begin")
        holder.execute("select txid_current()")
        with pytest.raises(Exception):
            waiter.execute("select txid_current()")
    assert endpoint.metric("db_connection_pool_errors_total", reason="query_wait_timeout") == 1
    metrics = endpoint.metrics()
    assert endpoint.metric("db_connection_pool_wait_time_seconds_count", metrics) >= 1


def test_metrics_under_load(router):
    """Asking all the time neither fails nor stops the data path."""
    endpoint = router()
    with endpoint.connect() as conn, Background(endpoint.metrics) as scraping:
        start = time.monotonic()
        while time.monotonic() - start < 1:
            port(conn)
    assert scraping.rounds > 5


def test_http_off(router):
    """http_addr empty: no HTTP, and the router works."""
    endpoint = router(wait=False, http_addr="")
    wait_until(lambda: can_connect(endpoint), 10, "the router to accept clients")
    with pytest.raises(ConnectionRefusedError):
        endpoint.http("/liveness")


def can_connect(endpoint):
    try:
        with endpoint.connect() as conn:
            return conn.execute("select 1").fetchone() == (1,)
    except Exception:
        return False
