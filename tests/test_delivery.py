"""How messages get out, whatever breaks on the way: real PostgreSQL, a real SMTP server, a carrier over real HTTP."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import Envelope
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from domain import contents, database, outbox, secrets, settings
from domain.models.columns import Channel, DeliveryStatus, new_nonce, uuid7
from domain.outbox import Kind, Message, Outcome
from tests.conftest import TEST_KEYS, Clock
from tests.servers import carrier, smtp
from tests.servers.ports import free_port
from tests.servers.web import serving
from workers import deliveries
from workers.breakers import State
from workers.lane import FRESH_SECONDS
from workers.relay import Relay
from workers.settler import Settler

CONNECTIONS = settings.DEFAULT_SMTP_CONNECTIONS
PHONE = "+12025550143"
WAIT_SECONDS = 60.0  # a machine may be slow; what is waited for comes much sooner


@pytest.fixture
def sink() -> Any:
    with smtp.running() as server:
        yield server


@pytest.fixture
def phones() -> Any:
    with carrier.running() as server:
        yield server


@contextlib.asynccontextmanager
async def relaying(folder: Path, **values: str) -> AsyncIterator[Relay]:
    """A relay at work, as in a worker process."""
    keys = {"DATA_DIR": str(folder), "SECRET_KEYS": ",".join(TEST_KEYS), "MAIL_FROM": "access@practice.example"}
    relay = Relay(settings.load(keys | values))
    relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


def account(server: carrier.Carrier) -> dict[str, str]:
    """The settings of an account with a carrier."""
    return {
        "TWILIO_ACCOUNT_SID": server.account_sid,
        "TWILIO_AUTH_TOKEN": server.auth_token,
        "TWILIO_FROM": "+12025550199",
        "TWILIO_API_URL": server.api_url,
    }


async def signed_up(email: str) -> UUID:
    """A sign-up whose e-mail is due; the sign-up's id."""
    row_id, key_id = uuid7(), secrets.newest_key_id()
    await database.execute(
        "INSERT INTO sign_ups (id, first_name, last_name, email, email_canonical, phone, practice_name, specialty, time_zone,"
        " nonce, key_id, expires_at, created_at) VALUES ($1, 'Ann', 'Lee', $2, 'ann@example.com', $5, 'Elm', 'Surgery',"
        " 'America/Chicago', $3, $4, clock_now() + interval '1 day', clock_now())",
        row_id,
        email,
        new_nonce(),
        key_id,
        PHONE,
    )
    await queued(Message(kind=Kind.VERIFY_EMAIL, subject_id=row_id, expires_at=await in_a_day()))
    return row_id


async def code_sent(channel: Channel = Channel.SMS) -> str:
    """A security code that is due; the digits."""
    sign_up_id, enrollment_id, code_id, key_id = await signed_up("code@example.com"), uuid7(), uuid7(), ""
    await database.execute(
        "UPDATE deliveries SET status = 'CANCELED', lease_owner = NULL WHERE subject_id = $1", sign_up_id
    )
    key_id = secrets.newest_key_id()
    await database.execute(
        "INSERT INTO enrollments (id, sign_up_id, next_step, phone, nonce, key_id, expires_at, created_at)"
        " VALUES ($1, $2, 'VERIFY_PHONE', $5, $3, $4, clock_now() + interval '1 hour', clock_now())",
        enrollment_id,
        sign_up_id,
        new_nonce(),
        key_id,
        PHONE,
    )
    nonce = new_nonce()
    await database.execute(
        "INSERT INTO security_codes (id, enrollment_id, phone, channel, nonce, key_id, attempts, expires_at, created_at)"
        " VALUES ($1, $2, $6, $5, $3, $4, 0, clock_now() + interval '10 minutes', clock_now())",
        code_id,
        enrollment_id,
        nonce,
        key_id,
        channel.value,
        PHONE,
    )
    expires_at = await database.now() + timedelta(minutes=10)
    await queued(Message(kind=Kind.SECURITY_CODE, channel=channel, subject_id=code_id, expires_at=expires_at))
    return secrets.security_code(code_id, nonce, key_id)


async def queued(message: Message) -> None:
    async with database.transaction():
        await outbox.queue(message)


async def in_a_day() -> Any:
    return await database.now() + timedelta(days=1)


async def rows() -> list[database.Row]:
    """Every delivery that was not called back by `code_sent` itself."""
    return await database.fetch(
        "SELECT *, extract(epoch FROM due_at - clock_now())::float8 AS due_in FROM deliveries"
        " WHERE status <> 'CANCELED' OR problem IS NOT NULL ORDER BY queued_at"
    )


async def until(status: DeliveryStatus, count: int = 1) -> list[database.Row]:
    """Wait until so many deliveries have got to a status; these."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = [row for row in await rows() if row["status"] == status]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, await rows()
        await asyncio.sleep(0.05)


def link(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return next(word for word in str(body.get_content()).split() if "#token=" in word)


async def test_two_racing_workers_send_each_mail_once(db: None, sink: smtp.Sink, tmp_path: Path) -> None:
    addresses = {f"n{number}@example.com" for number in range(60)}
    for address in addresses:
        await signed_up(address)
    async with relaying(tmp_path, SMTP_URL=sink.url), relaying(tmp_path, SMTP_URL=sink.url):
        await until(DeliveryStatus.SENT, 60)
    assert Counter(one.recipients for one in sink.received) == Counter((address,) for address in addresses)
    assert {row["attempts"] for row in await rows()} == {1}


async def test_a_mail_that_was_put_off_is_the_same_mail_when_it_comes(
    db: None, clock: Clock, sink: smtp.Sink, tmp_path: Path
) -> None:
    refused: list[bytes] = []

    def later(envelope: Envelope) -> str:
        refused.append(envelope.content if isinstance(envelope.content, bytes) else b"")
        return "451 4.3.0 ann@example.com try later"

    sink.answer = later
    await signed_up("ann@example.com")
    async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
        [row] = await until(DeliveryStatus.RETRYING)
        assert row["attempts"] == 1
        assert row["problem"].startswith("The mail was not taken (451 4.3.0). A mail server on the way has a fault.")
        assert 5 < row["due_in"] < 15
        sink.answer = None
        await clock.forward(seconds=20)
        relay.ring()
        [row] = await until(DeliveryStatus.SENT)
    [arrived] = sink.sent_to("ann@example.com")
    first = smtp.Received("", (), refused[0], 0.0).message
    for header in ("Message-ID", "Date"):
        assert arrived[header] == first[header]
    assert link(arrived) == link(first)
    assert row["problem"] is None
    assert row["attempts"] == 2


REFUSALS: list[tuple[str, str, DeliveryStatus, str]] = [
    ("RCPT", "550 5.1.1 no ann@example.com here", DeliveryStatus.BOUNCED, "(550 5.1.1). There is no such mailbox."),
    ("RCPT", "550 no such user", DeliveryStatus.BOUNCED, "(550). There is no such mailbox."),
    ("RCPT", "552 5.2.2 over quota", DeliveryStatus.RETRYING, "(552 5.2.2). The mailbox is full."),
    ("RCPT", "550 5.7.1 policy", DeliveryStatus.RETRYING, "(550 5.7.1). Mail from us is refused by a rule."),
    ("RCPT", "554 5.7.1 Relay access denied", DeliveryStatus.RETRYING, "(554 5.7.1). Our mail server does not pass"),
    ("RCPT", "450 4.2.0 greylisted", DeliveryStatus.RETRYING, "was not taken (450 4.2.0)"),
    ("RCPT", "550 no", DeliveryStatus.RETRYING, "(550). Nobody says why."),
    ("DATA", "550 5.1.1 no such user", DeliveryStatus.BOUNCED, "(550 5.1.1). There is no such mailbox."),
    ("DATA", "554 spam", DeliveryStatus.FAILED, "(554). What the mail says is refused"),
    ("DATA", "552 5.3.4 too big", DeliveryStatus.FAILED, "(552 5.3.4). The mail is larger"),
    ("DATA", "550 5.7.26 unauthenticated", DeliveryStatus.RETRYING, "(550 5.7.26). Our mail fails a check"),
    ("DATA", "452 full", DeliveryStatus.RETRYING, "was not taken (452)"),
]


@pytest.mark.parametrize(("stage", "answer", "status", "problem"), REFUSALS)
async def test_what_the_relay_says_decides_and_is_told_without_its_words(
    db: None, sink: smtp.Sink, tmp_path: Path, stage: str, answer: str, status: DeliveryStatus, problem: str
) -> None:
    if stage == "RCPT":
        sink.answer_recipient = lambda address: answer if address.startswith("ann") else None
    else:
        sink.answer = lambda envelope: answer if envelope.rcpt_tos == ["ann@example.com"] else None
    await signed_up("ann@example.com")
    await signed_up("bob@example.com")
    async with relaying(tmp_path, SMTP_URL=sink.url):
        await until(DeliveryStatus.SENT)
        [row] = await until(status)
    assert problem in row["problem"]
    assert "@" not in row["problem"]
    assert not sink.sent_to("ann@example.com")


async def test_what_is_late_or_not_wanted_any_more_is_not_sent(
    db: None, clock: Clock, sink: smtp.Sink, tmp_path: Path
) -> None:
    await signed_up("late@example.com")
    await clock.forward(days=2)
    done = await signed_up("done@example.com")
    await database.execute("UPDATE sign_ups SET completed_at = clock_now() WHERE id = $1", done)
    async with relaying(tmp_path, SMTP_URL=sink.url):
        ended = await until(DeliveryStatus.CANCELED, 2)
    assert [row["problem"] for row in ended] == [contents.EXPIRED, contents.NOT_WANTED]
    assert not sink.received


async def test_what_is_revoked_while_it_waits_for_its_turn_is_not_sent(
    db: None, sink: smtp.Sink, tmp_path: Path
) -> None:
    for number in range(CONNECTIONS + 20):
        await signed_up(f"n{number}@example.com")
    sink.hold()
    async with relaying(tmp_path, SMTP_URL=sink.url):
        await asyncio.to_thread(sink.wait_held, CONNECTIONS)  # all that are ever under way
        await database.execute("UPDATE sign_ups SET completed_at = clock_now()")
        await asyncio.sleep(FRESH_SECONDS)  # what is known of the others for so long is looked up again
        sink.release()
        await until(DeliveryStatus.CANCELED, 20)
    assert len(sink.received) == CONNECTIONS


async def test_the_rows_of_a_killed_worker_are_taken_over_and_it_settles_nothing(
    db: None, clock: Clock, sink: smtp.Sink, tmp_path: Path
) -> None:
    await clock.stop()
    await signed_up("ann@example.com")
    [lost] = await outbox.claim(outbox.LANE_URGENT, at_most=10, lease_seconds=30)
    await signed_up("bob@example.com")
    async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
        await until(DeliveryStatus.SENT)  # it has looked, and has left alone what another has in hand
        assert [one.recipients for one in sink.received] == [("bob@example.com",)]
        await clock.forward(seconds=31)
        relay.ring()
        found = await until(DeliveryStatus.SENT, 2)
    assert {row["recipient"]: row["attempts"] for row in found} == {"ann@example.com": 2, "bob@example.com": 1}
    assert await outbox.settle([Outcome(row=lost, status=DeliveryStatus.FAILED)]) == 0
    assert len(sink.received) == 2


async def test_a_poisoned_address_fails_alone_and_no_byte_of_it_leaves(
    db: None, sink: smtp.Sink, tmp_path: Path
) -> None:
    for address in ("ann@example.com", "x@example.com>\r\nRCPT TO:<evil@example.net", "a@x.example,b@y.example"):
        await signed_up(address)
    await signed_up("bob@example.com")
    async with relaying(tmp_path, SMTP_URL=sink.url):
        await until(DeliveryStatus.SENT, 2)
        failed = await until(DeliveryStatus.FAILED, 2)
    assert {row["problem"] for row in failed} == {"The stored address is not an e-mail address."}
    assert {one.recipients for one in sink.received} == {("ann@example.com",), ("bob@example.com",)}


@pytest.mark.fault("F26")
async def test_no_transaction_is_open_while_a_relay_keeps_us_waiting(db: None, sink: smtp.Sink, tmp_path: Path) -> None:
    sink.hold()
    await signed_up("ann@example.com")
    async with relaying(tmp_path, SMTP_URL=sink.url):
        await asyncio.to_thread(sink.wait_held, 1)
        seen = []
        for _ in range(10):
            seen += await database.fetch(
                "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
                " AND state_change < now() - interval '0.2 seconds'"  # what looks at the outbox meanwhile is done sooner
            )
            await asyncio.sleep(0.05)
        sink.release()
        await until(DeliveryStatus.SENT)
    assert not seen


async def test_a_mail_whose_bell_was_lost_is_found_by_looking(db: None, sink: smtp.Sink, tmp_path: Path) -> None:
    async with relaying(tmp_path, SMTP_URL=sink.url):
        await asyncio.sleep(0.3)
        await signed_up("ann@example.com")
        await until(DeliveryStatus.SENT)


@pytest.mark.fault("F36")
async def test_a_code_does_not_wait_behind_bulk_mail(
    db: None, sink: smtp.Sink, phones: carrier.Carrier, tmp_path: Path
) -> None:
    for number in range(50):
        await signed_up(f"n{number}@example.com")
    await database.execute("UPDATE deliveries SET lane = $1", outbox.LANE_BULK)
    sink.hold()
    async with relaying(tmp_path, SMTP_URL=sink.url, **account(phones)) as relay:
        await asyncio.to_thread(sink.wait_held, CONNECTIONS // 2)  # as many as bulk mail may take
        digits = await code_sent()
        relay.ring()
        await asyncio.to_thread(phones.wait_for, 1)
        assert not sink.received
        sink.release()
    assert phones.taken[0].text.startswith(digits)


async def test_a_code_is_tried_again_within_seconds_and_is_the_same_code(
    db: None, phones: carrier.Carrier, tmp_path: Path
) -> None:
    digits = await code_sent(Channel.VOICE)
    phones.refuse(PHONE, 503, 20500, "not now")
    async with relaying(tmp_path, **account(phones)):
        [row] = await until(DeliveryStatus.RETRYING)
        assert row["due_in"] < 3
        phones.forget()
        await until(DeliveryStatus.SENT)
    [call] = phones.taken
    assert call.text.count(", ".join(digits)) == 2


async def test_a_fault_of_the_channel_costs_no_message_an_attempt(
    db: None, phones: carrier.Carrier, sink: smtp.Sink, tmp_path: Path
) -> None:
    await code_sent()
    await signed_up("ann@example.com")
    phones.refuse("*", 404, 20404, "no such account")
    closed = {"SMTP_URL": f"smtp://127.0.0.1:{free_port()}?tls=none", **account(phones)}
    async with relaying(tmp_path, **closed):
        waiting = await until(DeliveryStatus.RETRYING, 2)
    assert {row["problem"] for row in waiting} == {
        "Our carrier refuses our account. The number is not at fault. The operator of this product has been told. (20404)",
        "The mail relay cannot be reached (ConnectionRefusedError).",
    }
    assert {row["attempts"] for row in waiting} == {0}
    phones.forget()
    async with relaying(tmp_path, SMTP_URL=sink.url, **account(phones)):
        await until(DeliveryStatus.SENT, 2)


async def test_mail_is_not_sent_in_clear_where_starttls_is_demanded(db: None, sink: smtp.Sink, tmp_path: Path) -> None:
    await signed_up("ann@example.com")
    async with relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{sink.port}"):
        [row] = await until(DeliveryStatus.RETRYING)
    assert "STARTTLS" in row["problem"]
    assert not sink.received


async def test_a_kept_connection_that_the_relay_has_had_enough_of_costs_nothing(db: None, tmp_path: Path) -> None:
    taken: list[str] = []
    async with one_mail_a_connection(taken) as port:
        for number in range(12):
            await signed_up(f"n{number}@example.com")
        async with relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{port}?tls=none"):
            sent = await until(DeliveryStatus.SENT, 12)
    assert {row["attempts"] for row in sent} == {1}
    assert len(taken) == len(set(taken)) == 12


@contextlib.asynccontextmanager
async def one_mail_a_connection(taken: list[str]) -> AsyncIterator[int]:
    """A relay that answers 421 to the second mail of each connection. taken: filled with recipients."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        recipient, is_used = "", False
        while line := await reader.readline():
            command = line[:4].upper()
            if command == b"MAIL" and is_used:
                writer.write(b"421 4.7.0 enough\r\n")
                break
            if command == b"RCPT":
                recipient = line.decode().strip()
            if command == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                taken.append(recipient)
                is_used = True
            writer.write(b"221 bye\r\n" if command == b"QUIT" else b"250 2.0.0 ok\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_an_id_that_no_carrier_gives_proves_nothing_and_the_text_goes_out_twice_at_most(
    db: None, tmp_path: Path
) -> None:
    taken: list[str] = []

    async def take(request: Request) -> JSONResponse:
        taken.append(request.headers["idempotency-key"])
        return JSONResponse({"sid": "SM\0" * 100}, 201)

    await code_sent()
    app = Starlette(routes=[Route("/{rest:path}", take, methods=["POST"])])
    with serving(app) as url:
        twilio = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "t", "TWILIO_FROM": "+12025550199"}
        async with relaying(tmp_path, TWILIO_API_URL=url, **twilio):
            row = (await until(DeliveryStatus.FAILED))[0]
    assert row["provider_id"] is None
    assert taken[:2] == [str(row["id"])] * 2
    assert taken.count(str(row["id"])) == 2


async def test_an_outcome_that_is_not_taken_holds_up_no_other(db: None) -> None:
    for number in range(3):
        await signed_up(f"n{number}@example.com")
    claimed = await outbox.claim(outbox.LANE_URGENT, at_most=10, lease_seconds=30)
    settler = Settler()
    done: list[UUID] = []
    for row, provider_id in zip(claimed, ("fine", "not\0fine", "fine"), strict=True):
        outcome = Outcome(row=row, status=DeliveryStatus.SENT, recipient="ann@example.com", provider_id=provider_id)
        settler.add(outcome, _appends(done, row.id))
    await settler.flush()
    assert [(row["status"], row["provider_id"]) for row in await rows()] == [
        ("SENT", "fine"),
        ("SENT", None),
        ("SENT", "fine"),
    ]
    assert done == [row.id for row in claimed]


def _appends(done: list[UUID], row_id: UUID) -> Callable[[], None]:
    return lambda: done.append(row_id)


async def test_rows_that_could_not_be_looked_up_are_sent_once_they_can(
    db: None, clock: Clock, sink: smtp.Sink, tmp_path: Path
) -> None:
    for number in range(3):
        await signed_up(f"n{number}@example.com")
    await database.execute("ALTER TABLE sign_ups RENAME TO hidden")
    try:
        async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
            waiting = await until(DeliveryStatus.RETRYING, 3)
            await database.execute("ALTER TABLE hidden RENAME TO sign_ups")
            await clock.forward(seconds=20)
            relay.ring()
            await until(DeliveryStatus.SENT, 3)
    finally:
        await database.execute("ALTER TABLE IF EXISTS hidden RENAME TO sign_ups")
    assert {row["problem"] for row in waiting} == {"The message could not be made."}


async def test_a_worker_that_stops_gives_back_what_it_has_not_begun(db: None, sink: smtp.Sink, tmp_path: Path) -> None:
    for number in range(30):
        await signed_up(f"n{number}@example.com")
    sink.hold()
    async with relaying(tmp_path, SMTP_URL=sink.url) as first:
        await asyncio.to_thread(sink.wait_held, CONNECTIONS)
        stopping = asyncio.create_task(first.stop())
        await asyncio.sleep(0)  # it has been told
        sink.release()
        await stopping
        left = Counter(row["status"] for row in await rows())
        assert left == {"SENT": CONNECTIONS, "RETRYING": 30 - CONNECTIONS}
        async with relaying(tmp_path, SMTP_URL=sink.url):
            await until(DeliveryStatus.SENT, 30)
    assert len(sink.received) == 30
    assert {row["attempts"] for row in await rows()} == {1}


async def test_a_worker_stops_at_once_while_its_relay_is_down(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "channel_pause", lambda _: 3600.0)
    await signed_up("ann@example.com")
    async with relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{free_port()}?tls=none") as relay:
        await until(DeliveryStatus.RETRYING)
        assert relay.breakers()[0].state is State.OPEN
        async with asyncio.timeout(WAIT_SECONDS):  # much less than it would pause
            await relay.stop()


@pytest.mark.fault("F17")
async def test_a_message_of_a_kind_that_this_version_does_not_know_waits_and_holds_up_no_other(
    db: None, sink: smtp.Sink, tmp_path: Path
) -> None:
    await signed_up("newer@example.com")
    await database.execute("UPDATE deliveries SET kind = 'of_a_newer_version'")
    await signed_up("ann@example.com")
    async with relaying(tmp_path, SMTP_URL=sink.url):
        await until(DeliveryStatus.SENT)
    assert [(row["status"], row["attempts"]) for row in await rows()] == [("QUEUED", 0), ("SENT", 1)]
