"""Allowances in a window of time: nobody takes more than there is, and a new window begins at its moment."""

import asyncio
from datetime import datetime, timedelta

import pytest

from domain import budgets, code_budgets, database
from domain.budgets import Budget, Taken
from domain.errors import Allowance, LimitReached
from tests.conftest import Clock

KEY = "invitations:elm"
BUDGET = Budget(allowance=Allowance.INVITATIONS, amount=10, window_seconds=3600)


async def used(key: str = KEY) -> int:
    """What was taken, in all windows together."""
    row = await database.fetch_one("SELECT coalesce(sum(used), 0)::int AS used FROM budgets WHERE key = $1", key)
    assert row is not None
    return int(row["used"])


async def refused(amount: int = 1, key: str = KEY, budget: Budget = BUDGET) -> datetime:
    """The end of the window that has not enough left."""
    before = await used(key)
    with pytest.raises(LimitReached) as reached:
        await budgets.take(key, budget, amount)
    assert reached.value.allowance is budget.allowance
    assert await used(key) == before
    return reached.value.retry_at


async def at_the_start_of_a_window(clock: Clock, budget: Budget = BUDGET) -> datetime:
    """Let time pass up to one second after the next window begins; its end."""
    seconds = budget.window_seconds - (await database.now()).timestamp() % budget.window_seconds
    await clock.forward(seconds=seconds + 1)
    return await database.now() + timedelta(seconds=budget.window_seconds)


async def test_of_50_who_take_one_at_once_as_many_get_it_as_there_are(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    answers = await asyncio.gather(*(budgets.take(KEY, BUDGET) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(answer, Taken) for answer in answers) == 10
    assert sum(isinstance(answer, LimitReached) for answer in answers) == 40
    assert await used() == 10


async def test_of_50_who_take_three_at_once_three_get_them(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    answers = await asyncio.gather(*(budgets.take(KEY, BUDGET, 3) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(answer, Taken) for answer in answers) == 3
    assert await used() == 9
    await budgets.take(KEY, BUDGET, 1)
    await refused()


async def test_more_than_there_is_takes_nothing(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    await refused(11)
    assert await used() == 0
    await budgets.take(KEY, BUDGET, 8)
    await refused(3)
    await budgets.take(KEY, BUDGET, 2)
    await refused(1)
    assert await used() == 10


async def test_keys_have_allowances_of_their_own(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    await budgets.take(KEY, BUDGET, 10)
    await refused()
    await budgets.take("invitations:oak", BUDGET, 10)


async def test_a_new_window_begins_at_the_moment_that_was_told(clock: Clock) -> None:
    ends = await at_the_start_of_a_window(clock)
    await budgets.take(KEY, BUDGET, 10)
    retry_at = await refused()
    assert retry_at.tzinfo is not None
    assert retry_at.timestamp() % BUDGET.window_seconds == 0
    assert timedelta() < ends - retry_at < timedelta(seconds=5)
    await clock.forward(seconds=(retry_at - await database.now()).total_seconds() - 10)
    assert await refused() == retry_at
    await clock.forward(seconds=10)
    await budgets.take(KEY, BUDGET, 10)
    assert await refused() == retry_at + timedelta(seconds=BUDGET.window_seconds)


async def test_windows_begin_for_everybody_at_the_same_moments(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    await budgets.take(KEY, BUDGET, 10)
    first = await refused()
    await clock.forward(minutes=20)
    await budgets.take("invitations:oak", BUDGET, 10)
    assert await refused(key="invitations:oak") == first


async def test_what_a_rolled_back_act_took_is_there_again(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)

    async def act() -> None:
        async with database.transaction():
            await budgets.take(KEY, BUDGET, 9)
            await budgets.take(KEY, BUDGET, 2)

    with pytest.raises(LimitReached):
        await act()
    assert await used() == 0
    async with database.transaction():
        await budgets.take(KEY, BUDGET, 9)
    assert await used() == 9


async def test_acts_under_way_at_once_take_no_more_than_there_is(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)

    async def act(number: int) -> None:
        async with database.transaction():
            await budgets.take(KEY, BUDGET)
            await asyncio.sleep(0.001)
            if number % 2:
                raise RuntimeError("this act comes to nothing")

    answers = await asyncio.gather(*(act(number) for number in range(50)), return_exceptions=True)
    assert answers.count(None) == 10
    assert await used() == 10


async def test_what_turned_out_not_to_count_is_given_back(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    await budgets.take(KEY, BUDGET, 7)
    taken = await budgets.take(KEY, BUDGET, 3)
    await budgets.give_back(taken)
    assert await used() == 7
    await budgets.take(KEY, BUDGET, 3)
    await refused()


async def test_no_more_can_be_given_back_than_was_taken(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    taken = await budgets.take(KEY, BUDGET)
    await asyncio.gather(*(budgets.give_back(taken) for _ in range(20)))
    assert await used() == 0
    await budgets.take(KEY, BUDGET, 10)
    await refused()


async def test_what_was_taken_in_one_window_is_not_given_back_to_the_next(clock: Clock) -> None:
    await at_the_start_of_a_window(clock)
    taken = await budgets.take(KEY, BUDGET)
    await clock.forward(hours=1)
    await budgets.take(KEY, BUDGET, 10)
    await budgets.give_back(taken)
    await refused()


ALL = [value for module in (budgets, code_budgets) for value in vars(module).values() if isinstance(value, Budget)]


@pytest.mark.parametrize("budget", ALL, ids=repr)
async def test_every_budget_in_use_can_be_used_up_and_comes_back(clock: Clock, budget: Budget) -> None:
    assert len(ALL) >= 8
    await at_the_start_of_a_window(clock, budget)
    await budgets.take(KEY, budget, budget.amount)
    await refused(budget=budget)
    await clock.forward(seconds=budget.window_seconds)
    await budgets.take(KEY, budget, budget.amount)
