"""What ten times more sign-ins than fit do to everybody else: the users tile and the refusals, in one run with the idle tile.

    .venv/bin/python -m benchmarks.overload     # SECONDS=3 for a quick look

One API process, PostgreSQL and the clients share the machine. First as many people sign in as there is room for, one after the other
on 16 connections: that is how many fit. Then the users tile is asked for, 50 times a second, while nothing else happens; and once more
while ten times as many try to sign in as fit, whether or not the ones before them were answered. Each of these comes from a network of
its own with an address that nobody has, which takes the same work as a wrong password.
"""

import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from domain import database, passwords, secrets, settings
from graph.app import create_app
from tests import conftest, processes
from tests.servers import postgres
from tests.world import Api, Mail, World, document

SECONDS = float(os.environ.get("SECONDS", "15"))
TIMES = 10
AT_ONCE = 16
TILES_A_SECOND = 50
PEOPLE = 20
TILE = """{ usersTile { activeCount users(first: 50) { edges { node {
    id firstName lastName email accessLevel status invitation { id delivery { status } } } } } } }"""
GOALS = "goals: the tile's p99 under ten times the idle one; refusals within 50 ms (p99)"


class Connection:
    """A kept HTTP/1.1 connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Ask once; the answer. Raises OSError."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        text = json.dumps(body).encode()
        named = {"content-type": "application/json", "content-length": str(len(text)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self._writer.write(f"POST /graphql HTTP/1.1\r\nhost: api\r\n{head}\r\n".encode() + text)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        found: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        return found

    def close(self) -> None:
        """End it."""
        if self._writer is not None:
            self._writer.close()


@dataclass
class SignIns:
    """What came of the tries. compared, refused: milliseconds of each."""

    compared: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def try_once(self, connection: Connection) -> None:
        """A wrong password for an address that nobody has, from a network of its own."""
        number = random.getrandbits(64)
        values = {"email": f"nobody{number}@load.example", "password": "no such password at all"}
        network = ".".join(str(random.randrange(1, 255)) for _ in range(4))
        began = time.perf_counter()
        try:
            answer = await connection.post(
                {"query": document("signIn"), "variables": {"input": values}}, **{"x-forwarded-for": network}
            )
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failed.append(type(error).__name__)
            return
        taken = (time.perf_counter() - began) * 1000
        if "errors" not in answer:
            self.compared.append(taken)
        elif answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED":
            self.refused.append(taken)
        else:
            self.failed.append(str(answer["errors"][0]["extensions"]))


async def as_many_as_fit(port: int) -> float:
    """Sign-ins a second that are compared while nobody has to be refused."""
    found, end = SignIns(), time.perf_counter() + SECONDS

    async def one_after_the_other() -> None:
        connection = Connection(port)
        with contextlib.closing(connection):
            while time.perf_counter() < end:
                await found.try_once(connection)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    if found.refused or found.failed:
        raise RuntimeError(f"{len(found.refused)} refused, {found.failed[:3]}")
    return len(found.compared) / SECONDS


async def too_many(port: int, rate: float, seconds: float) -> SignIns:
    """So many tries a second, whatever becomes of them."""
    found, free = SignIns(), list[Connection]()
    under_way: set[asyncio.Task[None]] = set()

    async def once() -> None:
        connection = free.pop() if free else Connection(port)
        await found.try_once(connection)
        free.append(connection)

    began, number = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        while number < now * rate:
            number += 1
            task = asyncio.create_task(once())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.sleep(0.002)
    await asyncio.gather(*under_way)
    for connection in free:
        connection.close()
    return found


async def tiles(port: int, token: str, seconds: float) -> list[float]:
    """Milliseconds of each tile, asked for at a fixed rate on a few connections."""
    taken: list[float] = []

    async def ask(connection: Connection, offset: float) -> None:
        with contextlib.closing(connection):
            for number in range(int(seconds * TILES_A_SECOND / 5)):
                await asyncio.sleep(max(0.0, started + offset + number * 5 / TILES_A_SECOND - time.perf_counter()))
                began = time.perf_counter()
                answer = await connection.post({"query": TILE}, authorization=f"Bearer {token}")
                taken.append((time.perf_counter() - began) * 1000)
                if "errors" in answer:
                    raise RuntimeError(str(answer))

    started = time.perf_counter()
    await asyncio.gather(*(ask(Connection(port), number / TILES_A_SECOND) for number in range(5)))
    return taken


@contextlib.contextmanager
def crowd(port: int, rate: float) -> Iterator[subprocess.Popen[str]]:
    """`too_many` in a process of its own, so that its work does not count as the tile's."""
    command = [sys.executable, "-m", "benchmarks.overload", "crowd", str(port), str(rate), str(SECONDS + 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        yield started


async def session(url: str) -> str:
    """The session token of an administrator whose practice has some people."""
    secrets.use_keys(tuple(key.encode() for key in conftest.TEST_KEYS))
    await database.connect(url)
    await passwords.prepare()
    with tempfile.TemporaryDirectory() as folder:
        loaded = settings.load({"DATA_DIR": folder, "SECRET_KEYS": ",".join(conftest.TEST_KEYS)})
        transport = httpx.ASGITransport(app=create_app(loaded, checks={}), client=("198.51.100.7", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            world = World(Api(client), Mail())
            practice = await world.practice()
            for number in range(PEOPLE):
                await world.invite(practice, f"pat{number}@clinic.example")
    await database.disconnect()
    return practice.administrator.session


async def prepare(server: str) -> tuple[str, str]:
    """A migrated database of the benchmark's own, and a session in it."""
    await conftest.make_template(server)
    url = await conftest.fresh_database(server)
    return url, await session(url)


def percentiles(times: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    if len(times) < 2:
        return (float("nan"), float("nan"))
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def line(what: str, times: list[float]) -> None:
    """Print one line of the table."""
    p50, p99 = percentiles(times)
    print(f"| {what} | {len(times)} | {p50:.1f} ms | {p99:.1f} ms |")


def measure(port: int, token: str) -> None:
    """Print what was found."""
    asyncio.run(tiles(port, token, 2.0))  # warms caches up
    rate = asyncio.run(as_many_as_fit(port))
    idle = asyncio.run(tiles(port, token, SECONDS))
    with crowd(port, TIMES * rate) as started:
        time.sleep(1.0)
        loaded = asyncio.run(tiles(port, token, SECONDS))
        told, _ = started.communicate()
    found = SignIns(**json.loads(told))
    print(
        f"{rate:.0f} sign-ins a second fit; {TIMES * rate:.0f} a second were tried, {len(found.failed)} of them failed."
    )
    print("\n| | requests | p50 | p99 |\n|---|---|---|---|")
    line("users tile, nothing else to do", idle)
    line("users tile, ten times too many sign-ins", loaded)
    line("sign-ins that were compared", found.compared)
    line("sign-ins that were refused", found.refused)
    print(f"\nThe tile's p99 is {percentiles(loaded)[1] / percentiles(idle)[1]:.1f} times the idle one ({GOALS}).")


def main(server: str) -> None:
    """Start one API process and measure."""
    url, token = asyncio.run(prepare(server))
    given = {
        "DATABASE_URL": url,
        "SECRET_KEYS": ",".join(conftest.TEST_KEYS),
        "LOG_LEVEL": "warning",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with tempfile.TemporaryDirectory() as folder:
        given["DATA_DIR"] = folder
        with processes.serving(Path(folder), "api", "api", settings=given) as api:
            measure(int(api.url.rpartition(":")[2]), token)


if __name__ == "__main__":
    if sys.argv[1:2] == ["crowd"]:
        tried = asyncio.run(too_many(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
        print(json.dumps({"compared": tried.compared, "refused": tried.refused, "failed": tried.failed}))
    else:
        with postgres.running() as running:
            main(running)
