"""Slow clients, and many of them, keep nobody else from being served."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cli.listener import connections, descriptors, protocol
from tests import processes
from tests.conftest import TEST_KEYS, fresh_database
from tests.servers import raw_http, slow_clients
from tests.servers.raw_http import HEAD, Site

DESCRIPTORS = 1024
SLOW_CLIENTS = 5000
MOST_RETRIES = 5  # of 50 requests


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with raw_http.serving() as site:
        yield site


async def test_a_head_that_does_not_come_in_time_ends_the_connection(site: Site) -> None:
    silent, slow = await site.connect(), await site.connect(HEAD[:30])
    site.time.now += connections.PATIENCE_SECONDS - 1
    await slow.send(HEAD[30:40])  # a byte now and then buys no time
    site.places.sweep()
    await slow.send(b"")
    assert len(site.state.connections) == 2
    site.time.now += 1
    site.places.sweep()
    assert await slow.status() == 408
    assert await silent.status() == 0  # it asked for nothing, and gets no answer
    await site.until(lambda: not site.state.connections)


async def test_a_body_has_its_own_time_and_no_more(site: Site) -> None:
    client = await site.connect(HEAD[:30])
    site.time.now += connections.PATIENCE_SECONDS - 1
    await client.send(HEAD[30:])
    site.time.now += connections.PATIENCE_SECONDS - 1
    site.places.sweep()
    await client.send(b"bo")
    site.time.now += 1
    site.places.sweep()
    assert await client.status() == 408
    assert site.bodies == []
    twin = await site.connect(HEAD + b"body")
    assert await twin.status() == 200
    assert site.bodies == [b"body"]


async def test_a_client_that_does_not_take_its_answer_is_given_up(site: Site) -> None:
    site.answer_size = 32 * 1024 * 1024
    await site.connect(HEAD + b"body")
    await site.until(lambda: bool(site.bodies))
    await asyncio.sleep(0.2)
    site.places.sweep()
    assert len(site.state.connections) == 1
    site.time.now += connections.PATIENCE_SECONDS
    site.places.sweep()
    await site.until(lambda: not site.state.connections)


async def test_an_idle_connection_is_kept_for_as_long_as_is_set(site: Site) -> None:
    client = await site.connect()
    for _ in range(3):
        await client.send(HEAD + b"body")
        assert await client.status() == 200
        site.time.now += site.places.keep_alive_seconds - 1
        site.places.sweep()
    site.time.now += 1
    site.places.sweep()
    assert await client.status() == 0
    assert len(site.bodies) == 3


async def test_the_next_request_on_a_kept_connection_has_the_time_of_a_first(site: Site) -> None:
    client = await site.connect(HEAD + b"body")
    assert await client.status() == 200
    site.time.now += 60
    await client.send(HEAD[:30])
    site.time.now += connections.PATIENCE_SECONDS - 1
    site.places.sweep()
    await client.send(HEAD[30:] + b"body" + HEAD[:30])  # and a part of the one after it
    assert await client.status() == 200
    site.time.now += connections.PATIENCE_SECONDS
    site.places.sweep()
    assert await client.status() == 408


async def test_where_there_is_no_room_the_slowest_head_gives_way(site: Site) -> None:
    kept = await site.connect(HEAD + b"body")
    assert await kept.status() == 200
    slowest = await site.connect(HEAD[:30])
    site.time.now += 1
    slow = await site.connect(HEAD[:30])
    site.time.now += 1
    newcomer = await site.connect(HEAD + b"body")
    assert (await newcomer.status(), await slowest.status()) == (200, 408)
    second = await site.connect(HEAD + b"body")
    assert (await second.status(), await slow.status()) == (200, 408)
    await kept.send(HEAD + b"body")
    assert await kept.status() == 200


async def test_where_nobody_is_slow_whoever_is_idle_the_longest_gives_way(site: Site) -> None:
    idle = [await site.connect(HEAD + b"body") for _ in range(3)]
    for client in idle:
        assert await client.status() == 200
    site.time.now += 1
    await idle[0].send(HEAD + b"body")
    assert await idle[0].status() == 200
    newcomer = await site.connect(HEAD + b"body")
    assert (await newcomer.status(), await idle[1].status()) == (200, 0)
    for client in (idle[0], idle[2]):
        await client.send(HEAD + b"body")
        assert await client.status() == 200


async def test_where_everybody_is_at_work_a_newcomer_is_told_to_come_again(site: Site) -> None:
    site.may_answer.clear()
    working = [await site.connect(HEAD + b"body") for _ in range(3)]
    refused = await site.connect()
    assert await refused.status() == 503
    site.may_answer.set()
    assert [await client.status() for client in working] == [200] * 3
    welcome = await site.connect(HEAD + b"body")
    assert await welcome.status() == 200


async def test_running_out_of_room_is_logged_once_a_minute(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(30):
        await site.connect(HEAD[:30])
        site.time.now += 1
    assert len(caplog.records) == 1
    site.time.now += 60
    for _ in range(3):
        await site.connect(HEAD[:30])
    assert len(caplog.records) == 2
    assert "(27 since the last such line)" in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * protocol.MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * protocol.MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (protocol.MAX_HEADERS + 1) + b"\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * protocol.MAX_HEAD_BYTES * 2,
    ],
    ids=["url", "header", "headers", "unfinished"],
)
@pytest.mark.parametrize("part", [1_000_000, 40_000])
async def test_a_head_has_a_largest_size(site: Site, head: bytes, part: int) -> None:
    client = await site.connect()
    for at in range(0, len(head), part):
        await client.send(head[at : at + part])
    if not head.endswith(b"\r\n\r\n"):
        await client.send(b"aaaa")
    assert await client.status() == 431
    assert site.bodies == []


async def test_what_is_no_http_is_refused_without_a_line_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.places.capacity = 10
    for garbage in (
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    ):
        assert await (await site.connect(garbage)).status() == 400
    assert caplog.records == []


async def test_headers_after_a_body_are_not_kept(site: Site) -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"
    client = await site.connect(chunked + b"trailer: x\r\n" * 1000 + b"\r\n")
    assert await client.status() == 200
    (connection,) = site.state.connections
    assert len(connection.headers) == 2  # type: ignore[union-attr]  # each of ours has them


async def test_requests_in_a_row_are_queued_up_to_a_limit(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    few = await site.connect((HEAD + b"body") * 5)
    assert [await few.status() for _ in range(5)] == [200] * 5
    many = await site.connect((HEAD + b"body") * 100)
    assert await many.status() == 0
    assert len(site.bodies) <= 22
    garbage_behind = await site.connect(HEAD + b"body" + b"nonsense\r\n\r\n")
    assert await garbage_behind.status() == 0
    await site.until(lambda: not site.state.tasks)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("limit", "places"), [(256, 128), (1024, 800), (4096, 3872), (20_000, 4096), (1_048_576, 4096)]
)
def test_some_descriptors_stay_free_for_everything_else(limit: int, places: int) -> None:
    assert descriptors.capacity(limit) == places


def served(url: str, body: dict[str, str] | None = None) -> tuple[int, int]:
    """The status that an honest client gets, and how many times it had to try again first. It gives up after ten tries, with status 0.

    A machine that is busy with something else may refuse one request now and then; the caller asserts that few were refused.
    """
    for retries in range(10):
        try:
            with httpx.Client(trust_env=False, timeout=20) as client:
                answer = client.post(url, json=body) if body else client.get(url)
        except httpx.TransportError:
            continue
        if answer.status_code not in {408, 503}:
            return answer.status_code, retries
    return 0, 10


async def test_five_thousand_slow_clients_keep_nobody_out_at_1024_descriptors(tmp_path: Path, server_url: str) -> None:
    given = {
        "DATABASE_URL": await fresh_database(server_url),
        "SECRET_KEYS": ",".join(TEST_KEYS),
        "DATA_DIR": str(tmp_path),
        "LOG_LEVEL": "warning",
    }
    module = ("tests.servers.limited", str(DESCRIPTORS))
    serving = processes.serving(tmp_path, "api", "api", settings=given, module=module)

    def attack() -> list[tuple[int, int]]:
        with serving as api, slow_clients.attacking(int(api.url.rpartition(":")[2]), SLOW_CLIENTS):
            statuses = []
            for _ in range(25):
                statuses += [served(f"{api.url}/graphql", {"query": "{ __typename }"}), served(f"{api.url}/readyz")]
            assert api.popen.poll() is None
            printed = api.printed()
        assert 1 <= printed.count("All 800 connections are in use") <= 5  # once a minute, however long this takes
        assert len(printed) < 4096
        return statuses

    answers = await asyncio.to_thread(attack)
    assert [status for status, _ in answers] == [200] * 50
    assert sum(retries for _, retries in answers) <= MOST_RETRIES
