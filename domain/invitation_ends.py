"""Invitations that are about to end: the person is reminded once, and administrators are told in one mail a day.

In the same look they are told of those that ended in another way than by their doing: declined, or the address went to an account.

Which ones have been told of is kept beside the link that it was about, and a fresh link begins anew. So it does not matter how many
workers look at once, and after an outage what is still of use is done late.
"""

from datetime import timedelta
from uuid import UUID

from domain import administrators, audit, database, jobs, outbox
from domain.actors import SCHEDULE
from domain.audit import Action, Entry
from domain.database import Row
from domain.outbox import Kind, Message

AT_ONCE = 200
SUMMARY_LIFETIME = timedelta(hours=24)  # the next day has its own
SUMMARY_HOUR = 7  # in the practice's time zone, so that one mail has all of a day's

# What is still open, and whose link was made to live for so long that its mail may lie forgotten.
_OPEN = "i.state = 'PENDING' AND w.status = 'INVITED' AND i.expires_at - i.last_send_at >= interval '4 days'"
# Three days, since it is told once a day: whoever reads it has two days left.
ABOUT_TO_END = f"{_OPEN} AND i.expires_at > clock_now() AND i.expires_at <= clock_now() + interval '72 hours'"

# Nobody is reminded of a mail that did not arrive, of a link that is as good as over, or of a practice that lets nobody in.
_TO_REMIND = f"""
    FROM invitations i JOIN users w ON w.id = i.user_id JOIN deliveries d ON d.id = i.delivery_id
        JOIN practice_standings t ON t.practice_id = i.practice_id
    WHERE {_OPEN} AND i.reminder_id IS NULL AND d.status IN ('SENT', 'DELIVERED') AND t.access_allowed
        AND i.expires_at > clock_now() + interval '1 hour' AND i.expires_at <= clock_now() + interval '48 hours'
"""
# Ended, not by an administrator, and still to be told. Whoever was invited is on the tile, and can be sent another.
_ENDED = "i.state = 'REVOKED' AND i.end_reason IS NOT NULL AND w.status = 'INVITED' AND w.removed_at IS NULL"
_TO_SUMMARIZE = f"""
    FROM practice_standings t WHERE t.practice_id = p.id AND t.access_allowed
        AND coalesce(p.invitations_summarized_on < (clock_now() AT TIME ZONE p.time_zone)::date, true)
        AND extract(hour FROM clock_now() AT TIME ZONE p.time_zone) >= {SUMMARY_HOUR}
        AND (EXISTS (SELECT FROM invitations i JOIN users w ON w.id = i.user_id
                WHERE i.practice_id = p.id AND {ABOUT_TO_END} AND i.summarized_at IS NULL)
            OR EXISTS (SELECT FROM invitations i JOIN users w ON w.id = i.user_id
                WHERE i.practice_id = p.id AND {_ENDED} AND i.summarized_at IS NULL))
"""  # noqa: S608 -- constants


async def remind_due() -> int:
    """Queue a reminder to each invited person whose link ends within two days; of how many practices. For the schedule, in any worker.

    It carries the link that the person has. No allowance is used up by it: a link has one reminder, and links are allowed for.
    Writes: invitations, deliveries, audit "invitation.reminded".
    """
    rows = await database.fetch(f"SELECT DISTINCT i.practice_id {_TO_REMIND} ORDER BY i.practice_id")
    return await jobs.each([row["practice_id"] for row in rows], _remind)


async def _remind(practice_id: UUID) -> bool:
    reminded = 0
    while some := await _remind_some(practice_id):
        reminded += some
    return reminded > 0


async def _remind_some(practice_id: UUID) -> int:
    async with database.transaction():
        # One that is being resent, accepted or revoked this very moment is left alone.
        rows = await database.fetch(
            f"SELECT i.id, i.user_id, i.expires_at, rtrim(w.first_name || ' ' || w.last_name) AS name {_TO_REMIND}"
            " AND i.practice_id = $1 ORDER BY i.id LIMIT $2 FOR UPDATE OF i SKIP LOCKED",
            practice_id,
            AT_ONCE,
        )
        if rows:
            await _queue(practice_id, rows)
    return len(rows)


async def _queue(practice_id: UUID, rows: list[Row]) -> None:
    ids = await outbox.queue(
        *(
            Message(
                kind=Kind.INVITATION_REMINDER,
                subject_id=row["id"],
                expires_at=row["expires_at"],
                practice_id=practice_id,
                user_id=row["user_id"],
            )
            for row in rows
        )
    )
    await database.execute(
        "UPDATE invitations i SET reminder_id = r.reminder_id FROM unnest($1::uuid[], $2::uuid[]) AS r (id, reminder_id) WHERE i.id = r.id",
        [row["id"] for row in rows],
        ids,
    )
    entries = [
        Entry(action=Action.INVITATION_REMINDED, subject_id=row["user_id"], subject_name=row["name"]) for row in rows
    ]
    await audit.record_all(SCHEDULE, entries, practice_id=practice_id)


async def summarize_due() -> int:
    """Tell the administrators of each practice which invitations are about to end, or have ended; of how many practices. For the schedule.

    One mail a day to each about either, with all of them, and only when there is one among them that was not told of yet. In any worker.
    Writes: practice, invitations, deliveries, audit "invitation.summary_sent".
    """
    rows = await database.fetch(
        f"SELECT p.id FROM practices p WHERE EXISTS (SELECT {_TO_SUMMARIZE}) ORDER BY p.id"  # noqa: S608 -- constants
    )
    return await jobs.each([row["id"] for row in rows], _summarize)


async def _summarize(practice_id: UUID) -> bool:
    async with database.transaction():
        changed = await database.execute(
            "UPDATE practices p SET invitations_summarized_on = (clock_now() AT TIME ZONE p.time_zone)::date"  # noqa: S608 -- constants
            f" {_TO_SUMMARIZE} AND p.id = $1",
            practice_id,
        )
        if not changed:
            return False
        number = await database.execute(
            f"""
            UPDATE invitations SET summarized_at = clock_now() WHERE id IN (
                SELECT i.id FROM invitations i JOIN users w ON w.id = i.user_id
                WHERE i.practice_id = $1 AND {ABOUT_TO_END} ORDER BY i.id FOR UPDATE OF i
            )
            """,  # noqa: S608 -- constants
            practice_id,
        )
        ended = await _note_ended(practice_id)
        told = 0
        if number:
            told = await administrators.mail(practice_id, Kind.INVITATIONS_ENDING, practice_id, SUMMARY_LIFETIME)
        if ended:
            told = await administrators.mail(practice_id, Kind.INVITATIONS_ENDED, practice_id, SUMMARY_LIFETIME)
        details: dict[str, object] = {"invitations": number, "ended": ended, "administrators": told}
        await audit.record(SCHEDULE, Action.INVITATION_SUMMARY_SENT, practice_id=practice_id, details=details)
    return True


async def _note_ended(practice_id: UUID) -> int:
    """Mark what has ended and was not told of; how many. The mail lists what was marked when it was queued, or later."""
    return await database.execute(
        f"""
        UPDATE invitations SET summarized_at = clock_now() WHERE id IN (
            SELECT i.id FROM invitations i JOIN users w ON w.id = i.user_id
            WHERE i.practice_id = $1 AND {_ENDED} AND i.summarized_at IS NULL ORDER BY i.id FOR UPDATE OF i
        )
        """,  # noqa: S608 -- constants
        practice_id,
    )


async def tell_ended(practice_id: UUID) -> int:
    """Tell a practice's administrators at once which invitations have ended, in the transaction under way; how many they are."""
    if not await _note_ended(practice_id):
        return 0
    return await administrators.mail(practice_id, Kind.INVITATIONS_ENDED, practice_id, SUMMARY_LIFETIME)
