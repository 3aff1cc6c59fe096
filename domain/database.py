"""The one way to the database: connections, transactions that survive cancellation, raw statements, migrations.

Time is the database's: statements call `clock_now()`, an SQL function that is `now()`, so that no process's own clock decides
whether a code is still good, and tests can move the one clock there is.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pkgutil import iter_modules
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
from tortoise import Tortoise
from tortoise.backends.base.client import TransactionContextPooled
from tortoise.connection import get_connection, get_connections
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError, IntegrityError
from tortoise.migrations.api import migrate as apply_migrations

from domain import migration_speed, migrations, tracing

Row = dict[str, Any]

logger = logging.getLogger(__name__)

MIGRATION_LOCK = 0x5041_4343  # "PACC": any constant that no other program locks in this database
MIGRATION_LOCK_SECONDS = 0.1  # between two looks whether another process is done
POOL_SIZE = 10
STATEMENT_TIMEOUT_SECONDS = 15
POOL_DEFAULTS = {"minsize": "1", "maxsize": str(POOL_SIZE), "command_timeout": str(STATEMENT_TIMEOUT_SECONDS)}
NUMBERS: dict[str, Callable[[str], float]] = {
    "minsize": int,
    "maxsize": int,
    "command_timeout": float,
    "timeout": float,
    "max_queries": int,
    "max_inactive_connection_lifetime": float,
    "statement_cache_size": int,
}


@dataclass(slots=True)
class _Afterwards:
    """What a transaction leaves to be done when it is over."""

    committed: list[Callable[[], None]] = field(default_factory=list)
    rolled_back: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


_afterwards: ContextVar[_Afterwards | None] = ContextVar("afterwards", default=None)

# The library's debug log prints statements with their values, and values are people's addresses and numbers.
logging.getLogger("tortoise").setLevel(logging.WARNING)


def config(url: str) -> dict[str, Any]:
    """What the ORM is opened with. url: postgres://…, whose own query settings win over the defaults here."""
    parts = urlsplit(url)
    given: dict[str, Any] = {**POOL_DEFAULTS, **dict(parse_qsl(parts.query))}
    credentials = {
        "host": parts.hostname or given.pop("host", None),
        "port": parts.port or int(given.pop("port", 5432)),
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "database": parts.path.lstrip("/") or None,
        # Not by the ORM's own reading of a URL, which takes every value of `ssl`, "disable" too, for "require".
        **({"ssl": given.pop("sslmode")} if "sslmode" in given else {}),
        **{name: NUMBERS[name](value) if name in NUMBERS else value for name, value in given.items()},
    }
    return {
        "connections": {"default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}},
        "apps": {
            "domain": {"models": ["domain.models"], "migrations": "domain.migrations", "default_connection": "default"},
        },
        "use_tz": True,
        "timezone": "UTC",
    }


def single(url: str) -> str:
    """The same database for one connection without a pool, as asyncpg reads it."""
    parts = urlsplit(url)
    given = {name: value for name, value in parse_qsl(parts.query) if name not in NUMBERS}
    if "ssl" in given:
        given["sslmode"] = given.pop("ssl")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(given), ""))


async def connect(url: str) -> None:
    """Open the process's pool and prove that it works. Raises what asyncpg raises when it does not."""
    await Tortoise.init(config(url), _enable_global_fallback=True)
    await fetch("SELECT 1")


async def disconnect() -> None:
    """Close the pool; without this the process may hang at its end."""
    await Tortoise.close_connections()


async def migrate(url: str) -> None:
    """Bring the schema up to date; several processes may call this at once, one does it."""
    migration_speed.use()
    lock = await asyncpg.connect(single(url))
    try:
        # Not by a statement that waits: indexes are made concurrently, which waits for every statement that began before.
        while not await lock.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):  # noqa: ASYNC110 -- another process
            await asyncio.sleep(MIGRATION_LOCK_SECONDS)
        async with TortoiseContext():
            await apply_migrations(config=config(_patient(url)))
    finally:
        await lock.close()


def _patient(url: str) -> str:
    """The same database without a limit on how long a statement may take: a migration goes through all rows there are."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), "command_timeout": "86400"})))


async def is_current() -> bool:
    """Whether every migration of this program was applied. Raises what asyncpg raises when the database is out of reach."""
    wanted = {module.name for module in iter_modules(migrations.__path__)}
    found = await fetch("SELECT name FROM tortoise_migrations WHERE app = 'domain'")
    return wanted <= {row["name"] for row in found}


async def fetch(sql: str, *values: object) -> list[Row]:
    """The rows that a statement answers, also one that writes (RETURNING)."""
    with tracing.statement(sql):
        return await get_connection("default").execute_query_dict(sql, list(values))


async def fetch_one(sql: str, *values: object) -> Row | None:
    """The only row of the answer, or None. For statements that cannot answer more than one."""
    rows = await fetch(sql, *values)
    return rows[0] if rows else None


async def execute(sql: str, *values: object) -> int:
    """Run a statement; the number of rows it changed."""
    async with get_connection("default").acquire_connection() as connection:
        try:
            with tracing.statement(sql):
                status: str = await connection.execute(sql, *values)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise IntegrityError(error) from error
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The process's connections: how many there may be, are open, and are in use."""

    at_most: int
    open: int
    used: int


def pool_use() -> PoolUse | None:
    """How much of the process's pool is in use; None before it is opened."""
    try:
        pool = cast("asyncpg.Pool | None", get_connection("default")._pool)
    except (ConfigurationError, KeyError):
        return None
    if pool is None:
        return None
    size = pool.get_size()
    return PoolUse(pool.get_max_size(), size, size - pool.get_idle_size())


async def now() -> datetime:
    """The database's time, aware."""
    moment: datetime = (await fetch("SELECT clock_now() AS moment"))[0]["moment"]
    return moment


def violated_constraint(error: IntegrityError) -> str:
    """The name of the constraint or unique index that refused a row."""
    return getattr(error.__cause__, "constraint_name", None) or ""


def is_collision(error: BaseException | None) -> bool:
    """Whether the database undid a transaction because it and another could not both go on: done again, it may well succeed."""
    while error is not None:
        if isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
            return True
        error = error.__cause__
    return False


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """One unit of work: committed at the end of the block, rolled back by any exception, never inside another.

    The ORM's own version loses a pooled connection when a task is cancelled while BEGIN is under way, and cancellation is normal:
    clients hang up. This one gives it back.
    """
    if _afterwards.get() is not None:
        raise RuntimeError("a public domain function was called inside another's transaction")
    afterwards = _Afterwards()
    try:
        token = _afterwards.set(afterwards)
        try:
            with tracing.span("transaction"):
                async with _Transaction.of_default_connection():
                    yield
        finally:
            _afterwards.reset(token)
    except Exception:
        for write in afterwards.rolled_back:
            try:
                await write()
            except Exception:  # the refusal counts, and what else is to be written
                logger.exception("Something could not be written after a transaction was rolled back")
        raise
    for callback in afterwards.committed:
        callback()


def is_in_transaction() -> bool:
    """Whether a transaction is under way in this task."""
    return _afterwards.get() is not None


def after_commit(callback: Callable[[], None]) -> None:
    """Run a quick, never failing function once the transaction under way has committed; not at all when it rolls back."""
    afterwards = _afterwards.get()
    if afterwards is None:
        raise RuntimeError("no transaction is under way")
    if callback not in afterwards.committed:
        afterwards.committed.append(callback)


def after_rollback(write: Callable[[], Awaitable[None]]) -> None:
    """Write something once the transaction under way was rolled back by an exception; not at all when it commits.

    For what has to be known of a refusal that is raised deep inside an act, such as its row in the trail.
    """
    afterwards = _afterwards.get()
    if afterwards is None:
        raise RuntimeError("no transaction is under way")
    afterwards.rolled_back.append(write)


class _Transaction(TransactionContextPooled):
    """A pooled transaction that returns its connection whenever entering or leaving is cancelled."""

    @classmethod
    def of_default_connection(cls) -> "_Transaction":
        context = get_connection("default")._in_transaction()
        if type(context) is not TransactionContextPooled:
            raise RuntimeError(f"cannot open a transaction on {type(context).__name__}")
        return cls(context.client, context._pool_init_lock)

    async def __aenter__(self) -> Any:
        await self.ensure_connection()
        pool = self.client._parent._pool
        self.client._connection = await pool.acquire()
        self.token = get_connections().set(self.connection_name, self.client)
        try:
            await self.client.begin()
        except BaseException:
            await self._give_back()
            raise
        return self.client

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if exc_type is None:
            try:
                await self.client.commit()
            finally:
                await self._give_back()
        else:
            get_connections().reset(self.token)
            # In one task of its own: a second cancellation must not release the connection in the middle of the ROLLBACK.
            await asyncio.shield(asyncio.ensure_future(self._roll_back()))

    async def _roll_back(self) -> None:
        try:
            with suppress(
                Exception
            ):  # a lost connection rolls back by itself; the block's own error is the one to tell
                protocol = self.client._connection._con._protocol
                if protocol._is_cancelling():  # the server has still to answer that a cancelled statement has ended
                    await protocol._wait_for_cancellation(STATEMENT_TIMEOUT_SECONDS)
                await self.client.rollback()
        finally:
            await self.client._parent._pool.release(self.client._connection)

    async def _give_back(self) -> None:
        get_connections().reset(self.token)
        await asyncio.shield(self.client._parent._pool.release(self.client._connection))
