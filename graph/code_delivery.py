"""What became of a security code that somebody waits for."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import code_deliveries
from domain.code_deliveries import CodeDelivery as Record
from domain.models.columns import DeliveryStatus, PhoneChannel

_PROBLEMS = {
    (PhoneChannel.SMS, DeliveryStatus.BOUNCED): "This phone cannot be reached by a text.",
    (PhoneChannel.SMS, DeliveryStatus.FAILED): "The text did not arrive.",
    (PhoneChannel.VOICE, DeliveryStatus.BOUNCED): "This phone cannot be reached by a call. Check the number.",
    (PhoneChannel.VOICE, DeliveryStatus.FAILED): "The call was not answered, or did not get through.",
}
_LATE = {
    PhoneChannel.SMS: "The text should have arrived by now.",
    PhoneChannel.VOICE: "The call should have come by now.",
}


@strawberry.type(description="What became of a security code that was asked for, for the page that waits for it.")
class CodeDelivery:
    """How far it got."""

    channel: PhoneChannel = strawberry.field(
        description="How it travels: VOICE also when a text that did not arrive was followed by a call with the same code."
    )
    status: DeliveryStatus = strawberry.field(
        description="How far it got; DELIVERED only where carriers report that, else SENT is the end."
    )
    problem: str | None = strawberry.field(description="What to tell the person; null while all is well.")
    call_offered: bool = strawberry.field(
        description="Whether to offer a call: the code has not arrived, calls are allowed, and another code may be asked for now, with"
        " VOICE."
    )
    expires_at: datetime = strawberry.field(description="Until when the code is good.")

    @classmethod
    def of(cls, record: Record) -> "CodeDelivery":
        """From the domain's record."""
        return cls(
            channel=record.channel,
            status=record.status,
            problem=_problem(record),
            call_offered=record.call_offered,
            expires_at=record.expires_at,
        )


def _problem(record: Record) -> str | None:
    """Without a reason that is the operator's affair."""
    if record.status is DeliveryStatus.CANCELED:
        return "It was not sent. Ask for a new code."
    if (record.channel, record.status) in _PROBLEMS:
        return _PROBLEMS[record.channel, record.status]
    if record.is_late:
        return _LATE[record.channel]
    if record.status is DeliveryStatus.RETRYING:
        return "It could not be sent yet; we keep trying."
    if record.is_after_text and record.status is not DeliveryStatus.DELIVERED:
        return "The text did not arrive, so you get a call with the same code."
    return None


@strawberry.type
class CodeDeliveryQuery:
    """Root fields."""

    @strawberry.field(
        description="What became of the latest code for an enrollment or a challenge; ask every few seconds while somebody waits. Public;"
        " null when no code was sent, or the token is not, or no longer, good."
    )
    async def code_delivery(
        self,
        token: Annotated[str, strawberry.argument(description="Of the enrollment or of the challenge.")],
    ) -> CodeDelivery | None:
        """For a page that waits."""
        found = await code_deliveries.find(token)
        return CodeDelivery.of(found) if found else None
