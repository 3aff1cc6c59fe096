"""Counting guesses at secrets, before they are compared.

One counter a subject and factor (`phone:<user>`, `password:<address>`, …). A guess is counted by one committed statement of its
own, outside every transaction, so neither a rollback nor a race nor a fresh code hands out more of them; only a success of that
very factor sets it back (NIST SP 800-63B-4 3.2.2; ZITADEL CVE-2023-47111, listmonk CVE-2026-128332 are what happens otherwise).
"""

from dataclasses import dataclass
from datetime import datetime

from domain import database

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many wrong guesses in a row lock a factor, and for how long: doubling with each lock up to max_lock_seconds.

    slow_after: from that many in a row on, each wrong guess is followed by a pause of 1, 2, 4, … seconds. disabled_after: so many in
    a row end the factor for good.
    """

    in_a_row: int
    lock_seconds: int
    max_lock_seconds: int = DAY_SECONDS
    slow_after: int | None = None
    disabled_after: int | None = None


# Of the 100 in a row at which NIST SP 800-63B-4 3.2.2 ends the authenticator; `lockouts.py` has the rest.
PHONE = Limit(in_a_row=20, lock_seconds=3600, disabled_after=80)
# A recovery code has 76 bits, so this limit is no defense against guessing. It is short, since it must not become a way to lock people out.
RECOVERY_CODE = Limit(in_a_row=10, lock_seconds=900, max_lock_seconds=3600)
PAC_PER_USER = Limit(in_a_row=10, lock_seconds=900)
PAC_PER_PRACTICE = Limit(in_a_row=50, lock_seconds=900)
PAC_PER_NETWORK = Limit(in_a_row=30, lock_seconds=900)


@dataclass
class Locked(Exception):
    """The factor takes no guesses now. until: None when it never will again by waiting."""

    until: datetime | None


async def count(key: str, limit: Limit) -> int:
    """Count one guess that is about to be compared; how many were made in a row, this one included.

    The guess that reaches the limit is still compared and locks the factor for those after it; a success lifts that lock.
    Raises Locked when no guess may be made now, and then counts nothing.
    """
    for _ in range(RACES):
        row = await database.fetch_one(
            _COUNT,
            key,
            limit.in_a_row,
            float(limit.lock_seconds),
            float(limit.max_lock_seconds),
            limit.disabled_after,
            limit.slow_after,
        )
        if row is not None:
            return int(row["failures"])
        await check(key, limit)
        # A success or the lock's end came between the two statements: the guess may be made after all.
    raise Locked(await database.now())


RACES = 5

_COUNT = """
    INSERT INTO guess_counters AS g (key, failures, locks, updated_at) VALUES ($1, 1, 0, clock_now())
    ON CONFLICT (key) DO UPDATE SET
        failures = g.failures + 1,
        updated_at = clock_now(),
        locks = g.locks + CASE WHEN (g.failures + 1) % $2 = 0 THEN 1 ELSE 0 END,
        locked_until = CASE
            WHEN (g.failures + 1) % $2 = 0 THEN clock_now() + least($3 * power(2, least(g.locks, 20)), $4) * interval '1 second'
            WHEN (g.failures + 1) % $2 >= $6::int THEN clock_now() + power(2, (g.failures + 1) % $2 - $6) * interval '1 second'
        END
    WHERE (g.locked_until IS NULL OR g.locked_until <= clock_now()) AND ($5::int IS NULL OR g.failures < $5)
    RETURNING failures
"""


async def left(key: str, limit: Limit) -> int:
    """How many more guesses there are before the next lock; none while there is one. Counts nothing."""
    row = await database.fetch_one(
        "SELECT CASE WHEN locked_until > clock_now() THEN $2 ELSE failures % $2 END AS used FROM guess_counters WHERE key = $1",
        key,
        limit.in_a_row,
    )
    return limit.in_a_row - (row["used"] if row else 0)


async def give_back(key: str, number: int, limit: Limit) -> None:
    """Take one guess off a counter that many people share: it was right, and says nothing of the others.

    number: what `count` answered for it. Where this very guess engaged the lock, the lock is lifted with it.
    """
    await database.execute(
        """
        UPDATE guess_counters SET failures = greatest(failures - 1, 0), locks = greatest(locks - $2, 0),
            locked_until = CASE WHEN $2 = 1 THEN NULL ELSE locked_until END
        WHERE key = $1
        """,
        key,
        int(number % limit.in_a_row == 0),
    )


async def succeed(key: str) -> None:
    """Forget the wrong guesses: the right one was given."""
    await database.execute("DELETE FROM guess_counters WHERE key = $1", key)


async def check(key: str, limit: Limit) -> None:
    """Raises Locked when a guess could not be made now. Counts nothing; for steps that lead to a guess, such as sending a code."""
    row = await database.fetch_one(
        "SELECT locked_until, failures >= coalesce($2::int, 2147483647) AS disabled FROM guess_counters"
        " WHERE key = $1 AND (locked_until > clock_now() OR failures >= coalesce($2::int, 2147483647))",
        key,
        limit.disabled_after,
    )
    if row is not None:
        raise Locked(None if row["disabled"] else row["locked_until"])
