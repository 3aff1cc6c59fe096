"""Invited people who sign in or ask for a new password before they have an account: the same answer as everybody, and a mail that leads on."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from domain import contents, database, invited, outbox
from domain.contents import Withdrawn
from domain.outbox import Kind
from tests.conftest import Clock
from tests.test_password_resets import ROWS
from tests.world import PASSWORD, Api, Mail, World, document

EMAIL = "new@clinic.example"
WAYS = {
    "requestPasswordReset": {"email": EMAIL},
    "signIn": {"email": EMAIL, "password": PASSWORD},
}
ANSWERS = {"requestPasswordReset": "CheckYourEmail", "signIn": "CredentialsIncorrect"}


async def leads(mail: Mail) -> list[str]:
    """Whom the mail went to that leads on, of all that is due now."""
    return [one.content.recipient for one in await mail.run() if one.row.kind is Kind.INVITATION_PENDING]


@pytest.fixture
async def link(world: World, clock: Clock) -> str:
    """Somebody was invited an hour ago; the link's token."""
    practice = await world.practice()
    await world.invite(practice, EMAIL)
    token = await world.link(EMAIL)
    await clock.forward(hours=1)
    return token


@pytest.mark.parametrize("way", WAYS)
async def test_an_invited_person_is_mailed_the_link_that_leads_on(world: World, api: Api, link: str, way: str) -> None:
    (before,) = await database.fetch("SELECT * FROM invitations")
    assert (await api.do(way, WAYS[way]))["__typename"] == ANSWERS[way]
    sent = await world.mail.latest(EMAIL)
    assert (sent.row.kind, sent.content.link_token) == (Kind.INVITATION_PENDING, link)
    assert (sent.content.practice_name, sent.content.inviter_name) == ("Elm Street Practice", "Ada Lovelace")
    assert (await database.fetch("SELECT * FROM invitations")) == [before], "it prolongs nothing, and is no resend"


@pytest.mark.parametrize("way", WAYS)
async def test_strangers_and_people_with_accounts_get_no_such_mail(
    world: World, api: Api, mail: Mail, way: str
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    gone = await world.joined(practice, "gone@clinic.example")
    await api.do("deactivate", {"userId": gone.id}, token=practice.administrator.session)
    revoked = await world.invite(practice, "revoked@clinic.example")
    await api.do("revokeInvitation", {"userId": revoked}, token=practice.administrator.session)
    for email in (grace.email, gone.email, "revoked@clinic.example", "nobody@clinic.example", "no address"):
        wrong = {"password": "wrong"} if way == "signIn" else {}
        await api.do(way, {"email": email} | wrong)
    assert await leads(mail) == []


@pytest.mark.parametrize("way", WAYS)
async def test_an_account_whose_address_another_practice_invited_is_not_told_that_there_is_none(
    world: World, api: Api, mail: Mail, clock: Clock, way: str
) -> None:
    grace = await world.joined(await world.practice("Elm Street"), EMAIL)
    await world.invite(await world.practice("Oak Street"), "other@clinic.example")
    await database.execute(
        "UPDATE users SET email = $1, email_canonical = $1, holds_email = false WHERE email = 'other@clinic.example'",
        grace.email,
    )
    await mail.run()
    await clock.forward(minutes=5)
    await api.do(way, WAYS[way] | ({"password": "wrong"} if way == "signIn" else {}))
    assert await leads(mail) == []


async def test_a_practice_that_lapsed_and_an_invitation_that_ended_send_nobody_on(
    world: World, api: Api, mail: Mail, clock: Clock, link: str
) -> None:
    await api.do("requestPasswordReset", {"email": EMAIL})
    await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")
    assert await leads(mail) == []
    await clock.forward(seconds=61)
    await api.do("requestPasswordReset", {"email": EMAIL})
    await database.execute("UPDATE subscriptions SET status = 'TRIALING'")
    assert await leads(mail) == [], "it was looked for while nobody could come in"
    await clock.forward(days=7)
    await api.do("requestPasswordReset", {"email": EMAIL})
    assert await leads(mail) == []


@pytest.mark.parametrize("way", WAYS)
async def test_the_answer_and_the_work_are_those_for_everybody(
    world: World, api: Api, mail: Mail, link: str, way: str
) -> None:
    await mail.run()
    counts = ROWS.replace("kind = 'password_reset'", "true").replace("action = 'password_reset.requested'", "true")
    counts = counts.replace("key LIKE 'password-reset:%'", "true")
    answers, work = set(), []
    for email in (EMAIL, "nobody@clinic.example", "no address at all"):
        before = (await database.fetch(counts))[0]
        values = WAYS[way] | {"email": email}
        response = await api.client.post("/graphql", json={"query": document(way), "variables": {"input": values}})
        after = (await database.fetch(counts))[0]
        answers.add(response.content.replace(email.encode(), b"..."))
        work.append({name: after[name] - before[name] for name in after if name != "budgets"})
    assert len(answers) == 1
    assert work[0] == work[1] == work[2]
    assert (work[0]["mails"], work[0]["events"]) == (1, 1)
    assert await leads(mail) == [EMAIL]


async def test_signing_in_again_and_again_mails_once_a_day(
    world: World, api: Api, mail: Mail, clock: Clock, link: str
) -> None:
    await clock.stop()
    for _ in range(4):
        await api.do("signIn", WAYS["signIn"])
    assert await leads(mail) == [EMAIL]
    await clock.forward(hours=25)
    await api.do("signIn", WAYS["signIn"])
    assert await leads(mail) == [EMAIL]


async def test_asking_mails_three_times_a_day_at_most_and_once_a_minute(
    world: World, api: Api, mail: Mail, clock: Clock, link: str
) -> None:
    got = []
    for _ in range(2):
        await api.do("requestPasswordReset", {"email": EMAIL})
        got.append(await leads(mail))
    assert got == [[EMAIL], []], "the second came too soon"
    for _ in range(3):
        await clock.forward(minutes=20)
        await api.do("requestPasswordReset", {"email": EMAIL})
        got.append(await leads(mail))
    assert got[2:] == [[EMAIL], [EMAIL], []]
    await clock.forward(hours=25)
    await api.do("requestPasswordReset", {"email": EMAIL})
    assert await leads(mail) == [EMAIL]


async def test_it_waits_a_minute_after_the_invitation_itself(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    await clock.stop()
    await world.invite(await world.practice(), EMAIL)
    await api.do("requestPasswordReset", {"email": EMAIL})
    kinds = [one.row.kind for one in await mail.run() if one.content.recipient == EMAIL]
    assert kinds == [Kind.INVITATION]
    assert [found.reason for row, found in mail.withdrawn if row.kind is Kind.INVITATION_PENDING] == [
        contents.OFTEN_ENOUGH
    ]


async def test_strangers_who_ask_use_up_nothing_of_the_administrators(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, EMAIL)
    for _ in range(5):
        await clock.forward(seconds=61)
        await api.do("requestPasswordReset", {"email": EMAIL})
        await mail.run()
    resent = await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    assert resent["__typename"] == "User"
    used = await database.fetch("SELECT used FROM budgets WHERE key LIKE 'resend:%' OR key LIKE 'invitation-mails:%'")
    assert sorted(row["used"] for row in used) == [1, 2]


async def test_two_workers_that_look_at_once_send_one_of_two(world: World, mail: Mail, clock: Clock, link: str) -> None:
    row = await invited.find(EMAIL)
    async with database.transaction():
        expires_at = await database.now() + timedelta(hours=1)
        await outbox.queue(invited.message(row, expires_at), invited.message(row, expires_at))
    claimed = [
        one for lane in outbox.LANES for _ in range(2) for one in await outbox.claim(lane, at_most=1, lease_seconds=60)
    ]
    assert len(claimed) == 2
    looked = await asyncio.gather(*(contents.load([one]) for one in claimed))
    found = [one for some in looked for one in some.values()]
    assert Counter(isinstance(one, Withdrawn) for one in found) == {True: 1, False: 1}


async def test_the_newest_of_several_invitations_leads_on(world: World, api: Api, clock: Clock) -> None:
    first, second = await world.practice("Elm Street"), await world.practice("Oak Street")
    await world.invite(first, EMAIL)
    await world.mail.run()
    await clock.forward(minutes=5)
    user_id = await world.invite(second, "other@clinic.example")
    await database.execute("UPDATE users SET holds_email = false WHERE email = $1", EMAIL)
    await database.execute(
        "UPDATE users SET email = $1, email_canonical = $1 WHERE email = 'other@clinic.example'", EMAIL
    )
    await world.mail.run()
    await clock.forward(minutes=5)
    await api.do("requestPasswordReset", {"email": EMAIL})
    assert (await world.mail.latest(EMAIL)).content.practice_name == "Oak Street"
    await api.do("revokeInvitation", {"userId": user_id}, token=second.administrator.session)
    await clock.forward(minutes=5)
    await api.do("requestPasswordReset", {"email": EMAIL})
    assert (await world.mail.latest(EMAIL)).content.practice_name == "Elm Street"


async def test_whoever_administers_the_practice_sees_the_mail_and_the_request(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, EMAIL)
    await world.mail.run()
    await clock.forward(minutes=5)
    await api.do("requestPasswordReset", {"email": EMAIL})
    await world.mail.run()
    query = "query ($user: ID!) { deliveries(first: 5, filter: {userId: $user}) { nodes { kind status recipient } } }"
    shown = await api.query(query, {"user": user_id}, token=practice.administrator.session)
    assert shown["deliveries"]["nodes"][0] == {"kind": "INVITATION_PENDING", "status": "SENT", "recipient": EMAIL}
    events = await database.fetch(
        "SELECT subject_name, practice_id FROM audit_events WHERE action = 'password_reset.requested'"
    )
    assert [(row["subject_name"], row["practice_id"] is not None) for row in events] == [("Grace Hopper", True)]
