"""How many connections to the mail relay this process may have open, and whose turn it is.

A relay that allows few (Exchange Online three for a mailbox) turns away whoever comes on top, and does not say how many it allows; the other
workers, and other programs, count too. So a process begins with what is set, takes what got in for the limit when it is turned away, and tries
one more after a while, as TCP finds out about a network. Being turned away costs no message anything.
"""

import asyncio
import contextlib
import logging
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

logger = logging.getLogger(__name__)

# How soon one connection more is tried, and again after it was turned away.
FIRST_GROWTH_SECONDS, LONGEST_GROWTH_SECONDS = 15.0, 240.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 1.5  # before it is tried again to get in
# A process that is turned away may be so because of another that is like it: each lets go now and then.
TURN_SECONDS, REST_SECONDS = 10.0, 2.0

_CROWDED = re.compile(
    r"too many\b.{0,40}\b(?:connection|session|client|concurrent|log-?in|sign-?in)"
    r"|\b(?:connection|session|concurren\w*|client|thread)s?\b.{0,40}\b(?:limit|maximum|max|exceed\w*|too many|too high)\b"
    r"|\b(?:limit|maximum|max|exceed\w*)\b.{0,40}\b(?:connection|session|concurren\w*|thread)s?\b|too many concurrent"
)


def says_too_many(words: str) -> bool:
    """Whether a relay says that there are too many connections. words: its own, of any length."""
    return _CROWDED.search(words[:2000].lower()) is not None


class Ended(Exception):
    """The process ends: nobody gets a turn any more."""


class ConnectionLimit:
    """The turns of one process. at_most: what is set. clock: seconds that only grow.

    Urgent messages go first, and the others never take more than half of the turns, so that something is free for what is urgent.
    """

    def __init__(self, at_most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_most = at_most
        self._clock = clock
        self._now = at_most
        self._taken = self._taken_by_others = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._growth_seconds = FIRST_GROWTH_SECONDS
        self._grows_at = self._enters_at = self._rests_until = float("-inf")
        self._times_turned_away = 0
        self._has_grown = False
        self._has_ended = False

    @property
    def now(self) -> int:
        """How many connections may be open."""
        return self._now

    @property
    def is_lowered(self) -> bool:
        """Whether the relay allows less than is set, as far as is known."""
        return self._now < self._at_most

    @property
    def share_of_others(self) -> int:
        """How many of them what is not urgent may take."""
        return max(1, (self._now + 1) // 2)

    @contextlib.asynccontextmanager
    async def turn(self, *, is_urgent: bool) -> AsyncIterator[None]:
        """One connection's worth, as soon as it is there. Raises Ended."""
        await self._wait(self._urgent if is_urgent else self._others)
        try:
            yield
        finally:
            self._taken -= 1
            self._taken_by_others -= not is_urgent
            self._grant()

    def end(self) -> None:
        """Send away all who wait."""
        self._has_ended = True
        for waiting in (*self._urgent, *self._others):
            if not waiting.done():
                waiting.set_exception(Ended())

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        if self._has_ended:
            raise Ended
        granted = asyncio.get_running_loop().create_future()
        queue.append(granted)
        self._grant()
        try:
            await granted
        except BaseException:
            if granted in queue:
                queue.remove(granted)
            elif not granted.cancelled() and granted.exception() is None:  # granted at the very moment of giving up
                self._taken -= 1
                self._taken_by_others -= queue is self._others
                self._grant()
            raise

    def _grant(self) -> None:
        self._grow()
        while self._taken < self._now and (queue := self._next_queue()) is not None:
            granted = queue.popleft()
            if not granted.done():
                self._taken += 1
                self._taken_by_others += queue is self._others
                granted.set_result(None)

    def _next_queue(self) -> deque[asyncio.Future[None]] | None:
        if self._urgent:
            return self._urgent
        has_share = self._taken_by_others < self.share_of_others
        return self._others if self._others and has_share else None

    def _grow(self) -> None:
        if self.is_lowered and (self._urgent or self._others) and self._clock() >= self._grows_at:
            self._now += 1
            self._has_grown = True
            self._grows_at = self._clock() + self._growth_seconds
            logger.info("The mail relay is tried with %d connections", self._now)

    # -- what a relay says -------------------------------------------------------------------------------------------------

    def turned_away(self, still_open: int) -> None:
        """The relay has no room for one connection more. still_open: how many this process has."""
        self._times_turned_away += 1
        allowed = max(1, min(still_open, self._now - 1))
        if allowed < self._now:
            logger.info("The mail relay allows %d connections at most just now; %d are set", allowed, self._at_most)
            self._now = allowed
        if self._has_grown:  # one more was one too many, and is likely to be for a while
            self._has_grown = False
            self._growth_seconds = min(2 * self._growth_seconds, LONGEST_GROWTH_SECONDS)
        self._grows_at = self._clock() + self._growth_seconds
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._times_turned_away - 1, 10), LONGEST_PAUSE_SECONDS)
        self._enters_at = self._clock() + pause * random.uniform(0.5, 1.0)

    def let_in(self, open_now: int) -> None:
        """A connection was opened. open_now: how many this process has with it: so many are allowed, whatever was thought before."""
        self._times_turned_away = 0
        self._now = min(max(self._now, open_now), self._at_most)
        if not self.is_lowered:
            self._growth_seconds = FIRST_GROWTH_SECONDS

    def has_had_its_turn(self, opened_at: float) -> bool:
        """Whether a connection is to be given up, so that another process gets one. opened_at: on the clock."""
        return self.is_lowered and self._clock() - opened_at >= TURN_SECONDS

    def rest(self) -> None:
        """Open nothing for a moment: whoever waits elsewhere tries to get in about once a second."""
        self._rests_until = self._clock() + REST_SECONDS * random.uniform(0.75, 1.25)

    async def until_it_may_open(self) -> None:
        """Wait out the pause after having been turned away, and the rest after one's turn."""
        await asyncio.sleep(max(self._enters_at - self._clock(), self._rests_until - self._clock(), 0.0))
