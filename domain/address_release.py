"""Letting go of the address of somebody deactivated, so that it can be used again: by the person elsewhere, or by whoever has the mailbox now.

The row keeps the address for the record. Reactivating the person takes it again, unless somebody else has it by then.
"""

from datetime import timedelta
from uuid import UUID

from domain import audit, database, outbox, user_support, users
from domain.actors import ADDRESS_HOLDER, Actor, still_administrator
from domain.audit import Action, Entry
from domain.database import Row
from domain.errors import InputInvalid, InputProblem, NotFound
from domain.models.columns import UserStatus
from domain.outbox import Kind, Message
from domain.users import UserRecord

MAIL_LIFETIME = timedelta(hours=24)
NOT_INACTIVE = {
    UserStatus.ACTIVE: "This person can sign in with the address. Deactivate them first.",
    UserStatus.INVITED: "This person has not joined, and an invitation holds no address. Revoke the invitation instead.",
}
BY_PRACTICE = "released by the practice"
BY_MAILBOX = "whoever has the mailbox signed a practice up"
BY_OWNER = "its former owner stopped a change of address"


async def release(actor: Actor, user_id: UUID, *, raw_reason: str | None = None) -> UserRecord:
    """Let go of the address of a deactivated user: of the actor's practice for an administrator, of any practice for an operator.

    raw_reason: an operator says why. An address that was released already stays so. The person is told by mail. Raises Unauthenticated,
    Forbidden, SignInAgain, NotFound, InputInvalid (the person is not inactive, an operator's reason). Writes: user, delivery, audit "user.address_released" or "user.address_release_refused".
    """
    practice_id = None if actor.is_operator else actor.administrator().practice_id
    reason = BY_PRACTICE
    if actor.is_operator:
        reason = user_support.checked_reason(raw_reason or "")
    else:
        actor.freshly_signed_in()
    async with database.transaction():
        user = await _held(actor, user_id, practice_id)
        if user["status"] != UserStatus.INACTIVE:
            details: dict[str, object] = {"reason": f"the person is {user['status']}"}
            entry = Entry(
                action=Action.ADDRESS_RELEASE_REFUSED,
                subject_id=user_id,
                subject_name=user["name"],
                details=details,
            )
            audit.record_after_rollback(actor, entry, practice_id=user["practice_id"])
            raise InputInvalid([InputProblem(("userId",), NOT_INACTIVE[UserStatus(user["status"])])])
        await let_go(actor, user, reason=reason)
    return await users.get(user["practice_id"], user_id)


async def _held(actor: Actor, user_id: UUID, practice_id: UUID | None) -> Row:
    """The user, locked as `deactivation` locks them. Raises NotFound."""
    found = await database.fetch_one(
        "SELECT practice_id FROM users WHERE id = $1 AND ($2::uuid IS NULL OR practice_id = $2)", user_id, practice_id
    )
    if found is None:
        raise NotFound
    await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", found["practice_id"])
    if not actor.is_operator:
        await still_administrator(actor)
    user = await database.fetch_one(
        "SELECT id, practice_id, status, rtrim(first_name || ' ' || last_name) AS name FROM users"
        " WHERE id = $1 AND removed_at IS NULL FOR UPDATE",
        user_id,
    )
    if user is None:
        raise NotFound
    return user


async def let_go(actor: Actor, user: Row, *, reason: str = BY_PRACTICE) -> None:
    """Release the address of an inactive user whose row the caller holds, in the transaction under way; nothing where that was done.

    user: id, practice_id and name. reason: for the audit log. Somebody who never had an account is not told: there is nothing that they could not do before.
    """
    had_account = await _mark(actor, user, reason)
    if not had_account:
        return
    expires_at = await database.now() + MAIL_LIFETIME
    await outbox.queue(
        Message(
            kind=Kind.ADDRESS_RELEASED,
            subject_id=user["id"],
            expires_at=expires_at,
            practice_id=user["practice_id"],
            user_id=user["id"],
        )
    )


async def give_to_sign_up(canonical: str) -> None:
    """Release an address that a deactivated account has, in the transaction under way, for whoever proved the mailbox by signing up.

    An active account keeps it. The caller has called `address_holders.lock`.
    """
    user = await database.fetch_one(
        "SELECT id, practice_id, rtrim(first_name || ' ' || last_name) AS name FROM users"
        " WHERE email_canonical = $1 AND holds_email AND status = 'INACTIVE' FOR UPDATE",
        canonical,
    )
    if user is not None:
        await _mark(ADDRESS_HOLDER, user, BY_MAILBOX)


async def give_back(canonical: str, practice_id: UUID) -> None:
    """Release an address that a practice gave to somebody deactivated who never set up an account, in the transaction under way.

    For whoever had the address before and proved the mailbox. The caller has called `address_holders.lock` and locked the practice.
    """
    users = await database.fetch(
        "SELECT id, practice_id, rtrim(first_name || ' ' || last_name) AS name FROM users"
        " WHERE practice_id = $1 AND email_canonical = $2 AND removed_at IS NULL AND address_released_at IS NULL AND status = 'INACTIVE'"
        " AND password_hash IS NULL ORDER BY id FOR UPDATE",
        practice_id,
        canonical,
    )
    for user in users:
        await _mark(ADDRESS_HOLDER, user, BY_OWNER)


async def _mark(actor: Actor, user: Row, reason: str) -> bool:
    """Release it, on record; whether that was done just now, and of somebody who had an account."""
    released = await database.fetch_one(
        "UPDATE users SET address_released_at = clock_now()"
        " WHERE id = $1 AND status = 'INACTIVE' AND address_released_at IS NULL RETURNING password_hash IS NOT NULL AS had_account",
        user["id"],
    )
    if released is not None:
        await audit.record(
            actor,
            Action.ADDRESS_RELEASED,
            practice_id=user["practice_id"],
            subject_id=user["id"],
            subject_name=user["name"],
            details={"reason": reason},
        )
    return released is not None and bool(released["had_account"])
