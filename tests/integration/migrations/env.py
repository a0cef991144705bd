# SPDX-License-Identifier: ISC
"""Alembic's environment for test_alembic.py: SQLAlchemy on asyncpg, to the URL in MIGRATIONS_URL."""
import asyncio
import os

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine


def migrate(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def run():
    engine = create_async_engine(os.environ["MIGRATIONS_URL"], poolclass=pool.NullPool, connect_args={"ssl": False})
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(run())
