"""How long `viewer` takes on one kept connection: with the listener as it was, and as it is.

    python -m benchmarks.http

Both are API processes of their own over one database, asked in turns by one client; printed are the median and the best of each.
Before: a socket that does not say it is TCP, asyncio's loop, and uvicorn's own protocol. After: `practice-access api`.
"""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn

from domain import database, passwords, secrets, settings
from graph.app import create_app
from tests import conftest, processes
from tests.servers import postgres
from tests.servers.ports import free_port
from tests.world import Api, Mail, World

REQUESTS = int(
    os.environ.get("REQUESTS", "50")
)  # of each kind in a round, which has to end before uvicorn closes the other connection (5 s)
ROUNDS = int(os.environ.get("ROUNDS", "10"))
BODY = json.dumps({"query": "{ viewer { id firstName lastName } }"})


async def serve_as_before(port: int, url: str) -> None:
    """Serve the API as `practice-access api` did before it named the socket's protocol and used uvloop."""
    loaded = settings.load(dict(os.environ))
    secrets.use_keys(loaded.secret_keys)
    await database.connect(url)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            create_app(loaded, checks={}),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=10,
        )
        await uvicorn.Server(config).serve(sockets=[listener])
    await database.disconnect()


async def session(url: str) -> str:
    """The session token of an administrator who has just set up a practice."""
    secrets.use_keys(tuple(key.encode() for key in conftest.TEST_KEYS))
    await database.connect(url)
    await passwords.prepare()
    with tempfile.TemporaryDirectory() as folder:
        loaded = settings.load({"DATA_DIR": folder, "SECRET_KEYS": ",".join(conftest.TEST_KEYS)})
        transport = httpx.ASGITransport(app=create_app(loaded, checks={}), client=("198.51.100.7", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            practice = await World(Api(client), Mail()).practice()
    await database.disconnect()
    return practice.administrator.session


@contextlib.contextmanager
def kept_connection(port: int, token: str) -> Iterator[http.client.HTTPConnection]:
    """A connection that asks for `viewer` again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        for _ in range(20):  # the first ones warm caches up
            ask(connection, token)
        yield connection


def ask(connection: http.client.HTTPConnection, token: str) -> float:
    """Ask for `viewer` once; the milliseconds until its whole answer was there."""
    began = time.perf_counter()
    connection.request(
        "POST", "/graphql", BODY, {"content-type": "application/json", "authorization": f"Bearer {token}"}
    )
    answer = json.load(connection.getresponse())
    taken = (time.perf_counter() - began) * 1000
    if not answer["data"]["viewer"]["id"]:
        raise RuntimeError(str(answer))
    return taken


def measure(ports: dict[str, int], token: str) -> dict[str, list[float]]:
    """Milliseconds of each request, by kind."""
    taken: dict[str, list[float]] = {kind: [] for kind in ports}
    with contextlib.ExitStack() as stack:
        connections = {kind: stack.enter_context(kept_connection(port, token)) for kind, port in ports.items()}
        for _ in range(ROUNDS):
            for kind, connection in connections.items():
                taken[kind] += [ask(connection, token) for _ in range(REQUESTS)]
    return taken


async def prepare(server: str) -> tuple[str, str]:
    """A migrated database of the benchmark's own, and a session in it."""
    await conftest.make_template(server)
    url = await conftest.fresh_database(server)
    return url, await session(url)


def main(server: str) -> None:
    """Print the medians."""
    url, token = asyncio.run(prepare(server))
    given = {"DATABASE_URL": url, "SECRET_KEYS": ",".join(conftest.TEST_KEYS), "LOG_LEVEL": "warning"}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        given["DATA_DIR"] = folder
        port = free_port()
        arguments = ("as-before", str(port), url)
        before = stack.enter_context(
            processes.started(Path(folder), "before", *arguments, settings=given, module=("benchmarks.http",))
        )
        before.url = f"http://127.0.0.1:{port}"
        before.wait_ready()
        after = stack.enter_context(processes.serving(Path(folder), "after", "api", settings=given))
        taken = measure({"before": port, "after": int(after.url.rpartition(":")[2])}, token)
    for kind, times in taken.items():
        median, best = statistics.median(times), min(times)
        print(f"{kind:8} p50 {median:6.2f} ms, best {best:6.2f} ms, of {len(times)} requests on one kept connection")


if __name__ == "__main__":
    if sys.argv[1:2] == ["as-before"]:
        asyncio.run(serve_as_before(int(sys.argv[2]), sys.argv[3]))
    else:
        with postgres.running() as started:
            main(started)
