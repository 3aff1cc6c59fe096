"""Whether the event loop moves: a process whose loop is blocked sends nothing, renews no lease, and must not look alive.

Its rows come back with their leases, and others send them; it tells where it is stuck, and ends, so that whoever started it starts it
anew. Ticks of the watching thread are counted and not seconds: a process that was frozen as a whole has done nothing wrong.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
TELL_TICKS = 10
END_TICKS = 40  # past the lease: its rows are due again for others


class Watchdog(threading.Thread):
    """Watches one event loop from a thread of its own. loop_thread: the identity of the thread that runs it."""

    def __init__(self, loop_thread: int) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._loop_thread = loop_thread
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
            if still == TELL_TICKS:
                logger.error("The event loop has not moved for %d seconds; it is at %s", TELL_TICKS, self._place())
            elif still >= END_TICKS:
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
