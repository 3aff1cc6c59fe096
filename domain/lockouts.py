"""Which counters of wrong guesses an account has, and lifting what they locked."""

from uuid import UUID

from domain import guesses


def phone_counter(user_id: UUID) -> str:
    """Wrong codes from the verified phone."""
    return f"phone:user:{user_id}"


def new_phone_counter(user_id: UUID) -> str:
    """Wrong codes from a phone that somebody who is signed in wants to have."""
    return f"phone:new:{user_id}"


async def lift_phone(user_id: UUID) -> None:
    """Forget the wrong codes: another phone was proved, or is to be."""
    for key in (phone_counter(user_id), new_phone_counter(user_id)):
        await guesses.succeed(key)
