"""/readyz says whether this process can serve: it asks the database itself, and answers whatever the database does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from domain import readiness
from domain.readiness import Database, NotReady
from domain.settings import Settings
from graph import health
from graph.app import create_app
from graph.health import Check
from tests.conftest import fresh_database
from tests.crowded import all_taken
from tests.databases import database_url
from tests.servers import few


@contextlib.asynccontextmanager
async def asking(url: str) -> AsyncIterator[Database]:
    """A check of that database, which answers within a time that a machine under load keeps too."""
    async with contextlib.aclosing(Database(url)) as asked, asyncio.timeout(60):
        yield asked


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def until(connection: asyncpg.Connection, statement: str, value: int) -> None:
    """Wait until a statement answers so."""
    while await connection.fetchval(statement) != value:
        await connection.execute("SELECT pg_sleep(0.01)")


async def test_a_migrated_database_that_can_be_written_is_ready(server_url: str) -> None:
    async with asking(await fresh_database(server_url)) as asked:
        await asked.check()
        await asked.check()


async def test_a_database_that_becomes_read_only_is_not_ready_until_it_can_be_written_again(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await fresh_database(server_url)
    monkeypatch.setattr(readiness, "RENEW_SECONDS", 0.0)  # old connections keep the setting that they began with
    async with asking(url) as asked, connected(url) as other:
        name = await other.fetchval("SELECT current_database()")
        await asked.check()
        await other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        with pytest.raises(NotReady, match="read-only"):
            await asked.check()
        await other.execute("SET default_transaction_read_only = off")
        await other.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await asked.check()


async def test_a_connection_is_renewed_so_that_a_standby_behind_the_same_name_is_noticed(server_url: str) -> None:
    url = await fresh_database(server_url)
    async with asking(url) as asked:
        await asked.check()
        first = asked._connection
        await asked.check()
        assert asked._connection is first
        asked._connected_at -= readiness.RENEW_SECONDS
        await asked.check()
        assert asked._connection is not first


async def test_a_database_that_is_half_migrated_or_not_at_all_is_not_ready(server_url: str) -> None:
    url = await fresh_database(server_url)
    async with asking(url) as asked, connected(url) as other:
        row = await other.fetchrow(
            "DELETE FROM tortoise_migrations WHERE id = (SELECT max(id) FROM tortoise_migrations) RETURNING *"
        )
        with pytest.raises(NotReady, match=str(row["name"])):
            await asked.check()
    name = f"empty_{row['id']}_{id(row)}"
    async with connected(server_url) as server:
        await server.execute(f'CREATE DATABASE "{name}"')
        try:
            async with asking(database_url(server_url, name)) as asked:
                with pytest.raises(NotReady, match="not migrated"):
                    await asked.check()
        finally:
            await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_a_pool_that_is_used_up_changes_nothing(server_url: str, db: None) -> None:
    async with all_taken(), asking(await fresh_database(server_url)) as asked:
        await asked.check()


async def test_a_lock_in_the_way_is_told_in_time_and_many_who_ask_put_one_question(server_url: str) -> None:
    url = await fresh_database(server_url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asking(url) as asked, connected(url) as other, connected(url) as watcher:
        await asked.check()
        async with other.transaction():
            await other.execute("LOCK TABLE tortoise_migrations IN ACCESS EXCLUSIVE MODE")
            checks = asyncio.gather(*(asked.check() for _ in range(50)), return_exceptions=True)
            await until(watcher, waiting, 1)
            assert await watcher.fetchval(waiting) == 1
            answers = await checks
            assert {type(answer) for answer in answers} == {NotReady}
            await until(watcher, waiting, 0)  # no question is left behind on the server
        while asked._question is not None:  # whoever joins it is told what it is told
            await watcher.execute("SELECT pg_sleep(0.01)")
        await asked.check()


async def test_a_connection_that_was_cut_is_replaced_and_nobody_notices(server_url: str) -> None:
    url = await fresh_database(server_url)
    async with asking(url) as asked, connected(url) as other:
        await asked.check()
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asked.check()


async def test_a_database_that_says_nothing_or_is_not_there_is_told_in_time() -> None:
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(3600), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    url = f"postgres://nobody:x@127.0.0.1:{port}/none?sslmode=disable"
    async with asking(url) as asked:
        for _ in range(2):
            with pytest.raises(NotReady, match="does not answer"):
                await asked.check()
    silent.close()
    async with asking(url) as asked:
        with pytest.raises(NotReady, match="cannot be asked"):
            await asked.check()


async def test_a_server_without_room_for_the_check_is_asked_over_the_connections_that_there_are(
    server_url: str, db: None
) -> None:
    async with few.connections(server_url, 0) as (url, _), asking(url) as asked:
        await asked.check()


# -- what the health check answers --------------------------------------------------------------------------------------------


async def ready() -> None:
    """As it should be."""


async def read_only() -> None:
    raise NotReady("The database is read-only.")


async def broken() -> None:
    raise RuntimeError("postgres://user:secret@host")


async def hanging() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("check", "note", "status", "problems"),
    [
        (ready, ready, 200, {}),
        (read_only, ready, 503, {"database": "The database is read-only."}),
        (broken, ready, 503, {"database": "It does not answer as it should (RuntimeError)."}),
        (hanging, ready, 503, {"database": "It does not answer as it should (TimeoutError)."}),
        (ready, broken, 200, {"broker": "It does not answer as it should (RuntimeError)."}),
        (ready, hanging, 200, {"broker": "It does not answer as it should (TimeoutError)."}),
    ],
)
async def test_the_check_says_what_is_wrong_and_what_can_be_done_without(
    app_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    check: Check,
    note: Check,
    status: int,
    problems: dict[str, str],
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    app = create_app(app_settings, checks={"database": check}, notes={"broker": note})
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        answer = await client.get("/readyz")
    assert answer.status_code == status
    assert answer.json() == {
        "status": "ready" if status == 200 else "not ready",
        "parts": {
            "database": "not ready" if "database" in problems else "ready",
            "broker": "degraded" if "broker" in problems else "ready",
        },
        "problems": problems,
    }
    assert "secret" not in answer.text
