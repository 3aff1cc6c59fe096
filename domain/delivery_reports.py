"""What a carrier tells later about a message that it took over: that it arrived, or why not.

Reports come in any order, more than once, and sometimes before the worker has written down that the message was sent; so the report is
kept beside the status, and `outbox.settle` looks at it. That a message arrived is the last word: a copy that failed changes nothing.
"""

from uuid import UUID

from domain import database, delivery_log, metrics, voice_fallback
from domain.delivery_faults import Fault, PhoneJudgment
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import MAX_PROBLEM_LENGTH


async def take_failure(delivery_id: UUID, judgment: PhoneJudgment, *, carrier: str = "FIRST") -> bool:
    """Note that a delivery will not arrive; whether that was news. BOUNCED where the number is at fault, FAILED otherwise."""
    status = DeliveryStatus.BOUNCED if judgment.fault is Fault.RECIPIENT else DeliveryStatus.FAILED
    return await take(delivery_id, status, judgment.problem, carrier=carrier, judgment=judgment)


async def take(
    delivery_id: UUID,
    status: DeliveryStatus,
    problem: str | None,
    *,
    carrier: str = "FIRST",
    judgment: PhoneJudgment | None = None,
) -> bool:
    """Note what became of a delivery; whether that was news. Taking the same report again changes nothing.

    status: DELIVERED, BOUNCED (the number or address is at fault) or FAILED. problem: a sentence for an administrator.
    carrier: who says so. That it failed is believed of the one that was asked last only: the other's copy is on its way.
    """
    # A carrier that broke off may have taken the message all the same: one that arrived is not sent again.
    changed = await database.fetch_one(
        """
        WITH d AS (
            SELECT id, status <> 'SENDING' AND ($2 = 'DELIVERED' OR sent_at IS NOT NULL) AS is_settled FROM deliveries
            WHERE id = $1 AND channel <> 'EMAIL' AND status <> 'CANCELED' AND ($2 = 'DELIVERED' OR coalesce(carrier, $4::text) = $4::text)
                AND reported_status IS DISTINCT FROM $2 AND reported_status IS DISTINCT FROM 'DELIVERED'
            FOR UPDATE
        )
        UPDATE deliveries o SET reported_status = $2, reported_problem = $3, fault = $5,
            status = CASE WHEN is_settled THEN $2 ELSE status END,
            problem = CASE WHEN is_settled THEN $3 ELSE problem END,
            sent_at = CASE WHEN is_settled THEN coalesce(sent_at, clock_now()) ELSE sent_at END
        FROM d WHERE o.id = d.id RETURNING o.channel
        """,
        delivery_id,
        status.value,
        problem[:MAX_PROBLEM_LENGTH] if problem else None,
        carrier,
        judgment.fault.value if judgment else None,
    )
    if changed:
        react = voice_fallback.arrived if status is DeliveryStatus.DELIVERED else voice_fallback.follow
        await react(delivery_id)
        metrics.REPORTS.labels(status.value.lower()).inc()
        if judgment is not None:
            channel = Channel(changed["channel"])
            delivery_log.note_fault(delivery_id, channel=channel, fault=judgment.fault, cause=judgment.for_log)
    return changed is not None
