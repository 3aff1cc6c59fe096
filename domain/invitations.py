"""An invitation's life after it was made: sent again, looked at, taken back. `inviting.py` makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import addresses, audit, bounced_addresses, budgets, database, enrollment, guesses, outbox, secrets, users
from domain.actors import Actor, require_subscription, still_administrator
from domain.audit import Action
from domain.database import Row
from domain.errors import (
    AddressBounced,
    AlreadySetUp,
    EmailInUse,
    InputInvalid,
    InputProblem,
    LimitReached,
    TooSoon,
    UserInactive,
)
from domain.models.columns import AccessLevel, new_nonce
from domain.outbox import Kind, Message
from domain.users import UserRecord

LIFETIME = timedelta(days=7)
# A relay that was down for longer is a matter for the administrator, who sees the message as failed and resends.
MAIL_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the landing page of a link may show. email: masked."""

    practice_name: str
    first_name: str
    email: str
    expires_at: datetime


async def let_go_of_expired(canonical: Sequence[str], practice_id: UUID) -> None:
    """An invitation of another practice that has run out holds its address no longer; resending it takes the address back.

    One that is being resent this very moment is left alone: its row is locked, and it is not going to stay expired.
    """
    await database.execute(
        """
        WITH expired AS (
            SELECT i.user_id FROM invitations i JOIN users u ON u.id = i.user_id
            WHERE u.email_canonical = ANY($1::text[]) AND u.holds_email AND u.status = 'INVITED' AND u.practice_id <> $2
                AND i.expires_at <= clock_now()
            ORDER BY i.id FOR UPDATE OF i SKIP LOCKED
        )
        UPDATE users u SET holds_email = false FROM expired
        WHERE u.id = expired.user_id AND u.holds_email AND u.status = 'INVITED'
        """,
        list(canonical),
        practice_id,
    )


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
    """Mail a fresh link to somebody who has not finished, whether or not the old one has run out; the old one dies.

    email: puts a mistyped address right first. address_repaired: the administrator knows that mail arrives again where it bounced.
    Raises Unauthenticated, Forbidden, SubscriptionLapsed, NotFound, AlreadySetUp, UserInactive, InputInvalid, AddressBounced, TooSoon,
    LimitReached, EmailInUse, SignInAgain (an administrator's address). Writes: user, invitation, delivery, audit "invitation.resent"; ends
    an open enrollment.
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
            if canonical is not None and row["access_level"] == AccessLevel.ADMINISTRATOR:
                actor.freshly_signed_in()  # whoever reads mail there will answer for the practice
            await _require_no_bounce(row, email, canonical, address_repaired)
            await _require_pause(row["id"])
            row["email_canonical"] = await _take_address(row, email, canonical)
            await renew_link(row, "The invitation was sent again.")
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
        if database.violated_constraint(error) != "uq_users_email":
            raise
        await _refuse(actor, user_id, "EmailInUse")
        raise EmailInUse(email or row["email"]) from None
    except (AddressBounced, TooSoon, EmailInUse, LimitReached, AlreadySetUp, UserInactive) as refusal:
        await _refuse(actor, user_id, type(refusal).__name__)
        raise
    return await users.get(member.practice_id, user_id)


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
    """The pending invitation of a user of the practice, locked. Raises AlreadySetUp, UserInactive, NotFound."""
    row = await database.fetch_one(
        """
        SELECT i.*, u.email, u.email_canonical, u.access_level, u.first_name || ' ' || u.last_name AS name
        FROM invitations i JOIN users u ON u.id = i.user_id
        WHERE i.practice_id = $1 AND i.user_id = $2 AND i.state = 'PENDING' AND u.status = 'INVITED' FOR UPDATE OF i
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
        raise held.refusal(email.strip() if email is not None else row["email"])


async def _require_pause(invitation_id: UUID) -> None:
    row = await database.fetch_one(
        f"SELECT last_send_at + {users.COOL_DOWN} AS free_at FROM invitations"  # noqa: S608 -- a constant
        f" WHERE id = $1 AND last_send_at + {users.COOL_DOWN} > clock_now()",
        invitation_id,
    )
    if row is not None:
        raise TooSoon(row["free_at"])


async def _take_address(row: Row, email: str | None, canonical: str | None) -> str:
    """Correct the address, and hold it again where an expired invitation had let go of it; what it is from now on.

    A unique index decides. Raises EmailInUse.
    """
    wanted = canonical or row["email_canonical"]
    await let_go_of_expired([wanted], row["practice_id"])
    typed = email.strip() if email is not None else row["email"]
    own = await database.fetch_one(
        "SELECT 1 AS found FROM users WHERE practice_id = $1 AND email_canonical = $2 AND id <> $3 AND removed_at IS NULL",
        row["practice_id"],
        wanted,
        row["user_id"],
    )
    if own is not None:
        raise EmailInUse(typed)
    await database.execute(
        "UPDATE users SET email = $2, email_canonical = $3, holds_email = true WHERE id = $1",
        row["user_id"],
        typed,
        wanted,
    )
    return wanted


def mail_key(practice_id: UUID, canonical: str) -> str:
    """Under which name the invitation mails of a practice to one address are counted."""
    return f"invitation-mails:{practice_id}:{secrets.fingerprint('email', canonical)}"


async def renew_link(row: Row, reason: str) -> None:
    """Mail a fresh link of a pending invitation, in the transaction under way; the old one dies, and what was begun with it.

    row: id, practice_id, user_id and email_canonical of an invitation that the caller holds. Raises LimitReached.
    """
    await budgets.take(f"resend:{row['id']}", budgets.RESENDS_PER_INVITATION)
    await budgets.take(mail_key(row["practice_id"], row["email_canonical"]), budgets.INVITATION_MAILS_PER_ADDRESS)
    await enrollment.end_for_invitations([row["id"]])
    # As with the link, an administrator vouches for the person anew: wrong codes for the phone begin to count again.
    await guesses.succeed(f"phone:user:{row['user_id']}")
    await outbox.cancel(subject_id=row["id"], reason=reason)
    now = await database.now()
    deliveries = await outbox.queue(message(row["practice_id"], row["user_id"], row["id"], now))
    await database.execute(
        "UPDATE invitations SET nonce = $2, key_id = $3, delivery_id = $4, sends = sends + 1, last_send_at = $5, expires_at = $6,"
        " reminder_id = NULL, summarized_at = NULL"
        " WHERE id = $1",
        row["id"],
        new_nonce(),
        secrets.newest_key_id(),
        deliveries[0],
        now,
        now + LIFETIME,
    )


async def reopen(user_id: UUID) -> None:
    """Offer a revoked invitation anew with a fresh link, in the transaction under way; the caller holds its row.

    Raises LimitReached.
    """
    row = await database.fetch_one(
        "UPDATE invitations i SET state = 'PENDING', revoked_at = NULL FROM users u"
        " WHERE i.user_id = $1 AND i.state = 'REVOKED' AND u.id = i.user_id"
        " RETURNING i.id, i.practice_id, i.user_id, u.email_canonical",
        user_id,
    )
    if row is not None:
        await renew_link(row, "The invitation was sent again.")


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
    """Take an invitation back that nobody has finished; the address is free again. One that was taken back stays so.

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
        await withdraw([row["id"]], remove_users=[user_id])
        await audit.record(actor, Action.INVITATION_REVOKED, subject_id=user_id, subject_name=row["name"])


async def withdraw(invitation_ids: Sequence[UUID], *, remove_users: Sequence[UUID]) -> None:
    """Revoke pending invitations whose rows the caller holds, in the transaction under way.

    Their links, enrollments, codes and waiting e-mails end with them. remove_users: invited people of whom nothing remains.
    """
    await database.execute(
        "UPDATE invitations SET state = 'REVOKED', revoked_at = clock_now() WHERE id = ANY($1::uuid[]) AND state = 'PENDING'",
        list(invitation_ids),
    )
    await enrollment.end_for_invitations(invitation_ids)
    await database.execute(
        "UPDATE users SET removed_at = clock_now(), holds_email = false WHERE id = ANY($1::uuid[]) AND status = 'INVITED'",
        list(remove_users),
    )
    for invitation_id in invitation_ids:
        await outbox.cancel(subject_id=invitation_id, reason="The invitation was revoked.")


async def preview(token: str) -> Preview | None:
    """Whose a link is, for its landing page; None when it is not, or no longer, good. Writes nothing."""
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
