"""A call after a text with a code that did not arrive: the same code, counted on, and once.

What makes it once is one column of the code's row, moved by a conditional update that also looks whether the code is still good. So
workers, the carrier's reports and the person who types the code may all come at the same time. It is moved first, before anything is
taken for the call, so that those who come too late take nothing; and back, if the call could not be queued. A process that ends in
between makes no call; the person can ask for one.
"""

import json
import logging
from uuid import UUID

from domain import audit, challenges, code_budgets, database, guesses, jobs, outbox, security_codes
from domain.actors import SCHEDULE
from domain.audit import Action
from domain.database import Row
from domain.errors import LimitReached
from domain.login_settings import DEFAULTS
from domain.models.columns import Channel, PhoneChannel
from domain.outbox import Kind, Message
from domain.security_codes import Holder

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
AT_ONCE = 100

# A text that failed; one that could not be handed over, for whatever reason the row tells; one that nobody heard of any more,
# where the carrier reports. $1: whether it does. $2: seconds. $3, $4: the product's settings, for people who have none yet.
_STILL_WANTED = f"""
    d.subject_id = c.id AND d.kind = 'security_code' AND d.channel = 'SMS' AND c.channel = 'SMS'
    AND c.consumed_at IS NULL AND c.superseded_at IS NULL AND c.expires_at > clock_now()
    AND c.attempts < {security_codes.ATTEMPTS}
    AND (d.status IN ('FAILED', 'BOUNCED')
        OR (d.status = 'RETRYING' AND d.problem IS NOT NULL AND d.queued_at <= clock_now() - $2::float8 * interval '1 second')
        OR ($1::bool AND d.status = 'SENT' AND d.sent_at <= clock_now() - $2::float8 * interval '1 second'))
    AND coalesce(l.voice_fallback, $3::bool) AND coalesce(l.phone_channels, $4::jsonb) @> '["VOICE"]'
"""
_WANTED = f"c.fallback_at IS NULL AND {_STILL_WANTED}"
_FROM = "deliveries d LEFT JOIN login_settings_in_force l ON l.user_id = d.user_id"


class _NotWanted(Exception):
    """The code was used or replaced, or its text arrived, after the call was claimed: what was taken for the call goes back."""


async def run_due(*, is_reported: bool) -> int:
    """Follow every text that did not arrive by a call; how many. is_reported: whether carriers tell what became of their texts.

    Raises ExceptionGroup with what went wrong, once all the others are done. Writes: security_code.fallback_at, delivery, audit
    "security_code.sent".
    """
    found = await database.fetch(
        f"SELECT c.id FROM security_codes c, {_FROM} WHERE {_WANTED} ORDER BY c.expires_at LIMIT {AT_ONCE}",  # noqa: S608 -- constants
        *_values(is_reported=is_reported),
    )

    async def work(row: Row) -> bool:
        return await _call(row["id"], is_reported=is_reported)

    return await jobs.each(found, work)


async def follow(delivery_id: UUID) -> bool:
    """Follow one text by a call at once if it failed and a call is wanted; whether one was sent. For a carrier's report."""
    found = await database.fetch_one(
        f"SELECT c.id FROM security_codes c, {_FROM} WHERE d.id = $5 AND {_WANTED}",  # noqa: S608 -- constants
        *_values(is_reported=False),
        delivery_id,
    )
    return found is not None and await _call(found["id"], is_reported=False)


async def arrived(delivery_id: UUID) -> bool:
    """Call back the other way of a code that arrived by this one, as far as it still waits; whether there was any."""
    changed = await database.execute(
        """
        UPDATE deliveries o SET status = 'CANCELED', problem = 'The code arrived another way.' FROM deliveries d
        WHERE d.id = $1 AND d.kind = 'security_code' AND o.kind = 'security_code' AND o.subject_id = d.subject_id AND o.id <> d.id
            AND o.status IN ('QUEUED', 'RETRYING')
        """,
        delivery_id,
    )
    return bool(changed)


def _values(*, is_reported: bool) -> tuple[object, ...]:
    channels = json.dumps([channel.value for channel in DEFAULTS.phone_channels])
    return is_reported, PATIENCE_SECONDS, DEFAULTS.voice_fallback, channels


async def _call(code_id: UUID, *, is_reported: bool) -> bool:
    row = await database.fetch_one(_HOLDER, code_id)
    if row is None:
        return False
    holder = _holder(row)
    if not await _claim(code_id, is_reported=is_reported):
        return False
    with database.watched() as act:
        try:
            await _send(row, holder, is_reported=is_reported)
        except (LimitReached, guesses.Locked):
            return False
        except _NotWanted:
            await _release(code_id)
            return False
        except BaseException:
            if not act.may_be_committed:
                await database.finished(_release(code_id))
            raise
    return True


async def _claim(code_id: UUID, *, is_reported: bool) -> bool:
    """Whether the call is this caller's to make: no other was first, and the code is still good."""
    claimed = await database.execute(
        f"UPDATE security_codes c SET fallback_at = clock_now() FROM {_FROM} WHERE c.id = $5 AND {_WANTED}",  # noqa: S608 -- constants
        *_values(is_reported=is_reported),
        code_id,
    )
    return bool(claimed)


async def _release(code_id: UUID) -> None:
    """Let the call be made later."""
    try:
        await database.execute("UPDATE security_codes SET fallback_at = NULL WHERE id = $1", code_id)
    except Exception as error:  # noqa: BLE001 -- what kept the call from being made is raised
        logger.warning("A call cannot be made later: %s", type(error).__name__)


def _holder(row: Row) -> Holder:
    if row["purpose"] is not None:
        return challenges.holder({**row, "id": row["user_id"]})
    return Holder(
        account_key=row["account_key"], practice_id=row["practice_id"], user_id=row["user_id"], name=row["name"]
    )


async def _send(row: Row, holder: Holder, *, is_reported: bool) -> None:
    """Queue the call. Raises LimitReached, _NotWanted, and Locked when the code could not be given."""
    await guesses.check(holder.counter, holder.limit)
    sending = await code_budgets.prepare(
        SCHEDULE,
        phone=row["phone"],
        channel=PhoneChannel.VOICE,
        account_key=holder.account_key,
        practice_id=holder.practice_id,
        is_proved=row["is_proved"],
    )
    async with code_budgets.spending(SCHEDULE, sending), database.transaction():
        is_wanted = await database.fetch_one(
            f"SELECT 1 AS one FROM security_codes c, {_FROM} WHERE c.id = $5 AND {_STILL_WANTED} FOR NO KEY UPDATE OF c",  # noqa: S608 -- constants
            *_values(is_reported=is_reported),
            row["id"],
        )
        if is_wanted is None:
            raise _NotWanted
        await outbox.queue(
            Message(
                kind=Kind.SECURITY_CODE,
                channel=Channel.VOICE,
                subject_id=row["id"],
                expires_at=row["expires_at"],
                practice_id=holder.practice_id,
                user_id=holder.user_id,
            )
        )
        await audit.record(
            SCHEDULE,
            Action.CODE_SENT,
            practice_id=holder.practice_id,
            subject_id=holder.user_id,
            subject_name=holder.name,
            details={"channel": Channel.VOICE.value, "reason": "the text did not arrive"},
        )


_HOLDER = """
    SELECT c.id, c.phone, c.expires_at, u.practice_id, u.id AS user_id,
        coalesce(rtrim(u.first_name || ' ' || u.last_name), rtrim(s.first_name || ' ' || s.last_name)) AS name,
        coalesce('user:' || u.id, 'sign-up:' || s.id) AS account_key, h.purpose,
        c.challenge_id IS NOT NULL AND c.phone = u.phone IS TRUE AS is_proved
    FROM security_codes c LEFT JOIN enrollments e ON e.id = c.enrollment_id LEFT JOIN invitations i ON i.id = e.invitation_id
        LEFT JOIN sign_ups s ON s.id = e.sign_up_id LEFT JOIN challenges h ON h.id = c.challenge_id
        LEFT JOIN users u ON u.id = coalesce(i.user_id, h.user_id)
    WHERE c.id = $1
"""
