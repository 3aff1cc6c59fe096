"""A pooler between this program and PostgreSQL: it is found out, and statements are not prepared under names.

Real ones are in tests/operations. Here something stands between that gives itself away as they do: it makes up the number of the
server's process.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import processes
from tests.conftest import TEST_KEYS, fresh_database
from tests.test_database_start import by_other

KEY_DATA = b"K" + struct.pack("!i", 12)  # BackendKeyData: the process's number and a secret follow
NAMED = b"__asyncpg_stmt"


@dataclass
class Between:
    """Passes everything on. asked: what clients sent."""

    host: str
    port: int
    is_pooler: bool
    asked: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)

        async def there() -> None:
            while piece := await reader.read(65_536):
                self.asked += piece
                far_writer.write(piece)

        async def back() -> None:
            while piece := await far_reader.read(65_536):
                start = piece.find(KEY_DATA)
                if self.is_pooler and start >= 0:
                    piece = piece[: start + 5] + struct.pack("!i", 4_711) + piece[start + 9 :]
                writer.write(piece)

        tasks = [asyncio.create_task(there()), asyncio.create_task(back())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        far_writer.close()
        writer.close()


@contextlib.asynccontextmanager
async def between(url: str, *, is_pooler: bool) -> AsyncIterator[tuple[str, Between]]:
    """The same database by another way, and what stands in it."""
    parts = urlsplit(url)
    found = Between(str(parts.hostname), parts.port or 0, is_pooler)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    try:
        yield by_other(url, port=str(server.sockets[0].getsockname()[1]), query="sslmode=disable"), found
    finally:
        server.close()


@pytest.mark.parametrize(
    ("is_pooler", "query", "is_named"), [(False, "", True), (True, "&statement_cache_size=100", True)]
)
async def test_statements_have_names_where_the_server_or_the_url_says_that_they_are_kept(
    db: None, server_url: str, tmp_path: Path, is_pooler: bool, query: str, is_named: bool
) -> None:
    async with between(await fresh_database(server_url), is_pooler=is_pooler) as (url, seen):
        assert "behind a pooler" not in await looked(tmp_path, url + query) or is_pooler
        assert (NAMED in seen.asked) == is_named


async def test_statements_have_no_names_where_the_next_transaction_may_run_in_another_process(
    db: None, server_url: str, tmp_path: Path
) -> None:
    async with between(await fresh_database(server_url), is_pooler=True) as (url, seen):
        assert "behind a pooler" in await looked(tmp_path, url)
        assert len(seen.asked) > 1_000
        assert NAMED not in seen.asked


async def looked(folder: Path, url: str) -> str:
    """What `doctor` says, which opens the pool as every command does."""
    done = await processes.run(folder, {"DATABASE_URL": url, "SECRET_KEYS": ",".join(TEST_KEYS)}, "doctor")
    assert done.returncode == 0, done.stderr
    return done.stdout
