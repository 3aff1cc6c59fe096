"""An address belongs to whoever finishes: an invitation holds nothing, and what was lost to somebody else is told as that."""

import asyncio

import pytest

from domain import database
from tests.conftest import Clock
from tests.statistics import deadlocks
from tests.test_sign_up import FORM
from tests.world import PASSWORD, Api, Json, Mail, PracticeWorld, World

GRACE = "grace@clinic.example"
TILE = "{ usersTile { users { nodes { email status invitation { state problem endedAt canResend delivery { status } } } } } }"


async def on_the_tile(api: Api, practice: PracticeWorld, email: str) -> Json:
    """Somebody as the practice's administrator sees them."""
    nodes = (await api.query(TILE, token=practice.administrator.session))["usersTile"]["users"]["nodes"]
    found: Json = next(one for one in nodes if one["email"] == email)
    return found


async def ready(world: World, practice: PracticeWorld, email: str) -> str:
    """Somebody invited who has only the password left to set; the enrollment's token."""
    token = await world.enrolled(practice, email)
    await world.proved(token)
    return token


async def signing_up(world: World, email: str, name: str = "Grace's Practice") -> str:
    """Somebody who signs up and has only the password left to set; the enrollment's token."""
    await world.sign_up(name, email)
    progress = await world.api.do("verifyEmail", {"token": await world.link(email)})
    token: str = progress["token"]
    await world.proved(token)
    return token


async def finish(api: Api, token: str) -> Json:
    """Set the password."""
    return await api.do("setPassword", {"enrollmentToken": token, "password": PASSWORD})


async def test_another_practices_invitation_keeps_nobody_from_inviting_joining_or_signing_up(
    world: World, api: Api
) -> None:
    stranger, own = await world.practice("Stranger Practice"), await world.practice("Own Practice")
    for number in range(3):
        await world.invite(stranger, f"staff{number}@hospital.example")
    await world.joined(own, "staff0@hospital.example")
    assert (await world.practice("Third Practice", "staff1@hospital.example")).administrator.email
    grace = await world.joined(own, "moving@clinic.example")
    challenge = (await api.do("changeEmail", {"email": "staff2@hospital.example"}, token=grace.session))["token"]
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    await api.do("verifyEmailChange", values, token=grace.session)
    confirmed = await api.do("confirmEmail", {"token": await world.link("staff2@hospital.example")})
    assert confirmed["__typename"] == "EmailConfirmed"
    for number in range(3):
        lost = await on_the_tile(api, stranger, f"staff{number}@hospital.example")
        assert (lost["status"], lost["invitation"]["state"]) == ("INVITED", "ADDRESS_IN_USE")
        assert "another address" in lost["invitation"]["problem"]
        assert lost["invitation"]["endedAt"] is not None


async def test_of_two_practices_whose_invited_people_finish_at_once_one_gets_the_address(
    world: World, api: Api
) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    before = await deadlocks()
    for number in range(8):
        email = f"grace{number}@clinic.example"
        tokens = [await ready(world, practice, email) for practice in (first, second)]
        results = await asyncio.gather(*(finish(api, token) for token in tokens))
        kinds = [result["__typename"] for result in results]
        assert sorted(kinds) == ["EmailInUse", "SignedIn"]
        assert "Sign in" in results[kinds.index("EmailInUse")]["message"]
        winner, loser = (first, second) if kinds[0] == "SignedIn" else (second, first)
        assert (await on_the_tile(api, winner, email))["status"] == "ACTIVE"
        assert (await on_the_tile(api, loser, email))["invitation"]["state"] == "ADDRESS_IN_USE"
        holders = await database.fetch("SELECT 1 FROM users WHERE email = $1 AND holds_email", email)
        assert len(holders) == 1
        assert (await finish(api, tokens[kinds.index("EmailInUse")]))["__typename"] == "EmailInUse", "also later"
    assert await deadlocks() == before, "none waits for the other"
    ended = await database.fetch(
        "SELECT actor_name, ip_address, actor_user_id FROM audit_events WHERE action = 'invitation.ended'"
    )
    assert len(ended) == 8
    assert {tuple(row.values()) for row in ended} == {("somebody with the same address", None, None)}


async def test_of_a_sign_up_and_an_invitation_that_finish_at_once_one_gets_the_address(world: World, api: Api) -> None:
    practice = await world.practice()
    before = await deadlocks()
    for number in range(8):
        email = f"grace{number}@clinic.example"
        tokens = [await signing_up(world, email, f"Practice {number}"), await ready(world, practice, email)]
        results = await asyncio.gather(*(finish(api, token) for token in tokens[:: 1 if number % 2 else -1]))
        kinds = [result["__typename"] for result in results]
        assert sorted(kinds) == ["EmailInUse", "SignedIn"]
        holders = await database.fetch("SELECT 1 FROM users WHERE email = $1 AND holds_email", email)
        assert len(holders) == 1
    assert await deadlocks() == before, "none waits for the other"


async def test_whoever_lost_an_address_loses_nothing_else(world: World, api: Api, clock: Clock) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    token = await ready(world, first, GRACE)
    await world.joined(second, GRACE)
    assert (await finish(api, token))["__typename"] == "EmailInUse"
    user = await api.query("{ usersTile { users { nodes { id email } } } }", token=first.administrator.session)
    user_id = next(one["id"] for one in user["usersTile"]["users"]["nodes"] if one["email"] == GRACE)
    await clock.forward(seconds=61)
    same = await api.do("resend", {"userId": user_id}, token=first.administrator.session)
    assert same["__typename"] == "EmailInUse"
    values = {"userId": user_id, "email": "grace@home.example"}
    sent = await api.do("resend", values, token=first.administrator.session)
    assert sent["invitation"]["state"] == "PENDING"
    values = {"token": await world.link("grace@home.example"), "practiceAccessCode": first.practice_access_code}
    again = await api.do("acceptInvitation", values)
    joined = await world.finish(again["token"], "grace@home.example")
    assert joined.id == user_id


async def test_the_link_of_an_invitation_that_lost_its_address_says_so(world: World, api: Api) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    await world.invite(first, GRACE)
    values = {"token": await world.link(GRACE), "practiceAccessCode": first.practice_access_code}
    await world.joined(second, GRACE)
    result = await api.do("acceptInvitation", values)
    assert (result["__typename"], "Sign in" in result["message"]) == ("EmailInUse", True)
    # One that was on its way when the account was made was not ended with the others: the account is in its way all the same.
    await database.execute("UPDATE invitations SET state = 'PENDING', revoked_at = NULL WHERE state = 'REVOKED'")
    assert (await api.do("acceptInvitation", values))["__typename"] == "EmailInUse"


async def test_an_invitation_that_was_left_open_beside_an_account_ends_when_it_comes_to_the_password(
    world: World, api: Api
) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    token = await ready(world, first, "other@clinic.example")
    await world.joined(second, GRACE)
    await database.execute(
        "UPDATE users SET email = $1, email_canonical = $1 WHERE email = 'other@clinic.example'", GRACE
    )
    assert (await finish(api, token))["__typename"] == "EmailInUse"
    assert (await on_the_tile(api, first, GRACE))["invitation"]["state"] == "ADDRESS_IN_USE"


async def test_an_invited_person_is_no_account_to_whoever_signs_up_with_the_address(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    await world.invite(practice, GRACE)
    await mail.run()
    await api.do("signUp", FORM | {"email": GRACE})
    assert (await mail.latest(GRACE)).row.kind == "verify_email"
    await world.joined(practice, "mary@clinic.example")
    await api.do("signUp", FORM | {"email": "mary@clinic.example"})
    assert (await mail.latest("mary@clinic.example")).row.kind == "sign_up_known"


async def test_inviting_tells_of_accounts_and_of_the_own_practices_invitations_and_of_nothing_else(
    world: World, api: Api
) -> None:
    own, other = await world.practice("Own Practice"), await world.practice("Other Practice")
    await world.joined(other, "account@clinic.example")
    gone = await world.joined(other, "blocked@clinic.example")
    await api.do("deactivate", {"userId": gone.id}, token=other.administrator.session)
    await world.invite(other, "invited@clinic.example")
    await world.invite(own, "own@clinic.example")
    found = {}
    for name in ("account", "blocked", "invited", "own", "unknown"):
        row = {"firstName": "A", "lastName": "B", "email": f"{name}@clinic.example", "accessLevel": "BILLING"}
        report = await api.do("invite", {"users": [row]}, token=own.administrator.session)
        found[name] = (report["rows"][0]["error"] or {"__typename": "User"})["__typename"]
    assert found == {
        "account": "EmailInUse",
        "blocked": "EmailInUse",
        "invited": "User",
        "own": "EmailInUse",
        "unknown": "User",
    }


@pytest.mark.parametrize("act", ["resend", "deactivate", "revokeInvitation", "changeAccessLevel", "declineInvitation"])
async def test_an_invitation_that_loses_its_address_while_it_is_acted_on_ends_or_is_gone(
    world: World, api: Api, clock: Clock, act: str
) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    for number in range(4):
        email = f"grace{number}@clinic.example"
        user_id = await world.invite(first, email)
        link = await world.link(email)
        await clock.forward(seconds=61)
        token = await ready(world, second, email)
        values: Json = {"userId": user_id} | ({"accessLevel": "BILLING"} if act == "changeAccessLevel" else {})
        acted, won = await asyncio.gather(
            api.do(act, {"token": link} if act == "declineInvitation" else values, token=first.administrator.session),
            finish(api, token),
        )
        assert won["__typename"] == "SignedIn", (acted, won)
        left = await database.fetch(
            "SELECT i.end_reason FROM invitations i JOIN users u ON u.id = i.user_id WHERE u.email = $1 AND i.state = 'PENDING'",
            email,
        )
        assert left == [], acted
