"""Recovery codes stand in for the phone, once each, and for nothing else."""

import asyncio
import math

import pytest

from domain import database, guesses, secrets, typed_codes
from tests.conftest import TEST_KEYS, Clock
from tests.world import PASSWORD, Api, Json, Mail, Person, PracticeWorld, World

NEW = "seven green kites over the bay"
RENEW = "mutation { renewRecoveryCodes { __typename ... on UserError { message } ... on RecoveryCodes { codes } } }"
LEFT = "{ viewer { recoveryCodesLeft } }"
WRONG = "AAAA-AAAA-AAAA-AAAA"


async def joined(world: World) -> tuple[PracticeWorld, Person]:
    """A practice and somebody who has joined it."""
    practice = await world.practice()
    return practice, await world.joined(practice, "grace@clinic.example")


async def verify(world: World, person: Person, code: str, **more: str) -> Json:
    """A sign-in on a new device, answered with a code."""
    values = {"challengeToken": await world.challenged(person), "code": code} | more
    return await world.api.do("verifyDevice", values)


async def left(api: Api, session: str) -> int:
    """How many codes somebody has left."""
    count: int = (await api.query(LEFT, token=session))["viewer"]["recoveryCodesLeft"]
    return count


def test_a_code_has_more_than_64_bits_and_a_letter() -> None:
    assert secrets.RECOVERY_CODE_LENGTH * math.log2(len(secrets.PAC_ALPHABET)) > 64
    for _ in range(200):
        code = secrets.new_recovery_code()
        assert not code.replace("-", "").isdigit()
        assert set(code.replace("-", "")) <= set(secrets.PAC_ALPHABET)


@pytest.mark.parametrize("typed", ["123456", "123 456", "", "G-123456", "1234567890123456", "A" * 30, "١٢٣٤٥٦"])
def test_what_cannot_be_meant_as_one_is_not_read_as_one(typed: str) -> None:
    assert typed_codes.recovery_code(typed) is None


@pytest.mark.parametrize(
    "typed",
    [
        "Your code is 123456",
        "Practice Access: 123456 is your code",
        "code 123456 ok",
        "12345",
        "the code\n\n@app.example #123456",
    ],
)
def test_a_text_with_a_security_code_is_not_read_as_one(typed: str) -> None:
    assert typed_codes.recovery_code(typed) is None


@pytest.mark.parametrize(
    "typed",
    [
        "K7WD-04NP-T9HX-2CEM",
        "k7wd04npt9hx2cem",
        " K7WD 04NP T9HX 2CEM\n",
        "K7WD—O4NP—T9HX—2CEM",
        "K7WD-04NP-T9HX-2C3M4",
    ],
)
def test_a_code_is_read_however_it_is_typed(typed: str) -> None:
    read = typed_codes.recovery_code(typed)
    assert read is not None
    assert read.startswith("K7WD04NPT9HX2C")


def test_a_code_with_six_digits_in_a_row_is_no_security_code() -> None:
    assert typed_codes.recovery_code("K7123456T9HX2CEM") == "K7123456T9HX2CEM"


async def test_ten_are_shown_when_the_password_is_set_and_never_again(world: World, api: Api) -> None:
    practice, grace = await joined(world)
    for person in (practice.administrator, grace):
        assert len(set(person.recovery_codes)) == 10
        assert await left(api, person.session) == 10
    values = {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device}
    assert (await api.do("signIn", values))["recoveryCodes"] is None
    shown = await api.query(
        "{ usersTile { users { nodes { email recoveryCodesLeft } } } }", token=practice.administrator.session
    )
    by_email = {one["email"]: one["recoveryCodesLeft"] for one in shown["usersTile"]["users"]["nodes"]}
    assert by_email == {practice.administrator.email: 10, grace.email: None}


async def test_no_code_is_in_the_database(world: World) -> None:
    _, grace = await joined(world)
    rows = await database.fetch("SELECT mac, key_id FROM recovery_codes WHERE user_id = $1", grace.row_id)
    assert len(rows) == 10
    tables = await database.fetch("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    for code in grace.recovery_codes:
        for form in (code, code.replace("-", "")):
            for table in tables:
                found = await database.fetch(
                    f"SELECT 1 FROM {table['name']} t WHERE position($1 in t::text) > 0 OR position($2 in t::text) > 0",
                    form,
                    form.encode().hex(),
                )
                assert found == [], table["name"]


async def test_one_signs_in_without_the_phone_and_the_owner_is_told(world: World, api: Api, mail: Mail) -> None:
    _, grace = await joined(world)
    typed = grace.recovery_codes[0].lower().replace("-", " ").replace("0", "o")
    result = await verify(world, grace, typed)
    assert (result["__typename"], result["user"]["id"]) == ("SignedIn", grace.id)
    assert await left(api, result["sessionToken"]) == 9
    assert "recovery_code_used" in {sent.content.notice for sent in await mail.run()}
    assert not [sent for sent in mail.sent if sent.content.purpose is not None]  # no text was needed
    again = await verify(world, grace, grace.recovery_codes[0])
    assert again["__typename"] == "CodeExpired"
    assert (await verify(world, grace, grace.recovery_codes[1]))["__typename"] == "SignedIn"
    rows = await database.fetch(
        "SELECT details->>'left' AS left FROM audit_events WHERE action = 'recovery_code.used' ORDER BY id"
    )
    assert [row["left"] for row in rows] == ["9", "8"]


async def test_whoever_signed_in_with_one_sets_another_phone_at_once(world: World, api: Api) -> None:
    _, grace = await joined(world)
    # A hundred wrong codes by somebody with the password ended the old phone.
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, 100, 5, clock_now())",
        f"phone:user:{grace.row_id}",
    )
    session = (await verify(world, grace, grace.recovery_codes[0]))["sessionToken"]
    phone = world.number()
    change = await api.do("changePhone", {"password": PASSWORD, "phone": phone}, token=session)
    values = {"challengeToken": change["token"], "code": await world.code(change["token"], phone)}
    assert (await api.do("confirmPhone", values, token=session))["__typename"] == "User"
    grace.phone = phone
    assert (await verify(world, grace, await _code(world, grace)))["__typename"] == "CodeExpired"
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": await world.code(challenge, phone)}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"


async def _code(world: World, person: Person) -> str:
    """A code that belongs to another challenge."""
    return await world.code(await world.challenged(person), person.phone)


async def test_one_answers_a_reset_a_renewal_and_another_address(world: World, api: Api) -> None:
    _, grace = await joined(world)
    codes = iter(grace.recovery_codes)
    renewal = await api.do("renewSignIn", {"password": PASSWORD}, token=grace.session)
    values = {"challengeToken": renewal["token"], "code": next(codes)}
    assert (await api.do("confirmSignIn", values, token=grace.session))["__typename"] == "SignInRenewed"
    change = await api.do("changeEmail", {"email": "grace@new.example"}, token=grace.session)
    values = {"challengeToken": change["token"], "code": next(codes)}
    assert (await api.do("verifyEmailChange", values, token=grace.session))["__typename"] == "CheckYourEmail"
    await api.do("requestPasswordReset", {"email": grace.email})
    reset = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
    values = {"challengeToken": reset["token"], "code": next(codes)}
    # A password that is refused costs no code.
    for weak in ("short", PASSWORD):
        assert (await api.do("resetPassword", values | {"newPassword": weak}))["__typename"] == "PasswordRejected"
    assert (await api.do("resetPassword", values | {"newPassword": NEW}))["__typename"] == "SignedIn"


async def test_none_proves_a_new_phone(world: World, api: Api) -> None:
    _, grace = await joined(world)
    phone = world.number()
    change = await api.do("changePhone", {"password": PASSWORD, "phone": phone}, token=grace.session)
    values = {"challengeToken": change["token"], "code": grace.recovery_codes[0]}
    await world.code(change["token"], phone)
    assert (await api.do("confirmPhone", values, token=grace.session))["__typename"] == "InputInvalid"
    assert await left(api, grace.session) == 10


async def test_after_the_phone_was_taken_away_one_signs_in_with_the_access_code(world: World, api: Api) -> None:
    practice, grace = await joined(world)
    await api.do("resetPhone", {"userId": grace.id}, token=practice.administrator.session)
    without = await verify(world, grace, grace.recovery_codes[0])
    assert without["__typename"] == "PracticeAccessCodeIncorrect"
    result = await verify(world, grace, grace.recovery_codes[0], practiceAccessCode=practice.practice_access_code)
    assert (result["__typename"], result["user"]["phone"]) == ("SignedIn", None)


async def test_another_persons_code_opens_nothing(world: World) -> None:
    practice, grace = await joined(world)
    refused = await verify(world, grace, practice.administrator.recovery_codes[0])
    assert (refused["__typename"], refused["attemptsLeft"]) == ("CodeIncorrect", 9)


async def test_guesses_are_counted_on_the_person_and_not_on_the_challenge(world: World, api: Api, clock: Clock) -> None:
    _, grace = await joined(world)
    kinds = [(await verify(world, grace, WRONG))["__typename"] for _ in range(12)]
    assert kinds == ["CodeIncorrect"] * 10 + ["TooManyAttempts"] * 2
    assert (await verify(world, grace, grace.recovery_codes[0]))["__typename"] == "TooManyAttempts"
    # Codes from the phone are counted apart, and so is the way through the mailbox.
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"
    await api.do("requestPasswordReset", {"email": grace.email})
    reset = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
    values = {"challengeToken": reset["token"], "code": grace.recovery_codes[0], "newPassword": NEW}
    assert (await api.do("resetPassword", values))["__typename"] == "SignedIn"
    grace.password = NEW
    await clock.forward(minutes=15, seconds=1)
    assert (await verify(world, grace, grace.recovery_codes[1]))["__typename"] == "SignedIn"


async def test_of_parallel_answers_with_one_code_one_wins(world: World, api: Api) -> None:
    _, grace = await joined(world)
    challenges = [await world.challenged(grace) for _ in range(6)]
    values = [{"challengeToken": one, "code": grace.recovery_codes[0]} for one in challenges]
    results = await asyncio.gather(*(api.do("verifyDevice", one) for one in values))
    kinds = [result["__typename"] for result in results]
    assert sorted(kinds) == ["CodeExpired"] * 5 + ["SignedIn"], kinds
    rows = await database.fetch("SELECT 1 FROM recovery_codes WHERE used_at IS NOT NULL")
    assert len(rows) == 1


async def test_of_parallel_wrong_codes_ten_are_compared(world: World, api: Api) -> None:
    _, grace = await joined(world)
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": WRONG}
    results = await asyncio.gather(*(api.do("verifyDevice", values) for _ in range(30)))
    kinds = [result["__typename"] for result in results]
    assert (kinds.count("CodeIncorrect"), kinds.count("TooManyAttempts")) == (10, 20)


async def test_renewing_makes_ten_and_ends_those_before(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    _, grace = await joined(world)
    await verify(world, grace, grace.recovery_codes[0])
    renewed = (await api.query(RENEW, token=grace.session))["renewRecoveryCodes"]
    assert len(set(renewed["codes"]) - set(grace.recovery_codes)) == 10
    assert await left(api, grace.session) == 10
    assert (await mail.latest(grace.email)).content.notice == "recovery_codes_renewed"
    assert (await verify(world, grace, grace.recovery_codes[1]))["__typename"] == "CodeExpired"
    assert (await verify(world, grace, renewed["codes"][0]))["__typename"] == "SignedIn"
    await clock.forward(minutes=10, seconds=1)
    assert (await api.query(RENEW, token=grace.session))["renewRecoveryCodes"]["__typename"] == "SignInAgain"


async def test_ten_sets_a_day_are_made_and_the_refused_one_ends_nothing(world: World, api: Api) -> None:
    _, grace = await joined(world)
    asked = await asyncio.gather(*(api.query(RENEW, token=grace.session) for _ in range(12)))
    kinds = [answer["renewRecoveryCodes"]["__typename"] for answer in asked]
    assert (kinds.count("RecoveryCodes"), kinds.count("LimitReached")) == (10, 2)
    assert await left(api, grace.session) == 10
    made = await database.fetch("SELECT 1 FROM deliveries WHERE notice = 'recovery_codes_renewed'")
    assert len(made) == 10


async def test_of_sets_made_at_once_one_is_left(world: World, api: Api) -> None:
    _, grace = await joined(world)
    answers = await asyncio.gather(*(api.query(RENEW, token=grace.session) for _ in range(5)))
    assert all(len(answer["renewRecoveryCodes"]["codes"]) == 10 for answer in answers)
    assert await left(api, grace.session) == 10


async def test_whoever_joined_before_there_were_any_has_none_and_makes_some(world: World, api: Api) -> None:
    _, grace = await joined(world)
    await database.execute("DELETE FROM recovery_codes WHERE user_id = $1", grace.row_id)
    assert await left(api, grace.session) == 0
    assert (await verify(world, grace, grace.recovery_codes[0]))["__typename"] == "CodeIncorrect"
    await api.query(RENEW, token=grace.session)
    assert await left(api, grace.session) == 10


async def test_codes_stay_good_when_a_server_key_is_added(world: World) -> None:
    secrets.use_keys((TEST_KEYS[1].encode(),))
    try:
        _, grace = await joined(world)
    finally:
        secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))
    assert (await verify(world, grace, grace.recovery_codes[0]))["__typename"] == "SignedIn"


async def test_a_code_is_as_good_as_before_when_the_door_is_closed_after_it(world: World, api: Api) -> None:
    _, grace = await joined(world)
    challenge = await world.challenged(grace)
    await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")
    values = {"challengeToken": challenge, "code": grace.recovery_codes[0]}
    assert (await api.do("verifyDevice", values))["__typename"] == "SubscriptionLapsed"
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"
    assert await database.fetch("SELECT 1 FROM guess_counters WHERE key LIKE 'recovery:%'") == []


def test_the_limit_on_guesses_can_lock_nobody_out_for_long() -> None:
    assert guesses.RECOVERY_CODE.max_lock_seconds <= 3600
    assert guesses.RECOVERY_CODE.disabled_after is None


async def test_a_copy_of_an_answer_with_a_recovery_code_is_told_that_the_challenge_is_used(
    world: World, api: Api
) -> None:
    _, grace = await joined(world)
    for number in range(3):
        values = {"challengeToken": await world.challenged(grace), "code": grace.recovery_codes[number]}
        answers = await asyncio.gather(*(api.do("verifyDevice", values) for _ in range(4)))
        assert sorted(answer["__typename"] for answer in answers) == ["ChallengeInvalid"] * 3 + ["SignedIn"]
        assert {answer.get("challengeProblem", "USED") for answer in answers} == {"USED"}
    assert await database.fetch("SELECT 1 FROM guess_counters WHERE key LIKE 'recovery:%' AND failures > 0") == []
