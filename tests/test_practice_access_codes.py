"""Replacing a practice's access code."""

import asyncio

from domain import database
from tests.conftest import Clock
from tests.world import Api, Json, Mail, World

ROTATE = """
mutation { rotatePracticeAccessCode { __typename ... on UserError { message }
  ... on PracticeAccessCode { code previousValidUntil openInvitationCount } } }
"""


async def rotate(api: Api, token: str) -> Json:
    """Replace the code; what is answered."""
    answer: Json = (await api.query(ROTATE, token=token))["rotatePracticeAccessCode"]
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


async def test_only_the_latest_of_the_codes_before_is_taken(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    second = (await rotate(api, practice.administrator.session))["code"]
    await rotate(api, practice.administrator.session)
    link = await world.link("grace@clinic.example")
    first = {"token": link, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", first))["__typename"] == "PracticeAccessCodeIncorrect"
    assert (await api.do("acceptInvitation", first | {"practiceAccessCode": second}))["__typename"] == "Enrollment"


async def test_a_code_that_still_waits_to_be_mailed_is_not_sent_once_it_was_replaced(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    await mail.run()
    await rotate(api, practice.administrator.session)
    latest = (await rotate(api, practice.administrator.session))["code"]
    assert [message.content.code for message in await mail.run()] == [latest]


async def test_parallel_rotations_leave_one_current_code(world: World, api: Api) -> None:
    practice = await world.practice()
    codes = await asyncio.gather(*(rotate(api, practice.administrator.session) for _ in range(8)))
    assert all(code["__typename"] == "PracticeAccessCode" for code in codes)
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
