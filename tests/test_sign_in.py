"""Signing in, known and new devices, sessions."""

import asyncio
import re
from datetime import datetime, timedelta

import pytest

from domain import database, passwords
from tests.conftest import Clock
from tests.world import Api, Json, Mail, Person, World, document

VIEWER = "{ viewer { id email phone } }"


def credentials(person: Person, **more: str | None) -> Json:
    """What a sign-in form sends."""
    return {"email": person.email, "password": person.password} | more


async def test_a_known_device_signs_in_with_the_password_alone(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    result = await api.do("signIn", credentials(grace, deviceToken=grace.device) | {"email": "GRACE@Clinic.example"})
    assert result["__typename"] == "SignedIn"
    assert (await api.query(VIEWER, token=result["sessionToken"]))["viewer"]["phone"] == grace.phone


async def test_a_device_token_is_replaced_when_it_is_used(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    first = await api.do("signIn", credentials(grace, deviceToken=grace.device))
    again = await api.do("signIn", credentials(grace, deviceToken=grace.device))
    assert again["__typename"] == "SecurityChallenge"
    fresh = await api.do("signIn", credentials(grace, deviceToken=first["deviceToken"]))
    assert fresh["__typename"] == "SignedIn"


async def test_of_parallel_uses_of_a_device_token_one_gets_in(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    results = await asyncio.gather(*(api.do("signIn", credentials(grace, deviceToken=grace.device)) for _ in range(4)))
    assert sorted(result["__typename"] for result in results) == ["SecurityChallenge"] * 3 + ["SignedIn"]


async def test_another_persons_device_token_is_of_no_use(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    assert (await api.do("signIn", credentials(grace, deviceToken=mary.device)))["__typename"] == "SecurityChallenge"


async def test_a_new_device_needs_a_code_to_the_verified_phone(world: World, api: Api, mail: Mail) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    result = await api.do("signIn", credentials(grace))
    assert (result["__typename"], result["channels"], result["practiceAccessCodeRequired"]) == (
        "SecurityChallenge",
        ["SMS", "VOICE"],
        False,
    )
    token = result["token"]
    assert (await api.do("verifyDevice", {"challengeToken": token, "code": "123456"}))["__typename"] == "CodeExpired"
    sent = await api.do("sendSecurityCode", {"challengeToken": token, "channel": "VOICE"})
    assert sent["channel"] == "VOICE"
    code = (await mail.latest(grace.phone)).content.code
    signed_in = await api.do("verifyDevice", {"challengeToken": token, "code": code, "deviceName": "Grace's phone"})
    assert signed_in["deviceToken"]
    assert (await api.do("signIn", credentials(grace, deviceToken=signed_in["deviceToken"])))[
        "__typename"
    ] == "SignedIn"
    again = await api.do("verifyDevice", {"challengeToken": token, "code": code})
    assert again["__typename"] == "ChallengeInvalid"


async def test_a_device_that_is_not_to_be_trusted_is_asked_again(world: World, api: Api, mail: Mail) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(grace.phone)).content.code
    result = await api.do("verifyDevice", {"challengeToken": challenge, "code": code, "trustDevice": False})
    assert result["deviceToken"] is None


async def test_a_device_is_trusted_for_thirty_days(world: World, api: Api, clock: Clock) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    await clock.forward(days=29)
    renewed = await api.do("signIn", credentials(grace, deviceToken=grace.device))
    assert renewed["__typename"] == "SignedIn"
    await clock.forward(days=2)
    assert (await api.do("signIn", credentials(grace, deviceToken=renewed["deviceToken"])))[
        "__typename"
    ] == "SecurityChallenge"


async def test_parallel_right_codes_open_one_session(world: World, api: Api, mail: Mail) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(grace.phone)).content.code
    results = await asyncio.gather(
        *(api.do("verifyDevice", {"challengeToken": challenge, "code": code}) for _ in range(5))
    )
    assert [result["__typename"] for result in results].count("SignedIn") == 1


async def test_unknown_half_joined_wrong_and_inactive_look_the_same_at_every_try(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    active = await world.joined(practice, "grace@clinic.example")
    await world.invite(practice, "half@clinic.example")
    inactive = await world.joined(practice, "gone@clinic.example")
    await api.do("deactivate", {"userId": inactive.id}, token=practice.administrator.session)
    emails = (active.email, "nobody@clinic.example", "half@clinic.example", inactive.email, "no address at all")
    kinds = []
    for number in range(1, 13):
        answers = set()
        for email in emails:
            values = {"input": {"email": email, "password": "not the password"}}
            response = await api.client.post("/graphql", json={"query": document("signIn"), "variables": values})
            answers.add(re.sub(rb'"retryAt":"[^"]+"', b'"retryAt":"..."', response.content))
        assert len(answers) == 1, answers
        kinds.append(b"AccountLocked" in answers.pop())
        await clock.forward(seconds=20 if number < 10 else 0)  # longer than the pauses before the lock
    assert kinds == [False] * 10 + [True] * 2


async def test_wrong_passwords_slow_an_address_down_and_ten_lock_it_known_or_not(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await clock.stop()  # the first pauses are of a second or two
    wrong = {"password": "wrong"}
    for _ in range(4):
        for email in (grace.email, "nobody@clinic.example"):
            assert (await api.do("signIn", wrong | {"email": email}))["__typename"] == "CredentialsIncorrect"
    for seconds in (1, 2, 4, 8, 16, 900):  # the fifth to the tenth
        for email in (grace.email, "nobody@clinic.example"):
            assert (await api.do("signIn", wrong | {"email": email}))["__typename"] == "CredentialsIncorrect"
            locked = await api.do("signIn", wrong | {"email": email})
            assert locked["__typename"] == "AccountLocked"
            left = datetime.fromisoformat(locked["retryAt"]) - await database.now()
            assert timedelta(seconds=seconds - 1) < left <= timedelta(seconds=seconds)
        await clock.forward(seconds=seconds if seconds < 900 else 0, milliseconds=1)
    assert (await api.do("signIn", credentials(grace)))["__typename"] == "AccountLocked"
    assert (await mail.latest(grace.email)).content.notice == "sign_in_locked"
    assert (await api.do("signIn", credentials(grace, deviceToken=grace.device)))["__typename"] == "SignedIn"
    await clock.forward(minutes=15, seconds=1)
    assert (await api.do("signIn", credentials(grace)))["__typename"] == "SecurityChallenge"


async def test_parallel_wrong_passwords_are_compared_five_times(world: World, api: Api, clock: Clock) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await clock.stop()  # the fifth is followed by a pause of a second, in which the others come
    results = await asyncio.gather(*(api.do("signIn", {"email": grace.email, "password": "wrong"}) for _ in range(40)))
    kinds = [result["__typename"] for result in results]
    assert (kinds.count("CredentialsIncorrect"), kinds.count("AccountLocked")) == (5, 35)


async def test_a_server_with_too_much_to_do_counts_no_guess(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    wrong = {"email": grace.email, "password": "wrong"}
    change = {"currentPassword": "wrong", "newPassword": "seven green kites over the bay"}
    monkeypatch.setattr(passwords, "MAX_WAITING", 0)
    for mutation, values in (("signIn", wrong), ("changePassword", change)):
        answer = await api.post(document(mutation), {"input": values}, token=grace.session)
        assert answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert await database.fetch("SELECT key FROM guess_counters WHERE key LIKE 'password:%'") == []
    assert await database.fetch("SELECT key FROM budgets WHERE key LIKE 'passwords:%' AND used > 0") == []


async def test_the_networks_limit_keeps_no_known_device_out(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await api.do("signIn", {"email": "nobody@clinic.example", "password": "wrong"})
    await database.execute("UPDATE budgets SET used = 300 WHERE key LIKE 'passwords:network:%'")
    assert (await api.do("signIn", credentials(grace)))["__typename"] == "AccountLocked"
    assert (await api.do("signIn", credentials(grace, deviceToken=grace.device)))["__typename"] == "SignedIn"


async def test_tries_at_a_locked_address_use_nothing_up_of_the_networks_limit(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    used = "SELECT coalesce(sum(used), 0) AS n FROM budgets WHERE key LIKE 'passwords:network:%'"
    results = [(await api.do("signIn", credentials(grace, password="wrong")))["__typename"] for _ in range(9)]
    compared = results.count("CredentialsIncorrect")
    assert results == ["CredentialsIncorrect"] * compared + ["AccountLocked"] * (9 - compared)
    assert 0 < compared < 9
    assert (await database.fetch(used))[0]["n"] == compared


async def test_a_session_ends_after_half_an_hour_without_use_and_after_twelve_hours(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    for _ in range(3):
        await clock.forward(minutes=29)
        assert (await api.query(VIEWER, token=session))["viewer"] is not None
    await clock.forward(minutes=31)
    assert (await api.query(VIEWER, token=session))["viewer"] is None
    signed_in = await api.do("signIn", credentials(practice.administrator, deviceToken=practice.administrator.device))
    for _ in range(24):
        await clock.forward(minutes=29)
        assert (await api.query(VIEWER, token=signed_in["sessionToken"]))["viewer"] is not None
    await clock.forward(minutes=25)
    assert (await api.query(VIEWER, token=signed_in["sessionToken"]))["viewer"] is None


async def test_signing_out_ends_the_session(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session
    assert (await api.query("mutation { signOut }", token=session))["signOut"] is True
    assert (await api.query("mutation { signOut }", token=session))["signOut"] is False
    assert (await api.query(VIEWER, token=session))["viewer"] is None


async def test_staff_of_a_lapsed_practice_cannot_sign_in_and_administrators_can(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await clock.forward(days=14, minutes=1)
    refused = await api.do("signIn", credentials(grace, deviceToken=grace.device))
    assert (refused["__typename"], refused["subscriptionStatus"]) == ("SubscriptionLapsed", "EXPIRED")
    wrong = await api.do("signIn", credentials(grace) | {"password": "wrong"})
    assert wrong["__typename"] == "CredentialsIncorrect"
    admin = practice.administrator
    assert (await api.do("signIn", credentials(admin, deviceToken=admin.device)))["__typename"] == "SignedIn"


async def test_a_composed_password_is_the_same_as_a_decomposed_one(world: World, api: Api) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    await world.proved(enrollment)
    composed, decomposed = "caf\u00e9 au lait, toujours", "cafe\u0301 au lait, toujours"
    result = await api.do("setPassword", {"enrollmentToken": enrollment, "password": composed})
    values = {"email": "grace@clinic.example", "password": decomposed, "deviceToken": result["deviceToken"]}
    assert (await api.do("signIn", values))["__typename"] == "SignedIn"


async def test_a_password_hashed_with_an_older_key_is_renewed_on_sign_in(world: World, api: Api) -> None:
    from domain import secrets
    from tests.conftest import TEST_KEYS

    secrets.use_keys((TEST_KEYS[1].encode(),))
    try:
        grace = await world.joined(await world.practice(), "grace@clinic.example")
    finally:
        secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))
    assert (await api.do("signIn", credentials(grace, deviceToken=grace.device)))["__typename"] == "SignedIn"
    rows = await database.fetch("SELECT password_key_id FROM users WHERE id = $1", grace.row_id)
    assert rows[0]["password_key_id"] == secrets.newest_key_id()
    assert (await api.do("signIn", credentials(grace)))["__typename"] == "SecurityChallenge"
