"""Changing one's own name."""

from domain import audit, database, names, users
from domain.actors import Actor, Member, still_signed_in
from domain.audit import Action
from domain.errors import InputInvalid, InputProblem
from domain.models.users import sort_name
from domain.users import UserRecord


async def change(actor: Actor, first_name: str, last_name: str) -> UserRecord:
    """Change the actor's own name.

    Raises Unauthenticated, InputInvalid. Writes: user and audit "user.renamed" where it is another name.
    """
    member = actor.signed_in()
    first, last = checked(first_name, last_name)
    async with database.transaction():
        # The lock that the change needs, before the shared one: two changes at once that share it first wait for each other for ever.
        before = await database.fetch_one(
            "SELECT first_name, last_name FROM users WHERE id = $1 FOR NO KEY UPDATE", member.user_id
        )
        await still_signed_in(actor)
        if before != {"first_name": first, "last_name": last}:
            await _write(actor, member, first, last)
    return await users.get(member.practice_id, member.user_id)


async def _write(actor: Actor, member: Member, first_name: str, last_name: str) -> None:
    await database.execute(
        "UPDATE users SET first_name = $2, last_name = $3, sort_name = $4 WHERE id = $1",
        member.user_id,
        first_name,
        last_name,
        sort_name(first_name, last_name),
    )
    after = names.full_name(first_name, last_name)
    details: dict[str, object] = {"from": member.name, "to": after}
    await audit.record(actor, Action.USER_RENAMED, subject_id=member.user_id, subject_name=after, details=details)


def checked(first_name: str, last_name: str) -> tuple[str, str]:
    """First and last name as they are kept. Raises InputInvalid with all that is wrong."""
    try:
        return names.person_names(first_name, last_name)
    except names.NamesInvalid as error:
        problems = [InputProblem((field,), f"This {reason}.") for field, reason in error.reasons.items()]
        raise InputInvalid(problems) from None
