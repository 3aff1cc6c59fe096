"""The last step of an enrollment: the password is set, and the account, for a sign-up the whole practice, comes to be."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import (
    address_holders,
    address_release,
    audit,
    database,
    devices,
    enrollment,
    finished_enrollments,
    lockouts,
    names,
    passwords,
    practice_access_codes,
    recovery_codes,
    sessions,
    sign_in,
)
from domain.actors import Actor
from domain.audit import Action
from domain.database import Row
from domain.errors import CredentialsIncorrect, EmailInUse, EnrollmentInvalid, PasswordRejected, StepOutOfOrder
from domain.models import Practice
from domain.models.columns import EnrollmentStep, uuid7
from domain.models.users import sort_name

TRIAL = timedelta(days=14)
TRIAL_PLAN = "trial"


async def set_password(
    actor: Actor, token: str, password: str, *, raw_device_name: str | None, trust_device: bool
) -> sessions.SignedIn:
    """Set the password with which setting up the account ends, and sign the person in.

    The device that the phone was proved on is remembered when trust_device is set. The answer has ten recovery codes. For an hour after that, the same password again is
    told StepOutOfOrder (DONE), and another one CredentialsIncorrect, counted as at sign-in: nobody is signed in by a copy. Open
    invitations of other practices to the address end. Raises EnrollmentInvalid, StepOutOfOrder, EmailInUse (somebody else finished with the
    address first), PasswordRejected, CredentialsIncorrect, AccountLocked, Busy. Writes: user (and practice, trial, access code for a
    sign-up), invitation, enrollment, session, device, recovery codes, audit "user.activated" and more, and mails the access code to a new practice's
    administrator.
    """
    with passwords.room():
        return await _set_or_compare(actor, token, password, raw_device_name, trust_device=trust_device)


async def _set_or_compare(
    actor: Actor, token: str, password: str, raw_device_name: str | None, *, trust_device: bool
) -> sessions.SignedIn:
    try:
        return await _set_password(actor, token, password, raw_device_name, trust_device=trust_device)
    except (EnrollmentInvalid, StepOutOfOrder) as refusal:
        # The first of two copies may have ended the enrollment before this one began, or while it waited for a lock.
        finished = await finished_enrollments.find(token)
        if finished is None or finished["user_id"] is None:
            if isinstance(refusal, EnrollmentInvalid):
                await enrollment.refuse_where_address_was_lost(token)
            raise
        await _compare(actor, finished["user_id"], password)
        raise StepOutOfOrder(EnrollmentStep.DONE) from None


async def _compare(actor: Actor, user_id: UUID, password: str) -> None:
    """Whether a second password is the one that was set. Raises CredentialsIncorrect when it is not, AccountLocked, Busy."""
    try:
        await sign_in.require_password(actor, user_id, password)
    except CredentialsIncorrect:
        raise CredentialsIncorrect(is_second_password=True) from None


async def _set_password(
    actor: Actor, token: str, password: str, raw_device_name: str | None, *, trust_device: bool
) -> sessions.SignedIn:
    row = await enrollment.require(token, EnrollmentStep.SET_PASSWORD)
    own_words = (row["first_name"], row["last_name"], row["practice_name"], row["email"].rpartition("@")[0])
    try:
        await passwords.reject_weak(password, own_words)
    except PasswordRejected as refusal:
        problems: list[object] = [problem.value for problem in refusal.problems]
        await audit.record(
            actor, Action.PASSWORD_REFUSED, practice_id=row["practice_id"], details={"problems": problems}
        )
        raise
    password_hash, key_id = await passwords.hashed(password)
    device_name = names.device_name(raw_device_name)
    name = names.full_name(row["first_name"], row["last_name"])
    try:
        async with database.transaction():
            await address_holders.lock(row["email_canonical"])
            await enrollment.hold(row)
            if row["invitation_id"] is not None:
                user_id, practice_id = await _join(row, password_hash, key_id), row["practice_id"]
            else:
                user_id, practice_id = await _found_practice(actor, row, password_hash, key_id)
            await _end(row, user_id)
            await address_holders.end_other_invitations(row["email_canonical"], holder=user_id)
            await lockouts.lift_address(row["email_canonical"])
            await _record(actor, row, user_id, practice_id, name)
            device = await devices.remember(actor, user_id, practice_id, name, device_name) if trust_device else None
            signed_in = await sessions.start(actor, user_id, device, device_name, is_proved=True)
            return replace(signed_in, recovery_codes=await recovery_codes.issue(user_id))
    except IntegrityError as error:
        if not address_holders.is_conflict(error):
            raise
        await _end_invitations(row["email_canonical"])
        raise EmailInUse(row["email"], is_own_address=True) from None


async def _end_invitations(canonical: str) -> None:
    """End what is open for an address that an account has: an invitation that was on its way when that account was made is left over."""
    async with database.transaction():
        await address_holders.lock(canonical)
        await address_holders.end_other_invitations(canonical, holder=None)


async def _end(row: Row, user_id: UUID) -> None:
    ended = await database.execute(
        "UPDATE enrollments SET next_step = 'DONE', ended_at = clock_now(), user_id = $2"
        " WHERE id = $1 AND next_step = 'SET_PASSWORD' AND ended_at IS NULL",
        row["id"],
        user_id,
    )
    if not ended:
        raise EnrollmentInvalid


async def _join(row: Row, password_hash: str, key_id: str) -> UUID:
    """Make the invited user active. The statements' conditions are the guard; `hold` has locked the invitation."""
    accepted = await database.execute(
        "UPDATE invitations SET state = 'ACCEPTED', accepted_at = clock_now()"
        " WHERE id = $1 AND state = 'PENDING' AND expires_at > clock_now()",
        row["invitation_id"],
    )
    user_id: UUID = row["user_id"]
    activated = await database.execute(
        """
        UPDATE users SET status = 'ACTIVE', phone = $2, phone_verified_at = $3, password_hash = $4, password_key_id = $5,
            password_changed_at = clock_now()
        WHERE id = $1 AND status = 'INVITED' AND removed_at IS NULL
        """,
        user_id,
        row["phone"],
        row["phone_verified_at"],
        password_hash,
        key_id,
    )
    if not accepted or not activated:
        raise EnrollmentInvalid
    return user_id


async def _found_practice(actor: Actor, row: Row, password_hash: str, key_id: str) -> tuple[UUID, UUID]:
    """Make the practice of a sign-up with its trial, its administrator and its access code; the ids of administrator and practice."""
    # All sign-ups with this address, always in the same order, so that two that finish at once wait for each other. The first one
    # ends them all: the links of the others are of no more use.
    rows = await database.fetch(
        "SELECT * FROM sign_ups WHERE email_canonical = (SELECT email_canonical FROM sign_ups WHERE id = $1)"
        " AND completed_at IS NULL ORDER BY id FOR UPDATE",
        row["sign_up_id"],
    )
    sign_up = next((found for found in rows if found["id"] == row["sign_up_id"]), None)
    if sign_up is None:
        raise EnrollmentInvalid
    await database.execute(
        "UPDATE sign_ups SET completed_at = clock_now() WHERE id = ANY($1::uuid[])", [found["id"] for found in rows]
    )
    practice = await Practice.create(
        name=sign_up["practice_name"],
        specialty=sign_up["specialty"],
        phone=sign_up["phone"],
        time_zone=sign_up["time_zone"],
        created_at=await database.now(),
    )
    await database.execute(
        "INSERT INTO subscriptions (practice_id, plan, status, trial_ends_at, updated_at)"
        " VALUES ($1, $2, 'TRIALING', clock_now() + $3::interval, clock_now())",
        practice.id,
        TRIAL_PLAN,
        TRIAL,
    )
    user_id = uuid7()
    await address_release.give_to_sign_up(sign_up["email_canonical"])
    await database.execute(
        """
        INSERT INTO users (id, practice_id, first_name, last_name, sort_name, email, email_canonical, holds_email, access_level, status,
            phone, phone_verified_at, password_hash, password_key_id, password_changed_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, true, 'ADMINISTRATOR', 'ACTIVE', $8, $9, $10, $11, clock_now(), clock_now())
        """,
        user_id,
        practice.id,
        sign_up["first_name"],
        sign_up["last_name"],
        sort_name(sign_up["first_name"], sign_up["last_name"]),
        sign_up["email"],
        sign_up["email_canonical"],
        row["phone"],
        row["phone_verified_at"],
        password_hash,
        key_id,
    )
    name = names.full_name(sign_up["first_name"], sign_up["last_name"])
    await audit.record(actor, Action.PRACTICE_CREATED, practice_id=practice.id, as_user=(user_id, name))
    await practice_access_codes.issue_first(actor, practice.id, user_id, name)
    return user_id, practice.id


async def _record(actor: Actor, row: Row, user_id: UUID, practice_id: UUID, name: str) -> None:
    actions = [Action.PASSWORD_SET, Action.USER_ACTIVATED]
    if row["invitation_id"] is not None:
        actions.insert(0, Action.INVITATION_ACCEPTED)
    entries = [audit.Entry(action=action, subject_id=user_id, subject_name=name) for action in actions]
    await audit.record_all(actor, entries, practice_id=practice_id, as_user=(user_id, name))
