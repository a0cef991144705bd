# SPDX-License-Identifier: ISC
"""Transactions whose server is gone, or will not do: nothing of theirs runs outside them, or where it must not."""
import os
import signal

import pytest

import frontend as fe
from harness.load import PORT
from harness.router import Direct
from pgcluster import send, wait_until


def login(endpoint):
    return fe.Frontend(endpoint).login(password="app-password")


def prepared(sql, name=""):
    return fe.parse(sql, name) + fe.bind(name) + fe.execute()


# A server that dies before it has been told of a BEGIN.

def has_unread(node, client_port):
    """Something was sent to the server from that port that it has not read."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        sockets = [[field.split(":")[-1] for field in line.split()] for line in list(f)[1:]]
    here, there = f"{node.port:04X}", f"{client_port:04X}"
    return any(s[1] == here and s[2] == there and int(s[4], 16) for s in sockets)


def end_unread(node, endpoint, conn, data):
    """Sends it to a connection whose process ends before it reads it."""
    ((pid, _, _),) = endpoint.backends(node)
    client_port = node.value("select client_port from pg_stat_activity where pid = %s", (pid,))
    os.kill(pid, signal.SIGSTOP)
    try:
        conn.send(data)
        wait_until(lambda: has_unread(node, client_port), 5, "the server to be sent something")
        os.kill(pid, signal.SIGTERM)
    finally:
        send(pid, signal.SIGCONT)


# Name: what its client says first, what it is saying when the server dies, and whether that is a replica.
FORGOTTEN = {
    "settings": (["begin"], "insert into {t} values (7, 7)", False),
    "settings_of_a_replica": (["begin read only"], "select 1", True),
    "failed_before": (["begin read only", "select 1/0"], "commit and chain; insert into {t} values (7, 7)", False),
}


@pytest.mark.parametrize("way", FORGOTTEN)
def test_a_deferred_begin_outlives_its_server(router, cluster, table, way):
    """Its statement, which the server was not sent, runs on the next connection, in the transaction."""
    before, sql, on_replica = FORGOTTEN[way]
    name = table()
    node = cluster.replicas[0] if on_replica else cluster.primary
    endpoint = router(default_pool_size=1, workers=1, servers={"pg3": None})
    with login(endpoint) as conn, endpoint.connect() as other:
        if way != "failed_before":
            other.execute("set work_mem = '7MB'")
        assert other.execute(PORT if on_replica else f"insert into {name} values (1, 1) returning 1").fetchone()
        for one in before:
            conn.ask(fe.query(one))
        end_unread(node, endpoint, conn, fe.query(sql.format(t=name)))
        got = conn.until("Z")
        assert not fe.errors(got) and conn.status == "T"
        assert conn.value("show work_mem") == "4MB"
        assert conn.value("show transaction_read_only") == ("on" if on_replica else "off")
        assert fe.kinds(conn.ask(fe.query("rollback"))) == "CZ" and conn.status == "I"
    assert cluster.primary.value(f"select count(*) from {name} where id = 7", dbname="app") == 0


def test_a_deferred_begin_outlives_a_server_that_waits_for_a_cancel(router, cluster, table):
    """The first statement waits until a cancel that was late has reached its connection, which ends meanwhile."""
    name = table()
    endpoint = router(pool_mode="session", workers=1)
    with login(endpoint) as conn:
        pid = int(conn.value("select pg_backend_pid()"))
        conn.send(fe.query("select pg_sleep(0.5), txid_current() /* late */"))
        wait_until(lambda: cluster.primary.ask("select 1 from pg_stat_activity where query like '%%/* late */%%' and "
                                               "state = 'active' and pid = %s", (pid,)), 5, "the statement to run")
        cluster.dirty = True
        send(cluster.primary.pid, signal.SIGSTOP)  # the postmaster alone: it takes no cancel, backends go on
        with fe.Frontend(endpoint) as canceller:
            canceller.send(fe.cancel(*conn.key))
            canceller.drain()
        assert not fe.errors(conn.until("Z"))
        assert fe.kinds(conn.ask(fe.query("begin"))) == "CZ"
        before = endpoint.metric("pgsteer_client_received_bytes_total")
        conn.send(fe.query(f"insert into {name} values (7, 7)"))
        wait_until(lambda: endpoint.metric("pgsteer_client_received_bytes_total") != before, 5,
                   "the statement to be read")
        os.kill(pid, signal.SIGTERM)
        cluster.primary.thaw()
        assert fe.kinds(conn.until("Z")) == "CZ" and conn.status == "T"
        conn.ask(fe.query("rollback"))
    assert cluster.primary.value(f"select count(*) from {name}", dbname="app") == 0
