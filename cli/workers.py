"""Starting workers: processes of their own over Redis, or inside the API's process without it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from dramatiq import Worker

from cli import systemd
from domain import database, database_start, keys, outbox, secrets
from domain.settings import SettingInvalid, Settings
from workers import broker, exposition, lookups, main, watchdog
from workers.relay import Relay
from workers.supervisor import Supervisor

MAX_PROCESSES = 64
API_END_TICKS = 20  # seconds; past what any statement may take, and about when a client or a proxy gives up

ping = broker.ping


def run_worker(settings: Settings, processes: int) -> int:
    """Run worker processes under one parent until it is told to stop; the exit status. Raises SettingInvalid."""
    if settings.redis_url is None:
        raise SettingInvalid(
            "REDIS_URL", "is missing", "put one like redis://host:6379/0; without Redis the API sends by itself"
        )
    if settings.database_url is None:
        raise SettingInvalid("DATABASE_URL", "is missing", "put one like postgres://user:password@host:5432/name")
    if not 1 <= processes <= MAX_PROCESSES:
        raise SettingInvalid("--processes", f"is {processes}", f"put a number from 1 to {MAX_PROCESSES}")
    # Before the processes are forked. They wait for a database that goes away later.
    with asyncio.Runner(loop_factory=lookups.event_loop) as runner:
        runner.run(_require_database(settings, settings.database_url))
    return Supervisor(processes, main.work).run()


async def _require_database(settings: Settings, url: str) -> None:
    """Look, before a process is started, that the database can be worked on and that the keys are its own. Raises SettingInvalid."""
    secrets.use_keys(settings.secret_keys)
    await database_start.connect(url)
    try:
        await keys.compare()
    finally:
        await database.disconnect()


@contextlib.asynccontextmanager
async def watched(settings: Settings) -> AsyncIterator[None]:
    """Have an API process end when its event loop stands still, so that its supervisor starts it anew.

    Not in development, where it may stand at a breakpoint.
    """
    if settings.is_development:
        yield
        return
    systemd.tell(systemd.READY)
    async with watchdog.watching(end_ticks=API_END_TICKS, on_beat=lambda: systemd.tell(systemd.ALIVE)):
        yield
    systemd.tell(systemd.STOPPING)


@contextlib.contextmanager
def exposed(settings: Settings) -> Iterator[None]:
    """The metrics of an API process, where their port is set. Raises SettingInvalid when that cannot be had. Called on the loop."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exposition.exposed(settings))
        except (OSError, UnicodeError) as error:
            remedy = "put a free METRICS_PORT, and an address of this machine's in METRICS_HOST"
            reason = getattr(error, "strerror", "METRICS_HOST is no host name")
            raise SettingInvalid("METRICS_PORT", f"cannot be listened on ({reason})", remedy) from None
        yield


@contextlib.asynccontextmanager
async def beside_api(settings: Settings) -> AsyncIterator[None]:
    """What an API process needs of workers: the bell, and without Redis a worker of its own."""
    outbox.on_commit_ring(broker.ring)
    try:
        if settings.redis_url is not None:
            yield
            return
        async with _embedded(settings):
            yield
    finally:
        outbox.on_commit_ring(None)


@contextlib.asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[None]:
    """The same actor on Dramatiq's in-memory broker, and the relay on this event loop."""
    loop = asyncio.get_running_loop()
    relay = Relay(settings)
    relay.start()

    def wake() -> None:
        loop.call_soon_threadsafe(relay.ring)

    broker.on_bell(wake)
    broker.broker.emit_after("process_boot")
    worker = Worker(broker.broker, worker_threads=1, worker_timeout=100)
    await asyncio.to_thread(worker.start)
    try:
        yield
    finally:
        broker.on_bell(None)
        await asyncio.to_thread(worker.stop, 2000)
        await relay.stop()
