"""A relay that allows few connections: mail goes out by as many as there are, and being turned away costs no message anything."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from domain import database
from domain.models.columns import DeliveryStatus
from domain.settings import SettingInvalid, SmtpUrl, load
from tests.servers import crowded_smtp
from tests.servers.crowded_smtp import Crowded
from tests.test_delivery import relaying, rows, signed_up
from tests.test_second_roads import state
from workers import smtp
from workers.breakers import State
from workers.connection_limit import ConnectionLimit, Ended, says_too_many
from workers.deliveries import Temporary
from workers.smtp import Pool

WAIT_SECONDS = 60.0
BARE = b"421 Service not available\r\n"
EXCHANGE_ONLINE = b"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded\r\n"


async def mails_due(count: int, *, urgent: int) -> None:
    """So many mails; how many of them are urgent."""
    for number in range(count):
        await signed_up(f"n{number}@example.com")
    await database.execute(
        "UPDATE deliveries SET lane = 2 WHERE id IN (SELECT id FROM deliveries ORDER BY id LIMIT $1)", count - urgent
    )


async def until_so(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def until_all_sent(count: int) -> list[database.Row]:
    """Wait until so many are sent; all rows."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = await rows()
        if sum(row["status"] == DeliveryStatus.SENT for row in found) == count:
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


def assert_nothing_was_lost(found: list[database.Row], relay: Crowded, count: int, log: str) -> None:
    assert len(relay.recipients) == len(relay.mails) == count
    assert {row["attempts"] for row in found} == {1}
    assert "is left alone" not in log  # what a breaker says that opens


@pytest.mark.parametrize(
    ("answer", "at_the_dot"),
    [
        (b"421 4.7.0 Error: too many connections from you\r\n", b""),
        (BARE, b""),
        (b"", b""),
        (b"", EXCHANGE_ONLINE),
    ],
)
async def test_a_relay_that_allows_three_connections_takes_two_hundred_mails_and_no_attempt_is_lost(
    db: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: bytes, at_the_dot: bytes
) -> None:
    await mails_due(200, urgent=100)
    async with crowded_smtp.running(3) as sink:
        sink.answer, sink.at_the_dot = answer, at_the_dot
        async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
            found = await until_all_sent(200)
            assert state(relay, "mail relay") is State.CLOSED
        assert sink.turned_away > 0
        assert sink.most_open <= 3 or at_the_dot
    assert_nothing_was_lost(found, sink, 200, caplog.text)


async def test_two_workers_share_a_relay_that_allows_one_connection(
    db: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await mails_due(200, urgent=0)  # one claim takes a hundred of a lane, so each worker has its own
    async with crowded_smtp.running(1) as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url) as one, relaying(tmp_path, SMTP_URL=sink.url) as other:
            found = await until_all_sent(200)
            assert {state(relay, "mail relay") for relay in (one, other)} == {State.CLOSED}
        assert sink.turned_away > 0
        assert sink.most_open == 1
    assert_nothing_was_lost(found, sink, 200, caplog.text)


def pool(sink: Crowded, connections: int = 8) -> Pool:
    url = SmtpUrl(host="127.0.0.1", port=sink.port, username=None, password=None, tls="none")
    return Pool(url, "access@practice.example", connections, 5.0)


async def test_both_of_two_processes_get_their_turn_at_a_relay_that_allows_one_connection() -> None:
    async with crowded_smtp.running(1) as sink:
        pools = [pool(sink) for _ in range(2)]
        try:
            await asyncio.gather(
                *(
                    one.send(b"x\r\n", f"{name}-{number}@example.com")
                    for name, one in enumerate(pools)
                    for number in range(50)
                )
            )
        finally:
            await asyncio.gather(*(one.close() for one in pools))
        assert len(sink.recipients) == len(sink.mails) == 100
        assert sink.most_open == 1


async def test_words_about_connections_after_a_recipient_are_the_messages_where_no_other_is_open() -> None:
    async with crowded_smtp.running(0) as sink:
        sink.at_the_dot = b"451 4.7.0 Too many connections from you\r\n"
        one = pool(sink)
        with pytest.raises(Temporary):
            await one.send(b"x\r\n", "ann@example.com")
        assert (sink.turned_away, one.limit.now) == (1, 8)
        await one.close()


async def test_a_connection_that_nobody_uses_is_closed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "MAX_IDLE_SECONDS", 0.2)
    async with crowded_smtp.running(3) as sink:
        one = pool(sink)
        await one.send(b"x\r\n", "ann@example.com")
        assert sink.open_now == 1
        await until_so(lambda: sink.open_now == 0)
        await one.send(b"x\r\n", "bob@example.com")
        await one.close()
        assert len(sink.mails) == 2


async def test_a_message_that_waited_in_vain_goes_back_uncounted_and_says_why_and_the_breaker_stays_closed(
    db: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "PATIENCE_SECONDS", 0.3)
    await mails_due(2, urgent=1)
    async with crowded_smtp.running(0) as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
            deadline = time.monotonic() + WAIT_SECONDS
            while not all(row["problem"] for row in await rows()):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            assert {row["problem"] for row in await rows()} == {"The mail relay turns us away (421 4.7.0)."}
            sink.allowed = 3
            found = await until_all_sent(2)
            assert state(relay, "mail relay") is State.CLOSED
        assert_nothing_was_lost(found, sink, 2, caplog.text)


async def test_a_relay_that_turns_the_only_connection_away_without_a_reason_is_down(db: None, tmp_path: Path) -> None:
    await mails_due(1, urgent=1)
    async with crowded_smtp.running(0) as sink:
        sink.answer = BARE
        async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
            await until_so(lambda: state(relay, "mail relay") is State.OPEN)


async def test_a_worker_that_stops_gives_back_what_waits_for_a_connection(db: None, tmp_path: Path) -> None:
    await mails_due(10, urgent=5)
    async with crowded_smtp.running(0) as sink, relaying(tmp_path, SMTP_URL=sink.url):
        await until_so(lambda: sink.turned_away > 2)
    found = await rows()
    assert {(row["status"], row["attempts"]) for row in found} <= {("RETRYING", 0), ("QUEUED", 0)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("4.7.0 mx.example Error: too many connections from 192.0.2.1", True),  # Postfix
        ("Too many concurrent SMTP connections; please try again later.", True),  # Exim
        ("4.3.2 Too many open connections.", True),  # Sendmail
        ("4.3.2 Connection rate limit exceeded.", True),
        ("4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel", True),
        ("4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", True),
        ("4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending", True),
        ("4.7.0 Too many login attempts, please try again later.", True),  # Gmail
        ("Too many concurrent connections from your network", True),
        ("4.3.2 Service not available, closing transmission channel", False),
        ("4.2.1 The user you are trying to contact is receiving mail too quickly.", False),
        ("4.5.3 Too many recipients", False),
        ("4.4.1 Connection timed out", False),
        ("Throttling failure: Daily message quota exceeded.", False),
        ("", False),
    ],
)
def test_what_a_relay_says_about_connections_is_understood(words: str, expected: bool) -> None:
    assert says_too_many(words) is expected


# -- the limit by itself ---------------------------------------------------------------------------------------------------


class Seconds:
    """A clock that a test lets go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_limit_that_was_lowered_grows_by_one_and_ever_more_rarely_where_one_more_is_too_many() -> None:
    clock = Seconds()
    limit = ConnectionLimit(8, clock)
    limit.turned_away(3)
    assert (limit.now, limit.is_lowered) == (3, True)
    steps = []
    holders = [asyncio.ensure_future(_hold(limit)) for _ in range(9)]
    for _ in range(400):
        clock.now += 1.0
        waiting = asyncio.ensure_future(_hold(limit))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if limit.now > 3:
            steps.append(clock.now)
            limit.turned_away(3)
        waiting.cancel()
    gaps = [round(later - earlier) for earlier, later in pairwise(steps)]
    assert gaps == [30, 60, 120], gaps
    for holder in holders:
        holder.cancel()
    await asyncio.gather(*holders, return_exceptions=True)


async def _hold(limit: ConnectionLimit, *, is_urgent: bool = True) -> None:
    async with limit.turn(is_urgent=is_urgent):
        await asyncio.Event().wait()


async def test_connections_that_got_in_are_allowed_whatever_was_thought_before() -> None:
    limit = ConnectionLimit(8)
    limit.turned_away(0)
    assert limit.now == 1
    limit.let_in(3)
    assert limit.now == 3
    limit.let_in(20)
    assert limit.now == 8


async def test_urgent_messages_go_first_and_the_others_leave_them_half() -> None:
    limit, order = ConnectionLimit(4), []

    async def hold(name: str, *, is_urgent: bool) -> None:
        async with limit.turn(is_urgent=is_urgent):
            order.append(name)
            await gates[name].wait()

    names = [f"other {number}" for number in range(4)]
    gates = {name: asyncio.Event() for name in [*names, "urgent"]}
    tasks = [asyncio.ensure_future(hold(name, is_urgent=False)) for name in names]
    await asyncio.sleep(0.01)
    assert order == names[:2]
    tasks.append(asyncio.ensure_future(hold("urgent", is_urgent=True)))
    await asyncio.sleep(0.01)
    assert order == [*names[:2], "urgent"]
    for gate in gates.values():
        gate.set()
    await asyncio.gather(*tasks)
    one = ConnectionLimit(1)
    async with one.turn(is_urgent=False):
        waiting = [asyncio.ensure_future(_first(one, order, urgent)) for urgent in (False, True)]
        await asyncio.sleep(0.01)
    await asyncio.gather(*waiting)
    assert order[-2:] == ["True", "False"]


async def _first(limit: ConnectionLimit, order: list[str], is_urgent: bool) -> None:
    async with limit.turn(is_urgent=is_urgent):
        order.append(str(is_urgent))


async def test_who_gives_up_waiting_leaves_no_turn_behind() -> None:
    limit = ConnectionLimit(1)
    async with limit.turn(is_urgent=True):
        waiting = [asyncio.ensure_future(_hold(limit)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        await asyncio.sleep(0.01)
    waiting[1].cancel()  # it was granted just now, and has not run since
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    await asyncio.sleep(0.01)
    assert not waiting[2].done()
    waiting[2].cancel()
    await asyncio.gather(waiting[2], return_exceptions=True)
    async with asyncio.timeout(5):
        async with limit.turn(is_urgent=False):
            pass
    limit.end()
    with pytest.raises(Ended):
        async with limit.turn(is_urgent=True):
            pass


@pytest.mark.parametrize("value", ["0", "101", "-1", "x", "1.5"])
def test_the_setting_is_a_whole_number_from_one_to_a_hundred(value: str, tmp_path: Path) -> None:
    assert load({"DATA_DIR": str(tmp_path)}).smtp_connections == 8
    assert load({"DATA_DIR": str(tmp_path), "SMTP_CONNECTIONS": "3"}).smtp_connections == 3
    with pytest.raises(SettingInvalid, match="SMTP_CONNECTIONS is"):
        load({"DATA_DIR": str(tmp_path), "SMTP_CONNECTIONS": value})
