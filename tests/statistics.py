"""What PostgreSQL counts, as it stands now: each connection keeps its counts to itself for a while."""

import asyncio
from typing import cast

import asyncpg
from tortoise.connection import get_connection

from domain import database
from domain.database import Row


async def counted(sql: str, *values: object) -> list[Row]:
    """The rows of a query on the statistics views, once every connection of the pool has handed in what it counted."""
    pool = cast("asyncpg.Pool", get_connection("default")._pool)
    connections = await asyncio.gather(*(pool.acquire() for _ in range(pool.get_size())))
    for connection in connections:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await pool.release(connection)
    return await database.fetch(sql, *values)


async def deadlocks() -> int:
    """How many transactions the tests' database has broken off because two waited for each other."""
    rows = await counted("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(rows[0]["deadlocks"])
