"""Changing what somebody may do, and letting somebody back in."""

from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    address_holders,
    administrators,
    audit,
    database,
    invitations,
    lockouts,
    notices,
    practice_access_codes,
    users,
)
from domain.actors import Actor, Member, require_subscription, still_administrator
from domain.audit import Action
from domain.database import Row
from domain.errors import EmailInUse, LastAdministrator, LimitReached, NotFound, Refusal
from domain.models.columns import AccessLevel, UserStatus
from domain.outbox import Notice
from domain.permissions import permissions_of
from domain.users import UserRecord


async def change(actor: Actor, user_id: UUID, access_level: AccessLevel) -> UserRecord:
    """Give a user of the actor's practice another access level; it holds from the user's next request on.

    Somebody who has not finished gets a fresh link, and the old one dies. Raises Unauthenticated, Forbidden, SignInAgain, NotFound,
    LastAdministrator, SubscriptionLapsed (a new administrator), LimitReached (links sent; never where access is taken away). Writes: user,
    perhaps invitation and delivery, audit "user.access_level_changed";
    perhaps a new practice access code (`practice_access_codes.note_departure`).
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    try:
        await _change(actor, member, user_id, access_level)
    except (LastAdministrator, LimitReached) as refusal:
        await _refuse(actor, Action.ACCESS_LEVEL_REFUSED, user_id, refusal)
        raise
    return await users.get(member.practice_id, user_id)


async def _refuse(actor: Actor, action: Action, user_id: UUID, refusal: Refusal) -> None:
    await audit.record(actor, action, subject_id=user_id, details={"reason": type(refusal).__name__})


async def _change(actor: Actor, member: Member, user_id: UUID, access_level: AccessLevel) -> None:
    async with database.transaction():
        user = await _held(actor, member.practice_id, user_id)
        before = AccessLevel(user["access_level"])
        is_administrator = before is AccessLevel.ADMINISTRATOR and user["status"] == UserStatus.ACTIVE
        is_demoted = is_administrator and access_level is not AccessLevel.ADMINISTRATOR
        if is_demoted:
            await administrators.require_other(actor, member.practice_id, user_id)
        if access_level is AccessLevel.ADMINISTRATOR and before is not access_level:
            require_subscription(member)
        if before is not access_level:
            await database.execute("UPDATE users SET access_level = $2 WHERE id = $1", user_id, access_level.value)
            if user["status"] == UserStatus.INVITED:
                is_lowered = not set(permissions_of(before)) <= set(permissions_of(access_level))
                await invitations.replace_open(user_id, is_lowered=is_lowered)
            elif user["status"] == UserStatus.ACTIVE:
                await notices.tell_sparingly(member.practice_id, user_id, Notice.ACCESS_LEVEL_CHANGED)
            details: dict[str, object] = {"from": before.value, "to": access_level.value}
            await audit.record(
                actor, Action.ACCESS_LEVEL_CHANGED, subject_id=user_id, subject_name=user["name"], details=details
            )
        if is_demoted:
            await practice_access_codes.note_departure(actor, member.practice_id, user_id, user["name"])


async def reactivate(actor: Actor, user_id: UUID) -> UserRecord:
    """Let a user back in who was deactivated; an address that was released is taken again.

    No old session or device comes back, so the next sign-in asks for a fresh code. Somebody who had not finished setting up is
    invited again. A user who is not inactive stays as they are. Raises Unauthenticated, Forbidden, SubscriptionLapsed, NotFound,
    EmailInUse (the address went to somebody else meanwhile), LimitReached (links sent), SignInAgain (an administrator). Writes: user,
    perhaps invitation and delivery, audit "user.reactivated".
    """
    member = actor.administrator()
    require_subscription(member)
    try:
        async with database.transaction():
            await _lock_address(member.practice_id, user_id)
            user = await _held(actor, member.practice_id, user_id)
            if user["status"] == UserStatus.INACTIVE:
                if user["access_level"] == AccessLevel.ADMINISTRATOR:
                    actor.freshly_signed_in()
                await _reactivate(actor, user, member.user_id)
    except IntegrityError as error:
        if not address_holders.is_conflict(error):
            raise
        record = await users.get(member.practice_id, user_id)
        refusal = EmailInUse(record.email)
        await _refuse(actor, Action.USER_REACTIVATION_REFUSED, user_id, refusal)
        raise refusal from None
    except (LimitReached, EmailInUse) as refusal:
        await _refuse(actor, Action.USER_REACTIVATION_REFUSED, user_id, refusal)
        raise
    return await users.get(member.practice_id, user_id)


async def _lock_address(practice_id: UUID, user_id: UUID) -> None:
    """Taking an address again is finishing with it: see `address_holders.lock`. The address of an inactive user stays as it is."""
    row = await database.fetch_one(
        "SELECT email_canonical FROM users WHERE id = $1 AND practice_id = $2", user_id, practice_id
    )
    if row is not None:
        await address_holders.lock(row["email_canonical"])


async def _held(actor: Actor, practice_id: UUID, user_id: UUID) -> Row:
    """A user of the practice, locked as `deactivation` locks them. Raises NotFound."""
    await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
    await still_administrator(actor)
    await database.fetch(
        "SELECT 1 FROM invitations WHERE user_id = $1 AND practice_id = $2 FOR UPDATE", user_id, practice_id
    )
    user = await database.fetch_one(
        "SELECT id, practice_id, status, access_level, email, email_canonical, password_hash, rtrim(first_name || ' ' || last_name) AS name"
        " FROM users WHERE id = $1 AND practice_id = $2 AND removed_at IS NULL FOR UPDATE",
        user_id,
        practice_id,
    )
    if user is None:
        raise NotFound
    return user


async def _reactivate(actor: Actor, user: Row, administrator_id: UUID) -> None:
    has_finished = user["password_hash"] is not None
    if await address_holders.is_taken(user["email_canonical"], user["practice_id"], but=user["id"]):
        raise EmailInUse(user["email"])
    await database.execute(
        "UPDATE users SET status = $2, address_released_at = NULL, deactivated_at = NULL, deactivation_reason = NULL WHERE id = $1",
        user["id"],
        (UserStatus.ACTIVE if has_finished else UserStatus.INVITED).value,
    )
    # An administrator vouches for the person anew, which is what it takes after too many wrong codes.
    await lockouts.lift_phone(user["id"])
    if has_finished:
        await address_holders.end_other_invitations(user["email_canonical"], holder=user["id"])
    else:
        await invitations.reopen(user["id"], offered_by=administrator_id)
    await audit.record(actor, Action.USER_REACTIVATED, subject_id=user["id"], subject_name=user["name"])
