"""Turns are handed out in order, to begun work before new, and no more wait than may."""

import asyncio
import random

import pytest

from domain import turns
from domain.turns import Full, Turns


async def settle() -> None:
    """Let every task run up to where it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Tasks that take turns, and the order in which they got them."""

    def __init__(self, limit: int, max_new: int = 100) -> None:
        self.turns = Turns(limit, max_new=max_new)
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str, is_new: bool = True, is_first: bool = False) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._take(name, is_new=is_new, is_first=is_first))
            await asyncio.sleep(0)

    async def _take(self, name: str, *, is_new: bool, is_first: bool) -> None:
        await self.turns.take(is_new=is_new, is_first=is_first)
        self.order.append(name)

    async def give_back(self, count: int = 1) -> None:
        for _ in range(count):
            self.turns.give_back()
            await settle()


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    crowd = Crowd(2)
    await crowd.come("a", "b", "c", "d")
    assert crowd.order == ["a", "b"]
    crowd.turns.give_back()
    await crowd.come("newcomer")  # it asks before `c` has run again
    await settle()
    assert crowd.order == ["a", "b", "c"]
    await crowd.give_back(2)
    assert crowd.order == ["a", "b", "c", "d", "newcomer"]


async def test_begun_work_goes_before_new_work_and_whoever_had_a_turn_before_all() -> None:
    crowd = Crowd(1)
    await crowd.come("a", "new")
    await crowd.come("begun", is_new=False)
    await crowd.come("first of the begun", is_new=False, is_first=True)
    await crowd.come("first of the new", is_first=True)
    await crowd.give_back(4)
    assert crowd.order == ["a", "first of the begun", "begun", "first of the new", "new"]


async def test_new_work_is_turned_away_when_as_much_waits_as_may_and_begun_work_is_not() -> None:
    crowd = Crowd(1, max_new=2)
    await crowd.come("a", "b", "c", "d")
    await crowd.come("begun", is_new=False)
    with pytest.raises(Full):
        await crowd.tasks["d"]
    assert crowd.turns.waiting == 3
    await crowd.give_back(3)
    assert crowd.order == ["a", "begun", "b", "c"]


async def test_a_turn_that_comes_in_the_moment_in_which_its_owner_gives_up_goes_to_the_next() -> None:
    crowd = Crowd(1)
    await crowd.come("a", "b", "c")
    crowd.turns.give_back()  # it is `b`'s, who has not run yet
    crowd.tasks["b"].cancel()
    await settle()
    assert crowd.order == ["a", "c"]


async def test_whoever_gives_up_loses_nobody_a_turn() -> None:
    chance = random.Random(7)
    for _ in range(200):
        crowd = Crowd(3)
        await crowd.come(*(str(number) for number in range(20)))
        called_off = [name for name in crowd.tasks if chance.random() < 0.5]
        for name in chance.sample(called_off, len(called_off)):
            crowd.tasks[name].cancel()
            if crowd.turns.taken and chance.random() < 0.3:
                crowd.turns.give_back()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        while crowd.turns.taken:
            await crowd.give_back()
        async with asyncio.timeout(60):  # a turn that was lost is waited for in vain
            await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        assert (crowd.turns.taken, crowd.turns.waiting) == (0, 0)
        assert {name for name in crowd.tasks if not crowd.tasks[name].cancelled()} == set(crowd.order)


async def test_a_lowered_limit_holds_and_comes_back_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "GROW_SECONDS", 0.02)
    crowd = Crowd(5)
    crowd.turns.lower(0)
    assert (crowd.turns.limit, crowd.turns.is_lowered) == (1, True)
    await crowd.come("a", "b", "c", "d", "e", "f")
    assert crowd.order == ["a"]
    async with asyncio.timeout(30):
        await asyncio.gather(*(crowd.tasks[name] for name in "abcde"))
    assert crowd.order == ["a", "b", "c", "d", "e"]
    assert not crowd.turns.is_lowered
    crowd.tasks["f"].cancel()


async def test_what_can_be_had_after_all_is_handed_out_at_once() -> None:
    crowd = Crowd(5)
    crowd.turns.lower(1)
    await crowd.come("a", "b", "c", "d")
    crowd.turns.allow(3)
    await settle()
    assert crowd.order == ["a", "b", "c"]
    crowd.turns.allow(9)
    assert crowd.turns.limit == 5
