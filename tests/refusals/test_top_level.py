"""What only a programmer or an operator can put right comes at the top level, with a code, from the whole API."""

import logging
from datetime import UTC, datetime

import pytest

from domain import database, passwords
from tests.conftest import Clock
from tests.refusals.scene import NEW_PASSWORD, PASSWORD, Scene, built, document, made
from tests.refusals.signing_in import ASKED, codes
from tests.world import Api, Json, Mail, World

PUBLIC = {
    "viewer": "{ id }",
    "codeDelivery": '(token: "x") { status }',
    "invitation": '(token: "x") { practiceName }',
    "enrollment": '(token: "x") { nextStep }',
}
FOR_MEMBERS = {"practice": "{ id }", "usersTile": "{ activeCount }", "node": '(id: "x") { id }'}
FOR_ADMINISTRATORS = {
    "practiceAccessCode": "{ code }",
    "auditLog": "{ nodes { id } }",
    "auditVerification": "{ isIntact }",
    "deliveries": "{ nodes { id } }",
}


def error(answer: Json) -> Json:
    """The one error of an answer, with nothing beside it."""
    (found,) = answer["errors"]
    assert not any((answer.get("data") or {}).values()), answer
    assert found["message"].endswith((".", "…`."))
    result: Json = found
    return result


def code(answer: Json) -> str:
    """Its code."""
    found: str = error(answer)["extensions"]["code"]
    return found


async def test_a_query_answers_whom_it_is_for_and_nobody_else(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    root = built().query_type
    assert root is not None
    assert set(root.fields) == {*PUBLIC, *FOR_MEMBERS, *FOR_ADMINISTRATORS}
    for name, selection in (PUBLIC | FOR_MEMBERS | FOR_ADMINISTRATORS).items():
        query = f"{{ {name}{selection} }}"
        stranger, staff = await api.post(query), await api.post(query, token=grace.session)
        administrator = await api.post(query, token=practice.administrator.session)
        assert "errors" not in administrator, name
        if name in PUBLIC:
            assert stranger == {"data": {name: None}}
        else:
            assert code(stranger) == "UNAUTHENTICATED", name
        if name in FOR_ADMINISTRATORS:
            assert code(staff) == "FORBIDDEN", name
        else:
            assert "errors" not in staff, name


async def _sign_in(scene: Scene) -> tuple[Json, str | None]:
    return {"email": (await scene.staff()).email, "password": PASSWORD}, None


async def _set_password(scene: Scene) -> tuple[Json, str | None]:
    return {"enrollmentToken": await scene.proved(), "password": PASSWORD}, None


async def _reset_password(scene: Scene) -> tuple[Json, str | None]:
    asked = await ASKED["resetPassword"](scene)
    return {"challengeToken": asked.token, "code": (await codes(scene, asked))[0]} | asked.values, None


async def _change_password(scene: Scene) -> tuple[Json, str | None]:
    return {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}, scene.admin


async def _renew(scene: Scene) -> tuple[Json, str | None]:
    return {"password": PASSWORD}, scene.admin


async def _change_phone(scene: Scene) -> tuple[Json, str | None]:
    return {"password": PASSWORD, "phone": scene.world.number()}, scene.admin


# Deeper than the schema goes without a circle; what is measured comes before what is valid.
DEEPER = " { a" * 4 + " }" * 4

HASHING = {
    "signIn": _sign_in,
    "setPassword": _set_password,
    "resetPassword": _reset_password,
    "changePassword": _change_password,
    "renewSignIn": _renew,
    "changePhone": _change_phone,
}


@pytest.mark.parametrize("mutation", HASHING)
async def test_what_hashes_says_when_there_is_too_much_of_it_and_goes_on_afterwards(
    world: World, api: Api, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch, mutation: str
) -> None:
    values, session = await HASHING[mutation](Scene(world, api, mail, clock, await world.practice()))
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "MAX_WAITING", 0)
        refused = error(await api.post(document(mutation), {"input": values}, token=session))
    assert refused["message"] == "There is too much to do right now. Try again in a moment."
    assert refused["extensions"]["code"] == "RATE_LIMITED"
    assert datetime.fromisoformat(refused["extensions"]["retryAt"]) > datetime.now(UTC).replace(microsecond=0)
    again = await api.post(document(mutation), {"input": values}, token=session)
    assert "message" not in again["data"][mutation], again


async def test_verifying_the_audit_log_too_often_has_to_wait(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    scene = await made(world, api, mail, clock)
    await api.query("{ auditVerification { isIntact } }", token=scene.admin)
    await scene.use_up("audit", 6)
    refused = error(await api.post("{ auditVerification { isIntact } }", token=scene.admin))
    assert refused["message"] == "The audit log was verified often enough this hour. Try again later."
    assert refused["extensions"]["code"] == "RATE_LIMITED"
    assert datetime.fromisoformat(refused["extensions"]["retryAt"]) > await database.now()


@pytest.mark.parametrize(
    ("document", "variables", "expected"),
    [
        ("{ nothing }", {}, "BAD_USER_INPUT"),
        ("{ viewer { id }", {}, "BAD_USER_INPUT"),
        ("{ usersTile { users(first: 101) { totalCount } } }", {}, "BAD_USER_INPUT"),
        ('{ usersTile { users(after: "no place") { totalCount } } }', {}, "BAD_USER_INPUT"),
        ("mutation ($i: ResendInput!) { resend(input: $i) { __typename } }", {"i": {}}, "BAD_USER_INPUT"),
        ("mutation { a: signOut b: signOut }", {}, "OPERATION_TOO_COMPLEX"),
        ("{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(16)) + " }", {}, "OPERATION_TOO_COMPLEX"),
        (
            "{ usersTile { users { edges { node { invitation { delivery" + DEEPER + " } } } } } }",
            {},
            "OPERATION_TOO_COMPLEX",
        ),
        ("{ " + "viewer { id } " * 600 + "}", {}, "OPERATION_TOO_COMPLEX"),
    ],
    ids=["field", "syntax", "page", "cursor", "input", "two mutations", "aliases", "depth", "tokens"],
)
async def test_a_document_that_no_client_should_send_does_nothing(
    world: World, api: Api, document: str, variables: Json, expected: str
) -> None:
    session = (await world.practice()).administrator.session
    answer = await api.post(document, variables, token=session)
    assert {one["extensions"]["code"] for one in answer["errors"]} == {expected}, answer
    assert not any((answer.get("data") or {}).values())
    assert (await api.query("{ viewer { id } }", token=session))["viewer"], "the session is as good as before"


async def test_what_breaks_is_masked_and_stands_in_the_log(
    world: World, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    practice = await world.practice()
    values = {"userId": practice.administrator.id}
    queries: tuple[tuple[str, Json], ...] = (
        ("{ usersTile { users { totalCount nodes { invitation { id } } } } }", {}),
        (document("revokeInvitation"), {"input": values}),
    )
    await database.execute("ALTER TABLE invitations RENAME TO invitations_away")
    try:
        with caplog.at_level(logging.ERROR):
            answers = [await api.post(query, given, token=practice.administrator.session) for query, given in queries]
    finally:
        await database.execute("ALTER TABLE invitations_away RENAME TO invitations")
    for answer in answers:
        masked = error(answer)
        assert masked["message"] == "Something went wrong on our side."
        assert set(masked["extensions"]) == {"code", "incidentId"}
        assert masked["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert masked["extensions"]["incidentId"] in caplog.text
        assert "invitations" not in str(answer).replace("revokeInvitation", "")
