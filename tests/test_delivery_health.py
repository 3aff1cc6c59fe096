"""What administrators see of their practice's messages that wait."""

from typing import Any

from tests.conftest import Clock
from tests.world import World, keep_sessions_open

HEALTH = "{ practice { deliveryHealth { channel waitingCount oldestWaitingSince isLate } } }"


async def health(world: World, token: str) -> dict[str, Any]:
    """By channel."""
    found = (await world.api.query(HEALTH, token=token))["practice"]["deliveryHealth"]
    return {one["channel"]: one for one in found}


async def test_an_administrator_sees_what_waits_and_whether_that_is_too_long(world: World, clock: Clock) -> None:
    practice, other = await world.practice(), await world.practice("Oak")
    await world.mail.run()
    nothing = {"waitingCount": 0, "oldestWaitingSince": None, "isLate": False}
    for channel in ("EMAIL", "SMS", "VOICE"):
        assert (await health(world, practice.administrator.session))[channel] == {"channel": channel, **nothing}
    rows = [
        {"firstName": "Pat", "lastName": f"N{n}", "email": f"pat{n}@elm.example", "accessLevel": "BILLING"}
        for n in range(2)
    ]
    await world.api.do("invite", {"users": rows}, token=practice.administrator.session)
    now = (await health(world, practice.administrator.session))["EMAIL"]
    assert (now["waitingCount"], now["isLate"]) == (2, False)
    await clock.forward(minutes=11)
    await keep_sessions_open()
    later = (await health(world, practice.administrator.session))["EMAIL"]
    assert later == now | {"isLate": True}
    assert (await health(world, other.administrator.session))["EMAIL"]["waitingCount"] == 0
    await world.mail.run()
    assert (await health(world, practice.administrator.session))["EMAIL"] == {"channel": "EMAIL", **nothing}


async def test_nobody_else_sees_it(world: World) -> None:
    practice = await world.practice()
    staff = await world.joined(practice, "grace@elm.example")
    assert (await world.api.query(HEALTH, token=staff.session))["practice"]["deliveryHealth"] is None
    answer = await world.api.post(HEALTH)
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
