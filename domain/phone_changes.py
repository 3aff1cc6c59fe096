"""Another phone: changed by its owner with the password and a code to the new one, or taken away by an administrator when it is lost."""

from uuid import UUID

from domain import (
    account_changes,
    audit,
    challenges,
    database,
    lockouts,
    notices,
    outbox,
    password_changes,
    passwords,
    phone_countries,
    signed_in_places,
    users,
)
from domain.actors import Actor, still_administrator, still_signed_in
from domain.audit import Action, Entry
from domain.challenges import Carried, Challenged
from domain.errors import (
    ChallengeInvalid,
    ChangedRecently,
    CodeExpired,
    InputInvalid,
    InputProblem,
    NotFound,
    NotSetUpYet,
    TooManyAttempts,
)
from domain.models.columns import AccountChangeKind, ChallengePurpose, Channel
from domain.outbox import Kind, Message, Notice
from domain.users import UserRecord


async def start(actor: Actor, password: str, raw_phone: str) -> Challenged:
    """Ask for another phone, with the password; a code to the new number comes next.

    Raises Unauthenticated, SignInAgain, PhoneNumberUnusable, CredentialsIncorrect (guess counted), TooManyAttempts, Busy. Writes: challenge.
    """
    member = actor.freshly_signed_in()
    phone = phone_countries.number_for_codes(raw_phone)
    with passwords.room():
        row = await password_changes.own_row(member)
        await password_changes.require_own_password(actor, row, password)
    async with database.transaction():
        await still_signed_in(actor)
        return await challenges.make(
            member.user_id, ChallengePurpose.PHONE_CHANGE, Carried(session_id=member.session_id, phone=phone)
        )


async def confirm(actor: Actor, challenge_token: str, code: str) -> UserRecord:
    """Prove the new phone with the code that came; from now on it is the one.

    Every other session, every device and every lock on the old phone ends; the old number is told by text and the owner by mail. The same
    again, while it is the phone, changes nothing. Raises Unauthenticated, InputInvalid (cannot be a code: not counted), ChallengeInvalid,
    CodeIncorrect (guess counted), CodeExpired, TooManyAttempts. Writes: user, sessions, devices, deliveries, audit "phone.changed".
    """
    try:
        await _confirm(actor, challenge_token, code)
    except (ChallengeInvalid, CodeExpired, TooManyAttempts):
        if not await _is_the_phone(actor, challenge_token):
            raise
    member = actor.signed_in()
    return await users.get(member.practice_id, member.user_id)


async def _is_the_phone(actor: Actor, challenge_token: str) -> bool:
    """Whether the number that this challenge has proved is the actor's phone."""
    answered = await challenges.find_answered(actor, challenge_token, ChallengePurpose.PHONE_CHANGE)
    row = answered and await database.fetch_one(
        "SELECT 1 AS found FROM users WHERE id = $1 AND status = 'ACTIVE' AND phone = $2",
        actor.signed_in().user_id,
        answered["new_phone"],
    )
    return bool(row)


async def _confirm(actor: Actor, challenge_token: str, code: str) -> None:
    row = await challenges.find_own(actor, challenge_token, ChallengePurpose.PHONE_CHANGE)
    hit = await challenges.guess(actor, row, code)
    async with database.transaction():
        await challenges.answer(actor, row, hit)
        await database.execute(
            "UPDATE challenges SET old_phone = $2 WHERE id = $1", row["challenge_id"], row["own_phone"]
        )
        await database.execute(
            "UPDATE users SET phone = $2, phone_verified_at = clock_now(), phone_reset_at = NULL WHERE id = $1",
            row["id"],
            hit["phone"],
        )
        await lockouts.lift_phone(row["id"])
        await account_changes.drop_planned(row["id"])
        await signed_in_places.end_all(row["id"], "phone changed", but=row["session_id"])
        await outbox.queue(
            Message(
                kind=Kind.PHONE_NOTICE,
                channel=Channel.SMS,
                subject_id=row["challenge_id"],
                expires_at=await database.now() + notices.LIFETIME,
                practice_id=row["practice_id"],
                user_id=row["id"],
            )
        )
        await notices.tell(row["practice_id"], row["id"], Notice.PHONE_CHANGED)
        await audit.record(actor, Action.PHONE_CHANGED, subject_id=row["id"], subject_name=row["name"])


async def reset(actor: Actor, user_id: UUID) -> UserRecord:
    """Take the phone of a user away who has lost it: the next sign-in proves another one, with the practice access code.

    Every session and device ends, and every lock on the old phone. The owner is told by mail and by text, and gets a link that stops it. A
    phone that was taken away already is not taken away again. Raises Unauthenticated, Forbidden, SignInAgain, NotFound, NotSetUpYet,
    InputInvalid (one's own: that would be a way around the code), ChangedRecently. Writes: user, account_change, sessions, devices, deliveries,
    audit "phone.reset" or "phone.reset_refused".
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    if user_id == member.user_id:
        problem = "Change your own phone with changePhone, or ask another administrator."
        raise InputInvalid([InputProblem(("userId",), problem)])
    async with database.transaction():
        # One at a time in a practice: two administrators who act on each other at once would each hold what the other waits for.
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", member.practice_id)
        await still_administrator(actor)
        user = await account_changes.hold_user(member.practice_id, user_id)
        if user is None:
            raise NotFound
        if user["password_hash"] is None:
            raise NotSetUpYet(await users.get(member.practice_id, user_id))
        try:
            await account_changes.require_pause(user_id, AccountChangeKind.PHONE)
        except ChangedRecently:
            details: dict[str, object] = {"reason": "the address was corrected less than 24 hours ago"}
            refused = Entry(
                action=Action.PHONE_RESET_REFUSED, subject_id=user_id, subject_name=user["name"], details=details
            )
            audit.record_after_rollback(actor, refused)
            raise
        if user["phone"] is not None:
            await account_changes.note(actor, user, AccountChangeKind.PHONE)
        # Taking it away again lets the person begin anew after wrong codes for the next one.
        if user["phone"] is not None or await lockouts.has_wrong_codes(user_id):
            await account_changes.take_phone_away(user)
            await audit.record(actor, Action.PHONE_RESET, subject_id=user_id, subject_name=user["name"])
    return await users.get(member.practice_id, user_id)
