"""An administrator for a practice that has none who can act: on the server, in the trail, and told to everybody."""

import asyncio
from uuid import uuid4

import pytest

from domain import database, emergency_access, outbox
from domain.actors import Actor, operator
from domain.emergency_access import AlreadyAdministrator, NotActive
from domain.errors import Forbidden, InputInvalid, NotFound
from tests.test_subscriptions import id_of
from tests.world import Api, Mail, World

OPERATOR = operator("ada")
REASON = "the only administrator has died"
CODE = "{ practiceAccessCode { code } }"


async def test_an_active_user_is_made_an_administrator_in_the_trail_and_told_to_all(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.joined(practice, "mary@clinic.example")
    await mail.run()
    assert (await api.post(CODE, token=grace.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    granted = await emergency_access.grant(OPERATOR, await id_of(practice), " Grace@Clinic.example", REASON)
    assert granted == "Grace Hopper"
    assert (await api.query(CODE, token=grace.session))["practiceAccessCode"]["code"] == practice.practice_access_code
    sent = {message.content.recipient: message.content.is_about_reader for message in await mail.run()}
    assert sent == {practice.administrator.email: False, grace.email: True}
    rows = await database.fetch(
        "SELECT actor_name, actor_user_id, subject_user_id, practice_id, details->>'reason' AS reason, details->>'from' AS before"
        " FROM audit_events WHERE action = 'emergency_access.granted'"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("operator ada", None, grace.row_id, await id_of(practice), REASON, "PROVIDER")
    ]


async def test_it_is_granted_once_whoever_asks_at_the_same_time(world: World, mail: Mail) -> None:
    practice = await world.practice()
    practice_id = await id_of(practice)
    grace = await world.joined(practice, "grace@clinic.example")
    await mail.run()
    results = await asyncio.gather(
        *(emergency_access.grant(OPERATOR, practice_id, grace.email, REASON) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["AlreadyAdministrator"] * 4 + ["str"]
    assert len([one for one in await mail.run() if one.row.kind is outbox.Kind.EMERGENCY_ACCESS]) == 2


async def test_only_somebody_who_can_sign_in_is_made_one(world: World, api: Api) -> None:
    practice, other = await world.practice("Elm Street Practice"), await world.practice("Oak Street Practice")
    practice_id = await id_of(practice)
    await world.invite(practice, "invited@clinic.example")
    blocked = await world.joined(practice, "blocked@clinic.example")
    stranger = await world.joined(other, "stranger@clinic.example")
    await api.do("deactivate", {"userId": blocked.id}, token=practice.administrator.session)
    for email, refusal in (
        ("invited@clinic.example", NotActive),
        (blocked.email, NotActive),
        (practice.administrator.email, AlreadyAdministrator),
        (stranger.email, NotFound),
        ("nobody@clinic.example", NotFound),
        ("no address", InputInvalid),
    ):
        with pytest.raises(refusal):
            await emergency_access.grant(OPERATOR, practice_id, email, REASON)
    with pytest.raises(NotFound):
        await emergency_access.grant(OPERATOR, uuid4(), stranger.email, REASON)
    assert await database.fetch("SELECT 1 FROM audit_events WHERE action = 'emergency_access.granted'") == []


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 501])
async def test_a_reason_is_asked_for(world: World, reason: str) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    with pytest.raises(InputInvalid):
        await emergency_access.grant(OPERATOR, await id_of(practice), grace.email, reason)
    await emergency_access.grant(OPERATOR, await id_of(practice), grace.email, "x" * 500)


async def test_nobody_but_an_operator_grants_it(world: World) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    with pytest.raises(Forbidden):
        await emergency_access.grant(Actor(ip_address="198.51.100.7"), await id_of(practice), grace.email, REASON)
