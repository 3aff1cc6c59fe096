"""What is told later about an e-mail that a relay took over: it arrived, it waits, it came back, or its receiver called it spam.

Reports come in any order, more than once, and sometimes before the worker has written down that the mail was sent; so the report is kept
beside the status, and `outbox.settle` looks at it. Other than with a phone, that an e-mail was delivered is not the last word: a provider
says so as soon as the next server has taken it, and that one may still send it back. So what was reported goes up only, FAILED, DELIVERED,
BOUNCED, and everything else changes nothing.

A report says how a message fared and nothing else: whoever forges one opens no link and ends none.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from domain import bounced_addresses, database, delivery_log, metrics
from domain.delivery_faults import Fault, Judgment
from domain.models.columns import Channel
from domain.outbox import MAX_PROBLEM_LENGTH

COUNTED_UP_TO = 10_000
UNREADABLE = (
    "An answer came back that could not be read, so it may not have arrived. Ask the person; send it again if not."
)


class Verdict(StrEnum):
    """FAILED: given up, by no fault of the address. BOUNCED: the address is at fault. DELAYED: it is still being tried.

    UNREADABLE: something came back to the mail's own return path, and nobody knows what it says.
    """

    DELAYED = "DELAYED"
    FAILED = "FAILED"
    DELIVERED = "DELIVERED"
    BOUNCED = "BOUNCED"
    COMPLAINED = "COMPLAINED"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReport:
    """What became of one delivery. problem: a sentence for an administrator, without addresses or a server's own words.

    fault: whose it is that the mail failed, or waits. cause: the same for the log.
    """

    delivery_id: UUID
    verdict: Verdict
    problem: str | None = None
    fault: Fault | None = None
    cause: str | None = None


def failed(delivery_id: UUID, judgment: Judgment) -> MailReport:
    """The report that a mail will not arrive: BOUNCED where the address is at fault, FAILED otherwise."""
    verdict = Verdict.BOUNCED if judgment.fault is Fault.RECIPIENT else Verdict.FAILED
    return _report(delivery_id, verdict, judgment.failed, judgment)


def delayed(delivery_id: UUID, judgment: Judgment) -> MailReport:
    """The report that a mail is still being tried."""
    return _report(delivery_id, Verdict.DELAYED, judgment.delayed, judgment)


def _report(delivery_id: UUID, verdict: Verdict, problem: str, judgment: Judgment) -> MailReport:
    return MailReport(
        delivery_id=delivery_id, verdict=verdict, problem=problem, fault=judgment.fault, cause=judgment.for_log
    )


async def take(report: MailReport, *, event_id: str | None = None) -> bool:
    """Note what became of an e-mail; whether that was news. Of deliveries that are none, or were never tried, nothing is noted.

    event_id: of the provider's notification, with the provider's name; one that was taken before is not taken again. Writes:
    deliveries, feedback_events, and for a bounce or a complaint what `bounced_addresses.note` does.
    """
    async with database.transaction():
        if event_id is not None and not await _is_first(event_id):
            return False
        if report.verdict is Verdict.COMPLAINED:
            changed = await _complain(report.delivery_id)
            await bounced_addresses.note([report.delivery_id], is_complaint=True)
        elif report.verdict is Verdict.DELAYED:
            changed = await _delay(report)
        elif report.verdict is Verdict.UNREADABLE:
            changed = await _mark_unreadable(report)
        else:
            changed = await _end(report)
            if changed and report.verdict is Verdict.BOUNCED:
                await bounced_addresses.note([report.delivery_id])
    if changed:
        metrics.REPORTS.labels(report.verdict.value.lower()).inc()
        delivery_log.note_fault(report.delivery_id, channel=Channel.EMAIL, fault=report.fault, cause=report.cause)
    return changed


async def _is_first(event_id: str) -> bool:
    inserted = await database.execute(
        "INSERT INTO feedback_events (id, received_at) VALUES ($1, clock_now()) ON CONFLICT DO NOTHING", event_id
    )
    return bool(inserted)


async def _end(report: MailReport) -> bool:
    """It arrived, or never will. A mail that the relay broke off over may have gone out all the same: its row waits for another try."""
    changed = await database.execute(
        """
        WITH d AS (
            SELECT id, status <> 'SENDING' AND ($2 <> 'FAILED' OR sent_at IS NOT NULL) AS is_settled FROM deliveries
            WHERE id = $1 AND channel = 'EMAIL' AND attempts > 0 AND status NOT IN ('CANCELED', 'BOUNCED')
                AND coalesce(array_position(ARRAY['FAILED', 'DELIVERED', 'BOUNCED'], reported_status::text), 0)
                    < array_position(ARRAY['FAILED', 'DELIVERED', 'BOUNCED'], $2)
            FOR UPDATE
        )
        UPDATE deliveries o SET reported_status = $2, reported_problem = $3, fault = $4,
            status = CASE WHEN is_settled THEN $2 ELSE status END,
            problem = CASE WHEN is_settled THEN $3 ELSE problem END,
            sent_at = CASE WHEN is_settled THEN coalesce(sent_at, clock_now()) ELSE sent_at END
        FROM d WHERE o.id = d.id
        """,
        report.delivery_id,
        report.verdict.value,
        report.problem[:MAX_PROBLEM_LENGTH] if report.problem else None,
        report.fault.value if report.fault else None,
    )
    return bool(changed)


async def _delay(report: MailReport) -> bool:
    """It is on its way still, and the administrator may know why."""
    changed = await database.execute(
        """
        UPDATE deliveries SET reported_problem = $2, fault = CASE WHEN status = 'SENT' THEN $3 ELSE fault END,
            problem = CASE WHEN status = 'SENT' THEN $2 ELSE problem END
        WHERE id = $1 AND channel = 'EMAIL' AND attempts > 0 AND status IN ('SENDING', 'SENT') AND reported_status IS NULL
            AND reported_problem IS DISTINCT FROM $2
        """,
        report.delivery_id,
        report.problem[:MAX_PROBLEM_LENGTH] if report.problem else None,
        report.fault.value if report.fault else None,
    )
    return bool(changed)


async def _mark_unreadable(report: MailReport) -> bool:
    """It may have come back. The first of these counts, and is shown while nothing better is known."""
    changed = await database.execute(
        """
        UPDATE deliveries SET unreadable_return_at = clock_now(),
            reported_problem = CASE WHEN status IN ('SENDING', 'SENT') AND reported_status IS NULL
                THEN coalesce(reported_problem, $2) ELSE reported_problem END,
            problem = CASE WHEN status = 'SENT' AND reported_status IS NULL THEN coalesce(problem, $2) ELSE problem END
        WHERE id = $1 AND channel = 'EMAIL' AND attempts > 0 AND unreadable_return_at IS NULL
        """,
        report.delivery_id,
        report.problem[:MAX_PROBLEM_LENGTH] if report.problem else None,
    )
    return bool(changed)


async def unreadable_returns() -> int:
    """How many e-mails, of all practices, had something come back in the last 24 hours that could not be read.

    COUNTED_UP_TO stands for that many or more.
    """
    rows = await database.fetch(
        "SELECT count(*) AS count FROM"
        " (SELECT FROM deliveries WHERE unreadable_return_at > clock_now() - interval '1 day' LIMIT $1) counted",
        COUNTED_UP_TO,
    )
    count: int = rows[0]["count"]
    return count


async def _complain(delivery_id: UUID) -> bool:
    """Whoever complains of a mail has got it."""
    changed = await database.execute(
        """
        UPDATE deliveries SET reported_status = 'DELIVERED', reported_problem = $2,
            status = CASE WHEN status = 'SENDING' THEN status ELSE 'DELIVERED' END,
            problem = CASE WHEN status = 'SENDING' THEN problem ELSE $2 END,
            sent_at = CASE WHEN status = 'SENDING' THEN sent_at ELSE coalesce(sent_at, clock_now()) END, fault = NULL
        WHERE id = $1 AND channel = 'EMAIL' AND attempts > 0 AND status NOT IN ('CANCELED', 'BOUNCED')
            AND reported_status IS DISTINCT FROM 'BOUNCED' AND (reported_status, reported_problem) IS DISTINCT FROM ('DELIVERED', $2)
        """,
        delivery_id,
        bounced_addresses.COMPLAINT,
    )
    return bool(changed)
