"""A phone that is lost: taken away by another administrator at once, or by an operator after a day in which the owner can stop it.

Whoever signs in next proves another phone, with the practice access code. So a lost phone and the word of somebody who knows the person come
together with the password, or with the mailbox for a new one.
"""

from datetime import timedelta
from uuid import UUID

from domain import account_changes, audit, database, jobs, notices, practice_access_codes, user_support
from domain.actors import SCHEDULE, Actor, require_operator
from domain.audit import Action, Entry
from domain.errors import ChangedRecently, InputInvalid, InputProblem, NotFound
from domain.models.columns import AccessLevel, AccountChangeKind, UserStatus
from domain.outbox import Notice

DELAY = timedelta(hours=24)
AT_ONCE = 100


async def plan_reset(actor: Actor, user_id: UUID, raw_reason: str) -> user_support.Found:
    """Have the phone of an active user taken away in 24 hours, for an operator; the user as they stand.

    The owner is told by mail at once, with a link that stops it. One that is planned already is left as it is. Raises Forbidden, NotFound,
    InputInvalid (the reason; not active), ChangedRecently. Writes: account_change, deliveries, audit "phone.reset_planned".
    """
    require_operator(actor)
    reason = user_support.checked_reason(raw_reason)
    practice_id = await user_support.practice_of(user_id)
    async with database.transaction():
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
        user = await account_changes.hold_user(practice_id, user_id)
        if user is None:
            raise NotFound
        if user["status"] != UserStatus.ACTIVE:
            raise InputInvalid(
                [InputProblem(("userId",), f"This person is {user['status']}, and has no phone to lose.")]
            )
        entry = Entry(action=Action.PHONE_RESET_PLANNED, subject_id=user_id, subject_name=user["name"])
        try:
            await account_changes.require_pause(user_id, AccountChangeKind.PHONE)
        except ChangedRecently:
            refused = Entry(
                action=Action.PHONE_RESET_REFUSED,
                subject_id=user_id,
                subject_name=user["name"],
                details={"reason": "the address was corrected less than 24 hours ago"},
            )
            audit.record_after_rollback(actor, refused, practice_id=practice_id)
            raise
        if not await _is_planned(user_id):
            await account_changes.note(actor, user, AccountChangeKind.PHONE, after=DELAY, reason=reason)
            entry.details["reason"] = reason
            await audit.record_all(actor, [entry], practice_id=practice_id)
    return await user_support.get(actor, user_id)


async def _is_planned(user_id: UUID) -> bool:
    return bool(
        await database.fetch(
            "SELECT 1 FROM account_changes WHERE user_id = $1 AND carried_out_at IS NULL AND stopped_at IS NULL",
            user_id,
        )
    )


async def reset_due() -> int:
    """Take away every phone that was to be taken away by now; how many. For the schedule, in any number of workers.

    Where an address was corrected meanwhile, the 24 hours after that come first. Writes: user, account_change, sessions, devices, deliveries, audit
    "phone.reset".
    """
    rows = await database.fetch(
        "SELECT id FROM account_changes WHERE carried_out_at IS NULL AND stopped_at IS NULL AND effective_at <= clock_now()"
        " ORDER BY effective_at LIMIT $1",
        AT_ONCE,
    )
    return await jobs.each([row["id"] for row in rows], _reset)


async def _reset(change_id: UUID) -> bool:
    where = await database.fetch_one(
        "SELECT c.user_id, u.practice_id FROM account_changes c JOIN users u ON u.id = c.user_id WHERE c.id = $1",
        change_id,
    )
    if where is None:
        return False
    async with database.transaction():
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", where["practice_id"])
        user = await account_changes.hold_user(where["practice_id"], where["user_id"])
        if user is None or user["status"] != UserStatus.ACTIVE:
            return await _drop(change_id)
        try:
            await account_changes.require_pause(user["id"], AccountChangeKind.PHONE)
        except ChangedRecently as refusal:
            return await _put_off(change_id, refusal)
        row = await database.fetch_one(
            "UPDATE account_changes SET carried_out_at = clock_now(), old_phone = $2, old_phone_verified_at = $3,"
            " expires_at = greatest(expires_at, clock_now() + $4::interval)"
            " WHERE id = $1 AND carried_out_at IS NULL AND stopped_at IS NULL AND effective_at <= clock_now()"
            " RETURNING changed_by, reason",
            change_id,
            user["phone"],
            user["phone_verified_at"],
            account_changes.STOPPABLE,
        )
        if row is None:  # another worker was first, or the owner
            return False
        await account_changes.take_phone_away(user)
        if user["access_level"] == AccessLevel.ADMINISTRATOR:  # there may be nobody else to ask for it
            await practice_access_codes.mail_to(user["practice_id"], user["id"])
        await notices.tell(user["practice_id"], user["id"], Notice.PHONE_RESET)
        await audit.record(
            SCHEDULE,
            Action.PHONE_RESET,
            practice_id=user["practice_id"],
            subject_id=user["id"],
            subject_name=user["name"],
            details={"planned_by": row["changed_by"], "reason": row["reason"]},
        )
    return True


async def _drop(change_id: UUID) -> bool:
    """Somebody who was blocked meanwhile, or has gone: there is nothing to take away."""
    return bool(
        await database.execute(
            "DELETE FROM account_changes WHERE id = $1 AND carried_out_at IS NULL AND stopped_at IS NULL",
            change_id,
        )
    )


async def _put_off(change_id: UUID, refusal: ChangedRecently) -> bool:
    await database.execute(
        "UPDATE account_changes SET effective_at = $2, expires_at = $2::timestamptz + $3::interval"
        " WHERE id = $1 AND carried_out_at IS NULL AND stopped_at IS NULL",
        change_id,
        refusal.retry_at,
        account_changes.STOPPABLE,
    )
    return False
