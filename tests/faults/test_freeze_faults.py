"""An API process that stops in the middle of an act without ending, or that is cut off from its database, holds up nobody else."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from tests.faults import codes
from tests.faults.codes import Waiting, ask, ask_all, kind
from tests.faults.scene import Scene, gone, people, post
from tests.faults.servers import line, through
from tests.processes import Process

PRACTICES = 50
SENT = ["SecurityCodeSent"] * PRACTICES
OPEN = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
USED = "SELECT coalesce(sum(used), 0)::int AS used FROM budgets WHERE key = 'codes:{}:day:SMS'"


async def used(scene: Scene, crowd: str) -> int:
    """How many of the day's codes are used."""
    [row] = await scene.sql(USED.format(crowd))
    return int(row["used"])


async def no_act_is_open(scene: Scene) -> None:
    """Wait until the server has ended every transaction that does nothing."""
    await scene.until(f"SELECT 1 WHERE NOT EXISTS ({OPEN})")


def is_stopped(process: Process) -> bool:
    """Whether it is stopped, as by SIGSTOP."""
    return Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextlib.asynccontextmanager
async def started(scene: Scene, name: str, point: str | None = None, **settings: str) -> AsyncIterator[Process]:
    """An API process. Whatever state it is in at the end, it ends."""
    with ExitStack() as stack:
        process = await asyncio.to_thread(stack.enter_context, scene.api(name, point, **settings))
        try:
            yield process
        finally:
            process.popen.send_signal(signal.SIGCONT)
            await asyncio.to_thread(stack.close)


@contextlib.asynccontextmanager
async def frozen(scene: Scene, name: str, one: Waiting) -> AsyncIterator[tuple[Process, "asyncio.Task[str]"]]:
    """A process that stopped just before it committed an act, with the task of the client that waits for its answer."""
    async with started(scene, name, "freeze_at_commit") as process:
        asking = asyncio.create_task(_kind(process.url, one))
        while not is_stopped(process):
            assert not asking.done(), asking.result()
            await asyncio.sleep(0.05)
        yield process, asking


async def _kind(url: str, one: Waiting) -> str:
    return kind(await ask(url, one))


@pytest.mark.fault("F41")
@pytest.mark.slow_fault
async def test_processes_that_freeze_before_their_commit_keep_no_other_practice_from_its_codes(scene: Scene) -> None:
    staff = await codes.staff(scene.parts.database_url, PRACTICES + 1)
    strangers = await codes.strangers(scene.parts.database_url, PRACTICES + 1)
    async with AsyncExitStack() as stack:
        healthy = await stack.enter_async_context(started(scene, "healthy"))
        first, asking_first = await stack.enter_async_context(frozen(scene, "first", staff.pop()))
        second, asking_second = await stack.enter_async_context(frozen(scene, "second", strangers.pop()))
        assert await ask_all(healthy.url, staff) == SENT
        assert await ask_all(healthy.url, strangers) == SENT
        assert is_stopped(first)
        assert is_stopped(second)

        await no_act_is_open(scene)
        for process in (first, second):
            process.popen.send_signal(signal.SIGCONT)
        assert await asking_first == "RATE_LIMITED"
        assert await asking_second == "RATE_LIMITED"
        [made] = await scene.sql(
            "SELECT (SELECT count(*) FROM security_codes) AS codes, (SELECT count(*) FROM deliveries) AS texts,"
            " (SELECT count(*) FROM audit_events WHERE action = 'security_code.sent') AS events"
        )
        assert set(made.values()) == {2 * PRACTICES}, "of the acts that were frozen nothing is left"
        assert (await used(scene, "staff"), await used(scene, "strangers")) == (PRACTICES, PRACTICES)


@pytest.mark.fault("F41")
@pytest.mark.slow_fault
async def test_whoever_was_refused_by_a_process_that_froze_can_do_it_again_there(scene: Scene) -> None:
    [one] = await codes.staff(scene.parts.database_url, 1)
    async with frozen(scene, "frozen", one) as (process, asking):
        async with started(scene, "healthy") as healthy:
            # What it holds is this person's alone, until the server ends its transaction.
            answer = await ask(healthy.url, one)
            assert kind(answer) in ("RATE_LIMITED", "SecurityCodeSent")
            if kind(answer) == "RATE_LIMITED":
                assert answer["errors"][0]["extensions"]["retryAt"]
        await no_act_is_open(scene)
        process.popen.send_signal(signal.SIGCONT)
        assert await asking == "RATE_LIMITED"
        again = await _kind(process.url, one)
    assert again == ("SecurityCodeSent" if kind(answer) == "RATE_LIMITED" else "TooSoon")
    assert await used(scene, "staff") == 1


@pytest.mark.fault("F42")
@pytest.mark.slow_fault
async def test_a_process_that_is_cut_off_from_the_database_keeps_nobody_from_their_codes(scene: Scene) -> None:
    """The line forwards nothing and closes nothing, as where a switch has failed."""
    staff = await codes.staff(scene.parts.database_url, PRACTICES + 2)
    parts = urlsplit(scene.parts.database_url)
    async with line(parts.hostname or "", parts.port or 5432) as wire, AsyncExitStack() as stack:
        url = through(scene.parts.database_url, wire.at)
        healthy = await stack.enter_async_context(started(scene, "healthy"))
        cut_off = await stack.enter_async_context(started(scene, "cut_off", DATABASE_URL=url))
        wire.stalls_before = lambda piece: b"COMMIT" in piece
        asking = asyncio.create_task(_kind(cut_off.url, staff.pop()))
        while not wire.is_stalled:
            assert not asking.done(), asking.result()
            await asyncio.sleep(0.05)
        assert await ask_all(healthy.url, staff[:PRACTICES]) == SENT

        await no_act_is_open(scene)
        wire.stalls_before, wire.is_stalled = None, False
        answer = await asking
        assert answer in ("RATE_LIMITED", "INTERNAL_SERVER_ERROR"), "it was undone, or the process could not know"
        assert (await scene.sql("SELECT count(*) AS n FROM security_codes"))[0]["n"] == PRACTICES
        assert await used(scene, "staff") == PRACTICES + (answer != "RATE_LIMITED")
        assert await _kind(cut_off.url, staff[PRACTICES]) == "SecurityCodeSent", "it goes on by itself"


@pytest.mark.fault("F43")
@pytest.mark.slow_fault
async def test_who_needs_a_row_that_somebody_locked_is_told_to_come_again_and_can(scene: Scene) -> None:
    staff = await codes.staff(scene.parts.database_url, 6)
    session = await scene.administrator()
    async with started(scene, "api") as api:
        assert await _kind(api.url, staff.pop()) == "SecurityCodeSent"
        psql = await asyncpg.connect(scene.parts.database_url)
        try:
            async with psql.transaction():
                await psql.execute("SELECT 1 FROM budgets WHERE key = 'codes:staff:day:SMS' FOR UPDATE")
                await psql.execute("SELECT 1 FROM practices FOR UPDATE")
                assert set(await ask_all(api.url, staff)) == {"RATE_LIMITED"}
                invited = await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session)
                assert kind(invited) == "RATE_LIMITED"
                assert invited["errors"][0]["extensions"]["retryAt"]
                assert await used(scene, "staff") == 1
        finally:
            await psql.close()
        assert set(await ask_all(api.url, staff)) == {"SecurityCodeSent"}
        invited = await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session)
        assert invited["data"]["invite"]["invitedCount"] == 1
        assert await used(scene, "staff") == 6
        assert "Incident" not in api.printed()


@contextlib.contextmanager
def systemd(folder: Path) -> Iterator[socket.socket]:
    """The end of a notification socket at which systemd listens."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.settimeout(60)
    with contextlib.closing(listening):
        listening.bind(str(folder / "notify"))
        yield listening


@pytest.mark.fault("F44")
@pytest.mark.slow_fault
async def test_an_api_whose_loop_is_blocked_says_where_and_ends_and_systemd_is_not_told_that_it_lives(
    scene: Scene, tmp_path: Path
) -> None:
    values = {
        "firstName": "Ada",
        "lastName": "Lovelace",
        "email": "ada@oak.example",
        "phone": "+12025550100",
        "practiceName": "Block",
        "specialty": "Family medicine",
    }
    with systemd(tmp_path) as listening:
        async with started(scene, "blocked", "block_api", NOTIFY_SOCKET=str(tmp_path / "notify")) as blocked:
            told = [await asyncio.to_thread(listening.recv, 100) for _ in range(3)]
            assert told == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            asking = asyncio.create_task(asyncio.to_thread(post, blocked.url, "signUp", values))
            await asyncio.to_thread(blocked.wait_until, "The event loop has not moved for 10 seconds")
            assert "points.py" in blocked.printed()
            listening.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while listening.recv(100):
                    pass
            await asyncio.to_thread(gone, blocked)
            assert "The event loop is stuck; this process ends" in blocked.printed()
            assert blocked.popen.returncode == -signal.SIGKILL
            with pytest.raises(BlockingIOError):
                listening.recv(100)
            with pytest.raises(httpx.TransportError):
                await asking
