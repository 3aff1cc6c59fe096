"""What a process does with rows that were made with a server key that it lacks: nothing that cannot be put right by one that has it."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import contents, database, keys, outbox, return_paths, scraping, secrets
from domain.models.columns import uuid7
from domain.outbox import LANES
from tests.conftest import TEST_KEYS, Clock
from tests.servers import smtp
from tests.test_bounces import HOME, notification
from tests.test_delivery import relaying, rows, signed_up
from tests.test_metrics import exposing
from tests.world import PASSWORD, Api, Json, Mail, Person, World, document
from workers import bounce_server, bounces
from workers.bounces import Kind

NEW, OLD = (key.encode() for key in TEST_KEYS)
NEW_ID = secrets.key_id(NEW)
TOO_EARLY = "This cannot be checked right now."


@contextlib.contextmanager
def only_the_older_key() -> Iterator[None]:
    """As a process that was not started with the newest key yet."""
    secrets.use_keys((OLD,))
    try:
        yield
    finally:
        secrets.use_keys((NEW, OLD))


@pytest.fixture(autouse=True)
def _tell_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_told_at", {})


# -- messages --------------------------------------------------------------------------------------------------------------


async def test_a_message_is_left_for_a_worker_that_has_the_key(world: World, mail: Mail) -> None:
    await world.sign_up("Elm", "ada@elm.example")
    with only_the_older_key():
        assert await mail.run() == []
        assert mail.withdrawn == []
        (row,) = await rows()
        assert (row["status"], row["attempts"], row["awaited_key_id"]) == ("RETRYING", 0, NEW_ID)
        assert row["problem"] == contents.KEY_AWAITED
    (sent,) = await mail.run()
    assert sent.content.recipient == "ada@elm.example"
    (row,) = await rows()
    assert (row["status"], row["attempts"], row["awaited_key_id"]) == ("SENT", 1, None)


async def test_a_worker_looks_once_at_what_it_has_no_key_for_and_others_go_out(world: World, mail: Mail) -> None:
    await world.sign_up("Elm", "ada@elm.example")
    with only_the_older_key():
        await mail.run()
        for lane in LANES:
            assert await outbox.claim(lane, at_most=10, lease_seconds=60) == []
        assert await outbox.seconds_until_due(LANES) is None
        await world.sign_up("Oak", "eve@oak.example")
        assert await outbox.seconds_until_due(LANES) == 0
        assert [sent.content.recipient for sent in await mail.run()] == ["eve@oak.example"]
    assert await outbox.seconds_until_due(LANES) == 0


async def test_a_running_worker_without_the_key_settles_once_and_waits(db: None, tmp_path: Path) -> None:
    await signed_up("ann@example.com")
    with smtp.running() as sink, only_the_older_key():
        async with relaying(tmp_path, SMTP_URL=sink.url):
            await signed_up("old@example.com")
            while len(sink.received) < 1:
                await database.fetch("SELECT pg_sleep(0.05)")
            for _ in range(10):
                await database.fetch("SELECT pg_sleep(0.05)")
        tries = await database.fetch(
            "SELECT 1 FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE d.awaited_key_id = $1",
            NEW_ID,
        )
        assert len(tries) == 1


async def test_what_runs_out_without_the_key_is_called_off_and_says_so(world: World, mail: Mail, clock: Clock) -> None:
    await world.sign_up("Elm", "ada@elm.example")
    with only_the_older_key():
        await mail.run()
        await clock.forward(days=2)
        assert await mail.run() == []
        (row,) = await rows()
        assert (row["status"], row["problem"]) == ("CANCELED", outbox.KEY_TOO_LATE)


async def test_the_schedule_says_so_too_where_no_worker_called_it_off(world: World, mail: Mail, clock: Clock) -> None:
    await world.sign_up("Elm", "ada@elm.example")
    with only_the_older_key():
        await mail.run()
        await clock.forward(days=2)
        assert await outbox.end_overdue() == 1
        (row,) = await rows()
        assert (row["status"], row["problem"]) == ("FAILED", outbox.KEY_TOO_LATE)


async def test_messages_that_wait_for_a_key_are_told_in_the_log_once_a_minute_and_in_the_metrics(
    world: World, mail: Mail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scraping, "FRESH_SECONDS", -1.0)
    async with exposing() as site:
        before = await site.read()
        for number in range(3):
            await world.sign_up("Elm", f"ada{number}@elm.example")
        with only_the_older_key(), caplog.at_level(logging.WARNING):
            await mail.run()
        after = await site.read()
        assert after("missing_keys_total") == before("missing_keys_total") + 3
        assert (before("deliveries_awaiting_key"), after("deliveries_awaiting_key")) == (0, 3)
        await mail.run()
        assert (await site.read())("deliveries_awaiting_key") == 0
    told = [record for record in caplog.records if NEW_ID in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]
    monkeypatch.setattr(secrets, "QUIET_SECONDS", 0.0)
    with only_the_older_key(), caplog.at_level(logging.WARNING), pytest.raises(secrets.KeyUnknown):
        secrets.ring().key(NEW_ID)
    assert len([record for record in caplog.records if NEW_ID in record.getMessage()]) == 2


# -- requests --------------------------------------------------------------------------------------------------------------


async def refused(api: Api, mutation: str, values: Json, token: str | None = None) -> bool:
    """Whether a mutation is told to come again in a few minutes."""
    answer = await api.post(document(mutation), {"input": values}, token=token)
    (error,) = answer.get("errors", [{"message": str(answer), "extensions": {}}])
    assert error["message"].startswith(TOO_EARLY), answer
    return bool(error["extensions"]["code"] == "RATE_LIMITED" and error["extensions"]["retryAt"])


async def counted() -> dict[str, int]:
    """The wrong guesses that are counted, by key, and the budgets of guesses."""
    found = await database.fetch("SELECT key, failures AS number FROM guess_counters WHERE failures > 0")
    used = await database.fetch(
        "SELECT key, used AS number FROM budgets WHERE used > 0 AND (key LIKE 'passwords:%' OR key LIKE 'link-codes:%')"
    )
    return {row["key"]: row["number"] for row in (*found, *used)}


async def test_a_link_is_not_called_bad_and_its_typed_code_costs_no_guess(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    content = (await world.mail.latest("grace@clinic.example")).content
    rest = {"practiceAccessCode": practice.practice_access_code}
    with only_the_older_key():
        assert await refused(api, "acceptInvitation", {"token": content.link_token} | rest)
        for _ in range(12):
            assert await refused(api, "acceptInvitation", {"token": content.link_code} | rest)
    assert await counted() == {}
    assert (await api.do("acceptInvitation", {"token": content.link_code} | rest))["__typename"] == "Enrollment"


async def test_an_access_code_that_cannot_be_compared_costs_no_guess(world: World, api: Api) -> None:
    practice = await world.practice()
    with only_the_older_key():
        await world.invite(practice, "grace@clinic.example")
        token = await world.link("grace@clinic.example")
        values = {"token": token, "practiceAccessCode": practice.practice_access_code}
        for _ in range(12):
            assert await refused(api, "acceptInvitation", values)
        assert await counted() == {}
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


async def test_a_security_code_that_cannot_be_compared_costs_no_guess(world: World, api: Api) -> None:
    practice = await world.practice()
    with only_the_older_key():
        await world.invite(practice, "grace@clinic.example")
        token = await world.link("grace@clinic.example")
    enrollment = await api.do("acceptInvitation", {"token": token, "practiceAccessCode": practice.practice_access_code})
    with only_the_older_key():
        pass
    values = {"enrollmentToken": enrollment["token"]}
    phone = world.number()
    await api.do("sendPhoneCode", values | {"phone": phone, "channel": "SMS"})
    code = (await world.mail.latest(phone)).content.code
    # The enrollment's own token is of the newest key too: here the code alone is what cannot be compared.
    challenge = await world.challenged(practice.administrator)
    digits = await world.code(challenge, practice.administrator.phone)
    with only_the_older_key():
        assert await refused(api, "verifyPhone", values | {"code": code})
        for _ in range(7):
            assert await refused(api, "verifyDevice", {"challengeToken": challenge, "code": digits})
    assert await counted() == {}
    (row,) = await database.fetch(
        "SELECT attempts FROM security_codes WHERE challenge_id IS NOT NULL AND superseded_at IS NULL AND consumed_at IS NULL"
    )
    assert row["attempts"] == 0
    assert (await api.do("verifyDevice", {"challengeToken": challenge, "code": digits}))["__typename"] == "SignedIn"
    assert (await api.do("verifyPhone", values | {"code": code}))["nextStep"] == "SET_PASSWORD"


async def test_a_recovery_code_that_cannot_be_compared_costs_no_guess(world: World, api: Api) -> None:
    ada = (await world.practice()).administrator
    values = {"challengeToken": await world.challenged(ada), "code": ada.recovery_codes[0]}
    with only_the_older_key():
        for _ in range(12):
            assert await refused(api, "verifyDevice", values)
    assert await counted() == {}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"


def credentials(person: Person, **more: object) -> Json:
    return {"email": person.email, "password": person.password} | more


async def test_a_password_that_cannot_be_compared_costs_no_guess(world: World, api: Api) -> None:
    ada = (await world.practice()).administrator
    await keys.begin()
    with only_the_older_key():
        for _ in range(12):
            assert await refused(api, "signIn", credentials(ada, deviceToken=ada.device))
            assert await refused(api, "signIn", credentials(ada))
            change = {"currentPassword": PASSWORD, "newPassword": "another horse battery staple"}
            assert await refused(api, "changePassword", change, ada.session)
    assert await counted() == {}
    assert (await api.do("signIn", credentials(ada)))["__typename"] == "SecurityChallenge"


async def test_a_stranger_learns_nothing_of_accounts_from_a_process_that_is_behind(world: World, api: Api) -> None:
    ada = (await world.practice()).administrator
    await keys.begin()
    with only_the_older_key():
        there = await api.post(document("signIn"), {"input": credentials(ada)})
        nowhere = await api.post(document("signIn"), {"input": credentials(ada) | {"email": "nobody@elm.example"}})
    for answer in (there, nowhere):
        (error,) = answer["errors"]
        assert error["message"].startswith(TOO_EARLY)
        del error["extensions"]["retryAt"]
    assert there == nowhere


async def test_without_a_newer_key_elsewhere_a_wrong_password_is_wrong(world: World, api: Api) -> None:
    with only_the_older_key():
        ada = (await world.practice()).administrator
        await keys.begin()
    await keys.begin()
    wrong = credentials(ada) | {"password": "not the password at all"}
    assert (await api.do("signIn", wrong))["__typename"] == "CredentialsIncorrect"
    # A key that is older than this process's own was taken away on purpose: its passwords are not known here any more.
    secrets.use_keys((NEW,))
    try:
        answers = [
            await api.do("signIn", credentials(ada) | {"email": email}) for email in (ada.email, "nobody@elm.example")
        ]
    finally:
        secrets.use_keys((NEW, OLD))
    assert [answer["__typename"] for answer in answers] == ["CredentialsIncorrect"] * 2
    refusals = await database.fetch(
        "SELECT details->>'reason' AS reason FROM audit_events WHERE action = 'sign_in.refused' ORDER BY id"
    )
    assert [row["reason"] for row in refusals] == ["wrong password", "server key missing", "wrong password"]


# -- what comes back -------------------------------------------------------------------------------------------------------


async def test_what_comes_back_to_an_address_of_a_newer_key_is_to_be_brought_again(db: None) -> None:
    await keys.begin()
    mail = notification(uuid7(), "Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1")
    forged = notification(uuid7(), "Action: failed", to=f"bounces+{'a' * 26}.{'b' * 16}@example.com")
    foreign = notification(uuid7(), "Action: failed", to="bounces+hello@example.com")
    assert [await bounces.take(one, HOME) for one in (mail, forged, foreign)] == [
        Kind.REPORT,
        Kind.FOREIGN,
        Kind.FOREIGN,
    ]
    newer = return_paths.make(HOME, uuid7())
    with only_the_older_key():
        for one in (mail, forged):
            with pytest.raises(bounces.KeysBehind):
                await bounces.take(one, HOME)
        assert await bounces.take(foreign, HOME) is Kind.FOREIGN
        refused = [await _receiver()._why_not(address) for address in (newer, HOME)]
        assert refused == ["451 4.3.0 Try again later", "550 5.1.1 No such address here"]
    assert await _receiver()._why_not(return_paths.make(HOME, uuid7())[:-1]) == "550 5.1.1 No such address here"


def _receiver() -> bounce_server.Receiver:
    async def take(mail: bytes, recipients: list[str]) -> None:
        raise AssertionError

    return bounce_server.Receiver(HOME, take)
