"""What becomes of each message, told to whoever operates the product: one line of the log a try, and the counters.

The row has it too (`delivery_attempts`), with the address; here there is none.
"""

import logging
from uuid import UUID

from domain import metrics
from domain.models.columns import Channel, DeliveryStatus

logger = logging.getLogger(__name__)

OUTCOMES = ("sent", "retrying", "failed", "bounced", "canceled")
_OUTCOMES = {
    DeliveryStatus.SENT: "sent",
    DeliveryStatus.DELIVERED: "sent",  # the carrier told so before the worker had written down that it was sent
    DeliveryStatus.RETRYING: "retrying",
    DeliveryStatus.FAILED: "failed",
    DeliveryStatus.BOUNCED: "bounced",
    DeliveryStatus.CANCELED: "canceled",
}


def note(
    delivery_id: UUID,
    *,
    channel: Channel,
    kind: str,
    attempt: int,
    status: DeliveryStatus,
    seconds: float,
    request_id: str | None,
) -> None:
    """Tell how a try ended, or that a message was called back. attempt: 0 for none. seconds: since the message was promised."""
    outcome = _OUTCOMES[status]
    metrics.DELIVERIES.labels(channel.value, kind, outcome).inc()
    if outcome == "sent":
        metrics.ACCEPTED.labels(channel.value, kind).observe(seconds)
    if logger.isEnabledFor(logging.INFO):
        fields: dict[str, object] = {
            "delivery": str(delivery_id),
            "channel": channel.value,
            "kind": kind,
            "attempt": attempt,
            "seconds": round(seconds, 3),
        }
        if request_id is not None:
            fields["request_id"] = request_id
        logger.info("Delivery %s", outcome, extra=fields)
