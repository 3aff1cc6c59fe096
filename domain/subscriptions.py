"""What a practice has subscribed to, as the operator sets it; a payment provider will drive the same function.

Whether staff may work is never stored: the view `practice_standings` tells it from the database's clock.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain import audit, database
from domain.actors import Actor, require_operator
from domain.audit import Action
from domain.database import Row
from domain.errors import NotFound, Problems
from domain.models.columns import SubscriptionStatus
from domain.models.practices import MAX_EVENT_ID_LENGTH

MAX_PLAN_LENGTH = 40
FURTHEST = timedelta(days=36_525)  # beyond it are typing errors, and moments that Python cannot hold


class SubscriptionNoticeKind(StrEnum):
    """What an administrator should know about the subscription before, or when, it shuts the staff out."""

    TRIAL_ENDING = "TRIAL_ENDING"
    PAST_DUE = "PAST_DUE"
    CANCELED_ENDING = "CANCELED_ENDING"
    LAPSED = "LAPSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecord:
    """A notice for the tile. ends_at: when staff is shut out, or was; None where nobody wrote that down. days_left: whole days, rounded up."""

    kind: SubscriptionNoticeKind
    ends_at: datetime | None
    days_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecord:
    """Told from the database's clock. access_allowed: whether staff can sign in; access_ends_at: until when, None for no end in sight."""

    plan: str
    status: SubscriptionStatus
    trial_ends_at: datetime | None
    current_period_ends_at: datetime | None
    access_allowed: bool
    access_ends_at: datetime | None
    notice: NoticeRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is written down, whatever the clock makes of it. trial_ends_at, current_period_ends_at: of the trial; of what was paid."""

    plan: str
    status: SubscriptionStatus
    trial_ends_at: datetime | None
    current_period_ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to set; None leaves a value as it is.

    until: the end of the trial when it is TRIALING then, else of what was paid. without_end: takes the end away.
    """

    plan: str | None = None
    status: SubscriptionStatus | None = None
    until: datetime | None = None
    without_end: bool = False


# What `of_row` reads, of practice_standings t. A trial's end is worth a notice when it is a week away.
COLUMNS = """
    t.plan, t.status, t.trial_ends_at, t.current_period_ends_at, t.access_allowed, t.access_ends_at,
    CASE
        WHEN NOT t.access_allowed THEN 'LAPSED'
        WHEN t.status = 'PAST_DUE' THEN 'PAST_DUE'
        WHEN t.status = 'CANCELED' THEN 'CANCELED_ENDING'
        WHEN t.status = 'TRIALING' AND t.access_ends_at <= clock_now() + interval '168 hours' THEN 'TRIAL_ENDING'
    END AS notice,
    greatest(ceil(extract(epoch FROM t.access_ends_at - clock_now()) / 86400), 0)::int AS days_left
"""


def of_row(row: Row) -> SubscriptionRecord:
    """The subscription in a row that has `COLUMNS`."""
    notice = row["notice"] and NoticeRecord(
        kind=SubscriptionNoticeKind(row["notice"]), ends_at=row["access_ends_at"], days_left=row["days_left"] or 0
    )
    return SubscriptionRecord(
        plan=row["plan"],
        status=SubscriptionStatus(row["status"]),
        trial_ends_at=row["trial_ends_at"],
        current_period_ends_at=row["current_period_ends_at"],
        access_allowed=row["access_allowed"],
        access_ends_at=row["access_ends_at"],
        notice=notice or None,
    )


async def notice(actor: Actor) -> NoticeRecord | None:
    """What the actor's tile should say about the subscription; None for nothing, and for whoever is no administrator. Raises Unauthenticated."""
    member = actor.signed_in()
    return (await _read([member.practice_id]))[member.practice_id].notice if member.is_administrator else None


async def show(actor: Actor, practice_id: UUID) -> SubscriptionRecord:
    """What a practice's subscription stands at, for the operator. Raises Forbidden, NotFound."""
    require_operator(actor)
    found = await _read([practice_id])
    if practice_id not in found:
        raise NotFound
    return found[practice_id]


async def _read(practice_ids: Sequence[UUID]) -> dict[UUID, SubscriptionRecord]:
    rows = await database.fetch(
        f"SELECT t.practice_id, {COLUMNS} FROM practice_standings t WHERE t.practice_id = ANY($1::uuid[])",  # noqa: S608 -- a constant
        list(practice_ids),
    )
    return {row["practice_id"]: of_row(row) for row in rows}


async def change(actor: Actor, practice_id: UUID, wanted: Change, *, event_id: str | None = None) -> SubscriptionRecord:
    """Set what a practice has subscribed to; what it stands at from now on. The gate reads it with the very next request.

    event_id: the payment provider's id of what made it call; an event that was acted upon once is not again. Whoever calls this for
    a provider's event asks the provider first what holds now: events come twice, and out of order. Setting what is set already
    writes nothing. Raises Forbidden, NotFound, InputInvalid. Writes: subscription, subscription_event, audit "subscription.changed"
    with what was before.
    """
    require_operator(actor)
    async with database.transaction():
        held = await database.fetch_one(
            "SELECT *, clock_now() AS now FROM subscriptions WHERE practice_id = $1 FOR UPDATE", practice_id
        )
        if held is None:
            raise NotFound
        if event_id is None or await _is_new(event_id, practice_id):
            await _change(actor, held, wanted, event_id)
    return await show(actor, practice_id)


async def _is_new(event_id: str, practice_id: UUID) -> bool:
    problems = Problems()
    if not 1 <= len(event_id) <= MAX_EVENT_ID_LENGTH:
        problems.add(("eventId",), f"An event's id has 1 to {MAX_EVENT_ID_LENGTH} characters.")
    problems.raise_any()
    made = await database.execute(
        "INSERT INTO subscription_events (id, practice_id, received_at) VALUES ($1, $2, clock_now()) ON CONFLICT DO NOTHING",
        event_id,
        practice_id,
    )
    return bool(made)


async def _change(actor: Actor, held: Row, wanted: Change, event_id: str | None) -> None:
    before = Stored(
        plan=held["plan"],
        status=SubscriptionStatus(held["status"]),
        trial_ends_at=held["trial_ends_at"],
        current_period_ends_at=held["current_period_ends_at"],
    )
    after = _with(before, wanted)
    if after == before:
        return
    _check(after, wanted, held["now"])
    await database.execute(
        "UPDATE subscriptions SET plan = $2, status = $3, trial_ends_at = $4, current_period_ends_at = $5, updated_at = clock_now()"
        " WHERE practice_id = $1",
        held["practice_id"],
        after.plan,
        after.status.value,
        after.trial_ends_at,
        after.current_period_ends_at,
    )
    details: dict[str, object] = {"before": _plain(before), "after": _plain(after), "event": event_id}
    await audit.record(actor, Action.SUBSCRIPTION_CHANGED, practice_id=held["practice_id"], details=details)


def _with(before: Stored, wanted: Change) -> Stored:
    status = wanted.status or before.status
    is_trial = status is SubscriptionStatus.TRIALING
    trial_ends_at, paid_until = before.trial_ends_at, before.current_period_ends_at
    if wanted.until is not None or wanted.without_end:
        until = None if wanted.without_end else wanted.until
        trial_ends_at, paid_until = (until, paid_until) if is_trial else (trial_ends_at, until)
    return Stored(
        plan=before.plan if wanted.plan is None else wanted.plan,
        status=status,
        trial_ends_at=trial_ends_at,
        current_period_ends_at=paid_until,
    )


def _check(after: Stored, wanted: Change, now: datetime) -> None:
    """Refuse what cannot be meant. Raises InputInvalid."""
    problems = Problems()
    if not after.plan.strip() or len(after.plan) > MAX_PLAN_LENGTH or not after.plan.isprintable():
        problems.add(("plan",), f"A plan's name has 1 to {MAX_PLAN_LENGTH} characters.")
    if (problem := _problem_with_end(after, wanted, now)) is not None:
        problems.add(("until",), problem)
    problems.raise_any()


def _problem_with_end(after: Stored, wanted: Change, now: datetime) -> str | None:
    trial_ends_at, paid_until = after.trial_ends_at, after.current_period_ends_at
    is_wrong, problem = {
        SubscriptionStatus.TRIALING: (
            trial_ends_at is None or trial_ends_at <= now,
            "A trial needs an end that is yet to come.",
        ),
        SubscriptionStatus.ACTIVE: (
            paid_until is not None and paid_until <= now,
            "What was paid is over: say until when it is paid now.",
        ),
        SubscriptionStatus.PAST_DUE: (
            paid_until is None or paid_until > now,
            "PAST_DUE needs the moment up to which was paid, which has passed.",
        ),
        SubscriptionStatus.CANCELED: (paid_until is None, "CANCELED needs the moment up to which was paid."),
        SubscriptionStatus.EXPIRED: (wanted.until is not None, "EXPIRED is over at once, and has no end."),
    }[after.status]
    if wanted.until is not None and abs(wanted.until - now) > FURTHEST:
        return "That is more than a hundred years away."
    return problem if is_wrong else None


def _plain(stored: Stored) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(stored).items()}
