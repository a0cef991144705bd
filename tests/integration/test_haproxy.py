# SPDX-License-Identifier: ISC
"""Two routers behind HAProxy, which asks their health endpoint: the one that goes takes no client with it for long.

The configuration is that of docs/scaling.md, with shorter times.
"""
import os
import signal
import socket
import subprocess
import threading

import psycopg
import pytest

from harness.router import Endpoint
from pgcluster import await_exit, free_port, wait_until

CONFIG = """\
global
    maxconn 1000
    stats socket {socket} mode 600
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen pgsteer
    bind 127.0.0.1:{port}
    balance leastconn
    option httpchk GET /readiness
    http-check expect status 200
    option srvtcpka
    srvtcpka-idle 5s
    srvtcpka-intvl 2s
    srvtcpka-cnt 3
    default-server inter 100ms fall 2 rise 1
"""


class Balancer(Endpoint):
    """HAProxy before routers."""

    def __init__(self, workspace, routers):
        self.port = free_port()
        folder = workspace.make(f"haproxy{self.port}")
        self._socket = os.path.join(folder, "stats")
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="ascii") as f:
            f.write(CONFIG.format(port=self.port, socket=self._socket))
            for number, router in enumerate(routers):
                f.write(f"    server r{number} 127.0.0.1:{router.port} check port {router.http_port}\n")
        workspace.give(path)
        self._process = workspace.spawn(["/usr/sbin/haproxy", "-db", "-f", path], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def states(self):
        """{server: "UP", "DOWN" ...} as HAProxy sees them; empty before it has started."""
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(self._socket)
            except OSError:
                return {}
            s.sendall(b"show stat\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.splitlines() if line.startswith("pgsteer,r")]
        return {row[1]: row[17] for row in rows}

    def wait_states(self, *states):
        wait_until(lambda: [s.split()[0] for s in self.states().values()] == list(states), 10, f"the routers to be {states}")

    def close(self):
        self._process.send_signal(signal.SIGTERM)
        if not await_exit(self._process.pid, 5):
            self._process.kill()
        self._process.wait()


@pytest.fixture
def pair(router, workspace):
    """(balancer, router, router), both in use."""
    both = [router(), router()]
    balancer = Balancer(workspace, both)
    balancer.wait_states("UP", "UP")
    yield balancer, *both
    balancer.close()


class Application(threading.Thread):
    """A client that connects again when its connection has gone, as drivers' pools do."""

    def __init__(self, endpoint):
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._over = threading.Event()
        self.answers, self.losses, self.reasons = 0, 0, []

    def run(self):
        while not self._over.is_set():
            try:
                with self._endpoint.connect() as conn:
                    while not self._over.is_set():
                        assert conn.execute("select 1 from here").fetchone() == (1,)
                        self.answers += 1
            except psycopg.OperationalError as error:
                self.losses += 1
                self.reasons.append(str(error))

    def end(self):
        self._over.set()
        self.join(15)
        assert not self.is_alive()


@pytest.fixture
def applications(pair):
    found = [Application(pair[0]) for _ in range(8)]
    for application in found:
        application.start()
    yield found
    for application in found:
        application.end()


def all_go_on(applications):
    """Every one of them gets more answers from now on."""
    before = [a.answers for a in applications]
    wait_until(lambda: all(a.answers > n + 5 for a, n in zip(applications, before)), 15, "every client to go on")


def test_both_are_used(pair, applications):
    all_go_on(applications)
    _, first, second = pair
    for endpoint in (first, second):
        assert endpoint.metric("pgsteer_clients") == len(applications) / 2
    assert not any(a.losses for a in applications)


def test_one_is_killed(pair, applications):
    balancer, first, second = pair
    all_go_on(applications)
    first.kill()
    balancer.wait_states("DOWN", "UP")
    all_go_on(applications)
    assert second.metric("pgsteer_clients") == len(applications)
    assert sum(a.losses > 0 for a in applications) == len(applications) / 2, [a.reasons for a in applications]


def test_one_drains(pair, applications):
    """SIGTERM: its clients are sent away with 57P01 and find the other one."""
    balancer, first, second = pair
    all_go_on(applications)
    first.send_signal(signal.SIGTERM)
    balancer.wait_states("DOWN", "UP")
    assert first.wait_exit() == 0
    all_go_on(applications)
    assert second.metric("pgsteer_clients") == len(applications)


def test_transactions_end_in_a_drain(pair, table):
    """HAProxy has long known that the router takes no more clients, and leaves those that are there alone."""
    name = table(rows="values (1, 0)")
    balancer, first, second = pair
    with balancer.connect() as conn:
        conn.execute("begin")
        conn.execute(f"update {name} set v = 1")
        mine = first if first.metric("pgsteer_clients") == 1 else second
        mine.send_signal(signal.SIGTERM)
        balancer.wait_states(*("DOWN" if r is mine else "UP" for r in (first, second)))
        assert conn.execute(f"update {name} set v = v + 1 returning v").fetchone() == (2,)
        conn.execute("commit")
        assert mine.wait_exit() == 0
    with balancer.connect() as conn:
        assert conn.execute(f"select v from {name}").fetchone() == (2,)


def test_none_is_ready(pair, cluster):
    """Without a server to be used no router is ready, and HAProxy sends nobody to one; afterwards all is well again."""
    balancer, *_ = pair
    for node in cluster.nodes:
        node.stop("immediate")
    balancer.wait_states("DOWN", "DOWN")
    with pytest.raises(psycopg.OperationalError):
        balancer.connect(connect_timeout=5)
    for node in cluster.nodes:
        node.start()
    balancer.wait_states("UP", "UP")
    with balancer.connect() as conn:
        assert conn.execute("select 1").fetchone() == (1,)
