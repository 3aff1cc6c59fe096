"""What a worker's work looks like from outside: one span and one id for each message and each job, and the jobs' place in the metrics."""

from collections.abc import Iterator
from contextlib import contextmanager

from domain import metrics, request_ids, tracing
from domain.outbox import Claimed


@contextmanager
def sending(row: Claimed) -> Iterator[None]:
    """One try at one message: it goes on with the id and the trace of the request that queued it."""
    attributes = {
        "delivery": str(row.id),
        "channel": row.channel.value,
        "kind": row.kind.value,
        "attempt": str(row.attempt),
    }
    with (
        request_ids.bound(row.request_id, delivery=attributes["delivery"]),
        tracing.span(f"send {row.kind.value}", tracing.CONSUMER, attributes=attributes, parent=row.traceparent),
    ):
        yield


def announce(job: str, every_seconds: float) -> None:
    """A job will be looked at this often in this process."""
    metrics.JOB_INTERVAL.labels(job).set(every_seconds)
    metrics.JOB_DONE_AT.labels(job).set_to_current_time()
    for outcome in ("done", "failed"):
        metrics.JOBS.labels(job, outcome)


@contextmanager
def looking(job: str) -> Iterator[None]:
    """One look at a job, with an id of its own for the messages that it queues."""
    try:
        with request_ids.bound(request_ids.new()), tracing.span(f"job: {job}"):
            yield
    except Exception:
        metrics.JOBS.labels(job, "failed").inc()
        raise
    metrics.JOBS.labels(job, "done").inc()
    metrics.JOB_DONE_AT.labels(job).set_to_current_time()
