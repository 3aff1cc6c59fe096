"""A practice signs up."""

import asyncio

import pytest

from domain import database
from tests.conftest import Clock
from tests.world import Api, Mail, World

FORM = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@clinic.example",
    "phone": "+12025550100",
    "practiceName": "Elm Street Practice",
    "specialty": "Family medicine",
}
PRACTICE = "{ viewer { email accessLevel } practice { name specialty phone timeZone subscription { plan status accessAllowed trialEndsAt } } }"


async def test_a_practice_exists_once_its_administrator_has_a_password(world: World, api: Api, mail: Mail) -> None:
    assert (await api.do("signUp", FORM | {"timeZone": "America/Chicago"}))["email"] == "ada@clinic.example"
    assert await database.fetch("SELECT 1 FROM practices") == []
    link = (await mail.latest("ada@clinic.example")).content.link_token
    enrollment = await api.do("verifyEmail", {"token": link})
    ada = await world.finish(enrollment["token"], "ada@clinic.example")
    found = await api.query(PRACTICE, token=ada.session)
    assert found["viewer"] == {"email": "ada@clinic.example", "accessLevel": "ADMINISTRATOR"}
    practice = found["practice"]
    assert (practice["name"], practice["timeZone"], practice["phone"]) == (
        "Elm Street Practice",
        "America/Chicago",
        "+12025550100",
    )
    assert (practice["subscription"]["status"], practice["subscription"]["accessAllowed"]) == ("TRIALING", True)
    codes = [sent for sent in await mail.run() if sent.content.code]
    assert [(sent.content.recipient, len(sent.content.code)) for sent in codes] == [("ada@clinic.example", 10)]


async def test_known_and_unknown_addresses_get_the_same_answer(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    known = await api.do("signUp", FORM | {"email": practice.administrator.email})
    unknown = await api.do("signUp", FORM)
    assert known | {"email": ""} == unknown | {"email": ""}
    sent = {message.content.recipient: message for message in await mail.run()}
    assert sent[practice.administrator.email].content.link_token == ""
    assert sent["ada@clinic.example"].content.link_token != ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("firstName", "\u3164"),
        ("firstName", "x" * 61),
        ("lastName", "Evil\r\nBcc: a@b.example"),
        ("email", "not an address"),
        ("email", "a@x.example,b@y.example"),
        ("phone", "+1 900 555 0123"),
        ("phone", "call me"),
        ("practiceName", "Win at http://evil.example"),
        ("specialty", "<b>"),
        ("timeZone", "Mars/Olympus"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, mail: Mail, field: str, value: str) -> None:
    result = await api.do("signUp", FORM | {field: value})
    assert result["__typename"] == "InputInvalid"
    assert [problem["path"] for problem in result["problems"]] == [[field]]
    assert await mail.run() == []


async def test_following_the_link_twice_leads_to_the_same_enrollment(world: World, api: Api, mail: Mail) -> None:
    await api.do("signUp", FORM)
    link = await world.link("ada@clinic.example")
    results = await asyncio.gather(*(api.do("verifyEmail", {"token": link}) for _ in range(10)))
    assert len({result["token"] for result in results}) == 1


async def test_a_link_is_good_for_a_day_and_of_no_use_afterwards(world: World, api: Api, clock: Clock) -> None:
    await api.do("signUp", FORM)
    link = await world.link("ada@clinic.example")
    await clock.forward(hours=24, minutes=1)
    assert (await api.do("verifyEmail", {"token": link}))["__typename"] == "LinkExpired"
    assert (await api.do("verifyEmail", {"token": link[:-1] + ("A" if link[-1] != "A" else "B")}))[
        "__typename"
    ] == "LinkInvalid"


async def test_a_link_is_spent_when_the_account_is_there(world: World, api: Api, clock: Clock) -> None:
    await api.do("signUp", FORM)
    first = await world.link("ada@clinic.example")
    await api.do("signUp", FORM | {"practiceName": "Second thought"})
    second = await world.link("ada@clinic.example")
    enrollment = await api.do("verifyEmail", {"token": first})
    await world.finish(enrollment["token"], "ada@clinic.example")
    # The one that was followed says for an hour what came of it.
    assert (await api.do("verifyEmail", {"token": first}))["nextStep"] == "DONE"
    assert (await api.do("verifyEmail", {"token": second}))["__typename"] == "LinkInvalid"
    await clock.forward(hours=1, seconds=1)
    assert (await api.do("verifyEmail", {"token": first}))["__typename"] == "LinkInvalid"


async def test_two_sign_ups_with_one_address_make_one_practice(world: World, api: Api) -> None:
    tokens = []
    for name in ("One", "Two"):
        await api.do("signUp", FORM | {"practiceName": name})
        enrollment = await api.do("verifyEmail", {"token": await world.link("ada@clinic.example")})
        await world.proved(enrollment["token"])
        tokens.append(enrollment["token"])
    results = await asyncio.gather(
        *(
            api.do("setPassword", {"enrollmentToken": token, "password": "correct horse battery staple"})
            for token in tokens
        )
    )
    assert sorted(result["__typename"] for result in results) == ["EmailInUse", "SignedIn"]
    assert len(await database.fetch("SELECT 1 FROM practices")) == 1


async def test_an_address_gets_five_mails_a_day_known_or_not(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    for address, already in ((practice.administrator.email, 1), ("new@clinic.example", 0)):
        kinds = [(await api.do("signUp", FORM | {"email": address}))["__typename"] for _ in range(6 - already)]
        assert kinds == ["CheckYourEmail"] * (5 - already) + ["LimitReached"]


@pytest.mark.parametrize(
    ("password", "problems"),
    [
        ("fourteen chars", ["TOO_SHORT"]),
        ("x" * 129, ["TOO_LONG"]),
        ("aaaaaaaaaaaaaaaaaaaa", ["TOO_COMMON"]),
        ("lovelace-practice1", ["CONTAINS_OWN_NAME"]),
    ],
)
async def test_a_weak_password_is_refused_with_the_reason(
    world: World, api: Api, password: str, problems: list[str]
) -> None:
    await api.do("signUp", FORM)
    enrollment = await api.do("verifyEmail", {"token": await world.link("ada@clinic.example")})
    await world.proved(enrollment["token"])
    values = {"enrollmentToken": enrollment["token"], "password": password}
    result = await api.do("setPassword", values)
    assert (result["__typename"], result["problems"]) == ("PasswordRejected", problems)
    assert (result["minLength"], result["maxLength"]) == (15, 128)
    values["password"] = "a few words in a row"
    assert (await api.do("setPassword", values))["__typename"] == "SignedIn"


async def test_an_enrollment_is_good_for_an_hour_and_the_link_leads_back(world: World, api: Api, clock: Clock) -> None:
    await api.do("signUp", FORM)
    link = await world.link("ada@clinic.example")
    first = await api.do("verifyEmail", {"token": link})
    shown = "query ($token: String!) { enrollment(token: $token) { nextStep } }"
    assert (await api.query(shown, {"token": first["token"]}))["enrollment"] == {"nextStep": "SEND_PHONE_CODE"}
    await clock.forward(hours=1, minutes=1)
    assert (await api.query(shown, {"token": first["token"]}))["enrollment"] is None
    second = await api.do("verifyEmail", {"token": link})
    assert second["token"] != first["token"]
    await world.finish(second["token"], "ada@clinic.example")
