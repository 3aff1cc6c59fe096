"""Codes that were refused before a message existed: on record for whoever helps the person, without what strangers could fill the log with."""

import json
from typing import Any

from domain import code_budgets, code_refusals, database
from tests.conftest import Clock
from tests.test_money_guard import limits
from tests.world import Api, Json, Mail, World

__all__ = ["limits"]

Refused = tuple[str, Json]


async def refusals(name: str = "Grace Hopper") -> list[Refused]:
    """Why somebody got no code, in order, with the other details."""
    rows = await database.fetch(
        "SELECT subject_user_id, practice_id, details FROM audit_events WHERE action = 'security_code.refused' AND subject_name = $1 ORDER BY id",
        name,
    )
    found = [json.loads(row["details"]) for row in rows]
    return [(details.pop("reason"), details) for details in found]


async def test_each_reason_why_no_code_was_sent_is_on_record(
    world: World, api: Api, mail: Mail, clock: Clock, limits: Any
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    asked = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "SecurityCodeSent"
    await clock.stop()
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "TooSoon"
    await clock.forward(seconds=31)
    await database.execute(
        "INSERT INTO budgets (key, window_starts_at, window_ends_at, used) SELECT $1, s, s + interval '1 day', $2"
        " FROM (SELECT to_timestamp(floor(extract(epoch FROM clock_now()) / 86400) * 86400) AS s) w"
        " ON CONFLICT (key, window_starts_at) DO UPDATE SET used = excluded.used",
        f"codes:account:user:{grace.row_id}",
        code_budgets.PER_ACCOUNT.amount,
    )
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "LimitReached"
    limits(PHONE_COUNTRIES="CA")
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "PhoneNumberUnusable"
    limits()
    assert [(reason, set(details)) for reason, details in await refusals()] == [
        ("too soon after the code before", {"channel", "retry_at"}),
        ("limit", {"channel", "limit", "retry_at"}),
        (code_refusals.COUNTRY_NOT_SERVED, {"channel", "country"}),
    ]
    rows = await database.fetch(
        "SELECT DISTINCT practice_id, actor_user_id, subject_user_id FROM audit_events WHERE action = 'security_code.refused'"
    )
    assert [(row["actor_user_id"], row["subject_user_id"]) for row in rows] == [(grace.row_id, grace.row_id)]
    assert grace.phone not in str(await database.fetch("SELECT details FROM audit_events"))


async def test_what_is_wrong_with_a_phone_that_is_to_be_proved_and_a_code_that_ran_out_are_on_record(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    asked = {"enrollmentToken": enrollment, "channel": "SMS"}
    assert (await api.do("sendPhoneCode", asked | {"phone": "1-900-234-5678"}))["__typename"] == "PhoneNumberUnusable"
    assert (await api.do("sendPhoneCode", asked | {"phone": world.number()}))["__typename"] == "SecurityCodeSent"
    await clock.forward(minutes=11)
    code = {"enrollmentToken": enrollment, "code": "123456"}
    assert (await api.do("verifyPhone", code))["__typename"] == "CodeExpired"
    assert [reason for reason, _ in await refusals()] == [
        "number cannot be used",
        "no code that is good any more",
    ]
    assert "2345678" not in str(await refusals())


async def test_the_second_copy_of_a_right_code_leaves_no_refusal(world: World, api: Api, mail: Mail) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    phone = world.number()
    await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
    code = {"enrollmentToken": enrollment, "code": (await mail.latest(phone)).content.code}
    for _ in range(2):
        assert (await api.do("verifyPhone", code))["nextStep"] == "SET_PASSWORD"
    assert await refusals() == []


async def test_who_asks_again_and_again_leaves_twenty_refusals_an_hour_and_strangers_none(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await clock.stop()
    challenge = await world.challenged(grace)
    asked = {"challengeToken": challenge, "channel": "SMS"}
    for _ in range(30):
        await api.do("sendSecurityCode", asked)
    assert len(await refusals()) == code_refusals.PER_ACCOUNT.amount == 20
    before = await database.fetch("SELECT count(*) AS n FROM audit_events")
    for _ in range(5):
        refused = await api.do("sendSecurityCode", {"challengeToken": "nobody's", "channel": "SMS"})
        assert refused["__typename"] == "ChallengeInvalid"
    assert await database.fetch("SELECT count(*) AS n FROM audit_events") == before
