"""Replacing a practice's access code."""

import asyncio

from domain import database
from tests.conftest import Clock
from tests.world import Api, Json, Mail, World, keep_sessions_open

ROTATE = """
mutation M($input: RotatePracticeAccessCodeInput) { rotatePracticeAccessCode(input: $input) { __typename ... on UserError { message }
  ... on PracticeAccessCode { code previousValidUntil openInvitationCount } } }
"""


async def rotate(api: Api, token: str, *, end_previous: bool | None = None) -> Json:
    """Replace the code; what is answered."""
    variables = {} if end_previous is None else {"input": {"endPrevious": end_previous}}
    answer: Json = (await api.query(ROTATE, variables, token=token))["rotatePracticeAccessCode"]
    return answer


async def test_a_new_code_is_mailed_to_every_active_administrator_and_to_nobody_else(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    gone = await world.joined(practice, "gone@clinic.example", "ADMINISTRATOR")
    await world.joined(practice, "grace@clinic.example")
    await world.invite(practice, "mary@clinic.example")
    await api.do("deactivate", {"userId": gone.id}, token=practice.administrator.session)
    await mail.run()
    rotated = await rotate(api, practice.administrator.session)
    assert rotated["code"] != practice.practice_access_code
    assert rotated["openInvitationCount"] == 1
    sent = {message.content.recipient: message.content.code for message in await mail.run()}
    assert sent == {practice.administrator.email: rotated["code"], second.email: rotated["code"]}


async def test_the_code_before_it_is_taken_for_another_day(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    for email in ("a@clinic.example", "b@clinic.example", "c@clinic.example"):
        await world.invite(practice, email)
    rotated = await rotate(api, practice.administrator.session)
    assert rotated["previousValidUntil"] is not None

    async def taken(email: str, code: str) -> str:
        values = {"token": await world.link(email), "practiceAccessCode": code}
        kind: str = (await api.do("acceptInvitation", values))["__typename"]
        return kind

    assert await taken("a@clinic.example", practice.practice_access_code) == "Enrollment"
    assert await taken("b@clinic.example", rotated["code"]) == "Enrollment"
    await clock.forward(hours=24, minutes=1)
    assert await taken("c@clinic.example", practice.practice_access_code) == "PracticeAccessCodeIncorrect"
    assert await taken("c@clinic.example", rotated["code"]) == "Enrollment"


async def taken(world: World, api: Api, email: str, code: str) -> bool:
    """Whether somebody invited gets in with a code."""
    values = {"token": await world.link(email), "practiceAccessCode": code}
    return str((await api.do("acceptInvitation", values))["__typename"]) == "Enrollment"


async def test_each_code_before_is_taken_for_as_long_as_it_was_promised_whatever_is_rotated_after_it(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    for email in ("a@clinic.example", "b@clinic.example"):
        await world.invite(practice, email)
    codes = [practice.practice_access_code]
    codes.append((await rotate(api, practice.administrator.session))["code"])
    await clock.forward(minutes=2)
    third = await rotate(api, practice.administrator.session)
    assert third["code"] not in codes
    for code in (*codes, third["code"]):
        assert await taken(world, api, "a@clinic.example", code)
    await clock.forward(hours=23, minutes=59)
    await keep_sessions_open()
    assert not await taken(world, api, "b@clinic.example", codes[0])  # its day is over
    assert await taken(world, api, "b@clinic.example", codes[1])  # and this one's is not
    await clock.forward(minutes=2)
    assert not await taken(world, api, "b@clinic.example", codes[1])
    assert await taken(world, api, "b@clinic.example", third["code"])


async def test_a_second_click_within_a_minute_answers_the_present_code_and_replaces_nothing(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    await mail.run()
    first = await rotate(api, practice.administrator.session)
    await clock.forward(seconds=59)
    assert await rotate(api, practice.administrator.session) == first
    assert len(await mail.run()) == 1
    rows = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'practice_access_code.rotated'")
    assert len(rows) == 1
    await clock.forward(seconds=2)
    assert (await rotate(api, practice.administrator.session))["code"] != first["code"]
    assert len(await mail.run()) == 1


async def test_within_a_minute_another_session_does_replace_the_code(world: World, api: Api) -> None:
    practice = await world.practice()
    other = await world.again(practice.administrator)
    codes = {(await rotate(api, session))["code"] for session in (practice.administrator.session, other)}
    assert len(codes) == 2


async def test_within_a_minute_the_code_is_replaced_again_when_somebody_left_who_saw_it(world: World, api: Api) -> None:
    practice = await world.practice()
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await world.invite(practice, "new@clinic.example")
    first = (await rotate(api, practice.administrator.session))["code"]
    await api.do("deactivate", {"userId": second.id}, token=practice.administrator.session)
    third = await rotate(api, practice.administrator.session)
    assert third["code"] != first
    assert third["previousValidUntil"] is None
    for code in (practice.practice_access_code, first):
        assert not await taken(world, api, "new@clinic.example", code)


async def test_end_previous_ends_every_earlier_code_at_once(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    await world.invite(practice, "new@clinic.example")
    first = (await rotate(api, practice.administrator.session))["code"]
    await clock.forward(seconds=61)
    second = await rotate(api, practice.administrator.session, end_previous=True)
    assert (second["previousValidUntil"], second["code"] != first) == (None, True)
    for code in (practice.practice_access_code, first):
        assert not await taken(world, api, "new@clinic.example", code)
    assert await taken(world, api, "new@clinic.example", second["code"])
    rows = await database.fetch(
        "SELECT details->>'earlier_ended' AS ended FROM audit_events WHERE action = 'practice_access_code.rotated' ORDER BY id"
    )
    assert [row["ended"] for row in rows] == ["false", "true"]


async def test_end_previous_holds_within_the_minute_too_without_another_code(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "new@clinic.example")
    first = await rotate(api, practice.administrator.session)
    for _ in range(2):
        again = await rotate(api, practice.administrator.session, end_previous=True)
        assert (again["code"], again["previousValidUntil"]) == (first["code"], None)
    assert not await taken(world, api, "new@clinic.example", practice.practice_access_code)
    rows = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'practice_access_code.earlier_ended'")
    assert len(rows) == 1


async def test_a_code_that_still_waits_to_be_mailed_is_not_sent_once_it_was_replaced(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    await mail.run()
    await rotate(api, practice.administrator.session)
    await clock.forward(seconds=61)
    latest = (await rotate(api, practice.administrator.session))["code"]
    assert [message.content.code for message in await mail.run()] == [latest]


async def test_parallel_clicks_replace_the_code_once_and_answer_it_alike(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    await mail.run()
    codes = await asyncio.gather(*(rotate(api, practice.administrator.session) for _ in range(8)))
    assert len({code["code"] for code in codes}) == 1
    assert [message.content.code for message in await mail.run()] == [codes[0]["code"]]
    rows = await database.fetch(
        "SELECT count(*) FILTER (WHERE valid_until IS NULL) AS current, count(*) FILTER (WHERE valid_until > clock_now()) AS before"
        " FROM practice_access_codes"
    )
    assert dict(rows[0]) == {"current": 1, "before": 1}


async def test_replacing_the_code_is_for_administrators_who_have_just_signed_in(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    staff = await world.joined(practice, "grace@clinic.example")
    assert (await api.post(ROTATE, token=staff.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await api.post(ROTATE))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    await clock.forward(minutes=11)
    assert (await rotate(api, practice.administrator.session))["__typename"] == "SignInAgain"
