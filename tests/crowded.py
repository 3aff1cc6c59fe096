"""Nothing is free: connections that are all in use, and tables that nobody can read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from domain import database
from tests.conftest import database_url


@contextlib.asynccontextmanager
async def locked(server_url: str, table: str) -> AsyncIterator[None]:
    """The table of the test's database, which nobody can use while the block runs."""
    own = await database.fetch("SELECT current_database() AS name")
    other = await asyncpg.connect(database_url(server_url, own[0]["name"]))
    try:
        async with other.transaction():
            await other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await other.close()


@contextlib.asynccontextmanager
async def all_taken() -> AsyncIterator[None]:
    """Every connection of the process is in use while the block runs."""
    taken, end = asyncio.Barrier(database.POOL_SIZE + 1), asyncio.Event()

    async def hold() -> None:
        async with database.transaction():
            await taken.wait()
            await end.wait()

    holders = [asyncio.create_task(hold()) for _ in range(database.POOL_SIZE)]
    await taken.wait()
    try:
        yield
    finally:
        end.set()
        await asyncio.gather(*holders)
