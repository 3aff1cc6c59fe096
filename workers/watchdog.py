"""Whether the event loop moves: a process whose loop is blocked sends nothing, answers nothing, renews no lease, and must not look alive.

A worker's rows come back with their leases, and others send them. The process tells where it is stuck, and ends, so that whoever started
it starts it anew. Ticks of the watching thread are counted and not seconds: a process that was frozen as a whole has done nothing wrong.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
TELL_TICKS = 10
END_TICKS = 40  # past the lease: its rows are due again for others


class Watchdog(threading.Thread):
    """Watches one event loop from a thread of its own.

    loop_thread: the identity of the thread that runs it. end_ticks: how long the loop may stand still. on_beat: called at each tick at
    which it has moved.
    """

    def __init__(
        self, loop_thread: int, *, end_ticks: int = END_TICKS, on_beat: Callable[[], None] | None = None
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._loop_thread = loop_thread
        self._end_ticks = end_ticks
        self._on_beat = on_beat
        self._beats = 0
        self._ending = threading.Event()

    async def beat(self) -> None:
        """Show that the loop moves, for ever. Runs on the loop."""
        while True:
            self._beats += 1
            await asyncio.sleep(TICK_SECONDS / 2)

    def run(self) -> None:
        """Until `end`."""
        seen, still = -1, 0
        while not self._ending.wait(TICK_SECONDS):
            still = still + 1 if self._beats == seen else 0
            seen = self._beats
            if not still and self._on_beat is not None:
                self._on_beat()
            if still == TELL_TICKS:
                logger.error("The event loop has not moved for %d seconds; it is at %s", TELL_TICKS, self._place())
            elif still >= self._end_ticks:
                logger.critical("The event loop is stuck; this process ends")
                os.kill(os.getpid(), signal.SIGKILL)

    def end(self) -> None:
        """Watch no longer."""
        self._ending.set()

    def _place(self) -> str:
        """Where the loop's thread is: files and lines, no values."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 -- documented, for debuggers and the like
        stack = traceback.extract_stack(frame) if frame is not None else []
        return " > ".join(f"{one.filename}:{one.lineno} {one.name}" for one in stack[-4:]) or "no place"


@contextlib.asynccontextmanager
async def watching(*, end_ticks: int = END_TICKS, on_beat: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Watch the event loop that runs the block."""
    watchdog = Watchdog(threading.get_ident(), end_ticks=end_ticks, on_beat=on_beat)
    watchdog.start()
    beating = asyncio.create_task(watchdog.beat())
    try:
        yield
    finally:
        watchdog.end()
        beating.cancel()
