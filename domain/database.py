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

import asyncpg
from tortoise import Tortoise
from tortoise.backends.base.client import TransactionContextPooled
from tortoise.connection import get_connection, get_connections
from tortoise.exceptions import ConfigurationError, IntegrityError

from domain import migrations, tracing, upgrading
from domain.database_connections import Connector
from domain.database_url import POOL, parse

Row = dict[str, Any]

logger = logging.getLogger(__name__)

POOL_SIZE = 10
STATEMENT_TIMEOUT_SECONDS = 15
OF_THE_POOL = {*POOL, "command_timeout", "statement_cache_size"}  # what a URL may say about it


@dataclass(slots=True)
class _Afterwards:
    """What a transaction leaves to be done when it is over."""

    committed: list[Callable[[], None]] = field(default_factory=list)
    rolled_back: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


_afterwards: ContextVar[_Afterwards | None] = ContextVar("afterwards", default=None)

# The library's debug log prints statements with their values, and values are people's addresses and numbers.
logging.getLogger("tortoise").setLevel(logging.WARNING)


def config(url: str, server_settings: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """What the ORM is opened with. The URL's own numbers win over the defaults here, and the options over both.

    server_settings: what each connection asks of the server when it opens. Raises UrlInvalid.
    """
    connector = Connector(url)
    given = {name: value for name, value in connector.url.numbers.items() if name in OF_THE_POOL}
    credentials = {
        "connect": connector,  # the pool's connections come from here, and so do the plain ones
        "minsize": 1,
        "maxsize": max(POOL_SIZE, given.get("minsize", 1)),
        "command_timeout": STATEMENT_TIMEOUT_SECONDS,
        "server_settings": server_settings or {},
        **given,
        **options,
    }
    return {
        "connections": {"default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}},
        "apps": {
            "domain": {"models": ["domain.models"], "migrations": "domain.migrations", "default_connection": "default"},
        },
        "use_tz": True,
        "timezone": "UTC",
    }


def says(url: str, name: str) -> bool:
    """Whether a URL sets a number of its own for this."""
    return name in parse(url).numbers


async def connect(url: str, **options: Any) -> None:
    """Open the process's pool and prove that it works. options: as for `config`. Raises what asyncpg raises when it does not."""
    await Tortoise.init(config(url, **options), _enable_global_fallback=True)
    await fetch("SELECT 1")


async def disconnect() -> None:
    """Close the pool; without this the process may hang at its end."""
    await Tortoise.close_connections()


async def migrate(url: str) -> None:
    """Bring the schema up to date; several processes may call this at once. Raises what `upgrading.upgrade` raises."""
    await upgrading.upgrade(url, config(url, **upgrading.CONNECTIONS), _Transaction.of_default_connection)


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
