"""Nobody is locked out for good: every state that an account can be in has a way back, with two independent proofs.

`pytest -s tests/test_ways_back.py` prints the table. Every way in it is driven through the API and the operator's commands.
"""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from domain import database, lockouts, lost_phones
from tests.conftest import Clock
from tests.test_operator_commands import Server, server
from tests.world import PASSWORD, Api, Json, Mail, Person, PracticeWorld, World

__all__ = ["server"]

NEW_PASSWORD = "seven green kites over the bay"
NEW_EMAIL = "moved@clinic.example"


@dataclass(frozen=True)
class State:
    """What somebody has left. password: "known", "forgotten" or "locked" by strangers. alone: the practice's only administrator.

    Where the practice asks for a code at every sign-in, or the device's trust has run out, a known device is no proof: such a state is the
    same as without one.
    """

    has_phone: bool
    has_mailbox: bool
    password: str
    has_device: bool
    has_recovery_codes: bool
    alone: bool
    lapsed: bool
    shut_out: bool

    def __str__(self) -> str:
        parts = [
            "phone" if self.has_phone else "-",
            "mailbox" if self.has_mailbox else "-",
            self.password,
            "known device" if self.has_device else "-",
            "recovery codes" if self.has_recovery_codes else "-",
            "only administrator" if self.alone else "has others",
            "lapsed" if self.lapsed else "-",
            "shut out" if self.shut_out else "-",
        ]
        return "".join(part.ljust(19) for part in parts).rstrip()


STATES = [
    State(*values)
    for values in itertools.product(
        (True, False),
        (True, False),
        ("known", "forgotten", "locked"),
        (True, False),
        (True, False),
        (False, True),
        (False, True),
        (False, True),
    )
]


@dataclass(frozen=True)
class Way:
    """How somebody gets in again. proofs: independent of each other. who: acts beside the person. told: what the owner is told by."""

    name: str
    proofs: tuple[str, ...]
    who: str
    told: tuple[str, ...]


PASSWORD_ON_DEVICE = Way("sign in on the known device", ("password", "known device"), "-", ())
PASSWORD_AND_PHONE = Way("sign in with a code", ("password", "phone"), "-", ("new_device",))
PASSWORD_AND_RECOVERY = Way("sign in with a recovery code", ("password", "recovery code"), "-", ("recovery_code_used",))
RESET_BY_PHONE = Way("reset with a code", ("mailbox", "phone"), "-", ("password_reset",))
RESET_BY_RECOVERY = Way(
    "reset with a recovery code", ("mailbox", "recovery code"), "-", ("password_reset", "recovery_code_used")
)
PHONE_TAKEN_AWAY = Way(
    "another administrator takes the phone away; sign in with a new one",
    ("password", "administrator's word and access code"),
    "administrator",
    ("phone_reset",),
)
PHONE_TAKEN_AWAY_RESET = Way(
    "another administrator takes the phone away; reset with a new one",
    ("mailbox", "administrator's word and access code"),
    "administrator",
    ("phone_reset", "password_reset"),
)
ADDRESS_CORRECTED = Way(
    "another administrator corrects the address; reset with a code",
    ("administrator's word and new mailbox", "phone"),
    "administrator",
    ("email_corrected", "password_reset"),
)
ADDRESS_CORRECTED_RECOVERY = Way(
    "another administrator corrects the address; reset with a recovery code",
    ("administrator's word and new mailbox", "recovery code"),
    "administrator",
    ("email_corrected", "recovery_code_used", "password_reset"),
)
BOTH_BY_ADMINISTRATOR = Way(
    "another administrator corrects the address and a day later takes the phone away; reset with a new one",
    ("administrator's word, twice a day apart", "new mailbox and access code"),
    "administrator",
    ("email_corrected", "phone_reset", "password_reset"),
)
OPERATOR_PHONE = Way(
    "the operator takes the phone away in a day; sign in with a new one",
    ("password", "operator's check and access code"),
    "operator",
    ("phone_reset_planned", "phone_reset"),
)
OPERATOR_PHONE_RESET = Way(
    "the operator takes the phone away in a day; reset with a new one",
    ("mailbox", "operator's check"),
    "operator",
    ("phone_reset_planned", "phone_reset", "password_reset"),
)
OPERATOR_ADDRESS = Way(
    "the operator corrects the address; reset with a code",
    ("operator's check and new mailbox", "phone"),
    "operator",
    ("email_corrected", "password_reset"),
)
OPERATOR_ADDRESS_RECOVERY = Way(
    "the operator corrects the address; reset with a recovery code",
    ("operator's check and new mailbox", "recovery code"),
    "operator",
    ("email_corrected", "recovery_code_used", "password_reset"),
)
OPERATOR_BOTH = Way(
    "the operator corrects the address, and a day later takes the phone away in a day; reset with a new one",
    ("operator's check, twice a day apart", "new mailbox"),
    "operator",
    ("email_corrected", "phone_reset_planned", "phone_reset", "password_reset"),
)


def way_back(state: State) -> Way:
    """The least that helps in a state: by oneself, else with an administrator, else with the operator."""
    is_known = state.password == "known"
    by_oneself = {
        # Strangers lock the password on new devices only.
        PASSWORD_ON_DEVICE: state.has_device and state.password != "forgotten",
        PASSWORD_AND_PHONE: is_known and state.has_phone,
        PASSWORD_AND_RECOVERY: is_known and state.has_recovery_codes,
        RESET_BY_PHONE: state.has_mailbox and state.has_phone,
        RESET_BY_RECOVERY: state.has_mailbox and state.has_recovery_codes,
    }
    for way, is_open in by_oneself.items():
        if is_open:
            return way
    return _with_operator(state) if state.alone else _with_administrator(state)


def _with_administrator(state: State) -> Way:
    if state.has_phone:
        return ADDRESS_CORRECTED
    if state.has_recovery_codes:
        return ADDRESS_CORRECTED_RECOVERY
    if state.password == "known":
        return PHONE_TAKEN_AWAY
    return PHONE_TAKEN_AWAY_RESET if state.has_mailbox else BOTH_BY_ADMINISTRATOR


def _with_operator(state: State) -> Way:
    if state.has_phone:
        return OPERATOR_ADDRESS
    if state.has_recovery_codes:
        return OPERATOR_ADDRESS_RECOVERY
    if state.has_mailbox:
        return OPERATOR_PHONE if state.password == "known" else OPERATOR_PHONE_RESET
    return OPERATOR_BOTH


# What keeps out whoever proved who they are, and who opens it. Administrators of a lapsed practice come in by themselves.
def gates(state: State) -> list[str]:
    """What has to be opened besides, and by whom."""
    found = []
    if state.shut_out:
        found.append(
            "login-settings reset by the operator" if state.alone else "updateLoginSettings by an administrator"
        )
    if state.lapsed and not state.alone:
        found.append("subscription set by the operator")
    return found


def test_every_state_has_a_way_back_with_two_proofs_that_is_told() -> None:
    table = [(state, way_back(state), gates(state)) for state in STATES]
    lines: list[str] = []
    for state, way, opened in table:
        assert len(set(way.proofs)) >= 2, state
        assert way.told or way is PASSWORD_ON_DEVICE, state
        assert (way.who == "operator") <= state.alone, "an administrator helps where there is another"
        used = " ".join(way.proofs)
        for proof, is_there in (
            ("phone", state.has_phone),
            ("password", state.password == "known" or (state.has_device and state.password == "locked")),
            ("known device", state.has_device),
            ("recovery code", state.has_recovery_codes),
        ):
            assert is_there or proof not in used, (state, way)
        assert state.has_mailbox or "new mailbox" in used or "mailbox" not in used, (state, way)
        besides = "".join(f"; {one}" for one in opened)
        lines.append(
            f"{state!s:160}{way.name}{besides} [{' + '.join(way.proofs)}; {way.who}; {', '.join(way.told) or '-'}]"
        )
    counts = Counter(way.name for _, way, _ in table)
    lines += ["", *(f"{number:4} {name}" for name, number in counts.most_common())]
    print("\n".join(lines))  # noqa: T201 -- the table is to be looked at
    assert {way.name for _, way, _ in table} == {way.name for way in DRIVES}, "each way is driven below"
    assert len(table) == 384


# -- the ways, driven ---------------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A practice, somebody who has to get in again, and what drives it."""

    world: World
    api: Api
    mail: Mail
    clock: Clock
    server: Server
    practice: PracticeWorld
    person: Person
    helper: Person | None

    async def operator(self, *arguments: str) -> None:
        """A command on the server."""
        done = await self.server.run(
            "users", *arguments, "--user", str(self.person.row_id), "--reason", "Asked in person."
        )
        assert (done.status, done.complained) == (0, ""), done

    async def administrator(self, mutation: str, **values: str) -> None:
        """The other administrator does something, freshly signed in."""
        assert self.helper is not None
        session = await self.world.again(self.helper)
        result = await self.api.do(mutation, {"userId": self.person.id} | values, token=session)
        assert result["__typename"] == "User", result

    async def a_day_later(self) -> None:
        """Time passes, and the schedule does what is due."""
        await self.mail.run()
        await self.clock.forward(days=1, seconds=1)
        await lost_phones.reset_due()
        await self.mail.run()

    async def access_code(self) -> str:
        """The practice access code: what the person was mailed with it, or what an administrator tells."""
        await self.mail.run()
        mailed = [
            one.content.code
            for one in self.mail.sent
            if one.content.recipient == self.person.email and one.content.code
        ]
        return mailed[-1] if mailed else self.practice.practice_access_code

    async def sign_in(self, code: str | None = None, *, new_phone: bool = False) -> Json:
        """Password and a code: the one given, from the phone, or from a new phone with the access code."""
        challenge = await self.world.challenged(self.person)
        return await self.api.do("verifyDevice", await self._answer(challenge, code, new_phone=new_phone))

    async def reset(self, code: str | None = None, *, new_phone: bool = False) -> Json:
        """A link to the mailbox and a code, as above."""
        asked = await self.api.do("requestPasswordReset", {"email": self.person.email})
        assert asked["__typename"] == "CheckYourEmail"
        await self.mail.run()
        link = [one for one in self.mail.sent if one.content.recipient == self.person.email and one.content.link_token][
            -1
        ]
        challenge = await self.api.do("startPasswordReset", {"token": link.content.link_token})
        values = await self._answer(challenge["token"], code, new_phone=new_phone)
        return await self.api.do("resetPassword", values | {"newPassword": NEW_PASSWORD})

    async def confirm_address(self) -> None:
        """The person follows the link that went to the new mailbox."""
        await self.api.do("confirmEmail", {"token": await self.world.link(NEW_EMAIL)})
        self.person.email = NEW_EMAIL

    async def _answer(self, challenge: str, code: str | None, *, new_phone: bool) -> Json:
        values = {"challengeToken": challenge}
        if new_phone:
            phone = self.world.number()
            values["practiceAccessCode"] = await self.access_code()
            return values | {"code": await self.world.code(challenge, phone, is_new=True)}
        return values | {"code": code or await self.world.code(challenge, self.person.phone)}


async def _on_device(scene: Scene) -> Json:
    values = {"email": scene.person.email, "password": PASSWORD, "deviceToken": scene.person.device}
    return await scene.api.do("signIn", values)


async def _by_administrator_address(scene: Scene, code: str | None = None) -> Json:
    await scene.administrator("correctUserEmail", email=NEW_EMAIL)
    await scene.confirm_address()
    return await scene.reset(code)


async def _by_administrator_phone(scene: Scene) -> Json:
    await scene.administrator("resetPhone")
    return await scene.sign_in(new_phone=True)


async def _by_administrator_phone_reset(scene: Scene) -> Json:
    await scene.administrator("resetPhone")
    return await scene.reset(new_phone=True)


async def _by_administrator_both(scene: Scene) -> Json:
    await scene.administrator("correctUserEmail", email=NEW_EMAIL)
    await scene.confirm_address()
    await scene.a_day_later()
    await scene.administrator("resetPhone")
    return await scene.reset(new_phone=True)


async def _by_operator_phone(scene: Scene) -> Json:
    await scene.operator("reset-phone")
    await scene.a_day_later()
    return await scene.sign_in(new_phone=True)


async def _by_operator_phone_reset(scene: Scene) -> Json:
    await scene.operator("reset-phone")
    await scene.a_day_later()
    return await scene.reset(new_phone=True)


async def _by_operator_address(scene: Scene, code: str | None = None) -> Json:
    await scene.operator("correct-address", "--email", NEW_EMAIL)
    await scene.confirm_address()
    return await scene.reset(code)


async def _by_operator_both(scene: Scene) -> Json:
    await scene.operator("correct-address", "--email", NEW_EMAIL)
    await scene.confirm_address()
    await scene.a_day_later()
    await scene.operator("reset-phone")
    await scene.a_day_later()
    return await scene.reset(new_phone=True)


DRIVES: dict[Way, Callable[[Scene], Awaitable[Json]]] = {
    PASSWORD_ON_DEVICE: _on_device,
    PASSWORD_AND_PHONE: lambda scene: scene.sign_in(),
    PASSWORD_AND_RECOVERY: lambda scene: scene.sign_in(scene.person.recovery_codes[0]),
    RESET_BY_PHONE: lambda scene: scene.reset(),
    RESET_BY_RECOVERY: lambda scene: scene.reset(scene.person.recovery_codes[0]),
    PHONE_TAKEN_AWAY: _by_administrator_phone,
    PHONE_TAKEN_AWAY_RESET: _by_administrator_phone_reset,
    ADDRESS_CORRECTED: _by_administrator_address,
    ADDRESS_CORRECTED_RECOVERY: lambda scene: _by_administrator_address(scene, scene.person.recovery_codes[0]),
    BOTH_BY_ADMINISTRATOR: _by_administrator_both,
    OPERATOR_PHONE: _by_operator_phone,
    OPERATOR_PHONE_RESET: _by_operator_phone_reset,
    OPERATOR_ADDRESS: _by_operator_address,
    OPERATOR_ADDRESS_RECOVERY: lambda scene: _by_operator_address(scene, scene.person.recovery_codes[0]),
    OPERATOR_BOTH: _by_operator_both,
}


@pytest.mark.parametrize("way", DRIVES, ids=lambda way: way.name)
async def test_a_way_back_is_one(world: World, api: Api, mail: Mail, clock: Clock, server: Server, way: Way) -> None:
    practice = await world.practice()
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    helper = None if way.who == "operator" else await world.joined(practice, "helper@clinic.example", "ADMINISTRATOR")
    scene = Scene(world, api, mail, clock, server, practice, practice.administrator, helper)
    person = scene.person
    former = person.email
    # The worst that strangers can do to it, where the password is not what it takes on a new device.
    if "password" not in way.proofs or way is PASSWORD_ON_DEVICE:
        await _lock(lockouts.address_counter(former), 60)
    if "phone" not in way.proofs:
        await _lock(lockouts.phone_counter(person.row_id), 80)
    await mail.run()
    already = len(mail.sent)
    result = await DRIVES[way](scene)
    assert (result["__typename"], result["user"]["id"]) == ("SignedIn", person.id)
    viewer = await api.query("{ viewer { id } }", token=result["sessionToken"])
    assert viewer["viewer"]["id"] == person.id
    await mail.run()
    own = {former, person.email, person.phone}
    told = {one.content.notice for one in mail.sent[already:] if one.content.recipient in own}
    assert set(way.told) <= told
    # On record, by whoever acted.
    rows = await database.fetch("SELECT action, actor_name FROM audit_events WHERE subject_user_id = $1", person.row_id)
    actors = {row["actor_name"].partition(" ")[0] for row in rows}
    assert ("operator" in actors) == (way.who == "operator")


async def _lock(counter: str, failures: int) -> None:
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, $2, 5, clock_now())",
        counter,
        failures,
    )


@pytest.mark.parametrize("way", [PASSWORD_ON_DEVICE, RESET_BY_PHONE], ids=lambda way: way.name)
async def test_a_lapsed_subscription_and_login_settings_are_opened_by_somebody_else(
    world: World, api: Api, mail: Mail, clock: Clock, server: Server, way: Way
) -> None:
    practice = await world.practice()
    admin, grace = practice.administrator, await world.joined(practice, "grace@clinic.example")
    # Only the administrator comes in to a lapsed practice; the operator renews it for everybody else.
    await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")
    scene = Scene(world, api, mail, clock, server, practice, admin, None)
    assert (await DRIVES[way](scene))["__typename"] == "SignedIn"
    scene.person = grace
    assert (await DRIVES[way](scene))["__typename"] == "SubscriptionLapsed"
    practice_id = (await database.fetch("SELECT id FROM practices"))[0]["id"]
    renew = ("subscription", "set", "--practice", str(practice_id), "--status", "ACTIVE", "--until", "2099-01-31")
    assert (await server.run(*renew)).status == 0
    # Where settings shut everybody out, the operator opens them.
    await database.execute(
        "INSERT INTO login_settings (id, practice_id, allowed_networks, updated_at)"
        " SELECT gen_random_uuid(), id, '[\"192.0.2.0/24\"]', clock_now() FROM practices"
    )
    assert (await DRIVES[way](scene))["__typename"] == "NetworkNotAllowed"
    assert (await server.run("login-settings", "reset", "--practice", str(practice_id))).status == 0
    assert (await DRIVES[way](scene))["__typename"] == "SignedIn"


async def test_no_proof_alone_is_a_way_in(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    # The password alone.
    alone = await api.do("signIn", {"email": grace.email, "password": PASSWORD})
    assert alone["__typename"] == "SecurityChallenge"
    # The mailbox alone.
    await api.do("requestPasswordReset", {"email": grace.email})
    reset = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
    values = {"challengeToken": reset["token"], "code": "000000", "newPassword": NEW_PASSWORD}
    assert (await api.do("resetPassword", values))["__typename"] == "CodeExpired"
    # A recovery code, or a known device, without the password.
    for answer in (
        await api.do("signIn", {"email": grace.email, "password": "x", "deviceToken": grace.device}),
        await api.do("signIn", {"email": grace.email, "password": grace.recovery_codes[0]}),
    ):
        assert answer["__typename"] == "CredentialsIncorrect"
    # The mailbox after an administrator took the phone away: the access code is the administrator's to tell.
    await api.do("resetPhone", {"userId": grace.id}, token=practice.administrator.session)
    await api.do("requestPasswordReset", {"email": grace.email})
    reset = await api.do("startPasswordReset", {"token": await world.link(grace.email)})
    code = await world.code(reset["token"], world.number(), is_new=True)
    values = {"challengeToken": reset["token"], "code": code, "newPassword": NEW_PASSWORD}
    assert (await api.do("resetPassword", values))["__typename"] == "PracticeAccessCodeIncorrect"
    assert "practice_access_code" not in {sent.row.kind for sent in mail.sent if sent.content.recipient == grace.email}
