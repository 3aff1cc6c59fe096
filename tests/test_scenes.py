"""What was arranged before is put back as it was: the same rows, as far from now, and only where nothing else was done in between."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from domain import audit_chain, budgets, database
from domain.actors import operator
from domain.errors import Allowance, LimitReached
from tests.conftest import Clock, database_url
from tests.world import Api, Person, PracticeWorld, World

VIEWER = "{ viewer { id email } usersTile { activeCount } }"


async def everything() -> dict[str, list[str]]:
    """The rows of each table that has any, as text without what depends on the time."""
    found: dict[str, list[str]] = {}
    for table in await database.fetch("SELECT name FROM scenes.tables ORDER BY name"):
        rows = await database.fetch(f"SELECT to_jsonb(t) - 'hash' AS row FROM public.\"{table['name']}\" t")
        if rows:
            found[table["name"]] = sorted(_timeless(json.loads(row["row"])) for row in rows)
    return found


def _timeless(row: dict[str, Any]) -> str:
    return str(sorted((name, value) for name, value in row.items() if not _is_moment(value)))


def _is_moment(value: object) -> bool:
    return isinstance(value, str) and value.startswith("20") and "T" in value


async def arranged(world: World) -> tuple[PracticeWorld, Person]:
    practice = await world.practice("Birch Street Practice")
    return practice, await world.joined(practice, "grace@birch.example")


async def kept(world: World, arrange: Callable[[World], Awaitable[Any]] = arranged) -> None:
    """Arrange often enough that it is put back the next time."""
    assert world.scenes is not None
    for _ in range(4):
        await world.start_over()
        await arrange(world)
    before = world.scenes.skipped
    await world.start_over()
    await arrange(world)
    assert world.scenes.skipped > before
    await world.start_over()


async def test_the_same_is_there_whether_it_was_arranged_or_put_back(world: World, api: Api) -> None:
    await kept(world)
    assert world.scenes is not None
    before = world.scenes.skipped
    practice, grace = await arranged(world)
    assert world.scenes.skipped == before + 2
    put_back, sent, number = await everything(), [one.content.recipient for one in world.mail.sent], world.number()
    answer = await api.query(VIEWER, token=grace.session)
    assert answer == {"viewer": {"id": grace.id, "email": "grace@birch.example"}, "usersTile": {"activeCount": 2}}
    scenes, world.scenes = world.scenes, None
    await scenes.empty()
    world.mail.sent.clear()
    world._numbered = 99
    again, other = await arranged(world)
    assert (again.name, other.email, other.phone) == (practice.name, grace.email, grace.phone)
    assert [one.content.recipient for one in world.mail.sent] == sent
    assert world.number() == number
    taken = await everything()
    assert {name: len(rows) for name, rows in taken.items()} == {name: len(rows) for name, rows in put_back.items()}


async def test_what_is_put_back_is_as_young_as_it_was_and_the_audit_trail_is_whole(
    world: World, api: Api, clock: Clock
) -> None:
    await kept(world)
    first: dict[str, Any] = {}
    for days in (0, 40):
        await clock.forward(days=days)
        practice, grace = await arranged(world)
        ages = await database.fetch(
            "SELECT 'user' AS kind, clock_now() - created_at AS age FROM users WHERE id = $1"
            " UNION SELECT 'trial', clock_now() - trial_ends_at + interval '14 days' FROM subscriptions"
            " UNION SELECT 'session', clock_now() - created_at FROM sessions WHERE user_id = $1",
            grace.row_id,
        )
        assert {row["kind"] for row in ages} == {"user", "trial", "session"}
        assert all(timedelta(0) <= row["age"] < timedelta(minutes=5) for row in ages), ages
        rows = await everything()
        assert first in ({}, rows)
        first = rows
        assert (await api.query(VIEWER, token=practice.administrator.session))["viewer"]["email"]
        for chain in await audit_chain.chains(operator("root")):
            report = await audit_chain.verify(operator("root"), chain)
            assert (report.broken, report.events > 0) == (None, True)
        await world.start_over()


@pytest.mark.parametrize("how", ["sql", "api", "another connection", "clock", "stopped clock"])
async def test_whatever_happens_in_between_makes_that_the_next_step_is_taken(
    world: World, api: Api, clock: Clock, server_url: str, how: str
) -> None:
    await kept(world)
    practice = await world.practice("Birch Street Practice")
    assert world.scenes is not None
    before = world.scenes.skipped
    if how == "sql":
        await database.execute("UPDATE practices SET specialty = 'Surgery'")
    elif how == "api":
        await api.query("{ practiceAccessCode { code } }", token=practice.administrator.session)
    elif how == "clock":
        await clock.forward(seconds=1)
    elif how == "stopped clock":
        await clock.stop()
    else:
        name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
        other = await asyncpg.connect(database_url(server_url, name))
        await other.execute("UPDATE practices SET specialty = 'Surgery'")
        await other.close()
    await world.joined(practice, "grace@birch.example")
    await world.joined(practice, "mary@birch.example")
    assert world.scenes.skipped == before
    if how in ("sql", "another connection"):
        assert await database.fetch("SELECT specialty FROM practices") == [{"specialty": "Surgery"}]


async def test_a_clock_that_stands_still_has_scenes_of_its_own(world: World, clock: Clock) -> None:
    await kept(world)

    async def at_one_moment(world: World) -> None:
        await clock.reset()
        await clock.stop()
        await arranged(world)

    await kept(world, at_one_moment)
    await at_one_moment(world)
    moments = await database.fetch("SELECT DISTINCT clock_now() - created_at AS age FROM users")
    assert moments == [{"age": timedelta(0)}]


async def test_windows_of_allowances_stay_where_the_clock_has_them(world: World, clock: Clock) -> None:
    budget = budgets.Budget(allowance=Allowance.SIGN_UPS, amount=3, window_seconds=3600)

    async def take(world: World) -> None:
        async def twice() -> None:
            await budgets.take("scenes", budget, 2)

        await world.arranged("two are taken", twice)

    await kept(world, take)
    for minutes in (0, 7, 55, 61, 24 * 60):
        await clock.forward(minutes=minutes)
        await take(world)
        await budgets.take("scenes", budget)
        with pytest.raises(LimitReached) as refused:
            await budgets.take("scenes", budget)
        assert refused.value.retry_at.timestamp() % 3600 == 0
        assert timedelta(0) < refused.value.retry_at - await database.now() <= timedelta(hours=1)
        await world.start_over()


async def test_nobody_changes_what_others_get(world: World) -> None:
    await kept(world)
    practice, grace = await arranged(world)
    session = practice.administrator.session
    practice.administrator.session = grace.device = "changed"
    world.mail.sent.clear()
    await world.start_over()
    practice, grace = await arranged(world)
    assert (practice.administrator.session, bool(world.mail.sent)) == (session, True)
    assert grace.device != "changed"


async def test_no_row_is_left_when_the_database_is_emptied(world: World) -> None:
    await arranged(world)
    assert await everything() != {}
    assert world.scenes is not None
    await world.scenes.empty()
    assert await everything() == {}
