"""PostgreSQL is restarted, cut off at COMMIT, undoes what collides, or has no room."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from domain import database
from tests import parts as real_parts
from tests.faults.scene import Scene, people, post
from tests.faults.servers import Postgres, line, postgres, through

OWN = "SELECT (SELECT count(*) FROM invitations) AS invitations, (SELECT count(*) FROM audit_events WHERE action = 'invitation.sent') AS events"


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[tuple[Scene, Postgres]]:
    """Real parts on a PostgreSQL of their own, which may be broken."""
    with postgres() as server:
        await database.migrate(server.url)
        with real_parts.running(tmp_path, server.url) as running:
            yield Scene(running), server


@pytest.mark.fault("F18")
@pytest.mark.slow_fault
async def test_a_database_that_crashes_in_the_middle_of_sending_loses_nothing(own: tuple[Scene, Postgres]) -> None:
    scene, server = own
    addresses = [f"n{number}@example.com" for number in range(400)]
    await scene.due(addresses)
    scene.parts.smtp.delay_seconds = 0.02
    with scene.worker("worker") as worker:
        for count in (40, 150):
            await asyncio.to_thread(scene.parts.smtp.wait_for, count, 60.0)
            server.crash()
            await asyncio.sleep(1)
        scene.parts.smtp.delay_seconds = 0.0
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await scene.settled(30)
        await scene.forward(31)  # what it had claimed, and could not write down any more
        rows = await scene.settled()
        assert worker.popen.poll() is None, "it goes on by itself"
    assert {row["status"] for row in rows} == {"SENT"}
    assert set(scene.copies()) == set(addresses)
    assert max(scene.copies().values()) <= 3
    scene.assert_doubles_are_alike()


@pytest.mark.fault("F19")
async def test_whoever_does_not_learn_that_an_act_was_committed_finds_it_done_by_asking_again(scene: Scene) -> None:
    session = await scene.administrator()
    parts = urlsplit(scene.parts.database_url)
    async with line(parts.hostname or "", parts.port or 5432) as wire:
        url = through(scene.parts.database_url, wire.at)
        with contextlib.ExitStack() as stack:
            api = await asyncio.to_thread(stack.enter_context, scene.api(DATABASE_URL=url))
            wire.cut_after = lambda piece: b"COMMIT" in piece
            lost = await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session)
            assert lost["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
            assert wire.cuts == 1
            wire.cut_after = None
            assert (await scene.sql(OWN)) == [{"invitations": 1, "events": 1}]
            again = await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session)
            [row] = again["data"]["invite"]["rows"]
            assert row["error"]["__typename"] == "EmailInUse"
            assert "invited in your practice already" in row["error"]["message"]
            assert (await scene.sql(OWN)) == [{"invitations": 1, "events": 1}]
            await asyncio.to_thread(stack.close)
    with scene.worker("worker"):
        await scene.settled()
    assert scene.copies() == {"pat0@many.example": 1}


@pytest.mark.fault("F20")
async def test_an_act_that_the_database_undoes_in_favour_of_another_is_done_again(scene: Scene) -> None:
    session = await scene.administrator()
    [invited] = await scene.sql("SELECT id FROM practices")
    with scene.api() as api:
        first = await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session)
        user_id = first["data"]["invite"]["rows"][0]["user"]["id"]
        other = await asyncpg.connect(scene.parts.database_url)
        try:
            await other.execute("SET deadlock_timeout = '60s'")  # the act is the one that is undone
            async with other.transaction():
                await other.execute("SELECT 1 FROM users WHERE email LIKE 'pat0@%' FOR UPDATE")
                act = asyncio.create_task(asyncio.to_thread(post, api.url, "deactivate", {"userId": user_id}, session))
                await scene.until("SELECT 1 FROM pg_locks WHERE NOT granted")
                await other.execute("SELECT 1 FROM practices WHERE id = $1 FOR UPDATE", invited["id"])
            answer = await act
        finally:
            await other.close()
        assert answer["data"]["deactivate"]["status"] == "INACTIVE", answer
    [events] = await scene.sql("SELECT count(*) AS n FROM audit_events WHERE action = 'user.deactivated'")
    assert events["n"] == 1


@pytest.mark.fault("F20")
async def test_acts_that_collide_again_and_again_end_with_a_clean_word(scene: Scene) -> None:
    session = await scene.administrator()
    await scene.sql(
        "CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'as the server says it' USING ERRCODE = '40P01'; END $$"
    )
    await scene.sql("CREATE TRIGGER collide BEFORE INSERT ON invitations EXECUTE FUNCTION collide()")
    with scene.api() as api:
        answer = await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session)
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert "nothing was done" in error["message"]
    assert (await scene.sql(OWN)) == [{"invitations": 0, "events": 0}]


@pytest.mark.fault("F22")
@pytest.mark.slow_fault
async def test_a_disk_that_is_full_refuses_the_act_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    # Files of the log are made in one piece of 16 MiB; tables grow, until they cannot.
    with postgres(largest_file=16 * 1024 * 1024 + 8192) as server:
        await database.migrate(server.url)
        with real_parts.running(tmp_path, server.url) as running:
            await _is_refused_and_heals(Scene(running))


async def _is_refused_and_heals(scene: Scene) -> None:
    session = await scene.administrator()
    with scene.api() as api:
        assert (await asyncio.to_thread(post, api.url, "invite", {"users": people(1)}, session))["data"]
        await _fill(scene)
        before = await scene.sql(OWN)
        full = await asyncio.to_thread(post, api.url, "signUp", SIGN_UP)
        assert full["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR", "the counters' table is full"
        assert await scene.sql("SELECT 1 AS one FROM sign_ups") == []
        assert await scene.sql(OWN) == before
        await scene.sql("DELETE FROM budgets WHERE used = 0")
        await scene.sql("VACUUM FULL budgets")
        healed = await asyncio.to_thread(post, api.url, "signUp", SIGN_UP)
        assert healed["data"]["signUp"]["__typename"] == "CheckYourEmail"


async def _fill(scene: Scene) -> None:
    """Counters, until the table or its index cannot grow by one small row."""
    for size in (110, 12):
        await scene.sql(FILL.format(size=size))


# The first that does not fit may leave a gap into which a smaller one does.
FILL = """
DO $$ DECLARE refused int := 0; BEGIN
    FOR n IN 1..1000000 LOOP
        BEGIN
            INSERT INTO budgets (key, window_starts_at, window_ends_at, used)
            VALUES (left(repeat(md5(random()::text), 4), {size}), clock_now(), clock_now() + interval '1 hour', 0);
        EXCEPTION WHEN OTHERS THEN
            refused := refused + 1;
            IF refused = 2000 THEN RETURN; END IF;
        END;
    END LOOP;
    RAISE EXCEPTION 'it never was full';
END $$
"""


SIGN_UP = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@oak.example",
    "phone": "+12025550100",
    "practiceName": "Oak",
    "specialty": "Family medicine",
}
