"""The audit trail cannot be changed unseen, whoever tries, and old events leave it only where a checkpoint stands."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from domain import actors, audit_chain, database
from domain.actors import SCHEDULE
from domain.audit_chain import Report
from tests.conftest import Clock
from tests.world import Api, PracticeWorld, World, document

OPERATOR = actors.operator("root")
TABLES = {"audit_events": "action", "audit_links": "position", "audit_checkpoints": "position"}


async def practice_id(practice: PracticeWorld) -> UUID:
    """The row behind a practice."""
    row = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1", practice.administrator.row_id)
    assert row is not None
    found: UUID = row["practice_id"]
    return found


async def verified(practice: PracticeWorld) -> Report:
    """What verifying a practice's chain shows."""
    return await audit_chain.verify(OPERATOR, await practice_id(practice))


async def tamper(sql: str, *values: object) -> None:
    """Do something that no trigger stops, as a superuser can."""
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        assert await database.execute(sql, *values) > 0


async def link(practice: PracticeWorld, position: int) -> UUID:
    """The event at a place of a practice's chain."""
    row = await database.fetch_one(
        "SELECT event_id FROM audit_links WHERE chain_id = $1 AND position = $2", await practice_id(practice), position
    )
    assert row is not None
    found: UUID = row["event_id"]
    return found


async def test_the_database_refuses_to_change_or_drop_an_event(world: World) -> None:
    await world.practice()
    await tamper("INSERT INTO audit_checkpoints SELECT chain_id, position, hash, clock_now() FROM audit_links LIMIT 1")
    for table, column in TABLES.items():
        for sql in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await database.execute(sql)
    for sql in ("DELETE FROM audit_chains", "TRUNCATE audit_chains"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await database.execute(sql)


async def test_fifty_parallel_acts_leave_one_chain_without_a_fork(world: World, api: Api) -> None:
    practice = await world.practice()
    looks = (api.post("{ practiceAccessCode { code } }", token=practice.administrator.session) for _ in range(50))
    answers = await asyncio.gather(*looks)  # each is an event of its own, and they wait for nothing but the chain
    assert all(answer["data"] for answer in answers)
    chain = await practice_id(practice)
    links = await database.fetch("SELECT position FROM audit_links WHERE chain_id = $1 ORDER BY position", chain)
    assert [row["position"] for row in links] == list(range(1, len(links) + 1))
    events = await database.fetch("SELECT 1 FROM audit_events WHERE practice_id = $1", chain)
    assert len(events) == len(links)
    report = await audit_chain.verify(OPERATOR, chain)
    assert (report.broken, report.events) == (None, len(links))


async def test_an_act_whose_event_cannot_be_linked_does_not_happen(world: World, api: Api) -> None:
    practice = await world.practice()
    row = {"firstName": "A", "lastName": "B", "email": "u@clinic.example", "accessLevel": "BILLING"}
    await database.execute("ALTER TABLE audit_links RENAME TO audit_links_away")
    try:
        answer = await api.post(document("invite"), {"input": {"users": [row]}}, token=practice.administrator.session)
        assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    finally:
        await database.execute("ALTER TABLE audit_links_away RENAME TO audit_links")
    assert await database.fetch("SELECT 1 FROM users WHERE email = 'u@clinic.example'") == []
    assert await database.fetch("SELECT 1 FROM deliveries WHERE kind = 'invitation'") == []
    assert (await verified(practice)).broken is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("action", "'x.y'"),
        ("actor_name", "overlay(actor_name placing 'B' from 1)"),
        ("occurred_at", "occurred_at + interval '1 microsecond'"),
        ("subject_user_id", "gen_random_uuid()"),
        ("session_id", "NULL"),
        ("ip_address", "'198.51.100.8'"),
        ("details", "details || '{\"a\": 1}'"),
    ],
)
async def test_a_change_of_one_byte_is_named_with_its_event(world: World, api: Api, column: str, value: str) -> None:
    practice = await world.practice()
    for number in range(4):
        await world.invite(practice, f"u{number}@clinic.example")
    event = await link(practice, 7)
    assert (await verified(practice)).broken is None
    await tamper(f"UPDATE audit_events SET {column} = {value} WHERE id = $1", event)
    for _ in range(2):
        broken = (await verified(practice)).broken
        assert broken is not None
        assert (broken.position, broken.event_id) == (7, event)
    shown = await api.query(
        "{ auditVerification { isIntact eventCount brokenPosition problem brokenEvent { id } } }",
        token=practice.administrator.session,
    )
    found = shown["auditVerification"]
    assert (found["isIntact"], found["eventCount"], found["brokenPosition"]) == (False, 6, 7)
    assert found["brokenEvent"]["id"]
    assert "changed" in found["problem"]


async def test_what_is_taken_out_put_in_or_moved_is_named(world: World) -> None:
    practices = [await world.practice(f"Practice {number}") for number in range(5)]
    for practice in practices:
        await world.invite(practice, f"u@{practice.name.lower().replace(' ', '-')}.example")
    events = [await link(practice, 3) for practice in practices]
    chains = [await practice_id(practice) for practice in practices]
    other = await link(practices[3], 4)
    await tamper("DELETE FROM audit_events WHERE id = $1", events[0])
    await tamper("DELETE FROM audit_links WHERE event_id = $1", events[1])
    await tamper(
        "INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_name, details)"
        " VALUES ($2, $1, clock_now(), 'user.deactivated', 'Eve', '{}')",
        chains[2],
        UUID(int=7),
    )
    # One after the other: a statement that swaps two unique values fails or not by the order in which it comes across them.
    await tamper("UPDATE audit_links SET event_id = gen_random_uuid() WHERE event_id = $1", events[3])
    await tamper("UPDATE audit_links SET event_id = $1 WHERE event_id = $2", events[3], other)
    await tamper("UPDATE audit_chains SET position = position - 1 WHERE id = $1", chains[4])
    breaks = [(await verified(practice)).broken for practice in practices]
    found = [(one.position, one.event_id, one.problem) for one in breaks if one]
    assert found[0] == (3, events[0], "The event is missing.")
    assert found[1] == (3, None, "The link is missing.")
    assert found[2] == (None, UUID(int=7), "The event is in no chain.")
    assert (found[3][0], found[3][2]) == (3, "The event is missing.")
    assert found[4][2] == "The head of the chain is not that of its last event."


async def test_the_time_zone_of_a_session_makes_no_difference(world: World) -> None:
    practice = await world.practice()
    async with database.transaction():
        await database.execute("SET LOCAL timezone = 'Asia/Kathmandu'")
        await database.execute("SET LOCAL datestyle = 'German'")
        await database.execute(
            "INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_name, details)"
            " VALUES (gen_random_uuid(), $1, clock_now(), 'user.deactivated', 'Zoë \U0001f600', '{\"b\": 1.50, \"a\": [\"é\"]}')",
            await practice_id(practice),
        )
    assert (await verified(practice)).broken is None


async def test_old_events_are_cut_at_a_checkpoint_and_the_rest_still_holds(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    chain = await practice_id(practice)
    before = (await verified(practice)).events
    assert await audit_chain.cut(SCHEDULE, timedelta(days=400)) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute("DELETE FROM audit_events")
    await clock.forward(days=432)  # by whole months
    await api.do("signIn", {"email": practice.administrator.email, "password": "wrong"})
    cuts = await asyncio.gather(*(audit_chain.cut(SCHEDULE, timedelta(days=400)) for _ in range(4)))
    assert sum(cuts) > before
    report = await verified(practice)
    assert report.broken is None
    kept = await database.fetch(
        "SELECT action FROM audit_events WHERE practice_id = $1 ORDER BY occurred_at, id", chain
    )
    assert [row["action"] for row in kept] == ["sign_in.refused", "audit_log.cut", "audit_log.verified"]
    await tamper("UPDATE audit_checkpoints SET hash = sha256('x') WHERE chain_id = $1", chain)
    assert (await verified(practice)).broken is not None


async def test_no_checkpoint_lets_young_events_go(world: World) -> None:
    await world.practice()
    await tamper(
        "INSERT INTO audit_checkpoints (chain_id, position, hash, cut_at)"
        " SELECT id, position, hash, clock_now() FROM audit_chains"
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute("DELETE FROM audit_events")
