"""No worker for an hour, a worker whose clock is wrong, and a database whose clock jumps back."""

import asyncio
import platform
import sys
from importlib.metadata import distribution

import pytest

from domain import database
from tests.conftest import Clock
from tests.faults.scene import LONG_SECONDS, Scene
from tests.world import Api, Mail, World


@pytest.mark.fault("F10")
async def test_after_an_hour_without_workers_dead_codes_are_called_off_and_mails_go_out_oldest_first(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    staff = await world.joined(practice, "grace@clinic.example")
    await mail.run()
    challenge = await world.challenged(staff)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    for number in range(5):
        await world.invite(practice, f"n{number}@clinic.example")
        await clock.forward(minutes=10)
    await clock.forward(minutes=10)
    sent = await mail.run()
    assert [one.content.recipient for one in sent if one.row.kind == "invitation"] == [
        f"n{number}@clinic.example" for number in range(5)
    ]
    [(row, withdrawn)] = [one for one in mail.withdrawn if one[0].kind == "security_code"]
    assert row.channel == "SMS"
    assert withdrawn.reason == "It was no longer good when its turn came."


def faking_library() -> str:
    """What a process loads first to have another time of day."""
    package = distribution("libfaketime")
    return next(str(package.locate_file(file)) for file in package.files or () if file.name == "libfaketime.so.1")


@pytest.mark.fault("F32")
@pytest.mark.skipif(f"{sys.platform} {platform.machine()}" != "linux x86_64", reason="nobody fakes its clock here")
@pytest.mark.parametrize("shift", ["+10m", "-10m"])
@pytest.mark.slow_fault
async def test_a_worker_whose_clock_is_wrong_sends_neither_early_nor_late_nor_twice(scene: Scene, shift: str) -> None:
    faked = {
        "LD_PRELOAD": faking_library(),
        "FAKETIME": shift,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    await scene.due([f"n{number}@example.com" for number in range(40)])
    await scene.due(["late@example.com"], lifetime="-1 second")
    await scene.due(["early@example.com"])
    await scene.sql(
        "UPDATE deliveries SET status = 'RETRYING', due_at = clock_now() + interval '5 minutes' FROM sign_ups s"
        " WHERE s.id = subject_id AND s.email = 'early@example.com'"
    )
    with scene.worker("wrong", **faked), scene.worker("right"):
        await scene.until("SELECT 1 FROM deliveries HAVING count(*) FILTER (WHERE status = 'SENT') = 40")
        await asyncio.sleep(3)
        rows = {row["email"]: row for row in await scene.deliveries()}
        assert rows["late@example.com"]["status"] == "CANCELED"
        assert rows["early@example.com"]["status"] == "RETRYING", "it is not due by the database's clock"
        await scene.forward(301)
        await scene.settled()
    assert set(scene.copies().values()) == {1}
    assert len(scene.copies()) == 41


@pytest.mark.fault("F33")
async def test_a_clock_that_jumps_back_revives_no_code_and_sends_nothing_again(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await clock.forward(hours=2)
    used, dead = await world.challenged(grace), await world.challenged(grace)
    codes = {}
    for challenge in (used, dead):
        codes[challenge] = await world.code(challenge, grace.phone)
        await clock.forward(seconds=31)
    values = {"challengeToken": used, "code": codes[used]}
    assert (await api.do("verifyDevice", values))["__typename"] in ("SignedIn", "ChallengeInvalid")
    await mail.run()
    before = len(mail.sent)
    await clock.forward(hours=-1)
    assert (await api.do("verifyDevice", values))["__typename"] == "ChallengeInvalid", "what was used stays used"
    await mail.run()
    assert len(mail.sent) == before
    rows = await database.fetch("SELECT status FROM deliveries WHERE status NOT IN ('SENT', 'CANCELED')")
    assert rows == []


@pytest.mark.fault("F33")
@pytest.mark.slow_fault
async def test_workers_go_on_after_the_clock_jumped_back(scene: Scene) -> None:
    await scene.forward(3600)
    await scene.due([f"before{number}@example.com" for number in range(20)])
    with scene.worker("worker"):
        await scene.settled()
        await scene.forward(-3600)
        await scene.due([f"after{number}@example.com" for number in range(20)])
        rows = await scene.settled(LONG_SECONDS)
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}
