"""The servers of the tests themselves: they start when they are needed, and go with the run, however it ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from tests import databases
from tests.processes import ROOT, START_SECONDS
from tests.servers import postgres, reaper, shared
from tests.servers.ports import free_port

# A run with everything that a test may start. It says which processes there are, and waits to be killed.
HANGS = """
import time
from pathlib import Path

from tests import processes
from tests.parts import Parts

def test_hangs(parts: Parts) -> None:
    settings = {name: parts.settings[name] for name in ("DATABASE_URL", "REDIS_URL", "DATA_DIR")}
    with processes.started(parts.folder, "worker", "worker", settings=settings) as worker:
        worker.wait_until("The worker looks for deliveries")
        Path("PIDS").write_text(f"{parts.redis.pid} {worker.popen.pid} end")
        time.sleep(3600)
"""
# Stands for `make`: it starts the run, and does not pass on that it was killed.
MAKE = 'PRACTICE_ACCESS_TEST_STARTED_BY=$$ "$@" & wait'


def environment(folder: Path, **more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PRACTICE_ACCESS_", "PYTEST_"))}
    return own | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)} | more


def pytest_command(file: Path, *options: str) -> list[str]:
    """A run of one file outside of the project, with its fixtures and settings."""
    given = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:randomly", "-c", str(ROOT / "pyproject.toml")]
    return [sys.executable, "-m", "pytest", "-q", *given, "--rootdir", str(file.parent), *options, str(file)]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def groups(sessions: Sequence[int]) -> list[str]:
    """The processes of these sessions that are left, as `ps` shows them."""
    listed = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return [" ".join(row) for row in rows if int(row[1]) in sessions and not row[2].startswith("Z")]


@contextlib.contextmanager
def hanging_run(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that waits to be killed, in a folder that has all of its temporary files."""
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (folder / "PIDS").exists() or not (folder / "PIDS").read_text().endswith("end"):
            assert run.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.parametrize("kind", ["alone", "with workers", "under make"])
def test_a_run_that_is_killed_leaves_no_process_and_no_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    command = pytest_command(tmp_path / "test_hangs.py", *(["-n", "1"] if kind == "with workers" else []))
    if kind == "under make":
        command = ["/bin/sh", "-c", MAKE, "make", *command]
    with hanging_run(tmp_path, *command) as run:
        sessions = [int(pid) for pid in (tmp_path / "PIDS").read_text().split()[:-1]]
        [database] = tmp_path.glob("practice-access-test-*/postgres/postmaster.pid")
        server = int(database.read_text().splitlines()[0])
        assert len(groups(sessions)) >= 3  # Redis, the worker's master, and its process
        run.send_signal(signal.SIGKILL)  # the first process alone: the others have to notice
        run.wait()
        deadline = time.monotonic() + START_SECONDS
        while left := [*groups(sessions), *([f"PostgreSQL {server}"] if is_there(server) else []), *folders(tmp_path)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.2)


def folders(folder: Path) -> list[str]:
    return [str(left) for left in folder.glob("practice-access-*")]


def test_a_module_without_a_database_starts_no_server(tmp_path: Path) -> None:
    (tmp_path / "test_pure.py").write_text(
        "def test_pure(tmp_path, app_settings): assert app_settings.is_development\n"
    )
    nowhere = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"
    done = subprocess.run(
        pytest_command(tmp_path / "test_pure.py"),
        cwd=tmp_path,
        env=environment(tmp_path, TEST_DATABASE_URL=nowhere),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_what_a_process_started_is_killed_with_its_children_when_it_is_gone(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal; from tests.servers import reaper\n"
        f"folder = pathlib.Path({str(tmp_path)!r}); (folder / 'data').mkdir(); reaper.remove_afterwards(folder / 'data')\n"
        "kept = reaper.popen(['/bin/sh', '-c', 'sleep 3600 & sleep 3600'])\n"
        "ended = reaper.popen(['/bin/sh', '-c', 'exit 3']); assert ended.wait() == 3; reaper.forget(ended.pid)\n"
        "print(kept.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(tmp_path)
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + START_SECONDS
    while groups([int(done.stdout)]) or (tmp_path / "data").exists():
        assert time.monotonic() < deadline, groups([int(done.stdout)])
        time.sleep(0.05)


def test_a_program_that_cannot_be_started_says_so() -> None:
    started = reaper.popen(["/nowhere/at-all"], stderr=subprocess.PIPE)
    _, problem = started.communicate()
    reaper.forget(started.pid)
    assert started.returncode == 127
    assert b"/nowhere/at-all" in problem


# -- the data that is kept from run to run -----------------------------------------------------------------------------------


def made_by(marks: list[str]) -> Callable[[str], None]:
    """Prepare a server with a table in it, and note that it was done."""

    async def prepare(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE prepared ()")
        await connection.close()

    def run(url: str) -> None:
        asyncio.run(prepare(url))
        marks.append(url)

    return run


async def is_prepared(url: str) -> bool:
    connection = await asyncpg.connect(url)
    found = await connection.fetchval("SELECT to_regclass('prepared') IS NOT NULL")
    await connection.close()
    return bool(found)


needs_own_server = pytest.mark.skipif(postgres.given_url() is not None, reason="a server that is given is not prepared")


@needs_own_server
def test_data_is_prepared_once_and_again_when_the_copy_is_damaged(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "one"
    marks: list[str] = []
    for time_, times in enumerate((1, 1, 2, 2)):
        if time_ == 2:
            (cache / "postgres" / "global" / "pg_control").write_bytes(b"")
        with postgres.running(cache, made_by(marks)) as url:
            assert asyncio.run(is_prepared(url))
        assert len(marks) == times
    assert [entry.name for entry in cache.parent.iterdir()] == ["one"]


@needs_own_server
def test_runs_that_begin_together_do_not_disturb_each_other(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "one"
    marks: list[str] = []

    def run(_: int) -> bool:
        with postgres.running(cache, made_by(marks)) as url:
            return asyncio.run(is_prepared(url))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, range(2))) == [True] * 2
    assert [entry.name for entry in cache.parent.iterdir()] == ["one"]


def test_the_template_is_named_after_the_migrations_and_all_that_they_import(tmp_path: Path) -> None:
    files = {
        "domain/__init__.py": "",
        "domain/migrations/0001.py": "from domain.models.columns import uuid7\nimport os",
        "domain/models/columns.py": "from domain import texts",
        "domain/texts.py": "import domain.letters",
        "domain/letters.py": "",
        "domain/unrelated.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = databases._followed(tmp_path, ("domain/migrations", "domain/nowhere"))
    assert {str(file.relative_to(tmp_path)) for file in found} == set(files) - {"domain/unrelated.py"}
    assert databases.TEMPLATE.endswith(databases.fingerprint())


async def test_a_template_that_many_make_at_once_is_made_once(server_url: str) -> None:
    await asyncio.gather(*(databases.make_template(server_url) for _ in range(3)))
    connection = await asyncpg.connect(server_url)
    made = await connection.fetch("SELECT 1 FROM pg_database WHERE datname LIKE 'practice_access_template_%'")
    await connection.close()
    assert len(made) == 1


# -- one for all processes ---------------------------------------------------------------------------------------------------


def test_what_is_shared_is_made_when_it_is_first_asked_for_and_once_for_all_processes() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return f"made {len(made)}"

    offer = shared._Offer(make)
    try:
        assert made == []
        code = "from tests.servers import shared; print(shared.get())"
        given = os.environ | {shared.NAME: offer.address, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        running = [subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert [one.communicate()[0] for one in running] == ["made 1\n"] * 3
        assert offer.get() == (True, "made 1")
    finally:
        offer.close()


def test_what_cannot_be_made_is_told_to_everybody_who_asks() -> None:
    def fail() -> str:
        raise OSError("no room")

    offer = shared._Offer(fail)
    assert [offer.get(), offer.get()] == [(False, "OSError: no room")] * 2
    offer.close()


def test_a_port_is_given_to_one_caller_only() -> None:
    code = "from tests.servers.ports import free_port; print(*(free_port() for _ in range(300)), flush=True); input()"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    ports = []
    for one in running:
        assert one.stdout is not None
        ports += one.stdout.readline().split()
    for one in running:
        one.communicate("\n")
    assert len(set(ports)) == len(ports) == 900
