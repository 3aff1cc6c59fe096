"""The link with which an account's owner stops what somebody else changed about it."""

from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    account_changes,
    address_holders,
    audit,
    corrections,
    database,
    ended_invitations,
    link_tokens,
    secrets,
    signed_in_places,
)
from domain.actors import Actor
from domain.audit import Action, Entry
from domain.database import Row
from domain.errors import EmailInUse, LinkExpired, LinkInvalid
from domain.models.columns import AccountChangeKind, UserStatus


async def stop(actor: Actor, token: str) -> AccountChangeKind:
    """Put back the address or phone that somebody else changed, and end every session; what it was about.

    token: as in `link_tokens.read`. Later changes of the same kind end with it. Every administrator and the owner are told by mail. Doing it again changes nothing. Raises LinkInvalid,
    LinkExpired, EmailInUse (somebody has the former address by now), TooManyAttempts (a typed code). Writes: user, account_changes, sessions, devices, deliveries, audit
    "account_change.stopped".
    """
    row = await _link(await link_tokens.read(actor, account_changes.PURPOSE, token))
    kind = AccountChangeKind(row["kind"])
    if row["stopped_at"] is not None:
        return kind
    if row["is_expired"]:
        raise LinkExpired
    try:
        async with database.transaction():
            await _stop(actor, row, kind)
    except IntegrityError as error:
        if not address_holders.is_conflict(error):
            raise
        raise EmailInUse(row["old_email"]) from None
    return kind


async def _link(token: str) -> Row:
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        "SELECT c.*, c.expires_at <= clock_now() AS is_expired, u.practice_id FROM account_changes c JOIN users u ON u.id = c.user_id"
        " WHERE c.id = $1 AND u.status IN ('ACTIVE', 'INACTIVE')",
        row_id,
    )
    if not row or not secrets.is_link_token(token, account_changes.PURPOSE, row["id"], row["nonce"], row["key_id"]):
        raise LinkInvalid
    return row


async def _stop(actor: Actor, row: Row, kind: AccountChangeKind) -> None:
    user_id: UUID = row["user_id"]
    if kind is AccountChangeKind.EMAIL:
        await address_holders.lock(row["old_email_canonical"])
    await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", row["practice_id"])
    user = await account_changes.hold_user(row["practice_id"], user_id)
    if user is None or user["status"] not in (UserStatus.ACTIVE, UserStatus.INACTIVE):
        raise LinkInvalid
    change = await database.fetch_one(
        "UPDATE account_changes SET stopped_at = clock_now() WHERE id = $1 AND stopped_at IS NULL AND expires_at > clock_now() RETURNING *",
        row["id"],
    )
    if change is None:  # another copy of this was first
        return
    await database.execute(
        "UPDATE account_changes SET stopped_at = clock_now()"
        " WHERE user_id = $1 AND kind = $2 AND created_at >= $3 AND stopped_at IS NULL",
        user_id,
        kind.value,
        change["created_at"],
    )
    if kind is AccountChangeKind.EMAIL:
        await _take_back_invitations(actor, user, change["old_email_canonical"])
        await corrections.set_address(user, change["old_email"], change["old_email_canonical"])
    elif change["carried_out_at"] is not None:
        await database.execute(
            "UPDATE users SET phone = $2, phone_verified_at = $3, phone_reset_at = CASE WHEN $3::timestamptz IS NULL THEN clock_now() END"
            " WHERE id = $1",
            user_id,
            change["old_phone"],
            change["old_phone_verified_at"],
        )
    await signed_in_places.end_all(user_id, "change stopped")
    await account_changes.tell_administrators_of_stop(actor, change, user)


async def _take_back_invitations(actor: Actor, user: Row, canonical: str) -> None:
    """Take back what the practice itself has sent to the former address meanwhile: inviting it must not keep the owner from having it back."""
    rows = await database.fetch(
        """
        SELECT i.id, i.user_id, rtrim(u.first_name || ' ' || u.last_name) AS name FROM users u JOIN invitations i ON i.user_id = u.id
        WHERE u.practice_id = $1 AND u.email_canonical = $2 AND u.status = 'INVITED' AND u.removed_at IS NULL
        ORDER BY i.id FOR UPDATE OF i
        """,
        user["practice_id"],
        canonical,
    )
    await ended_invitations.withdraw([row["id"] for row in rows], remove_users=[row["user_id"] for row in rows])
    entries = [
        Entry(action=Action.INVITATION_REVOKED, subject_id=row["user_id"], subject_name=row["name"]) for row in rows
    ]
    await audit.record_all(actor, entries, practice_id=user["practice_id"], as_user=(user["id"], user["name"]))
