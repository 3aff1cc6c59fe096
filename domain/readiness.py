"""Whether this process can serve, asked of the database over a connection that nothing else uses."""

import asyncio

import asyncpg

from domain import database
from domain.database_connections import open_single
from domain.database_start import wanted
from domain.errors import Busy

ANSWER_SECONDS = 0.8  # so that a health check with a limit of one second gets its answer, whatever the database does
CONNECT_SECONDS = 3.0
# A new connection sees where the host name leads now, and the settings that new connections get. The old one sees neither.
RENEW_SECONDS = 10.0

_QUESTION = """
    SELECT current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS is_read_only,
        ARRAY(SELECT name FROM tortoise_migrations WHERE app = 'domain') AS applied
"""


class NotReady(Exception):
    """A part cannot do its work. `str()` is a sentence that says why, for anybody who can reach the health check."""


class Database:
    """Asks whether the database is there, migrated and writable. However many ask at once, there is one question under way.

    The connection is its own, so the answer depends neither on the pool nor on who waits for it. url: as in DATABASE_URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._connected_at = float("-inf")
        self._question: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raises NotReady, within ANSWER_SECONDS."""
        if self._question is None:
            self._question = asyncio.create_task(self._ask())
            self._question.add_done_callback(self._answered)
        question = self._question
        await asyncio.wait((question,), timeout=ANSWER_SECONDS)
        if not question.done():
            raise NotReady("The database does not answer.")
        question.result()

    async def aclose(self) -> None:
        """End the connection."""
        if self._question is not None:
            self._question.cancel()
            await asyncio.wait((self._question,))
        self._drop()

    def _answered(self, question: asyncio.Task[None]) -> None:
        self._question = None
        if not question.cancelled():
            question.exception()  # nobody may be waiting any more

    async def _ask(self) -> None:
        try:
            found = await self._answer()
        except asyncpg.UndefinedTableError:
            raise NotReady("The database is not migrated: run `practice-access migrate`.") from None
        except Busy:
            raise NotReady("The database has no room for a connection.") from None
        except Exception as error:  # noqa: BLE001 -- whatever the driver raises, there is no answer
            raise NotReady(f"The database cannot be asked ({type(error).__name__}).") from None
        if found["is_read_only"]:
            raise NotReady("The database is read-only.")
        missing = wanted() - set(found["applied"])
        if missing:
            raise NotReady(f"Migrations are missing, such as {min(missing)}: run `practice-access migrate`.")

    async def _answer(self) -> database.Row:
        is_kept = self._connection is not None
        try:
            await self._connect()
        except asyncpg.TooManyConnectionsError:
            if self._connection is None:
                # The process may hold connections all the same, and serve by them.
                return (await asyncio.wait_for(database.fetch(_QUESTION), ANSWER_SECONDS))[0]
        try:
            return await self._answer_of(self._connection)
        except (TimeoutError, asyncpg.QueryCanceledError, asyncpg.UndefinedTableError):
            raise
        except Exception:
            if not is_kept:
                raise
        await self._connect()  # the server was started anew, say, since it was asked the last time
        return await self._answer_of(self._connection)

    async def _answer_of(self, connection: asyncpg.Connection | None) -> database.Row:
        assert connection is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS), connection.transaction():
                # The server gives up by itself too, so that no question is left waiting for a lock there.
                await connection.execute(f"SET LOCAL statement_timeout = {round(ANSWER_SECONDS * 1000)}")
                return dict(await connection.fetchrow(_QUESTION))
        except BaseException:
            self._drop()
            raise

    async def _connect(self) -> None:
        """A connection that is not old. The one that there was is kept until the new one is there."""
        now = asyncio.get_running_loop().time()
        if self._connection is not None and self._connection.is_closed():
            self._connection = None
        if self._connection is not None and now - self._connected_at < RENEW_SECONDS:
            return
        async with asyncio.timeout(CONNECT_SECONDS):
            made = await open_single(self._url)
        self._drop()
        self._connection, self._connected_at = made, now

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
