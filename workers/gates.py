"""What lets the messages of a channel through: the breakers of its ways out, and the channel's pause.

A breaker is one process's. The pause (`domain.channel_pauses`) is shared by all of them.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from domain import channel_pauses
from domain.channel_pauses import Pause
from domain.models.columns import Channel
from workers import breakers
from workers.breakers import Breaker
from workers.deliveries import ChannelDown

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # what is known for longer is looked up again
ALARM_SECONDS = 5.0  # after a refusal it is looked up each time: hundreds of messages could go in a second


AWAY = "The database was away when it was to be sent."


class PauseWatch:
    """A channel's pause as one process sees it. Shared by all lanes of the channel in that process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pause: Pause | None = None
        self._looked_at = self._refused_at = float("-inf")
        self._looking = asyncio.Lock()

    async def room(self, at_most: int) -> int:
        """How many messages may be claimed now: all, one as a probe, or none. Raises what the database raises."""
        pause = await self._look()
        if pause is None:
            return at_most
        return min(at_most, 1) if self._probe_in(pause) <= 0 else 0

    def opens_in(self) -> float:
        """Seconds until a message may be claimed, as far as is known."""
        return max(0.0, self._probe_in(self._pause)) if self._pause is not None else 0.0

    @property
    def problem(self) -> str | None:
        """Why messages wait; None while they do not."""
        return self._pause.problem if self._pause is not None else None

    async def enter(self) -> bool:
        """Ask before a message is sent; whether it is the probe. Raises ChannelDown where it has to wait."""
        try:
            pause = await self._look()
            if pause is None:
                return False
            may_go = self._probe_in(pause) <= 0 and await channel_pauses.take_probe(self._channel)
        except Exception as error:  # noqa: BLE001 -- a message that is not begun costs nothing
            logger.warning("Whether %s is paused cannot be looked up: %s", self._channel.value, type(error).__name__)
            raise ChannelDown(AWAY) from None
        self._looked_at = float("-inf")
        if not may_go:
            raise ChannelDown(pause.problem)
        return True

    def refused(self) -> None:
        """A message was refused by no fault of its recipient: the channel may be paused any moment."""
        self._refused_at = time.monotonic()

    async def _look(self) -> Pause | None:
        async with self._looking:
            now = time.monotonic()
            if now - self._looked_at >= LOOK_SECONDS or now - self._refused_at < ALARM_SECONDS:
                found = await channel_pauses.current()
                self._looked_at = time.monotonic()
                self._pause = next((pause for pause in found if pause.channel is self._channel), None)
        return self._pause

    def _probe_in(self, pause: Pause) -> float:
        return pause.probe_in_seconds - (time.monotonic() - self._looked_at)


@dataclass(frozen=True, slots=True)
class Gate:
    """What the messages of a lane go through. breakers: one for each way out. pause: None for a channel that never pauses."""

    breakers: Sequence[Breaker] = ()
    pause: PauseWatch | None = None

    async def room(self, at_most: int) -> int:
        """How many messages may be claimed now. Raises what the database raises."""
        open_ways = breakers.room(self.breakers, at_most)
        return await self.pause.room(open_ways) if open_ways and self.pause else open_ways

    def opens_in(self) -> float:
        """Seconds until a message may be claimed, as far as is known."""
        return max(breakers.opens_in(self.breakers), self.pause.opens_in() if self.pause else 0.0)

    async def enter(self) -> bool:
        """Ask before a message is sent; whether it is the probe of a paused channel. Raises ChannelDown where it has to wait."""
        return await self.pause.enter() if self.pause else False

    def refused(self) -> None:
        """Tell that a message was refused by no fault of its recipient."""
        if self.pause is not None:
            self.pause.refused()

    @property
    def problem(self) -> str:
        """Why messages wait."""
        ways_out = breakers.room(self.breakers, 1)
        return (self.pause.problem if ways_out and self.pause else None) or breakers.problem(self.breakers)
