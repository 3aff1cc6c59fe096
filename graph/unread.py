"""An answer that is given before its request was read: the client has to get it all the same.

A client that is still sending when the connection closes gets a reset, and with it loses the answer that says what is wrong (RFC 9112 9.6).
So what it sends is read on and thrown away for a while.
"""

import asyncio
import contextlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# For a body that is small, and most of the time has come already: the connection stays good for more.
SMALL_BYTES = 64 * 1024
SMALL_SECONDS = 0.1
MAX_BYTES = 8 * 1024 * 1024
MAX_SECONDS = 10.0


class Unread:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and read what the application left of it. A client that hung up is no fault of anybody's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(Headers(scope=scope), receive)

        async def answer(message: Message) -> None:
            if body.is_complete:
                await send(message)
            elif message["type"] == "http.response.start":
                if not body.has_to_be_invited:
                    await body.drain(SMALL_BYTES, SMALL_SECONDS)
                if not body.is_complete:
                    MutableHeaders(scope=message)["connection"] = "close"
                await send(message)
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                await body.drain(MAX_BYTES, MAX_SECONDS)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, body.receive, answer)


class _Body:
    """The body of one request. has_to_be_invited: the client waits for "100 Continue", or for an answer that spares it the sending."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self._receive = receive
        self.is_complete = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self.has_to_be_invited = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.is_complete = True
        return message

    async def drain(self, max_bytes: int, max_seconds: float) -> None:
        """Read and throw away, up to so much and for so long."""
        left = max_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_seconds):
                while not self.is_complete and left > 0:
                    left -= len((await self.receive()).get("body", b""))
