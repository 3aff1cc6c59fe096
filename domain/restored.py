"""What an operator ends after a database was restored from a backup: the messages that were open in it, and everybody's ways in.

A backup knows nothing of what happened after it was made. What it shows as waiting was most likely sent, and sessions that it shows as open
may have been ended since, perhaps because a device was stolen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import audit, database, outbox, user_support
from domain.actors import Actor, require_operator
from domain.audit import Action

CANCELED = "The operator called it back: "
END_REASON = "ended by operator"


@dataclass(frozen=True, slots=True)
class Canceled:
    """How many open messages were called back, and how many a worker has in hand just now, which are left to it."""

    count: int
    in_hand: int


async def cancel_open(actor: Actor, queued_before: datetime, raw_reason: str) -> Canceled:
    """Call back every message that was queued before a moment and is still open, of all practices, for an operator.

    reason: administrators read it with each message, and in the trail; 1 to 500 characters. Practice by practice, so that it may be
    broken off and called again. Raises Forbidden, InputInvalid. Writes: deliveries, audit "deliveries.canceled" for each practice.
    """
    require_operator(actor)
    reason = user_support.checked_reason(raw_reason)
    practices = await database.fetch(
        "SELECT DISTINCT practice_id FROM deliveries WHERE status IN ('QUEUED', 'RETRYING', 'SENDING') AND queued_at < $1"
        " ORDER BY practice_id",
        queued_before,
    )
    count = 0
    for row in practices:
        count += await _cancel_of(actor, row["practice_id"], queued_before, reason)
    left = await database.fetch_one(
        "SELECT count(*) AS count FROM deliveries WHERE status = 'SENDING' AND due_at > clock_now() AND queued_at < $1",
        queued_before,
    )
    return Canceled(count, left["count"] if left else 0)


async def _cancel_of(actor: Actor, practice_id: UUID | None, queued_before: datetime, reason: str) -> int:
    async with database.transaction():
        count = await database.execute(
            """
            UPDATE deliveries SET status = 'CANCELED', problem = $3, lease_owner = NULL, awaited_key_id = NULL
            WHERE practice_id IS NOT DISTINCT FROM $1 AND queued_at < $2
                AND (status IN ('QUEUED', 'RETRYING') OR status = 'SENDING' AND due_at <= clock_now())
            """,
            practice_id,
            queued_before,
            (CANCELED + reason)[: outbox.MAX_PROBLEM_LENGTH],
        )
        if count:
            details: dict[str, object] = {
                "count": count,
                "queued_before": queued_before.isoformat(),
                "reason": reason,
            }
            await audit.record(actor, Action.DELIVERIES_CANCELED, practice_id=practice_id, details=details)
    return count


@dataclass(frozen=True, slots=True)
class SignedOut:
    """How many sessions were ended and how many devices are no longer trusted."""

    sessions: int
    devices: int


async def sign_everybody_out(actor: Actor, raw_reason: str) -> SignedOut:
    """End every session, trusted device, challenge and link to a new password or address, of all practices, for an operator.

    Everybody signs in again, with password and code. reason: for the trail, 1 to 500 characters. Practice by practice, so that it may be
    broken off and called again. Raises Forbidden, InputInvalid. Writes: sessions, devices, challenges, security_codes, password_resets,
    email_changes, audit "sessions.all_ended" for each practice where there was one.
    """
    require_operator(actor)
    reason = user_support.checked_reason(raw_reason)
    practices = await database.fetch("SELECT id FROM practices ORDER BY id")
    found = [await _sign_out(actor, row["id"], reason) for row in practices]
    return SignedOut(sum(one.sessions for one in found), sum(one.devices for one in found))


_ENDINGS: Sequence[str] = (
    """
    UPDATE challenges SET ended_at = clock_now() WHERE ended_at IS NULL AND answered_at IS NULL AND user_id IN ({users})
    """,
    """
    UPDATE security_codes SET superseded_at = clock_now() WHERE consumed_at IS NULL AND superseded_at IS NULL
        AND challenge_id IN (SELECT id FROM challenges WHERE user_id IN ({users}))
    """,
    """
    UPDATE password_resets SET superseded_at = clock_now() WHERE used_at IS NULL AND superseded_at IS NULL AND user_id IN ({users})
    """,
    """
    UPDATE email_changes SET superseded_at = clock_now() WHERE confirmed_at IS NULL AND superseded_at IS NULL AND user_id IN ({users})
    """,
)
_USERS = "SELECT id FROM users WHERE practice_id = $1"


async def _sign_out(actor: Actor, practice_id: UUID, reason: str) -> SignedOut:
    async with database.transaction():  # devices before sessions, as everybody locks them
        devices = await database.execute(
            f"UPDATE devices SET forgotten_at = clock_now() WHERE forgotten_at IS NULL AND user_id IN ({_USERS})",  # noqa: S608 -- a constant
            practice_id,
        )
        sessions = await database.execute(
            f"UPDATE sessions SET ended_at = clock_now(), end_reason = $2 WHERE ended_at IS NULL AND user_id IN ({_USERS})",  # noqa: S608 -- a constant
            practice_id,
            END_REASON,
        )
        ended = [await database.execute(sql.format(users=_USERS), practice_id) for sql in _ENDINGS]
        if sessions or devices or any(ended):
            await audit.record(
                actor,
                Action.ALL_SIGNED_OUT,
                practice_id=practice_id,
                details={"sessions": sessions, "devices": devices, "reason": reason},
            )
    return SignedOut(sessions, devices)
