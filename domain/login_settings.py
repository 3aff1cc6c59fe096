"""How and when a practice's staff may sign in: each user's own settings over the practice's over the product's."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from domain import database, networks
from domain.allowed_hours import AllowedHours
from domain.database import Row
from domain.models.columns import PhoneChannel, PracticeAccessCodePolicy, SecurityCodePolicy, Weekday
from domain.settings import Network

FIELDS = (
    "security_code",
    "practice_access_code",
    "trusted_device_days",
    "idle_timeout_minutes",
    "session_hours",
    "allowed_hours",
    "allowed_networks",
    "phone_channels",
    "voice_fallback",
)
COLUMNS = ", ".join(f"l.{field}" for field in FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """The settings in force for somebody. No allowed_hours: any time. No allowed_networks: anywhere.

    The product's defaults stand here, and for SQL in the view `login_settings_in_force`.
    """

    security_code: SecurityCodePolicy = SecurityCodePolicy.NEW_DEVICE
    practice_access_code: PracticeAccessCodePolicy = PracticeAccessCodePolicy.INVITATION
    trusted_device_days: int = 30  # the most that OWASP ASVS 7.5.2 and the peers allow a remembered device
    idle_timeout_minutes: int = 30  # NIST SP 800-63B 4.2.3
    session_hours: int = 12  # NIST SP 800-63B 4.2.3
    allowed_hours: tuple[AllowedHours, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    phone_channels: tuple[PhoneChannel, ...] = (PhoneChannel.SMS, PhoneChannel.VOICE)
    voice_fallback: bool = True  # of account only where phone_channels has VOICE

    @property
    def device_lifetime(self) -> timedelta:
        """How long a device is trusted after the phone was proved on it."""
        return timedelta(days=self.trusted_device_days)

    @property
    def session_lifetime(self) -> timedelta:
        """How long a session lasts at most."""
        return timedelta(hours=self.session_hours)


DEFAULTS = LoginSettings()


async def in_force(practice_id: UUID, user_ids: Sequence[UUID]) -> dict[UUID, LoginSettings]:
    """What holds for each of these users of a practice."""
    rows = await database.fetch(
        f"SELECT l.user_id, {COLUMNS} FROM login_settings_in_force l WHERE l.practice_id = $1 AND l.user_id = ANY($2::uuid[])",  # noqa: S608 -- constants
        practice_id,
        list(user_ids),
    )
    return {row["user_id"]: of_row(row) for row in rows}


async def of_user(practice_id: UUID, user_id: UUID) -> LoginSettings:
    """What holds for a user of a practice."""
    return (await in_force(practice_id, [user_id]))[user_id]


async def of_practice(practice_id: UUID) -> LoginSettings:
    """What holds for users of a practice who have no settings of their own."""
    row = await database.fetch_one(
        f"SELECT {COLUMNS} FROM login_settings l WHERE l.practice_id = $1 AND l.user_id IS NULL",  # noqa: S608 -- constants
        practice_id,
    )
    return of_row(row) if row else DEFAULTS


def of_row(row: Row) -> LoginSettings:
    """From a row that has the columns above; the product's default where one is null."""
    given: dict[str, Any] = {field: _READERS[field](row[field]) for field in FIELDS if row[field] is not None}
    return LoginSettings(**given)


def hours_of(stored: str) -> tuple[AllowedHours, ...]:
    """Allowed hours as a column holds them."""
    return tuple(AllowedHours(Weekday(one["day"]), one["from"], one["until"]) for one in json.loads(stored))


def networks_of(stored: str) -> tuple[Network, ...]:
    """Allowed networks as a column holds them."""
    return tuple(networks.parsed(one) for one in json.loads(stored))


_READERS: dict[str, Callable[[Any], object]] = {
    "security_code": SecurityCodePolicy,
    "practice_access_code": PracticeAccessCodePolicy,
    "trusted_device_days": int,
    "idle_timeout_minutes": int,
    "session_hours": int,
    "allowed_hours": hours_of,
    "allowed_networks": networks_of,
    "phone_channels": lambda stored: tuple(PhoneChannel(one) for one in json.loads(stored)),
    "voice_fallback": bool,
}
