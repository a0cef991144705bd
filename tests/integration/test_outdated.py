# SPDX-License-Identifier: ISC
"""What a client has been told of its prepared statement stays true: where DDL or a setting has changed the columns that
the statement gives, PostgreSQL's error comes, on whatever connection the statement runs, and never other columns."""
import pytest

import frontend as fe

pytestmark = pytest.mark.direct


def login(endpoint, **parameters):
    return fe.Frontend(endpoint, timeout=20).login(password="app-password", **parameters)


def do(conn, sql):
    errors = [fe.fields(m.body) for m in conn.ask(fe.query(sql)) if m.type == "E"]
    assert not errors, errors


def prepare(conn, sql, name="s"):
    conn.send(fe.parse(sql, name) + fe.describe("S", name) + fe.SYNC)
    assert [m.type for m in conn.until("Z")][0] == "1"


def run(conn, name="s", describe=False):
    """The rows, or the error as (SQLSTATE, message)."""
    conn.send(fe.bind(name) + (fe.describe("P") if describe else b"") + fe.execute() + fe.SYNC)
    found = conn.until("Z")
    errors = [fe.fields(m.body) for m in found if m.type == "E"]
    if errors:
        return errors[0]["C"], errors[0]["M"]
    return [fe.row(m.body) for m in found if m.type == "D"]


CHANGED = ("0A000", "cached plan must not change result type")


class Elsewhere:
    """While it is entered, the connection that a client has used before is not to be had: another client is in a
    transaction on it. There is one more."""

    def __init__(self, endpoint):
        self._conn = login(endpoint)

    def __enter__(self):
        do(self._conn, "begin; select txid_current()")

    def __exit__(self, *_):
        do(self._conn, "rollback")
        self._conn.socket.close()


@pytest.fixture
def way(router, table):
    """An endpoint, a client of it, and a table with one row."""
    endpoint = router(default_pool_size=2, workers=1, route="primary")
    name = table(rows="values (1, 10)")
    first = login(endpoint)  # has a connection for itself, until others need it
    with login(endpoint) as conn:
        yield endpoint, conn, name
    first.socket.close()


@pytest.mark.parametrize("name", ["s", ""])
def test_columns_change(way, cluster, name):
    endpoint, conn, table = way
    prepare(conn, f"select * from {table}", name)
    assert run(conn, name) == [["1", "10"]]
    do(login(endpoint), f"alter table {table} add column more text")
    with Elsewhere(endpoint):
        assert run(conn, name) == CHANGED
        assert run(conn, name) == CHANGED
    assert run(conn, name) == CHANGED
    prepare(conn, f"select * from {table}", "anew")
    assert run(conn, "anew") == [["1", "10", None]]


def test_nothing_is_written(way):
    """An INSERT that would return something else does not run at all."""
    endpoint, conn, table = way
    prepare(conn, f"insert into {table} (id) values (2) returning *")
    do(login(endpoint), f"alter table {table} add column more text")
    with Elsewhere(endpoint):
        assert run(conn) == CHANGED
    assert conn.value(f"select count(*) from {table}") == "1"


def test_in_a_transaction(way):
    """The error ends the transaction, as it does on a connection of one's own."""
    endpoint, conn, table = way
    prepare(conn, f"select * from {table}")
    do(login(endpoint), f"alter table {table} alter column v type text")
    with Elsewhere(endpoint):
        do(conn, "begin")
        assert run(conn) == CHANGED
        assert run(conn)[0] == "25P02"
        do(conn, "rollback")
    assert conn.value("select 'alive'") == "alive"


def test_table_is_gone(way):
    endpoint, conn, table = way
    prepare(conn, f"select v from {table}")
    do(login(endpoint), f"alter table {table} rename column v to w")
    with Elsewhere(endpoint):
        assert run(conn) == ("42703", "column \"v\" does not exist")
        do(conn, "begin")
        assert run(conn) == ("42703", "column \"v\" does not exist")
        do(conn, "rollback")
    assert run(conn) == ("42703", "column \"v\" does not exist")


def test_columns_stay(way):
    """DDL that does not change what the statement gives goes unnoticed; several statements in one batch."""
    endpoint, conn, table = way
    prepare(conn, f"select id, v from {table}", "one")
    prepare(conn, f"select v from {table}", "two")
    prepare(conn, f"update {table} set v = v + 1", "write")
    do(login(endpoint), f"alter table {table} add column more text")
    with Elsewhere(endpoint):
        conn.send(b"".join(fe.bind(s) + fe.execute() for s in ("one", "two", "write")) + fe.SYNC)
        assert [fe.row(m.body) for m in conn.until("Z") if m.type == "D"] == [["1", "10"], ["10"]]
        do(conn, "begin")
        assert run(conn, "one") == [["1", "11"]]
        assert run(conn, "two", describe=True) == [["11"]]
        do(conn, "commit")
    assert run(conn, "one") == [["1", "11"]]


def test_search_path(way):
    """The client's own settings change what the text means."""
    endpoint, conn, table = way
    do(conn, "create schema if not exists outdated")
    do(conn, f"create table outdated.{table} (other text)")
    try:
        prepare(conn, f"select * from {table}")
        assert run(conn) == [["1", "10"]]
        do(conn, "set search_path = outdated")
        assert run(conn) == CHANGED
        do(conn, "set search_path = public")
        assert run(conn) == [["1", "10"]]
    finally:
        do(conn, "reset search_path")
        do(conn, "drop schema outdated cascade")


def test_pipelined(way):
    """Behind a statement that is not answered yet; what follows the error is answered, in order."""
    endpoint, conn, table = way
    prepare(conn, f"select * from {table}")
    do(login(endpoint), f"alter table {table} drop column v")
    with Elsewhere(endpoint):
        conn.send(fe.query("select 1") + fe.bind("s") + fe.execute() + fe.SYNC + fe.query("select 2"))
        found = conn.until("Z") + conn.until("Z") + conn.until("Z")
        assert "".join(m.type for m in found if m.type in "DEZ") == "DZEZDZ"


def test_who_asks_each_time(way):
    """A client that has each portal described is not shown an error on a connection that parses the text anew."""
    endpoint, conn, table = way
    prepare(conn, f"select * from {table}")
    do(login(endpoint), f"alter table {table} add column more text")
    if endpoint.pid is None:
        assert run(conn, describe=True) == CHANGED
        return
    with Elsewhere(endpoint):
        assert run(conn, describe=True) == [["1", "10", None]]
        assert run(conn) == CHANGED  # it has not been told this way


@pytest.mark.parametrize("between", ["create table {}_other (a int)", "set datestyle = german"])
def test_what_has_the_name_by_now(way, between):
    """The columns of FETCH and EXECUTE are those of the cursor or statement that has the name: PostgreSQL does not mind."""
    _, conn, table = way
    do(conn, "begin; declare c cursor for select 1; prepare p as select 1")
    prepare(conn, "fetch all from c", "f")
    prepare(conn, "execute p", "e")
    assert run(conn, "f") == run(conn, "e") == [["1"]]
    do(conn, f"close c; deallocate p; {between.format(table)}")
    do(conn, "declare c cursor for select 1, 2; prepare p as select 1, 2")
    assert run(conn, "f") == run(conn, "e") == [["1", "2"]]
    do(conn, "rollback; deallocate p")


def test_described_as_what_has_the_name_by_now(way):
    """... also to who prepares a text that the connection knows."""
    _, conn, table = way
    for name, columns in (("one", "1"), ("two", "'a'::text, 2")):
        do(conn, f"begin; declare c cursor for select {columns}; prepare p as select {columns}")
        for text in ("fetch all from c", "execute p"):
            got = conn.ask(fe.parse(text, name + text) + fe.describe("S", name + text) + fe.SYNC)
            described, = [m.body for m in got if m.type == "T"]
            assert described[:2] == (b"\0\1" if name == "one" else b"\0\2")
        do(conn, "rollback; deallocate p")
