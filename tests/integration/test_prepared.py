# SPDX-License-Identifier: ISC
"""Protocol-level prepared statements in transaction mode: a client's names are its own, on every server it meets."""
import asyncio
import threading

import asyncpg
import psycopg
import pytest

import frontend as fe
from harness.load import run_clients
from harness.router import sanitized

pytestmark = pytest.mark.direct


def test_same_names_different_statements(router, table):
    """psycopg calls its statements _pg3_0, _pg3_1 ... in every connection; twenty of them over two servers' worth."""
    name = table(rows="select g, g * 10 from generate_series(0, 99) g")
    endpoint = router(default_pool_size=2)

    def work(client):
        with endpoint.connect(prepare_threshold=0) as conn:
            for i in range(60):
                got = conn.execute(f"select v + {client * 1000 + i % 7}, {client} from {name} where id = %s",
                                   (i % 100,), prepare=True).fetchone()
                assert got == (i % 100 * 10 + client * 1000 + i % 7, client)

    run_clients(20, work)


def test_reads_writes_and_transactions_share_a_statement(router, table):
    """One statement goes to replicas, to the primary in a transaction, and back."""
    name = table(rows="values (1, 0)")
    with router(default_pool_size=2).connect(prepare_threshold=0) as conn:
        for n in range(1, 30):
            conn.execute(f"update {name} set v = %s where id = 1", (n,), prepare=True)
            assert conn.execute(f"select v from {name} where id = %s", (1,), prepare=True).fetchone() == (n,)
            with conn.transaction():
                conn.execute(f"update {name} set v = v + %s where id = 1", (1,), prepare=True)
                assert conn.execute(f"select v from {name} where id = %s", (1,), prepare=True).fetchone() == (n + 1,)


def test_asyncpg_statement_cache(router, table):
    name = table(rows="select g, g from generate_series(0, 9) g")

    async def client(endpoint, i):
        conn = await asyncpg.connect(statement_cache_size=50, **endpoint.asyncpg_params())
        try:
            for n in range(200):
                assert await conn.fetchval(f"select v + {n % 60} + $2 from {name} where id = $1", n % 10, i) == \
                    n % 10 + n % 60 + i
        finally:
            await conn.close()

    async def run(endpoint):
        await asyncio.gather(*(client(endpoint, i) for i in range(15)))

    asyncio.run(run(router(default_pool_size=2)))


def test_more_statements_than_a_server_may_hold(router):
    """The bound on statements of a server connection is the router's business, not the client's."""
    endpoint = router(default_pool_size=1, max_prepared_statements=10)
    with fe.Frontend(endpoint).login(password="app-password") as client:
        for i in range(50):
            client.ask(fe.parse(f"select {i}, $1::int", f"s{i}") + fe.SYNC)
        for _ in range(2):
            for i in range(50):
                got = client.ask(fe.bind(f"s{i}", [7]) + fe.execute() + fe.SYNC)
                assert fe.rows(got) == [[str(i), "7"]]


def clients(endpoint, count):
    return [fe.Frontend(endpoint).login(password="app-password") for _ in range(count)]


def test_names_are_private(router):
    """Two clients, one name, two texts, one server connection."""
    a, b = clients(router(default_pool_size=1, workers=1), 2)
    for client, text in ((a, "select 'a', $1::int"), (b, "select 'b', $1::text")):
        assert fe.kinds(client.ask(fe.parse(text, "s") + fe.SYNC)) == "1Z"
    for n in range(5):
        assert fe.rows(a.ask(fe.bind("s", [n]) + fe.execute() + fe.SYNC)) == [["a", str(n)]]
        assert fe.rows(b.ask(fe.bind("s", ["x"]) + fe.execute() + fe.SYNC)) == [["b", "x"]]


def test_unknown_and_closed_names(router):
    """26000 for what this client has not prepared, though another has; 42P05 for a name in use."""
    a, b = clients(router(default_pool_size=1, workers=1), 2)
    a.ask(fe.parse("select 1", "s") + fe.SYNC)
    assert fe.errors(b.ask(fe.bind("s") + fe.execute() + fe.SYNC))[0]["C"] == "26000"
    assert fe.errors(b.ask(fe.describe("S", "s") + fe.SYNC))[0]["C"] == "26000"
    assert fe.errors(a.ask(fe.parse("select 2", "s") + fe.SYNC))[0]["C"] == "42P05"
    assert fe.rows(a.ask(fe.bind("s") + fe.execute() + fe.SYNC)) == [["1"]]
    assert fe.kinds(a.ask(fe.close("S", "s") + fe.close("S", "never there") + fe.SYNC)) == "33Z"
    assert fe.errors(a.ask(fe.bind("s") + fe.execute() + fe.SYNC))[0]["C"] == "26000"
    assert fe.kinds(a.ask(fe.parse("select 3", "s") + fe.SYNC)) == "1Z"
    assert fe.rows(a.ask(fe.bind("s") + fe.execute() + fe.SYNC)) == [["3"]]


def test_unnamed_statement_survives_sync(router):
    """Parse and Sync, then Bind: on whatever server connection comes, though others used it in between."""
    a, b = clients(router(default_pool_size=1, workers=1), 2)
    for n in range(5):
        assert fe.kinds(a.ask(fe.parse(f"select 'a{n}', $1::int") + fe.describe("S") + fe.SYNC)) == "1tTZ"
        assert fe.kinds(b.ask(fe.parse(f"select 'b{n}', $1::int") + fe.SYNC)) == "1Z"
        assert fe.rows(a.ask(fe.bind(values=[n]) + fe.execute() + fe.SYNC)) == [[f"a{n}", str(n)]]
        assert fe.rows(b.ask(fe.bind(values=[n]) + fe.execute() + fe.SYNC)) == [[f"b{n}", str(n)]]
        assert fe.rows(a.ask(fe.bind(values=[n]) + fe.execute() + fe.SYNC)) == [[f"a{n}", str(n)]]


def test_simple_query_ends_the_unnamed_statement(router):
    """As PostgreSQL does: a Query message destroys it."""
    (a,) = clients(router(), 1)
    a.ask(fe.parse("select 1") + fe.SYNC)
    a.ask(fe.query("select 2"))
    assert fe.errors(a.ask(fe.bind() + fe.execute() + fe.SYNC))[0]["C"] == "26000"


def test_failed_parse(router):
    """A Parse that the server refuses leaves no name behind, and what follows up to Sync is skipped."""
    (a,) = clients(router(), 1)
    got = a.ask(fe.parse("select nonsense from nowhere", "s") + fe.bind("s") + fe.execute() + fe.SYNC)
    assert fe.kinds(got) == "EZ" and fe.errors(got)[0]["C"] == "42P01"
    assert fe.errors(a.ask(fe.bind("s") + fe.SYNC))[0]["C"] == "26000"
    assert fe.kinds(a.ask(fe.parse("select 1", "s") + fe.SYNC)) == "1Z"
    got = a.ask(fe.bind("none") + fe.parse("select 5", "t") + fe.SYNC)
    assert fe.kinds(got) == "EZ"
    assert fe.errors(a.ask(fe.bind("t") + fe.SYNC))[0]["C"] == "26000"


def test_failed_transaction_keeps_statements(router):
    """A rollback does not take prepared statements back."""
    (a,) = clients(router(default_pool_size=1), 1)
    a.ask(fe.query("begin"))
    a.ask(fe.parse("select $1::int + 1", "s") + fe.SYNC)
    a.ask(fe.query("select 1/0"))
    assert a.status == "E"
    a.ask(fe.query("rollback"))
    assert fe.rows(a.ask(fe.bind("s", [1]) + fe.execute() + fe.SYNC)) == [["2"]]


def test_parameter_types_are_kept(router):
    """The same text with other types is another statement."""
    a, b = clients(router(default_pool_size=1, workers=1), 2)
    a.ask(fe.parse("select $1", "s", types=[23]) + fe.SYNC)
    b.ask(fe.parse("select $1", "s", types=[25]) + fe.SYNC)
    for client, oid in ((a, 23), (b, 25), (a, 23)):
        got = client.ask(fe.describe("S", "s") + fe.SYNC)
        assert fe.kinds(got) == "tTZ"
        assert int.from_bytes(got[0].body[2:6], "big") == oid


def test_portals(router, table):
    """Execute with a row limit, and more of the same portal in the same transaction."""
    name = table(rows="select g, g from generate_series(1, 10) g")
    (a,) = clients(router(), 1)
    a.ask(fe.query("begin"))
    got = a.ask(fe.parse(f"select id from {name} order by id", "s") + fe.bind("s", portal="p") +
                fe.execute("p", 3) + fe.execute("p", 3) + fe.SYNC)
    assert fe.kinds(got) == "12DDDsDDDsZ"
    got = a.ask(fe.execute("p", 0) + fe.close("P", "p") + fe.SYNC)
    assert fe.rows(got) == [["7"], ["8"], ["9"], ["10"]] and fe.kinds(got)[-2:] == "3Z"
    a.ask(fe.query("commit"))
    got = a.ask(fe.bind("s") + fe.execute("", 2) + fe.SYNC)
    assert fe.kinds(got) == "2DDsZ"


def test_ddl_changes_the_result(router, table):
    """`select *` prepared before a column was added goes on working: the router prepares it anew."""
    name = table(rows="values (1, 1)")
    endpoint = router()
    with endpoint.connect(prepare_threshold=0) as conn:
        for _ in range(4):
            assert conn.execute(f"select * from {name}", prepare=True).fetchone() == (1, 1)
        conn.execute(f"alter table {name} add column w int default 5", prepare=False)
        if endpoint.pid is None:  # PostgreSQL itself: cached plan must not change result type
            pytest.raises(psycopg.errors.FeatureNotSupported, conn.execute, f"select * from {name}", prepare=True)
            return
        for _ in range(4):
            assert conn.execute(f"select * from {name}", prepare=True).fetchone() == (1, 1, 5)


def prepare_many(conn, numbers):
    """Prepares statements a hundred at a time; the SQLSTATEs of those that were refused."""
    refused = []
    for start in range(0, len(numbers), 100):
        batch = [fe.parse(f"select {i} /* {'x' * 200} */", f"s{i}") + fe.SYNC for i in numbers[start:start + 100]]
        refused += [e["C"] for e in fe.errors(conn.ask(b"".join(batch), syncs=len(batch)))]
    return refused


@pytest.mark.memory
def test_many_statements(router):
    """Nearly ten thousand of one client: all are there, and the router holds a few megabytes for them."""
    endpoint = router(measure=True)
    (a,) = clients(endpoint, 1)
    a.ask(fe.parse("select 1", "warm") + fe.SYNC)
    before = endpoint.rss() if endpoint.pid else 0
    assert prepare_many(a, range(9900)) == []
    for i in range(0, 9900, 99):
        assert fe.rows(a.ask(fe.bind(f"s{i}") + fe.execute() + fe.SYNC)) == [[str(i)]]
    if endpoint.pid:
        assert endpoint.rss() - before < (16 if not sanitized() else 64) << 20


def test_limit_of_statements(router):
    """One client may have so many by name: a clear error, and nobody else is touched."""
    endpoint = router(max_client_prepared_statements=50)
    if endpoint.pid is None:
        return
    a, b = clients(endpoint, 2)
    a.send(b"".join(fe.parse(f"select {i}", f"s{i}") + fe.SYNC for i in range(51)))
    while (got := a.receive()).type != "E":
        pass
    assert fe.fields(got.body)["C"] == "54000"
    assert b.value("select 1") == "1"


def test_concurrent_prepares_of_one_text(router):
    """Many clients prepare the very same statement at the same moment."""
    endpoint = router(default_pool_size=3)
    barrier = threading.Barrier(20)

    def work(client):
        with fe.Frontend(endpoint).login(password="app-password") as conn:
            barrier.wait(30)
            for n in range(20):
                got = conn.ask(fe.parse(f"select {n}, $1::int", f"p{n}") + fe.bind(f"p{n}", [client]) + fe.execute() +
                               fe.SYNC)
                assert fe.rows(got) == [[str(n), str(client)]]

    run_clients(20, work)


def test_who_prepares_after_ddl_gets_it_new(router, table):
    """The servers know the text of old, and what it meant then; a client that parses it now must not meet that."""
    name = table("a int", rows="values (1)")

    async def run():
        endpoint = router(default_pool_size=2, consistency="global")  # everybody sees the table as it is
        writer = await asyncpg.connect(**endpoint.asyncpg_params())
        text = f"select * from {name}"
        for columns in range(1, 5):
            for _ in range(3):
                new = await asyncpg.connect(**endpoint.asyncpg_params())
                for _ in range(4):
                    assert len(await new.fetchrow(text)) == columns
                async with new.transaction():  # on the primary
                    assert len(await new.fetchrow(text)) == columns
                await new.close()
            if columns == 2:
                async with writer.transaction():
                    await writer.execute(f"alter table {name} add column c{columns} int default 2")
                    await writer.fetchrow(text)
            else:
                await writer.execute(f"alter table {name} add column c{columns} int default 2")
        await writer.close()

    asyncio.run(run())


def test_a_statement_that_means_nothing_any_more(router, table):
    """Its error comes in its own place within the batch."""
    name = table(rows="values (1, 10)")
    (a,) = clients(router(default_pool_size=1), 1)
    assert fe.kinds(a.ask(fe.parse(f"select * from {name}", "s") + fe.describe("S", "s") + fe.SYNC)) == "1tTZ"
    assert fe.rows(a.ask(fe.bind("s") + fe.execute() + fe.SYNC)) == [["1", "10"]]
    a.ask(fe.query("set search_path = pg_catalog"))
    assert fe.errors(a.ask(fe.describe("P", "never bound") + fe.bind("s") + fe.execute() + fe.SYNC))[0]["C"] == "34000"
    assert fe.errors(a.ask(fe.bind("s") + fe.execute() + fe.SYNC))[0]["C"] == "42P01"
    a.ask(fe.query("reset search_path"))
    assert fe.rows(a.ask(fe.bind("s") + fe.execute() + fe.SYNC)) == [["1", "10"]]


@pytest.mark.parametrize("sql", ["deallocate s", "/* app=foo */ DEALLOCATE s",
                                 "deallocate /* it */ prepare \"s\" ; -- done"])
def test_deallocate_of_a_parsed_name(router, sql):
    """By SQL, with whatever comments a driver adds to it."""
    a, b = clients(router(default_pool_size=1, workers=1), 2)
    for way in (fe.query(sql), fe.parse(sql) + fe.bind() + fe.execute() + fe.SYNC):
        for client in (a, b):
            client.ask(fe.parse("select 1", "s") + fe.SYNC)
        assert not fe.errors(a.ask(way)) and a.status == "I"
        assert fe.errors(a.ask(fe.bind("s") + fe.execute() + fe.SYNC))[0]["C"] == "26000"
        assert fe.rows(b.ask(fe.bind("s") + fe.execute() + fe.SYNC)) == [["1"]]
        b.ask(fe.close("S", "s") + fe.SYNC)
