"""Signing in once more within a session, for acts that ask for a fresh sign-in."""

import asyncio
from datetime import datetime, timedelta

from domain import database
from tests.conftest import Clock
from tests.world import Api, World


async def test_password_and_code_make_the_session_fresh_for_ten_minutes(world: World, api: Api, clock: Clock) -> None:
    admin = (await world.practice()).administrator
    await clock.forward(minutes=11)
    rotate = "mutation { rotatePracticeAccessCode { __typename } }"
    assert (await api.query(rotate, token=admin.session))["rotatePracticeAccessCode"]["__typename"] == "SignInAgain"
    until = datetime.fromisoformat(await world.renewed(admin))
    assert timedelta(minutes=9, seconds=50) < until - await database.now() <= timedelta(minutes=10)
    done = (await api.query(rotate, token=admin.session))["rotatePracticeAccessCode"]
    assert done["__typename"] == "PracticeAccessCode"
    await clock.forward(minutes=10, seconds=1)
    assert (await api.query(rotate, token=admin.session))["rotatePracticeAccessCode"]["__typename"] == "SignInAgain"
    events = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'session.renewed'")
    assert len(events) == 1


async def test_a_renewal_is_good_in_its_own_session_only(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    other = await api.do("signIn", {"email": grace.email, "password": grace.password, "deviceToken": grace.device})
    challenge = (await api.do("renewSignIn", {"password": grace.password}, token=grace.session))["token"]
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    for session in (other["sessionToken"], practice.administrator.session):
        assert (await api.do("confirmSignIn", values, token=session))["__typename"] == "ChallengeInvalid"
    answer = await api.post(
        "mutation M($input: ConfirmSignInInput!) { confirmSignIn(input: $input) { __typename } }", {"input": values}
    )
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert (await api.do("verifyDevice", values))["__typename"] == "ChallengeInvalid"
    assert (await api.do("confirmSignIn", values, token=grace.session))["__typename"] == "SignInRenewed"
    for session in (other["sessionToken"], practice.administrator.session):
        assert (await api.do("confirmSignIn", values, token=session))["__typename"] == "ChallengeInvalid"


async def test_the_password_is_asked_for_and_counted(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    results = await asyncio.gather(
        *(api.do("renewSignIn", {"password": "not the password"}, token=grace.session) for _ in range(12))
    )
    assert sorted(one["__typename"] for one in results) == ["CredentialsIncorrect"] * 5 + ["TooManyAttempts"] * 7
    right = await api.do("renewSignIn", {"password": grace.password}, token=grace.session)
    assert right["__typename"] == "TooManyAttempts"


async def test_a_challenge_of_a_session_that_has_ended_is_dead(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = (await api.do("renewSignIn", {"password": grace.password}, token=grace.session))["token"]
    await api.query("mutation { signOut }", token=grace.session)
    sent = await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    assert sent["__typename"] == "ChallengeInvalid"
