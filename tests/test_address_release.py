"""The address of somebody deactivated is let go of: by the practice, by the operator, or to whoever has the mailbox and signs up."""

import asyncio

import pytest

from domain import actors, address_release, database
from domain.errors import Forbidden, NotFound
from domain.models.columns import uuid7
from tests.conftest import Clock
from tests.statistics import deadlocks
from tests.test_address_ownership import finish, on_the_tile, ready, signing_up
from tests.world import Api, Json, Mail, Person, PracticeWorld, World, document

GRACE = "grace@clinic.example"


async def deactivated(world: World, api: Api, practice: PracticeWorld, email: str = GRACE, **more: bool) -> Person:
    """Somebody who had joined and was deactivated."""
    person = await world.joined(practice, email)
    result = await api.do("deactivate", {"userId": person.id} | more, token=practice.administrator.session)
    assert result["status"] == "INACTIVE", result
    return person


async def invite(api: Api, practice: PracticeWorld, email: str = GRACE) -> str:
    """Invite somebody; the type of the answer."""
    row = {"firstName": "Bob", "lastName": "B", "email": email, "accessLevel": "BILLING"}
    report = await api.do("invite", {"users": [row]}, token=practice.administrator.session)
    found: str = (report["rows"][0]["error"] or {"__typename": "User"})["__typename"]
    return found


async def test_an_address_is_released_with_the_deactivation_or_later(world: World, api: Api, mail: Mail) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    admin = practice.administrator.session
    grace = await deactivated(world, api, practice)
    assert await invite(api, other) == "EmailInUse"
    first = await api.do("releaseAddress", {"userId": grace.id}, token=admin)
    again = await api.do("releaseAddress", {"userId": grace.id}, token=admin)
    assert first["addressReleasedAt"] is not None
    assert again["addressReleasedAt"] == first["addressReleasedAt"]
    assert first["email"] == GRACE, "it stays on record"
    assert [one.content.recipient for one in await mail.run() if one.row.kind == "address_released"] == [GRACE]
    assert await invite(api, other) == "User"
    await deactivated(world, api, practice, "mary@clinic.example", releaseAddress=True)
    assert await invite(api, other, "mary@clinic.example") == "User"
    events = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'user.address_released'")
    assert len(events) == 2


async def test_somebody_who_was_deactivated_before_can_be_deactivated_once_more_to_release_the_address(
    world: World, api: Api
) -> None:
    practice = await world.practice()
    grace = await deactivated(world, api, practice)
    values = {"userId": grace.id, "releaseAddress": True}
    result = await api.do("deactivate", values, token=practice.administrator.session)
    assert result["addressReleasedAt"] is not None


async def test_a_released_address_can_be_given_to_somebody_else_in_the_same_practice(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    grace = await deactivated(world, api, practice)
    assert await invite(api, practice) == "UserInactive"
    await api.do("releaseAddress", {"userId": grace.id}, token=admin)
    bob = await world.joined(practice, GRACE)
    assert bob.id != grace.id
    signed_in = await api.do("signIn", {"email": GRACE, "password": bob.password, "deviceToken": bob.device})
    assert signed_in["user"]["id"] == bob.id
    back = await api.do("reactivate", {"userId": grace.id}, token=admin)
    assert back["__typename"] == "EmailInUse"


async def test_somebody_who_never_joined_is_deactivated_and_invited_anew_once_the_address_is_released(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, GRACE)
    values = {"userId": user_id, "releaseAddress": True}
    released = await api.do("deactivate", values, token=practice.administrator.session)
    assert released["addressReleasedAt"] is not None
    assert [one for one in await mail.run() if one.row.kind == "address_released"] == [], "there was no account"
    assert await invite(api, practice) == "User"
    back = await api.do("reactivate", {"userId": user_id}, token=practice.administrator.session)
    assert back["__typename"] == "EmailInUse"


async def test_reactivating_takes_the_address_again_unless_somebody_has_it(
    world: World, api: Api, clock: Clock
) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    grace = await deactivated(world, api, practice, releaseAddress=True)
    assert (await api.do("signIn", {"email": GRACE, "password": grace.password}))[
        "__typename"
    ] == "CredentialsIncorrect"
    await world.invite(other, GRACE)
    back = await api.do("reactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert (back["status"], back["addressReleasedAt"]) == ("ACTIVE", None)
    signed_in = await api.do("signIn", {"email": GRACE, "password": grace.password})
    assert signed_in["__typename"] == "SecurityChallenge"
    assert (await on_the_tile(api, other, GRACE))["invitation"]["state"] == "ADDRESS_IN_USE"


async def test_a_released_address_goes_to_one_of_those_who_want_it_at_once(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    before = await deadlocks()
    for number in range(6):
        email = f"grace{number}@clinic.example"
        grace = await deactivated(world, api, practice, email, releaseAddress=True)
        token = await (ready(world, other, email) if number % 2 else signing_up(world, email, f"Practice {number}"))
        back, won = await asyncio.gather(
            api.do("reactivate", {"userId": grace.id}, token=practice.administrator.session), finish(api, token)
        )
        assert {back["__typename"], won["__typename"]} in ({"User", "EmailInUse"}, {"EmailInUse", "SignedIn"})
        active = await database.fetch("SELECT 1 FROM users WHERE email = $1 AND holds_email", email)
        assert len(active) == 1
    assert await deadlocks() == before


async def test_whoever_has_the_mailbox_of_a_deactivated_account_can_sign_up_with_it(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    grace = await deactivated(world, api, practice)
    own = await world.practice("Grace's Practice", GRACE)
    assert own.administrator.id != grace.id
    tile = "{ usersTile { users { nodes { email addressReleasedAt } } } }"
    nodes = (await api.query(tile, token=practice.administrator.session))["usersTile"]["users"]["nodes"]
    assert next(one for one in nodes if one["email"] == GRACE)["addressReleasedAt"] is not None
    back = await api.do("reactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert back["__typename"] == "EmailInUse"
    event = await database.fetch_one(
        "SELECT actor_name, ip_address FROM audit_events WHERE action = 'user.address_released'"
    )
    assert event == {"actor_name": "somebody with the same address", "ip_address": None}


async def test_only_the_address_of_somebody_inactive_is_released(world: World, api: Api) -> None:
    practice = await world.practice()
    invited, grace = await world.invite(practice, "new@clinic.example"), await world.joined(practice, GRACE)
    for user_id, what in ((invited, "Revoke"), (grace.id, "Deactivate")):
        refused = await api.do("releaseAddress", {"userId": user_id}, token=practice.administrator.session)
        assert refused["problems"][0]["path"] == ["userId"]
        assert what in refused["problems"][0]["message"]
    rows = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'user.address_release_refused'")
    assert len(rows) == 2


async def test_releasing_asks_for_a_fresh_sign_in_and_deactivating_alone_does_not(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, GRACE)
    await clock.forward(minutes=11)
    admin = practice.administrator.session
    both = await api.do("deactivate", {"userId": grace.id, "releaseAddress": True}, token=admin)
    assert both["__typename"] == "SignInAgain"
    assert (await api.do("deactivate", {"userId": grace.id}, token=admin))["status"] == "INACTIVE"
    assert (await api.do("releaseAddress", {"userId": grace.id}, token=admin))["__typename"] == "SignInAgain"


async def test_an_operator_releases_an_address_of_any_practice(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    grace = await deactivated(world, api, practice)
    operator = actors.operator("ops")
    record = await address_release.release(
        operator, grace.row_id, raw_reason="She left, and her new practice cannot invite her."
    )
    assert record.address_released_at is not None
    assert await invite(api, other) == "User"
    event = await database.fetch_one("SELECT actor_name FROM audit_events WHERE action = 'user.address_released'")
    assert event == {"actor_name": "operator ops"}
    with pytest.raises(NotFound):
        await address_release.release(operator, uuid7(), raw_reason="Nobody")


async def test_staff_release_nothing(world: World, api: Api) -> None:
    practice = await world.practice()
    grace, mary = await deactivated(world, api, practice), await world.joined(practice, "mary@clinic.example")
    values: Json = {"input": {"userId": grace.id}}
    answer = await api.post(document("releaseAddress"), values, token=mary.session)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    with pytest.raises(Forbidden):
        await address_release.release(await _as(mary), grace.row_id)
    tile = "{ usersTile { users { nodes { email addressReleasedAt endedInvitationsCount } } } }"
    await api.do("releaseAddress", {"userId": grace.id}, token=practice.administrator.session)
    nodes = (await api.query(tile, token=mary.session))["usersTile"]["users"]["nodes"]
    assert {(one["addressReleasedAt"], one["endedInvitationsCount"]) for one in nodes} == {(None, 0)}


async def _as(person: Person) -> actors.Actor:
    from domain import sessions

    member = await sessions.authenticate(person.session, "198.51.100.7")
    assert isinstance(member, actors.Member)
    return actors.Actor(ip_address="198.51.100.7", member=member)
