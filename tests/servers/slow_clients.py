"""Clients that never finish the head of a request: they send a byte a second, and come again when they are closed.

python -m tests.servers.slow_clients PORT COUNT     prints "ready" once all have tried to connect; ends with its standard input
"""

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BYTE_SECONDS = 1.0
AGAIN_SECONDS = 5.0
ROOT = Path(__file__).parent.parent.parent
CLIENTS_PER_PROCESS = 500  # within any limit on descriptors that a machine may have
HEAD = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-slow: "


async def _client(port: int, tried: asyncio.Semaphore) -> None:
    await asyncio.sleep(random.uniform(0, 2))
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            tried.release()
            try:
                writer.write(HEAD)
                while not reader.at_eof():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1024), BYTE_SECONDS)
                    writer.write(b"x")
            finally:
                writer.transport.abort()
        await asyncio.sleep(random.uniform(0.5, 1) * AGAIN_SECONDS)


async def _main(port: int, count: int) -> None:
    tried = asyncio.Semaphore(0)
    clients = [asyncio.create_task(_client(port, tried)) for _ in range(count)]
    for _ in range(count):
        await tried.acquire()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for client in clients:
        client.cancel()


@contextlib.contextmanager
def attacking(port: int, count: int) -> Iterator[None]:
    """Many of them, while the block runs."""
    arguments = [sys.executable, "-m", "tests.servers.slow_clients", str(port), str(CLIENTS_PER_PROCESS)]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_started(arguments)) for _ in range(count // CLIENTS_PER_PROCESS)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield


@contextlib.contextmanager
def _started(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process while the block runs; its standard input ends with this process, however that ends."""
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
