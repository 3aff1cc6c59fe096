"""The practice access code: ten letters and digits that an administrator tells new staff by voice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain import audit, database, outbox, secrets
from domain.actors import Actor, still_administrator
from domain.audit import Action
from domain.models.columns import new_nonce, uuid7
from domain.outbox import Kind, Message

MAX_TYPED_LENGTH = 40
MAIL_LIFETIME = timedelta(hours=24)
GRACE = timedelta(hours=24)  # how long the code before the current one is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCode:
    """What an administrator sees.

    rotates_at: None while nothing rotates it. previous_valid_until: None when no earlier code is taken any more.
    open_invitations: people who have not finished, and who will be asked for a code.
    """

    code: str
    issued_at: datetime
    rotates_at: datetime | None
    previous_valid_until: datetime | None
    open_invitations: int


async def current(actor: Actor) -> CurrentCode:
    """The code of the actor's practice. Raises Unauthenticated, Forbidden. Writes: audit "practice_access_code.viewed", each time."""
    member = actor.administrator()
    rows = await database.fetch(
        """
        SELECT c.*, (SELECT max(o.valid_until) FROM practice_access_codes o
            WHERE o.practice_id = c.practice_id AND o.valid_until > clock_now()) AS previous_valid_until,
            (SELECT count(*) FROM invitations i WHERE i.practice_id = c.practice_id AND i.state = 'PENDING'
                AND i.expires_at > clock_now()) AS open_invitations
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
        open_invitations=row["open_invitations"],
    )


async def rotate(actor: Actor) -> CurrentCode:
    """Replace the code of the actor's practice at once, and mail the new one to every active administrator.

    The one before it is taken for another day, so that people in the middle of joining are not cut off. Raises Unauthenticated,
    Forbidden, SignInAgain. Writes: practice_access_code, deliveries, audit "practice_access_code.rotated".
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    async with database.transaction():
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", member.practice_id)
        await still_administrator(actor)
        await database.execute(
            "UPDATE practice_access_codes SET valid_until = greatest(clock_now(), issued_at)"
            " WHERE practice_id = $1 AND valid_until > clock_now()",
            member.practice_id,
        )
        replaced = await database.fetch(
            "UPDATE practice_access_codes SET valid_until = clock_now() + $2::interval"
            " WHERE practice_id = $1 AND valid_until IS NULL RETURNING id",
            member.practice_id,
            GRACE,
        )
        for row in replaced:
            await outbox.cancel(subject_id=row["id"], reason="A newer code took its place.")
        administrators = await database.fetch(
            "SELECT id FROM users WHERE practice_id = $1 AND status = 'ACTIVE' AND access_level = 'ADMINISTRATOR' ORDER BY id",
            member.practice_id,
        )
        await _issue(member.practice_id, [row["id"] for row in administrators])
        await audit.record(actor, Action.PAC_ROTATED)
    return await current(actor)


async def issue_first(actor: Actor, practice_id: UUID, administrator_id: UUID, administrator_name: str) -> None:
    """Give a new practice its code and mail it to its administrator, in the transaction under way."""
    await _issue(practice_id, [administrator_id])
    await audit.record(
        actor, Action.PAC_ISSUED, practice_id=practice_id, as_user=(administrator_id, administrator_name)
    )


async def _issue(practice_id: UUID, administrator_ids: Sequence[UUID]) -> None:
    code_id = uuid7()
    await database.execute(
        "INSERT INTO practice_access_codes (id, practice_id, nonce, key_id, issued_at) VALUES ($1, $2, $3, $4, clock_now())",
        code_id,
        practice_id,
        new_nonce(),
        secrets.newest_key_id(),
    )
    expires_at = await database.now() + MAIL_LIFETIME
    await outbox.queue(
        *(
            Message(
                kind=Kind.PRACTICE_ACCESS_CODE,
                subject_id=code_id,
                expires_at=expires_at,
                practice_id=practice_id,
                user_id=administrator_id,
            )
            for administrator_id in administrator_ids
        )
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
