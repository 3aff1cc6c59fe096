"""Draining many waiting messages costs as much for each of them as draining few, also while an old transaction is open."""

from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from domain import database, outbox, queue_health
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Kind, Outcome
from tests import filler
from tests.conftest import database_url
from tests.statistics import counted
from tests.test_delivery import signed_up
from workers.looks import WHOLE_SECONDS, WHOLE_SHARE, Looks

WAITING = 4_000
AT_ONCE = 100


async def entries_read() -> int:
    """How many entries of the indexes on deliveries were read so far, of rows that are gone too."""
    rows = await counted("SELECT sum(idx_tup_read)::bigint AS n FROM pg_stat_user_indexes WHERE relname = 'deliveries'")
    return int(rows[0]["n"])


async def drain(looks: Looks, at_most: int) -> int:
    """Send so many of the waiting messages as a lane does; how many index entries that read."""
    before = await entries_read()
    sent = 0
    while sent < at_most:
        since = looks.begin()
        rows = await outbox.claim(
            outbox.LANE_BULK, at_most=AT_ONCE, lease_seconds=60, channels=[Channel.EMAIL], since=since
        )
        looks.end(rows, is_whole=since is None, is_full=len(rows) == AT_ONCE)
        await outbox.settle(
            [Outcome(row=row, status=DeliveryStatus.SENT, recipient="a@filler.example") for row in rows]
        )
        sent += len(rows)
    return await entries_read() - before


async def test_the_last_of_many_messages_costs_no_more_than_the_first(db: None, server_url: str) -> None:
    await filler.write((filler.WAITING, 0, WAITING - 1, -3600.0))
    await database.execute("ANALYZE deliveries")
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    backup = await asyncpg.connect(database_url(server_url, name))
    try:
        # While it is open nothing that was sent leaves the indexes.
        await backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await backup.fetch("SELECT count(*) FROM deliveries")
        looks = Looks(now=lambda: 0.0)
        first = await drain(looks, WAITING // 4)
        await drain(looks, WAITING // 2)
        last = await drain(looks, WAITING // 4)
    finally:
        await backup.close()
    assert await outbox.claim(outbox.LANE_BULK, at_most=AT_ONCE, lease_seconds=60) == []
    assert last < 1.5 * first, (first, last)


def _row(due_at: datetime) -> Claimed:
    """A claimed row that was due at that moment."""
    nobody = UUID(int=0)
    return Claimed(nobody, Kind.INVITATION, Channel.EMAIL, nobody, None, 1, due_at, due_at, nobody, due_at=due_at)


def test_a_busy_lane_looks_from_the_beginning_now_and_then_and_the_rarer_the_longer_that_takes() -> None:
    time = 0.0
    looks = Looks(now=lambda: time)
    early, late = (datetime(2035, 1, 1, hour, tzinfo=UTC) for hour in (10, 11))
    assert looks.begin() is None
    time = 0.5  # the look took half a second
    looks.end([_row(late), _row(early)], is_whole=True, is_full=True)
    assert looks.begin() == late
    looks.end([_row(late)], is_whole=False, is_full=True)
    time = 0.5 + WHOLE_SHARE * 0.5 - 0.1
    assert looks.begin() == late
    time += 0.2
    assert looks.begin() is None
    looks.end([_row(late)], is_whole=True, is_full=True)
    time += WHOLE_SECONDS - 0.1
    assert looks.begin() == late
    looks.end([_row(late)], is_whole=False, is_full=False)
    assert looks.begin() is None, "there was no more to take, so what comes next may be anything"


async def test_a_look_that_goes_on_from_a_moment_passes_over_what_was_due_before_and_takes_no_suspects(
    db: None,
) -> None:
    for name in ("ann", "ben", "cy"):
        await signed_up(f"{name}@example.com")
    await database.execute(
        "UPDATE deliveries SET due_at = clock_now() - interval '1 hour', status = 'SENDING', lease_owner = gen_random_uuid()"
        " WHERE id = (SELECT id FROM deliveries ORDER BY queued_at LIMIT 1)"
    )
    await database.execute(
        "UPDATE deliveries SET due_at = clock_now() - interval '2 hours'"
        " WHERE id = (SELECT id FROM deliveries WHERE status = 'QUEUED' ORDER BY queued_at LIMIT 1)"
    )
    since = await database.now()
    await database.execute(
        "UPDATE deliveries SET due_at = $1 WHERE due_at > $1::timestamptz - interval '30 minutes'", since
    )
    [row] = await outbox.claim(outbox.LANE_URGENT, at_most=9, lease_seconds=60, since=since)
    assert row.due_at == since
    assert row.lost == 0
    found = [len(await outbox.claim(outbox.LANE_URGENT, at_most=9, lease_seconds=60)) for _ in range(3)]
    assert found == [1, 1, 0]


async def test_counts_of_what_waits_stop_at_a_number_and_the_age_of_the_oldest_does_not(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filler.write((filler.WAITING, 0, 99, 0.0))
    monkeypatch.setattr(queue_health, "COUNTED_UP_TO", 60)
    [one] = await queue_health.waiting()
    assert one.by_status == {"QUEUED": 60}
    assert 3590 < one.oldest_seconds < 3700
    monkeypatch.setattr(queue_health, "COUNTED_UP_TO", 1_000)
    [one] = await queue_health.waiting()
    assert one.by_status == {"QUEUED": 100}
