"""Changing one's own password."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

from domain import (
    audit,
    budgets,
    database,
    guesses,
    lockouts,
    notices,
    passwords,
    security_codes,
    signed_in_places,
    users,
)
from domain.actors import Actor, Member
from domain.audit import Action
from domain.database import Row
from domain.errors import (
    CredentialsIncorrect,
    KeyUnknown,
    LimitReached,
    PasswordProblem,
    PasswordRejected,
    TooManyAttempts,
    Unauthenticated,
)
from domain.outbox import Notice
from domain.users import UserRecord

# For how long after a change a copy of the request is told that it is done.
TOLD_FOR = timedelta(hours=1)


async def change(actor: Actor, current_password: str, new_password: str) -> UserRecord:
    """Set another password for the actor, who knows the one that is in use.

    Guesses at it are counted as at sign-in, on a counter of their own that nobody fills who is not signed in as this user. Every
    other session ends, and so does what new devices have still to answer, and every lock on the old password. The same again, within an hour, changes nothing: whether the
    new password is the one in use is a guess as any other. Raises Unauthenticated, TooManyAttempts, CredentialsIncorrect (guess
    counted), PasswordRejected, Busy. Writes: user, sessions, delivery, audit "password.changed".
    """
    member = actor.signed_in()
    with passwords.room():
        row = await _compared(actor, current_password, new_password)
        if row is not None:
            try:
                await _change(actor, row, current_password, new_password)
            except CredentialsIncorrect:  # perhaps a copy of this request was faster
                if await _compared(actor, current_password, new_password) is not None:
                    raise
    return await users.get(member.practice_id, member.user_id)


async def _compared(actor: Actor, current_password: str, new_password: str) -> Row | None:
    """The actor's row, whose password is the current one; None where it was changed to the new one a short while ago.

    Each comparison is a guess that is counted, and there are at most 20 an hour, as for `require_own_password`. The caller is in
    `passwords.room`. Raises Unauthenticated, TooManyAttempts, CredentialsIncorrect.
    """
    row = await own_row(actor.signed_in())
    async with _comparison(actor):
        if await _is_own_password(actor, row, current_password):
            return row
        if row["is_recent"] and await _is_own_password(actor, row, new_password):
            return None
    await _refuse(actor, "wrong current password")
    raise CredentialsIncorrect(is_own_password=True)


async def _change(actor: Actor, row: Row, current_password: str, new_password: str) -> None:
    member = actor.signed_in()
    own_words = (row["first_name"], row["last_name"], row["practice_name"], row["email"].rpartition("@")[0])
    await passwords.reject_weak(new_password, own_words)
    if passwords.normalized(new_password) == passwords.normalized(current_password):
        raise PasswordRejected([PasswordProblem.SAME_AS_BEFORE], passwords.MIN_LENGTH, passwords.MAX_LENGTH)
    password_hash, key_id = await passwords.hashed(new_password)
    async with database.transaction():
        await _set(member, row, password_hash, key_id)
        await database.execute(
            "UPDATE sessions SET ended_at = clock_now(), end_reason = 'password changed'"
            " WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL",
            member.user_id,
            member.session_id,
        )
        await lockouts.lift_password(member.user_id, row["email_canonical"])
        await security_codes.end_challenges(member.user_id)
        await signed_in_places.end_links(member.user_id)
        await notices.tell(member.practice_id, member.user_id, Notice.PASSWORD_CHANGED)
        await audit.record(actor, Action.PASSWORD_CHANGED, subject_id=member.user_id, subject_name=member.name)


async def require_own_password(actor: Actor, row: Row, password: str) -> None:
    """Compare what the actor gave as their password, counted before.

    row: password_hash and password_key_id of the actor. The caller is in `passwords.room`. Comparing costs time, so it is done at most 20
    times an hour for each user, right or wrong. Raises TooManyAttempts, CredentialsIncorrect.
    """
    async with _comparison(actor):
        is_right = await _is_own_password(actor, row, password)
    if not is_right:
        await _refuse(actor, "wrong current password")
        raise CredentialsIncorrect(is_own_password=True)


@contextlib.asynccontextmanager
async def _comparison(actor: Actor) -> AsyncIterator[None]:
    """Count a comparison, unless it turns out that none is made. Raises TooManyAttempts."""
    try:
        taken = await budgets.take(f"passwords:{actor.signed_in().user_id}", budgets.PASSWORDS_IN_SESSION)
    except LimitReached as refusal:
        await _refuse(actor, "too many in an hour")
        raise TooManyAttempts(refusal.retry_at) from None
    try:
        yield
    except (TooManyAttempts, KeyUnknown):
        await budgets.give_back(taken)
        raise


async def _is_own_password(actor: Actor, row: Row, password: str) -> bool:
    key = lockouts.session_counter(actor.signed_in().user_id)
    try:
        number = await guesses.count(key, lockouts.PASSWORD_IN_SESSION)
    except guesses.Locked as locked:
        await _refuse(actor, "locked")
        raise TooManyAttempts(locked.until) from None
    try:
        is_right = await passwords.is_right(password, row["password_hash"], row["password_key_id"])
    except KeyUnknown:  # nothing was compared
        await guesses.give_back(key, number, lockouts.PASSWORD_IN_SESSION)
        raise
    if not is_right:
        return False
    await guesses.succeed(key)
    return True


async def _refuse(actor: Actor, reason: str) -> None:
    await audit.record(actor, Action.PASSWORD_REFUSED, details={"reason": reason})


async def own_row(member: Member) -> Row:
    """The member's names, address, practice and password, while they are active. Raises Unauthenticated.

    is_recent: whether it was changed in this very session, less than an hour ago; then a copy of the request may still come.
    """
    row = await database.fetch_one(
        "SELECT u.email, u.email_canonical, u.first_name, u.last_name, u.password_hash, u.password_key_id, p.name AS practice_name,"
        " coalesce(u.password_changed_at > s.created_at AND u.password_changed_at > clock_now() - $2::interval, false) AS is_recent"
        " FROM users u JOIN practices p ON p.id = u.practice_id LEFT JOIN sessions s ON s.id = $3 AND s.ended_at IS NULL"
        " WHERE u.id = $1 AND u.status = 'ACTIVE'",
        member.user_id,
        TOLD_FOR,
        member.session_id,
    )
    if row is None:
        raise Unauthenticated
    return row


async def _set(member: Member, row: Row, password_hash: str, key_id: str) -> None:
    """Replace the password that was compared, while the user is active and the session open; of two changes at once one wins."""
    changed = await database.execute(
        """
        UPDATE users u SET password_hash = $2, password_key_id = $3, password_changed_at = clock_now() FROM sessions s
        WHERE u.id = $1 AND u.status = 'ACTIVE' AND u.password_hash = $4 AND s.id = $5 AND s.user_id = u.id AND s.ended_at IS NULL
        """,
        member.user_id,
        password_hash,
        key_id,
        row["password_hash"],
        member.session_id,
    )
    if not changed:
        raise CredentialsIncorrect(is_own_password=True)
