"""What somebody else changes about an account: its address or its phone. On record, told to the owner, and stopped by a link.

An address and a phone are the two halves of a reset. Whoever changed both could take the account over, so after one of them was changed the
other has to wait for 24 hours, whoever asks. The owner gets a link meanwhile that puts back what was before
(docs/decisions/0028-changes-by-others.md).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain import (
    administrators,
    audit,
    database,
    lockouts,
    notices,
    outbox,
    secrets,
    signed_in_places,
)
from domain.actors import Actor
from domain.audit import Action
from domain.database import Row
from domain.errors import ChangedRecently
from domain.models.columns import AccountChangeKind, Channel, new_nonce, uuid7
from domain.outbox import Kind, Message, Notice

PAUSE = timedelta(hours=24)
STOPPABLE = timedelta(hours=24)  # after the change holds
PURPOSE = "stop-change"

_OTHER = {
    AccountChangeKind.EMAIL: AccountChangeKind.PHONE,
    AccountChangeKind.PHONE: AccountChangeKind.EMAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The link that was sent to a new address, and when by the database's clock."""

    email_change_id: UUID
    sent_at: datetime


async def require_pause(user_id: UUID, kind: AccountChangeKind) -> None:
    """Raises ChangedRecently when the other half was changed less than 24 hours ago, or is about to be. The caller holds the user's row."""
    until = await _pause_until(user_id, kind)
    if until is not None:
        raise ChangedRecently(_OTHER[kind], until)


async def _pause_until(user_id: UUID, kind: AccountChangeKind) -> datetime | None:
    row = await database.fetch_one(
        "SELECT max(coalesce(carried_out_at, effective_at)) + $3::interval AS free_at FROM account_changes"
        " WHERE user_id = $1 AND kind = $2 AND (stopped_at IS NULL OR address_was_taken)"
        " HAVING max(coalesce(carried_out_at, effective_at)) + $3::interval > clock_now()",
        user_id,
        _OTHER[kind].value,
        PAUSE,
    )
    return row["free_at"] if row else None


async def note(
    actor: Actor,
    user: Row,
    kind: AccountChangeKind,
    *,
    after: timedelta = timedelta(),
    reason: str | None = None,
    link: Link | None = None,
) -> datetime:
    """Keep what the change replaces, and send the owner the link that stops it, in the transaction under way; when the change holds.

    user: id, practice_id, email, email_canonical, phone and phone_verified_at as they were before. after: how much later it holds.
    link: for an address, the one that went to the new address. The link that stops it goes to the address that was there before. Where the
    address changes, the phone gets it too, since that mailbox may be closed; where the phone is taken away, it gets a text without the link:
    whoever stole it must not be able to keep it.
    """
    is_email = kind is AccountChangeKind.EMAIL
    by = "the operator" if actor.is_operator else actor.signed_in().name
    change_id, now = uuid7(), link.sent_at if link else await database.now()
    effective_at, expires_at = now + after, now + after + STOPPABLE
    await database.execute(
        """
        INSERT INTO account_changes (id, user_id, kind, changed_by, reason, old_email, old_email_canonical, old_phone, old_phone_verified_at,
            nonce, key_id, effective_at, expires_at, carried_out_at, created_at, email_change_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, CASE WHEN $12::timestamptz <= $14 THEN $14::timestamptz END, $14, $15)
        """,
        change_id,
        user["id"],
        kind.value,
        by,
        reason,
        user["email"] if is_email else None,
        user["email_canonical"] if is_email else None,
        None if is_email else user["phone"],
        None if is_email else user["phone_verified_at"],
        new_nonce(),
        secrets.newest_key_id(),
        effective_at,
        expires_at,
        now,
        link.email_change_id if link else None,
    )
    messages = [_message(Kind.ACCOUNT_CHANGE, Channel.EMAIL, change_id, user, expires_at)]
    if user["phone"] is not None:
        messages.append(_message(Kind.ACCOUNT_CHANGE_TEXT, Channel.SMS, change_id, user, now + notices.LIFETIME))
    await outbox.queue(*messages)
    return effective_at


async def note_confirmed_address(user_id: UUID, email_change_id: UUID) -> None:
    """An address was confirmed by its mailbox, in the transaction under way.

    If it was a correction, its 24 hours begin now. If the owner changed it, with a code to the phone, earlier corrections are settled: their
    links can no longer replace the address that the owner chose.
    """
    corrected = await database.execute(
        "UPDATE account_changes SET carried_out_at = clock_now(), expires_at = clock_now() + $3::interval"
        " WHERE user_id = $1 AND email_change_id = $2 AND stopped_at IS NULL",
        user_id,
        email_change_id,
        STOPPABLE,
    )
    if corrected:
        return
    await database.execute(
        "DELETE FROM account_changes WHERE user_id = $1 AND email_change_id IS NOT NULL AND stopped_at IS NULL", user_id
    )
    await database.execute(
        "UPDATE account_changes SET address_was_taken = false WHERE user_id = $1 AND address_was_taken", user_id
    )


async def drop_unconfirmed(user_id: UUID) -> None:
    """Delete the corrections of a user's address that nobody has confirmed, in the transaction under way: another link replaces theirs.

    They have changed nothing, and must not revert what comes after them.
    """
    await database.execute(
        "DELETE FROM account_changes c USING email_changes e"
        " WHERE c.user_id = $1 AND c.stopped_at IS NULL AND e.id = c.email_change_id AND e.confirmed_at IS NULL",
        user_id,
    )


def _message(kind: Kind, channel: Channel, change_id: UUID, user: Row, expires_at: datetime) -> Message:
    return Message(
        kind=kind,
        channel=channel,
        subject_id=change_id,
        expires_at=expires_at,
        practice_id=user["practice_id"],
        user_id=user["id"],
    )


async def take_phone_away(user: Row) -> None:
    """Take the phone of a user away, in the transaction under way: the next sign-in proves another one, with the practice access code.

    user: id and practice_id. Every session, device and lock on the phone ends.
    """
    await database.execute(
        "UPDATE users SET phone = NULL, phone_verified_at = NULL, phone_reset_at = clock_now() WHERE id = $1",
        user["id"],
    )
    await signed_in_places.end_all(user["id"], "phone reset")
    await lockouts.lift_phone(user["id"])
    await drop_planned(user["id"])


async def drop_planned(user_id: UUID) -> None:
    """Drop what an operator has planned for a user's phone, in the transaction under way: it was taken away already, or is not lost.

    Nothing of it remains, so its link does not claim to have stopped what somebody else did.
    """
    await database.execute(
        "DELETE FROM account_changes WHERE user_id = $1 AND carried_out_at IS NULL AND stopped_at IS NULL", user_id
    )


_USER = """
    SELECT id, practice_id, first_name, last_name, rtrim(first_name || ' ' || last_name) AS name, status, access_level, email, email_canonical,
        phone, phone_verified_at, password_hash, address_released_at
    FROM users WHERE id = $1 AND practice_id = $2 AND removed_at IS NULL FOR UPDATE
"""


async def hold_user(practice_id: UUID, user_id: UUID) -> Row | None:
    """A user whom somebody else is about to change, locked in the transaction under way; None when there is none in the practice.

    The caller has locked the practice before, as everybody does who acts on others.
    """
    return await database.fetch_one(_USER, user_id, practice_id)


async def tell_administrators_of_stop(actor: Actor, change: Row, user: Row, *, is_undone: bool) -> None:
    """Put a stopped change on record and tell every administrator by mail, in the transaction under way.

    is_undone: whether the former address or phone is there again; then the owner is told too.
    """
    await administrators.mail(user["practice_id"], Kind.ACCOUNT_CHANGE_STOPPED, change["id"], notices.LIFETIME)
    if is_undone:
        await notices.tell(user["practice_id"], user["id"], Notice.ACCOUNT_CHANGE_STOPPED)
    await audit.record(
        actor,
        Action.ACCOUNT_CHANGE_STOPPED,
        practice_id=user["practice_id"],
        as_user=(user["id"], user["name"]),
        subject_id=user["id"],
        subject_name=user["name"],
        details={"change": change["kind"], "by": change["changed_by"], "undone": is_undone},
    )
