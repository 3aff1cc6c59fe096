"""Starting workers: processes of their own over Redis, or inside the API's process without it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from dramatiq import Worker

from domain import outbox
from domain.settings import SettingInvalid, Settings
from workers import broker, exposition, main
from workers.relay import Relay
from workers.supervisor import Supervisor

MAX_PROCESSES = 64

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
    return Supervisor(processes, main.work).run()


@contextlib.contextmanager
def exposed(settings: Settings) -> Iterator[None]:
    """The metrics of an API process, where their port is set. Raises SettingInvalid when that cannot be had. Called on the loop."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exposition.exposed(settings))
        except OSError as error:
            remedy = "put a free METRICS_PORT, and an address of this machine's in METRICS_HOST"
            raise SettingInvalid("METRICS_PORT", f"cannot be listened on ({error.strerror})", remedy) from None
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
