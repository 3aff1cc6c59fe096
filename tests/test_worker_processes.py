"""`practice-access worker --processes N`: who starts a process anew, when that is given up, and what a process says of itself."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests import processes
from tests.conftest import fresh_database
from tests.processes import ROOT, Process
from tests.servers import redis
from tests.servers.ports import free_port
from tests.test_delivery import relaying
from workers import health
from workers.health import Health
from workers.supervisor import ENDS_WITHIN_SECONDS, LONGEST_PAUSE_SECONDS, MOST_ENDS, Ends

READY = "The worker looks for deliveries"
PATIENCE_SECONDS = 60.0  # a machine may be slow; what is waited for comes much sooner


@pytest_asyncio.fixture
async def database_url(server_url: str) -> str:
    return await fresh_database(server_url)


def until(condition: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Block until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)


def children(process: Process) -> set[int]:
    """The process ids of what a process started, and has not waited for."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            _, _, stat = (folder / "stat").read_text().rpartition(")")
            if int(stat.split()[1]) == process.popen.pid:
                found.add(int(folder.name))
    return found


@contextlib.contextmanager
def two(folder: Path, database_url: str, **settings: str) -> Iterator[Process]:
    """A worker with two processes, which look for deliveries."""
    with redis.running() as broker:
        own = {"DATABASE_URL": database_url, "REDIS_URL": broker.url, "DATA_DIR": str(folder / "data")} | settings
        with processes.started(folder, "worker", "worker", "--processes=2", settings=own) as process:
            until(lambda: process.printed().count(READY) == 2, process.printed)
            yield process


def answered(port: int, path: str) -> httpx.Response | None:
    """What a process's own port answers; None while nobody listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=20, trust_env=False)
    except httpx.TransportError:
        return None


def status(port: int, path: str) -> int | None:
    """The status alone."""
    answer = answered(port, path)
    return answer.status_code if answer is not None else None


def restarts(port: int) -> str:
    """How many processes came before the one that listens."""
    answer = answered(port, "/metrics")
    found = re.search(r"^practice_access_worker_restarts_total (\S+)$", answer.text if answer else "", re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it looks for processes in /proc")
def test_a_process_that_ends_is_started_anew_in_its_place_and_all_of_them_where_they_are_told_so(
    tmp_path: Path, database_url: str
) -> None:
    port = free_port()
    with two(tmp_path, database_url, METRICS_PORT=str(port)) as worker:
        before = children(worker)
        assert len(before) == 2
        until(lambda: [status(port + n, "/readyz") for n in range(2)] == [200, 200], worker.printed)
        assert (restarts(port), restarts(port + 1)) == ("0.0", "0.0")
        killed, stays = sorted(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: worker.printed().count(READY) == 3, worker.printed)
        after = children(worker)
        assert len(after) == 2
        assert after & before == {stays}
        assert "Worker process 0 ended by itself, with signal 9; another starts in 1 s" in worker.printed()
        until(lambda: [status(port + n, "/readyz") for n in range(2)] == [200, 200], worker.printed)
        assert (restarts(port), restarts(port + 1)) == ("1.0", "0.0")
        # One that is told to end by somebody else than its parent is started anew too.
        os.kill(stays, signal.SIGTERM)
        until(lambda: worker.printed().count(READY) == 4, worker.printed)
        before = children(worker)
        worker.popen.send_signal(signal.SIGHUP)
        until(lambda: worker.printed().count(READY) == 6, worker.printed)
        assert not children(worker) & before
        ended = worker.printed().count("ended by itself")
        # As systemd and Ctrl-C do: the processes get the signal from there, and once more from their parent.
        os.killpg(worker.popen.pid, signal.SIGTERM)
        assert worker.popen.wait(processes.STOP_SECONDS) == 0
    assert ended == worker.printed().count("ended by itself") == 2
    assert "Traceback" not in worker.printed()


async def psql(url: str, statement: str) -> None:
    """Somebody's own look into the database."""
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


def test_a_process_says_that_it_lives_and_whether_it_can_work(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    settings = {"METRICS_PORT": str(port), "DATA_DIR": str(tmp_path / "data")}
    with redis.running() as broker:
        settings["REDIS_URL"] = broker.url
        with processes.started(
            tmp_path, "worker", "worker", settings=settings | {"DATABASE_URL": database_url}
        ) as worker:
            until(lambda: status(port, "/readyz") == 200, worker.printed)
            ready = answered(port, "/readyz")
            assert ready is not None
            assert ready.json() == {"status": "ready", "parts": {"database": "ready", "loops": "ready"}}
            assert (status(port, "/metrics"), status(port, "/healthz")) == (200, 200)
            asyncio.run(psql(database_url, "UPDATE tortoise_migrations SET app = 'other' WHERE name = '0002_guards'"))
            not_ready = answered(port, "/readyz")
            assert not_ready is not None
            parts = {"database": "not ready", "loops": "ready"}
            assert (not_ready.status_code, not_ready.json()["parts"], status(port, "/healthz")) == (503, parts, 200)
            for path in ("/", "/metrics/", "/healthz/x", "/favicon.ico", "/anything"):
                assert status(port, path) == 404, path
            assert httpx.post(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 405


async def test_a_worker_is_not_ready_while_its_loop_is_held_up_or_once_a_part_of_it_has_ended(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = {"database": "ready", "loops": "ready"}
    async with relaying(tmp_path) as relay:
        checked = Health()
        checked.watch(relay)
        assert await asyncio.to_thread(checked.parts) == ready
        with monkeypatch.context() as impatient:
            impatient.setattr(health, "PATIENCE_SECONDS", 0.05)
            asked = asyncio.get_running_loop().run_in_executor(None, checked.parts)
            time.sleep(1)  # noqa: ASYNC251 -- the loop is held up; the thread meanwhile gives up
            assert await asked == {"database": "not ready", "loops": "not ready"}
        assert await asyncio.to_thread(checked.parts) == ready
        ended = relay._keepers["schedule"]
        ended.cancel()
        await asyncio.wait([ended])
        assert await asyncio.to_thread(checked.parts) == ready | {"loops": "not ready"}
        assert relay.ended() == ["schedule"]


FAILING = """
import sys
from workers import supervisor
from workers.supervisor import Place, Stopping, Supervisor
supervisor.FIRST_PAUSE_SECONDS = 0.001
def work(place: Place) -> None:
    stopping = Stopping()
    if place.number == 1:
        sys.exit(7)
    stopping.wait()
    print("let go", flush=True)
sys.exit(Supervisor(2, work).run())
"""


def test_a_process_that_ends_again_and_again_ends_all_with_a_status_that_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (1, "let go\n")
    assert "Worker process 1 ended by itself 10 times within 10 minutes, the last time with status 7" in done.stderr
    assert done.stderr.count("another starts in") == MOST_ENDS - 1


HANGING = """
import signal, sys
from workers import supervisor
from workers.supervisor import Place, Stopping, Supervisor
supervisor.STOP_SECONDS = 0.2
def work(place: Place) -> None:
    Stopping()
    print("ready", flush=True)
    while True:
        signal.pause()
sys.exit(Supervisor(1, work).run())
"""


def test_a_process_that_does_not_end_in_time_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGING], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 1


def test_pauses_grow_until_starting_again_is_given_up() -> None:
    ends = Ends()
    assert [ends.pause_after(now) for now in range(MOST_ENDS)] == [
        1.0,
        2.0,
        4.0,
        8.0,
        16.0,
        30.0,
        30.0,
        30.0,
        30.0,
        None,
    ]


def test_a_process_that_ends_rarely_is_started_for_ever() -> None:
    ends, apart = Ends(), ENDS_WITHIN_SECONDS // (MOST_ENDS - 1) + 1
    pauses = [ends.pause_after(number * apart) for number in range(100)]
    assert None not in pauses
    assert max(pause or 0 for pause in pauses) <= LONGEST_PAUSE_SECONDS
