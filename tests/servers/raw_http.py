"""The product's HTTP protocol around an application of a few lines, and clients that write bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from cli.listener.connections import Connections
from cli.listener.protocol import Connection

HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n"


class Time:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A server in this process, with few places and a clock of its own. answer_size: how much it adds to its "ok"."""

    def __init__(self, app: ASGIApp | None = None, capacity: int = 3) -> None:
        self.time = Time()
        self.places = Connections(capacity, keep_alive_seconds=90, clock=self.time)
        self.state = ServerState()
        self.config = Config(
            app or self.app, interface="asgi3", proxy_headers=False, log_config=None, access_log=False, lifespan="off"
        )
        self.clients: list[Client] = []
        self.answer_size = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.bodies: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.port = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
            return
        self.headers = scope["headers"]
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await self.may_answer.wait()
        self.bodies.append(body)
        headers = [(b"content-length", str(self.answer_size + 2).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok" + b"." * self.answer_size})

    def make(self) -> Connection:
        return Connection(self.config, self.state, {}, connections=self.places)

    async def connect(self, sent: bytes = b"") -> "Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        self.clients.append(client)
        await client.send(sent)
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 -- of what the server knows, which tells nobody
                await asyncio.sleep(0.005)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # it may be closed by now, and the answer there nevertheless
            self.writer.write(data)
            await self.writer.drain()
        await asyncio.sleep(0.02)

    async def status(self) -> int:
        """The status of the next answer, of which the rest is skipped; 0 when the connection ended without one."""
        try:
            async with asyncio.timeout(30):
                return await self._status()
        except ConnectionError:
            return 0

    async def _status(self) -> int:
        line = await self.reader.readline()
        length = 0
        while (header := await self.reader.readline()).strip():
            if header.lower().startswith(b"content-length:"):
                length = int(header.partition(b":")[2])
        await self.reader.readexactly(length)
        return int(line.split()[1]) if line else 0


@contextlib.asynccontextmanager
async def serving(app: ASGIApp | None = None) -> AsyncIterator[Site]:
    """A site while the block runs; its clients are closed with it. app: another than the few lines."""
    site = Site(app)
    server = await asyncio.get_running_loop().create_server(site.make, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
        for client in site.clients:
            client.writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()
        await site.until(lambda: not site.state.connections)
