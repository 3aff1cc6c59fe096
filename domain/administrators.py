"""The people who answer for a practice, told together."""

from datetime import timedelta
from uuid import UUID

from domain import database, outbox
from domain.outbox import Kind, Message


async def mail(practice_id: UUID, kind: Kind, subject_id: UUID, lifetime: timedelta) -> int:
    """Queue a message to every active administrator of a practice, in the transaction under way; how many they are."""
    rows = await database.fetch(
        "SELECT id, clock_now() AS now FROM users"
        " WHERE practice_id = $1 AND status = 'ACTIVE' AND access_level = 'ADMINISTRATOR' ORDER BY id",
        practice_id,
    )
    await outbox.queue(
        *(
            Message(
                kind=kind,
                subject_id=subject_id,
                expires_at=row["now"] + lifetime,
                practice_id=practice_id,
                user_id=row["id"],
            )
            for row in rows
        )
    )
    return len(rows)
