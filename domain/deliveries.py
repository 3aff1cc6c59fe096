"""Messages and what became of them, as administrators and operators see them: never a secret, never what a message says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import addresses, channel_pauses, database
from domain.actors import Actor, Member, require_operator
from domain.channel_pauses import Pause
from domain.database import Row
from domain.delivery_faults import Fault
from domain.errors import InputInvalid, InputProblem, NotFound
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Kind

DEAD = (DeliveryStatus.BOUNCED, DeliveryStatus.FAILED, DeliveryStatus.CANCELED)
# Not to the address that the user has: to one that is still to be proved, or to the one before.
ELSEWHERE = (Kind.EMAIL_CHANGE, Kind.EMAIL_CHANGED, Kind.ACCOUNT_CHANGE)

Place = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """A message and how far it has got. kind: as the row has it, which a newer version may have written. recipient: see `_recipient`.

    next_try_at: None once it has ended, and while it is being sent. redelivery_of: the dead one that this one was sent in place of.
    fault: whose it is that it did not arrive, or not yet.
    """

    id: UUID
    practice_id: UUID | None
    kind: str
    channel: Channel
    status: DeliveryStatus
    attempts: int
    user_id: UUID | None
    user_name: str | None
    recipient: str | None
    queued_at: datetime
    sent_at: datetime | None
    next_try_at: datetime | None
    problem: str | None
    redelivery_of: UUID | None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One try. finished_at, outcome: None while it is under way, or when the worker ended without a word."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: DeliveryStatus | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which messages. Empty sequences: any. user_id: whom they are for. By when they were queued: since is taken in, until is not.

    For operators alone: faults; email: an address that they went to, or whose holder they are for; phone_ends: the last digits of a number.
    """

    statuses: Sequence[DeliveryStatus] = ()
    kinds: Sequence[str] = ()
    channels: Sequence[Channel] = ()
    user_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    faults: Sequence[Fault] = ()
    email: str | None = None
    phone_ends: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Messages, newest first, and whether there are older ones."""

    deliveries: list[DeliveryRecord]
    has_next: bool


COLUMNS = """
    d.id, d.practice_id, d.kind, d.channel, d.status, d.attempts, d.user_id, d.recipient, d.queued_at, d.sent_at, d.problem,
    d.redelivery_of, d.fault, CASE WHEN d.status IN ('QUEUED', 'RETRYING') THEN d.due_at END AS next_try_at
"""
SELECT = f"""
    SELECT {COLUMNS}, rtrim(u.first_name || ' ' || u.last_name) AS user_name, u.email AS user_email
    FROM deliveries d LEFT JOIN users u ON u.id = d.user_id
"""  # noqa: S608 -- a constant
# With "$4 IS NULL OR" in front, a plan that PostgreSQL keeps for every value cannot use an index on the user.
_OF_ANYBODY = "$4::uuid IS NULL"
_OF_ONE = "d.user_id = $4::uuid"
_FILTER = """
    WHERE (cardinality($1::text[]) = 0 OR d.status = ANY($1)) AND (cardinality($2::text[]) = 0 OR d.kind = ANY($2))
        AND (cardinality($3::text[]) = 0 OR d.channel = ANY($3)) AND {whose}
        AND ($5::timestamptz IS NULL OR d.queued_at >= $5) AND ($6::timestamptz IS NULL OR d.queued_at < $6)
        AND ($7::timestamptz IS NULL OR (d.queued_at, d.id) < ($7, $8::uuid))
"""
_ORDER = " ORDER BY d.queued_at DESC, d.id DESC LIMIT $9"


def _filter(wanted: Filter) -> str:
    return _FILTER.format(whose=_OF_ONE if wanted.user_id is not None else _OF_ANYBODY)


def record(row: Row) -> DeliveryRecord:
    """A row with the columns above, and user_name and user_email."""
    values = dict(row)
    values["recipient"] = _recipient(row, values.pop("user_email"))
    values["fault"] = Fault(row["fault"]) if row["fault"] else None
    return DeliveryRecord(**values | {"channel": Channel(row["channel"]), "status": DeliveryStatus(row["status"])})


def _recipient(row: Row, own_address: str | None) -> str | None:
    """Where it went or goes, as far as others may see: a user's address, which the tile shows too; of numbers the last digits.

    An address that somebody only wants is theirs alone until it is proved. None where that is settled when it is sent.
    """
    known: str | None = row["recipient"]
    if row["channel"] != Channel.EMAIL:
        return addresses.masked_phone(known) if known else None
    if row["kind"] in ELSEWHERE:
        return addresses.masked_email(known) if known else None
    return known or own_address


async def page(actor: Actor, wanted: Filter, *, size: int, after: Place | None) -> Page:
    """Messages of the actor's practice, newest first, at most `size` of them, from the newest or after a place.

    Raises Unauthenticated, Forbidden.
    """
    member = actor.administrator()
    # The practice is no parameter that may be left out here: without it nothing is read.
    rows = await database.fetch(
        SELECT + _filter(wanted) + " AND d.practice_id = $10" + _ORDER,
        *_values(wanted, after),
        size + 1,
        member.practice_id,
    )
    return Page(deliveries=[record(row) for row in rows[:size]], has_next=len(rows) > size)


async def find(actor: Actor, delivery_id: UUID) -> DeliveryRecord | None:
    """A message of the actor's practice; None when there is none, or for whoever may not see it. Raises Unauthenticated."""
    member = actor.signed_in()
    if not member.is_administrator:
        return None
    row = await database.fetch_one(SELECT + " WHERE d.practice_id = $1 AND d.id = $2", member.practice_id, delivery_id)
    return record(row) if row else None


async def attempts_of(member: Member, delivery_ids: Sequence[UUID]) -> dict[UUID, list[AttemptRecord]]:
    """The tries of messages of the member's practice, first one first; nothing for whoever is no administrator."""
    found: dict[UUID, list[AttemptRecord]] = {delivery_id: [] for delivery_id in delivery_ids}
    if not member.is_administrator:
        return found
    rows = await database.fetch(
        _ATTEMPTS + " AND d.practice_id = $2 ORDER BY a.number, a.started_at",
        list(delivery_ids),
        member.practice_id,
    )
    for row in rows:
        found[row["delivery_id"]].append(_attempt(row))
    return found


_ATTEMPTS = """
    SELECT a.delivery_id, a.number, a.started_at, a.finished_at, a.outcome, a.detail
    FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE d.id = ANY($1::uuid[])
"""


async def tries_of(delivery_ids: Sequence[UUID]) -> dict[UUID, list[AttemptRecord]]:
    """The tries of messages, first one first, for whoever was let see these messages."""
    found: dict[UUID, list[AttemptRecord]] = {delivery_id: [] for delivery_id in delivery_ids}
    for row in await database.fetch(_ATTEMPTS + " ORDER BY a.number, a.started_at", list(delivery_ids)):
        found[row["delivery_id"]].append(_attempt(row))
    return found


def _attempt(row: Row) -> AttemptRecord:
    return AttemptRecord(
        number=row["number"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=DeliveryStatus(row["outcome"]) if row["outcome"] else None,
        detail=row["detail"],
    )


# -- for the operator ------------------------------------------------------------------------------------------------------


async def newest(actor: Actor, wanted: Filter, *, practice_id: UUID | None, size: int) -> list[DeliveryRecord]:
    """The newest messages of a practice, or of all and of none, for an operator. Raises Forbidden, InputInvalid (the address)."""
    require_operator(actor)
    if wanted.user_id is not None and practice_id is None:  # a person's messages are found by way of the practice's
        user = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1", wanted.user_id)
        practice_id = user["practice_id"] if user is not None else None
    rows = await database.fetch(
        SELECT + _filter(wanted) + _FOR_OPERATORS + _ORDER,
        *_values(wanted, None),
        size,
        practice_id,
        [fault.value for fault in wanted.faults],
        _canonical(wanted.email) if wanted.email is not None else None,
        wanted.phone_ends,
    )
    return [record(row) for row in rows]


def _canonical(address: str) -> str:
    try:
        return addresses.canonical_email(address)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None


# Where a message went is known once it was sent. Until then a mail goes to its person's address, and a code to the phone of its row.
_FOR_OPERATORS = """
    AND ($10::uuid IS NULL OR d.practice_id = $10) AND (cardinality($11::text[]) = 0 OR d.fault = ANY($11))
    AND ($12::text IS NULL OR d.channel = 'EMAIL' AND lower(d.recipient) = $12 OR u.email_canonical = $12
        OR d.recipient IS NULL AND d.kind IN ('verify_email', 'sign_up_known')
            AND EXISTS (SELECT FROM sign_ups s WHERE s.id = d.subject_id AND s.email_canonical = $12))
    AND ($13::text IS NULL OR d.channel <> 'EMAIL' AND right(d.recipient, length($13)) = $13
        OR d.kind = 'security_code' AND EXISTS (
            SELECT FROM security_codes c WHERE c.id = d.subject_id AND right(c.phone, length($13)) = $13))
"""


async def paused(actor: Actor) -> list[Pause]:
    """The channels that nothing is sent by but a probe a minute, for an operator. Raises Forbidden."""
    require_operator(actor)
    return await channel_pauses.current()


async def show(actor: Actor, delivery_id: UUID) -> tuple[DeliveryRecord, list[AttemptRecord]]:
    """One message with its tries, for an operator. Raises Forbidden, NotFound."""
    require_operator(actor)
    row = await database.fetch_one(SELECT + " WHERE d.id = $1", delivery_id)
    if row is None:
        raise NotFound
    return record(row), (await tries_of([delivery_id]))[delivery_id]


def _values(wanted: Filter, after: Place | None) -> tuple[object, ...]:
    return (
        [status.value for status in wanted.statuses],
        list(wanted.kinds),
        [channel.value for channel in wanted.channels],
        wanted.user_id,
        wanted.since,
        wanted.until,
        *(after or (None, None)),
    )
