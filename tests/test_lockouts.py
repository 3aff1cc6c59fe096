"""Guessing is bounded, and whoever guesses keeps no owner out: each counter can be filled only by who has given another proof."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from domain import database, guesses, lockouts, retention
from domain.settings import Settings
from graph.app import create_app
from tests.conftest import Clock
from tests.world import PASSWORD, Api, Json, Mail, Person, World

NEW = "seven green kites over the bay"
STRANGER = "nobody@clinic.example"


@asynccontextmanager
async def strangers(settings: Settings, number: int = 1) -> AsyncIterator[list[Api]]:
    """So many clients in as many networks, all others than the people's own."""
    app = create_app(settings, checks={})
    clients = [
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, client=(f"203.0.{n // 250}.{n % 250}", 40_000)),
            base_url="http://testserver",
        )
        for n in range(number)
    ]
    try:
        yield [Api(client) for client in clients]
    finally:
        for client in clients:
            await client.aclose()


async def wrong_passwords(api: Api, mail: Mail, clock: Clock, times: int, **values: str | None) -> list[Json]:
    """So many wrong passwords, each as soon as one is taken, and the mail that comes of them; the answers."""
    answers = []
    for _ in range(times):
        answers.append(await api.do("signIn", {"password": "wrong"} | values))
        await mail.run()
        await clock.forward(days=1, seconds=1)  # longer than any lock
    return answers


async def reset(world: World, person: Person, code: str | None = None) -> Json:
    """A new password by a link and a code from the phone, or the one given."""
    asked = await world.api.do("requestPasswordReset", {"email": person.email})
    assert asked["__typename"] == "CheckYourEmail", asked
    challenge = await world.api.do("startPasswordReset", {"token": await world.link(person.email)})
    code = code or await world.code(challenge["token"], person.phone)
    return await world.api.do("resetPassword", {"challengeToken": challenge["token"], "code": code, "newPassword": NEW})


def test_an_authenticator_takes_a_hundred_wrong_guesses_in_all() -> None:
    password = (lockouts.PASSWORD_BY_ANYBODY, lockouts.PASSWORD_ON_KNOWN_DEVICES, lockouts.PASSWORD_IN_SESSION)
    phone = (guesses.PHONE, lockouts.PHONE_AFTER_RESET_LINK)
    for limits in (password, phone):
        assert sum(limit.disabled_after or 10**6 for limit in limits) == lockouts.IN_A_ROW == 100
    one, all_devices = lockouts.PASSWORD_ON_ONE_DEVICE, lockouts.PASSWORD_ON_KNOWN_DEVICES
    assert (one.disabled_after or 0) < (all_devices.disabled_after or 0)


async def test_after_60_wrong_passwords_only_a_new_one_helps_known_address_or_not(
    world: World, api: Api, mail: Mail, clock: Clock, app_settings: Settings
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    async with strangers(app_settings) as (stranger,):
        for email in (grace.email, STRANGER):
            answers = await wrong_passwords(stranger, mail, clock, 60, email=email)
            assert {one["__typename"] for one in answers} == {"CredentialsIncorrect"}
        ended = [
            await stranger.do("signIn", {"email": email, "password": PASSWORD}) for email in (grace.email, STRANGER)
        ]
    for one in ended:
        one.pop("retryAt")
    assert ended[0] == ended[1]
    assert (ended[0]["__typename"], ended[0]["resetRequired"]) == ("AccountLocked", True)
    notices = [sent.content.notice for sent in mail.sent if sent.content.recipient == grace.email]
    assert notices.count("sign_in_locked") == 5
    assert notices.count("password_ended") == 1
    # No time that passes gives it back.
    await clock.forward(days=400)
    await retention.purge()
    assert (await api.do("signIn", {"email": grace.email, "password": PASSWORD}))["resetRequired"] is True
    assert (await reset(world, grace))["__typename"] == "SignedIn"
    assert (await api.do("signIn", {"email": grace.email, "password": NEW}))["__typename"] == "SecurityChallenge"


@pytest.mark.parametrize("days", [30, 0])
async def test_a_known_device_goes_on_working_whatever_strangers_do(
    world: World, api: Api, app_settings: Settings, days: int
) -> None:
    practice = await world.practice()
    if days == 0:
        change = {"trustedDeviceDays": 0}
        assert (await api.do("updateLoginSettings", change, token=practice.administrator.session))["__typename"]
    grace = await world.joined(practice, "grace@clinic.example")
    await _end(lockouts.address_counter(grace.email), 60)
    known = {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device}
    async with strangers(app_settings) as (stranger,):
        refused = await stranger.do("signIn", {"email": grace.email, "password": PASSWORD})
    assert refused["__typename"] == "AccountLocked"
    result = await api.do("signIn", known)
    if days == 0:
        assert result["__typename"] == "SecurityChallenge"
        values = {"challengeToken": result["token"], "code": await world.code(result["token"], grace.phone)}
        result = await api.do("verifyDevice", values)
        # The token is another one at each sign-in, and the device stays known.
        known["deviceToken"] = result["deviceToken"]
        assert (await api.do("signIn", known))["__typename"] == "SecurityChallenge"
        assert len(await database.fetch("SELECT 1 FROM devices WHERE user_id = $1", grace.row_id)) == 1
    assert result["__typename"] in ("SignedIn", "SecurityChallenge")


async def test_a_device_whose_trust_ran_out_is_still_counted_apart(world: World, api: Api, clock: Clock) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    await _end(lockouts.address_counter(grace.email), 60)
    known = {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device}
    await clock.forward(days=31)
    assert (await api.do("signIn", known))["__typename"] == "SecurityChallenge"
    await clock.forward(days=90)  # not used for so long, it is no longer known
    assert (await api.do("signIn", known))["__typename"] == "AccountLocked"


async def _end(counter: str, failures: int) -> None:
    """A counter stands as after so many wrong guesses."""
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, $2, 5, clock_now())",
        counter,
        failures,
    )


async def test_who_guesses_on_a_stolen_device_ends_that_device_and_no_other(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    grace = await world.joined(practice, "grace@clinic.example")
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    stolen = (await api.do("verifyDevice", values))["deviceToken"]
    for _ in range(10):
        answer = await api.do("signIn", {"email": grace.email, "password": "wrong", "deviceToken": stolen})
        assert answer["__typename"] == "CredentialsIncorrect"
        await clock.forward(minutes=15, seconds=1)
    assert "device_ended" in {sent.content.notice for sent in await mail.run()}
    own = {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device}
    # On the stolen one the password is not enough any more.
    assert (await api.do("signIn", own | {"deviceToken": stolen}))["__typename"] == "SecurityChallenge"
    assert (await api.do("signIn", own))["__typename"] == "SignedIn"


async def test_parallel_wrong_passwords_on_all_known_devices_are_compared_twenty_times_at_most(
    world: World, api: Api
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    tokens = [grace.device]
    for _ in range(3):
        challenge = await world.challenged(grace)
        values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
        tokens.append((await api.do("verifyDevice", values))["deviceToken"])
    await _end(lockouts.address_counter(grace.email), 60)
    for _ in range(12):
        await asyncio.gather(
            *(
                api.do("signIn", {"email": grace.email, "password": "wrong", "deviceToken": token})
                for token in tokens * 4
            )
        )
        await database.execute("UPDATE guess_counters SET locked_until = NULL")
    rows = await database.fetch("SELECT count(*) AS n FROM audit_events WHERE details->>'reason' = 'wrong password'")
    assert rows[0]["n"] <= 20


async def test_wrong_codes_after_the_password_are_told_to_the_owner_who_gets_in_by_a_reset(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    grace = await world.joined(practice, "grace@clinic.example")
    for _ in range(4):
        for _ in range(4):
            challenge = await world.challenged(grace)
            code = await world.code(challenge, grace.phone)
            values = {"challengeToken": challenge, "code": "000000" if code != "000000" else "111111"}
            for _ in range(5):
                assert (await api.do("verifyDevice", values))["__typename"] == "CodeIncorrect"
            await clock.forward(minutes=10, seconds=1)
        await mail.run()
        await clock.forward(days=1, seconds=1)
    asked = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    refused = await api.do("sendSecurityCode", asked)
    assert (refused["__typename"], "recovery code" in refused["message"]) == ("LimitReached", True)
    told = [sent.content.notice for sent in mail.sent if sent.content.recipient == grace.email]
    assert (told.count("codes_locked"), told.count("codes_ended")) == (3, 1)
    assert (await reset(world, grace))["__typename"] == "SignedIn"
    grace.password = NEW
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"


async def test_codes_that_somebody_with_the_password_asks_for_use_up_nothing_of_a_reset(
    world: World, api: Api, clock: Clock
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    kinds = []
    for _ in range(40):
        sent = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
        kinds.append((await api.do("sendSecurityCode", sent))["__typename"])
        await clock.forward(minutes=1)
    assert kinds[-1] == "LimitReached"
    assert (await reset(world, grace))["__typename"] == "SignedIn"


async def test_a_reset_by_recovery_code_leaves_the_lock_on_a_phone_that_was_not_shown(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await _end(lockouts.phone_counter(grace.row_id), 80)
    assert (await reset(world, grace, grace.recovery_codes[0]))["__typename"] == "SignedIn"
    grace.password = NEW
    sent = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    assert (await api.do("sendSecurityCode", sent))["__typename"] == "LimitReached"


async def test_however_many_strangers_ask_the_owner_has_a_good_link_at_every_hour(
    world: World, api: Api, mail: Mail, clock: Clock, app_settings: Settings
) -> None:
    await clock.stop()
    # To the beginning of a day: allowances begin anew there, and the test has hours of its own.
    day = (await database.now()).timestamp() % 86_400
    await clock.forward(seconds=86_400 - day + 1)
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    hours = 6
    async with strangers(app_settings, 40) as crowd:
        for _ in range(hours):
            ask = {"email": grace.email}
            await asyncio.gather(*(one.do("requestPasswordReset", ask) for one in crowd))
            await clock.forward(minutes=58)
            # The owner asks too, is perhaps told that a link is there, and finds one that is good.
            answer = await api.do("requestPasswordReset", ask)
            assert answer["__typename"] in ("CheckYourEmail", "LimitReached")
            started = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
            assert started["__typename"] == "SecurityChallenge"
            await clock.forward(minutes=2, seconds=1)
    links = [sent for sent in mail.sent if sent.content.recipient == grace.email and sent.content.link_token]
    assert len(links) == 1 + hours + 4  # the invitation, one an hour, and what is left of the day's at once


async def test_of_fifty_requests_at_once_five_are_mailed(world: World, mail: Mail, app_settings: Settings) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await mail.run()
    async with strangers(app_settings, 50) as crowd:
        for email in (grace.email, STRANGER):
            answers = await asyncio.gather(*(one.do("requestPasswordReset", {"email": email}) for one in crowd))
            assert [answer["__typename"] for answer in answers].count("CheckYourEmail") == 5
    assert len(await mail.run()) == 5


async def test_requests_for_others_out_of_the_same_network_keep_nobody_from_a_link(
    world: World, api: Api, mail: Mail
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    for number in range(60):
        await api.do("requestPasswordReset", {"email": f"other{number % 12}@clinic.example"})
    assert (await reset(world, grace))["__typename"] == "SignedIn"


async def test_what_was_tried_at_an_address_before_is_not_held_against_its_owner(world: World, api: Api) -> None:
    practice = await world.practice()
    for email in ("grace@clinic.example", "grace@new.example"):
        await _end(lockouts.address_counter(email), 60)
    grace = await world.joined(practice, "grace@clinic.example")
    assert await world.challenged(grace)
    change = await api.do("changeEmail", {"email": "grace@new.example"}, token=grace.session)
    values = {"challengeToken": change["token"], "code": await world.code(change["token"], grace.phone)}
    await api.do("verifyEmailChange", values, token=grace.session)
    await api.do("confirmEmail", {"token": await world.link("grace@new.example")})
    grace.email = "grace@new.example"
    assert await world.challenged(grace)


async def test_a_changed_password_lifts_what_strangers_locked(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await _end(lockouts.address_counter(grace.email), 60)
    values = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert (await api.do("changePassword", values, token=grace.session))["__typename"] == "User"
    grace.password = NEW
    assert await world.challenged(grace)


async def test_twenty_wrong_passwords_in_a_session_end_it_there_and_a_reset_helps(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await _end(lockouts.session_counter(grace.row_id), 20)
    refused = await api.do("renewSignIn", {"password": PASSWORD}, token=grace.session)
    assert (refused["__typename"], refused["retryAtOrNull"]) == ("TooManyAttempts", None)
    assert (await reset(world, grace))["__typename"] == "SignedIn"
