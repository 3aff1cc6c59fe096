"""The process's connections to the database, and the queue in front of them. The ORM opens them by this module's `client_class`.

asyncpg's own pool lets any number wait, for as long as it takes and in no particular order, and it fails as soon as the server has no
room for one more connection, even while it holds others. Here requests wait in order and for a bounded time, and what does not fit
is told so at once (docs/decisions/0035-overload.md).
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient

from domain.errors import Busy
from domain.turns import Full, Turns

Refused = Literal["full", "late", "no_connection"]

# Of requests that have done nothing yet: how many may wait for each connection of the pool, and for how long. A statement takes a few
# milliseconds, so a queue of this length moves on in well under a second unless the database is in trouble.
WAITING_PER_CONNECTION = 20
NEW_SECONDS = 2.0
# A request that has begun waits longer: if it were turned away halfway, a guess might be counted and never compared. So does other work
# of the process, such as sending messages, which nobody turns away.
BEGUN_SECONDS = 15.0
CONNECT_SECONDS = 10.0  # for a connection to be opened
RETRY_AFTER = timedelta(seconds=1)
MAX_TRIES = 3  # of one request to open a connection where the server has no room
# asyncpg's defaults, which only its function `create_pool` knows.
DEFAULTS: dict[str, Any] = {
    "max_queries": 50_000,
    "max_inactive_connection_lifetime": 300.0,
    "record_class": asyncpg.Record,
}


@dataclass(frozen=True, slots=True)
class Use:
    """The process's connections: how many there may be, are open, and are in use; how many wait for one, and were turned away so far."""

    at_most: int
    open: int
    used: int
    waiting: int
    refused: Mapping[Refused, int]


@dataclass(slots=True)
class _Request:
    """has_begun: whether it has had a connection."""

    has_begun: bool = False


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


@contextmanager
def one_request() -> Iterator[None]:
    """The block serves one request of a client. It is turned away at its first statement or not at all.

    Statements outside of such a block are the process's own work, and count as begun.
    """
    token = _request.set(_Request())
    try:
        yield
    finally:
        _request.reset(token)


class FairPool(asyncpg.Pool):  # type: ignore[misc]  # asyncpg comes without types
    """asyncpg's pool with a queue in front of it. Every way to a connection, the ORM's too, goes through `acquire`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(None, **options)
        size = options["max_size"]
        self._turns = Turns(size, max_new=size * WAITING_PER_CONNECTION)
        self._out: set[object] = set()
        self._opening = 0  # how many are about to have a connection; some of them perhaps the last that the server has
        self._refused: dict[Refused, int] = {"full": 0, "late": 0, "no_connection": 0}

    def use(self) -> Use:
        """How much of it is in use."""
        size = self.get_size()
        return Use(self.get_max_size(), size, size - self.get_idle_size(), self._turns.waiting, dict(self._refused))

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109 -- asyncpg's own signature
        """A connection, in turn. Raises Busy, and what asyncpg raises where the database cannot be reached."""
        request = _request.get()
        is_new = request is not None and not request.has_begun
        for number in range(MAX_TRIES):
            if number and not self.get_size() and not self._opening:
                break  # the server has no room, and there is nothing to wait for
            await self._take_turn(is_new, is_first=number > 0)
            connection = await self._connected()
            if connection is not None:
                if request is not None:
                    request.has_begun = True
                return connection
        raise self._busy("no_connection")

    async def _take_turn(self, is_new: bool, *, is_first: bool = False) -> None:
        try:
            async with asyncio.timeout(NEW_SECONDS if is_new else BEGUN_SECONDS):
                await self._turns.take(is_new=is_new, is_first=is_first)
        except Full:
            raise self._busy("full") from None
        except TimeoutError:
            raise self._busy("late") from None

    async def _connected(self) -> Any:
        """A connection for the turn that was taken; None, and the turn given back, where the server has no room for one more."""
        self._opening += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await super()._acquire(None)
        except asyncpg.TooManyConnectionsError:
            self._turns.lower(self.get_size())
            self._turns.give_back()
            return None
        except TimeoutError:
            self._turns.give_back()
            raise self._busy("late") from None
        except BaseException:
            self._turns.give_back()
            raise
        finally:
            self._opening -= 1
        if self._turns.is_lowered:
            self._turns.allow(self.get_size())
        self._out.add(connection)
        return connection

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- the same
        """Give a connection back, and with it the turn."""
        try:
            await super().release(connection, timeout=timeout)
        finally:
            if connection in self._out:
                self._out.discard(connection)
                self._turns.give_back()

    def _busy(self, reason: Refused) -> Busy:
        self._refused[reason] += 1
        return Busy(datetime.now(UTC) + RETRY_AFTER)


class Client(AsyncpgDBClient):
    """The ORM's client on such a pool."""

    async def create_pool(self, **options: Any) -> asyncpg.Pool:
        """Open the pool. Raises what asyncpg raises where that cannot be done."""
        return await FairPool(**DEFAULTS | options)


client_class = Client
