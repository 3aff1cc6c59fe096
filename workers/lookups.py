"""Event loops that look up host names in threads of their own, so that one name that hangs holds up no other.

asyncio looks names up in its default pool (six threads on two cores), uvloop in libuv's four. One name server that does not answer for the
mail relay's name was enough that the carrier's could not be looked up, and the first security code was 20 seconds late.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from workers.own_threads import Busy, OwnThreads

# glibc asks a name server again after 5 s, or the next one; then it has had the answer to the second question too.
PATIENCE_SECONDS = 12.0

Found = list[tuple[int, int, int, str, tuple[Any, ...]]]


def event_loop(kind: type[asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop) -> asyncio.AbstractEventLoop:
    """A new loop of that kind (uvloop.Loop, for example) with look-ups of its own. All that runs on it uses them."""
    return _with_own_lookups(kind)()  # type: ignore[arg-type]  # a class can be hashed


@cache
def _with_own_lookups(kind: type[asyncio.AbstractEventLoop]) -> type[asyncio.AbstractEventLoop]:
    class Loop(kind):  # type: ignore[misc, valid-type]  # which base it has is known at run time
        """Looks names up by itself."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._own_threads = OwnThreads()

        async def getaddrinfo(
            self,
            host: bytes | str | None,
            port: bytes | str | int | None,
            *,
            family: int = 0,
            type: int = 0,
            proto: int = 0,
            flags: int = 0,
        ) -> Found:
            """As the base does it. Raises socket.gaierror, also for a look-up that takes too long."""
            look = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
            key = (host, port, family, type, proto, flags)
            found: Found = await _looked_up(self._own_threads, host, key, look)
            return found

        async def create_connection(
            self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
        ) -> Any:
            """As the base does it, to the addresses that were looked up here: uvloop's own way does not ask `getaddrinfo`."""
            if not host or is_address(host):
                return await super().create_connection(protocol_factory, host, port, **options)
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            found = await self.getaddrinfo(
                host, port, family=options.pop("family", 0), type=socket.SOCK_STREAM, flags=options.pop("flags", 0)
            )
            return await _to_one_of(found, partial(super().create_connection, protocol_factory, **options))

    Loop.__module__, Loop.__qualname__ = kind.__module__, kind.__qualname__  # logs show which kind it is
    return Loop


async def _looked_up(threads: OwnThreads, host: object, key: tuple[object, ...], look: Callable[[], Any]) -> Any:
    if not host or is_address(host):
        return look()  # nobody is asked
    try:
        return await threads.do(("look-up", *key), look, patience_seconds=PATIENCE_SECONDS)
    except (TimeoutError, Busy):
        raise socket.gaierror(socket.EAI_AGAIN, "The look-up takes too long") from None


async def _to_one_of(found: Found, connect: Callable[..., Any]) -> Any:
    """The first address that takes the connection. Raises what the last of them raised."""
    last: OSError = socket.gaierror(socket.EAI_NONAME, "No address")
    for *_, address in dict.fromkeys(found):
        try:
            return await connect(host=address[0], port=address[1])
        except OSError as error:
            last = error
    raise last


def is_address(host: object) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(
            (host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)).partition("%")[0]
        )
    except ValueError:
        return False
    return True
