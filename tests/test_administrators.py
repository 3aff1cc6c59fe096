"""Whoever may make an administrator has just signed in; and a practice keeps one who can come in."""

import pytest

from domain import database
from tests.conftest import CLIENT_ADDRESS, Clock
from tests.world import Api, Json, Mail, PracticeWorld, World, keep_sessions_open

ELSEWHERE = "203.0.113.0/24"
COUNTED = "SELECT (SELECT count(*) FROM deliveries) + (SELECT coalesce(sum(used), 0) FROM budgets) AS n"


async def counted() -> int:
    """Messages, and what was taken of allowances."""
    return int((await database.fetch(COUNTED))[0]["n"])


def row(email: str, access_level: str) -> Json:
    """Somebody to invite."""
    return {"firstName": "Mary", "lastName": "Shelley", "email": email, "accessLevel": access_level}


async def test_an_administrator_is_invited_by_somebody_who_has_just_signed_in(
    world: World, api: Api, clock: Clock
) -> None:
    admin = (await world.practice()).administrator
    await clock.forward(minutes=10, seconds=1)
    before = await counted()
    both = [row("one@clinic.example", "BILLING"), row("two@clinic.example", "ADMINISTRATOR")]
    assert (await api.do("invite", {"users": both}, token=admin.session))["__typename"] == "SignInAgain"
    assert await counted() == before
    assert (await api.do("invite", {"users": both[:1]}, token=admin.session))["invitedCount"] == 1
    await world.renewed(admin)
    assert (await api.do("invite", {"users": both[1:]}, token=admin.session))["invitedCount"] == 1


async def test_an_invited_administrators_address_is_put_right_by_somebody_who_has_just_signed_in(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    boss = await world.invite(practice, "boss@clinic.example", "ADMINISTRATOR")
    staff = await world.invite(practice, "staff@clinic.example")
    await clock.forward(minutes=10, seconds=1)
    values = {"userId": boss, "email": "stranger@clinic.example"}
    assert (await api.do("resend", values, token=admin))["__typename"] == "SignInAgain"
    assert (await api.do("resend", {"userId": boss}, token=admin))["__typename"] == "User"
    assert (await api.do("resend", {"userId": staff, "email": "right@clinic.example"}, token=admin))["email"]
    await clock.forward(seconds=61)
    await world.renewed(practice.administrator)
    assert (await api.do("resend", values, token=admin))["email"] == "stranger@clinic.example"


async def test_an_administrator_is_let_back_in_by_somebody_who_has_just_signed_in(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    grace = await world.joined(practice, "grace@clinic.example")
    for person in (second, grace):
        await api.do("deactivate", {"userId": person.id}, token=admin.session)
    await clock.forward(minutes=10, seconds=1)
    assert (await api.do("reactivate", {"userId": second.id}, token=admin.session))["__typename"] == "SignInAgain"
    assert (await api.do("reactivate", {"userId": grace.id}, token=admin.session))["status"] == "ACTIVE"
    await world.renewed(admin)
    assert (await api.do("reactivate", {"userId": second.id}, token=admin.session))["status"] == "ACTIVE"


async def test_a_lapsed_practice_gets_no_further_administrators(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    grace = await world.joined(practice, "grace@clinic.example")
    invited = await world.invite(practice, "new@clinic.example")
    await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")
    for user_id in (grace.id, invited):
        values = {"userId": user_id, "accessLevel": "ADMINISTRATOR"}
        assert (await api.do("changeAccessLevel", values, token=admin))["__typename"] == "SubscriptionLapsed"
        lower = await api.do("changeAccessLevel", values | {"accessLevel": "READ_ONLY"}, token=admin)
        assert lower["accessLevel"] == "READ_ONLY"


async def left_without(world: World, api: Api, how: str) -> tuple[PracticeWorld, str]:
    """A practice whose second administrator cannot come in; that one's id."""
    practice = await world.practice()
    admin = practice.administrator.session
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    if how == "no phone":
        assert (await api.do("resetPhone", {"userId": second.id}, token=admin))["__typename"] == "User"
        return practice, second.id
    settings: dict[str, Json] = {
        "a network elsewhere": {"allowedNetworks": [ELSEWHERE]},
        "no hour": {"allowedHours": [{"day": "MONDAY", "from": "03:00", "until": "03:15"}]},
    }
    result = await api.do("updateLoginSettings", {"userId": second.id} | settings[how], token=admin)
    assert result["__typename"] == "LoginSettings", result
    return practice, second.id


@pytest.mark.parametrize("how", ["no phone", "a network elsewhere", "no hour"])
async def test_the_last_administrator_who_can_come_in_stays(world: World, api: Api, how: str) -> None:
    practice, second = await left_without(world, api, how)
    admin = practice.administrator
    demoted = {"userId": admin.id, "accessLevel": "BILLING"}
    assert (await api.do("deactivate", {"userId": admin.id}, token=admin.session))["__typename"] == "LastAdministrator"
    assert (await api.do("changeAccessLevel", demoted, token=admin.session))["__typename"] == "LastAdministrator"
    refused = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'user.access_level_refused'")
    assert len(refused) == 1
    assert (await api.do("deactivate", {"userId": second}, token=admin.session))["status"] == "INACTIVE"


async def test_an_administrator_comes_in_from_where_they_signed_in_before(world: World, api: Api) -> None:
    practice, second = await left_without(world, api, "a network elsewhere")
    admin = practice.administrator
    values = {"userId": second, "allowedNetworks": [f"{CLIENT_ADDRESS}/32"]}
    await api.do("updateLoginSettings", values, token=admin.session)
    assert (await api.do("deactivate", {"userId": admin.id}, token=admin.session))["status"] == "INACTIVE"


async def test_what_an_invitation_leads_to_is_made_less_also_when_no_mail_may_go_out(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    user_id = await world.invite(practice, "boss@clinic.example", "ADMINISTRATOR")
    old = {"token": await world.link("boss@clinic.example"), "practiceAccessCode": practice.practice_access_code}
    begun = await api.do("acceptInvitation", old)
    await database.execute("UPDATE budgets SET used = 15 WHERE key LIKE 'invitation-mails:%'")
    values = {"userId": user_id, "accessLevel": "READ_ONLY"}
    result = await api.do("changeAccessLevel", values, token=admin)
    assert (result["accessLevel"], result["invitation"]["state"]) == ("READ_ONLY", "EXPIRED")
    assert (await api.do("acceptInvitation", old))["__typename"] == "LinkInvalid"
    sent = {"enrollmentToken": begun["token"], "phone": world.number(), "channel": "SMS"}
    assert (await api.do("sendPhoneCode", sent))["__typename"] == "EnrollmentInvalid"
    raised = await api.do("changeAccessLevel", values | {"accessLevel": "ADMINISTRATOR"}, token=admin)
    assert raised["__typename"] == "User", "there is no link that would become worth more"
    await clock.forward(days=1)
    await keep_sessions_open()
    assert (await api.do("resend", {"userId": user_id}, token=admin))["invitation"]["state"] == "PENDING"
    fresh = old | {"token": await world.link("boss@clinic.example")}
    assert (await api.do("acceptInvitation", fresh))["__typename"] == "Enrollment"
