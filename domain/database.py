"""The one way to the database: connections, transactions that survive cancellation, raw statements, migrations.

Time is the database's: statements call `clock_now()`, an SQL function that is `now()`, so that no process's own clock decides
whether a code is still good, and tests can move the one clock there is.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import asyncpg
from tortoise import Tortoise
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.backends.base.client import TransactionContextPooled
from tortoise.connection import get_connection, get_connections
from tortoise.exceptions import ConfigurationError, IntegrityError

from domain import connection_limits, metrics, tracing, upgrading
from domain.database_connections import Connector
from domain.database_url import POOL, parse
from domain.pool import FairPool, Use

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


@dataclass(slots=True)
class Act:
    """What became of the transaction of a block. may_be_committed: COMMIT was sent, and the server has not said that it undid it all."""

    may_be_committed: bool = False


_act: ContextVar[Act | None] = ContextVar("act", default=None)

# The library's debug log prints statements with their values, and values are people's addresses and numbers.
logging.getLogger("tortoise").setLevel(logging.WARNING)


def config(url: str, server_settings: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """What the ORM is opened with. The URL's own numbers win over the defaults here, and the options over both.

    server_settings: what each connection asks of the server when it opens; the limits for the API and workers where left out. Raises
    database_url.UrlInvalid.
    """
    connector = Connector(url)
    given = {name: value for name, value in connector.url.numbers.items() if name in OF_THE_POOL}
    credentials: dict[str, Any] = {
        "connect": connector,  # the pool's connections come from here, and so do the plain ones
        "minsize": 1,
        "maxsize": max(POOL_SIZE, given.get("minsize", 1)),
        "command_timeout": STATEMENT_TIMEOUT_SECONDS,
        **given,
        **options,
    }
    if credentials.get("statement_cache_size") == 0:
        # What people write for PgBouncer, which takes no connection that asks for a setting that it does not know.
        server_settings = {}
    elif server_settings is None:
        server_settings = connection_limits.server_settings(credentials["command_timeout"])
    credentials["server_settings"] = server_settings
    return {
        "connections": {"default": {"engine": "domain.pool", "credentials": credentials}},
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
    switched_off = await fetch(
        "SELECT name FROM pg_settings WHERE name = ANY($1::text[]) AND setting = '0' ORDER BY name",
        list(connection_limits.ACT_SETTINGS),
    )
    if switched_off:
        logger.warning(
            "Connections to the database do not have the limits %s. Set them for the role, as docs/operating.md says.",
            ", ".join(row["name"] for row in switched_off),
        )


async def disconnect() -> None:
    """Close the pool; without this the process may hang at its end."""
    await Tortoise.close_connections()


async def migrate(url: str) -> None:
    """Bring the schema up to date; several processes may call this at once. Raises what `upgrading.upgrade` raises."""
    await upgrading.upgrade(url, config(url, **upgrading.CONNECTIONS), _Transaction.of_default_connection)


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


def pool_use() -> Use | None:
    """How much of the process's pool is in use; None before it is opened."""
    try:
        pool = cast("FairPool | None", get_connection("default")._pool)
    except (ConfigurationError, KeyError):
        return None
    return None if pool is None else pool.use()


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


def has_hit_a_limit(error: BaseException | None) -> bool:
    """Whether one of the limits of `connection_limits` ended a statement or a transaction: nothing was done, and later it may be.

    That is, it waited for somebody's lock, or this process stood still for so long that the server undid what it had begun.
    """
    while error is not None:
        if isinstance(error, asyncpg.LockNotAvailableError | asyncpg.IdleInTransactionSessionTimeoutError):
            return True
        error = error.__cause__
    return False


def _is_undone(error: BaseException) -> bool:
    """Whether the server says that a COMMIT failed and nothing of the transaction is left. Silence says nothing."""
    if has_hit_a_limit(error):
        return True
    is_of_connection = isinstance(
        error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError | asyncpg.PostgresSystemError
    )
    return isinstance(error, asyncpg.PostgresError) and not is_of_connection


@contextmanager
def watched() -> Iterator[Act]:
    """What becomes of the transactions of a block, for whoever has to undo something that was written before them."""
    act = Act()
    token = _act.set(act)
    try:
        yield act
    finally:
        _act.reset(token)
        if (outer := _act.get()) is not None:
            outer.may_be_committed |= act.may_be_committed


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """One unit of work: committed at the end of the block, rolled back by any exception, never inside another.

    The ORM's own version loses a pooled connection when a task is cancelled while BEGIN is under way, and cancellation is normal:
    clients hang up. This one gives it back.
    """
    if _afterwards.get() is not None:
        raise RuntimeError("a public domain function was called inside another's transaction")
    afterwards = _Afterwards()
    act = Act()
    try:
        token = _afterwards.set(afterwards)
        try:
            with watched() as act, tracing.span("transaction"):
                async with _Transaction.of_default_connection(act):
                    yield
        finally:
            _afterwards.reset(token)
    except Exception:
        if act.may_be_committed:
            raise
        for write in afterwards.rolled_back:
            try:
                await write()
            except Exception as error:  # noqa: BLE001 -- the refusal counts, and what else is to be written
                metrics.LOST_WRITES.inc()
                # Without the exception's text and traceback, which may hold values of the row.
                logger.error(  # noqa: TRY400
                    "Something could not be written after a transaction was rolled back: %s", type(error).__name__
                )
        raise
    for callback in afterwards.committed:
        callback()


_unfinished: set["asyncio.Task[None]"] = set()


async def finished(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, also when the caller is cancelled while it waits for it."""
    task = asyncio.create_task(work)
    _unfinished.add(task)  # the event loop itself keeps no task alive
    task.add_done_callback(_unfinished.discard)
    await asyncio.shield(task)


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
    """Write something once the transaction under way was rolled back by an exception; not at all when it commits, or may have.

    For what has to be known of a refusal that is raised deep inside an act, such as its row in the trail.
    """
    afterwards = _afterwards.get()
    if afterwards is None:
        raise RuntimeError("no transaction is under way")
    afterwards.rolled_back.append(write)


class _Transaction(TransactionContextPooled):
    """A pooled transaction that returns its connection whenever entering or leaving is cancelled."""

    __slots__ = ("act",)

    act: Act

    @classmethod
    def of_default_connection(cls, act: Act | None = None) -> "_Transaction":
        context = get_connection("default")._in_transaction()
        if type(context) is not TransactionContextPooled:
            raise RuntimeError(f"cannot open a transaction on {type(context).__name__}")
        made = cls(context.client, context._pool_init_lock)
        made.act = act or Act()
        return made

    async def __aenter__(self) -> Any:
        await self.ensure_connection()
        pool = self.client._parent._pool
        self.client._connection = await pool.acquire()
        self.token = get_connections().set(self.connection_name, self.client)
        try:
            await self.client.begin()
            if not cast("AsyncpgDBClient", self.client._parent).server_settings:
                await self.client._connection.execute(connection_limits.SET_IN_TRANSACTION)
        except BaseException:
            await self._give_back()
            raise
        return self.client

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if exc_type is None:
            try:
                await self._commit()
            finally:
                await self._give_back()
        else:
            get_connections().reset(self.token)
            # In one task of its own: a second cancellation must not release the connection in the middle of the ROLLBACK.
            await asyncio.shield(asyncio.ensure_future(self._roll_back()))

    async def _commit(self) -> None:
        self.act.may_be_committed = True
        try:
            await self.client.commit()
        except Exception as error:
            self.act.may_be_committed = not _is_undone(error)
            raise

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
