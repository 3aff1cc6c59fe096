"""Somebody else's session, which holds locks, and connections of the product that wait for them as long as a test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from tortoise.context import TortoiseContext

from domain import database
from tests.conftest import database_url

Psql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def own_url(server_url: str) -> str:
    """The database of the tests."""
    return database_url(server_url, (await database.fetch("SELECT current_database() AS name"))[0]["name"])


@asynccontextmanager
async def psql(server_url: str, **settings: str) -> AsyncIterator[Psql]:
    """Somebody's own connection to the database of the tests."""
    connection = await asyncpg.connect(await own_url(server_url), server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def connected(server_url: str, **limits: str) -> AsyncIterator[None]:
    """A pool of its own for the block, with the limits of the product or with others."""
    config = database.config(await own_url(server_url))
    config["connections"]["default"]["credentials"]["server_settings"] |= limits
    async with TortoiseContext() as context:
        await context.init(config)
        yield
