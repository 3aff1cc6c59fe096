"""Whether a worker process can work: what an orchestrator asks it, on the port of its metrics.

It can while its event loop turns, each of its loops (lanes, settler, leases, schedule) runs, and the database answers. A relay or carrier
that is down makes no worker unready: that is told by the breakers, and starting the worker anew would mend nothing.
"""

import asyncio
import logging
import threading
from concurrent.futures import CancelledError
from typing import Protocol

from domain import database_start

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
READY, NOT_READY = "ready", "not ready"


class Looping(Protocol):
    """What is asked of the relay."""

    def ended(self) -> list[str]:
        """The names of its loops that do not run any more."""


class Health:
    """Looks on the process's loop, for a reader in another thread. Made on any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._relay: Looping | None = None
        self._asking = threading.Lock()

    def watch(self, relay: Looping | None) -> None:
        """The relay runs from now on, on the loop that this is called on; None: no longer."""
        self._loop = asyncio.get_running_loop() if relay is not None else None
        self._relay = relay

    def parts(self) -> dict[str, str]:
        """What the process needs to work, each "ready" or "not ready". Called in a reader's thread; takes a few seconds at most."""
        loop, relay = self._loop, self._relay
        if loop is None or relay is None:  # it waits for the database, or ends
            return {"database": NOT_READY, "loops": NOT_READY}
        with self._asking:  # readers queue up here, and not on the loop
            asked = asyncio.run_coroutine_threadsafe(_look(relay), loop)
            try:
                return asked.result(2 * PATIENCE_SECONDS)
            except (TimeoutError, CancelledError):
                asked.cancel()
                logger.warning("The event loop does not answer")
                return {"database": NOT_READY, "loops": NOT_READY}


async def _look(relay: Looping) -> dict[str, str]:
    ended = relay.ended()
    if ended:
        logger.error("Loops of this worker have ended: %s", ", ".join(ended))
    return {"database": await _database(), "loops": NOT_READY if ended else READY}


async def _database() -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return READY if await database_start.is_current() else NOT_READY
    except Exception as error:  # noqa: BLE001 -- whatever keeps the database from answering, nothing can be sent
        logger.warning("The database is not ready: %s", type(error).__name__)
        return NOT_READY
