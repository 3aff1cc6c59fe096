"""A minimal ESMTP relay on the test's own loop, as fast as one in Python can be, that keeps what it is sent.

async with sink.running() as relay:
    relay.url
    relay.mails           # (recipient, content) of each mail whose final dot was answered
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Relay:
    """What it took."""

    port: int = 0
    mails: list[tuple[str, bytes]] = field(default_factory=list)
    recipients: set[str] = field(default_factory=set)
    arrivals: list[float] = field(default_factory=list)  # time.monotonic()

    def forget(self) -> None:
        """As if nothing had come."""
        self.mails.clear()
        self.recipients.clear()
        self.arrivals.clear()

    @property
    def url(self) -> str:
        """As SMTP_URL takes it."""
        return f"smtp://127.0.0.1:{self.port}?tls=none"


class _Conversation(asyncio.Protocol):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._buffer = b""
        self._recipient = ""
        self._in_content = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 here\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = b"\r\n.\r\n" if self._in_content else b"\r\n"
            piece, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        assert self._transport is not None
        if self._in_content:
            self._in_content = False
            self._relay.mails.append((self._recipient, piece))
            self._relay.recipients.add(self._recipient)
            self._relay.arrivals.append(time.monotonic())
            self._transport.write(b"250 2.0.0 taken\r\n")
            return
        command = piece[:4].upper()
        if command == b"RCPT":
            self._recipient = piece.partition(b"<")[2].partition(b">")[0].decode()
        if command == b"DATA":
            self._in_content = True
            self._transport.write(b"354 go on\r\n")
        elif command == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        elif command == b"EHLO":
            self._transport.write(b"250-here\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        else:
            self._transport.write(b"250 2.0.0 ok\r\n")


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Relay]:
    """A relay while the block runs."""
    relay = Relay()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Conversation(relay), "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
