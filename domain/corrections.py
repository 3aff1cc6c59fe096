"""An administrator, or an operator, corrects the name or the address of somebody who has joined."""

from dataclasses import dataclass
from uuid import UUID

from domain import (
    account_changes,
    address_holders,
    addresses,
    audit,
    bounced_addresses,
    budgets,
    database,
    email_changes,
    names,
    notices,
    own_names,
    user_support,
    users,
)
from domain.actors import Actor, require_subscription, still_administrator
from domain.audit import Action, Entry
from domain.database import Row
from domain.errors import (
    AddressBounced,
    ChangedRecently,
    EmailInUse,
    InputInvalid,
    InputProblem,
    LimitReached,
    NotFound,
)
from domain.models.columns import AccountChangeKind, UserStatus
from domain.models.users import sort_name
from domain.outbox import Notice
from domain.users import UserRecord

NOT_ACTIVE = {
    UserStatus.INVITED: "This person has not finished setting up. Resend the invitation with the right address.",
    UserStatus.INACTIVE: "This person was deactivated. Reactivate them first.",
}


async def correct_name(actor: Actor, user_id: UUID, first_name: str, last_name: str) -> UserRecord:
    """Correct the name of a user of the actor's practice, who is told by mail, at most five times a day.

    Raises Unauthenticated, Forbidden, SignInAgain, NotFound, InputInvalid. Writes: user, delivery, audit "user.renamed".
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    first, last = own_names.checked(first_name, last_name)
    async with database.transaction():
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", member.practice_id)
        await still_administrator(actor)
        user = await account_changes.hold_user(member.practice_id, user_id)
        if user is None:
            raise NotFound
        after = names.full_name(first, last)
        if after != user["name"]:
            await database.execute(
                "UPDATE users SET first_name = $2, last_name = $3, sort_name = $4 WHERE id = $1",
                user_id,
                first,
                last,
                sort_name(first, last),
            )
            if user["status"] == UserStatus.ACTIVE and user_id != member.user_id:
                await notices.tell_sparingly(member.practice_id, user_id, Notice.NAME_CORRECTED)
            details: dict[str, object] = {"from": user["name"], "to": after}
            await audit.record(actor, Action.USER_RENAMED, subject_id=user_id, subject_name=after, details=details)
    return await users.get(member.practice_id, user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """What became of a correction. user: as they stand. is_link_sent: whether a mail went to the new address just now."""

    user: UserRecord
    is_link_sent: bool


async def correct_email(
    actor: Actor, user_id: UUID, email: str, *, raw_reason: str | None = None, address_repaired: bool = False
) -> Corrected:
    """Correct the address of an active user: of the actor's practice for an administrator, of any practice for an operator, who says why.

    A link goes to the new address, and following it makes the address theirs (`email_changes.confirm`); until then nothing changes, so nobody
    gets an address whose mailbox they do not have. The present address and the phone are told at once, and get a link that stops it.
    address_repaired: mail arrives again where it bounced. The same again, while the link waits, mails the same link once more, after a minute
    and at the same cost; after it was followed, nothing. Raises Unauthenticated, Forbidden, SignInAgain, SubscriptionLapsed, NotFound,
    InputInvalid (one's own, who is not active, an operator's reason), AddressBounced, EmailInUse, ChangedRecently, LimitReached. Writes:
    email_change, account_change, deliveries, audit "email.corrected" or "email.correction_refused".
    """
    practice_id, reason = await _where(actor, user_id, raw_reason)
    canonical = _canonical(email)
    try:
        if not actor.is_operator:  # a refusal tells that an address is in use: it costs, whatever becomes of the act
            await budgets.take(f"corrections:{practice_id}", budgets.CORRECTIONS_PER_PRACTICE)
        async with database.transaction():
            await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
            if not actor.is_operator:
                await still_administrator(actor)
            user = await account_changes.hold_user(practice_id, user_id)
            if user is None:
                raise NotFound
            asked = _Asked(addresses.shown_email(email), canonical, reason, address_repaired)
            is_link_sent = await _correct(actor, user, asked)
    except (AddressBounced, EmailInUse, ChangedRecently, LimitReached) as refusal:
        await _refuse(actor, practice_id, user_id, type(refusal).__name__)
        raise
    return Corrected(user=await users.get(practice_id, user_id), is_link_sent=is_link_sent)


@dataclass(frozen=True, slots=True)
class _Asked:
    email: str
    canonical: str
    reason: str | None
    address_repaired: bool


async def _where(actor: Actor, user_id: UUID, raw_reason: str | None) -> tuple[UUID, str | None]:
    if actor.is_operator:
        return await user_support.practice_of(user_id), user_support.checked_reason(raw_reason or "")
    member = actor.administrator()
    actor.freshly_signed_in()
    require_subscription(member)
    if user_id == member.user_id:
        problem = "Change your own address with changeEmail, or ask another administrator."
        raise InputInvalid([InputProblem(("userId",), problem)])
    return member.practice_id, None


def _canonical(email: str) -> str:
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None


async def _correct(actor: Actor, user: Row, asked: _Asked) -> bool:
    """Whether a link was mailed."""
    status = UserStatus(user["status"])
    if status in NOT_ACTIVE:
        raise InputInvalid([InputProblem(("userId",), NOT_ACTIVE[status])])
    if asked.canonical == user["email_canonical"]:
        return False
    is_pending = await email_changes.is_pending(user["id"], asked.canonical)
    if is_pending and not await email_changes.send_pending_again(user, asked.canonical):
        return False
    await bounced_addresses.require_none(
        user["practice_id"], asked.email, asked.canonical, is_repaired=asked.address_repaired
    )
    if await address_holders.is_taken(asked.canonical, user["practice_id"], but=user["id"]):
        raise EmailInUse(asked.email)
    await account_changes.require_pause(user["id"], AccountChangeKind.EMAIL)
    if not actor.is_operator:
        await budgets.take(f"corrections:user:{user['id']}", budgets.EMAIL_CHANGES_PER_USER)
        await email_changes.take_mail(user["practice_id"], asked.canonical)
    if not is_pending:
        link = await email_changes.send_link(user, asked.email, asked.canonical)
        await account_changes.note(actor, user, AccountChangeKind.EMAIL, reason=asked.reason, link=link)
    if asked.address_repaired:
        await bounced_addresses.forgive(user["practice_id"], [asked.canonical])
    given = {
        "reason": asked.reason,
        "address_repaired": asked.address_repaired or None,
        "sent_again": is_pending or None,
    }
    await audit.record(
        actor,
        Action.EMAIL_CORRECTED,
        practice_id=user["practice_id"],
        subject_id=user["id"],
        subject_name=user["name"],
        details={name: value for name, value in given.items() if value is not None},
    )
    return True


async def _refuse(actor: Actor, practice_id: UUID, user_id: UUID, reason: str) -> None:
    """Put a refusal on record, under the user's name if there is such a user in the practice."""
    user = await database.fetch_one(
        "SELECT rtrim(first_name || ' ' || last_name) AS name FROM users WHERE id = $1 AND practice_id = $2",
        user_id,
        practice_id,
    )
    entry = Entry(
        action=Action.EMAIL_CORRECTION_REFUSED,
        subject_id=user_id if user else None,
        subject_name=user["name"] if user else None,
        details={"reason": reason},
    )
    await audit.record_all(actor, [entry], practice_id=practice_id)
