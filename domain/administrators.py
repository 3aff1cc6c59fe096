"""The people who answer for a practice: told together, and never all of them lost."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from domain import database, login_settings, networks, outbox
from domain.actors import Actor
from domain.database import Row
from domain.errors import LastAdministrator
from domain.outbox import Kind, Message

# What an administrator has to keep at least in each week: enough to sign in and put a setting right.
SHORTEST_RANGE = timedelta(hours=1)


async def mail(practice_id: UUID, kind: Kind, subject_id: UUID, lifetime: timedelta) -> int:
    """Queue a message to every active administrator of a practice, in the transaction under way; how many they are."""
    rows = await database.fetch(
        "SELECT id, clock_now() AS now FROM users"
        " WHERE practice_id = $1 AND status = 'ACTIVE' AND access_level = 'ADMINISTRATOR' ORDER BY id",
        practice_id,
    )
    await outbox.queue(
        *(
            Message(
                kind=kind,
                subject_id=subject_id,
                expires_at=row["now"] + lifetime,
                practice_id=practice_id,
                user_id=row["id"],
            )
            for row in rows
        )
    )
    return len(rows)


async def active(practice_id: UUID) -> list[Row]:
    """The active administrators of a practice, with what is in force for them: user_id, phone, allowed_hours, allowed_networks."""
    return await database.fetch(
        "SELECT l.user_id, u.phone, l.allowed_hours, l.allowed_networks"
        " FROM login_settings_in_force l JOIN users u ON u.id = l.user_id"
        " WHERE u.practice_id = $1 AND u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR'",
        practice_id,
    )


def has_way_in(row: Row, addresses: Sequence[str]) -> bool:
    """Whether one of `active` certainly can sign in.

    With a phone for the codes, at some hour, and from anywhere or from one of these addresses, at which they are.
    """
    ranges = login_settings.hours_of(row["allowed_hours"])
    allowed = login_settings.networks_of(row["allowed_networks"])
    is_at_home = not allowed or any(networks.are_home_to(allowed, address) for address in addresses)
    return (
        row["phone"] is not None and is_at_home and (not ranges or any(one.length >= SHORTEST_RANGE for one in ranges))
    )


async def require_other(actor: Actor, practice_id: UUID, user_id: UUID) -> None:
    """Raises LastAdministrator when nobody but this user can come in and answer for the practice. The caller has locked the practice.

    The actor comes in from where they are, others from where they signed in before.
    """
    for row in await active(practice_id):
        if row["user_id"] != user_id and has_way_in(row, await _addresses(actor, row["user_id"])):
            return
    raise LastAdministrator


async def _addresses(actor: Actor, user_id: UUID) -> list[str]:
    rows = await database.fetch("SELECT DISTINCT ip_address FROM sessions WHERE user_id = $1", user_id)
    here = [actor.ip_address] if actor.member is not None and actor.member.user_id == user_id else []
    return here + [row["ip_address"] for row in rows]
