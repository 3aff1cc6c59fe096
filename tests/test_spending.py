"""What an act takes of an allowance that people share: before its transaction, given back when it fails, and never locked meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from domain import budgets, database
from domain.budgets import Budget, NotTaken
from domain.errors import Allowance, LimitReached
from tests import locks, shared_rows
from tests.conftest import Clock
from tests.locks import Psql

PLENTY = Budget(allowance=Allowance.CODES, amount=1000, window_seconds=3600, is_shared=True)
TWENTY = Budget(allowance=Allowance.CODES, amount=20, window_seconds=3600, is_shared=True)
TEN = Budget(allowance=Allowance.CODES, amount=10, window_seconds=3600, is_shared=True)


class Refused(Exception):
    """Any refusal."""


@pytest_asyncio.fixture(autouse=True)
async def _still(clock: Clock) -> None:
    await clock.stop()


@pytest_asyncio.fixture
async def other(db: None, server_url: str) -> AsyncIterator[Psql]:
    """A connection of somebody else, who waits a second for a lock and no longer."""
    async with locks.psql(server_url, lock_timeout="1s") as connection:
        yield connection


async def used(key: str) -> int:
    """What was taken of a budget."""
    rows = await database.fetch("SELECT coalesce(sum(used), 0)::int AS n FROM budgets WHERE key = $1", key)
    return int(rows[0]["n"])


async def act(*, fails: bool = False) -> None:
    """Take one of ten, and one of plenty, for an act that may fail."""
    async with budgets.spending_all([("own", PLENTY), ("shared", TEN)]), database.transaction():
        await database.now()
        if fails:
            raise Refused


async def waiting(other: Psql, count: int) -> None:
    """Wait until so many statements wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(60):
        while await other.fetchval(query) < count:
            await asyncio.sleep(0.01)
            await other.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first


@pytest.mark.parametrize("left", [10, 3, 13])
async def test_of_40_acts_at_once_as_many_get_one_as_there_are_left(db: None, other: Psql, left: int) -> None:
    await budgets.take("own", PLENTY)
    await budgets.take("shared", TWENTY, 20 - left)
    wanted = [("own", PLENTY), ("shared", TWENTY)]

    async def take() -> None:
        async with budgets.spending_all(wanted), database.transaction():
            await database.now()

    async with other.transaction():  # until all connections have found that there is enough
        await other.execute("SELECT 1 FROM budgets WHERE key = 'own' FOR UPDATE")
        acts = [asyncio.create_task(take()) for _ in range(40)]
        await waiting(other, database.POOL_SIZE)
    answers = await asyncio.gather(*acts, return_exceptions=True)
    assert answers.count(None) == left
    assert sum(isinstance(answer, NotTaken) for answer in answers) == 40 - left
    assert (await used("own"), await used("shared")) == (1 + left, 20)


async def test_acts_that_fail_give_back_and_those_that_succeed_take_no_more_than_there_is(db: None) -> None:
    answers = await asyncio.gather(*(act(fails=bool(n % 2)) for n in range(40)), return_exceptions=True)
    done = answers.count(None)
    assert done <= 10
    assert (await used("own"), await used("shared")) == (done, done)
    left = await asyncio.gather(*(act() for _ in range(12)), return_exceptions=True)
    assert left.count(None) == 10 - done


async def test_takers_who_name_budgets_in_common_wait_in_no_circle_and_get_all_or_nothing(db: None) -> None:
    async def take(n: int) -> None:
        async with budgets.spending_all([(f"own:{n % 3}", TEN), (f"network:{n % 4}", TEN), ("day", TEN)]):
            pass

    answers = await asyncio.gather(*(take(n) for n in range(60)), return_exceptions=True)
    assert answers.count(None) == 10
    for name, count in (("own", 3), ("network", 4)):
        assert sum([await used(f"{name}:{n}") for n in range(count)]) == 10
    assert await used("day") == 10


async def test_more_than_one_is_given_back_as_it_was_taken(db: None) -> None:
    async def seven() -> None:
        async with budgets.spending("shared", TEN, 7):
            assert await used("shared") == 7
            raise Refused

    with pytest.raises(Refused):
        await seven()
    assert await used("shared") == 0
    with pytest.raises(LimitReached):
        async with budgets.spending("shared", TEN, 11):
            pytest.fail("there are ten")


async def test_what_was_taken_before_a_window_ended_is_given_back_to_that_window(db: None, clock: Clock) -> None:
    async def past_the_end() -> None:
        async with budgets.spending("shared", TEN):
            await clock.forward(hours=1)
            await budgets.take("shared", TEN)
            raise Refused

    with pytest.raises(Refused):
        await past_the_end()
    assert {row["used"] for row in await database.fetch("SELECT used FROM budgets WHERE key = 'shared'")} == {0, 1}
    assert (await budgets.used(["shared"]))["shared"][0] == 1


async def test_a_client_that_hangs_up_gets_back_what_its_act_took(db: None) -> None:
    begun = asyncio.Event()

    async def endless() -> None:
        async with budgets.spending("shared", TEN), database.transaction():
            begun.set()
            await database.fetch("SELECT pg_sleep(60)")

    task = asyncio.create_task(endless())
    await begun.wait()
    assert await used("shared") == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await used("shared") == 0


async def test_a_client_that_hangs_up_while_its_act_takes_gets_it_back(db: None, other: Psql) -> None:
    await act()
    async with other.transaction():
        await other.execute("SELECT 1 FROM budgets WHERE key = 'shared' FOR UPDATE")
        task = asyncio.create_task(act())
        await waiting(other, 1)
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await used("own"), await used("shared")) == (1, 1)


async def test_nothing_that_people_share_is_locked_while_an_act_is_under_way(db: None, other: Psql) -> None:
    async with budgets.spending("shared", TEN), database.transaction():
        await database.now()
        await other.execute("UPDATE budgets SET used = used + 1 WHERE key = 'shared'")
    assert await used("shared") == 2


async def test_what_people_share_is_not_taken_in_a_transaction(db: None) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="before a transaction"):
            await budgets.take("shared", TEN)
        with pytest.raises(RuntimeError, match="before a transaction"):
            await budgets.take_each(["shared"], TEN)
        with pytest.raises(RuntimeError, match="before a transaction"):
            async with budgets.spending("shared", TEN):
                pytest.fail("it is in a transaction")
    assert await used("shared") == 0


async def test_a_shared_row_that_is_locked_in_a_transaction_is_noticed(db: None) -> None:
    """What watches all acts in `test_replays.py` sees what it is to see."""
    own = Budget(allowance=Allowance.CODES, amount=10, window_seconds=3600)
    with shared_rows.watched() as found:
        await budgets.take("network:x", own)
        async with database.transaction():
            await budgets.take("resend:x", own)
            await budgets.take_each(["sign-in-mail:x"], own)
            assert found == []
            await budgets.take("network:x", own)
            await budgets.take_each(["day"], own)
            await database.execute("UPDATE code_stops SET ends_at = clock_now()")
    assert found == ["network:x", "day", "UPDATE code_stops SET ends_at = clock_now()"]


async def test_an_act_whose_commit_the_server_refuses_gives_back(db: None) -> None:
    await database.execute("CREATE TABLE later (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    try:
        with pytest.raises(asyncpg.UniqueViolationError):
            async with budgets.spending("shared", TEN), database.transaction():
                await database.execute("INSERT INTO later VALUES (1), (1)")
    finally:
        await database.execute("DROP TABLE later")
    assert await used("shared") == 0


async def test_an_act_that_may_have_been_committed_keeps_what_it_took(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever breaks the connection off at the right moment would have codes for nothing."""
    from tortoise.backends.asyncpg.client import TransactionWrapper

    commit = TransactionWrapper.commit
    after_rollback = []

    async def committed(self: TransactionWrapper) -> None:
        await commit(self)
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async def note() -> None:
        after_rollback.append(1)

    async def cut_off() -> None:
        async with budgets.spending("shared", TEN), database.transaction():
            database.after_rollback(note)
            await database.now()

    monkeypatch.setattr(TransactionWrapper, "commit", committed)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await cut_off()
    assert await used("shared") == 1
    assert after_rollback == []
