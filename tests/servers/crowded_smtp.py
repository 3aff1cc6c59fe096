"""The minimal relay of `sink`, which allows only so many connections at a time, as Exchange Online does.

async with crowded_smtp.running(3) as relay:
    relay.allowed = 1         # from now on
    relay.turned_away         # how many connections it had no room for
    relay.most_open           # at one moment
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.servers.sink import Relay, _Conversation


@dataclass
class Crowded(Relay):
    """What it took, and how many came.

    answer: to whom there is no room for; empty: it hangs up without a word. at_the_dot: where set, everybody gets in, and is refused
    with this at the final dot while more connections are open than are allowed.
    """

    allowed: int = 0
    answer: bytes = b"421 4.7.0 Error: too many connections from you\r\n"
    at_the_dot: bytes = b""
    open_now: int = 0
    most_open: int = 0
    turned_away: int = 0


class _CrowdedConversation(_Conversation):
    def __init__(self, relay: Crowded) -> None:
        super().__init__(relay)
        self._crowded = relay
        self._is_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        relay = self._crowded
        if relay.open_now >= relay.allowed and not relay.at_the_dot:
            relay.turned_away += 1
            transport.write(relay.answer)
            transport.close()
            return
        self._is_in = True
        relay.open_now += 1
        relay.most_open = max(relay.most_open, relay.open_now)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._crowded.open_now -= self._is_in

    def data_received(self, data: bytes) -> None:
        if self._is_in:
            super().data_received(data)

    def _take(self, piece: bytes) -> None:
        relay = self._crowded
        if self._in_content and relay.at_the_dot and relay.open_now > relay.allowed:
            assert self._transport is not None
            self._in_content = False
            relay.turned_away += 1
            self._transport.write(relay.at_the_dot)
            return
        super()._take(piece)


@contextlib.asynccontextmanager
async def running(allowed: int) -> AsyncIterator[Crowded]:
    """A relay while the block runs."""
    relay = Crowded(allowed=allowed)
    server = await asyncio.get_running_loop().create_server(lambda: _CrowdedConversation(relay), "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
