"""API processes behind a load balancer that follows /readyz: what is stopped, away or full costs nobody a request."""

import asyncio
import contextlib
import json
import signal
import socket
import time

import httpx
import pytest

from tests.faults.load import TILE, under_load
from tests.faults.scene import LONG_SECONDS, Scene, gone
from tests.servers import balancer, few

REQUESTS = 60


@pytest.mark.fault("F45")
@pytest.mark.slow_fault
def test_a_process_that_is_told_to_stop_under_load_loses_no_request(scene: Scene) -> None:
    session = asyncio.run(scene.administrator())
    with scene.api("old", DRAIN_SECONDS="3") as old, scene.api("new") as new:
        with balancer.running([old.url, new.url]) as (between, url), under_load(url, session) as load:
            load.wait_for(REQUESTS)
            old.popen.send_signal(signal.SIGTERM)
            gone(old)
            load.wait_for(REQUESTS)
            assert between.ready == {new.url}
            assert min(between.passed_on.values()) > 0
        assert old.popen.returncode == 0
        assert load.failures == []


@pytest.mark.fault("F45")
def test_while_a_process_drains_it_serves_and_says_that_it_wants_no_more(scene: Scene) -> None:
    session = asyncio.run(scene.administrator())
    headers = {"authorization": f"Bearer {session}"}
    with scene.api(DRAIN_SECONDS="600") as api:
        with httpx.Client(base_url=api.url, headers=headers, timeout=30) as client:
            assert "connection" not in client.post("/graphql", json={"query": TILE}).headers
            api.popen.send_signal(signal.SIGTERM)
            while (checked := client.get("/readyz")).status_code == 200:
                time.sleep(0.05)
            assert checked.status_code == 503
            assert checked.json()["problems"] == {"process": "The process is about to stop."}
            for _ in range(2):
                served = client.post("/graphql", json={"query": TILE})
                assert "errors" not in served.json()
                assert served.headers["connection"] == "close"
                time.sleep(1.2)  # uvicorn puts the headers of all answers together anew each second
        api.popen.send_signal(signal.SIGTERM)  # a second one waits no longer
        gone(api)
        assert api.popen.returncode == 0


@pytest.mark.fault("F45")
async def test_a_request_that_is_under_way_when_the_process_stops_is_answered(scene: Scene) -> None:
    session = await scene.administrator()
    body = json.dumps({"query": TILE}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nhost: api\r\ncontent-type: application/json\r\nauthorization: Bearer {session}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with scene.api() as api:
        port = int(api.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body[:5])
        await asyncio.to_thread(httpx.get, f"{api.url}/healthz")  # the other one was read before this one
        api.popen.send_signal(signal.SIGTERM)
        await asyncio.to_thread(wait_until_nobody_listens, port)
        writer.write(body[5:])
        answer = await reader.read()
        writer.close()
        await asyncio.to_thread(gone, api)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"activeCount":1' in answer.replace(b" ", b"")


def wait_until_nobody_listens(port: int) -> None:
    """Block until no connection is taken any more."""
    with contextlib.suppress(OSError):
        while True:
            socket.create_connection(("127.0.0.1", port)).close()
            time.sleep(0.05)


@pytest.mark.fault("F11")
@pytest.mark.slow_fault
def test_redis_that_is_away_under_load_takes_no_process_out_of_the_balancer(scene: Scene) -> None:
    session = asyncio.run(scene.administrator())
    with scene.api("one") as one, scene.api("two") as two, scene.worker("worker"):
        with balancer.running([one.url, two.url]) as (between, url), under_load(url, session) as load:
            load.wait_for(REQUESTS)
            scene.parts.redis.kill()
            noted = wait_for_note(one.url)
            load.wait_for(REQUESTS)
            time.sleep(5 * balancer.CHECK_SECONDS)
            assert between.ready == {one.url, two.url}
            scene.parts.redis.start()
            load.wait_for(REQUESTS)
        assert noted["parts"] == {"process": "ready", "database": "ready", "broker": "degraded"}
        assert load.failures == []
        rows = asyncio.run(scene.settled())
    assert {row["status"] for row in rows} == {"SENT"}


def wait_for_note(url: str) -> dict[str, dict[str, str]]:
    """What /readyz says once it has noticed that something is degraded; it is ready all the same."""
    deadline = time.monotonic() + LONG_SECONDS
    while True:
        answer = httpx.get(f"{url}/readyz", timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, dict[str, str]] = answer.json()
        if found["problems"]:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.fault("F46")
async def test_three_hundred_requests_where_the_database_gives_few_connections_are_all_answered(scene: Scene) -> None:
    session = await scene.administrator()
    headers = {"authorization": f"Bearer {session}"}
    async with few.connections(scene.parts.database_url, 3) as (url, _):
        with contextlib.ExitStack() as stack:
            api = await asyncio.to_thread(stack.enter_context, scene.api(DATABASE_URL=url))
            limits = httpx.Limits(max_connections=150)
            async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60, limits=limits) as client:
                asked = [client.post("/graphql", json={"query": TILE}) for _ in range(300)]
                answers = [answer.json() for answer in await asyncio.gather(*asked)]
                checked = await client.get("/readyz")
            await asyncio.to_thread(stack.close)
    assert [answer for answer in answers if "errors" in answer] == []
    assert checked.status_code == 200, checked.text
