"""Writing down what became of messages: together, as they come, and whatever one of them holds.

While an outcome is not written down its message's lease is still kept, so nobody sends it again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from domain import database, outbox
from domain.models.columns import DeliveryStatus
from domain.outbox import Outcome

logger = logging.getLogger(__name__)

# What ends together is written together; a worker that is killed loses no more than this.
LINGER_SECONDS = 0.01
AT_ONCE = 200
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: Outcome
    done: Callable[[], None]


class Settler:
    """Keeps outcomes until they are written down."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._bell = asyncio.Event()
        self._faults = 0

    @property
    def is_behind(self) -> bool:
        """Whether the database did not take the latest outcomes: then nothing new is to be begun."""
        return self._faults > 0

    def add(self, outcome: Outcome, done: Callable[[], None]) -> None:
        """Write an outcome down soon. done: called once it is."""
        self._entries.append(_Entry(outcome, done))
        self._bell.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            await asyncio.sleep(LINGER_SECONDS)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 -- the database may be away; the outcomes are kept
                self._faults += 1
                logger.warning("Outcomes cannot be written down: %s", type(error).__name__)
                await asyncio.sleep(min(0.25 * 2.0 ** min(self._faults, 10), LONGEST_PAUSE_SECONDS))
                self._bell.set()

    async def flush(self) -> None:
        """Write down all there is. Raises what the database raises when it is away."""
        while self._entries:
            group = self._entries[:AT_ONCE]
            await _settle([entry.outcome for entry in group])
            self._faults = 0
            del self._entries[: len(group)]
            for entry in group:
                entry.done()


async def _settle(outcomes: Sequence[Outcome]) -> None:
    """One statement for all; one by one where something in one of them is what the database does not take."""
    try:
        await outbox.settle(outcomes)
    except Exception as error:  # noqa: BLE001 -- see the next lines
        _raise_if_passing(error)
        await database.now()  # raises when it is the database that is away, and not an outcome that is wrong
        if len(outcomes) > 1:
            for outcome in outcomes:
                await _settle([outcome])
        else:
            logger.error("The outcome of delivery %s is not taken: %s", outcomes[0].row.id, type(error).__name__)  # noqa: TRY400
            await _settle_bare(outcomes[0])


def _raise_if_passing(error: Exception) -> None:
    """Raises an error that says nothing of the outcome: the same one is taken when it is written down again."""
    if database.has_hit_a_limit(error) or database.is_collision(error):
        raise error


async def _settle_bare(outcome: Outcome) -> None:
    """Without what came from outside; else as failed, for a row that stays open is sent again and again."""
    given_up = Outcome(
        row=outcome.row, status=DeliveryStatus.FAILED, problem="What became of it could not be written down."
    )
    for attempt in (replace(outcome, recipient=None, provider_id=None, problem=None), given_up):
        try:
            await outbox.settle([attempt])
        except Exception as error:  # noqa: BLE001 -- see the next lines
            _raise_if_passing(error)
            await database.now()  # as above
        else:
            return
