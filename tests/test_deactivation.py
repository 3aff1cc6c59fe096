"""Blocking somebody bites at once, also under load."""

import asyncio
import time

from domain import database
from domain.models.columns import InvitationEnd
from domain.outbox import Kind
from tests.conftest import Clock
from tests.world import Api, Mail, Person, PracticeWorld, World

CLIENTS = 20
VIEWER = "{ viewer { id } usersTile { activeCount } }"


async def ask_until(
    api: Api, person: Person, let_in: asyncio.Event, blocked: asyncio.Event
) -> list[tuple[float, bool]]:
    """Ask again and again, a while longer than until somebody is blocked; when each request began, and whether it was let in.

    let_in: set as soon as one was.
    """
    answers = []
    after = 0
    while after < 10:
        after += blocked.is_set()
        began = time.perf_counter()
        answer = await api.post(VIEWER, token=person.session)
        answers.append((began, answer["data"] is not None))
        if answer["data"] is not None:
            let_in.set()
    return answers


async def test_no_request_that_begins_after_a_deactivation_is_let_in(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    let_in, blocked = asyncio.Event(), asyncio.Event()
    asking = [asyncio.create_task(ask_until(api, grace, let_in, blocked)) for _ in range(CLIENTS)]
    await let_in.wait()
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    committed = time.perf_counter()
    blocked.set()
    answers = [answer for answers in await asyncio.gather(*asking) for answer in answers]
    later = [was_let_in for began, was_let_in in answers if began >= committed]
    assert len(later) >= CLIENTS * 9
    assert not any(later)


async def test_an_act_that_was_under_way_does_not_survive_its_actors_deactivation(world: World, api: Api) -> None:
    """Whichever comes first: after both, nothing stands that the blocked administrator did later than the block."""
    practice = await world.practice()
    for number in range(8):
        second = await world.joined(practice, f"second{number}@clinic.example", "ADMINISTRATOR")
        row = {"firstName": "A", "lastName": "B", "email": f"new{number}@clinic.example", "accessLevel": "BILLING"}
        query = "mutation M($input: InviteInput!) { invite(input: $input) { __typename ... on InviteReport { invitedCount } } }"
        acted, blocked = await asyncio.gather(
            api.post(query, {"input": {"users": [row]}}, token=second.session),
            api.do("deactivate", {"userId": second.id}, token=practice.administrator.session),
        )
        assert blocked["status"] == "INACTIVE"
        left = await database.fetch(
            "SELECT 1 FROM invitations i JOIN users u ON u.id = i.user_id WHERE u.email = $1 AND i.state = 'PENDING'",
            row["email"],
        )
        assert left == [], acted  # it came first and ended with the rest, or it was refused


INVITED_BY = """
{ usersTile { invitedCount users { nodes { email status endedInvitationsCount endedInvitations { email invitation { state } }
    invitation { state problem } } } } }
"""
DEACTIVATE = """
mutation ($input: DeactivateInput!) { deactivate(input: $input) {
    ... on User { status endedInvitationsCount endedInvitations { id email status invitation { state canResend } } } } }
"""


async def leaving(world: World, practice: PracticeWorld, *emails: str) -> Person:
    """An administrator who invited these people."""
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    by_second = PracticeWorld(practice.name, second, practice.practice_access_code)
    for email in emails:
        await world.invite(by_second, email, first_name=email.partition("@")[0].title())
    return second


async def test_whom_a_deactivated_administrator_invited_stays_on_the_tile_and_the_others_are_told(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    await world.joined(practice, "staff@clinic.example")
    second = await leaving(world, practice, "ann@clinic.example", "bea@clinic.example")
    await world.invite(practice, "own@clinic.example")
    link = await world.link("ann@clinic.example")
    await mail.run()
    admin = practice.administrator.session
    answer = await api.query(DEACTIVATE, {"input": {"userId": second.id}}, token=admin)
    ended = answer["deactivate"]
    assert ended["endedInvitationsCount"] == 2
    assert [(one["email"], one["status"]) for one in ended["endedInvitations"]] == [
        ("ann@clinic.example", "INVITED"),
        ("bea@clinic.example", "INVITED"),
    ]
    assert {tuple(one["invitation"].values()) for one in ended["endedInvitations"]} == {("INVITER_DEACTIVATED", True)}
    values = {"token": link, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "LinkInvalid"
    (told,) = [one for one in await mail.run() if one.row.kind is Kind.INVITATIONS_ENDED]
    assert told.content.recipient == practice.administrator.email
    assert told.content.people == ("Ann Hopper", "Bea Hopper")
    assert set(told.content.end_reasons) == {InvitationEnd.INVITER_DEACTIVATED}
    rows = await database.fetch("SELECT subject_name FROM audit_events WHERE action = 'invitation.ended' ORDER BY 1")
    assert [row["subject_name"] for row in rows] == ["Ann Hopper", "Bea Hopper"]
    tile = (await api.query(INVITED_BY, token=admin))["usersTile"]
    assert tile["invitedCount"] == 3


async def test_what_ended_with_an_administrator_is_sent_again_in_one_go_by_another(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    second = await leaving(world, practice, "ann@clinic.example", "bea@clinic.example", "cat@clinic.example")
    await clock.forward(seconds=61)
    answer = await api.query(DEACTIVATE, {"input": {"userId": second.id}}, token=admin)
    ids = [one["id"] for one in answer["deactivate"]["endedInvitations"]]
    await world.joined(await world.practice("Other Practice"), "cat@clinic.example")
    await mail.run()
    report = await api.do("resendInvitations", {"userIds": [*ids, "no id"]}, token=admin)
    assert report["resentCount"] == 2
    assert [(one["error"] or {}).get("__typename") for one in report["rows"]] == [None, None, "EmailInUse", "NotFound"]
    sent = [one.content for one in await mail.run() if one.row.kind is Kind.INVITATION]
    assert sorted(one.recipient for one in sent) == ["ann@clinic.example", "bea@clinic.example"]
    assert {one.inviter_name for one in sent} == {"Ada Lovelace"}, "who answers for them now"
    tile = (await api.query(INVITED_BY, token=admin))["usersTile"]["users"]["nodes"]
    (gone,) = [one for one in tile if one["email"] == second.email]
    assert [one["email"] for one in gone["endedInvitations"]] == ["cat@clinic.example"]
    values = {"token": await world.link("ann@clinic.example"), "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


async def test_a_mail_about_ended_invitations_leaves_out_those_that_were_sent_again_meanwhile(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    second = await leaving(world, practice, "ann@clinic.example", "bea@clinic.example")
    await mail.run()
    await clock.forward(seconds=61)
    answer = await api.query(DEACTIVATE, {"input": {"userId": second.id}}, token=admin)
    ann, bea = (one["id"] for one in answer["deactivate"]["endedInvitations"])
    await api.do("resend", {"userId": ann}, token=admin)
    (told,) = [one for one in await mail.run() if one.row.kind is Kind.INVITATIONS_ENDED]
    assert told.content.people == ("Bea Hopper",)
    await api.do("revokeInvitation", {"userId": bea}, token=admin)
    tile = (await api.query(INVITED_BY, token=admin))["usersTile"]
    assert (tile["invitedCount"], [one["email"] for one in tile["users"]["nodes"] if one["email"][:3] == "bea"]) == (
        1,
        [],
    )
