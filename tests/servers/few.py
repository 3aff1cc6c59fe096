"""A database login that may have few connections, as a server has that is nearly full."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg

PASSWORD = "few-connections"


@contextlib.asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[tuple[str, Callable[[int], Awaitable[None]]]]:
    """The URL of a login that may have so many at once, and what changes how many. It owns what the login of `url` owns."""
    name = f"few_{uuid.uuid4().hex[:8]}"
    parts = urlsplit(url)
    own = await asyncpg.connect(url)

    async def allow(number: int) -> None:
        await own.execute(f"ALTER ROLE {name} CONNECTION LIMIT {number}")

    try:
        owner = await own.fetchval("SELECT current_user")
        await own.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT {count} IN ROLE \"{owner}\""
        )
        host = parts.netloc.rpartition("@")[2]
        yield urlunsplit(parts._replace(netloc=f"{name}:{PASSWORD}@{host}")), allow
    finally:
        await own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", name)
        await own.execute(f"DROP ROLE IF EXISTS {name}")
        await own.close()
