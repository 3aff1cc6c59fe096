"""An invitation's life after it was made: sent again, looked at, taken back. `inviting.py` makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    address_holders,
    addresses,
    audit,
    bounced_addresses,
    budgets,
    database,
    ended_invitations,
    enrollment,
    link_tokens,
    lockouts,
    outbox,
    secrets,
    users,
)
from domain.actors import Actor, require_subscription, still_administrator
from domain.audit import Action
from domain.database import Row
from domain.errors import (
    AddressBounced,
    AlreadySetUp,
    Busy,
    EmailInUse,
    Forbidden,
    InputInvalid,
    InputProblem,
    LimitReached,
    Refusal,
    TooManyAttempts,
    TooSoon,
    Unauthenticated,
    UserInactive,
)
from domain.models.columns import AccessLevel, InvitationState, new_nonce
from domain.outbox import Kind, Message
from domain.users import UserRecord

LIFETIME = timedelta(days=7)
# A relay that was down for longer is a matter for the administrator, who sees the message as failed and resends.
MAIL_LIFETIME = timedelta(hours=24)
SENT_AGAIN = "The invitation was sent again."
MAX_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the landing page of a link may show. email: masked."""

    practice_name: str
    first_name: str
    email: str
    expires_at: datetime


def message(practice_id: UUID, user_id: UUID, invitation_id: UUID, now: datetime) -> Message:
    """The e-mail of an invitation, to be queued. now: the database's time."""
    return Message(
        kind=Kind.INVITATION,
        subject_id=invitation_id,
        expires_at=now + MAIL_LIFETIME,
        practice_id=practice_id,
        user_id=user_id,
    )


async def resend(actor: Actor, user_id: UUID, email: str | None, *, address_repaired: bool = False) -> UserRecord:
    """Mail a fresh link to somebody who has not finished, also when the old one has run out or was declined; the old one dies.

    email: corrects a mistyped address first. address_repaired: the administrator knows that mail arrives again where it bounced.
    Raises Unauthenticated, Forbidden, SubscriptionLapsed, NotFound, AlreadySetUp, UserInactive, InputInvalid, AddressBounced, TooSoon,
    LimitReached, EmailInUse, SignInAgain (an administrator's address, or an administrator's invitation that had ended). Writes: user,
    invitation, delivery, audit "invitation.resent"; ends an open enrollment.
    """
    member = actor.administrator()
    require_subscription(member)
    canonical = _corrected(email)
    try:
        if canonical is not None:  # a refusal tells that an address is in use: it costs, whatever becomes of the act
            await budgets.take(f"corrections:{member.practice_id}", budgets.CORRECTIONS_PER_PRACTICE)
        async with database.transaction():
            await still_administrator(actor)
            row = await _held(member.practice_id, user_id)
            is_ended = row["state"] != InvitationState.PENDING
            if row["access_level"] == AccessLevel.ADMINISTRATOR and (canonical is not None or is_ended):
                actor.freshly_signed_in()  # whoever reads mail there will answer for the practice
            await _require_no_bounce(row, email, canonical, address_repaired)
            await _require_pause(row["id"])
            row["email_canonical"] = await _take_address(row, email, canonical)
            await renew_link(row, SENT_AGAIN, offered_by=member.user_id if is_ended else None)
            if address_repaired:
                await bounced_addresses.forgive(member.practice_id, [row["email_canonical"]])
            details: dict[str, object] = {
                "address_corrected": canonical is not None,
                "address_repaired": address_repaired,
            }
            await audit.record(
                actor, Action.INVITATION_RESENT, subject_id=user_id, subject_name=row["name"], details=details
            )
    except IntegrityError as error:
        if not address_holders.is_conflict(error):
            raise
        await _refuse(actor, user_id, "EmailInUse")
        raise EmailInUse(email or row["email"]) from None
    except (AddressBounced, TooSoon, EmailInUse, LimitReached, AlreadySetUp, UserInactive) as refusal:
        await _refuse(actor, user_id, type(refusal).__name__)
        raise
    return await users.get(member.practice_id, user_id)


async def resend_all(actor: Actor, user_ids: Sequence[UUID]) -> list[UserRecord | Refusal]:
    """Send several invitations again, each on its own, as `resend` does: for each, in order, the user or why not.

    user_ids: 1 to 200. Raises, and then nothing was sent: Unauthenticated, Forbidden, SubscriptionLapsed, InputInvalid (their number);
    Busy, also halfway: whoever asks again is told TooSoon for those who have got theirs.
    """
    require_subscription(actor.administrator())
    if not 1 <= len(user_ids) <= MAX_AT_ONCE:
        message = f"Put 1 to {MAX_AT_ONCE} people here, not {len(user_ids)}."
        raise InputInvalid([InputProblem(("userIds",), message)])
    results: list[UserRecord | Refusal] = []
    for user_id in user_ids:
        try:
            results.append(await resend(actor, user_id, None))
        except (Unauthenticated, Forbidden, Busy):
            raise
        except Refusal as refusal:
            results.append(refusal)
    return results


async def _refuse(actor: Actor, user_id: UUID, reason: str) -> None:
    await audit.record(actor, Action.INVITATION_RESEND_REFUSED, subject_id=user_id, details={"reason": reason})


def _corrected(email: str | None) -> str | None:
    if email is None:
        return None
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None


async def _held(practice_id: UUID, user_id: UUID) -> Row:
    """The latest invitation of somebody in the practice who has not finished, locked. Raises AlreadySetUp, UserInactive, NotFound."""
    row = await database.fetch_one(
        """
        SELECT i.*, u.email, u.email_canonical, u.access_level, rtrim(u.first_name || ' ' || u.last_name) AS name
        FROM invitations i JOIN users u ON u.id = i.user_id
        WHERE i.practice_id = $1 AND i.user_id = $2 AND u.status = 'INVITED' AND u.removed_at IS NULL FOR UPDATE OF i
        """,
        practice_id,
        user_id,
    )
    if row is None:
        raise await users.why_not_invited(practice_id, user_id)
    return row


async def _require_no_bounce(row: Row, email: str | None, canonical: str | None, address_repaired: bool) -> None:
    wanted = canonical or row["email_canonical"]
    held = (await bounced_addresses.among(row["practice_id"], [wanted])).get(wanted)
    if held is not None and held.holds(is_repaired=address_repaired):
        raise held.refusal(addresses.shown_email(email) if email is not None else row["email"])


async def _require_pause(invitation_id: UUID) -> None:
    row = await database.fetch_one(
        f"SELECT last_send_at + {users.COOL_DOWN} AS free_at FROM invitations"  # noqa: S608 -- a constant
        f" WHERE id = $1 AND last_send_at + {users.COOL_DOWN} > clock_now()",
        invitation_id,
    )
    if row is not None:
        raise TooSoon(row["free_at"])


async def _take_address(row: Row, email: str | None, canonical: str | None) -> str:
    """Correct the address; what it is from now on. Raises EmailInUse, also where an account took the address since the last mail."""
    wanted = canonical or row["email_canonical"]
    typed = addresses.shown_email(email) if email is not None else row["email"]
    if await address_holders.is_taken(wanted, row["practice_id"], but=row["user_id"]):
        raise EmailInUse(typed)
    if canonical is not None:
        await database.execute(
            "UPDATE users SET email = $2, email_canonical = $3 WHERE id = $1", row["user_id"], typed, wanted
        )
    return wanted


def mail_key(practice_id: UUID, canonical: str) -> str:
    """Under which name the invitation mails of a practice to one address are counted."""
    return f"invitation-mails:{practice_id}:{secrets.fingerprint('email', canonical)}"


async def renew_link(row: Row, reason: str, *, offered_by: UUID | None = None) -> None:
    """Mail a fresh link of an invitation, in the transaction under way; the old one dies, and what was begun with it.

    One that had ended is open again. row: id, practice_id, user_id and email_canonical of an invitation that the caller holds and nobody
    accepted. offered_by: who answers for it from now on, where that is not who did before. Raises LimitReached.
    """
    await budgets.take(f"resend:{row['id']}", budgets.RESENDS_PER_INVITATION)
    await budgets.take(mail_key(row["practice_id"], row["email_canonical"]), budgets.INVITATION_MAILS_PER_ADDRESS)
    await enrollment.end_for_invitations([row["id"]])
    # As with the link, an administrator vouches for the person anew: wrong codes for the phone begin to count again.
    await lockouts.lift_phone(row["user_id"])
    await outbox.cancel(subject_id=row["id"], reason=reason)
    now = await database.now()
    deliveries = await outbox.queue(message(row["practice_id"], row["user_id"], row["id"], now))
    await database.execute(
        "UPDATE invitations SET nonce = $2, key_id = $3, delivery_id = $4, sends = sends + 1, last_send_at = $5, expires_at = $6,"
        " reminder_id = NULL, summarized_at = NULL, state = 'PENDING', revoked_at = NULL, end_reason = NULL,"
        " invited_by_id = coalesce($7::uuid, invited_by_id)"
        " WHERE id = $1",
        row["id"],
        new_nonce(),
        secrets.newest_key_id(),
        deliveries[0],
        now,
        now + LIFETIME,
        offered_by,
    )


async def reopen(user_id: UUID, *, offered_by: UUID) -> None:
    """Offer an invitation that had ended anew with a fresh link, in the transaction under way; the caller holds its row.

    offered_by: the administrator who answers for it from now on. Raises LimitReached.
    """
    row = await database.fetch_one(
        "SELECT i.id, i.practice_id, i.user_id, u.email_canonical FROM invitations i JOIN users u ON u.id = i.user_id"
        " WHERE i.user_id = $1 AND i.state = 'REVOKED'",
        user_id,
    )
    if row is not None:
        await renew_link(row, SENT_AGAIN, offered_by=offered_by)


async def replace_open(user_id: UUID, *, is_lowered: bool) -> None:
    """Put a fresh link in the place of one that is still good, since what it leads to has changed; in the transaction under way.

    An invitation that has run out stays so. is_lowered: it leads to less than before, which must not wait for another day: where no
    mail may be sent any more, the invitation runs out here and now. The caller holds its row. Raises LimitReached.
    """
    row = await database.fetch_one(
        "SELECT i.id, i.practice_id, i.user_id, u.email_canonical FROM invitations i JOIN users u ON u.id = i.user_id"
        " WHERE i.user_id = $1 AND i.state = 'PENDING' AND i.expires_at > clock_now()",
        user_id,
    )
    if row is None:
        return
    try:
        await renew_link(row, "The access level was changed.")
    except LimitReached:
        if not is_lowered:
            raise
        await _let_run_out(row["id"])


async def _let_run_out(invitation_id: UUID) -> None:
    """End the link of a pending invitation, which can be sent again later."""
    await enrollment.end_for_invitations([invitation_id])
    await outbox.cancel(subject_id=invitation_id, reason="The access level was changed.")
    await database.execute(
        "UPDATE invitations SET nonce = $2, expires_at = least(expires_at, clock_now()) WHERE id = $1",
        invitation_id,
        new_nonce(),
    )


async def revoke(actor: Actor, user_id: UUID) -> None:
    """Take back an invitation that nobody has finished, whether or not it is still open; the person leaves the tile.

    One that was taken back stays so.

    Raises Unauthenticated, Forbidden, NotFound, AlreadySetUp, UserInactive. Writes: invitation, user, audit "invitation.revoked"; ends an
    open enrollment.
    """
    member = actor.administrator()
    async with database.transaction():
        await still_administrator(actor)
        # The lock that `_held` waits for, so that of two who take it back at once the second sees what the first has done.
        await database.fetch(
            "SELECT 1 FROM invitations WHERE practice_id = $1 AND user_id = $2 FOR UPDATE", member.practice_id, user_id
        )
        revoked = await database.fetch(
            "SELECT 1 FROM users WHERE id = $1 AND practice_id = $2 AND removed_at IS NOT NULL",
            user_id,
            member.practice_id,
        )
        if revoked:
            return
        row = await _held(member.practice_id, user_id)
        await ended_invitations.withdraw([row["id"]], remove_users=[user_id])
        await audit.record(actor, Action.INVITATION_REVOKED, subject_id=user_id, subject_name=row["name"])


async def preview(actor: Actor, token: str) -> Preview | None:
    """Whose a link is, for its landing page; None when it is not, or no longer, good. Spends nothing.

    token: as in `link_tokens.read`; a wrong code that somebody typed is counted here too.
    """
    try:
        token = await link_tokens.read(actor, "invitation", token)
    except TooManyAttempts:
        return None
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        """
        SELECT i.id, i.nonce, i.key_id, i.expires_at, u.first_name, u.email, p.name
        FROM invitations i JOIN users u ON u.id = i.user_id JOIN practices p ON p.id = i.practice_id
        WHERE i.id = $1 AND i.state = 'PENDING' AND i.expires_at > clock_now()
        """,
        row_id,
    )
    if not row or not secrets.is_link_token(token, "invitation", row["id"], row["nonce"], row["key_id"]):
        return None
    return Preview(
        practice_name=row["name"],
        first_name=row["first_name"],
        email=addresses.masked_email(row["email"]),
        expires_at=row["expires_at"],
    )
