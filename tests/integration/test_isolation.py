# SPDX-License-Identifier: ISC
"""Clients that share one server connection: none meets another's bytes, state, statements, numbers or settings."""
import os
import signal

import pytest

import frontend as fe
from pgcluster import wait_until

WHO = "select current_user, txid_current()"  # txid_current(): to the primary
MINE = "select current_setting('work_mem'), to_regclass('pg_temp.mine') is null, txid_current() > 0"
NOTHING = [["4MB", "t", "t"]]  # the answer to MINE of who has set and made nothing
SMUGGLED = r"select txid_current(), '\', '; create temp table mine (a int); set work_mem = 66666; --'"


@pytest.fixture
def client(router):
    """client(endpoint, **parameters): a client that is logged in; all are gone before their router stops."""
    made = []

    def make(endpoint, **parameters):
        made.append(fe.Frontend(endpoint))
        return made[-1].login(**{"password": "app-password", **parameters})

    yield make
    for conn in made:
        conn.socket.close()


@pytest.fixture
def sequence(cluster):
    """The name of a sequence that all servers have and nobody has used."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create sequence isolation_sequence")
    cluster.caught_up()
    yield "isolation_sequence"
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("drop sequence isolation_sequence")


def run(conn, *statements):
    for sql in statements:
        assert not fe.errors(conn.ask(fe.query(sql))), sql


def rows(conn, sql):
    got = conn.ask(fe.query(sql))
    assert not fe.errors(got), fe.errors(got)
    return fe.rows(got)


def waits(endpoint, conn, data):
    """Sends what has to wait for a server connection, and returns once it does."""
    conn.send(data)
    wait_until(lambda: endpoint.metric("db_connection_pool_size", state="waiting") == 1, 5, "the client to wait")


def rows_after(endpoint, owner, other, sql):
    """What `other` is told, who gets no server connection before `owner`, pinned to the only one, has left."""
    waits(endpoint, other, fe.query(sql))
    assert not other.pending()
    owner.socket.close()
    got = other.until("Z")
    assert not fe.errors(got), fe.errors(got)
    return fe.rows(got)


def one(router, **config):
    return router(default_pool_size=1, workers=1, **config)


# --- state ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, statements", [
    ("", [f"set work_mem = '123MB'; create temp table mine (a int); select 1 /* {'x' * 70000} */"]),
    ("-c standard_conforming_strings=off", [SMUGGLED]),
    ("-c standard_conforming_strings=off", ["reset all", "set standard_conforming_strings = off", SMUGGLED]),
], ids=["too long", "other strings", "other strings, set"])
def test_what_is_not_understood_pins(router, client, options, statements):
    """A text that the router cannot read may leave anything behind: nobody gets its connection."""
    endpoint = one(router)
    owner, other = client(endpoint, options=options), client(endpoint)
    run(owner, *statements)
    assert rows(owner, "select to_regclass('pg_temp.mine') is null, txid_current() > 0") == [["f", "t"]]
    assert rows_after(endpoint, owner, other, MINE) == NOTHING


def test_discard_all_that_fails(router, client):
    """DISCARD ALL sent ahead into a transaction is refused, so the pin of a temporary table stays."""
    endpoint = one(router)
    owner, other = client(endpoint), client(endpoint)
    run(owner, "create temp table mine (a int)", "set work_mem = '77MB'")
    owner.send(b"".join(map(fe.query, ("select 1", "begin", "discard all", "rollback"))))
    answers = [owner.until("Z") for _ in range(4)]
    assert [fe.kinds(a) for a in answers] == ["TDCZ", "CZ", "EZ", "CZ"]
    assert fe.errors(answers[2])[0]["C"] == "25001"
    assert rows(owner, MINE) == [["77MB", "f", "t"]]
    assert rows_after(endpoint, owner, other, MINE) == NOTHING


def test_discard_all_releases(router, client):
    """Where DISCARD ALL has succeeded, the connection is everybody's again, and clean."""
    endpoint = one(router)
    owner, other = client(endpoint), client(endpoint)
    run(owner, "create temp table mine (a int)", "set work_mem = '77MB'", "discard all")
    assert rows(other, MINE) == NOTHING


# --- settings -------------------------------------------------------------------------------------------------------

def test_role_of_the_startup_packet(router, client, cluster):
    cluster.primary.sql("grant monitor to app")
    cluster.caught_up()
    endpoint = one(router)
    owner, other = client(endpoint, options="-c role=monitor"), client(endpoint)
    for _ in range(3):
        assert rows(owner, WHO)[0][0] == "monitor"
        assert rows(other, WHO)[0][0] == "app"


def test_reset_of_a_startup_setting(router, client):
    """Two clients with the same start-up packet: a RESET by one, which goes back to it, is not the other's."""
    endpoint = one(router)
    owner, other = (client(endpoint, options="-c search_path=s1") for _ in range(2))
    assert rows(other, "show search_path") == [["s1"]]
    run(owner, "reset search_path")
    for _ in range(2):
        for conn in (other, owner):
            assert rows(conn, "show search_path") == [["s1"]]


def test_reset_all_of_startup_settings(router, client):
    """RESET ALL goes back to the start-up packet, as PostgreSQL does, so both clients keep what it says."""
    endpoint = one(router)
    owner, other = (client(endpoint, options="-c search_path=s1") for _ in range(2))
    run(owner, "reset all")
    for _ in range(2):
        for conn in (other, owner):
            assert rows(conn, "show search_path") == [["s1"]]


def test_reset_of_the_encoding(router, client):
    """The bytes come in the encoding that the client was told last, and others keep theirs."""
    names = {"UTF8": "utf-8", "LATIN1": "latin-1"}
    endpoint = one(router)
    owner, other = client(endpoint, client_encoding="LATIN1"), client(endpoint, client_encoding="LATIN1")
    run(owner, "reset all")
    for conn in (owner, other):
        if conn is other:
            owner.socket.close()
        (row,) = [m.body for m in conn.ask(fe.query("select chr(233), txid_current()")) if m.type == "D"]
        letter = "é".encode(names[conn.parameters["client_encoding"]])
        assert row[2:6 + len(letter)] == len(letter).to_bytes(4, "big") + letter
    assert other.parameters["client_encoding"] == "LATIN1"


def test_settings_that_are_refused(router, client, cluster, table):
    """Settings that the server will not take any more: no statement runs with another client's instead."""
    name = table("v int")
    setting = "default_text_search_config"
    primary = cluster.primary.connect("app")
    try:
        primary.execute("create text search configuration public.mine (copy = pg_catalog.english)")
        cluster.caught_up()
        endpoint = one(router)
        mine = [client(endpoint, options=f"-c {setting}=public.mine") for _ in range(2)]
        plain = client(endpoint)
        default = rows(plain, f"show {setting}")
        assert rows(mine[0], f"show {setting}") == [["public.mine"]]
        run(plain, f"insert into {name} values (0)")
        primary.execute("drop text search configuration public.mine")
        for conn, sql in zip(mine, (f"insert into {name} values (1)", f"show {setting}")):
            conn.try_send(fe.query(sql))
            got = []
            try:
                while not got or got[-1].type != "Z":
                    got.append(conn.receive())
            except fe.Closed:
                pass
            assert not fe.rows(got) and "C" not in fe.kinds(got)
        assert rows(plain, f"show {setting}") == default
        assert primary.execute(f"select v from {name}").fetchall() == [(0,)]
    finally:
        primary.execute("drop text search configuration if exists public.mine")
        primary.close()


# --- prepared statements --------------------------------------------------------------------------------------------

def prepared(endpoint, client, name):
    """A client with a statement `st` that has been run."""
    conn = client(endpoint)
    got = conn.ask(fe.parse(f"insert into {name} values (1)", "st") + fe.bind("st") + fe.execute() + fe.SYNC)
    assert fe.kinds(got) == "12CZ"
    return conn


def runs(conn):
    return fe.kinds(conn.ask(fe.bind("st") + fe.execute() + fe.SYNC)) == "2CZ"


def test_deallocate_all_with_an_error(router, client, table):
    """What DEALLOCATE ALL took from the server is there again for who has it, though an error came after it."""
    endpoint = one(router)
    owner = prepared(endpoint, client, table("v int"))
    other = client(endpoint)
    for _ in range(2):
        assert fe.errors(other.ask(fe.query("deallocate all; select 1/0")))[0]["C"] == "22012"
        assert runs(owner) and runs(owner)


@pytest.mark.parametrize("statement", ["deallocate pgsteer_{}_0", 'deallocate prepare "pgsteer_{}_0"',
                                       "select 1; deallocate pgsteer_{}_0"])
def test_names_of_the_router(router, client, table, statement):
    """They are reserved, so nobody takes away a statement that serves others."""
    endpoint = one(router)
    owner = prepared(endpoint, client, table("v int"))
    other = client(endpoint)
    for i in range(1, 6):
        assert fe.errors(other.ask(fe.query(statement.format(i))))[0]["C"] == "42939"
        assert fe.errors(other.ask(fe.ask(statement.format(i))))
    assert runs(owner)
    assert rows(other, "select 1") == [["1"]]


def test_deallocate_by_two_clients(router, client, table):
    """One client's DEALLOCATE of a parsed name leaves nothing on the connection for the next one to meet."""
    name = table("v int")
    endpoint = one(router)
    a, b = client(endpoint), client(endpoint)
    assert fe.kinds(a.ask(fe.parse(f"insert into {name} values (1)", "n1") + fe.SYNC)) == "1Z"
    assert fe.kinds(a.ask(fe.parse("deallocate n1") + fe.SYNC)) == "1Z"
    assert fe.kinds(b.ask(fe.parse(f"insert into {name} values (2)", "n2") + fe.bind("n2") + fe.execute() +
                          fe.SYNC)) == "12CZ"
    run(b, "begin", "deallocate n2", "rollback")
    for statement in ("", "n2"):
        assert fe.errors(b.ask(fe.bind(statement) + fe.execute() + fe.SYNC))[0]["C"] == "26000"
    assert rows(b, f"select v from {name}") == [["2"]]


# --- bytes ----------------------------------------------------------------------------------------------------------

def test_rows_of_the_dead(router, client, cluster, table):
    """The answer to a client that is gone is not the answer to the next one on its connection."""
    name = table("v int")
    endpoint = one(router)
    b = prepared(endpoint, client, name)
    a = client(endpoint)
    blocked = f"select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%{name}%'"
    with cluster.primary.connect("app", autocommit=False) as lock:
        lock.execute(f"lock table {name} in exclusive mode")
        a.send(fe.query(f"insert into {name} values (7) returning 'a secret'"))
        wait_until(lambda: cluster.primary.value(blocked) == 1, 5, "the insert to wait")
        waits(endpoint, b, fe.parse(f"insert into {name} values (9)", "st2") + fe.bind("st2") + fe.execute() + fe.SYNC)
        os.kill(endpoint.pid, signal.SIGSTOP)  # both the answer and the end of its client come while it does not look
        try:
            lock.rollback()
            wait_until(lambda: cluster.primary.value(f"select count(*) from {name} where v = 7", dbname="app"), 5,
                       "the insert to end")
            a.reset()
        finally:
            os.kill(endpoint.pid, signal.SIGCONT)
    assert fe.kinds(b.until("Z")) == "12CZ"
    assert rows(b, f"select v from {name} where v = 9") == [["9"]]


# --- sequences ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("statements", [
    ["select currval('{0}')"],
    ["begin; select currval('{0}'); commit"],
    ["begin", "select currval('{0}')"],
    ["begin", "select lastval()"],
    ["create temp table mine (a int)", "select currval('{0}')"],
    ["do 'begin perform 1; end'", "begin", "select currval('{0}')"],
    ["begin", "savepoint s", "select currval('{0}')"],
], ids=["outside", "one query", "transaction", "lastval", "pinned", "after do", "savepoint"])
@pytest.mark.parametrize("use", ["setval('{0}', 4242)", "nextval('{0}')"], ids=["setval", "nextval"])
def test_currval_of_another(router, client, sequence, statements, use):
    """Who has not used the sequence is told so, or refused, which may cost the connection; no row comes."""
    endpoint = one(router)
    a, b = client(endpoint), client(endpoint)
    run(a, f"select {use.format(sequence)}")
    run(b, *statements[:-1])
    b.send(fe.query(statements[-1].format(sequence)))
    got = b.until("DE")
    assert fe.rows(got) == []
    assert fe.errors(got)[0]["C"] in ("0A000", "55000")


def test_currval_of_another_session(router, client, sequence):
    """With pool_mode = session a connection that was somebody's is not as it was to the next one."""
    endpoint = one(router, users={"app": {"pool_mode": "session"}})
    a, b = client(endpoint), client(endpoint)
    run(a, f"select setval('{sequence}', 7171)")
    assert rows(a, f"select currval('{sequence}')") == [["7171"]]
    assert rows_after(endpoint, a, b, "select txid_current() > 0") == [["t"]]
    b.send(fe.query(f"select currval('{sequence}')"))
    got = b.until("DE")
    assert fe.rows(got) == []
    assert fe.errors(got)[0]["C"] == "55000"


# --- databases ------------------------------------------------------------------------------------------------------

@pytest.fixture
def second(cluster):
    cluster.primary.sql("create database isolation_second owner app")
    cluster.caught_up()
    yield "isolation_second"
    cluster.primary.sql("drop database isolation_second with (force)")


def test_aliases_that_cross(second, router, client):
    """[database x] dbname=second next to [database second] dbname=app: a name is looked up once."""
    endpoint = router(workers=1, databases={"x": {"dbname": second}, second: {"dbname": "app"}})
    for _ in range(2):
        for asked, real in (("x", second), (second, "app"), ("x", second)):
            conn = client(endpoint, database=asked)
            assert rows(conn, "select current_database()") == [[real]]
            assert rows(conn, "select current_database(), txid_current() > 0") == [[real, "t"]]
            with pytest.raises((fe.ServerError, fe.Closed)):
                client(endpoint, database="app").value("select 1")  # no section has this name
