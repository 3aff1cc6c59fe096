"""Everything at once: ten thousand invitations while workers are killed, Redis is emptied and PostgreSQL crashes."""

import asyncio
import contextlib
import re
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import redis as redis_client

from domain import database
from tests import parts as real_parts
from tests.faults.scene import OPEN, Scene, people, post
from tests.faults.servers import Postgres, postgres
from tests.servers import sink

PRACTICES, CALLS, ROWS = 10, 5, 200  # a practice invites a thousand people a day
KILL_SECONDS = 2.0
LONGEST_SECONDS = 400.0
COUNT = (
    "SELECT count(*) FILTER (WHERE status IN ('QUEUED', 'SENDING', 'RETRYING')) AS open, count(*) AS n FROM deliveries"
)


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[tuple[Scene, Postgres]]:
    """Real parts on a PostgreSQL of their own, which may be broken."""
    with postgres() as server:
        await database.migrate(server.url)
        with real_parts.running(tmp_path, server.url) as running:
            yield Scene(running), server


async def workers_that_die(scene: Scene, url: str, done: asyncio.Event) -> int:
    """Two workers, one of which is killed every two seconds and started anew; how many were killed."""
    killed = 0
    with contextlib.ExitStack() as stack:
        running = [
            await asyncio.to_thread(stack.enter_context, scene.worker(f"worker{number}", SMTP_URL=url))
            for number in range(2)
        ]
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), KILL_SECONDS)
                break
            victim = running.pop(0)
            await asyncio.to_thread(victim.kill)
            killed += 1
            name = f"worker{killed + 1}"
            running.append(await asyncio.to_thread(stack.enter_context, scene.worker(name, SMTP_URL=url)))
        await asyncio.to_thread(stack.close)
    return killed


async def waiting(scene: Scene) -> int:
    """How many messages are open; a database that recovers says nothing."""
    with contextlib.suppress(OSError, asyncpg.PostgresError):
        return int((await scene.sql(COUNT))[0]["open"])
    return -1


@pytest.mark.slow_fault
@pytest.mark.fault("F12")
async def test_ten_thousand_invitations_arrive_whatever_is_killed_emptied_or_restarted(
    own: tuple[Scene, Postgres], capsys: pytest.CaptureFixture[str]
) -> None:
    scene, server = own
    sessions = [await scene.administrator() for _ in range(PRACTICES)]
    began_at = time.monotonic()
    async with sink.running() as relay:
        with scene.api() as api:
            done = asyncio.Event()
            killing = asyncio.create_task(workers_that_die(scene, relay.url, done))
            inviting = asyncio.create_task(asyncio.to_thread(_invite, api.url, sessions))
            emptied = 0
            while True:
                count = await waiting(scene)
                arrived = len(relay.recipients)
                if emptied < 2 and arrived > (1_500, 5_000)[emptied]:
                    with redis_client.Redis.from_url(scene.parts.redis.url) as client:
                        client.flushall()
                    emptied += 1
                    if emptied == 2:
                        await inviting  # what was asked for before is answered; who comes later would have to ask again
                        server.crash()
                if inviting.done() and count == 0:
                    break
                assert time.monotonic() - began_at < LONGEST_SECONDS, (count, arrived)
                await asyncio.sleep(0.2)
            done.set()
            killed = await killing
        copies: dict[str, list[bytes]] = defaultdict(list)
        for recipient, content in relay.mails:
            copies[recipient].append(content)
    assert inviting.result() == PRACTICES * CALLS * ROWS
    rows = await scene.sql("SELECT status, count(*) AS n FROM deliveries GROUP BY 1")
    assert {row["status"]: row["n"] for row in rows} == {"SENT": 10_000}
    assert not set(OPEN) & {row["status"] for row in rows}
    assert len(copies) == 10_000
    doubles = [contents for contents in copies.values() if len(contents) > 1]
    for contents in doubles:
        assert len({_message_id(content) for content in contents}) == 1
        assert len({_link(content) for content in contents}) == 1
    with capsys.disabled():
        sys.stdout.write(
            f"\n10,000 invitations, {killed} workers killed, Redis emptied twice, PostgreSQL crashed once: all arrived within"
            f" {time.monotonic() - began_at:.0f} s, {len(doubles)} of them more than once\n"
        )


def _invite(url: str, sessions: list[str]) -> int:
    """Everybody, two hundred at a time; how many."""
    invited = 0
    for number, session in enumerate(sessions):
        for call in range(CALLS):
            answer = post(url, "invite", {"users": people(ROWS, f"c{call}.p{number}.example")}, session, seconds=120)
            invited += answer["data"]["invite"]["invitedCount"]
    return invited


def _message_id(content: bytes) -> bytes:
    return next(line for line in content.splitlines() if line.lower().startswith(b"message-id:"))


def _link(content: bytes) -> bytes:
    found = re.search(rb"#token=3?D?([\w=\r\n-]{40,}?)[\s\"<]", content)
    assert found is not None
    return found.group(1)
