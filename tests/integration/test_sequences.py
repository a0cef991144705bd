# SPDX-License-Identifier: ISC
"""currval and lastval: the client's own last number, or an error; never another client's, never an older one."""
import random
import time

import psycopg
import pytest

import frontend as fe
from harness.load import Background, run_clients
from pgcluster import wait_until


@pytest.fixture
def table(cluster):
    """The name of a table with a serial column, and of another one with an identity column."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create table if not exists numbered (id serial, who int)")
        conn.execute("create table if not exists identified (id int generated always as identity, who int)")
        conn.execute("truncate numbered, identified restart identity")
        conn.execute("create or replace function insert_numbered(int) returns int language sql as "
                     "'insert into numbered (who) values ($1) returning id'")
    cluster.caught_up()
    return "numbered"


def few(router, size=2, **config):
    """Of two connections the first client that logs in has one for itself, until others need it."""
    return router(default_pool_size=size, reserve_pool_size=0, workers=1, query_wait_timeout="10s", **config)


def login(endpoint):
    return fe.Frontend(endpoint).login(password="app-password")


def error(conn, sql):
    return fe.errors(conn.ask(fe.query(sql)))[0]["C"]


def teach(endpoint):
    """One client has asked: the router knows that this user's clients do."""
    with login(endpoint) as conn:
        assert error(conn, "select lastval()") == "55000"


def pinned(endpoint):
    return endpoint.metric("pgsteer_pins", reason="sequence")


ASK = ["select lastval()", "select currval('numbered_id_seq')", "select currval(pg_get_serial_sequence('numbered', 'id'))"]
WRITES = {
    "insert": "insert into numbered (who) values (1)",
    "nextval": "select nextval('numbered_id_seq')",
    "setval": "select setval('numbered_id_seq', 1000 + (random() * 1000)::int)",
    "function": "select insert_numbered(1)",
    "do": "do 'begin perform insert_numbered(2); end'",
    "transaction": "begin; insert into numbered (who) values (1); commit",
    "rolled_back": "begin; insert into numbered (who) values (1); rollback",
    "batch": None,
}


@pytest.mark.parametrize("write", WRITES)
def test_after_a_write_of_its_own(router, table, cluster, write):
    """Outside a transaction, as often as it is asked, while others write too."""
    endpoint = few(router)
    teach(endpoint)
    with login(endpoint) as conn, login(endpoint) as other:
        for _ in range(3):
            if write == "batch":
                conn.ask(fe.ask("insert into numbered (who) values ($1)", b"7"))
            else:
                assert not fe.errors(conn.ask(fe.query(WRITES[write])))
            mine = cluster.primary.value("select last_value from numbered_id_seq", dbname="app")
            other.ask(fe.query("insert into numbered (who) values (2)"))
            for sql in (ASK[1:] if write == "setval" else ASK) * 2:  # setval does nothing to lastval
                assert conn.value(sql) == str(mine), sql
            assert other.value("select lastval()") == str(mine + 1)


def test_identity(router, table):
    endpoint = few(router)
    teach(endpoint)
    with login(endpoint) as conn:
        conn.ask(fe.query("insert into identified (who) values (5)"))
        mine = conn.value("select currval(pg_get_serial_sequence('identified', 'id'))")
        assert conn.value(f"select who from identified where id = {mine}") == "5"
        assert conn.ask(fe.query("insert into numbered (who) values (currval('identified_id_seq'))"))[0].type == "C"


def test_reads_still_go_to_replicas(router, table, cluster):
    endpoint = few(router)
    teach(endpoint)
    with login(endpoint), login(endpoint) as conn:
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        mine = conn.value("select lastval()")
        before = endpoint.metric("pgsteer_routed_total", target="replica", reason="balanced")
        cluster.caught_up()
        wait_until(lambda: conn.value("select 1") and
                   endpoint.metric("pgsteer_routed_total", target="replica", reason="balanced") > before, 5, "a replica")
        assert conn.value("select lastval()") == mine
        assert pinned(endpoint) == 1


def test_undefined_is_undefined(router, table):
    """Who has moved no sequence is told so by PostgreSQL, whatever the connection has seen."""
    endpoint = few(router, size=1)
    teach(endpoint)
    with login(endpoint) as a, login(endpoint) as b:
        for _ in range(3):
            a.ask(fe.query("insert into numbered (who) values (1)"))
            a.value("select lastval()")
            assert error(b, "select lastval()") == "55000"
            assert error(b, "begin; select currval('numbered_id_seq')") == "55000"
            b.ask(fe.query("rollback"))


def test_the_first_who_asks(router, table):
    """Before anybody has asked, a write gives its connection back: an error, and from then on it works."""
    endpoint = few(router)
    with login(endpoint), login(endpoint) as conn, login(endpoint) as other:
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        assert pinned(endpoint) == 0
        assert error(conn, "select lastval()") == "0A000"
        assert conn.value("select 1") == "1"
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        other.ask(fe.query("insert into numbered (who) values (2)"))
        assert conn.value("select lastval()") == conn.value("select max(id) from numbered where who = 1")


@pytest.mark.parametrize("ask", ["select lastval()", "select currval('made_id_seq')"])
def test_a_script(router, table, ask):
    """Who has just made the table is answered, before anybody has asked, on connections that others use too."""
    endpoint = few(router)
    with login(endpoint) as first, login(endpoint) as other, login(endpoint) as conn:
        for client in (first, other, conn):
            client.ask(fe.query("insert into numbered (who) values (1)"))
        assert not fe.errors(conn.ask(fe.query("drop table if exists made; create table made (id serial, who int)")))
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        other.ask(fe.query("insert into numbered (who) values (1)"))
        assert not fe.errors(conn.ask(fe.query("insert into made (who) select generate_series(1, 7)")))
        first.ask(fe.query("insert into numbered (who) values (1)"))
        assert conn.value(ask) == "7"
        conn.ask(fe.query("drop table made"))


def test_who_has_a_connection(router, table):
    """... for itself is answered, whether anybody has asked before or not."""
    endpoint = few(router)
    with login(endpoint) as conn, login(endpoint) as other:
        for _ in range(3):
            conn.ask(fe.query("insert into numbered (who) values (1)"))
            other.ask(fe.query("insert into numbered (who) values (2)"))
            assert conn.value("select lastval()") == conn.value("select max(id) from numbered where who = 1")


@pytest.mark.parametrize("before", ["others", "own"])
@pytest.mark.parametrize("around", ["", "begin"])
def test_the_first_who_asks_is_pinned(router, table, before, around):
    """A client that keeps its connection for something else is answered, whoever moved sequences on it before."""
    endpoint = few(router)
    with login(endpoint), login(endpoint) as conn, login(endpoint) as other:
        (conn if before == "own" else other).ask(fe.query("insert into numbered (who) values (1)"))
        conn.ask(fe.query("create temp sequence beside start 77"))
        assert endpoint.metric("pgsteer_pins", reason="temp") == 1
        if around:
            conn.ask(fe.query(around))
        assert conn.value("select nextval('beside')") == "77"
        assert conn.value("select currval('beside')") == "77"
        assert conn.value("select lastval()") == "77"


def test_the_first_who_asks_in_a_transaction(router, table):
    endpoint = few(router)
    with login(endpoint), login(endpoint) as conn:
        conn.ask(fe.query("begin"))
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        mine = conn.value("select lastval()")
        conn.ask(fe.query("commit"))
        assert conn.value("select lastval()") == mine


def test_older_numbers_of_ones_own(router, table):
    """A connection that knows what this client did before it did more elsewhere is not asked."""
    endpoint = few(router)
    with login(endpoint), login(endpoint) as a, login(endpoint) as b:
        a.ask(fe.query("insert into numbered (who) values (1)"))  # on the first connection
        b.ask(fe.query("begin; select txid_current()"))
        a.ask(fe.query("insert into numbered (who) values (1)"))  # on the second one
        b.ask(fe.query("commit"))
        for _ in range(2):
            a.ask(fe.query("begin"))
            a.send(fe.query("select lastval()"))
            got = a.until("DE")
            assert fe.rows(got) == []
            assert fe.errors(got)[0]["C"] in ("0A000", "55000")
            if fe.errors(got)[0]["S"] == "FATAL":
                return
            a.until("Z")
            a.ask(fe.query("rollback"))


def test_gives_way(router, table):
    """The connection is for whoever needs one; what is lost with it is an error."""
    endpoint = few(router, size=1)
    teach(endpoint)
    with login(endpoint) as a, login(endpoint) as b:
        a.ask(fe.query("insert into numbered (who) values (1)"))
        assert pinned(endpoint) == 1
        b.ask(fe.query("insert into numbered (who) values (2)"))
        assert pinned(endpoint) == 1
        mine = b.value("select lastval()")
        assert error(a, "select lastval()") == "0A000"
        assert error(a, "begin; select lastval()") == "0A000"
        a.ask(fe.query("rollback"))
        a.ask(fe.query("insert into numbered (who) values (1)"))
        assert a.value("select lastval()") == str(int(mine) + 1)


def test_gives_way_across_workers(router, table):
    endpoint = router(default_pool_size=1, reserve_pool_size=0, workers=2, query_wait_timeout="10s")
    teach(endpoint)
    clients = [login(endpoint) for _ in range(8)]
    for _ in range(3):
        for conn in clients:
            assert not fe.errors(conn.ask(fe.query("insert into numbered (who) values (1)")))
    for conn in clients:
        conn.socket.close()


def test_asked_behind_another_answer(router, table):
    """On the primary for want of a replica, and on a connection that knows another client's numbers."""
    endpoint = few(router, size=1, route="primary")
    teach(endpoint)
    with login(endpoint) as a, login(endpoint) as b:
        for _ in range(3):
            a.ask(fe.query("insert into numbered (who) values (1)"))
            a.value("select lastval()")
            got = b.ask(fe.query("select 1") + fe.query("select lastval()"), syncs=2)
            assert [e["C"] for e in fe.errors(got)] == ["55000"]


def test_discard_all(router, table):
    endpoint = few(router)
    teach(endpoint)
    with login(endpoint) as conn:
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        conn.ask(fe.query("discard all"))
        assert error(conn, "select lastval()") == "55000"
        assert pinned(endpoint) == 0


# What asks though no text says so: what makes it, what is asked for a number, and how that comes.
HIDDEN = {
    "function": ("create function hidden.last() returns bigint language sql as 'select lastval()'",
                 "select hidden.last()"),
    "stable": ("create function hidden.last() returns bigint language plpgsql stable as 'begin return lastval(); end'",
               "select hidden.last()"),
    "view": ("create view hidden.seen as select currval('numbered_id_seq') as n", "select n from hidden.seen"),
    "default": ("create table hidden.t (a int, n bigint default currval('numbered_id_seq'))",
                "insert into hidden.t (a) values (1) returning n"),
    "trigger": ("create function hidden.fired() returns trigger language plpgsql as $$ begin new.n = lastval(); "
                "return new; end $$; create table hidden.t (a int, n bigint); create trigger t before insert on "
                "hidden.t for each row execute function hidden.fired()",
                "insert into hidden.t (a) values (1) returning n"),
    "long": ("create table hidden.t (a int, n bigint)", "insert into hidden.t (n) values (currval('numbered_id_seq')) "
             + " " * 70000 + "returning n"),
}


@pytest.fixture(params=HIDDEN)
def hidden(request, table, cluster):
    makes, asks = HIDDEN[request.param]
    drop = "drop schema if exists hidden cascade"
    with cluster.primary.connect("app", "app") as conn:
        conn.execute(f"{drop}; create schema hidden; {makes}")
    cluster.caught_up()
    yield asks
    with cluster.primary.connect("app", "app") as conn:
        conn.execute(drop)


def test_asked_where_no_text_shows(router, hidden):
    """The numbers of others are told to nobody, in a transaction or not."""
    endpoint = few(router, size=1, route="primary")
    with login(endpoint) as a, login(endpoint) as b:
        for before in ([], ["begin"], ["begin; select 1"]):
            assert not fe.errors(a.ask(fe.query("insert into numbered (who) values (1)")))
            for sql in before:
                b.ask(fe.query(sql))
            b.send(fe.query(hidden))
            got = b.until("DE")
            assert fe.rows(got) == []
            assert fe.errors(got)[0]["C"] in ("0A000", "55000")
            if fe.errors(got)[0]["S"] == "FATAL":
                return
            b.until("Z")
            b.ask(fe.query("rollback"))


def test_answered_where_no_text_shows(router, hidden, cluster):
    """Those of one's own are, as long as nobody needs the connection."""
    endpoint = few(router, size=3, route="primary")
    if len(hidden) > 70000:
        teach(endpoint)  # for once the text shows it
    with login(endpoint), login(endpoint) as conn, login(endpoint) as other:
        for _ in range(3):
            conn.ask(fe.query("insert into numbered (who) values (1)"))
            mine = cluster.primary.value("select last_value from numbered_id_seq", dbname="app")
            other.ask(fe.query("insert into numbered (who) values (2)"))
            assert conn.value(hidden) == str(mine)
            conn.ask(fe.query("begin; insert into numbered (who) values (1)"))
            assert conn.value(hidden) == str(mine + 2)
            conn.ask(fe.query("commit"))


def test_nobody_waits_for_what_no_text_shows(router, table, cluster):
    """That code may ask some time keeps a connection from nobody."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create or replace function hidden_last() returns bigint language sql as 'select lastval()'")
    cluster.caught_up()
    endpoint = few(router, size=1)
    try:
        with login(endpoint) as a, login(endpoint) as b:
            started = time.monotonic()
            for _ in range(50):
                for conn in (a, b):
                    assert not fe.errors(conn.ask(fe.query("insert into numbered (who) values (1)")))
            assert pinned(endpoint) == 1
            assert time.monotonic() - started < 4  # with 50 ms each they would be 5 s
            # Nor does somebody who is hardly ever idle: they take turns.
            busy = "insert into numbered (who) select 1 from pg_sleep(0.05)"
            with Background(lambda: a.ask(fe.query(busy))) as background:
                for _ in range(8):
                    assert not fe.errors(b.ask(fe.query(busy)))
                assert background.rounds >= 5
    finally:
        with cluster.primary.connect("app", "app") as conn:
            conn.execute("drop function hidden_last()")


def test_kept_connection_that_is_too_old(router, table):
    """What is kept for questions that may come is no exception to server_lifetime."""
    endpoint = few(router, server_lifetime="2s")
    teach(endpoint)
    with login(endpoint), login(endpoint) as conn:
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        assert pinned(endpoint) == 1
        wait_until(lambda: pinned(endpoint) == 0, 5, "the connection to be let go")


def test_lost_connection(router, table, cluster):
    """It takes the numbers with it, not the client."""
    endpoint = few(router)
    teach(endpoint)
    with login(endpoint) as conn:
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        pid = conn.value("select pg_backend_pid()")
        cluster.primary.sql("select pg_terminate_backend(%s)", (int(pid),))
        wait_until(lambda: pinned(endpoint) == 0, 5, "the loss to be seen")
        assert error(conn, "select lastval()") == "0A000"
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        assert conn.value("select lastval()") == conn.value("select max(id) from numbered")


def test_temporary_table_beside(router, table):
    """A pin that binds comes and goes; the number stays."""
    endpoint = few(router)
    teach(endpoint)
    with login(endpoint) as conn:
        conn.ask(fe.query("insert into numbered (who) values (1)"))
        mine = conn.value("select lastval()")
        conn.ask(fe.query("create temp table beside (a int)"))
        assert conn.value("select lastval()") == mine
        conn.ask(fe.query("drop table beside"))
        assert conn.value("select lastval()") == mine
        assert endpoint.metric("pgsteer_pins", reason="temp") == 0


def test_under_load(router, table, cluster):
    """More clients than connections: what is answered is right, and whoever asks at once is answered."""
    endpoint = few(router, size=3)
    teach(endpoint)
    answered, refused = [], []

    def work(index):
        dice = random.Random(index)
        with endpoint.connect() as conn:
            for n in range(40):
                who = index * 1000 + n
                if dice.random() < 0.3:
                    with conn.transaction():
                        conn.execute("insert into numbered (who) values (%s)", (who,))
                else:
                    conn.execute("insert into numbered (who) values (%s)", (who,))
                if dice.random() < 0.2:
                    conn.execute("select pg_sleep(0.002)")
                try:
                    got = conn.execute(dice.choice(ASK)).fetchone()[0]
                except psycopg.Error as e:
                    assert e.sqlstate == "0A000", e
                    refused.append(who)
                    continue
                answered.append((who, got))

    run_clients(12, work)
    ids = dict(cluster.primary.sql("select who, id from numbered", dbname="app"))
    assert all(ids[who] == got for who, got in answered)
    assert len(answered) > 9 * len(refused)
