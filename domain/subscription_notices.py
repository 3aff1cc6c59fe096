"""Telling the administrators by mail what the clock does to their subscription: that a trial ends, a payment is late, access is over.

A row of `practice_notices` is one notice about one moment, and a unique index keeps it the only one: it does not matter how many
workers look at once. Only the most urgent one that is due now is sent, so an outage of two days makes one mail of three.
"""

from datetime import timedelta
from uuid import UUID

from domain import administrators, audit, database, jobs
from domain.actors import SCHEDULE
from domain.audit import Action
from domain.database import Row
from domain.models.columns import uuid7
from domain.outbox import Kind

LIFETIME = timedelta(days=7)

# The one notice that is due to each practice now, if any, and the moment it is about. What ended a week ago is no news any more.
_DUE = """
    SELECT practice_id, kind, about FROM (
        SELECT t.practice_id,
            CASE
                WHEN NOT t.access_allowed THEN 'LAPSED'
                WHEN t.status = 'PAST_DUE' THEN 'PAST_DUE'
                WHEN t.status <> 'TRIALING' THEN NULL
                WHEN t.access_ends_at <= clock_now() + interval '24 hours' THEN 'TRIAL_ENDS_IN_1_DAY'
                WHEN t.access_ends_at <= clock_now() + interval '72 hours' THEN 'TRIAL_ENDS_IN_3_DAYS'
                WHEN t.access_ends_at <= clock_now() + interval '168 hours' THEN 'TRIAL_ENDS_IN_7_DAYS'
            END AS kind,
            coalesce(t.access_ends_at, s.updated_at) AS about
        FROM practice_standings t JOIN subscriptions s USING (practice_id)
    ) found
    WHERE kind IS NOT NULL AND (kind <> 'LAPSED' OR about > clock_now() - interval '168 hours')
"""


async def send_due() -> int:
    """Queue each notice that is due to every active administrator of its practice; how many notices. For the schedule, in any worker.

    Writes: practice_notice, deliveries, audit "subscription.notice_sent".
    """
    rows = await database.fetch(
        f"SELECT d.practice_id FROM ({_DUE}) d WHERE NOT EXISTS (SELECT 1 FROM practice_notices n"  # noqa: S608 -- constants
        " WHERE n.practice_id = d.practice_id AND n.kind = d.kind AND n.about = d.about) ORDER BY d.practice_id"
    )
    return await jobs.each([row["practice_id"] for row in rows], _send_if_due)


async def _send_if_due(practice_id: UUID) -> bool:
    async with database.transaction():
        # Told anew from the clock: it may have been paid, or gone from three days to one, since the list was read.
        made = await database.fetch_one(
            f"INSERT INTO practice_notices (id, practice_id, kind, about, queued_at)"  # noqa: S608 -- constants
            f" SELECT $1, practice_id, kind, about, clock_now() FROM ({_DUE}) d WHERE practice_id = $2 ON CONFLICT DO NOTHING"
            " RETURNING id, practice_id, kind, about",
            uuid7(),
            practice_id,
        )
        if made is None:
            return False
        await _queue(made)
    return True


async def _queue(made: Row) -> None:
    told = await administrators.mail(made["practice_id"], Kind.SUBSCRIPTION, made["id"], LIFETIME)
    details: dict[str, object] = {"kind": made["kind"], "about": made["about"].isoformat(), "administrators": told}
    await audit.record(SCHEDULE, Action.SUBSCRIPTION_NOTICE_SENT, practice_id=made["practice_id"], details=details)
