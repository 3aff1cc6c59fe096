"""uvicorn's server as this program runs it."""

import asyncio
import contextlib
import errno
import functools
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette

from cli.listener import descriptors
from cli.listener.connections import LOG_INTERVAL_SECONDS, Connections
from cli.listener.draining import Draining
from cli.listener.protocol import Connection
from domain.settings import Settings

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10
BACKLOG = 1024  # connections that the system completes and keeps until they are accepted
ACCEPTED_AT_ONCE = 64  # by asyncio, in one turn of its loop: descriptors.RESERVED has room for them
TICKS_A_SECOND = 10
NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server(uvicorn.Server):
    """Holds as many connections as there are descriptors for, says where to go once it listens, and stops quietly.

    uvicorn's own way to stop raises the signal again, in the middle of our clean-up.
    """

    def __init__(self, app: Starlette, settings: Settings, draining: Draining) -> None:
        limit = descriptors.raise_limit()
        self._places = Connections(descriptors.capacity(limit), keep_alive_seconds=settings.keep_alive_seconds)
        config = uvicorn.Config(
            app,
            http=functools.partial(Connection, connections=self._places),  # type: ignore[arg-type]  # it makes one
            log_config=None,
            access_log=False,
            proxy_headers=False,  # the client's address is told in graph/context.py, from configured proxies only
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=0,  # its timer is stopped at once: `Connections` watches over idle connections
            backlog=ACCEPTED_AT_ONCE,
        )
        super().__init__(config)
        self._settings = settings
        self._draining = draining
        logger.debug("Room for %d connections, under a limit of %d descriptors.", self._places.capacity, limit)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal to do so, after draining where that is set; at the second without waiting."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # what is left to do takes a second, and is not to be interrupted

    def _stop(self, number: int) -> None:
        seconds = self._settings.drain_seconds
        if number == signal.SIGINT or not seconds or self._draining.has_begun:
            self.handle_exit(number, None)
            return
        logger.info("The process stops in %d seconds. /readyz says so, and it serves until then.", seconds)
        self._draining.has_begun = True
        # Each answer ends its connection, so that proxies keep none on which the last request could be lost.
        self.config.encoded_headers.append((b"connection", b"close"))
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        asyncio.get_running_loop().call_later(seconds, self.handle_exit, number, None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        asyncio.get_running_loop().set_exception_handler(_FaultLog())
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)
        base = f"http://localhost:{self._settings.port}"
        lines = [f"Practice Access listens on {base}/graphql"]
        if self._settings.is_development:
            lines = [
                "",
                "Practice Access is ready.",
                f"  GraphiQL  {base}/graphql",
                f"  Mailbox   {base}/mailbox",
                "  Ctrl-C stops it.",
                "",
            ]
        with contextlib.suppress(OSError):  # a log without room keeps nobody from serving
            print("\n".join(lines), file=sys.stderr, flush=True)

    async def on_tick(self, counter: int) -> bool:
        """What has to be done ten times a second; whether to stop."""
        if counter % TICKS_A_SECOND == 0:
            self._places.sweep()
        return await super().on_tick(counter)


class _FaultLog:
    """The loop's faults go to the log as ever, but for one that repeats a thousand times a second: no descriptors are left."""

    def __init__(self) -> None:
        self._logged_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if getattr(context.get("exception"), "errno", None) not in NO_ROOM:
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now - self._logged_at >= LOG_INTERVAL_SECONDS:
            self._logged_at = now
            logger.error("No connection can be accepted: this process has no file descriptors left.")
