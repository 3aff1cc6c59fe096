"""Codes to a phone: sent, counted before they are compared, good once and in one place."""

import asyncio

import pytest

from domain import database
from tests.conftest import Clock
from tests.world import Api, Mail, World


def wrong(code: str) -> str:
    """Another six digits."""
    return f"{(int(code) + 1) % 10**6:06d}"


async def test_a_code_proves_the_phone_it_was_sent_to(world: World, api: Api, mail: Mail) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    sent = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": "(202) 555-0142", "channel": "SMS"})
    assert sent["phone"].endswith("42")
    assert "2025550142" not in sent["phone"]
    message = await mail.latest("+12025550142")
    assert len(message.content.code) == 6
    result = await api.do(
        "verifyPhone",
        {"enrollmentToken": enrollment, "code": f" {message.content.code[:3]} {message.content.code[3:]}"},
    )
    assert result["nextStep"] == "SET_PASSWORD"


async def test_of_a_hundred_parallel_wrong_codes_five_are_compared(world: World, api: Api, mail: Mail) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    phone = world.number()
    await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
    code = (await mail.latest(phone)).content.code
    results = await asyncio.gather(
        *(api.do("verifyPhone", {"enrollmentToken": enrollment, "code": wrong(code)}) for _ in range(100))
    )
    kinds = [result["__typename"] for result in results]
    assert kinds.count("CodeIncorrect") == 5
    assert kinds.count("TooManyAttempts") == 95
    assert sorted(result["attemptsLeft"] for result in results if "attemptsLeft" in result) == [0, 1, 2, 3, 4]
    assert (await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": code}))[
        "__typename"
    ] == "TooManyAttempts"
    refused = await database.fetch(
        "SELECT details ->> 'reason' AS reason, count(*) AS n FROM audit_events WHERE action = 'security_code.refused' GROUP BY 1"
    )
    assert {row["reason"]: row["n"] for row in refused} == {"wrong code": 5, "too many wrong codes": 96}


async def test_of_parallel_right_codes_one_proves_the_phone_and_all_are_told_so(
    world: World, api: Api, mail: Mail
) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    phone = world.number()
    await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
    code = (await mail.latest(phone)).content.code
    results = await asyncio.gather(
        *(api.do("verifyPhone", {"enrollmentToken": enrollment, "code": code}) for _ in range(5))
    )
    verified = await database.fetch(
        "SELECT 1 FROM audit_events WHERE action = 'phone.verified' AND subject_name = 'Grace Hopper'"
    )
    assert len(verified) == 1
    assert [(result["__typename"], result["nextStep"]) for result in results] == [("Enrollment", "SET_PASSWORD")] * 5
    assert await database.fetch("SELECT key FROM guess_counters WHERE key LIKE 'phone:%'") == []


async def test_a_code_is_good_for_ten_minutes(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    for email, minutes, expected in (
        ("a@clinic.example", 9.9, "Enrollment"),
        ("b@clinic.example", 10.1, "CodeExpired"),
    ):
        enrollment = await world.enrolled(practice, email)
        phone = world.number()
        await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
        code = (await mail.latest(phone)).content.code
        await clock.forward(minutes=minutes)
        result = await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": code})
        assert result["__typename"] == expected


async def test_a_newer_code_ends_the_older_one(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    phone = world.number()
    ask = {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"}
    await api.do("sendPhoneCode", ask)
    old = (await mail.latest(phone)).content.code
    again = await api.do("sendPhoneCode", ask)
    assert again["__typename"] == "TooSoon"
    await clock.forward(seconds=31)
    assert (await api.do("sendPhoneCode", ask | {"channel": "VOICE"}))["channel"] == "VOICE"
    new = (await mail.latest(phone)).content.code
    assert new != old
    assert (await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": old}))["__typename"] == "CodeIncorrect"
    assert (await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": new}))["__typename"] == "Enrollment"


async def test_a_new_code_does_not_refill_the_guesses_at_the_phone(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    for _ in range(4):
        phone = world.number()
        sent = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
        assert sent["__typename"] == "SecurityCodeSent"
        code = (await mail.latest(phone)).content.code
        for _ in range(5):
            result = await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": wrong(code)})
            assert result["__typename"] == "CodeIncorrect"
        await clock.forward(seconds=31)
    locked = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": world.number(), "channel": "SMS"})
    assert locked["__typename"] == "LimitReached"


async def test_a_number_gets_five_codes_in_ten_minutes_whoever_asks(world: World, api: Api, clock: Clock) -> None:
    await clock.stop()
    practice = await world.practice()
    phone = world.number()
    kinds = []
    for n in range(6):
        enrollment = await world.enrolled(practice, f"user{n}@clinic.example")
        result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
        kinds.append(result["__typename"])
    assert kinds.count("SecurityCodeSent") == 5
    assert kinds[-1] == "LimitReached"


async def test_a_stranger_cannot_use_up_what_the_owner_of_a_number_needs(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    kinds = []
    for n in range(6):
        enrollment = await world.enrolled(practice, f"stranger{n}@clinic.example")
        result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": grace.phone, "channel": "SMS"})
        kinds.append(result["__typename"])
    assert kinds[-1] == "LimitReached"
    sent = await api.do("sendSecurityCode", {"challengeToken": await world.challenged(grace), "channel": "SMS"})
    assert sent["__typename"] == "SecurityCodeSent"


@pytest.mark.parametrize("phone", ["+1 900 555 0123", "1-800-555-0199", "12345", "not a number", "+12025550143 ext. 7"])
async def test_a_number_that_costs_extra_or_does_not_exist_gets_no_code(
    world: World, api: Api, mail: Mail, phone: str
) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    await mail.run()
    before = len(mail.sent)
    result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": "SMS"})
    assert result["__typename"] == "PhoneNumberUnusable"
    await mail.run()
    assert len(mail.sent) == before


async def test_a_code_is_useless_in_any_other_flow(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    challenge = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(grace.phone)).content.code
    enrollment = await world.enrolled(practice, "mary@clinic.example")
    other = world.number()
    await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": other, "channel": "SMS"})
    assert (await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": code}))["__typename"] == "CodeIncorrect"
    assert (await api.do("verifyDevice", {"challengeToken": challenge, "code": code}))["__typename"] == "SignedIn"


async def test_steps_cannot_be_skipped(world: World, api: Api) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    skipped = await api.do("setPassword", {"enrollmentToken": enrollment, "password": "correct horse battery staple"})
    assert (skipped["__typename"], skipped["nextStep"]) == ("StepOutOfOrder", "SEND_PHONE_CODE")
    skipped = await api.do("verifyPhone", {"enrollmentToken": enrollment, "code": "123456"})
    assert (skipped["__typename"], skipped["nextStep"]) == ("StepOutOfOrder", "SEND_PHONE_CODE")
    await world.proved(enrollment)
    again = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": world.number(), "channel": "SMS"})
    assert (again["__typename"], again["nextStep"]) == ("StepOutOfOrder", "SET_PASSWORD")


async def test_nothing_is_sent_for_somebody_who_has_no_enrollment(db: None, api: Api, mail: Mail) -> None:
    for token in ("", "x", "A" * 46, "A" * 500):
        result = await api.do("sendPhoneCode", {"enrollmentToken": token, "phone": "+12025550143", "channel": "SMS"})
        assert result["__typename"] == "EnrollmentInvalid"
    assert await mail.run() == []
