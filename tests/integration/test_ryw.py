# SPDX-License-Identifier: ISC
"""Read your writes: a client never reads older than what it wrote, on replicas that are made to be late."""
import asyncio
import contextlib
import time

import asyncpg
import pytest

import frontend as fe
from harness.load import PORT, Background, port, ports
from pgcluster import wait_until

CONNECTIONS = 20


@pytest.fixture
def late(cluster):
    """Both replicas replay commits 400 ms late."""
    for node in cluster.replicas:
        node.delay("400ms")
    return cluster


async def pairs(endpoint, name, per_connection, write, read):
    """On 20 connections: write a new value, read it back. (stale reads, reads, on how many servers)"""
    stale, servers = [], set()

    async def client(i):
        conn = await asyncpg.connect(**endpoint.asyncpg_params())
        try:
            for n in range(1, per_connection + 1):
                await write(conn, i, n)
                got, where = await read(conn, i)
                servers.add(where)
                if got != n:
                    stale.append((i, n, got, where))
        finally:
            await conn.close()

    await asyncio.gather(*(client(i) for i in range(CONNECTIONS)))
    return stale, servers


def statements(name):
    async def write(conn, i, n):
        await conn.execute(f"update {name} set v = $2 where id = $1", i, n)

    async def write_simple(conn, i, n):
        await conn.execute(f"update {name} set v = {n} where id = {i}")

    async def write_in_transaction(conn, i, n):
        async with conn.transaction():
            await conn.execute(f"update {name} set v = $2 where id = $1", i, n)

    async def write_in_cte(conn, i, n):
        await conn.fetch(f"with w as (update {name} set v = $2 where id = $1 returning v) select v from w", i, n)

    async def write_by_function(conn, i, n):
        await conn.fetch(f"select {name}_write($1, $2)", i, n)

    async def read(conn, i):
        return await conn.fetchrow(f"select v, (select port from here) from {name} where id = $1", i)

    return {"extended": write, "simple": write_simple, "transaction": write_in_transaction, "cte": write_in_cte,
            "function": write_by_function}, read


@pytest.fixture
def numbers(cluster, table):
    """A row per connection, and a function that writes to it."""
    name = table(rows=f"select g, 0 from generate_series(0, {CONNECTIONS - 1}) g")
    with cluster.primary.connect("app", "app") as conn:
        conn.execute(f"create function {name}_write(int, int) returns void language sql as "
                     f"'update {name} set v = $2 where id = $1'")
    cluster.caught_up()
    yield name
    with cluster.primary.connect("app", "app") as conn:
        conn.execute(f"drop function {name}_write(int, int)")


@pytest.mark.timeout(600)
def test_no_stale_read(router, late, numbers, full):
    """1,000 write-then-read pairs (10,000 in full), 0 stale; meanwhile others do read from the replicas."""
    endpoint = router(consistency="session")
    writes, read = statements(numbers)
    with endpoint.connect() as other:
        seen = set()
        with Background(lambda: seen.add(port(other))):
            stale, _ = asyncio.run(pairs(endpoint, numbers, (10000 if full else 1000) // CONNECTIONS,
                                         writes["extended"], read))
    assert stale == []
    assert seen == {n.port for n in late.replicas}


@pytest.mark.parametrize("way", ["simple", "transaction", "cte", "function"])
def test_no_stale_read_whatever_the_write(router, late, numbers, way):
    endpoint = router()
    writes, read = statements(numbers)
    stale, _ = asyncio.run(pairs(endpoint, numbers, 10, writes[way], read))
    assert stale == []


def test_no_stale_read_with_pauses(router, late, numbers):
    """Reads that come while the replicas are catching up: from the primary first, from replicas once they may."""
    with router().connect() as conn:
        for n in range(1, 4):
            conn.execute(f"update {numbers} set v = {n} where id = 1")
            seen = set()
            deadline = time.monotonic() + 5
            while not seen & {x.port for x in late.replicas}:
                assert time.monotonic() < deadline, "reads never return to the replicas"
                value, where = conn.execute(f"select v, (select port from here) from {numbers} where id = 1").fetchone()
                assert value == n, f"read {value} from {where} after writing {n}"
                seen.add(where)
            assert late.primary.port in seen  # the replicas were late indeed


def test_reads_return_quickly(router, cluster, table):
    """On replicas that are not late the way back takes a moment, not a health interval."""
    name = table(rows="values (1, 0)")
    with router(health_interval="20s").connect() as conn:
        for n in range(5):
            conn.execute(f"update {name} set v = {n}")
            wait_until(lambda: port(conn) != cluster.primary.port, 10, "reads on replicas again", interval=0.001)


def test_only_the_writer_is_held_back(router, late, table):
    name = table(rows="values (1, 0)")
    endpoint = router()
    with endpoint.connect() as writer, endpoint.connect() as reader:
        writer.execute(f"update {name} set v = 1")
        assert port(writer) == late.primary.port
        assert set(ports(reader, 10)) == {n.port for n in late.replicas}


def test_new_table_is_everybodys(router, late):
    """Also those who have asked for nothing since pgsteer was started, on whatever worker, find a new table."""
    endpoint = router(workers=4)
    with contextlib.ExitStack() as stack:
        maker, *others = [stack.enter_context(endpoint.connect()) for _ in range(20)]
        wait_until(lambda: port(maker) != late.primary.port, 10, "the catalog to have been read")
        maker.execute("create table made_late as select 1 as v")
        try:
            assert [conn.execute("select v from made_late").fetchone() for conn in others] == [(1,)] * len(others)
        finally:
            maker.execute("drop table made_late")


def test_rolled_back_and_empty_transactions(router, late, table):
    """Whatever a transaction did, what is read after it is right."""
    name = table(rows="values (1, 0)")
    with router().connect() as conn:
        conn.execute("begin")
        conn.execute(f"update {name} set v = 1")
        conn.execute("rollback")
        assert conn.execute(f"select v from {name}").fetchone() == (0,)
        conn.execute(f"begin; update {name} set v = 2; commit")
        assert conn.execute(f"select v from {name}").fetchone() == (2,)
        conn.execute(f"insert into {name} values (2, 2); select 1")
        assert conn.execute(f"select count(*) from {name}").fetchone() == (2,)
        with conn.cursor() as cursor, cursor.copy(f"copy {name} from stdin") as copy:
            copy.write("3\t3\n")
        assert conn.execute(f"select count(*) from {name}").fetchone() == (3,)


def test_failed_write_in_implicit_transaction(router, late, table):
    """`insert; commit; select 1/0` has written though it failed."""
    name = table()
    with router().connect() as conn:
        with pytest.raises(Exception, match="division"):
            conn.execute(f"begin; insert into {name} values (1, 1); commit; select 1/0")
        assert conn.execute(f"select count(*) from {name}").fetchone() == (1,)


def test_one_replica_late(router, cluster, table):
    """The replica that is not late serves the writer's reads."""
    slow, quick = cluster.replicas
    name = table(rows="values (1, 0)")
    slow.delay("2s")
    with router().connect() as conn:
        conn.execute(f"update {name} set v = 1")
        seen = set()
        wait_until(lambda: seen.add(port(conn)) or quick.port in seen, 1.5, "reads on the quick replica")
        assert conn.execute(f"select v from {name}").fetchone() == (1,)
        assert slow.port not in seen


def test_eventual(router, late, numbers):
    """consistency = eventual: replicas at once, stale as they may be."""
    with router(consistency="eventual").connect() as conn:
        conn.execute(f"update {numbers} set v = 1 where id = 1")
        value, where = conn.execute(f"select v, (select port from here) from {numbers} where id = 1").fetchone()
        assert where in {n.port for n in late.replicas} and value == 0


def test_eventual_for_one_user(router, late, numbers):
    """The level may be set per user and per database."""
    late.primary.sql(f"grant all on {numbers} to other", dbname="app")
    endpoint = router(users={"other": {"consistency": "eventual"}})
    with endpoint.connect() as careful, endpoint.connect(user="other") as careless:
        for conn in (careful, careless):
            conn.execute(f"update {numbers} set v = v + 1 where id = 1")
        assert careful.execute(PORT).fetchone()[0] == late.primary.port
        assert careless.execute(PORT).fetchone()[0] != late.primary.port


def copy_batch(name):
    return fe.parse(f"copy {name} from stdin") + fe.bind() + fe.execute()


DATA = fe.copy_data(b"1\t1\n") + fe.message("c")
INSERT = "insert into {} values (1, 1)"
# What writes a row, in messages each sent and answered before the next. (bytes, the reply that ends it)
SPLIT_WRITES = {
    "copy, data after the question": lambda name: [(copy_batch(name) + fe.SYNC, "G"), (DATA + fe.SYNC, "Z")],
    "copy, data ahead of the question": lambda name: [(copy_batch(name) + DATA + fe.SYNC, "Z")],
    "copy behind a commit": lambda name: [(fe.query("begin; select 1"), "Z"),
                                          (fe.query("commit") + copy_batch(name) + DATA + fe.SYNC, "ZZ")],
    "sync after a flush": lambda name: [(fe.parse(INSERT.format(name)) + fe.bind() + fe.execute() + fe.FLUSH, "C"),
                                        (fe.SYNC, "Z")],
    "a read after a flush": lambda name: [(fe.parse(INSERT.format(name)) + fe.bind() + fe.execute() + fe.FLUSH, "C"),
                                          (fe.ask("select 1"), "Z")],
    "longer than is held": lambda name: [(fe.parse(INSERT.format(name)) + fe.bind() + fe.execute() +
                                          fe.parse("select length($1::text)") + fe.bind("", [b"x" * 3_000_000]) +
                                          fe.execute() + fe.SYNC, "Z")],
}


@pytest.mark.parametrize("way", SPLIT_WRITES)
def test_no_stale_read_whatever_the_messages(router, late, table, way):
    """A write of which the router sees its end as something else: a Sync, a read, the data of a COPY."""
    name = table()
    with fe.Frontend(router()).login(password="app-password") as client:
        for _ in range(3):
            for data, end in SPLIT_WRITES[way](name):
                client.send(data)
                for kind in end:
                    client.until(kind)
            assert client.value(f"select count(*) from {name}") == "1"
            client.ask(fe.query(f"delete from {name}"))
            assert client.value(f"select count(*) from {name}") == "0"
