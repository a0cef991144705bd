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


# A transaction without a server. Each is what a client sends, a write after the other, when its transaction has failed
# on PostgreSQL, or is lost on the router; it gets the same. It has prepared x.

LOST = {
    "rollback": ["rollback"],
    "commit": ["commit"],
    "prepare_transaction": ["prepare transaction 'lost'"],
    "more": ["select 1", "rollback to a", "commit"],
    "chain": ["rollback and chain", "insert into {t} values (7, 7)", "rollback", "select count(*) from {t}"],
    "chain_modes": ["commit and chain", "show transaction_isolation", "show transaction_read_only", "commit"],
    "chain_extended": [prepared("rollback and chain") + fe.SYNC, "insert into {t} values (7, 7)", "rollback",
                       "select count(*) from {t}"],
    "chain_and_more": [prepared("commit and chain") + fe.ask("select 1"), "rollback"],
    "end": [prepared("commit") + fe.SYNC, "select 1"],
    "select_behind": [prepared("commit") + fe.ask("select 1, 2"), "select 1"],
    "begin_behind": [prepared("rollback") + prepared("begin") + fe.SYNC, "insert into {t} values (7, 7)", "rollback",
                     "select count(*) from {t}"],
    "error_behind": [prepared("rollback") + fe.ask("select 1/0"), "select 1"],
    "end_behind": [prepared("rollback") + prepared("commit") + fe.SYNC, "select 1"],
    "close": [fe.close("S", "x") + fe.SYNC, fe.close("P", "x") + fe.close("S", "never") + fe.SYNC, "rollback",
              fe.bind("x") + fe.execute() + fe.SYNC, prepared("select 2", "x") + fe.SYNC],
    "close_before": [fe.close("S", "x") + prepared("rollback") + fe.SYNC, prepared("select 2", "x") + fe.SYNC],
    "close_behind": [prepared("rollback") + fe.close("S", "x") + fe.SYNC, prepared("select 2", "x") + fe.SYNC],
    "close_and_again": [fe.close("S", "x") + prepared("commit", "x") + fe.SYNC, fe.bind("x") + fe.describe("P") +
                        fe.execute() + fe.SYNC],
    "parse_only": [fe.parse("commit", "c") + fe.SYNC, "select 1", fe.bind("c") + fe.execute() + fe.SYNC],
    "described": [fe.parse("commit", "c") + fe.describe("S", "c") + fe.bind("c") + fe.describe("P") + fe.execute() +
                  fe.SYNC],
    "flushed": [fe.parse("commit") + fe.describe("S") + fe.FLUSH + fe.bind() + fe.execute() + fe.SYNC, "select 1"],
    "portal": [fe.parse("commit") + fe.bind(portal="p") + fe.describe("P", "p") + fe.execute("p") + fe.SYNC],
    "formats": [fe.parse("commit") + fe.bind(formats=[1], results=[1]) + fe.execute() + fe.SYNC],
    "sync": [fe.SYNC, fe.message("S", b"x"), "rollback"],
    "refused": [fe.ask("select 1"), prepared("select 1") + prepared("rollback") + fe.SYNC, fe.bind("x") + fe.SYNC,
                fe.parse("select 1") + prepared("rollback") + fe.SYNC, "rollback"],
    "wrong": [fe.parse("commit", "x") + fe.SYNC, fe.parse("commit") + fe.bind(values=[1]) + fe.execute() + fe.SYNC,
              fe.parse("commit") + fe.bind() + fe.close("P") + fe.execute() + fe.SYNC, fe.execute() + fe.SYNC,
              fe.parse("commit") + fe.bind() + fe.execute("p") + fe.SYNC, fe.bind("never") + fe.SYNC, "rollback"],
}


def fail(conn):
    conn.ask(fe.query("begin"))
    conn.ask(fe.query("select 1/0"))


def lose(conn):
    for sql in ("begin isolation level repeatable read read only", "select 1"):
        conn.ask(fe.query(sql))
    assert [e["C"] for e in fe.errors(conn.ask(fe.query("select pg_is_in_recovery()")))] == ["0A000"]


def play(endpoint, begin, script, name):
    """What comes back, write by write; errors need not be the same ones."""
    answers = []
    with login(endpoint) as conn:
        conn.ask(fe.parse("select 1", "x") + fe.SYNC)
        begin(conn)
        assert conn.status == "E"
        for part in script:
            got = conn.ask(fe.query(part.format(t=name)) if isinstance(part, str) else part)
            answers.append([(m.type, m.type != "E" and m.body) for m in got])
        assert conn.status == "I"
    return answers


@pytest.mark.parametrize("script", LOST)
def test_as_one_that_has_failed(router, cluster, table, script):
    name = table()
    expected = play(Direct(cluster), fail, LOST[script], name)
    assert play(router(), lose, LOST[script], name) == expected


def test_what_stands_behind_the_end_in_a_text_is_refused(router, cluster, table):
    """It is one text, and there is no server for it."""
    name = table()
    with login(router()) as conn:
        lose(conn)
        for sql in ("rollback; insert into {} values (7, 7)", "rollback; begin; insert into {} values (7, 7)"):
            assert [e["C"] for e in fe.errors(conn.ask(fe.query(sql.format(name))))] == ["25P02"]
            assert conn.status == "E"
        assert fe.kinds(conn.ask(fe.query("rollback"))) == "CZ" and conn.status == "I"
        assert conn.value(f"select count(*) from {name}") == "0"


def test_chain_behind_a_primary_that_was_lost(router, cluster, table):
    name = table()
    endpoint = router()
    with login(endpoint) as conn:
        conn.ask(fe.query("begin") + fe.query(f"insert into {name} values (7, 7)"), 2)
        ((pid, _, _),) = [b for b in endpoint.backends(cluster.primary) if b[1] == "idle in transaction"]
        cluster.primary.sql("select pg_terminate_backend(%s, 5000)", (pid,))
        assert fe.kinds(conn.ask(fe.query("rollback and chain"))) == "CZ" and conn.status == "T"
        conn.ask(fe.query(f"insert into {name} values (8, 8)") + fe.query("rollback"), 2)
        assert conn.value(f"select count(*) from {name}") == "0" and conn.status == "I"


# What follows one that has failed on its replica, in the same text or batch.

BEHIND = {
    "text": lambda sql: fe.query(f"rollback; {sql}"),
    "commit": lambda sql: fe.query(f"commit; {sql}"),
    "batch": lambda sql: prepared("rollback") + prepared(sql) + fe.SYNC,
    "chain": lambda sql: fe.query(f"rollback; begin; commit and chain; rollback; {sql}"),
}


@pytest.mark.parametrize("way", BEHIND)
@pytest.mark.parametrize("begin", ["begin read only", "begin isolation level repeatable read read only"])
def test_behind_one_that_failed_on_a_replica(router, cluster, table, begin, way):
    name = table()
    endpoint = router()
    with login(endpoint) as conn:
        for sql in (f"insert into {name} values (7, 7)", "select pg_advisory_lock(4714)"):
            for one in (begin, "select 1", "select 1/0"):
                conn.ask(fe.query(one))
            assert conn.status == "E"
            got = conn.ask(BEHIND[way](sql))
            assert not fe.errors(got) and conn.status == "I"
        assert conn.value(f"select count(*) from {name}") == "1"
        assert endpoint.metric("pgsteer_pins", reason="advisory_lock") == 1
        assert cluster.primary.ask("select count(*) from pg_locks where locktype = 'advisory'") == [(1,)]
        assert conn.value("select pg_advisory_unlock(4714)") == "t"


def test_behind_a_savepoint_of_one_that_failed_on_a_replica(router, cluster):
    """Only the replica has the savepoint."""
    endpoint = router()
    with login(endpoint) as conn:
        for sql in ("begin isolation level repeatable read read only", PORT, "savepoint a", "select 1/0"):
            conn.ask(fe.query(sql))
        assert not fe.errors(conn.ask(fe.query("rollback to a; select 1; commit"))) and conn.status == "I"


# Portals of a transaction that moves.

def begin_with_portal(conn, cluster, rows):
    conn.ask(fe.query("begin read only"))
    assert int(conn.value(PORT)) != cluster.primary.port
    execute = fe.execute(rows=rows) if rows else b""
    return conn.ask(fe.parse("select generate_series(1, 100)") + fe.bind() + execute + fe.SYNC)


@pytest.mark.parametrize("end", ["statement", "server"])
def test_a_suspended_portal_is_not_taken_for_an_empty_one(router, cluster, end):
    """The replica had the rest of its rows: an error, and not the end of the result."""
    endpoint = router(servers={"pg3": None})
    with login(endpoint) as conn:
        assert len(fe.rows(begin_with_portal(conn, cluster, 10))) == 10
        if end == "statement":
            assert fe.kinds(conn.ask(fe.parse("select pg_backend_pid()", "s") + fe.SYNC)) == "1Z"
        else:
            ((pid, _, _),) = endpoint.backends(cluster.replicas[0])
            cluster.replicas[0].sql("select pg_terminate_backend(%s, 5000)", (pid,))
        got = conn.ask(fe.execute(rows=10) + fe.SYNC)
        assert fe.kinds(got) == "EZ" and fe.errors(got)[0]["C"] in ("34000", "08006") and conn.status == "E"
        conn.ask(fe.query("rollback"))


def test_a_suspended_portal_that_is_given_up_binds_nothing(router, cluster):
    """As drivers do that want one row, and then run something else."""
    with login(router()) as conn:
        assert len(fe.rows(begin_with_portal(conn, cluster, 1))) == 1
        assert not fe.errors(conn.ask(fe.ask("select txid_current() is null")))
        assert conn.value(PORT) == str(cluster.primary.port)
        conn.ask(fe.query("commit"))


def test_a_portal_that_was_not_run_keeps_its_transaction(router, cluster):
    with login(router()) as conn:
        assert fe.kinds(begin_with_portal(conn, cluster, 0)) == "12Z"
        got = conn.ask(fe.parse("select pg_backend_pid()", "s") + fe.SYNC)
        assert [e["C"] for e in fe.errors(got)] == ["0A000"] and conn.status == "E"
        conn.ask(fe.query("rollback"))
        begin_with_portal(conn, cluster, 0)
        assert len(fe.rows(conn.ask(fe.execute() + fe.SYNC))) == 100
        conn.ask(fe.query("commit"))


# Serializable by default, on a replica.

def test_serializable_made_the_default_on_a_replica(router, cluster):
    """It is read back like any other setting."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as conn, endpoint.connect() as other:
        conn.execute("begin read only")
        assert conn.execute(PORT).fetchone()[0] != cluster.primary.port
        conn.execute("set session characteristics as transaction isolation level serializable")
        conn.execute("set work_mem = '7MB'")
        conn.execute("commit")
        assert conn.execute("show transaction_isolation").fetchone()[0] == "serializable"
        assert conn.execute("show work_mem").fetchone()[0] == "7MB"
        conn.execute("begin isolation level read committed read only")
        assert conn.execute(PORT).fetchone()[0] != cluster.primary.port
        assert conn.execute("show work_mem").fetchone()[0] == "7MB"
        conn.execute("set default_transaction_isolation = 'read committed'")
        conn.execute("commit")
        for _ in range(4):
            assert other.execute(PORT).fetchone()[0] != cluster.primary.port
            assert conn.execute(PORT).fetchone()[0] != cluster.primary.port


def test_settings_on_a_replica_of_a_role_that_is_serializable(router, cluster):
    """They are put in force there, without a look at the role's default."""
    cluster.primary.sql("alter role other set default_transaction_isolation = serializable")
    cluster.caught_up()
    try:
        with router().connect(user="other") as conn:
            conn.execute("set work_mem = '7MB'")
            for _ in range(4):
                conn.execute("begin isolation level read committed read only")
                assert conn.execute(PORT).fetchone()[0] != cluster.primary.port
                assert conn.execute("show work_mem").fetchone()[0] == "7MB"
                conn.execute("commit")
    finally:
        cluster.primary.sql("alter role other reset default_transaction_isolation")
        cluster.caught_up()
