"""Changing one's own name."""

from domain import audit, database, names, users
from domain.actors import Actor, still_signed_in
from domain.audit import Action
from domain.errors import Problems
from domain.models.users import sort_name
from domain.users import UserRecord


async def change(actor: Actor, first_name: str, last_name: str) -> UserRecord:
    """Change the actor's own name. Raises Unauthenticated, InputInvalid. Writes: user, audit "user.renamed"."""
    member = actor.signed_in()
    first, last = checked(first_name, last_name)
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
        after = f"{first} {last}"
        details: dict[str, object] = {"from": member.name, "to": after}
        await audit.record(actor, Action.USER_RENAMED, subject_id=member.user_id, subject_name=after, details=details)
    return await users.get(member.practice_id, member.user_id)


def checked(first_name: str, last_name: str) -> tuple[str, str]:
    """First and last name as they are kept. Raises InputInvalid with all that is wrong."""
    problems, found = Problems(), {}
    for field, raw in (("firstName", first_name), ("lastName", last_name)):
        try:
            found[field] = names.person_name(raw)
        except names.NameInvalid as error:
            problems.add((field,), f"This {error.reason}.")
    problems.raise_any()
    return found["firstName"], found["lastName"]
