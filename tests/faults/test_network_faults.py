"""Slow and lossy lines: between the API and the database, between a worker and the mail relay."""

import asyncio
import contextlib
import random
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults.scene import Scene, people, post
from tests.faults.servers import line, through

TILE = "{ usersTile { activeCount } }"


@pytest.mark.fault("F40")
@pytest.mark.slow_fault
async def test_a_slow_and_lossy_line_to_the_database_ends_in_answers_and_a_whole_pool(scene: Scene) -> None:
    session = await scene.administrator()
    parts = urlsplit(scene.parts.database_url)
    async with line(parts.hostname or "", parts.port or 5432) as wire:
        with contextlib.ExitStack() as stack:
            api = await asyncio.to_thread(
                stack.enter_context, scene.api(DATABASE_URL=through(scene.parts.database_url, wire.at))
            )
            async with httpx.AsyncClient(
                base_url=api.url, headers={"authorization": f"Bearer {session}"}, timeout=60
            ) as client:

                async def ask() -> int:
                    return (await client.post("/graphql", json={"query": TILE})).status_code

                wire.delay_seconds = 0.02
                assert set(await asyncio.gather(*(ask() for _ in range(20)))) == {200}
                for _ in range(5):
                    asking = [asyncio.create_task(ask()) for _ in range(20)]
                    await asyncio.sleep(random.uniform(0.05, 0.3))
                    wire.break_all()
                    assert set(await asyncio.gather(*asking)) <= {200, 500}
                wire.delay_seconds = 0.0
                for _ in range(3):
                    answers = [(await client.post("/graphql", json={"query": TILE})).json() for _ in range(15)]
                assert all("errors" not in answer for answer in answers), answers
            report = await asyncio.to_thread(post, api.url, "invite", {"users": people(2)}, session)
            assert report["data"]["invite"]["invitedCount"] == 2
            await asyncio.to_thread(stack.close)


@pytest.mark.fault("F40")
@pytest.mark.slow_fault
async def test_mails_arrive_over_a_slow_and_lossy_line_to_the_relay(scene: Scene) -> None:
    addresses = [f"n{number}@example.com" for number in range(60)]
    await scene.due(addresses)
    async with line("127.0.0.1", scene.parts.smtp.port) as wire:
        wire.delay_seconds = 0.02
        with contextlib.ExitStack() as stack:
            url = f"smtp://127.0.0.1:{wire.at}?tls=none"
            await asyncio.to_thread(stack.enter_context, scene.worker("worker", SMTP_URL=url))
            for _ in range(6):
                await asyncio.sleep(0.5)
                wire.break_all()
            while [row for row in await scene.deliveries() if row["status"] != "SENT"]:
                await asyncio.sleep(0.3)
                await scene.forward(20)
            await asyncio.to_thread(stack.close)
    assert set(scene.copies()) == set(addresses)
    scene.assert_doubles_are_alike()
