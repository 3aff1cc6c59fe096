"""The clock: what has to be done because time passes, in every worker process.

A job is one function of the domain that may run in any number of processes at once without doing a thing twice, and that catches up
after an outage by itself: it looks at what is due now, not at what was due when it last ran. Each has a task of its own, so that one
that fails or hangs holds up no other.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from domain import (
    audit_chain,
    invitation_ends,
    lost_phones,
    outbox,
    practice_access_codes,
    retention,
    subscription_notices,
    voice_fallback,
)
from domain.actors import SCHEDULE
from domain.settings import Settings
from workers.observing import announce, looking

logger = logging.getLogger(__name__)

FEW_SECONDS = 3.0
MINUTE = 60.0
TEN_MINUTES = 600.0
HOUR = 3600.0
DAY = 24 * HOUR
FIRST_SECONDS = 5.0  # soon after the start, since there may be something to catch up with


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do. name: for the log. every_seconds: how often each process looks."""

    name: str
    work: Callable[[], Awaitable[object]]
    every_seconds: float


JOBS = (
    Job("rotate practice access codes", practice_access_codes.rotate_due, MINUTE),
    Job("tell administrators about their subscription", subscription_notices.send_due, MINUTE),
    Job("remind people of their invitations", invitation_ends.remind_due, MINUTE),
    Job("tell administrators which invitations are about to end", invitation_ends.summarize_due, MINUTE),
    Job("take phones away that were reported as lost", lost_phones.reset_due, MINUTE),
    Job("end messages that nobody could send", outbox.end_overdue, MINUTE),
    Job("verify the audit log", audit_chain.verify_due, TEN_MINUTES),
    Job("throw away what is of no more use", retention.purge, HOUR),
)


def jobs(settings: Settings) -> list[Job]:
    """All that is to be done with these settings."""
    retention_days = timedelta(days=settings.audit_retention_days)
    is_reported = settings.callback_url is not None and bool(settings.carriers)
    return [
        *JOBS,
        Job("cut the audit trail", partial(audit_chain.cut, SCHEDULE, retention_days), DAY),
        Job("call whom no text reached", partial(voice_fallback.run_due, is_reported=is_reported), FEW_SECONDS),
    ]


async def run(jobs: Sequence[Job], *, first_seconds: float = FIRST_SECONDS) -> None:
    """Do every job again and again, until cancelled."""
    await asyncio.gather(*(_always(job, first_seconds) for job in jobs))


async def _always(job: Job, first_seconds: float) -> None:
    announce(job.name, job.every_seconds)
    # Processes that start together do not look together.
    pause = first_seconds
    while True:
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        await once(job)
        pause = job.every_seconds


async def once(job: Job) -> None:
    """Do one job once. What goes wrong is told in the log, by its type; the next time is another try."""
    try:
        with looking(job.name):
            await job.work()
    except Exception as error:  # noqa: BLE001 -- it comes round again
        logger.error("The schedule could not %s: %s", job.name, ", ".join(sorted(_types(error))))  # noqa: TRY400 -- a traceback may hold values


def _types(error: Exception) -> set[str]:
    if isinstance(error, ExceptionGroup):
        return {name for inner in error.exceptions for name in _types(inner)}
    return {type(error).__name__}
