"""Breaking the glass: an administrator for a practice that has none who can act (HIPAA 45 CFR 164.312(a)(2)(ii)).

Only on the server, by an operator who says why; always in the trail, and always told to every administrator by mail.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from domain import addresses, administrators, audit, database
from domain.actors import Actor, require_operator
from domain.audit import Action
from domain.database import Row
from domain.errors import InputInvalid, InputProblem, NotFound, Refusal
from domain.models.columns import AccessLevel, UserStatus
from domain.outbox import Kind

MAX_REASON_LENGTH = 500
MAIL_LIFETIME = timedelta(days=7)


@dataclass
class NotActive(Refusal):
    """The person has not finished setting up, or is blocked: nobody could sign in."""

    status: UserStatus


class AlreadyAdministrator(Refusal):
    """The person is an administrator; what is missing is something else."""


async def grant(actor: Actor, practice_id: UUID, email: str, reason: str) -> str:
    """Make an active user of a practice its administrator; the person's name. It holds with their next request.

    email: the user's address. reason: for the trail, at most 500 characters. Raises Forbidden, InputInvalid, NotFound (no such user
    in that practice), NotActive, AlreadyAdministrator. Writes: user, deliveries to the person and to every active administrator,
    audit "emergency_access.granted".
    """
    require_operator(actor)
    canonical, reason = _checked(email, reason)
    async with database.transaction():
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
        user = await _held(practice_id, canonical)
        await database.execute("UPDATE users SET access_level = 'ADMINISTRATOR' WHERE id = $1", user["id"])
        await administrators.mail(practice_id, Kind.EMERGENCY_ACCESS, user["id"], MAIL_LIFETIME)
        details: dict[str, object] = {"reason": reason, "from": user["access_level"]}
        name: str = user["name"]
        await audit.record(
            actor,
            Action.EMERGENCY_ACCESS_GRANTED,
            practice_id=practice_id,
            subject_id=user["id"],
            subject_name=name,
            details=details,
        )
    return name


def _checked(email: str, raw_reason: str) -> tuple[str, str]:
    try:
        canonical = addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None
    reason = " ".join("".join(character if character.isprintable() else " " for character in raw_reason).split())
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        raise InputInvalid([InputProblem(("reason",), f"Say why, in 1 to {MAX_REASON_LENGTH} characters.")])
    return canonical, reason


async def _held(practice_id: UUID, canonical: str) -> Row:
    # The address may also stand in the rows of people who were deactivated and whose address the practice released: they come last.
    rows = await database.fetch(
        "SELECT id, status, access_level, rtrim(first_name || ' ' || last_name) AS name FROM users"
        " WHERE practice_id = $1 AND email_canonical = $2 AND removed_at IS NULL"
        " ORDER BY address_released_at NULLS FIRST, id FOR UPDATE",
        practice_id,
        canonical,
    )
    if not rows:
        raise NotFound
    user = rows[0]
    if user["status"] != UserStatus.ACTIVE:
        raise NotActive(UserStatus(user["status"]))
    if user["access_level"] == AccessLevel.ADMINISTRATOR:
        raise AlreadyAdministrator
    return user
