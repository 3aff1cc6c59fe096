"""Links as gateways, mail programs and keyboards leave them, and the codes that stand in for them."""

import asyncio
import re
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from graphql import GraphQLInputObjectType, get_named_type
from hypothesis import given
from hypothesis import strategies as st

from domain import database, link_codes, link_tokens, secrets
from domain.actors import Actor
from domain.models.columns import new_nonce, uuid7
from graph.scalars import FROM_LINK
from tests.conftest import CLIENT_ADDRESS, TEST_KEYS, Clock
from tests.refusals.scene import built
from tests.test_sign_up import FORM
from tests.world import Api, Json, World

TOKEN = "AaIHPXXdexCUs2CXUD5qEmn7NmciCboazf9f2QYHnO9kGw"
DASHED = "AaIHPXXdexCUs2-XUD5qEmn7NmciCboazf9f2--HnO9kG_"
LINK = "https://app.clinic.example/join#token={token}"
SOMEBODY = Actor(ip_address=CLIENT_ADDRESS)
LETTERS = st.text(st.sampled_from(secrets.PAC_ALPHABET), min_size=20, max_size=20)

# What arrives of a link, or is pasted of it.
SPELLINGS = [
    "{token}",
    LINK,
    # What stands around it in a text.
    *("{token}.", "{token})", "<{token}>", '"{token}"', "“{token}”", "'{token}',", "{token};", "{token}\n", " {token} ", "[{token}]"),
    *(f"<{LINK}>", f"{LINK}.", f"({LINK}),", f'"{LINK}"', f"{LINK}>", f"{LINK}\n", f"{LINK} You will be asked for the code."),
    *(f"Log in here:\n\n{LINK}\n\nYou will be asked.", f'<a href="{LINK}">Log in</a>', f"[Log in]({LINK})", "token={token}", "#token={token}"),
    f"{LINK} {LINK}",
    # What gateways and trackers make of it.
    *(f"{LINK}&utm_source=mail", f"{LINK}?x=1", f"{LINK}#top", f"{LINK}/", "%23token={token}", "%23token%3D{token}", "%2523token%253D{token}"),
    "https://app.clinic.example/join%23token={token}",
    "https://gateway.example/?url=https%3A%2F%2Fapp.clinic.example%2Fjoin%23token%3D{token}&data=abc",
    "https://app.clinic.example/join?token={token}",
    *("#TOKEN={token}", "#token&#61;{token}", "#token&equals;{token}"),
    # Characters that do not show.
    *("{token}\u200b", "\ufeff{token}", "\u2068{token}\u2069", "{token}\u00a0", "{token}\x00", "{half}\u00ad{rest}", "{half}\u200b{rest}", "{half}\u2060{rest}"),
    # Broken over lines, also by quoted-printable.
    *("{half}\n{rest}", "{half}\r\n  {rest}", "https://app.clinic.example/join#token={half}\r\n{rest}\r\n\r\nYou will be asked."),
    *("#token=3D{token}", "#token=3D{half}=\r\n{rest}", "#token={half}=\n{rest}.", "#token=3D{half}={rest}", "#token={half}\n> {rest}"),
    # Typed on another keyboard.
    "{wide}",
]  # fmt: skip


def spelled(spelling: str, token: str) -> str:
    """A token in one of the spellings."""
    wide = "".join(chr(ord(one) + 0xFEE0) for one in token)
    return spelling.format(token=token, half=token[:20], rest=token[20:], wide=wide)


@pytest.fixture(autouse=True)
def _keys() -> None:
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))


@pytest.mark.parametrize("token", [TOKEN, DASHED])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_token_is_found_in_whatever_is_left_of_a_link(spelling: str, token: str) -> None:
    assert await link_tokens.read(SOMEBODY, "invitation", spelled(spelling, token)) == token


@pytest.mark.parametrize(("shown", "meant"), [("\u2010", "-"), ("\u2011", "-"), ("\u2013", "-"), ("\u2212", "-")])
async def test_a_dash_that_a_keyboard_made_prettier_is_read_as_typed(shown: str, meant: str) -> None:
    assert await link_tokens.read(SOMEBODY, "invitation", DASHED.replace(meant, shown)) == DASHED
    assert await link_tokens.read(SOMEBODY, "invitation", DASHED.replace("--", "\u2014")) == DASHED


@pytest.mark.parametrize(
    "raw",
    [
        *("", " ", "token=", "#token=abc", TOKEN[:-1], TOKEN + "x", TOKEN + TOKEN, "x" * 5000, LINK.format(token=TOKEN[:-1])),
        *("http://evil.example/", "%%%", "\ud800", "é", "1234567890", "3RK5V-9Y92D", "3RK5-V9Y9-2DAC-DEFG", "=" * 46, "." * 46),
    ],
)  # fmt: skip
async def test_what_can_be_neither_token_nor_code_is_none_and_counts_nowhere(db: None, raw: str) -> None:
    assert await link_tokens.read(SOMEBODY, "invitation", raw) == ""
    assert await database.fetch("SELECT 1 FROM guess_counters UNION ALL SELECT 1 FROM budgets") == []


@given(st.text(max_size=300))
async def test_whatever_somebody_pastes_is_answered(raw: str) -> None:
    text = link_tokens._readable(raw)
    assert re.fullmatch(r"([A-Za-z0-9_-]{46})?", link_tokens._token(text))
    assert re.fullmatch(f"([{secrets.PAC_ALPHABET}]{{20}})?", link_tokens._code(text))


def test_every_field_that_takes_a_link_takes_it_as_it_is_left() -> None:
    root, queries = built().mutation_type, built().query_type
    assert root is not None
    assert queries is not None
    taken = set()
    for name, field in root.fields.items():
        inputs = get_named_type(field.args["input"].type) if field.args else None
        if isinstance(inputs, GraphQLInputObjectType) and any(
            one.description == FROM_LINK for one in inputs.fields.values()
        ):
            taken.add(name)
    taken |= {
        name
        for name, field in queries.fields.items()
        if any(one.description == FROM_LINK for one in field.args.values())
    }
    assert taken == {*FOLLOWED, "invitation"}
    assert not re.search(r"#token(?!= in the link; or)", str(sorted(set(_descriptions()))))


def _descriptions() -> list[str]:
    return [
        one.description or ""
        for kind in built().type_map.values()
        if isinstance(kind, GraphQLInputObjectType)
        for one in kind.fields.values()
    ]


# -- through the API -------------------------------------------------------------------------------------------------------


async def _signed_up(world: World) -> tuple[str, Json]:
    await world.api.do("signUp", FORM)
    return FORM["email"], {}


async def _invited(world: World) -> tuple[str, Json]:
    practice = await world.practice()
    await world.invite(practice, "new@clinic.example")
    return "new@clinic.example", {"practiceAccessCode": practice.practice_access_code}


async def _forgetful(world: World) -> tuple[str, Json]:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await world.api.do("requestPasswordReset", {"email": grace.email})
    return grace.email, {}


async def _moving(world: World) -> tuple[str, Json]:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = await world.api.do("changeEmail", {"email": "grace@new.example"}, token=grace.session)
    code = await world.code(challenge["token"], grace.phone)
    values = {"challengeToken": challenge["token"], "code": code}
    await world.api.do("verifyEmailChange", values, token=grace.session)
    return "grace@new.example", {}


async def _declining(world: World) -> tuple[str, Json]:
    await world.invite(await world.practice(), "new@clinic.example")
    return "new@clinic.example", {}


async def _corrected(world: World) -> tuple[str, Json]:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    values = {"userId": grace.id, "email": "grace@new.example"}
    await world.api.do("correctUserEmail", values, token=practice.administrator.session)
    return grace.email, {}


FOLLOWED: dict[str, tuple[Callable[[World], Awaitable[tuple[str, Json]]], str]] = {
    "verifyEmail": (_signed_up, "Enrollment"),
    "acceptInvitation": (_invited, "Enrollment"),
    "startPasswordReset": (_forgetful, "SecurityChallenge"),
    "confirmEmail": (_moving, "EmailConfirmed"),
    "declineInvitation": (_declining, "InvitationDeclined"),
    "stopAccountChange": (_corrected, "AccountChangeStopped"),
}


def wrong(code: str, number: int = 0) -> str:
    """A code of the same row that is not its."""
    others = [letter for letter in secrets.PAC_ALPHABET if letter != code[-1]]
    return code[:-1] + others[number]


@pytest.mark.parametrize("mutation", FOLLOWED)
@pytest.mark.parametrize(
    "spelling", ["https://app.clinic.example/join%2523token={token}).", "<{half}\u200b\r\n{rest}>"]
)
async def test_a_mangled_link_leads_on(world: World, mutation: str, spelling: str) -> None:
    prepare, expected = FOLLOWED[mutation]
    email, values = await prepare(world)
    token = spelled(spelling, await world.link(email))
    assert (await world.api.do(mutation, {"token": token} | values))["__typename"] == expected


@pytest.mark.parametrize("mutation", FOLLOWED)
async def test_the_code_in_the_mail_leads_on_as_the_link_does(world: World, mutation: str) -> None:
    prepare, expected = FOLLOWED[mutation]
    email, values = await prepare(world)
    content = (await world.mail.latest(email)).content
    code = content.link_code
    assert len(code) == link_codes.LENGTH
    assert link_codes.grouped(code).count("-") == 4
    for number in range(9):
        refused = await world.api.do(mutation, {"token": wrong(code, number)} | values)
        assert refused["__typename"] == "LinkInvalid"
    typed = f" {link_codes.grouped(code).lower().replace('0', 'o').replace('1', 'l')}. "
    assert (await world.api.do(mutation, {"token": typed} | values))["__typename"] == expected


@pytest.mark.parametrize("mutation", FOLLOWED)
async def test_ten_wrong_codes_lock_the_code_and_leave_the_link(
    world: World, api: Api, clock: Clock, mutation: str
) -> None:
    await clock.stop()
    prepare, expected = FOLLOWED[mutation]
    email, values = await prepare(world)
    content = (await world.mail.latest(email)).content
    kinds = [
        (await api.do(mutation, {"token": wrong(content.link_code, number)} | values))["__typename"]
        for number in range(10)
    ]
    assert kinds == ["LinkInvalid"] * 10
    locked = await api.do(mutation, {"token": content.link_code} | values)
    assert (locked["__typename"], locked["retryAtOrNull"] is not None) == ("TooManyAttempts", True)
    if mutation == "acceptInvitation":
        shown = await api.query(PREVIEW, {"token": content.link_code})
        assert shown["invitation"] is None
    assert (await api.do(mutation, {"token": content.link_token} | values))["__typename"] == expected


PREVIEW = "query ($token: String!) { invitation(token: $token) { practiceName email } }"


async def test_looking_with_a_code_shows_the_invitation_and_counts_wrong_ones(
    world: World, api: Api, clock: Clock
) -> None:
    await clock.stop()
    email, values = await _invited(world)
    code = (await world.mail.latest(email)).content.link_code
    for number in range(9):
        assert (await api.query(PREVIEW, {"token": wrong(code, number)}))["invitation"] is None
    shown = await api.query(PREVIEW, {"token": link_codes.grouped(code)})
    assert shown["invitation"] == {"practiceName": "Elm Street Practice", "email": "n•••@clinic.example"}
    for number in range(10):
        await api.query(PREVIEW, {"token": wrong(code, number)})
    refused = await api.do("acceptInvitation", {"token": code} | values)
    assert refused["__typename"] == "TooManyAttempts"


async def test_a_fresh_link_begins_to_count_anew_and_ends_the_code_before(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, "new@clinic.example")
    first = (await world.mail.latest("new@clinic.example")).content.link_code
    values = {"practiceAccessCode": practice.practice_access_code}
    for number in range(10):
        await api.do("acceptInvitation", {"token": wrong(first, number)} | values)
    await clock.forward(seconds=61)
    await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    second = (await world.mail.latest("new@clinic.example")).content.link_code
    assert second != first
    kinds = [(await api.do("acceptInvitation", {"token": code} | values))["__typename"] for code in (first, second)]
    assert kinds == ["LinkInvalid", "Enrollment"]


async def test_codes_that_are_tried_at_once_are_all_counted(world: World, api: Api, clock: Clock) -> None:
    await clock.stop()
    email, values = await _invited(world)
    code = (await world.mail.latest(email)).content.link_code
    results = await asyncio.gather(
        *(api.do("acceptInvitation", {"token": wrong(code, number)} | values) for number in range(20))
    )
    assert Counter(result["__typename"] for result in results) == {"LinkInvalid": 10, "TooManyAttempts": 10}


async def test_a_network_has_sixty_wrong_codes_an_hour_and_right_ones_cost_none(
    world: World, api: Api, clock: Clock
) -> None:
    email, values = await _invited(world)
    content = (await world.mail.latest(email)).content
    await clock.stop()
    for _ in range(3):
        await api.do("acceptInvitation", {"token": content.link_code} | values)
    (spent,) = await database.fetch("SELECT sum(used)::int AS used FROM budgets WHERE key LIKE 'link-codes:%'")
    assert spent["used"] == 0
    some = [secrets.practice_access_code(uuid7(), new_nonce(), secrets.newest_key_id()) * 2 for _ in range(60)]
    kinds = Counter([(await api.do("acceptInvitation", {"token": code} | values))["__typename"] for code in some])
    assert kinds == {"LinkInvalid": 60}
    refused = await api.do("acceptInvitation", {"token": content.link_code} | values)
    assert refused["__typename"] == "TooManyAttempts"
    assert (await api.do("acceptInvitation", {"token": content.link_token} | values))["__typename"] == "Enrollment"


# -- the codes themselves --------------------------------------------------------------------------------------------------


def made(row_id: uuid.UUID, nonce: bytes, purpose: str = "invitation") -> str:
    """A code of the newest key."""
    return link_codes.make(purpose, row_id, nonce, secrets.newest_key_id())


def test_a_code_has_room_for_sixty_secret_bits_beside_what_says_whose_it_is() -> None:
    assert len(secrets.PAC_ALPHABET) ** link_codes.LENGTH > 2 ** (28 + 8 + 60)
    assert link_codes.SECRET_BITS >= 60


@given(st.integers(0, 2**128 - 1), st.binary(min_size=16, max_size=16))
def test_a_code_belongs_to_one_row_nonce_and_purpose(number: int, nonce: bytes) -> None:
    row_id = uuid.UUID(int=number)
    code = made(row_id, nonce)
    assert re.fullmatch(f"[{secrets.PAC_ALPHABET}]{{20}}", code)
    assert made(row_id, nonce) == code
    others = [made(row_id, nonce, purpose) for purpose in link_codes.TABLES if purpose != "invitation"]
    others += [made(row_id, bytes(16 - len(nonce)) + nonce[::-1] + b"x"), made(uuid.UUID(int=number ^ 1), nonce)]
    assert code not in others
    assert secrets.link_token("invitation", row_id, nonce, secrets.newest_key_id())[-6:] not in code


async def _sign_up_row(row_id: uuid.UUID) -> bytes:
    nonce = new_nonce()
    await database.execute(
        "INSERT INTO sign_ups (id, first_name, last_name, email, email_canonical, phone, practice_name, specialty, time_zone, nonce,"
        " key_id, expires_at, created_at) VALUES ($1, 'Ann', 'Lee', 'a@b.example', 'a@b.example', '+12025550143', 'Elm', 'Surgery',"
        " 'America/Chicago', $2, $3, clock_now() + interval '1 day', clock_now())",
        row_id,
        nonce,
        secrets.newest_key_id(),
    )
    return nonce


async def test_rows_of_one_moment_are_told_apart_and_old_ones_are_found(db: None) -> None:
    now = uuid7().int
    same_moment = [uuid.UUID(int=now ^ number << 8) for number in range(6)]  # the last byte is the same
    old = [uuid.UUID(int=now - (days * 86_400_000 << 80)) for days in (1, 40, 400, 2000, 3000)]
    codes = {row_id: made(row_id, await _sign_up_row(row_id), "verify-email") for row_id in {*same_moment, *old}}
    assert len(await link_codes.rows("verify-email", codes[same_moment[0]])) == 6
    for row_id, code in codes.items():
        token = await link_tokens.read(SOMEBODY, "verify-email", code)
        assert secrets.link_row_id(token) == row_id
        assert await link_tokens.read(SOMEBODY, "invitation", code) == ""


async def test_the_rows_of_a_code_are_found_by_the_primary_key(db: None) -> None:
    code = made(uuid7(), new_nonce())
    for purpose, table in link_codes.TABLES.items():
        assert await link_codes.rows(purpose, code) == []
        async with database.transaction():
            await database.execute("SET LOCAL enable_seqscan = off")
            plan = await database.fetch(
                f"EXPLAIN SELECT id FROM {table} WHERE id >= $1 AND id < $2 AND get_byte(uuid_send(id), 15) = $3",
                uuid7(),
                uuid7(),
                7,
            )
        assert any("Index Cond: ((id >=" in row["QUERY PLAN"] for row in plan), table
