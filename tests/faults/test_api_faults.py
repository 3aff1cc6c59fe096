"""An API process dies in the middle of an act, or a client sends the same act again."""

import asyncio

import httpx
import pytest

from domain import database
from tests.conftest import Clock
from tests.faults.scene import Scene, gone, people, post
from tests.world import Api, Mail, World


@pytest.mark.fault("F1")
async def test_an_act_that_dies_before_its_commit_leaves_nothing_and_can_be_done_again(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api("dying", point="before_commit") as api, pytest.raises(httpx.TransportError):
        post(api.url, "invite", {"users": people(1)}, session)
    assert scene.is_dead("dying")
    for table in ("invitations", "deliveries", "audit_events WHERE action = 'invitation.sent'"):
        assert (await scene.sql(f"SELECT count(*) AS n FROM {table}"))[0]["n"] == 0, table
    with scene.api("next") as api:
        answer = post(api.url, "invite", {"users": people(1)}, session)
    assert answer["data"]["invite"]["invitedCount"] == 1


@pytest.mark.fault("F2")
async def test_a_mail_whose_process_died_after_the_commit_is_sent_without_a_bell(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api("dying", point="after_commit") as api:
        with pytest.raises(httpx.TransportError):
            post(api.url, "invite", {"users": people(1)}, session)
        gone(api)
    assert scene.is_dead("dying")
    with scene.worker("worker"):
        rows = await scene.settled()
    assert [row["status"] for row in rows] == ["SENT"]
    assert scene.copies() == {"pat0@many.example": 1}


@pytest.mark.fault("F3")
async def test_a_mutation_that_a_client_sends_again_has_one_effect(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    grace = await world.joined(practice, "grace@clinic.example")
    await mail.run()

    async def again(mutation: str, values: dict[str, object], session: str | None = None) -> list[str]:
        """What three copies of one request are answered with, two of them at once."""
        first = await asyncio.gather(*(api.do(mutation, values, token=session) for _ in range(2)))
        return sorted(result["__typename"] for result in [*first, await api.do(mutation, values, token=session)])

    invited = await asyncio.gather(*(api.do("invite", {"users": people(1)}, token=admin) for _ in range(3)))
    assert sorted(report["invitedCount"] for report in invited) == [0, 0, 1]
    # Whoever asks again learns that it was done: the address is invited here already.
    assert {row["error"]["__typename"] for report in invited for row in report["rows"] if row["error"]} == {
        "EmailInUse"
    }
    user_id = next(row["user"]["id"] for report in invited for row in report["rows"] if row["user"])
    assert len(await mail.run()) == 1
    await clock.forward(seconds=61)
    assert await again("resend", {"userId": user_id}, admin) == ["TooSoon", "TooSoon", "User"]
    assert len(await mail.run()) == 1
    values = {"token": await world.link("pat0@many.example"), "practiceAccessCode": practice.practice_access_code}
    enrolled = [await api.do("acceptInvitation", values) for _ in range(2)]
    assert len({result["token"] for result in enrolled}) == 1
    sent = {"enrollmentToken": enrolled[0]["token"], "phone": world.number(), "channel": "SMS"}
    assert await again("sendPhoneCode", sent) == ["SecurityCodeSent", "TooSoon", "TooSoon"]
    assert len(await mail.run()) == 1
    assert await again("sendPasswordReset", {"userId": grace.id}, admin) == ["TooSoon", "TooSoon", "User"]
    assert set(await again("deactivate", {"userId": grace.id}, admin)) == {"User"}
    assert set(await again("reactivate", {"userId": grace.id}, admin)) == {"User"}
    assert set(await again("revokeInvitation", {"userId": user_id}, admin)) == {"InvitationRevoked"}
    for action, count in {
        "user.deactivated": 1,
        "user.reactivated": 1,
        "invitation.sent": 2,
        "invitation.revoked": 1,
    }.items():
        rows = await database.fetch("SELECT 1 FROM audit_events WHERE action = $1", action)
        assert len(rows) == count, action
