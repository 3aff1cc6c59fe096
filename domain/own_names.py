"""Changing one's own name."""

from domain import audit, database, names, users
from domain.actors import Actor, still_signed_in
from domain.audit import Action
from domain.errors import InputInvalid, InputProblem
from domain.models.users import sort_name
from domain.users import UserRecord


async def change(actor: Actor, first_name: str, last_name: str) -> UserRecord:
    """Change the actor's own name. Raises Unauthenticated, InputInvalid. Writes: user, audit "user.renamed"."""
    member = actor.signed_in()
    try:
        first, last = names.person_names(first_name, last_name)
    except names.NamesInvalid as error:
        problems = [InputProblem((field,), f"This {reason}.") for field, reason in error.reasons.items()]
        raise InputInvalid(problems) from None
    async with database.transaction():
        # The lock that the change needs, before the shared one: two changes at once that share it first wait for each other for ever.
        await database.fetch("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", member.user_id)
        await still_signed_in(actor)
        await database.execute(
            "UPDATE users SET first_name = $2, last_name = $3, sort_name = $4 WHERE id = $1",
            member.user_id,
            first,
            last,
            sort_name(first, last),
        )
        after = names.full_name(first, last)
        details: dict[str, object] = {"from": member.name, "to": after}
        await audit.record(actor, Action.USER_RENAMED, subject_id=member.user_id, subject_name=after, details=details)
    return await users.get(member.practice_id, member.user_id)
