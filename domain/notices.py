"""Telling people by mail what happened with their account, so that they notice what was not their doing."""

from datetime import timedelta
from uuid import UUID

from domain import budgets, database, outbox
from domain.budgets import DAY_SECONDS, Budget
from domain.errors import Allowance
from domain.outbox import Kind, Message, Notice

LIFETIME = timedelta(hours=24)
# Never told: what was done holds, and the mail about it is held back.
OF_ONE_KIND = Budget(allowance=Allowance.CORRECTIONS, amount=5, window_seconds=DAY_SECONDS)


async def tell_sparingly(practice_id: UUID, user_id: UUID, notice: Notice) -> None:
    """As `tell`, but at most five of one kind to a user in a day, for what others can do again and again.

    Each kind has its own five, so that many of one do not hide another.
    """
    if not await budgets.take_each([f"notices:{notice}:{user_id}"], OF_ONE_KIND):
        await tell(practice_id, user_id, notice)


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
