"""Worker processes as an operator runs them, and the bell when Redis is in trouble."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis as redis_client
from dramatiq import Message

from tests import processes
from tests.conftest import fresh_database
from tests.processes import Process
from tests.servers import redis
from workers.broker import MAX_WAITING, NAMESPACE, QUEUE, SturdyRedisBroker
from workers.main import STOP_SECONDS

READY = "The worker looks for deliveries"


@pytest_asyncio.fixture
async def database_url(server_url: str) -> str:
    return await fresh_database(server_url)


@pytest.fixture
def broker_server() -> Iterator[redis.Redis]:
    with redis.running() as server:
        yield server


@contextlib.contextmanager
def worker(folder: Path, database_url: str, server: redis.Redis, *, number: int = 1) -> Iterator[Process]:
    """A worker with a number of processes, one of them ready."""
    settings = {"DATABASE_URL": database_url, "REDIS_URL": server.url, "DATA_DIR": str(folder / "data")}
    with processes.started(folder, "worker", "worker", f"--processes={number}", settings=settings) as process:
        process.wait_until(READY)
        yield process


def test_a_worker_stops_within_seconds_when_it_is_told_to(
    tmp_path: Path, database_url: str, broker_server: redis.Redis
) -> None:
    with worker(tmp_path, database_url, broker_server) as process:
        began_at = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began_at < STOP_SECONDS  # by itself, not because nobody waited any longer
    assert "Traceback" not in process.printed()


def test_no_worker_outlives_its_parent(tmp_path: Path, database_url: str, broker_server: redis.Redis) -> None:
    with worker(tmp_path, database_url, broker_server, number=2) as process:
        process.popen.send_signal(signal.SIGKILL)  # the parent alone; its workers are in the same process group
        process.popen.wait(processes.STOP_SECONDS)
        deadline = time.monotonic() + processes.STOP_SECONDS
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.killpg(process.popen.pid, 0)
                if time.monotonic() > deadline:
                    os.killpg(process.popen.pid, signal.SIGKILL)
                    pytest.fail("a worker is still there")
                time.sleep(0.1)


def broker_of(server: redis.Redis) -> SturdyRedisBroker:
    client = redis_client.Redis.from_url(server.url, socket_timeout=1, socket_connect_timeout=1)
    broker = SturdyRedisBroker(client=client, namespace=NAMESPACE)  # type: ignore[no-untyped-call]  # its parent has no types
    broker.declare_queue(QUEUE)
    return broker


def test_bells_that_nobody_hears_do_not_pile_up(broker_server: redis.Redis) -> None:
    broker = broker_of(broker_server)
    for _ in range(MAX_WAITING):
        assert not broker.is_full()
        broker.enqueue(Message(queue_name=QUEUE, actor_name="deliver", args=(), kwargs={}, options={}))
    assert broker.is_full()
    broker.client.close()


def test_a_redis_that_hangs_or_is_full_is_one_that_is_away(broker_server: redis.Redis) -> None:
    broker = broker_of(broker_server)
    assert not broker.is_full()
    broker.client.config_set("maxmemory", "1")
    with pytest.raises(redis_client.ConnectionError):
        broker.enqueue(Message(queue_name=QUEUE, actor_name="deliver", args=(), kwargs={}, options={}))
    broker.client.config_set("maxmemory", "0")
    broker.client.execute_command("CLIENT", "PAUSE", "3600000", "ALL")
    with pytest.raises(redis_client.ConnectionError):
        broker.is_full()  # it waits a second, and not an hour
    broker.client.close()
