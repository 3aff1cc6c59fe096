"""The keys that a database is used with: written down at the start, compared at every other start, told by `doctor`."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from domain import contents, database, keys, secrets
from domain.settings import SettingInvalid
from tests import processes
from tests.conftest import TEST_KEYS, fresh_database
from tests.servers.ports import free_port
from tests.test_operator_commands import Server, server
from tests.world import Mail, World

__all__ = ["server"]

NEW, OLD = (key.encode() for key in TEST_KEYS)
STRANGE = b"a-key-of-another-database-0123456789"


@contextlib.contextmanager
def ring(*given: bytes) -> Iterator[None]:
    """As a process that was started with these keys, newest first."""
    secrets.use_keys(given)
    try:
        yield
    finally:
        secrets.use_keys((NEW, OLD))


async def written() -> list[str]:
    """The ids of the keys that are written down with a fingerprint, the oldest first."""
    rows = await database.fetch("SELECT key_id, fingerprint FROM server_keys ORDER BY first_seen_at")
    return [row["key_id"] for row in rows if row["fingerprint"] is not None]


async def test_the_first_start_writes_the_keys_down_and_further_ones_nothing(db: None) -> None:
    await keys.begin()
    assert await written() == [secrets.key_id(OLD), secrets.key_id(NEW)]
    before = await database.fetch("SELECT * FROM server_keys ORDER BY key_id")
    await keys.begin()
    assert await database.fetch("SELECT * FROM server_keys ORDER BY key_id") == before


async def test_a_fingerprint_is_neither_the_key_nor_what_the_key_makes() -> None:
    fingerprint = secrets.key_fingerprint(NEW)
    assert len(fingerprint) == 16
    assert fingerprint != secrets.key_fingerprint(OLD)
    assert fingerprint not in NEW
    assert not secrets.key_id(NEW).startswith(fingerprint.hex()[:8])


async def test_another_databases_keys_are_refused_and_nothing_is_written(db: None) -> None:
    await keys.begin()
    for look in (keys.begin, keys.compare):
        with ring(STRANGE), pytest.raises(SettingInvalid, match="SECRET_KEYS has none of the keys that this database"):
            await look()
    assert await written() == [secrets.key_id(OLD), secrets.key_id(NEW)]


async def test_another_key_under_the_same_id_is_refused(db: None) -> None:
    await keys.begin()
    await database.execute("UPDATE server_keys SET fingerprint = $2 WHERE key_id = $1", secrets.key_id(OLD), b"f" * 16)
    with pytest.raises(SettingInvalid, match=f"another key under the id {secrets.key_id(OLD)}"):
        await keys.begin()


async def test_a_key_may_be_added_and_the_old_one_taken_away_later(db: None) -> None:
    with ring(OLD):
        await keys.begin()
    with ring(NEW), pytest.raises(SettingInvalid):  # nobody can tell it from another database's
        await keys.begin()
    await keys.begin()
    with ring(OLD):
        await keys.begin()
        assert await keys.is_behind()
    assert not await keys.is_behind()
    with ring(NEW):
        await keys.begin()
        assert not await keys.is_behind()


async def test_of_two_that_start_on_an_empty_database_with_different_keys_one_is_refused(db: None) -> None:
    rings = [secrets.KeyRing({secrets.key_id(key): key}, secrets.key_id(key)) for key in (NEW, STRANGE)]
    answers = await asyncio.gather(*(keys._write(one) for one in rings), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "SettingInvalid"]
    assert len(await written()) == 1


async def test_keys_that_rows_name_already_are_known_before_any_process_has_told_its_own(db: None) -> None:
    await database.execute(
        "INSERT INTO server_keys (key_id, first_seen_at) VALUES ($1, clock_now())", secrets.key_id(OLD)
    )
    with ring(STRANGE), pytest.raises(SettingInvalid):
        await keys.begin()
    await keys.begin()
    assert await written() == [secrets.key_id(OLD), secrets.key_id(NEW)]


async def test_a_start_warns_of_a_key_that_rows_need(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.practice()
    await keys.begin()
    with ring(OLD), caplog.at_level(logging.WARNING):
        await keys.begin()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "domain.keys"]
    assert line.startswith(f"The server key {secrets.key_id(NEW)} is not in SECRET_KEYS here")
    for need in ("1 passwords", "10 recovery codes", "1 practice access codes"):
        assert need in line
    caplog.clear()
    await keys.begin()
    assert caplog.records == []


async def test_doctor_says_which_keys_fit_which_are_missing_and_for_what(world: World, server: Server) -> None:
    await world.practice()
    fits = await server.run("doctor")
    assert (
        f"keys      ok: they fit the database; the newest first: {secrets.key_id(NEW)}, {secrets.key_id(OLD)}"
        in fits.printed
    )
    assert await written() == []  # it only looks
    await keys.begin()
    lacking = Server(server.folder, server.url, TEST_KEYS[1])
    missing = await lacking.run("doctor")
    assert (missing.status, "keys      FAILED" in missing.printed) == (1, True)
    assert f"{secrets.key_id(NEW)} (1 passwords, 10 recovery codes, 1 practice access codes" in missing.printed
    strange = Server(server.folder, server.url, STRANGE.decode())
    wrong = await strange.run("doctor")
    assert (wrong.status, "keys      FAILED: SECRET_KEYS has none" in wrong.printed) == (2, True)


async def test_an_operators_command_with_another_databases_keys_does_nothing(world: World, server: Server) -> None:
    await world.practice()
    await keys.begin()
    done = await Server(server.folder, server.url, STRANGE.decode()).run("practices", "list")
    assert (done.status, done.printed, done.complained.count("\n")) == (2, "", 1)
    assert done.complained.startswith("practice-access: SECRET_KEYS has none of the keys")


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_a_process_with_another_databases_keys_ends_with_one_line(
    command: str, server_url: str, tmp_path: Path
) -> None:
    url = await fresh_database(server_url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO server_keys VALUES ($1, $2, now())", secrets.key_id(NEW), secrets.key_fingerprint(NEW)
        )
        settings = {
            "DATABASE_URL": url,
            "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "DATA_DIR": str(tmp_path / "data"),
            "PORT": str(free_port()),
            "SECRET_KEYS": STRANGE.decode(),
        }
        done = await processes.run(tmp_path, settings, command)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
        assert done.stderr.startswith(
            "practice-access: SECRET_KEYS has none of the keys that this database is used with"
        )
        assert secrets.key_id(NEW) in done.stderr
        assert await connection.fetchval("SELECT count(*) FROM server_keys") == 1
    finally:
        await connection.close()


async def test_an_operator_sees_the_keys_and_what_needs_them(world: World, server: Server) -> None:
    await world.practice()
    await keys.begin()
    lacking = Server(server.folder, server.url, TEST_KEYS[1])
    lines = (await lacking.run("keys", "list")).printed.splitlines()
    assert lines[0].split("  ")[0] == "ID"
    newest, oldest = (line.split(maxsplit=2) for line in lines[1:])
    assert newest[:2] == [secrets.key_id(NEW), "no"]
    assert newest[2].startswith("1 passwords, 10 recovery codes, 1 practice access codes")
    assert oldest == [secrets.key_id(OLD), "yes", "nothing"]


async def test_a_lost_key_is_given_up_and_what_waited_for_it_is_called_off(
    world: World, mail: Mail, server: Server
) -> None:
    await keys.begin()
    await world.sign_up("Elm", "ada@elm.example")
    with ring(OLD):
        await mail.run()
    reason = ("--reason", "The safe burned down.")
    here = await server.run("keys", "forget", "--key", secrets.key_id(NEW), *reason)
    assert "--key: This key is in SECRET_KEYS here" in here.refused()
    strange = Server(server.folder, server.url, STRANGE.decode())  # every key is lost
    assert (await strange.run("practices", "list")).status == 2
    done = await strange.run("keys", "forget", "--key", secrets.key_id(NEW), *reason)
    assert (done.status, done.complained) == (0, "")
    assert "1 messages that waited for it are called off" in done.printed
    assert "What was made with it is lost: 1 sign-ups." in done.printed
    (row,) = await database.fetch("SELECT status, problem FROM deliveries")
    assert (row["status"], row["problem"]) == ("CANCELED", contents.KEY_LOST)
    assert (
        "nothing is known of the key" in (await strange.run("keys", "forget", "--key", "00000000", *reason)).refused()
    )
    await strange.run("keys", "forget", "--key", secrets.key_id(OLD), *reason)
    assert (await strange.run("practices", "list")).status == 0
    events = await database.fetch(
        "SELECT details->>'key' AS key FROM audit_events WHERE action = 'server_key.forgotten' ORDER BY id"
    )
    assert [row["key"] for row in events] == [secrets.key_id(NEW), secrets.key_id(OLD)]
