"""What inviting must not be misused for: asking who has an account, flooding somebody with mail, keeping an address from its owner."""

import asyncio

from domain import database
from tests.conftest import Clock
from tests.world import Api, Json, Mail, World, keep_sessions_open

GRACE = "grace@clinic.example"


def row(email: str) -> Json:
    """One invitee."""
    return {"firstName": "Grace", "lastName": "Hopper", "email": email, "accessLevel": "PROVIDER"}


async def test_asking_whether_an_address_is_in_use_costs_what_inviting_it_costs(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    taken = {"users": [row(other.administrator.email)]}
    result = await api.do("invite", taken, token=practice.administrator.session)
    assert result["rows"][0]["error"]["__typename"] == "EmailInUse"
    used = await database.fetch_one("SELECT used FROM budgets WHERE key LIKE 'invitations:%'")
    assert used == {"used": 1}
    await database.execute("UPDATE budgets SET used = 1000 WHERE key LIKE 'invitations:%'")
    assert (await api.do("invite", taken, token=practice.administrator.session))["__typename"] == "LimitReached"


async def test_correcting_an_address_costs_whatever_becomes_of_it_and_is_on_record(
    world: World, api: Api, clock: Clock
) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    user_id = await world.invite(practice, GRACE)
    await clock.forward(seconds=61)
    probe = {"userId": user_id, "email": other.administrator.email}
    for _ in range(3):
        assert (await api.do("resend", probe, token=practice.administrator.session))["__typename"] == "EmailInUse"
    assert await database.fetch_one("SELECT used FROM budgets WHERE key LIKE 'corrections:%'") == {"used": 3}
    await database.execute("UPDATE budgets SET used = 100 WHERE key LIKE 'corrections:%'")
    assert (await api.do("resend", probe, token=practice.administrator.session))["__typename"] == "LimitReached"
    refused = await database.fetch(
        "SELECT details FROM audit_events WHERE action = 'invitation.resend_refused' ORDER BY occurred_at, id"
    )
    assert [("EmailInUse" in one["details"], "LimitReached" in one["details"]) for one in refused] == [
        (True, False),
        (True, False),
        (True, False),
        (False, True),
    ]
    assert (await api.do("resend", {"userId": user_id}, token=practice.administrator.session))["__typename"] == "User"


async def test_no_way_of_inviting_floods_an_address(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    await clock.stop()
    practice = await world.practice()
    admin = practice.administrator.session
    kinds: list[str] = []
    for _ in range(17):
        report = await api.do("invite", {"users": [row(GRACE)]}, token=admin)
        found = report["rows"][0]
        kinds.append("User" if found["user"] else found["error"]["__typename"])
        if found["user"]:
            await api.do("revokeInvitation", {"userId": found["user"]["id"]}, token=admin)
    assert kinds == ["User"] * 15 + ["LimitReached"] * 2
    user_id = await world.invite(practice, "mary@clinic.example")
    kinds = []
    for _ in range(12):
        await api.do("deactivate", {"userId": user_id}, token=admin)
        kinds.append((await api.do("reactivate", {"userId": user_id}, token=admin))["__typename"])
    assert kinds == ["User"] * 10 + ["LimitReached"] * 2
    assert len([sent for sent in await mail.run() if sent.content.recipient == "mary@clinic.example"]) <= 11


async def test_an_address_stands_once_in_a_practice_whoever_invites_it_or_corrects_another_to_it_at_once(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    for number in range(6):
        email = f"grace{number}@clinic.example"
        typo = await world.invite(practice, f"typo{number}@clinic.example")
        await clock.forward(seconds=61)
        invited, again, corrected = await asyncio.gather(
            api.do("invite", {"users": [row(email)]}, token=admin),
            api.do("invite", {"users": [row(email)]}, token=admin),
            api.do("resend", {"userId": typo, "email": email}, token=admin),
        )
        done = invited["invitedCount"] + again["invitedCount"] + (corrected["__typename"] == "User")
        assert done == 1, (invited, again, corrected)
        assert corrected["__typename"] in ("User", "EmailInUse")
        here = await database.fetch("SELECT id FROM users WHERE email = $1 AND removed_at IS NULL", email)
        assert len(here) == 1


async def test_a_changed_access_level_ends_the_link_that_was_sent_for_the_old_one(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    enrollment = await world.enrolled(practice, GRACE)
    old = await world.link(GRACE)
    user = await api.query("{ usersTile { users { nodes { id email } } } }", token=practice.administrator.session)
    user_id = next(one["id"] for one in user["usersTile"]["users"]["nodes"] if one["email"] == GRACE)
    values = {"userId": user_id, "accessLevel": "BILLING"}
    assert (await api.do("changeAccessLevel", values, token=practice.administrator.session))["accessLevel"] == "BILLING"
    code = practice.practice_access_code
    assert (await api.do("acceptInvitation", {"token": old, "practiceAccessCode": code}))["__typename"] == "LinkInvalid"
    assert await api.query("query ($t: String!) { enrollment(token: $t) { nextStep } }", {"t": enrollment}) == {
        "enrollment": None
    }
    values = {"token": await world.link(GRACE), "practiceAccessCode": code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"
    expired = await world.invite(practice, "mary@clinic.example")
    await mail.run()
    await clock.forward(days=7, minutes=1)
    await keep_sessions_open()
    await database.execute("UPDATE sessions SET authenticated_at = clock_now()")
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    values = {"userId": expired, "accessLevel": "BILLING"}
    changed = await api.do("changeAccessLevel", values, token=practice.administrator.session)
    assert changed["invitation"]["state"] == "EXPIRED"
    assert await mail.run() == []


async def test_an_invitation_revoked_while_it_is_sent_again_is_not_found(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    for number in range(10):
        user_id = await world.invite(practice, f"grace{number}@clinic.example")
        await clock.forward(seconds=61)
        resent, revoked = await asyncio.gather(
            api.do("resend", {"userId": user_id}, token=admin),
            api.do("revokeInvitation", {"userId": user_id}, token=admin),
        )
        assert resent["__typename"] in ("User", "NotFound")
        assert revoked["__typename"] == "InvitationRevoked"


async def test_an_administrator_lifts_what_too_many_wrong_codes_ended(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    grace = await world.joined(practice, GRACE)
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, 100, 5, clock_now())",
        f"phone:user:{grace.row_id}",
    )
    sms = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    assert (await api.do("sendSecurityCode", sms))["__typename"] == "LimitReached"
    await api.do("deactivate", {"userId": grace.id}, token=admin)
    await api.do("reactivate", {"userId": grace.id}, token=admin)
    sms["challengeToken"] = await world.challenged(grace)
    assert (await api.do("sendSecurityCode", sms))["__typename"] == "SecurityCodeSent"
