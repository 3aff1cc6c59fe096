"""How messages get out of the house, for a practice's administrators."""

from datetime import datetime

import strawberry

from domain.models.columns import Channel
from domain.queue_health import ChannelRecord


@strawberry.type(description="How the messages of a practice get out by one channel.")
class ChannelHealth:
    """One channel."""

    channel: Channel = strawberry.field(description="Which one.")
    waiting_count: int = strawberry.field(description="How many messages neither relay nor carrier has taken yet.")
    oldest_waiting_since: datetime | None = strawberry.field(
        description="When the oldest of them was queued; null when none waits."
    )
    is_late: bool = strawberry.field(
        description="Whether that is longer ago than it ought to be: 30 seconds for texts and calls, 10 minutes for e-mails. Nothing is"
        " lost meanwhile; asking for another does not speed it up."
    )

    @classmethod
    def of(cls, record: ChannelRecord) -> "ChannelHealth":
        """From the domain's record."""
        return cls(
            channel=record.channel,
            waiting_count=record.waiting,
            oldest_waiting_since=record.oldest_since,
            is_late=record.is_late,
        )
