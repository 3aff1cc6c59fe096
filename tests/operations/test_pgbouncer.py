"""The product behind PgBouncer in transaction pooling: each transaction may have another process of the server than the one before."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from domain import database, database_start
from domain.database_connections import open_single
from domain.settings import SettingInvalid
from tests import processes
from tests.conftest import fresh_database
from tests.journey import Journey
from tests.operations import pgbouncer
from tests.parts import Parts, apis
from tests.test_database_start import connected, made

pytestmark = pytest.mark.operations
FEW = {"default_pool_size": "3", "reserve_pool_size": "0"}  # fewer processes of the server than there are clients
ROLE = "ALTER ROLE CURRENT_USER IN DATABASE"


async def test_it_is_found_out_and_statements_do_without_names(db: None, server_url: str) -> None:
    url = await fresh_database(server_url)
    assert not (await database_start.require(url)).is_pooled
    with pgbouncer.running(url, **FEW) as pooled:
        state = await database_start.require(pooled)
        assert state.is_pooled
        assert database_start._options(pooled, state) == {"statement_cache_size": 0}
        assert database_start._options(f"{pooled}?statement_cache_size=100", state) == {}


async def test_six_that_migrate_at_once_all_succeed_with_few_connections(server_url: str, tmp_path: Path) -> None:
    async with made(server_url) as url:
        with pgbouncer.running(url, **FEW) as pooled:
            settings = {"DATABASE_URL": pooled, "SECRET_KEYS": "k3y-0f-the-j0urney-test-9f8e7d6c5b4a"}
            done = await asyncio.gather(*(processes.run(tmp_path, settings, "migrate") for _ in range(6)))
        assert [(one.returncode, "Traceback" in one.stderr) for one in done] == [(0, False)] * 6, done
        async with connected(url) as one:
            rows = await one.fetch("SELECT name, count(*) AS times FROM tortoise_migrations GROUP BY name")
        assert {row["name"]: row["times"] for row in rows} == dict.fromkeys(database_start.wanted(), 1)


def test_the_whole_journey_goes_through_it(parts: Parts) -> None:
    with pgbouncer.running(parts.database_url, **FEW) as pooled, contextlib.ExitStack() as stack:
        through = replace(parts, database_url=pooled)
        servers = stack.enter_context(apis(through, 2))
        workers = [
            stack.enter_context(processes.started(parts.folder, f"worker{n}", "worker", settings=through.settings))
            for n in range(2)
        ]
        Journey([server.url for server in servers], parts.inbox).walk()
        for process in (*workers, *servers):
            assert process.stop() == 0
            assert "prepared statement" not in process.printed()
            assert "Traceback" not in process.printed()


async def test_limits_of_the_role_hold_where_the_pooler_drops_ours(server_url: str) -> None:
    async with made(server_url) as url:
        name = url.rpartition("/")[2]
        async with connected(url) as one:
            await one.execute(f"{ROLE} \"{name}\" SET lock_timeout = '2s'")
            await one.execute(f"{ROLE} \"{name}\" SET idle_in_transaction_session_timeout = '5s'")
        with pgbouncer.running(url) as pooled:
            ours = {"lock_timeout": "1s", "statement_timeout": "20s", "idle_in_transaction_session_timeout": "5s"}
            peers = {
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
                "tcp_user_timeout": "20s",
            }
            connection = await open_single(pooled, ours | peers)
            assert await connection.fetchval("SELECT current_setting('lock_timeout')") == "2s"
            assert await connection.fetchval("SELECT current_setting('idle_in_transaction_session_timeout')") == "5s"
            await connection.close()


async def test_a_pooler_that_refuses_a_setting_is_told_with_what_to_write_in_its_file(server_url: str) -> None:
    async with made(server_url) as url:
        with pgbouncer.running(url, ignore_startup_parameters="extra_float_digits") as pooled:
            with pytest.raises(asyncpg.PostgresError):
                await open_single(pooled, {"lock_timeout": "1s"})
            with pytest.raises(SettingInvalid) as refused:
                await database_start.look(f"{pooled}?options=-c%20lock_timeout%3D1s")
    assert "ignore_startup_parameters" in str(refused.value)
    assert "ALTER ROLE" in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_named_statements_are_what_breaks_without_it(db: None, server_url: str) -> None:
    """So the tests above would notice."""
    url = await fresh_database(server_url)
    with pgbouncer.running(url, **FEW) as pooled:
        connections = [await asyncpg.connect(pooled) for _ in range(8)]

        async def ask(connection: asyncpg.Connection) -> None:
            for number in range(20):
                await connection.fetch(f"SELECT {number % 5} + $1::int", 1)

        try:
            done = await asyncio.gather(*map(ask, connections), return_exceptions=True)
        finally:
            for connection in connections:
                connection.terminate()
    broken = [one for one in done if isinstance(one, asyncpg.PostgresError)]
    assert broken
    assert database.config(url)["connections"]["default"]["credentials"].get("statement_cache_size") is None
