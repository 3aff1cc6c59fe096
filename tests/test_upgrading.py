"""Migrations while others work: each is done whole or not at all, by one of those who try, and keeps nobody waiting for long."""

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from domain import database, upgrading
from domain.upgrade_errors import UpgradeBlocked, UpgradeFailed
from tests.test_database_start import connected, made

MIGRATION = """
from tortoise import migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [ops.RunSQL(sql, "SELECT 1") for sql in {statements!r}]
"""
packages = itertools.count()


class Schema:
    """Migrations of a test's own, in place of the program's."""

    def __init__(self, folder: Path, url: str) -> None:
        self._name = f"migrations_of_a_test_{next(packages)}"
        self._folder = folder / self._name
        self._folder.mkdir()
        (self._folder / "__init__.py").touch()
        self._before: str | None = None
        self.url = url

    def add(self, *statements: str, atomic: bool = True) -> str:
        """The next migration; its name."""
        name = f"{len(list(self._folder.glob('0*.py'))) + 1:04}_made"
        dependencies = [("domain", self._before)] if self._before else []
        text = MIGRATION.format(atomic=atomic, dependencies=dependencies, statements=list(statements))
        (self._folder / f"{name}.py").write_text(text)
        self._before = name
        return name

    async def upgrade(self) -> None:
        """Apply what is missing."""
        config = database.config(self.url, **upgrading.CONNECTIONS)
        config["apps"]["domain"]["migrations"] = self._name
        await upgrading.upgrade(self.url, config, database._Transaction.of_default_connection)

    async def applied(self) -> list[str]:
        """The names of those that were applied, as often as they were."""
        async with connected(self.url) as one:
            return [row["name"] for row in await one.fetch("SELECT name FROM tortoise_migrations ORDER BY id")]

    async def tables(self) -> set[str]:
        """The tables that there are, without the list of migrations."""
        async with connected(self.url) as one:
            rows = await one.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row["tablename"] for row in rows} - {"tortoise_migrations"}


@pytest.fixture
async def schema(tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Schema]:
    """Migrations and a database of the test's own, with one table in it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(upgrading, "FIRST_PAUSE_SECONDS", 0.1)
    async with made(server_url) as url:
        made_here = Schema(tmp_path, url)
        made_here.add("CREATE TABLE cats (id int)")
        await made_here.upgrade()
        yield made_here


@contextlib.asynccontextmanager
async def reader(url: str, *tables: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that reads these tables for as long as the block lasts, as pg_dump does with all."""
    async with connected(f"{url}?application_name=backup") as one:
        transaction = one.transaction()
        await transaction.start()
        await one.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
        try:
            yield one
        finally:
            await transaction.rollback()


async def test_a_migration_that_fails_leaves_nothing_and_is_done_by_the_next_try(schema: Schema) -> None:
    schema.add("CREATE TABLE dogs (id int)", "INSERT INTO birds VALUES (1)")
    with pytest.raises(UpgradeFailed, match=r"0002_made .*birds.* nothing of it was kept") as failed:
        await schema.upgrade()
    assert "\n" not in str(failed.value)
    assert await schema.tables() == {"cats"}
    assert await schema.applied() == ["0001_made"]
    async with connected(schema.url) as one:
        await one.execute("CREATE TABLE birds (id int)")
    await schema.upgrade()
    assert await schema.tables() == {"cats", "dogs", "birds"}


async def test_a_migration_and_the_note_that_it_was_applied_are_one(schema: Schema) -> None:
    """Else a `migrate` that is killed between the two leaves a schema on which it can never be run again."""
    schema.add("CREATE TABLE dogs (id int)")
    async with connected(schema.url) as one:
        await one.execute("ALTER TABLE tortoise_migrations ADD CONSTRAINT never CHECK (name <> '0002_made')")
        with pytest.raises(UpgradeFailed):
            await schema.upgrade()
        assert await schema.tables() == {"cats"}
        await one.execute("ALTER TABLE tortoise_migrations DROP CONSTRAINT never")
    await schema.upgrade()
    assert await schema.applied() == ["0001_made", "0002_made"]


async def test_of_six_that_start_together_one_does_each_and_all_succeed(schema: Schema) -> None:
    for number in range(3):
        schema.add(f"CREATE TABLE made_{number} (id int)", "SELECT pg_sleep(0.2)")
    await asyncio.gather(*(schema.upgrade() for _ in range(6)))
    assert await schema.applied() == ["0001_made", "0002_made", "0003_made", "0004_made"]


async def test_requests_go_on_while_a_migration_waits_for_an_open_reader(schema: Schema) -> None:
    schema.add("ALTER TABLE cats ADD COLUMN name text")
    answered, failed = 0, []
    async with connected(schema.url) as request, reader(schema.url, "cats") as backup:
        await request.execute("SET lock_timeout = '4s'")  # the patience of somebody who waits for an answer
        upgrade = asyncio.create_task(schema.upgrade())
        for _ in range(12):
            try:
                await request.fetch("SELECT count(*) FROM cats")
                answered += 1
            except asyncpg.LockNotAvailableError as error:
                failed.append(error)
            await asyncio.sleep(0.1)
        assert not upgrade.done()
        await backup.execute("SELECT 1")
    await upgrade
    assert (answered, failed) == (12, [])
    assert await schema.applied() == ["0001_made", "0002_made"]


async def test_a_migration_that_cannot_have_a_lock_says_who_holds_it_and_leaves_nothing(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "PATIENCE_SECONDS", 0.0)
    schema.add("CREATE TABLE dogs (id int)", "ALTER TABLE cats ADD COLUMN name text")
    async with reader(schema.url, "cats") as backup:
        with pytest.raises(UpgradeBlocked) as blocked:
            await schema.upgrade()
        line = str(blocked.value)
        assert f"pid {backup.get_server_pid()} " in line
        assert "backup" in line
        assert "LOCK TABLE cats" in line
        assert re.fullmatch(r"the migration 0002_made [^\n]+: [^\n]+", line)
        assert await schema.tables() == {"cats"}
    await schema.upgrade()
    assert await schema.tables() == {"cats", "dogs"}


@pytest.mark.parametrize("lock", ["pg_advisory_xact_lock", "pg_advisory_lock"])
async def test_a_second_migrate_waits_for_the_first_and_not_for_ever(
    schema: Schema, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """Also where the first is of a version before, whose lock was its session's."""
    schema.add("CREATE TABLE dogs (id int)")
    async with connected(schema.url) as other, other.transaction():
        await other.execute(f"SELECT {lock}({upgrading.MIGRATION_LOCK})")
        waiting = asyncio.create_task(schema.upgrade())
        await asyncio.sleep(1)
        assert not waiting.done()
        assert await schema.tables() == {"cats"}
        with monkeypatch.context() as patch:
            patch.setattr(upgrading, "TURN_PATIENCE_SECONDS", 0.0)
            with pytest.raises(UpgradeBlocked, match=f"process {other.get_server_pid()} of the server"):
                await schema.upgrade()
        await other.execute("SELECT pg_advisory_unlock_all()")
    await waiting
    assert await schema.tables() == {"cats", "dogs"}


async def test_an_index_can_be_made_while_the_table_is_in_use(schema: Schema) -> None:
    make = "CREATE INDEX CONCURRENTLY ix_cats ON cats (id)"
    schema.add("DROP INDEX CONCURRENTLY IF EXISTS ix_cats", make, atomic=False)
    schema.add("CREATE TABLE dogs (id int)")
    async with connected(schema.url) as writer, writer.transaction():
        await writer.execute("INSERT INTO cats VALUES (1)")
        upgrades = [asyncio.create_task(schema.upgrade()) for _ in range(3)]
        await asyncio.sleep(1.5)
        async with connected(schema.url) as request:
            await request.execute("SET lock_timeout = '1s'; INSERT INTO cats VALUES (2)")
        assert not any(upgrade.done() for upgrade in upgrades)
    async with asyncio.timeout(60):  # the one that keeps the others out keeps out no index
        await asyncio.gather(*upgrades)
    async with connected(schema.url) as one:
        assert await one.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_cats'::regclass")
    assert await schema.applied() == ["0001_made", "0002_made", "0003_made"]
