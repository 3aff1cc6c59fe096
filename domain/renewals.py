"""Signing in once more within a session, with password and code, for acts that ask for a fresh sign-in."""

from datetime import datetime

from domain import audit, challenges, database, password_changes, passwords, sessions
from domain.actors import Actor, still_signed_in
from domain.audit import Action
from domain.challenges import Carried, Challenged
from domain.errors import ChallengeInvalid, CodeExpired, TooManyAttempts
from domain.models.columns import ChallengePurpose


async def renew(actor: Actor, password: str) -> Challenged:
    """Give the password once more; a code to the phone comes next, also on a known device, which is no proof of who uses it.

    Raises Unauthenticated, CredentialsIncorrect (guess counted), TooManyAttempts, Busy. Writes: challenge.
    """
    member = actor.signed_in()
    with passwords.room():
        row = await password_changes.own_row(member)
        await password_changes.require_own_password(actor, row, password)
    async with database.transaction():
        await still_signed_in(actor)
        return await challenges.make(member.user_id, ChallengePurpose.RENEWAL, Carried(session_id=member.session_id))


async def confirm(actor: Actor, challenge_token: str, code: str) -> datetime:
    """Answer with the code that came; until when the sign-in counts as fresh. The same again, while it does, changes nothing.

    Raises Unauthenticated, InputInvalid (cannot be a code: not counted), ChallengeInvalid (also in another session), CodeIncorrect (guess
    counted), CodeExpired, TooManyAttempts. Writes: session, audit "session.renewed".
    """
    try:
        return await _confirm(actor, challenge_token, code)
    except (ChallengeInvalid, CodeExpired, TooManyAttempts):
        fresh_until = await _renewed_until(actor, challenge_token)
        if fresh_until is None:
            raise
        return fresh_until


async def _renewed_until(actor: Actor, challenge_token: str) -> datetime | None:
    """Until when the session is fresh that this challenge has renewed; None when it did not, or is not any more."""
    answered = await challenges.find_answered(actor, challenge_token, ChallengePurpose.RENEWAL)
    row = answered and await database.fetch_one(
        "SELECT authenticated_at + $3::interval AS fresh_until FROM sessions"
        " WHERE id = $1 AND ended_at IS NULL AND authenticated_at >= $2 AND authenticated_at + $3::interval > clock_now()",
        actor.signed_in().session_id,
        answered["answered_at"],
        sessions.FRESH,
    )
    return row["fresh_until"] if row else None


async def _confirm(actor: Actor, challenge_token: str, code: str) -> datetime:
    row = await challenges.find_own(actor, challenge_token, ChallengePurpose.RENEWAL)
    hit = await challenges.guess(actor, row, code)
    async with database.transaction():
        await challenges.answer(actor, row, hit)
        renewed = await database.fetch_one(
            "UPDATE sessions SET authenticated_at = clock_now() WHERE id = $1 AND ended_at IS NULL"
            " RETURNING authenticated_at + $2::interval AS fresh_until",
            row["session_id"],
            sessions.FRESH,
        )
        if renewed is None:
            raise ChallengeInvalid
        await audit.record(actor, Action.SESSION_RENEWED, subject_id=row["id"], subject_name=row["name"])
    fresh_until: datetime = renewed["fresh_until"]
    return fresh_until
