"""A relay that refuses everybody's mail pauses it, and loses none; a receiver that refuses by a rule of its own stops nobody else's."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from domain import channel_pauses, database, outbox
from domain.channel_pauses import Refusal
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Kind, Message, Outcome
from tests.conftest import Clock
from tests.servers import smtp
from tests.test_delivery import in_a_day, relaying, signed_up
from tests.world import Api, Mail, PracticeWorld, World
from workers.deliveries import not_sent
from workers.gates import PauseWatch

DENIED = "554 5.7.1 <somebody@example.org>: Relay access denied"
WAIT_SECONDS = 60.0
ONE, TWO = UUID(int=1), UUID(int=2)


async def until(what: Callable[[], object]) -> None:
    """Wait for something to be so; what may be a coroutine function."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = what()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def is_longer(things: list[str], at_least: int) -> bool:
    return len(things) >= at_least


async def by_status() -> Counter[str]:
    """How many invitations have got how far."""
    found = await database.fetch(
        "SELECT status, count(*) AS n FROM deliveries WHERE kind = 'invitation' GROUP BY status"
    )
    return Counter({row["status"]: row["n"] for row in found})


async def is_paused() -> bool:
    return bool(await channel_pauses.current())


async def is_quiet() -> bool:
    """Whether nothing is in a worker's hand."""
    return not await database.fetch("SELECT 1 FROM deliveries WHERE status = 'SENDING' LIMIT 1")


async def nothing_is_due() -> bool:
    """Whether all that could be sent by now has been."""
    return not await database.fetch(
        "SELECT 1 FROM deliveries WHERE status = 'SENDING' OR (status IN ('QUEUED', 'RETRYING') AND due_at <= clock_now()) LIMIT 1"
    )


async def invite(api: Api, practice: PracticeWorld, addresses: list[str]) -> None:
    """Invite many at once."""
    users = [{"firstName": "Ann", "lastName": "Lee", "email": one, "accessLevel": "PROVIDER"} for one in addresses]
    report = await api.do("invite", {"users": users}, token=practice.administrator.session)
    assert all(row["user"] for row in report["rows"])


async def two_practices(world: World, mail: Mail) -> tuple[PracticeWorld, PracticeWorld]:
    found = await world.practice(), await world.practice("Oak Street Practice")
    await mail.run()
    await database.execute("DELETE FROM deliveries")
    return found


@pytest.mark.fault("F25")
async def test_two_hundred_invitations_arrive_after_a_relay_that_denied_relaying_for_two_minutes(
    world: World, api: Api, mail: Mail, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    def deny(address: str) -> str:
        refused.append(address)
        return DENIED

    with smtp.running() as sink:
        sink.answer_recipient = deny
        for number, practice in enumerate(await two_practices(world, mail)):
            await invite(api, practice, [f"n{number}-{one}@clinic{one % 8}.example" for one in range(100)])
        async with relaying(tmp_path, SMTP_URL=sink.url) as first, relaying(tmp_path, SMTP_URL=sink.url) as second:
            for relay in (first, second):
                relay.ring()
            await until(is_paused)
            await until(is_quiet)
            before = len(refused)  # more than it takes to know, since several are under way at a time
            assert before < 200, "not all were tried"
            for minute in (1, 2):
                await clock.forward(seconds=61)
                for relay in (first, second):
                    relay.ring()
                await until(partial(is_longer, refused, before + minute))
                await until(is_quiet)
                assert len(refused) == before + minute, "one probe a minute, of all workers together"
            assert len(set(refused[before:])) == 2, "each time another message"
            assert set(await by_status()) <= {"QUEUED", "RETRYING"}
            sink.answer_recipient = None
            while (await by_status())["SENT"] < 200:
                await until(is_quiet)  # time that jumps past a lease would send what is under way once more
                await clock.forward(seconds=61)
                for relay in (first, second):
                    relay.ring()
                await until(nothing_is_due)
        assert len(sink.received) == 200
    tried = await database.fetch("SELECT attempts, problem, fault FROM deliveries WHERE kind = 'invitation'")
    assert Counter(row["attempts"] for row in tried).keys() <= {1, 2, 3}
    assert sum(row["attempts"] for row in tried) <= 200 + before, "what only waited lost no attempt, nor did the probes"
    assert {(row["problem"], row["fault"]) for row in tried} == {(None, None)}
    assert not await database.fetch("SELECT 1 FROM bounced_addresses")
    assert not await is_paused()
    assert not await database.fetch("SELECT 1 FROM channel_refusals")
    assert "EMAIL is paused: the relay refuses everybody's messages (554 5.7.1)" in caplog.text
    assert "EMAIL goes on" in caplog.text
    assert "@" not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("domain."))


@pytest.mark.fault("F25")
async def test_a_receiver_that_refuses_by_its_own_rule_stops_nobody_elses_mail(
    world: World, api: Api, mail: Mail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with smtp.running() as sink:
        sink.answer_recipient = lambda one: "550 5.7.1 not from you" if "hostile" in one else None
        for number, practice in enumerate(await two_practices(world, mail)):
            addresses = [f"n{number}-{one}@clinic{one}.example" for one in range(30)]
            await invite(api, practice, [f"{number}@hostile.example", f"{number}@a.hostile.example", *addresses])
        async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
            relay.ring()

            async def all_others_arrived() -> bool:
                return (await by_status())["SENT"] == 60

            await until(all_others_arrived)
            assert not await is_paused()
            assert "is paused" not in caplog.text, "not for a moment"
        assert len(sink.received) == 60
    left = await database.fetch("SELECT status, fault, problem FROM deliveries WHERE status <> 'SENT'")
    assert {(row["status"], row["fault"]) for row in left} == {("RETRYING", "SENDER")}
    assert {"The address is not at fault." in row["problem"] for row in left} == {True}
    assert not await database.fetch("SELECT 1 FROM bounced_addresses")


# -- what pauses a channel -----------------------------------------------------------------------------------------------------


async def refuse(code: str, domain: str, practice_id: UUID | None) -> bool:
    """One refusal; whether the channel paused for it."""
    [delivery_id] = await _queued(practice_id)
    refusal = Refusal(
        delivery_id=delivery_id, channel=Channel.EMAIL, code=code, domain=domain, problem="It is refused."
    )
    return bool(await channel_pauses.note_refused([refusal]))


async def _queued(practice_id: UUID | None) -> list[UUID]:
    async with database.transaction():
        return await outbox.queue(
            Message(kind=Kind.INVITATION, subject_id=UUID(int=9), practice_id=practice_id, expires_at=await in_a_day())
        )


SAME = "554 5.7.1"
EVIDENCE: list[tuple[list[tuple[str, str, UUID | None]], bool]] = [
    ([(SAME, "a.example", ONE), (SAME, "b.example", ONE), (SAME, "c.example", TWO)], True),
    ([(SAME, "a.example", ONE), (SAME, "b.example", ONE), (SAME, "c.example", ONE)], False),  # one practice
    ([(SAME, "a.example", ONE), (SAME, "b.example", TWO), (SAME, "b.example", ONE)], False),  # two domains
    ([(SAME, "a.example", ONE), (SAME, "b.example", ONE), ("550 5.7.1", "c.example", TWO)], False),  # another refusal
    ([(SAME, "a.hostile.example", ONE), (SAME, "b.hostile.example", ONE), (SAME, "hostile.example", TWO)], False),
    ([(SAME, "a.co.uk", ONE), (SAME, "b.co.uk", ONE), (SAME, "x.c.co.uk", TWO)], True),
    ([(SAME, "a.example", ONE), (SAME, "b.example", ONE), (SAME, "c.example", None)], False),  # of no practice
    ([*[(SAME, "a.example", ONE)] * 5, *[(SAME, "A.example.", TWO)] * 5], False),
]


@pytest.mark.parametrize(("refusals", "expected"), EVIDENCE)
async def test_a_channel_pauses_for_the_same_refusal_of_three_organizations_and_two_practices(
    db: None, refusals: list[tuple[str, str, UUID | None]], expected: bool
) -> None:
    for refusal in refusals[:-1]:
        assert not await refuse(*refusal)
    assert await refuse(*refusals[-1]) is expected
    assert await is_paused() is expected


async def test_a_mail_that_is_taken_in_between_makes_all_refusals_before_it_count_no_more(db: None) -> None:
    await refuse(SAME, "a.example", ONE)
    await refuse(SAME, "b.example", TWO)
    await signed_up("ann@example.com")
    [row] = await outbox.claim(outbox.LANE_URGENT, at_most=1, lease_seconds=30)
    await outbox.settle([Outcome(row=row, status=DeliveryStatus.SENT, recipient="ann@example.com")])
    assert not await refuse(SAME, "c.example", ONE)
    assert not await is_paused()


async def paused() -> None:
    for name, practice_id in (("a", ONE), ("b", ONE), ("c", TWO)):
        await refuse(SAME, f"{name}.example", practice_id)
    assert await is_paused()


async def test_a_probe_that_is_due_is_taken_once_however_many_ask(db: None, clock: Clock) -> None:
    await paused()
    assert not await channel_pauses.take_probe(Channel.EMAIL), "the first is due in a minute"
    await clock.forward(seconds=61)
    taken = await asyncio.gather(*(channel_pauses.take_probe(Channel.EMAIL) for _ in range(30)))
    assert taken.count(True) == 1
    assert not await channel_pauses.take_probe(Channel.EMAIL)
    assert await channel_pauses.take_probe(Channel.SMS), "another channel is not paused"


async def test_whoever_starts_anew_finds_the_pause_and_tries_nothing_before_the_probe(
    db: None, clock: Clock, tmp_path: Path
) -> None:
    await paused()
    await database.execute("DELETE FROM deliveries")
    for number in range(5):
        await signed_up(f"n{number}@example.com")
    with smtp.running() as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url):

            async def all_wait() -> bool:
                found = await database.fetch("SELECT status, problem, attempts FROM deliveries")
                return {(row["status"], row["problem"], row["attempts"]) for row in found} == {
                    ("RETRYING", "It is refused.", 0)
                }

            await until(all_wait)
            assert not sink.received
            await clock.forward(seconds=61)
            await until(lambda: len(sink.received) == 5)
    assert not await is_paused()
    assert {row["attempts"] for row in await database.fetch("SELECT attempts FROM deliveries")} == {1}


async def test_what_waits_in_a_pause_ends_at_its_own_time_with_a_reason(db: None, clock: Clock, tmp_path: Path) -> None:
    await paused()
    await database.execute("DELETE FROM deliveries")
    for number in range(3):
        await signed_up(f"n{number}@example.com")
    await clock.forward(hours=25)
    await database.execute("UPDATE channel_pauses SET next_probe_at = clock_now() + interval '40 seconds'")
    with smtp.running() as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url):

            async def all_ended() -> bool:
                found = await database.fetch("SELECT status, problem FROM deliveries")
                return {(row["status"], row["problem"]) for row in found} == {("FAILED", "It is refused.")}

            await until(all_ended)
        assert not sink.received
    assert await is_paused()


async def test_a_probe_that_fails_costs_its_message_no_attempt_and_makes_way_for_another(db: None) -> None:
    await signed_up("ann@example.com")
    [row] = await outbox.claim(outbox.LANE_URGENT, at_most=1, lease_seconds=30)
    from tests.test_delivery_faults import refusal

    error = refusal(554, "5.7.1 Relay access denied")
    normal, probe = (not_sent(row, error, "ann@example.com", 0.0, is_probe=is_probe) for is_probe in (False, True))
    assert (normal.attempt_counts, probe.attempt_counts) == (True, False)
    assert normal.retry_after_seconds < probe.retry_after_seconds == channel_pauses.PROBE_SECONDS
    assert normal.refusal == probe.refusal
    assert normal.refusal is not None
    assert (normal.refusal.code, normal.refusal.domain) == ("554 5.7.1", "example.com")


async def test_a_message_is_not_begun_while_nobody_can_say_whether_its_channel_is_paused(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away() -> list[channel_pauses.Pause]:
        raise ConnectionRefusedError

    monkeypatch.setattr(channel_pauses, "current", away)
    with caplog.at_level(logging.WARNING), contextlib.suppress(Exception):
        await PauseWatch(Channel.EMAIL).enter()
        pytest.fail("it has to wait")
    assert "cannot be looked up: ConnectionRefusedError" in caplog.text
