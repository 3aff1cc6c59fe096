"""What becomes of each message, told to whoever operates the product: one line of the log a try, and the counters.

The row has it too (`delivery_attempts`), with the address; here there is none.
"""

import logging
from functools import cache
from uuid import UUID

from prometheus_client import Counter, Histogram

from domain import metrics
from domain.delivery_faults import Fault
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
    _counter(channel.value, kind, outcome).inc()
    if outcome == "sent":
        _histogram(channel.value, kind).observe(seconds)
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


def note_fault(delivery_id: UUID, *, channel: Channel, fault: Fault | None, cause: str | None) -> None:
    """Count whose fault a refusal or a report is, and tell the operator what nobody else can mend. cause: a word, and a code."""
    if fault is None:
        return
    metrics.FAULTS.labels(channel.value, fault.value.lower()).inc()
    if fault.is_operators:
        fields = {
            "delivery": str(delivery_id),
            "channel": channel.value,
            "fault": fault.value,
            "cause": cause or "not said",
        }
        logger.warning("A message is refused by no fault of its recipient", extra=fields)


@cache  # each look for a series costs as much as counting in it
def _counter(channel: str, kind: str, outcome: str) -> Counter:
    return metrics.DELIVERIES.labels(channel, kind, outcome)


@cache
def _histogram(channel: str, kind: str) -> Histogram:
    return metrics.ACCEPTED.labels(channel, kind)
