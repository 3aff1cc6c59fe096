"""Offers to go on in another protocol: one to HTTP/2 is ignored, as it may be; one to WebSocket is taken."""

from collections.abc import AsyncIterator

import pytest

from tests.servers import raw_http
from tests.servers.raw_http import HEAD, Site

OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
# As java.net.http.HttpClient and `curl --http2` send it.
H2C = b"POST /graphql?x=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n" + OFFER + b"x-kept: 1\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n" + OFFER + b"\r\n"
NO_BODY = b"GET / HTTP/1.1\r\nhost: localhost\r\n" + OFFER + b"\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with raw_http.serving() as site:
        yield site


@pytest.mark.parametrize("part", [1, 50, len(H2C), 10_000])
async def test_an_offer_of_http_2_is_ignored_and_the_body_kept(site: Site, part: int) -> None:
    client = await site.connect()
    sent = H2C + b"body"
    for at in range(0, len(sent), part):
        client.writer.write(sent[at : at + part])
        await client.writer.drain()
    assert await client.status() == 200
    assert site.bodies == [b"body"]
    names = {name for name, _ in site.headers}
    assert names == {b"host", b"content-length", b"connection", b"x-kept"}
    assert dict(site.headers)[b"connection"] == b""


async def test_the_connection_is_good_for_more_after_an_offer(site: Site) -> None:
    client = await site.connect(H2C + b"one." + H2C + b"two.")
    for _ in range(2):
        assert await client.status() == 200
    await client.send(CHUNKED + b"5\r\nthree\r\n0\r\n\r\n" + NO_BODY)
    for _ in range(2):
        assert await client.status() == 200
    await client.send(HEAD + b"last")
    assert await client.status() == 200
    assert site.bodies == [b"one.", b"two.", b"three", b"", b"last"]


async def test_what_else_stands_in_connection_still_counts(site: Site) -> None:
    client = await site.connect(H2C.replace(b"HTTP2-Settings\r\n", b"HTTP2-Settings, close\r\n") + b"body")
    assert await client.status() == 200
    assert await client.status() == 0
    assert site.bodies == [b"body"]


async def test_a_websocket_is_still_opened(site: Site) -> None:
    offer = b"connection: upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    client = await site.connect(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + offer + b"\r\n")
    assert await client.status() == 101
