"""No row of the outbox is left in a state that nothing picks up: every state at every age, and the clock runs forward."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from domain import database, outbox, retention
from domain.models.columns import Channel, DeliveryStatus, uuid7
from domain.outbox import Kind
from tests.conftest import Clock
from tests.servers import carrier, smtp
from tests.test_delivery import account, relaying, signed_up
from workers import housekeeping

OPEN = ("QUEUED", "SENDING", "RETRYING")
ENDED = {"SENT", "DELIVERED", "BOUNCED", "FAILED", "CANCELED"}
DUE = ("-2 days", "-1 second", "20 seconds", "3 hours")  # in seconds from now: long ago, just now, soon, later
ENDS = ("-1 day", "10 minutes", "23 hours")
ATTEMPTS = (0, 1, 60, 61, 3000)
REPORTED = (None, "DELIVERED", "BOUNCED", "FAILED")
KINDS = (*(kind.value for kind in Kind), "of_a_version_to_come")
WAIT_SECONDS = 120.0


async def stage() -> int:
    """Every combination, most of them about nothing that there is, and some about a sign-up that waits; how many."""
    subjects = [await signed_up(f"n{number}@example.com") for number in range(2)]
    await database.execute("DELETE FROM deliveries")
    rows = [
        (status, due, ends, attempts, kind, channel, reported)
        for number, (status, due, ends, kind, channel, reported) in enumerate(
            itertools.product(OPEN, DUE, ENDS, KINDS, Channel, REPORTED)
        )
        for attempts in (ATTEMPTS[number % len(ATTEMPTS)],)
    ]
    await database.execute(
        """
        INSERT INTO deliveries (id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at, lease_owner,
            reported_status, reported_problem, notice)
        SELECT r.id, r.subject_id, r.kind, r.channel, r.lane, r.status, r.attempts, clock_now() - interval '3 days',
            clock_now() + r.due::interval, clock_now() + r.ends::interval,
            CASE WHEN r.status = 'SENDING' THEN gen_random_uuid() END, r.reported, CASE WHEN r.reported <> 'DELIVERED' THEN 'x' END,
            CASE WHEN r.kind = 'notice' THEN 'new_device' END
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::smallint[], $8::text[], $9::text[],
            $10::text[]) AS r (id, subject_id, kind, channel, lane, status, attempts, due, ends, reported)
        """,
        [uuid7() for _ in rows],
        [subjects[number % 2] if number % 3 == 0 else uuid7() for number in range(len(rows))],
        [row[4] for row in rows],
        [row[5].value for row in rows],
        # A row in a lane that does not carry its channel is one that nobody looks for there.
        [0 if row[5] is not Channel.EMAIL else 1 + number % 2 for number, row in enumerate(rows)],
        [row[0] for row in rows],
        [row[3] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[6] for row in rows],
    )
    # As autovacuum does in a while. Plans that were made for empty tables, those of foreign keys too, would read all for each row.
    await database.execute("ANALYZE deliveries, delivery_attempts, invitations")
    return len(rows)


async def open_rows() -> Sequence[database.Row]:
    """What is not ended yet."""
    return await database.fetch(
        "SELECT id, kind, channel, lane, status, attempts, due_at, expires_at, problem, reported_status FROM deliveries"
        " WHERE status = ANY($1::text[])",
        list(OPEN),
    )


async def test_every_row_ends_with_a_reason_whatever_state_it_was_left_in(
    db: None, clock: Clock, tmp_path: Path
) -> None:
    count = await stage()
    assert count > 5_000
    with smtp.running() as sink, carrier.running() as phones:
        async with relaying(tmp_path, SMTP_URL=sink.url, **account(phones)) as relay:
            deadline = time.monotonic() + WAIT_SECONDS
            while left := await open_rows():
                assert time.monotonic() < deadline, (Counter((row["kind"], row["status"]) for row in left), left[0])
                await clock.forward(minutes=20)
                for job in housekeeping.JOBS:
                    await job.work()
                relay.ring()
                await asyncio.sleep(0.3)
    rows = await database.fetch("SELECT status, problem, sent_at, lease_owner FROM deliveries")
    assert len(rows) == count
    assert {row["status"] for row in rows} <= ENDED
    assert all(row["problem"] for row in rows if row["status"] not in ("SENT", "DELIVERED"))
    assert all(row["sent_at"] for row in rows if row["status"] in ("SENT", "DELIVERED"))
    assert not any(row["lease_owner"] for row in rows)
    assert {"SENT", "CANCELED", "FAILED"} <= {row["status"] for row in rows}


async def test_nothing_that_has_ended_is_kept_for_ever(db: None, clock: Clock) -> None:
    await stage()
    await database.execute(
        "UPDATE deliveries SET status = 'FAILED', lease_owner = NULL, problem = 'x' WHERE status = ANY($1::text[])",
        list(OPEN),
    )
    await clock.forward(days=91)
    for _ in range(5):
        await retention.purge()
    assert await database.fetch("SELECT 1 FROM deliveries") == []
    for table in (
        "security_codes",
        "challenges",
        "enrollments",
        "sign_ups",
        "password_resets",
        "email_changes",
        "budgets",
    ):
        assert await database.fetch(f"SELECT 1 FROM {table}") == [], table


async def test_a_message_of_a_kind_that_no_worker_knows_ends_when_its_time_is_over(db: None, clock: Clock) -> None:
    await signed_up("ann@example.com")
    await database.execute("UPDATE deliveries SET kind = 'of_a_version_to_come'")
    assert await outbox.end_overdue() == 0
    await clock.forward(hours=23, minutes=59)
    assert await outbox.end_overdue() == 0
    await clock.forward(hours=2)
    assert await outbox.end_overdue() == 1
    [row] = await database.fetch("SELECT status, problem FROM deliveries")
    assert (row["status"], row["problem"]) == (DeliveryStatus.FAILED, outbox.NOBODY_SENT_IT)


@pytest.mark.parametrize("status", ["QUEUED", "RETRYING"])
async def test_a_row_that_somebody_is_about_to_take_is_left_to_them(db: None, clock: Clock, status: str) -> None:
    await signed_up("ann@example.com")
    await database.execute("UPDATE deliveries SET status = $1", status)
    await clock.forward(days=1, minutes=1)  # a worker calls it off, with the reason that fits
    assert await outbox.end_overdue() == 0
