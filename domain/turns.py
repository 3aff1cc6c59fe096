"""Turns at something of which there is only so much, such as connections: handed out in order, to begun work before new."""

import asyncio
from collections import deque
from contextlib import suppress

GROW_SECONDS = 1.0  # between two steps by which a lowered limit comes back


class Full(Exception):
    """As many wait already as may."""


class Turns:
    """At most `limit` turns are taken at once. max_new: how many that have not begun may wait.

    A turn that is given back goes straight to whoever has waited the longest, so no newcomer can take it from them. Work that has begun
    is finished before something new is started; there is little of it, since each had to be let in first.
    """

    def __init__(self, limit: int, *, max_new: int) -> None:
        self.limit = limit
        self.taken = 0
        self._full_limit = limit
        self._max_new = max_new
        self._new: deque[asyncio.Future[None]] = deque()
        self._begun: deque[asyncio.Future[None]] = deque()
        self._growing: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._new) + len(self._begun)

    @property
    def is_lowered(self) -> bool:
        """Whether fewer turns are handed out than at best."""
        return self.limit < self._full_limit

    async def take(self, *, is_new: bool, is_first: bool = False) -> None:
        """Take a turn, or wait for one. is_first: before all others who wait; for those who had one already. Raises Full."""
        if self.taken < self.limit:  # then nobody waits
            self.taken += 1
            return
        line = self._new if is_new else self._begun
        if is_new and not is_first and len(line) >= self._max_new:
            raise Full
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if is_first:
            line.appendleft(turn)
        else:
            line.append(turn)
        try:
            await turn
        except BaseException:
            if turn.cancelled():
                with suppress(ValueError):
                    line.remove(turn)
            else:  # it came in the moment in which its owner was called off
                self.give_back()
            raise

    def give_back(self) -> None:
        """End a turn; the next one begins."""
        self.taken -= 1
        self._hand_out()

    def lower(self, limit: int) -> None:
        """Hand out no more than so many, but at least one, for now: more cannot be had. The limit comes back step by step."""
        self.limit = min(self.limit, max(limit, 1))
        if self._growing is None and self.is_lowered:
            self._growing = asyncio.get_running_loop().call_later(GROW_SECONDS, self._grow)

    def allow(self, limit: int) -> None:
        """So many can be had after all."""
        self.limit = max(self.limit, min(limit, self._full_limit))
        self._hand_out()

    def _grow(self) -> None:
        self._growing = None
        self.allow(self.limit + 1)
        if self.is_lowered:
            self._growing = asyncio.get_running_loop().call_later(GROW_SECONDS, self._grow)

    def _hand_out(self) -> None:
        while self.taken < self.limit and (line := self._begun or self._new):
            turn = line.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)
