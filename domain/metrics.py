"""What is counted and measured for operators, in the form that Prometheus reads (`domain/scraping.py` has what is looked up instead).

Labels are words of this program's own: channels, kinds, outcomes. Never an id, an address, a name, or what a client sent, so the
number of series stays the same however many practices there are.
"""

import sys
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from domain.delivery_faults import Fault
from domain.models.columns import Channel

# A second series for each counter, which nobody here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
REGISTRY = CollectorRegistry()

# From what feels like at once to what the promise is (30 minutes for an invitation), and on to a day, when a mail is given up.
ACCEPTED_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400)
OPERATION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

DELIVERIES = Counter(
    "practice_access_deliveries",
    "What became of messages, try by try: sent, retrying, failed, bounced, canceled.",
    ["channel", "kind", "outcome"],
    registry=REGISTRY,
)
ACCEPTED = Histogram(
    "practice_access_delivery_accepted_seconds",
    "From the commit that promised a message until the relay or carrier took it, by the database's clock.",
    ["channel", "kind"],
    buckets=ACCEPTED_SECONDS,
    registry=REGISTRY,
)
REPORTS = Counter(
    "practice_access_delivery_reports",
    "What carriers and mail systems told later of messages that they had taken.",
    ["report"],
    registry=REGISTRY,
)
FAULTS = Counter(
    "practice_access_delivery_faults",
    "Refusals and reports of failure, by whose fault they are: recipient, sender (ours), relay (or carrier), unknown (nobody's yet).",
    ["channel", "fault"],
    registry=REGISTRY,
)
OPERATIONS = Histogram(
    "practice_access_graphql_operation_seconds",
    "GraphQL operations. outcome: answered; refused (a type that says why); denied (may not); invalid (cannot be asked so); abandoned (the client hung up); failed.",
    ["type", "outcome"],
    buckets=OPERATION_SECONDS,
    registry=REGISTRY,
)
REFUSALS = Counter(
    "practice_access_refusals",
    "Acts that were refused, by the type that the client got.",
    ["refusal"],
    registry=REGISTRY,
)
RESPONSES = Counter(
    "practice_access_http_responses",
    "Answers over HTTP.",
    ["route", "status"],
    registry=REGISTRY,
)
# Not "job": Prometheus calls by that name what it reads from.
JOBS = Counter(
    "practice_access_job_runs",
    "Looks of the schedule. outcome: done or failed.",
    ["task", "outcome"],
    registry=REGISTRY,
)
JOB_DONE_AT = Gauge(
    "practice_access_job_done_timestamp_seconds",
    "When this process last came to the end of a job without a fault; its own start, before it first did.",
    ["task"],
    registry=REGISTRY,
)
JOB_INTERVAL = Gauge(
    "practice_access_job_interval_seconds",
    "How often this process looks whether a job has something to do.",
    ["task"],
    registry=REGISTRY,
)
WORKER_RESTARTS = Counter(
    "practice_access_worker_restarts",
    "Worker processes that ended by themselves before this one took their place, since their parent started.",
    registry=REGISTRY,
)
AUDIT_VERIFICATIONS = Counter(
    "practice_access_audit_verifications",
    "Verifications of a chain of the audit trail. outcome: intact or broken.",
    ["outcome"],
    registry=REGISTRY,
)
UNKNOWN_PRACTICES = Counter(
    "practice_access_unknown_practice_reports",
    "Invited people who said that they do not know the practice that invited them.",
    registry=REGISTRY,
)
MISSING_KEYS = Counter(
    "practice_access_missing_keys",
    "How often this process met a row that was made with a server key that it lacks.",
    registry=REGISTRY,
)
LOST_WRITES = Counter(
    "practice_access_lost_writes",
    "Rows about a refusal, such as its audit event, that could not be written after the act was rolled back.",
    registry=REGISTRY,
)
BUILD = Info("practice_access_build", "What is running.", registry=REGISTRY)

ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def _version() -> str:
    try:
        return version("practice-access")
    except PackageNotFoundError:  # run from its sources
        return "sources"


BUILD.info({"version": _version(), "python": ".".join(map(str, sys.version_info[:3]))})
# A rate is only seen between two values, and the first of these must be.
for _outcome in ("intact", "broken"):
    AUDIT_VERIFICATIONS.labels(_outcome)
for _report in ("delivered", "failed", "bounced", "delayed", "complained", "unreadable"):
    REPORTS.labels(_report)
for _channel in Channel:
    for _fault in Fault:
        FAULTS.labels(_channel.value, _fault.value.lower())
