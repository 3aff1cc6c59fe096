"""The bell: one Dramatiq message without content that wakes a worker, through Redis or, in one process, through memory.

What is to be sent stands in the database. A message here may be lost, late or doubled, and nothing is.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import dramatiq
import redis
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AgeLimit, ShutdownNotifications

from domain import settings
from workers.own_threads import OwnThreads

logger = logging.getLogger(__name__)

NAMESPACE = "practice-access"
QUEUE = "deliveries"
MAX_AGE_MS = 60_000  # a bell that nobody heard for a minute says nothing: every worker has looked by itself since
HEARTBEAT_TIMEOUT_MS = 15_000
DEAD_MESSAGE_TTL_MS = 3_600_000  # an unheard bell is of no use to anybody
REDIS_TIMEOUT_SECONDS = 2
PING_SECONDS = 5.0  # with the look-up of Redis's name, which the client's own limits leave out
QUIET_SECONDS = 60
MAX_WAITING = 20  # bells in Redis; one would do


class SturdyRedisBroker(RedisBroker):
    """Outlives a Redis that goes away, hangs, is full or read-only.

    The stock broker keeps delayed messages until its process ends, and takes everything but a lost connection for a fault of its own.
    """

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """Begin to consume. A delay queue that begins anew has nothing in memory, so what it held goes back first."""
        if queue_name.endswith(".DQ"):
            try:
                held = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
                if held:
                    self.do_requeue(queue_name, *held)
            except redis.RedisError as error:
                raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]  # it has no types
        return super().consume(queue_name, prefetch, timeout)

    def _dispatch(self, command: str) -> Callable[..., Any]:
        dispatch = super()._dispatch(command)  # type: ignore[no-untyped-call]  # it has no types

        def run(*arguments: object) -> Any:
            try:
                return dispatch(*arguments)
            except redis.RedisError as error:
                raise redis.ConnectionError(type(error).__name__) from None

        return run

    def is_full(self) -> bool:
        """Whether so many bells wait already that one more says nothing. Raises redis.ConnectionError."""
        return int(self.do_qsize(QUEUE)) >= MAX_WAITING


def _make() -> Broker:
    # Only this one is read here: loading them all makes a key in DATA_DIR, which an import must not.
    url = settings.environment().get("REDIS_URL", "").strip()
    # Without TimeLimit: the actor only rings, so there is nothing to limit, and the thread that TimeLimit makes here, before the worker
    # processes are forked, cannot be started in them on Python 3.13 ("thread already started").
    middleware = [AgeLimit(), ShutdownNotifications()]
    if not url:
        return StubBroker(middleware=middleware)
    client = redis.Redis.from_url(
        url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
    )
    # By default a killed worker's messages come back after minutes to hours; this looks each time.
    return SturdyRedisBroker(  # type: ignore[no-untyped-call]  # its parent has no types
        client=client,
        middleware=middleware,
        namespace=NAMESPACE,
        maintenance_chance=1_000_000,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        dead_message_ttl=DEAD_MESSAGE_TTL_MS,
    )


broker = _make()
dramatiq.set_broker(broker)

_listener: Callable[[], None] | None = None


def on_bell(listener: Callable[[], None] | None) -> None:
    """Set what the bell wakes in this process; it is called in a worker's thread."""
    global _listener  # noqa: PLW0603 -- one relay a process
    _listener = listener


@dramatiq.actor(queue_name=QUEUE, max_age=MAX_AGE_MS)
def deliver() -> None:
    """Something is due: look."""
    if _listener is not None:
        _listener()


class _Ringer(threading.Thread):
    """Rings in a thread of its own, so that a request never waits for Redis; what is rung meanwhile is one more ring."""

    def __init__(self) -> None:
        super().__init__(name="bell", daemon=True)
        self.wanted = threading.Event()
        self._complained_at = float("-inf")

    def run(self) -> None:
        while True:
            self.wanted.wait()
            self.wanted.clear()
            try:
                if not (isinstance(broker, SturdyRedisBroker) and broker.is_full()):
                    deliver.send()
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with the bell, the outbox is looked through anyway
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained_at > QUIET_SECONDS:
            self._complained_at = time.monotonic()
            logger.warning("The bell cannot be rung (%s); workers find what is due by looking", type(error).__name__)


_ringer: _Ringer | None = None


def ring() -> None:
    """Wake a worker. Returns at once and never raises."""
    global _ringer  # noqa: PLW0603 -- one thread a process, started when it is first needed
    if _ringer is None:
        _ringer = _Ringer()
        _ringer.start()
    _ringer.wanted.set()


_own_threads = OwnThreads()


async def ping() -> None:
    """Raises what the Redis client raises when the broker does not answer, and TimeoutError."""
    if isinstance(broker, RedisBroker):
        await _own_threads.do("redis ping", broker.client.ping, patience_seconds=PING_SECONDS)
