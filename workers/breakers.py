"""Circuit breakers: a relay or carrier that is down is left alone, and asked with one message at a time whether it is back.

What a breaker knows it keeps for its process alone. Each process finds out by itself, at the price of a few tries that cost no
message anything; one that shared what it knows would need Redis or PostgreSQL at the very moment when something is down already, and
a fault of one machine's network would stop all the others.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from workers import deliveries
from workers.deliveries import ChannelDown, DeliveryError, Faulty

logger = logging.getLogger(__name__)

# Different messages: one that is poison to a carrier must not stop the others, however often it is tried.
FAILURES_IN_A_ROW = 5
# Half of these, where some come through in between.
WINDOW = 20
UNKNOWN = "The mail relay or carrier is left alone for a while."
LONGEST_ASKED_SECONDS = 300.0  # what another side asks for beyond that may be a mistake, and a code is dead by then
PROBE_SECONDS = 1.0  # how soon to look again while a probe is under way


class State(StrEnum):
    """CLOSED: messages go. OPEN: none does. HALF_OPEN: one may, and what becomes of it decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """What there is to be seen of a breaker. since: when it got into this state. problem: what opened it; None while it is closed."""

    name: str
    state: State
    since: datetime
    problem: str | None


class Breaker:
    """Guards one relay, or one resource of one carrier. name: for people, such as "FIRST texts". clock: seconds that only grow."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._changed_at = clock()
        self._open_until: float | None = None
        self._has_probe = False
        self._times_opened = 0
        self._generation = 0  # a try that was begun before the latest change says nothing about what is so now
        self._problem: str | None = None
        self._failing: set[UUID] = set()
        self._latest: deque[UUID | None] = deque(maxlen=WINDOW)  # None for one that came through

    def look(self) -> BreakerState:
        """What it stands at."""
        now, since = self._clock(), self._changed_at
        state = State.CLOSED
        if self._open_until is not None:
            state = State.OPEN if now < self._open_until else State.HALF_OPEN
            since = self._open_until if state is State.HALF_OPEN else since
        # For people to look at; what is decided here goes by a clock that nobody sets.
        moment = datetime.fromtimestamp(time.time() - (now - since), UTC)
        return BreakerState(name=self.name, state=state, since=moment, problem=self._problem)

    def room(self, at_most: int) -> int:
        """How many messages may be begun just now."""
        if self._open_until is None:
            return at_most
        return 0 if self._has_probe or self._clock() < self._open_until else 1

    def opens_in(self) -> float:
        """Seconds until a message may be begun."""
        if self._open_until is None:
            return 0.0
        left = self._open_until - self._clock()
        return max(left, PROBE_SECONDS if self._has_probe else 0.0)

    @contextlib.contextmanager
    def trying(self, message: UUID) -> Iterator[None]:
        """Hand a message over in this block, and learn from what becomes of it. Raises ChannelDown at once where none may go."""
        if not self.room(1):
            raise ChannelDown(self._problem or UNKNOWN)
        self._has_probe = self._open_until is not None
        generation = self._generation
        try:
            yield
        except (ChannelDown, Faulty) as error:
            self._failed(generation, message, error)
            raise
        except DeliveryError:  # a refusal of this one message is an answer
            self._worked(generation)
            raise
        except BaseException:
            if generation == self._generation:
                self._has_probe = False
            raise
        self._worked(generation)

    def _worked(self, generation: int) -> None:
        if generation != self._generation:
            return
        if self._open_until is None:
            self._failing.clear()
            self._latest.append(None)
            return
        logger.info("%s works again", self.name)
        self._open_until, self._problem, self._times_opened = None, None, 0
        self._change()

    def _failed(self, generation: int, message: UUID, error: DeliveryError) -> None:
        if generation != self._generation:
            return
        self._failing.add(message)
        self._latest.append(message)
        if self._open_until is not None or isinstance(error, ChannelDown) or self._is_too_much():
            self._open(error)

    def _is_too_much(self) -> bool:
        failed = [message for message in self._latest if message is not None]
        is_half = len(self._latest) == WINDOW and 2 * len(failed) >= WINDOW and len(set(failed)) >= FAILURES_IN_A_ROW
        return is_half or len(self._failing) >= FAILURES_IN_A_ROW

    def _open(self, error: DeliveryError) -> None:
        self._times_opened += 1
        asked = min(error.retry_after_seconds or 0.0, LONGEST_ASKED_SECONDS)
        pause = max(deliveries.channel_pause(self._times_opened), asked)
        logger.warning("%s is left alone for %.0f s: %s", self.name, pause, error.problem)
        self._open_until, self._problem = self._clock() + pause, error.problem
        self._change()

    def _change(self) -> None:
        self._changed_at = self._clock()
        self._generation += 1
        self._has_probe = False
        self._failing.clear()
        self._latest.clear()


def room(breakers: Sequence[Breaker], at_most: int) -> int:
    """How many messages may be begun by any of these; all where there are none."""
    return max((breaker.room(at_most) for breaker in breakers), default=at_most)


def opens_in(breakers: Sequence[Breaker]) -> float:
    """Seconds until a message may be begun by one of these."""
    return min((breaker.opens_in() for breaker in breakers), default=0.0)


def problem(breakers: Sequence[Breaker]) -> str:
    """What the preferred one of these suffers from, of which all are open."""
    return next((state.problem for state in (breaker.look() for breaker in breakers) if state.problem), UNKNOWN)
