"""One worker process: the broker's consumers, and a relay on an event loop of its own."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import threading

from dramatiq import Worker

from domain import code_budgets, database, database_start, keys, logs, metrics, scraping, secrets, settings, tracing
from workers import exposition, lookups, watchdog
from workers.broker import broker, on_bell
from workers.health import Health
from workers.relay import Relay
from workers.supervisor import Place, Stopping

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 10.0
STOP_SECONDS = 24.0
MASTER_CHECK_SECONDS = 2.0
SHUTDOWN_TIMEOUT_MS = 4_000  # of the threads that hear bells; the relay has its own STOP_SECONDS


class RelayThread(threading.Thread):
    """Runs the process's one event loop: the database's pool and the relay on it."""

    def __init__(self, place: Place) -> None:
        super().__init__(name="relay", daemon=True)
        self._place = place
        self._health = Health()
        self._loop = lookups.event_loop()
        self._ending = asyncio.Event()

    def run(self) -> None:
        """Until `stop`."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._work())
        finally:
            self._loop.close()
            if not self._ending.is_set():  # a process that sends nothing must not look as if it did
                os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        """End it, and wait for that."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._ending.set)
        self.join(STOP_SECONDS)

    async def _work(self) -> None:
        environ = settings.environment()
        loaded = settings.load(environ)
        secrets.use_keys(loaded.secret_keys)
        code_budgets.use_settings(loaded)
        scraping.watch_budgets(code_budgets.shares)
        tracing.start(environ)  # not before the fork: what hands spans over is a thread
        try:
            with contextlib.ExitStack() as stack:
                self._expose(stack, loaded)
                await self._relay(loaded)
        finally:
            tracing.stop()

    async def _relay(self, loaded: settings.Settings) -> None:
        try:
            if loaded.database_url is None or not await self._connected(loaded.database_url):
                return
        except settings.SettingInvalid as error:
            logger.error("This worker ends: %s", error)  # noqa: TRY400 -- the line says it all
            return
        relay = Relay(loaded)
        relay.start()
        self._health.watch(relay)
        try:
            async with watchdog.watching():
                await self._run(relay, is_sending=loaded.is_sending)
        finally:
            await database.disconnect()

    async def _run(self, relay: Relay, *, is_sending: bool) -> None:
        on_bell(lambda: _call(self._loop, relay))
        if is_sending:
            logger.info("The worker looks for deliveries")
        try:
            await self._ended()
        finally:
            on_bell(None)
            self._health.watch(None)
            await relay.stop()

    async def _ended(self) -> None:
        """Until `stop`; and when the master was killed, so that no worker outlives what starts and stops it."""
        master = multiprocessing.parent_process()
        while not self._ending.is_set():
            if master is not None and not master.is_alive():
                logger.error("The master process is gone; this worker ends")
                return
            await self._pause(MASTER_CHECK_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    async def _connected(self, url: str) -> bool:
        """Open the database, however long it takes to come; False when the process is to end first. Raises SettingInvalid."""
        pause = 0.5
        while not self._ending.is_set():
            try:
                await database_start.connect(url)
                await keys.begin()
            except Exception as error:
                await database.disconnect()
                if isinstance(error, settings.SettingInvalid) and error.name == keys.NAME:
                    raise
                why = error if isinstance(error, settings.SettingInvalid) else type(error).__name__
                logger.warning("This worker waits for the database: %s", why)
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                return True
        return False

    def _expose(self, stack: contextlib.ExitStack, loaded: settings.Settings) -> None:
        ports = exposition.ports_of_worker(loaded, self._place.number)
        try:
            stack.enter_context(exposition.exposed(loaded, ports=ports, health=self._health))
        except OSError as error:  # sending matters more than being seen
            logger.error("Metrics cannot be served: %s", error.strerror)  # noqa: TRY400 -- nothing more to say


def _call(loop: asyncio.AbstractEventLoop, relay: Relay) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(relay.ring)


def work(place: Place) -> None:
    """Be one worker process, from its beginning to its end; called in a process that `Supervisor` started.

    What is under way when it is told to stop ends first; nobody hears a bell meanwhile.
    """
    stopping = Stopping()
    logs.configure(settings.load(settings.environment()))
    metrics.WORKER_RESTARTS.inc(place.restarts)
    broker.emit_after("process_boot")
    relay = RelayThread(place)
    relay.start()
    consumers = Worker(broker, worker_threads=1)
    consumers.start()
    stopping.wait()
    relay.stop()
    consumers.stop(timeout=SHUTDOWN_TIMEOUT_MS)
    broker.close()
