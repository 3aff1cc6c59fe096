"""Changing access levels, and letting people back in."""

import asyncio

from domain import database
from tests.conftest import Clock
from tests.world import Api, Mail, World, document


async def test_an_access_level_holds_from_the_next_request_on(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    code = "{ practiceAccessCode { code } }"
    assert (await api.post(code, token=grace.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    values = {"userId": grace.id, "accessLevel": "ADMINISTRATOR"}
    changed = await api.do("changeAccessLevel", values, token=practice.administrator.session)
    assert changed["accessLevel"] == "ADMINISTRATOR"
    assert (await api.query(code, token=grace.session))["practiceAccessCode"]["code"] == practice.practice_access_code
    await api.do("changeAccessLevel", values | {"accessLevel": "BILLING"}, token=practice.administrator.session)
    assert (await api.post(code, token=grace.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    rows = await database.fetch(
        "SELECT details FROM audit_events WHERE action = 'user.access_level_changed' ORDER BY occurred_at"
    )
    assert ['"to": "ADMINISTRATOR"' in rows[0]["details"], '"to": "BILLING"' in rows[1]["details"]] == [True, True]


async def test_changing_an_access_level_asks_for_a_sign_in_of_the_last_ten_minutes(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    admin = practice.administrator
    values = {"userId": grace.id, "accessLevel": "BILLING"}
    await clock.forward(minutes=11)
    assert (await api.do("changeAccessLevel", values, token=admin.session))["__typename"] == "SignInAgain"
    again = await api.do("signIn", {"email": admin.email, "password": admin.password, "deviceToken": admin.device})
    # A known device proves nothing of who uses it: the password alone makes no fresh sign-in.
    assert (await api.do("changeAccessLevel", values, token=again["sessionToken"]))["__typename"] == "SignInAgain"
    await world.renewed(admin)
    assert (await api.do("changeAccessLevel", values, token=admin.session))["accessLevel"] == "BILLING"


async def test_the_last_administrator_cannot_be_demoted(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator
    values = {"userId": admin.id, "accessLevel": "READ_ONLY"}
    assert (await api.do("changeAccessLevel", values, token=admin.session))["__typename"] == "LastAdministrator"
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    query = document("changeAccessLevel")
    await asyncio.gather(
        api.post(query, {"input": {"userId": second.id, "accessLevel": "BILLING"}}, token=admin.session),
        api.post(query, {"input": values}, token=second.session),
        api.post(document("deactivate"), {"input": {"userId": second.id}}, token=admin.session),
    )
    rows = await database.fetch(
        "SELECT count(*) AS n FROM users WHERE status = 'ACTIVE' AND access_level = 'ADMINISTRATOR'"
    )
    assert rows[0]["n"] == 1


async def test_somebody_let_back_in_proves_the_phone_once_more(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("deactivate", {"userId": grace.id}, token=admin)
    assert (await api.do("reactivate", {"userId": grace.id}, token=admin))["status"] == "ACTIVE"
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None
    values = {"email": grace.email, "password": grace.password, "deviceToken": grace.device}
    assert (await api.do("signIn", values))["__typename"] == "SecurityChallenge"


async def test_somebody_who_had_not_finished_is_invited_again(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    user_id = await world.invite(practice, "grace@clinic.example")
    old = await world.link("grace@clinic.example")
    await api.do("deactivate", {"userId": user_id}, token=admin)
    back = await api.do("reactivate", {"userId": user_id}, token=admin)
    assert (back["status"], back["invitation"]["state"]) == ("INVITED", "PENDING")
    code = practice.practice_access_code
    assert (await api.do("acceptInvitation", {"token": old, "practiceAccessCode": code}))["__typename"] == "LinkInvalid"
    values = {"token": await world.link("grace@clinic.example"), "practiceAccessCode": code}
    enrollment = await api.do("acceptInvitation", values)
    await world.finish(enrollment["token"], "grace@clinic.example")


async def test_an_address_that_went_to_somebody_else_meanwhile_stays_there(world: World, api: Api) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    user_id = await world.invite(first, "grace@clinic.example")
    await world.invite(await world.practice("Third Practice"), "grace@clinic.example")
    values = {"userId": user_id}
    await api.do("deactivate", values, token=first.administrator.session)
    back = await api.do("reactivate", values, token=first.administrator.session)
    assert back["status"] == "INVITED", "another invitation holds nothing"
    await api.do("deactivate", values, token=first.administrator.session)
    await world.joined(second, "grace@clinic.example")
    result = await api.do("reactivate", values, token=first.administrator.session)
    assert result["__typename"] == "EmailInUse"


async def test_nobody_is_let_back_in_by_signing_in_or_by_staff(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert (await api.do("signIn", {"email": grace.email, "password": grace.password}))[
        "__typename"
    ] == "AccountInactive"
    for mutation, values in (
        ("reactivate", {"userId": grace.id}),
        ("changeAccessLevel", {"userId": grace.id, "accessLevel": "BILLING"}),
    ):
        answer = await api.post(document(mutation), {"input": values}, token=mary.session)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
