"""What somebody could try with the trail who knows how it is built, and what operators could get wrong with it."""

import asyncio
import base64
import json
import stat
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import asyncpg
import pytest

from domain import audit_chain, database
from domain.actors import SCHEDULE
from tests import processes
from tests.conftest import Clock, database_url
from tests.test_audit import LOG, log
from tests.test_audit_chain import OPERATOR, link, practice_id, tamper, verified
from tests.world import Api, PracticeWorld, World

FORGED = uuid.UUID(int=7)
ELSEWHERE = uuid.UUID(int=8)
PUT = (
    "INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_name, details)"
    " VALUES ($2, $1, clock_now(), 'user.deactivated', 'Eve', '{}')"
)
LINK = "INSERT INTO audit_links (chain_id, position, event_id, hash) VALUES ($1, $2, $3, sha256('x'))"
CHECKPOINT = "INSERT INTO audit_checkpoints SELECT id, position, hash, clock_now() FROM audit_chains WHERE id = $1"
YEAR = timedelta(days=366)


async def command(folder: Path, server_url: str, *arguments: str) -> CompletedProcess[str]:
    """Run `practice-access audit` on the tests' own database."""
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    return await processes.run(folder, {"DATABASE_URL": database_url(server_url, name)}, "audit", *arguments)


async def aged(world: World, clock: Clock) -> PracticeWorld:
    """A practice with events that are old enough to be cut, and young ones."""
    practice = await world.practice()
    await clock.forward(days=400)
    await world.api.do("signIn", {"email": practice.administrator.email, "password": "wrong"})
    return practice


@pytest.mark.parametrize(("position", "elsewhere"), [(10**9, False), (0, False), (1, True)])
async def test_a_forged_event_is_found_wherever_its_forged_link_lies(
    world: World, position: int, elsewhere: bool
) -> None:
    practice = await world.practice()
    chain = await practice_id(practice)
    await tamper(PUT, chain, FORGED)
    await tamper(LINK, ELSEWHERE if elsewhere else chain, position, FORGED)
    broken = (await verified(practice)).broken
    assert broken is not None
    assert broken.event_id == FORGED


async def test_a_forged_event_from_before_the_cut_is_found(world: World, clock: Clock) -> None:
    practice = await aged(world, clock)
    assert await audit_chain.cut(SCHEDULE, YEAR) > 0
    assert (await verified(practice)).broken is None
    chain = await practice_id(practice)
    await tamper(PUT, chain, FORGED)
    await tamper(LINK, chain, 1, FORGED)
    broken = (await verified(practice)).broken
    assert broken is not None
    assert broken.event_id == FORGED


async def test_nobody_writes_heads_links_and_checkpoints_by_hand(world: World, clock: Clock) -> None:
    practice = await aged(world, clock)
    chain = await practice_id(practice)
    by_hand: list[tuple[str, tuple[Any, ...]]] = [
        ("UPDATE audit_chains SET hash = sha256('x') WHERE id = $1", (chain,)),
        ("INSERT INTO audit_chains (id, position, hash) VALUES ($1, 1, sha256('x'))", (ELSEWHERE,)),
        (LINK, (chain, 10**9, FORGED)),
        (CHECKPOINT, (chain,)),  # at the head, where the events are young
        ("INSERT INTO audit_checkpoints VALUES ($1, 1, sha256('x'), clock_now())", (chain,)),
    ]
    for sql, values in by_hand:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(sql, *values)
    assert await audit_chain.cut(SCHEDULE, YEAR) > 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):  # back to before the cut
        await database.execute("INSERT INTO audit_checkpoints VALUES ($1, 1, sha256('x'), clock_now())", chain)
    assert (await verified(practice)).broken is None


async def test_a_checkpoint_that_no_event_tells_of_hides_nothing(world: World) -> None:
    practice = await world.practice()
    await tamper("UPDATE audit_events SET actor_name = 'Eve' WHERE id = $1", await link(practice, 2))
    await tamper(CHECKPOINT, await practice_id(practice))
    broken = (await verified(practice)).broken
    assert broken is not None
    assert "cut" in broken.problem


async def test_a_moment_in_another_era_is_found(world: World) -> None:
    practice = await world.practice()
    before_christ = "(to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00 BC')::timestamptz"
    await tamper(f"UPDATE audit_events SET occurred_at = {before_christ} WHERE id = $1", await link(practice, 2))
    broken = (await verified(practice)).broken
    assert broken is not None
    assert broken.position == 2


@pytest.mark.parametrize("with_events", [True, False])
async def test_a_chain_that_is_gone_is_missed(world: World, server_url: str, tmp_path: Path, with_events: bool) -> None:
    practice = await world.practice()
    chain = await practice_id(practice)
    assert (await command(tmp_path, server_url, "verify")).returncode == 0
    await tamper("DELETE FROM audit_links WHERE chain_id = $1", chain)
    await tamper("DELETE FROM audit_chains WHERE id = $1", chain)
    if with_events:
        await tamper("DELETE FROM audit_events WHERE practice_id = $1", chain)
    ran = await command(tmp_path, server_url, "verify")
    assert ran.returncode == 1
    assert f"practice {chain}: BROKEN" in ran.stdout


async def test_tables_and_clocks_of_ones_own_open_no_guard(world: World, clock: Clock) -> None:
    await world.practice()
    own: Sequence[str] = (
        "CREATE TEMP TABLE audit_checkpoints ON COMMIT DROP AS SELECT chain_id, max(position) AS position FROM audit_links GROUP BY 1",
        "CREATE SCHEMA own",
        "CREATE FUNCTION own.clock_now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now() + interval ''9 years'''",
        "SET LOCAL search_path = pg_temp, own, public",
    )

    async def attempt() -> None:
        async with database.transaction():
            for sql in own:
                await database.execute(sql)
            await database.execute("DELETE FROM public.audit_events")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await attempt()
    await clock.forward(days=400)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await attempt()


async def test_a_temporary_table_catches_no_link(world: World) -> None:
    practice = await world.practice()
    async with database.transaction():
        for table in ("audit_chains", "audit_links"):
            await database.execute(f"CREATE TEMP TABLE {table} (LIKE public.{table} INCLUDING ALL) ON COMMIT DROP")
        await database.execute(PUT, await practice_id(practice), FORGED)
        await database.execute("SET CONSTRAINTS ALL IMMEDIATE")
    report = await verified(practice)
    assert report.broken is None
    assert await database.fetch("SELECT 1 FROM audit_links WHERE event_id = $1", FORGED)


async def test_acts_in_several_practices_never_wait_for_each_other_in_a_circle(db: None) -> None:
    chains = [uuid.uuid4() for _ in range(3)]

    async def act(first: int) -> None:
        for number in range(30):
            async with database.transaction():
                for chain in (chains[first], chains[(first + 1 + number % 2) % 3]):
                    await database.execute(PUT, chain, uuid.uuid4())

    await asyncio.gather(*(act(number % 3) for number in range(6)))
    reports = [await audit_chain.verify(OPERATOR, chain) for chain in chains]
    assert [report.broken for report in reports] == [None] * 3
    assert sum(report.events for report in reports) == 6 * 30 * 2


async def test_a_cut_while_a_chain_is_verified_is_no_break(world: World, clock: Clock, server_url: str) -> None:
    practice = await aged(world, clock)
    chain = await practice_id(practice)
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    cutter = await asyncpg.connect(database_url(server_url, name))
    try:
        async with cutter.transaction():
            await cutter.execute("LOCK TABLE audit_links IN ACCESS EXCLUSIVE MODE")
            verifying = asyncio.create_task(audit_chain._verify(chain))
            # It has read head and checkpoint, and waits for the links.
            while not await cutter.fetchval(  # noqa: ASYNC110 -- another session's lock is no event of ours
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_links'::regclass"
            ):
                await asyncio.sleep(0.01)
            await cutter.execute(
                "INSERT INTO audit_checkpoints SELECT chain_id, position, hash, clock_now() FROM audit_links"
                " WHERE chain_id = $1 AND position = 5",
                chain,
            )
            await cutter.execute(
                "DELETE FROM audit_events e USING audit_links l WHERE l.event_id = e.id AND l.chain_id = $1 AND l.position <= 5",
                chain,
            )
            await cutter.execute("DELETE FROM audit_links WHERE chain_id = $1 AND position <= 5", chain)
        assert (await verifying).broken is None
    finally:
        await cutter.close()


async def test_what_does_not_hold_is_not_cut_off(world: World, clock: Clock) -> None:
    practice = await aged(world, clock)
    chain = await practice_id(practice)
    await tamper("UPDATE audit_events SET actor_name = 'Eve' WHERE id = $1", await link(practice, 2))
    before = await database.fetch("SELECT count(*) FROM audit_events WHERE practice_id = $1", chain)
    _ = await audit_chain.cut(SCHEDULE, YEAR)
    assert await database.fetch("SELECT count(*) FROM audit_events WHERE practice_id = $1", chain) == before
    broken = (await verified(practice)).broken
    assert broken is not None
    assert broken.position == 2


async def test_a_chain_is_cut_once_a_month_however_often_that_is_asked_for(world: World, clock: Clock) -> None:
    practice = await world.practice()
    for _ in range(70):  # an act a day, and the schedule comes by
        await clock.forward(days=1)
        await world.api.do("signIn", {"email": practice.administrator.email, "password": "wrong"})
    await clock.forward(days=366)
    for _ in range(60):
        _ = await audit_chain.cut(SCHEDULE, YEAR)
        await clock.forward(days=1)
    cuts = await database.fetch(
        "SELECT 1 FROM audit_events WHERE action = 'audit_log.cut' AND practice_id = $1", await practice_id(practice)
    )
    assert 1 < len(cuts) <= 3
    assert (await verified(practice)).broken is None


async def test_the_operator_who_cuts_is_on_record(world: World, clock: Clock, server_url: str, tmp_path: Path) -> None:
    await world.practice()
    await clock.forward(days=6 * 366 + 40)
    assert (await command(tmp_path, server_url, "cut")).returncode == 0
    names = await database.fetch("SELECT actor_name FROM audit_events WHERE action = 'audit_log.cut'")
    assert names
    assert all(row["actor_name"].startswith("operator ") for row in names)


async def test_a_practice_that_there_is_not_is_told_and_gets_no_chain(
    world: World, server_url: str, tmp_path: Path
) -> None:
    await world.practice()
    before = await database.fetch("SELECT id FROM audit_chains ORDER BY id")
    for act in ("verify", "export"):
        ran = await command(tmp_path, server_url, act, "--practice", str(uuid.uuid4()))
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert "--practice is no practice here" in ran.stderr
    assert await database.fetch("SELECT id FROM audit_chains ORDER BY id") == before


async def test_what_belongs_to_no_practice_is_verified_and_exported_too(
    world: World, server_url: str, tmp_path: Path
) -> None:
    await world.practice()
    exported = await command(tmp_path, server_url, "export", "--practice", "none")
    actions = [json.loads(line)["action"] for line in exported.stdout.splitlines()]
    assert "sign_up.requested" in actions
    assert "practice.created" not in actions
    assert (await command(tmp_path, server_url, "verify", "--practice", "none")).stdout.startswith("no practice: ")


async def test_an_export_is_for_its_writer_alone_and_overwrites_nothing(
    world: World, server_url: str, tmp_path: Path
) -> None:
    practice = await world.practice()
    path = tmp_path / "log.csv"
    arguments = ("export", "--practice", str(await practice_id(practice)), "--output", str(path))
    assert (await command(tmp_path, server_url, *arguments)).returncode == 0
    written = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = await command(tmp_path, server_url, *arguments)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert path.read_bytes() == written


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_the_edges_of_time_are_a_clients_mistake(world: World, api: Api, when: str) -> None:
    session = (await world.practice()).administrator.session
    place = json.dumps([when, FORGED.hex]).encode()
    for variables in ({"filter": {"since": when}}, {"after": base64.urlsafe_b64encode(place).decode().rstrip("=")}):
        answer = await api.post(LOG, variables, token=session)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_event_tells_of_nobody_elses_session(world: World, api: Api) -> None:
    one, other = await world.practice(), await world.practice("Other Practice")
    values = {"email": other.administrator.email, "password": other.administrator.password}
    await api.do("signIn", values, token=one.administrator.session)
    nodes = (await log(api, other.administrator.session, filter={"actions": ["sign_in.challenged"]}))["nodes"]
    assert [node["sessionId"] for node in nodes] == [None]


async def test_the_acts_of_somebody_signed_in_are_on_record_with_session_and_device(world: World) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    rows = await database.fetch(
        "SELECT s.user_id, e.device_id = s.device_id AS same FROM audit_events e JOIN sessions s ON s.id = e.session_id"
        " WHERE e.action = 'invitation.sent'"
    )
    assert [(row["user_id"], row["same"]) for row in rows] == [(practice.administrator.row_id, True)]
