"""The schedule: in every worker process, each job on its own."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from domain import database
from tests import processes
from tests.conftest import Clock, database_url
from tests.servers import redis
from tests.test_code_rotation import paying
from tests.world import World
from workers import housekeeping
from workers.housekeeping import Job

WAIT_SECONDS = 120.0  # a machine may be slow; what is waited for comes much sooner


async def test_a_job_that_fails_or_hangs_keeps_no_other_from_its_work(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    enough = asyncio.Event()

    async def fail() -> None:
        done.append("fail")
        raise ExceptionGroup("parts", [ValueError("of a patient's name"), KeyError("another")])

    async def hang() -> None:
        done.append("hang")
        await asyncio.Event().wait()

    async def work() -> None:
        done.append("work")
        if done.count("work") >= 3 and done.count("fail") >= 3:
            enough.set()

    jobs = [Job("fail", fail, 0.01), Job("hang", hang, 0.01), Job("work", work, 0.01)]
    with caplog.at_level(logging.ERROR, logger="workers.housekeeping"):
        running = asyncio.create_task(housekeeping.run(jobs, first_seconds=0.01))
        async with asyncio.timeout(WAIT_SECONDS):
            await enough.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert done.count("hang") == 1
    assert caplog.messages[0] == "The schedule could not fail: KeyError, ValueError"
    assert "patient" not in caplog.text


async def wait_for(sql: str) -> None:
    """Block until a query answers with a row."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not await database.fetch(sql):
        assert time.monotonic() < deadline, sql
        await asyncio.sleep(0.2)


async def test_worker_processes_and_the_development_process_keep_the_schedule(
    world: World, clock: Clock, server_url: str, tmp_path: Path
) -> None:
    await paying(world)
    url = database_url(server_url, (await database.fetch("SELECT current_database() AS name"))[0]["name"])
    settings = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path / "data"), "CLIENT_URL": "https://app.clinic.example"}
    rotated = (
        "SELECT 1 FROM practice_access_codes WHERE valid_until IS NULL AND issued_at > clock_now() - interval '1 day'"
    )
    await clock.forward(days=91)
    with (
        redis.running() as broker,
        processes.started(tmp_path, "worker", "worker", settings=settings | {"REDIS_URL": broker.url}),
    ):
        await wait_for(rotated)
    await clock.forward(days=91)
    with processes.serving(tmp_path, "dev", "dev", settings=settings):
        await wait_for(rotated)
