"""A name server that does not answer for one name: nothing else waits for it. In processes of their own, whose look-ups are patched."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from domain import database
from domain.models.columns import DeliveryStatus
from tests import processes
from tests.conftest import TEST_KEYS, database_url
from tests.processes import ROOT
from tests.servers import carrier
from tests.servers.ports import free_port
from tests.test_delivery import account, code_sent, signed_up, until
from workers import lookups
from workers.own_threads import Busy, OwnThreads

# Read by Python before all else. What "hangs.test" stands for is never found, "here.test" is this machine.
PATCH = """
import socket, threading
real, forever, asked = socket.getaddrinfo, threading.Event(), []
def look_up(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    asked.append(name)
    if name == "hangs.test":
        forever.wait()
    return real("127.0.0.1" if name == "here.test" else host, *arguments, **options)
socket.getaddrinfo = look_up
"""
# Many wait for a name that hangs, and one connects to another. Then the name is found after all.
MANY_AND_ONE = """
import asyncio, importlib, sitecustomize, sys
from workers import lookups

async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    many = [asyncio.ensure_future(asyncio.open_connection("hangs.test", port)) for _ in range(20)]
    await asyncio.sleep(0)
    for _ in range(3):
        _, writer = await asyncio.open_connection("here.test", port)
        writer.close()
    assert not any(one.done() for one in many)
    assert sitecustomize.asked.count("hangs.test") == 1, sitecustomize.asked
    sitecustomize.forever.set()
    failed = await asyncio.gather(*many, return_exceptions=True)
    assert {type(one).__name__ for one in failed} == {"gaierror"}, failed
    print("one of them was not held up")

module, _, name = sys.argv[1].partition(":")
with asyncio.Runner(loop_factory=lambda: lookups.event_loop(getattr(importlib.import_module(module), name))) as runner:
    runner.run(main())
"""


@pytest.fixture
def patched(tmp_path: Path) -> str:
    """PYTHONPATH for a process whose look-ups are patched."""
    (tmp_path / "sitecustomize.py").write_text(PATCH)
    return f"{tmp_path}:{ROOT}"


@pytest.mark.parametrize("loop", ["asyncio:SelectorEventLoop", "uvloop:Loop"])
def test_a_name_that_hangs_holds_up_no_other(patched: str, tmp_path: Path, loop: str) -> None:
    if loop.startswith("uvloop"):
        pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", MANY_AND_ONE, loop],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": patched},
        cwd=tmp_path,
        capture_output=True,
        timeout=processes.START_SECONDS,
        check=False,
    )
    assert done.stdout == b"one of them was not held up\n", done.stderr


async def test_a_relay_whose_name_hangs_delays_no_code(db: None, server_url: str, patched: str, tmp_path: Path) -> None:
    for number in range(16):  # more than there are connections, in both lanes of mail
        await signed_up(f"n{number}@example.com")
    await database.execute("UPDATE deliveries SET lane = 2 WHERE id IN (SELECT id FROM deliveries ORDER BY id LIMIT 8)")
    (row,) = await database.fetch("SELECT current_database() AS name")
    with carrier.running() as server:
        values = {
            **account(server),
            "TWILIO_API_URL": server.api_url.replace("127.0.0.1", "here.test"),
            "DATABASE_URL": database_url(server_url, row["name"]),
            "SECRET_KEYS": ",".join(TEST_KEYS),
            "SMTP_URL": "smtp://hangs.test:25?tls=none",
            "PORT": str(free_port()),
            "DATA_DIR": str(tmp_path),
            "PYTHONPATH": patched,
        }
        with processes.started(tmp_path, "api", "api", settings=values) as process:
            await asyncio.to_thread(process.wait_until, "is ready")
            await _until_all_mails_are_under_way()
            digits = await code_sent()
            await until(DeliveryStatus.SENT)
            assert server.taken[0].text.startswith(digits)
            assert process.stop() == 0


async def _until_all_mails_are_under_way() -> None:
    deadline = time.monotonic() + processes.START_SECONDS
    while True:
        rows = await database.fetch("SELECT 1 FROM deliveries WHERE channel = 'EMAIL' AND status = 'SENDING'")
        if len(rows) >= 8:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        (b"192.0.2.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("localhost", False),
        ("", False),
    ],
)
def test_an_address_is_not_looked_up(host: str | bytes, expected: bool) -> None:
    assert lookups.is_address(host) is expected


async def test_work_is_joined_and_waited_for_only_so_long() -> None:
    threads, gate, calls = OwnThreads(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def work() -> str:
        calls.append(1)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        return "done"

    with pytest.raises(TimeoutError):
        await threads.do("key", work, patience_seconds=0.01)
    waiting = [asyncio.ensure_future(threads.do("key", work, patience_seconds=30)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # who gives up takes nothing from the others
    gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["done"] * 4
    assert len(calls) == 1
    assert await threads.do("key", lambda: "again", patience_seconds=30) == "again"


async def test_there_is_an_end_to_how_much_hangs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.own_threads.AT_ONCE", 2)
    threads, gate = OwnThreads(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()

    first = [asyncio.ensure_future(threads.do(key, work, patience_seconds=30)) for key in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await threads.do("c", work, patience_seconds=30)
    gate.set()
    await asyncio.gather(*first)
    assert await threads.do("c", lambda: 1, patience_seconds=30) == 1


async def test_what_work_raises_is_raised_to_whoever_waits() -> None:
    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await OwnThreads().do("key", work, patience_seconds=30)
