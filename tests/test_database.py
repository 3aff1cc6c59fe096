"""The way to the database: what is committed and what is not, and a pool that stays whole whoever hangs up."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import asyncpg
import pytest
import pytest_asyncio
from tortoise.exceptions import IntegrityError

from domain import database, metrics
from domain.models import GuessCounter
from tests.conftest import STARTS_AT, Clock, database_url

ROUNDS = 60
TASKS = 2 * database.POOL_SIZE


async def put(key: str) -> None:
    """Write a row, in the transaction under way if there is one."""
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, 0, 0, clock_now())", key
    )


async def keys() -> set[str]:
    """What was written for good."""
    return {row["key"] for row in await database.fetch("SELECT key FROM guess_counters")}


class Refused(Exception):
    """Any refusal."""


async def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(db: None) -> None:
    async with database.transaction():
        await put("kept")
        await GuessCounter(key="kept by the models", failures=0, updated_at=await database.now()).save(
            force_create=True
        )
        assert await keys() == {"kept", "kept by the models"}

    async def refused() -> None:
        async with database.transaction():
            await put("dropped")
            await GuessCounter(key="dropped by the models", failures=0, updated_at=await database.now()).save(
                force_create=True
            )
            raise Refused

    with pytest.raises(Refused):
        await refused()
    assert await keys() == {"kept", "kept by the models"}


async def test_others_see_nothing_before_the_commit(db: None) -> None:
    written, seen = asyncio.Event(), asyncio.Event()

    async def writer() -> None:
        async with database.transaction():
            await put("new")
            written.set()
            await seen.wait()

    async def reader() -> set[str]:
        await written.wait()
        try:
            return await keys()
        finally:
            seen.set()

    _, before = await asyncio.gather(writer(), reader())
    assert before == set()
    assert await keys() == {"new"}


async def test_a_transaction_inside_another_is_refused_and_spoils_nothing(db: None) -> None:
    async with database.transaction():
        await put("outer")
        with pytest.raises(RuntimeError, match="inside another"):
            async with database.transaction():
                await put("inner")
        await put("after")
    assert await keys() == {"outer", "after"}
    async with database.transaction():
        await put("next")
    assert "next" in await keys()


async def test_what_waits_for_the_commit_runs_after_it_once_and_in_order(db: None) -> None:
    ran: list[str] = []
    first, second = (lambda: ran.append("first")), (lambda: ran.append("second"))
    async with database.transaction():
        for callback in (first, second, first):
            database.after_commit(callback)
        await put("row")
        assert ran == []
    assert ran == ["first", "second"]
    async with database.transaction():
        pass
    assert ran == ["first", "second"]


async def test_what_waits_for_a_commit_that_never_comes_does_not_run(db: None) -> None:
    ran: list[str] = []

    async def refused() -> None:
        async with database.transaction():
            database.after_commit(lambda: ran.append("refused"))
            raise Refused

    async def broken() -> None:
        async with database.transaction():
            database.after_commit(lambda: ran.append("broken"))
            await put("twice")
            await put("twice")

    with pytest.raises(Refused):
        await refused()
    with pytest.raises(IntegrityError):
        await broken()
    with pytest.raises(RuntimeError, match="no transaction"):
        database.after_commit(lambda: ran.append("outside"))
    assert ran == []


async def test_what_has_to_be_known_of_a_refusal_is_written_after_the_rollback(db: None) -> None:
    async def refused() -> None:
        async with database.transaction():
            await put("dropped")
            database.after_rollback(lambda: put("kept"))
            raise Refused

    with pytest.raises(Refused):
        await refused()
    assert await keys() == {"kept"}
    async with database.transaction():
        database.after_rollback(lambda: put("not wanted"))
        await put("committed")
    assert await keys() == {"kept", "committed"}
    with pytest.raises(RuntimeError, match="no transaction"):
        database.after_rollback(lambda: put("outside"))


async def test_what_cannot_be_written_after_a_rollback_is_counted_and_logged_without_its_values(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    before = metrics.REGISTRY.get_sample_value("practice_access_lost_writes_total")
    await put("secret@private.example")

    async def refused() -> None:
        async with database.transaction():
            database.after_rollback(lambda: put("secret@private.example"))
            database.after_rollback(lambda: put("next"))
            raise Refused

    with pytest.raises(Refused):
        await refused()
    assert await keys() == {"secret@private.example", "next"}
    assert metrics.REGISTRY.get_sample_value("practice_access_lost_writes_total") == (before or 0) + 1
    assert "IntegrityError" in caplog.text
    assert "private.example" not in caplog.text


async def test_what_runs_after_the_commit_may_open_a_transaction_of_its_own(db: None) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def later() -> None:
        async with database.transaction():
            await put("later")

    async with database.transaction():
        database.after_commit(lambda: tasks.append(asyncio.create_task(later())))
        await put("first")
    await asyncio.gather(*tasks)
    assert await keys() == {"first", "later"}


async def test_a_rule_that_refuses_a_row_is_told_by_name(db: None) -> None:
    await put("once")
    with pytest.raises(IntegrityError) as refused:
        await put("once")
    assert database.violated_constraint(refused.value) == "guess_counters_pkey"
    with pytest.raises(IntegrityError) as refused:
        await database.execute("UPDATE guess_counters SET failures = -1")
    assert database.violated_constraint(refused.value) == "ck_guess_counters_failures"
    with pytest.raises(IntegrityError) as refused:
        await GuessCounter(key="once", failures=0, updated_at=await database.now()).save(force_create=True)
    assert database.violated_constraint(refused.value) == "guess_counters_pkey"
    with pytest.raises(IntegrityError) as refused:
        await database.fetch("UPDATE guess_counters SET locks = -1 RETURNING key")
    assert database.violated_constraint(refused.value) == "ck_guess_counters_failures"
    assert database.violated_constraint(IntegrityError("something else")) == ""


async def test_a_statement_tells_how_many_rows_it_changed(db: None) -> None:
    for key in ("a", "b", "c"):
        await put(key)
    assert await database.execute("UPDATE guess_counters SET failures = 1 WHERE key <> $1", "a") == 2
    assert await database.execute("UPDATE guess_counters SET failures = 1 WHERE key = $1", "z") == 0
    assert await database.execute("DELETE FROM guess_counters") == 3
    assert await database.execute("SELECT 1 WHERE false") == 0
    assert await database.fetch_one("SELECT key FROM guess_counters") is None
    assert await database.fetch_one("SELECT 1 AS one") == {"one": 1}


async def test_what_was_typed_is_never_a_part_of_a_statement(db: None) -> None:
    hostile = "'; DROP TABLE users; -- $1 %s {} \\"
    await put(hostile)
    assert await keys() == {hostile}


async def test_there_is_one_clock_and_it_is_aware(clock: Clock) -> None:
    before = await database.now()
    assert before.tzinfo is not None
    assert timedelta(0) <= before - STARTS_AT < timedelta(minutes=10)
    await clock.forward(hours=2)
    assert 7190 < (await database.now() - before).total_seconds() < 7260


async def test_time_stands_still_within_a_transaction(db: None) -> None:
    async with database.transaction():
        before = await database.now()
        await asyncio.sleep(0.01)
        assert await database.now() == before


@pytest_asyncio.fixture
async def whole_pool(db: None, server_url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A check that every connection of the pool can be had and works, and that the server knows of none that was left."""
    own = await database.fetch("SELECT current_database() AS name")
    watcher = await asyncpg.connect(database_url(server_url, own[0]["name"]))

    async def check() -> None:
        barrier = asyncio.Barrier(database.POOL_SIZE)

        async def use() -> int:
            async with database.transaction():
                await barrier.wait()  # nobody goes on before everybody has a connection
                await put(f"{uuid.uuid4()}")
                row = await database.fetch_one("SELECT pg_backend_pid() AS pid")
            assert row is not None
            pid: int = row["pid"]
            return pid

        async with asyncio.timeout(60):
            pids = await asyncio.gather(*(use() for _ in range(database.POOL_SIZE)))
        assert len(set(pids)) == database.POOL_SIZE
        left = await watcher.fetch(
            "SELECT state, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        assert left == []

    yield check
    await watcher.close()


async def in_a_transaction(key: str) -> None:
    async with database.transaction():
        await put(key)
        await asyncio.sleep(0)
        await database.fetch("SELECT pg_sleep(0.001)")
        await put(f"{key} again")


async def in_a_refused_transaction(key: str) -> None:
    with suppress(Refused):
        async with database.transaction():
            await put(key)
            await database.fetch("SELECT pg_sleep(0.001)")
            raise Refused


async def in_a_statement(key: str) -> None:
    await put(key)


async def in_a_query(key: str) -> None:
    await database.fetch("SELECT pg_sleep(0.002)")


async def through_the_models(key: str) -> None:
    await GuessCounter(key=key, failures=0, updated_at=await database.now()).save(force_create=True)


KINDS = (in_a_transaction, in_a_refused_transaction, in_a_statement, in_a_query, through_the_models)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.fault("F21")
async def test_whoever_hangs_up_leaves_the_pool_whole(whole_pool: Callable[[], Awaitable[None]], seed: int) -> None:
    chance = random.Random(seed)
    cancelled = 0
    for round_ in range(ROUNDS):
        tasks = [asyncio.create_task(chance.choice(KINDS)(f"{round_} {number}")) for number in range(TASKS)]
        for task in chance.sample(tasks, TASKS // 2):
            await asyncio.sleep(chance.choice((0, 0, 0.0005, 0.001, 0.003)))
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)
        unexpected = [result for result in results if isinstance(result, Exception)]
        assert unexpected == []
    assert cancelled > ROUNDS
    await whole_pool()


async def test_a_cancelled_transaction_leaves_nothing_half_done(whole_pool: Callable[[], Awaitable[None]]) -> None:
    chance = random.Random(4)
    for round_ in range(ROUNDS):
        tasks = [asyncio.create_task(in_a_transaction(f"{round_} {number}")) for number in range(TASKS)]
        await asyncio.sleep(chance.random() * 0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    written = await keys()
    assert {key for key in written if not key.endswith("again")} == {
        key.removesuffix(" again") for key in written if key.endswith("again")
    }
    await whole_pool()


@pytest.mark.fault("F21")
async def test_more_transactions_than_connections_wait_for_their_turn(
    whole_pool: Callable[[], Awaitable[None]],
) -> None:
    await asyncio.gather(*(in_a_transaction(f"{number}") for number in range(5 * database.POOL_SIZE)))
    assert len(await keys()) == 10 * database.POOL_SIZE
    await whole_pool()
