"""Anything by its id, as far as whoever asks may see it."""

from typing import Annotated

import strawberry

from domain import practices, users
from graph.context import Info
from graph.practices import Practice
from graph.types import Invitation, Node, User, split_id


@strawberry.type
class NodeQuery:
    """Root fields."""

    @strawberry.field(
        description="Anything by its id; null when there is no such thing in the signed-in user's practice."
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Node | None:
        """Users, invitations, and the practice itself."""
        actor = info.context.actor
        member = actor.signed_in()
        found = split_id(id)
        if found is None:
            return None
        kind, row = found
        if kind == "User":
            record = await users.find(actor, row)
            return User.of(record, member) if record else None
        if kind == "Invitation" and member.is_administrator:
            record = await users.find_by_invitation(actor, row)
            return Invitation.of(record.invitation) if record and record.invitation else None
        if kind == "Practice" and row == member.practice_id:
            return Practice.of(await practices.current(actor))
        return None
