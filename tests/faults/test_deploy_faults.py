"""Old and new versions that run side by side while the database is brought along."""

import ast
import asyncio
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from domain import database, migrations
from tests import processes
from tests.conftest import fresh_database
from tests.faults.scene import Scene, people, post
from tests.processes import ROOT
from tests.test_upgrading import Schema, reader

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
                added = next(keyword.value for keyword in call.keywords if keyword.arg == "field")
                assert isinstance(added, ast.Call)
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in added.keywords}
                assert given.get("null") == "True" or "db_default" in given, f"{path.name}: {ast.unparse(call)}"
    assert looked_at > 1


@dataclass
class Asked:
    """What came of requests one after the other."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def asking(url: str, session: str) -> AsyncIterator[Asked]:
    """Somebody who looks at the users tile again and again while the block runs, and waits for no answer longer than people do."""
    asked, done = Asked(), threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answer = httpx.post(
                    f"{url}/graphql",
                    json={"query": "{ usersTile { activeCount } }"},
                    headers={"authorization": f"Bearer {session}"},
                    timeout=20,
                ).json()
                asked.failures.extend(str(one) for one in answer.get("errors", ()))
            except httpx.TransportError as error:
                asked.failures.append(type(error).__name__)
            asked.answered += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield asked
    finally:
        done.set()
        await asyncio.to_thread(thread.join)


@pytest.mark.fault("F38")
@pytest.mark.slow_fault
async def test_requests_are_answered_and_mails_sent_while_migrations_run(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api() as api, scene.worker("worker"):
        async with asking(api.url, session) as asked:
            report = await asyncio.to_thread(post, api.url, "invite", {"users": people(100)}, session)
            assert report["data"]["invite"]["invitedCount"] == 100
            # What a later version brings: several that start together, and a column more on the busiest table.
            for number in range(3):
                await asyncio.gather(*(database.migrate(scene.parts.database_url) for _ in range(2)))
                await scene.sql(f"ALTER TABLE deliveries ADD COLUMN later_{number} text")
                await asyncio.sleep(0.3)
            rows = await scene.settled()
    assert asked.failures == []
    assert asked.answered > 5
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies().values()) == {1}


@pytest.mark.fault("F38")
@pytest.mark.slow_fault
async def test_no_request_fails_while_a_migration_waits_for_a_backup(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await scene.administrator()
    monkeypatch.syspath_prepend(tmp_path)
    schema = Schema(tmp_path, scene.parts.database_url)
    schema.add("ALTER TABLE sessions ADD COLUMN later text", "ALTER TABLE users ADD COLUMN later text")
    with scene.api() as api:
        async with asking(api.url, session) as asked, reader(schema.url, "users", "sessions"):
            upgrade = asyncio.create_task(schema.upgrade())
            await asyncio.sleep(8)
            assert not upgrade.done()
            before = asked.answered
        await upgrade
        async with asking(api.url, session) as afterwards:
            await asyncio.sleep(0.5)
    assert before > 20
    assert (asked.failures, afterwards.failures) == ([], [])


RELEASED = Path(__file__).parent.parent / "released.txt"
WALK = """
import sys
from tests.journey import Journey
from tests.test_journey import mailbox
Journey([sys.argv[1]], mailbox(sys.argv[1])).walk()
"""


def released(folder: Path) -> Path:
    """The code of the version that was released last, taken out of this clone's history."""
    commit = RELEASED.read_text().split()[0]
    done = subprocess.run(
        [shutil.which("git") or "git", "-C", ROOT, "archive", "--format=tar", commit], capture_output=True, check=False
    )
    assert done.returncode == 0, (
        f"tests/released.txt names {commit}, which is not in this clone: get the whole history (git fetch --unshallow)."
        f" {done.stderr.decode(errors='replace')}"
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.fault("F38")
@pytest.mark.slow_fault
async def test_the_version_that_was_released_works_on_the_newest_schema(server_url: str, tmp_path: Path) -> None:
    """It serves while it is replaced, and again where the new version is rolled back: its own journey, against its own processes."""
    code = await asyncio.to_thread(released, tmp_path / "released")
    settings = {
        "PYTHONPATH": str(code),
        "DATABASE_URL": await fresh_database(server_url),
        "SECRET_KEYS": "k3y-0f-the-j0urney-test-9f8e7d6c5b4a",
        "DATA_DIR": str(tmp_path / "data"),
    }
    with processes.serving(code, "api", "api", settings=settings) as api:
        walked = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", WALK, api.url],
            cwd=code,
            env={**os.environ, "PYTHONPATH": str(code)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert walked.returncode == 0, f"{walked.stderr[-3000:]}\n{api.printed()[-3000:]}"
        assert api.stop() == 0
    assert "Traceback" not in api.printed()
