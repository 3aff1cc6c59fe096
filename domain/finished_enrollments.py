"""Enrollments that ended with an account: for an hour, whoever comes back to one is told so.

The answer to setPassword can get lost, a button can be pressed twice, and a link can be opened again. The row still says what came of it.
A finished enrollment opens nothing: its token is good for no step any more.
"""

from uuid import UUID

from domain import database, secrets
from domain.database import Row

TOLD_FOR = "interval '1 hour'"
PURPOSE = "enrollment"

_FINISHED = f"SELECT * FROM enrollments WHERE next_step = 'DONE' AND ended_at > clock_now() - {TOLD_FOR} AND "  # noqa: S608 -- a constant


async def find(token: str) -> Row | None:
    """The enrollment of a token, finished less than an hour ago; None otherwise. user_id: whose account came of it."""
    row_id = secrets.link_row_id(token)
    row = await database.fetch_one(_FINISHED + "id = $1", row_id) if row_id else None
    if row is None or not secrets.is_link_token(token, PURPOSE, row["id"], row["nonce"], row["key_id"]):
        return None
    return row


async def of_invitation(invitation_id: UUID) -> Row | None:
    """As `find`, by the invitation that was accepted. The caller has compared the link."""
    return await database.fetch_one(_FINISHED + "invitation_id = $1", invitation_id)


async def of_sign_up(sign_up_id: UUID) -> Row | None:
    """As `find`, by the sign-up that a practice came of. The caller has compared the link."""
    return await database.fetch_one(_FINISHED + "sign_up_id = $1", sign_up_id)
