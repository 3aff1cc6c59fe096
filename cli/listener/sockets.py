"""The listening socket of the API, and the event loop that serves it."""

import asyncio
import errno
import socket

from domain.settings import SettingInvalid, Settings


def loop_type() -> type[asyncio.AbstractEventLoop]:
    """Return the type of the API's event loop: uvloop's, or asyncio's own where uvloop is not installed."""
    try:
        import uvloop  # noqa: PLC0415 -- a platform without a wheel can do without it
    except ImportError:
        return asyncio.SelectorEventLoop
    return uvloop.Loop


def listen(settings: Settings) -> socket.socket:
    """Open the API's socket. Called before anything else is started, so that a port in use is reported at once.

    The protocol is named because asyncio sets TCP_NODELAY only on sockets that say they are TCP. Without it, Nagle's algorithm
    holds the second part of each answer back until the client's delayed acknowledgment arrives, 40 ms later.
    Raises SettingInvalid.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as error:  # the second for what cannot be a host name at all
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise SettingInvalid(
                "PORT", f"is {settings.port}, which another program uses", "put a free one, such as PORT=8001"
            ) from None
        raise SettingInvalid(
            "HOST",
            f"cannot be listened on ({getattr(error, 'strerror', 'it is no host name')})",
            "put 127.0.0.1, or 0.0.0.0 for all",
        ) from None
    return listener
