"""Login settings as somebody typed them: read, normalised, or told what is wrong with them."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from domain import allowed_hours
from domain.errors import Problems
from domain.models.columns import PhoneChannel, PracticeAccessCodePolicy, SecurityCodePolicy, Weekday
from domain.settings import Network

MAX_RANGES = 42  # six on each day of the week
MAX_NETWORKS = 50
MAX_NETWORK_LENGTH = 64
MAPPED_BITS = 96  # ::ffff:0:0/96 holds the addresses of IPv4

# NIST SP 800-63B-4 2.2.3 for the two of sessions; the others are the product's.
BOUNDS = {"trusted_device_days": (0, 90), "idle_timeout_minutes": (5, 60), "session_hours": (1, 24)}
CLIENT_NAMES = {
    "security_code": "securityCode",
    "practice_access_code": "practiceAccessCode",
    "trusted_device_days": "trustedDeviceDays",
    "idle_timeout_minutes": "idleTimeoutMinutes",
    "session_hours": "sessionHours",
    "allowed_hours": "allowedHours",
    "allowed_networks": "allowedNetworks",
    "phone_channels": "phoneChannels",
    "voice_fallback": "voiceFallback",
}


@dataclass(frozen=True, slots=True)
class RawHours:
    """One range as typed."""

    day: Weekday
    opens: str
    closes: str


class Changes(TypedDict, total=False):
    """What is to change. A setting that is left out stays; None goes back to the level above."""

    security_code: SecurityCodePolicy | None
    practice_access_code: PracticeAccessCodePolicy | None
    trusted_device_days: int | None
    idle_timeout_minutes: int | None
    session_hours: int | None
    allowed_hours: Sequence[RawHours] | None
    allowed_networks: Sequence[str] | None
    phone_channels: Sequence[PhoneChannel] | None
    voice_fallback: bool | None


# Settings as the columns of `login_settings` hold them, with lists for JSON.
Stored = dict[str, Any]


def read(changes: Changes) -> Stored:
    """The changes as they are stored. Raises InputInvalid with all that is wrong."""
    problems = Problems()
    stored = {name: _read(problems, name, value) for name, value in changes.items()}
    problems.raise_any()
    return stored


def _read(problems: Problems, name: str, value: Any) -> Any:
    path = CLIENT_NAMES[name]
    if value is None or isinstance(value, bool):
        return value
    if name in BOUNDS:
        low, high = BOUNDS[name]
        if not low <= value <= high:
            problems.add((path,), f"Put a number from {low} to {high}.")
        return value
    return _LISTS[name](problems, path, value) if name in _LISTS else value.value


def _hours(problems: Problems, path: str, ranges: Sequence[RawHours]) -> list[dict[str, str]]:
    if len(ranges) > MAX_RANGES:
        problems.add((path,), f"Put at most {MAX_RANGES} ranges.")
        return []
    for index, one in enumerate(ranges):
        if not allowed_hours.is_time(one.opens):
            problems.add((path, str(index), "from"), "Put a time such as 08:00, from 00:00 to 23:59.")
        if not allowed_hours.is_time(one.closes, may_be_midnight=True):
            problems.add((path, str(index), "until"), "Put a time such as 18:00, from 00:00 to 24:00.")
    kept = dict.fromkeys(ranges)
    return [{"day": one.day.value, "from": one.opens, "until": one.closes} for one in kept]


def _networks(problems: Problems, path: str, texts: Sequence[str]) -> list[str]:
    if len(texts) > MAX_NETWORKS:
        problems.add((path,), f"Put at most {MAX_NETWORKS} networks.")
        return []
    kept: dict[str, None] = {}
    for index, text in enumerate(texts):
        try:
            kept[str(_network(text))] = None
        except NetworkInvalid as error:
            problems.add((path, str(index)), error.reason)
    return list(kept)


@dataclass
class NetworkInvalid(Exception):
    """A text that is no network. reason: a sentence for a person."""

    reason: str


def _network(raw: str) -> Network:
    """A network as typed; an address alone is a network of one. Raises NetworkInvalid.

    One whose address has bits that the prefix cuts off is refused, for it may be meant either way; IPv4 that is written as IPv6
    becomes IPv4, as clients' addresses do.
    """
    text = raw.strip()
    address, slash, prefix = text.partition("/")
    if len(raw) > MAX_NETWORK_LENGTH or "%" in text or (slash and not (prefix.isascii() and prefix.isdigit())):
        raise NetworkInvalid("Put a network such as 203.0.113.0/24 or 2001:db8::/32, or one address.")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise NetworkInvalid("Put a network such as 203.0.113.0/24 or 2001:db8::/32, or one address.") from None
    if ipaddress.ip_address(address) != network.network_address:
        raise NetworkInvalid(f"Put {network} for the whole network, or {address} for this one address.")
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= MAPPED_BITS:
        return ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


def _channels(problems: Problems, path: str, channels: Sequence[PhoneChannel]) -> list[str]:
    if not channels:
        problems.add((path,), "Put at least one: without it nobody could prove a phone.")
    return [channel.value for channel in PhoneChannel if channel in channels]


_LISTS: dict[str, Callable[[Problems, str, Any], object]] = {
    "allowed_hours": _hours,
    "allowed_networks": _networks,
    "phone_channels": _channels,
}
