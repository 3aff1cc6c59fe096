"""Requests and the database's connections: they wait in order and for a bounded time, and what does not fit is told at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from domain import database, pool
from domain.errors import Busy
from domain.models import GuessCounter
from domain.models.columns import uuid7
from domain.pool import FairPool
from domain.readiness import Database
from tests.conftest import database_url
from tests.crowded import all_taken, locked
from tests.servers import few
from tests.test_database import keys, put
from tests.test_postmark import caller, event, tell
from tests.world import Api, World

__all__ = ["caller"]  # a fixture

TILE = "{ usersTile { activeCount } }"


@contextlib.asynccontextmanager
async def opened(url: str, size: int) -> AsyncIterator[FairPool]:
    """A pool that has no connection yet."""
    options: dict[str, Any] = {"min_size": 0, "max_size": size, "connection_class": asyncpg.Connection, "loop": None}
    made = FairPool(**pool.DEFAULTS, **options, **asked(url))
    await made
    try:
        yield made
    finally:
        await asyncio.wait_for(made.close(), 60)


def asked(url: str) -> dict[str, Any]:
    """How asyncpg is told where the database is."""
    return {
        key: value
        for key, value in database.config(url)["connections"]["default"]["credentials"].items()
        if key in {"connect", "server_settings"}
    }


async def ask(some: FairPool, *, is_request: bool = True) -> str:
    """A request of one statement; the word for how it ended."""
    with pool.one_request() if is_request else contextlib.nullcontext():
        return await statement(some)


async def until_waiting(some: FairPool, count: int) -> None:
    """Wait until so many wait for a connection."""
    while some.use().waiting != count:  # noqa: ASYNC110 -- the pool tells nobody
        await asyncio.sleep(0.01)


async def statement(some: FairPool) -> str:
    """One statement; the word for how it ended."""
    try:
        async with some.acquire() as connection:
            await connection.fetchval("SELECT pg_sleep(0.01)")
    except Busy:
        return "busy"
    return "answered"


@pytest.mark.fault("F46")
async def test_two_hundred_requests_at_a_locked_table_wait_or_are_told_to_and_the_process_stays_ready(
    world: World, api: Api, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await world.practice()).administrator.session
    own = await database.fetch("SELECT current_database() AS name")
    monkeypatch.setattr(pool, "NEW_SECONDS", 0.5)
    health = Database(database_url(server_url, own[0]["name"]))
    async with locked(server_url, "sessions"):
        asked = [asyncio.create_task(api.post(TILE, token=session)) for _ in range(200)]
        done: set[asyncio.Task[Any]] = set()
        while len(done) < 200 - database.POOL_SIZE:
            found, _ = await asyncio.wait(set(asked) - done, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            assert found
            done |= found
        use = database.pool_use()
        assert use is not None
        assert (use.used, use.waiting) == (database.POOL_SIZE, 0)
        await health.check()
    answers = await asyncio.gather(*asked)
    await health.aclose()
    codes = [answer["errors"][0]["extensions"]["code"] for answer in answers if "errors" in answer]
    assert set(codes) == {"RATE_LIMITED"}
    assert len(codes) == 200 - database.POOL_SIZE
    assert "errors" not in await api.post(TILE, token=session)


async def test_more_than_may_wait_are_told_at_once(
    world: World, api: Api, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await world.practice()).administrator.session
    monkeypatch.setattr(pool, "NEW_SECONDS", 3600)  # nobody has waited too long
    before = database.pool_use()
    fit = database.POOL_SIZE * (1 + pool.WAITING_PER_CONNECTION)
    async with locked(server_url, "sessions"):
        asked = [asyncio.create_task(api.post(TILE, token=session)) for _ in range(fit + 5)]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        while len(refused) < 5:
            more, _ = await asyncio.wait(set(asked) - refused, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            assert more
            refused |= more
    answers = await asyncio.gather(*asked)
    after = database.pool_use()
    assert before is not None
    assert after is not None
    assert after.refused["full"] == before.refused["full"] + 5
    assert sum("errors" in answer for answer in answers) == 5
    assert {one.result()["errors"][0]["extensions"]["code"] for one in refused} == {"RATE_LIMITED"}


async def test_a_request_that_has_begun_is_not_turned_away_halfway(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guess is counted by one statement and compared after it. Between them all connections may be taken by others."""
    monkeypatch.setattr(pool, "NEW_SECONDS", 0.0)  # whoever has to wait and has not begun is turned away
    counted, is_full = asyncio.Event(), asyncio.Event()

    async def request(some: FairPool) -> list[str]:
        with pool.one_request():
            first = await statement(some)
            counted.set()
            await is_full.wait()
            return [first, await statement(some)]

    async with opened(server_url, 1) as some, asyncio.timeout(60):
        begun = asyncio.create_task(request(some))
        await counted.wait()
        async with some.acquire():
            is_full.set()
            assert await ask(some) == "busy"
            await until_waiting(some, 1)
            assert not begun.done()
        assert await begun == ["answered", "answered"]
        assert await ask(some) == "answered"


async def test_whoever_gets_no_connection_is_told_so_in_the_form_that_they_know(
    world: World, api: Api, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await world.practice()).administrator.session
    monkeypatch.setattr(pool, "NEW_SECONDS", 0.0)
    headers = {"authorization": f"Bearer {session}"}
    newer = {"accept": "application/graphql-response+json"}
    async with all_taken():
        older_answer = await api.client.post("/graphql", json={"query": TILE}, headers=headers)
        newer_answer = await api.client.post("/graphql", json={"query": TILE}, headers=headers | newer)
        assert await tell(caller, event(uuid7(), "Delivery")) == 503  # Postmark comes again
    assert (older_answer.status_code, newer_answer.status_code) == (200, 503)
    assert newer_answer.headers["retry-after"] == "1"
    for answer in (older_answer, newer_answer):
        [error] = answer.json()["errors"]
        assert error["message"] == "There is too much to do right now. Try again in a moment."
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert datetime.fromisoformat(error["extensions"]["retryAt"]) > datetime.now(UTC).replace(microsecond=0)


async def test_what_is_asked_within_a_transaction_waits_for_nobody(db: None) -> None:
    """As many transactions as there are connections, each with every kind of statement: one that asked for a second would hang."""
    barrier = asyncio.Barrier(database.POOL_SIZE)

    async def act(number: int) -> None:
        with pool.one_request():
            async with database.transaction():
                await barrier.wait()
                await put(f"{number}")
                await database.fetch("SELECT 1")
                await asyncio.gather(database.fetch("SELECT 2"), asyncio.create_task(database.fetch("SELECT 3")))
                counter = GuessCounter(key=f"{number} by the models", failures=0, updated_at=await database.now())
                await counter.save(force_create=True)
                assert await GuessCounter.filter(key=f"{number} by the models").count() == 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(act(number) for number in range(database.POOL_SIZE)))
    assert len(await keys()) == 2 * database.POOL_SIZE


@pytest.mark.fault("F46")
async def test_where_the_server_has_no_room_for_more_requests_wait_for_the_connections_that_there_are(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for one that is being opened when the others are refused: each round begins with no connection at all."""
    monkeypatch.setattr(pool, "NEW_SECONDS", 60.0)
    async with few.connections(server_url, 2) as (url, _):
        for _ in range(5):
            async with opened(url, 10) as some:
                async with asyncio.timeout(60):
                    answers = await asyncio.gather(*(ask(some) for _ in range(60)))
                assert answers == ["answered"] * 60
                assert 1 <= some.use().open <= 2  # the server may not have noticed yet that the last round's are closed
                assert set(some.use().refused.values()) == {0}


@pytest.mark.fault("F46")
async def test_where_the_server_has_no_room_at_all_everybody_is_told_and_it_heals(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with few.connections(server_url, 0) as (url, allow), opened(url, 4) as some:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(ask(some) for _ in range(30)), ask(some, is_request=False))
        assert answers == ["busy"] * 31
        assert some.use().refused == {"full": 0, "late": 0, "no_connection": 31}
        await allow(4)
        async with asyncio.timeout(60):
            assert await asyncio.gather(*(ask(some) for _ in range(30))) == ["answered"] * 30
            while some.use().open < 4:
                await asyncio.gather(*(ask(some) for _ in range(8)))


async def test_a_database_that_takes_the_connection_and_says_nothing_holds_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(pool, "NEW_SECONDS", 0.2)
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(3600), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with opened(f"postgres://nobody:x@127.0.0.1:{port}/none?sslmode=disable", 2) as some, asyncio.timeout(60):
        assert await asyncio.gather(*(ask(some) for _ in range(10))) == ["busy"] * 10
    silent.close()
