"""The link with which an account's owner stops what somebody else changed about it."""

from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    account_changes,
    address_holders,
    address_release,
    audit,
    database,
    ended_invitations,
    link_tokens,
    lockouts,
    secrets,
    signed_in_places,
)
from domain.actors import Actor
from domain.audit import Action, Entry
from domain.database import Row
from domain.errors import EmailInUse, LinkExpired, LinkInvalid
from domain.models.columns import AccountChangeKind, UserStatus

TRIES = 3


async def stop(actor: Actor, token: str) -> AccountChangeKind:
    """Put back the address or phone that somebody else changed, and end every session; what it was about.

    token: as in `link_tokens.read`. Later changes of the same kind end with it. Every administrator and the owner are told by mail. Doing it
    again changes nothing. Raises LinkInvalid, LinkExpired, TooManyAttempts (a typed code), and EmailInUse: another account has the former
    address by now. Then the present address stays, and all the rest is done. Writes: user, account_changes, sessions, devices, deliveries,
    audit "account_change.stopped".
    """
    row = await _link(await link_tokens.read(actor, account_changes.PURPOSE, token))
    kind = AccountChangeKind(row["kind"])
    if row["stopped_at"] is not None and not row["address_was_taken"]:
        return kind
    if row["is_expired"]:
        raise LinkExpired
    if not await _stop(actor, row, kind):
        raise EmailInUse(row["old_email"])
    return kind


async def _stop(actor: Actor, row: Row, kind: AccountChangeKind) -> bool:
    """Whether the change is undone.

    An invitation to the former address that is being made at the same moment refuses the address; on the next try it is there to be taken back.
    """
    for number in range(TRIES):
        try:
            async with database.transaction():
                return await _try_to_stop(actor, row, kind, may_put_back=number < TRIES - 1)
        except IntegrityError as error:
            if not address_holders.is_conflict(error):
                raise
    raise AssertionError("the last try puts no address back")


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


async def _try_to_stop(actor: Actor, row: Row, kind: AccountChangeKind, *, may_put_back: bool) -> bool:
    user_id: UUID = row["user_id"]
    if kind is AccountChangeKind.EMAIL:
        await address_holders.lock(row["old_email_canonical"])
    await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", row["practice_id"])
    user = await account_changes.hold_user(row["practice_id"], user_id)
    change = await database.fetch_one("SELECT * FROM account_changes WHERE id = $1 FOR UPDATE", row["id"])
    if user is None or change is None or user["status"] not in (UserStatus.ACTIVE, UserStatus.INACTIVE):
        raise LinkInvalid
    is_first = change["stopped_at"] is None
    if not is_first and not change["address_was_taken"]:  # another copy of this was faster
        return True
    is_undone = True
    if kind is AccountChangeKind.EMAIL:
        is_undone = may_put_back and await _put_address_back(actor, user, change)
    elif change["carried_out_at"] is not None:
        await _put_phone_back(user_id, change)
    if is_undone or is_first:
        await _mark(change, address_was_taken=not is_undone)
        await signed_in_places.end_all(user_id, "change stopped")
        await account_changes.tell_administrators_of_stop(actor, change, user, is_undone=is_undone)
    return is_undone


async def _mark(change: Row, *, address_was_taken: bool) -> None:
    """Stop a change, and the later ones of the same kind with it."""
    await database.execute(
        "UPDATE account_changes SET stopped_at = clock_now(), address_was_taken = $4"
        " WHERE user_id = $1 AND kind = $2 AND created_at >= $3 AND (stopped_at IS NULL OR address_was_taken)",
        change["user_id"],
        change["kind"],
        change["created_at"],
        address_was_taken,
    )


async def _put_phone_back(user_id: UUID, change: Row) -> None:
    await database.execute(
        "UPDATE users SET phone = $2, phone_verified_at = $3, phone_reset_at = CASE WHEN $3::timestamptz IS NULL THEN clock_now() END"
        " WHERE id = $1",
        user_id,
        change["old_phone"],
        change["old_phone_verified_at"],
    )


async def _put_address_back(actor: Actor, user: Row, change: Row) -> bool:
    """Give the user the former address, in the transaction under way; False when it belongs to another account.

    Where the practice has released the address, the user does not hold it: only the row's own columns change, and nobody else's
    invitation ends. Raises IntegrityError (`address_holders.is_conflict`).
    """
    canonical: str = change["old_email_canonical"]
    holds_address = user["address_released_at"] is None
    if holds_address:
        await _take_back_invitations(actor, user, canonical)
        await address_release.give_back(canonical, user["practice_id"])
        if await address_holders.is_taken(canonical, user["practice_id"], but=user["id"]):
            return False
    await database.execute(
        "UPDATE users SET email = $2, email_canonical = $3 WHERE id = $1", user["id"], change["old_email"], canonical
    )
    if holds_address:
        await address_holders.end_other_invitations(canonical, holder=user["id"])
        await lockouts.lift_address(canonical)
    return True


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
