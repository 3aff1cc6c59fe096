"""Where somebody is signed in, and on which devices they are known: looked at, ended, forgotten.

Everybody sees and ends their own; an administrator those of everybody in the practice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from domain import audit, database, devices, security_codes, sessions
from domain.actors import Actor, Member, still_administrator, still_signed_in
from domain.audit import Action
from domain.database import Row
from domain.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session that is open."""

    id: UUID
    user_id: UUID
    device_name: str
    ip_address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord:
    """A device that is trusted."""

    id: UUID
    user_id: UUID
    name: str
    trusted_until: datetime
    last_seen_at: datetime


T = TypeVar("T", SessionRecord, DeviceRecord)


def may_see(member: Member, user_id: UUID) -> bool:
    """Whether a member may look at a user's sessions and devices; the practice is looked at where they are read."""
    return member.is_administrator or member.user_id == user_id


async def sessions_of(member: Member, user_ids: Sequence[UUID]) -> dict[UUID, list[SessionRecord]]:
    """Open sessions of users of the member's practice, latest use first; those that the member may not see are left out."""
    rows = await database.fetch(
        f"""
        SELECT s.id, s.user_id, s.device_name, s.ip_address, s.created_at, s.last_used_at, {sessions.EXPIRES_AT} AS expires_at
        FROM sessions s JOIN login_settings_in_force l ON l.user_id = s.user_id
        WHERE l.practice_id = $1 AND s.user_id = ANY($2::uuid[]) AND {sessions.IS_OPEN}
        ORDER BY s.last_used_at DESC, s.id DESC
        """,  # noqa: S608 -- constants
        member.practice_id,
        [user_id for user_id in user_ids if may_see(member, user_id)],
    )
    return _by_user([SessionRecord(**row) for row in rows], user_ids)


async def devices_of(member: Member, user_ids: Sequence[UUID]) -> dict[UUID, list[DeviceRecord]]:
    """Trusted devices of users of the member's practice, latest use first; those that the member may not see are left out."""
    rows = await database.fetch(
        f"""
        SELECT d.id, d.user_id, d.name, {devices.TRUSTED_UNTIL} AS trusted_until, coalesce(d.last_seen_at, d.created_at) AS last_seen_at
        FROM devices d JOIN login_settings_in_force l ON l.user_id = d.user_id
        WHERE l.practice_id = $1 AND d.user_id = ANY($2::uuid[]) AND d.forgotten_at IS NULL AND {devices.TRUSTED_UNTIL} > clock_now()
        ORDER BY d.last_seen_at DESC, d.id DESC
        """,  # noqa: S608 -- constants
        member.practice_id,
        [user_id for user_id in user_ids if may_see(member, user_id)],
    )
    return _by_user([DeviceRecord(**row) for row in rows], user_ids)


async def find_session(member: Member, session_id: UUID) -> SessionRecord | None:
    """An open session that the member may see, or None."""
    owner = await database.fetch_one("SELECT user_id FROM sessions WHERE id = $1", session_id)
    records = (await sessions_of(member, [owner["user_id"]]))[owner["user_id"]] if owner else []
    return next((record for record in records if record.id == session_id), None)


async def find_device(member: Member, device_id: UUID) -> DeviceRecord | None:
    """A trusted device that the member may see, or None."""
    owner = await database.fetch_one("SELECT user_id FROM devices WHERE id = $1", device_id)
    records = (await devices_of(member, [owner["user_id"]]))[owner["user_id"]] if owner else []
    return next((record for record in records if record.id == device_id), None)


def _by_user(records: list[T], user_ids: Sequence[UUID]) -> dict[UUID, list[T]]:
    found: dict[UUID, list[T]] = {user_id: [] for user_id in user_ids}
    for record in records:
        found[record.user_id].append(record)
    return found


async def end_session(actor: Actor, session_id: UUID) -> None:
    """End a session: one's own, or as an administrator anybody's in the practice.

    One that has ended stays so. Raises Unauthenticated, NotFound. Writes: session, audit "session.ended".
    """
    async with database.transaction():
        row = await _owned(
            actor,
            "SELECT s.user_id, s.ended_at AS over_at, rtrim(u.first_name || ' ' || u.last_name) AS name"
            " FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND u.practice_id = $2 FOR UPDATE OF s",
            session_id,
        )
        if row["over_at"] is not None:
            return
        await database.execute(
            "UPDATE sessions SET ended_at = clock_now(), end_reason = 'ended' WHERE id = $1 AND ended_at IS NULL",
            session_id,
        )
        await audit.record(actor, Action.SIGNED_OUT, subject_id=row["user_id"], subject_name=row["name"])


async def forget_device(actor: Actor, device_id: UUID) -> None:
    """Trust a device no longer, and end the sessions on it, but not the one that asks.

    One's own, or as an administrator anybody's in the practice. One that is forgotten stays so. Raises Unauthenticated, NotFound. Writes: device, sessions, audit "device.forgotten".
    """
    async with database.transaction():
        row = await _owned(
            actor,
            "SELECT d.user_id, d.forgotten_at AS over_at, d.name AS device, rtrim(u.first_name || ' ' || u.last_name) AS name"
            " FROM devices d JOIN users u ON u.id = d.user_id WHERE d.id = $1 AND u.practice_id = $2 FOR UPDATE OF d",
            device_id,
        )
        if row["over_at"] is not None:
            return
        await database.execute("UPDATE devices SET forgotten_at = clock_now() WHERE id = $1", device_id)
        await database.execute(
            "UPDATE sessions SET ended_at = clock_now(), end_reason = 'device forgotten'"
            " WHERE device_id = $1 AND id <> $2 AND ended_at IS NULL",
            device_id,
            actor.signed_in().session_id,
        )
        details: dict[str, object] = {"device": row["device"]}
        await audit.record(
            actor, Action.DEVICE_FORGOTTEN, subject_id=row["user_id"], subject_name=row["name"], details=details
        )


async def _owned(actor: Actor, sql: str, row_id: UUID) -> Row:
    """The row that a statement locks, which the actor may end; the actor is read again for the length of the transaction."""
    member = await still_signed_in(actor)
    row = await database.fetch_one(sql, row_id, member.practice_id)
    if row is None or not may_see(member, row["user_id"]):
        raise NotFound
    if row["user_id"] != member.user_id:
        await still_administrator(actor)
    return row


async def end_all(user_id: UUID, reason: str, *, but: UUID | None = None) -> None:
    """End every way in that a user has open, in the transaction under way. reason: at most 20 characters. but: a session that stays."""
    # Devices before sessions, as `forget_device` locks them.
    await database.execute(
        "UPDATE devices SET forgotten_at = clock_now() WHERE user_id = $1 AND forgotten_at IS NULL", user_id
    )
    await database.execute(
        "UPDATE sessions SET ended_at = clock_now(), end_reason = $2"
        " WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $3",
        user_id,
        reason,
        but,
    )
    await security_codes.end_challenges(user_id)
    await end_links(user_id)


async def end_links(user_id: UUID) -> None:
    """End the links to another password or another address that a user was sent, in the transaction under way."""
    await end_reset_links(user_id)
    await end_email_links(user_id)


async def end_reset_links(user_id: UUID) -> None:
    """End every link to another password that is still good, in the transaction under way."""
    await database.execute(
        "UPDATE password_resets SET superseded_at = clock_now() WHERE user_id = $1 AND used_at IS NULL AND superseded_at IS NULL",
        user_id,
    )


async def end_email_links(user_id: UUID) -> None:
    """End every link to another address that waits to be followed, in the transaction under way."""
    await database.execute(
        "UPDATE email_changes SET superseded_at = clock_now() WHERE user_id = $1 AND confirmed_at IS NULL AND superseded_at IS NULL",
        user_id,
    )
