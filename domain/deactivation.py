"""Blocking somebody: at once, in one transaction, on every way in."""

from typing import Literal
from uuid import UUID

from domain import (
    address_holders,
    address_release,
    administrators,
    audit,
    database,
    ended_invitations,
    invitation_ends,
    outbox,
    practice_access_codes,
    recovery_codes,
    signed_in_places,
    users,
)
from domain.actors import Actor, still_administrator
from domain.audit import Action
from domain.database import Row
from domain.errors import InputInvalid, InputProblem, LastAdministrator, NotFound
from domain.models.columns import AccessLevel, InvitationEnd, UserStatus
from domain.users import UserRecord

MAX_REASON_LENGTH = 500


async def deactivate(actor: Actor, user_id: UUID, reason: str | None, *, release_address: bool = False) -> UserRecord:
    """Block a user of the actor's practice at once.

    One transaction ends the person's sessions, devices, challenges, codes, enrollment and queued messages, and the invitations that
    they made and nobody has accepted. The people whom they invited stay on the tile, and the other administrators are told by mail, so that
    one of them can send those invitations again. An administrator could see the practice access code: it is replaced where the
    practice wants that, and else remembered as known to them. A person who is inactive already stays so.

    release_address: let go of the person's address too, as `address_release.release` does; also of somebody inactive. Raises Unauthenticated,
    Forbidden, NotFound, InputInvalid (the reason), LastAdministrator, SignInAgain (release_address). Writes: user, all of the
    above, audit "user.deactivated", "invitation.ended" for each invitation, "user.address_released".
    """
    member = actor.administrator()
    if release_address:
        actor.freshly_signed_in()
    reason = _reason(reason)
    try:
        async with database.transaction():
            await _deactivate(actor, member.practice_id, user_id, reason)
            if release_address:
                await address_release.let_go(actor, await _row(user_id))
    except LastAdministrator:
        await audit.record(
            actor, Action.USER_DEACTIVATION_REFUSED, subject_id=user_id, details={"reason": "last administrator"}
        )
        raise
    return await users.get(member.practice_id, user_id)


def _reason(raw: str | None) -> str | None:
    text = " ".join("".join(character if character.isprintable() else " " for character in raw or "").split())
    if len(text) > MAX_REASON_LENGTH:
        raise InputInvalid([InputProblem(("reason",), f"This is longer than {MAX_REASON_LENGTH} characters.")])
    return text or None


async def _deactivate(actor: Actor, practice_id: UUID, user_id: UUID, reason: str | None) -> None:
    # One deactivation at a time in a practice: two administrators who deactivate each other take turns, and the second finds
    # nobody left to act. Locks are taken in this order everywhere: the practice, whoever acts, then an invitation before the
    # person invited. The invitations that the person made are read only when the lock on the person is there, since an act of
    # theirs that is under way holds it.
    await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
    await still_administrator(actor)
    own = await _pending("user_id", practice_id, user_id)
    user = await database.fetch_one(
        "SELECT id, status, access_level, rtrim(first_name || ' ' || last_name) AS name FROM users"
        " WHERE id = $1 AND practice_id = $2 AND removed_at IS NULL FOR UPDATE",
        user_id,
        practice_id,
    )
    if user is None:
        raise NotFound
    if user["status"] == UserStatus.INACTIVE:
        return
    was_administrator = user["status"] == UserStatus.ACTIVE and user["access_level"] == AccessLevel.ADMINISTRATOR
    if was_administrator:
        await administrators.require_other(actor, practice_id, user_id)
    await signed_in_places.end_all(user_id, "deactivated")
    await recovery_codes.end(user_id)
    await outbox.cancel(user_id=user_id, reason="The person was blocked.", keep=outbox.TOLD_WHEN_BLOCKED)
    made = await _pending("invited_by_id", practice_id, user_id)
    await ended_invitations.withdraw([row["id"] for row in own])
    await ended_invitations.end([row["id"] for row in made], InvitationEnd.INVITER_DEACTIVATED)
    await database.execute(
        "UPDATE users SET status = 'INACTIVE', deactivated_at = clock_now(), deactivation_reason = $2 WHERE id = $1",
        user_id,
        reason,
    )
    details: dict[str, object] = {"reason": reason, "invitations_revoked": len(made)}
    await audit.record(actor, Action.USER_DEACTIVATED, subject_id=user_id, subject_name=user["name"], details=details)
    if made:
        ended = InvitationEnd.INVITER_DEACTIVATED
        await audit.record_all(actor, [address_holders.ended_entry(row["user_id"], row["name"], ended) for row in made])
        await invitation_ends.tell_ended(practice_id)
    if was_administrator:
        await practice_access_codes.note_departure(actor, practice_id, user_id, user["name"])


async def _pending(column: Literal["user_id", "invited_by_id"], practice_id: UUID, user_id: UUID) -> list[Row]:
    """The open invitations of or by somebody, locked."""
    return await database.fetch(
        "SELECT i.id, i.user_id, rtrim(u.first_name || ' ' || u.last_name) AS name FROM invitations i JOIN users u ON u.id = i.user_id"  # noqa: S608 -- one of two literals
        f" WHERE i.practice_id = $1 AND i.{column} = $2 AND i.state = 'PENDING' ORDER BY i.id FOR UPDATE OF i",
        practice_id,
        user_id,
    )


async def _row(user_id: UUID) -> Row:
    rows = await database.fetch(
        "SELECT id, practice_id, rtrim(first_name || ' ' || last_name) AS name FROM users WHERE id = $1", user_id
    )
    return rows[0]
