"""Telling people by mail what happened with their account, so that they notice what was not their doing."""

from datetime import timedelta
from uuid import UUID

from domain import database, outbox
from domain.outbox import Kind, Message, Notice

LIFETIME = timedelta(hours=24)


async def tell(practice_id: UUID | None, user_id: UUID, notice: Notice) -> None:
    """Queue a notice to a user, in the transaction under way. For an id that no user has, one that comes to nothing."""
    await outbox.queue(
        Message(
            kind=Kind.NOTICE,
            subject_id=user_id,
            user_id=user_id,
            practice_id=practice_id,
            notice=notice,
            expires_at=await database.now() + LIFETIME,
        )
    )
