"""Server keys are replaced while people go on working: with real processes, in each order of restarting them."""

import asyncio
import time

import pytest

from domain import secrets
from tests import processes
from tests.faults.scene import KEY_ID, KEYS, Scene, people, post

NEWER = "key-that-takes-its-place-abcdefgh987"
BOTH = f"{NEWER},{KEYS}"
COUNT = 12


def _invite(url: str, session: str, domain: str) -> list[str]:
    """Invite some people; their addresses."""
    answer = post(url, "invite", {"users": people(COUNT, domain)}, session)
    rows = answer["data"]["invite"]["rows"]
    assert [row["error"] for row in rows] == [None] * COUNT, rows
    return [f"pat{number}@{domain}" for number in range(COUNT)]


async def _until_arrived(scene: Scene, addresses: list[str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not set(addresses) <= set(scene.copies()):
        assert time.monotonic() < deadline, scene.copies()
        await asyncio.sleep(0.1)


async def _awaiting(scene: Scene) -> None:
    """Wait until all that was made with the newer key waits for a worker that has it."""
    await scene.until(
        f"SELECT 1 FROM deliveries WHERE awaited_key_id = '{secrets.key_id(NEWER.encode())}' AND status = 'RETRYING' AND attempts = 0"
        f" HAVING count(*) = {COUNT}"
    )


@pytest.mark.fault("F37")
@pytest.mark.slow_fault
async def test_keys_are_replaced_with_the_api_first_and_the_workers_later(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.worker("old-worker") as old_worker:
        with scene.api("old-api") as api:
            before = _invite(api.url, session, "before.example")
        await _until_arrived(scene, before)
        with scene.api("new-api", SECRET_KEYS=BOTH) as api:
            later = _invite(api.url, session, "later.example")
            await _awaiting(scene)
            await asyncio.sleep(2.0)  # what would be canceled, or claimed again and again, would be by now
            tries = await scene.sql("SELECT 1 FROM delivery_attempts WHERE outcome = 'RETRYING'")
            assert len(tries) == COUNT
            assert not set(later) & set(scene.copies())
            assert f"The server key {secrets.key_id(NEWER.encode())} is not in SECRET_KEYS here" in old_worker.printed()
            assert old_worker.stop() == 0
            with scene.worker("new-worker", SECRET_KEYS=BOTH):
                await _until_arrived(scene, later)
    rows = await scene.settled()
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}
    # The last step: is the old key still needed, and what if it is taken away all the same?
    listed = await processes.run(scene.parts.folder, scene.settings | {"SECRET_KEYS": BOTH}, "keys", "list")
    newest, old = (line.split(maxsplit=2) for line in listed.stdout.splitlines()[1:])
    assert newest == [secrets.key_id(NEWER.encode()), "yes", f"{COUNT} invitations"]
    needs = f"1 passwords, 1 practice access codes, {COUNT} invitations"
    assert old == [KEY_ID, "yes", needs]
    with scene.worker("last-worker", SECRET_KEYS=NEWER) as worker:
        worker.wait_until(f"The server key {KEY_ID} is not in SECRET_KEYS here, and is needed for {needs}")


@pytest.mark.fault("F37")
@pytest.mark.slow_fault
async def test_keys_are_replaced_with_the_workers_first_and_the_api_later(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.worker("new-worker", SECRET_KEYS=BOTH):
        with scene.api("old-api") as api:
            before = _invite(api.url, session, "before.example")
            await _until_arrived(scene, before)
        with scene.api("new-api", SECRET_KEYS=BOTH) as api:
            later = _invite(api.url, session, "later.example")
            await _until_arrived(scene, later)
    rows = await scene.settled()
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}


@pytest.mark.fault("F37")
@pytest.mark.slow_fault
async def test_a_worker_without_the_newest_key_leaves_its_messages_to_the_other(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.worker("old-worker"), scene.api("api", SECRET_KEYS=BOTH) as api:
        first = _invite(api.url, session, "first.example")
        await _awaiting(scene)
        with scene.worker("new-worker", SECRET_KEYS=BOTH):
            more = _invite(api.url, session, "more.example")
            await _until_arrived(scene, first + more)
    rows = await scene.settled()
    assert {row["status"] for row in rows} == {"SENT"}
    assert {row["attempts"] for row in rows} == {1}
    assert set(scene.copies().values()) == {1}
