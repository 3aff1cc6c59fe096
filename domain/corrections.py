"""An administrator, or an operator, corrects the name or the address of somebody who has joined."""

from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    account_changes,
    address_holders,
    addresses,
    audit,
    bounced_addresses,
    budgets,
    database,
    email_changes,
    invitations,
    names,
    notices,
    own_names,
    user_support,
    users,
)
from domain.actors import Actor, still_administrator
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
    """Correct the name of a user of the actor's practice, who is told by mail.

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
                await notices.tell(member.practice_id, user_id, Notice.NAME_CORRECTED)
            details: dict[str, object] = {"from": user["name"], "to": after}
            await audit.record(actor, Action.USER_RENAMED, subject_id=user_id, subject_name=after, details=details)
    return await users.get(member.practice_id, user_id)


async def correct_email(actor: Actor, user_id: UUID, email: str, *, raw_reason: str | None = None) -> UserRecord:
    """Correct the address of an active user: of the actor's practice for an administrator, of any practice for an operator, who says why.

    A link goes to the new address, and following it makes the address theirs (`email_changes.confirm`); until then nothing changes, so nobody
    gets an address whose mailbox they do not have. The present address and the phone are told at once, and get a link that stops it. The same
    again, while the link waits or after it was followed, sends nothing. Raises Unauthenticated, Forbidden, SignInAgain, NotFound, InputInvalid (one's own, who is not active,
    an operator's reason), AddressBounced, EmailInUse, ChangedRecently, LimitReached. Writes: user, account_change, deliveries, audit "email.corrected"
    or "email.correction_refused".
    """
    practice_id, reason = await _where(actor, user_id, raw_reason)
    canonical = _canonical(email)
    try:
        if not actor.is_operator:  # a refusal tells that an address is in use: it costs, whatever becomes of the act
            await budgets.take(f"corrections:{practice_id}", budgets.CORRECTIONS_PER_PRACTICE)
        async with database.transaction():
            await address_holders.lock(canonical)
            await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
            if not actor.is_operator:
                await still_administrator(actor)
            user = await account_changes.hold_user(practice_id, user_id)
            if user is None:
                raise NotFound
            await _correct(actor, user, addresses.shown_email(email), canonical, reason)
    except IntegrityError as error:
        if not address_holders.is_conflict(error):
            raise
        await _refuse(actor, practice_id, user_id, "EmailInUse")
        raise EmailInUse(email) from None
    except (AddressBounced, EmailInUse, ChangedRecently, LimitReached) as refusal:
        await _refuse(actor, practice_id, user_id, type(refusal).__name__)
        raise
    return await users.get(practice_id, user_id)


async def _where(actor: Actor, user_id: UUID, raw_reason: str | None) -> tuple[UUID, str | None]:
    if actor.is_operator:
        return await user_support.practice_of(user_id), user_support.checked_reason(raw_reason or "")
    member = actor.administrator()
    actor.freshly_signed_in()
    if user_id == member.user_id:
        problem = "Change your own address with changeEmail, or ask another administrator."
        raise InputInvalid([InputProblem(("userId",), problem)])
    return member.practice_id, None


def _canonical(email: str) -> str:
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None


async def _correct(actor: Actor, user: Row, email: str, canonical: str, reason: str | None) -> None:
    status = UserStatus(user["status"])
    if status in NOT_ACTIVE:
        raise InputInvalid([InputProblem(("userId",), NOT_ACTIVE[status])])
    if canonical == user["email_canonical"] or await email_changes.is_pending(user["id"], canonical):
        return  # sent twice, or nothing to do
    held = await bounced_addresses.among(user["practice_id"], [canonical])
    if canonical in held and held[canonical].holds(is_repaired=False):
        raise held[canonical].refusal(email)
    if await address_holders.is_taken(canonical, user["practice_id"], but=user["id"]):
        raise EmailInUse(email)
    await account_changes.require_pause(user["id"], AccountChangeKind.EMAIL)
    if not actor.is_operator:
        await budgets.take(f"corrections:user:{user['id']}", budgets.EMAIL_CHANGES_PER_USER)
        mails = invitations.mail_key(user["practice_id"], canonical)
        await budgets.take(mails, budgets.INVITATION_MAILS_PER_ADDRESS)
    link = await email_changes.send_link(user, email, canonical)
    await account_changes.note(actor, user, AccountChangeKind.EMAIL, reason=reason, link=link)
    details: dict[str, object] = {"reason": reason} if reason else {}
    await audit.record(
        actor,
        Action.EMAIL_CORRECTED,
        practice_id=user["practice_id"],
        subject_id=user["id"],
        subject_name=user["name"],
        details=details,
    )


async def _refuse(actor: Actor, practice_id: UUID, user_id: UUID, reason: str) -> None:
    details: dict[str, object] = {"reason": reason}
    await audit.record_all(
        actor,
        [Entry(action=Action.EMAIL_CORRECTION_REFUSED, subject_id=user_id, details=details)],
        practice_id=practice_id,
    )
