# SPDX-License-Identifier: ISC
"""Application pools of SQLAlchemy on asyncpg, with every cache of statements on, over far fewer server connections.

Each statement carries a number of its own and must get exactly its own rows back. The long form (--full) is a hundred
pools of ten connections, for ten minutes.
"""
import asyncio
import collections
import itertools
import random
import time

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

SERVERS = 20
CONNECTIONS = 10  # of each pool
ROWS = 100

pytestmark = [pytest.mark.speed, pytest.mark.direct]


class Load:
    """What all clients share: the table, the clock, and what has gone wrong."""

    def __init__(self, table, seconds):
        self.table = sqlalchemy.Table(table, sqlalchemy.MetaData(), sqlalchemy.Column("id", sqlalchemy.Integer),
                                      sqlalchemy.Column("v", sqlalchemy.Integer))
        self.until = time.monotonic() + seconds
        self.numbers = itertools.count(1)
        self.done, self.wrong, self.errors = 0, [], collections.Counter()

    def check(self, got, expected):
        self.done += 1
        if got != expected:
            self.wrong.append((got, expected))


async def read(load, conn, number, dice):
    """One of many texts, so that the caches have something to do."""
    column, row = dice.randrange(60), dice.randrange(ROWS)
    got = await conn.execute(text(f"select :n as n, id, v as v{column}, id + {column} from {load.table.name} where id = :id")
                             .bindparams(n=str(number), id=row))
    load.check([tuple(r) for r in got], [(str(number), row, row * row, row + column)])


async def read_many(load, conn, number, dice):
    count = dice.randrange(1, 40)
    got = await conn.execute(sqlalchemy.select(sqlalchemy.literal(number).label("n"), load.table.c.v)
                             .where(load.table.c.id < count).order_by(load.table.c.id))
    load.check([tuple(r) for r in got], [(number, i * i) for i in range(count)])


async def write(load, conn, number, _):
    """In the transaction that SQLAlchemy has begun."""
    await conn.execute(load.table.insert().values(id=1000000 + number, v=number))
    got = await conn.execute(sqlalchemy.select(load.table.c.v).where(load.table.c.id == 1000000 + number))
    load.check([tuple(r) for r in got], [(number,)])
    got = await conn.execute(load.table.delete().where(load.table.c.id == 1000000 + number).returning(load.table.c.v))
    load.check([tuple(r) for r in got], [(number,)])
    await conn.commit()


async def settings(load, conn, number, _):
    await conn.execute(text("select set_config('my.number', :n, false)").bindparams(n=str(number)))
    await conn.commit()
    got = await conn.execute(text("select current_setting('my.number'), :n").bindparams(n=str(number)))
    load.check([tuple(r) for r in got], [(str(number), str(number))])


KINDS = [read] * 6 + [read_many] * 3 + [write] * 2 + [settings]


async def client(load, engine, reader, seed):
    dice = random.Random(seed)
    while time.monotonic() < load.until:
        kind, number = dice.choice(KINDS), next(load.numbers)
        try:
            # Half of the reads are in no transaction, and so on the replicas.
            async with (reader if kind in (read, read_many) and dice.random() < .5 else engine).connect() as conn:
                await kind(load, conn, number, dice)
        except Exception as error:
            load.errors[f"{type(error).__name__}: {error}"[:300]] += 1


async def run(endpoint, load, pools):
    engines = [create_async_engine(endpoint.url("postgresql+asyncpg"), pool_size=CONNECTIONS, max_overflow=0,
                                   pool_timeout=60, connect_args={"ssl": False, "timeout": 60}) for _ in range(pools)]
    readers = [engine.execution_options(isolation_level="AUTOCOMMIT") for engine in engines]
    try:
        await asyncio.gather(*(client(load, engines[i % pools], readers[i % pools], i)
                               for i in range(pools * CONNECTIONS)))
        connected = sum(engine.pool.checkedin() for engine in engines)
    finally:
        await asyncio.gather(*(engine.dispose() for engine in engines))
    assert connected == pools * CONNECTIONS


@pytest.mark.timeout(900)
def test_pools(router, cluster, table, full):
    pools, seconds = (100, 600) if full else (5, 10)
    name = table(rows=f"select g, g * g from generate_series(0, {ROWS - 1}) g")
    endpoint = router(default_pool_size=SERVERS, max_client_conn=2000)
    load = Load(name, seconds)
    asyncio.run(run(endpoint, load, pools))
    print(f"{pools * CONNECTIONS} clients, {load.done} results in {seconds} s, {len(load.wrong)} wrong ones, "
          f"errors: {dict(load.errors)}")
    assert not load.errors and not load.wrong
    assert load.done > pools * CONNECTIONS
    if endpoint.pid is None:
        return
    for node in cluster.nodes:
        assert len(endpoint.backends(node)) <= SERVERS
    assert all(endpoint.backends(node) for node in cluster.nodes)
