"""HTTP/1.1 on one connection: uvicorn's protocol, with bounds on what a client may send and on how long it may take.

uvicorn has a time limit for idle connections only, and none for the head of a request, its size, or the taking of an answer.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from cli.listener.connections import Connections

MAX_HEAD_BYTES = 80 * 1024  # a query of 64 KiB in the URL, and 16 KiB of headers
MAX_HEADERS = 100
# The application refuses a body that is too long and reads on for a while, so that the client hears of it. No further than this.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_PIPELINED = 16
OFFER = {b"upgrade", b"http2-settings"}  # headers that belong to it, and the options in `Connection` that name them
LINGER_SECONDS = 1.0  # for the last answer to leave


class HeadTooLarge(Exception):
    """Raised out of the parser's callbacks."""


class Connection(HttpToolsProtocol):
    """One connection of a client. connections: where it has its place, and from where it is dropped."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._places = connections
        self._answering = 0  # requests whose heads came and whose answers are not complete
        self._has_begun = self._has_head = self._is_complete = False  # the request that is being read
        self._received = 0  # bytes of that request, with what else came in the part that it began in
        self._is_declined = False  # its head is to be read again, without the offer to upgrade
        self._is_refused = False  # what still comes is thrown away
        self._is_stalled = False  # the client does not take what was sent

    # ---------------------------------------------------------------------------------------------- what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a place, or refuse the client."""
        super().connection_made(transport)
        if not self._places.admit(self, len(self.connections)):
            self._tell(HTTPStatus.SERVICE_UNAVAILABLE, b"retry-after: 1\r\n")
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._places.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request. Nothing is logged of what is no HTTP: strangers would fill the log."""
        if self._is_refused:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            is_too_large = isinstance(error.__context__, HeadTooLarge)
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if is_too_large else HTTPStatus.BAD_REQUEST)
        else:
            self._count(len(data))

    def pause_writing(self) -> None:
        """The client does not take what was sent."""
        super().pause_writing()
        self._is_stalled = True
        self._places.wait(self, anew=True)

    def resume_writing(self) -> None:
        """It goes on."""
        super().resume_writing()
        self._is_stalled = False
        self._settle()

    # ----------------------------------------------------------------------------------------- what the parser calls

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._has_begun, self._has_head, self._is_complete = True, False, False
        self._received = 0
        self._settle()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; what stands after the body is left out."""
        if not self._has_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the application can begin. From now on the client has time for the body."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS or len(self.pipeline) >= MAX_PIPELINED:
            raise HeadTooLarge
        self._has_head = True
        self._is_declined = self._offers_other_than_websocket()
        if self._is_declined:
            return  # the head is read again without the offer, since the parser takes what follows for the other protocol
        super().on_headers_complete()
        if self._is_for_websocket():
            return
        self._answering += 1
        if self._answering == 1:
            self._places.wait(self, anew=True)

    def on_message_complete(self) -> None:
        """All of the request is there."""
        self._is_complete = True
        if self._is_declined:
            return
        super().on_message_complete()
        self._settle()

    def on_response_complete(self) -> None:
        """The answer was sent."""
        self._answering -= 1
        super().on_response_complete()
        self._unset_keepalive_if_required()  # how long a connection may be idle is watched for all of them together
        self._settle()

    # ------------------------------------------------------------------------------------------------------- for Connections

    def drop(self) -> None:
        """Close at once. A client in the middle of a request is told why; one that takes nothing cannot be told."""
        if self._is_stalled or self._is_refused or self.transport.is_closing():
            self.transport.abort()
            return
        if self._has_begun and not self._is_complete:
            self._tell(HTTPStatus.REQUEST_TIMEOUT)
        self._close()

    # ---------------------------------------------------------------------------------------------------------- helpers

    def _settle(self) -> None:
        """Say whose turn it is."""
        is_reading = self._has_begun and not self._is_complete and self._answering <= self._has_head
        if is_reading or self._is_stalled or self.transport.is_closing():
            self._places.wait(self)
        elif self._answering:
            self._places.work(self)
        else:
            self._places.idle(self)

    def _count(self, size: int) -> None:
        self._received += size
        if not self._has_head and self._has_begun and self._received > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._received > MAX_MESSAGE_BYTES:
            self.transport.abort()

    def _is_for_websocket(self) -> bool:
        return bool(self.parser.should_upgrade()) and self._should_upgrade()

    def _offers_other_than_websocket(self) -> bool:
        """Whether the client offers to go on in another protocol, such as HTTP/2. An offer may be ignored (RFC 9110 7.8)."""
        is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        return is_offer and not self._should_upgrade()

    def _upgrade(self, rest: bytes) -> None:
        if self._is_declined:
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            self.data_received(head + rest)
        elif self._should_upgrade():
            self._places.forget(self)
            self.handle_websocket_upgrade()

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                kept = [option for option in value.split(b",") if option.strip().lower() not in OFFER]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in OFFER:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what cannot be read, and close.

        The client may be sending still. A socket that is closed with data unread resets the connection, and the answer would be lost.
        """
        self._is_refused = True
        if self._is_answering_another():
            self.transport.abort()  # its answer and this one cannot both be sent
            return
        self._tell(status)
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _is_answering_another(self) -> bool:
        """Whether an answer is on its way: to a request before this one, or to this one itself."""
        is_own_unanswered = self._answering == 1 and self._has_head and not self.cycle.response_started
        return self._answering > 0 and not is_own_unanswered

    def _tell(self, status: HTTPStatus, header: bytes = b"") -> None:
        """Answer without the application, unless another answer is on its way."""
        if not self._is_answering_another():
            text = status.phrase.encode()
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
                % (status, text, len(text), header, text)
            )
        if self.cycle is not None:  # the application is told as when the client hangs up
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _close(self) -> None:
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
