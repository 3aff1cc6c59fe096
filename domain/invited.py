"""Invited people who come to the front door: they ask for a new password, or sign in, before they have an account.

The answer is the one that everybody gets. A mail tells them that they are invited and leads on, with the link that they have; it
prolongs nothing. What strangers can cause is bounded by the callers' allowances, and where the mail is made: see `contents`.
"""

from datetime import datetime, timedelta

from domain import budgets, database, outbox, secrets
from domain.database import Row
from domain.models.columns import uuid7
from domain.outbox import Kind, Message

# Whoever sees the mail later than that has forgotten what they did.
MAIL_LIFETIME = timedelta(hours=1)


async def find(canonical: str) -> Row | None:
    """The newest open invitation to an address that nobody has an account with: id, practice_id, user_id, name.

    Several practices may have invited the person; one mail about the newest leads on, and the others' mails are in the same mailbox.
    """
    return await database.fetch_one(
        """
        SELECT i.id, i.practice_id, i.user_id, rtrim(u.first_name || ' ' || u.last_name) AS name
        FROM users u JOIN invitations i ON i.user_id = u.id JOIN practice_standings t ON t.practice_id = i.practice_id
        WHERE u.email_canonical = $1 AND u.status = 'INVITED' AND u.removed_at IS NULL
            AND i.state = 'PENDING' AND i.expires_at > clock_now() AND t.access_allowed
            AND NOT EXISTS (SELECT FROM users a WHERE a.email_canonical = $1 AND a.holds_email AND a.status <> 'INVITED')
        ORDER BY i.last_send_at DESC, i.id DESC LIMIT 1
        """,
        canonical,
    )


def message(row: Row | None, expires_at: datetime) -> Message:
    """The mail that leads on, to be queued. row: as `find` answers; for nobody the mail is withdrawn when its turn comes."""
    return Message(
        kind=Kind.INVITATION_PENDING,
        subject_id=row["id"] if row else uuid7(),
        expires_at=expires_at,
        practice_id=row["practice_id"] if row else None,
        user_id=row["user_id"] if row else None,
    )


async def lead_on(canonical: str) -> None:
    """After a wrong password: mail whoever is invited under this address, for any address once a day.

    For an address that nobody invited, or that has an account, the same work is done for nothing. Writes: delivery.
    """
    async with database.transaction():
        key = f"sign-in-mail:{secrets.fingerprint('email', canonical)}"
        if await budgets.take_each([key], budgets.SIGN_IN_MAILS_PER_ADDRESS):
            return
        row = await find(canonical)
        await outbox.queue(message(row, await database.now() + MAIL_LIFETIME))
