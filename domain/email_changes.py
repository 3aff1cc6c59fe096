"""Changing one's own address: a code to the verified phone, then a link to the new address. The old one works until the link is followed."""

from datetime import datetime, timedelta
from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    account_changes,
    address_holders,
    addresses,
    audit,
    bounced_addresses,
    budgets,
    challenges,
    database,
    invitations,
    link_tokens,
    lockouts,
    notices,
    outbox,
    secrets,
    signed_in_places,
    users,
)
from domain.account_changes import Link
from domain.actors import Actor, still_signed_in
from domain.audit import Action, Entry
from domain.challenges import Carried, Challenged
from domain.database import Row
from domain.errors import (
    AddressBounced,
    ChallengeInvalid,
    CodeExpired,
    EmailInUse,
    InputInvalid,
    InputProblem,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    TooManyAttempts,
)
from domain.models.columns import ChallengePurpose, new_nonce, uuid7
from domain.outbox import Kind, Message, Notice

LIFETIME = timedelta(hours=24)
PURPOSE = "confirm-email"
_WAITS = "e.confirmed_at IS NULL AND e.superseded_at IS NULL AND e.expires_at > clock_now()"


async def start(actor: Actor, email: str, *, address_repaired: bool = False) -> Challenged:
    """Ask for another address; a code to the verified phone comes next.

    address_repaired: the user knows that mail arrives again where it bounced. Whether the address is in use is not told here: its owner learns
    it from the mail. Raises Unauthenticated, SignInAgain, InputInvalid, AddressBounced, LimitReached. Writes: challenge.
    """
    member = actor.freshly_signed_in()
    try:
        canonical = addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None
    async with database.transaction():
        await still_signed_in(actor)
        try:
            await bounced_addresses.require_none(member.practice_id, email, canonical, is_repaired=address_repaired)
            await budgets.take(f"email-change:{member.user_id}", budgets.EMAIL_CHANGES_PER_USER)
            await take_mail(member.practice_id, canonical)
        except (AddressBounced, LimitReached) as refusal:
            reason = "limit" if isinstance(refusal, LimitReached) else type(refusal).__name__
            audit.record_after_rollback(actor, Entry(action=Action.EMAIL_CHANGE_REFUSED, details={"reason": reason}))
            raise
        if address_repaired:
            await bounced_addresses.forgive(member.practice_id, [canonical])
        return await challenges.make(
            member.user_id,
            ChallengePurpose.EMAIL_CHANGE,
            Carried(session_id=member.session_id, email=(addresses.shown_email(email), canonical)),
        )


async def take_mail(practice_id: UUID, canonical: str) -> None:
    """Take what one link to a new address costs, in the transaction under way. Raises LimitReached.

    It counts with the practice's invitations to the address, and with such links of all practices.
    """
    await budgets.take(invitations.mail_key(practice_id, canonical), budgets.INVITATION_MAILS_PER_ADDRESS)
    key = f"email-change-mails:{secrets.fingerprint('email', canonical)}"
    await budgets.take(key, budgets.EMAIL_CHANGE_MAILS_PER_ADDRESS)


async def prove(actor: Actor, challenge_token: str, code: str) -> str:
    """Answer with the code that came: a link goes to the new address, and word of it to the old one; the new address.

    The same again, while the link waits to be followed, sends nothing. Raises Unauthenticated, InputInvalid (cannot be a code: not
    counted), ChallengeInvalid, CodeIncorrect (guess counted), CodeExpired, TooManyAttempts. Writes: email_change, deliveries, audit
    "email_change.requested".
    """
    try:
        return await _prove(actor, challenge_token, code)
    except (ChallengeInvalid, CodeExpired, TooManyAttempts):
        pending = await _pending(actor, challenge_token)
        if pending is None:
            raise
        return pending


async def _pending(actor: Actor, challenge_token: str) -> str | None:
    """The address that this challenge has sent a link to, while the link waits to be followed."""
    answered = await challenges.find_answered(actor, challenge_token, ChallengePurpose.EMAIL_CHANGE)
    if answered is None or not await is_pending(actor.signed_in().user_id, answered["new_email_canonical"]):
        return None
    new_email: str = answered["new_email"]
    return new_email


async def _prove(actor: Actor, challenge_token: str, code: str) -> str:
    row = await challenges.find_own(actor, challenge_token, ChallengePurpose.EMAIL_CHANGE)
    hit = await challenges.guess(actor, row, code)
    async with database.transaction():
        await challenges.answer(actor, row, hit)
        await send_link(row, row["new_email"], row["new_email_canonical"])
        await notices.tell(row["practice_id"], row["id"], Notice.EMAIL_CHANGE_REQUESTED)
        await audit.record(actor, Action.EMAIL_CHANGE_REQUESTED, subject_id=row["id"], subject_name=row["name"])
    new_email: str = row["new_email"]
    return new_email


async def send_link(user: Row, email: str, canonical: str) -> Link:
    """Mail a link to an address that is to be a user's, in the transaction under way.

    Links that were sent before end, and so do the corrections that they would have confirmed. user: id, practice_id and the present email.
    """
    await account_changes.drop_unconfirmed(user["id"])
    await signed_in_places.end_email_links(user["id"])
    change_id, now = uuid7(), await database.now()
    expires_at = now + LIFETIME
    await database.execute(
        "INSERT INTO email_changes (id, user_id, email, email_canonical, old_email, nonce, key_id, expires_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        change_id,
        user["id"],
        email,
        canonical,
        user["email"],
        new_nonce(),
        secrets.newest_key_id(),
        expires_at,
        now,
    )
    await outbox.queue(_message(Kind.EMAIL_CHANGE, change_id, user["practice_id"], user["id"], expires_at))
    return Link(email_change_id=change_id, sent_at=now)


async def send_pending_again(user: Row, canonical: str) -> bool:
    """Mail the link to an address that waits to be followed once more, in the transaction under way.

    user: id and practice_id. False where a mail with it was queued less than a minute ago; then nothing is sent.
    """
    pending = await database.fetch_one(
        f"""
        SELECT e.id, e.expires_at FROM email_changes e WHERE e.user_id = $1 AND e.email_canonical = $2 AND {_WAITS}
            AND NOT EXISTS (SELECT FROM deliveries d WHERE d.subject_id = e.id AND d.queued_at + {users.COOL_DOWN} > clock_now())
        """,  # noqa: S608 -- constants
        user["id"],
        canonical,
    )
    if pending is None:
        return False
    await outbox.queue(
        _message(Kind.EMAIL_CHANGE, pending["id"], user["practice_id"], user["id"], pending["expires_at"])
    )
    return True


async def is_pending(user_id: UUID, canonical: str) -> bool:
    """Whether a link to an address waits to be followed."""
    rows = await database.fetch(
        f"SELECT 1 FROM email_changes e WHERE user_id = $1 AND email_canonical = $2 AND {_WAITS} LIMIT 1",  # noqa: S608 -- a constant
        user_id,
        canonical,
    )
    return bool(rows)


def _message(kind: Kind, change_id: UUID, practice_id: UUID, user_id: UUID, expires_at: datetime) -> Message:
    return Message(
        kind=kind,
        subject_id=change_id,
        expires_at=expires_at,
        practice_id=practice_id,
        user_id=user_id,
    )


async def confirm(actor: Actor, token: str) -> str:
    """Follow the link to the new address: from now on it is the user's; the address. Both addresses are told.

    token: as in `link_tokens.read`. The same again, while it is the user's, changes nothing. Open invitations of other practices to the new
    address end. Raises LinkInvalid, LinkExpired, EmailInUse, TooManyAttempts (a typed code). Writes: user, email_change, deliveries, audit
    "email.changed".
    """
    token = await link_tokens.read(actor, PURPOSE, token)
    try:
        return await _confirm(actor, token)
    except LinkInvalid:
        confirmed = await _confirmed(token)
        if confirmed is None:
            raise
        return confirmed


async def _confirmed(token: str) -> str | None:
    """The address that this link has made the user's, while it is."""
    row = await _row(token, "e.confirmed_at IS NOT NULL AND u.email_canonical = e.email_canonical AND u.holds_email")
    return row["email"] if row else None


async def _confirm(actor: Actor, token: str) -> str:
    row = await _row(token, "e.confirmed_at IS NULL AND e.superseded_at IS NULL")
    if row is None:
        raise LinkInvalid
    if row["is_expired"]:
        raise LinkExpired
    try:
        async with database.transaction():
            await _change(actor, row)
    except IntegrityError as error:
        if not address_holders.is_conflict(error):
            raise
        await _refuse(actor, row)
        raise EmailInUse(row["email"]) from None
    except EmailInUse:
        await _refuse(actor, row)
        raise
    email: str = row["email"]
    return email


async def _refuse(actor: Actor, row: Row) -> None:
    await audit.record(
        actor,
        Action.EMAIL_CHANGE_REFUSED,
        practice_id=row["practice_id"],
        as_user=(row["user_id"], row["name"]),
        subject_id=row["user_id"],
        subject_name=row["name"],
        details={"reason": "address in use"},
    )


async def _row(token: str, condition: str) -> Row | None:
    """The change behind a link, of a user who may sign in; None where the link is not good or the condition, a constant, not met."""
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        "SELECT e.*, e.expires_at <= clock_now() AS is_expired, u.practice_id, rtrim(u.first_name || ' ' || u.last_name) AS name"  # noqa: S608 -- a constant
        f" FROM email_changes e JOIN users u ON u.id = e.user_id WHERE e.id = $1 AND u.status = 'ACTIVE' AND {condition}",
        row_id,
    )
    if not row or not secrets.is_link_token(token, PURPOSE, row["id"], row["nonce"], row["key_id"]):
        return None
    return row


async def _change(actor: Actor, row: Row) -> None:
    await address_holders.lock(row["email_canonical"])
    user = await database.fetch_one(
        "SELECT 1 AS found FROM users WHERE id = $1 AND status = 'ACTIVE' FOR UPDATE", row["user_id"]
    )
    confirmed = await database.execute(
        "UPDATE email_changes SET confirmed_at = clock_now()"
        " WHERE id = $1 AND confirmed_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()",
        row["id"],
    )
    if user is None or not confirmed:
        raise LinkInvalid
    if await address_holders.is_taken(row["email_canonical"], row["practice_id"], but=row["user_id"]):
        raise EmailInUse(row["email"])
    await database.execute(
        "UPDATE users SET email = $2, email_canonical = $3 WHERE id = $1",
        row["user_id"],
        row["email"],
        row["email_canonical"],
    )
    await account_changes.note_confirmed_address(row["user_id"], row["id"])
    await address_holders.end_other_invitations(row["email_canonical"], holder=row["user_id"])
    await lockouts.lift_address(row["email_canonical"])
    await signed_in_places.end_reset_links(row["user_id"])
    expires_at = await database.now() + notices.LIFETIME
    await outbox.queue(_message(Kind.EMAIL_CHANGED, row["id"], row["practice_id"], row["user_id"], expires_at))
    await notices.tell(row["practice_id"], row["user_id"], Notice.EMAIL_CHANGED)
    await audit.record(
        actor,
        Action.EMAIL_CHANGED,
        practice_id=row["practice_id"],
        as_user=(row["user_id"], row["name"]),
        subject_id=row["user_id"],
        subject_name=row["name"],
    )
