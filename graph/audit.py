"""The audit log, for administrators."""

import enum
import json
from datetime import datetime
from typing import Annotated

import strawberry

from domain import audit_chain, audit_log
from domain.audit import Action
from domain.audit_log import EventRecord, Filter
from graph import paging
from graph.context import Info
from graph.ids import global_id, split_id
from graph.types import Node, PageInfo


@strawberry.enum(description="What came of it.")
class AuditResult(enum.Enum):
    """Told from the action's name."""

    SUCCEEDED = strawberry.enum_value("SUCCEEDED", description="It happened.")
    REFUSED = strawberry.enum_value("REFUSED", description="It was asked for and did not happen; details say why.")


@strawberry.type(description="Something that happened, or that was refused.")
class AuditEvent(Node):
    """One row of the trail."""

    occurred_at: datetime = strawberry.field(description="When.")
    action: str = strawberry.field(
        description="noun.verb in the past: invitation.sent, sign_in.refused, user.deactivated. docs/audit.md lists them all."
    )
    result: AuditResult = strawberry.field(description="What came of it.")
    actor_id: strawberry.ID | None = strawberry.field(description="The user who did it; null for nobody's user.")
    actor_name: str = strawberry.field(description="Who did it, by the name they had then.")
    subject_id: strawberry.ID | None = strawberry.field(description="The user to whom it was done.")
    subject_name: str | None = strawberry.field(description="To whom it was done, by the name they had then.")
    session_id: strawberry.ID | None = strawberry.field(description="The session in which it was done.")
    ip_address: str | None = strawberry.field(description="Where the request came from; null on the server itself.")
    details: str = strawberry.field(description="JSON object.")

    @classmethod
    def of(cls, record: EventRecord) -> "AuditEvent":
        """From the domain's record."""
        return cls(
            id=global_id("AuditEvent", record.id),
            occurred_at=record.occurred_at,
            action=record.action,
            result=AuditResult.REFUSED if record.is_refusal else AuditResult.SUCCEEDED,
            actor_id=global_id("User", record.actor_user_id) if record.actor_user_id else None,
            actor_name=record.actor_name,
            subject_id=global_id("User", record.subject_user_id) if record.subject_user_id else None,
            subject_name=record.subject_name,
            session_id=global_id("Session", record.session_id) if record.session_id else None,
            ip_address=record.ip_address,
            details=json.dumps(json.loads(record.details), ensure_ascii=False),
        )


@strawberry.type(description="An event in a list.")
class AuditEventEdge:
    """As in the Relay specification."""

    cursor: str = strawberry.field(description="The event's place in the list.")
    node: AuditEvent = strawberry.field(description="The event.")


@strawberry.type(description="Events, newest first.")
class AuditEventConnection:
    """As in the Relay specification."""

    edges: list[AuditEventEdge] = strawberry.field(description="The events with their places.")
    nodes: list[AuditEvent] = strawberry.field(description="The events alone.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")


@strawberry.input(description="Which events. All that are given have to hold.")
class AuditFilter:
    """What to look for."""

    actions: list[str] | None = strawberry.field(
        default=None, description="Any of these, by their names; all where left out."
    )
    user_id: strawberry.ID | None = strawberry.field(default=None, description="Done by this user, or to them.")
    since: datetime | None = strawberry.field(default=None, description="At this moment, or later.")
    until: datetime | None = strawberry.field(default=None, description="Before this moment.")


@strawberry.type(description="Whether the trail is as it was written: each event is chained to the one before it.")
class AuditVerification:
    """What following the chain showed."""

    is_intact: bool = strawberry.field(description="Whether nothing was changed, taken out or put in.")
    event_count: int = strawberry.field(description="How many events were looked at, up to the first that is wrong.")
    head_hash: str = strawberry.field(
        description="Of the last good event, hexadecimal. Kept elsewhere, it shows later that nothing was cut off the end."
    )
    checked_at: datetime = strawberry.field(description="When.")
    broken_position: int | None = strawberry.field(description="Where in the chain it first does not hold, from 1.")
    broken_event: AuditEvent | None = strawberry.field(description="The event there, if it is still to be found.")
    problem: str | None = strawberry.field(description="What is wrong there.")


def _filter(given: AuditFilter | None) -> Filter | None:
    """None when no event can match, since the user is none of ours."""
    if given is None:
        return Filter()
    unknown = [name for name in given.actions or () if name not in set(Action)]
    if unknown:
        raise paging.bad_input("There is no action of this name; docs/audit.md lists them.")
    user = split_id(given.user_id) if given.user_id is not None else None
    if given.user_id is not None and (user is None or user[0] != "User"):
        return None
    return Filter(
        actions=[Action(name) for name in given.actions or ()],
        user_id=user[1] if user else None,
        since=given.since,
        until=given.until,
    )


@strawberry.type
class AuditQuery:
    """Root fields."""

    @strawberry.field(description="Administrators only, newest first. Each look is audited itself.")
    async def audit_log(
        self,
        info: Info,
        first: Annotated[
            int | None, strawberry.argument(description="How many; at most 100, 50 where left out.")
        ] = None,
        after: Annotated[str | None, strawberry.argument(description="A place: an edge's cursor.")] = None,
        filter: Annotated[
            AuditFilter | None, strawberry.argument(description="Which events; all where left out.")
        ] = None,
    ) -> AuditEventConnection:
        """What happened."""
        actor = info.context.actor
        actor.administrator()
        size, place, wanted = paging.size(first), paging.moment_place(after), _filter(filter)
        page = (
            await audit_log.page(actor, wanted, size=size, after=place)
            if wanted
            else audit_log.Page(events=[], has_next=False)
        )
        edges = [
            AuditEventEdge(
                cursor=paging.cursor((record.occurred_at.isoformat(), record.id)), node=AuditEvent.of(record)
            )
            for record in page.events
        ]
        return AuditEventConnection(
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=paging.page_info(
                [edge.cursor for edge in edges], has_previous=after is not None, has_next=page.has_next
            ),
        )

    @strawberry.field(
        description="Follow the chain of the practice's audit log from end to end. Administrators only; a few times an hour,"
        " RATE_LIMITED beyond that."
    )
    async def audit_verification(self, info: Info) -> AuditVerification:
        """Whether it is whole."""
        actor = info.context.actor
        report = await audit_chain.verify_own(actor)
        broken = report.broken
        event = await audit_log.find(actor, broken.event_id) if broken and broken.event_id else None
        return AuditVerification(
            is_intact=broken is None,
            event_count=report.events,
            head_hash=report.head,
            checked_at=report.checked_at,
            broken_position=broken.position if broken else None,
            broken_event=AuditEvent.of(event) if event else None,
            problem=broken.problem if broken else None,
        )
