"""Showing that the audit trail is whole, and cutting what is old enough off it.

The database links each event to the one before it as it is written (`migrations/0004_audit_chain.py`). Here the hashes are made once
more from the columns, by other code, so an event that was changed, taken out, put in or moved shows, also when somebody did it who may
do anything in the database. Only events at the very end could be taken away unseen, together with their links and the head: whoever
wants to notice that keeps the head that `practice-access audit verify` prints.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import audit, audit_findings, budgets, database, metrics
from domain.actors import SCHEDULE, Actor, require_operator
from domain.audit import Action
from domain.database import Row
from domain.errors import Busy, LimitReached, NotFound

logger = logging.getLogger(__name__)

NO_PRACTICE = UUID(int=0)  # the chain of what belongs to no practice, such as sign-ups
BATCH = 500  # hashed in one go on the event loop: about ten milliseconds
CUT_AT_ONCE = 10_000
VERIFYING_SECONDS = 60.0  # of one look of the schedule; a chain that was begun is followed to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where a chain does not hold. position: in the chain, from 1; None for an event that is in none. problem: a sentence."""

    position: int | None
    event_id: UUID | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What verifying one chain showed. events: how many were looked at. head: of the last of them, hexadecimal. broken: the first break."""

    chain_id: UUID
    events: int
    head: str
    checked_at: datetime
    broken: Break | None


async def verify_own(actor: Actor) -> Report:
    """Verify the chain of the actor's practice.

    It reads every event there is, so a practice may ask a few times an hour only. Raises Unauthenticated, Forbidden, Busy. Writes: audit
    "audit_log.verified".
    """
    member = actor.administrator()
    try:
        await budgets.take(f"audit-verifications:{member.practice_id}", budgets.AUDIT_VERIFICATIONS)
    except LimitReached as refusal:
        raise Busy(refusal.retry_at, refusal.allowance) from None
    report = await _verify(member.practice_id)
    await _note(actor, report, tells=True)
    return report


async def verify(actor: Actor, chain_id: UUID) -> Report:
    """Verify any chain, for an operator. chain_id: a practice's id, or NO_PRACTICE.

    Raises Forbidden, NotFound. Writes: audit "audit_log.verified".
    """
    await require_chain(actor, chain_id)
    report = await _verify(chain_id)
    await _note(actor, report, tells=True)
    return report


async def verify_due() -> int:
    """Verify the chains that are due, each at least once a day; how many those were. For the schedule.

    Any number of workers may do this at once: each chain is taken by one of them. It leaves half of the event loop to others, and begins no
    chain after a minute; what is left is for the next look. An intact chain gets no event, so that a practice's log does not fill with them.
    Raises ExceptionGroup with what went wrong, once the others are done. Writes: audit_findings; when a chain is first found broken, audit
    "audit_log.verified".
    """
    await audit_findings.enroll(await _chains())
    began_at, number, faults = time.monotonic(), 0, []
    while time.monotonic() - began_at < VERIFYING_SECONDS and (chain_id := await audit_findings.take_due()):
        try:
            await _note(SCHEDULE, await _verify(chain_id, is_patient=True), tells=False)
        except Exception as error:  # noqa: BLE001 -- the other chains are not to wait for this one
            faults.append(error)
        number += 1
    if faults:
        raise ExceptionGroup("some chains could not be verified", faults)
    return number


async def _note(actor: Actor, report: Report, *, tells: bool) -> None:
    """Note what verifying showed. tells: in the trail too; if not, only that a chain is broken, the first time that it is."""
    broken = report.broken
    metrics.AUDIT_VERIFICATIONS.labels("intact" if broken is None else "broken").inc()
    if broken is not None:
        logger.critical(
            "Chain %s of the audit log is broken at position %s, event %s: %s",
            report.chain_id,
            broken.position,
            broken.event_id,
            broken.problem,
        )
    is_news = await audit_findings.note(report.chain_id, broken.problem if broken is not None else None)
    if tells or is_news:
        await _record(actor, report)


async def _record(actor: Actor, report: Report) -> None:
    details: dict[str, object] = {"events": report.events, "head": report.head, "is_intact": report.broken is None}
    practice_id = None if report.chain_id == NO_PRACTICE else report.chain_id
    try:
        await audit.record(actor, Action.AUDIT_LOG_VERIFIED, practice_id=practice_id, details=details)
    except IntegrityError:
        if report.broken is None:
            raise
        # A chain whose head was tampered with takes no more events, and that is just what is to be told.
        logger.error("Chain %s is broken and takes no more events", report.chain_id)  # noqa: TRY400 -- no more to say


async def chains(actor: Actor) -> list[UUID]:
    """Every chain that there is or ought to be, for an operator. Raises Forbidden.

    A practice has one from its first day, and so has whatever an event or a link names: a chain whose head was taken away shows.
    """
    require_operator(actor)
    return await _chains()


async def _chains() -> list[UUID]:
    rows = await database.fetch(_CHAINS, NO_PRACTICE)
    return [row["id"] for row in rows]


async def require_chain(actor: Actor, chain_id: UUID) -> None:
    """Raises Forbidden to all but operators, and NotFound when there is no such practice and no trace of one."""
    require_operator(actor)
    row = await database.fetch_one(
        "SELECT 1 FROM practices WHERE id = $1 UNION SELECT 1 FROM audit_chains WHERE id = $1"
        " UNION SELECT 1 FROM audit_links WHERE chain_id = $1 UNION SELECT 1 FROM audit_events WHERE practice_id = $1",
        chain_id,
    )
    if row is None and chain_id != NO_PRACTICE:
        raise NotFound


# The distinct ids of the two long tables are picked out by their indexes, one step for each.
_CHAINS = """
    WITH RECURSIVE practices_named AS (
        (SELECT practice_id FROM audit_events WHERE practice_id IS NOT NULL ORDER BY practice_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.practice_id FROM audit_events e WHERE e.practice_id > n.practice_id ORDER BY e.practice_id LIMIT 1)
        FROM practices_named n WHERE n.practice_id IS NOT NULL
    ), chains_named AS (
        (SELECT chain_id FROM audit_links ORDER BY chain_id LIMIT 1)
        UNION ALL
        SELECT (SELECT l.chain_id FROM audit_links l WHERE l.chain_id > n.chain_id ORDER BY l.chain_id LIMIT 1)
        FROM chains_named n WHERE n.chain_id IS NOT NULL
    )
    SELECT id FROM practices UNION SELECT id FROM audit_chains UNION SELECT chain_id FROM audit_checkpoints
    UNION SELECT practice_id FROM practices_named WHERE practice_id IS NOT NULL
    UNION SELECT chain_id FROM chains_named WHERE chain_id IS NOT NULL
    UNION SELECT $1 WHERE EXISTS (SELECT FROM audit_events WHERE practice_id IS NULL)
    ORDER BY id
"""


async def _verify(chain_id: UUID, *, is_patient: bool = False) -> Report:
    """Follow a chain from its latest checkpoint to its head, all in one state of the database: a cut meanwhile breaks nothing.

    is_patient: pause as long as it works, for those who share the event loop.
    """
    async with database.transaction():
        await database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return await _followed(chain_id, is_patient=is_patient)


async def _followed(chain_id: UUID, *, is_patient: bool) -> Report:
    head = await database.fetch_one(
        "SELECT position, hash, clock_now() AS now FROM audit_chains WHERE id = $1", chain_id
    )
    start = await database.fetch_one(
        "SELECT position, hash FROM audit_checkpoints WHERE chain_id = $1 ORDER BY position DESC LIMIT 1", chain_id
    )
    position = start["position"] if start else 0
    before = bytes(start["hash"]) if start else str(chain_id).encode()
    end = head["position"] if head else 0
    begin, events, is_cut_on_record, broken = position, 0, start is None, None
    async for row in _links(chain_id, position, end, is_patient=is_patient):
        broken = _break(row, before)
        if broken is not None:
            break
        position, before, events = row["position"], bytes(row["hash"]), events + 1
        is_cut_on_record = is_cut_on_record or _tells_of(row, start)
    if broken is None and head is not None and before != bytes(head["hash"]):
        broken = Break(position=end, event_id=None, problem="The head of the chain is not that of its last event.")
    if broken is None and not is_cut_on_record:
        broken = Break(position=begin, event_id=None, problem="No event tells of the cut at which the chain begins.")
    if broken is None:
        broken = await _astray(chain_id, begin, end) or await _unlinked(chain_id) or await _gone(chain_id, head)
    now = head["now"] if head else await database.now()
    return Report(chain_id=chain_id, events=events, head=before.hex(), checked_at=now, broken=broken)


async def _links(chain_id: UUID, position: int, end: int, *, is_patient: bool = False) -> AsyncIterator[Row]:
    """The links after a position up to another, each with its event, in turn. is_patient: see `_verify`."""
    while position < end:
        began_at = time.monotonic()
        until = min(position + BATCH, end)
        rows = await database.fetch(_LINKS, chain_id, position, until)
        for row in _in_turn(rows, position, until):
            yield row
        position = until
        if is_patient:
            await asyncio.sleep(time.monotonic() - began_at)


def _tells_of(row: Row, checkpoint: Row | None) -> bool:
    """Whether an event is the one that was written when a checkpoint was."""
    if checkpoint is None or row["action"] != Action.AUDIT_LOG_CUT:
        return False
    details = json.loads(row["details"])
    return (details.get("to_position"), details.get("hash")) == (
        checkpoint["position"],
        bytes(checkpoint["hash"]).hex(),
    )


_COLUMNS = (
    "id",
    "practice_id",
    "occurred",
    "action",
    "actor_user_id",
    "actor_name",
    "subject_user_id",
    "subject_name",
    "session_id",
    "device_id",
    "ip_address",
    "details",
)
_LINKS = """
    SELECT l.position, l.event_id, l.hash, e.id::text AS id, e.practice_id::text AS practice_id,
        trunc(extract(epoch FROM e.occurred_at) * 1000000)::text AS occurred, e.action,
        e.actor_user_id::text AS actor_user_id, e.actor_name, e.subject_user_id::text AS subject_user_id, e.subject_name,
        e.session_id::text AS session_id, e.device_id::text AS device_id, e.ip_address, e.details::text AS details
    FROM audit_links l LEFT JOIN audit_events e ON e.id = l.event_id
    WHERE l.chain_id = $1 AND l.position > $2 AND l.position <= $3 ORDER BY l.position
"""


def _in_turn(rows: Iterable[Row], after: int, end: int) -> Iterator[Row]:
    """The links in their order, with a bare one where a position is missing."""
    found = {row["position"]: row for row in rows}
    for position in range(after + 1, end + 1):
        yield found.get(position) or {"position": position, "event_id": None, "id": None, "hash": b""}


def _break(row: Row, before: bytes) -> Break | None:
    if row["event_id"] is None:
        problem = "The link is missing."
    elif row["id"] is None:
        problem = "The event is missing."
    elif hashlib.sha256(before + _content(row)).digest() != bytes(row["hash"]):
        problem = "The event or its link was changed."
    else:
        return None
    return Break(position=row["position"], event_id=row["event_id"], problem=problem)


def _content(row: Row) -> bytes:
    """What is hashed of an event: each column as text with its length in bytes before it, `-` for none.

    The moment is in microseconds since 1970, so that no session's time zone or date style matters, nor the era.
    """
    values = ((row[column].encode() if row[column] is not None else None) for column in _COLUMNS)
    return b"".join(b"-" if value is None else b"%d:%b" % (len(value), value) for value in values)


async def _unlinked(chain_id: UUID) -> Break | None:
    """An event that is not in its chain: it was put in past the trigger."""
    of_chain = "e.practice_id IS NULL" if chain_id == NO_PRACTICE else "e.practice_id = $1"  # both read an index
    row = await database.fetch_one(
        f"SELECT e.id FROM audit_events e WHERE {of_chain}"  # noqa: S608 -- one of two constants
        " AND NOT EXISTS (SELECT FROM audit_links l WHERE l.event_id = e.id AND l.chain_id = $1) ORDER BY e.occurred_at, e.id LIMIT 1",
        chain_id,
    )
    return Break(position=None, event_id=row["id"], problem="The event is in no chain.") if row else None


async def _astray(chain_id: UUID, begin: int, end: int) -> Break | None:
    """A link before the place where the chain begins, or behind its head: nobody would come by there."""
    row = await database.fetch_one(
        "SELECT position, event_id FROM audit_links WHERE chain_id = $1 AND (position <= $2 OR position > $3)"
        " ORDER BY position LIMIT 1",
        chain_id,
        begin,
        end,
    )
    problem = "The link lies outside the chain."
    return Break(position=row["position"], event_id=row["event_id"], problem=problem) if row else None


async def _gone(chain_id: UUID, head: Row | None) -> Break | None:
    """The whole chain of a practice that there is."""
    if head is None and await database.fetch("SELECT 1 FROM practices WHERE id = $1", chain_id):
        return Break(position=None, event_id=None, problem="The chain is gone.")
    return None


async def cut(actor: Actor, retention: timedelta) -> int:
    """Take events off the beginning of every chain that are older than retention; how many those were.

    By whole months (UTC), so that a chain is cut once a month however often this is called, and the trail does not fill with cuts. A
    checkpoint is recorded first, from which verifying begins; without one the database lets no event go. What does not hold is not cut
    off: it is the evidence. Any number of workers may do this at once: a chain is cut by one of them. actor: the schedule, or an
    operator. Writes: checkpoint, audit "audit_log.cut".
    """
    total = 0
    for row in await database.fetch("SELECT id FROM audit_chains ORDER BY id"):
        while number := await _cut(actor, row["id"], retention):
            total += number
    return total


async def _cut(actor: Actor, chain_id: UUID, retention: timedelta) -> int:
    async with database.transaction():
        await database.fetch(
            "SELECT pg_advisory_xact_lock(hashtextextended('audit_chain.cut:' || $1, 0))", str(chain_id)
        )
        # Up to the first event that is to stay: times need not be in the order of the chain.
        row = await database.fetch_one(
            """
            WITH begins AS (
                SELECT l.position, l.hash,
                    coalesce(e.occurred_at < date_trunc('month', clock_now() - $2::interval, 'UTC'), false) AS is_old
                FROM audit_links l LEFT JOIN audit_events e ON e.id = l.event_id WHERE l.chain_id = $1 ORDER BY l.position LIMIT $3
            )
            SELECT position, hash FROM begins
            WHERE position < coalesce((SELECT min(position) FROM begins WHERE NOT is_old), 9223372036854775807)
            ORDER BY position DESC LIMIT 1
            """,
            chain_id,
            retention,
            CUT_AT_ONCE,
        )
        if row is None or not await _holds(chain_id, row["position"]):
            return 0
        await database.execute(
            "INSERT INTO audit_checkpoints (chain_id, position, hash, cut_at) VALUES ($1, $2, $3, clock_now())",
            chain_id,
            row["position"],
            row["hash"],
        )
        number = await database.execute(
            "DELETE FROM audit_events e USING audit_links l WHERE l.event_id = e.id AND l.chain_id = $1 AND l.position <= $2",
            chain_id,
            row["position"],
        )
        await database.execute(
            "DELETE FROM audit_links WHERE chain_id = $1 AND position <= $2", chain_id, row["position"]
        )
        practice_id = None if chain_id == NO_PRACTICE else chain_id
        details: dict[str, object] = {
            "events": number,
            "to_position": row["position"],
            "hash": bytes(row["hash"]).hex(),
        }
        await audit.record(actor, Action.AUDIT_LOG_CUT, practice_id=practice_id, details=details)
    return number


async def _holds(chain_id: UUID, end: int) -> bool:
    """Whether a chain holds from its latest checkpoint up to a position."""
    start = await database.fetch_one(
        "SELECT position, hash FROM audit_checkpoints WHERE chain_id = $1 ORDER BY position DESC LIMIT 1", chain_id
    )
    before = bytes(start["hash"]) if start else str(chain_id).encode()
    async for row in _links(chain_id, start["position"] if start else 0, end):
        if broken := _break(row, before):
            logger.error("Chain %s is broken at %s and is not cut", chain_id, broken.position)
            return False
        before = bytes(row["hash"])
    return True
