"""The schema: the migrations make what the models say, whoever runs them, and can be taken back."""

import asyncio
import importlib
import pkgutil
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from tortoise.context import TortoiseContext
from tortoise.migrations.api import migrate as apply_migrations
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.migration import Migration
from tortoise.migrations.operations import AlterModelOptions, CreateModel

from domain import database, migration_speed, migrations
from tests import test_schema_guards as guards_rows
from tests.conftest import database_url

initial = importlib.import_module("domain.migrations.0001_initial")

NAMES = sorted(module.name for module in pkgutil.iter_modules(migrations.__path__))

CATALOGUE = """
    SELECT 'column' AS kind, format('%s.%s %s %s', table_name, column_name, data_type, is_nullable) AS what
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', format('%s %s', conrelid::regclass, conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""


@pytest_asyncio.fixture
async def empty_url(server_url: str) -> AsyncIterator[str]:
    """The URL of a database that nothing was done to."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(server_url)
    await server.execute(f'CREATE DATABASE "{name}"')
    yield database_url(server_url, name)
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


async def look(url: str, sql: str = CATALOGUE) -> list[tuple[Any, ...]]:
    """The rows of a query on another database than the tests' own."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def migrate_to(url: str, target: str) -> None:
    """Go up or down to a migration."""
    async with TortoiseContext():
        await apply_migrations(config=database.config(url), target=target)


async def test_the_models_say_nothing_that_no_migration_makes() -> None:
    config = database.config("postgres://nobody@127.0.0.1:1/nothing")  # nothing is connected
    async with TortoiseContext() as context:
        await context.init(config)
        assert context.apps is not None
        writers = await MigrationAutodetector(context.apps, config["apps"]).changes()
    missing = [operation for writer in writers for operation in writer.operations if not _is_written(operation)]
    assert missing == []


def _is_written(operation: object) -> bool:
    """Whether options stand in the first migration already: those of a table whose key is another's are found changed for ever."""
    created = {made.name: made for made in initial.Migration.operations if isinstance(made, CreateModel)}
    return isinstance(operation, AlterModelOptions) and operation.options == created[operation.name].options


async def test_every_reference_to_another_table_is_checked_and_not_cascading(db: None) -> None:
    references = await database.fetch(
        "SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent, convalidated, confdeltype::text AS deletes"
        " FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
    )
    assert {row["child"] for row in references} >= {"users", "sessions", "invitations", "enrollments", "security_codes"}
    assert all(row["convalidated"] for row in references)
    # Only the attempts go with their delivery; a person or a practice is never deleted by way of something else.
    assert {(row["child"], row["parent"]) for row in references if row["deletes"] == "c"} == {
        ("delivery_attempts", "deliveries")
    }


async def test_migrations_that_start_together_do_the_work_once(empty_url: str) -> None:
    assert await look(empty_url) == []
    await asyncio.gather(*(database.migrate(empty_url) for _ in range(4)))
    applied = await look(empty_url, "SELECT name FROM tortoise_migrations WHERE app = 'domain' ORDER BY name")
    assert applied == [(name,) for name in NAMES]
    made = await look(empty_url)
    await database.migrate(empty_url)
    assert await look(empty_url) == made


async def test_the_migrations_can_be_taken_back_and_made_again(empty_url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:  # as Tortoise applies them by itself
        patch.setattr(migration_speed, "use", lambda: None)
        patch.setattr(Migration, "apply", migration_speed._apply)
        await database.migrate(empty_url)
    made = await look(empty_url)
    await migrate_to(empty_url, "domain.0001_initial")
    assert [what for _, what in made if _is_guard(what)] != []
    assert [what for _, what in await look(empty_url) if _is_guard(what)] == []
    await migrate_to(empty_url, "domain.__first__")
    left = await look(empty_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert left == [("tortoise_migrations",)]
    await database.migrate(empty_url)
    assert await look(empty_url) == made


def _is_guard(what: str) -> bool:
    return any(
        mark in what for mark in (" ck_", "INDEX uq_", "INDEX ix_", "clock_now", "practice_standings", "in_force")
    )


async def test_rows_that_are_there_come_along(empty_url: str) -> None:
    """What a practice had before is there after each later migration, and is good by the rules that came with them."""
    await migrate_to(empty_url, "domain.0003_notices")
    practice, user, challenge = (uuid.uuid4() for _ in range(3))
    in_a_day = guards_rows.NOW + timedelta(
        days=1
    )  # the rows as they are end ten minutes after the tests were collected
    rows: list[tuple[str, dict[str, Any]]] = [
        ("practices", guards_rows.ROWS["practices"] | {"id": practice}),
        ("subscriptions", guards_rows.ROWS["subscriptions"] | {"practice_id": practice, "trial_ends_at": in_a_day}),
        ("users", guards_rows.user(id=user, practice_id=practice)),
        ("sessions", guards_rows.ROWS["sessions"] | {"id": uuid.uuid4(), "user_id": user}),
        ("challenges", guards_rows.ROWS["challenges"] | {"id": challenge, "user_id": user}),
        ("deliveries", guards_rows.ROWS["deliveries"] | {"id": uuid.uuid4(), "practice_id": practice}),
        *(
            ("audit_events", guards_rows.ROWS["audit_events"] | {"id": uuid.uuid4(), "practice_id": practice})
            for _ in range(3)
        ),
        ("audit_events", guards_rows.ROWS["audit_events"] | {"id": uuid.uuid4()}),
        ("sign_ups", guards_rows.ROWS["sign_ups"] | {"id": uuid.uuid4(), "key_id": "fedcba98"}),
    ]
    connection = await asyncpg.connect(empty_url)
    for table, row in rows:
        places = ", ".join(f"${place + 1}" for place in range(len(row)))
        await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
    await connection.close()
    await database.migrate(empty_url)
    assert await look(empty_url, "SELECT id, purpose FROM challenges") == [(challenge, "SIGN_IN")]
    assert await look(empty_url, "SELECT user_id, session_hours FROM login_settings_in_force") == [(user, 12)]
    positions = await look(
        empty_url,
        "SELECT position FROM audit_links WHERE chain_id <> $$00000000-0000-0000-0000-000000000000$$ ORDER BY 1",
    )
    assert positions == [(1,), (2,), (3,)]
    assert await look(empty_url, "SELECT access_code_rotation_days FROM practices") == [(90,)]
    assert await look(
        empty_url, "SELECT search_text LIKE '% grace %' AND search_text LIKE '% hopper %' FROM users"
    ) == [(True,)]
    assert await look(empty_url, "SELECT access_allowed FROM practice_standings") == [(True,)]
    server_keys = "SELECT key_id, fingerprint IS NULL FROM server_keys ORDER BY first_seen_at"
    assert await look(empty_url, server_keys) == [
        ("0123abcd", True),
        ("fedcba98", True),
    ]  # of the password, of the sign-up


async def test_the_settings_of_the_pool_are_no_hindrance_to_migrating(empty_url: str) -> None:
    await database.migrate(f"{empty_url}?maxsize=3&command_timeout=5&application_name=access")
    assert await look(empty_url, "SELECT count(*) FROM tortoise_migrations") == [(len(NAMES),)]


async def test_the_url_says_whether_the_connection_is_encrypted(empty_url: str) -> None:
    # The tests' server speaks no TLS: whoever insists on it must not be served in clear.
    with pytest.raises(ConnectionError):
        await database.migrate(f"{empty_url}?sslmode=require")
    assert await look(empty_url) == []
    await database.migrate(f"{empty_url}?sslmode=disable")
    assert await look(empty_url, "SELECT count(*) FROM tortoise_migrations") == [(len(NAMES),)]


async def _insert(connection: asyncpg.Connection, table: str, row: dict[str, Any]) -> None:
    places = ", ".join(f"${place + 1}" for place in range(len(row)))
    await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())


HOLDERS = "SELECT first_name FROM users WHERE holds_email ORDER BY first_name"


async def test_invitations_hold_no_address_after_the_migration_and_the_first_of_them_does_after_going_back(
    empty_url: str,
) -> None:
    await migrate_to(empty_url, "domain.0014_reminders")
    one, other, account = (uuid.uuid4() for _ in range(3))
    connection = await asyncpg.connect(empty_url)
    try:
        for practice in (one, other):
            await _insert(connection, "practices", guards_rows.ROWS["practices"] | {"id": practice})
        person = guards_rows.user(id=account, practice_id=one, first_name="Account", email_canonical="a@x.example")
        await _insert(connection, "users", person)
        # The last one stands in its practice a second time, which the program never did.
        for name, practice, holds in (("First", one, True), ("Second", other, False), ("Third", other, False)):
            invited = guards_rows.invited(id=uuid.uuid4(), practice_id=practice, first_name=name, holds_email=holds)
            await _insert(connection, "users", invited)
            row = guards_rows.ROWS["invitations"] | {"id": uuid.uuid4(), "practice_id": practice}
            row |= {
                "expires_at": guards_rows.NOW + timedelta(days=1)
            }  # a run may take longer than the ten minutes of those rows
            await _insert(connection, "invitations", row | {"user_id": invited["id"], "invited_by_id": account})
    finally:
        await connection.close()
    await database.migrate(empty_url)
    assert await look(empty_url, HOLDERS) == [("Account",)]
    here = "SELECT first_name FROM users WHERE removed_at IS NULL AND practice_id = (SELECT practice_id FROM users WHERE first_name = 'Third')"
    assert len(await look(empty_url, here)) == 1
    await migrate_to(empty_url, "domain.0014_reminders")
    assert len(await look(empty_url, HOLDERS)) == 2, "the account, and one of those who are invited"
    await database.migrate(empty_url)
    assert await look(empty_url, HOLDERS) == [("Account",)]


async def test_the_version_before_goes_on_inviting_and_finishing_while_it_is_replaced(empty_url: str) -> None:
    """What it says about `holds_email`, or does not say, is put right by the database."""
    await database.migrate(empty_url)
    practice, user = uuid.uuid4(), uuid.uuid4()
    connection = await asyncpg.connect(empty_url)
    try:
        await _insert(connection, "practices", guards_rows.ROWS["practices"] | {"id": practice})
        row = guards_rows.invited(id=user, practice_id=practice, holds_email=True)
        places = ", ".join(f"${place + 1}" for place in range(len(row)))
        done = await connection.execute(
            f"INSERT INTO users ({', '.join(row)}) VALUES ({places})"
            ' ON CONFLICT (email_canonical COLLATE "C") WHERE holds_email DO NOTHING',
            *row.values(),
        )
        assert done == "INSERT 0 1"
        assert await look(empty_url, HOLDERS) == []
        await connection.execute(
            "UPDATE users SET status = 'ACTIVE', phone = '+12025550143', phone_verified_at = now(), password_hash = $2,"
            " password_key_id = 'key' WHERE id = $1",
            user,
            guards_rows.HASH,
        )
        assert len(await look(empty_url, HOLDERS)) == 1
    finally:
        await connection.close()
