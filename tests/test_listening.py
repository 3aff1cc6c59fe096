"""The socket that the API listens on and the event loop that serves it."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from cli.listener import sockets
from domain import settings
from tests import processes
from tests.servers.ports import free_port

Loop = Callable[[], asyncio.AbstractEventLoop]


def test_the_api_runs_on_uvloop_where_it_is_installed() -> None:
    assert sockets.loop_type() is uvloop.Loop


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_accepted_connections_send_without_waiting_for_acknowledgments(
    tmp_path: Path, loop_factory: Loop, host: str
) -> None:
    """A kept connection would otherwise take 40 ms longer for each request: TCP_NODELAY has to be on."""
    configured = settings.load({"HOST": host, "PORT": str(free_port()), "DATA_DIR": str(tmp_path)})

    class Report(asyncio.Protocol):
        options: asyncio.Future[int]

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            self.options.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def accept() -> int:
        loop = asyncio.get_running_loop()
        Report.options = loop.create_future()
        async with await loop.create_server(Report, sock=sockets.listen(configured)):
            _, writer = await asyncio.open_connection(host, configured.port)
            writer.close()
            return await Report.options

    def run() -> int:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(accept())

    assert await asyncio.to_thread(run) != 0


async def test_a_process_that_serves_says_which_loop_it_runs_on(tmp_path: Path) -> None:
    """Nothing else shows from outside that the faster loop is really used."""
    with processes.serving(tmp_path, "dev", "dev", settings={"DATA_DIR": str(tmp_path), "LOG_LEVEL": "debug"}) as api:
        assert "The event loop is uvloop.Loop." in api.printed()
        assert await asyncio.to_thread(api.stop) == 0
