# SPDX-License-Identifier: ISC
"""Alembic migrates up and down through the router while 50 clients read what it changes, without one error."""
import asyncio
import os
import subprocess

import asyncpg
import psycopg
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
READERS = 50
MEMBERS = [(i, f"member {i}") for i in range(200)]

pytestmark = pytest.mark.direct


@pytest.fixture
def members(cluster):
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create table member (id int primary key, name text not null)")
        conn.cursor().executemany("insert into member values (%s, %s)", MEMBERS)
    cluster.caught_up()
    yield
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("drop table if exists member, plan, subscription, alembic_version cascade")
        conn.execute("drop type if exists plan_kind")
        conn.execute("drop function if exists greet(text)")


async def alembic(endpoint, folder, *arguments):
    done = await asyncio.create_subprocess_exec(
        "alembic", "-c", os.path.join(folder, "alembic.ini"), *arguments, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "MIGRATIONS_URL": endpoint.url("postgresql+asyncpg"),
                                       "PYTHONDONTWRITEBYTECODE": "1"})
    output, _ = await asyncio.wait_for(done.communicate(), 60)
    assert done.returncode == 0, output.decode()
    return output.decode()


def check(rows, number):
    assert [tuple(r)[:2] for r in rows] == [MEMBERS[number]]


async def read_by_asyncpg(endpoint, number, stop):
    """With its cache of statements."""
    conn = await asyncpg.connect(**endpoint.asyncpg_params())
    reads = 0
    while not stop.is_set():
        check(await conn.fetch("select id, name from member where id = $1", number), number)
        check(await conn.fetch("select m.id, m.name from member m where id = $1 for share", number), number)
        reads += 2
    await conn.close()
    return reads


async def read_by_psycopg(endpoint, number, stop):
    conn = await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=1, **endpoint.params())
    reads = 0
    while not stop.is_set():
        cursor = await conn.execute("select id, name from member where id = %s", (number,))
        check(await cursor.fetchall(), number)
        async with conn.transaction():
            cursor = await conn.execute("select id, name from member where name = %s", (MEMBERS[number][1],))
            check(await cursor.fetchall(), number)
        reads += 2
    await conn.close()
    return reads


async def migrate(endpoint, folder, rounds):
    stop = asyncio.Event()
    readers = [asyncio.ensure_future((read_by_psycopg if i % 2 else read_by_asyncpg)(endpoint, i, stop))
               for i in range(READERS)]
    try:
        for _ in range(rounds):
            await alembic(endpoint, folder, "upgrade", "head")
            assert "a4 (head)" in await alembic(endpoint, folder, "current")
            await alembic(endpoint, folder, "downgrade", "base")
            for reader in readers:
                assert not reader.done(), reader.exception()
        await alembic(endpoint, folder, "upgrade", "+2")
        await alembic(endpoint, folder, "upgrade", "+2")
    finally:
        stop.set()
        done = await asyncio.gather(*readers, return_exceptions=True)
    assert not [e for e in done if not isinstance(e, int)]
    assert all(done), done


@pytest.mark.timeout(600)
def test_alembic(router, cluster, members, tmp_path, full):
    (tmp_path / "alembic.ini").write_text(f"[alembic]\nscript_location = {HERE}/migrations\nsourceless = false\n")
    asyncio.run(migrate(router(), str(tmp_path), 20 if full else 2))
    with cluster.primary.connect("app", "app") as conn:
        assert conn.execute("select version_num from alembic_version").fetchone() == ("a4",)
        assert conn.execute("select count(*), max(email) from member").fetchone() == (200, "member 9@example.org")
        assert conn.execute("select count(*) from plan").fetchone() == (21,)
