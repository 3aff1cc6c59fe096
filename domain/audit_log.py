"""Reading the audit trail: page by page for administrators, as a stream for the operator."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import audit, database
from domain.actors import Actor
from domain.audit import Action
from domain.audit_chain import NO_PRACTICE, require_chain
from domain.database import Row

EXPORT_BATCH = 1000

# What an export has of each event, in this order.
COLUMNS = (
    "id",
    "occurred_at",
    "action",
    "result",
    "actor_user_id",
    "actor_name",
    "subject_user_id",
    "subject_name",
    "session_id",
    "ip_address",
    "details",
)

Place = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event. details: a JSON object's text."""

    id: UUID
    occurred_at: datetime
    action: str
    actor_user_id: UUID | None
    actor_name: str
    subject_user_id: UUID | None
    subject_name: str | None
    session_id: UUID | None
    ip_address: str | None
    details: str

    @property
    def is_refusal(self) -> bool:
        """Whether it says that something did not happen."""
        return self.action.endswith("refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events. Empty actions: any. user_id: as actor or as subject. since is taken in, until is not."""

    actions: Sequence[Action] = ()
    user_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events, newest first, and whether there are older ones."""

    events: list[EventRecord]
    has_next: bool


_SELECT = """
    SELECT id, occurred_at, action, actor_user_id, actor_name, subject_user_id, subject_name, session_id, ip_address,
        details::text AS details
    FROM audit_events
"""
# With "$3 IS NULL OR" in front, a plan that PostgreSQL keeps for every value cannot use the indexes on the two columns.
_OF_ANYBODY = "$3::uuid IS NULL"
_OF_ONE = "(actor_user_id = $3::uuid OR subject_user_id = $3::uuid)"
_FILTER = """
    WHERE practice_id = $1 AND (cardinality($2::text[]) = 0 OR action = ANY($2)) AND {whose}
        AND ($4::timestamptz IS NULL OR occurred_at >= $4) AND ($5::timestamptz IS NULL OR occurred_at < $5)
"""


def _filter(wanted: Filter) -> str:
    return _FILTER.format(whose=_OF_ONE if wanted.user_id is not None else _OF_ANYBODY)


def record(row: Row) -> EventRecord:
    """A row with the columns of `_SELECT`."""
    return EventRecord(**row)


async def page(actor: Actor, wanted: Filter, *, size: int, after: Place | None) -> Page:
    """Events of the actor's practice, newest first, at most `size` of them, from the newest or after a place.

    Raises Unauthenticated, Forbidden. Writes: audit "audit_log.viewed", once a look: turning the page is the same look.
    """
    member = actor.administrator()
    rows = await database.fetch(
        _SELECT
        + _filter(wanted)
        + " AND ($6::timestamptz IS NULL OR (occurred_at, id) < ($6, $7::uuid)) ORDER BY occurred_at DESC, id DESC LIMIT $8",
        member.practice_id,
        [action.value for action in wanted.actions],
        wanted.user_id,
        wanted.since,
        wanted.until,
        *(after or (None, None)),
        size + 1,
    )
    if after is None:
        await audit.record(actor, Action.AUDIT_LOG_VIEWED)
    return Page(events=[record(row) for row in rows[:size]], has_next=len(rows) > size)


async def find(actor: Actor, event_id: UUID) -> EventRecord | None:
    """An event of the actor's practice; None when there is none, or for whoever may not read the trail. Raises Unauthenticated."""
    member = actor.signed_in()
    if not member.is_administrator:
        return None
    row = await database.fetch_one(_SELECT + " WHERE practice_id = $1 AND id = $2", member.practice_id, event_id)
    return record(row) if row else None


async def export(actor: Actor, practice_id: UUID, wanted: Filter) -> AsyncIterator[list[EventRecord]]:
    """All events of a practice, oldest first, a batch at a time, for an operator. practice_id: or NO_PRACTICE, for those of none.

    Raises Forbidden, NotFound. Writes: audit "audit_log.exported".
    """
    await require_chain(actor, practice_id)
    window = {"since": wanted.since, "until": wanted.until}
    details: dict[str, object] = {name: moment.isoformat() if moment else None for name, moment in window.items()}
    of_none = practice_id == NO_PRACTICE
    await audit.record(actor, Action.AUDIT_LOG_EXPORTED, practice_id=None if of_none else practice_id, details=details)
    chosen = _filter(wanted)
    if of_none:
        chosen = chosen.replace("practice_id = $1", "practice_id IS NULL AND $1::uuid IS NOT NULL")
    after: Place | None = None
    while True:
        rows = await database.fetch(
            _SELECT
            + chosen
            + " AND ($6::timestamptz IS NULL OR (occurred_at, id) > ($6, $7::uuid)) ORDER BY occurred_at, id LIMIT $8",
            practice_id,
            [action.value for action in wanted.actions],
            wanted.user_id,
            wanted.since,
            wanted.until,
            *(after or (None, None)),
            EXPORT_BATCH,
        )
        if not rows:
            return
        yield [record(row) for row in rows]
        after = (rows[-1]["occurred_at"], rows[-1]["id"])


def as_json(record: EventRecord) -> dict[str, object]:
    """An event as a line of JSON Lines has it."""
    return {
        "id": str(record.id),
        "occurred_at": record.occurred_at.isoformat(),
        "action": record.action,
        "result": "REFUSED" if record.is_refusal else "SUCCEEDED",
        "actor_user_id": str(record.actor_user_id) if record.actor_user_id else None,
        "actor_name": record.actor_name,
        "subject_user_id": str(record.subject_user_id) if record.subject_user_id else None,
        "subject_name": record.subject_name,
        "session_id": str(record.session_id) if record.session_id else None,
        "ip_address": record.ip_address,
        "details": json.loads(record.details),
    }
