"""When a relay or carrier is down: what waits, what goes another way, and how it comes back. Real relays, two real carriers over HTTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from domain import database
from domain.models.columns import Channel, DeliveryStatus
from tests.conftest import Clock
from tests.servers import carrier, smtp
from tests.servers.ports import free_port
from tests.test_delivery import account, code_sent, relaying, rows, signed_up, until
from workers.breakers import FAILURES_IN_A_ROW, State
from workers.relay import Relay

WAIT_SECONDS = 30.0
DOWN = (404, 20404, "no such account")
BUSY = (503, 20500, "not now")


@pytest.fixture
def first() -> Iterator[carrier.Carrier]:
    with carrier.running() as server:
        yield server


@pytest.fixture
def second() -> Iterator[carrier.Carrier]:
    with carrier.running() as server:
        yield server


def both(first: carrier.Carrier, second: carrier.Carrier) -> dict[str, str]:
    """The settings of an account with each of two carriers."""
    return account(first) | {f"SECOND_{name}": value for name, value in account(second).items()}


def state(relay: Relay, name: str) -> State:
    """What the breaker of that name stands at."""
    return next(one.state for one in relay.breakers() if one.name == name)


async def until_so(what: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline, await rows()
        await asyncio.sleep(0.02)


async def test_a_carrier_that_fails_message_after_message_is_left_alone_and_messages_wait_without_being_tried(
    db: None, first: carrier.Carrier, tmp_path: Path
) -> None:
    first.refuse("*", *BUSY)
    async with relaying(tmp_path, **account(first)) as relay:
        for _ in range(FAILURES_IN_A_ROW):
            await code_sent()
        await until_so(lambda: state(relay, "FIRST texts") is not State.CLOSED)
        opened = next(one for one in relay.breakers() if one.name == "FIRST texts")
        assert opened.problem == "The carrier is busy or faulty. Try again in a moment. (20500)"
        asked = first.asked
        # Long enough for every row to come round more than once if nothing held it back: only probes are let through.
        await until_so(lambda: first.asked >= asked + 2)
        await code_sent()
        late = (await rows())[-1]["id"]
        await until_so(lambda: state(relay, "FIRST texts") is State.OPEN)
        first.forget()
        await until(DeliveryStatus.SENT, FAILURES_IN_A_ROW + 1)
        await until_so(lambda: state(relay, "FIRST texts") is State.CLOSED)
    assert len(first.taken) == FAILURES_IN_A_ROW + 1
    assert next(row["attempts"] for row in await rows() if row["id"] == late) <= 2


async def test_half_open_exactly_one_message_goes_and_the_others_when_it_got_through(
    db: None, clock: Clock, first: carrier.Carrier, tmp_path: Path
) -> None:
    first.refuse("*", *DOWN)
    for _ in range(6):
        await code_sent()
    async with relaying(tmp_path, **account(first)) as relay:
        await until_so(lambda: state(relay, "FIRST texts") is State.OPEN)
        await until(DeliveryStatus.RETRYING, 6)
        first.forget()
        first.delay_seconds = 1.5
        await until_so(lambda: first.asked > 0)
        await clock.forward(seconds=3)  # every row is due, and none is late enough to be followed by a call
        relay.ring()
        await asyncio.sleep(0.7)
        assert (first.asked, len(first.taken)) == (1, 0)
        await until_so(lambda: len(first.taken) == 1)
        first.delay_seconds = 0.0
        await until(DeliveryStatus.SENT, 6)
        assert state(relay, "FIRST texts") is State.CLOSED
    assert len(first.taken) == 6
    assert {row["attempts"] for row in await rows()} == {1}


async def test_texts_that_are_down_stop_no_calls(db: None, first: carrier.Carrier, tmp_path: Path) -> None:
    first.refuse("SMS", *DOWN)
    await code_sent()
    async with relaying(tmp_path, **account(first)) as relay:
        await until_so(lambda: state(relay, "FIRST texts") is State.OPEN)
        await code_sent(Channel.VOICE)
        relay.ring()
        [called] = await until(DeliveryStatus.SENT)
        assert state(relay, "FIRST calls") is State.CLOSED
    assert (called["channel"], called["attempts"]) == ("VOICE", 1)
    [waiting] = [row for row in await rows() if row["channel"] == "SMS"]
    assert (waiting["status"], waiting["attempts"]) == ("RETRYING", 0)


async def test_texts_that_hang_hold_up_no_calls(db: None, first: carrier.Carrier, tmp_path: Path) -> None:
    first.delay_seconds, first.delayed = 9.0, ("SMS",)
    for _ in range(25):  # more than are ever under way
        await code_sent()
    async with relaying(tmp_path, **account(first)) as relay:
        await until_so(lambda: first.asked >= 20)
        await code_sent(Channel.VOICE)
        relay.ring()
        await until_so(lambda: bool(first.taken))
        assert first.taken[0].channel == "VOICE"
        first.delay_seconds = 0.0
        await until(DeliveryStatus.SENT, 26)


async def test_a_mail_that_comes_while_the_relay_is_down_says_why_it_waits_and_goes_when_the_relay_is_back(
    db: None, tmp_path: Path
) -> None:
    port = free_port()
    await signed_up("ann@example.com")
    async with relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{port}?tls=none") as relay:
        await until_so(lambda: state(relay, "mail relay") is State.OPEN)
        await signed_up("bob@example.com")
        relay.ring()
        waiting = await until(DeliveryStatus.RETRYING, 2)
        assert {row["problem"] for row in waiting} == {"The mail relay cannot be reached (ConnectionRefusedError)."}
        assert {row["attempts"] for row in waiting} == {0}
        with smtp.running(port=port) as sink:
            await until(DeliveryStatus.SENT, 2)
            assert len(sink.received) == 2


@pytest.mark.parametrize(
    ("stage", "answer", "expected"),
    [
        ("RCPT", "450 4.2.0 greylisted", State.CLOSED),
        ("RCPT", "550 5.1.1 unknown", State.CLOSED),
        ("DATA", "451 4.7.1 greylisted", State.CLOSED),
        ("DATA", "554 spam", State.CLOSED),
        ("DATA", "451 4.3.0 queue file write error", State.OPEN),
        ("DATA", "452 no room", State.OPEN),
    ],
)
async def test_what_a_relay_says_of_single_messages_does_not_stop_the_others_and_what_it_says_of_itself_does(
    db: None, tmp_path: Path, stage: str, answer: str, expected: State
) -> None:
    with smtp.running() as sink:
        if stage == "RCPT":
            sink.answer_recipient = lambda _: answer
        else:
            sink.answer = lambda _: answer
        for number in range(FAILURES_IN_A_ROW + 1):
            await signed_up(f"n{number}@example.com")
        async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
            deadline = time.monotonic() + WAIT_SECONDS
            while not all(row["problem"] for row in await rows()):
                assert time.monotonic() < deadline, await rows()
                await asyncio.sleep(0.05)
            is_closed = state(relay, "mail relay") is State.CLOSED
    assert is_closed is (expected is State.CLOSED)


async def test_what_runs_out_while_its_channel_is_down_ends_with_the_reason(
    db: None, clock: Clock, first: carrier.Carrier, tmp_path: Path
) -> None:
    first.refuse("*", *DOWN)
    await code_sent()
    async with relaying(tmp_path, **account(first)) as relay:
        await until_so(lambda: state(relay, "FIRST texts") is State.OPEN)
        await clock.forward(minutes=11)
        relay.ring()
        await until_so(lambda: state(relay, "FIRST texts") is not State.CLOSED)
        deadline = time.monotonic() + WAIT_SECONDS
        while (row := (await rows())[0])["status"] not in ("FAILED", "CANCELED"):
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.05)
    assert row["problem"]
    assert not first.taken


async def test_the_second_carrier_takes_over_and_gives_back(
    db: None, first: carrier.Carrier, second: carrier.Carrier, tmp_path: Path
) -> None:
    first.refuse("*", *DOWN)
    async with relaying(tmp_path, **both(first, second)) as relay:
        digits = await code_sent()
        [row] = await until(DeliveryStatus.SENT)
        assert (row["attempts"], row["carrier"], row["unanswered"]) == (1, "SECOND", 0)
        assert second.taken[0].text.startswith(digits)
        assert state(relay, "FIRST texts") is not State.CLOSED
        first.forget()
        count = 1
        while state(relay, "FIRST texts") is not State.CLOSED:
            await code_sent()
            count += 1
            await until(DeliveryStatus.SENT, count)
        taken = len(second.taken)
        await code_sent()
        await until(DeliveryStatus.SENT, count + 1)
    assert len(second.taken) == taken
    assert len(first.taken) + len(second.taken) == count + 1


async def test_what_the_first_carrier_could_not_do_just_now_the_second_does_on_the_next_try(
    db: None, first: carrier.Carrier, second: carrier.Carrier, tmp_path: Path
) -> None:
    first.refuse("*", *BUSY)
    digits = await code_sent(Channel.VOICE)
    async with relaying(tmp_path, **both(first, second)) as relay:
        [row] = await until(DeliveryStatus.SENT)
        assert state(relay, "FIRST calls") is State.CLOSED
        await code_sent(Channel.VOICE)
        await until_so(lambda: first.asked == 2)  # one message's failure is no reason to leave it alone
    assert (row["attempts"], row["carrier"]) == (2, "SECOND")
    assert ", ".join(digits) in second.taken[0].text
    assert not first.taken


async def test_a_number_that_one_carrier_refuses_is_not_tried_at_another(
    db: None, first: carrier.Carrier, second: carrier.Carrier, tmp_path: Path
) -> None:
    first.refuse("*", 400, 21610, "they said STOP")
    await code_sent()
    async with relaying(tmp_path, **both(first, second)):
        await until(DeliveryStatus.BOUNCED)
    assert second.asked == 0


@contextlib.asynccontextmanager
async def swallowing(bodies: list[bytes]) -> AsyncIterator[str]:
    """A carrier that takes a message and hangs up without a word. bodies: filled with what it took."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            bodies.append(await reader.readexactly(int(length.partition(b":")[2])))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def texts(bodies: list[bytes]) -> list[bytes]:
    """Without the call that follows a text which failed."""
    return [body for body in bodies if b"Body=" in body]


async def test_carriers_that_take_a_text_and_never_say_so_send_it_twice_at_most_and_it_is_the_same(
    db: None, clock: Clock, first: carrier.Carrier, second: carrier.Carrier, tmp_path: Path
) -> None:
    bodies: list[bytes] = []
    digits = await code_sent()
    async with swallowing(bodies) as url:
        urls = {"TWILIO_API_URL": url, "SECOND_TWILIO_API_URL": url}
        async with relaying(tmp_path, **(both(first, second) | urls)) as relay:
            await until_so(lambda: len(texts(bodies)) == 2)
            await clock.forward(seconds=120)
            relay.ring()
            row = (await until(DeliveryStatus.FAILED))[0]
    assert len(texts(bodies)) == 2
    assert all(digits.encode() in body for body in texts(bodies))
    assert "may have arrived" in row["problem"]


async def test_a_worker_that_was_killed_while_a_carrier_was_asked_leaves_a_mark(
    db: None, first: carrier.Carrier, tmp_path: Path
) -> None:
    await code_sent()
    await database.execute("UPDATE deliveries SET unanswered = 2, carrier = 'FIRST' WHERE channel = 'SMS'")
    await code_sent()
    async with relaying(tmp_path, **account(first)):
        await until(DeliveryStatus.FAILED)
        await until(DeliveryStatus.SENT)
    assert [one.channel for one in first.taken].count("SMS") == 1


async def test_a_text_that_arrived_after_all_is_not_sent_again(
    db: None, first: carrier.Carrier, tmp_path: Path
) -> None:
    await code_sent()
    await database.execute("UPDATE deliveries SET reported_status = 'DELIVERED' WHERE channel = 'SMS'")
    async with relaying(tmp_path, **account(first)):
        await until(DeliveryStatus.DELIVERED)
    assert first.asked == 0
