"""Messages and what became of them, for administrators; sending a dead one again."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import deliveries, redelivery
from domain.deliveries import Filter
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Kind
from graph import paging
from graph.context import Info
from graph.errors import AddressBounced, LimitReached, NotFound, NotRedeliverable, SubscriptionLapsed, TooSoon
from graph.ids import row_id, split_id
from graph.types import Delivery, PageInfo


@strawberry.type(description="A message in a list.")
class DeliveryEdge:
    """As in the Relay specification."""

    cursor: str = strawberry.field(description="The message's place in the list.")
    node: Delivery = strawberry.field(description="The message.")


@strawberry.type(description="Messages, newest first.")
class DeliveryConnection:
    """As in the Relay specification."""

    edges: list[DeliveryEdge] = strawberry.field(description="The messages with their places.")
    nodes: list[Delivery] = strawberry.field(description="The messages alone.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")


@strawberry.input(description="Which messages. All that are given have to hold.")
class DeliveryFilter:
    """What to look for."""

    status: list[DeliveryStatus] | None = strawberry.field(
        default=None, description="Any of these; all where left out."
    )
    kind: list[Kind] | None = strawberry.field(default=None, description="Any of these; all where left out.")
    channel: list[Channel] | None = strawberry.field(default=None, description="Any of these; all where left out.")
    user_id: strawberry.ID | None = strawberry.field(default=None, description="To this user.")
    since: datetime | None = strawberry.field(default=None, description="Asked for at this moment, or later.")
    until: datetime | None = strawberry.field(default=None, description="Asked for before this moment.")


@strawberry.input(description="Which message to send again.")
class RedeliverInput:
    """One that is dead."""

    delivery_id: strawberry.ID = strawberry.field(description="A message that is FAILED, BOUNCED or CANCELED.")


RedeliverResult = Annotated[
    Delivery | NotFound | NotRedeliverable | AddressBounced | TooSoon | LimitReached | SubscriptionLapsed,
    strawberry.union("RedeliverResult", description="What redeliver answers."),
]


def _filter(given: DeliveryFilter | None) -> Filter | None:
    """None when no message can match, since the user is none of ours."""
    if given is None:
        return Filter()
    user = split_id(given.user_id) if given.user_id is not None else None
    if given.user_id is not None and (user is None or user[0] != "User"):
        return None
    return Filter(
        statuses=given.status or (),
        kinds=[kind.value for kind in given.kind or ()],
        channels=given.channel or (),
        user_id=user[1] if user else None,
        since=given.since,
        until=given.until,
    )


@strawberry.type
class DeliveryQuery:
    """Root fields."""

    @strawberry.field(
        description="Every message of the practice, newest first, whatever became of it; kept for 90 days. Administrators only."
    )
    async def deliveries(
        self,
        info: Info,
        first: Annotated[
            int | None, strawberry.argument(description="How many; at most 100, 50 where left out.")
        ] = None,
        after: Annotated[str | None, strawberry.argument(description="A place: an edge's cursor.")] = None,
        filter: Annotated[
            DeliveryFilter | None, strawberry.argument(description="Which messages; all where left out.")
        ] = None,
    ) -> DeliveryConnection:
        """Who was sent what, and whether it arrived."""
        actor = info.context.actor
        member = actor.administrator()
        size, place, wanted = paging.size(first), paging.moment_place(after), _filter(filter)
        page = (
            await deliveries.page(actor, wanted, size=size, after=place)
            if wanted
            else deliveries.Page(deliveries=[], has_next=False)
        )
        edges = [
            DeliveryEdge(
                cursor=paging.cursor((record.queued_at.isoformat(), record.id)), node=Delivery.of(record, member)
            )
            for record in page.deliveries
        ]
        return DeliveryConnection(
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=paging.page_info(
                [edge.cursor for edge in edges], has_previous=after is not None, has_next=page.has_next
            ),
        )


@strawberry.type
class DeliveryMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Send a message again that did not arrive. Answers with a new message, which carries the same link; the old one stays as it"
        " is. Administrators only. It counts as a resend does, and makes sense only while what the message says is good."
    )
    async def redeliver(
        self, info: Info, input: Annotated[RedeliverInput, strawberry.argument(description="Which message.")]
    ) -> RedeliverResult:
        """Once more."""
        actor = info.context.actor
        member = actor.administrator()
        record = await redelivery.redeliver(actor, row_id("Delivery", input.delivery_id))
        return Delivery.of(record, member)
