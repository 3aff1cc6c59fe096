"""An answer that comes before its request was read arrives, however the client goes about it."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from domain import settings
from graph import unread
from graph.app import create_app
from tests.conftest import TEST_KEYS
from tests.servers import raw_http
from tests.servers.raw_http import Site

SMALL = b'{"query": "{ __typename }"}'
MUCH = b" " * 7_000_000  # more than the buffers on the way hold


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    loaded = settings.load({"SECRET_KEYS": ",".join(TEST_KEYS)})
    async with raw_http.serving(create_app(loaded, checks={})) as site:
        yield site


def head(length: int | None, *more: str) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = ["POST /graphql HTTP/1.1", "host: localhost", size, *more]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


async def sent_first(site: Site, request: bytes) -> bytes:
    """The answer, for a client that reads nothing before all of its request was sent, as most blocking ones do."""

    def send() -> bytes:
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            while b"]}" not in answer and (part := connection.recv(65_536)):
                answer += part
            return answer

    return await asyncio.to_thread(send)


@pytest.mark.parametrize("option", ["connection: close", "connection: keep-alive"])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_that_a_request_is_too_long_is_told(site: Site, option: str, is_announced: bool) -> None:
    request = head(len(MUCH) if is_announced else None, "content-type: application/json", option)
    answer = await sent_first(site, request + (MUCH if is_announced else chunked(MUCH)))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"at most 65536 bytes" in answer
    assert b"\r\nconnection: close\r\n" in answer


async def test_it_is_told_before_the_body_where_the_client_asks_first(site: Site) -> None:
    client = await site.connect(head(len(MUCH), "content-type: application/json", "expect: 100-continue"))
    assert await client.status() == 413  # and no "100 Continue" before


async def test_a_client_that_asks_first_may_send_what_is_small_enough(site: Site) -> None:
    client = await site.connect(head(len(SMALL), "content-type: application/json", "expect: 100-continue"))
    assert await client.status() == 100
    await client.send(SMALL)
    assert await client.status() == 200


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_small_body_that_was_refused_unread_leaves_the_connection_good(site: Site, is_announced: bool) -> None:
    refused = head(len(SMALL) if is_announced else None, "content-type: text/plain")
    refused += SMALL if is_announced else chunked(SMALL)
    client = await site.connect(refused + head(len(SMALL), "content-type: application/json") + SMALL)
    assert [await client.status() for _ in range(2)] == [415, 200]


async def test_an_endless_body_is_not_read_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "MAX_BYTES", 300_000)
    client = await site.connect(head(None, "content-type: application/json"))
    part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    async def go_on() -> None:
        while True:
            client.writer.write(part)
            await client.writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(go_on(), 20)


async def test_a_body_that_never_comes_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "MAX_SECONDS", 0.05)
    client = await site.connect(head(len(MUCH), "content-type: application/json"))
    assert await client.status() == 413
    assert await client.status() == 0


async def test_a_client_that_hangs_up_leaves_no_fault_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    client = await site.connect(head(len(SMALL), "content-type: application/json") + SMALL[:5])
    client.writer.transport.abort()
    await site.until(lambda: not site.state.connections and not site.state.tasks)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
