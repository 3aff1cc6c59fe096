"""Somebody invited says no, or that they do not know the practice: by the link alone, and opening it says nothing."""

import asyncio
import logging

import pytest

from domain import actors, database, metrics, practices
from domain.errors import Forbidden
from domain.outbox import Kind
from tests.conftest import Clock
from tests.test_address_ownership import on_the_tile
from tests.test_invitation_ends import ZONE, at_eight, summarized
from tests.test_invitations import PREVIEW
from tests.world import Api, Mail, World, keep_sessions_open
from workers.messages import Messages

GRACE = "grace@clinic.example"


async def test_an_invitation_is_declined_by_its_link_and_the_tile_says_so(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    token = await world.enrolled(practice, GRACE)
    link = {"token": await world.link(GRACE)}
    await api.query(PREVIEW, link)
    assert (await on_the_tile(api, practice, GRACE))["invitation"]["state"] == "PENDING", "looking declines nothing"
    for _ in range(2):
        declined = await api.do("declineInvitation", link)
        assert declined == {
            "__typename": "InvitationDeclined",
            "practiceName": practice.name,
            "unknownPractice": False,
        }
    shown = await on_the_tile(api, practice, GRACE)
    assert (shown["status"], shown["invitation"]["state"]) == ("INVITED", "DECLINED")
    assert shown["invitation"]["canResend"]
    assert "declined" in shown["invitation"]["problem"]
    assert (await api.query(PREVIEW, link))["invitation"] is None
    code = {"practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", link | code))["__typename"] == "LinkInvalid"
    sent = await api.do("sendPhoneCode", {"enrollmentToken": token, "phone": world.number(), "channel": "SMS"})
    assert sent["__typename"] == "EnrollmentInvalid"
    rows = await database.fetch("SELECT actor_name FROM audit_events WHERE action = 'invitation.declined'")
    assert [row["actor_name"] for row in rows] == ["Grace Hopper"]


async def test_a_declined_invitation_can_be_sent_again_and_taken_up(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, GRACE)
    old = {"token": await world.link(GRACE)}
    await api.do("declineInvitation", old)
    await clock.forward(seconds=61)
    sent = await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    assert (sent["invitation"]["state"], sent["invitation"]["problem"]) == ("PENDING", None)
    assert (await api.do("declineInvitation", old))["__typename"] == "LinkInvalid", "a newer link took its place"
    values = {"token": await world.link(GRACE), "practiceAccessCode": practice.practice_access_code}
    enrollment = await api.do("acceptInvitation", values)
    await world.finish(enrollment["token"], GRACE)
    assert (await api.do("declineInvitation", {"token": values["token"]}))["__typename"] == "LinkInvalid"
    assert (await on_the_tile(api, practice, GRACE))["status"] == "ACTIVE"


async def test_an_administrators_invitation_that_was_declined_is_sent_again_with_a_fresh_sign_in_only(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, GRACE, "ADMINISTRATOR")
    await api.do("declineInvitation", {"token": await world.link(GRACE)})
    await clock.forward(minutes=11)
    again = await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    assert again["__typename"] == "SignInAgain"


async def test_an_invitation_that_has_run_out_can_still_be_declined(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    await world.invite(practice, GRACE)
    link = {"token": await world.link(GRACE)}
    await clock.forward(days=8)
    assert (await api.do("declineInvitation", link))["__typename"] == "InvitationDeclined"
    await keep_sessions_open()
    assert (await on_the_tile(api, practice, GRACE))["invitation"]["state"] == "DECLINED"


async def test_a_practice_that_is_not_known_mails_nothing_more_to_the_address_and_the_operator_is_told(
    world: World, api: Api, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    admin = practice.administrator.session
    user_id = await world.invite(practice, GRACE)
    link = {"token": await world.link(GRACE)}
    before = metrics.UNKNOWN_PRACTICES._value.get()
    with caplog.at_level(logging.WARNING):
        assert not (await api.do("declineInvitation", link))["unknownPractice"]
        for _ in range(2):
            assert (await api.do("declineInvitation", link | {"unknownPractice": True}))["unknownPractice"]
    assert (await api.do("declineInvitation", link))["unknownPractice"], "what stands"
    assert metrics.UNKNOWN_PRACTICES._value.get() == before + 1
    warned = [one.getMessage() for one in caplog.records if "do not know practice" in one.getMessage()]
    assert len(warned) == 1
    assert GRACE not in caplog.text
    shown = await on_the_tile(api, practice, GRACE)
    assert "do not know your practice" in shown["invitation"]["problem"]
    await clock.forward(seconds=61)
    for repaired in (False, True):
        again = await api.do("resend", {"userId": user_id, "addressRepaired": repaired}, token=admin)
        assert (again["__typename"], again["complained"]) == ("AddressBounced", True)
    assert (await api.do("revokeInvitation", {"userId": user_id}, token=admin))["userId"] == user_id
    row = {"firstName": "A", "lastName": "B", "email": GRACE, "accessLevel": "BILLING"}
    report = await api.do("invite", {"users": [row]}, token=admin)
    assert report["rows"][0]["error"]["__typename"] == "AddressBounced"
    report = await api.do("invite", {"users": [row]}, token=other.administrator.session)
    assert report["invitedCount"] == 1, "another practice may"
    (listed,) = await practices.reported(actors.operator("ops"))
    assert (listed.name, listed.unknown, listed.spam) == (practice.name, 1, 0)
    with pytest.raises(Forbidden):
        await practices.reported(actors.Actor(ip_address="198.51.100.7"))


async def test_revoking_at_once_does_not_keep_anybody_from_saying_that_they_do_not_know_the_practice(
    world: World, api: Api
) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, GRACE)
    link = {"token": await world.link(GRACE)}
    await api.do("revokeInvitation", {"userId": user_id}, token=practice.administrator.session)
    assert (await api.do("declineInvitation", link))["__typename"] == "LinkInvalid"
    assert (await api.do("declineInvitation", link | {"unknownPractice": True}))["unknownPractice"]
    assert len(await practices.reported(actors.operator("ops"))) == 1


async def test_declining_and_joining_at_once_end_in_one_of_both(world: World, api: Api) -> None:
    practice = await world.practice()
    for number in range(6):
        email = f"grace{number}@clinic.example"
        token = await world.enrolled(practice, email)
        link = {"token": await world.link(email)}
        await world.proved(token)
        password = {"enrollmentToken": token, "password": "correct horse battery staple"}
        declined, joined = await asyncio.gather(api.do("declineInvitation", link), api.do("setPassword", password))
        assert (declined["__typename"], joined["__typename"]) in (
            ("InvitationDeclined", "EnrollmentInvalid"),
            ("LinkInvalid", "SignedIn"),
        )


async def test_administrators_are_told_the_next_morning_who_declined_and_whose_address_was_lost(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    for email, name in ((GRACE, "Ann"), ("unknown@clinic.example", "Bea"), ("lost@clinic.example", "Cat")):
        await world.invite(practice, email, first_name=name, last_name="A")
    await api.do("declineInvitation", {"token": await world.link(GRACE)})
    unknown = {"token": await world.link("unknown@clinic.example"), "unknownPractice": True}
    await api.do("declineInvitation", unknown)
    await world.joined(other, "lost@clinic.example")
    await mail.run()
    await database.execute(ZONE)
    await at_eight(clock)
    (told,) = await summarized(mail)
    assert (told.row.kind, told.content.recipient) == (Kind.INVITATIONS_ENDED, practice.administrator.email)
    assert told.content.people == ("Ann A", "Bea A", "Cat A")
    mailed = Messages("https://app.clinic.example").mail(told.row.kind, told.content)
    for text in (mailed.text, mailed.html):
        for words in ("Ann A: declined", "Bea A: says that they do not know", "Cat A: the address has an account"):
            assert words in text
    await clock.forward(days=1)
    assert await summarized(mail) == [], "once"
