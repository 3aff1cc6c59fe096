"""What happened to one person, for an operator who is asked: events of the audit log, messages, and their tries.

Somebody who is still signing up is no user yet, and is found by the address of the sign-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import audit, audit_log, channel_pauses, database, deliveries
from domain.actors import Actor, require_operator
from domain.audit import Action
from domain.audit_log import EventRecord
from domain.channel_pauses import Pause
from domain.database import Row
from domain.deliveries import AttemptRecord, DeliveryRecord
from domain.user_support import Found

# What stops codes for many at once, and so perhaps for this person.
OF_EVERYBODY = (Action.CODE_BUDGET_USED_UP, Action.MONEY_GUARD_TRIPPED, Action.MONEY_GUARD_LIFTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """since is taken in, until is not. size: the newest so many events, and so many messages."""

    since: datetime
    until: datetime
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Events, and messages with their tries, oldest first. pauses: channels that are paused now. is_cut: there was more in the window."""

    events: list[EventRecord]
    messages: list[tuple[DeliveryRecord, list[AttemptRecord]]]
    pauses: list[Pause]
    is_cut: bool


async def of_user(actor: Actor, user: Found, canonical: str, window: Window) -> History:
    """What happened to a user; canonical: their address in its one spelling, by which they signed up.

    Raises Forbidden. Writes: audit "user.history_viewed".
    """
    require_operator(actor)
    details: dict[str, object] = {"since": window.since.isoformat(), "until": window.until.isoformat()}
    await audit.record(
        actor,
        Action.USER_HISTORY_VIEWED,
        practice_id=user.practice_id,
        subject_id=user.id,
        subject_name=user.name,
        details=details,
    )
    return await _gather(user, canonical, window)


async def of_address(actor: Actor, canonical: str, window: Window) -> History:
    """What happened to somebody who is signing up with an address. Raises Forbidden. Writes: audit "user.history_viewed"."""
    require_operator(actor)
    details: dict[str, object] = {"since": window.since.isoformat(), "until": window.until.isoformat()}
    await audit.record(actor, Action.USER_HISTORY_VIEWED, details=details)
    return await _gather(None, canonical, window)


async def _gather(user: Found | None, canonical: str, window: Window) -> History:
    sign_ups = [
        row["id"] for row in await database.fetch("SELECT id FROM sign_ups WHERE email_canonical = $1", canonical)
    ]
    events = await _events(user, sign_ups, window)
    rows = await _messages(user, sign_ups, window)
    messages = [deliveries.record(row) for row in rows]
    tries = await deliveries.tries_of([one.id for one in messages])
    return History(
        events=sorted(events, key=lambda one: (one.occurred_at, one.id))[-window.size :],
        messages=[(one, tries[one.id]) for one in reversed(messages[: window.size])],
        pauses=await channel_pauses.current(),
        is_cut=len(events) > window.size or len(messages) > window.size,
    )


# Each part reads one index for the window: the practice's by actor, by subject, and by time. Looking at a history is no part of it.
_WINDOW = f"occurred_at >= $3 AND occurred_at < $4 AND action <> '{Action.USER_HISTORY_VIEWED}'"
_NEWEST = "ORDER BY occurred_at DESC, id DESC LIMIT $5"
_EVENTS = f"""
    WITH found AS (
        (SELECT e.* FROM audit_events e WHERE $1::uuid IS NOT NULL AND practice_id = $1 AND actor_user_id = $2 AND {_WINDOW} {_NEWEST})
        UNION (SELECT e.* FROM audit_events e WHERE $1::uuid IS NOT NULL AND practice_id = $1 AND subject_user_id = $2 AND {_WINDOW} {_NEWEST})
        UNION (SELECT e.* FROM audit_events e WHERE practice_id = $1 AND action = ANY($6::text[]) AND {_WINDOW} {_NEWEST})
        UNION (SELECT e.* FROM audit_events e WHERE practice_id IS NULL AND action = ANY($6::text[]) AND {_WINDOW} {_NEWEST})
        UNION (SELECT e.* FROM audit_events e WHERE practice_id IS NULL AND details ->> 'account' = ANY($7::text[]) AND {_WINDOW} {_NEWEST})
    )
    SELECT id, occurred_at, action, actor_user_id, actor_name, subject_user_id, subject_name, session_id, ip_address, details::text AS details
    FROM found ORDER BY occurred_at DESC, id DESC LIMIT $5
"""  # noqa: S608 -- constants


async def _events(user: Found | None, sign_ups: Sequence[UUID], window: Window) -> list[EventRecord]:
    rows = await database.fetch(
        _EVENTS,
        user.practice_id if user else None,
        user.id if user else None,
        window.since,
        window.until,
        window.size + 1,
        [action.value for action in OF_EVERYBODY],
        [f"sign-up:{sign_up_id}" for sign_up_id in sign_ups],
    )
    return [audit_log.record(row) for row in rows]


_OF_USER = " WHERE d.practice_id = $1 AND d.user_id = $2"
_OF_SIGN_UPS = """
    WHERE d.user_id IS NULL AND d.subject_id IN (
        SELECT unnest($1::uuid[]) UNION
        SELECT c.id FROM security_codes c JOIN enrollments e ON e.id = c.enrollment_id WHERE e.sign_up_id = ANY($1::uuid[])
    )
"""


async def _messages(user: Found | None, sign_ups: Sequence[UUID], window: Window) -> list[Row]:
    """Newest first."""
    found = []
    if user is not None:
        found += await _messages_where(_OF_USER, [user.practice_id, user.id], window)
    if sign_ups:
        found += await _messages_where(_OF_SIGN_UPS, [list(sign_ups)], window)
    return sorted(found, key=lambda row: (row["queued_at"], row["id"]), reverse=True)


async def _messages_where(condition: str, values: Sequence[object], window: Window) -> list[Row]:
    place = len(values)
    return await database.fetch(
        deliveries.SELECT
        + condition
        + f" AND d.queued_at >= ${place + 1} AND d.queued_at < ${place + 2} ORDER BY d.queued_at DESC, d.id DESC LIMIT ${place + 3}",
        *values,
        window.since,
        window.until,
        window.size + 1,
    )
