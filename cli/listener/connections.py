"""The connections that the API holds: no more than it has room for, and none that waits for its client too long.

A client may be slow by nature or on purpose. So that slow ones keep nobody out, each wait for a client has a limit, and when there is
no room the longest wait is ended in favor of the newcomer.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

# For a request's head, for its body, and for the client to take what was sent to it (as Apache's mod_reqtimeout has it).
PATIENCE_SECONDS = 20.0
# A client that just connected, and whose request is on its way, is not slow.
GRACE_SECONDS = 0.5
LOG_INTERVAL_SECONDS = 60.0


class Droppable(Protocol):
    """A connection, as it is known here."""

    def drop(self) -> None:
        """Close it, with a word to the client where that can be said."""


class Connections:
    """Which connections wait for their clients, and since when.

    Waiting: a request or the taking of an answer has begun, and the client has to go on with it. Idle: between two requests. All others
    are at work. capacity: how many may be open. keep_alive_seconds: how long one may be idle. clock: seconds that never go back.
    """

    def __init__(
        self, capacity: int, *, keep_alive_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity = capacity
        self.keep_alive_seconds = keep_alive_seconds
        self._clock = clock
        # Since when, in the order of that: the first is the longest wait.
        self._waiting: dict[Droppable, float] = {}
        self._idle: dict[Droppable, float] = {}
        self._closing: set[Droppable] = set()
        self._dropped = 0  # since the last line of the log
        self._logged_at = float("-inf")

    def admit(self, newcomer: Droppable, opened: int) -> bool:
        """Whether there is room for a newcomer, with another connection dropped for it if need be. If not, it has to close.

        opened: how many are open, with the newcomer and with those that were told to close and have not yet.
        """
        if opened - len(self._closing) <= self.capacity:
            self.wait(newcomer)
            return True
        victim = self._victim()
        self._tell(is_refused=victim is None)
        if victim is None:
            self._closing.add(newcomer)
            return False
        self._drop(victim)
        self.wait(newcomer)
        return True

    def wait(self, connection: Droppable, *, anew: bool = False) -> None:
        """The client has to go on. anew: the wait begins now, also if it was waited for before."""
        if connection in self._closing:
            return
        self._idle.pop(connection, None)
        if anew:
            self._waiting.pop(connection, None)
        self._waiting.setdefault(connection, self._clock())

    def idle(self, connection: Droppable) -> None:
        """The client may ask again, or not."""
        if connection in self._closing:
            return
        self._waiting.pop(connection, None)
        self._idle.setdefault(connection, self._clock())

    def work(self, connection: Droppable) -> None:
        """It is this process's turn."""
        self._waiting.pop(connection, None)
        self._idle.pop(connection, None)

    def forget(self, connection: Droppable) -> None:
        """It is closed, or somebody else's."""
        self.work(connection)
        self._closing.discard(connection)

    def sweep(self) -> None:
        """Drop those that have waited too long. Called about once a second."""
        for since, seconds in ((self._waiting, PATIENCE_SECONDS), (self._idle, self.keep_alive_seconds)):
            end = self._clock() - seconds
            for connection in [one for one, at in since.items() if at <= end]:
                self._drop(connection)

    def _victim(self) -> Droppable | None:
        """The slowest client in the middle of something; then whoever is idle the longest; then a wait that has just begun."""
        longest = next(iter(self._waiting), None)
        if longest is not None and self._waiting[longest] <= self._clock() - GRACE_SECONDS:
            return longest
        return next(iter(self._idle), longest)

    def _drop(self, connection: Droppable) -> None:
        self.work(connection)
        self._closing.add(connection)
        connection.drop()

    def _tell(self, *, is_refused: bool) -> None:
        """Say that there is no room: at once, and then at most once a minute."""
        self._dropped += 1
        if self._clock() - self._logged_at < LOG_INTERVAL_SECONDS:
            return
        logger.warning(
            "All %d connections are in use: %s (%d since the last such line). "
            "More file descriptors (ulimit -n, LimitNOFILE=) or another API process make room.",
            self.capacity,
            "a client was refused" if is_refused else "the slowest are closed for new ones",
            self._dropped,
        )
        self._dropped = 0
        self._logged_at = self._clock()
