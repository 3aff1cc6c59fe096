"""Blocking work in threads of its own, one for each kind, however many wait for it.

asyncio has one small pool of threads for everything. What hangs there (a name server that does not answer, say) takes a thread each time it
is asked, until none is left for anything else. Here whoever asks for the same thing waits for the same thread.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")

AT_ONCE = 64  # kinds of work; each is something that the settings name


class Busy(Exception):
    """So many different things hang already that nothing new is begun."""


class OwnThreads:
    """The work that one event loop waits for. A thread does not keep the process from ending."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[object]] = {}

    async def do(self, key: Hashable, work: Callable[[], T], *, patience_seconds: float) -> T:
        """What the work returns or raises; work that is under way under the same key is joined.

        Raises TimeoutError after the time to wait, when the work itself goes on, and Busy.
        """
        done = self._under_way.get(key)
        if done is None:
            done = self._begin(key, work)
        async with asyncio.timeout(patience_seconds):
            return cast("T", await asyncio.shield(done))  # the key says which work it is

    def _begin(self, key: Hashable, work: Callable[[], object]) -> asyncio.Future[object]:
        if len(self._under_way) >= AT_ONCE:
            raise Busy
        loop = asyncio.get_running_loop()
        done: asyncio.Future[object] = loop.create_future()
        done.add_done_callback(lambda _: self._end(key, done))

        def run() -> None:
            try:
                found = work()
            except Exception as error:  # noqa: BLE001 -- told to whoever waits
                _tell(loop, done, error)
            else:
                _tell(loop, done, None, found)

        self._under_way[key] = done
        threading.Thread(target=run, name=f"own {key!r:.40}", daemon=True).start()
        return done

    def _end(self, key: Hashable, done: asyncio.Future[object]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more


def _tell(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[object], error: Exception | None, found: object = None
) -> None:
    def tell() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(found)
        else:
            done.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(tell)
