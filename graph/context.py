"""Who is asking: the session token of the request, looked up once, and the client's address behind the configured proxies."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import strawberry
from starlette.requests import Request
from starlette.responses import Response
from strawberry.dataloader import DataLoader

from domain import deliveries, login_settings, sessions, signed_in_places, users
from domain.actors import Actor, KeptOut, Member
from domain.deliveries import AttemptRecord
from domain.login_settings import LoginSettings
from domain.settings import Network
from domain.signed_in_places import DeviceRecord, SessionRecord
from domain.users import Counts, Ended

# Who looks, and at whom. One request has one member, who looks at everything in it.
Seen = tuple[Member, UUID]


@dataclass(frozen=True, slots=True)
class Context:
    """What resolvers get: the actor, and the request it came with.

    sessions, devices, login_settings, ended_invitations: of users, read together for all that one request asks about; keys are the member who looks and the user.
    delivery_attempts: so of messages. user_counts: of the practice of the member who looks.
    """

    actor: Actor
    request: Request
    response: Response
    sessions: DataLoader[Seen, list[SessionRecord]] = field(default_factory=lambda: DataLoader(load_fn=_sessions))
    devices: DataLoader[Seen, list[DeviceRecord]] = field(default_factory=lambda: DataLoader(load_fn=_devices))
    login_settings: DataLoader[Seen, LoginSettings] = field(default_factory=lambda: DataLoader(load_fn=_login_settings))
    ended_invitations: DataLoader[Seen, Ended] = field(default_factory=lambda: DataLoader(load_fn=_ended_invitations))
    delivery_attempts: DataLoader[Seen, list[AttemptRecord]] = field(
        default_factory=lambda: DataLoader(load_fn=_delivery_attempts)
    )
    user_counts: DataLoader[Member, Counts] = field(default_factory=lambda: DataLoader(load_fn=_user_counts))


async def _sessions(keys: list[Seen]) -> list[list[SessionRecord]]:
    found = await signed_in_places.sessions_of(keys[0][0], [user_id for _, user_id in keys])
    return [found[user_id] for _, user_id in keys]


async def _devices(keys: list[Seen]) -> list[list[DeviceRecord]]:
    found = await signed_in_places.devices_of(keys[0][0], [user_id for _, user_id in keys])
    return [found[user_id] for _, user_id in keys]


async def _login_settings(keys: list[Seen]) -> list[LoginSettings]:
    found = await login_settings.in_force(keys[0][0].practice_id, [user_id for _, user_id in keys])
    return [found[user_id] for _, user_id in keys]


async def _ended_invitations(keys: list[Seen]) -> list[Ended]:
    found = await users.with_ended_invitations(keys[0][0], [user_id for _, user_id in keys])
    return [found[user_id] for _, user_id in keys]


async def _delivery_attempts(keys: list[Seen]) -> list[list[AttemptRecord]]:
    found = await deliveries.attempts_of(keys[0][0], [delivery_id for _, delivery_id in keys])
    return [found[delivery_id] for _, delivery_id in keys]


async def _user_counts(keys: list[Member]) -> list[Counts]:
    return [await users.counts(viewer) for viewer in keys]


Info = strawberry.Info[Context, None]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def context_for(request: Request, response: Response, trusted_proxies: Sequence[Network]) -> Context:
    """Read who is asking. One statement when a token came along, none when not."""
    peer = request.client.host if request.client else ""
    address = client_address(peer, request.headers.getlist("x-forwarded-for"), trusted_proxies)
    token = _bearer(request.headers.get("authorization", ""))
    found = await sessions.authenticate(token, address) if token else None
    if isinstance(found, KeptOut):
        actor = Actor(ip_address=address, kept_out=found)
    else:
        actor = Actor(ip_address=address, member=found)
    return Context(actor=actor, request=request, response=response)


def _bearer(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def client_address(peer: str, forwarded: Sequence[str], trusted_proxies: Sequence[Network]) -> str:
    """The address of the client: the connection's own, or where that is a proxy of ours, the last in X-Forwarded-For that is not.

    What stands before that one was written by whoever sent it, and is not believed. What is no address counts as the last proxy.
    """
    found = _parsed(peer)
    if found is None:
        return "unknown"
    hops = [hop.strip() for header in forwarded for hop in header.split(",") if hop.strip()]
    for hop in reversed(hops):
        before = _parsed(hop) if _is_trusted(found, trusted_proxies) and "%" not in hop else None
        if before is None:
            break
        found = before
    return str(found)


def _parsed(text: str) -> Address | None:
    """An address without its zone; IPv4 as IPv4, also when a socket for both protocols writes it as IPv6."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_trusted(address: Address, trusted_proxies: Sequence[Network]) -> bool:
    return any(address in network for network in trusted_proxies)
