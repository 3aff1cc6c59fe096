"""Old and new versions that run side by side while the database is brought along."""

import ast
import asyncio
import threading
from pathlib import Path

import httpx
import pytest

from domain import database, migrations
from tests.faults.scene import Scene, people, post

# Up to here nobody ran it: from then on a version that is about to be replaced has to go on working on the newer schema.
FIRST_EXPAND_ONLY = "0008"
TAKES_AWAY = ("RemoveField", "DeleteModel", "RenameField", "RenameModel")


def operations(path: Path) -> list[ast.Call]:
    """The calls of a migration."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.fault("F38")
def test_no_migration_takes_anything_away_that_a_running_version_uses() -> None:
    looked_at = 0
    for path in sorted(Path(migrations.__path__[0]).glob("[0-9]*.py")):
        if path.name[:4] < FIRST_EXPAND_ONLY:
            continue
        for call in operations(path):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            assert name not in TAKES_AWAY, f"{path.name}: {name}"
            looked_at += name == "AddField"
            if name == "AddField":
                field = next(keyword.value for keyword in call.keywords if keyword.arg == "field")
                assert isinstance(field, ast.Call)
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in field.keywords}
                assert given.get("null") == "True" or "db_default" in given, f"{path.name}: {ast.unparse(call)}"
    assert looked_at > 1


@pytest.mark.fault("F38")
@pytest.mark.slow_fault
async def test_requests_are_answered_and_mails_sent_while_migrations_run(scene: Scene) -> None:
    session = await scene.administrator()
    failures: list[str] = []
    done = threading.Event()
    answered = 0

    def ask(url: str) -> None:
        nonlocal answered
        while not done.is_set():
            try:
                answer = httpx.post(
                    f"{url}/graphql",
                    json={"query": "{ usersTile { activeCount } }"},
                    headers={"authorization": f"Bearer {session}"},
                    timeout=20,
                ).json()
                failures.extend(str(one) for one in answer.get("errors", ()))
            except httpx.TransportError as error:
                failures.append(type(error).__name__)
            answered += 1

    with scene.api() as api, scene.worker("worker"):
        asking = threading.Thread(target=ask, args=(api.url,))
        asking.start()
        try:
            report = await asyncio.to_thread(post, api.url, "invite", {"users": people(100)}, session)
            assert report["data"]["invite"]["invitedCount"] == 100
            # What a later version brings: several that start together, and a column more on the busiest table.
            for number in range(3):
                await asyncio.gather(*(database.migrate(scene.parts.database_url) for _ in range(2)))
                await scene.sql(f"ALTER TABLE deliveries ADD COLUMN later_{number} text")
                await asyncio.sleep(0.3)
            rows = await scene.settled()
        finally:
            done.set()
            await asyncio.to_thread(asking.join)
    assert failures == []
    assert answered > 5
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}
