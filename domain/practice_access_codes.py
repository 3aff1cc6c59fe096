"""The practice access code: ten letters and digits that an administrator tells new staff by voice."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain import audit, database, outbox, secrets
from domain.actors import Actor
from domain.audit import Action
from domain.models.columns import new_nonce, uuid7
from domain.outbox import Kind, Message

MAX_TYPED_LENGTH = 40
MAIL_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCode:
    """What an administrator sees. rotates_at: None while nothing rotates it. previous_valid_until: None when there is no grace."""

    code: str
    issued_at: datetime
    rotates_at: datetime | None
    previous_valid_until: datetime | None


async def current(actor: Actor) -> CurrentCode:
    """The code of the actor's practice. Raises Unauthenticated, Forbidden. Writes: audit "practice_access_code.viewed", each time."""
    member = actor.administrator()
    rows = await database.fetch(
        """
        SELECT c.*, (SELECT max(o.valid_until) FROM practice_access_codes o
            WHERE o.practice_id = c.practice_id AND o.valid_until > clock_now()) AS previous_valid_until
        FROM practice_access_codes c WHERE c.practice_id = $1 AND c.valid_until IS NULL
        """,
        member.practice_id,
    )
    row = rows[0]
    await audit.record(actor, Action.PAC_VIEWED)
    return CurrentCode(
        code=secrets.practice_access_code(row["id"], row["nonce"], row["key_id"]),
        issued_at=row["issued_at"],
        rotates_at=None,
        previous_valid_until=row["previous_valid_until"],
    )


async def issue_first(actor: Actor, practice_id: UUID, administrator_id: UUID, administrator_name: str) -> None:
    """Give a new practice its code and mail it to its administrator, in the transaction under way."""
    code_id = uuid7()
    await database.execute(
        "INSERT INTO practice_access_codes (id, practice_id, nonce, key_id, issued_at) VALUES ($1, $2, $3, $4, clock_now())",
        code_id,
        practice_id,
        new_nonce(),
        secrets.newest_key_id(),
    )
    await outbox.queue(
        Message(
            kind=Kind.PRACTICE_ACCESS_CODE,
            subject_id=code_id,
            expires_at=await database.now() + MAIL_LIFETIME,
            practice_id=practice_id,
            user_id=administrator_id,
        )
    )
    await audit.record(
        actor, Action.PAC_ISSUED, practice_id=practice_id, as_user=(administrator_id, administrator_name)
    )


async def is_right(practice_id: UUID, typed: str) -> bool:
    """Whether what somebody typed is the practice's code, or the one before it while that is still taken.

    The practice comes from the invitation, never from the code. The caller has counted the guess.
    """
    given = secrets.typed_practice_access_code(typed[:MAX_TYPED_LENGTH])
    rows = await database.fetch(
        "SELECT id, nonce, key_id FROM practice_access_codes"
        " WHERE practice_id = $1 AND (valid_until IS NULL OR valid_until > clock_now())",
        practice_id,
    )
    results = [
        secrets.matches(secrets.practice_access_code(row["id"], row["nonce"], row["key_id"]), given) for row in rows
    ]
    return any(results)
