"""Every connection carries limits. Whoever meets one is told to come again, nothing is half done, and a worker tries again by itself."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import Response
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext

from domain import budgets, connection_limits, database, outbox, upgrading
from domain.budgets import Budget
from domain.errors import Allowance
from domain.models.columns import DeliveryStatus
from domain.outbox import Outcome
from graph.limits import Schema, extensions
from graph.view import View
from tests import locks
from tests.locks import Psql, connected, own_url
from tests.test_delivery import rows, signed_up
from tests.test_graphql_over_http import Query
from tests.world import Api, World, document
from workers.settler import Settler

TEN = Budget(allowance=Allowance.CODES, amount=10, window_seconds=3600, is_shared=True)
IN_FORCE = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"
DAY = "SELECT coalesce(sum(used), 0)::int AS n FROM budgets WHERE key = 'codes:staff:day:SMS'"


@pytest_asyncio.fixture
async def psql(db: None, server_url: str) -> AsyncIterator[Psql]:
    """Somebody's own connection to the database."""
    async with locks.psql(server_url) as connection:
        yield connection


async def in_force() -> dict[str, str]:
    """The limits of a connection, as the server has them: in milliseconds, and in seconds where it is kept alive."""
    found = await database.fetch(IN_FORCE, [*connection_limits.SERVER_SETTINGS, "statement_timeout"])
    return {row["name"]: row["setting"] for row in found}


async def test_a_connection_asks_the_server_for_limits_and_keeps_them_from_use_to_use(
    db: None, server_url: str
) -> None:
    async with connected(server_url):
        for _ in range(2):
            assert await in_force() == {
                "lock_timeout": "2000",
                "idle_in_transaction_session_timeout": "5000",
                "statement_timeout": "20000",
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
                "tcp_user_timeout": "20000",
            }
            await database.execute("SET lock_timeout = 0")


async def test_a_connection_by_way_of_pgbouncer_has_limits_in_each_transaction(db: None, server_url: str) -> None:
    url = f"{await own_url(server_url)}?statement_cache_size=0"
    async with TortoiseContext() as context:
        await context.init(database.config(url))
        for _ in range(2):
            assert (await in_force())["lock_timeout"] == "0", "PgBouncer takes no connection that asks for it"
            async with database.transaction():
                found = await in_force()
            assert (found["lock_timeout"], found["idle_in_transaction_session_timeout"]) == ("2000", "5000")


async def test_this_end_of_a_connection_notices_too_that_the_other_is_gone(db: None) -> None:
    async with get_connection("default").acquire_connection() as connection:
        own = connection._transport.get_extra_info("socket")
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10


async def test_what_an_operator_says_of_statements_moves_the_servers_limit_with_it() -> None:
    config = database.config("postgres://localhost/name?command_timeout=60")
    assert config["connections"]["default"]["credentials"]["server_settings"]["statement_timeout"] == "65000ms"


async def test_a_migration_may_take_hours_and_waits_for_no_lock_as_long(db: None, server_url: str) -> None:
    url = await own_url(server_url)
    async with TortoiseContext() as context:
        await context.init(database.config(url, **upgrading.CONNECTIONS))
        async with database.transaction():
            await get_connection("default").execute_script(upgrading.LIMITS)
            limits = await in_force()
    assert (limits["idle_in_transaction_session_timeout"], limits["statement_timeout"]) == ("0", "0")
    assert (limits["lock_timeout"], limits["tcp_user_timeout"]) == ("1000", "20000")


async def test_an_act_that_waits_for_somebodys_lock_is_told_when_to_come_again_and_can(
    world: World, api: Api, psql: Psql, server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    values = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    other = await world.joined(practice, "mary@clinic.example")
    await api.do("sendSecurityCode", {"challengeToken": await world.challenged(other), "channel": "SMS"})
    before = await psql.fetchval(DAY)
    async with connected(server_url, lock_timeout="100ms"):
        for held in (
            "SELECT 1 FROM budgets WHERE key = 'codes:staff:day:SMS' FOR UPDATE",  # before the act's transaction
            "SELECT 1 FROM users FOR UPDATE",  # in it
            "SELECT 1 FROM audit_chains FOR UPDATE",  # at its commit
        ):
            async with psql.transaction():
                await psql.execute(held)
                answer = await api.post(document("sendSecurityCode"), {"input": values})
            [error] = answer["errors"]
            assert error["extensions"]["code"] == "RATE_LIMITED", held
            assert error["extensions"]["retryAt"], held
            assert set(error["extensions"]) == {"code", "retryAt"}
            assert await psql.fetchval(DAY) == before, held
        assert "Incident" not in caplog.text
        assert (await api.do("sendSecurityCode", values))["__typename"] == "SecurityCodeSent"
        assert await psql.fetchval(DAY) == before + 1


async def test_a_request_whose_session_cannot_be_looked_up_for_a_lock_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def context(request: Request, response: Response) -> None:
        raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")

    async def nothing(*_: object) -> None:
        pass

    view = View(Schema(Query, extensions=extensions(introspection=False)), context=context, after=nothing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=view)) as client:
        response = await client.post("http://testserver/", json={"query": "{ __typename }"})
    [error] = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (200, "RATE_LIMITED")
    assert "Incident" not in caplog.text


async def test_a_process_that_stood_still_for_too_long_learns_that_its_act_was_undone(
    db: None, server_url: str
) -> None:
    async def frozen() -> None:
        async with budgets.spending("shared", TEN), database.transaction():
            await database.execute(
                "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ('x', 0, 0, clock_now())"
            )
            time.sleep(0.8)  # noqa: ASYNC251 -- all of the process stands still

    async with connected(server_url, idle_in_transaction_session_timeout="100ms"):
        with pytest.raises(asyncpg.PostgresError) as raised:
            await frozen()
        assert database.has_hit_a_limit(raised.value)
        assert await database.fetch("SELECT 1 FROM guess_counters") == []
        assert (await budgets.used(["shared"]))["shared"][0] == 0


async def test_what_a_worker_cannot_write_down_for_a_lock_it_writes_down_later(
    db: None, psql: Psql, server_url: str
) -> None:
    await signed_up("ann@example.com")
    [row] = await outbox.claim(outbox.LANE_URGENT, at_most=10, lease_seconds=30)
    settler = Settler()
    done = asyncio.Event()
    async with connected(server_url, lock_timeout="50ms"):
        settler.add(Outcome(row=row, status=DeliveryStatus.SENT, recipient="ann@example.com"), done.set)
        async with psql.transaction():
            await psql.execute("SELECT 1 FROM deliveries FOR UPDATE")
            running = asyncio.create_task(settler.run())
            async with asyncio.timeout(60):
                while not settler.is_behind:  # noqa: ASYNC110 -- it tells nobody
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            await done.wait()
        running.cancel()
    assert [row["status"] for row in await rows()] == ["SENT"]
