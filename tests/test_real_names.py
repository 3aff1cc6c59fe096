"""Names and addresses as people have them and paste them, on their way through the API, the mails and the audit log."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from domain import database, outbox, user_support
from domain.actors import operator
from tests.world import PASSWORD, Api, Mail, Sent, World
from workers.envelope import envelope
from workers.messages import Messages

ALIREZA = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"


def read(sent: Sent) -> tuple[str, str]:
    """The subject and the text of a mail, out of its bytes."""
    mail = Messages("https://app.example.com").mail(outbox.Kind(sent.row.kind), sent.content)
    raw = envelope(
        mail,
        delivery_id=sent.row.id,
        sender="access@clinic.example",
        recipient=sent.content.recipient,
        queued_at=sent.row.queued_at,
    )
    parsed = message_from_bytes(raw, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    body = parsed.get_body(("plain",))
    assert body is not None
    return str(parsed["Subject"]), str(body.get_content())


def row(first: str, last: str, email: str) -> dict[str, str]:
    return {"firstName": first, "lastName": last, "email": email, "accessLevel": "ADMINISTRATOR"}


@pytest.mark.parametrize("name", ["Suharto", ALIREZA])
async def test_somebody_with_one_name_is_called_by_it_everywhere(world: World, api: Api, mail: Mail, name: str) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    await api.do("changeName", {"firstName": name, "lastName": "-"}, token=session)
    await api.do("invite", {"users": [row("", "Zuse", "Zuse <Konrad@clinic.example>;")]}, token=session)

    subject, text = read(await mail.latest("konrad@clinic.example"))
    assert name in subject + text
    assert f"{name}  " not in text
    assert text.startswith("Hello Zuse,")

    found = await api.query(
        "{ viewer { firstName lastName } usersTile { users { nodes { firstName lastName email } } }"
        " auditLog(first: 2) { nodes { action actorName subjectName } } }",
        token=session,
    )
    assert found["viewer"] == {"firstName": name, "lastName": ""}
    people = {user["firstName"]: user for user in found["usersTile"]["users"]["nodes"]}
    assert people["Zuse"] == {"firstName": "Zuse", "lastName": "", "email": "Konrad@clinic.example"}
    invited = next(event for event in found["auditLog"]["nodes"] if event["action"] == "invitation.sent")
    assert (invited["actorName"], invited["subjectName"]) == (name, "Zuse")


async def test_somebody_with_one_name_has_it_without_a_blank_in_the_audit_log_and_at_the_operators(
    world: World, api: Api
) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    zuse = await world.joined(practice, "konrad@clinic.example")
    await api.do("changeName", {"firstName": "Zuse", "lastName": ""}, token=zuse.session)
    for mutation, values in (
        ("sendPasswordReset", {}),
        ("updateLoginSettings", {"sessionHours": 8}),
        ("changeAccessLevel", {"accessLevel": "BILLING"}),
        ("deactivate", {"releaseAddress": True}),
    ):
        answer = await api.do(mutation, {"userId": zuse.id} | values, token=session)
        assert answer["__typename"] == "User" or mutation == "updateLoginSettings", answer
    await api.do("signIn", {"email": zuse.email, "password": PASSWORD})
    names = await database.fetch(
        "SELECT DISTINCT subject_name AS name FROM audit_events WHERE subject_name LIKE 'Zuse%'"
        " UNION SELECT DISTINCT actor_name FROM audit_events WHERE actor_name LIKE 'Zuse%'"
    )
    assert [row["name"] for row in names] == ["Zuse"]
    assert [found.name for found in await user_support.find(operator("root"), "zuse")] == ["Zuse"]


async def test_people_with_one_name_stand_among_the_last_names(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session  # Ada Lovelace
    people = [
        row("Suharto", "", "s@clinic.example"),
        row("Konrad", "Zuse", "z@clinic.example"),
        row("", "Bono", "b@clinic.example"),
    ]
    await api.do("invite", {"users": people}, token=session)
    found = await api.query("{ usersTile { users { nodes { firstName } } } }", token=session)
    assert [user["firstName"] for user in found["usersTile"]["users"]["nodes"]] == ["Bono", "Ada", "Suharto", "Konrad"]


async def test_what_is_wrong_with_a_row_is_said_where_it_is(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session
    rows = [
        row("Ada\u202e", "Byron", "ada@clinic.example"),
        row("-", "", "a@clinic.example, b@clinic.example"),
        row("Ben", "Ward", "a" * 65 + "@clinic.example"),
    ]
    report = await api.do("invite", {"users": rows}, token=session)
    problems = [
        {problem["path"][-1]: problem["message"] for problem in result["error"]["problems"]}
        for result in report["rows"]
    ]
    assert problems == [
        {"firstName": "This has a hidden character that turns text around (U+202E); type the name anew."},
        {"firstName": "This has no letters.", "email": "This has more than one address; put one."},
        {"email": "This has more than 64 characters before the @."},
    ]


async def test_an_address_that_is_pasted_with_a_name_signs_in_the_same_account(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    for typed in ("Grace Hopper <Grace@clinic.example>", "\u200bgrace@clinic.example;"):
        values = {"email": typed, "password": grace.password, "deviceToken": grace.device}
        assert (await api.do("signIn", values | {"password": "wrong"}))["__typename"] == "CredentialsIncorrect"
    signed_in = await api.do("signIn", {"email": "Grace <grace@clinic.example>", "password": grace.password})
    assert signed_in["__typename"] in {"SignedIn", "SecurityChallenge"}


@pytest.mark.parametrize("zone", ["localtime", "Factory", "posixrules", "", "US/Pacific-New"])
async def test_a_time_zone_is_a_place(api: Api, mail: Mail, zone: str) -> None:
    form = {
        "firstName": "Ada",
        "lastName": "Lovelace",
        "email": "ada@clinic.example",
        "phone": "202 555 0143",
        "practiceName": "Women's Health @ Main",
        "specialty": "Surgery",
    }
    result = await api.do("signUp", form | {"timeZone": zone})
    if zone:
        assert [problem["path"] for problem in result["problems"]] == [["timeZone"]]
    assert (await api.do("signUp", form | {"timeZone": "America/Chicago"}))["__typename"] == "CheckYourEmail"
