"""What is thrown away, and what is kept: codes and tokens are gone a day after their end, people and the trail stay."""

import asyncio

from domain import database, retention
from tests.conftest import Clock
from tests.test_code_rotation import paying
from tests.test_practice_access_codes import rotate
from tests.test_subscriptions import id_of, put
from tests.world import Api, World

SECRET = ("security_codes", "challenges", "enrollments", "sign_ups", "sessions", "subscription_events")
KEPT = ("practices", "users", "invitations", "audit_events", "subscriptions")


async def census(*tables: str) -> dict[str, int]:
    """How many rows tables have."""
    return {table: (await database.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"] for table in tables}


async def test_nothing_is_left_of_codes_and_tokens_a_day_after_their_end(world: World, api: Api, clock: Clock) -> None:
    practice = await paying(world)
    staff = await world.joined(practice, "grace@clinic.example")
    await world.sign_up("Never finished", "stranger@clinic.example")
    await world.again(staff)
    await world.challenged(staff)
    await rotate(api, practice.administrator.session)
    await put(await id_of(practice), "ACTIVE", 30, event_id="evt_1")
    full = await census(*SECRET, "practice_access_codes")
    assert all(full.values()), full
    await retention.purge()
    assert await census(*SECRET, "practice_access_codes") == full
    kept = await census(*KEPT)
    await clock.forward(days=91)
    await asyncio.gather(*(retention.purge() for _ in range(4)))
    assert await census(*SECRET) == dict.fromkeys(SECRET, 0)
    assert await census("practice_access_codes", *KEPT) == kept | {"practice_access_codes": 1}
    token = await world.again(practice.administrator)
    assert (await api.query("{ usersTile { activeCount } }", token=token))["usersTile"]["activeCount"] == 2


async def test_what_is_still_open_or_ended_only_now_stays(world: World, api: Api, clock: Clock) -> None:
    practice = await paying(world)
    enrollment = await world.enrolled(practice, "grace@clinic.example")
    await clock.forward(minutes=20)
    await retention.purge()
    assert (await api.query("{ viewer { id } }", token=practice.administrator.session))["viewer"] is not None
    await world.finish(enrollment, "grace@clinic.example")
    await api.query("mutation { signOut }", token=practice.administrator.session)
    await clock.forward(hours=21)
    before = await census(*SECRET)
    await retention.purge()
    assert await census(*SECRET) == before


async def test_a_phone_that_ended_with_too_many_wrong_codes_stays_ended_and_other_counts_go(
    world: World, api: Api, clock: Clock
) -> None:
    grace = await world.joined(await paying(world), "grace@clinic.example")
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at)"
        " VALUES ($1, 100, 5, clock_now()), ('phone:user:other', 99, 4, clock_now()), ('password:address:any', 100, 5, clock_now())",
        f"phone:user:{grace.row_id}",
    )
    await clock.forward(days=91)
    await retention.purge()
    rows = await database.fetch("SELECT key FROM guess_counters WHERE failures >= 99")
    assert rows == [{"key": f"phone:user:{grace.row_id}"}]
    values = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    assert (await api.do("sendSecurityCode", values))["__typename"] == "LimitReached"
