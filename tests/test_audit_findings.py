"""Every chain of the audit log is verified by the schedule each day, and a broken one is seen by whoever runs the product."""

import asyncio
import logging
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from domain import actors, audit_chain, audit_findings, database
from tests.conftest import Clock
from tests.test_audit_chain import practice_id, tamper
from tests.test_metrics import exposing
from tests.test_operator_commands import Server, server
from tests.world import World

__all__ = ["server"]

OPERATOR = actors.operator("root")


async def problems() -> dict[UUID, str | None]:
    """What is noted of each chain."""
    rows = await database.fetch("SELECT chain_id, problem FROM audit_findings")
    return {row["chain_id"]: row["problem"] for row in rows}


async def told(chain_id: UUID) -> int:
    """How many events of a chain tell of a verification."""
    rows = await database.fetch(
        "SELECT 1 FROM audit_events WHERE action = 'audit_log.verified' AND practice_id = $1", chain_id
    )
    return len(rows)


async def rename_actor(chain_id: UUID, name: str) -> str:
    """Change an event behind the program's back; the name that stood there."""
    [row] = await database.fetch(
        "SELECT e.id, e.actor_name FROM audit_events e JOIN audit_links l ON l.event_id = e.id WHERE l.chain_id = $1 AND l.position = 2",
        chain_id,
    )
    await tamper("UPDATE audit_events SET actor_name = $2 WHERE id = $1", row["id"], name)
    before: str = row["actor_name"]
    return before


async def test_the_schedule_verifies_every_chain_once_a_day_and_an_intact_one_gets_no_event(
    world: World, clock: Clock
) -> None:
    practice = await practice_id(await world.practice())
    chains = await audit_chain.chains(OPERATOR)
    assert audit_chain.NO_PRACTICE in chains
    assert await audit_chain.verify_due() == len(chains)
    assert await problems() == dict.fromkeys(chains)
    assert await told(practice) == 0
    assert await audit_chain.verify_due() == 0
    await clock.forward(hours=audit_findings.LEAST_HOURS - 1)
    assert await audit_chain.verify_due() == 0
    assert (await audit_findings.standing()).oldest_seconds >= (audit_findings.LEAST_HOURS - 1) * 3600
    await clock.forward(hours=audit_findings.MOST_HOURS - audit_findings.LEAST_HOURS + 1)
    assert await audit_chain.verify_due() == len(chains)
    assert (await audit_findings.standing()).oldest_seconds < 3600


async def test_a_broken_chain_is_in_the_metrics_the_log_and_once_in_the_trail_until_it_holds_again(
    world: World, clock: Clock, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    broken, intact = await practice_id(await world.practice()), await practice_id(await world.practice("Oak"))
    assert await audit_chain.verify_due() > 0
    async with exposing() as site:
        before = await site.read()
        assert before("audit_chains_broken") == 0
        assert "practice_access_audit_chains_broken 0.0" in before.text
        name = await rename_actor(broken, "Somebody Else")
        for day in (1, 2):
            caplog.clear()
            await clock.forward(days=1)
            with caplog.at_level(logging.CRITICAL, logger="domain.audit_chain"):
                assert await audit_chain.verify_due() > 0
            [line] = caplog.messages
            assert line.startswith(f"Chain {broken} of the audit log is broken at position 2"), line
            assert (await told(broken), await told(intact)) == (1, 0), day
        assert (await site.until("audit_chains_broken"))("audit_chains_broken") == 1
    # Whoever puts it right from a backup verifies it by hand, and the alert ends.
    done = await server.run("audit", "verify", "--all")
    assert (done.status, f"practice {broken}: BROKEN at position 2" in done.printed) == (1, True)
    assert (await audit_findings.standing()).broken == 1
    await rename_actor(broken, name)
    assert (await server.run("audit", "verify", "--practice", str(broken))).status == 0
    assert (await audit_findings.standing()).broken == 0


async def test_workers_that_look_at_once_share_the_chains(world: World) -> None:
    for name in ("Elm", "Oak", "Ash"):
        await world.practice(name)
    chains = await audit_chain.chains(OPERATOR)
    numbers = await asyncio.gather(*(audit_chain.verify_due() for _ in range(4)))
    assert sum(numbers) == len(chains)
    await audit_findings.enroll([uuid4() for _ in range(40)])
    taken = [one for _ in range(4) for one in await asyncio.gather(*(audit_findings.take_due() for _ in range(10)))]
    assert len(set(taken)) == 40


async def test_a_chain_whose_worker_died_is_taken_by_another_after_an_hour(world: World, clock: Clock) -> None:
    await audit_findings.enroll([await practice_id(await world.practice())])
    assert await audit_findings.take_due() is not None
    assert await audit_findings.take_due() is None
    await clock.forward(minutes=61)
    assert await audit_findings.take_due() is not None


async def test_all_and_one_chain_exclude_each_other(server: Server, tmp_path: Path) -> None:
    both = await server.run("audit", "verify", "--all", "--practice", "none")
    assert (both.status, "not allowed with argument" in both.complained) == (2, True)
