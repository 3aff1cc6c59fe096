"""Each refusal type of each mutation's union is driven through HTTP at least once, and each root field answers."""

from datetime import datetime

import pytest

from domain import database
from domain.budgets import DAY_SECONDS
from tests.conftest import Clock
from tests.refusals import joining, signing_in, the_house
from tests.refusals.registry import DRIVERS
from tests.refusals.scene import built, made, refusals
from tests.world import Api, Json, Mail, World, document

__all__ = ["joining", "signing_in", "the_house"]  # what they register is what is driven


def demanded() -> set[tuple[str, str]]:
    """Every pair that the schema has."""
    root = built().mutation_type
    assert root is not None
    return {(mutation, kind.name) for mutation in root.fields for kind in refusals(mutation)}


def test_every_refusal_that_the_schema_has_is_driven_and_no_other() -> None:
    assert set(DRIVERS) == demanded()
    assert len(DRIVERS) > 100


@pytest.mark.parametrize(("mutation", "kind"), sorted(DRIVERS))
async def test_a_refusal_is_answered_as_data(
    world: World, api: Api, mail: Mail, clock: Clock, mutation: str, kind: str
) -> None:
    scene = await made(world, api, mail, clock)
    result = await DRIVERS[mutation, kind](scene)
    assert result["__typename"] == kind, result
    await _says_what_it_should(result)


@pytest.mark.parametrize("mutation", sorted(mutation for mutation, kind in DRIVERS if kind == "LimitReached"))
async def test_a_limit_is_driven_on_the_eve_of_a_new_day_too(
    world: World, api: Api, mail: Mail, clock: Clock, mutation: str
) -> None:
    await clock.forward(seconds=DAY_SECONDS - (await database.now()).timestamp() % DAY_SECONDS - 30)
    result = await DRIVERS[mutation, "LimitReached"](await made(world, api, mail, clock))
    assert result["__typename"] == "LimitReached", result


async def _says_what_it_should(result: Json) -> None:
    assert result["message"].endswith(".")
    for name, value in result.items():
        if name == "retryAt" and value is not None:
            assert datetime.fromisoformat(value) > await database.now()
        elif name == "attemptsLeft":
            assert value >= 0
        elif name in ("problems", "channels"):
            assert value, result
            assert all(problem["path"] and problem["message"].endswith(".") for problem in value if "path" in problem)
        elif name in ("nextStep", "status", "email", "user", "minLength", "maxLength"):
            assert value, result


async def test_every_query_answers(world: World, api: Api) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, "new@clinic.example")
    token = await world.link("new@clinic.example")
    enrollment = await api.do("acceptInvitation", {"token": token, "practiceAccessCode": practice.practice_access_code})
    phone = {"enrollmentToken": enrollment["token"], "phone": world.number(), "channel": "SMS"}
    await api.do("sendPhoneCode", phone)
    queries = {
        "viewer": "{ id }",
        "practice": "{ name subscription { status } loginSettings { sessionHours } }",
        "usersTile": "{ activeCount users { totalCount } }",
        "practiceAccessCode": "{ code rotatesAt }",
        "invitation": "{ practiceName }",
        "enrollment": "{ nextStep }",
        "codeDelivery": "{ status }",
        "auditLog": "{ nodes { action } }",
        "auditVerification": "{ isIntact }",
        "node": "{ id }",
        "deliveries": "{ nodes { id tries { number } } }",
    }
    arguments = {
        "invitation": f'(token: "{token}")',
        "enrollment": f'(token: "{enrollment["token"]}")',
        "codeDelivery": f'(token: "{enrollment["token"]}")',
        "node": f'(id: "{user_id}")',
    }
    root = built().query_type
    assert root is not None
    assert set(queries) == set(root.fields)
    for name, selection in queries.items():
        found = await api.query(
            f"{{ {name}{arguments.get(name, '')} {selection} }}", token=practice.administrator.session
        )
        assert found[name], name


FOR_ADMINISTRATORS = {
    "invite": {"users": []},
    "resend": {"userId": "x"},
    "revokeInvitation": {"userId": "x"},
    "deactivate": {"userId": "x"},
    "reactivate": {"userId": "x"},
    "changeAccessLevel": {"userId": "x", "accessLevel": "BILLING"},
    "updateLoginSettings": {},
    "updatePracticeAccessCodeSettings": {},
    "sendPasswordReset": {"userId": "x"},
    "resetPhone": {"userId": "x"},
    "correctUserName": {"userId": "x", "firstName": "A", "lastName": "B"},
    "correctUserEmail": {"userId": "x", "email": "x"},
    "redeliver": {"deliveryId": "x"},
    "resendInvitations": {"userIds": ["x"]},
    "releaseAddress": {"userId": "x"},
}
FOR_MEMBERS = {
    "changePassword": {"currentPassword": "x", "newPassword": "x"},
    "changeName": {"firstName": "A", "lastName": "B"},
    "changeEmail": {"email": "x"},
    "changePhone": {"password": "x", "phone": "x"},
    "renewSignIn": {"password": "x"},
    "confirmSignIn": {"challengeToken": "x", "code": "x"},
    "verifyEmailChange": {"challengeToken": "x", "code": "x"},
    "confirmPhone": {"challengeToken": "x", "code": "x"},
    "endSession": {"sessionId": "x"},
    "forgetDevice": {"deviceId": "x"},
}


async def test_what_is_for_members_and_administrators_is_for_nobody_else(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    for mutation, values in (FOR_ADMINISTRATORS | FOR_MEMBERS).items():
        answer = await api.post(document(mutation), {"input": values})
        assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED", mutation
    for mutation, values in FOR_ADMINISTRATORS.items():
        answer = await api.post(document(mutation), {"input": values}, token=grace.session)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", mutation
    rotate = "mutation { rotatePracticeAccessCode { __typename } }"
    for session, code in ((None, "UNAUTHENTICATED"), (grace.session, "FORBIDDEN")):
        answer = await api.post(rotate, token=session)
        assert answer["errors"][0]["extensions"]["code"] == code
    answer = await api.post("mutation { renewRecoveryCodes { __typename } }")
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    # Nothing else asks who somebody is: the rest of the mutations stand on a token or a password.
    public = {
        *("signUp", "verifyEmail", "acceptInvitation", "sendPhoneCode", "verifyPhone", "setPassword", "signIn"),
        *("sendSecurityCode", "verifyDevice", "signOut", "requestPasswordReset", "startPasswordReset", "resetPassword"),
        *("confirmEmail", "declineInvitation", "stopAccountChange"),
    }
    root = built().mutation_type
    assert root is not None
    without_input = {"rotatePracticeAccessCode", "renewRecoveryCodes"}
    assert set(root.fields) == {*FOR_ADMINISTRATORS, *FOR_MEMBERS, *public, *without_input}
