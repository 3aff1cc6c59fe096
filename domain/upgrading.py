"""Bringing the schema up to date while others work on the database.

Each migration is one transaction, with its row in tortoise_migrations in it: it is done, or nothing of it is. The lock that keeps a
second `migrate` out is that transaction's own, so it holds through a pooler that gives each transaction another server process.

Whoever waits for a table's lock makes everybody wait who comes after. So a migration waits for a second at most, undoes what it did,
lets the others go on for as long or longer, and tries again, for some minutes in all.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import asyncpg
from tortoise import Tortoise
from tortoise.context import TortoiseContext
from tortoise.migrations.migration import Migration
from tortoise.migrations.operations import RunSQL

from domain import connection_limits, migration_speed
from domain.database_connections import is_pooled, open_single
from domain.lock_watch import LockWatch
from domain.migration_state import Migrations
from domain.upgrade_errors import UpgradeBlocked, UpgradeFailed

logger = logging.getLogger(__name__)

MIGRATION_LOCK = 0x5041_4343  # "PACC": any constant that no other program locks in this database
# How long one statement may wait for a lock; shorter than any request's own patience.
LOCK_TIMEOUT_MS = 1_000
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
PATIENCE_SECONDS = 300.0  # for locks on tables, in all
TURN_SECONDS = 0.25  # between two looks whether another `migrate` is done
TURN_PATIENCE_SECONDS = 3600.0  # for another `migrate`, which may have indexes to make
# A migration goes through all rows there are. One connection works, another one may hold the lock.
CONNECTIONS: Mapping[str, Any] = {"minsize": 0, "maxsize": 2, "command_timeout": 86_400, "statement_cache_size": 0}
_OWN = {
    **connection_limits.PEER_SETTINGS,
    "lock_timeout": f"{LOCK_TIMEOUT_MS}ms",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
LIMITS = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _OWN.items())
# Its process dies with its transaction: where two look at once, one has it.
TAKE_TURN = """
SELECT pg_try_advisory_xact_lock($1) AS is_ours, pg_backend_pid() AS pid, (
    SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1::bigint::oid AND l.pid <> pg_backend_pid()
    AND d.datname = current_database() LIMIT 1
) AS holder
"""

OpenTransaction = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass
class _AnotherAtWork(Exception):
    pid: int | None


async def upgrade(url: str, config: dict[str, Any], open_transaction: OpenTransaction) -> None:
    """Apply what is missing, one migration after the other; several processes may do so at once, and one does each.

    Raises UpgradeBlocked, UpgradeFailed, and what asyncpg raises when the database is out of reach.
    """
    migration_speed.use()
    async with TortoiseContext():
        await Tortoise.init(config=config, init_connections=False)
        run = _Upgrade(url, config["apps"], open_transaction)
        while await run.step():
            pass


class _Upgrade:
    def __init__(self, url: str, apps: dict[str, dict[str, Any]], open_transaction: OpenTransaction) -> None:
        self._url = url
        self._migrations = Migrations(apps)
        self._open_transaction = open_transaction
        self._deadline = time.monotonic() + PATIENCE_SECONDS
        self._turn_deadline = time.monotonic() + TURN_PATIENCE_SECONDS
        self._pause = FIRST_PAUSE_SECONDS
        self._told: int | None = None
        self._name: str | None = None  # of the migration under way

    async def step(self) -> bool:
        """Apply the next migration, or wait a little; False when there is none left."""
        watch = LockWatch(self._url)
        self._name = None
        try:
            async with watch:
                return await self._next(watch)
        except _AnotherAtWork as other:
            await self._wait_for_turn(other.pid)
        except Exception as error:
            if not _is_about_locks(error):
                if (told := self._failure(error)) is error:
                    raise
                raise told from error
            await self._wait_for_lock(watch)
        return True

    async def _next(self, watch: LockWatch) -> bool:
        async with self._open_transaction() as client:
            await client.execute_script(LIMITS)
            turn = (await client.execute_query_dict(TAKE_TURN, [MIGRATION_LOCK]))[0]
            if not turn["is_ours"]:
                raise _AnotherAtWork(turn["holder"])
            missing = await self._migrations.missing(client)
            if not missing:
                return False
            migration = missing[0]
            self._name = migration.name
            if migration.atomic:
                watch.begin(turn["pid"])
            else:
                # The statement before left a portal with its snapshot, which making an index would wait for. This one leaves nothing.
                await client.execute_script("SELECT 1")
                await self._outside(migration, watch)
            await self._migrations.apply(migration)
        self._migrations.committed()
        logger.info("The migration %s is applied", migration.name)
        self._pause = FIRST_PAUSE_SECONDS
        return len(missing) > 1

    async def _outside(self, migration: Migration, watch: LockWatch) -> None:
        """Statements that no transaction may hold, such as CREATE INDEX CONCURRENTLY, while the transaction around keeps others out.

        They wait for old transactions without making anybody wait, so no limit is wanted; behind a pooler the role's own hold.
        """
        connection = await open_single(self._url)
        try:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            if not is_pooled(connection, pid):
                await connection.execute("SET lock_timeout = 0; SET statement_timeout = 0")
                watch.begin(pid, tells=True)
            for operation in migration.operations:
                if type(operation) is not RunSQL or not isinstance(operation.sql, str):
                    raise TypeError(f"{migration.name} is not atomic, so it can only run plain statements")
                await connection.execute(operation.sql)
        finally:
            await connection.close()

    async def _wait_for_turn(self, pid: int | None) -> None:
        if time.monotonic() > self._turn_deadline:
            raise UpgradeBlocked(
                f"another `migrate` is still at work ({_process(pid)}): run this one again when it is done"
            )
        if pid != self._told:
            logger.info("Another `migrate` is at work (%s); this one waits for it", _process(pid))
            self._told = pid
        await asyncio.sleep(TURN_SECONDS * random.uniform(0.5, 1.5))

    async def _wait_for_lock(self, watch: LockWatch) -> None:
        who = watch.seen or "somebody who is gone meanwhile"
        what = self._name or "before the first"
        if time.monotonic() + self._pause > self._deadline:
            raise UpgradeBlocked(
                f"the migration {what} needs a lock that is held by {who}: end that or wait for its end, and run `practice-access migrate`"
                " again; nothing of this migration was kept"
            ) from None
        logger.warning(
            "The migration %s waits for a lock that is held by %s; it tries again in %.0f s", what, who, self._pause
        )
        await asyncio.sleep(self._pause * random.uniform(1.0, 1.2))
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def _failure(self, error: Exception) -> Exception:
        """The error in a line, where it is the database's word about what the migration does."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, asyncpg.PostgresError):
            cause = cause.__cause__
        elsewhere = asyncpg.PostgresConnectionError | asyncpg.InsufficientPrivilegeError
        if self._name is None or cause is None or isinstance(cause, elsewhere):
            return error
        told = str(cause).splitlines()[0]
        return UpgradeFailed(
            f"the migration {self._name} does not fit this database ({type(cause).__name__}: {told}): mend that, and run"
            " `practice-access migrate` again; nothing of it was kept"
        )


def _is_about_locks(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError):
            return True
        error = error.__cause__
    return False


def _process(pid: int | None) -> str:
    return f"process {pid} of the server" if pid is not None else "its process is not known"
