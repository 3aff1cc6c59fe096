"""What the fault tests break: a line between two parts that can be cut, slowed and made lossy, and a PostgreSQL that can be restarted."""

import asyncio
import contextlib
import os
import resource
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from cli import embedded_postgres
from tests.servers import reaper

Moment = Callable[[bytes], bool]


@dataclass
class Line:
    """A TCP proxy. delay_seconds: for each piece, both ways. cut_after: ends the connection once a piece of what the client sends
    fits, after passing it on and before any answer.

    is_down: takes no connection, and ends those that there are. stalls_before: once a piece of what the client sends fits, the line
    forwards nothing more, either way, and closes nothing, until is_stalled is set back; then everything goes on.
    """

    host: str
    port: int
    at: int = 0
    delay_seconds: float = 0.0
    cut_after: Moment | None = None
    cuts: int = 0
    is_down: bool = False
    stalls_before: Moment | None = None
    is_stalled: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.is_down:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        there = asyncio.create_task(self._pump(reader, far_writer, watched=True))
        back = asyncio.create_task(self._pump(far_reader, writer, watched=False))
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
        for end in ends:
            end.close()
        self._writers -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if watched and self.stalls_before is not None and self.stalls_before(piece):
                    self.is_stalled = True
                while self.is_stalled:  # noqa: ASYNC110 -- a plain attribute is what a test sets
                    await asyncio.sleep(0.02)
                is_last = watched and self.cut_after is not None and self.cut_after(piece)
                writer.write(piece)
                await writer.drain()
                if is_last:
                    self.cuts += 1
                    await asyncio.sleep(0.3)  # it arrives, and is done; the answer is on its way and does not
                    return

    def break_all(self) -> None:
        """End every connection that there is."""
        for writer in list(self._writers):
            writer.transport.abort()


@contextlib.asynccontextmanager
async def line(host: str, port: int) -> AsyncIterator[Line]:
    """A line to a server, on the test's own loop, while the block runs."""
    found = Line(host, port)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.at = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        found.break_all()


def through(url: str, port: int) -> str:
    """The same URL by another port of this machine."""
    parts = urlsplit(url)
    account = parts.netloc.rpartition("@")[0]
    netloc = f"{account}@127.0.0.1:{port}" if account else f"127.0.0.1:{port}"
    return urlunsplit(parts._replace(netloc=netloc))


@dataclass
class Postgres:
    """A PostgreSQL of a test's own. url: the same over restarts."""

    folder: Path
    url: str

    @property
    def pid(self) -> int:
        """Of its first process."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def crash(self) -> None:
        """End one of its processes as `kill -9` would: it ends all connections and recovers, as after `pg_ctl restart -m immediate`."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        backend = next(pid for pid in children if b"checkpointer" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(int(backend), signal.SIGKILL)


@contextlib.contextmanager
def postgres(*, largest_file: int = resource.RLIM_INFINITY) -> Iterator[Postgres]:
    """A durable server while the block runs. largest_file: in bytes; as on a full disk, no table can grow beyond it."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="practice-access-faults-", ignore_cleanup_errors=True)
        )
        reaper.remove_afterwards(Path(folder))
        own, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))  # which all that it starts has from its start
        try:
            url = stack.enter_context(embedded_postgres.start(Path(folder)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (own, hard))
        yield Postgres(Path(folder), url)
