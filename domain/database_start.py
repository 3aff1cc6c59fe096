"""Whether the database is one that this program can work with, looked at before a process does anything.

What cannot be right is refused in one line; nothing is written. A database that is further than this program is right: so it looks while
a version is rolled back, or the next one rolled out.
"""

import logging
from dataclasses import dataclass
from pkgutil import iter_modules

import asyncpg
from tortoise.exceptions import BaseORMException

from domain import database, migrations
from domain.database_connections import is_pooled, open_single
from domain.database_faults import DRIVER, NAME, PRIMARY, setting_invalid
from domain.settings import SettingInvalid

logger = logging.getLogger(__name__)

OLDEST_VERSION = 150_000
LOOK = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_name,
    current_setting('server_encoding') AS encoding, current_database() AS name, current_schema() AS schema,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS is_read_only, pg_backend_pid() AS pid,
    to_regclass('tortoise_migrations') IS NOT NULL AS has_migrations,
    (SELECT count(*) FROM pg_class c WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p')
        AND c.relname <> 'tortoise_migrations'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) AS tables
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """What was seen of a database. tables: how many that are not an extension's, nor the list of migrations.

    applied: migrations of this program. is_pooled: a pooler such as PgBouncer stands between.
    """

    version: int
    version_name: str
    encoding: str
    name: str
    schema: str | None
    is_read_only: bool
    tables: int
    applied: frozenset[str]
    is_pooled: bool

    @property
    def missing(self) -> list[str]:
        """The migrations that it lacks, in order."""
        return sorted(wanted() - self.applied)


def wanted() -> frozenset[str]:
    """The names of all migrations of this program."""
    return frozenset(module.name for module in iter_modules(migrations.__path__))


async def look(url: str) -> DatabaseState:
    """Look at a database, over a connection of its own. Raises SettingInvalid when it does not let us."""
    try:
        connection = await open_single(url)
        try:
            return await _seen(connection)
        finally:
            await connection.close()
    except DRIVER as error:
        raise _line(error) from error


async def _seen(connection: asyncpg.Connection) -> DatabaseState:
    row = await connection.fetchrow(LOOK)
    names = (
        []
        if not row["has_migrations"]
        else await connection.fetch("SELECT name FROM tortoise_migrations WHERE app = 'domain'")
    )
    return DatabaseState(
        version=row["version"],
        version_name=row["version_name"],
        encoding=row["encoding"],
        name=row["name"],
        schema=row["schema"],
        is_read_only=row["is_read_only"],
        tables=row["tables"],
        applied=frozenset(one["name"] for one in names),
        is_pooled=is_pooled(connection, row["pid"]),
    )


def require_usable(state: DatabaseState) -> None:
    """Raises SettingInvalid where no version of this program could work."""
    if state.version < OLDEST_VERSION:
        raise SettingInvalid(NAME, f"leads to PostgreSQL {state.version_name}", "put a server of version 15 or newer")
    if state.is_read_only:
        raise SettingInvalid(NAME, "leads to a database that is read-only (a standby, perhaps)", PRIMARY)
    if state.encoding != "UTF8":
        raise SettingInvalid(
            NAME, f"names a database with the encoding {state.encoding}", "put one that was made with ENCODING 'UTF8'"
        )
    if state.schema is None:
        raise SettingInvalid(NAME, "leads to a search_path without a schema that exists", "create it, or put another")
    if state.tables and not state.applied:
        raise SettingInvalid(
            NAME,
            f"names a database ({state.name}) that holds {state.tables} tables of another program",
            "put one that is empty, or this program's own",
        )


def require_current(state: DatabaseState) -> None:
    """Raises SettingInvalid where a migration is missing, or `require_usable` does."""
    require_usable(state)
    if missing := state.missing:
        raise SettingInvalid(
            NAME,
            f"names a database that lacks {len(missing)} of {len(wanted())} migrations, from {missing[0]} on",
            "run `practice-access migrate` with this version first",
        )


async def is_current() -> bool:
    """Whether the open database has every migration of this program. Raises what asyncpg raises when it is out of reach."""
    found = await database.fetch("SELECT name FROM tortoise_migrations WHERE app = 'domain'")
    return wanted() <= {row["name"] for row in found}


async def require(url: str) -> DatabaseState:
    """Look at a database that is to be worked on. Raises SettingInvalid where it is not fit for this version."""
    state = await look(url)
    require_current(state)
    return state


async def connect(url: str) -> DatabaseState:
    """Open the process's pool on a database that is fit for this version. Raises SettingInvalid."""
    state = await require(url)
    try:
        await database.connect(url, **_options(url, state))
    except (*DRIVER, BaseORMException) as error:
        await database.disconnect()
        raise _line(error) from error
    return state


async def migrate(url: str) -> None:
    """Bring the schema up to date. Raises SettingInvalid, and upgrading.UpgradeBlocked and UpgradeFailed."""
    require_usable(await look(url))
    try:
        await database.migrate(url)
    except (*DRIVER, BaseORMException) as error:
        raise _line(error) from error


def _options(url: str, state: DatabaseState) -> dict[str, float]:
    """Statements with names live in one process of the server; a pooler may hand the next transaction to another one."""
    if not state.is_pooled or database.says(url, "statement_cache_size"):
        return {}
    logger.debug("A pooler stands before the database: statements are not prepared under names")
    return {"statement_cache_size": 0}


def _line(error: Exception) -> Exception:
    return setting_invalid(error) or error
