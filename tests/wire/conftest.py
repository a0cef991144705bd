# SPDX-License-Identifier: ISC
"""Fixtures of the raw-protocol tests: one router per file, with a neighbour who must notice nothing of a test."""
import pytest

import frontend as fe
from harness.router import sanitized
from pgcluster import wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def wire_table(shared_cluster):
    """What the COPY states copy into."""
    with shared_cluster.primary.connect("app", "app") as conn:
        conn.execute("create table if not exists wire_table (a int, b int)")
    shared_cluster.caught_up()


@pytest.fixture(scope="module")
def target(module_router, wire_table):
    """A router that lets `app` in without a password."""
    return module_router(measure=True, auth_type="trust", workers=1, default_pool_size=4)


@pytest.fixture
def login(target):
    """login(): a client that is logged in and idle."""
    password = "app-password" if target.pid is None else None
    opened = []

    def make(timeout=10, **parameters):
        opened.append(fe.Frontend(target, timeout))
        return opened[-1].login(password=password, **parameters)

    yield make
    for conn in opened:
        conn.socket.close()


@pytest.fixture
def connect(target):
    """connect(): a connection on which nothing has been said yet."""
    opened = []

    def make(timeout=10):
        opened.append(fe.Frontend(target, timeout))
        return opened[-1]

    yield make
    for conn in opened:
        conn.socket.close()


@pytest.fixture(autouse=True)
def neighbour(request):
    """A client that works before and after, in a router that holds no more than before."""
    if not {"target", "login", "connect"} & set(request.fixturenames):
        yield None
        return
    target = request.getfixturevalue("target")
    with fe.Frontend(target) as conn:
        conn.login(password="app-password" if target.pid is None else None)
        assert conn.value("select 1") == "1"
        before = target.rss() if target.pid else 0
        yield conn
        for sql in ("select 2", "select 2 + 0 * txid_current()"):
            assert conn.value(sql) == "2"
        assert conn.notices == []
        if target.pid is None:
            return
        target.check_alive()
        growth = target.rss() - before
        assert growth < (4 if not sanitized() else 32) * MIB, f"memory grew by {growth / MIB:.1f} MiB"


def settled(target):
    """Nobody but the neighbour is connected any more, and no server connection is in use."""
    if target.pid is not None:
        wait_until(lambda: target.metric("pgsteer_clients") <= 1, 10, "the clients of the test to be gone")
        wait_until(lambda: target.metric("db_connection_pool_size", state="active") == 0, 10, "the pools to be idle")
