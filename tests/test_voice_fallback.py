"""A call after a text that did not arrive: when, once, with the same code; and what the person who waits is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from domain import code_budgets, database, delivery_reports, settings, voice_fallback
from domain.models.columns import DeliveryStatus
from graph.app import create_app
from graph.webhooks import signature
from tests.conftest import TEST_KEYS, Clock
from tests.locks import connected, psql
from tests.servers import carrier
from tests.test_delivery import account, relaying
from tests.world import Api, Json, Mail, Person, PracticeWorld, Sent, World

CALLBACK = "https://api.practice-access.example"
FAILED = DeliveryStatus.FAILED
STATUS = "query ($token: String!) { codeDelivery(token: $token) { channel status problem callOffered expiresAt } }"


class Waiting:
    """Somebody who waits for a text with a code."""

    def __init__(self, world: World, mail: Mail, person: Person, token: str) -> None:
        self.world, self.mail, self.person, self.token = world, mail, person, token
        self.text: Sent

    async def texted(self) -> "Waiting":
        """The text was handed to the carrier."""
        result = await self.world.api.do("sendSecurityCode", {"challengeToken": self.token, "channel": "SMS"})
        assert result["__typename"] == "SecurityCodeSent", result
        self.text = await self.mail.latest(self.person.phone)
        return self

    async def calls(self) -> list[Sent]:
        """The calls that went out about this code."""
        await self.mail.run()
        mine = [sent for sent in self.mail.sent if sent.row.subject_id == self.text.row.subject_id]
        return [sent for sent in mine if sent.row.channel == "VOICE"]

    async def status(self) -> Json | None:
        """What the page that waits is told."""
        found: Json | None = (await self.world.api.query(STATUS, {"token": self.token}))["codeDelivery"]
        return found

    async def answer(self, code: str) -> str:
        """The digits are typed; what comes of it."""
        result = await self.world.api.do("verifyDevice", {"challengeToken": self.token, "code": code})
        return str(result["__typename"])


async def waiting(world: World, mail: Mail, practice: PracticeWorld | None = None) -> Waiting:
    """Somebody of a practice with a text on its way."""
    grace = await world.joined(practice or await world.practice(), "grace@clinic.example")
    return await Waiting(world, mail, grace, await world.challenged(grace)).texted()


async def waiting_too(world: World, mail: Mail) -> Waiting:
    """Somebody of another practice, at the same time."""
    mary = await world.joined(await world.practice("Other Practice"), "mary@other.example")
    return await Waiting(world, mail, mary, await world.challenged(mary)).texted()


async def attempts(code_id: UUID) -> int:
    """Guesses that were counted on a code."""
    row = await database.fetch_one("SELECT attempts FROM security_codes WHERE id = $1", code_id)
    assert row is not None
    return int(row["attempts"])


async def run_due(*, is_reported: bool = True) -> int:
    """The schedule comes by."""
    return await voice_fallback.run_due(is_reported=is_reported)


async def test_a_text_that_failed_is_followed_by_one_call_with_the_same_code_and_the_same_count(
    world: World, mail: Mail
) -> None:
    one = await waiting(world, mail)
    assert await one.answer("000000" if one.text.content.code != "000000" else "111111") == "CodeIncorrect"
    await delivery_reports.take(one.text.row.id, FAILED, "The phone's network did not take the text.")
    for _ in range(3):
        await run_due()
    await delivery_reports.take(one.text.row.id, DeliveryStatus.BOUNCED, "It blocks texts.")
    [call] = await one.calls()
    assert (call.content.code, call.content.recipient) == (one.text.content.code, one.person.phone)
    assert call.row.subject_id == one.text.row.subject_id
    assert await attempts(call.row.subject_id) == 1
    assert await one.answer(call.content.code) == "SignedIn"


async def test_a_text_of_which_nothing_is_heard_for_30_seconds_is_followed_by_a_call_where_carriers_report(
    world: World, mail: Mail, clock: Clock
) -> None:
    one = await waiting(world, mail)
    await clock.forward(seconds=29)
    assert await run_due() == 0
    await clock.forward(seconds=2)
    assert await run_due(is_reported=False) == 0  # SENT is the last that is ever heard of it
    assert await run_due() == 1
    assert await run_due() == 0
    assert len(await one.calls()) == 1


async def test_a_text_that_arrived_is_not_followed_by_a_call(world: World, mail: Mail, clock: Clock) -> None:
    one = await waiting(world, mail)
    await delivery_reports.take(one.text.row.id, DeliveryStatus.DELIVERED, None)
    await clock.forward(seconds=60)
    assert await run_due() == 0
    assert await one.calls() == []


async def test_a_text_that_cannot_be_handed_over_for_30_seconds_is_followed_by_a_call(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    token = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": token, "channel": "SMS"})
    held = "UPDATE deliveries SET status = 'RETRYING', problem = $1, due_at = clock_now() + interval '1 hour' WHERE status = 'QUEUED'"
    await database.execute(held, None)  # given back by a worker that stopped: nothing is wrong with it
    await clock.forward(seconds=31)
    assert await run_due(is_reported=False) == 0
    await database.execute("UPDATE deliveries SET problem = 'The carrier is busy.' WHERE status = 'RETRYING'")
    assert await run_due(is_reported=False) == 1


@pytest.mark.parametrize("held", ["budgets", "audit_chains"])
async def test_a_call_that_could_not_be_queued_for_a_lock_is_made_at_the_next_look(
    world: World, mail: Mail, clock: Clock, server_url: str, held: str
) -> None:
    one = await waiting(world, mail)
    await clock.forward(seconds=31)
    before = await used()
    async with connected(server_url, lock_timeout="100ms"), psql(server_url) as other:
        async with other.transaction():
            await other.execute(f"SELECT 1 FROM {held} FOR UPDATE")
            with pytest.raises(ExceptionGroup):
                await run_due()
        assert {key: count for key, count in (await used()).items() if count} == before
        assert await run_due() == 1
    assert len(await one.calls()) == 1


async def test_the_clock_workers_and_the_carrier_at_once_make_one_call(world: World, mail: Mail, clock: Clock) -> None:
    one = await waiting(world, mail)
    await clock.forward(seconds=31)
    used_before = await used()
    reports = (DeliveryStatus.FAILED, DeliveryStatus.BOUNCED) * 3
    await asyncio.gather(
        *(run_due() for _ in range(6)), *(delivery_reports.take(one.text.row.id, status, "x") for status in reports)
    )
    assert len(await one.calls()) == 1
    taken = {key: count - used_before.get(key, 0) for key, count in (await used()).items()}
    assert {key for key, count in taken.items() if count} == {key for key in taken if not key.endswith(":SMS")}
    assert set(taken.values()) == {0, 1}


async def used() -> dict[str, int]:
    """What was taken of each allowance for codes to a known phone."""
    rows = await database.fetch(
        "SELECT key, sum(used)::int AS used FROM budgets WHERE key LIKE 'codes:sign-in:%' GROUP BY key"
    )
    return {row["key"]: row["used"] for row in rows}


async def test_a_code_that_is_typed_while_the_call_is_decided_is_used_once_and_called_about_at_most_once(
    world: World, mail: Mail, clock: Clock
) -> None:
    one = await waiting(world, mail)
    await clock.forward(seconds=31)
    results = await asyncio.gather(one.answer(one.text.content.code), run_due(), run_due())
    assert results[0] == "SignedIn"
    assert await run_due() == 0
    assert await one.calls() == []  # looked up at the last moment: not wanted any more


@pytest.mark.parametrize(
    ("change", "is_called"),
    [
        ({"voiceFallback": False}, False),
        ({"phoneChannels": ["SMS"]}, False),
        ({"phoneChannels": ["SMS"], "voiceFallback": True}, False),
        ({"voiceFallback": True}, True),
    ],
)
async def test_the_practice_decides_whether_texts_are_followed_by_calls(
    world: World, api: Api, mail: Mail, clock: Clock, change: Json, is_called: bool
) -> None:
    practice = await world.practice()
    await api.do("updateLoginSettings", change, token=practice.administrator.session)
    one = await waiting(world, mail, practice)
    await clock.forward(seconds=31)
    await delivery_reports.take(one.text.row.id, FAILED, "x")
    await run_due()
    assert bool(await one.calls()) is is_called
    status = await one.status()
    assert status is not None
    if is_called:
        assert status["channel"] == "VOICE"
    else:
        assert status["callOffered"] is ("VOICE" in change.get("phoneChannels", ["VOICE"]))


GONE = {
    "used": "UPDATE security_codes SET consumed_at = clock_now()",
    "superseded": "UPDATE security_codes SET superseded_at = clock_now()",
    "expired": "UPDATE security_codes SET created_at = created_at - interval '1 hour', expires_at = expires_at - interval '1 hour'",
    "guessed at too often": "UPDATE security_codes SET attempts = 5",
}


@pytest.mark.parametrize("how", GONE)
async def test_a_code_that_is_of_no_more_use_is_not_called_about(
    world: World, mail: Mail, clock: Clock, how: str
) -> None:
    one = await waiting(world, mail)
    await clock.forward(seconds=31)
    await database.execute(GONE[how] + " WHERE id = $1", one.text.row.subject_id)
    await delivery_reports.take(one.text.row.id, FAILED, "x")
    assert await run_due() == 0
    assert await one.calls() == []


async def test_a_call_is_taken_from_the_allowances_and_where_there_is_none_left_there_is_no_call(
    world: World, mail: Mail, clock: Clock
) -> None:
    one = await waiting(world, mail)
    await database.execute(
        "UPDATE budgets SET used = $1 WHERE key LIKE 'codes:sign-in:number-a-day:%'",
        code_budgets.PER_NUMBER_A_DAY.amount,
    )
    before = await used()
    await delivery_reports.take(one.text.row.id, FAILED, "x")
    assert await one.calls() == []
    assert await used() == before
    await database.execute("UPDATE budgets SET used = 0")
    assert await run_due() == 0  # settled once, and not asked again every few seconds
    assert await one.calls() == []


async def test_of_a_text_and_its_call_the_one_that_still_waits_is_called_back_when_the_other_arrives(
    world: World, mail: Mail
) -> None:
    one = await waiting(world, mail)
    await delivery_reports.take(one.text.row.id, FAILED, "x")
    await delivery_reports.take(one.text.row.id, DeliveryStatus.DELIVERED, None)  # late, but there
    assert await one.calls() == []
    status = await one.status()
    assert status is not None
    assert (status["channel"], status["status"], status["callOffered"]) == ("SMS", "DELIVERED", False)


async def test_a_call_that_got_through_calls_back_the_text_that_waits(world: World, mail: Mail) -> None:
    one = await waiting(world, mail)
    other = await waiting_too(world, mail)
    await delivery_reports.take(one.text.row.id, FAILED, "x")
    [call] = await one.calls()
    again = "UPDATE deliveries SET status = 'RETRYING', reported_status = NULL, due_at = clock_now() + interval '1 hour' WHERE id = ANY($1)"
    await database.execute(again, [one.text.row.id, other.text.row.id])
    await delivery_reports.take(call.row.id, DeliveryStatus.DELIVERED, None)
    rows = await database.fetch("SELECT id, status FROM deliveries WHERE status IN ('RETRYING', 'CANCELED')")
    assert {row["id"]: row["status"] for row in rows} == {
        one.text.row.id: "CANCELED",
        other.text.row.id: "RETRYING",
    }


async def test_whoever_is_proving_a_phone_gets_the_call_too(world: World, api: Api, mail: Mail) -> None:
    await world.sign_up("Elm Street Practice", "ada@elm.example")
    enrollment = await api.do("verifyEmail", {"token": await world.link("ada@elm.example")})
    phone = world.number()
    values = {"enrollmentToken": enrollment["token"], "phone": phone, "channel": "SMS"}
    await api.do("sendPhoneCode", values)
    text = await mail.latest(phone)
    await delivery_reports.take(text.row.id, FAILED, "x")
    call = await mail.latest(phone)
    assert (call.row.channel, call.content.code) == ("VOICE", text.content.code)
    status = (await api.query(STATUS, {"token": enrollment["token"]}))["codeDelivery"]
    assert (status["channel"], status["status"]) == ("VOICE", "SENT")
    result = await api.do("verifyPhone", {"enrollmentToken": enrollment["token"], "code": call.content.code})
    assert result["nextStep"] == "SET_PASSWORD"


async def test_the_person_who_waits_is_told_what_became_of_the_code_and_offered_a_call_when_one_may_be_asked_for(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    await api.do("updateLoginSettings", {"voiceFallback": False}, token=practice.administrator.session)
    grace = await world.joined(practice, "grace@clinic.example")
    one = Waiting(world, mail, grace, await world.challenged(grace))
    assert await one.status() is None
    await one.texted()
    status = await one.status()
    assert status is not None
    assert (status["channel"], status["status"], status["problem"], status["callOffered"]) == (
        "SMS",
        "SENT",
        None,
        False,
    )
    await delivery_reports.take(one.text.row.id, FAILED, "The carrier refuses our account (20404).")
    status = await one.status()
    assert status is not None
    assert (status["status"], status["problem"]) == ("FAILED", "The text did not arrive.")
    assert status["callOffered"] is False  # another code may not be asked for yet
    await clock.forward(seconds=31)
    status = await one.status()
    assert status is not None
    assert status["callOffered"] is True
    result = await api.do("sendSecurityCode", {"challengeToken": one.token, "channel": "VOICE"})
    assert result["channel"] == "VOICE"
    call = await mail.latest(grace.phone)
    assert call.content.code != one.text.content.code
    status = await one.status()
    assert status is not None
    assert (status["channel"], status["problem"], status["callOffered"]) == ("VOICE", None, False)
    assert await one.answer(call.content.code) == "SignedIn"
    assert await one.status() is None


async def test_a_token_that_is_not_good_is_told_nothing(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    one = await waiting(world, mail)
    for token in ("", "x" * 200, one.token[:-1] + ("A" if one.token[-1] != "A" else "B")):
        assert (await api.query(STATUS, {"token": token}))["codeDelivery"] is None
    assert await one.status() is not None
    await clock.forward(minutes=16)
    assert await one.status() is None


SECOND_TOKEN = "the-second-carriers-token"


@pytest_asyncio.fixture
async def carriers(db: None, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks with the API as two carriers do."""
    values = {"DATA_DIR": str(tmp_path), "SECRET_KEYS": ",".join(TEST_KEYS), "CALLBACK_URL": CALLBACK}
    for prefix, token in (("", "the-first-carriers-token"), ("SECOND_", SECOND_TOKEN)):
        values |= {f"{prefix}TWILIO_ACCOUNT_SID": "AC1", f"{prefix}TWILIO_AUTH_TOKEN": token}
        values |= {f"{prefix}TWILIO_FROM": "+12025550199"}
    app = create_app(settings.load(values), checks={})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://10.0.0.7:8000") as client:
        yield client


async def report(client: httpx.AsyncClient, path: str, token: str, name: str) -> int:
    """Send a report that is signed with a token; the status of the answer."""
    form = {"MessageStatus": name, "ErrorCode": "30008"}
    signed = {"x-twilio-signature": signature(token, CALLBACK + path, {key: [value] for key, value in form.items()})}
    return (await client.post(path, data=form, headers=signed)).status_code


async def test_each_carrier_reports_with_its_own_token_and_failures_only_of_what_it_was_asked_last(
    world: World, mail: Mail, carriers: httpx.AsyncClient
) -> None:
    one = await waiting(world, mail)
    first, second = (f"/webhooks/{name}/{one.text.row.id}" for name in ("twilio", "second-twilio"))
    await database.execute("UPDATE deliveries SET carrier = 'SECOND' WHERE id = $1", one.text.row.id)
    assert await report(carriers, second, "the-first-carriers-token", "delivered") == 403
    assert await report(carriers, first, SECOND_TOKEN, "delivered") == 403
    assert await report(carriers, first, "the-first-carriers-token", "undelivered") == 204
    assert await one.calls() == []  # the copy that the other carrier took is on its way
    assert await report(carriers, second, SECOND_TOKEN, "undelivered") == 204
    assert len(await one.calls()) == 1
    assert await report(carriers, first, "the-first-carriers-token", "delivered") == 204
    row = await database.fetch_one("SELECT status FROM deliveries WHERE id = $1", one.text.row.id)
    assert row is not None
    assert row["status"] == "DELIVERED"


async def test_workers_call_by_themselves_where_the_carrier_refuses_to_text(
    world: World, api: Api, mail: Mail, tmp_path: Path
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await mail.run()
    with carrier.running() as phones:
        phones.refuse("SMS", 400, 21614, "not a mobile")
        async with relaying(tmp_path, **account(phones)), relaying(tmp_path, **account(phones)):
            token = await world.challenged(grace)
            await api.do("sendSecurityCode", {"challengeToken": token, "channel": "SMS"})
            [call] = await asyncio.to_thread(phones.wait_for, 1, 60.0)
            deadline = time.monotonic() + 30
            while (status := (await api.query(STATUS, {"token": token}))["codeDelivery"])["status"] != "SENT":
                assert time.monotonic() < deadline, status
                await asyncio.sleep(0.1)
        assert status["channel"] == "VOICE"
        assert (call.channel, call.to) == ("VOICE", grace.phone)
        assert len(phones.taken) == 1
