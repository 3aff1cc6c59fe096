"""Finding out who holds the lock that a statement of ours waits for, while it waits."""

import asyncio
import contextlib
import logging
from typing import Self

from domain.database_connections import open_single

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.3  # what is done sooner waits for nobody
LOOK_SECONDS = 0.2
TELL_SECONDS = 30.0
MAX_QUERY_LENGTH = 80
# Of a prepared statement the query has no values in it.
BLOCKERS = """
SELECT a.pid, a.usename, a.application_name, a.state, left(regexp_replace(a.query, '\\s+', ' ', 'g'), $2) AS query,
    extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds
FROM unnest(pg_blocking_pids($1)) b JOIN pg_stat_activity a ON a.pid = b
ORDER BY a.xact_start
"""


class LockWatch:
    """Looks on, from a connection of its own, while a statement runs. seen: who was seen to hold it up, in words; None for nobody."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._task: asyncio.Task[None] | None = None
        self.seen: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def begin(self, pid: int, *, tells: bool = False) -> None:
        """Watch what a process of the server waits for. tells: say it in the log every half minute, for a wait without an end."""
        self._task = asyncio.create_task(self._watch(pid, tells=tells))

    async def _watch(self, pid: int, *, tells: bool) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        connection = await open_single(self._url)
        try:
            rounds = 0
            while True:
                blockers = await connection.fetch(BLOCKERS, pid, MAX_QUERY_LENGTH)
                if blockers:
                    self.seen = "; ".join(map(_words, blockers))
                    if tells and rounds % round(TELL_SECONDS / LOOK_SECONDS) == 0:
                        logger.info("The migration waits for %s; nobody waits for it", self.seen)
                    rounds += 1
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            with contextlib.suppress(Exception):
                connection.terminate()


def _words(row: "dict[str, object]") -> str:
    who = ", ".join(str(part) for part in (row["usename"], row["application_name"]) if part)
    return f"pid {row['pid']} ({who}; {row['state']}, its transaction began {row['seconds']} s ago: {row['query']})"
