# SPDX-License-Identifier: ISC
"""Drivers that people use, as they use them: each does reads, writes, transactions and its own specialities."""
import asyncio
import subprocess
import uuid

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import declarative_base, sessionmaker

pytestmark = pytest.mark.direct


def psql(endpoint, *arguments, script=None):
    """Runs psql on a script; its output, unaligned, without headers."""
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *arguments], input=script, text=True, check=False,
                          env=endpoint.env(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- psql -----------------------------------------------------------------------------------------------------------

def test_psql(router, table):
    name = table()
    script = f"""
        insert into {name} select g, g * g from generate_series(1, 10) g;
        select sum(v) from {name};
        begin;
        update {name} set v = 0 where id = 10;
        select sum(v) from {name};
        rollback;
        select sum(v) from {name};
        select 1 \\; select 2 \\; select 3;
        \\set ID 3
        select v from {name} where id = :ID;
        select format('select %s', g) from generate_series(7, 8) g \\gexec
        """
    assert psql(router(), script=script).split() == ["385", "285", "385", "1", "2", "3", "9", "7", "8"]


def test_psql_describes(router, table):
    """\\d and its kin are the hardest catalog queries that a router sees every day."""
    endpoint, name = router(), table("id int primary key, v text default 'x', check (id > 0)")
    assert "id|integer||not null|" in psql(endpoint, "-c", f"\\d {name}")
    assert name in psql(endpoint, "-c", "\\dt")
    assert "app" in psql(endpoint, "-c", "\\du") and "app" in psql(endpoint, "-c", "\\l")
    assert "btree" in psql(endpoint, "-c", f"\\di+ {name}_pkey")
    assert "sum" in psql(endpoint, "-c", "\\df pg_catalog.sum")


def test_psql_copy_and_single_transaction(router, table, tmp_path):
    endpoint, name = router(), table()
    data = tmp_path / "data.csv"
    data.write_text("".join(f"{i},{i}\n" for i in range(1000)))
    psql(endpoint, "-1", script=f"\\copy {name} from {data} csv\nupdate {name} set v = v + 1;\n")
    out = tmp_path / "out.csv"
    psql(endpoint, "-c", f"\\copy (select * from {name} order by id) to {out} csv")
    assert out.read_text() == "".join(f"{i},{i + 1}\n" for i in range(1000))


def test_psql_errors_keep_the_session(router):
    done = subprocess.run(["psql", "-XAtq"], env=router().env(), capture_output=True, text=True, timeout=30, check=False,
                          input="select 1/0;\nselect nonsense;\nsyntax error here;\nselect 'alive';\n")
    assert "alive" in done.stdout
    assert "division by zero" in done.stderr and 'syntax error at or near "syntax"' in done.stderr


def test_databases_that_everybody_has_left(router, cluster):
    """PostgreSQL refuses to copy, rename or drop a database to which others are connected; clients that have left are not."""
    endpoint, names = router(), ["left_one", "left_two", "left_three"]
    cluster.primary.sql("alter role app createdb")
    try:
        for _ in range(3):
            psql(endpoint, "-c", "create database left_one")
            cluster.caught_up()
            for _ in range(3):  # on several workers
                assert psql(endpoint, "-d", "left_one", "-c", "create temp table t (a int)", "-c", "select count(*) from t") == "0"
            psql(endpoint, "-c", "create database left_two template left_one")
            cluster.caught_up()
            psql(endpoint, "-d", "left_two", "-c", "select pg_backend_pid()")
            psql(endpoint, "-c", "alter database left_two rename to left_three")
            with endpoint.connect(dbname="left_three") as other, endpoint.connect() as conn:
                other.execute("begin")
                other.execute("select txid_current()")
                with pytest.raises(psycopg.errors.ObjectInUse):
                    conn.execute("alter database left_three rename to left_two")
            with endpoint.connect() as conn:
                conn.execute("drop database left_three", prepare=True)
                conn.execute("drop database left_one")
            cluster.caught_up()
    finally:
        for name in names:
            cluster.primary.sql(f"drop database if exists {name} with (force)")
        cluster.primary.sql("alter role app nocreatedb")


# --- libpq's pipeline mode, through psycopg -------------------------------------------------------------------------

def test_libpq_pipeline(router, table):
    name = table()
    with router().connect() as conn:
        with conn.pipeline() as pipeline:
            cursors = []
            for i in range(500):
                conn.execute(f"insert into {name} values (%s, %s)", (i, i))
                cursors.append(conn.execute(f"select v from {name} where id = %s", (i,)))
            pipeline.sync()
            assert [c.fetchone()[0] for c in cursors] == list(range(500))
        assert conn.execute(f"select count(*) from {name}").fetchone() == (500,)


def test_who_may_not_drop_a_database_closes_nobodys_connection(router):
    endpoint = router(workers=1)
    with endpoint.connect() as conn:
        pid = conn.execute("select pg_backend_pid()").fetchone()
    for sql in ("drop database app", "alter database app rename to mine", "drop database app with (force)"):
        with endpoint.connect(user="other", autocommit=True) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(sql)
    with endpoint.connect(user="other", autocommit=True) as other, pytest.raises(psycopg.Error):
        other.execute("select pg_sleep(0.4); drop database app")  # takes its time, and not for want of the database
    with endpoint.connect() as conn:
        assert conn.execute("select pg_backend_pid()").fetchone() == pid



def test_libpq_pipeline_of_reads(router):
    with router().connect() as conn, conn.pipeline():
        cursors = [conn.execute("select %s::int, repeat('x', %s)", (i, i)) for i in range(1000)]
        for i, cursor in enumerate(cursors):
            assert cursor.fetchone() == (i, "x" * i)


def test_libpq_pipeline_error(router):
    """An error ends what follows up to the Sync, and no more."""
    with router().connect() as conn:
        with conn.pipeline() as pipeline:
            first = conn.execute("select %s::int", (1,))
            pipeline.sync()
            bad = conn.execute("select 1 / %s::int", (0,))
            skipped = conn.execute("select %s::int", (2,))
            with pytest.raises(psycopg.errors.DivisionByZero):
                pipeline.sync()
            last = conn.execute("select %s::int", (3,))
            pipeline.sync()
            assert first.fetchone() == (1,) and last.fetchone() == (3,)
            for cursor in (bad, skipped):
                with pytest.raises(psycopg.Error):
                    cursor.fetchone()
        assert conn.execute("select 4").fetchone() == (4,)


def test_libpq_pipeline_in_transaction(router, table):
    name = table()
    with router().connect(autocommit=False) as conn:
        with conn.pipeline():
            for i in range(100):
                conn.execute(f"insert into {name} values (%s, %s)", (i, i))
        conn.commit()
        assert conn.execute(f"select count(*) from {name}").fetchone() == (100,)


# --- psycopg 3 ------------------------------------------------------------------------------------------------------

def test_psycopg_types(router):
    values = [1, 2 ** 40, 1.5, "text with 'quotes' and é", b"\0\1\2", None, True, uuid.UUID(int=7), [1, 2, 3]]
    with router().connect() as conn:
        for binary in (False, True):
            for value in values:
                got = conn.execute("select %s", (value,), binary=binary).fetchone()[0]
                assert got == value or value is None and got is None


def test_psycopg_transactions(router, table):
    name = table()
    with router().connect(autocommit=False) as conn:
        with conn.transaction():
            conn.execute(f"insert into {name} values (1, 1)")
            with pytest.raises(psycopg.errors.UniqueViolation), conn.transaction():
                conn.execute(f"insert into {name} values (1, 2)")
            conn.execute(f"insert into {name} values (2, 2)")
        assert conn.execute(f"select count(*) from {name}").fetchone() == (2,)
        conn.rollback()


def test_psycopg_executemany_and_server_cursor(router, table):
    name = table()
    with router().connect(autocommit=False) as conn:
        with conn.cursor() as cursor:
            cursor.executemany(f"insert into {name} values (%s, %s)", [(i, i * 2) for i in range(2000)])
        conn.commit()
        with conn.cursor(name="big") as cursor:
            cursor.itersize = 100
            cursor.execute(f"select v from {name} order by id")
            assert [v for v, in cursor] == [i * 2 for i in range(2000)]


def test_psycopg_notices_and_errors(router):
    with router().connect() as conn:
        notices = []
        conn.add_notice_handler(lambda d: notices.append(d.message_primary))
        conn.execute("do $$ begin raise notice 'hello'; end $$")
        assert notices == ["hello"]
        with pytest.raises(psycopg.errors.UndefinedTable) as caught:
            conn.execute("select * from no_such_table")
        assert caught.value.diag.sqlstate == "42P01" and caught.value.diag.statement_position == "15"
        assert conn.execute("select 1").fetchone() == (1,)


def test_psycopg_async(router):
    async def run(endpoint):
        async with await psycopg.AsyncConnection.connect(autocommit=True, **endpoint.params()) as conn:
            async with conn.cursor() as cursor:
                await cursor.execute("select generate_series(1, 100)")
                assert len(await cursor.fetchall()) == 100
    asyncio.run(run(router()))


# --- asyncpg, statement cache on ------------------------------------------------------------------------------------

def test_asyncpg(router, table):
    name = table()

    async def run(endpoint):
        conn = await asyncpg.connect(**endpoint.asyncpg_params())
        try:
            await conn.executemany(f"insert into {name} values ($1, $2)", [(i, i) for i in range(100)])
            for i in range(100):
                assert await conn.fetchval(f"select v from {name} where id = $1", i) == i
            async with conn.transaction():
                await conn.execute(f"update {name} set v = v + 1")
                assert [r["v"] async for r in conn.cursor(f"select v from {name} order by id")] == list(range(1, 101))
            with pytest.raises(asyncpg.UniqueViolationError):
                await conn.execute(f"insert into {name} values ($1, $2)", 1, 1)
            assert await conn.copy_records_to_table(name, records=[(i, i) for i in range(1000, 2000)]) == "COPY 1000"
            prepared = await conn.prepare(f"select count(*) from {name} where id >= $1")
            assert await prepared.fetchval(1000) == 1000
            assert await conn.fetchval("select $1::int[]", [1, 2, 3]) == [1, 2, 3]
        finally:
            await conn.close()
    asyncio.run(run(router()))


def test_asyncpg_pool(router, table):
    """The statement cache of 20 connections over a few server connections, with more statements than clients."""
    name = table(rows="select g, g from generate_series(0, 99) g")

    async def run(endpoint):
        async with asyncpg.create_pool(min_size=20, max_size=20, **endpoint.asyncpg_params()) as pool:
            async def ask(i):
                assert await pool.fetchval(f"select v + {i % 30} from {name} where id = $1", i % 100) == i % 100 + i % 30
            for _ in range(5):
                await asyncio.gather(*(ask(i) for i in range(300)))
    asyncio.run(run(router(default_pool_size=3)))


# --- SQLAlchemy on asyncpg ------------------------------------------------------------------------------------------

def test_sqlalchemy(router, cluster):
    base = declarative_base()

    class Account(base):
        __tablename__ = "sqlalchemy_account"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        name = sqlalchemy.Column(sqlalchemy.String, unique=True)
        data = sqlalchemy.Column(sqlalchemy.JSON)

    async def run(endpoint):
        engine = create_async_engine(endpoint.url("postgresql+asyncpg"), pool_size=5, connect_args={"ssl": False})
        try:
            async with engine.begin() as conn:
                await conn.run_sync(base.metadata.drop_all)
                await conn.run_sync(base.metadata.create_all)
            session = sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
            async with session() as s, s.begin():
                s.add_all([Account(name=f"name{i}", data={"i": i}) for i in range(50)])
            async with session() as s:
                found = (await s.execute(sqlalchemy.select(Account).order_by(Account.id))).scalars().all()
                assert [a.data["i"] for a in found] == list(range(50))
                found[0].name = "other"
                await s.commit()
            async with session() as s:
                async with s.begin():
                    with pytest.raises(sqlalchemy.exc.IntegrityError):
                        async with s.begin_nested():
                            s.add(Account(name="other"))
                            await s.flush()
                    s.add(Account(name="after the savepoint"))
                count = (await s.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(Account))).scalar()
                assert count == 51
            async with engine.begin() as conn:
                await conn.run_sync(base.metadata.drop_all)
        finally:
            await engine.dispose()
    asyncio.run(run(router()))
