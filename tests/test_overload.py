"""Many sign-ins at once: hashing gives way to everything else, and what does not fit is refused before anything is read."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain import passwords, processors
from tests.conftest import Clock
from tests.crowded import locked
from tests.refusals.scene import Scene
from tests.refusals.test_top_level import HASHING
from tests.world import Api, Json, Mail, World, document


def priority() -> int:
    """The nice value of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
async def test_hashing_runs_at_a_low_priority_and_nothing_else_does() -> None:
    before = priority()
    hashing = await passwords._in_thread(priority)
    judging = await passwords._in_thread(priority, passwords._judging)
    assert hashing == max(processors.BACKGROUND, before)
    # Judging holds the interpreter's lock, and the loop waits for whoever holds that.
    assert judging == priority() == before


@pytest.mark.parametrize("refusal", [PermissionError, ProcessLookupError])
@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_where_priorities_may_not_be_set_work_goes_on(monkeypatch: pytest.MonkeyPatch, refusal: type[OSError]) -> None:
    def refused(*_: int) -> None:
        raise refusal

    monkeypatch.setattr(os, "setpriority", refused)
    with ThreadPoolExecutor(1, initializer=processors.give_way) as threads:
        assert threads.submit(lambda: 1).result() == 1


@pytest.mark.parametrize("address", ["grace@clinic.example", "nobody@clinic.example", "no address"])
async def test_a_sign_in_for_which_there_is_no_room_is_refused_before_anything_is_read(
    world: World, api: Api, server_url: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The tables cannot be read meanwhile: whatever looked anything up would wait. So it takes as long for every address."""
    await world.joined(await world.practice(), "grace@clinic.example")
    await refused_at_once(
        api, server_url, monkeypatch, "signIn", {"email": address, "password": "wrong", "deviceToken": "x" * 43}
    )


@pytest.mark.parametrize("mutation", ["setPassword", "resetPassword"])
async def test_what_else_strangers_may_have_hashed_is_refused_before_anything_is_read(
    world: World, api: Api, mail: Mail, clock: Clock, server_url: str, monkeypatch: pytest.MonkeyPatch, mutation: str
) -> None:
    values, session = await HASHING[mutation](Scene(world, api, mail, clock, await world.practice()))
    assert session is None
    await refused_at_once(api, server_url, monkeypatch, mutation, values)


async def refused_at_once(
    api: Api, server_url: str, monkeypatch: pytest.MonkeyPatch, mutation: str, values: Json
) -> None:
    """With no room for hashing and nothing that can be read, it is refused; with room it waits until something can be."""
    tables = "users, devices, budgets, guess_counters, enrollments, challenges"
    async with locked(server_url, tables):
        with monkeypatch.context() as patch:
            patch.setattr(passwords, "MAX_WAITING", 0)
            answer = await api.post(document(mutation), {"input": values})
        assert answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        with_room = asyncio.create_task(api.post(document(mutation), {"input": values}))
        done, _ = await asyncio.wait((with_room,), timeout=0.3)
        assert not done, "it reads none of these tables, so the refusal above says nothing"
    await with_room


# -- how many threads hash -----------------------------------------------------------------------------------------------------


def groups(folder: Path, quotas: dict[str, str]) -> tuple[Path, Path]:
    """A control group `/system.slice/api.service` with these quotas; where it is mounted, and what says which group it is."""
    for path, quota in quotas.items():
        (folder / path).mkdir(parents=True, exist_ok=True)
        (folder / path / "cpu.max").write_text(quota)
    own = folder / "own"
    own.write_text("1:name=systemd:/elsewhere\n0::/system.slice/api.service\n")
    return folder, own


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({}, 8),
        ({"system.slice/api.service": "max 100000\n"}, 8),
        ({"system.slice/api.service": "200000 100000\n"}, 2),
        ({"system.slice/api.service": "150000 100000\n"}, 2),
        ({"system.slice/api.service": "10000 100000\n"}, 1),
        ({"system.slice/api.service": "400000 100000\n", "system.slice": "300000 100000\n"}, 3),
        ({"system.slice/api.service": "400000 100000\n", ".": "100000 100000\n"}, 1),
        ({"system.slice/api.service": "9900000 100000\n"}, 8),
        ({"system.slice/api.service": "nonsense\n"}, 8),
    ],
)
def test_no_more_processors_are_used_than_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quotas: dict[str, str], expected: int
) -> None:
    mounted, own = groups(tmp_path, quotas)
    monkeypatch.setattr(processors, "CONTROL_GROUPS", mounted)
    monkeypatch.setattr(processors, "OWN_GROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert processors.usable() == expected


def test_a_system_without_control_groups_counts_the_affinity_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "OWN_GROUP", tmp_path / "nothing")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert processors.usable() == 1
