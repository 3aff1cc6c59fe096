"""Anything by its id, as far as whoever asks may see it."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import strawberry

from domain import audit_log, deliveries, practices, signed_in_places, users
from domain.actors import Actor, Member
from graph.audit import AuditEvent
from graph.context import Info
from graph.ids import split_id
from graph.practices import Practice
from graph.types import Delivery, Device, Invitation, Node, Session, User


@strawberry.type
class NodeQuery:
    """Root fields."""

    @strawberry.field(
        description="Anything by its id; null when there is no such thing in the signed-in user's practice."
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Node | None:
        """Whatever has an id."""
        actor = info.context.actor
        member = actor.signed_in()
        found = split_id(id)
        if found is None or found[0] not in _READERS:
            return None
        return await _READERS[found[0]](actor, member, found[1])


async def _user(actor: Actor, member: Member, row: UUID) -> Node | None:
    record = await users.find(actor, row)
    return User.of(record, member) if record else None


async def _invitation(actor: Actor, member: Member, row: UUID) -> Node | None:
    record = await users.find_by_invitation(actor, row) if member.is_administrator else None
    return Invitation.of(record.invitation, member) if record and record.invitation else None


async def _practice(actor: Actor, member: Member, row: UUID) -> Node | None:
    return Practice.of(await practices.current(actor), member) if row == member.practice_id else None


async def _session(actor: Actor, member: Member, row: UUID) -> Node | None:
    record = await signed_in_places.find_session(member, row)
    return Session.of(record, member) if record else None


async def _device(actor: Actor, member: Member, row: UUID) -> Node | None:
    record = await signed_in_places.find_device(member, row)
    return Device.of(record, member) if record else None


async def _audit_event(actor: Actor, member: Member, row: UUID) -> Node | None:
    record = await audit_log.find(actor, row)
    return AuditEvent.of(record) if record else None


async def _delivery(actor: Actor, member: Member, row: UUID) -> Node | None:
    record = await deliveries.find(actor, row)
    return Delivery.of(record, member) if record else None


_READERS: dict[str, Callable[[Actor, Member, UUID], Awaitable[Node | None]]] = {
    "User": _user,
    "Invitation": _invitation,
    "Practice": _practice,
    "Session": _session,
    "Device": _device,
    "AuditEvent": _audit_event,
    "Delivery": _delivery,
}
