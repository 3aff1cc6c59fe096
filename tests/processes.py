"""The product's own processes, started as an operator starts them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import reaper
from tests.servers.ports import free_port

START_SECONDS = 120.0  # a machine may be slow; what is waited for comes much sooner
STOP_SECONDS = 60.0
ROOT = Path(__file__).parent.parent


@dataclass
class Process:
    """One running command. log: the file with everything that it printed."""

    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def printed(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, text: str) -> None:
        """Block until it has printed something."""
        self._wait(lambda: text in self.printed(), f"did not print {text!r}")

    def wait_ready(self) -> None:
        """Block until /readyz says so."""
        self._wait(self._is_ready, "is not ready")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if self.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.popen.args!r} {otherwise}:\n{self.printed()[-3000:]}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; the exit status."""
        self.popen.send_signal(number)
        return self.popen.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it and its children as `kill -9` would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(STOP_SECONDS)


@contextlib.contextmanager
def started(
    folder: Path,
    name: str,
    *arguments: str,
    settings: Mapping[str, str],
    module: Sequence[str] = ("cli.main",),
    output: Path | None = None,
) -> Iterator[Process]:
    """`practice-access …` while the block runs, in a folder of its own and with no other settings than these.

    module: what stands for the command, with arguments of its own before those of the command. output: where what it prints goes
    instead of its log.
    """
    log = folder / f"{name}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    command = [sys.executable, "-m", *module, *arguments]
    log.touch()
    with (output or log).open("wb") as printed:
        popen = reaper.popen(command, cwd=folder, env=environment, stdout=printed, stderr=printed)
    process = Process(popen, log)
    try:
        yield process
    finally:
        if popen.poll() is None:
            try:
                process.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        reaper.forget(popen.pid)


@contextlib.contextmanager
def serving(
    folder: Path,
    name: str,
    command: str,
    *,
    settings: Mapping[str, str],
    module: Sequence[str] = ("cli.main",),
    output: Path | None = None,
) -> Iterator[Process]:
    """An API process on a free port, ready."""
    port = free_port()
    with started(
        folder, name, command, settings={"PORT": str(port), **settings}, module=module, output=output
    ) as process:
        process.url = f"http://127.0.0.1:{port}"
        process.wait_ready()
        yield process


async def run(folder: Path, settings: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the operator's to its end, in a folder of its own and with no other settings than these."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **settings}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
