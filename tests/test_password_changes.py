"""Changing one's own password, and being told of it."""

import asyncio

from domain import database
from tests.conftest import Clock
from tests.world import PASSWORD, Api, Mail, World

NEW = "seven green kites over the bay"


async def test_a_changed_password_ends_every_other_session_and_is_told_by_mail(
    world: World, api: Api, mail: Mail
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    other = await api.do("signIn", {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device})
    challenge = await world.challenged(grace)
    changed = await api.do("changePassword", {"currentPassword": PASSWORD, "newPassword": NEW}, token=grace.session)
    assert changed["email"] == grace.email
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is not None
    assert (await api.query("{ viewer { id } }", token=other["sessionToken"]))["viewer"] is None
    sent = await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    assert sent["__typename"] == "ChallengeInvalid"
    assert (await mail.latest(grace.email)).content.notice == "password_changed"
    assert (await api.do("signIn", {"email": grace.email, "password": PASSWORD}))[
        "__typename"
    ] == "CredentialsIncorrect"
    values = {"email": grace.email, "password": NEW, "deviceToken": other["deviceToken"]}
    assert (await api.do("signIn", values))["__typename"] == "SignedIn"


async def test_the_password_in_use_is_asked_for_and_guesses_at_it_are_counted(
    world: World, api: Api, clock: Clock
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await clock.stop()  # the fifth is followed by a pause of a second, in which the others come
    wrong = {"currentPassword": "not the password", "newPassword": NEW}
    results = await asyncio.gather(*(api.do("changePassword", wrong, token=grace.session) for _ in range(19)))
    assert sorted(result["__typename"] for result in results) == ["CredentialsIncorrect"] * 5 + ["TooManyAttempts"] * 14
    right = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert (await api.do("changePassword", right, token=grace.session))["__typename"] == "TooManyAttempts"
    rows = await database.fetch("SELECT details FROM audit_events WHERE action = 'password.refused'")
    assert sum('"locked"' in row["details"] for row in rows) == 15
    await clock.forward(seconds=2)
    assert (await api.do("changePassword", right, token=grace.session))["__typename"] == "User"


async def test_strangers_cannot_keep_somebody_from_changing_the_password(world: World, api: Api, clock: Clock) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await clock.stop()  # the lock is a pause of a second
    for _ in range(6):
        await api.do("signIn", {"email": grace.email, "password": "not the password"})
    assert (await api.do("signIn", {"email": grace.email, "password": PASSWORD}))["__typename"] == "AccountLocked"
    right = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert (await api.do("changePassword", right, token=grace.session))["__typename"] == "User"


async def test_a_weak_password_or_the_same_one_is_refused(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    for password, problem in (("short", "TOO_SHORT"), (PASSWORD, "SAME_AS_BEFORE")):
        values = {"currentPassword": PASSWORD, "newPassword": password}
        result = await api.do("changePassword", values, token=grace.session)
        assert (result["__typename"], problem in result["problems"]) == ("PasswordRejected", True)


async def test_of_two_changes_at_once_one_wins(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    words = ("seven green kites over the bay", "eleven slow trains to the north")
    results = await asyncio.gather(
        *(
            api.do("changePassword", {"currentPassword": PASSWORD, "newPassword": word}, token=grace.session)
            for word in words
        )
    )
    assert sorted(result["__typename"] for result in results) == ["CredentialsIncorrect", "User"]


async def test_a_sign_in_on_a_new_device_is_told_by_mail(world: World, api: Api, mail: Mail) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    assert not [sent for sent in await mail.run() if sent.content.notice]
    challenge = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(grace.phone)).content.code
    assert (await api.do("verifyDevice", {"challengeToken": challenge, "code": code}))["__typename"] == "SignedIn"
    assert (await mail.latest(grace.email)).content.notice == "new_device"
