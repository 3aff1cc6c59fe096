"""What somebody asked for who may not have it goes on record: a person at the wrong level, or one who tries doors."""

from graphql import FieldNode
from strawberry.types import ExecutionResult

from domain import audit
from domain.audit import Action
from graph.context import Context


async def record(context: Context, result: ExecutionResult) -> None:
    """Write one row for a request in which fields were forbidden, with their names. Writes: audit "access.refused"."""
    fields = [
        error.nodes[0].name.value
        for error in result.errors or ()
        if (error.extensions or {}).get("code") == "FORBIDDEN" and error.nodes and isinstance(error.nodes[0], FieldNode)
    ]
    if fields and context.actor.member is not None:
        details: dict[str, object] = {"fields": sorted(set(fields))}
        await audit.record(context.actor, Action.ACCESS_REFUSED, details=details)
