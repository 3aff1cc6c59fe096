"""What is looked up at the moment when somebody reads the metrics: the outbox, the pool, the breakers, the budgets.

Looked up by one cheap statement each, with little patience, and not again for a moment, so that no scraper can load the database.
A database that does not answer costs these figures and no others; that it does not is a figure too.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain import audit_findings, channel_pauses, database, mail_reports, metrics, outbox, pool, queue_health
from domain.audit_findings import Standing
from domain.channel_pauses import Pause
from domain.delivery_log import OUTCOMES
from domain.models.columns import Channel
from domain.queue_health import Waiting

T = TypeVar("T")

FRESH_SECONDS = 2.0
PATIENCE_SECONDS = 2.0
BREAKER_STATES = ("closed", "open", "half-open")

Families = list[Metric]
# A budget's name, a word of this program's own, with the share of it that is used, from 0 to 1: the fullest one of its kind.
BudgetsInUse = Callable[[], Awaitable[Mapping[str, float]]]

_breakers: Callable[[], Mapping[str, str]] | None = None
_budgets: BudgetsInUse | None = None
_broker: Callable[[], Awaitable[None]] | None = None
_is_sending: bool | None = None


def watch_breakers(look: Callable[[], Mapping[str, str]] | None) -> None:
    """Set what tells the state (one of BREAKER_STATES) of each breaker of this process, by its name. Called on the loop."""
    global _breakers  # noqa: PLW0603 -- one relay a process
    _breakers = look


def watch_budgets(look: BudgetsInUse | None) -> None:
    """Set what tells how much of the budgets is used. Called on the loop."""
    global _budgets  # noqa: PLW0603 -- set where the process is put together
    _budgets = look


def watch_broker(ask: Callable[[], Awaitable[None]] | None) -> None:
    """Set what asks Redis, and raises when it does not answer. Called on the loop."""
    global _broker  # noqa: PLW0603 -- set where the process is put together
    _broker = ask


def note_sending(is_sending: bool | None) -> None:
    """Tell whether the relay of this process sends. None: there is no relay here."""
    global _is_sending  # noqa: PLW0603 -- one relay a process
    _is_sending = is_sending


@dataclass(frozen=True, slots=True)
class _Found:
    waiting: list[Waiting] | None
    budgets: Mapping[str, float]
    breakers: Mapping[str, str]
    pool: pool.Use | None
    pauses: list[Pause] | None = None
    unreadable: int | None = None
    broker: bool | None = None
    awaiting_key: int | None = None
    audit: Standing | None = None


class Lookup(Collector):
    """Looks on the process's loop, for a reader in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reading = threading.Lock()
        self._found: _Found | None = None
        self._found_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Which ones there are, without looking."""
        return _families(_Found(None, {}, {}, None))

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, in the reader's thread; several at once share one look."""
        with self._reading:
            if self._found is None or time.monotonic() - self._found_at > FRESH_SECONDS:
                self._found = self._ask()
                self._found_at = time.monotonic()
            found = self._found
        yield from _families(found)

    def _ask(self) -> _Found:
        nothing = _Found(None, {}, {}, None)
        if self._loop.is_closed():
            return nothing
        asked = asyncio.run_coroutine_threadsafe(_look(), self._loop)
        try:
            return asked.result(2 * PATIENCE_SECONDS)
        except (TimeoutError, CancelledError):  # the loop is held up, or ends
            asked.cancel()
            return nothing


async def _look() -> _Found:
    breakers = _breakers() if _breakers else {}
    use = database.pool_use()  # before this look takes a connection
    counted = asyncio.gather(
        _answer(queue_health.waiting),
        _answer(_budgets),
        _answer(channel_pauses.current),
        _answer(mail_reports.unreadable_returns),
    )
    looked_at = asyncio.gather(_has_broker(), _answer(queue_health.awaiting_key), _answer(audit_findings.standing))
    waiting, budgets, pauses, unreadable = await counted
    broker, awaiting_key, audit = await looked_at
    return _Found(waiting, budgets or {}, breakers, use, pauses, unreadable, broker, awaiting_key, audit)


async def _answer(look: Callable[[], Awaitable[T]] | None) -> T | None:
    """What the database tells in time; None where it does not."""
    if look is None:
        return None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await look()
    except Exception:  # noqa: BLE001 -- whatever keeps the database from answering, the other figures are good
        return None


async def _has_broker() -> bool | None:
    """Whether Redis answers in time; None where the process has none."""
    if _broker is None:
        return None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _broker()
    except Exception:  # noqa: BLE001 -- whatever is wrong with it
        return False
    return True


def _families(found: _Found) -> Families:
    return [
        *_of_outbox(found.waiting),
        *_of_pool(found.pool),
        *_of_breakers(found.breakers),
        _of_pauses(found.pauses),
        _of_budgets(found.budgets),
        _of_returns(found.unreadable),
        _of_broker(found.broker),
        _of_keys(found.awaiting_key),
        _of_sending(_is_sending),
        *_of_audit(found.audit),
    ]


def _of_outbox(waiting: list[Waiting] | None) -> Families:
    answers = GaugeMetricFamily(
        "practice_access_database_answers", "Whether the database told how the outbox stands: 1 or 0."
    )
    count = GaugeMetricFamily(
        "practice_access_deliveries_waiting",
        f"Messages that neither relay nor carrier has taken yet; {queue_health.COUNTED_UP_TO} stands for that many or more."
        " The same in every process: take the maximum, not the sum.",
        labels=["channel", "kind", "status"],
    )
    oldest = GaugeMetricFamily(
        "practice_access_delivery_oldest_waiting_seconds",
        "Since the oldest message that waits was promised; 0 when none does. The same in every process.",
        labels=["channel", "kind"],
    )
    answers.add_metric([], 0.0 if waiting is None else 1.0)
    if waiting is not None:
        found = {(one.channel, one.kind): one for one in waiting}
        for channel, kind in sorted({*found, *((c.value, k.value) for c, k in outbox.COMBINATIONS)}):
            one = found.get((channel, kind), Waiting(channel, kind, {}, 0.0))
            for status in ("QUEUED", "RETRYING", "SENDING"):
                count.add_metric([channel, kind, status.lower()], one.by_status.get(status, 0))
            oldest.add_metric([channel, kind], one.oldest_seconds)
    return [answers, count, oldest]


def _of_pool(use: pool.Use | None) -> Families:
    at_most = GaugeMetricFamily(
        "practice_access_database_pool_size", "How many connections this process may have at most."
    )
    connections = GaugeMetricFamily(
        "practice_access_database_pool_connections", "This process's connections: used or idle.", labels=["state"]
    )
    waiting = GaugeMetricFamily(
        "practice_access_database_pool_waiting", "How many requests of this process wait for a connection."
    )
    refused = CounterMetricFamily(
        "practice_access_database_pool_refused",
        "Requests that got no connection. reason: full (too many waited already), late (waited too long), no_connection (the server has no room).",
        labels=["reason"],
    )
    if use is not None:
        at_most.add_metric([], use.at_most)
        connections.add_metric(["used"], use.used)
        connections.add_metric(["idle"], use.open - use.used)
        waiting.add_metric([], use.waiting)
        for reason, count in use.refused.items():
            refused.add_metric([reason], count)
    return [at_most, connections, waiting, refused]


def _of_breakers(breakers: Mapping[str, str]) -> Families:
    family = GaugeMetricFamily(
        "practice_access_breaker",
        "What a worker process leaves alone because it is down: 1 for the state that it is in.",
        labels=["breaker", "state"],
    )
    for name, current in breakers.items():
        for state in BREAKER_STATES:
            family.add_metric([name, state], float(state == current))
    return [family]


def _of_pauses(pauses: list[Pause] | None) -> Metric:
    family = GaugeMetricFamily(
        "practice_access_channel_paused",
        "Whether a channel is paused, since its relay refuses everybody's messages: 1 or 0. The same in every process.",
        labels=["channel"],
    )
    if pauses is not None:
        paused = {pause.channel for pause in pauses}
        for channel in Channel:
            family.add_metric([channel.value], float(channel in paused))
    return family


def _of_budgets(budgets: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(
        "practice_access_budget_used_ratio",
        "The share of a budget that is used in its window, of the fullest one of its kind. The same in every process.",
        labels=["budget"],
    )
    for name, share in budgets.items():
        family.add_metric([name], share)
    return family


def _of_returns(unreadable: int | None) -> Metric:
    family = GaugeMetricFamily(
        "practice_access_unreadable_returns",
        "E-mails of which something came back in the last 24 hours that could not be read. The same in every process: take the maximum.",
    )
    if unreadable is not None:
        family.add_metric([], unreadable)
    return family


def _of_broker(answers: bool | None) -> Metric:
    family = GaugeMetricFamily("practice_access_broker_answers", "Whether Redis answers this process: 1 or 0.")
    if answers is not None:
        family.add_metric([], float(answers))
    return family


def _of_keys(awaiting_key: int | None) -> Metric:
    family = GaugeMetricFamily(
        "practice_access_deliveries_awaiting_key",
        "Messages that wait for a worker that has the server key they are made with. The same in every process: take the maximum.",
    )
    if awaiting_key is not None:
        family.add_metric([], awaiting_key)
    return family


def _of_sending(is_sending: bool | None) -> Metric:
    family = GaugeMetricFamily(
        "practice_access_sending", "Whether this worker process sends: 1, or 0 with SENDING=off."
    )
    if is_sending is not None:
        family.add_metric([], float(is_sending))
    return family


def _of_audit(standing: Standing | None) -> Families:
    broken = GaugeMetricFamily(
        "practice_access_audit_chains_broken",
        "Chains of the audit log that did not hold when they were last verified. The same in every process: take the maximum.",
    )
    age = GaugeMetricFamily(
        "practice_access_audit_verification_age_seconds",
        "Since the chain of the audit log that waits longest was verified. The same in every process: take the maximum.",
    )
    if standing is not None:
        broken.add_metric([], standing.broken)
        age.add_metric([], standing.oldest_seconds)
    return [broken, age]


def prepare() -> None:
    """Show what can be counted from the beginning on: a rate is only seen between two values."""
    for channel, kind in outbox.COMBINATIONS:
        metrics.ACCEPTED.labels(channel.value, kind.value)
        for outcome in OUTCOMES:
            metrics.DELIVERIES.labels(channel.value, kind.value, outcome)
