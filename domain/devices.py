"""Devices that a user proved a phone on: known by a random token, never by an address or a browser's name.

A known device is trusted for a while: the password alone is enough on it then. When that is over, or where the settings trust none, it is still
known: a code is asked for, but wrong passwords on it are counted apart, so that no stranger can lock its owner out there.
"""

from dataclasses import dataclass
from uuid import UUID

from domain import audit, database, login_settings, secrets
from domain.actors import Actor
from domain.audit import Action
from domain.models.columns import uuid7

MAX_TOKEN_LENGTH = 128

# Until when a device `d` is trusted by the settings in force `l`: fewer days hold for devices that are trusted already.
TRUSTED_UNTIL = (
    "least(d.trusted_until, coalesce(d.trusted_at, d.created_at) + l.trusted_device_days * interval '1 day')"
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A device and the token that it is known by from now on."""

    id: UUID
    token: str


# For how long a device that was not used stays known.
KNOWN = "greatest(d.trusted_until, coalesce(d.last_seen_at, d.created_at)) > clock_now() - interval '90 days'"


@dataclass(frozen=True, slots=True)
class Known:
    """A device on which the user proved the phone once. is_trusted: whether the password alone is enough on it."""

    id: UUID
    is_trusted: bool


async def find(user_id: UUID, token: str | None) -> Known | None:
    """The user's device that a token belongs to; None when it was forgotten, was not used for 90 days, or is another user's."""
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None
    row = await database.fetch_one(
        f"SELECT d.id, {TRUSTED_UNTIL} > clock_now() AS is_trusted"  # noqa: S608 -- constants
        " FROM devices d JOIN login_settings_in_force l ON l.user_id = d.user_id"
        f" WHERE d.token_hash = $1 AND d.user_id = $2 AND d.forgotten_at IS NULL AND {KNOWN}",
        secrets.token_hash(token),
        user_id,
    )
    return Known(row["id"], row["is_trusted"]) if row else None


async def remember(actor: Actor, user_id: UUID, practice_id: UUID, user_name: str, name: str) -> Remembered:
    """Remember a device on which the user has just proved the phone, in the transaction under way.

    It is trusted for as long as the settings say, which may be not at all; it is known in any case.
    """
    settings = await login_settings.of_user(practice_id, user_id)
    device = Remembered(uuid7(), secrets.new_token())
    await database.execute(
        "INSERT INTO devices (id, user_id, token_hash, name, trusted_until, trusted_at, last_seen_at, created_at)"
        " VALUES ($1, $2, $3, $4, clock_now() + $5::interval, clock_now(), clock_now(), clock_now())",
        device.id,
        user_id,
        secrets.token_hash(device.token),
        name,
        settings.device_lifetime,
    )
    if settings.trusted_device_days:
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


async def renew(device_id: UUID, token: str) -> Remembered | None:
    """Replace a trusted device's token as it is used, in the transaction under way; None when it was used or forgotten meanwhile.

    The old token is dead then: a copy of it is of use once at most, and its owner notices. How long the device is trusted stays
    as it was: from time to time the phone has to be proved again.
    """
    renewed = Remembered(device_id, secrets.new_token())
    changed = await database.execute(
        "UPDATE devices d SET token_hash = $1, last_seen_at = clock_now() FROM login_settings_in_force l"  # noqa: S608 -- a constant
        f" WHERE d.id = $2 AND d.token_hash = $3 AND d.forgotten_at IS NULL AND l.user_id = d.user_id AND {TRUSTED_UNTIL} > clock_now()",
        secrets.token_hash(renewed.token),
        device_id,
        secrets.token_hash(token),
    )
    return renewed if changed else None


async def remember_again(device_id: UUID) -> Remembered | None:
    """Replace a known device's token and trust it for its whole time anew, for the phone was proved on it once more.

    In the transaction under way. None when it was forgotten meanwhile.
    """
    renewed = Remembered(device_id, secrets.new_token())
    changed = await database.execute(
        """
        UPDATE devices d SET token_hash = $2, last_seen_at = clock_now(), trusted_at = clock_now(),
            trusted_until = clock_now() + l.trusted_device_days * interval '1 day'
        FROM login_settings_in_force l
        WHERE d.id = $1 AND d.forgotten_at IS NULL AND l.user_id = d.user_id
        """,
        device_id,
        secrets.token_hash(renewed.token),
    )
    return renewed if changed else None


async def stop_trusting(actor: Actor, device_id: UUID, user_id: UUID, practice_id: UUID, user_name: str) -> None:
    """Forget a known device, in the transaction under way, because whoever signs in on it asks for that."""
    forgotten = await database.fetch_one(
        "UPDATE devices SET forgotten_at = clock_now() WHERE id = $1 AND forgotten_at IS NULL RETURNING name", device_id
    )
    if forgotten is not None:
        await audit.record(
            actor,
            Action.DEVICE_FORGOTTEN,
            practice_id=practice_id,
            as_user=(user_id, user_name),
            subject_id=user_id,
            subject_name=user_name,
            details={"device": forgotten["name"]},
        )
