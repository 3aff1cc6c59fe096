"""Changing one's own name, address and phone, and an administrator's help with a lost phone."""

import asyncio
import json

import pytest

from domain import database
from tests.conftest import Clock
from tests.world import PASSWORD, Api, Json, Mail, Person, World, document, keep_sessions_open

NEW_EMAIL = "Grace.Hopper@new.example"


async def asked_for_email(world: World, person: Person, email: str = NEW_EMAIL) -> str:
    """An address that is asked for, with the code given; the link's token."""
    challenge = (await world.api.do("changeEmail", {"email": email}, token=person.session))["token"]
    values = {"challengeToken": challenge, "code": await world.code(challenge, person.phone)}
    result = await world.api.do("verifyEmailChange", values, token=person.session)
    assert (result["__typename"], result["email"]) == ("CheckYourEmail", email)
    return await world.link(email)


async def changed_phone(world: World, person: Person) -> Json:
    """Another phone, proved."""
    phone = world.number()
    values = {"password": person.password, "phone": phone}
    challenge = (await world.api.do("changePhone", values, token=person.session))["token"]
    code = await world.code(challenge, phone)
    result = await world.api.do("confirmPhone", {"challengeToken": challenge, "code": code}, token=person.session)
    assert result["__typename"] == "User", result
    person.phone = phone
    return result


async def test_a_name_is_changed_and_the_tile_follows(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    bad = await api.do("changeName", {"firstName": "<b>", "lastName": "x" * 61}, token=grace.session)
    assert [problem["path"] for problem in bad["problems"]] == [["firstName"], ["lastName"]]
    await api.do("changeName", {"firstName": "Mary", "lastName": "Aardvark"}, token=grace.session)
    tile = "{ usersTile { users { nodes { firstName lastName } } } }"
    nodes = (await api.query(tile, token=practice.administrator.session))["usersTile"]["users"]["nodes"]
    assert nodes[0] == {"firstName": "Mary", "lastName": "Aardvark"}
    rows = await database.fetch("SELECT details FROM audit_events WHERE action = 'user.renamed'")
    assert "Grace Hopper" in rows[0]["details"]


async def test_an_address_changes_when_its_link_is_followed_and_both_are_told(
    world: World, api: Api, mail: Mail
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await mail.run()
    link = await asked_for_email(world, grace)
    assert [sent.content.notice for sent in mail.sent if sent.content.recipient == grace.email][-1] == (
        "email_change_requested"
    )
    old = {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device}
    signed_in = await api.do("signIn", old)
    assert signed_in["__typename"] == "SignedIn"  # the old one works until then
    result = await api.do("confirmEmail", {"token": link})
    assert (result["__typename"], result["email"]) == ("EmailConfirmed", NEW_EMAIL)
    told = {(sent.row.kind.value, sent.content.recipient) for sent in await mail.run()}
    assert told == {("email_changed", grace.email), ("notice", NEW_EMAIL)}
    again = old | {"email": NEW_EMAIL.lower(), "deviceToken": signed_in["deviceToken"]}
    assert (await api.do("signIn", again))["__typename"] == "SignedIn"
    assert (await api.do("signIn", old))["__typename"] == "CredentialsIncorrect"


async def test_that_an_address_is_in_use_is_told_only_to_whoever_reads_its_mail(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    grace = await world.joined(practice, "grace@clinic.example")
    link = await asked_for_email(world, grace, other.administrator.email)
    assert (await api.do("confirmEmail", {"token": link}))["__typename"] == "EmailInUse"
    refused = await database.fetch("SELECT practice_id FROM audit_events WHERE action = 'email_change.refused'")
    assert len(refused) == 1
    # An invitation of another practice holds nothing.
    await world.invite(other, "free@clinic.example")
    link = await asked_for_email(world, grace, "free@clinic.example")
    assert (await api.do("confirmEmail", {"token": link}))["__typename"] == "EmailConfirmed"


async def test_two_who_confirm_one_address_at_once_do_not_both_get_it(world: World, api: Api) -> None:
    practice = await world.practice()
    people = [await world.joined(practice, f"u{number}@clinic.example") for number in range(3)]
    links = [await asked_for_email(world, person) for person in people]
    results = await asyncio.gather(*(api.do("confirmEmail", {"token": link}) for link in links))
    assert sorted(result["__typename"] for result in results) == ["EmailConfirmed", "EmailInUse", "EmailInUse"]


async def test_a_newer_wish_blocking_and_time_end_an_older_link(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    first = await asked_for_email(world, grace)
    second = await asked_for_email(world, grace, "other@new.example")
    assert (await api.do("confirmEmail", {"token": first}))["__typename"] == "LinkInvalid"
    await clock.forward(days=1, seconds=1)
    assert (await api.do("confirmEmail", {"token": second}))["__typename"] == "LinkExpired"
    await keep_sessions_open()
    mary = await world.joined(practice, "mary@clinic.example")
    third = await asked_for_email(world, mary, "third@new.example")
    await api.do("deactivate", {"userId": mary.id}, token=practice.administrator.session)
    assert (await api.do("confirmEmail", {"token": third}))["__typename"] == "LinkInvalid"


async def test_another_phone_ends_all_else_and_both_the_old_number_and_the_mail_are_told(
    world: World, api: Api, mail: Mail
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    old = grace.phone
    other = await api.do("signIn", {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device})
    await mail.run()
    result = await changed_phone(world, grace)
    assert result["id"] == grace.id
    shown = await api.query("{ viewer { phone phoneVerified } }", token=grace.session)
    assert shown["viewer"] == {"phone": grace.phone, "phoneVerified": True}
    assert (await api.query("{ viewer { id } }", token=other["sessionToken"]))["viewer"] is None
    again = {"email": grace.email, "password": PASSWORD, "deviceToken": other["deviceToken"]}
    assert (await api.do("signIn", again))["__typename"] == "SecurityChallenge"
    assert (await mail.latest(old)).row.kind.value == "phone_notice"
    assert (await mail.latest(grace.email)).content.notice == "phone_changed"
    rows = await database.fetch("SELECT details::text FROM audit_events WHERE action LIKE 'phone.%'")
    assert not any(number in row["details"] for row in rows for number in (old, grace.phone))


async def test_a_phone_is_changed_with_a_fresh_sign_in_the_password_and_a_number_of_ones_own(
    world: World, api: Api, clock: Clock
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    values = {"password": PASSWORD, "phone": world.number()}
    for change, kind in (
        ({"phone": "900-234-5678"}, "PhoneNumberUnusable"),
        ({"password": "not the password"}, "CredentialsIncorrect"),
    ):
        assert (await api.do("changePhone", values | change, token=grace.session))["__typename"] == kind
    challenge = (await api.do("changePhone", values, token=grace.session))["token"]
    # The code goes to the new number, whatever else is asked for.
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS", "phone": grace.phone})
    assert (await world.mail.latest(values["phone"])).content.code
    await clock.forward(minutes=11)
    for mutation, given in (("changePhone", values), ("changeEmail", {"email": NEW_EMAIL})):
        assert (await api.do(mutation, given, token=grace.session))["__typename"] == "SignInAgain"


async def test_a_lost_phone_is_replaced_at_the_next_sign_in_with_the_access_code(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    reset = await api.do("resetPhone", {"userId": grace.id}, token=practice.administrator.session)
    assert reset["status"] == "ACTIVE"
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None
    assert (await mail.latest(grace.email)).content.notice == "phone_reset"
    result = await api.do("signIn", {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device})
    assert (result["__typename"], result["phone"], result["phoneRequired"]) == ("SecurityChallenge", "", True)
    assert result["practiceAccessCodeRequired"] is True
    challenge = result["token"]
    without = await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    assert without["__typename"] == "PhoneNumberUnusable"
    phone = world.number()
    code = await world.code(challenge, phone, is_new=True)
    values = {"challengeToken": challenge, "code": code}
    for pac in (None, "XXXXXXXXXX"):
        refused = await api.do("verifyDevice", values | {"practiceAccessCode": pac})
        assert refused["__typename"] == "PracticeAccessCodeIncorrect"
    signed_in = await api.do("verifyDevice", values | {"practiceAccessCode": practice.practice_access_code})
    assert signed_in["__typename"] == "SignedIn"
    shown = await api.query("{ viewer { phone phoneVerified } }", token=signed_in["sessionToken"])
    assert shown["viewer"] == {"phone": phone, "phoneVerified": True}
    rows = await database.fetch(
        "SELECT 1 FROM audit_events WHERE action = 'phone.verified' AND subject_user_id = $1", grace.row_id
    )
    assert len(rows) == 2  # when she joined, and now
    told = {sent.content.notice for sent in await mail.run() if sent.content.recipient == grace.email}
    assert "phone_changed" in told


async def test_once_a_lost_phone_was_replaced_no_code_that_went_to_another_is_of_use(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("resetPhone", {"userId": grace.id}, token=practice.administrator.session)
    await api.do("requestPasswordReset", {"email": grace.email})
    started = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
    # Somebody who has the password, or the mail, and not the access code, waits with codes on phones of their own.
    waiting = [
        ("verifyDevice", {"challengeToken": await world.challenged(grace)}),
        ("resetPassword", {"challengeToken": started["token"], "newPassword": "seven green kites over the bay"}),
    ]
    for _, values in waiting:
        values["code"] = await world.code(values["challengeToken"], world.number(), is_new=True)
    own = await world.challenged(grace)
    phone = world.number()
    answer = {"challengeToken": own, "code": await world.code(own, phone, is_new=True)}
    pac = {"practiceAccessCode": practice.practice_access_code}
    assert (await api.do("verifyDevice", answer | pac))["__typename"] == "SignedIn"
    for mutation, values in waiting:
        assert (await api.do(mutation, values))["__typename"] == "ChallengeInvalid", mutation
        again = {"challengeToken": values["challengeToken"], "channel": "SMS", "phone": world.number()}
        assert (await api.do("sendSecurityCode", again))["__typename"] == "ChallengeInvalid", mutation
    rows = await database.fetch("SELECT phone FROM users WHERE id = $1", grace.row_id)
    assert rows == [{"phone": phone}]


async def test_a_forgotten_password_is_no_way_around_a_lost_phone(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("resetPhone", {"userId": grace.id}, token=practice.administrator.session)
    await api.do("requestPasswordReset", {"email": grace.email})
    result = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
    assert (result["phoneRequired"], result["practiceAccessCodeRequired"]) == (True, True)
    phone = world.number()
    code = await world.code(result["token"], phone, is_new=True)
    values = {"challengeToken": result["token"], "code": code, "newPassword": "seven green kites over the bay"}
    assert (await api.do("resetPassword", values))["__typename"] == "PracticeAccessCodeIncorrect"
    values["practiceAccessCode"] = practice.practice_access_code
    assert (await api.do("resetPassword", values))["__typename"] == "SignedIn"


async def test_a_phone_is_reset_by_an_administrator_who_just_signed_in_and_not_ones_own(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    admin = practice.administrator
    grace = await world.joined(practice, "grace@clinic.example")
    own = await api.do("resetPhone", {"userId": admin.id}, token=admin.session)
    assert (own["__typename"], own["problems"][0]["path"]) == ("InputInvalid", ["userId"])
    invited = await world.invite(practice, "new@clinic.example")
    assert (await api.do("resetPhone", {"userId": invited}, token=admin.session))["__typename"] == "NotSetUpYet"
    forbidden = await api.post(document("resetPhone"), {"input": {"userId": admin.id}}, token=grace.session)
    assert forbidden["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    await clock.forward(minutes=11)
    assert (await api.do("resetPhone", {"userId": grace.id}, token=admin.session))["__typename"] == "SignInAgain"


@pytest.mark.parametrize("kind", ["email", "phone"])
async def test_of_parallel_right_codes_one_changes_and_all_are_told_so(
    world: World, api: Api, mail: Mail, kind: str
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await mail.run()
    if kind == "email":
        challenge = (await api.do("changeEmail", {"email": NEW_EMAIL}, token=grace.session))["token"]
        code, mutation = await world.code(challenge, grace.phone), "verifyEmailChange"
    else:
        phone = world.number()
        challenge = (await api.do("changePhone", {"password": PASSWORD, "phone": phone}, token=grace.session))["token"]
        code, mutation = await world.code(challenge, phone), "confirmPhone"
    values = {"challengeToken": challenge, "code": code}
    results = await asyncio.gather(*(api.do(mutation, values, token=grace.session) for _ in range(5)))
    assert {result["__typename"] for result in results} == {"CheckYourEmail" if kind == "email" else "User"}
    told = [sent.row.kind.value for sent in await mail.run()]
    assert sorted(told) == sorted(["email_change" if kind == "email" else "phone_notice", "notice"])
    action = "email_change.requested" if kind == "email" else "phone.changed"
    assert len(await database.fetch("SELECT 1 FROM audit_events WHERE action = $1", action)) == 1


def faults(answers: list[Json]) -> list[Json]:
    """What was not meant to be answered."""
    return [
        answer
        for answer in answers
        if any(error["extensions"]["code"] == "INTERNAL_SERVER_ERROR" for error in answer.get("errors", ()))
    ]


async def test_changes_of_ones_name_at_once_do_not_wait_for_each_other_for_ever(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    for _ in range(4):
        answers = await asyncio.gather(
            *(
                api.post(document("changeName"), {"input": {"firstName": name, "lastName": "B"}}, token=grace.session)
                for name in ("Ann", "Bea", "Cat", "Dot")
            )
        )
        assert faults(answers) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("resetPhone", "resetPhone"), ("sendPasswordReset", "sendPasswordReset"), ("resetPhone", "deactivate")],
)
async def test_two_administrators_who_act_on_each_other_take_turns(
    world: World, api: Api, one: str, other: str
) -> None:
    practice = await world.practice()
    for number in range(6):
        ann = await world.joined(practice, f"ann{number}@clinic.example", "ADMINISTRATOR")
        bob = await world.joined(practice, f"bob{number}@clinic.example", "ADMINISTRATOR")
        answers = await asyncio.gather(
            api.post(document(one), {"input": {"userId": bob.id}}, token=ann.session),
            api.post(document(other), {"input": {"userId": ann.id}}, token=bob.session),
        )
        assert faults(list(answers)) == []


async def test_links_that_an_administrator_sends_to_themselves_at_once_are_one(world: World, api: Api) -> None:
    admin = (await world.practice()).administrator
    answers = await asyncio.gather(
        *(
            api.post(document("sendPasswordReset"), {"input": {"userId": admin.id}}, token=admin.session)
            for _ in range(6)
        )
    )
    assert faults(list(answers)) == []
    kinds = sorted(answer["data"]["sendPasswordReset"]["__typename"] for answer in answers)
    assert kinds == ["TooSoon"] * 5 + ["User"]


ODD = {
    "requestPasswordReset": ["email"],
    "startPasswordReset": ["token"],
    "resetPassword": ["challengeToken", "code", "newPassword"],
    "renewSignIn": ["password"],
    "confirmSignIn": ["challengeToken", "code"],
    "changeName": ["firstName", "lastName"],
    "changeEmail": ["email"],
    "confirmEmail": ["token"],
    "changePhone": ["password", "phone"],
    "sendPasswordReset": ["userId"],
}


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "x" * 20_000], ids=["half", "nul", "long"])
async def test_no_odd_text_is_a_fault(world: World, api: Api, text: str) -> None:
    admin = (await world.practice()).administrator
    for mutation, names in ODD.items():
        values = json.dumps({"query": document(mutation), "variables": {"input": dict.fromkeys(names, "@@")}})
        response = await api.client.post(
            "/graphql",
            content=values.replace("@@", text),
            headers={"content-type": "application/json", "authorization": f"Bearer {admin.session}"},
        )
        assert faults([response.json()]) == [], mutation
