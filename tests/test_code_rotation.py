"""The practice access code that is replaced by itself: when its days are over, and when somebody leaves who could see it."""

import asyncio

import asyncpg
import pytest

from domain import database, practice_access_codes, subscriptions
from domain.actors import operator
from domain.models.columns import SubscriptionStatus
from domain.subscriptions import Change
from tests.conftest import Clock
from tests.test_practice_access_codes import rotate
from tests.world import Api, Json, Mail, Person, PracticeWorld, World

CODE = """
{ practiceAccessCode { code issuedAt rotatesAt previousValidUntil rotationAdvised
  settings { rotationDays graceHours rotateOnDeparture } } }
"""
USER = "query ($id: ID!) { node(id: $id) { ... on User { mayKnowPracticeAccessCode } } }"


async def paying(world: World, name: str = "Elm Street Practice") -> PracticeWorld:
    """A practice whose access ends by nothing but the operator's hand."""
    practice = await world.practice(name)
    row = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1", practice.administrator.row_id)
    assert row is not None
    await subscriptions.change(operator("ada"), row["practice_id"], Change(status=SubscriptionStatus.ACTIVE))
    return practice


async def choose(api: Api, token: str, **settings: object) -> Json:
    """Set the settings of the code."""
    return await api.do("updatePracticeAccessCodeSettings", settings, token=token)


async def code(api: Api, token: str) -> Json:
    """The code as an administrator sees it."""
    shown: Json = (await api.query(CODE, token=token))["practiceAccessCode"]
    return shown


async def taken(world: World, api: Api, email: str, code: str) -> str:
    """What comes of the latest link to an address with a code."""
    kind: str = (await api.do("acceptInvitation", {"token": await world.link(email), "practiceAccessCode": code}))[
        "__typename"
    ]
    return kind


async def test_a_code_is_replaced_after_90_days_and_mailed_to_every_active_administrator(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await paying(world)
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await world.joined(practice, "grace@clinic.example")
    await clock.forward(days=89, hours=23)
    assert await practice_access_codes.rotate_due() == 0
    await clock.forward(hours=2)
    assert await practice_access_codes.rotate_due() == 1
    sent = {message.content.recipient: message.content.code for message in await mail.run()}
    shown = await code(api, await world.again(practice.administrator))
    assert shown["code"] != practice.practice_access_code
    assert sent == {practice.administrator.email: shown["code"], second.email: shown["code"]}
    assert shown["previousValidUntil"] is not None
    rows = await database.fetch(
        "SELECT actor_name, actor_user_id, ip_address, details->>'how' AS how FROM audit_events"
        " WHERE action = 'practice_access_code.rotated'"
    )
    assert [tuple(row.values()) for row in rows] == [("the schedule", None, None, "scheduled")]


async def test_workers_that_look_at_once_replace_a_code_once(world: World, mail: Mail, clock: Clock) -> None:
    for name in ("Elm Street Practice", "Oak Street Practice", "Ash Street Practice"):
        await paying(world, name)
    await mail.run()
    await clock.forward(days=91)
    done = await asyncio.gather(*(practice_access_codes.rotate_due() for _ in range(30)))
    assert sum(done) == 3
    assert len(await mail.run()) == 3
    assert await database.fetch("SELECT 1 FROM practice_access_codes") == [{"?column?": 1}] * 6


async def test_a_practice_that_is_held_keeps_no_other_waiting(world: World, server_url: str, clock: Clock) -> None:
    for name in ("Elm Street Practice", "Oak Street Practice"):
        await paying(world, name)
    await clock.forward(days=91)
    row = (await database.fetch("SELECT current_database() AS name, id FROM practices ORDER BY created_at LIMIT 1"))[0]
    other = await asyncpg.connect(server_url.rpartition("/")[0] + f"/{row['name']}")
    async with other.transaction():
        await other.execute("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", row["id"])
        assert await practice_access_codes.rotate_due() == 1
    await other.close()
    assert await practice_access_codes.rotate_due() == 1


async def test_a_practice_chooses_when_its_code_is_replaced(world: World, api: Api, clock: Clock) -> None:
    practice = await paying(world)
    token = practice.administrator.session
    never = await choose(api, token, rotationDays=0)
    assert never == {
        "__typename": "PracticeAccessCodeSettings",
        "rotationDays": 0,
        "graceHours": 24,
        "rotateOnDeparture": False,
    }
    assert (await code(api, token))["rotatesAt"] is None
    await clock.forward(days=400)
    assert await practice_access_codes.rotate_due() == 0
    token = await world.again(practice.administrator)
    await choose(api, token, rotationDays=365)
    assert await practice_access_codes.rotate_due() == 1
    await choose(api, token, rotationDays=30)
    assert await practice_access_codes.rotate_due() == 0
    await clock.forward(days=31)
    assert await practice_access_codes.rotate_due() == 1


async def test_after_an_outage_a_code_is_replaced_once_and_not_once_for_each_time_missed(
    world: World, clock: Clock
) -> None:
    await paying(world)
    await clock.forward(days=300)
    assert await practice_access_codes.rotate_due() == 1
    assert await practice_access_codes.rotate_due() == 0


async def test_a_practice_whose_staff_is_shut_out_keeps_its_code_until_it_is_renewed(
    world: World, clock: Clock
) -> None:
    practice = await world.practice()
    row = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1", practice.administrator.row_id)
    assert row is not None
    await clock.forward(days=91)
    assert await practice_access_codes.rotate_due() == 0
    await subscriptions.change(operator("ada"), row["practice_id"], Change(status=SubscriptionStatus.ACTIVE))
    assert await practice_access_codes.rotate_due() == 1


@pytest.mark.parametrize("hours", [0, 3, 72])
async def test_the_code_before_is_taken_for_as_long_as_the_practice_has_set(
    world: World, api: Api, clock: Clock, hours: int
) -> None:
    practice = await paying(world)
    token = practice.administrator.session
    await choose(api, token, graceHours=hours)
    for email in ("a@clinic.example", "b@clinic.example"):
        await world.invite(practice, email)
    await world.mail.run()
    rotated = await rotate(api, token)
    assert (rotated["previousValidUntil"] is None) == (hours == 0)
    if hours:
        await clock.forward(minutes=60 * hours - 1)
        assert await taken(world, api, "a@clinic.example", practice.practice_access_code) == "Enrollment"
        await clock.forward(minutes=2)
    assert await taken(world, api, "b@clinic.example", practice.practice_access_code) == "PracticeAccessCodeIncorrect"
    assert await taken(world, api, "b@clinic.example", rotated["code"]) == "Enrollment"


async def test_the_settings_are_for_administrators_who_have_just_signed_in(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    update = "mutation { updatePracticeAccessCodeSettings(input: {graceHours: 0}) { __typename } }"
    assert (await api.post(update, token=grace.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await api.post(update))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    await clock.forward(minutes=11)
    assert (await choose(api, practice.administrator.session, graceHours=0))["__typename"] == "SignInAgain"
    assert (await code(api, practice.administrator.session))["settings"]["graceHours"] == 24


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"rotationDays": -1}, {"rotationDays": 0}),
        ({"rotationDays": 366}, {"rotationDays": 365}),
        ({"graceHours": -1}, {"graceHours": 0}),
        ({"graceHours": 169}, {"graceHours": 168}),
    ],
)
async def test_settings_that_cannot_be_are_refused_by_name(
    world: World, api: Api, wrong: dict[str, int], right: dict[str, int]
) -> None:
    token = (await world.practice()).administrator.session
    refused = await choose(api, token, **wrong)
    assert [problem["path"] for problem in refused["problems"]] == [list(wrong)]
    changed = await choose(api, token, **right)
    assert changed["__typename"] == "PracticeAccessCodeSettings"
    assert right.items() <= changed.items()


async def test_a_setting_that_is_left_out_stays_and_each_change_is_audited(world: World, api: Api) -> None:
    token = (await world.practice()).administrator.session
    await choose(api, token, rotationDays=30)
    await choose(api, token, graceHours=1, rotateOnDeparture=True)
    wanted = {"rotationDays": 30, "graceHours": 1, "rotateOnDeparture": True}
    await choose(api, token, **wanted)
    assert (await code(api, token))["settings"] == wanted
    shown = await api.query(
        "{ practice { practiceAccessCodeSettings { rotationDays graceHours rotateOnDeparture } } }", token=token
    )
    assert shown["practice"]["practiceAccessCodeSettings"] == wanted
    rows = await database.fetch(
        "SELECT details->'before'->>'rotation_days' AS before, details->'after'->>'rotation_days' AS after FROM audit_events"
        " WHERE action = 'practice_access_code.settings_changed' ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [("90", "30"), ("30", "30")]


async def leave(api: Api, practice: PracticeWorld, person: Person, how: str) -> Json:
    """An administrator stops being one."""
    values = {"userId": person.id} | ({"accessLevel": "BILLING"} if how == "changeAccessLevel" else {})
    return await api.do(how, values, token=practice.administrator.session)


async def knows(api: Api, token: str, person: Person) -> bool:
    """Whether a viewer is told that a person may know the code."""
    answer: bool = (await api.query(USER, {"id": person.id}, token=token))["node"]["mayKnowPracticeAccessCode"]
    return answer


@pytest.mark.parametrize("how", ["deactivate", "changeAccessLevel"])
async def test_rotation_is_advised_when_an_administrator_leaves_until_the_code_is_replaced(
    world: World, api: Api, how: str
) -> None:
    practice = await world.practice()
    token = practice.administrator.session
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    staff = await world.joined(practice, "grace@clinic.example")
    assert not await knows(api, token, second)
    await leave(api, practice, staff, "deactivate")
    assert not (await code(api, token))["rotationAdvised"]
    other = await world.joined(practice, "mary@clinic.example")
    await leave(api, practice, second, how)
    assert await knows(api, token, second)
    assert not await knows(api, token, practice.administrator)
    assert not await knows(api, other.session, second)
    shown = await code(api, token)
    assert (shown["rotationAdvised"], shown["code"]) == (True, practice.practice_access_code)
    await rotate(api, token)
    assert not await knows(api, token, second)
    assert not (await code(api, token))["rotationAdvised"]


async def test_a_code_that_somebody_knows_who_left_is_not_taken_once_it_is_replaced(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await leave(api, practice, second, "deactivate")
    await rotate(api, admin)
    shown = await code(api, admin)
    assert (shown["previousValidUntil"], shown["rotationAdvised"]) == (None, False)
    await world.invite(practice, "new@clinic.example")
    old = practice.practice_access_code
    assert await taken(world, api, "new@clinic.example", old) == "PracticeAccessCodeIncorrect"


async def test_an_administrator_who_comes_back_may_know_the_code(world: World, api: Api) -> None:
    practice = await world.practice()
    token = practice.administrator.session
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await leave(api, practice, second, "changeAccessLevel")
    assert (await code(api, token))["rotationAdvised"]
    await api.do("changeAccessLevel", {"userId": second.id, "accessLevel": "ADMINISTRATOR"}, token=token)
    assert not (await code(api, token))["rotationAdvised"]
    assert not await knows(api, token, second)


@pytest.mark.parametrize("how", ["deactivate", "changeAccessLevel"])
async def test_the_code_is_replaced_when_an_administrator_leaves_where_the_practice_wants_that(
    world: World, api: Api, mail: Mail, how: str
) -> None:
    practice = await world.practice()
    token = practice.administrator.session
    await choose(api, token, rotateOnDeparture=True)
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await world.invite(practice, "grace@clinic.example")
    await world.link("grace@clinic.example")
    await mail.run()
    await leave(api, practice, second, how)
    shown = await code(api, token)
    assert shown["code"] != practice.practice_access_code
    # Whoever left knows the code before: it is not taken for another day.
    assert (shown["previousValidUntil"], shown["rotationAdvised"]) == (None, False)
    sent = [message for message in await mail.run() if message.content.code]
    assert [(message.content.recipient, message.content.code) for message in sent] == [
        (practice.administrator.email, shown["code"])
    ]
    link = await world.link("grace@clinic.example")
    values = {"token": link, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "PracticeAccessCodeIncorrect"
    assert (await api.do("acceptInvitation", values | {"practiceAccessCode": shown["code"]}))[
        "__typename"
    ] == "Enrollment"
    rows = await database.fetch(
        "SELECT actor_name, subject_user_id, details->>'how' AS how FROM audit_events WHERE action = 'practice_access_code.rotated'"
    )
    assert [tuple(row.values()) for row in rows] == [("Ada Lovelace", second.row_id, "departure")]


async def test_staff_that_leaves_takes_no_code_along(world: World, api: Api) -> None:
    practice = await world.practice()
    token = practice.administrator.session
    await choose(api, token, rotateOnDeparture=True)
    staff = await world.joined(practice, "grace@clinic.example")
    invited = await world.invite(practice, "mary@clinic.example", "ADMINISTRATOR")
    await leave(api, practice, staff, "deactivate")
    await api.do("deactivate", {"userId": invited}, token=token)
    assert (await code(api, token))["code"] == practice.practice_access_code


async def test_whoever_looks_while_being_demoted_never_sees_the_code_made_because_of_that(
    world: World, api: Api
) -> None:
    practice = await world.practice()
    token = practice.administrator.session
    await choose(api, token, rotateOnDeparture=True)
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    every: set[str] = set()
    for _ in range(8):
        await api.do("changeAccessLevel", {"userId": second.id, "accessLevel": "ADMINISTRATOR"}, token=token)
        seen: set[str] = set()
        gone = asyncio.Event()

        async def look(seen: set[str] = seen, gone: asyncio.Event = gone) -> None:
            while not gone.is_set():
                answer = await api.post(CODE, token=second.session)
                seen |= {answer["data"]["practiceAccessCode"]["code"]} if answer.get("data") else set()

        async def demote(gone: asyncio.Event = gone) -> None:
            await leave(api, practice, second, "changeAccessLevel")
            gone.set()

        await asyncio.gather(*(look() for _ in range(4)), demote())
        assert len(seen) <= 1
        assert (await code(api, token))["code"] not in seen
        every |= seen
    assert every


@pytest.mark.parametrize("hours", [0, 24])
async def test_accepting_while_the_code_is_replaced_comes_before_or_after_it(
    world: World, api: Api, hours: int
) -> None:
    practice = await world.practice()
    token = practice.administrator.session
    await choose(api, token, graceHours=hours)
    emails = [f"person{number}@clinic.example" for number in range(8)]
    for email in emails:
        await world.invite(practice, email)
    links = {email: await world.link(email) for email in emails}
    old = practice.practice_access_code

    async def accept(email: str, given: str) -> str:
        kind: str = (await api.do("acceptInvitation", {"token": links[email], "practiceAccessCode": given}))[
            "__typename"
        ]
        return kind

    first, rotated, second = await asyncio.gather(
        asyncio.gather(*(accept(email, old) for email in emails[:4])),
        rotate(api, token),
        asyncio.gather(*(accept(email, old) for email in emails[4:])),
    )
    legal = {"Enrollment"} if hours else {"Enrollment", "PracticeAccessCodeIncorrect"}
    assert {*first, *second} <= legal
    # Whatever came of the race, from now on the state is the one after the rotation.
    assert await accept(emails[0], old) == ("Enrollment" if hours else "PracticeAccessCodeIncorrect")
    assert await accept(emails[0], rotated["code"]) == "Enrollment"
