"""Redis is away, emptied, killed, frozen or full, or says things twice: the bell is lost, and nothing else."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest
import redis as redis_client
from dramatiq import Message

from tests.faults.scene import Scene, people, post
from tests.processes import Process
from workers.broker import NAMESPACE, QUEUE, SturdyRedisBroker


def client(scene: Scene) -> redis_client.Redis:
    """Past the product."""
    return redis_client.Redis.from_url(scene.parts.redis.url, socket_timeout=5)


async def invited(scene: Scene, api: Process, session: str, name: str) -> float:
    """Invite somebody; how long the answer took, in seconds."""
    began_at = time.monotonic()
    answer = await asyncio.to_thread(post, api.url, "invite", {"users": people(1, f"{name}.example")}, session)
    assert answer["data"]["invite"]["invitedCount"] == 1, answer
    return time.monotonic() - began_at


@pytest.mark.fault("F11")
@pytest.mark.fault("F12")
@pytest.mark.fault("F13")
@pytest.mark.slow_fault
async def test_an_act_succeeds_and_its_mail_goes_out_while_redis_is_away_emptied_or_begins_anew(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api() as api, scene.worker("worker"):
        await invited(scene, api, session, "before")
        await scene.settled()
        scene.parts.redis.kill()
        await invited(scene, api, session, "killed")
        await scene.settled()
        scene.parts.redis.start()
        await invited(scene, api, session, "back")
        await scene.settled()
        with client(scene) as server:
            for number in range(5):
                await invited(scene, api, session, f"flushed{number}")
                server.flushall()
        rows = await scene.settled()
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}
    assert len(scene.copies()) == 8


@pytest.mark.fault("F14")
@pytest.mark.slow_fault
async def test_a_redis_that_hangs_holds_no_act_up(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api() as api, scene.worker("worker"):
        await invited(scene, api, session, "before")
        pid = scene.parts.redis.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            for number in range(3):
                await invited(scene, api, session, f"hanging{number}")  # post() itself gives up after 30 s
            rows = await scene.settled()
        finally:
            os.kill(pid, signal.SIGCONT)
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}


@pytest.mark.fault("F15")
@pytest.mark.slow_fault
async def test_a_full_redis_is_one_that_is_away_and_the_log_says_so(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api() as api, scene.worker("worker"):
        with client(scene) as server:
            server.config_set("maxmemory-policy", "noeviction")
            server.config_set("maxmemory", "1")
        await invited(scene, api, session, "full")
        rows = await scene.settled()
        await asyncio.to_thread(api.wait_until, "The bell cannot be rung")
    assert [row["status"] for row in rows] == ["SENT"]


def broker(scene: Scene) -> Iterator[SturdyRedisBroker]:
    """Rings as the product does."""
    with client(scene) as server:
        made = SturdyRedisBroker(client=server, namespace=NAMESPACE)  # type: ignore[no-untyped-call]  # its parent has no types
        made.declare_queue(QUEUE)
        yield made


def message(actor: str = "deliver", **named: object) -> Message:  # type: ignore[type-arg]  # of nothing
    """A bell."""
    return Message(queue_name=QUEUE, actor_name=actor, args=(), kwargs=named, options={})


@pytest.mark.fault("F16")
@pytest.mark.fault("F17")
async def test_bells_that_come_twice_or_are_of_another_version_do_nothing(scene: Scene) -> None:
    await scene.due(["ann@example.com"])
    with scene.worker("worker"):
        [row] = await scene.settled()
        for made in broker(scene):
            one = message()
            for _ in range(3):
                made.enqueue(one)
            made.enqueue(message("a_later_versions_actor"))
            made.enqueue(message(version=2))
            made.enqueue(message())
        await scene.due(["bob@example.com"])
        rows = await scene.settled()
    assert {one["status"] for one in rows} == {"SENT"}
    assert scene.copies() == {"ann@example.com": 1, "bob@example.com": 1}
    assert next(one for one in rows if one["id"] == row["id"])["attempts"] == 1
