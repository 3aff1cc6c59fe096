"""Devices that a user proved a phone on: known by a random token, never by an address or a browser's name."""

from dataclasses import dataclass
from uuid import UUID

from domain import audit, database, secrets
from domain.actors import Actor
from domain.audit import Action
from domain.login_settings import DEFAULTS
from domain.models.columns import uuid7

MAX_TOKEN_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Trusted:
    """A device and the token that it is known by from now on."""

    id: UUID
    token: str


async def find(user_id: UUID, token: str | None) -> UUID | None:
    """The user's device that a token belongs to; None when it is not, or no longer, trusted, or another user's."""
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None
    row = await database.fetch_one(
        "SELECT id FROM devices WHERE token_hash = $1 AND user_id = $2 AND forgotten_at IS NULL AND trusted_until > clock_now()",
        secrets.token_hash(token),
        user_id,
    )
    return row["id"] if row else None


async def trust(actor: Actor, user_id: UUID, practice_id: UUID, user_name: str, name: str) -> Trusted:
    """Remember a device on which the user has just proved the phone, in the transaction under way."""
    device = Trusted(uuid7(), secrets.new_token())
    await database.execute(
        "INSERT INTO devices (id, user_id, token_hash, name, trusted_until, last_seen_at, created_at)"
        " VALUES ($1, $2, $3, $4, clock_now() + $5::interval, clock_now(), clock_now())",
        device.id,
        user_id,
        secrets.token_hash(device.token),
        name,
        DEFAULTS.device_lifetime,
    )
    await audit.record(
        actor,
        Action.DEVICE_TRUSTED,
        practice_id=practice_id,
        as_user=(user_id, user_name),
        subject_id=user_id,
        subject_name=user_name,
        details={"device": name},
    )
    return device


async def renew(device_id: UUID, token: str) -> Trusted | None:
    """Replace a device's token as it is used, in the transaction under way; None when it was used or forgotten meanwhile.

    The old token is dead then: a copy of it is of use once at most, and its owner notices. How long the device is trusted stays
    as it was: from time to time the phone has to be proved again.
    """
    renewed = Trusted(device_id, secrets.new_token())
    changed = await database.execute(
        "UPDATE devices SET token_hash = $1, last_seen_at = clock_now()"
        " WHERE id = $2 AND token_hash = $3 AND forgotten_at IS NULL AND trusted_until > clock_now()",
        secrets.token_hash(renewed.token),
        device_id,
        secrets.token_hash(token),
    )
    return renewed if changed else None
