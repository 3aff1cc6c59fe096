"""A copy of the database, as after a restored backup: no message that was open in it is sent twice."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests import processes
from tests.faults.scene import Scene, people, post

OPEN = 60
QUIET_SECONDS = 6.0  # two looks of the slowest lane
REASON = "Restored from a backup."


async def _copied(scene: Scene) -> Scene:
    """The same parts on a copy of the database, which nobody is connected to now."""
    parts = urlsplit(scene.parts.database_url)
    name = f"{parts.path.lstrip('/')}_copy"
    server = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")))
    try:
        await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{parts.path.lstrip("/")}"')
    finally:
        await server.close()
    return Scene(replace(scene.parts, database_url=urlunsplit(parts._replace(path=f"/{name}"))))


@pytest.mark.slow_fault
async def test_a_restored_copy_sends_nothing_until_it_is_told_to_and_nothing_twice(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api("api") as api:
        answer = post(api.url, "invite", {"users": people(OPEN, "open.example")}, session)
        assert [row["error"] for row in answer["data"]["invite"]["rows"]] == [None] * OPEN
    copy = await _copied(scene)
    with copy.worker("held", SENDING="off") as held:
        held.wait_until("SENDING is off")
        await asyncio.sleep(QUIET_SECONDS)
        assert scene.parts.smtp.received == []
        done = await processes.run(
            scene.parts.folder, copy.settings, "deliveries", "cancel-open", "--before", "2199-01-01", "--reason", REASON
        )
        assert (done.returncode, done.stdout) == (0, f"{OPEN} are called back\n"), done
        done = await processes.run(scene.parts.folder, copy.settings, "users", "sign-out-everybody", "--reason", REASON)
        assert (done.returncode, done.stdout[:20]) == (0, "1 sessions are ended"), done
        assert held.stop() == 0
    fresh = await copy.administrator()
    with copy.worker("worker"), copy.api("copied-api") as api:
        answer = post(api.url, "invite", {"users": people(1, "new.example")}, fresh)
        assert answer["data"]["invite"]["rows"][0]["error"] is None
        await copy.until("SELECT 1 FROM deliveries WHERE status = 'SENT'")
        await asyncio.sleep(QUIET_SECONDS)
        assert set(scene.copies()) == {"pat0@new.example"}
        assert (
            post(api.url, "invite", {"users": people(1, "other.example")}, session)["errors"][0]["extensions"]["code"]
            == "UNAUTHENTICATED"
        )
    statuses = await copy.sql("SELECT status, count(*) AS count FROM deliveries GROUP BY status")
    assert {row["status"]: row["count"] for row in statuses} == {"CANCELED": OPEN, "SENT": 1}
